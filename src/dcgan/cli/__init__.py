"""The command line: one thin module a command, imported only when that command runs."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import TypeVar

from dcgan import __version__
from dcgan.errors import DcganError

Settings = TypeVar("Settings")

COMMANDS = {
    "prepare": "Pack images once into a form that training reads fast.",
    "merge": "Join the parts of a data set that were prepared apart.",
    "train": "Train a DCGAN on a data set, from scratch or from where a run stopped.",
    "generate": "Generate images from a model.",
    "interpolate": "Walk smoothly from face to face, as an animation or a film strip.",
    "evaluate": "Measure how near generated images are to real ones, and whether they are copies.",
    "compare": "Lay several evaluations or runs side by side.",
    "pick": "Show a numbered grid of faces, or save some of its numbers under a name for arithmetic.",
    "arithmetic": "Add and subtract faces.",
    "project": "Find the latents of given images.",
    "directions": "Learn along which directions of the latent space attributes change.",
    "edit": "Change attributes of faces by moving them along directions.",
    "principal": "Find the directions in which images change most, without labels.",
    "smoothness": "Measure how evenly images change along the latent space, and show it.",
    "studio": "Play with a model in the browser.",
    "probe": "Measure how well a linear classifier does on what the discriminator learned.",
    "nearest": "Find the images that are most like given ones to the discriminator.",
    "augment": "Write a labelled synthetic data set.",
    "augment-test": "Test whether synthetic data help a classifier, on fractions of the real data.",
    "export": "Write a model as ONNX, as a web page that draws faces, or for the Hugging Face Hub.",
    "import": "Make a model from the state dict of a PyTorch DCGAN.",
    "info": "Describe a model, a run, a checkpoint or a data set.",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0 done, 2 a mistake the user can mend, 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"dcgan {__version__}")
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        return complain(f"there is no command {command!r}; the commands are {', '.join(COMMANDS)}")
    try:
        status: int = importlib.import_module(f"dcgan.cli.{command.replace('-', '_')}").main(rest)
    except DcganError as error:
        return complain(str(error))
    except KeyboardInterrupt:
        return complain("interrupted", status=130)
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        sys.stdout = None
        return 0
    except PermissionError as error:  # such as a run of somebody else's
        return complain(f"{error.filename or command}: {error.strerror}: ask its owner, or choose another place")
    return status


def parse(kind: type[Settings], arguments: Sequence[str], command: str, default: Settings | None = None) -> Settings:
    """Settings from a command's flags, on top of `default`; prints help or a complaint and exits as argparse does."""
    import tyro

    settings: Settings | None = tyro.cli(
        kind,
        args=list(arguments),
        default=default,
        prog=f"dcgan {command}",
        description=COMMANDS[command],
        config=(tyro.conf.PositionalMetavarFromFieldName, tyro.conf.DisallowNone),
    )
    assert settings is not None
    return settings


def usage() -> str:
    """What `dcgan --help` prints."""
    commands = "\n".join(f"  {name:<14}{summary}" for name, summary in COMMANDS.items())
    return (
        "usage: dcgan COMMAND ...\n\n"
        "Train, judge, explore and put to work deep convolutional GANs.\n\n"
        f"commands:\n{commands}\n\n"
        "dcgan COMMAND --help explains every setting of a command."
    )


def complain(message: str, status: int = 2) -> int:
    """Print an error on one line, though it may quote several of a library's, and return the exit status."""
    print(f"dcgan: {' '.join(line.strip() for line in message.splitlines())}", file=sys.stderr)
    return status
