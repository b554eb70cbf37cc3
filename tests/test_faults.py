"""A small share of bench/faults.py with a fixed seed, and settings and label files that nobody would write."""

from __future__ import annotations

import json
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import damage
import faults
import hostile
import trials

from dcgan.config import ModelConfig, PrepareConfig, TrainConfig, from_json, parse_amounts, parse_list, parse_seeds
from dcgan.data import celeba, writer
from dcgan.errors import DcganError
from dcgan.train import tracking

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="every trial is a fork")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[trials.Bench]:
    with pytest.MonkeyPatch.context() as patch:  # what the harness changes for its forks
        patch.setattr(tracking, "plot_losses", tracking.plot_losses)
        patch.setattr(writer, "SECONDS_BETWEEN_COMMITS", writer.SECONDS_BETWEEN_COMMITS)
        yield trials.Bench(tmp_path_factory.mktemp("faults"))


def test_training_goes_on_to_the_same_bits_after_kills_at_random_moments(bench: trials.Bench) -> None:
    tally = trials.Tally()
    faults.kill_training(bench, 3, random.Random(1), tally)
    faults.kill_prepare(bench, 2, random.Random(1), tally)
    assert not tally.failures, tally.failures


def test_a_full_disk_is_told_and_a_larger_one_goes_on(bench: trials.Bench) -> None:
    if not faults.can_mount(bench.folder):
        pytest.skip("a small tmpfs cannot be mounted here")
    tally = trials.Tally()
    faults.fill_disks(bench, 3, random.Random(1), tally)
    assert not tally.failures, tally.failures


def test_damage_is_told_or_does_not_matter(bench: trials.Bench) -> None:
    tally = trials.Tally()
    damage.damage_files(bench, len(damage.KINDS), random.Random(2), tally)
    assert not tally.failures, tally.failures


def test_hostile_images_and_archives_are_packed_skipped_or_told(tmp_path: Path) -> None:
    tally = trials.Tally()
    hostile.feed(tmp_path, 50, random.Random(3), tally)
    assert not tally.failures, tally.failures


def test_the_harness_notices_what_it_is_there_to_notice(bench: trials.Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: object) -> int:
        raise OSError("as a bug would")

    with monkeypatch.context() as patch:
        patch.setattr(trials.dcgan.cli, "main", fails)
        assert "traceback: OSError" in str(trials.attempt(["info", bench.run]).fault)
    outcome = trials.attempt(["train", bench.data, "--run-dir", bench.folder / "other", *trials.TINY, "--seed", "1"])
    assert outcome.status == 0
    assert "differ" in str(bench.differing(trials.newest_run(bench.folder / "other")))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", [ModelConfig, TrainConfig, PrepareConfig])
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_json_is_settings_or_one_clear_error(kind: type[Any], data: st.DataObject) -> None:
    names = st.sampled_from(sorted(kind.__dataclass_fields__)) | st.text(max_size=5)
    values = data.draw(json_values | st.dictionaries(names, json_values, max_size=4))
    if isinstance(values, dict) and kind is PrepareConfig:
        values = {"source": "x", "out": "y", **values}
    try:
        made = from_json(kind, values, "config.json")
    except DcganError as error:
        assert "config.json" in str(error)  # noqa: PT017
    else:
        json.dumps({name: getattr(made, name) for name in kind.__dataclass_fields__}, allow_nan=False)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=30) | st.text("0123456789,-+=. ab", max_size=30))
def test_any_text_is_a_list_or_one_clear_error(text: str) -> None:
    for parse in (parse_seeds, parse_list, parse_amounts):
        try:
            parse(text)
        except DcganError:
            continue


lines = st.lists(
    st.text("0123456789 ,-.abcjpgNaIinfe\t", max_size=40) | st.text(max_size=20), max_size=8
).map(lambda rows: "\n".join(rows).encode("utf-8", "replace"))  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(["list_attr_celeba", "list_eval_partition", "list_landmarks_align_celeba"]),
    suffix=st.sampled_from([".txt", ".csv"]),
    content=lines | st.binary(max_size=200),
)
def test_any_label_file_is_read_or_named_in_one_clear_error(name: str, suffix: str, content: bytes) -> None:
    file = f"CelebA/{name}{suffix}"
    try:
        found = celeba.read_annotations([file], lambda _: content)
    except DcganError as error:
        assert file in str(error)  # noqa: PT017
    else:
        assert found
