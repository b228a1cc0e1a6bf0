"""Data sets from the Hugging Face hub: asked once, quietly, and not for long."""

import logging
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prudent.errors import BadInput, reason

PATIENCE = 5.0
"""Seconds that the hub has to answer at all."""


def from_hub(name: str, split: str, hub: str | None, config: str | None, layout: str) -> Any:  # noqa: ANN401
    """One split of a data set as a pyarrow table: from the hub, or, where it cannot be reached, from what was loaded.

    Args:
        name: folder below $PRUDENT_DATA where it was not.
        split: "train" or "test".
        hub, config: repository and configuration; None if it is not on the hub. A folder of that layout will do.
        layout: which files are needed, for messages.

    Raises:
        BadInput: it is not on the hub, not within reach, or the hub's client is not installed.
    """
    where = f"put {layout} into $PRUDENT_DATA/{name}/"
    now = f"PRUDENT_DATA={os.environ['PRUDENT_DATA']}" if "PRUDENT_DATA" in os.environ else "PRUDENT_DATA is not set"
    if hub is None:
        raise BadInput(f"data set {name!r} is not at hand ({now}): {where}")
    try:
        import datasets
    except ImportError as error:
        raise BadInput(
            f"data set {name!r} is not at hand ({now}): {where}, or pip install 'prudent[hub]' to load it from the hub"
        ) from error
    silent = None if Path(hub).is_dir() or datasets.config.HF_HUB_OFFLINE else _silent()
    try:
        with _quietly(), _offline(wanted=silent is not None):
            source = datasets.load_dataset(hub, config, split=split)
    except Exception as error:
        raise BadInput(
            f"data set {name!r} is not at hand ({now}) and could not be loaded from the hub "
            f"({silent or reason(error)}): {where}"
        ) from error
    return source.with_format("arrow")[:].replace_schema_metadata(source.features.arrow_schema.metadata)


def _silent() -> str | None:
    """Why the hub does not answer; None if it does. Its client alone would try again and again, for minutes."""
    from huggingface_hub import constants

    try:
        with urllib.request.urlopen(constants.ENDPOINT, timeout=PATIENCE):  # noqa: S310 (the client's own address)
            return None
    except urllib.error.HTTPError:
        return None  # an answer, if no kind one
    except (OSError, ValueError) as error:
        return f"{constants.ENDPOINT} does not answer: {reason(error)}"


@contextmanager
def _offline(*, wanted: bool) -> Iterator[None]:
    """The hub's client reads only what it loaded before."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if wanted:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


@contextmanager
def _quietly() -> Iterator[None]:
    """No log lines of the hub's client: what goes wrong is said once, by the caller."""
    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
