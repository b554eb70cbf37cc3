from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dcgan.data import sources
from dcgan.data.sources import Entry, Source
from dcgan.errors import DcganError

WriteTree = Callable[[str, Mapping[str, bytes]], Path]
PARTITION = b"000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n000004.jpg 0\n"
ATTRIBUTES = b"4\nMale Smiling\n000001.jpg 1 -1\n000002.jpg -1 1\n000003.jpg 1 -1\n000004.jpg -1 1\n"
LANDMARKS = (
    b"image_id,lefteye_x,lefteye_y,righteye_x,righteye_y,nose_x,nose_y,leftmouth_x,leftmouth_y,rightmouth_x,rightmouth_y\n"
    + b"".join(b"00000%d.jpg,%d,109,106,113,77,142,73,152,108,154\n" % (i, 60 + i) for i in range(1, 5))
)
IMAGES = {f"00000{i}.jpg": b"image %d" % i for i in range(1, 5)}


def entries(path: Path, split: str = "all") -> list[Entry]:
    with Source(path, split) as source:
        found = list(source)
        assert len(found) == len(source)
        return found


def classes(path: Path) -> tuple[list[str], dict[str, list[float] | None]]:
    with Source(path) as source:
        labels = {entry.name: None if entry.labels is None else entry.labels.tolist() for entry in source}
        assert all(label.kind == "class" for label in source.labels)
        return [label.name for label in source.labels], labels


@pytest.mark.parametrize("name", ["faces", "faces.zip", "faces.tar.gz"])
@pytest.mark.parametrize("top", ["", "set/", "a/b/"])
def test_sub_folders_are_classes(write_tree: WriteTree, name: str, top: str) -> None:
    files = {"smile/1.jpg": b"", "neutral/x/2.jpg": b"", "neutral/3.jpg": b"", "readme.txt": b"", "docs/a.txt": b""}
    names, labels = classes(write_tree(name, {top + inside: data for inside, data in files.items()}))
    assert names == ["neutral", "smile"]
    assert labels == {f"{top}neutral/3.jpg": [1, 0], f"{top}neutral/x/2.jpg": [1, 0], f"{top}smile/1.jpg": [0, 1]}


def test_what_lies_beside_the_classes_has_none(write_tree: WriteTree) -> None:
    names, labels = classes(write_tree("faces", {"a/1.jpg": b"", "b/2.jpg": b"", "3.jpg": b""}))
    assert names == ["a", "b"]
    assert labels["3.jpg"] is None


@pytest.mark.parametrize(
    "files", [["1.jpg", "2.jpg"], ["one/1.jpg", "one/2.jpg"], ["1.jpg", "one/2.jpg"], [], ["a/1.txt", "b/2.txt"]]
)
def test_fewer_than_two_folders_are_no_classes(write_tree: WriteTree, files: list[str]) -> None:
    assert classes(write_tree("faces.zip", dict.fromkeys(files, b"")))[0] == []


def test_storage_folders_are_no_classes(write_tree: WriteTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_CLASSES", 3)
    assert classes(write_tree("faces.zip", {f"{i}/x.jpg": b"" for i in range(4)}))[0] == []


paths = st.lists(st.sampled_from(["a", "b", "ab", "a-b"]), min_size=1, max_size=4).map("/".join)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(paths, max_size=12), first=st.integers(0, 12))
def test_names_are_gone_through_as_if_they_were_in_a_list(write_tree: WriteTree, names: set[str], first: int) -> None:
    path = write_tree("x.zip", {f"{name}.jpg": b"" for name in names} | dict.fromkeys(names, b"no image"))
    expected = sorted(f"{name}.jpg" for name in names)
    with Source(path) as source:
        assert [entry.name for entry in source] == expected
        assert [entry.name for entry in source.entries(first)] == expected[first:]
        assert source.skipped == [(name, "not an image") for name in sorted(names)]
        # Sets and parts that were packed earlier are known by it.
        assert source.names_digest == hashlib.sha256("".join(f"{name}\n" for name in expected).encode()).hexdigest()
        digest, labels = source.names_digest, {label.name for label in source.labels}
    common = posixpath.commonpath({posixpath.dirname(name) for name in expected}) if expected else ""
    inside = [PurePosixPath(name).relative_to(common).parts for name in expected]
    folders = {parts[0] for parts in inside if len(parts) > 1}
    assert labels == (folders if len(folders) > 1 else set())
    found = []
    for part in (1, 2, 3):
        with Source(path, part=(part, 3)) as source:
            assert (source.names_digest, {label.name for label in source.labels}) == (digest, labels)
            found += [entry.name for entry in source]
            assert len(source.skipped) == (len(names) if part == 1 else 0)
    assert found == expected


