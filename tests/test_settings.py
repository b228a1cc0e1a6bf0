"""Study files: everything that is wrong is one line, before any work."""

import pytest

from prudent.consistency import method_problems
from prudent.errors import BadInput, PrudentError
from prudent.parsing import embedded, parse, read
from prudent.settings import Method, Settings

SMALL = """
name = "small"
[[methods]]
name = "magnitude"
sparsities = [0.5, 0.9]
[[methods]]
name = "random"
score = "random"
control_of = "magnitude"
sparsities = [0.5, 0.9]
[certification]
declared = { method = "magnitude" }
"""


@pytest.mark.parametrize("name", list(embedded()))
def test_embedded_studies_are_valid(name):
    study = read(embedded()[name])
    assert study.name == name


def test_the_embedded_digits_study_is_the_one_that_was_promised():
    study = read(embedded()["digits"])
    assert len(study.seeds) == 3
    magnitude, random, channels = (study.method(n) for n in ("magnitude", "random", "channels"))
    assert (magnitude.schedule, magnitude.rewind, magnitude.scope) == ("iterative", "init", "global")
    assert random.control_of == "magnitude"
    assert (channels.granularity, channels.schedule, channels.rewind) == ("channel", "one_shot", "none")
    assert all(len(m.sparsities) >= 6 for m in study.methods)
    assert magnitude.sparsities[-1] >= 0.95


def test_defaults_are_written_out():
    study = parse(SMALL, source="s")
    assert study.training.epochs == 12
    assert study.methods[0].retraining == study.training
    assert study.certification.alpha == 0.05
    assert parse(SMALL, source="s").id == study.id
    assert Settings.model_validate(study.model_dump()) == study


def test_retraining_starts_from_training():
    text = SMALL.replace(
        '[[methods]]\nname = "random"', '[methods.retraining]\nepochs = 1\n[[methods]]\nname = "random"'
    )
    study = parse(text + "[training]\nlr = 0.5\nepochs = 9\n[retraining]\nepochs = 4\n", source="s")
    assert (study.training.lr, study.training.epochs) == (0.5, 9)
    assert (study.retraining.lr, study.retraining.epochs) == (0.5, 4)
    assert (study.methods[0].retraining.lr, study.methods[0].retraining.epochs) == (0.5, 1)
    assert study.methods[1].retraining.epochs == 4


