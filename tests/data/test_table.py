"""Labels from a labels.csv."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from dcgan.config import Label
from dcgan.data.sources import Source
from dcgan.data.table import read_table
from dcgan.errors import DcganError

WriteTree = Callable[[str, Mapping[str, bytes]], Path]
IMAGES = ("a.png", "b.png", "x/c.png")


def read(text: str) -> tuple[list[Label], dict[str, list[float]]]:
    table = read_table("labels.csv", text.encode(), IMAGES)
    return list(table.labels), {name: row.tolist() for name, row in table.rows.items()}


def test_words_are_classes_two_values_attributes_and_others_numbers() -> None:
    labels, rows = read("file,hair,smile,age,hat\na.png,red,1,20,-1\nb.png,grey,0,31.5,1\nx/c.png,red,1,7,1\n")
    assert labels == [
        Label("hair=grey", "class"),
        Label("hair=red", "class"),
        Label("smile", "binary"),
        Label("age", "number"),
        Label("hat", "binary"),
    ]
    assert rows == {"a.png": [0, 1, 1, 20, 0], "b.png": [1, 0, 0, 31.5, 1], "x/c.png": [0, 1, 1, 7, 1]}


def test_empty_fields_are_unknown() -> None:
    _, rows = read("file,hair,smile\na.png,,1\nb.png,grey,\nx/c.png,red,no\n")
    np.testing.assert_equal(rows["a.png"], [np.nan, np.nan, 1])
    np.testing.assert_equal(rows["b.png"], [1, 0, np.nan])
    assert rows["x/c.png"] == [0, 1, 0]


def test_a_column_named_class_has_bare_names() -> None:
    assert [label.name for label in read("file,class\na.png,smile\nb.png,neutral\n")[0]] == ["neutral", "smile"]


@pytest.mark.parametrize("text", ["file;smile\na.png;1\nb.png;0\n", "\ufefffile\tsmile\r\na.png\t1\r\nb.png\t0\r\n"])
def test_what_spreadsheets_write_is_read(text: str) -> None:
    assert read(text)[1] == {"a.png": [1], "b.png": [0]}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ("file,smile\nä.png,1\n".encode("latin-1"), "not in UTF-8 .*save it as UTF-8"),
        ("file,smile\na.png,1\n".encode("utf-16"), "not in UTF-8"),
        (b"file,smile\na.png,1\nd.png,0\n", "line 3: there is no image d.png"),
        (b"file,smile\na.png,1\na.png,0\n", "line 3: a.png is listed twice"),
        (b"file,smile\na.png,1,5\n", "line 2: 3 fields, and the header has 2"),
        (b"a.png,1\n", "must begin with a header such as file,smile"),
        (b"file\na.png\n", "must begin with a header"),
        (b"file,smile,smile\na.png,1,0\n", "there twice"),
        (b"file,smile\n", "lists no images"),
        (b"file,smile\na.png,\n", "column smile is empty"),
        (b"file,age\na.png,20\nb.png,1e39\n", "column age has 1e39, which is too large"),
        (b"", "must begin with a header"),
    ],
)
def test_mistakes_are_told_apart(data: bytes, told: str) -> None:
    with pytest.raises(DcganError, match=told):
        read_table("labels.csv", data, IMAGES)


@pytest.mark.parametrize("name", ["faces", "faces.zip", "faces.tar.gz"])
@pytest.mark.parametrize("top", ["", "set/"])
def test_a_source_takes_its_labels_from_it(write_tree: WriteTree, name: str, top: str) -> None:
    files = {
        "one/1.jpg": b"",
        "two/2.jpg": b"",
        "two/3.jpg": b"",
        "labels.csv": b"file,smile\none/1.jpg,1\ntwo/2.jpg,0\n",
    }
    with Source(write_tree(name, {top + inside: data for inside, data in files.items()})) as source:
        found = {entry.name: entry.labels for entry in source}
        assert source.labels == (Label("smile", "binary"),)  # and not the folders
        assert source.skipped == []
    assert found[f"{top}one/1.jpg"] == [1]
    assert found[f"{top}two/2.jpg"] == [0]
    assert found[f"{top}two/3.jpg"] is None
