"""One seed, many independent streams of random numbers."""

import hashlib


def stream(purpose: str, seed: int) -> int:
    """The seed of a generator for one purpose, in [0, 2**63).

    Two generators with the same seed draw the same numbers: random scores would be the initial weights again, and a
    control that follows from what it should be independent of is none. So each purpose has a stream of its own.

    Args:
        purpose: what is drawn, for example "random scores".
        seed: the user's.
    """
    return int.from_bytes(hashlib.sha256(f"{purpose}|{seed}".encode()).digest()[:8], "big") >> 1
