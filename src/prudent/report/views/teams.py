"""Teams of pruned networks beside the dense network: what they gain, and what they cost."""

from collections.abc import Callable
from typing import Any

from prudent.intervals import over_seeds
from prudent.report.reading import Run
from prudent.report.writing import joined, signed
from prudent.types import Metric
from prudent.wording import fixed, percent, plural

Entry = dict[str, Any]
"""One pool with one beta, as the results hold it."""

NAMES = {
    "team": "The team",
    "equal MACs": "Team, at most dense MACs",
    "equal time": "Team, at most dense time",
    "pool": "The whole pool",
    "best member": "Best member",
    "dense": "The dense network",
}
"""Name of a side -> what the page calls it."""

ONE = "95 % limits for other examples of the same kind, of this one pool"
"""What intervals are where there is one pool."""

METRICS = (("nll", "NLL"), ("ece", "ECE"), ("auroc_max_prob", "AUROC"))


def view(run: Run) -> dict[str, Any] | None:
    """A table for each beta, with an answer; None where the study asks for no teams."""
    entries: list[Entry] = run.results.get("teams", [])
    if not entries:
        return None
    asked = run.study["teams"]
    betas = list(dict.fromkeys(entry["beta"] for entry in entries))
    by_beta = [[entry for entry in entries if entry["beta"] == beta] for beta in betas]
    pools = len(by_beta[0])
    first = entries[0]["choices"]["team"]
    spread = over_seeds([0.0] * pools).interval or ONE
    return {
        "answer": joined([_gain(beta, found) for beta, found in zip(betas, by_beta, strict=True)]) + ".",
        "verdict": _verdict(by_beta),
        "pool": len(entries[0]["pool"]),
        "across": bool(asked["across"]),
        "voting": asked["voting"],
        "diversity": asked["diversity"],
        "measures": joined([m.replace("_", "-") for m in asked["measures"]]),
        "agreed": first["agreed"],
        "spread": spread,
        "metrics": [title for key, title in METRICS if _has(entries, key)],
        "tables": [_table(beta, found) for beta, found in zip(betas, by_beta, strict=True)],
    }


def _has(entries: list[Entry], key: str) -> bool:
    return all(key in side["metrics"] for entry in entries for side in entry["sides"])


def _side(entry: Entry, name: str) -> Entry | None:
    return next((side for side in entry["sides"] if side["name"] == name), None)


def _changes(entries: list[Entry], name: str) -> list[float]:
    """What a side gains on the dense network in each pool that has it; above 0 = more accurate."""
    return [float(side["change"]) for entry in entries if (side := _side(entry, name)) is not None]


def _points(gain: float) -> str:
    return signed(100 * gain, 2) + " points"


def _between(found: Metric, show: Callable[[float], str]) -> str:
    return "" if found.lo is None or found.hi is None else f"{show(found.lo)} to {show(found.hi)}"


def _over(entries: list[Entry], name: str) -> Metric:
    """What a side gains: mean and interval over the pools; of one pool the limits over its examples."""
    found = over_seeds(_changes(entries, name))
    side = next(side for entry in entries if (side := _side(entry, name)) is not None)
    if found.lo is not None or side.get("change_lo") is None:
        return found
    return Metric(value=found.value, lo=side["change_lo"], hi=side["change_hi"], interval=ONE, better="higher")


def _gain(beta: float, entries: list[Entry]) -> str:
    found = _over(entries, "team")
    between = _between(found, lambda gain: signed(100 * gain, 2))
    return f"pruned by {percent(beta)}, {_points(found.value)}" + (f" ({between})" if between else "")


