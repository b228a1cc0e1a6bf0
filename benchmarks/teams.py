"""Diversity of all teams of a pool, beside the usual loops over examples, team by team."""

import time
import tracemalloc
from collections.abc import Sequence
from itertools import combinations

import numpy as np

from benchmarks import Row
from prudent.diversity import diversity_of
from prudent.focal import focal_diversity, gather
from prudent.tallies import Tally, tally
from prudent.teams import choose_team, members_of
from prudent.types import Predictions

MEASURES = ("kappa", "q_statistic", "disagreement", "fleiss_kappa", "generalised", "kohavi_wolpert")

EXAMPLES = 10_000
CLASSES = 10


def pool(members: int, examples: int = EXAMPLES) -> list[Predictions]:
    """Networks that are right on 90 to 95 % of the examples, and often wrong together."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, examples)
    shared = rng.normal(size=(examples, CLASSES))
    made = []
    for i in range(members):
        logits = shared + rng.normal(size=shared.shape) + (3.6 + 0.05 * i) * np.eye(CLASSES)[labels]
        made.append(Predictions(logits=logits.astype(np.float32), labels=labels, split="validation"))
    return made


def by_loops(decided: Sequence[Sequence[int]], labels: Sequence[int]) -> list[float]:
    """All six measures of one team, example by example and pair by pair, as published code does it."""
    n, size = len(labels), len(decided)
    values: dict[str, list[float]] = {"kappa": [], "q_statistic": [], "disagreement": []}
    for a, b in combinations(range(size), 2):
        n11 = n00 = n10 = n01 = 0
        for i in range(n):
            first, second = decided[a][i] == labels[i], decided[b][i] == labels[i]
            n11 += first and second
            n00 += not first and not second
            n10 += first and not second
            n01 += second and not first
        values["q_statistic"].append((n11 * n00 - n01 * n10) / (n11 * n00 + n01 * n10))
        values["disagreement"].append((n01 + n10) / n)
        table = [[0] * CLASSES for _ in range(CLASSES)]
        for i in range(n):
            table[decided[a][i]][decided[b][i]] += 1
        same = sum(table[c][c] for c in range(CLASSES)) / n
        chance = sum(sum(table[c]) * sum(row[c] for row in table) for c in range(CLASSES)) / n**2
        values["kappa"].append((same - chance) / (1 - chance))
    apart, fails = 0, [0] * (size + 1)
    for i in range(n):
        right = sum(decided[m][i] == labels[i] for m in range(size))
        apart += right * (size - right)
        fails[size - right] += 1
    mean = 1 - sum(k * f for k, f in enumerate(fails)) / (n * size)
    one = sum(k * f / (n * size) for k, f in enumerate(fails))
    two = sum(k * (k - 1) * f / (n * size * (size - 1)) for k, f in enumerate(fails))
    group = [1 - apart / size / (n * (size - 1) * mean * (1 - mean)), 1 - two / one, apart / (n * size**2)]
    return [*(sum(v) / len(v) for v in values.values()), *group]


def all_teams(members: int) -> np.ndarray:
    codes = np.arange(1 << members, dtype=np.uint64)
    return members_of(codes[np.bitwise_count(codes) >= 2], members)


def measured(counts: Tally, teams: np.ndarray) -> np.ndarray:
    return np.stack([diversity_of(counts, teams, measure) for measure in MEASURES])


def run() -> list[Row]:
    """Our time is that of one team, so that the columns compare; the notes give that of all."""
    members = pool(16)
    labels = members[0].labels
    assert labels is not None
    decided = [m.decisions.tolist() for m in members]
    teams = all_teams(16)
    chosen = np.random.default_rng(1).choice(len(teams), 4, replace=False)
    ours, theirs = [], []
    for which in chosen:
        start = time.perf_counter()
        found = measured(tally(members), teams)
        ours.append(time.perf_counter() - start)
        team = [decided[m] for m in np.flatnonzero(teams[which])]
        start = time.perf_counter()
        expected = by_loops(team, labels.tolist())
        theirs.append(time.perf_counter() - start)
        assert np.allclose(found[:, which], expected, atol=1e-9), (found[:, which], expected)
    each, other = min(ours) / len(teams), min(theirs)
    tracemalloc.start()
    measured(tally(members), teams)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return [
        Row(
            work="6 measures of diversity of one team, of all 2^16 of 16 members on 10,000 examples",
            beside="loops over examples",
            seconds=each,
            other=other,
            promise="at least 100x",
            kept=other >= 100 * each,
            note=f"all teams in {min(ours):.2g} s, {peak:.0f} MiB at most; the fastest of 4 teams by loops",
        ),
        million(other),
    ]


def million(other: float) -> Row:
    """All teams of 20 members, with the focal diversities that choose among them."""
    members = pool(20)
    tracemalloc.start()
    start = time.perf_counter()
    gathered, teams = gather(members), all_teams(20)
    measured(tally(members), teams)
    plain = time.perf_counter() - start
    focal_diversity(gathered, teams, "kohavi_wolpert")
    focal = time.perf_counter() - start - plain
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    start = time.perf_counter()
    choose_team(members, beta=0.2)
    chosen = time.perf_counter() - start
    return Row(
        work="the same of all 2^20 teams of 20 members",
        beside="loops over examples",
        seconds=plain / len(teams),
        other=other,
        promise="all in minutes, below 1 GiB",
        kept=plain + focal < 180 and peak < 1024,
        note=f"all in {plain:.2g} s, focal diversity {focal:.2g} s a measure, {peak:.0f} MiB at most; "
        f"a team chosen by 4 focal measures in {chosen:.3g} s",
    )
