"""What ships, as something that answers: a saved network's folder or an ONNX file, known by its hash."""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from prudent.assembling import Architecture
from prudent.batches import Batch, Batches
from prudent.data import DATA
from prudent.errors import BadInput
from prudent.examples import Example
from prudent.files import read_file
from prudent.identity import identity
from prudent.named_networks import Named, data_of_run, named_network
from prudent.network import Scores, evaluating, logits_of
from prudent.onnx_graph import answers, check_whole, notes_of, session
from prudent.pruning import Pruned, prune
from prudent.scopes import Scope
from prudent.sources import load_data
from prudent.splits import Data
from prudent.team_folders import TEAM, chosen_in, chosen_of, load_team
from prudent.types import Predictions
from prudent.units import Granularity

Answer = Callable[[Tensor], Float32[np.ndarray, "n classes"]]


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """A candidate for a certificate, opened when it is needed.

    Args:
        path: as it was named.
        name: the same, shortened to what tells it from its neighbours.
        sparsity: fraction of its prunable units that were removed; 0 where the file does not say.
        fingerprint: sha256 of an ONNX file, or a network's `prudent.identity.identity`.
        data: loads the data set of the run that it lies in, None if it lies in none; of a team, and of an ONNX file
            of one, the data set that its description names, inside of the file or beside it.
        trained_on: the same, whatever was named.
        opened: gives a function inputs (n, ...) -> logits (n, classes).
    """

    path: str
    name: str
    sparsity: float
    fingerprint: str
    data: Callable[[], Data] | None
    trained_on: Callable[[], Data] | None = None
    opened: Callable[[], Answer]

    def predict(self, batches: Batches) -> Predictions:
        """What it answers on all batches.

        Raises:
            BadInput: it does not run on them, or does not answer one row of finite logits for each.
        """
        if batches.split is None:
            raise BadInput("predictions of an artefact need batches that say what they are for: Batches(split=...)")
        answer = self.opened()
        return Predictions(
            logits=np.concatenate([answer(part) for part in _inputs(batches)]),
            labels=None if batches.labels is None else batches.labels.numpy(),
            split=batches.split,
            data=batches.data,
            model=self.fingerprint,
        )


def artefact(path: str, *, data: str | None = None, builder: str | None = None) -> Artefact:
    """The artefact that a command line means.

    Args:
        path: an .onnx file, the folder of a team, or a network as in `prudent.named_networks.named_network`.
        data, builder: as there.

    Raises:
        PrudentError: a file is missing or unreadable, onnxruntime is not installed.
        BadInput: what is no network; one whose weights are freshly drawn, which certify nothing that ships.
    """
    if Path(path).suffix == ".onnx":
        content, beside = read_file(Path(path)), Path(path).parent
        check_whole(content, path)
        # what the file itself says goes wherever it is copied to
        chosen = chosen_in(notes_of(content), Path(path).name)
        run = None if chosen is None else _task_of(chosen, path)
        if run is None and (beside / TEAM).is_file():
            run = _task_of_team(beside)
        return Artefact(
            path=path, name=Path(path).name, sparsity=0.0, fingerprint=hashlib.sha256(content).hexdigest(),
            data=run if data is None else None, trained_on=run, opened=lambda: _onnx(content),
        )  # fmt: skip
    if (Path(path) / TEAM).is_file():
        return _of_team(path, data, builder)
    named = named_network(path, data=data, builder=builder)
    if named.fresh:
        raise BadInput(f"{path!r} has freshly drawn weights: name the folder of a saved network, or an .onnx file")
    module = _module(named)
    # a folder is read again when its turn comes: of a long path of candidates one is in memory at a time
    return Artefact(
        path=path, name=Path(path).name, sparsity=float(getattr(named.network, "sparsity", 0.0)),
        fingerprint=identity(module), data=named.data, trained_on=data_of_run(Path(path)),
        opened=lambda: _torch(_module(named_network(path, data=data, builder=builder))),
    )  # fmt: skip


