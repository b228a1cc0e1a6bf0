"""How far certificates reach, how often they are wrong and what they cost: docs/certificates.md from finished studies.

python -m benchmarks.certificates RUN ... --out docs
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prudent.wording import percent

BOUNDS = {
    "binomial": "binomial",
    "hoeffding_bentkus": "Hoeffding-Bentkus",
    "hoeffding": "Hoeffding",
    "beta_mixture": "beta mixture",
    "anytime": "anytime",
    "anytime_mixture": "anytime, mixture",
}
COLOURS = ("#1b6ca8", "#d1495b", "#8d99ae", "#2a9d8f", "#e08e0b", "#6a4c93")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 380, 62, 24, 150, 48

INTRODUCTION = """# Certificates, tried out

Two studies, `confident_mnist` and `confident_cifar10`, prune a trained network by magnitude, at once, and train nothing
afterwards. Their declared claim is about *disagreement*: how many predictions differ from the dense network's. Then
certification examples are drawn anew 1,000 times, without replacement, from the certification and test examples
together (the *pool*), and each certificate is compared with the whole pool. A part of a finite pool lies closer to the
whole than fresh examples would, so violations are somewhat rarer here than their level allows.

This page is written by `python -m benchmarks.certificates RUN RUN --out docs` from the `results.json` of both runs.
"""

CHOICE = """## Which bound?

- For losses of 0 and 1 the binomial tail is exact: no valid bound certifies more, and it is the default.
- Hoeffding-Bentkus holds for all losses in [0, 1], and costs little here. Hoeffding's bound does not know that small
  risks vary little: at limits of 1 to 2 % it certifies nearly nothing.
- *anytime* is what `certify --anytime` does: a group-sequential test looks after every 64 examples, the chance to pass
  at any look is summed exactly, and a candidate that hardly can pass any more is given up. It takes a tenth of the
  forward examples of a full evaluation or fewer, in one row above a ninth, and comes within one candidate of it in 92
  to 100 % of the draws. Less than that is where limits are low and candidates close together: a walk ends at the first
  candidate that is not certified.
- The beta mixture may be looked at after every example, and of more examples than were planned. Looking once, after all
  of them, it pays for that right without using it. *anytime, mixture* (`--anytime --bound beta_mixture`) uses it: it
  takes still fewer examples, and stays behind more often.
