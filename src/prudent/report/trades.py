"""The sentences on size and speed: which network to take for which, and what became of the promise."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from prudent.report.sentences import join, say
from prudent.report.speeds import Flag
from prudent.report.writing import joined, times
from prudent.wording import percent


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A certified network, as the list of candidates compares it.

    Args:
        title: of its method.
        sparsity: achieved.
        smaller: dense bytes / its bytes.
        speedup: measured, dense time / its time.
        flag: whether the speed-up is more than the noise of measuring, as `prudent.report.speeds` finds it.
    """

    title: str
    sparsity: float
    smaller: float
    speedup: float
    flag: Flag


def candidates(passed: Sequence[Choice], methods: int) -> Markup:
    """Which certified network to take for size, and which for speed."""
    if not passed:
        return say("No candidate of any method passed.") if methods > 1 else say("No candidate passed.")
    small = max(passed, key=lambda c: c.smaller)
    fast = max((c for c in passed if c.flag == "faster"), key=lambda c: c.speedup, default=None)
    noisy = max((c for c in passed if c.flag == "too noisy"), key=lambda c: c.speedup, default=None)
    said = []
    if small.smaller > 1:
        said.append(_at("Need it small? <b>{}</b> at {}: {} smaller on disk.", small, small.smaller))
    else:
        said.append(say("None of them is smaller on disk than dense: so small a network is mostly file header."))
    if fast is None and noisy is not None and noisy.speedup > 1:
        text = "Need it fast? <b>Too noisy to say</b> here: {} at {} came to {}, but not beyond the noise of measuring."
        said.append(_at(text, noisy, noisy.speedup))
    elif fast is None:
        said.append(say("Need it fast? None of them is faster than dense when measured."))
    elif fast == small:
        said.append(say("It is also the fastest: {} when measured.", times(fast.speedup)))
    else:
        said.append(_at("Need it fast? <b>{}</b> at {}: {} faster when measured.", fast, fast.speedup))
    return join(said)


def _at(text: str, choice: Choice, ratio: float) -> Markup:
    return say(text, choice.title, percent(choice.sparsity), times(ratio))


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What became of size and speed under one method.

    Args:
        title: of the method.
        smaller: largest ratio of dense bytes to its bytes.
        faster: largest measured speed-up beyond the noise of measuring, None if there is none.
        promised: the ratio of multiply-adds there; without a speed-up, the largest one.
        noisy: largest measured speed-up that is far above 1 and yet within the noise; None with `faster`, or if there
            is none.
    """

    title: str
    smaller: float
    faster: float | None
    promised: float
    noisy: float | None = None


def speed(methods: Sequence[Speed]) -> Markup:
    """Which methods make the network faster, and how much of the promise is kept."""
    fast = [m for m in methods if m.faster is not None]
    slow = [m for m in methods if m.faster is None and m.noisy is None]
    smallest = max(m.smaller for m in methods)
    size = f"Smaller on disk, up to {times(smallest)}." if smallest > 1 else "No smaller on disk."
    said = [say("{}", size)]
    for m in fast:
        text = "<b>Faster: {}</b>, up to {} where the multiply-adds promise {}."
        said.append(say(text, m.title, times(m.faster or 0), times(m.promised)))
    if slow and fast:
        text = "<b>Not faster</b>, whatever was removed: {}, although up to {} is promised."
        said.append(say(text, joined([m.title for m in slow]), times(max(m.promised for m in slow))))
    elif slow and len(slow) < len(methods):
        said.append(say("<b>Not faster</b>, whatever was removed: {}.", joined([m.title for m in slow])))
    elif slow:
        text = "<b>Nothing is faster</b> beyond the noise of measuring, although the multiply-adds promise up to {}."
        said.append(say(text, times(max(m.promised for m in slow))))
    noisy = {m.title: m.noisy for m in methods if m.noisy is not None}
    if noisy:
        text = "<b>Too noisy to say</b>: {}, up to {}, but not beyond the noise of measuring."
        said.append(say(text, joined(list(noisy)), times(max(noisy.values()))))
    return join(said)
