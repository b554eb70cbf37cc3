from __future__ import annotations

import gzip
import io
import itertools
import os
import shutil
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dcgan.data import trees
from dcgan.data.trees import UnusableError, fingerprint, open_tree, read_payload
from dcgan.errors import DcganError

WriteTree = Callable[[str, Mapping[str, bytes]], Path]
FILES = {
    "b/2.jpg": b"two",
    "a/1.jpg": b"one",
    "a-b.jpg": b"hyphens sort before slashes",
    "empty.jpg": b"",
    "b/3.jpg": bytes(5000),
}


def contents(path: Path) -> dict[str, bytes | str]:
    """Every file's bytes, or why it cannot be had, in the order of the tree."""
    with closing(open_tree(path)) as tree:
        found: dict[str, bytes | str] = {}
        for name in tree.names:
            try:
                found[name] = read_payload(tree.payload(name))
            except UnusableError as error:
                found[name] = str(error)
        return found


def skipped(path: Path) -> list[tuple[str, str]]:
    with closing(open_tree(path)) as tree:
        return sorted(tree.skipped)


@pytest.mark.parametrize("name", ["folder", "x.zip", "x.tar", "x.tgz", "x.tar.gz", "x.tar.bz2", "x.tar.xz"])
@pytest.mark.parametrize("turn", [1, -1])
def test_a_folder_and_its_archives_are_the_same(write_tree: WriteTree, name: str, turn: int) -> None:
    path = write_tree(name, dict(list(FILES.items())[::turn]))
    assert list(contents(path).items()) == sorted(FILES.items())


@pytest.mark.parametrize("name", ["folder", "x.zip", "x.tar"])
def test_what_systems_leave_behind_is_ignored(write_tree: WriteTree, name: str) -> None:
    junk = {f"{left}.jpg": b"x" for left in (".hidden", ".git/x", "a/.x/y", "__MACOSX/z", "a/._1")}
    path = write_tree(name, FILES | junk | {"Thumbs.db": b"", "a/desktop.ini": b"", ".DS_Store": b""})
    assert contents(path).keys() == FILES.keys()
    assert skipped(path) == []


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tgz"])
def test_names_lead_nowhere(write_tree: WriteTree, name: str) -> None:
    outside = {"../up.jpg": b"1", "/etc/root.jpg": b"2", "./here.jpg": b"3", "a\\b.jpg": b"4", "c/../../d.jpg": b"5"}
    expected = {"up.jpg": b"1", "etc/root.jpg": b"2", "here.jpg": b"3", "a/b.jpg": b"4", "c/d.jpg": b"5"}
    assert contents(write_tree(name, outside)) == expected


def test_a_folder_is_gone_through_to_its_ends(write_tree: WriteTree) -> None:
    parts = ("a", "a-b", "b", "a.b", "\U0001f600")
    files = {f"{'/'.join(folders)}/1.jpg": b"" for n in (1, 2, 3) for folders in itertools.product(parts, repeat=n)}
    assert list(contents(write_tree("folder", files))) == sorted(files)


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz"])
def test_of_members_of_one_name_the_last_counts(tmp_path: Path, name: str) -> None:
    with tarfile.open(tmp_path / name, "w:gz" if name.endswith("gz") else "w") as tar:
        for inside, data in (("b.jpg", b"1"), ("a.jpg", b"22"), ("./b.jpg", b"333"), ("c.jpg", b""), ("a.jpg", b"4")):
            member = tarfile.TarInfo(inside)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    assert list(contents(tmp_path / name).items()) == [("a.jpg", b"4"), ("b.jpg", b"333"), ("c.jpg", b"")]


def test_names_that_are_not_utf_8_keep_their_place(write_tree: WriteTree) -> None:
    names = [os.fsdecode(name) for name in (b"\xff.jpg", b"\xc3\xa4.jpg", b"a.jpg", b"\xef\xbf\xbd.jpg")]
    files = {name: name.encode("utf-8", "surrogateescape") for name in names}
    for kind in ("folder", "x.tar"):
        assert list(contents(write_tree(kind, files)).items()) == sorted(files.items())


def test_links_are_followed_only_inside(write_tree: WriteTree, tmp_path: Path) -> None:
    path = write_tree("folder", FILES)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(b"secret")
    (path / "inside.jpg").symlink_to(path / "a" / "1.jpg")
    (path / "outside.jpg").symlink_to(secret)
    (path / "broken.jpg").symlink_to(path / "nothing")
    (path / "loop").symlink_to(path)
    os.mkfifo(path / "pipe.jpg")
    assert contents(path) == FILES | {"inside.jpg": b"one"}
    assert skipped(path) == [
        ("broken.jpg", "not a regular file"),
        ("loop", "link to a folder"),
        ("outside.jpg", "link out of the folder"),
        ("pipe.jpg", "not a regular file"),
    ]


