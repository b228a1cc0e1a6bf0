"""The certificate as a noun, and what it claims in words: the same sentence in terminal, file and page."""

from dataclasses import dataclass
from typing import Literal

from prudent.wording import exact_percent, percent, plural

Options = tuple[tuple[str, float | int | str], ...]
"""Options of a loss as (name, value) pairs, in the order of their names."""

State = Literal["passed", "stopped", "not tested", "failed"]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """The result of testing candidates on the certification split, selected or not.

    Args:
        risk: the loss whose population mean is bounded.
        alpha: tolerated risk, in the risk's own units; of several risks the largest.
        delta: tolerated chance that the claim is wrong, in (0, 1).
        n: number of certification examples.
        bound: name of the p-value.
        procedure: how the candidates were tested ("fixed_sequence").
        names, sparsities: the candidates in the order of testing, densest first.
        counts: exact integer losses of each candidate, None for losses other than 0 and 1.
        empirical_risks: mean loss of each candidate on its examples, in the risk's own units.
        p_values: of H0 "risk > alpha", for each candidate.
        selected: index of the sparsest certified candidate, None if there is none.
        data, models, dense: fingerprints of the examples, the candidates and the dense network.
        sizes: how many examples each candidate's risk is about; () where it is about all n.
        group: the examples that the claim is about ("class 3"), "" for all.
        options: of the loss ((("k", 5),)).
        settings: of the procedure, as (name, value) pairs.
        passed: which candidates are certified; () where that follows from `selected`: all up to it.
        stopped: whether losses decided how many examples were used; see `Losses`.
        parts: of a claim about several risks, the table of each. A candidate's p-value is the largest among them.
    """

    risk: str
    alpha: float
    delta: float
    n: int
    bound: str
    procedure: str
    names: tuple[str, ...]
    sparsities: tuple[float, ...]
    counts: tuple[int, ...] | None
    empirical_risks: tuple[float, ...]
    p_values: tuple[float, ...]
    selected: int | None
    data: str = ""
    models: tuple[str, ...] = ()
    dense: str = ""
    sizes: tuple[int, ...] = ()
    group: str = ""
    options: Options = ()
    settings: tuple[tuple[str, object], ...] = ()
    passed: tuple[bool, ...] = ()
    parts: "tuple[Certificate, ...]" = ()
    stopped: bool = False

    @property
    def states(self) -> tuple[State, ...]:
        """For each candidate: passed, the one where a walk stopped, not tested any more; else passed or failed."""
        if self.passed:
            return tuple("passed" if passed else "failed" for passed in self.passed)
        reached = 0 if self.selected is None else self.selected + 1
        return tuple(
            "passed" if i < reached else "stopped" if i == reached else "not tested" for i in range(len(self.names))
        )

    @property
    def binding(self) -> tuple[str, ...]:
        """Of a claim about several risks: for each candidate the one with the largest p-value. Else ()."""
        return tuple(self.binds(i) for i in range(len(self.names))) if self.parts else ()

    def binds(self, i: int, *, earlier: bool = False) -> str:
        """Of a claim about several risks: the one with candidate `i`'s largest p-value, the first of those that tie.

        Two risks that differ in their options alone are told apart by them; not so by earlier versions.
        """
        labels = [part.label for part in self.parts]
        at = max(range(len(labels)), key=lambda k: self.parts[k].p_values[i])
        if earlier or labels.count(labels[at]) == 1:
            return labels[at]
        return f"{labels[at]} ({', '.join(f'{name} = {value}' for name, value in self.parts[at].options)})"

    @property
    def label(self) -> str:
        """The risk with its group: "error in class 3"."""
        return f"{self.risk} in {self.group}" if self.group else self.risk

    def examples(self, i: int) -> int:
        """How many examples candidate `i` was judged by."""
        return self.sizes[i] if self.sizes else self.n

    def bounded(self, *, earlier: bool = False) -> str:
        """What is bounded, in words: "at most 5 % of predictions differ from the dense network".

        With `earlier`, in those of earlier versions, whose certificates are still read.
        """
        if not self.parts:
            among = f" in {self.group}" if self.group else ""
            return bounded(self.risk, self.alpha, dict(self.options), earlier=earlier) + among
        first = self.parts[0]
        alike = all((part.risk, part.alpha, part.options) == (first.risk, first.alpha, first.options)
                    for part in self.parts)  # fmt: skip
        if alike and all(part.group for part in self.parts):
            groups = [part.group for part in self.parts]
            named = ", ".join(groups) if len(groups) <= MANY else f"{groups[0]} to {groups[-1]}"
            return f"in each of {len(groups)} groups ({named}), " + bounded(
                first.risk, first.alpha, dict(first.options), earlier=earlier
            )
        *others, last = [part.bounded(earlier=earlier) for part in self.parts]
        return f"{', '.join(others)} and {last}"

    def sentence(self, *, earlier: bool = False) -> str:
        """The claim in one English sentence; the same in terminal, file and report. `earlier`: see `bounded`."""
        confidence = exact_percent(self.delta, complement=True)
        if self.selected is None and len(self.names) == 1 and not earlier:
            return (
                f"Nothing certified: with {self.n:,} examples, it could not be shown with {confidence} confidence of "
                f"the one candidate that {self.bounded()}."
            )
        if self.selected is None:
            return (
                f"Nothing certified: with {self.n:,} examples, for none of {plural(len(self.names), 'candidate')} "
                f"could it be shown with {confidence} confidence that {self.bounded(earlier=earlier)}."
            )
        sparsity = self.sparsities[self.selected]
        # a file does not say how sparse it is, and has a name instead
        which = f"at {percent(sparsity)} sparsity" if any(self.sparsities) else f"for {self.names[self.selected]!r}"
        return f"With {confidence} confidence, {self.bounded(earlier=earlier)} {which}."

    def consequence(self) -> str:
        """What follows for the accuracy where the claim itself is about something else; "" where nothing does.

        A decision that agrees with the dense network's is right where that one is, and only a right decision can turn
        wrong: both disagreement and negative flips bound how far accuracy can fall.
        """
        if self.selected is None or self.group or self.parts or self.risk not in ("disagreement", "negative_flip"):
            return ""
        return f"So its accuracy is at least the dense network's minus {exact_percent(self.alpha)}."