def one_shot_path(
    model: nn.Module,
    sparsities: Sequence[float],
    *,
    score: str | Callable[..., Scores] | Mapping[str, Tensor] = "magnitude",
    granularity: Granularity = "weight",
    scope: Scope = "global",
    batches: Iterable[Batch] | None = None,
    example: Example | None = None,
    seed: int = 0,
) -> list[Artefact]:
    """A path of candidates that all come from one network by pruning it once, however many there are.

    Each is made to learn its hash, let go, and made again when its turn comes: one is in memory at a time.

    Args:
        model: the dense network. Not changed, and not to be changed as long as the path is used.
        sparsities: ascending, each in [0, 1).
        score, granularity, scope, batches, example, seed: as in `prudent.prune`.

    Returns: the candidates, densest first; `prudent.claiming` certifies them, all at once or anytime.

    Raises:
        BadInput: sparsities that do not ascend, and what `prudent.prune` refuses.
    """
    if not sparsities or list(sparsities) != sorted(set(sparsities)):
        raise BadInput(f"a path needs different, ascending sparsities; got {list(sparsities)}")

    def made(sparsity: float) -> Pruned:
        return prune(
            model, sparsity=sparsity, score=score, granularity=granularity, scope=scope, batches=batches,
            example=example, seed=seed,
        )  # fmt: skip

    path = []
    for sparsity in sparsities:
        pruned = made(sparsity)
        path.append(
            Artefact(
                path="",
                name=f"{score if isinstance(score, str) else 'own'} {sparsity:g}",
                sparsity=pruned.sparsity,
                fingerprint=identity(pruned.model),
                data=None,
                opened=partial(_made, made, sparsity),
            )
        )
    return path


def _made(made: Callable[[float], Pruned], sparsity: float) -> Answer:
    return _torch(made(sparsity).model)


def _of_team(path: str, data: str | None, builder: str | None) -> Artefact:
    """A team, which answers as the one network that votes inside."""
    build = None
    if builder is not None:
        if data is None:
            raise BadInput("what builds the members of a team (--build) needs the data set that they are for: --data")
        loaded = load_data(data, {})
        build = Architecture(name=builder, shape=loaded.shape, classes=len(loaded.classes), options={}).build
    team, run = load_team(path, build=build), _task_of_team(Path(path))
    return Artefact(
        path=path, name=Path(path).name, sparsity=team.sparsity, fingerprint=identity(team.model),
        data=run if data is None else partial(load_data, data, {}), trained_on=run,
        opened=lambda: _torch(load_team(path, build=build).model),
    )  # fmt: skip


def _task_of_team(folder: Path) -> Callable[[], Data] | None:
    """The data set that a team's members learnt from: that of the run around it, or the one that it names."""
    run, chosen = data_of_run(folder), chosen_of(folder)
    return run if run is not None else _task_of(chosen, str(folder))


def _task_of(chosen: Mapping[str, Any], name: str) -> Callable[[], Data] | None:
    """The data set by which a team was chosen; None for one that is not prudent's own."""
    task = chosen.get("task")
    if not isinstance(task, Mapping) or not isinstance(task.get("name"), str) or task["name"] not in DATA:
        return None
    for key in ("options", "fingerprints"):
        if not isinstance(task.get(key, {}), Mapping):
            raise BadInput(f"{name} was chosen on {task['name']!r} with {key} that are no table; got {task[key]!r}")
    return partial(_same_data, task, name)


def _same_data(task: Mapping[str, Any], name: str) -> Data:
    """The data set, or a refusal if its examples are not those of that time: who has seen what could not be said."""
    data = load_data(str(task["name"]), dict(task.get("options", {})))
    for split, known in dict(task.get("fingerprints", {})).items():
        if split in data.splits and data.splits[split].fingerprint != known:
            raise BadInput(
                f"{name} was chosen on other examples of {data.name!r} than are here now (its {split} split differs), "
                "so nobody can say what it has seen: certify it where the data are as they were"
            )
    return data


def _module(named: Named) -> nn.Module:
    return named.network if isinstance(named.network, nn.Module) else named.network.model


def _torch(module: nn.Module) -> Answer:
    def answer(inputs: Tensor) -> Float32[np.ndarray, "n classes"]:
        with torch.inference_mode(), evaluating(module):
            logits: Float32[np.ndarray, "n classes"] = logits_of(module, inputs).float().numpy()
        return logits

    return answer


def _onnx(content: bytes) -> Answer:
    running = session(content)

    def answer(inputs: Tensor) -> Float32[np.ndarray, "n classes"]:
        logits, *others = answers(running, inputs)
        if others:
            raise BadInput(f"the ONNX file must answer logits (n, classes) alone; it has {1 + len(others)} answers")
        if logits.ndim != 2 or len(logits) != len(inputs):
            raise BadInput(f"the ONNX file must answer logits (n, classes); it answers shape {logits.shape}")
        return logits.astype(np.float32)

    return answer


def _inputs(batches: Batches) -> Iterator[Tensor]:
    for batch in batches:
        yield batch if isinstance(batch, Tensor) else batch[0]
