"""Keys: everything that a result depends on is in them, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from prudent import keys
from prudent.cells import KINDS
from prudent.errors import BadInput
from prudent.keys import Cell, canonical, closure, code_version


def cell(**change):
    good = {
        "kind": "dense", "options": {"lr": 0.1, "epochs": 2}, "inputs": {}, "data": ("d",), "code": "c", "label": "one",
    }  # fmt: skip
    return Cell(**(good | change))


def test_the_key_says_everything_but_label_and_company():
    key = cell().key
    assert cell(options={"epochs": 2, "lr": 0.1}).key == key
    assert cell(label="two", alone=True).key == key
    for change in (
        {"kind": "pruned"}, {"options": {"lr": 0.2, "epochs": 2}}, {"inputs": {"a": "b"}}, {"data": ("e",)},
        {"code": "x"}, {"options": {"lr": 0.1, "epochs": 2.0}},
    ):  # fmt: skip
        assert cell(**change).key != key


def test_pinned_key():
    # a key that changes orphans everybody's finished work: change SCHEMA knowingly, not this line
    assert cell().key == "6f0841a788ce01b579cba766b27cd95af88c01a8b795169b44645ee4fdd48fcc"


def test_canonical_json():
    assert canonical({"b": 1, "a": [1.5, "é"]}) == b'{"a":[1.5,"\\u00e9"],"b":1}'
    for value in (float("nan"), float("inf"), {1: 2, "a": {3}}, object()):
        with pytest.raises(BadInput):
            canonical(value)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of somebody's own, with a helper two imports away."""
    root = tmp_path / "mine"
    (root / "deep").mkdir(parents=True)
    (root / "__init__.py").write_text("")
    (root / "deep" / "__init__.py").write_text("")
    (root / "method.py").write_text(
        "from mine import middle\n\ndef method():\n    '''Say.'''\n    return middle.f(1)  # one\n"
    )
    (root / "middle.py").write_text("import numpy\nfrom .deep.helper import g\n\ndef f(x):\n    return g(x)\n")
    (root / "deep" / "helper.py").write_text("def g(x):\n    return f'{x}' + str(x)\n")
    (root / "unused.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    clear()
    yield root
    clear()


def clear():
    for name in ("_code_version", "_imports", "_source", "_tokens"):
        getattr(keys, name).cache_clear()


def version():
    clear()
    return code_version(["mine.method"])


def test_closure_follows_imports(package):
    assert set(closure(["mine.method"])) == {"mine", "mine.method", "mine.middle", "mine.deep", "mine.deep.helper"}


@pytest.mark.parametrize(
    ("file", "old", "new", "changes"),
    [
        ("method.py", "# one", "# another comment", False),
        ("method.py", "'''Say.'''", "'''Say more,\n    over two lines.'''", False),
        ("method.py", "return middle.f(1)", "return  middle.f( 1 )", False),
        ("method.py", "middle.f(1)", "middle.f(2)", True),
        ("deep/helper.py", "str(x)", "repr(x)", True),
        ("deep/helper.py", "f'{x}'", "f'{x!r}'", True),
        ("unused.py", "x = 1", "x = 2", False),
        ("middle.py", "    return g(x)", "    y = 1\n    return g(x)", True),
    ],
)
def test_what_changes_the_version(package, file, old, new, changes):
    before = version()
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new))
    assert (version() != before) == changes


def test_library_versions_count_where_they_are_used(package, monkeypatch):
    before = version()
    monkeypatch.setattr(keys, "_public_version", lambda name: "9.9" if name == "numpy" else "1")
    assert version() != before
    (package / "middle.py").write_text("from .deep.helper import g\n\ndef f(x):\n    return g(x)\n")
    without = version()
    monkeypatch.setattr(keys, "_public_version", lambda name: "7.7" if name == "numpy" else "1")
    assert version() == without


def test_local_build_tags_do_not_count(monkeypatch):
    monkeypatch.setattr(keys, "version", lambda name: "2.13.0+cpu")
    assert keys._public_version("torch") == "2.13.0"


def test_modules_without_source_are_refused():
    with pytest.raises(BadInput, match="no Python source"):
        code_version(["math"])
    with pytest.raises(BadInput, match="no Python source"):
        code_version(["no_such_package.at_all"])


def test_closing_over_imports_imports_nothing():
    code = """
import sys
from prudent.keys import code_version
code_version(["prudent.cells.pruned"])
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


LOADING = """
import importlib, json, os, sys
import lightning_fabric, safetensors.torch, scipy.special, torch, torch.export  # heavy, and none of prudent's own
assert not any(m.startswith("prudent") for m in sys.modules)
found = {}
for kind in sys.argv[1:]:
    reading, writing = os.pipe()
    if os.fork() == 0:
        importlib.import_module("prudent.cells." + kind)
        with os.fdopen(writing, "w") as answer:
            json.dump(sorted(m for m in sys.modules if m.startswith("prudent")), answer)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        found[kind] = json.load(answer)
    os.wait()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """What of prudent comes along with the file of each kind, imported alone."""
    out = subprocess.run([sys.executable, "-c", LOADING, *KINDS], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


@pytest.mark.parametrize("kind", list(KINDS))
def test_what_a_kind_loads_is_in_its_closure(loaded, kind):
    # all of it must be in the hash, or be harmless
    missing = set(loaded[kind]) - set(closure([f"prudent.cells.{kind}"])) - keys.OUTSIDE
    assert f"prudent.cells.{kind}" in loaded[kind]
    assert not missing - {"prudent._version"}, missing


def test_editing_a_metric_does_not_retrain_anything():
    for kind in KINDS:
        modules = set(closure([f"prudent.cells.{kind}"]))
        assert not modules & {"prudent.calibration", "prudent.evaluation", "prudent.certification", "prudent.cli"}
        assert not any(m.startswith(("prudent.report", "prudent.executors")) for m in modules)
    assert "prudent.prediction" not in closure(["prudent.cells.pruned"])


@pytest.mark.parametrize("version", ["3.12", "3.13"])
def test_other_pythons_give_the_same_hash(version):
    import shutil

    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"python{version} is not at hand")
    source = Path(keys.__file__).parent
    code = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from prudent.keys import _tokens
files = sorted(Path(sys.argv[2]).rglob("*.py"))
print(hashlib.sha256("".join(_tokens(f) for f in files).encode()).hexdigest())
"""
    # this Python's packages, of which the token hash needs none that is compiled
    arguments = ["-c", code, str(source.parent), str(source)]
    outputs = {
        subprocess.run([p, *arguments], check=True, capture_output=True, text=True).stdout
        for p in (sys.executable, python)
    }
    assert len(outputs) == 1


def test_code_that_cannot_be_read_is_one_line(package):
    (package / "middle.py").write_text("def f(:\n")
    clear()
    with pytest.raises(BadInput, match="cannot be read, in .*middle.py: SyntaxError"):
        version()
