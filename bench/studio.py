"""The studio under load: latency, faces a second, failed requests and memory, with many visitors at once.

    python bench/studio.py runs/00000-celeba-paper

Starts `dcgan studio` as a visitor would and asks for a first face; then glides, as one visitor on the map does;
then lets 32 clients at once ask for a mix of what the page asks for. The clients run on the same machine, so their
own work is in every figure. Beside the frames at the server stands the bare generator's pass, timed in this process
just before: only ratios taken in one run mean something. Ends with status 1 if any request failed.
"""

from __future__ import annotations

import argparse
import http.client
import os
import random
import re
import statistics
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from dcgan.models import Generator

# What a visitor asks for: how often, and how many faces the answer holds.
MIX = {"frame in motion": (70, 1), "still": (14, 1), "wall": (8, 30), "part of a loop": (8, 32)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="a model file, or the folder of a run")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=4000, help="of all clients together")
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f} before\n")
    alone = bare_pass(arguments.model)
    with studio(arguments.model) as (process, port, started):
        first_face(process, port, started)
        glide(process, port, alone)
        failed = load(process, port, arguments.clients, arguments.requests)
    sys.exit(1 if failed else 0)


def bare_pass(model: str) -> float:
    """Milliseconds of the generator's pass for one latent, on half the threads as in the studio; the median of 50."""
    torch.set_num_threads(max(1, torch.get_num_threads() // 2))
    generator = Generator.from_pretrained(model)
    latents = generator.latents([1])
    spent = []
    with torch.inference_mode():
        for _ in range(55):
            start = time.perf_counter()
            generator(latents)
            spent.append((time.perf_counter() - start) * 1000)
    return statistics.median(spent[5:])


@contextmanager
def studio(model: str) -> Iterator[tuple[subprocess.Popen[str], int, float]]:
    """A studio in a process of its own: the process, its port, and when it was started."""
    started = time.perf_counter()
    command = [sys.executable, "-m", "dcgan", "studio", model, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        port = re.search(r":(\d+)/", line)
        assert port is not None, line
        try:
            yield process, int(port[1]), started
        finally:
            process.terminate()


def first_face(process: subprocess.Popen[str], port: int, started: float) -> None:
    """How long after the command was given the first face was there."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/api/faces?f=0")
    assert connection.getresponse().read()
    seconds = time.perf_counter() - started
    print(f"first face {seconds:.2f} s after the command ({worked(process.pid):.2f} s of processor time)")


def glide(process: subprocess.Popen[str], port: int, alone: float) -> None:
    """Frames in motion for one visitor, one after the other."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    server, client = [], []
    before = worked(process.pid)
    for i in range(220):
        start = time.perf_counter()
        connection.request("GET", f"/api/faces?f=(1~2@{i / 219:.4f})&quick=1")
        answer = connection.getresponse()
        answer.read()
        client.append((time.perf_counter() - start) * 1000)
        server.append(float((answer.getheader("Server-Timing") or "").rpartition("=")[2]))
    busy = (worked(process.pid) - before) / len(server) * 1000
    print(
        f"morph frame: {statistics.median(server):.1f} ms at the server (95%: {quantile(server, 0.95):.1f}), "
        f"{statistics.median(client):.1f} ms for the visitor;\n"
        f"  {busy:.1f} ms of processor time a frame; the bare pass takes {alone:.1f} ms\n"
    )


def path_of(kind: str, draws: random.Random) -> str:
    """An address of that kind that was hardly asked for before."""
    seeds = [draws.randrange(10**9) for _ in range(30)]
    match kind:
        case "frame in motion":
            return f"/api/faces?f=({seeds[0]}~{seeds[1]}@{draws.random():.4f})&quick=1"
        case "still":
            return f"/api/faces?f={seeds[0]}"
        case "wall":
            return "/api/faces?" + "&".join(f"f={seed}" for seed in seeds)
        case _:
            return f"/api/walk?f={seeds[0]}&f={seeds[1]}&f={seeds[2]}&part={draws.randrange(5)}"


def load(process: subprocess.Popen[str], port: int, clients: int, requests: int) -> int:
    """All clients at once; prints a table, and returns how many requests failed."""
    spent: dict[str, list[float]] = defaultdict(list)
    failures: Counter[str] = Counter()
    memory = [resident(process.pid)]
    done = 0
    lock = threading.Lock()
    kinds, weights = list(MIX), [often for often, _ in MIX.values()]

    def visit(number: int) -> None:
        nonlocal done
        draws = random.Random(number)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
        for kind in draws.choices(kinds, weights, k=requests // clients):
            start = time.perf_counter()
            try:
                connection.request("GET", path_of(kind, draws))
                answer = connection.getresponse()
                answer.read()
                outcome = "" if answer.status == 200 else str(answer.status)
            except OSError as error:
                outcome = type(error).__name__
                connection.close()
            with lock:
                done += 1
                if outcome:
                    failures[outcome] += 1
                else:
                    spent[kind].append((time.perf_counter() - start) * 1000)
                if done % max(1, requests // 8) == 0:
                    memory.append(resident(process.pid))

    threads = [threading.Thread(target=visit, args=(number,)) for number in range(clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started

    print(f"{clients} clients, {done} requests in {seconds:.1f} s:")
    print(f"{'':18}{'requests':>10}{'median':>10}{'95%':>10}{'longest':>10}  ms")
    for kind in kinds:
        values = spent[kind]
        median, late = statistics.median(values), quantile(values, 0.95)
        print(f"{kind:18}{len(values):10}{median:10.0f}{late:10.0f}{max(values):10.0f}")
    faces = sum(len(spent[kind]) * MIX[kind][1] for kind in kinds)
    print(f"{faces} faces, {faces / seconds:.0f} a second, {done / seconds:.0f} requests a second")
    print(f"failed: {sum(failures.values())} {dict(failures) or ''}")
    print(f"memory: {' '.join(f'{value:.0f}' for value in memory)} MB over the run")
    return sum(failures.values())


def worked(pid: int) -> float:
    """Seconds of processor time that a process has taken, which do not depend on what else the machine does."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """The memory that a process holds, in MB."""
    text = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", text)
    assert found is not None
    return int(found[1]) / 1024


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of all lie."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


if __name__ == "__main__":
    main()
