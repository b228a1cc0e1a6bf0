"""[method_defaults] and [full]: which value holds where, and one line for everything wrong in them."""

import copy
import json
import tomllib

import pytest

import prudent
from prudent.cli import run
from prudent.errors import BadInput
from prudent.merging import merge, origin
from prudent.parsing import embedded, parse, read
from prudent.reference import reference

FILE = """
name = "small"
seeds = [0]
[model]
options = { widths = [4, 6, 8], hidden = 16 }
[training]
epochs = 3
lr = 0.1
[method_defaults]
sparsities = [0.5]
scope = "layer"
options = { norm = 1 }
retraining = { epochs = 7, lr = 0.7 }
[[methods]]
name = "magnitude"
[[methods]]
name = "other"
scope = "global"
options = {}
retraining = { epochs = 9 }
[certification]
declared = { method = "magnitude" }
[full]
seeds = [0, 1, 2]
model.options.hidden = 100
training.epochs = 30
[full.method_defaults]
sparsities = [0.5, 0.75]
retraining = { lr = 0.9 }
[full.methods.other]
scope = "row"
options = { norm = 2 }
"""


def test_defaults_hold_unless_a_method_says_otherwise():
    magnitude, other = parse(FILE, source="s").methods
    assert (magnitude.sparsities, other.sparsities) == ([0.5], [0.5])
    assert (magnitude.scope, other.scope) == ("layer", "global")
    assert (magnitude.options, other.options) == ({"norm": 1}, {}), "a method's own table replaces the default"
    assert (magnitude.retraining.epochs, magnitude.retraining.lr) == (7, 0.7)
    assert (other.retraining.epochs, other.retraining.lr) == (9, 0.7), "but of retraining single keys do"


def test_the_full_size_replaces_key_by_key():
    small, full = parse(FILE, source="s"), parse(FILE, source="s", full=True)
    assert (small.seeds, full.seeds) == ([0], [0, 1, 2]), "lists as a whole"
    assert full.model.options == {"widths": [4, 6, 8], "hidden": 100}
    assert (full.training.epochs, full.training.lr) == (30, 0.1)
    magnitude, other = full.methods
    assert (magnitude.sparsities, other.sparsities) == ([0.5, 0.75], [0.5, 0.75])
    assert (magnitude.scope, other.scope) == ("layer", "row")
    assert (magnitude.options, other.options) == ({"norm": 1}, {"norm": 2})
    assert (magnitude.retraining.epochs, magnitude.retraining.lr) == (7, 0.9)
    assert (other.retraining.epochs, other.retraining.lr) == (9, 0.9)
    assert small.id != full.id


def test_a_file_without_these_tables_and_the_file_itself_stay_as_they_are():
    given = tomllib.loads(FILE)
    before = copy.deepcopy(given)
    merge(given, full=True)
    assert given == before
    plain = {key: value for key, value in given.items() if key not in ("full", "method_defaults")}
    assert merge(plain, full=False) == plain
    assert merge({}, full=False) == {}


