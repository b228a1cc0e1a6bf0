"""Procedures that are well known and wrong for certificates, with the reason."""

from prudent.errors import UnknownName

_DISCOVERIES = (
    "it controls the false discovery rate, the expected share of wrong claims among all, so the one candidate that is "
    "selected may be wrong far more often than delta"
)
_DEPENDENCE = (
    "it needs p-values that are independent or positively dependent, and those of candidates judged on the same "
    "examples need be neither"
)
_REASONS = {
    "benjamini_hochberg": _DISCOVERIES,
    "bh": _DISCOVERIES,
    "fdr": _DISCOVERIES,
    "fdr_bh": _DISCOVERIES,
    "benjamini_yekutieli": _DISCOVERIES,
    "fdr_by": _DISCOVERIES,
    "storey": _DISCOVERIES,
    "q_value": _DISCOVERIES,
    "hochberg": _DEPENDENCE,
    "simes_hochberg": _DEPENDENCE,
    "hommel": _DEPENDENCE,
    "simes": _DEPENDENCE,
    "sidak": _DEPENDENCE,
    "holm_sidak": _DEPENDENCE,
}


def refuse_uncontrolled(name: str) -> None:
    """Refuse procedures whose chance of a wrong certificate may exceed delta, by name and with the reason.

    Names are compared without regard to case, spaces and hyphens. Other names pass.

    Raises:
        UnknownName: a procedure for false discoveries, or one that needs a kind of dependence.

    Source: Benjamini, Hochberg 1995, "Controlling the False Discovery Rate"; for what Simes' inequality needs: Sarkar
    1998, "Some probability inequalities for ordered MTP2 random variables"; Benjamini, Yekutieli 2001, "The control of
    the false discovery rate in multiple testing under dependency".
    """
    reason = _REASONS.get(name.strip().lower().replace("-", "_").replace(" ", "_"))
    if reason is not None:
        raise UnknownName(
            f"procedure {name!r} is refused for certificates: {reason}. Use fixed_sequence, or holm where no order of "
            "the candidates is known beforehand"
        )
