"""Every option of a study with its default and its range, in one place. Nothing is run here."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from prudent.bounds import BOUNDS
from prudent.consistency import (
    DURING,
    comparison_problems,
    doubt_problems,
    method_problems,
    resplit_problems,
    suite_problems,
    team_problems,
    training_problems,
    weights_problems,
)
from prudent.data import DATA
from prudent.errors import UnknownName
from prudent.models import MODELS
from prudent.run_folder import run_id
from prudent.scopes import Scope
from prudent.sections import (
    Certification,
    Data,
    Evaluation,
    Identifier,
    Model,
    Options,
    Pair,
    Seed,
    Table,
    Teams,
    Training,
)
from prudent.units import Granularity, Reduction


class Method(Table):
    """[[methods]]: one way to prune, at several sparsities."""

    name: Identifier = Field(description="its name in files and addresses")
    title: str = Field("", max_length=80, description="its name on the page; by default made from the settings")
    score: str = Field("magnitude", description="importance score: a name, or package.module:callable")
    options: Options = Field({}, description="the score's own options")
    scored: Literal["dense", "initial"] = Field(
        "dense", description="score the trained dense network, or its initial weights (pruning before training)"
    )
    granularity: Granularity = Field("weight", description="what is removed as one piece")
    pattern: Pair | None = Field(None, description="of n:m: [n, m], n of each m weights are kept")
    block: Pair | None = Field(None, description="of block: [rows, columns]")
    reduction: Reduction = Field("sum", description="how scores of weights become those of blocks, channels, heads")
    layers: list[str] | None = Field(None, min_length=1, description="names of the layers to prune; none for all")
    scope: Scope = Field(
        "global", description="rank all units together, kind by kind, layer by layer, row by row, or by sizes"
    )
    minimum: int = Field(
        0, ge=0, description="at least so many units stay in every layer, under scopes global and isomorphic"
    )
    fractions: dict[str, Annotated[float, Field(ge=0, lt=1)]] | None = Field(
        None,
        min_length=1,
        description="in place of scope: name of a layer -> the fraction removed there, nothing elsewhere; sparsities "
        "is then the one that they come to",
    )
    schedule: Literal["one_shot", "iterative", "gradual", "set", "rigl"] = Field(
        "one_shot",
        description="from the dense network, from the sparsity before, or (the last three) during the retraining",
    )
    schedule_options: Options = Field({}, description="of gradual, set and rigl")
    rewind: Literal["none", "init", "step", "learning_rate", "reinit"] = Field(
        "none",
        description="survivors keep their weights, return to their initial ones or to those of an early step, keep "
        "them and repeat [training] with its learning rates, or are drawn anew",
    )
    rewind_step: int = Field(500, ge=1, description="of rewind step: how many steps of [training] are kept")
    control_of: str | None = Field(
        None, description="copy the number of removed units in each layer, at each sparsity, from this method"
    )
    control: Literal["random", "shuffled", "inverted", "reinit"] | None = Field(
        None,
        description="with control_of: other units at random, that method's mask shuffled in each layer, its scores "
        "inverted, or its mask on fresh weights",
    )
    sparsities: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        min_length=1, description="removed fractions, in [0, 1), ascending"
    )
    retraining: Training = Field(Training(), description="by default [retraining]; single keys may be changed")

    @property
    def display(self) -> str:
        """Title, or words made from the settings."""
        if self.title:
            return self.title
        unit = {"weight": "Weights", "channel": "Channels", "block": "Blocks", "head": "Heads", "n:m": "Weights"}
        pattern = f" ({self.pattern[0]}:{self.pattern[1]})" if self.pattern else ""
        return f"{unit[self.granularity]}{pattern} by {self.score.rpartition(':')[2]}"


class Settings(Table):
    """A whole study."""

    _later = ("teams",)

    name: Identifier = Field(description="the study's name; run folders start with it")
    about: str = Field("", max_length=200, description="one sentence for the page")
    seeds: list[Seed] = Field([0, 1, 2], min_length=1, description="each trains its own dense network")
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    retraining: Training = Training()
    methods: list[Method] = Field(min_length=1)
    evaluation: Evaluation = Evaluation()
    certification: Certification
    teams: Teams | None = None

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, given: Any) -> Any:  # noqa: ANN401 (raw TOML)
        """[retraining] starts from [training], and each method's from [retraining]."""
        if not isinstance(given, dict):
            return given
        given = dict(given)
        base = given.get("training", {})
        again = given.get("retraining", {})
        if isinstance(base, dict) and isinstance(again, dict):
            given["retraining"] = again = {**base, **again}
            methods = given.get("methods")
            if isinstance(methods, list) and all(isinstance(m, dict) for m in methods):
                # what is no table is left to be refused in its place
                given["methods"] = [
                    {**m, "retraining": {**again, **own}} if isinstance(own := m.get("retraining", {}), dict) else m
                    for m in methods
                ]
        return given

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        for problem in _problems(self):
            raise ValueError(problem)
        return self

    @property
    def id(self) -> str:
        """Name of the run folder: the study's name and the hash of all its settings."""
        return run_id(self.name, self.model_dump(mode="json"))

    def method(self, name: str) -> Method:
        """The method of this name."""
        return next(method for method in self.methods if method.name == name)


