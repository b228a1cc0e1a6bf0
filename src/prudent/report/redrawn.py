"""The sentences about certificates on examples drawn anew: how often they were wrong, and what they took."""

from dataclasses import dataclass

from markupsafe import Markup

from prudent.report.sentences import join, say
from prudent.wording import fixed, percent


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """The bound and alpha at which most certificates were wrong, when examples were drawn anew.

    Args:
        resplits: certificates of each bound at each alpha.
        violated: how many were wrong.
        lo, hi: 95 % limits of the chance of that.
        delta: the chance that is allowed.
        bound: name in words.
        alpha: tolerated risk.
    """

    resplits: int
    violated: int
    lo: float
    hi: float
    delta: float
    bound: str
    alpha: float


@dataclass(frozen=True, kw_only=True)
class Saved:
    """Mean forward examples of one certificate: of all candidates, until the walk stops, of the anytime walk.

    Args:
        alpha: tolerated risk.
        every, walked, anytime: forward examples.
        within: share of certificates in which the anytime walk is at most one candidate behind.
    """

    alpha: float
    every: int
    walked: float
    anytime: float
    within: float


def redrawn_answer(title: str, wrong: Wrong, saved: Saved | None) -> Markup:
    """How often certificates were wrong at the worst, and what the anytime walk takes."""
    start = say("{}: of {} certificates on examples drawn anew, ", title, f"{wrong.resplits:,}")
    if wrong.violated == 0:
        said = [start + say("<b>none was wrong</b>, at any limit and by any bound; {} may be.", percent(wrong.delta))]
    else:
        text = "<b>{} were wrong</b> where most were ({} bound, limit {}; 95 % limits {} to {}); {} may be."
        limits = (fixed(100 * wrong.lo, 1), percent(wrong.hi, 1), percent(wrong.delta))
        share = percent(wrong.violated / wrong.resplits, 1)
        said = [start + say(text, share, wrong.bound, percent(wrong.alpha), *limits)]
    if wrong.lo > wrong.delta:
        said.append(say("<b>That is more than luck allows: do not rely on these certificates.</b>"))
    if saved is not None:
        text = "At a limit of {} the anytime walk sends {} examples through networks; all candidates would take {}, "
        text += "and {} until the walk stops. It ends at most one candidate earlier in {} of the certificates."
        counts = (f"{saved.anytime:,.0f}", f"{saved.every:,}", f"{saved.walked:,.0f}")
        said.append(say(text, percent(saved.alpha), *counts, percent(saved.within, 1)))
    return join(said)
