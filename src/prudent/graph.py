"""A study as a graph of cells: everything that will be computed, and under which keys, before anything is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prudent.consistency import DURING
from prudent.keys import Cell, code_version
from prudent.settings import Method, Settings
from prudent.wording import percent

READ = {
    "score", "options", "scored", "granularity", "pattern", "block", "reduction", "layers", "scope", "minimum",
    "fractions", "schedule", "schedule_options", "rewind", "rewind_step", "control",
}  # fmt: skip
"""What a cell reads of a method's settings; its name and title it does not."""

ATTACKS = ("attacked", "radii", "steps", "apgd", "crown")
"""What attacks read of a suite's options; the last two only if the study names them."""

DENSE = ("", 0.0)
"""Address of the dense network: no method, nothing removed."""


@dataclass(frozen=True, kw_only=True)
class Trio:
    """The cells of one network: the network itself, its predictions, its measured time, and what a study may add.

    Of the dense network, "aligned" compares with the dense network of another seed.
    """

    network: Cell
    predictions: Cell
    latency: Cell
    laplace: Cell | None = None
    maps: Cell | None = None
    suite: Mapping[str, Cell] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Graph:
    """All cells of a study.

    Args:
        networks: (seed, method, sparsity) -> the network's cells; ("", 0.0) stands for the dense network.
        cells: every cell after those that it needs; what others wait for comes first.
    """

    networks: Mapping[tuple[int, str, float], Trio]
    cells: tuple[Cell, ...]


@dataclass(frozen=True, kw_only=True)
class Fingerprints:
    """Fingerprints of what a study reads.

    Args:
        task: of all splits of the data set.
        ood: of the strangers, "" without.
        weights: sha256 of the file that the dense network comes from, "" if it is trained.
        further: of the suite's further sets of strangers, in its order.
        images: whether the task's examples are images that can be corrupted and attacked.
    """

    task: str
    ood: str
    weights: str = ""
    further: tuple[str, ...] = ()
    images: bool = False


def build_graph(study: Settings, data: Fingerprints) -> Graph:
    """Lay out the cells of a study.

    Args:
        study: the settings.
        data: fingerprints of the data that they name.

    Raises:
        BadInput: a private method whose code cannot be read.
    """
    networks: dict[tuple[int, str, float], Trio] = {}
    for seed, other in zip(study.seeds, [*study.seeds[1:], study.seeds[0]], strict=True):
        maker = _Maker(study, data, seed)
        dense = maker.dense()
        # given weights are the same for every seed, and no yardstick
        beside = None if other == seed or study.model.weights is not None else _Maker(study, data, other).dense()
        networks[seed, *DENSE] = maker.trio(dense, dense, beside)
        for method in sorted(study.methods, key=lambda m: m.control_of is not None):
            previous: Cell | None = None
            for sparsity in method.sparsities:
                like = networks[seed, method.control_of, sparsity].network if method.control_of else None
                previous = maker.pruned(method, sparsity, dense, previous, like)
                networks[seed, method.name, sparsity] = maker.trio(previous, dense, dense)
    trios = list(networks.values())
    added = [cell for t in trios for cell in (t.laplace, t.maps, *t.suite.values()) if cell is not None]
    stages = ([t.network for t in trios], [t.predictions for t in trios], added, [t.latency for t in trios])
    return Graph(networks=networks, cells=tuple(cell for stage in stages for cell in stage))


