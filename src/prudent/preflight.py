"""Refuse what cannot work before any work is done: data, architecture and settings tried together."""

from dataclasses import dataclass

import torch
from torch import nn

from prudent.building import build
from prudent.errors import BadInput
from prudent.graph import Fingerprints
from prudent.network import check_runs, prunable
from prudent.prediction import predict
from prudent.pruning import prune
from prudent.settings import Settings
from prudent.sources import load_data
from prudent.splits import Data
from prudent.surgery.shrinking import shrink


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a study reads, loaded and tried.

    Args:
        data: the task.
        ood: the strangers, None without.
    """

    data: Data
    ood: Data | None

    @property
    def fingerprints(self) -> Fingerprints:
        """Of the data, for the cells' keys."""
        return Fingerprints(task=self.data.fingerprint, ood=self.ood.fingerprint if self.ood else "")


def preflight(study: Settings) -> Ready:
    """Load the data, build the network, and try every way of pruning on its initial weights.

    Raises:
        BadInput: data that are absent or do not fit the network, dropout samples of a network without dropout, more
            examples to be timed than there are, an unknown option, a sparsity that leaves nothing.
        CannotPrune: channels asked of a network that is not a plain one.
    """
    data = load_data(study.data.name, study.data.options)
    if not data.classes:
        raise BadInput(f"data set {study.data.name!r} is a set of strangers; it can serve as [data] ood only")
    ood = _strangers(study, data)
    if study.evaluation.latency_batch > len(data.train):
        raise BadInput(
            f"evaluation.latency_batch = {study.evaluation.latency_batch} needs as many training examples; "
            f"there are {len(data.train)}"
        )
    options = dict(study.model.options)
    model = build(study.model.name, data.shape, len(data.classes), seed=study.seeds[0], options=options)
    example = torch.from_numpy(data.train.inputs[:8])
    answer = check_runs(model, example)
    if answer.shape[1] != len(data.classes):
        raise BadInput(
            f"model {study.model.name!r} answers {answer.shape[1]} logits; {data.name} has {len(data.classes)} classes"
        )
    prunable(model)
    if study.evaluation.mc_samples is not None:
        predict(model, data.validation.batches(8), mc_samples=2)
    _try_pruning(study, data, model)
    return Ready(data=data, ood=ood)


def _strangers(study: Settings, data: Data) -> Data | None:
    if study.data.ood is None:
        return None
    ood = load_data(study.data.ood, study.data.ood_options)
    if set(ood.splits) != {"ood"}:
        raise BadInput(f"data set {study.data.ood!r} is a task; [data] ood needs a set of strangers")
    if ood.shape != data.shape:
        raise BadInput(f"strangers must have the format of the task, {data.shape}; {study.data.ood!r} has {ood.shape}")
    return ood


def _try_pruning(study: Settings, data: Data, model: nn.Module) -> None:
    example = torch.from_numpy(data.train.inputs[:2])
    for method in study.methods:
        tried = prune(
            model,
            sparsity=method.sparsities[-1],
            score=method.score,
            granularity=method.granularity,
            scope=method.scope,
            batches=data.train.batches(),
        )
        if method.granularity == "channel":
            shrink(tried, example)
