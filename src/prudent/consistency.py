"""What does not fit together within one method of a study, in words."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from prudent.bounds import BOUNDS
from prudent.corruptions import CORRUPTIONS
from prudent.data import DATA
from prudent.diversity import MEASURES
from prudent.errors import PrudentError, UnknownName
from prudent.ood import OOD
from prudent.resplitting import WALKS
from prudent.scores import SCORES
from prudent.tallies import MOST
from prudent.units import check_shape_of_unit

if TYPE_CHECKING:
    from prudent.sections import Certification, Evaluation, Teams, Training
    from prudent.settings import Method, Settings

DURING = ("gradual", "set", "rigl")
"""Schedules that prune while the network trains."""
TOLERANCE = 1e-5
"""Within which a sparsity that is implied may be written down: 0.666667 is two thirds."""


def method_problems(method: "Method") -> Iterator[str]:
    """What is wrong with a method by itself, one line for each problem."""
    s = method.sparsities
    if any(a >= b for a, b in pairwise(s)):
        yield f"sparsities of {method.name!r} must ascend, since certificates test the densest first; got {s}"
    if ":" not in method.score and method.score not in SCORES:
        yield str(UnknownName.of("score", method.score, SCORES))
    if method.fractions is not None:
        yield from (f"method {method.name!r}: {problem}" for problem in _fraction_problems(method))
    if method.control is not None and method.control_of is None:
        yield f"method {method.name!r} is a control, so control_of must name the method that it checks"
    try:
        check_shape_of_unit(method.granularity, method.pattern, method.block)
    except PrudentError as error:
        yield f"method {method.name!r}: {error}"
    if method.pattern is not None:
        n, m = method.pattern
        if len(s) != 1 or abs(s[0] - (1 - n / m)) > TOLERANCE:
            implied = f"{1 - n / m:.6g}"
            yield f"method {method.name!r}: {n}:{m} removes {implied}, so sparsities is [{implied}]; got {s}"
    if method.schedule == "gradual":
        yield from (f"method {method.name!r}: {problem}" for problem in _gradual_problems(method))
    if method.schedule in DURING and method.granularity != "weight":
        yield f"method {method.name!r}: schedule {method.schedule!r} removes single weights; got {method.granularity!r}"
    if method.schedule in DURING and method.retraining.epochs == 0:
        yield f"method {method.name!r}: schedule {method.schedule!r} prunes during [retraining], which has no epochs"
    if method.scored == "initial" and method.schedule != "one_shot":
        yield f"method {method.name!r}: before training there is one step only: its schedule is 'one_shot'"
    if method.schedule_options and method.schedule not in DURING:
        yield f"method {method.name!r}: schedule {method.schedule!r} has no options"


def training_problems(recipe: "Training") -> Iterator[str]:
    """What is wrong with a training by itself, one line for each problem."""
    yield from (
        str(UnknownName.of("corruption", n, CORRUPTIONS)) for n in recipe.corruptions or () if n not in CORRUPTIONS
    )
    if recipe.severities is not None and recipe.corruptions is None:
        yield f"severities are those of corruptions: name them, or leave severities out; got {recipe.severities}"
    if recipe.objective_options is not None and recipe.objective is None:
        yield "objective_options are those of an objective: name it, or leave them out"


def comparable(method: "Method", other: "Method") -> bool:
    """Whether the masks of two methods say something about each other.

    Both must judge the same trained network, and decide about the same units.
    """
    units = [(m.granularity, m.pattern, m.block, m.layers and sorted(m.layers)) for m in (method, other)]
    return units[0] == units[1] and all(m.schedule == "one_shot" and m.scored == "dense" for m in (method, other))


def doubt_problems(asked: "Evaluation") -> Iterator[str]:
    """What of [evaluation] belongs to a Laplace approximation that is not asked for, or is asked for twice."""
    if asked.laplace_weights is not None and asked.laplace != "subnetwork":
        yield 'evaluation.laplace_weights says how large a subnetwork is: it needs laplace = "subnetwork"'
    if asked.mc_dropout is not None and asked.mc_samples is not None:
        yield "evaluation.mc_dropout says how many samples are drawn: leave mc_samples out"
    if asked.laplace_samples is not None and asked.laplace is None:
        yield 'evaluation.laplace_samples needs laplace = "last_layer" or "subnetwork"'


def comparison_problems(name: str, methods: "Sequence[Method]") -> Iterator[str]:
    """What is wrong with comparing the masks of a study's methods with those of the method of this name."""
    like = next((method for method in methods if method.name == name), None)
    if like is None:
        yield str(UnknownName.of("method", name, [method.name for method in methods]))
    elif not comparable(like, like):
        yield (
            f"evaluation.compare_with = {name!r} needs a method that prunes the dense network at once: schedule "
            f"'one_shot', scored 'dense'; got {like.schedule!r}, {like.scored!r}"
        )
    elif not any(m is not like and comparable(m, like) and set(m.sparsities) & set(like.sparsities) for m in methods):
        yield (
            f"evaluation.compare_with = {name!r} needs another method of schedule 'one_shot', scored 'dense', that "
            f"removes the same units ({like.granularity!r}) at one of the same sparsities; there is none"
        )


