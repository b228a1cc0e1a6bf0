"""The sentences under each question. Few rules, all here, from numbers to words; "no clear change" is among them.

"Clear" means more than luck, as `prudent.report.changes` defines it. Every answer names the method and the sparsity
that it speaks of. Text from a run is escaped by `Markup.format`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prudent.report.changes import Change
from prudent.report.writing import capital, joined, times
from prudent.wording import percent, plural

LARGE_SHIFT = 0.05
"""A change of a class's share of the strangers that is worth a sentence."""


def _say(sentence: str, *values: object) -> Markup:
    """A sentence of this file with values from a run in it, which are escaped."""
    return Markup(sentence).format(*values)  # noqa: S704 (only sentences of this file come in)


def _join(parts: Sequence[Markup], between: str = " ") -> Markup:
    return Markup(between).join(parts)  # noqa: S704 (as above)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A certified network, as the list of candidates compares it.

    Args:
        title: of its method.
        sparsity: achieved.
        smaller: dense bytes / its bytes.
        speedup: measured, dense time / its time.
        faster: whether the speed-up is more than the noise of measuring.
    """

    title: str
    sparsity: float
    smaller: float
    speedup: float
    faster: bool


def candidates(passed: Sequence[Choice], methods: int) -> Markup:
    """Which certified network to take for size, and which for speed."""
    if not passed:
        return _say("No candidate of any method passed.") if methods > 1 else _say("No candidate passed.")
    small = max(passed, key=lambda c: c.smaller)
    fast = max((c for c in passed if c.faster), key=lambda c: c.speedup, default=None)
    said = []
    if small.smaller > 1:
        said.append(_at("Need it small? <b>{}</b> at {}: {} smaller on disk.", small, small.smaller))
    else:
        said.append(_say("None of them is smaller on disk than dense: so small a network is mostly file header."))
    if fast is None:
        said.append(_say("Need it fast? None of them is faster than dense when measured."))
    elif fast == small:
        said.append(_say("It is also the fastest: {} when measured.", times(fast.speedup)))
    else:
        said.append(_at("Need it fast? <b>{}</b> at {}: {} faster when measured.", fast, fast.speedup))
    return _join(said)


def _at(text: str, choice: Choice, ratio: float) -> Markup:
    return _say(text, choice.title, percent(choice.sparsity), times(ratio))


@dataclass(frozen=True, kw_only=True)
class Onset:
    """From which sparsity on a measure is clearly worse.

    Args:
        what: the measure, as the start of a sentence ("test error").
        at: the first sparsity from which on every candidate is clearly worse, None if there is none.
        dense, there: values in words, at 0 and at `at`.
        comparable: whether the dense networks differ at all, so that there is a spread to compare with.
    """

    what: str
    at: float | None
    dense: str
    there: str
    comparable: bool = True


def cost(title: str, onsets: Sequence[Onset], *, seeds: int) -> Markup:
    """Where each measure starts to suffer for good, the first one first."""
    if seeds < 2:
        return _say("{}: one seed cannot tell an effect from luck; the lines show what was measured.", title)
    hurt = sorted((o for o in onsets if o.at is not None), key=lambda o: o.at or 0)
    unhurt = [o.what for o in onsets if o.at is None and o.comparable]
    said = [
        _say(
            "<b>{} is clearly worse from {} on</b> ({} → {})" if k == 0 else "{} from {} on ({} → {})",
            onset.what,
            percent(onset.at or 0),
            onset.dense,
            onset.there,
        )
        for k, onset in enumerate(hurt)
    ]
    parts = [_join(said, ", ") + _say(".")] if said else []
    if unhurt:
        shows = "shows" if len(unhurt) == 1 else "show"
        what = joined(unhurt) if not said else capital(joined(unhurt))
        parts.append(_say("{} {} <b>no clear change</b> for the worse that lasts.", what, shows))
    for onset in onsets:
        if not onset.comparable:
            text = "All dense networks have the same {}, {}: there is no spread to compare with."
            parts.append(_say(text, onset.what, onset.dense))
    return _say("{}: ", title) + _join(parts)


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
    says = _say(
        "{} at {} says {} on average and is right in {}",
        title,
        percent(sparsity),
        percent(honesty.said, 1),
        percent(honesty.right, 1),
    )
    lean = _say(": <b>{}</b>.", honesty.lean) if honesty.lean else _say(": within luck.")
    return _join([says + lean, _say("Its calibration gap: {}.", _moved(gap))])


def _moved(change: Change) -> Markup:
    """ "0.7 points → 1.4 points, no clear change"."""
    measure = change.measure
    values = _say("{} → {}", measure.show(change.dense), measure.show(change.pruned))
    if change.effect is None:
        return values
    said = f"clearly {change.verdict}" if change.verdict else "no clear change"
    return _say("{}, {}", values, said) if not change.verdict else _say("{}, <b>{}</b>", values, said)


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
    start = _say(
        "Tested <b>from the densest to the sparsest</b> candidate; each walk stopped at the first that did not pass."
    )
    return _join([start, _say("{}, for {}: {}.", title, what, came)])


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What became of size and speed under one method.

    Args:
        title: of the method.
        smaller: largest ratio of dense bytes to its bytes.
        faster: largest measured speed-up beyond the noise of measuring, None if there is none.
        promised: the ratio of multiply-adds there; without a speed-up, the largest one.
    """

    title: str
    smaller: float
    faster: float | None
    promised: float


