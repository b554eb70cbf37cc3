"""Make a trained model the one that comes with the package.

    python bench/release.py runs/00003-celeba64-relativistic --data celeba64 --evaluation evaluation/evaluation.json

Writes `src/dcgan/pretrained/model.safetensors` in half precision, with what the run's last evaluation measured, and the
run's directions beside it if it has any. docs/model-card.md says what the model is: bring it up to date by hand.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from dcgan.checkpoint import read_json
from dcgan.data import PackedImages
from dcgan.explore.files import beside, read_directions, write_directions
from dcgan.model_file import PRETRAINED, model_file, save_model
from dcgan.models import Discriminator, Generator

LARGEST = 16_000_000  # bytes: it is downloaded by everyone who installs the package


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a run, a checkpoint or a model file")
    parser.add_argument("--evaluation", type=Path, help="an evaluation.json of this model")
    parser.add_argument("--data", type=Path, help="the packed data set it was trained on, for its terms of use")
    arguments = parser.parse_args()
    generator = Generator.from_pretrained(arguments.model)
    discriminator = Discriminator.from_pretrained(arguments.model)
    about = generator.about
    if arguments.evaluation is not None:
        about = {**about, "metrics": read_json(arguments.evaluation)["figures"]}
    if arguments.data is not None:
        data = PackedImages.open(arguments.data)
        assert data.digest == about["dataset"]["digest"], f"{arguments.model} was trained on other data"
        about = {**about, "terms": data.terms}
    path = model_file(PRETRAINED)
    states = {"generator": generator.state_dict(), "discriminator": discriminator.state_dict()}
    save_model(path, generator.config, states, about, half=True)
    assert path.stat().st_size <= LARGEST, f"{path} has {path.stat().st_size} bytes"
    released = Generator.from_pretrained(PRETRAINED)
    difference = np.abs(released.sample(range(64)).astype(int) - generator.sample(range(64)).astype(int))
    print(f"{path}: {path.stat().st_size / 1e6:.1f} MB, images differ by {difference.max()} of 255 levels at most")
    directions = read_directions(beside(arguments.model, "directions.safetensors"), generator)
    if directions:
        write_directions(path.with_name("model.directions.safetensors"), released, directions)


if __name__ == "__main__":
    main()