@pytest.mark.parametrize(
    ("place", "full", "expected"),
    [
        (("training", "lr"), False, "training.lr"),
        (("training", "lr"), True, "training.lr"),
        (("training", "epochs"), True, "full.training.epochs"),
        (("methods", 0, "scope"), False, "method_defaults.scope"),
        (("methods", 1, "scope"), False, "methods.1.scope"),
        (("methods", 1, "scope"), True, "full.methods.other.scope"),
        (("methods", 0, "sparsities", 0), False, "method_defaults.sparsities.0"),
        (("methods", 0, "sparsities", 1), True, "full.method_defaults.sparsities.1"),
        (("methods", 0, "retraining", "lr"), True, "full.method_defaults.retraining.lr"),
        (("methods", 0, "retraining", "epochs"), True, "method_defaults.retraining.epochs"),
        (("methods", 0, "absent"), True, "methods.0.absent"),
        ((), True, ""),
    ],
)
def test_where_a_value_was_written(place, full, expected):
    assert ".".join(str(part) for part in origin(tomllib.loads(FILE), place, full=full)) == expected


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[full]", "[ful]", "no key 'ful'; did you mean 'full'?"),
        ('scope = "layer"', 'scop = "layer"', "no key 'method_defaults.scop'; did you mean 'scope'?"),
        ('scope = "layer"', 'scope = "layers"', "s: method_defaults.scope: input should be"),
        ("[0.5]\n", "[1.5]\n", "s: method_defaults.sparsities[0]: input should be less than 1; got 1.5"),
        ("lr = 0.7", "lr = -0.7", "s: method_defaults.retraining.lr: input should be greater than 0; got -0.7"),
        ("lr = 0.7", "rl = 0.7", "no key 'method_defaults.retraining.rl'; did you mean 'lr'?"),
        ("seeds = [0, 1, 2]", "seed = [0, 1, 2]", "in the full size, no key 'full.seed'; did you mean 'seeds'?"),
        ("seeds = [0, 1, 2]", "seeds = [1, 2]", "in the full size, the declared seed must be one of [1, 2]; got 0"),
        ("training.epochs = 30", "training.epoch = 30", "no key 'full.training.epoch'; did you mean 'epochs'?"),
        ("training.epochs = 30", "training.epochs = 1.5", "full.training.epochs: input should be a valid integer"),
        ("training.epochs = 30", "training = 30", "full.training"),
        ("[full.method_defaults]", "[full.method_default]", "did you mean 'method_defaults'?"),
        ("[full.methods.other]", "[full.methods.othr]", "no method named 'othr'. Did you mean 'other'?"),
        ('scope = "row"', 'scop = "row"', "no key 'full.methods.other.scop'; did you mean 'scope'?"),
        ('scope = "row"', 'scope = "rows"', "full.methods.other.scope: input should be"),
        ("[full.methods.other]", "[[full.methods]]", "full.methods must be tables [full.methods.NAME]; got ["),
        ("[full.methods.other]", "[full]\nx = 1\n[y]", "is no TOML"),
        ("model.options.hidden = 100", "methods.other = 3", "full.methods.other must be a table; got 3"),
        ("model.options.hidden = 100", "full.seeds = [0]", "no key 'full.full'"),
        ("[0.5, 0.75]", "[0.75, 0.5]", "in the full size, sparsities of 'magnitude' must ascend"),
    ],
)
def test_one_line_for_everything_wrong_whether_the_full_size_is_asked_for_or_not(old, new, message):
    assert old in FILE
    text = FILE.replace(old, new, 1)
    if "methods.other = 3" in new:
        text = text[: text.index("[full.methods.other]")]
    for full in (False, True):
        with pytest.raises(BadInput) as error:
            parse(text, source="s", full=full)
        assert message in str(error.value)
        assert str(error.value).startswith("s")
        assert "\n" not in str(error.value)
        assert "more)" not in str(error.value), "one mistake is told once, however many methods inherit it"


RUNS = """
name = "runs"
seeds = [0]
[data]
options = { validation = 40, certification = 150, test = 100 }
[model]
options = { widths = [4, 4, 4], hidden = 8 }
[training]
epochs = 1
[method_defaults]
sparsities = [0.5]
[[methods]]
name = "magnitude"
[evaluation]
latency_turns = 3
[certification]
alpha = 0.9
declared = { method = "magnitude" }
[full.method_defaults]
sparsities = [0.5, 0.8]
"""


def test_a_misspelt_table_is_named_although_the_methods_lack_its_keys_then():
    with pytest.raises(BadInput, match="no key 'methods_default'; did you mean 'method_defaults'?"):
        parse(FILE.replace("[method_defaults]", "[methods_default]"), source="s")


