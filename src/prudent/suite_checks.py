"""Refuse a suite that cannot work before any work is done, and say what of it does not apply to the data."""

from dataclasses import dataclass

import torch

from prudent.corrupting import corrupt
from prudent.errors import BadInput
from prudent.foreign import Foreign, foreign_sets, some_of
from prudent.graph import sets_of_strangers
from prudent.pixel_scale import scale_of
from prudent.separation import check_strange
from prudent.settings import Settings
from prudent.splits import Data


@dataclass(frozen=True, kw_only=True)
class ReadySuite:
    """What a suite reads, loaded and tried.

    Args:
        strangers: every set, that of [data] first.
        further: fingerprints of the others.
        images: whether the task's examples are images.
        left_out: what of the suite does not apply to these data, one sentence each.
    """

    strangers: tuple[Foreign, ...]
    further: tuple[str, ...]
    images: bool
    left_out: tuple[str, ...]


def ready_suite(study: Settings, data: Data) -> ReadySuite | None:
    """Load every set of strangers, and try every corruption on two images; None for a study without a suite.

    Raises:
        BadInput: sets that are absent, of another shape than the task, or among its examples; a corruption that does
            not work on images of this size.
    """
    asked = study.evaluation.suite_options
    if asked is None:
        return None
    sets = sets_of_strangers(study)
    options = {"data": {"name": study.data.name, "options": study.data.options}, "sets": sets}
    found = foreign_sets({**options, "examples": asked.examples}, data)
    if found:
        task = {
            "test": some_of(data.test, asked.examples).batches(),
            "train": some_of(data.train, asked.fitted).batches(),
        }
        check_strange({one.name: one.examples.batches() for one in found}, task)
    left_out = []
    why = _no_images(study, data)
    if why:
        left_out.append(f"Corruption, noise and attacks are left out: {why}.")
    else:
        few = scale_of(study.data.options).pixels(torch.from_numpy(data.test.inputs[:2]))
        for name in asked.corruptions:
            corrupt(few, name, severity=max(asked.severities))
    if not found:
        left_out.append("Detectors are left out: the study names no strangers, in [data] or in its suite.")
    further = found[0 if study.data.ood is None else 1 :]
    return ReadySuite(
        strangers=tuple(found),
        further=tuple(one.examples.fingerprint for one in further),
        images=not why,
        left_out=tuple(left_out),
    )


def _no_images(study: Settings, data: Data) -> str:
    """Why the task's examples cannot be corrupted; "" if they can."""
    try:
        scale_of(study.data.options).pixels(torch.from_numpy(data.test.inputs))
    except BadInput as error:
        return str(error)
    return ""
