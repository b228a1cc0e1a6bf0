"""The search for what cannot be cut: right against all subsets, and with few attempts, which are counted."""

import math
from collections.abc import Callable, Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prudent.errors import CannotPrune
from prudent.surgery.halving import parts_to_refuse

SIXTEEN = [f"layer{i}" for i in range(16)]


class Trial:
    """Attempts of which those fail that hold a whole one of the forbidden sets."""

    def __init__(self, forbidden: Collection[frozenset[str]]) -> None:
        self.forbidden, self.tried, self.passed = forbidden, list[list[str]](), list[list[str]]()

    def fails(self, parts: Collection[str]) -> bool:
        return any(bad <= set(parts) for bad in self.forbidden)

    def __call__(self, parts: list[str]) -> None:
        self.tried.append(parts)
        if self.fails(parts):
            raise CannotPrune(f"{len(parts)} of them do not go well together")
        self.passed.append(parts)


def nobody(_: list[str]) -> dict[str, str]:
    return {}


def refused(trial: Trial, parts: list[str], suspects: Callable = nobody, limit: int = 1000) -> dict[str, str]:
    return parts_to_refuse(parts, CannotPrune("all of them do not"), trial, suspects=suspects, limit=limit)


@given(st.data())
def test_what_is_left_goes_well_and_nothing_more_could_be_added(data: st.DataObject):
    """Forbidden sets of one to three parts; suspects may be right, wrong or anybody."""
    parts = [f"p{i}" for i in range(data.draw(st.integers(1, 9)))]
    some = st.frozensets(st.sampled_from(parts), min_size=1, max_size=3)
    trial = Trial(data.draw(st.sets(some, min_size=1, max_size=4)))
    guessed = data.draw(st.frozensets(st.sampled_from(parts)))
    found = refused(trial, parts, lambda names: {one: "guessed" for one in names if one in guessed})
    fine = [one for one in parts if one not in found]
    assert not trial.fails(fine)
    assert all(trial.fails([*fine, one]) for one in found)
    assert not fine or trial.passed[-1] == fine  # what was made last is all of it
    assert list(found) == [one for one in parts if one in found]
    assert all(names == sorted(names) for names in trial.tried)  # in the order of all parts
    assert len({tuple(names) for names in trial.tried}) == len(trial.tried)  # nothing twice
    assert parts not in trial.tried  # nor what is known


@pytest.mark.parametrize("wrong", [1, 2, 4, 8, 15, 16])
def test_attempts_by_halving(wrong: int):
    """No more than one path down to each wrong part, two attempts at each fork."""
    for start in range(3):
        bad = SIXTEEN[start :: 16 // wrong][:wrong]
        trial = Trial({frozenset([one]) for one in bad})
        assert list(refused(trial, SIXTEEN)) == sorted(bad, key=SIXTEEN.index)
        forks = wrong * math.log2(16 / wrong) + wrong - 1  # of a tree of halves, over the wrong ones
        assert len(trial.tried) <= min(2 * forks, 30)


def test_attempts_where_all_wrong_ones_are_suspected():
    """One without them, and then each is shown to be wrong: half of them need no attempt of their own."""
    bad = SIXTEEN[2:14:3]
    trial = Trial({frozenset([one]) for one in bad})
    found = refused(trial, SIXTEEN, lambda names: {one: f"{one} reads them" for one in names if one in bad})
    assert list(found) == bad
    assert len(trial.tried) <= 1 + 2 * len(bad)
    assert trial.tried[0] == [one for one in SIXTEEN if one not in bad]
    assert found["layer2"].endswith("do not go well together (layer2 reads them)")


def test_one_right_suspect_takes_one_attempt():
    trial = Trial({frozenset(["layer5"])})
    assert refused(trial, SIXTEEN, lambda names: {"layer5": "odd"}) == {"layer5": "all of them do not (odd)"}
    assert len(trial.tried) == 1


def test_suspects_that_are_fine_are_taken_in():
    trial = Trial({frozenset(["layer5"])})
    found = refused(trial, SIXTEEN, lambda names: {"layer5": "a", "layer6": "b", "layer7": "c"})
    assert list(found) == ["layer5"]
    assert trial.passed[-1] == [one for one in SIXTEEN if one != "layer5"]


@pytest.mark.parametrize("limit", [0, 1, 3, 7])
def test_at_the_limit_what_is_undecided_is_refused_and_says_so(limit: int):
    trial = Trial({frozenset([one]) for one in SIXTEEN[::2]})
    found = refused(trial, SIXTEEN, limit=limit)
    assert len(trial.tried) == limit
    fine = [one for one in SIXTEEN if one not in found]
    assert not trial.fails(fine)
    assert (trial.passed[-1] if trial.passed else []) == fine
    assert f"not proved within {limit} attempts" in found["layer15"]
    assert (limit > 3) == any("do not go well" in why for why in found.values())


def test_a_suspect_that_is_undecided_says_what_was_seen():
    trial = Trial({frozenset([one]) for one in SIXTEEN})
    found = refused(trial, SIXTEEN, lambda names: {"layer3": "read by x"}, limit=1)
    assert found["layer3"] == ("not proved within 1 attempts to find out which layers cannot be cut (read by x)")
    assert len(found) == 16


def test_other_errors_are_not_swallowed():
    def attempt(_: list[str]) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        parts_to_refuse(["a", "b"], CannotPrune("both"), attempt, suspects=nobody, limit=9)
