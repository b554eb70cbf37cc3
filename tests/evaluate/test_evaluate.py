"""A whole evaluation: what it measures, what it remembers, what it refuses, and what it says in words."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dcgan.checkpoint import read_json
from dcgan.cli import main
from dcgan.config import EvaluateConfig, ModelConfig, TrainConfig
from dcgan.data import PackedImages
from dcgan.data.toy import draw_faces
from dcgan.errors import DcganError
from dcgan.evaluate import (
    Evaluation,
    FeatureExtractor,
    ModuleExtractor,
    QuickEvaluator,
    evaluate,
    results_folder,
    summary,
    write_report,
)
from dcgan.evaluate.features import Images
from dcgan.evaluate.figures import frechet_name, measure
from dcgan.evaluate.inception import SHA256_PREFIX
from dcgan.evaluate.memorisation import Audit
from dcgan.evaluate.reals import draw_order, floor, real_features
from dcgan.images import save_image
from dcgan.models import Generator
from dcgan.train import train

Pack = Callable[[str, np.ndarray], PackedImages]


class Counting:
    """An extractor that counts the images it has seen."""

    def __init__(self, extractor: ModuleExtractor) -> None:
        self.extractor, self.seen = extractor, 0
        self.name, self.digest, self.resize = extractor.name, extractor.digest, extractor.resize
        self.dimensions = extractor.dimensions

    def __call__(self, images: Images) -> torch.Tensor:
        self.seen += len(images)
        return self.extractor(images)


@pytest.fixture
def judge(people: PackedImages, small: ModuleExtractor) -> Callable[..., Evaluation]:
    """Evaluate 300 images against the drawn people; any setting can be changed."""

    def run(
        model: Path | str,
        *,
        extractor: FeatureExtractor = small,
        generator: Generator | None = None,
        **settings: Any,
    ) -> Evaluation:
        given = {"data": str(people.path), "count": 300, "device": "cpu", **settings}
        return evaluate(EvaluateConfig(model=str(model), **given), extractor=extractor, generator=generator)

    return run


@pytest.fixture
def fresh(pack: Pack) -> PackedImages:
    """Faces that are in no other data set."""
    return pack("fresh", draw_faces(range(5000, 5300), 32).images)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An untrained generator of 32x32 images."""
    generator = Generator(ModelConfig(size=32, generator_width=4, latent_size=8))
    return generator.initialize(torch.Generator().manual_seed(0)).save_pretrained(tmp_path / "model").parent


