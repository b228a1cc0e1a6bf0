"""The teams of a finished study: chosen on validation from its networks, reported on test."""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from prudent.errors import BadInput
from prudent.focal import gather
from prudent.graph import DENSE
from prudent.results import Finished
from prudent.sections import Teams
from prudent.team_reports import Price, Side, compare_team
from prudent.teams import Choice, choose_team
from prudent.types import Predictions

Address = tuple[int, str, float]
"""Of a network: seed, method, sparsity; of a dense one method "" and 0."""


def team_results(finished: Finished) -> list[dict[str, Any]]:
    """One entry for each pool and beta: the chosen team beside pool, best member and dense network.

    Two more teams are chosen from the same pool: the best of those that take at most the multiply-accumulates of the
    dense network, and the best of those that take at most its time, as it was measured turn by turn. They are absent
    where not even two members are that cheap.

    Returns: entries with "seed" (None for a pool of all seeds), "beta", "pool" (addresses), "choices" (name of a team
    -> how it was chosen), and "sides"; none unless the study asks.
    """
    teams = finished.study.teams
    if teams is None:
        return []
    return [entry for seed, pool in pools(finished, teams) for entry in _of_pool(finished, teams, seed, pool)]


def pools(finished: Finished, teams: Teams) -> list[tuple[int | None, list[Address]]]:
    """The networks that teams are chosen from: of each seed, or of all seeds together (None)."""
    wanted = [
        address
        for address in finished.graph.networks
        if (teams.dense if address[1:] == DENSE else teams.sparsities is None or address[2] in teams.sparsities)
    ]
    if teams.across:
        return [(None, wanted)]
    return [(seed, [address for address in wanted if address[0] == seed]) for seed in finished.study.seeds]


def choices(
    members: list[Predictions], teams: Teams, beta: float, prices: list[Price], dense: Price
) -> Iterator[tuple[str, Choice]]:
    """The team that is chosen, and where there are any the ones as cheap as the dense network."""
    measured = [price.milliseconds or 0.0 for price in prices]
    for name, costs, budget in (
        ("team", [0.0] * len(members), 0.0),
        ("equal MACs", [price.macs for price in prices], dense.macs),
        ("equal time", measured, dense.milliseconds or 0.0),
    ):
        try:
            choice = choose_team(
                members, measures=teams.measures, beta=beta, voting=teams.voting, diversity=teams.diversity,
                largest=teams.largest, costs=costs, budget=budget,
            )  # fmt: skip
        except BadInput:
            # no two members are that cheap; what is wrong otherwise would be so for "team" as well
            if name == "team":
                raise
            continue
        yield name, choice


def _of_pool(finished: Finished, teams: Teams, seed: int | None, pool: list[Address]) -> Iterator[dict[str, Any]]:
    chosen_on, test = (_all(finished, pool, split) for split in ("validation", "test"))
    dense = _dense(finished, seed)
    strangers = None if finished.study.data.ood is None else _all(finished, pool, "ood")
    prices, dense_price = [price_of(finished, address) for address in pool], price_of(finished, dense)
    for beta in teams.betas:
        found = dict(choices(chosen_on, teams, beta, prices, dense_price))
        sides = compare_team(
            test,
            {name: choice.team for name, choice in found.items()},
            best=int(gather(chosen_on).right.argmax()),
            dense=_ask(finished, dense, "test"),
            ood=strangers,
            dense_ood=None if strangers is None else _ask(finished, dense, "ood"),
            prices=prices,
            dense_price=dense_price,
            voting=teams.voting,
        )
        yield {
            "seed": seed,
            "beta": beta,
            "pool": [list(address) for address in pool],
            "choices": {name: asdict(choice) | {"claim": choice.sentence()} for name, choice in found.items()},
            "sides": [_plain(side) for side in sides],
        }


def price_of(finished: Finished, address: Address) -> Price:
    """Multiply-accumulates that a network executes, and its time as a share of its dense network's."""
    cells = finished.graph.networks[address]
    timing = finished.records[cells.latency.key]["values"]
    dense = finished.records[finished.graph.networks[address[0], *DENSE].latency.key]["values"]
    # both were measured turn by turn: the quotient stands where the machine was busy at one time and idle at another
    time = float(dense["milliseconds"]) * float(timing["milliseconds"]) / float(timing["beside"])
    own = time if address[1:] != DENSE else float(dense["milliseconds"])
    return Price(macs=float(finished.records[cells.network.key]["values"]["macs"]), milliseconds=own)


def _dense(finished: Finished, seed: int | None) -> Address:
    """The dense network to compare with: the seed's own, or of all seeds the best on validation."""
    if seed is not None:
        return (seed, *DENSE)
    dense = [(one, *DENSE) for one in finished.study.seeds]
    return dense[int(gather(_all(finished, dense, "validation")).right.argmax())]


def _all(finished: Finished, pool: list[Address], split: str) -> list[Predictions]:
    return [_ask(finished, address, split) for address in pool]


def _ask(finished: Finished, address: Address, split: str) -> Predictions:
    found = finished.predictions(*address, split)
    if found is None:
        raise AssertionError(f"every network of a study with teams is asked for its answers on {split}")
    return found


def _plain(side: Side) -> dict[str, Any]:
    return asdict(side) | {"members": list(side.members)}
