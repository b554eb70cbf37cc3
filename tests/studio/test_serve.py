"""The command: where it listens, what it prints, how it ends, and what it refuses."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from dcgan.cli import main
from dcgan.config import StudioConfig
from dcgan.errors import DcganError
from dcgan.studio.serve import listen


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["studio", *arguments]) == 2
    return capsys.readouterr().err


def test_mistakes_are_told_in_one_line(capsys: pytest.CaptureFixture[str], run_folder: Path, tmp_path: Path) -> None:
    assert "does not exist" in refused(capsys, str(tmp_path / "none"), "--port", "0")
    (tmp_path / "young").mkdir()
    for name in ("config.json", "metrics.jsonl"):
        shutil.copyfile(run_folder / name, tmp_path / "young" / name)
    assert "first checkpoint" in refused(capsys, str(tmp_path / "young"), "--port", "0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"try --port {port + 1}" in refused(capsys, str(run_folder), "--port", str(port))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"token": "long-enough-token"}, "add --public"),
        ({"token": "short", "public": True}, "at least 12"),
        ({"port": 70_000}, "port must be"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(DcganError, match=told):
        StudioConfig(**settings)


def test_it_listens_on_this_machine_alone_unless_told() -> None:
    with listen("127.0.0.1", 0) as here:
        assert here.getsockname()[0] == "127.0.0.1"
    assert not StudioConfig().public
    with pytest.raises(DcganError, match="cannot listen"):
        listen("192.0.2.1", 0)  # an address that no machine has


@pytest.mark.parametrize("flags", [[], ["--public"]], ids=["local", "public"])
def test_the_command_serves_until_interrupted(run_folder: Path, flags: list[str]) -> None:
    command = [sys.executable, "-m", "dcgan", "studio", str(run_folder), "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = re.search(r"http://\S+", process.stdout.readline())
        assert url is not None
        assert ("token=" in url[0]) == bool(flags)
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        assert b"dcgan studio" in opener.open(url[0], timeout=30).read()
        assert opener.open(url[0].split("?")[0] + "api/faces?f=1", timeout=30).status == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""
