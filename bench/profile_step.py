"""Where the time of a training step goes, by kind of operation, and what this machine could do at best.

    python bench/profile_step.py ../shared/data/celeba-13k.zip

For each preset, on one thread, so that the parts add up; milliseconds are the processor's own, so that a busy machine
matters little, and medians over rounds. A round is a whole cycle of steps: 8 where each 8th has a gradient penalty.

*At best* is measured here too, operation by operation, alone and with everything in the cache that fits: for a
convolution and each of its two gradients the plain matrix product of the same arithmetic, of its own dimensions and
number format; for a matrix product itself; and for all else a copy of as many bytes as it has to read and write.
Prints Markdown; `--operations N` adds the N that lose most against that.
"""

from __future__ import annotations

import argparse
import collections
import functools
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dcgan.config import PRESETS, TrainConfig
from dcgan.data import open_data
from dcgan.train.loop import Trainer

KINDS = {  # by the operation's name, first match wins
    "convolutions": ("convolution",),
    "matrix products": ("mm", "bmm", "addmm"),
    "BatchNorm": ("batch_norm",),
    "activations": ("relu", "tanh", "sigmoid", "softplus"),
    "optimisers and average": ("adam", "lerp"),
    "copies, casts, gathering and scattering": (
        "copy",
        "clone",
        "pad",
        "cat",
        "where",
        "flip",
        "fill",
        "zero",
        "empty",
    ),
}
ELSE, BETWEEN = "other arithmetic", "between operations: reading images, Python, autograd"
Product = tuple[int, int, int, torch.dtype]


@dataclass
class Cost:
    """What operations of one sort took in a round, and what they had to do; seconds."""

    spent: float = 0.0
    flop: float = 0.0
    calls: int = 0
    products: list[Product] = field(default_factory=list)
    copies: list[int] = field(default_factory=list)

    def at_best(self) -> float:
        """The sum of what each piece of it takes alone."""
        return sum(product_seconds(product) for product in self.products) + sum(map(copy_seconds, self.copies))


class Watch(TorchDispatchMode):
    """Times each operation, and notes what it has to do."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.costs: dict[str, Cost] = collections.defaultdict(Cost)

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        start = time.thread_time()
        result = func(*args, **(kwargs or {}))
        spent = time.thread_time() - start
        name = func.overloadpacket.__name__
        cost = self.costs[f"{name} {' '.join(describe(tensor) for tensor in tensors_in(args)[:3])}"]
        cost.calls += 1
        cost.spent += spent
        if products := list(products_of(name, args)):
            cost.products += products
            cost.flop += sum(2 * math.prod(product[:3]) for product in products)
        elif not func.is_view:
            cost.copies.append(bytes_moved(func, args, result))
        return result


def describe(tensor: torch.Tensor) -> str:
    return f"{str(tensor.dtype)[6:]}[{','.join(map(str, tensor.shape))}]"


def products_of(name: str, args: tuple[Any, ...]) -> Iterator[Product]:
    """The matrix products, M x K by K x N as (M, N, K, dtype), that an operation amounts to."""
    if name in ("mm", "addmm"):
        left, right = args[-2:] if name == "mm" else args[1:3]
        yield left.shape[0], right.shape[1], left.shape[1], left.dtype
    elif name == "bmm":
        left, right = args
        yield from [(left.shape[1], right.shape[2], left.shape[2], left.dtype)] * len(left)
    elif name in ("convolution", "convolution_backward"):
        backward = name == "convolution_backward"
        images, kernel = args[1:3] if backward else args[:2]
        stride, padding, dilation, transposed = args[4:8] if backward else args[3:7]
        small = images.shape[2:]
        if not transposed:
            small = [
                (side + 2 * p - d * (k - 1) - 1) // s + 1
                for side, k, s, p, d in zip(images.shape[2:], kernel.shape[2:], stride, padding, dilation, strict=True)
            ]
        # Kernels are O x C x 4 x 4, where O is of the smaller map: its places by O, and by the patches of 16 C.
        places, narrow, wide = len(images) * math.prod(small), kernel.shape[0], kernel[0].numel()
        if not backward:
            yield (places, wide, narrow, images.dtype) if transposed else (places, narrow, wide, images.dtype)
            return
        if args[10][0]:
            yield (places, narrow, wide, images.dtype) if transposed else (places, wide, narrow, images.dtype)
        if args[10][1]:
            yield narrow, wide, places, images.dtype


def bytes_moved(func: Any, args: tuple[Any, ...], result: Any) -> int:
    """Bytes that an operation reads and writes, each tensor once."""
    name = func.overloadpacket.__name__
    if name.startswith(("empty", "new_empty")):
        return 0
    taken = tensors_in(args)
    known = {tensor.untyped_storage().data_ptr() for tensor in taken}
    written = [tensor for tensor in tensors_in(result) if tensor.untyped_storage().data_ptr() not in known]
    for argument, value in zip(func._schema.arguments, args, strict=False):
        changed = argument.alias_info is not None and argument.alias_info.is_write
        if changed and argument.name != "grads":  # of an optimiser, which changes them for a scaler alone
            written += tensors_in(value)
    if name.endswith("_like") or name.startswith("new_"):
        taken = []
    elif name in ("copy_", "zero_", "fill_", "normal_", "uniform_"):
        taken = taken[1:]
    return sum(min(tensor.nbytes, tensor.untyped_storage().nbytes()) for tensor in (*taken, *written))


def tensors_in(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def best(run: Any) -> float:
    """The least processor seconds of a few runs."""
    seconds: list[float] = []
    for _ in range(4):
        repeats, start = 0, time.thread_time()
        while (spent := time.thread_time() - start) < 2e-3 or not repeats:
            run()
            repeats += 1
        seconds.append(spent / repeats)
    return min(seconds)


@functools.cache
def product_seconds(product: Product) -> float:
    """What a matrix product takes alone."""
    rows, columns, inner, dtype = product
    left, right = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
    out = torch.empty(rows, columns, dtype=dtype)
    return best(lambda: torch.mm(left, right, out=out))


@functools.cache
def copy_seconds(size: int) -> float:
    """What copying takes alone, `size` being what is read and written together."""
    source = torch.zeros(size // 2, dtype=torch.uint8)
    target = torch.zeros_like(source)
    return best(lambda: target.copy_(source))


def kind_of(operation: str) -> str:
    name = operation.split()[0]
    exact = {"mm", "bmm", "addmm"}
    for kind, parts in KINDS.items():
        if any(name == part if part in exact else part in name for part in parts):
            return kind
    return ELSE


def cycle_of(trainer: Trainer) -> int:
    """After how many steps they repeat."""
    return trainer.config.penalty_every if trainer.config.gradient_penalty else 4


def watching() -> float:
    """What it takes to watch one operation, in seconds."""
    one, many = torch.zeros(1), 1000
    plain = best(lambda: [one.neg_() for _ in range(many)])
    watch = Watch()
    with watch:
        for _ in range(many):
            one.neg_()
    return max(0.0, sum(cost.spent for cost in watch.costs.values()) - plain) / many


def profile(trainer: Trainer, rounds: int) -> tuple[float, list[dict[str, Cost]]]:
    """Seconds of a step, and the costs of each round's operations."""
    cycle, overhead = cycle_of(trainer), watching()
    for _ in range(cycle):
        trainer.train_step()
    seconds, costs = [], []
    for _ in range(rounds):
        start = time.thread_time()
        for _ in range(cycle):
            trainer.train_step()
        seconds.append((time.thread_time() - start) / cycle)
        watch = Watch()
        with watch:
            for _ in range(cycle):
                trainer.train_step()
        for cost in watch.costs.values():
            cost.spent = max(0.0, cost.spent - cost.calls * overhead) / cycle
            cost.flop /= cycle
        costs.append(watch.costs)
    return statistics.median(seconds), costs


