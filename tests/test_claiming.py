"""prudent certify, plan, monitor and verify on saved networks and ONNX files, as a user runs them."""

import json
import weakref
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

import prudent
from prudent.building import build
from prudent.claiming import Claim, certify_artefacts, certify_artefacts_anytime
from prudent.cli import run
from prudent.errors import BadInput, BrokenCertificate
from prudent.networks import Architecture, save
from prudent.sources import load_data


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """A network trained for a moment, three pruned copies, and one as ONNX."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("shipped")
    data = load_data("digits", {})
    options = {"hidden": [48]}
    dense = build("mlp", data.shape, 10, seed=0, options=options)
    dense = prudent.train(dense, data.train.batches(64), epochs=8, lr=0.005, seed=0)
    made = Architecture(name="mlp", shape=data.shape, classes=10, options=options)
    save(dense, folder / "dense", architecture=made)
    for sparsity in (0.3, 0.6, 0.97):
        save(prudent.prune(dense, sparsity=sparsity), folder / f"pruned-{sparsity}", architecture=made)
    assert run(["export", str(folder / "pruned-0.6"), "--data", "digits", "--out", str(folder / "small.onnx")]) == 0
    return folder


def certify(folder, *more, candidates=("pruned-0.3", "pruned-0.6", "pruned-0.97")):
    names = [str(folder / name) for name in candidates]
    return run(["certify", *names, "--data", "digits", *more])


def said(capsys):
    return json.loads(capsys.readouterr().out)


def test_certifies_the_sparsest_that_passes_and_verifies(shipped, tmp_path, capsys):
    out = tmp_path / "c.json"
    assert certify(shipped, "--alpha", "0.15", "--out", str(out), "--json") == 0
    found = said(capsys)
    certificate = prudent.verify(out)
    assert certificate.selected is not None
    assert found["selected"] == certificate.names[certificate.selected]
    assert certificate.states[-1] == "stopped", "97 % without training is too much"
    assert found["forward_examples"] == 3 * certificate.n
    data = load_data("digits", {})
    model = prudent.load(shipped / "pruned-0.3").model
    wrong = prudent.predict(model, data.certification.batches()).decisions != data.certification.labels
    assert certificate.counts[0] == int(wrong.sum()), "the same counts as the library's own predictions"
    assert certificate.models[0] == prudent.predict(model, data.certification.batches()).model


def test_candidates_are_tested_densest_first_however_they_are_named(shipped, tmp_path):
    out = tmp_path / "c.json"
    certify(shipped, "--out", str(out), "--alpha", "0.15", candidates=("pruned-0.97", "pruned-0.3", "pruned-0.6"))
    assert prudent.verify(out).names == ("pruned-0.3", "pruned-0.6", "pruned-0.97")


def test_nothing_certified_exits_with_3(shipped, tmp_path, capsys):
    assert certify(shipped, "--alpha", "0.001", "--out", str(tmp_path / "c.json")) == 3
    assert "Nothing certified" in capsys.readouterr().out


def test_an_onnx_file_is_certified_as_it_ships(shipped, tmp_path, capsys):
    out, file = tmp_path / "onnx.json", shipped / "small.onnx"
    dense = ["--dense", str(shipped / "dense"), "--data", "digits"]
    assert (
        run(["certify", "--onnx", str(file), "--risk", "disagreement", "--alpha", "0.2", "--out", str(out), *dense])
        == 0
    )
    assert "for 'small.onnx'" in capsys.readouterr().out
    assert run(["verify", str(out), "--onnx", str(file), *dense, "--json"]) == 0
    assert said(capsys)[0]["level"] == "full"
    changed, model = tmp_path / "changed.onnx", onnx.load(file)
    model.doc_string = "another"
    onnx.save(model, changed)
    assert run(["verify", str(out), "--onnx", str(changed)]) == 2
    assert "not the network" in capsys.readouterr().err


def test_full_verification_asks_the_network_again(shipped, tmp_path, capsys):
    out = tmp_path / "c.json"
    certify(shipped, "--alpha", "0.15", "--out", str(out))
    chosen = prudent.verify(out)
    network = ["--network", str(shipped / chosen.names[chosen.selected])]
    capsys.readouterr()
    assert run(["verify", str(out), *network, "--data", "digits", "--json"]) == 0
    assert said(capsys)[0]["losses_that_differ"] == 0
    assert run(["verify", str(out), "--network", str(shipped / "dense")]) == 2
    assert run(["verify", str(out), *network, "--data", "moons"]) == 2
    assert run(["verify", str(out), "--data", "digits"]) == 2
    assert "name it with --network or --onnx" in capsys.readouterr().err


def test_full_verification_finds_losses_that_the_network_does_not_have(shipped, tmp_path):
    """Losses made up, every hash right: only asking the network again tells."""
    from prudent.artefacts import artefact
    from prudent.claiming import check_rerun
    from prudent.types import Losses

    data = load_data("digits", {})
    chosen = artefact(str(shipped / "pruned-0.97"), data="digits")
    n, examples = len(data.certification), data.certification.fingerprint
    invented = Losses(values=np.zeros((n, 1)), names=("x",), sparsities=(0.97,), loss="error", split="certification",
                      data=examples, models=(chosen.fingerprint,))  # fmt: skip
    certificate = prudent.certify(invented, alpha=0.05, delta=0.05)
    path = prudent.write_certificate(certificate, invented, tmp_path / "x.json")
    assert prudent.verify(path) == certificate
    with pytest.raises(BrokenCertificate, match="asked again"):
        check_rerun(path, certificate, chosen, None, data)


def test_by_class_and_several_risks_make_one_claim(shipped, tmp_path):
    out = tmp_path / "c.json"
    assert certify(shipped, "--by-class", "--alpha", "0.5", "--out", str(out)) == 0
    assert [part.group for part in prudent.verify(out).parts] == [f"class {k}" for k in range(10)]
    dense = ["--dense", str(shipped / "dense")]
    two = ["--risk", "error", "--risk", "accuracy_drop", "--alpha", "0.2", "--alpha", "0.1", *dense]
    assert certify(shipped, *two, "--out", str(out)) == 0
    assert [part.bound for part in prudent.verify(out).parts] == ["binomial", "betting"]
    assert certify(shipped, "--risk", "top_k_error", "--option", "k=3", "--alpha", "0.2", "--out", str(out)) == 0
    assert prudent.verify(out).options == (("k", 3),)


def test_anytime_uses_fewer_examples_and_claims_no_more(shipped, tmp_path, capsys):
    full, few = tmp_path / "full.json", tmp_path / "few.json"
    certify(shipped, "--alpha", "0.3", "--out", str(full))
    capsys.readouterr()
    assert certify(shipped, "--alpha", "0.3", "--anytime", "--out", str(few), "--json") == 0
    found = said(capsys)
    certificate, whole = prudent.verify(few), prudent.verify(full)
    assert found["forward_examples"] < 3 * whole.n / 2
    assert certificate.bound == "group_sequential"
    assert certificate.data == whole.data, "the same split, and the same account of what it was spent on"
    assert certificate.selected <= whole.selected


def test_two_risks_of_one_kind_have_options_of_their_own(shipped, tmp_path, capsys):
    out = tmp_path / "c.json"
    two = ["--risk", "top_k_error", "--risk", "top_k_error", "--alpha", "0.5", "--alpha", "0.1"]
    assert certify(shipped, *two, "--option", "k=1", "--option", "k=2", "--out", str(out)) == 0
    made = prudent.verify(out)
    assert [part.options for part in made.parts] == [(("k", 1),), (("k", 2),)]
    assert made.parts[0].counts > made.parts[1].counts
    worst = ["top_k_error (k = 1)" if a >= b else "top_k_error (k = 2)"
             for a, b in zip(*(part.p_values for part in made.parts), strict=True)]  # fmt: skip
    assert list(made.binding) == worst
    assert made.binding[-1] in json.loads(out.read_text())["needed"]
    assert made.binds(0, earlier=True) == "top_k_error"
    capsys.readouterr()
    assert certify(shipped, *two, "--option", "k=2", "--out", str(out)) == 2
    assert "the same risk is named twice" in capsys.readouterr().err
    assert certify(shipped, *two[:2], "--option", "k=1", "--option", "k=2", "--out", str(out)) == 2
    assert "given once, or once for each of 1 risks" in capsys.readouterr().err


@pytest.mark.parametrize(("bound", "word"), [([], "group_sequential"), (["--bound", "beta_mixture"], "beta_mixture")])
def test_anytime_takes_the_options_of_its_risk_and_either_bound(shipped, tmp_path, bound, word):
    out = tmp_path / "c.json"
    options = ["--anytime", "--risk", "top_k_error", "--option", "k=2", "--alpha", "0.15", *bound]
    assert certify(shipped, *options, "--out", str(out)) == 0
    made = prudent.verify(out)
    assert (made.bound, made.options, made.stopped) == (word, (("k", 2),), True)
    chosen = ["--network", str(shipped / made.names[made.selected]), "--data", "digits"]
    assert run(["verify", str(out), *chosen]) == 0, "asked again, in the order that it was made in"
    data, model = load_data("digits", {}), prudent.load(shipped / "pruned-0.3").model
    logits = prudent.predict(model, data.certification.batches()).logits
    own = np.take_along_axis(logits, data.certification.labels[:, None], axis=1)
    rate = float(((logits >= own).sum(axis=1) > 2).mean())
    assert abs(made.empirical_risks[0] - rate) < 0.1, "the loss that was named, on some of the examples"


def test_the_order_of_anytime_cannot_be_chosen():
    """It follows from the split: who could draw again would certify what one draw does not (.285 instead of .029)."""
    from prudent.claiming import _shuffled
    from prudent.data.digits import digits

    data = load_data("digits", {})
    orders = [_shuffled(data.certification).ids.tolist() for _ in range(2)]
    assert orders[0] == orders[1] != data.certification.ids.tolist()
    assert sorted(orders[0]) == sorted(data.certification.ids.tolist())
    other = digits(seed=7).certification
    assert _shuffled(other).ids.tolist() != sorted(other.ids.tolist())


def test_anytime_certificates_are_verified_in_full(shipped, tmp_path, capsys):
    out = tmp_path / "few.json"
    assert certify(shipped, "--alpha", "0.3", "--anytime", "--out", str(out)) == 0
    certificate = prudent.verify(out)
    network = ["--network", str(shipped / certificate.names[certificate.selected])]
    capsys.readouterr()
    assert run(["verify", str(out), *network, "--data", "digits", "--json"]) == 0
    assert said(capsys)[0]["losses_that_differ"] == 0
    assert certificate.stopped


def test_an_onnx_file_with_numbers_elsewhere_is_refused(shipped, tmp_path, capsys):
    model = onnx.load(shipped / "small.onnx")
    onnx.save(model, tmp_path / "x.onnx", save_as_external_data=True, size_threshold=100, location="w.bin")
    assert run(["certify", "--onnx", str(tmp_path / "x.onnx"), "--data", "digits", "--out", str(tmp_path / "c")]) == 2
    assert "save it as one file" in capsys.readouterr().err


def test_examples_that_the_run_of_a_candidate_was_trained_on_certify_nothing(shipped, tmp_path):
    from dataclasses import replace

    from prudent.artefacts import artefact
    from prudent.claiming import check_unseen
    from prudent.data.digits import digits
    from prudent.errors import SplitMisuse

    chosen = artefact(str(shipped / "pruned-0.3"), data="digits")
    data = load_data("digits", {})
    check_unseen([chosen], data)
    check_unseen([replace(chosen, trained_on=lambda: data)], data)
    with pytest.raises(SplitMisuse, match="examples of the train split of the run"):
        check_unseen([replace(chosen, trained_on=lambda: digits(seed=7))], data)


PLANTED = """
from dataclasses import replace

