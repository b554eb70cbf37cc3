"""onnxruntime-web, which runs ONNX files in a browser: from npm's registry, or from where the user has it."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from dcgan.checkpoint import write_bytes
from dcgan.data.cache import cache_folder
from dcgan.errors import DcganError

VERSION = "1.30.0"
# As `npm view onnxruntime-web@1.30.0 dist.integrity` prints it.
INTEGRITY = "sha512-q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
# The build for WebAssembly alone: the others are larger, and computed the same no faster where there is no GPU.
FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")


def runtime_files(source: str | None) -> dict[str, bytes]:
    """The files a page needs, by name, and `package.json`, which names version and licence.

    `source` is the unpacked package's folder, its `dist`, or a .tgz of it; None is the version above, fetched by npm
    into the cache folder once. Raises `DcganError` if they cannot be had, and says how they can.
    """
    if source is None:
        return _from_archive(fetch())
    path = Path(source)
    if path.is_file():
        return _from_archive(path)
    package = path.parent if path.name == "dist" else path
    files = {name: package / "dist" / name for name in FILES} | {"package.json": package / "package.json"}
    missing = [str(file) for file in files.values() if not file.is_file()]
    if missing:
        raise DcganError(f"{path} is no onnxruntime-web, as {missing[0]} is missing: unpack {ADDRESS}")
    return {name: file.read_bytes() for name, file in files.items()}


def fetch() -> Path:
    """The package's .tgz in the cache folder, fetched by npm unless it is there; `DcganError` if that fails."""
    cached = cache_folder() / ADDRESS.rsplit("/", 1)[1]
    if cached.is_file():
        return cached
    by_hand = f"download {ADDRESS} yourself and give it by --runtime"
    npm = shutil.which("npm")
    if npm is None:
        raise DcganError(f"onnxruntime-web comes from npm, which is not installed here: install Node.js, or {by_hand}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"onnxruntime-web@{VERSION}", "--pack-destination", folder, "--ignore-scripts"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        packed = Path(folder, cached.name)
        if done.returncode or not packed.is_file():
            reason = next((line for line in done.stderr.splitlines() if "error" in line), "npm failed")
            raise DcganError(f"npm cannot fetch onnxruntime-web ({reason}): {by_hand}")
        data = packed.read_bytes()
    if integrity(data) != INTEGRITY:
        raise DcganError(f"what npm fetched is not onnxruntime-web {VERSION} as it was published: {by_hand}")
    write_bytes(cached, data)
    return cached


def integrity(data: bytes) -> str:
    """A file's digest in the form of npm's registry."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def version_of(files: dict[str, bytes]) -> str:
    """The version that a package says it is."""
    return str(json.loads(files["package.json"]).get("version", "of an unknown version"))


def _from_archive(path: Path) -> dict[str, bytes]:
    wanted = {name: f"package/dist/{name}" for name in FILES} | {"package.json": "package/package.json"}
    files = {}
    try:
        with tarfile.open(path) as archive:
            for name, member in wanted.items():
                file = archive.extractfile(member)
                assert file is not None
                files[name] = file.read()
    except (OSError, EOFError, KeyError, tarfile.TarError) as error:
        raise DcganError(f"{path} is no archive of onnxruntime-web: fetch {ADDRESS}") from error
    return files