def _problems(study: Settings) -> Iterator[str]:
    """What is wrong beyond single values, in words."""
    names = [method.name for method in study.methods]
    yield from (f"two methods are named {name!r}" for name in {n for n in names if names.count(n) > 1})
    if len(set(study.seeds)) < len(study.seeds):
        yield f"seeds must differ; got {study.seeds}"
    for recipe in (study.training, study.retraining):
        yield from training_problems(recipe)
    for method in study.methods:
        yield from method_problems(method)
        yield from training_problems(method.retraining)
        if method.control_of is not None:
            if method.control_of not in names:
                yield str(UnknownName.of("method", method.control_of, names))
            else:
                yield from _control_problems(method, study.method(method.control_of))
    for noun, name, known in (
        ("data set", study.data.name, DATA),
        ("data set", study.data.ood, DATA),
        ("model", study.model.name, MODELS),
        ("bound", study.certification.bound, BOUNDS),
    ):
        if name is not None and name not in known and (":" not in name or noun == "bound"):
            yield str(UnknownName.of(noun, name, known))
    if study.evaluation.compare_with is not None:
        yield from comparison_problems(study.evaluation.compare_with, study.methods)
    yield from doubt_problems(study.evaluation)
    yield from suite_problems(study.evaluation, study.data.ood)
    yield from weights_problems(study)
    yield from resplit_problems(study.certification)
    if study.teams is not None:
        yield from team_problems(study, study.teams)
    claim = study.certification.declared
    if claim.method not in names:
        yield str(UnknownName.of("method", claim.method, names))
    if claim.seed not in study.seeds:
        yield f"the declared seed must be one of {study.seeds}; got {claim.seed}"
    if claim.risk not in study.certification.risks:
        yield f"the declared risk must be one of {study.certification.risks}; got {claim.risk!r}"


def _control_problems(control: Method, of: Method) -> Iterator[str]:
    if of.control_of is not None:
        yield f"{control.name!r} cannot be the control of {of.name!r}, which is a control itself"
    if of.sparsities != control.sparsities:
        yield f"control {control.name!r} needs the sparsities of {of.name!r}: {of.sparsities}"
    if of.granularity != control.granularity:
        yield f"control {control.name!r} needs the granularity of {of.name!r}: {of.granularity!r}"
    if (of.schedule in DURING or control.schedule in DURING) and control.control == "reinit":
        yield f"control {control.name!r}: the mask of {of.name!r} changes while it trains; use random or shuffled"
    if control.schedule != "one_shot":
        yield f"control {control.name!r} copies each sparsity's counts: its schedule is 'one_shot'"