def report(preset: str, trainer: Trainer, rounds: int, operations: int) -> None:
    """Print a preset's table."""
    config = trainer.config
    total, costs = profile(trainer, rounds)
    cycle = cycle_of(trainer)
    last = costs[-1]
    limits = {operation: cost.at_best() / cycle for operation, cost in last.items()}
    table: dict[str, list[float]] = {}
    for kind in (*KINDS, ELSE):
        mine = [operation for operation in last if kind_of(operation) == kind]
        spent = statistics.median(
            sum(cost.spent for operation, cost in one.items() if kind_of(operation) == kind) for one in costs
        )
        table[kind] = [spent, sum(last[operation].flop for operation in mine), sum(limits[o] for o in mine)]
    table = dict(sorted(table.items(), key=lambda item: -item[1][0]))
    table[BETWEEN] = [max(0.0, total - sum(row[0] for row in table.values())), 0.0, 0.0]
    table["a step"] = [total, *(sum(row[i] for row in table.values()) for i in (1, 2))]

    print(f"\n`{preset}`, {config.batch} images a step, {str(trainer.precision)[6:]}\n")
    print("| | ms | of the step | GFLOP/s | at best, ms | reached |\n|---|---:|---:|---:|---:|---:|")
    for kind, (spent, flop, limit) in table.items():
        rate = f"{flop / spent / 1e9:.0f}" if flop and spent else ""
        reached = f"{limit / spent:.2f}" if limit and spent else ""
        print(f"| {kind} | {spent * 1e3:.1f} | {spent / total:.0%} | {rate} | {limit * 1e3:.1f} | {reached} |")
    print(f"\n{config.batch / total:.0f} images a second, {table['a step'][1] / config.batch / 1e9:.2f} GFLOP an image")
    if operations:
        print("\n| operation | calls | ms | at best, ms |\n|---|---:|---:|---:|")
        for operation in sorted(last, key=lambda name: limits[name] - last[name].spent)[:operations]:
            cost = last[operation]
            print(
                f"| {operation} | {cost.calls / cycle:.3g} | {cost.spent * 1e3:.2f} | {limits[operation] * 1e3:.2f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="whatever `dcgan train` takes")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["relativistic", "paper"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--operations", type=int, default=0, help="also the operations that lose most")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = open_data(arguments.data)
    for preset in arguments.presets:
        settings = {"size": data.size, "channels": data.channels, "augment": "none", "kimg": 1e6}
        trainer = Trainer(TrainConfig.from_preset(preset, **settings), data, Path(), torch.device("cpu"))
        report(preset, trainer, arguments.rounds, arguments.operations)
    print(f"\nA product of two 4096 x 4096 matrices: {2 * 4096**3 / product_seconds(LARGE) / 1e9:.0f} GFLOP/s.")


LARGE = (4096, 4096, 4096, torch.bfloat16)

if __name__ == "__main__":
    main()
