"""A study with teams: every number once more from the networks in its folder, and its section of the page."""

import hashlib
import json

import numpy as np
import pytest
import torch

import prudent
from prudent import team_folders
from prudent.artefacts import artefact
from prudent.cli import run as run_command
from prudent.errors import BadInput, PrudentError
from prudent.parsing import parse, read
from prudent.report.views import teams as view
from prudent.run_folder import network_folder, read_results
from prudent.sources import load_data
from prudent.studies import study
from prudent.teams import choose_team
from tests.report.sample import run_of

TEXT = """
name = "tiny"
seeds = [0, 1]
[data]
name = "digits"
options = { validation = 200, certification = 100, test = 200 }
ood = "photo_patches"
ood_options = { n = 60 }
[model]
name = "mlp"
options = { hidden = [24] }
[training]
epochs = 3
[retraining]
epochs = 1
[method_defaults]
granularity = "channel"
sparsities = [0.5, 0.75]
[[methods]]
name = "minimum"
score = "activation_mean"
[[methods]]
name = "random"
score = "random"
[evaluation]
latency_turns = 3
[certification]
alpha = 0.4
declared = { method = "minimum" }
[teams]
betas = [0.0, 0.5]
measures = ["kappa", "disagreement", "generalised"]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("teams")
    (place / "tiny.toml").write_text(TEXT)
    return study(str(place / "tiny.toml"), out=place / "runs", executor="inline")


def answers(folder, address, split):
    """What the network in the run's folder says, asked again."""
    seed, method, sparsity = address
    network = prudent.load(folder / network_folder(seed, method, sparsity))
    data = load_data("digits", {"validation": 200, "certification": 100, "test": 200})
    model = network if not hasattr(network, "model") else network.model
    return prudent.predict(model, data.splits[split].batches(512))


def test_teams_from_the_networks_in_the_folder(folder):
    entries = read_results(folder)["teams"]
    assert [(e["seed"], e["beta"]) for e in entries] == [(0, 0.0), (0, 0.5), (1, 0.0), (1, 0.5)]
    for entry in entries:
        pool = [(s, m, p) for s, m, p in entry["pool"]]
        assert pool == [(entry["seed"], m, p) for m in ("minimum", "random") for p in (0.5, 0.75)]
        choice = choose_team(
            [answers(folder, a, "validation") for a in pool], beta=entry["beta"],
            measures=["kappa", "disagreement", "generalised"],
        )  # fmt: skip
        team = next(side for side in entry["sides"] if side["name"] == "team")
        assert tuple(team["members"]) == choice.team
        assert entry["choices"]["team"]["right"] == choice.right
        test = [answers(folder, pool[i], "test") for i in choice.team]
        mean = np.mean([p.probabilities for p in test], axis=0)
        dense = answers(folder, (entry["seed"], "", 0.0), "test")
        error = (mean.argmax(1) != test[0].labels).mean()
        assert team["metrics"]["error"]["value"] == pytest.approx(error)
        assert team["change"] == pytest.approx((dense.decisions != dense.labels).mean() - error)
        assert team["cost"] == len(choice.team) / 4


def test_prices_are_those_of_the_networks(folder):
    results = read_results(folder)
    networks = {(n["seed"], n["method"], n["requested"]): n for n in results["networks"]}
    for entry in results["teams"]:
        dense = networks[entry["seed"], "", 0.0]
        for side in entry["sides"]:
            chosen = [networks[tuple(entry["pool"][i])] for i in side["members"]] or [dense]
            assert side["price"]["macs"] == sum(n["macs"] for n in chosen)
            shares = [n["timing"]["milliseconds"] / n["timing"]["beside"] if n["method"] else 1 for n in chosen]
            assert side["price"]["milliseconds"] == pytest.approx(dense["timing"]["milliseconds"] * sum(shares))
            if side["name"] == "equal MACs":
                assert side["price"]["macs"] <= dense["macs"]
        assert "equal MACs" in entry["choices"]  # two halves, or two quarters, are at most the whole


