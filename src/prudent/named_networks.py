"""Networks and inputs as a command line names them: a folder, or an architecture with a data set."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prudent.assembling import Architecture
from prudent.data import DATA
from prudent.errors import BadInput, reason
from prudent.files import read_file
from prudent.models import MODELS
from prudent.networks import DESCRIPTION, Saved, load
from prudent.run_folder import STUDY
from prudent.sources import load_data
from prudent.splits import Data
from prudent.types import check_split


@dataclass(frozen=True, kw_only=True)
class Named:
    """A network that was named, with what is known around it.

    Args:
        network: a plain, masked or smaller one.
        architecture: of the network it was pruned from, or of itself.
        dense: makes the network that it was pruned from, or where that is not there one of its architecture.
        shape: of one input.
        data: loads the data set; None if none was named and the network's run does not name one.
        fresh: whether its weights are freshly drawn, and no file's.
    """

    network: Saved
    architecture: Architecture
    dense: Callable[[], nn.Module]
    shape: tuple[int, ...]
    data: Callable[[], Data] | None
    fresh: bool = False

    def inputs(self, split: str, most: int) -> Tensor:
        """At most so many inputs of a split of its data.

        Raises:
            BadInput: its data are not known, or do not have such a split.
        """
        check_split(split)
        if self.data is None:
            raise BadInput(
                "the inputs to try the network on are not known: name a data set with --data, one of prudent's own or "
                "package.module:callable"
            )
        data = self.data()
        for name, examples in data.splits.items():
            if name == split:
                return torch.from_numpy(examples.inputs[:most])
        raise BadInput(f"data set {data.name!r} has the splits {', '.join(data.splits)}; got {split!r}")


def named_network(
    name: str, *, data: str | None = None, builder: str | None = None, shape: tuple[int, ...] | None = None
) -> Named:
    """The network that a command line means.

    Args:
        name: a folder that `prudent.save` wrote, a network's folder in a run, the name of an architecture, or
            "package.module:callable"; of the last two the weights are freshly drawn.
        data: a data set by name, or by "package.module:callable"; by default that of the run which the folder lies in.
        builder: what makes the network of a folder whose architecture is none of prudent's own: the name of an
            architecture, or "package.module:callable". Code that a file names is never run.
        shape: of one input, for an architecture without data; it then has ten classes if it asks for their number.

    Raises:
        BadInput: no such folder or architecture, files that do not fit each other, an architecture without data to say
            its shape; an architecture or data set of somebody's own that only a file names.
        UnknownName: no such model or data set.
        PrudentError: a file cannot be read.
    """
    folder = Path(name)
    if not (folder / DESCRIPTION).is_file():
        return _fresh(name, data, builder, shape)
    about = _described(folder).get("architecture")
    found = partial(load_data, data, {}) if data is not None else data_of_run(folder)
    architecture = _architecture(about, builder, found)
    beside = folder.parent / "dense"
    dense: Callable[[], nn.Module] = architecture.build
    if (beside / DESCRIPTION).is_file():
        dense = partial(_dense, beside, architecture.build)
    network = load(folder, build=architecture.build)
    return Named(network=network, architecture=architecture, dense=dense, shape=architecture.shape, data=found)


def _fresh(name: str, data: str | None, builder: str | None, shape: tuple[int, ...] | None) -> Named:
    if name not in MODELS and ":" not in name:
        raise BadInput(
            f"a network is a folder with {DESCRIPTION}, package.module:callable or an architecture; got {name!r}; "
            f"architectures: {', '.join(MODELS)}"
        )
    if builder is not None:
        raise BadInput(f"--build is for networks in a folder; {name!r} is built itself")
    if data is None and shape is None:
        raise BadInput(f"network {name!r} needs --data, which says the shape of its inputs and the number of classes")
    if data is not None:
        found = load_data(data, {})
        shape, classes = found.shape, len(found.classes)
    else:
        classes = 10
    architecture = Architecture(name=name, shape=shape or (), classes=classes, options={})
    source = None if data is None else partial(load_data, data, {})
    return Named(
        network=architecture.build(), architecture=architecture, dense=architecture.build, shape=shape or (),
        data=source, fresh=True,
    )  # fmt: skip


def _described(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_file(folder / DESCRIPTION)))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{folder / DESCRIPTION} is no description of a network ({reason(error)})") from error


def _architecture(about: dict[str, Any] | None, builder: str | None, data: Callable[[], Data] | None) -> Architecture:
    """The architecture in the description, built by what the command line names if it names something."""
    if about is None:
        if builder is None or data is None:
            raise BadInput("the folder does not say its architecture: name what builds it with --build, and its --data")
        loaded = data()
        return Architecture(name=builder, shape=loaded.shape, classes=len(loaded.classes), options={})
    try:
        name, options = str(about["name"]), dict(about["options"])
        shape, classes = tuple(int(size) for size in about["shape"]), int(about["classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{DESCRIPTION} describes no architecture that can be read ({reason(error)})") from error
    # a file must not choose which code runs
    if builder is None and name not in MODELS:
        raise BadInput(
            f"the architecture of the folder, {name!r}, is none of prudent's own: name it with --build {name}"
        )
    return Architecture(name=builder or name, shape=shape, classes=classes, options=options)


def data_of_run(folder: Path) -> Callable[[], Data] | None:
    """The data set of the run that a network's folder, RUN/networks/seedN/NAME, lies in; None if it lies in none."""
    parents = folder.resolve().parents
    if len(parents) < 3 or not (parents[2] / STUDY).is_file():
        return None
    try:
        said = json.loads(read_file(parents[2] / STUDY))["data"]
        name, options = str(said["name"]), dict(said["options"])
    except (ValueError, KeyError, TypeError) as error:
        raise BadInput(f"{parents[2] / STUDY} names no data set ({reason(error)}): name one with --data") from error
    # what is somebody's own has to be named by whoever asks, as for an architecture
    return partial(load_data, name, options) if name in DATA else None


def _dense(folder: Path, make: Callable[[], nn.Module]) -> nn.Module:
    saved = load(folder, build=make)
    return saved if isinstance(saved, nn.Module) else saved.model
