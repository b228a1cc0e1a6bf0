import subprocess
import sys

import pytest

from prudent.bounds import BOUNDS
from prudent.catalogue import Catalogue, check_options
from prudent.errors import BadInput, PrudentError, UnknownName
from prudent.scores import SCORES


def test_the_folder_is_the_registry(tmp_path, monkeypatch):
    folder = tmp_path / "my_methods"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "_shared.py").write_text("")
    (folder / "lucky.py").write_text('def lucky():\n    """Say 7.\n\n    Source: nobody 1900.\n    """\n    return 7\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    catalogue = Catalogue("my_methods", "method")
    assert list(catalogue) == ["lucky"]
    assert "lucky" in catalogue
    assert "_shared" not in catalogue
    assert catalogue["lucky"]() == 7
    assert catalogue.summary("lucky") == ("Say 7.", "nobody 1900.")


def test_unknown_names_get_the_nearest_and_the_list():
    known = ", ".join(SCORES.names())
    with pytest.raises(UnknownName, match=f"no score named 'magnitud'. Did you mean 'magnitude'\\? Known: {known}$"):
        SCORES["magnitud"]
    with pytest.raises(UnknownName) as error:
        SCORES["zzzzzz"]
    assert "Did you mean" not in str(error.value)
    assert isinstance(error.value, PrudentError)
    assert isinstance(error.value, ValueError)


def test_listing_imports_nothing():
    code = """
import sys
from prudent.scores import SCORES
list(SCORES), SCORES.summary("magnitude")
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_find_takes_private_functions():
    assert SCORES.find("tests.private:own_score").__name__ == "own_score"
    assert BOUNDS.find("binomial") is BOUNDS["binomial"]
    with pytest.raises(BadInput, match="write package.module:callable"):
        SCORES.find("tests.private:absent")
    with pytest.raises(BadInput, match="write package.module:callable"):
        SCORES.find("no_such_module:f")
    with pytest.raises(BadInput, match="must be callable; it is a list"):
        SCORES.find("tests.private_data:a_list")


def test_check_options():
    def method(model, *, power=1, seed=0):
        return power

    check_options(method, {"power": 2}, noun="score 'x'", given=("model",))
    with pytest.raises(UnknownName, match="no option of score 'x' named 'powr'. Did you mean 'power'"):
        check_options(method, {"powr": 2}, noun="score 'x'", given=("model",))
    with pytest.raises(UnknownName):
        check_options(method, {"model": 2}, noun="score 'x'", given=("model",))
    check_options(lambda **anything: None, {"whatever": 1}, noun="x")


def test_what_a_method_raises_is_one_line():
    with pytest.raises(BadInput, match=r"^bound 'binomial' with options \{'alpha': 0.1\} failed: \w+Error"):
        BOUNDS.call("binomial", "no losses", alpha=0.1)
    with pytest.raises(BadInput, match="does not say which parameters it has"):
        check_options(dict, {}, noun="score 'x'")
