"""The public face: what `import prudent` offers, and that nothing can take a public name's place."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

import prudent

FOLDERS = {"bounds", "data", "models", "ood", "scores"}
CONTRACT = {
    "Certificate", "Losses", "Mask", "Metric", "Predictions", "PrudentError", "Pruned", "Shrunk", "certify", "evaluate",
    "load", "losses", "predict", "prune", "save", "shrink", "study", "train", "verify",
}  # fmt: skip


def test_names_are_sorted_few_and_all_there():
    assert prudent.__all__ == sorted(prudent.__all__)
    assert len(prudent.__all__) <= 30
    assert set(prudent.__all__) >= CONTRACT
    assert set(prudent._HOME) | FOLDERS | {"__version__"} == set(prudent.__all__)


@pytest.mark.parametrize("name", prudent.__all__)
def test_every_name_loads(name):
    assert getattr(prudent, name) is not None


def test_no_public_name_is_also_a_file():
    # importing prudent.x sets the attribute x of prudent to the file, so a function of that name would be lost
    files = {module.name for module in pkgutil.iter_modules(prudent.__path__)}
    assert files & set(prudent._HOME) == set()


def test_functions_stay_functions_whatever_is_imported():
    for module in pkgutil.walk_packages(prudent.__path__, "prudent."):
        importlib.import_module(module.name)
    for name in ("certify", "evaluate", "losses", "predict", "prune", "shrink", "study", "train", "verify"):
        assert callable(getattr(prudent, name))


def test_import_is_light():
    code = "import sys, prudent; assert not {'torch', 'numpy', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_unknown_name():
    with pytest.raises(AttributeError, match="no attribute 'prunee'"):
        _ = prudent.prunee


def test_version():
    from importlib.metadata import version

    assert prudent.__version__ == version("prudent")


def test_typing_marker():
    import pathlib

    assert (pathlib.Path(prudent.__file__).parent / "py.typed").exists()
