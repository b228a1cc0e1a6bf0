"""Schedules that change the mask while the network trains. One file is one: file `x.py` defines

    x(sparsity, *, seed, options) -> Revise

whose result is what `train(..., on_step=...)` calls after each step. It starts from the mask that training has, so SET
and RigL need one, drawn beforehand: prune(model, score="random", scope="erdos_renyi_kernel", ...).
"""

from types import ModuleType

from prudent.catalogue import Catalogue

SCHEDULES = Catalogue("prudent.schedules", "schedule")


def __getattr__(name: str) -> ModuleType:
    """`prudent.schedules.rigl` without importing the others."""
    if name in SCHEDULES:
        return SCHEDULES.module(name)
    raise AttributeError(f"module 'prudent.schedules' has no attribute {name!r}")