"""


def page(runs: Sequence[Mapping[str, Any]], pictures: Sequence[str]) -> str:
    """The page as Markdown.

    Args:
        runs: results of finished studies.
        pictures: file names, one for each run.
    """
    parts = [INTRODUCTION]
    for run, picture in zip(runs, pictures, strict=True):
        entry = run["resplits"][0]
        parts += [f"## {run['study']['name']}\n\n{run['study']['about']}\n", *_claims(run), ""]
        parts.append(f"![Certified sparsity against the limit, for each bound]({picture})\n")
        parts += [*_reach(entry), "", *_violations(entry), "", *_cost(entry), ""]
    return "\n".join([*parts, CHOICE])


def picture(entry: Mapping[str, Any]) -> str:
    """Certified sparsity against alpha, a line for each bound and one for what the pool allows, as SVG."""
    reachable = [(a, s) for a, s in entry["reachable"] if s is not None]
    lines = {title: [(r["alpha"], r["mean"]) for r in entry["rows"] if r["bound"] == name]
             for name, title in BOUNDS.items()}  # fmt: skip
    most_alpha = max(a for a, _ in reachable)
    # up to a multiple of 20 %, so that quarters are whole percents and labels say exactly where lines are
    most = 0.2 * math.ceil(round(max(s for _, s in reachable) / 0.2, 9))

    def at(alpha: float, sparsity: float) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * alpha / most_alpha
        return f"{x:.1f},{TOP + (HEIGHT - TOP - BOTTOM) * (1 - sparsity / most):.1f}"

    box = f"0 0 {WIDTH} {HEIGHT}"
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for i in range(5):
        x, y = at(most_alpha * i / 4, most * i / 4).split(",")
        drawn.append(f'<path d="M{LEFT} {y}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        drawn.append(f'<text x="{LEFT - 6}" y="{y}" text-anchor="end" dy="4">{percent(most * i / 4, 0)}</text>')
        drawn.append(f'<text x="{x}" y="{HEIGHT - 26}" text-anchor="middle">{percent(most_alpha * i / 4, 1)}</text>')
    middle = (LEFT + WIDTH - RIGHT) // 2
    drawn.append(f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">limit of the disagreement</text>')
    drawn.append(f'<text x="{LEFT}" y="15">mean certified sparsity</text>')
    named = [("knowing the pool", "#333", reachable)]
    named += [(title, colour, points) for (title, points), colour in zip(lines.items(), COLOURS, strict=True)]
    for i, (title, colour, points) in enumerate(named):
        dashes = ' stroke-dasharray="5 4"' if i == 0 else ""
        path = " ".join(at(a, s) for a, s in points)
        drawn.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        y = TOP + 14 + 20 * i
        drawn.append(f'<path d="M{WIDTH - RIGHT + 10} {y}h22" stroke="{colour}" stroke-width="2"{dashes}/>')
        drawn.append(f'<text x="{WIDTH - RIGHT + 36}" y="{y}" dy="4">{title}</text>')
    return "\n".join([*drawn, "</svg>", ""])


def _claims(run: Mapping[str, Any]) -> list[str]:
    return [f"- {certificate['claim']}" for certificate in run["certificates"]]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(head)} |", "|---" * len(head) + "|", *(f"| {' | '.join(row)} |" for row in rows)]


def _by_alpha(entry: Mapping[str, Any]) -> dict[float, dict[str, Any]]:
    found: dict[float, dict[str, Any]] = {}
    for row in entry["rows"]:
        found.setdefault(row["alpha"], {})[row["bound"]] = row
    return found


def _reach(entry: Mapping[str, Any]) -> list[str]:
    reachable = dict(map(tuple, entry["reachable"]))
    rows = [
        [percent(alpha), *(_share(rows[b]["mean"]) for b in BOUNDS), _share(reachable[alpha] or 0.0)]
        for alpha, rows in _by_alpha(entry).items()
    ]
    title = f"Mean certified sparsity, from {entry['n']:,} of {entry['pool']:,} examples:"
    return [title, "", *_table(["limit", *BOUNDS.values(), "knowing the pool"], rows)]


def _violations(entry: Mapping[str, Any]) -> list[str]:
    rows = [[percent(alpha), *(str(rows[b]["violated"]) for b in BOUNDS)] for alpha, rows in _by_alpha(entry).items()]
    allowed = round(entry["delta"] * entry["resplits"])
    title = f"Wrong certificates among {entry['resplits']:,}, where {allowed} are allowed:"
    return [title, "", *_table(["limit", *BOUNDS.values()], rows)]


def _cost(entry: Mapping[str, Any]) -> list[str]:
    every = entry["n"] * entry["candidates"]
    rows = [
        [
            percent(one["alpha"]), f"{one['examples']:,.0f}", f"{every / one['examples']:.0f}x",
            f"{one['walked'] / one['examples']:.1f}x", percent(one["within_one"], 0),
        ]
        for one in entry["frugality"]
    ]  # fmt: skip
    title = (
        f"Forward examples of the anytime walk, on average; evaluating all {entry['candidates']} candidates takes "
        f"{every:,}, and the walk by the binomial bound evaluates candidates until it stops:"
    )
    head = ["limit", "examples", "fewer than all", "fewer than the walk", "at most one candidate behind it"]
    return [title, "", *_table(head, rows)]


def _share(sparsity: float) -> str:
    return percent(sparsity, 1)


def main() -> None:
    """Write the page and its pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    given = parser.parse_args()
    runs = [json.loads((run / "results.json").read_text(encoding="utf-8")) for run in given.runs]
    names = [f"{run['study']['name']}.svg" for run in runs]
    for run, name in zip(runs, names, strict=True):
        (given.out / name).write_text(picture(run["resplits"][0]), encoding="utf-8")
    (given.out / "certificates.md").write_text(page(runs, names), encoding="utf-8")


if __name__ == "__main__":
    main()
