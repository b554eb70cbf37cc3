"""Mutated images and archives for `prepare`: cut, flipped, lying, absurd, and with names that lead elsewhere."""

from __future__ import annotations

import io
import os
import random
import shutil
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from trials import Outcome, Tally, attempt

from dcgan.data import PackedImages

FORMATS = ("png", "jpeg", "webp", "gif", "bmp")
IMAGES_TOGETHER = 25
MEGABYTES = 2000.0
"""More memory than this, torch and all, is a fault."""
NAMES = (
    *("../../evil.png", "/tmp/dcgan-evil.png", "..\\..\\evil.png", "C:\\evil.png", "a/../../../evil.png", "evil.png/"),
    *("a" * 5000 + ".png", "\0evil.png", "evil\n.png", "./.hidden.png", "", ".", "..", "con.png", "évil\udcff.png"),
)


def feed(folder: Path, count: int, draw: random.Random, tally: Tally) -> None:
    """Prepare `count` mutants: three in four are images, in folders of 25 with three good ones; the rest archives."""
    place = folder / "hostile"
    place.mkdir()
    archives = count // 4
    for number in range(0, count - archives, IMAGES_TOGETHER):
        together = min(IMAGES_TOGETHER, count - archives - number)
        _feed_images(place, together, draw, tally)
    for _ in range(archives):
        _feed_archive(place, draw, tally)


def _feed_images(place: Path, count: int, draw: random.Random, tally: Tally) -> None:
    source = place / "in" / "source"
    source.mkdir(parents=True)
    kinds = []
    for number in range(count):
        form = draw.choice(FORMATS)
        kind, data = mutate(image(draw, form), form, draw)
        kinds.append(f"{form} {kind}")
        (source / f"{number:03}.{form}").write_bytes(data)
    for number in range(3):
        (source / f"good{number}.png").write_bytes(image(random.Random(number), "png"))
    outcome, fault = _prepare(place, source)
    if fault is None:
        fault = None if outcome.status == 0 else outcome.output
        packed = PackedImages.open(place / "out" / "set") if fault is None else None
        if packed is not None and len(packed) + packed.manifest["skipped"]["count"] != count + 3:
            fault = "some files are neither packed nor listed as skipped"
        good = [entry for entry in packed.entries() if entry.name.startswith("good")] if packed is not None else []
        if fault is None and (len(good) != 3 or any(entry.reason for entry in good)):
            fault = "a good image beside them was lost"
    for kind in kinds:
        tally.count(f"hostile {kind.split()[0]}", "packed or skipped, the good ones kept", fault, ", ".join(kinds))
    shutil.rmtree(place / "in")
    shutil.rmtree(place / "out", ignore_errors=True)


def _feed_archive(place: Path, draw: random.Random, tally: Tally) -> None:
    make = draw.choice(ARCHIVES)
    (place / "in").mkdir()
    source = make(place / "in", draw)
    outcome, fault = _prepare(place, source)
    if fault is None and outcome.status == 2 and source.name not in outcome.output:
        fault = f"does not name the file: {outcome.output}"
    what = "packed or skipped" if outcome.status == 0 else "clear error"
    tally.count(f"hostile {source.name.partition('.')[2]}", what, fault, make.__name__)
    shutil.rmtree(place / "in")
    shutil.rmtree(place / "out", ignore_errors=True)


def _prepare(place: Path, source: Path) -> tuple[Outcome, str | None]:
    """Prepare into `out`, from another folder; what was wrong with how it ended, or written elsewhere."""
    before = _listing(place)
    (place / "out").mkdir()
    outcome = attempt(["prepare", source, place / "out" / "set", "--size", "8", "--workers", "1"])
    fault = outcome.fault
    if fault is None and outcome.megabytes > MEGABYTES:
        fault = f"took {outcome.megabytes:.0f} MB"
    after = {name for name in _listing(place) if not name.startswith("out")}
    if fault is None and (after != before or Path("/tmp/dcgan-evil.png").exists()):
        fault = f"wrote outside the output folder: {sorted(after ^ before)}"
    return outcome, fault


