"""Settings of `studio`."""

from __future__ import annotations

from dataclasses import dataclass

from tyro.conf import Positional

from dcgan.config.base import Device, require

SHORTEST_TOKEN = 12


@dataclass(frozen=True, kw_only=True)
class StudioConfig:
    """Play with a model in the browser."""

    model: Positional[str] = "pretrained"
    """A .safetensors file, a run's folder or a checkpoint's folder; or the word pretrained: the package's own. Of a
    run, its training is shown too."""
    port: int = 7860
    """Port to listen on; 0 takes a free one."""
    open: bool = False
    """Open the page in the browser."""
    public: bool = False
    """Listen on every network interface, not on this machine alone; visitors then need the token."""
    token: str | None = None
    """What visitors of a public studio must know (drawn at random and printed if not given)."""
    device: Device = "auto"
    """Where to compute: auto takes CUDA, then Apple's MPS, then the CPU."""

    def __post_init__(self) -> None:
        require(0 <= self.port < 65536, f"port must be from 0 to 65535, not {self.port}")
        require(self.token is None or self.public, "token is for a public studio: add --public")
        long_enough = self.token is None or (len(self.token) >= SHORTEST_TOKEN and self.token.isascii())
        require(long_enough, f"token must have at least {SHORTEST_TOKEN} characters, all of them ASCII")