@dataclass(frozen=True)
class _Maker:
    """Makes the cells of one seed."""

    study: Settings
    data: Fingerprints
    seed: int

    @property
    def shared(self) -> dict[str, Any]:
        """Settings that every training cell reads."""
        study = self.study
        return {
            "data": {"name": study.data.name, "options": study.data.options},
            "model": {"name": study.model.name, "options": study.model.options},
            "seed": self.seed,
        }

    @property
    def checkpoints(self) -> list[int]:
        """Steps of the dense training to which a method rewinds."""
        return sorted({method.rewind_step for method in self.study.methods if method.rewind == "step"})

    @property
    def dropout(self) -> dict[str, Any]:
        """What is asked of dropout samples."""
        asked = self.study.evaluation
        whole = None if asked.mc_dropout is None else asked.mc_dropout.model_dump()
        return {"mc_samples": asked.samples} | ({} if whole is None else {"mc_dropout": whole})

    def modules(self, kind: str, *more: tuple[str, str]) -> str:
        """Hash of the code of a kind of cell and of the methods that it loads by name."""
        study = self.study
        named = [("data", study.data.name), ("models", study.model.name), *more]
        files = [n.partition(":")[0] if ":" in n else f"prudent.{folder}.{n}" for folder, n in named]
        return code_version([f"prudent.cells.{kind}", *files])

    def dense(self) -> Cell:
        if self.study.model.weights is not None:
            return Cell(
                kind="given",
                options=self.shared | {"weights": {"file": self.study.model.weights, "sha256": self.data.weights}},
                inputs={},
                data=(self.data.task,),
                code=self.modules("given"),
                label=f"seed {self.seed}, dense",
            )
        return Cell(
            kind="dense",
            options=self.shared | {"training": self.study.training.model_dump(), "checkpoints": self.checkpoints},
            inputs={},
            data=(self.data.task,),
            code=self.modules("dense"),
            label=f"seed {self.seed}, dense",
        )

    def pruned(self, method: Method, sparsity: float, dense: Cell, previous: Cell | None, like: Cell | None) -> Cell:
        inputs = {"dense": dense.key}
        if method.schedule == "iterative" and previous is not None:
            inputs["parent"] = previous.key
        if like is not None:
            inputs["like"] = like.key
        recipe = self.study.training if method.rewind == "learning_rate" else method.retraining
        own = method.model_dump(include=READ)
        schedules = [("schedules", method.schedule)] if method.schedule in DURING else []
        return Cell(
            kind="pruned",
            options=self.shared | own | {"sparsity": sparsity, "training": recipe.model_dump()},
            inputs=inputs,
            data=(self.data.task,),
            code=self.modules("pruned", ("scores", method.score), ("scores", "random"), *schedules),
            label=f"seed {self.seed}, {method.name} {percent(sparsity)}",
        )

    def trio(self, network: Cell, dense: Cell, beside: Cell | None) -> Trio:
        study = self.study
        ood = None if study.data.ood is None else {"name": study.data.ood, "options": study.data.ood_options}
        options = {k: self.shared[k] for k in ("data", "model", "seed")}
        strangers = [("data", study.data.ood)] if study.data.ood else []
        predictions = Cell(
            kind="predictions",
            options=options | {"ood": ood} | self.dropout,
            inputs={"network": network.key},
            data=(self.data.task, self.data.ood),
            code=self.modules("predictions", *strangers),
            label=f"{network.label}, predictions",
        )
        timing = {"batch": study.evaluation.latency_batch, "turns": study.evaluation.latency_turns}
        latency = Cell(
            kind="latency",
            options={k: self.shared[k] for k in ("data", "model")} | timing,
            inputs={"dense": dense.key, "network": network.key},
            data=(self.data.task,),
            code=self.modules("latency"),
            label=f"{network.label}, timing",
            alone=True,
        )
        return Trio(
            network=network, predictions=predictions, latency=latency, suite=dict(self.suite(network, beside)),
            **self.doubts(network, ood, strangers),
        )  # fmt: skip

    def doubts(
        self, network: Cell, ood: dict[str, Any] | None, strangers: list[tuple[str, str]]
    ) -> dict[str, Cell | None]:
        """The cells that ask for uncertainty, where the study wants them; maps of the declared seed alone."""
        asked = self.study.evaluation
        own = {key: getattr(asked, key) for key in ("laplace", "laplace_weights", "laplace_samples")}
        base = {k: self.shared[k] for k in ("data", "model", "seed")} | own
        found: dict[str, Cell | None] = {"laplace": None, "maps": None}
        if asked.laplace is not None:
            found["laplace"] = Cell(
                kind="laplace",
                options=base | {"ood": ood},
                inputs={"network": network.key},
                data=(self.data.task, self.data.ood),
                code=self.modules("laplace", *strangers),
                label=f"{network.label}, uncertain weights",
            )
        if asked.maps is not None and self.seed == self.study.certification.declared.seed:
            found["maps"] = Cell(
                kind="maps",
                options=base | {"maps": asked.maps} | self.dropout,
                inputs={"network": network.key},
                data=(self.data.task,),
                code=self.modules("maps"),
                label=f"{network.label}, maps",
            )
        return found

    def suite(self, network: Cell, beside: Cell | None) -> Iterator[tuple[str, Cell]]:
        """Kind -> cell of what the study's suite asks of a network.

        Args:
            network: that is measured.
            beside: another one, whose layers its own are compared with; None for no comparison.
        """
        asked = self.study.evaluation.suite_options
        if asked is None:
            return
        own = asked.model_dump()
        sets = sets_of_strangers(self.study)
        detectors = [("ood", name) for name in asked.detectors]
        others = [("data", one["name"]) for one in sets]
        if self.data.images:
            corruptions = [("corruptions", name) for name in asked.corruptions]
            shifts = {k: own[k] for k in ("examples", "corruptions", "severities", "noise", "noises")}
            yield "shifted", self.measuring("shifted", network, shifts, *corruptions)
            attacks: dict[str, Any] = {k: own[k] for k in ATTACKS if k in own}
            if asked.radii:
                yield "attacked", self.measuring("attacked", network, attacks)
        if sets:
            options = {"sets": sets, **{k: own[k] for k in ("detectors", "fitted", "examples")}}
            yield "strangers", self.measuring("strangers", network, options, *detectors, *others)
        if beside is not None:
            yield "aligned", self.measuring("aligned", network, {"aligned": asked.aligned}, beside=beside)

    def measuring(
        self, kind: str, network: Cell, own: dict[str, Any], *more: tuple[str, str], beside: Cell | None = None
    ) -> Cell:
        """A cell of a suite, which reads a finished network."""
        data = (self.data.task, self.data.ood, *self.data.further) if kind == "strangers" else (self.data.task,)
        return Cell(
            kind=kind,
            options={k: self.shared[k] for k in ("data", "model")} | own,
            inputs={"network": network.key} | ({} if beside is None else {"dense": beside.key}),
            data=data,
            code=self.modules(kind, *more),
            label=f"{network.label}, {kind}",
        )


def sets_of_strangers(study: Settings) -> list[dict[str, Any]]:
    """All sets of strangers that a suite shows to networks: name, options, and whether it is on the task's scale.

    The set of [data] is taken as that table describes it; pixels of further sets are put on the scale of the task.
    """
    asked, data = study.evaluation.suite_options, study.data
    first = [] if data.ood is None else [{"name": data.ood, "options": data.ood_options, "scaled": True}]
    if asked is None:
        return first
    own = [(name, asked.ood_options.get(name, {})) for name in asked.ood]
    return first + [{"name": n, "options": o, "scaled": "mean" in o} for n, o in own]
