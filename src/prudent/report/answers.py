"""The sentences under each question. Few rules, all here, from numbers to words; "no clear change" is among them.

"Clear" means more than luck, as `prudent.report.changes` defines it. Every answer names the method and the sparsity
that it speaks of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from markupsafe import Markup

from prudent.report.changes import Change
from prudent.report.sentences import join, say
from prudent.report.writing import capital, joined
from prudent.wording import fixed, percent, plural

TOO_FEW = "which two seeds cannot tell from luck"

LARGE_SHIFT = 0.05
"""A change of a class's share of the strangers that is worth a sentence."""


@dataclass(frozen=True, kw_only=True)
class Onset:
    """From which sparsity on a measure is clearly worse.

    Args:
        what: the measure, as the start of a sentence ("test error").
        at: the first sparsity from which on every candidate is clearly worse, None if there is none.
        dense, there: values in words, at 0 and at `at`.
        comparable: whether the dense networks differ at all, so that there is a spread to compare with.
        undecided: whether the last candidate is much worse, and not clearly so only because the seeds are too few.
    """

    what: str
    at: float | None
    dense: str
    there: str
    comparable: bool = True
    undecided: bool = False


def cost(title: str, onsets: Sequence[Onset], *, seeds: int) -> Markup:
    """Where each measure starts to suffer for good, the first one first."""
    if seeds < 2:
        return say("{}: one seed cannot tell an effect from luck; the lines show what was measured.", title)
    hurt = sorted((o for o in onsets if o.at is not None), key=lambda o: o.at or 0)
    unhurt = [o.what for o in onsets if o.at is None and o.comparable and not o.undecided]
    said = [
        say(
            "<b>{} is clearly worse from {} on</b> ({} → {})" if k == 0 else "{} from {} on ({} → {})",
            onset.what,
            percent(onset.at or 0),
            onset.dense,
            onset.there,
        )
        for k, onset in enumerate(hurt)
    ]
    parts = [join(said, ", ") + say(".")] if said else []
    if unhurt:
        shows = "shows" if len(unhurt) == 1 else "show"
        what = joined(unhurt) if not said else capital(joined(unhurt))
        parts.append(say("{} {} <b>no clear change</b> for the worse that lasts.", what, shows))
    for onset in onsets:
        if onset.undecided:
            text = "For {} <b>two seeds cannot tell</b> whether {} → {} is luck."
            parts.append(say(text, onset.what, onset.dense, onset.there))
        if not onset.comparable:
            text = "All dense networks have the same {}, {}: there is no spread to compare with."
            parts.append(say(text, onset.what, onset.dense))
    return say("{}: ", title) + join(parts)


@dataclass(frozen=True, kw_only=True)
class Honesty:
    """How sure a network says it is, over all its predictions, and how often it is right.

    Args:
        said: mean stated confidence.
        right: share of right predictions.
        lo, hi: 95 % limits of that share.
    """

    said: float
    right: float
    lo: float
    hi: float

    @property
    def lean(self) -> str:
        """ "too sure", "too modest", or "" where luck may explain the difference."""
        return "too sure" if self.said > self.hi else "too modest" if self.said < self.lo else ""


def confidence(title: str, sparsity: float, gap: Change, honesty: Honesty) -> Markup:
    """Whether the stated confidence can be believed."""
    says = say(
        "{} at {} says {} on average and is right in {}",
        title,
        percent(sparsity),
        percent(honesty.said, 1),
        percent(honesty.right, 1),
    )
    lean = say(": <b>{}</b>.", honesty.lean) if honesty.lean else say(": within luck.")
    return join([says + lean, say("Its calibration gap: {}.", _moved(gap))])


def _moved(change: Change) -> Markup:
    """ "0.7 points → 1.4 points, no clear change"."""
    measure = change.measure
    values = say("{} → {}", measure.show(change.dense), measure.show(change.pruned))
    if change.effect is None:
        return values
    said = f"clearly {change.verdict}" if change.verdict else TOO_FEW if change.undecided else "no clear change"
    return say("{}, {}", values, said) if not change.verdict else say("{}, <b>{}</b>", values, said)