def _listing(place: Path) -> set[str]:
    """What lies at `place`, and beside it."""
    inside = {str(path.relative_to(place)) for path in place.rglob("*")}
    return inside | {f"../{name}" for name in os.listdir(place.parent)}  # noqa: PTH208


def image(draw: random.Random, form: str) -> bytes:
    """A small picture as a file."""
    pixels = np.frombuffer(draw.randbytes(4 * 4 * 3), np.uint8).reshape(4, 4, 3)
    buffer = io.BytesIO()
    size = draw.randrange(1, 40), draw.randrange(1, 40)
    Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC).save(buffer, form)
    return buffer.getvalue()


def mutate(data: bytes, form: str, draw: random.Random) -> tuple[str, bytes]:
    """A mutation by name, and its result."""
    name = draw.choice(("cut", "flips", "flips", "swap", "insert", "delete", "repeat", "zeros", "lie", "lie", "noise"))
    at = draw.randrange(len(data))
    length = draw.randrange(1, 64)
    match name:
        case "cut":
            return name, data[:at]
        case "flips":
            flipped = bytearray(data)
            for _ in range(draw.choice((1, 3, 20))):
                flipped[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
            return name, bytes(flipped)
        case "swap":
            other = image(draw, draw.choice(FORMATS))
            return name, data[:at] + other[at:]
        case "insert":
            return name, data[:at] + draw.randbytes(length) + data[at:]
        case "delete":
            return name, data[:at] + data[at + length :]
        case "repeat":
            return name, data[:at] + data[at : at + length] * draw.randrange(2, 200) + data[at:]
        case "zeros":
            return name, data[:at] + bytes(length) + data[at + length :]
        case "lie":
            return name, lie(data, form, draw)
    return name, data[:12] + draw.randbytes(length * 20)


def lie(data: bytes, form: str, draw: random.Random) -> bytes:
    """The file with another width and height in its header, checksums right."""
    width, height = (draw.choice((0, 1, 7, 20_000, 65_535, 2**31 - 1, 2**32 - 1)) for _ in range(2))
    match form:
        case "png":
            header = b"IHDR" + struct.pack(">II", width, height) + data[24:29]
            return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
        case "gif":
            return data[:6] + struct.pack("<HH", width & 0xFFFF, height & 0xFFFF) + data[10:]
        case "bmp":
            return data[:18] + struct.pack("<II", width, height) + data[26:]
        case "jpeg":
            at = data.find(b"\xff\xc0") + 5
            return data[:at] + struct.pack(">HH", height & 0xFFFF, width & 0xFFFF) + data[at + 4 :]
    return data[:26] + struct.pack("<HH", width & 0x3FFF, height & 0x3FFF) + data[30:]


def mutated_zip(folder: Path, draw: random.Random) -> Path:
    """A zip of a few images with some of its bytes changed."""
    path = folder / "source.zip"
    with zipfile.ZipFile(path, "w", draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for number in range(3):
            archive.writestr(f"{number}.png", image(draw, "png"))
    return _mutated(path, draw)


def mutated_tar(folder: Path, draw: random.Random) -> Path:
    """A tar, perhaps compressed, with some of its bytes changed."""
    kind = draw.choice(("", "gz", "bz2", "xz"))
    path = folder / ("source.tar" + (f".{kind}" if kind else ""))
    with tarfile.open(path, f"w:{kind}") as archive:  # type: ignore[call-overload]
        for number in range(3):
            _add(archive, tarfile.TarInfo(f"{number}.png"), image(draw, "png"))
    return _mutated(path, draw)


def _mutated(path: Path, draw: random.Random) -> Path:
    form = "none"
    while form in ("none", "lie"):
        form, data = mutate(path.read_bytes(), "none", draw)
    path.write_bytes(data)
    return path


def zip_bomb(folder: Path, draw: random.Random) -> Path:
    """A zip whose member is a thousand times its size, is a zip itself, or claims to be small."""
    path = folder / "source.zip"
    zeros = bytes(1 << 20) * draw.choice((1, 8, 300))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("bomb.png", draw.choice((b"", image(draw, "png"))) + zeros)
    if draw.random() < 0.5:  # both headers say that 100 bytes come out
        data, small = path.read_bytes(), struct.pack("<I", 100)
        central = data.rfind(b"PK\x01\x02")
        path.write_bytes(data[:22] + small + data[26 : central + 24] + small + data[central + 28 :])
    return path


def png_bomb(folder: Path, draw: random.Random) -> Path:
    """An archive with a PNG of many pixels in few bytes."""
    side = draw.choice((9_000, 20_000, 60_000))
    rows = zlib.compressobj(1)
    packed = b"".join(rows.compress(bytes(side // 8 + 1)) for _ in range(min(side, 20_000))) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")]
    data = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    with zipfile.ZipFile(folder / "source.zip", "w") as archive:
        archive.writestr("bomb.png", b"\x89PNG\r\n\x1a\n" + data)
    return folder / "source.zip"


def hostile_names_zip(folder: Path, draw: random.Random) -> Path:
    """A zip with names that lead elsewhere, twice the same, links and devices."""
    path = folder / "source.zip"
    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings(action="ignore"):  # names given twice
        for name in draw.choices(NAMES, k=4):
            member = zipfile.ZipInfo("x")
            member.filename = name.encode("utf-8", "replace").decode()
            member.create_system = 3
            member.external_attr = draw.choice((0o100644, 0o120777, 0o020666, 0o010666, 0)) << 16
            archive.writestr(member, draw.choice((image(draw, "png"), b"/etc/passwd", b"../../evil.png")))
    return path


def hostile_names_tar(folder: Path, draw: random.Random) -> Path:
    """A tar with names that lead elsewhere, links of both kinds, devices, pipes and absurd sizes."""
    path = folder / "source.tar"
    form = draw.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(path, "w", format=form) as archive:
        for name in draw.choices(NAMES, k=4):
            member = tarfile.TarInfo(name)
            member.type = draw.choice(
                (tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
            )
            member.linkname = draw.choice(("/etc/passwd", "../../evil.png", "/dev/zero", name))
            try:
                _add(archive, member, image(draw, "png"))
            except (ValueError, UnicodeError):  # some names fit no format
                continue
    if draw.random() < 0.5:
        data = bytearray(path.read_bytes())
        if len(data) > 512:
            data[124:136] = draw.choice((b"77777777777\0", b"\x80" + b"\xff" * 11, b"-0000000001\0", b"\xff" * 12))
            data[148:156] = b"        "
            data[148:156] = f"{sum(data[:512]):06o}\0 ".encode()
        path.write_bytes(data)
    return path


def _add(archive: tarfile.TarFile, member: tarfile.TarInfo, data: bytes) -> None:
    member.size = len(data) if member.isreg() else 0
    archive.addfile(member, io.BytesIO(data) if member.isreg() else None)


def linked_folder(folder: Path, draw: random.Random) -> Path:
    """A folder with links in and out of it, to itself, to devices, and pipes."""
    path = folder / "source.folder"
    path.mkdir()
    (path / "good.png").write_bytes(image(draw, "png"))
    (folder / "secret.png").write_bytes(image(draw, "png"))
    targets = ("good.png", "../secret.png", "/etc/passwd", "/dev/zero", "..", ".", "nowhere.png", "loop.png")
    for number, target in enumerate(draw.choices(targets, k=4)):
        (path / f"{number}.png").symlink_to(target)
    (path / "loop.png").symlink_to("loop.png")
    os.mkfifo(path / "pipe.png")
    return path


ARCHIVES: tuple[Callable[[Path, random.Random], Path], ...] = (
    *(mutated_zip, mutated_zip, mutated_tar, mutated_tar, zip_bomb),
    *(png_bomb, hostile_names_zip, hostile_names_tar, linked_folder),
)