def test_other_files_are_skipped_by_name(write_tree: WriteTree) -> None:
    files = {"b.JPG": b"", "notes.txt": b"", "a.webp": b"", "c": b"", "d.jpg.part": b""}
    with Source(write_tree("faces", files)) as source:
        assert [entry.name for entry in source] == ["a.webp", "b.JPG"]
        assert source.skipped == [(name, "not an image") for name in ("c", "d.jpg.part", "notes.txt")]
        assert source.name == "faces"


def test_archives_are_called_by_their_names(write_tree: WriteTree) -> None:
    for name in ("my.faces.zip", "my.faces.tar", "my.faces.tar.gz", "my.faces.TGZ"):
        with Source(write_tree(name.lower(), {}).rename(write_tree("x", {"y": b""}).parent / name)) as source:
            assert source.name == "my.faces"


def official(write_tree: WriteTree, files: Mapping[str, bytes]) -> Path:
    """Anno/, Eval/ and Img/, with the images in their zip."""
    archive = write_tree("img_align_celeba.zip", {f"img_align_celeba/{name}": data for name, data in files.items()})
    names = {
        "Anno/list_attr_celeba.txt": ATTRIBUTES,
        "Anno/list_landmarks_align_celeba.csv": LANDMARKS,
        "Anno/identity_CelebA.txt": b"000001.jpg 2880",
        "Eval/list_eval_partition.txt": PARTITION,
        "README.txt": b"",
        "Img/img_celeba/000001.jpg": b"not aligned",
        "Img/img_align_celeba.zip": archive.read_bytes(),
    }
    archive.unlink()
    return write_tree("CelebA", names)


def kaggle(write_tree: WriteTree, files: Mapping[str, bytes], name: str = "celeba-dataset") -> Path:
    images = {f"img_align_celeba/img_align_celeba/{inside}": data for inside, data in files.items()}
    rows = PARTITION.replace(b" ", b",")
    tables = {
        "list_attr_celeba.csv": ATTRIBUTES.replace(b"4\nMale", b"image_id Male").replace(b" ", b","),
        "list_landmarks_align_celeba.csv": LANDMARKS,
        "list_eval_partition.csv": b"image_id,partition\n" + rows,
        "list_bbox_celeba.csv": b"image_id,x_1\n",
    }
    return write_tree(name, images | tables)


def archived(write_tree: WriteTree, files: Mapping[str, bytes]) -> Path:
    return kaggle(write_tree, files, "archive.zip")


@pytest.mark.parametrize("layout", [official, kaggle, archived])
def test_celeba_is_known_in_every_layout(
    write_tree: WriteTree, layout: Callable[[WriteTree, Mapping[str, bytes]], Path]
) -> None:
    path = layout(write_tree, IMAGES | {"000005.jpg": b"in no file", "Thumbs.db": b""})
    with Source(path) as source:
        assert [(label.name, label.kind) for label in source.labels] == [("Male", "binary"), ("Smiling", "binary")]
        assert source.landmarks == ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
        assert source.skipped == []
        found = {Path(entry.name).name: entry for entry in source}
    assert list(found) == [*IMAGES, "000005.jpg"]
    first, second = found["000001.jpg"], found["000002.jpg"]
    assert first.labels is not None
    assert second.labels is not None
    assert (first.labels.tolist(), second.labels.tolist()) == ([1, 0], [0, 1])
    assert second.landmarks is not None
    np.testing.assert_array_equal(second.landmarks[:2], [[62, 109], [106, 113]])
    assert [entry.held_out for entry in found.values()] == [False, True, True, False, False]
    assert found["000005.jpg"].labels is found["000005.jpg"].landmarks is None
    names = {
        split: [Path(entry.name).stem[-1] for entry in entries(path, split)] for split in ("train", "valid", "test")
    }
    assert names == {"train": ["1", "4"], "valid": ["2"], "test": ["3"]}


def test_re_encoded_celeba_keeps_its_annotations(write_tree: WriteTree) -> None:
    path = write_tree("CelebA", {"img_align_celeba_png/000002.png": b"", "list_eval_partition.txt": PARTITION})
    (entry,) = entries(path)
    assert entry.held_out


def test_images_of_celeba_alone_are_just_images(write_tree: WriteTree) -> None:
    path = write_tree("img_align_celeba.zip", {f"img_align_celeba/{name}": data for name, data in IMAGES.items()})
    with Source(path) as source:
        assert source.labels == source.landmarks == ()
        assert [entry.payload for entry in source] == list(IMAGES.values())
    with pytest.raises(DcganError, match=r"split train needs CelebA's list_eval_partition\.txt"):
        Source(path, "train")