def test_any_setting_changes_the_id():
    before = parse(SMALL, source="s").id
    changed = SMALL.replace("[certification]", "[certification]\nalpha = 0.04")
    assert parse(changed, source="s").id != before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "small"', 'nam = "small"', r"no key 'nam'; did you mean 'name'\?"),
        ("sparsities = [0.5, 0.9]\n[[", "sparsites = [0.5]\n[[", r"sparsites'; did you mean 'sparsities'"),
        ("[certification]", "[certification]\nalfa = 0.1", "no key 'certification.alfa'; did you mean 'alpha'"),
        ("declared = { method", "declared = { methd", "did you mean 'method'"),
        ('score = "random"', 'score = "randm"', "no score named 'randm'. Did you mean 'random'"),
        ('method = "magnitude" }', 'method = "magnitud" }', "no method named 'magnitud'. Did you mean 'magnitude'"),
        ('control_of = "magnitude"', 'control_of = "magnitud"', "Did you mean 'magnitude'"),
        ("[0.5, 0.9]", "[0.5, 1.0]", r"methods\[0\].sparsities\[1\]: input should be less than 1; got 1.0"),
        ("[0.5, 0.9]", "[-0.5, 0.9]", "greater than or equal to 0; got -0.5"),
        ("[0.5, 0.9]", "[0.9, 0.5]", "must ascend"),
        ("[0.5, 0.9]", "[]", "at least 1 item"),
        ("[0.5, 0.9]", '["a"]', "got 'a'"),
        ('name = "random"', 'name = "magnitude"', "two methods are named 'magnitude'"),
        ('name = "random"', 'name = "../evil"', "pattern"),
        ('name = "small"', 'name = "small"\nseeds = [1, 1]', "seeds must differ"),
        ('name = "small"', 'name = "small"\nseeds = [1, 2]', r"the declared seed must be one of \[1, 2\]; got 0"),
        ('name = "small"', 'name = "small"\n[data]\nname = "digts"', "named 'digts'. Did you mean 'digits'"),
        ('name = "small"', 'name = "small"\n[data]\nood = "photo_patch"', "Did you mean 'photo_patches'"),
        ('name = "small"', 'name = "small"\n[model]\nname = "smal_cnn"', "Did you mean 'small_cnn'"),
        ("[certification]", '[certification]\nbound = "binomal"', "Did you mean 'binomial'"),
        ("[certification]", "[certification]\nalpha = 1.0", "less than 1"),
        ("[certification]", "[certification]\ndelta = nan", "certification.delta"),
        ("[certification]", '[certification]\nrisks = ["error"]', "the declared risk must be one of"),
        ("[certification]", "[training]\nepochs = 1.5\n[certification]", "training.epochs: input should be a valid"),
        ("[certification]", "[evaluation]\nmc_samples = 1\n[certification]", "greater than or equal to 2"),
        ('"magnitude"\nsparsities = [0.5, 0.9]\n[c', '"magnitude"\nsparsities = [0.5]\n[c', "needs the sparsities of"),
        ('score = "random"', 'score = "random"\nschedule = "iterative"', "its schedule is 'one_shot'"),
        ('score = "random"', 'score = "random"\ngranularity = "channel"', "needs the granularity of"),
        ('declared = { method = "magnitude" }', "", r"declared' is missing: .* method = \.\.\. \(name of the"),
        ('name = "small"', "", "'name' is missing: write name = ..., the study's name"),
        ("[certification]", '[[methods]]\nsparsities = [0.5]\n[certification]', "name = ..., its name in files"),
        ('score = "random"', 'score = "random"\nretraining = 3', r"methods\[1\].retraining: input should be .*got 3"),
        ("[certification]", '[data]\noptions = { seed = 2020-01-01 }\n[certification]', "options: seed must.*2020"),
        ("[certification]", '[data]\noptions = { a = [1, { b = nan }] }\n[certification]', r"a.1.b must.*got nan"),
        ("[certification]", "[training]\nlr = inf\n[certification]", "training.lr: .*finite number; got inf$"),
        ("[certification]", "[training]\nweight_decay = inf\n[certification]", "training.weight_decay: .*got inf$"),
        ("[certification]", "[training]\nlearning = 1\n[certification]", r"no key 'training.learning'; (?!.*more\))"),
        ("[certification]", "[evaluation]\nbins = 1000000000\n[certification]", "equal to 1000; got 1000000000"),
        ('name = "small"', 'name = "small"\nseeds = [99999999999999999999]', r"seeds\[0\]"),
        ('name = "small"', 'name = "small"\nseeds = [-1]', r"seeds\[0\]: .*greater than or equal to 0; got -1"),
        ("[certification]", '[training]\ncorruptions = ["fogg"]\n[certification]', "'fogg'. .*'fog'"),
        ("[certification]", '[retraining]\ncorruptions = ["fogg"]\n[certification]', "no corruption named 'fogg'"),
        ("[certification]", "[training]\nseverities = [6]\n[certification]", r"severities\[0\]: .*equal to 5; got 6"),
        ("[certification]", "[training]\nseverities = [1]\n[certification]", "those of corruptions: name them"),
        ("[certification]", "[training]\nlabel_noise = 1.0\n[certification]", "label_noise: .*less than 1; got 1.0"),
        ("[certification]", '[training]\nobjective = "intervall"\n[certification]', "objective: .*'intervall'"),
        ("[certification]", "[training]\nobjective_options = { a = 1 }\n[certification]", "name it, or leave them out"),
        ("[certification]", "[certification", "is no TOML"),
    ],
)  # fmt: skip
def test_one_line_for_everything_wrong(old, new, message):
    assert old in SMALL
    with pytest.raises(BadInput, match=message) as error:
        parse(SMALL.replace(old, new), source="file.toml")
    assert str(error.value).startswith("file.toml")
    assert "\n" not in str(error.value)


def comparing(name, **change):
    """Two methods that judge the same dense network, the second changed, compared with one of them."""
    first = {"name": "oracle", "sparsities": [0.5, 0.9]}
    second = {"name": "other", "score": "random", "sparsities": [0.2, 0.9]} | change
    return {
        "name": "x", "methods": [first, second], "evaluation": {"compare_with": name},
        "certification": {"declared": {"method": "oracle"}},
    }  # fmt: skip


def test_a_method_to_compare_with():
    study = Settings.model_validate(comparing("oracle"))
    assert study.evaluation.compare_with == "oracle"
    assert study.model_dump()["evaluation"]["compare_with"] == "oracle"
    assert Settings.model_validate(study.model_dump()) == study


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("oracl", {}, "no method named 'oracl'. Did you mean 'oracle'"),
        ("other", {"schedule": "iterative"}, "that prunes the dense network at once: .* got 'iterative', 'dense'"),
        ("other", {"scored": "initial"}, "at once: .* got 'one_shot', 'initial'"),
        ("oracle", {"schedule": "iterative"}, "needs another method of schedule 'one_shot'"),
        ("oracle", {"scored": "initial"}, "needs another method of schedule 'one_shot'"),
        ("oracle", {"sparsities": [0.2]}, "at one of the same sparsities; there is none"),
        ("oracle", {"granularity": "channel"}, r"removes the same units \('weight'\)"),
        ("oracle", {"layers": ["fc1"]}, "removes the same units"),
    ],
)
def test_masks_that_say_nothing_about_each_other_are_not_compared(name, change, message):
    with pytest.raises(ValueError, match=message):
        Settings.model_validate(comparing(name, **change))


