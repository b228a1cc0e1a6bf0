"""A study file: every option of a study with its default and its range, in one place.

TOML in, a frozen and complete `Settings` out, or one line that says what is wrong. Nothing is run here.
"""

import difflib
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from prudent.bounds import BOUNDS
from prudent.data import DATA
from prudent.errors import BadInput, UnknownName
from prudent.files import read_file
from prudent.models import MODELS
from prudent.run_folder import run_id
from prudent.scores import SCORES

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]
Probability = Annotated[float, Field(gt=0, lt=1)]
Options = dict[str, Any]
Risk = Literal["disagreement", "error"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Data(_Table):
    """[data]: what the networks learn, and the strangers that they are shown."""

    name: str = Field("digits", description="a data set of prudent, or package.module:callable")
    options: Options = Field({}, description="the data set's own options, for example its sizes and its seed")
    ood: str | None = Field(None, description="a set of strangers, for telling apart what is not from the task")
    ood_options: Options = Field({}, description="its own options")


class Model(_Table):
    """[model]: the architecture."""

    name: str = Field("small_cnn", description="an architecture of prudent, or package.module:callable")
    options: Options = Field({}, description="its own options, for example widths and dropout")


class Training(_Table):
    """[training], and [retraining] after pruning, which starts from what [training] says."""

    epochs: int = Field(12, ge=0, description="passes over the training examples")
    batch_size: int = Field(64, ge=1, description="examples in one step")
    lr: float = Field(0.01, gt=0, description="learning rate; the highest one for one_cycle")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="AdamW, or SGD with Nesterov momentum")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0, description="decoupled for adam, L2 for sgd")
    schedule: Literal["constant", "cosine", "one_cycle"] = Field("one_cycle", description="of the learning rate")


class Method(_Table):
    """[[methods]]: one way to prune, at several sparsities."""

    name: Identifier = Field(description="its name in files and addresses")
    title: str = Field("", max_length=80, description="its name on the page; by default made from the settings")
    score: str = Field("magnitude", description="importance score: a name, or package.module:callable")
    granularity: Literal["weight", "channel"] = Field("weight", description="single weights, or whole channels")
    scope: Literal["global", "layer"] = Field("global", description="rank all units together, or layer by layer")
    schedule: Literal["one_shot", "iterative"] = Field(
        "one_shot", description="each sparsity from the dense network, or from the sparsity before it"
    )
    rewind: Literal["none", "init", "reinit"] = Field(
        "none", description="survivors keep their weights, return to their initial ones, or are drawn anew"
    )
    control_of: str | None = Field(
        None, description="copy the number of removed units in each layer, at each sparsity, from this method"
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
        unit = {"weight": "Weights", "channel": "Channels"}[self.granularity]
        return f"{unit} by {self.score.rpartition(':')[2]}"


class Evaluation(_Table):
    """[evaluation]: what is measured."""

    bins: int = Field(15, ge=1, description="equal-width bins of confidence for the ECE")
    mc_samples: int | None = Field(None, ge=2, description="dropout samples; needs a network with dropout")
    latency_batch: int = Field(64, ge=1, description="examples in a timed pass")
    latency_turns: int = Field(30, ge=3, description="timed passes, in turn with the dense network")


class Declared(_Table):
    """[certification.declared]: the one claim that the study makes beforehand."""

    method: str = Field(description="name of the method")
    risk: Risk = Field("disagreement", description="which risk")
    seed: int = Field(0, description="the network of which seed")


class Certification(_Table):
    """[certification]: what is proved, and how surely."""

    alpha: Probability = Field(0.05, description="tolerated risk")
    delta: Probability = Field(0.05, description="tolerated chance that a certificate is wrong")
    bound: str = Field("binomial", description="p-value: a name in prudent.bounds")
    risks: list[Risk] = Field(["disagreement", "error"], min_length=1, description="each is certified by itself")
    declared: Declared


class Settings(_Table):
    """A whole study."""

    name: Identifier = Field(description="the study's name; run folders start with it")
    about: str = Field("", max_length=200, description="one sentence for the page")
    seeds: list[int] = Field([0, 1, 2], min_length=1, description="each trains its own dense network")
    data: Data = Data()
    model: Model = Model()
    training: Training = Training()
    retraining: Training = Training()
    methods: list[Method] = Field(min_length=1)
    evaluation: Evaluation = Evaluation()
    certification: Certification

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
                given["methods"] = [{**m, "retraining": {**again, **m.get("retraining", {})}} for m in methods]
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
    for method in study.methods:
        s = method.sparsities
        if any(a >= b for a, b in pairwise(s)):
            yield f"sparsities of {method.name!r} must ascend, since certificates test the densest first; got {s}"
        if method.control_of is not None:
            if method.control_of not in names:
                yield str(UnknownName.of("method", method.control_of, names))
            else:
                yield from _control_problems(method, study.method(method.control_of))
        if ":" not in method.score and method.score not in SCORES:
            yield str(UnknownName.of("score", method.score, SCORES))
    for noun, name, known in (
        ("data set", study.data.name, DATA),
        ("data set", study.data.ood, DATA),
        ("model", study.model.name, MODELS),
        ("bound", study.certification.bound, BOUNDS),
    ):
        if name is not None and name not in known and (":" not in name or noun == "bound"):
            yield str(UnknownName.of(noun, name, known))
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
    if control.schedule != "one_shot":
        yield f"control {control.name!r} copies each sparsity's counts: its schedule is 'one_shot'"


def parse(text: str, *, source: str) -> Settings:
    """Settings from TOML text, or one line that says what is wrong and where.

    Args:
        text: the file's content.
        source: what to call it in messages.

    Raises:
        BadInput: TOML that cannot be read, an unknown key (with the nearest), a value out of range, an unknown name.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{source} is no TOML: {error}") from error
    try:
        return Settings.model_validate(given)
    except ValidationError as error:
        raise BadInput(f"{source}: {_explain(error)}") from error


def read(path: Path) -> Settings:
    """Settings from a study file. Raises as `parse`, and PrudentError if there is no such file."""
    try:
        text = read_file(path).decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is no text: a study file is TOML in UTF-8") from error
    return parse(text, source=str(path))


def embedded() -> dict[str, Path]:
    """The studies that come with prudent, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "study_files").glob("*.toml"))}


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    # an unknown key first: a misspelt one is often the reason for the others
    first = min(problems, key=lambda p: p["type"] != "extra_forbidden")
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"]).lstrip(".")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        key, known = str(first["loc"][-1]), _keys_at(first["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        guess = f"did you mean {near[0]!r}? " if near else ""
        return f"no key {where!r}; {guess}known here: {', '.join(known)}{more}"
    if first["type"] == "missing":
        return f"key {where!r} is missing{more}"
    if first["type"] == "value_error":
        return f"{first['ctx']['error']!s}{more}"
    came = first["input"]
    return f"{where}: {first['msg'][0].lower()}{first['msg'][1:]}; got {came!r}{more}"


def _keys_at(location: tuple[int | str, ...]) -> list[str]:
    """The keys that a table at this place of the file may have."""
    table: type[BaseModel] = Settings
    for part in location:
        if isinstance(part, str):
            table = _table_in(table.model_fields[part].annotation)
    return sorted(table.model_fields)


def _table_in(annotation: Any) -> type[BaseModel]:  # noqa: ANN401 (a type)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next(t for a in get_args(annotation) for t in [_table_in(a)])