def test_the_section_says_the_same(folder):
    run = run_of(folder)
    shown = view.view(run)
    entries = [e for e in run.results["teams"] if e["beta"] == 0.5]
    table = shown["tables"][1]
    assert table["beta"] == "50\u202f%"
    sides = {row["name"]: row for row in table["rows"]}
    for name in ("team", "pool", "best member", "dense"):
        each = [next(s for s in e["sides"] if s["name"] == name) for e in entries]
        row = sides[view.NAMES[name]]
        right = np.mean([1 - s["metrics"]["error"]["value"] for s in each])
        assert row["right"] == f"{100 * right:.2f}\u202f%"
        assert float(row["macs"].replace(",", "")) == round(np.mean([s["price"]["macs"] for s in each]))
        assert row["metrics"][0] == f"{np.mean([s['metrics']['nll']['value'] for s in each]):.4f}"
    page = (folder / "report.html").read_text()
    assert "Is a team of pruned networks better?" in page
    assert shown["verdict"] in page


def test_the_command_writes_a_team_that_answers_as_its_members(folder, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    out = tmp_path / "team"
    arguments = ["team", str(folder), "--seed", "1", "--beta", "0.5", "--measures", "kappa,disagreement,generalised"]
    assert run_command([*arguments, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    expected = next(e for e in read_results(folder)["teams"] if (e["seed"], e["beta"]) == (1, 0.5))
    assert told["chosen"]["team"] == list(expected["choices"]["team"]["team"])
    side = next(s for s in expected["sides"] if s["name"] == "team")
    assert told["sides"][0]["metrics"]["error"] == side["metrics"]["error"]
    for mine, theirs in ((told["sides"][0], side), (told["sides"][-1], expected["sides"][-1])):
        assert mine["metrics"]["auroc_max_prob"]["value"] == pytest.approx(theirs["metrics"]["auroc_max_prob"]["value"])
    assert told["sides"][0]["price"] == pytest.approx(side["price"])
    test = [answers(folder, expected["pool"][i], "test") for i in told["chosen"]["team"]]
    inputs = load_data("digits", {"validation": 200, "certification": 100, "test": 200}).test.inputs
    mean = np.mean([p.probabilities for p in test], axis=0)
    for shipped in (out, out / "team.onnx"):
        answer = artefact(str(shipped), data="digits").opened()(torch.from_numpy(inputs))
        np.testing.assert_allclose(np.exp(answer), mean, atol=1e-5)
    assert told["onnx"]["agreement"] == 1


def test_a_team_in_its_run_is_certified_by_name(folder, tmp_path, capsys):
    assert run_command(["team", str(folder), "--within", "macs", "--dense", "--no-onnx"]) == 0
    assert "Of 10 networks a team of " in capsys.readouterr().out
    place = folder / "teams" / "all" / "beta-0.2"
    about = json.loads((place / "team.json").read_text())
    assert {p.name for p in (place / "members").iterdir()} == {m["name"] for m in about["members"]}
    certificate = tmp_path / "c.json"
    assert run_command(["certify", str(place), "--alpha", "0.9", "--out", str(certificate)]) == 0
    said = json.loads(certificate.read_text())
    assert artefact(str(place)).fingerprint in certificate.read_text(), said
    assert run_command(["verify", str(certificate), "--network", str(place)]) == 0


def test_a_team_elsewhere_is_not_certified_on_what_its_members_learnt_from(folder, tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    away, alone = tmp_path / "away", tmp_path / "alone.onnx"
    assert run_command(["team", str(folder), "--seed", "0", "--out", str(away)]) == 0
    alone.write_bytes((away / "team.onnx").read_bytes())
    for what in (away, away / "team.onnx", alone):
        # the default digits are split otherwise: some of their certification examples are these networks' training
        given = ["certify", str(what), "--alpha", "0.9", "--out", str(tmp_path / "c.json")]
        assert run_command([*given, "--data", "digits"]) == 2
        assert "of the train split of the run of" in capsys.readouterr().err
        assert run_command(given) == 0
        assert json.loads((tmp_path / "c.json").read_text())["n"] == 100


@pytest.fixture(scope="module")
def lone(folder, tmp_path_factory):
    """The ONNX file of a team, copied away from its description, and what that description says."""
    pytest.importorskip("onnxruntime")
    place = tmp_path_factory.mktemp("lone")
    assert run_command(["team", str(folder), "--seed", "0", "--out", str(place / "team")]) == 0
    (place / "elsewhere").mkdir()
    alone = place / "elsewhere" / "renamed.onnx"
    alone.write_bytes((place / "team" / "team.onnx").read_bytes())
    return alone, place / "team"


def test_a_lone_file_says_who_is_in_it_and_which_data_chose_them(lone):
    import onnx

    alone, team = lone
    notes = {entry.key: entry.value for entry in onnx.load(str(alone)).metadata_props}
    assert notes["prudent.network"] == artefact(str(team)).fingerprint
    about = json.loads(notes["prudent.team"])
    assert about == json.loads((team / "team.json").read_text())
    for member in about["members"]:
        for file, digest in member["files"].items():
            content = (team / "members" / member["name"] / file).read_bytes()
            assert hashlib.sha256(content).hexdigest() == digest
    data = load_data("digits", {"validation": 200, "certification": 100, "test": 200})
    task = about["chosen"]["task"]
    assert task["fingerprints"] == {"train": data.train.fingerprint, "validation": data.validation.fingerprint}
    found = artefact(str(alone))
    assert found.trained_on().validation.fingerprint == data.validation.fingerprint
    assert found.data().certification.fingerprint == data.certification.fingerprint


def rewritten(alone, place, change):
    """The file with other notes."""
    import onnx

    proto = onnx.load(str(alone))
    note = next(entry for entry in proto.metadata_props if entry.key == "prudent.team")
    about = json.loads(note.value)
    note.value = change(about)
    onnx.save(proto, str(place))
    return str(place)


def test_notes_that_were_edited_or_name_other_examples_are_refused(lone, tmp_path):
    alone, _ = lone

    def renamed(about):
        about["chosen"]["task"]["name"] = "moons"
        return json.dumps(about)

    def resealed(about):
        about["chosen"]["task"]["fingerprints"]["validation"] = "0" * 64
        del about["seal"]
        return json.dumps(about | {"seal": team_folders._seal(about)})

    with pytest.raises(BadInput, match=r"a.onnx, notes inside: .* does not have the hash that it carries"):
        artefact(rewritten(alone, tmp_path / "a.onnx", renamed))
    with pytest.raises(PrudentError, match="notes inside: .* is not a description"):
        artefact(rewritten(alone, tmp_path / "b.onnx", lambda _about: "{}"))
    other = artefact(rewritten(alone, tmp_path / "c.onnx", resealed))
    with pytest.raises(BadInput, match=r"chosen on other examples of 'digits' than are here now \(its validation"):
        other.trained_on()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda about: about.pop("chosen"), r"notes inside: .* is not a description .*'chosen'"),
        (lambda about: about.update(chosen=[1]), "notes inside: .* is not a description"),
        (lambda about: about["chosen"]["task"].update(options=[1]), r"options that are no table; got \[1\]"),
        (lambda about: about["chosen"]["task"].update(fingerprints="a"), "fingerprints that are no table; got 'a'"),
    ],
)
def test_notes_of_another_form_are_refused_in_one_line_whoever_sealed_them(lone, tmp_path, change, message):
    def sealed(about):
        del about["seal"]
        change(about)
        return json.dumps(about | {"seal": team_folders._seal(about)})

    with pytest.raises(PrudentError, match=message):
        artefact(rewritten(lone[0], tmp_path / "a.onnx", sealed))


def test_a_file_with_two_origins_is_refused(lone, tmp_path):
    import onnx

    proto = onnx.load(str(lone[0]))
    about = json.loads(next(entry.value for entry in proto.metadata_props if entry.key == "prudent.team"))
    about["chosen"]["task"] = "some other"
    del about["seal"]
    proto.metadata_props.add(key="prudent.team", value=json.dumps(about | {"seal": team_folders._seal(about)}))
    onnx.save(proto, str(tmp_path / "two.onnx"))
    with pytest.raises(BadInput, match="'prudent.team' stands for two"):
        artefact(str(tmp_path / "two.onnx"))


def test_the_file_beside_a_description_of_another_team_keeps_its_own_origin(lone, tmp_path):
    alone, team = lone
    about = json.loads((team / "team.json").read_text())
    del about["seal"]
    about["chosen"]["task"] = {"name": "moons", "options": {}}
    (tmp_path / "team.json").write_text(json.dumps(about | {"seal": team_folders._seal(about)}))
    (tmp_path / "team.onnx").write_bytes(alone.read_bytes())
    assert artefact(str(tmp_path / "team.onnx")).trained_on().name == "digits"


def test_another_team_is_not_written_over_one_that_may_be_in_use(folder, tmp_path, capsys):
    place = ["--out", str(tmp_path / "t"), "--no-onnx"]
    for _ in range(2):
        assert run_command(["team", str(folder), "--seed", "0", *place]) == 0
    before = (tmp_path / "t" / "team.json").read_bytes()
    assert run_command(["team", str(folder), "--seed", "1", *place]) == 2
    assert "holds another team: name another folder" in capsys.readouterr().err
    assert (tmp_path / "t" / "team.json").read_bytes() == before
    assert all(p.name.startswith("seed0") for p in (tmp_path / "t" / "members").iterdir())


def test_teams_of_all_seeds_stand_beside_the_dense_network_that_validation_prefers(folder, tmp_path, capsys):
    right = [(p.decisions == p.labels).sum() for p in (answers(folder, (s, "", 0.0), "validation") for s in (0, 1))]
    errors = [(p.decisions != p.labels).mean() for p in (answers(folder, (s, "", 0.0), "test") for s in (0, 1))]
    assert errors[0] != errors[1]
    assert run_command(["team", str(folder), "--out", str(tmp_path / "t"), "--no-onnx", "--json"]) == 0
    dense = next(s for s in json.loads(capsys.readouterr().out)["sides"] if s["name"] == "dense")
    assert dense["metrics"]["error"]["value"] == pytest.approx(errors[int(np.argmax(right))])


def test_the_command_refuses(folder, capsys, unchecked):
    for arguments, what in (
        (["--seed", "7"], "the run has the seeds [0, 1]; got --seed 7"),
        (["--within", "love"], "--within is one of macs, time"),
        (["--sparsities", "0.9"], "these options leave 0"),
        (["--sparsities", "half"], "list of numbers"),
        (["--beta", "1"], "in [0, 1)"),
        (["--measures", "kapa"], "Did you mean 'kappa'"),
        (["--diversity", "local"], "diversity is one of focal, baseline"),
    ):
        assert run_command(["team", str(folder), "--no-onnx", *arguments]) == 2, arguments
        assert what in capsys.readouterr().err


def entry(beta, right, change, *, cheap=True):
    metrics = {"error": {"value": 0.1}, "nll": {"value": 0.5}, "ece": {"value": 0.1}}
    names = ["team", *(["equal MACs"] if cheap else []), "pool", "best member", "dense"]
    sides = [
        {"name": n, "members": [0, 1], "cost": 0.5, "metrics": metrics, "change": change,
         "price": {"macs": 10.0, "milliseconds": 1.0}}
        for n in names
    ]  # fmt: skip
    return {"beta": beta, "choices": {n: {"right": right} for n in names[:2]}, "sides": sides}


def test_the_verdict_takes_the_beta_that_validation_prefers():
    # on test the other one would look better
    told = view._verdict([[entry(0.0, 90, -0.01)] * 2, [entry(0.2, 80, 0.05)] * 2])
    assert "worse than the dense network in every pool: −1.00 points" in told
    told = view._verdict([[entry(0.0, 80, -0.01)] * 2, [entry(0.2, 90, 0.05), entry(0.2, 90, 0.01)]])
    assert "is better than the dense network in every pool: +3.00 points (+1.00 to +5.00)" in told
    told = view._verdict([[entry(0.0, 80, -0.01), entry(0.0, 80, 0.02)]])
    assert "is not better than the dense network in every pool" in told
    assert view._verdict([[entry(0.0, 80, 0.1, cheap=False)]]).startswith("No team of two members")
    told = view._verdict([[entry(0.0, 80, 0.1), entry(0.0, 80, 0.1, cheap=False)]])
    timed = entry(0.0, 80, -0.03, cheap=False)
    timed["choices"]["equal time"] = {"right": 80}
    timed["sides"].append({**timed["sides"][0], "name": "equal time"})
    assert view._verdict([[timed] * 2]).startswith("At equal measured time the best of these teams is worse than")
    assert told == "Only 1 of 2 pools have a team of two members or more at equal multiply-accumulates, too few to say."


def test_of_one_pool_the_examples_say_whether_a_gain_is_luck():
    one = entry(0.0, 80, 0.01)
    assert "in one pool, too few to say: +1.00 points." in view._verdict([[one]])  # as earlier results are
    for lo, hi, word in ((-0.02, 0.04, "not clearly better or worse than"), (0.002, 0.02, "better than")):
        for side in one["sides"]:
            side |= {"change_lo": lo, "change_hi": hi}
        told = view._verdict([[one]])
        assert f"is {word} the dense network in this one pool: +1.00 points" in told
        assert f"to +{100 * hi:.2f})" in told
    assert view._row([one], "team")["gains"] == "+0.20 to +2.00"


def test_a_study_without_teams_keeps_its_name_and_has_no_section(folder):
    plain = parse(TEXT[: TEXT.index("[teams]")], source="s")
    assert "teams" not in plain.model_dump(mode="json")
    assert plain.id != read(folder.parent.parent / "tiny.toml").id
    run = run_of(folder)
    results = {key: value for key, value in run.results.items() if key != "teams"}
    assert view.view(type(run)(results, run.verification)) is None


def test_pools_of_all_seeds_with_the_dense_networks(folder):
    text = TEXT.replace("[teams]", "[teams]\nacross = true\ndense = true\nsparsities = [0.5]")
    place = folder.parent.parent / "across.toml"
    place.write_text(text)
    found = read_results(study(str(place), out=folder.parent, executor="inline"))
    entries = found["teams"]
    assert [e["seed"] for e in entries] == [None, None]
    expected = {(s, m, p) for s in (0, 1) for m, p in (("", 0.0), ("minimum", 0.5), ("random", 0.5))}
    assert {tuple(a) for a in entries[0]["pool"]} == expected
    # the reference is the dense network that validation prefers
    right = [(answers(folder, (s, "", 0.0), "validation")) for s in (0, 1)]
    best = int(np.argmax([(p.decisions == p.labels).sum() for p in right]))
    test = answers(folder, (best, "", 0.0), "test")
    dense = next(s for s in entries[0]["sides"] if s["name"] == "dense")
    assert dense["metrics"]["error"]["value"] == pytest.approx((test.decisions != test.labels).mean())


@pytest.mark.parametrize(
    ("line", "match"),
    [
        ("measures = ['kapa']", "Did you mean 'kappa'"),
        ("betas = [0.2, 0.2]", "teams.betas must differ"),
        ("betas = [1.0]", "less than 1"),
        ("sparsities = [0.9]", "teams.sparsities has 0.9, which no method has"),
        ("largest = 1", "greater than or equal to 2"),
        ("voting = 'loud'", "voting"),
    ],
)
def test_refusals(line, match):
    with pytest.raises(BadInput, match=match):
        parse(TEXT[: TEXT.index("[teams]")] + "[teams]\n" + line, source="s")
    one = TEXT[: TEXT.index('[[methods]]\nname = "random"')].replace("[0.5, 0.75]", "[0.5]")
    with pytest.raises(BadInput, match="a pool of teams has 2 to 64 networks; this one has 1"):
        parse(one + '[certification]\ndeclared = { method = "minimum" }\n[teams]\n', source="s")
