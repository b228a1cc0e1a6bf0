"""What the suite of a study found of its methods: prune potentials, excess errors, who is taken for what, what changed.

Everything comes from saved answers; `prudent.suite_results` has the numbers of single networks.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch

from prudent.damage import class_looks, corruption_looks, hardest, hits, stranger_look
from prudent.detection import fpr_ood_at_tpr95_id, max_prob
from prudent.errors import BadInput
from prudent.foreign import Foreign
from prudent.graph import DENSE
from prudent.pictures import png_text
from prudent.pixel_scale import scale_of
from prudent.potential import TaskErrors, excess_error, prune_potentials
from prudent.preflight import Ready
from prudent.reallocation import Reallocation, exemplars, largest_movements, modal_decisions, reallocate
from prudent.retraining_effects import retraining_effects
from prudent.settings import Method
from prudent.shift_names import NOMINAL
from prudent.suite_answers import Address, Answers
from prudent.suite_results import beside_dense, over_networks
from prudent.wording import percent

WIDEST = 200
"""Matrices of more classes of strangers than this are left out of the results; their largest movements are not."""

SHOWN = 12
"""Examples shown as images, of each network."""

MOVEMENTS = 10


def study_suite(
    answers: Answers,
    ready: Ready,
    networks: list[dict[str, Any]],
    *,
    on_look: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """All that the suite found of the study's methods.

    Args:
        answers: the finished study.
        ready: its data.
        networks: results of each network, its "suite" among them.
        on_look: told, in words, before each method and sparsity that is compared with dense.

    Returns: left_out (sentences), n (images), strangers, relaxed (what linear bounds were asked about), rows (measures
        of each candidate over seeds, and their paired differences from dense), control (method -> its random control),
        potentials, retraining (effects of robust retraining), excess, reallocation, exemplars, images, changes.
    """
    if ready.suite is None:
        raise BadInput("this study asks for no suite")
    study = answers.finished.study
    forgotten = {m.name: _by_sparsity(m, partial(_exemplars, answers, ready, m)) for m in study.methods}
    return {
        "left_out": list(ready.suite.left_out),
        "n": answers.wrong((study.seeds[0], *DENSE), NOMINAL).size if answers.has("shifted") else 0,
        "strangers": [_about(one) for one in ready.suite.strangers],
        "relaxed": _relaxed(answers),
        "rows": list(_rows(answers, networks)),
        "control": {m.control_of: m.name for m in study.methods if m.control_of and _at_random(m)},
        "potentials": {m.name: potentials_of(answers, m) for m in study.methods},
        "retraining": retraining_effects(answers),
        "excess": {m.name: excess_of(answers, m) for m in study.methods},
        "reallocation": {
            m.name: _by_sparsity(m, partial(_taken, answers, ready.suite.strangers, m)) for m in study.methods
        },
        "exemplars": forgotten,
        "images": _images(answers, ready, forgotten),
        "changes": {m.name: _by_sparsity(m, partial(_changes, answers, ready, m, on_look)) for m in study.methods},
    }


def potentials_of(answers: Answers, method: Method) -> dict[str, Any]:
    """Prune potential on each task, over seeds: images as they are, each corruption, noise, each set of strangers.

    The sparsities are those that were asked for. Of strangers, "wrong" are those let in where 95 % of the known
    examples are, by the maximum probability.
    """
    tasks = {name: answers.errors(method, names) for name, names in answers.tasks()} if answers.has("shifted") else {}
    for name in _sets(answers):
        tasks[f"strangers: {name}"] = _let_in(answers, method, name)
    if not tasks:
        return {}
    found = prune_potentials(tasks, method.sparsities, delta=answers.options.tolerated)
    return {
        "by_task": {name: asdict(metric) for name, metric in found.by_task.items()},
        "mean": asdict(found.mean),
        "lowest": asdict(found.lowest),
        "tolerated": answers.options.tolerated,
    }


def excess_of(answers: Answers, method: Method) -> dict[str, Any]:
    """How the excess error grows with sparsity, under all corruptions together and under noise; {} with one seed."""
    if len(answers.finished.study.seeds) < 2 or not answers.has("shifted") or not any(method.sparsities):
        return {}
    nominal = answers.errors(method, [NOMINAL])
    outputs = dict(answers.tasks())
    together = [one for name in answers.options.corruptions for one in outputs[name]]
    found = {}
    for shift, names in (("corruption", together), ("noise", outputs.get("noise", []))):
        if names:
            fit = excess_error(nominal, answers.errors(method, names), method.sparsities)
            found[shift] = {"slope": asdict(fit.slope), "excess": fit.excess.tolist()}
    return found


def _relaxed(answers: Answers) -> dict[str, Any] | None:
    """Of how many of the attacked examples linear bounds were asked, and what bounded the inputs of ReLUs."""
    values = answers.values((answers.finished.study.seeds[0], *DENSE), "attacked")
    if values is None or values["crown"] is None:
        return None
    return {"n": values["crown"]["n"], "of": values["n"], "inner": values["crown"]["inner"]}


def _at_random(control: Method) -> bool:
    """Whether a control removes units at random: one of that name, or a copy of the counts under random scores."""
    return control.control == "random" or (control.control is None and control.score == "random")


def _rows(answers: Answers, networks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    dense = [n for n in networks if (n["method"], n["requested"]) == DENSE]
    for method, sparsity in [DENSE, *((m.name, s) for m in answers.finished.study.methods for s in m.sparsities)]:
        same = [n for n in networks if (n["method"], n["requested"]) == (method, sparsity)]
        row = {"method": method, "requested": sparsity, "metrics": over_networks(same)}
        yield row if (method, sparsity) == DENSE else row | {"differences": beside_dense(same, dense)}


def _sets(answers: Answers) -> list[str]:
    """Names of the sets of strangers."""
    first = next(iter(answers.finished.graph.networks.values())).suite.get("strangers")
    return [] if first is None else [one["name"] for one in first.options["sets"]]  # type: ignore[attr-defined]


def _let_in(answers: Answers, method: Method, name: str) -> TaskErrors:
    seeds = answers.finished.study.seeds

    def count(address: Address) -> tuple[int, int]:
        known, ood = _scores(answers, address, name)
        return round(fpr_ood_at_tpr95_id(known, ood) * len(ood)), len(ood)

    dense = [count((seed, *DENSE)) for seed in seeds]
    wrong = [[count((seed, method.name, s))[0] for s in method.sparsities] for seed in seeds]
    return TaskErrors(
        wrong=np.array(wrong, np.int64), dense=np.array([k for k, _ in dense], np.int64), n=dense[0][1]
    )  # fmt: skip


def _scores(answers: Answers, address: Address, name: str) -> tuple[np.ndarray, np.ndarray]:
    """OOD scores of known examples and of the strangers of a set, by the maximum probability."""
    known, ood = (answers.predictions(address, "strangers", output) for output in ("known", f"ood-{name}"))
    return max_prob(known), max_prob(ood)


def _by_sparsity(method: Method, of: Callable[[float], dict[str, Any]]) -> dict[str, Any]:
    return {repr(s): of(s) for s in method.sparsities}


def _taken(answers: Answers, sets: tuple[Foreign, ...], method: Method, sparsity: float) -> dict[str, Any]:
    """What each set of strangers is taken for, the answers of all seeds together."""
    found = {}
    for one in sets:
        kinds = np.zeros(len(one.examples), np.int64) if one.kinds is None else one.kinds
        rows = max(1, len(one.names))
        seeds = answers.finished.study.seeds
        each = [_reallocation(answers, seed, method, sparsity, one.name, kinds, rows) for seed in seeds]
        whole = Reallocation(
            dense=np.sum([r.dense for r in each], axis=0), pruned=np.sum([r.pruned for r in each], axis=0)
        )
        moved = [
            asdict(m) | {"n": int(whole.dense[m.stranger].sum())} for m in largest_movements(whole, most=MOVEMENTS)
        ]
        found[one.name] = {"movements": moved}
        if rows <= WIDEST:
            found[one.name] |= {"dense": whole.dense.tolist(), "pruned": whole.pruned.tolist()}
    return found


def _reallocation(
    answers: Answers, seed: int, method: Method, sparsity: float, name: str, kinds: np.ndarray, rows: int
) -> Reallocation:
    dense, pruned = (
        answers.predictions(address, "strangers", f"ood-{name}")
        for address in ((seed, *DENSE), (seed, method.name, sparsity))
    )
    return reallocate(pruned, dense, kinds, classes=rows)


def _about(one: Foreign) -> dict[str, Any]:
    return {"name": one.name, "about": one.about, "n": len(one.examples), "classes": list(one.names)}


def _exemplars(answers: Answers, ready: Ready, method: Method, sparsity: float) -> dict[str, Any]:
    """Examples that most of the pruned networks decide otherwise than most dense ones, the dense surest first."""
    seeds = answers.finished.study.seeds
    dense, pruned = ([answers.on_test((seed, *rest)) for seed in seeds] for rest in (DENSE, (method.name, sparsity)))
    where = np.flatnonzero(exemplars(pruned, dense))
    modal = [modal_decisions(networks) for networks in (dense, pruned)]
    sure = np.mean([p.probabilities[where, modal[0][where]] for p in dense], axis=0)
    first = where[np.argsort(-sure, kind="stable")][:SHOWN]
    labels = ready.data.test.labels
    shown = [
        {"index": int(i), "label": None if labels is None else int(labels[i]), "dense": int(modal[0][i]),
         "pruned": int(modal[1][i])}
        for i in first
    ]  # fmt: skip
    return {"n": len(where), "of": dense[0].n, "shown": shown}


def _images(answers: Answers, ready: Ready, forgotten: dict[str, Any]) -> dict[str, str]:
    """Index of a test example -> its PNG as base64, for all that are shown; {} for data that are no images."""
    if ready.suite is None or not ready.suite.images:
        return {}
    shown = sorted({e["index"] for method in forgotten.values() for one in method.values() for e in one["shown"]})
    if not shown:
        return {}
    scale = scale_of(answers.finished.study.data.options)
    pixels = scale.pixels(torch.from_numpy(ready.data.test.inputs[shown])).numpy()
    return {str(i): png_text(image) for i, image in zip(shown, pixels, strict=True)}


def _changes(
    answers: Answers, ready: Ready, method: Method, on_look: Callable[[str], None], sparsity: float
) -> dict[str, Any]:
    """The class, corruption and strangers hurt most in the declared seed's network, tested beside all others."""
    on_look(f"{method.name} {percent(sparsity)}, beside dense")
    seed = answers.finished.study.certification.declared.seed
    pruned, dense = (seed, method.name, sparsity), (seed, *DENSE)
    test = [answers.on_test(one) for one in (pruned, dense)]
    labels = test[0].labels
    wrong = [one.decisions != labels for one in test]
    looks = [] if labels is None else class_looks(wrong[0], wrong[1], labels, ready.data.classes)
    if answers.has("shifted"):
        each = {name: outputs for name, outputs in answers.tasks() if name in answers.options.corruptions}
        pairs = {
            name: [(answers.wrong(pruned, one), answers.wrong(dense, one)) for one in outputs]
            for name, outputs in each.items()
        }
        looks += corruption_looks(pairs)
    looks += [stranger_look(n, _scores(answers, pruned, n), _scores(answers, dense, n)) for n in _sets(answers)]
    found = hits(looks)
    worst = {kind: hardest(found, kind) for kind in ("class", "corruption", "strangers")}
    looked = {kind: sum(one.kind == kind for one in found) for kind in worst}
    return {
        "seed": seed,
        "looked_at": looked,
        "worst": {kind: None if one is None else asdict(one) for kind, one in worst.items()},
    }
