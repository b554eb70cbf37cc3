"""A small share of bench/faults.py with a fixed seed, and settings and label files that nobody would write."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import damage
import faults
import hostile
import trials

from dcgan import config
from dcgan.config import from_json, parse_amounts, parse_list, parse_seeds
from dcgan.data import celeba, writer
from dcgan.data.table import read_table
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


KINDS = [kind for name in config.__all__ if dataclasses.is_dataclass(kind := getattr(config, name))]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60)
@given(data=st.data())
def test_any_json_is_settings_or_one_clear_error(kind: type[Any], data: st.DataObject) -> None:
    names = st.sampled_from(sorted(kind.__dataclass_fields__)) | st.text(max_size=5)
    values = data.draw(json_values | st.dictionaries(names, json_values, max_size=4))
    if isinstance(values, dict):
        needed = [field.name for field in dataclasses.fields(kind) if is_needed(field)]
        values = {**dict.fromkeys(needed, "x"), **values}
    try:
        made = from_json(kind, values, "config.json")
    except DcganError as error:
        assert "config.json" in str(error)  # noqa: PT017
    else:
        json.dumps({name: getattr(made, name) for name in kind.__dataclass_fields__}, allow_nan=False)


def is_needed(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


@settings(max_examples=300)
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


@settings(max_examples=300)
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


IMAGES = tuple(f"{letter}.jpg" for letter in "abcdef")
of_numbers = st.sampled_from(["", "0", "1", "-1", "0.5", "1e-50", "1e39", "1e999", "\u0663", "1_0"])
of_anything = of_numbers | st.sampled_from(["yes", "no", "nan", "inf", "red"]) | st.text(max_size=5)
names = st.sampled_from([*IMAGES, "other.jpg", "./a.jpg"])
tables = st.lists(
    st.tuples(names, of_anything, of_numbers).map(",".join), max_size=6, unique_by=lambda row: row[:5]
).map(lambda rows: "\n".join(["file,hair,age", *rows]).encode("utf-8", "replace"))  # fmt: skip


@settings(max_examples=500)
@given(content=tables | lines | st.binary(max_size=200))
def test_any_table_of_labels_is_read_or_named_in_one_clear_error(content: bytes) -> None:
    try:
        table = read_table("set/labels.csv", content, [f"set/{image}" for image in IMAGES])
    except DcganError as error:
        assert "set/labels.csv" in str(error)  # noqa: PT017
    else:
        values = np.stack(list(table.rows.values()))
        assert values.shape == (len(table.rows), len(table.labels))
        assert not np.isinf(values).any()
        kinds = np.array([label.kind for label in table.labels])
        yes_or_no = values[:, kinds != "number"]
        assert np.isin(yes_or_no[~np.isnan(yes_or_no)], (0, 1)).all()


numbers = st.none() | st.floats(-(2.0**99), 2.0**99, width=32)
words = st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc", "Z", "N"]), min_size=1, max_size=6)


@settings(max_examples=200)
@given(rows=st.lists(st.tuples(numbers, words), min_size=len(IMAGES), max_size=len(IMAGES)))
def test_a_table_of_labels_is_read_as_it_was_written(rows: list[tuple[float | None, str | None]]) -> None:
    # Columns that are neither empty nor of two values, which are attributes.
    rows = [(0.25, "#first"), (2.5, "#second"), *rows[2:]]
    text = io.StringIO()
    csv.writer(text).writerows([("file", "age", "class"), *((IMAGES[i], *row) for i, row in enumerate(rows))])
    table = read_table("labels.csv", text.getvalue().encode(), IMAGES)
    names = [label.name for label in table.labels]
    assert names == ["age", *sorted({word for _, word in rows if word is not None})]
    for image, (number, word) in zip(IMAGES, rows, strict=True):
        age, *classes = table.rows[image].tolist()
        assert math.isnan(age) if number is None else age == np.float32(number)
        expected = [math.nan if word is None else float(name == word) for name in names[1:]]
        np.testing.assert_equal(classes, expected)
