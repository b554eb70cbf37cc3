"""Several processes that train one model: torch's DistributedDataParallel, started by torchrun or by `--devices`.

Each process, a rank, has a whole copy of both networks and takes its part of every batch; gradients are averaged, so
the copies stay equal. The first rank writes, judges and decides; what it decides, it shares.

Gradients and figures go through NCCL on GPUs and gloo on CPUs. A second group, of gloo on the CPU in either case,
carries decisions and waiting: no GPU waits for those, and the first rank may take long over an evaluation.
"""

from __future__ import annotations

import contextlib
import inspect
import json
import logging
import os
import re
import signal
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import PrefixStore, Store  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous
from torch.nn.parallel import DistributedDataParallel

from dcgan.device import choose_device
from dcgan.errors import DcganError

Value = TypeVar("Value")

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for another's part of a sum before it takes it for lost."""
LONG_PATIENCE = timedelta(hours=12)
"""How long the others wait while the first rank prepares data, evaluates or writes. A process that died ends it."""
SECONDS_TO_SAVE = 120
"""How long ranks may take to finish their step and save, once the launcher is asked to stop."""
LAUNCHED = "DCGAN_LAUNCHED"
LOST = 75  # exit status of a rank that lost another: EX_TEMPFAIL of sysexits.h
LOST_SIGNS = re.compile("closed by peer|reset by peer|Broken pipe|[Tt]imed out|gloo|NCCL|Connection refused")


class LostContactError(DcganError):
    """Another rank died, or does not answer."""


@dataclass(frozen=True)
class World:
    """The ranks of a training, as one of them sees them; alone, it is the only one, and all here costs nothing."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Number among the ranks of this machine."""
    control: dist.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes."""
        return self.rank == 0

    def part(self, batch: int) -> slice:
        """Which of a batch's images are this rank's; `batch` is a multiple of the ranks."""
        share = batch // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def averaging(self, network: nn.Module) -> nn.Module:
        """The network, with gradients averaged over the ranks by each backward pass; itself if alone.

        Ranks start from the first one's parameters. BatchNorm's running statistics are not kept equal: nothing in
        training reads them, and the first rank's are those that are saved.
        """
        if self.size == 1:
            return network
        # Sent out in each forward pass, buffers would change before the one backward pass of two forward passes what
        # the first of them kept for it. (torch 2.13 has another name for the argument, and warns of the old one.)
        arguments = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in arguments else "broadcast_buffers"
        off: dict[str, Any] = {name: False}
        return DistributedDataParallel(network, gradient_as_bucket_view=True, **off)

    def average_(self, tensor: torch.Tensor) -> torch.Tensor:
        """Replace `tensor`, on the device, by its mean over the ranks, in place."""
        if self.size > 1:
            dist.all_reduce(tensor)
            tensor /= self.size
        return tensor

    def maximum(self, value: float) -> float:
        """The largest value of all ranks."""
        if self.size == 1:
            return value
        largest = torch.tensor(value, dtype=torch.float64)
        dist.all_reduce(largest, dist.ReduceOp.MAX, group=self.control)
        return largest.item()

    def share(self, value: Value) -> Value:
        """The first rank's value."""
        shared = [value]
        if self.size > 1:
            dist.broadcast_object_list(shared, src=0, group=self.control)
        return shared[0]

    def wait(self) -> None:
        """Return once every rank has come here."""
        self.maximum(0.0)

    @contextlib.contextmanager
    def one_a_machine_first(self) -> Iterator[None]:
        """Let the first rank of each machine through the block before the others: what it caches serves them."""
        if self.local_rank > 0:
            self.wait()
        yield
        if self.local_rank == 0:
            self.wait()

    @contextlib.contextmanager
    def told_if_lost(self) -> Iterator[None]:
        """Turn what torch raises when another rank is gone into a `LostContactError`."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not LOST_SIGNS.search(str(error)):
                raise
            reason = str(error).splitlines()[0]
            raise LostContactError(f"another process of this training died or does not answer ({reason})") from error


ALONE = World()


def synchronize_batch_norm(network: nn.Module, device: torch.device) -> None:
    """Let the network's BatchNorm take its statistics over the batches of all ranks; torch has that for CUDA only."""
    if device.type != "cuda":
        raise DcganError(
            f"sync_batchnorm works on CUDA alone, and this is {device.type}: leave it off, or use more images a device"
        )
    nn.SyncBatchNorm.convert_sync_batchnorm(network)  # in place: the networks themselves are no BatchNorm


def is_rank() -> bool:
    """Whether torchrun started this process as one of several ranks."""
    return int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ


@contextlib.contextmanager
def join(device: str) -> Iterator[World]:
    """Join the other ranks that torchrun started, for as long as the block lasts; without torchrun, be alone.

    A rank on CUDA takes the GPU of its number on its machine. Errors are handed to the launcher, and name the rank.
    """
    if not is_rank():
        yield ALONE
        return
    rank, size, local_rank = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    with _told_to_launcher(rank, size):
        backend = _take_device(device, local_rank)
        # Said of weights 1 x N, where the two strides in question address the same numbers.
        warnings.filterwarnings("ignore", "Grad strides do not match bucket view strides")
        dist.init_process_group(backend, store=_store(size), rank=rank, world_size=size, timeout=PATIENCE)
        world = World(rank, size, local_rank, dist.new_group(backend="gloo", timeout=LONG_PATIENCE))
        with world.told_if_lost():
            yield world
            world.wait()  # a rank that left early would look lost to the others
        dist.destroy_process_group()  # not after an error: it might wait for ranks that are gone


def _store(size: int) -> Store:
    """Where ranks leave their addresses for one another.

    torchrun (2.13) keeps it when it starts ranks again, and with it the addresses of those that died: on one machine,
    each start gets a part of its own. Machines count their starts apart; docs/distributed.md has what serves there.
    """
    store: Store
    store, _, _ = next(rendezvous("env://", timeout=PATIENCE))
    if int(os.environ.get("LOCAL_WORLD_SIZE", 0)) == size:
        store = PrefixStore(f"start {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
    return store


def _take_device(name: str, local_rank: int) -> str:
    """Make this rank's GPU the current one; returns the backend for its tensors."""
    device = choose_device(name)
    if device.type == "cpu":
        return "gloo"
    if device.type != "cuda":
        raise DcganError(f"several processes cannot share device {device.type}: use --device cpu, or --devices 1")
    if local_rank >= torch.cuda.device_count():
        raise DcganError(
            f"this machine has {torch.cuda.device_count()} GPUs, too few for {os.environ['LOCAL_WORLD_SIZE']} "
            "processes: start one for each GPU, or use --device cpu"
        )
    torch.cuda.set_device(local_rank)
    return "nccl"


@contextlib.contextmanager
def _told_to_launcher(rank: int, size: int) -> Iterator[None]:
    """Hand a mistake to the launcher through torchrun's error file; ours then tells it, once, for all ranks."""
    launched = LAUNCHED in os.environ
    try:
        yield
    except DcganError as error:
        lost = isinstance(error, LostContactError)
        if not lost and (file := os.environ.get("TORCHELASTIC_ERROR_FILE")):
            Path(file).write_text(json.dumps({"message": str(error), "timestamp": int(time.time())}))
        if launched:
            sys.stdout.flush()
            sys.stderr.flush()
            # At once: gloo's threads are still there, and C++ may abort a process that winds down around them.
            os._exit(LOST if lost else 2)
        raise DcganError(f"rank {rank} of {size}: {error}") from error


def launch(devices: int, arguments: Sequence[str]) -> int:
    """Run `dcgan train ARGUMENTS` as `devices` ranks on this machine, by torchrun's own agent; returns the exit status.

    Signals go on to the ranks. Raises `DcganError` that names the first rank that failed, and why.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # what matters is told below
    threads = str(max(1, (os.cpu_count() or 1) // devices))
    patience = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(SECONDS_TO_SAVE)}
    surroundings = {"OMP_NUM_THREADS": threads, **patience, **os.environ, LAUNCHED: "1"}
    with tempfile.TemporaryDirectory() as logs, _environment(surroundings):
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=devices,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            run_id=uuid.uuid4().hex,
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
        )
        try:
            elastic_launch(config, sys.executable)("-m", "dcgan", "train", *arguments)
        except SignalException as stop:
            return 128 + stop.sigval
        except ChildFailedError as failed:
            # A rank that lost another is no cause, and one that was asked to stop has said so itself.
            failures = sorted(failed.failures.items(), key=lambda item: item[1].exitcode == LOST)
            rank, failure = failures[0]
            if failure.exitcode in (128 + signal.SIGINT, 128 + signal.SIGTERM):
                return failure.exitcode
            raise DcganError(_cause(rank, devices, failure.exitcode, failure.message)) from failed
    return 0


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables, which ranks inherit, for as long as the block lasts."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _cause(rank: int, devices: int, status: int, message: str) -> str:
    if status == 2:
        return message
    ended = f"was ended by {signal.Signals(-status).name}" if status < 0 else f"failed with status {status}, see above"
    return f"rank {rank} of {devices} {ended}; `--resume auto` goes on from the newest checkpoint"
