"""What a team says: by the mean of its members' probabilities, or by counting their decisions."""

import hashlib
from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float64, Int64

from prudent.errors import BadInput
from prudent.loss_tables import check_same_examples
from prudent.tallies import check_members
from prudent.types import Predictions

Voting = Literal["soft", "plurality", "majority"]
"""The mean probability decides; the class with most decisions; the class with more than half of them, or none."""

ABSTAINS = -1
"""The decision of a team without a majority; it counts as wrong."""

BLOCK = 4_000_000
"""Most numbers of teams x examples x classes at a time: what bounds the memory."""


def combine(members: Sequence[Predictions]) -> Predictions:
    """The predictions of several networks as those of one ensemble: soft voting, with every member kept.

        p(x) = mean over members of softmax(logits)

    Args:
        members: on the same examples; all plain, or all with the same number of dropout samples, which then count as
            members each. Labels may be absent.

    Returns: logits (members, n, classes) in the order given; its fingerprint is a hash of theirs, in that order.

    Raises:
        BadInput: no members, other examples, or different numbers of samples.

    Source: Lakshminarayanan et al. 2017, "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
    arXiv:1612.01474, section 2.4.
    """
    if isinstance(members, Predictions) or not members:
        raise BadInput("an ensemble is made of a list with the predictions of at least one member")
    first = members[0]
    for member in members[1:]:
        check_same_examples(first, member)
    samples = sorted({member.members or 1 for member in members})
    if len(samples) > 1:
        raise BadInput(f"members of an ensemble need the same number of dropout samples; got {samples}")
    labels = next((member.labels for member in members if member.labels is not None), None)
    data = next((member.data for member in members if member.data), "")
    logits = np.concatenate([member.logits.reshape(-1, first.n, first.classes) for member in members])
    return Predictions(
        logits=logits,
        labels=labels,
        split=first.split,
        data=data,
        model=joint_name([member.model for member in members]),
    )


def joint_name(fingerprints: Sequence[str]) -> str:
    """Fingerprint of an ensemble from those of its members, in their order; "" if one is unknown."""
    if not all(fingerprints):
        return ""
    return hashlib.sha256("\n".join(["ensemble", *fingerprints]).encode()).hexdigest()


def vote(members: Sequence[Predictions], *, voting: Voting = "soft") -> Int64[np.ndarray, " n"]:
    """What a team decides.

    Args:
        members: of the team, on the same labelled examples; at most 64.
        voting: "soft": the class of the highest mean probability; "plurality": the class that most members decide
            for; "majority": the class that more than half of them decide for. Of classes that tie, the lowest wins.

    Returns: (n,) classes; -1 where there is no majority.

    Raises:
        BadInput: members that do not belong together, another word for `voting`.
    """
    check_members(members)
    everyone = np.ones((1, len(members)), bool)
    decided: Int64[np.ndarray, " n"] = _decide(_ballots(members, voting), everyone, voting)[0]
    return decided


def rights(
    members: Sequence[Predictions], teams: Bool[np.ndarray, "teams members"], *, voting: Voting = "soft"
) -> Int64[np.ndarray, " teams"]:
    """On how many examples each of many teams is right.

    Examples on which every member is right need no vote, whatever the team: only the others are looked at.

    Args:
        members: of the pool, on the same labelled examples; at most 64.
        teams: (teams, members) True where a member belongs to a team; no team is empty.
        voting: as for `vote`.

    Returns: (teams,) whole numbers in 0 .. n; higher is better.

    Raises:
        BadInput: members that do not belong together, an empty team, another word for `voting`.
    """
    labels = check_members(members)
    if teams.shape[1:] != (len(members),) or not teams.any(axis=1).all():
        raise BadInput(f"a team names at least one of {len(members)} members; got teams of shape {teams.shape}")
    open_ = ~np.all([member.decisions == labels for member in members], axis=0)
    ballots, labels, sure = _ballots(members, voting)[:, open_], labels[open_], int(np.count_nonzero(~open_))
    found = np.full(len(teams), sure, np.int64)
    step = max(1, BLOCK // max(1, ballots[0].size))
    for start in range(0, len(teams) if len(labels) else 0, step):
        decided = _decide(ballots, teams[start : start + step], voting)
        found[start : start + step] += np.count_nonzero(decided == labels, axis=1)
    return found


def _ballots(members: Sequence[Predictions], voting: Voting) -> Float64[np.ndarray, "members n classes"]:
    """What each member throws in: its probabilities, or one whole vote."""
    if voting not in get_args(Voting):
        raise BadInput(f"voting is one of {', '.join(get_args(Voting))}; got {voting!r}")
    if voting == "soft":
        return np.stack([member.probabilities for member in members])
    votes: Float64[np.ndarray, "members n classes"] = np.eye(members[0].classes)[[m.decisions for m in members]]
    return votes


def _decide(
    ballots: Float64[np.ndarray, "members n classes"], teams: Bool[np.ndarray, "teams members"], voting: Voting
) -> Int64[np.ndarray, "teams n"]:
    size = teams.sum(axis=1)
    sums = np.tensordot(teams.astype(np.float64), ballots, axes=1)
    decided: Int64[np.ndarray, "teams n"] = sums.argmax(axis=2).astype(np.int64)
    if voting == "majority":
        decided[2 * sums.max(axis=2) <= size[:, None]] = ABSTAINS
    return decided