def test_links_and_devices_in_archives_are_skipped(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, kind in (("s", tarfile.SYMTYPE), ("h", tarfile.LNKTYPE), ("c", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(f"{name}.jpg")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("s.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    for name, count in (("x.tar", 3), ("x.zip", 1)):
        assert contents(tmp_path / name) == {}
        assert [reason for _, reason in skipped(tmp_path / name)] == ["not a regular file"] * count


@pytest.mark.parametrize("name", ["folder", "x.zip", "x.tar", "x.tgz"])
def test_huge_files_are_never_read_whole(write_tree: WriteTree, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_BYTES", 1000)
    path = write_tree(name, FILES)
    reasons = contents(path) | dict(skipped(path))
    assert reasons["b/3.jpg"] == "too large"
    assert {key: value for key, value in reasons.items() if key != "b/3.jpg"} == {
        key: value for key, value in FILES.items() if key != "b/3.jpg"
    }


def test_a_bomb_is_not_unpacked_to_be_measured(write_tree: WriteTree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "MAX_BYTES", 100_000)
    path = write_tree("x.zip", {"x.jpg": bytes(20_000_000)})
    tracemalloc.start()
    assert contents(path) == {"x.jpg": "too large"}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def zip_with_size(path: Path, data: bytes, claimed: int) -> Path:
    """A zip with one deflated member, whose headers claim another size than it has."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.jpg", data)
    raw = buffer.getvalue()
    true, lie = len(data).to_bytes(4, "little"), claimed.to_bytes(4, "little")
    assert raw.count(true) == 2, "once in the member's header, once in the directory"
    path.write_bytes(raw.replace(true, lie))
    return path


def test_sizes_that_a_zip_claims_are_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0).bytes(123_456)
    assert contents(zip_with_size(tmp_path / "small.zip", random, 10))["x.jpg"] == "damaged in the archive"
    larger = contents(zip_with_size(tmp_path / "large.zip", random, 1 << 30))["x.jpg"]
    assert larger in (random, "damaged in the archive")
    monkeypatch.setattr(trees, "MAX_BYTES", 100_000)
    assert contents(zip_with_size(tmp_path / "bomb.zip", random, 1 << 30))["x.jpg"] == "too large"


def test_one_damaged_member_does_not_cost_the_others(write_tree: WriteTree) -> None:
    path = write_tree("x.zip", {"1.jpg": b"good", "2.jpg": b"spoilt by one bit", "3.jpg": b"good"})
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("2.jpg").header_offset + 30 + len("2.jpg") + 3
    raw = bytearray(path.read_bytes())
    raw[offset] ^= 0x10
    path.write_bytes(raw)
    assert contents(path) == {"1.jpg": b"good", "2.jpg": "damaged in the archive", "3.jpg": b"good"}


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tgz", "x.tar.bz2", "x.tar.xz"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.7])
def test_an_archive_cut_short_is_an_error(write_tree: WriteTree, name: str, share: float) -> None:
    random = np.random.default_rng(0)
    path = write_tree(name, {f"{number}.jpg": random.bytes(3000) for number in range(9)})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DcganError, match=rf"cannot read .*{name}.*damaged"):
        open_tree(path)


@pytest.mark.parametrize("name", ["x.tar", "x.tgz"])
def test_a_tar_with_a_damaged_header_is_an_error(write_tree: WriteTree, name: str) -> None:
    files = {f"{number}.jpg": bytes(100) for number in range(3)}
    plain = write_tree("plain.tar", files)
    with tarfile.open(plain) as tar:
        offset = tar.getmember("1.jpg").offset
    raw = bytearray(plain.read_bytes())
    raw[offset + 2] ^= 0xFF
    path = plain.with_name(name)
    path.write_bytes(gzip.compress(raw) if name == "x.tgz" else raw)
    with pytest.raises(DcganError, match="damaged"):
        open_tree(path)


def test_an_encrypted_zip_is_an_error(write_tree: WriteTree) -> None:
    path = write_tree("x.zip", {"x.jpg": b"secret"})
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(raw)
    with pytest.raises(DcganError, match="encrypted"):
        open_tree(path)


def test_other_paths_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DcganError, match="does not exist"):
        open_tree(tmp_path / "nothing")
    (tmp_path / "one.jpg").write_bytes(b"x")
    with pytest.raises(DcganError, match=r"no folder, \.zip or \.tar"):
        open_tree(tmp_path / "one.jpg")


def test_a_fingerprint_changes_with_any_file(write_tree: WriteTree, tmp_path: Path) -> None:
    folder, archive = write_tree("folder", FILES), write_tree("x.zip", FILES)
    seen = [fingerprint(folder), fingerprint(archive)]
    assert seen == [fingerprint(folder), fingerprint(archive)]
    (folder / "a" / "1.jpg").write_bytes(b"more")
    os.utime(archive, ns=(1, 1))
    seen += [fingerprint(folder), fingerprint(archive)]
    (folder / "a" / "1.jpg").rename(folder / "a" / "4.jpg")
    shutil.copy2(archive, tmp_path / "y.zip")
    seen += [fingerprint(folder), fingerprint(tmp_path / "y.zip")]
    assert len(set(seen)) == 6


def test_a_link_to_itself_and_members_without_a_name_are_passed_over(write_tree: WriteTree, tmp_path: Path) -> None:
    folder = write_tree("folder", FILES)
    (folder / "loop.jpg").symlink_to("loop.jpg")
    with closing(open_tree(folder)) as tree:
        assert "loop.jpg" not in tree.names
        assert ("loop.jpg", "not a regular file") in tree.skipped
    nameless = zipfile.ZipInfo("x")
    nameless.filename = ""
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(nameless, b"nothing")
        archive.writestr("1.jpg", b"one")
    with closing(open_tree(tmp_path / "x.zip")) as tree:
        assert list(tree.names) == ["1.jpg"]


def test_an_archive_that_is_none_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_bytes(b"hello" * 200)
    with pytest.raises(DcganError, match=r"x.tar.gz: it is damaged, or no tar file") as error:
        open_tree(tmp_path / "x.tar.gz")
    assert "\n" not in str(error.value)
