from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from dcgan.data.celeba import Annotations, read_annotations
from dcgan.errors import DcganError

NAMES = ["000001.jpg", "000002.jpg", "000003.jpg"]
ATTRIBUTES = {"5_o_Clock_Shadow": [-1, 1, -1], "Smiling": [1, -1, -1]}
POINTS = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
LANDMARKS = {f"{point}_{axis}": [69, 70, 71] for point in POINTS for axis in "xy"}
PARTITION = {"partition": [0, 1, 2]}


def txt(columns: Mapping[str, Sequence[int]], header: bool = True) -> bytes:
    """As CelebA's authors write it, columns padded by spaces."""
    rows = [f"{name} " + " ".join(f"{column[i]:3}" for column in columns.values()) for i, name in enumerate(NAMES)]
    return "\n".join([*([str(len(NAMES)), " ".join(columns) + " "] if header else []), *rows, ""]).encode()


def csv(columns: Mapping[str, Sequence[int]]) -> bytes:
    """As Kaggle's copy has it."""
    rows = [",".join([name, *(str(column[i]) for column in columns.values())]) for i, name in enumerate(NAMES)]
    return "\r\n".join([",".join(["image_id", *columns]), *rows, ""]).encode()


TXT = {
    "Anno/list_attr_celeba.txt": txt(ATTRIBUTES),
    "Anno/list_landmarks_align_celeba.txt": txt(LANDMARKS),
    "Eval/list_eval_partition.txt": txt(PARTITION, header=False),
}
CSV = {
    "list_attr_celeba.csv": csv(ATTRIBUTES),
    "list_landmarks_align_celeba.csv": csv(LANDMARKS),
    "list_eval_partition.csv": csv(PARTITION),
}


def read(files: Mapping[str, bytes]) -> Annotations:
    return read_annotations(files, files.__getitem__)


def test_official_and_kaggle_files_say_the_same() -> None:
    for kind in ("attributes", "partition", "landmarks"):
        txt, csv = getattr(read(TXT), kind), getattr(read(CSV), kind)
        np.testing.assert_array_equal(txt.values, csv.values)
        assert txt.rows == csv.rows
    attributes = read(TXT).attributes
    assert attributes is not None
    assert attributes.columns == read(CSV).attributes.columns == ("5_o_Clock_Shadow", "Smiling")
    row = attributes.row("img_align_celeba/000002.png")
    assert row is not None
    assert row.tolist() == [1, 0], "-1 is no, and the name's suffix does not matter"
    assert attributes.row("000004.jpg") is None


def test_any_of_the_files_may_be_absent() -> None:
    assert not read({"readme.txt": b""})
    for name in TXT:
        some = read({name: TXT[name]})
        assert some
        assert sum(table is not None for table in (some.attributes, some.partition, some.landmarks)) == 1


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("Anno/list_attr_celeba.txt", b"000002.jpg   1  -1", b"000002.jpg 1", "txt, line 4"),
        ("Anno/list_attr_celeba.txt", b"000002.jpg   1  -1", b"000002.jpg 1 7", "line 4.*-1, 0, 1"),
        ("Anno/list_attr_celeba.txt", b"000002.jpg   1  -1", b"000002.jpg 1 x", "line 4"),
        ("Anno/list_attr_celeba.txt", b"000003.jpg  -1  -1", b"", "cut short.*3 images.*lists 2"),
        ("Anno/list_attr_celeba.txt", b"000003.jpg", b"000002.jpg", "twice"),
        ("Anno/list_landmarks_align_celeba.txt", b"2.jpg  70", b"2.jpg nan", "line 4"),
        ("Anno/list_landmarks_align_celeba.txt", b" rightmouth_y", b"", "line 2.*9 columns.*10"),
        ("Eval/list_eval_partition.txt", b"000001.jpg   0", b"000001.jpg 3", "line 1.*0, 1, 2"),
        ("Eval/list_eval_partition.txt", b"000001.jpg   0", b"000001.jpg 0 0", "line 1.*2 columns.*1"),
        ("Eval/list_eval_partition.txt", txt(PARTITION, header=False), b"\xff\xfe", "line 1"),
    ],
)
def test_a_malformed_line_is_named(name: str, old: bytes, new: bytes, message: str) -> None:
    assert old in TXT[name]
    with pytest.raises(DcganError, match=message):
        read(TXT | {name: TXT[name].replace(old, new)})


@pytest.mark.parametrize("name", TXT)
def test_an_empty_file_is_malformed(name: str) -> None:
    with pytest.raises(DcganError, match=name):
        read({name: b""})
