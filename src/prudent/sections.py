"""The tables of a study file but for its methods: every option with its default and its range."""

import math
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_serializer, model_validator

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=40)]
Pair = Annotated[tuple[int, int], Field(strict=False)]  # TOML has lists only
Probability = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, le=2**63 - 1)]
Risk = Literal["disagreement", "error"]


def _plain(options: dict[str, Any]) -> dict[str, Any]:
    """Refuse dates, NaN and infinity, naming the key: options go into keys and records, which are JSON."""
    waiting: list[tuple[str, Any]] = list(options.items())
    for key, value in waiting:
        if isinstance(value, (dict, list)):
            inside = value.items() if isinstance(value, dict) else enumerate(value)
            waiting += [(f"{key}.{part}", one) for part, one in inside]
        elif not isinstance(value, (str, int, float)) or not math.isfinite(0 if isinstance(value, str) else value):
            raise ValueError(f"{key} must be a finite number, a word, a list or a table; got {value}")
    return options


Options = Annotated[dict[str, Any], AfterValidator(_plain)]


class Table(BaseModel):
    """What all tables share: unknown keys are refused, and values are never converted."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    _later: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _as_before(self, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        """Without later keys that were not asked for: a study that does without keeps the name that it had before."""
        given = handler(self)
        return {key: value for key, value in given.items() if key not in self._later or value is not None}


class Data(Table):
    """[data]: what the networks learn, and the strangers that they are shown."""

    name: str = Field("digits", description="a data set of prudent, or package.module:callable")
    options: Options = Field({}, description="the data set's own options, for example its sizes and its seed")
    ood: str | None = Field(None, description="a set of strangers, for telling apart what is not from the task")
    ood_options: Options = Field({}, description="its own options")


class Model(Table):
    """[model]: the architecture."""

    _later = ("weights",)

    name: str = Field("small_cnn", description="an architecture of prudent, or package.module:callable")
    options: Options = Field({}, description="its own options, for example widths and dropout")
    weights: str | None = Field(
        None,
        description="safetensors file of a network trained elsewhere, relative to $PRUDENT_DATA; needs no training",
    )


class Training(Table):
    """[training], and [retraining] after pruning, which starts from what [training] says."""

    _later = ("corruptions", "severities", "label_noise", "objective", "objective_options")

    epochs: int = Field(12, ge=0, description="passes over the training examples")
    batch_size: int = Field(64, ge=1, description="examples in one step")
    lr: float = Field(0.01, gt=0, description="learning rate; the highest one for one_cycle")
    optimizer: Literal["adam", "sgd"] = Field("adam", description="AdamW, or SGD with Nesterov momentum")
    momentum: float = Field(0.9, ge=0, lt=1, description="of sgd")
    weight_decay: float = Field(0.0, ge=0, description="decoupled for adam, L2 for sgd")
    schedule: Literal["constant", "cosine", "one_cycle"] = Field("one_cycle", description="of the learning rate")
    patience: int | None = Field(
        None,
        ge=1,
        description="stop after so many epochs without a lower validation loss and keep the best; none trains all",
    )
    corruptions: list[str] | None = Field(
        None,
        description="in each epoch each image is left as it is or corrupted by one of these; [] for none where "
        "[training] has some; needs images in [0, 1]",
    )
    severities: list[Annotated[int, Field(ge=1, le=5)]] | None = Field(
        None, min_length=1, description="of the corruptions, equally likely; by default 1 to 5"
    )
    label_noise: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of the training examples that are given a wrong label, the same in "
        "[training] and [retraining]",
    )
    objective: Literal["interval", "stability"] | None = Field(
        None, description="what is minimised in place of the cross-entropy alone, a name in prudent.objectives"
    )
    objective_options: Options | None = Field(None, description="its own options")


class Suite(Table):
    """[evaluation.suite_options]: what suite = "full" measures.

    The lists are written out, so that a new corruption or detector changes no study that was there before it.
    """

    _later = ("apgd", "crown")

    examples: int | None = Field(
        None,
        ge=20,
        description="so many test examples, drawn once, are corrupted and told from strangers; none for all",
    )
    corruptions: list[str] = Field(
        [
            "brightness", "contrast", "defocus_blur", "elastic_transform", "fog", "frost", "gaussian_blur",
            "gaussian_noise", "glass_blur", "impulse_noise", "jpeg_compression", "motion_blur", "pixelate", "saturate",
            "shot_noise", "snow", "spatter", "speckle_noise", "zoom_blur",
        ],
        description="names in prudent.corruptions; image data only",
    )  # fmt: skip
    severities: list[Annotated[int, Field(ge=1, le=5)]] = Field(
        [1, 3, 5], min_length=1, description="of each corruption; published mCE are over all of 1 to 5"
    )
    noise: Literal["uniform", "gaussian"] = Field("uniform", description="centred noise, not cut off at 0 and 1")
    noises: list[Annotated[float, Field(gt=0)]] = Field(
        [4.0, 8.0, 16.0, 32.0], description="half width or standard deviation, in 8-bit steps; image data only"
    )
    ood: list[str] = Field(
        [],
        description="further strangers, near and far: sets of strangers, or other tasks, whose test split is taken",
    )
    ood_options: dict[str, Options] = Field({}, description="name of a further set -> its own options")
    detectors: list[str] = Field(
        [
            "energy", "entropy", "grad_norm", "kl_matching", "knn", "mahalanobis", "max_logit", "max_probability",
            "odin", "react", "relative_mahalanobis", "vim",
        ],
        min_length=1,
        description="names in prudent.ood, fitted to every network anew; need strangers",
    )  # fmt: skip
    fitted: int | None = Field(2000, ge=20, description="training examples that detectors are fitted to; none for all")
    radii: list[Annotated[float, Field(gt=0)]] = Field(
        [1.0, 4.0, 8.0],
        description="largest change of a pixel in an attack, in 8-bit steps; none for no attacks; image data only",
    )
    steps: int = Field(10, ge=1, description="of PGD")
    apgd: int | None = Field(
        None,
        ge=0,
        description="of APGD, with both of its losses, on what PGD leaves right; by default as many as PGD, 0 for none",
    )
    attacked: int = Field(500, ge=1, description="test examples that are attacked, at most")
    crown: int | None = Field(
        None,
        ge=0,
        description="of them, so many at most get linear bounds (CROWN) where intervals prove nothing; by default 32, "
        "0 for none",
    )
    aligned: int = Field(256, ge=4, description="test examples on which layers are compared, at most")
    tolerated: float = Field(
        0.005, ge=0, le=1, description="more errors than dense, as a rate, that prune potentials allow"
    )


class Dropout(Table):
    """[evaluation.mc_dropout]: what every network says while dropout stays on. `mc_dropout = 100` sets the samples."""

    samples: int = Field(100, ge=2, description="of every network, on validation and test examples and strangers")
    rate: Probability | None = Field(
        None, description="of a dropout that is put before the head of every network; for architectures without any"
    )


class Evaluation(Table):
    """[evaluation]: what is measured."""

    _later = (
        "compare_with", "laplace", "laplace_weights", "laplace_samples", "maps", "suite", "suite_options", "mc_dropout",
    )  # fmt: skip

    bins: int = Field(15, ge=1, le=1000, description="equal-width bins of confidence for the ECE")
    mc_samples: int | None = Field(
        None, ge=2, description="dropout samples, for doubt on the task and on strangers; needs a network with dropout"
    )
    mc_dropout: Dropout | None = Field(
        None,
        description="all that dropout samples say, in mc_samples' place: their number, or the table "
        "[evaluation.mc_dropout]",
    )
    latency_batch: int = Field(64, ge=1, description="examples in a timed pass")
    latency_turns: int = Field(30, ge=3, description="timed passes, in turn with the dense network")
    compare_with: str | None = Field(
        None,
        description="name of a method that prunes the dense network at once, such as one scored by oracle: how many of "
        "the units that it keeps do the others keep, seed by seed and sparsity by sparsity",
    )
    laplace: Literal["last_layer", "subnetwork"] | None = Field(
        None,
        description="ask every network again with uncertain weights (Laplace approximation): those of its last layer, "
        "or the most uncertain of those that pruning has left",
    )
    laplace_weights: int | None = Field(
        None, ge=1, le=10_000, description="of subnetwork: how many weights at most; by default 1000"
    )
    laplace_samples: int | None = Field(
        None, ge=2, description="of laplace: so many networks are drawn; by default one answer, by the probit formula"
    )
    maps: int | None = Field(
        None,
        ge=5,
        le=201,
        description="points along each side of maps of the plane: what the networks of the declared seed decide, and "
        "how sure they are; needs data of two numbers and two classes",
    )
    suite: Literal["full"] | None = Field(
        None,
        description="what else pruning may cost: calibration in all its variants, strangers, corruption, noise, "
        "attacks, distance to the dense network; as [evaluation.suite_options] says",
    )
    suite_options: Suite | None = None

    @model_validator(mode="before")
    @classmethod
    def _whole(cls, given: Any) -> Any:  # noqa: ANN401 (raw TOML)
        """With a suite, all of its options are written out; a number of dropout samples is their table."""
        if not isinstance(given, dict):
            return given
        given = {"suite_options": {}, **given} if given.get("suite") is not None else dict(given)
        if type(given.get("mc_dropout")) is int:
            given["mc_dropout"] = {"samples": given["mc_dropout"]}
        return given

    @property
    def samples(self) -> int | None:
        """How many dropout samples are drawn, whichever key asks for them."""
        return self.mc_samples if self.mc_dropout is None else self.mc_dropout.samples


class Teams(Table):
    """[teams]: which of the study's networks answer better together; chosen on validation, reported on test."""

    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        [0.0, 0.2, 0.5], min_length=1, description="shares of the least diverse teams of each size that are pruned"
    )
    measures: list[str] = Field(
        ["kappa", "disagreement", "kohavi_wolpert", "generalised"],
        min_length=1,
        description="of diversity; a team stays that more than half of them keep",
    )
    diversity: Literal["focal", "baseline"] = Field(
        "focal", description="over what the members get wrong, one by one, or over all that the pool does not agree on"
    )
    voting: Literal["soft", "plurality", "majority"] = Field(
        "soft", description="by mean probability, by most votes, or by more than half of the votes"
    )
    largest: int | None = Field(None, ge=2, description="most members of a team; none for the whole pool")
    sparsities: list[float] | None = Field(
        None, min_length=1, description="the pool takes the networks of these sparsities only"
    )
    dense: bool = Field(default=False, description="whether dense networks belong to the pool")
    across: bool = Field(
        default=False, description="one pool of the networks of all seeds, instead of one pool for each seed"
    )


class Declared(Table):
    """[certification.declared]: the one claim that the study makes beforehand."""

    method: str = Field(description="name of the method")
    risk: Risk = Field("disagreement", description="which risk")
    seed: Seed = Field(0, description="the network of which seed")


class Certification(Table):
    """[certification]: what is proved, and how surely."""

    _later = ("resplits", "alphas", "bounds")

    alpha: Probability = Field(0.05, description="tolerated risk")
    delta: Probability = Field(0.05, description="tolerated chance that a certificate is wrong")
    bound: str = Field("binomial", description="p-value: a name in prudent.bounds")
    risks: list[Risk] = Field(["disagreement", "error"], min_length=1, description="each is certified by itself")
    declared: Declared
    resplits: int | None = Field(
        None,
        ge=20,
        le=100_000,
        description="so often certification examples are drawn anew, from that split and test together, to see how "
        "often certificates are wrong; nothing is claimed from it",
    )
    alphas: list[Probability] | None = Field(None, min_length=1, description="of the resplits; by default alpha")
    bounds: list[str] | None = Field(None, min_length=1, description="of the resplits, or anytime; by default bound")
