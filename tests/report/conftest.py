"""Runs that several tests read: made once."""

from pathlib import Path

import pytest

from prudent.report.reading import Run
from tests.report.sample import SIX, Sample, run_of, write_run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certified run with three seeds, a control, channels, strangers and dropout."""
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def run(folder: Path) -> Run:
    return run_of(folder)


@pytest.fixture(scope="session")
def nothing(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same study with a limit that nothing can be shown to keep."""
    return run_of(write_run(tmp_path_factory.mktemp("nothing"), Sample(alpha=0.002)))


@pytest.fixture(scope="session")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six seeds, no strangers, no dropout."""
    return run_of(write_run(tmp_path_factory.mktemp("plain"), Sample(seeds=tuple(range(6)), ood=False, dropout=False)))


@pytest.fixture(scope="session")
def six(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Six methods, some of them compared with one."""
    return run_of(write_run(tmp_path_factory.mktemp("six"), Sample(methods=SIX, compare_with="oracle")))


@pytest.fixture(scope="session")
def single(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One seed."""
    return run_of(write_run(tmp_path_factory.mktemp("single"), Sample(seeds=(4,))))
