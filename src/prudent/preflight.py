"""Refuse what cannot work before any work is done: data, architecture and settings tried together."""

import copy
from dataclasses import dataclass, replace

import torch
from torch import nn

from prudent.building import build
from prudent.catalogue import check_options
from prudent.cells._shared import example_of
from prudent.cells.maps import check_plane
from prudent.corrupting import check_images
from prudent.errors import BadInput
from prudent.functional_dropout import find_dropouts
from prudent.given_weights import give_weights, weights_hash
from prudent.graph import Fingerprints
from prudent.laplace.posterior import fit_laplace
from prudent.laplace.subnetworks import last_layer, most_uncertain
from prudent.network import check_runs, evaluating, prunable
from prudent.objectives import OBJECTIVES
from prudent.passes import Pass
from prudent.prediction import predict
from prudent.pruning import prune
from prudent.schedules import SCHEDULES
from prudent.scores import SCORES
from prudent.settings import Method, Settings
from prudent.sources import load_data
from prudent.splits import Data
from prudent.suite_checks import ReadySuite, ready_suite
from prudent.surgery.shrinking import shrink
from prudent.types import Split


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What a study reads, loaded and tried.

    Args:
        data: the task.
        ood: the strangers, None without.
        weights: sha256 of the file that the dense network comes from, "" if it is trained.
        suite: what its suite reads, None without one.
    """

    data: Data
    ood: Data | None
    weights: str = ""
    suite: ReadySuite | None = None

    @property
    def fingerprints(self) -> Fingerprints:
        """Of the data, for the cells' keys."""
        ood = self.ood.fingerprint if self.ood else ""
        own = Fingerprints(task=self.data.fingerprint, ood=ood, weights=self.weights)
        return own if self.suite is None else replace(own, further=self.suite.further, images=self.suite.images)


def preflight(study: Settings) -> Ready:
    """Load the data, build the network, and try every way of pruning on its initial weights.

    Raises:
        BadInput: data that are absent, lack labels that are needed or do not fit the network, a step to rewind to that
            training does not reach, dropout samples of a network without dropout, more examples to be timed than there
            are, an unknown option, a sparsity that leaves nothing, weights that are not the network's, a layer that a
            Laplace approximation cannot differentiate, maps of data that do not lie in a plane.
        CannotPrune: channels asked of a network that is not a plain one.
    """
    data = load_data(study.data.name, study.data.options)
    if not data.classes:
        raise BadInput(f"data set {study.data.name!r} is a set of strangers; it can serve as [data] ood only")
    _check_labels(study, data)
    _check_steps(study, data)
    ood = _strangers(study, data)
    if study.evaluation.latency_batch > len(data.train):
        raise BadInput(
            f"evaluation.latency_batch = {study.evaluation.latency_batch} needs as many training examples; "
            f"there are {len(data.train)}"
        )
    options = dict(study.model.options)
    model = build(study.model.name, data.shape, len(data.classes), seed=study.seeds[0], options=options)
    weights = ""
    if study.model.weights is not None:
        weights = weights_hash(study.model.weights)
        give_weights(model, study.model.weights, sha256=weights)
    example = torch.from_numpy(data.train.inputs[:8])
    answer = check_runs(model, example)
    if answer.shape[1] != len(data.classes):
        raise BadInput(
            f"model {study.model.name!r} answers {answer.shape[1]} logits; {data.name} has {len(data.classes)} classes"
        )
    prunable(model)
    _try_training(study, data, model)
    _try_dropout(study, data, model)
    _try_doubts(study, data, model)
    _try_pruning(study, data, model)
    return Ready(data=data, ood=ood, weights=weights, suite=ready_suite(study, data))


def _try_dropout(study: Settings, data: Data, model: nn.Module) -> None:
    asked, rate = study.evaluation.mc_dropout, None
    if asked is not None:
        rate, present = asked.rate, bool(find_dropouts(model, example_of(data)).switched)
        if present == (rate is not None):
            has, do = ("has dropout", "leave rate out") if present else ("has none", "set rate, or its option dropout")
            raise BadInput(f"evaluation.mc_dropout: model {study.model.name!r} {has} of its own: {do}")
    if study.evaluation.samples is not None:
        predict(model, data.validation.batches(8), mc_samples=2, mc_dropout=rate)


def _try_doubts(study: Settings, data: Data, model: nn.Module) -> None:
    asked, example = study.evaluation, example_of(data)
    if asked.laplace is not None:
        few = list(data.train.batches(8))[:1]
        last = asked.laplace == "last_layer"
        inside = last_layer(model, example) if last else most_uncertain(model, few, size=1)
        fit_laplace(model, few, inside, prior_precision=1.0)
    if asked.maps is not None:
        check_plane(data)