def weights_problems(study: "Settings") -> Iterator[str]:
    """What does not fit a dense network whose weights are given."""
    if study.model.weights is None:
        return
    if study.training.epochs:
        yield f"model.weights are used as they are: set training.epochs = 0; got {study.training.epochs}"
    for method in study.methods:
        if method.rewind in ("init", "step") or method.scored == "initial":
            yield f"method {method.name!r}: the initial weights of a network that was trained elsewhere are not known"
        if method.rewind == "learning_rate":
            yield f"method {method.name!r}: the [training] of a network that was trained elsewhere is not known"


def suite_problems(evaluation: "Evaluation", strangers: str | None) -> Iterator[str]:
    """What does not fit together in the suite that a study asks for.

    Args:
        evaluation: the table [evaluation].
        strangers: name of the set that [data] names, None without.
    """
    suite = evaluation.suite_options
    if suite is None:
        return
    if evaluation.suite is None:
        yield 'evaluation.suite_options are those of a suite: set evaluation.suite = "full", or leave them out'
    for what, given, known in (
        ("corruption", suite.corruptions, CORRUPTIONS),
        ("detector", suite.detectors, OOD),
        ("data set", suite.ood, DATA),
    ):
        for name in given:
            if name not in known and (what != "data set" or ":" not in name):
                yield f"evaluation.suite_options: {UnknownName.of(what, name, known)}"
    lists = ("corruptions", "severities", "noises", "ood", "detectors", "radii")
    for key in lists:
        values = getattr(suite, key)
        if len(set(values)) < len(values):
            yield f"evaluation.suite_options.{key} must differ; got {values}"
    if strangers in suite.ood:
        yield f"evaluation.suite_options.ood are further strangers; {strangers!r} is the set of [data] already"
    for name in suite.ood_options:
        if name not in suite.ood:
            yield f"evaluation.suite_options.ood_options: {UnknownName.of('further set', name, suite.ood)}"


def resplit_problems(claim: "Certification") -> Iterator[str]:
    """What does not fit together in the resplits that a study asks for."""
    for what, given in (("alphas", claim.alphas), ("bounds", claim.bounds)):
        if given is not None and claim.resplits is None:
            yield f"certification.{what} are those of resplits: say how many, or leave {what} out"
        if given is not None and len(set(given)) < len(given):
            yield f"certification.{what} must differ; got {given}"
    if claim.resplits is None:
        return
    for bound in claim.bounds or [claim.bound]:
        if bound not in WALKS and bound not in BOUNDS:
            yield str(UnknownName.of("bound", bound, [*BOUNDS, *WALKS]))
        elif bound not in WALKS and BOUNDS.constant(bound, "ORDERED"):
            yield f"resplits need bounds that look at the number of losses alone; {bound} looks at their order, too"


def team_problems(study: "Settings", teams: "Teams") -> Iterator[str]:
    """What does not fit together in the teams that a study asks for."""
    yield from (str(UnknownName.of("measure of diversity", m, MEASURES)) for m in teams.measures if m not in MEASURES)
    for what, given in (("betas", teams.betas), ("measures", teams.measures), ("sparsities", teams.sparsities or [])):
        if len(set(given)) < len(given):
            yield f"teams.{what} must differ; got {given}"
    there = {s for method in study.methods for s in method.sparsities}
    yield from (f"teams.sparsities has {s}, which no method has" for s in teams.sparsities or [] if s not in there)
    wanted = there if teams.sparsities is None else set(teams.sparsities)
    pool = sum(s in wanted for method in study.methods for s in method.sparsities) + teams.dense
    pool *= len(study.seeds) if teams.across else 1
    if not 2 <= pool <= MOST:
        yield f"a pool of teams has 2 to {MOST} networks; this one has {pool}: change teams.sparsities or teams.across"


def _gradual_problems(method: "Method") -> Iterator[str]:
    """What gradual pruning does not know: it ranks all weights by magnitude, as its schedule_options say."""
    if method.score != "magnitude" or method.options:
        yield f"gradual pruning removes the smallest weights: its score is 'magnitude'; got {method.score!r}"
    if method.layers is not None or method.minimum or method.fractions is not None:
        yield "gradual pruning takes all layers: leave layers, minimum and fractions out"
    if method.scope != "global":
        yield f'gradual pruning has its scope among its own options: schedule_options = {{ scope = "{method.scope}" }}'


def _fraction_problems(method: "Method") -> Iterator[str]:
    if len(method.sparsities) > 1:
        yield f"fractions come to one sparsity, so sparsities has one entry; got {method.sparsities}"
    if method.scope != "global" or method.minimum > 0:
        yield "fractions say what each layer loses: leave scope and minimum out"
    if method.granularity == "n:m":
        yield "n:m says itself what each layer loses: leave fractions out"
    if method.schedule in DURING:
        yield f"fractions are removed at once, not during training as schedule {method.schedule!r} does"
    if method.control_of is not None:
        yield f"it copies what each layer loses from {method.control_of!r}: leave fractions out"