from prudent.data.digits import digits


def data(split="train"):
    found = digits()
    inputs = found.certification.inputs.copy()
    inputs[:3] = found.splits[split].inputs[5:8]
    return replace(found, splits={**found.splits, "certification": replace(found.certification, inputs=inputs)})


def validation():
    return data("validation")


def certification():
    return data("certification")


def test():
    return data("test")
"""


@pytest.mark.parametrize(("name", "where"), [
    ("data", "3 are also in train"), ("validation", "3 in validation"), ("certification", "3 are there twice"),
])  # fmt: skip
@pytest.mark.parametrize("way", [[], ["--anytime"]])
def test_examples_of_ones_own_that_leaked_are_refused(shipped, tmp_path, capsys, monkeypatch, name, where, way):
    (tmp_path / "planted_leaks.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path)
    out = tmp_path / "c.json"
    arguments = ["certify", str(shipped / "pruned-0.3"), "--data", f"planted_leaks:{name}", "--alpha", "0.3", *way,
                 "--out", str(out)]  # fmt: skip
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert where in error
    assert "remove 3 of them" in error
    assert not out.exists()
    assert run([*arguments, "--tolerated", "2"]) == 2
    capsys.readouterr()
    assert run([*arguments, "--tolerated", "3", "--json"]) == 0
    assert said(capsys)["spoiled_examples"] == 3
    assert run([*arguments, "--tolerated", "3"]) == 0
    assert "certification inputs, some " in capsys.readouterr().out


def test_examples_that_are_in_the_test_split_too_are_told_and_certify(shipped, tmp_path, capsys, monkeypatch):
    (tmp_path / "planted_leaks.py").write_text(PLANTED)
    monkeypatch.syspath_prepend(tmp_path)
    given = ["--data", "planted_leaks:test", "--alpha", "0.3", "--out", str(tmp_path / "c.json")]
    assert run(["certify", str(shipped / "pruned-0.3"), *given]) == 0
    assert "some occur elsewhere: 3 in test." in capsys.readouterr().out


def test_training_examples_of_a_run_with_the_same_certification_split_are_looked_at(shipped):
    """A run that was trained on more than the data set named: its certification split is the same, its train not."""
    from dataclasses import replace

    from prudent.artefacts import artefact
    from prudent.claiming import check_unseen
    from prudent.errors import SplitMisuse

    data = load_data("digits", {})
    grown = data.train.inputs.copy()
    grown[0] = data.certification.inputs[4]
    run_data = replace(data, splits={**data.splits, "train": replace(data.train, inputs=grown)})
    assert run_data.certification.fingerprint == data.certification.fingerprint
    chosen = artefact(str(shipped / "pruned-0.3"), data="digits")
    with pytest.raises(SplitMisuse, match="1 examples of the train split of the run"):
        check_unseen([replace(chosen, trained_on=lambda: run_data)], data)


def test_names_tell_candidates_apart(shipped, tmp_path, capsys):
    import shutil

    for folder, name in (("one", "pruned-0.3"), ("two", "pruned-0.6")):
        shutil.copytree(shipped / name, tmp_path / folder / "net")
    names = [str(tmp_path / "one" / "net"), str(tmp_path / "two" / "net")]
    assert run(["certify", *names, "--data", "digits", "--alpha", "0.3", "--out", str(tmp_path / "c.json")]) == 0
    assert prudent.verify(tmp_path / "c.json").names == ("one/net", "two/net")
    assert run(["certify", names[0], names[0], "--data", "digits", "--out", str(tmp_path / "c.json")]) == 2
    assert "named twice" in capsys.readouterr().err


def test_what_the_split_was_spent_on_is_told(shipped, tmp_path, capsys):
    for alpha in ("0.2", "0.15"):
        certify(shipped, "--alpha", alpha, "--out", str(tmp_path / "c.json"))
    assert "spent on 2 claims: all of them hold together with 90" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "certify needs what ships"),
        (["mlp", "--data", "digits"], "freshly drawn weights"),
        (["--onnx", "absent.onnx"], "absent.onnx"),
        (["NET", "--risk", "disagreement"], "dense network"),
        (["NET", "--risk", "eror"], "Did you mean 'error'"),
        (["NET", "--alpha", "1.5"], "alpha lies"),
        (["NET", "--bound", "hoefding"], "Did you mean 'hoeffding'"),
        (["NET", "--procedure", "hochberg"], "refused for certificates"),
        (["NET", "--option", "k=x"], "name=number"),
        (["NET", "--risk", "top_k_error", "--option", "K=2"], "no option of top_k_error named 'K'"),
        (["NET", "--risk", "top_k_error", "--option", "k=2.5"], "k is a whole number"),
        (["NET", "--risk", "ood_acceptance"], "about strangers"),
        (["NET", "--alpha", "0.1", "--alpha", "0.2"], "as many --alpha"),
        (["NET", "--anytime", "--risk", "brier"], "anytime certification takes one risk"),
        (["NET", "--anytime", "--bound", "binomial"], "leave --bound out"),
        (["NET", "--anytime", "--procedure", "holm"], "procedure 'fixed_sequence'; got 'holm'"),
    ],
)
def test_bad_input_is_refused_in_one_line(shipped, tmp_path, capsys, arguments, message):
    given = [str(shipped / "pruned-0.3") if a == "NET" else a for a in arguments]
    known = ["--data", "digits"] if "NET" in arguments else []
    assert run(["certify", *given, *known, "--out", str(tmp_path / "c.json")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "c.json").exists()


def test_anytime_needs_the_dense_network_where_the_risk_does(shipped):
    from prudent.artefacts import artefact

    chosen = [artefact(str(shipped / "pruned-0.3"), data="digits")]
    claim = Claim(risks=("disagreement",), alphas=(0.2,), delta=0.1, bounds=("beta_mixture",))
    data = load_data("digits", {})
    with pytest.raises(BadInput, match="--dense"):
        certify_artefacts_anytime(chosen, None, data, claim)
    dense = artefact(str(shipped / "dense"), data="digits")
    certificate, _, _ = certify_artefacts_anytime(chosen, dense, data, claim)
    full, _ = certify_artefacts(chosen, dense, data, Claim(risks=("disagreement",), alphas=(0.2,), delta=0.1,
                                                           bounds=("binomial",)))  # fmt: skip
    assert certificate.selected == full.selected == 0
    assert certificate.dense == full.dense == dense.fingerprint


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--alpha", "0.05", "--delta", "0.05"], 0, "at least 59 examples"),
        (["--alpha", "0.05", "--delta", "0.05", "--n", "450"], 0, "at most 14 may be lost"),
        (["--alpha", "0.001", "--n", "450"], 3, "nothing can be certified"),
        (["--rate", "0.06"], 0, "cannot be certified by any number"),
        (["--risk", "calibration", "--alpha", "0.1", "--n", "2000"], 0, "may be at most 0.0453"),
        (["--risk", "calibration", "--rate", "0.02", "--alpha", "0.1"], 0, "937 examples"),
    ],
)
def test_plan(arguments, status, text, capsys):
    assert run(["plan", *arguments]) == status
    assert text in capsys.readouterr().out
    assert run(["plan", *arguments, "--json"]) == status
    json.loads(capsys.readouterr().out)


def test_plan_against_the_oracles(oracle, capsys):
    for name in ("min_n_a0.05_d0.05_k0",):
        vector = oracle(name)
        run(["plan", "--alpha", str(vector["inputs"]["alpha"]), "--delta", str(vector["inputs"]["delta"]), "--json"])
        assert said(capsys)["least_examples"] in vector["expected"].values()


def test_plan_says_what_it_cannot(capsys):
    assert run(["plan", "--risk", "brier", "--bound", "hoeffding"]) == 2
    assert "by the bound 'betting' alone" in capsys.readouterr().err


@pytest.fixture
def certified(tmp_path, shipped):
    out = tmp_path / "c.json"
    dense = ["--dense", str(shipped / "dense")]
    assert (
        certify(shipped, "--risk", "disagreement", "--alpha", "0.1", "--delta", "0.1", *dense, "--out", str(out)) == 0
    )
    return out


def lines(path, rate, n, *, seed=0):
    draws = np.random.default_rng(seed).random(n) < rate
    path.write_text("".join(json.dumps({"prediction": 1, "dense": 2 if lost else 1}) + "\n" for lost in draws))
    return str(path)


def test_monitor_goes_on_where_it_stopped_and_calls(certified, tmp_path, capsys):
    quiet, loud = lines(tmp_path / "q", 0.03, 500), lines(tmp_path / "l", 0.4, 300, seed=1)
    assert run(["monitor", str(certified), quiet]) == 0
    assert run(["monitor", str(certified), quiet, "--again", "--json"]) == 0
    out = capsys.readouterr().out
    assert json.loads(out[out.index("{") :])["examples"] == 1000
    assert run(["monitor", str(certified), loud, "--every", "7"]) == 3
    out = capsys.readouterr().out
    assert out.count("ALARM") == 1
    assert "no longer true that at most 10\u202f% of predictions differ" in out
    assert run(["monitor", str(certified), quiet, "--again"]) == 3, "once raised, the alarm stays"


def test_monitor_refuses_a_file_that_it_has_counted_also_when_it_has_grown(certified, tmp_path, capsys):
    def watched():
        return json.loads(certified.with_name("c.monitor.json").read_text())["monitor"]["n"]

    first, copy = lines(tmp_path / "a", 0.03, 1500), tmp_path / "copy"
    assert run(["monitor", str(certified), first]) == 0
    copy.write_bytes((tmp_path / "a").read_bytes())
    assert run(["monitor", str(certified), str(copy)]) == 2
    assert "the first 1,500 lines of" in capsys.readouterr().err
    with copy.open("a") as file:
        file.write('{"loss": 0}\n')
    assert run(["monitor", str(certified), str(copy)]) == 2, "a log that has grown"
    assert "give the new ones only" in capsys.readouterr().err
    assert watched() == 1500
    assert run(["monitor", str(certified), str(copy), "--again"]) == 0
    assert watched() == 3001
    small, grown = tmp_path / "small", tmp_path / "grown"
    small.write_text('{"loss": 0}\n' * 3)
    grown.write_text('{"loss": 0}\n' * 4)
    assert run(["monitor", str(certified), str(small)]) == 0
    assert run(["monitor", str(certified), str(grown)]) == 0, "short streams begin alike by chance"
    assert run(["monitor", str(certified), str(small)]) == 2
    broken = tmp_path / "broken"
    broken.write_text('{"loss": 0}\n' * 2 + "{}\n")
    assert run(["monitor", str(certified), str(broken)]) == 2
    assert watched() == 3010, "what came before the bad line"
    assert run(["monitor", str(certified), str(broken)]) == 2
    assert watched() == 3010


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_monitor_knows_how_much_of_a_file_it_has_counted(certified, tmp_path, capsys, end):
    """A bad line in the middle: the corrected file is not counted twice, and its rest is not lost."""
    good = ['{"prediction": 1, "dense": 1}', "", '{"prediction": 2, "dense": 2}'] * 30
    file, rest, place = tmp_path / "q", tmp_path / "rest", certified.with_name("c.monitor.json")

    def watched():
        return json.loads(place.read_text())["monitor"]["n"]

    file.write_bytes(end.join([*good[:50], '{"prediction": 3}', *good[50:]]).encode())
    assert run(["monitor", str(certified), str(file), "--every", "8"]) == 2
    counted = sum(map(bool, good[:50]))
    assert watched() == counted
    file.write_bytes(end.join(good).encode())
    capsys.readouterr()
    assert run(["monitor", str(certified), str(file)]) == 2
    assert "the first 50 lines of" in capsys.readouterr().err
    assert watched() == counted
    rest.write_bytes(end.join(good[50:]).encode())
    assert run(["monitor", str(certified), str(rest)]) == 0
    assert watched() == sum(map(bool, good))


def test_monitor_that_was_killed_says_how_much_it_had_counted(certified, tmp_path, capsys, monkeypatch):
    import prudent.monitoring

    file, calls, watch = lines(tmp_path / "q", 0.03, 500), [], prudent.monitoring.watch

    def killed(now, losses):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return watch(now, losses)

    monkeypatch.setattr(prudent.monitoring, "watch", killed)
    assert run(["monitor", str(certified), file]) != 0
    monkeypatch.undo()
    capsys.readouterr()
    assert run(["monitor", str(certified), file]) == 2
    assert "the first 200 lines of" in capsys.readouterr().err


def test_monitor_goes_on_with_a_watch_of_an_earlier_version(certified, tmp_path):
    place = certified.with_name("c.monitor.json")
    file = lines(tmp_path / "a", 0.03, 20)
    assert run(["monitor", str(certified), file]) == 0
    state = json.loads(place.read_text())
    del state["files"]
    place.write_text(json.dumps(state))
    assert run(["monitor", str(certified), file]) == 0
    assert json.loads(place.read_text())["monitor"]["n"] == 40


def test_monitor_gives_what_the_library_gives(certified, tmp_path):
    from prudent.monitoring import Monitor, monitor_from_json, watch

    file = lines(tmp_path / "q", 0.08, 350)
    run(["monitor", str(certified), file, "--every", "33"])
    losses = np.array([float(json.loads(t)["dense"] == 2) for t in (tmp_path / "q").read_text().splitlines()])
    kept = json.loads(certified.with_name("c.monitor.json").read_text())["monitor"]
    direct = watch(Monitor(alpha=0.1, delta=0.1), losses)
    assert monitor_from_json(json.dumps(kept)).log_evidence == pytest.approx(direct.log_evidence, rel=1e-10)


def test_two_monitors_of_one_state_and_states_that_were_edited_are_refused(certified, tmp_path, capsys):
    from prudent.watching import _alone

    quiet, place = lines(tmp_path / "q", 0.0, 10), tmp_path / "w.json"
    monitor = ["monitor", str(certified), quiet, "--state", str(place)]
    with _alone(place):
        assert run(monitor) == 2
    assert "another monitor is running" in capsys.readouterr().err
    assert run(monitor) == 0
    state = json.loads(place.read_text())
    state["monitor"]["alpha"] = 0.9
    place.write_text(json.dumps(state))
    assert run(monitor) == 2
    assert "was changed" in capsys.readouterr().err
    assert run(["verify", str(certified.parent)]) == 0 or "w.json" in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    ['{"prediction": 3, "dense": null}', '{"prediction": "3", "dense": 3}', '{"prediction": null, "dense": null}'],
)
def test_classes_of_different_kinds_are_no_losses(certified, tmp_path, capsys, line):
    (tmp_path / "q").write_text(line + "\n")
    assert run(["monitor", str(certified), str(tmp_path / "q")]) == 2
    assert "both be whole numbers" in capsys.readouterr().err


def test_what_came_before_an_interrupt_is_counted():
    from prudent.watching import _cut

    def stream():
        yield from ["a\n", "b\n", "c\n"]
        raise KeyboardInterrupt

    found = []
    with pytest.raises(KeyboardInterrupt):
        for chunk in _cut(stream(), 2):
            found += chunk
    assert found == ["a\n", "b\n", "c\n"]


def test_monitor_counts_what_came_before_a_bad_line(certified, tmp_path, capsys):
    file = tmp_path / "q"
    file.write_text('{"prediction": 1, "dense": 1}\n\n{"loss": 0}\n{"prediction": 2}\n{"loss": 0}\n')
    assert run(["monitor", str(certified), str(file)]) == 2
    assert "example 3 of the stream" in capsys.readouterr().err
    assert json.loads(certified.with_name("c.monitor.json").read_text())["monitor"]["n"] == 2
    file.write_text('{"loss": 1.5}\n')
    assert run(["monitor", str(certified), str(file)]) == 2
    assert "outside of the risk's range" in capsys.readouterr().err


def test_monitor_refuses_the_state_of_another_certificate(certified, shipped, tmp_path, capsys):
    other = tmp_path / "other.json"
    certify(shipped, "--alpha", "0.3", "--out", str(other))
    quiet = lines(tmp_path / "q", 0.0, 10)
    assert run(["monitor", str(certified), quiet, "--state", str(tmp_path / "w.json")]) == 0
    assert run(["monitor", str(other), quiet, "--state", str(tmp_path / "w.json")]) == 2
    assert "watch of another certificate" in capsys.readouterr().err
    assert run(["monitor", str(certified), quiet, "--state", str(tmp_path / "w.json"), "--delta", "0.01"]) == 2
    (tmp_path / "w.json").write_text("{")
    assert run(["monitor", str(certified), quiet, "--state", str(tmp_path / "w.json")]) == 2
    assert run(["monitor", str(certified), str(tmp_path / "absent")]) == 2


def test_a_path_of_one_shot_masks_is_made_one_at_a_time(shipped, monkeypatch):
    """Twenty candidates of one network: what is certified is what predicting all of them certifies."""
    from prudent import artefacts
    from prudent.identity import identity

    data, dense = load_data("digits", {}), prudent.load(shipped / "dense")
    sparsities = [0.05 * k for k in range(20)]
    path = artefacts.one_shot_path(dense, sparsities)
    alive, most = set(), []
    original = artefacts.prune

    def counting(*given, **options):
        pruned = original(*given, **options)
        alive.add(id(pruned.model))
        weakref.finalize(pruned.model, alive.discard, id(pruned.model))
        most.append(len(alive))
        return pruned

    monkeypatch.setattr(artefacts, "prune", counting)
    claim = Claim(risks=("error",), alphas=(0.2,), delta=0.05, bounds=("binomial",))
    certificate, _ = certify_artefacts(path, None, data, claim)
    assert len(most) == 20
    assert max(most) <= 2, "the one before may still be going when the next is made"
    each = [prudent.prune(dense, sparsity=s) for s in sparsities]
    preds = [prudent.predict(p.model, data.certification.batches()) for p in each]
    table = prudent.losses(preds, sparsities=[p.sparsity for p in each], names=list(certificate.names))
    assert prudent.certify(table, alpha=0.2, delta=0.05) == certificate
    assert certificate.models[3] == identity(each[3].model)
    anytime, _, used = certify_artefacts_anytime(path, None, data, replace(claim, bounds=("group_sequential",)))
    assert used < 20 * len(data.certification) / 4
    assert certificate.selected - anytime.selected in (0, 1, 2)
    with pytest.raises(BadInput, match="ascending"):
        artefacts.one_shot_path(dense, [0.5, 0.2])