def proof(title: str, reached: Sequence[float | None], risk: str) -> Markup:
    """How far the walks of one method came, over its seeds."""
    what = {"disagreement": "differing from dense", "error": "being wrong"}.get(risk, risk)
    seeds = len(reached)
    levels = sorted({s for s in reached if s is not None}, reverse=True)
    said = [f"{percent(s)} in {sum(r == s for r in reached)}" for s in levels]
    none = sum(r is None for r in reached)
    if none == seeds:
        came = (
            "in no seed did even its densest candidate pass" if seeds > 1 else "not even its densest candidate passed"
        )
    else:
        said += [f"nothing in {none}"] if none else []
        of = f" of {plural(seeds, 'seed')}" if seeds > 1 else ""
        came = f"the walk reached {joined(said)}{of}" if seeds > 1 else f"the walk reached {percent(levels[0])}"
    start = say(
        "Tested <b>from the densest to the sparsest</b> candidate; each walk stopped at the first that did not pass."
    )
    return join([start, say("{}, for {}: {}.", title, what, came)])


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The class whose share of the strangers changed most.

    Args:
        name: of the class.
        dense, pruned: shares of the strangers that are taken for it.
    """

    name: str
    dense: float
    pruned: float


def strangers(title: str, sparsity: float, auroc: Change, sure: Change, shift: Shift) -> Markup:
    """How the network treats what is not from its task."""
    said = say("{} at {}. Telling strangers apart (AUROC): {}.", title, percent(sparsity), _moved(auroc))
    parts = [said, say("Mean confidence on them: {}.", _moved(sure))]
    if abs(shift.pruned - shift.dense) >= LARGE_SHIFT:
        often = "more" if shift.pruned > shift.dense else "less"
        text = "They are taken for “{}” {} often, {} → {}."
        parts.append(say(text, shift.name, often, percent(shift.dense, 1), percent(shift.pruned, 1)))
    return join(parts)


def maps(title: str, sparsity: float, means: Sequence[tuple[str, float, float]]) -> Markup:
    """How unsure the network is over the whole plane, by each way of asking it: (way, dense, pruned), in [0, 1]."""
    ways = {"entropy": "by itself", "mc_entropy": "under dropout", "laplace_entropy": "with uncertain weights"}
    parts = [
        say("{} {} → <b>{}</b>", ways[name], percent(dense, 0), percent(pruned, 0)) for name, dense, pruned in means
    ]
    text = "{} at {}. How unsure over the whole map, of the most there is (dense → pruned): "
    return say(text, title, percent(sparsity)) + join(parts, ", ") + "."


def doubt(title: str, removed: str, doubts: Sequence[list[float]], gaps: Sequence[list[float]]) -> Markup:
    """What becomes of doubt under dropout, and of the gap between entropy and errors at a temperature.

    Args:
        title, removed: of the method, and how much it removed.
        doubts: mutual information of the dense and of the pruned networks, one value for each seed.
        gaps: UCE of the pruned networks before and after the temperature; empty lists where there is none.
    """
    before, after = (fmean(values) for values in doubts)
    text = "Dropout samples of {} with {} removed contradict each other by {} nats on average, those of dense by {}"
    parts = [say(text, title, removed, fixed(after, 3), fixed(before, 3))]
    if all(gaps):
        points = [fixed(100 * fmean(values), 1) for values in gaps]
        parts.append(say("; entropy and errors of the pruned are {} points apart, {} after a temperature", *points))
    return join(parts, "") + "."


def changed(title: str, sparsity: float, found: Sequence[Change]) -> Markup:
    """What changed by more than luck."""
    who = say("{} at {}: ", title, percent(sparsity))
    if not found:
        return who + say("one seed cannot tell an effect from luck.")
    worse = [c for c in found if c.verdict == "worse"]
    better = [c for c in found if c.verdict == "better"]
    other = [c for c in found if c.verdict in ("more", "less")]
    judged = sum(c.measure.better != "neither" for c in found)
    unknown = [c.measure.name for c in found if c.measure.better != "neither" and c.undecided]
    if not worse and not better and unknown:
        text = "<b>two seeds cannot tell</b> luck from a large change of {}."
        said = [say(text, joined(unknown))]
    elif not worse and not better:
        said = [say("<b>no clear change</b> in any of {} that can be good or bad.", plural(judged, "measure"))]
    else:
        text = "of {}, <b>{} clearly worse</b>, {} clearly better; most of all: <b>{}</b>."
        top = (worse or better)[0].measure.name
        said = [say(text, plural(judged, "measure"), _count(worse), _count(better), top)]
    if other:
        named = [f"{c.verdict} {c.measure.name[0].lower()}{c.measure.name[1:]}" for c in other]
        said.append(say("Clear, though neither good nor bad: {}.", joined(named)))
    return who + join(said)


def _count(found: Sequence[Change]) -> str:
    return f"{len(found)} are" if len(found) > 1 else "1 is" if found else "none is"


def layers(title: str, sparsity: float, kept: Sequence[tuple[str, float]]) -> Markup:
    """Which layer keeps least and which most; `kept`: (layer, share kept)."""
    who = say("{} at {}: ", title, percent(sparsity))
    least, most = min(kept, key=lambda k: k[1]), max(kept, key=lambda k: k[1])
    if len(kept) == 1:
        return who + say("there is one layer to cut, <b>{}</b>; it keeps {}.", least[0], percent(least[1], 1))
    if most[1] - least[1] < 0.02:
        text = "about the same share of every layer is kept, {} to {}."
        return who + say(text, percent(least[1], 1), percent(most[1], 1))
    text = "<b>{}</b> keeps least, {}; {} keeps most, {}."
    return who + say(text, least[0], percent(least[1], 1), most[0], percent(most[1], 1))


@dataclass(frozen=True, kw_only=True)
class Shared:
    """How many of the units that a method keeps another one keeps too, at one sparsity.

    Args:
        sparsity: achieved.
        overlap: share of the kept units, mean over the seeds.
        chance: what any mask with as many units would share on average.
        above, below: seeds in which the overlap is larger or smaller than chance; ties count for neither.
    """

    sparsity: float
    overlap: float
    chance: float
    above: int
    below: int


def alike(title: str, like: str, units: str, found: Sequence[Shared], *, seeds: int) -> Markup:
    """The share at the sparsest compared network, and at how many sparsities every seed is on one side of chance."""
    if not found:
        return say("{}: not compared. It prunes another network, other units or to other sparsities.", title)
    last = found[-1]
    text = "{} at {}: of the {} that it keeps, {} keeps <b>{}</b> too; chance would give {}."
    shares = (percent(last.overlap, 1), percent(last.chance, 1))
    parts = [say(text, title, percent(last.sparsity), units, like, *shares)]
    above, below = (sum(getattr(s, side) == seeds for s in found) for side in ("above", "below"))
    every = "In every seed it shares" if seeds > 1 else "It shares"
    of = f"of {len(found)} sparsities" if len(found) > 1 else "of 1 sparsity"
    for count, word in ((above, "more"), (below, "less")):
        if count:
            parts.append(say("{} <b>{} than chance</b> at {} {}.", every, word, str(count), of))
    if not above and not below:
        parts.append(say("At <b>no sparsity</b> do all seeds lie on one side of chance."))
    return join(parts)


def measured_with(like: str, units: str, found: Sequence[tuple[str, Shared]]) -> Markup:
    """The answer for the method that the others are compared with; `found`: (title, at its sparsest) of each."""
    title, most = max(found, key=lambda each: each[1].overlap - each[1].chance)
    text = "{}: what the others are compared with. Furthest above chance: <b>{}</b> at {}, "
    text += "where {} of the {} that it keeps are kept here too; chance would give {}."
    if most.overlap <= most.chance:
        return say("{}: what the others are compared with. None of them shares more with it than chance gives.", like)
    shares = (percent(most.overlap, 1), units, percent(most.chance, 1))
    return say(text, like, title, percent(most.sparsity), *shares)


def trust(met: int, partly: int, missing: int, *, data: str, model: str) -> Markup:
    """How many points of good practice hold, and what the page speaks of."""
    text = "{} of {} points of good practice are met, {} in part, {} not. The page speaks of <b>{} on {}</b> alone."
    return say(text, met, met + partly + missing, partly, missing, model, data)