def _verdict(by_beta: list[list[Entry]]) -> str:
    """Whether a team as cheap as the dense network is better than it: the question that teams are asked.

    Of several betas the one counts whose teams are right most often on validation; the test split chooses nothing.
    """
    asked = (("equal MACs", "multiply-accumulates"), ("equal time", "measured time"))
    for name, cheap in asked:
        whole = [entries for entries in by_beta if all(name in entry["choices"] for entry in entries)]
        if not whole:
            continue
        chosen = max(whole, key=lambda entries: sum(entry["choices"][name]["right"] for entry in entries))
        gains = _changes(chosen, name)
        found = _over(chosen, name)
        if len(gains) == 1:
            return _of_one(cheap, found)
        between = _between(found, lambda gain: signed(100 * gain, 2))
        word = (
            "is better than the dense network in every pool"
            if min(gains) > 0
            else "is worse than the dense network in every pool"
            if max(gains) < 0
            else "is not better than the dense network in every pool"
        )
        told = f" ({between})" if between else ""
        return f"At equal {cheap} the best of these teams {word}: {_points(found.value)}{told}."
    for name, cheap in asked:
        some = max(sum(name in entry["choices"] for entry in entries) for entries in by_beta)
        if some:
            pools = plural(len(by_beta[0]), "pool")
            return f"Only {some} of {pools} have a team of two members or more at equal {cheap}, too few to say."
    return "No team of two members or more is as cheap as the dense network, by multiply-accumulates or by time."


def _of_one(cheap: str, found: Metric) -> str:
    """The same of one pool, in which every gain is one number: what its examples allow to say."""
    if found.lo is None or found.hi is None:
        word = "was compared with the dense network in one pool, too few to say"
    else:
        clear = "better than" if found.lo > 0 else "worse than" if found.hi < 0 else "not clearly better or worse than"
        word = f"is {clear} the dense network in this one pool"
    between = _between(found, lambda gain: signed(100 * gain, 2))
    told = f" ({between})" if between else ""
    return f"At equal {cheap} the best of these teams {word}: {_points(found.value)}{told}."


def _table(beta: float, entries: list[Entry]) -> dict[str, Any]:
    names = [name for name in NAMES if any(_side(entry, name) is not None for entry in entries)]
    kept = [entry["choices"]["team"] for entry in entries]
    return {
        "beta": percent(beta),
        "survivors": f"{_mean([one['survivors'] for one in kept]):,.0f}",
        "considered": f"{_mean([one['considered'] for one in kept]):,.0f}",
        "rows": [_row(entries, name) for name in names],
    }


def _row(entries: list[Entry], name: str) -> dict[str, Any]:
    sides = [side for entry in entries if (side := _side(entry, name)) is not None]
    right = over_seeds([1 - side["metrics"]["error"]["value"] for side in sides])
    error = sides[0]["metrics"]["error"]
    if len(sides) == 1 and error.get("lo") is not None:
        right = Metric(value=right.value, lo=1 - error["hi"], hi=1 - error["lo"], interval=ONE)
    gain = _over(entries, name)
    prices = [side["price"] for side in sides]
    times = [price["milliseconds"] for price in prices if price["milliseconds"] is not None]
    return {
        "name": NAMES[name],
        "chosen": name in ("team", "equal MACs", "equal time"),
        "members": fixed(_mean([max(1, len(side["members"])) for side in sides]), 1),
        "cost": "" if sides[0]["cost"] is None else percent(_mean([side["cost"] for side in sides]), 0),
        "right": percent(right.value, 2),
        "between": _between(right, lambda share: percent(share, 2)),
        "gain": "" if name == "dense" else signed(100 * gain.value, 2),
        "gains": "" if name == "dense" else _between(gain, lambda value: signed(100 * value, 2)),
        "metrics": [
            fixed(_mean([side["metrics"][key]["value"] for side in sides]), 4)
            for key, _ in METRICS
            if _has(entries, key)
        ],
        "macs": f"{_mean([price['macs'] for price in prices]):,.0f}",
        "time": f"{fixed(_mean(times), 2)} ms" if len(times) == len(sides) else "",
        "absent": "" if len(sides) == len(entries) else f"of {plural(len(sides), 'pool')}",
    }


def _mean(values: list[Any]) -> float:
    return sum(float(value) for value in values) / len(values)