PARTING = "-"
"""Stands in the name of a network between the hash of its numbers and that of its structure."""


def same_network(one: str, other: str) -> bool:
    """Whether two fingerprints may be of one network: equal, or equal as far as both say what the structure is.

    Certificates of earlier versions, ONNX files and graphs have one hash, without structure.
    """
    if one == other:
        return True
    numbers, _, structure = one.partition(PARTING)
    others, _, other_structure = other.partition(PARTING)
    return numbers == others and not (structure and other_structure)


MANY = 12
"""More groups than these are not all named in a sentence."""

OUTCOMES = {
    "error": "are wrong",
    "disagreement": "differ from the dense network",
    "negative_flip": "are wrong where the dense network is right",
    "top_k_error": "miss the true class among the {k} most probable",
    "selective_error": "that are made with a confidence of at least {threshold} are wrong",
}
"""What happens to a prediction that is lost, by risk; the verb of the claim."""

MEANS = {
    "accuracy_drop": "accuracy is at most {limit} lower than the dense network's",
    "brier": "the mean Brier score, on its scale from 0 to 2, is at most {number}",
    "calibration": "the expected calibration error in {bins} bins of equal width is at most {number}",
    "ood_acceptance": "at most {limit} of strangers score below the threshold {threshold} and are taken for known",
    "missed_overlap": "the mean of 1 - intersection over union is at most {number}",
    "missed_pixels": "the mean share of each picture's object that is missed is at most {number}",
}
"""The whole claim, for risks that are no share of predictions."""


def bounded(risk: str, alpha: float, options: dict[str, float | int | str], *, earlier: bool = False) -> str:
    """What a claim about one risk bounds, in words; with `earlier`, in those of earlier versions."""
    limit = exact_percent(alpha)
    if risk == "accuracy_drop" and alpha < 0 and not earlier:
        return f"accuracy is at least {exact_percent(-alpha)} higher than the dense network's"
    if risk in MEANS:
        return MEANS[risk].format(limit=limit, number=f"{alpha!r}", **options)
    if risk in OUTCOMES:
        return f"at most {limit} of predictions {OUTCOMES[risk].format(**options)}"
    return f"the mean {risk} loss is at most {limit}"