@pytest.mark.parametrize("table", ["full", "method_defaults"])
def test_what_is_no_table(table):
    with pytest.raises(BadInput, match=f"^s: {table} must be a table; got 3$"):
        text = RUNS[: RUNS.index("[full")].replace("[method_defaults]\nsparsities = [0.5]\n", "")
        parse(f"{table} = 3\n" + text.replace('"magnitude"\n[e', '"magnitude"\nsparsities = [0.5]\n[e'), source="s")


def test_a_file_without_a_full_size_says_what_to_do(capsys):
    message = r"no table \[full\].*add one, or leave full \(--full\) out"
    with pytest.raises(BadInput, match=message):
        read(embedded()["digits"], full=True)
    with pytest.raises(BadInput, match=message):
        prudent.study("moons", full=True)
    assert run(["study", "moons", "--full"]) == 2
    assert "leave full (--full) out" in capsys.readouterr().err


LEVELS = [1 - 0.8**k for k in range(1, 19)]


def test_the_papers_sizes():
    a, b = (read(embedded()[name], full=True) for name in ("dropnet-a", "dropnet-b"))
    for study in (a, b):
        assert study.seeds == list(range(15))
        assert all(m.retraining.epochs == 100 and m.retraining.patience == 5 for m in study.methods)
        assert all(m.sparsities == pytest.approx(LEVELS[:10], abs=1e-6) for m in study.methods)
    assert (a.model.options, b.model.options) == ({"hidden": [40, 40]}, {"widths": [64, 64]})
    tickets = read(embedded()["tickets"], full=True)
    assert len(tickets.seeds) == 5
    assert all(m.sparsities == pytest.approx(LEVELS, abs=1e-6) for m in tickets.methods)
    assert all((m.retraining.batch_size, m.retraining.epochs) == (60, 60) for m in tickets.methods)
    espn = read(embedded()["espn"], full=True)
    assert espn.method("espn").options == {"max_epochs": 300}
    assert espn.method("magnitude").options == {}
    assert [m.retraining.epochs for m in espn.methods] == [160] * 3


@pytest.mark.parametrize("name", ["dropnet-a", "dropnet-b"])
def test_dropnets_six_metrics_are_written_out(name):
    """What the defaults save in the file is in the settings, method by method."""
    study = read(embedded()[name])
    assert [m.name for m in study.methods] == ["minimum", "maximum", "random", *(
        f"{metric}_layer" for metric in ("minimum", "maximum", "random"))]  # fmt: skip
    for method in study.methods:
        metric, _, layer = method.name.partition("_")
        assert method.score == ("random" if metric == "random" else "activation_mean")
        assert method.options == ({} if metric == "random" else {"direction": metric})
        assert (method.scope, method.minimum) == (("layer", 0) if layer else ("global", 1))
        assert (method.granularity, method.schedule, method.rewind) == ("channel", "iterative", "init")
        assert set(method.sparsities) < {round(level, 6) for level in LEVELS[:10]}


def test_the_reference_page_says_what_these_tables_do():
    page = reference()
    assert all(f"### {title}\n" in page for title in ("[method_defaults]", "[full]", "[full.methods.NAME]"))


@pytest.mark.slow
def test_a_study_runs_its_full_size_and_says_so(tmp_path, capsys):
    file = tmp_path / "runs.toml"
    file.write_text(RUNS)
    for full in ([], ["--full"]):
        assert run(["study", str(file), *full, "--out", str(tmp_path), "--json"]) in (0, 3)
    results = [json.loads(path.read_text()) for path in tmp_path.glob("runs-*/results.json")]
    small, large = sorted(results, key=lambda found: found["full"])
    assert [(r["full"], len(r["networks"])) for r in (small, large)] == [(False, 2), (True, 3)]
    pages = [(tmp_path / r["id"] / "report.html").read_text() for r in (small, large)]
    assert ["prudent study runs.toml --full\n" in page for page in pages] == [False, True]
    assert "prudent study runs.toml\n" in pages[0]