def test_figures_are_those_between_training_images_and_fakes(
    judge: Callable[..., Evaluation], people: PackedImages, fresh: PackedImages, small: ModuleExtractor
) -> None:
    found = judge(fresh.path)
    order = draw_order(700, 0)[:300]
    assert not set(people.training_indices[order]) & set(people.held_out_indices)
    real = small(people.read(people.training_indices[order]))
    fake = small(fresh.read(draw_order(300, 0)))
    expected = measure(real, fake, seed=0).named("FD-small")
    assert list(found.figures) == ["FD-small", "kernel_distance", "precision", "recall", "density", "coverage"]
    for name, value in expected.items():
        assert found.figures[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name
    assert (found.protocol["reals"], found.protocol["fakes"]) == (300, 300)


def test_the_floor_is_between_disjoint_parts(
    judge: Callable[..., Evaluation], people: PackedImages, fresh: PackedImages, small: ModuleExtractor, pack: Pack
) -> None:
    reals = small(people.read(people.training_indices[draw_order(700, 0)]))
    for count, first, second in ((300, 300, 300), (600, 400, 300), (1000, 400, 300)):
        found = judge(fresh.path, count=count).floor
        assert found is not None
        assert (found.reals, found.fakes) == (first, second)
        expected = measure(reals[:first], reals[first : first + second], seed=0).named("FD-small")
        assert found.figures == pytest.approx(expected, rel=1e-4, abs=1e-6)
    many = pack("many", draw_faces(range(6000, 6600), 32).images)
    halves = judge(many.path, count=600).floor
    assert halves is not None
    assert (halves.reals, halves.fakes) == (350, 350)


def test_real_images_come_close_to_the_floor_and_noise_does_not(
    judge: Callable[..., Evaluation], fresh: PackedImages, pack: Pack
) -> None:
    real = judge(fresh.path)
    noise = judge(pack("noise", np.random.default_rng(0).integers(0, 256, (300, 32, 32, 3), dtype=np.uint8)).path)
    assert real.floor is not None
    for name in ("FD-small", "kernel_distance"):
        assert noise.figures[name] > 10 * max(real.figures[name], real.floor.figures[name])
    for name in ("precision", "recall", "density", "coverage"):
        assert real.figures[name] == pytest.approx(real.floor.figures[name], abs=0.15)
        assert noise.figures[name] < 0.2


def test_the_second_evaluation_is_the_first_without_its_reals(
    judge: Callable[..., Evaluation], small: ModuleExtractor, model: Path
) -> None:
    first, second = Counting(small), Counting(small)
    found = [judge(model, extractor=extractor) for extractor in (first, second)]
    assert (first.seen, second.seen) == (700 + 300 + 300, 300)
    assert found[0].figures == found[1].figures
    assert found[0].floor == found[1].floor
    assert found[0].audit == found[1].audit


def test_what_is_damaged_in_the_cache_is_made_anew(people: PackedImages, small: ModuleExtractor) -> None:
    reals = real_features(people, small, 100)
    best = floor(reals, small, 40, 40)
    assert best is not None
    reals.path.write_bytes(reals.path.read_bytes()[:1000])
    (kept,) = reals.path.parent.glob("floor-*.json")
    again = real_features(people, small, 100)
    assert torch.equal(again.features, reals.features)
    for damaged in ("[]", "{", '{"another": 1.0}'):
        kept.write_text(damaged)
        assert floor(again, small, 40, 40) == best


def test_a_cached_reference_grows(people: PackedImages, small: ModuleExtractor) -> None:
    counting = Counting(small)
    for count, seen in ((100, 100), (50, 100), (300, 300), (300, 300), (9999, 700)):
        reals = real_features(people, counting, count)
        assert counting.seen == seen
    torch.testing.assert_close(reals.features, small(people.read(reals.indices)), rtol=1e-4, atol=1e-5)
    assert len(real_features(people, counting, 100, seed=1).features) == 100
    assert counting.seen == 800


def test_a_reference_stands_in_for_the_images(
    judge: Callable[..., Evaluation], small: ModuleExtractor, model: Path
) -> None:
    whole = judge(model)
    reference = whole.data["reference"]
    counting = Counting(small)
    alone = judge(model, data="", reference=reference, extractor=counting)
    assert counting.seen == 300
    assert (alone.protocol, alone.figures, alone.floor) == (whole.protocol, whole.figures, whole.floor)
    assert "only their features" in str(alone.audit)
    both = judge(model, reference=reference)
    assert (both.figures, both.audit) == (whole.figures, whole.audit)


def test_a_reference_under_another_protocol_is_refused(
    judge: Callable[..., Evaluation], small: ModuleExtractor, model: Path, tmp_path: Path, faces32: PackedImages
) -> None:
    reference = judge(model).data["reference"]

    def refused(message: str, **settings: Any) -> None:
        with pytest.raises(DcganError, match=message):
            judge(model, reference=reference, **settings)

    other = ModuleExtractor(small.module, name="small", size=64)
    refused("another protocol.*its resize is own size", extractor=other)
    refused("another protocol.*its weights' digest is", extractor=ModuleExtractor(torch.nn.Flatten(), name="small"))
    refused("another protocol.*its seed is 0, and not 1", seed=1)
    refused("another protocol.*its data's digest is", data=str(faces32.path))
    grey = Generator(ModelConfig(size=32, channels=1, generator_width=4)).initialize(torch.Generator().manual_seed(0))
    refused("images of 32x32x1, and the reference is of 32x32x3", data="", generator=grey)
    np.savez(tmp_path / "foreign.npz", mu=np.zeros(3), sigma=np.eye(3))
    (tmp_path / "cut.npz").write_bytes(Path(reference).read_bytes()[:5000])
    for name in ("foreign", "cut"):
        with pytest.raises(DcganError, match="is damaged, or no reference of dcgan"):
            judge(model, reference=str(tmp_path / f"{name}.npz"))
    with pytest.raises(DcganError, match="cannot read"):
        judge(model, reference=str(tmp_path / "absent.npz"))


def test_a_short_reference_is_refused(
    judge: Callable[..., Evaluation], model: Path, people: PackedImages, small: ModuleExtractor
) -> None:
    reals = real_features(people, small, 100)
    with pytest.raises(DcganError, match="holds 100 images: too few for --count 300"):
        judge(model, data="", reference=str(reals.path))
    assert judge(model, data="", reference=str(reals.path), count=100).protocol["reals"] == 100


def test_audits_need_images_that_the_model_never_saw(
    judge: Callable[..., Evaluation], faces32: PackedImages, fresh: PackedImages, people: PackedImages, model: Path
) -> None:
    none = judge(model, data=str(faces32.path))
    assert isinstance(none.audit, str)
    assert "never saw, and there are 0" in none.audit
    assert any(note.startswith("no memorisation audit: it takes 100") for note in none.notes)
    given = judge(model, data=str(faces32.path), held_out=str(fresh.path))
    assert isinstance(given.audit, Audit)
    assert (given.audit.held_out, given.audit.training) == (300, 60)
    with pytest.raises(DcganError, match="--held-out is DATA itself"):
        judge(model, held_out=str(people.path))


def test_replayed_training_images_are_told_from_held_out_ones(
    judge: Callable[..., Evaluation], people: PackedImages, pack: Pack
) -> None:
    copies = judge(pack("copies", people.read(people.training_indices[:300])[:, :, ::-1].copy()).path)
    unseen = judge(pack("unseen", people.read(people.held_out_indices)).path)
    assert isinstance(copies.audit, Audit)
    assert isinstance(unseen.audit, Audit)
    assert copies.audit.copies
    assert unseen.audit.verdict == "no sign of copying"
    # in the picture, each copy and the mirrored original beside it are one and the same
    left, right = np.split(copies.pairs["pixels"], 2, axis=2)
    assert np.array_equal(left, right)


def test_data_judged_by_itself_is_told(judge: Callable[..., Evaluation], people: PackedImages) -> None:
    found = judge(people.path, count=1000)
    assert any("same images" in note for note in found.notes)
    assert isinstance(found.audit, Audit)
    assert found.audit.copies


def test_folders_and_zips_are_prepared_as_real_images_are(
    judge: Callable[..., Evaluation], tmp_path: Path, fresh: PackedImages, capfd: pytest.CaptureFixture[str]
) -> None:
    for i, image in enumerate(fresh.read(range(200))):
        save_image(tmp_path / "faces" / f"{i:03d}.png", image)
    (tmp_path / "faces" / "999.png").write_bytes(b"broken")
    with zipfile.ZipFile(tmp_path / "faces.zip", "w") as archive:
        for path in (tmp_path / "faces").iterdir():
            archive.write(path, path.name)
    folder, packed = judge(tmp_path / "faces"), judge(tmp_path / "faces.zip")
    assert folder.figures == packed.figures
    assert folder.protocol["fakes"] == 200
    assert any("1 files of MODEL could not be read" in note for note in folder.notes)
    assert any("MODEL holds 200 images, fewer than --count 300" in note for note in folder.notes)

    for i, image in enumerate(draw_faces(range(5000, 5200), 64).images):
        save_image(tmp_path / "large" / f"{i:03d}.png", image)
    large = judge(tmp_path / "large")
    assert large.model["prepared"]["size"] == 32
    assert large.figures["FD-small"] < 2 * folder.figures["FD-small"]
    assert "preparing" in capfd.readouterr().err


def test_what_cannot_be_judged_is_told(
    judge: Callable[..., Evaluation], tmp_path: Path, pack: Pack, model: Path, small: ModuleExtractor
) -> None:
    def refused(message: str, what: Path | str, **settings: Any) -> None:
        with pytest.raises(DcganError, match=message):
            judge(what, **settings)

    (tmp_path / "empty").mkdir()
    refused("holds no usable image", tmp_path / "empty")
    counting = Counting(small)
    refused("does not exist", tmp_path / "absent", extractor=counting)
    assert counting.seen == 0  # it is told before the long work begins
    one = draw_faces([0], 32).images
    refused("needs at least 2 images on each side, not 1", pack("one", one).path)
    refused("more than 5 real and 3 fake images, not 300 and 3", pack("three", draw_faces(range(3), 32).images).path)
    refused("needs at least 2 images", model, data=str(pack("one real", one).path))
    refused("is packed as 16x16x3, and DATA is 32x32x3", pack("little", draw_faces(range(9), 16).images).path)
    refused("is packed as 16x16x3, and MODEL is 32x32x3", model, data=str(tmp_path / "little"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").touch()
    refused("run that has no model yet", tmp_path / "run")

    refused("read_raw_generator", model, raw_weights=True)
    broken = Generator.from_pretrained(model)
    next(broken.parameters()).data.view(-1)[0] = torch.nan
    refused("holds NaN or infinity", model, generator=broken)

    class Infinite(torch.nn.Module):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return pixels.mean((2, 3)).log()

    refused("features from Infinite hold NaN or infinity", pack("black", np.zeros((9, 32, 32, 3), np.uint8)).path,
            extractor=ModuleExtractor(Infinite()))  # fmt: skip
    with pytest.raises(DcganError, match="name the real images"):
        EvaluateConfig(model="a")
    with pytest.raises(DcganError, match="count must be above 0"):
        EvaluateConfig(model="a", data="b", count=0)


def test_few_images_are_told_of(judge: Callable[..., Evaluation], pack: Pack, model: Path) -> None:
    found = judge(model, count=50)
    assert any("50 images are no more than the 64 dimensions" in note for note in found.notes)
    assert not any("dimensions" in note for note in judge(model, count=100).notes)
    few = judge(model, data=str(pack("ten", draw_faces(range(10), 32).images).path))
    assert few.floor is None
    assert any("too few images for a floor" in note for note in few.notes)
    assert any("DATA has 10 training images, fewer than --count 300" in note for note in few.notes)


def test_a_model_of_other_data_is_told_of(judge: Callable[..., Evaluation], model: Path) -> None:
    generator = Generator.from_pretrained(model)
    generator.about["dataset"] = {"name": "cats", "digest": "0" * 64}
    assert any("trained on cats" in note for note in judge(model, generator=generator).notes)
    assert not any("trained on" in note for note in judge(model).notes)


def test_only_the_one_inception_is_called_fid(small: ModuleExtractor) -> None:
    imitation = ModuleExtractor(small.module, name="inception")
    assert frechet_name(imitation) == "FD-inception"
    true = Counting(imitation)
    true.digest = SHA256_PREFIX + "0" * 56
    assert frechet_name(true) == "FID"


def test_the_report_holds_it_all(judge: Callable[..., Evaluation], fresh: PackedImages, tmp_path: Path) -> None:
    found = judge(fresh.path)
    write_report(found, tmp_path / "out")
    names = {"evaluation.json", "evaluation.md", "fakes.png", "closest-pixels.png", "closest-features.png"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    values = read_json(tmp_path / "out" / "evaluation.json")
    assert values["figures"] == found.figures
    assert values["protocol"] == json.loads(json.dumps(found.protocol))
    assert values["audit"]["verdict"] == "no sign of copying"
    for key in ("extractor", "weights_digest", "resize", "data_digest", "seed", "reals", "fakes"):
        assert key in values["protocol"]
    assert values["model"]["digest"] == fresh.digest
    assert values["environment"]["torch"] == torch.__version__
    text = (tmp_path / "out" / "evaluation.md").read_text()
    assert found.floor is not None
    for name, value in found.figures.items():
        row = next(line for line in text.splitlines() if line.startswith(f"| {name} "))
        for number in (value, found.floor.figures[name]):
            assert (f"{number:.2f}" if abs(number) >= 10 else f"{number:.4f}") in row
    assert all(f"]({name})" in text for name in names if name.endswith(".png"))
    said = summary(found, tmp_path / "out")
    assert "\n" not in said
    assert "FD-small" in said
    assert "(floor" in said
    assert "no sign of copying" in said
    bare = dataclasses.replace(found, floor=None, audit="because", pairs={})
    write_report(bare, tmp_path / "bare")
    assert "No audit could be made: because." in (tmp_path / "bare" / "evaluation.md").read_text()


def test_results_go_beside_a_model_and_never_among_images(
    model: Path, fresh: PackedImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def folder(path: Path | str, out: str | None = None) -> Path:
        return results_folder(EvaluateConfig(model=str(path), data="x", out=out))

    best = model / "best.safetensors"
    best.write_bytes((model / "model.safetensors").read_bytes())
    assert folder(model) == model / "evaluation"
    assert folder(best) == model / "evaluation-best"
    assert folder(fresh.path) == Path("evaluation-fresh")
    assert folder(fresh.path, "there") == Path("there")
    with pytest.raises(DcganError, match="choose another place with --out"):
        folder(".")


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_the_command_prints_one_line(
    faces32: PackedImages,
    tiny: Callable[..., TrainConfig],
    small: ModuleExtractor,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = train(tiny()).run
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    torch.jit.trace(small.module, torch.zeros(1, 3, 32, 32)).save(str(tmp_path / "mine.pt"))
    arguments = [str(faces32.path), "-n", "30", "--extractor", str(tmp_path / "mine.pt"), "--device", "cpu"]
    capsys.readouterr()
    assert main(["evaluate", str(run), *arguments]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1
    assert out.startswith("FD-mine ")
    assert str(run / "evaluation" / "evaluation.md") in out
    assert "note: no memorisation audit" in err
    assert {path: path.read_bytes() for path in before} == before
    newest = max((run / "checkpoints").iterdir())
    assert main(["evaluate", str(newest), *arguments, "--raw-weights", "--out", str(tmp_path / "raw")]) == 0
    raw, average = (read_json(folder / "evaluation.json") for folder in (tmp_path / "raw", run / "evaluation"))
    assert (raw["model"]["weights"], average["model"]["weights"]) == ("raw", "average")
    assert raw["figures"] != average["figures"]
    assert main(["evaluate", str(run), *arguments, "--raw-weights"]) == 2


def test_quick_figures_are_those_of_an_evaluation(
    people: PackedImages, small: ModuleExtractor, judge: Callable[..., Evaluation], model: Path
) -> None:
    generator = Generator.from_pretrained(model)
    state = torch.get_rng_state()
    quick = QuickEvaluator(people, small, 200)
    figures = quick(generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(figures) == ["FD-small", "kernel_distance", "precision", "recall"]
    assert figures == quick(generator)
    whole = judge(model, count=200)
    assert quick.protocol == whole.protocol
    assert figures == pytest.approx({name: whole.figures[name] for name in figures}, rel=1e-6)
    counting = Counting(small)
    QuickEvaluator(people, counting, 200)
    assert counting.seen == 0


def test_alike_images_of_few_people_show_in_recall(
    judge: Callable[..., Evaluation], fresh: PackedImages, pack: Pack
) -> None:
    collapsed = judge(pack("collapsed", np.repeat(fresh.read(range(10)), 30, axis=0)).path)
    assert collapsed.figures["recall"] < 0.1 < judge(fresh.path).figures["recall"]