def speed(methods: Sequence[Speed]) -> Markup:
    """Which methods make the network faster, and how much of the promise is kept."""
    fast = [m for m in methods if m.faster is not None]
    slow = [m for m in methods if m.faster is None]
    smallest = max(m.smaller for m in methods)
    size = f"Smaller on disk, up to {times(smallest)}." if smallest > 1 else "No smaller on disk."
    said = [_say("{}", size)]
    for m in fast:
        text = "<b>Faster: {}</b>, up to {} where the multiply-adds promise {}."
        said.append(_say(text, m.title, times(m.faster or 0), times(m.promised)))
    if slow and fast:
        text = "<b>Not faster</b>, whatever was removed: {}, although up to {} is promised."
        said.append(_say(text, joined([m.title for m in slow]), times(max(m.promised for m in slow))))
    elif slow:
        text = "<b>Nothing is faster</b> beyond the noise of measuring, although the multiply-adds promise up to {}."
        said.append(_say(text, times(max(m.promised for m in slow))))
    return _join(said)


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
    said = _say("{} at {}. Telling strangers apart (AUROC): {}.", title, percent(sparsity), _moved(auroc))
    parts = [said, _say("Mean confidence on them: {}.", _moved(sure))]
    if abs(shift.pruned - shift.dense) >= LARGE_SHIFT:
        often = "more" if shift.pruned > shift.dense else "less"
        text = "They are taken for “{}” {} often, {} → {}."
        parts.append(_say(text, shift.name, often, percent(shift.dense, 1), percent(shift.pruned, 1)))
    return _join(parts)


def changed(title: str, sparsity: float, found: Sequence[Change]) -> Markup:
    """What changed by more than luck."""
    who = _say("{} at {}: ", title, percent(sparsity))
    if not found:
        return who + _say("one seed cannot tell an effect from luck.")
    worse = [c for c in found if c.verdict == "worse"]
    better = [c for c in found if c.verdict == "better"]
    other = [c for c in found if c.verdict in ("more", "less")]
    judged = sum(c.measure.better != "neither" for c in found)
    if not worse and not better:
        said = [_say("<b>no clear change</b> in any of {} that can be good or bad.", plural(judged, "measure"))]
    else:
        text = "of {}, <b>{} clearly worse</b>, {} clearly better; most of all: <b>{}</b>."
        top = (worse or better)[0].measure.name
        said = [_say(text, plural(judged, "measure"), _count(worse), _count(better), top)]
    if other:
        named = [f"{c.verdict} {c.measure.name[0].lower()}{c.measure.name[1:]}" for c in other]
        said.append(_say("Clear, though neither good nor bad: {}.", joined(named)))
    return who + _join(said)


def _count(found: Sequence[Change]) -> str:
    return f"{len(found)} are" if len(found) > 1 else "1 is" if found else "none is"


def layers(title: str, sparsity: float, kept: Sequence[tuple[str, float]]) -> Markup:
    """Which layer keeps least and which most; `kept`: (layer, share kept)."""
    who = _say("{} at {}: ", title, percent(sparsity))
    least, most = min(kept, key=lambda k: k[1]), max(kept, key=lambda k: k[1])
    if len(kept) == 1:
        return who + _say("there is one layer to cut, <b>{}</b>; it keeps {}.", least[0], percent(least[1], 1))
    if most[1] - least[1] < 0.02:
        text = "about the same share of every layer is kept, {} to {}."
        return who + _say(text, percent(least[1], 1), percent(most[1], 1))
    text = "<b>{}</b> keeps least, {}; {} keeps most, {}."
    return who + _say(text, least[0], percent(least[1], 1), most[0], percent(most[1], 1))


def trust(met: int, partly: int, missing: int, *, data: str, model: str) -> Markup:
    """How many points of good practice hold, and what the page speaks of."""
    text = "{} of {} points of good practice are met, {} in part, {} not. The page speaks of <b>{} on {}</b> alone."
    return _say(text, met, met + partly + missing, partly, missing, model, data)
