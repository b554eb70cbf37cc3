"""Where to compute, and in which number format."""

from __future__ import annotations

import os
import platform
from typing import Any

import numpy as np
import torch

from dcgan import __version__
from dcgan.errors import DcganError

PRECISIONS = {"float32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_device(name: str) -> torch.device:
    """The device `name` means: `auto` takes CUDA, then MPS, then the CPU. One that is not there is a `DcganError`."""
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there))
    if not available[name]:
        raise DcganError(f"device {name} is not available here: use --device auto or --device cpu")
    return torch.device(name)


def choose_precision(name: str, device: torch.device) -> tuple[torch.dtype, str]:
    """The number format of the networks' arithmetic, and why: bf16 where the hardware does it fast, else float32."""
    if name != "auto":
        return PRECISIONS[name], "as asked"
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16, "this GPU has it"
    if device.type == "cpu":
        # torch reports these from 2.10 on; before that, and on other processors, float32 is the safe choice.
        features: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        for feature in ("amx_bf16", "avx512_bf16"):
            if features.get(feature):
                return torch.bfloat16, f"this processor has {feature}"
    return torch.float32, f"this {device.type} has no fast bf16"


def allow_tf32(allowed: bool) -> None:
    """Let NVIDIA's matrix units round float32 to 10 bits of mantissa, or not; without such a GPU it changes nothing."""
    torch.backends.cuda.matmul.allow_tf32 = allowed
    torch.backends.cudnn.allow_tf32 = allowed  # which torch allows by default


def peak_memory(device: torch.device) -> dict[str, float]:
    """The most memory that tensors have taken of a GPU so far, as `gpu_memory_mb`; nothing for other devices."""
    if device.type != "cuda":
        return {}
    return {"gpu_memory_mb": round(torch.cuda.max_memory_allocated(device) / 2**20, 1)}


def describe_machine(device: torch.device) -> dict[str, Any]:
    """What besides settings and data may decide the last digits of a result, and its speed."""
    return {
        "dcgan": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
    }
