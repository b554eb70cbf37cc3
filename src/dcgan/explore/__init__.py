"""The latent space: walk through it, mix it, find images in it and steer along its directions.

Each command has a module of its name, whose function of that name takes the command's settings. What is listed here
works on tensors and loaded networks.
"""

from dcgan.explore.arithmetic import add_up, parse_expression
from dcgan.explore.directions import effects, fit_directions, learn_directions, orthogonalize
from dcgan.explore.files import Direction, read_directions, read_latents, read_names
from dcgan.explore.latents import lerp, move, slerp, walk
from dcgan.explore.principal import from_features, from_weights
from dcgan.explore.project import Projection, find_latents
from dcgan.explore.smoothness import path_lengths, step_lengths

__all__ = [
    "Direction",
    "Projection",
    "add_up",
    "effects",
    "find_latents",
    "fit_directions",
    "from_features",
    "from_weights",
    "learn_directions",
    "lerp",
    "move",
    "orthogonalize",
    "parse_expression",
    "path_lengths",
    "read_directions",
    "read_latents",
    "read_names",
    "slerp",
    "step_lengths",
    "walk",
]