@pytest.mark.parametrize("name", [name for name, path in embedded().items() if "compare_with" not in path.read_text()])
def test_a_study_that_compares_nothing_is_named_as_before_there_was_the_key(name):
    study = read(embedded()[name])
    assert "compare_with" not in study.model_dump(mode="json")["evaluation"]
    assert study.evaluation.compare_with is None
    named = study.model_copy(update={"evaluation": study.evaluation.model_copy(update={"compare_with": "x"})})
    assert named.id != study.id


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("model", {"weights"}),
        ("certification", {"resplits", "alphas", "bounds"}),
        ("training", {"corruptions", "severities", "label_noise", "objective", "objective_options"}),
        ("retraining", {"corruptions", "severities", "label_noise", "objective", "objective_options"}),
        ("evaluation", {"suite", "suite_options"}),
    ],
)
@pytest.mark.parametrize("name", [n for n in embedded() if not n.startswith(("confident", "lost", "robust"))])
def test_a_study_without_later_keys_is_named_as_before_there_were_any(name, table, keys):
    study = read(embedded()[name])
    assert not keys & study.model_dump(mode="json")[table].keys()


@pytest.mark.parametrize("name", ["lost_in_pruning", "lost_in_pruning_mnist"])
def test_a_suite_from_before_apgd_and_linear_bounds_keeps_its_name_and_gets_them(name):
    study = read(embedded()[name])
    asked = study.evaluation.suite_options
    assert not {"apgd", "crown"} & study.model_dump(mode="json")["evaluation"]["suite_options"].keys()
    assert asked.apgd is asked.crown is None, "which stands for as many steps as PGD, and for 32 examples"
    for key in ("apgd", "crown"):
        own = study.evaluation.model_copy(update={"suite_options": asked.model_copy(update={key: 0})})
        assert study.model_copy(update={"evaluation": own}).id != study.id


def resplits(**own):
    return Settings.model_validate({
        "name": "x", "methods": [{"name": "m", "sparsities": [0.5]}],
        "certification": {"declared": {"method": "m"}, **own},
    })  # fmt: skip


def test_resplits_with_their_alphas_and_bounds():
    study = resplits(resplits=500, alphas=[0.01, 0.1], bounds=["binomial", "anytime"])
    assert (study.certification.resplits, study.certification.bounds) == (500, ["binomial", "anytime"])
    assert Settings.model_validate(study.model_dump()) == study
    assert study.id != resplits(resplits=500).id != resplits().id


@pytest.mark.parametrize(
    ("own", "message"),
    [
        ({"alphas": [0.1]}, "certification.alphas are those of resplits: say how many"),
        ({"bounds": ["binomial"]}, "certification.bounds are those of resplits: say how many"),
        ({"resplits": 100, "alphas": [0.1, 0.1]}, r"alphas must differ; got \[0.1, 0.1\]"),
        ({"resplits": 100, "bounds": ["binomal"]}, "no bound named 'binomal'. Did you mean 'binomial'"),
        ({"resplits": 100, "bounds": ["betting"]}, "betting looks at their order"),
        ({"resplits": 100, "bound": "betting"}, "betting looks at their order"),
        ({"resplits": 3}, "greater than or equal to 20"),
    ],
)
def test_resplits_that_cannot_be(own, message):
    with pytest.raises(ValueError, match=message):
        resplits(**own)


def test_files(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text(SMALL)
    assert read(path).name == "small"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(BadInput, match="is no text"):
        read(path)
    with pytest.raises(PrudentError, match="cannot read"):
        read(tmp_path / "absent.toml")


def test_names_for_people():
    study = parse(SMALL, source="s")
    assert study.methods[0].display == "Weights by magnitude"
    named = parse(SMALL.replace('name = "random"', 'name = "random"\ntitle = "Blind"'), source="s")
    assert named.methods[1].display == "Blind"


@pytest.mark.parametrize(("n", "m", "written"), [(7, 10, 0.3), (4, 5, 0.2), (1, 3, 0.666667), (2, 3, 0.3333333333)])
def test_a_pattern_may_be_written_with_the_sparsity_that_one_would_write(n, m, written):
    method = Method(name="a", granularity="n:m", pattern=(n, m), sparsities=[written])
    assert not list(method_problems(method))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"score": "taylor"}, "its score is 'magnitude'; got 'taylor'"),
        ({"layers": ["fc1"]}, "takes all layers"),
        ({"scope": "layer"}, 'schedule_options = { scope = "layer" }'),
    ],
)
def test_gradual_pruning_refuses_what_it_would_not_do(given, message):
    method = Method(name="a", schedule="gradual", sparsities=[0.5], **given)
    assert any(message in problem for problem in method_problems(method))