def _check_labels(study: Settings, data: Data) -> None:
    recipes = [study.training, *(method.retraining for method in study.methods)]
    needs: dict[Split, str] = {"train": "training needs them", "test": "the errors on the page need them"}
    if "error" in study.certification.risks:
        needs["certification"] = 'the risk "error" needs them, "disagreement" would not'
    if any(recipe.patience is not None for recipe in recipes):
        needs["validation"] = "patience needs them"
    if study.teams is not None:
        needs["validation"] = "choosing teams needs them"
    if study.evaluation.mc_dropout is not None:
        needs["validation"] = "the temperature of dropout samples needs them"
    for split, why in needs.items():
        if data.splits[split].labels is None:
            raise BadInput(f"data set {study.data.name!r} has no labels in its {split} split: {why}")


def _check_steps(study: Settings, data: Data) -> None:
    """Refuse to rewind to a step that training does not reach, even if nothing stops it early."""
    recipe = study.training
    each = len(data.train.batches(recipe.batch_size))
    for method in study.methods:
        if method.rewind == "step" and method.rewind_step > recipe.epochs * each:
            raise BadInput(
                f"method {method.name!r} rewinds to step {method.rewind_step}, and [training] has {recipe.epochs} "
                f"epochs of {each} steps: lower its rewind_step to {recipe.epochs * each} or less"
            )


def _strangers(study: Settings, data: Data) -> Data | None:
    if study.data.ood is None:
        return None
    ood = load_data(study.data.ood, study.data.ood_options)
    if set(ood.splits) != {"ood"}:
        raise BadInput(f"data set {study.data.ood!r} is a task; [data] ood needs a set of strangers")
    if ood.shape != data.shape:
        raise BadInput(f"strangers must have the format of the task, {data.shape}; {study.data.ood!r} has {ood.shape}")
    return ood


def _try_training(study: Settings, data: Data, model: nn.Module) -> None:
    """Refuse objectives that do not know their options or the architecture, and images that cannot be corrupted."""
    for recipe in (study.training, *(method.retraining for method in study.methods)):
        inputs = torch.from_numpy(data.train.inputs)
        if recipe.corruptions:
            check_images(inputs)
        if recipe.objective is not None:
            own = dict(recipe.objective_options or {})
            check_options(OBJECTIVES.find(recipe.objective), own, noun=f"objective {recipe.objective!r}")
            objective = OBJECTIVES.call(recipe.objective, **own)
            example, labels = inputs[:2], torch.zeros(2, dtype=torch.int64)
            with evaluating(model):
                logits = model(example)
            objective(Pass(index=1, total=1, model=model, inputs=example, labels=labels, logits=logits))


def _try_pruning(study: Settings, data: Data, model: nn.Module) -> None:
    for method in study.methods:
        _try_method(method, data, copy.deepcopy(model))


def _try_method(method: Method, data: Data, model: nn.Module) -> None:
    few = [next(iter(data.train.batches(8)))]
    example = torch.from_numpy(data.train.inputs[:8])
    function = SCORES.find(method.score)
    check_options(function, dict(method.options), noun=f"score {method.score!r}", given=("model", "batches"))
    if method.schedule in SCHEDULES:
        SCHEDULES.call(method.schedule, method.sparsities[-1], **method.schedule_options)
    # scores that read data or train are tried by magnitude: what can be refused at once is the shape of things
    needs = SCORES.constant(method.score, "NEEDS") if method.score in SCORES else ("data",)
    unit = SCORES.constant(method.score, "UNIT") if method.score in SCORES else "weight"
    cheap = not needs or method.score not in SCORES
    if unit == "channel" and method.granularity != "channel":
        raise BadInput(
            f"method {method.name!r}: score {method.score!r} judges whole channels; got {method.granularity!r}"
        )
    tried = prune(
        model,
        sparsity=None if method.pattern or method.fractions else method.sparsities[-1],
        fractions=method.fractions,
        score=method.score if cheap else "magnitude",
        options=method.options if cheap else {},
        granularity=method.granularity,
        pattern=method.pattern,
        block=method.block,
        reduction=method.reduction,
        layers=method.layers,
        scope=method.scope,
        minimum=method.minimum,
        batches=few if cheap else None,
        example=example,
    )
    if method.fractions is not None:
        _check_implied(method, tried.sparsity)
    if method.granularity == "channel" or tried.mask.cover is not None:
        shrink(tried, example)


def _check_implied(method: Method, implied: float) -> None:
    """Refuse a sparsity that the fractions do not come to: networks and certificates are filed under it."""
    if abs(implied - method.sparsities[0]) > 1e-4:
        raise BadInput(
            f"method {method.name!r}: its fractions come to {implied:.6g} of all units, so sparsities is "
            f"[{implied:.6g}]; got {method.sparsities}"
        )
