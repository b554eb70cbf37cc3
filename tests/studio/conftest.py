"""A small model in the folder of its run, with a direction learned for it, and clients of a studio that serves it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import uvicorn
from starlette.testclient import TestClient

from dcgan.config import Label, ModelConfig, TrainConfig
from dcgan.data import PackedImages
from dcgan.draws import generator_for
from dcgan.explore import Direction
from dcgan.explore.files import beside, write_directions
from dcgan.model_file import MODEL_FILE, read_model, save_model
from dcgan.models import Discriminator, Generator
from dcgan.studio.app import create_app
from dcgan.studio.model import StudioModel
from dcgan.studio.runs import Run
from dcgan.studio.serve import listen
from dcgan.train import train

HOST = "http://127.0.0.1:7860"
LABELS = (
    Label("hair=dark", "class"),
    Label("hair=red", "class"),
    Label("smile", "binary"),
    Label("age", "number"),
)


@pytest.fixture(scope="session")
def run_folder(tmp_path_factory: pytest.TempPathFactory, faces32: PackedImages) -> Path:
    """A finished run."""
    config = TrainConfig(
        data=str(faces32.path),
        run_dir=str(tmp_path_factory.mktemp("runs")),
        name="small",
        kimg=0.08,
        batch=8,
        generator_width=4,
        discriminator_width=4,
        latent_size=8,
        log_every=0.016,
        sample_every=0.024,
        sample_count=4,
        tensorboard=False,
        device="cpu",
    )
    folder = train(config).run
    generator = make_vivid(folder)
    vector = torch.eye(8)[2]
    file = beside(folder, "directions.safetensors")
    write_directions(file, generator, {"big smile": Direction(vector, {"linearity": 0.5})})
    return folder


def make_vivid(folder: Path) -> Generator:
    """Give a run that has learned nothing yet a model whose images differ from one another."""
    config, tensors, about = read_model(folder)
    states = {
        role: {name.removeprefix(f"{role}."): tensor for name, tensor in tensors.items() if name.startswith(role)}
        for role in ("generator", "discriminator")
    }
    generator = Generator(config).initialize(generator_for(0, "vivid", 0))
    enliven(generator)
    save_model(folder / MODEL_FILE, config, {**states, "generator": generator.state_dict()}, about)
    return Generator.from_pretrained(folder)


def enliven(generator: Generator) -> None:
    """Make images of new weights as different as those of trained ones."""
    with torch.no_grad():
        for _ in range(50):  # so that BatchNorm's running statistics are these weights'
            generator(generator.latents(range(64)))
        generator.last[0].weight *= 0.6 / generator.eval()(generator.latents(range(64))).std(0).mean()


@pytest.fixture(scope="session")
def model(run_folder: Path) -> StudioModel:
    return StudioModel.load(run_folder, "cpu")


@pytest.fixture(scope="session")
def untrained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, int, bool], StudioModel]:
    """`untrained(size, channels, conditional)` is a model whose images differ from one another, and by its labels."""

    def make(size: int, channels: int, conditional: bool) -> StudioModel:
        labels = LABELS if conditional else ()
        config = ModelConfig(
            size=size, channels=channels, generator_width=4, discriminator_width=4, latent_size=8, labels=labels
        )
        generator = Generator(config).initialize(generator_for(0, "weights", 0))
        discriminator = Discriminator(config).initialize(generator_for(0, "weights", 1))
        if generator.code is not None and generator.embedding is not None:
            generator.code.learn(torch.tensor([[1.0, 0, 1, 21.3], [0, 1, 0, 48], [0, 1, 1, 79.4]]))
            generator.embedding.weight.data *= 4
        enliven(generator)
        states = {"generator": generator.state_dict(), "discriminator": discriminator.state_dict()}
        folder = tmp_path_factory.mktemp("untrained")
        save_model(folder / MODEL_FILE, config, states, {})
        return StudioModel.load(folder, "cpu")

    return make


@pytest.fixture(scope="session")
def told(untrained: Callable[[int, int, bool], StudioModel]) -> StudioModel:
    """A grey model that is told labels."""
    return untrained(32, 1, True)


@pytest.fixture
def serving(model: StudioModel, run_folder: Path) -> Iterator[Callable[..., TestClient]]:
    """`serving(token=..., most_waiting=...)` is a client of a studio with such settings."""
    open_clients = []

    def start(**settings: Any) -> TestClient:
        app = create_app(model, Run(run_folder), **{"projection_steps": 8, **settings})
        client = TestClient(app, base_url=HOST)
        client.__enter__()
        open_clients.append(client)
        return client

    yield start
    for client in open_clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serving: Callable[..., TestClient]) -> TestClient:
    return serving()


@pytest.fixture(scope="session")
def listening(model: StudioModel, run_folder: Path) -> Callable[..., AbstractContextManager[str]]:
    """`with listening(run=..., served=..., projection_steps=...) as url:` is a studio on a port of its own."""

    @contextmanager
    def start(run: Path = run_folder, served: StudioModel = model, **settings: Any) -> Iterator[str]:
        app = create_app(served, Run(run), **settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", timeout_graceful_shutdown=1))
        with listen("127.0.0.1", 0) as socket:
            thread = threading.Thread(target=server.run, args=([socket],))
            thread.start()
            try:
                yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
            finally:
                server.should_exit = True
                thread.join()

    return start
