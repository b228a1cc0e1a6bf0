"""Pareto tests, families and cascades as files: written, verified, and refused after any change."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import beta, binom

from prudent.cascades import ServedTable, Thresholds, certify_cascade, served_table
from prudent.certificate_documents import digest
from prudent.certificates import verify, write_certificate
from prudent.certification import certify
from prudent.claim_files import (
    certified_fingerprint,
    verify_claim,
    write_cascade,
    write_family,
    write_pareto,
)
from prudent.cli import run
from prudent.errors import BadInput, BrokenCertificate, PrudentError, SplitMisuse, UnknownName
from prudent.families import certify_family, certify_family_on_average
from prudent.pareto import certify_pareto
from prudent.spending import spent
from prudent.types import Losses
from tests.test_cascades import pair
from tests.test_certificates import changed, leaves, put
from tests.test_certification import table

N = 300


def nested(counts, *, split="certification", **about):
    """Losses of 0 and 1 that never fall from a candidate to a bolder one."""
    values = (np.arange(N)[:, None] < np.array(counts)).astype(float)
    names = tuple(f"t{i}" for i in range(len(counts)))
    models = tuple("abcdef"[: len(counts)])
    return Losses(values=values, names=names, sparsities=(0.0,) * len(counts), loss="error", split=split, data="d" * 64,
                  models=models, **about)  # fmt: skip


def a_pareto(folder):
    counts = {"error": [2, 6, 9, 60], "disagreement": [9, 5, 8, 3]}
    choice, certification = (
        [
            replace(table(c, N, loss=loss), split=split, data=split[0] * 64, models=tuple("abcd"), names=tuple("wxyz"))
            for loss, c in counts.items()
        ]
        for split in ("validation", "certification")
    )
    claim = certify_pareto(choice, certification, alphas=[0.08, 0.09], delta=0.1, bound="binomial")
    assert claim.selected is not None
    return claim, write_pareto(claim, choice, certification, folder / "claim.json")


def a_family(folder):
    losses = nested([2, 5, 9, 40])
    claim = certify_family(losses, alpha=0.06, delta=0.1)
    return claim, write_family(claim, losses, folder / "claim.json")


def an_average(folder):
    losses = nested([2, 5, 9, 40])
    claim = certify_family_on_average(losses, alpha=0.035)
    return claim, write_family(claim, losses, folder / "claim.json")


def a_cascade(folder):
    rng = np.random.default_rng(0)
    gaps = rng.exponential(size=N)
    small, dense = pair(gaps, rng.random(N) < np.exp(-3 * gaps) / 2, data="d" * 64, small="s" * 64, dense="e" * 64)
    thresholds = Thresholds(values=(9.0, 1.0, 0.5, 0.0), data="c" * 64)
    claim = certify_cascade(Thresholds(values=(1.0, 0.5, 0.0), data="c" * 64), small, dense, alpha=0.1, delta=0.1)
    assert claim.selected is not None
    claim = certify_cascade(thresholds, small, dense, alpha=0.1, delta=0.1)
    assert np.isnan(claim.p_values[0])
    return claim, write_cascade(claim, served_table(small, dense), folder / "claim.json")


MADE = [a_pareto, a_family, an_average, a_cascade]


@pytest.fixture(params=MADE)
def written(request, tmp_path):
    return request.param(tmp_path)


def test_verify_gives_the_claim_back(written):
    claim, path = written
    found = verify_claim(path)
    assert type(found) is type(claim)
    # repr: an undefined p-value is equal to nothing
    assert repr(found) == repr(claim)
    document = json.loads(path.read_text())
    assert document["claim"] == claim.sentence()
    assert document["split"]["sha256"] == claim.data
    assert len(document["assumptions"]) >= 3


def test_every_single_edit_is_refused_with_its_hash_right_or_wrong(written):
    _, path = written
    original = path.read_text()
    everything = list(leaves(json.loads(original)))
    assert len(everything) > 30
    for at in everything:
        edited = json.loads(original)
        inner = edited
        for key in at:
            inner = inner[key]
        put(edited, at, changed(inner))
        path.write_text(json.dumps(edited))
        with pytest.raises(PrudentError):
            verify_claim(path)
        if at[-1] in ("made_by",) or at == ("sha256",):
            continue
        path.write_text(json.dumps(edited | {"sha256": digest(edited)}))
        with pytest.raises(PrudentError) as refusal:
            verify_claim(path)
        assert len(str(refusal.value).splitlines()) == 1
    path.write_text(original)
    verify_claim(path)


@pytest.mark.parametrize("value", [None, "x", [], {}, -1, 1e400, [[]]])
def test_odd_values_are_refused_in_one_line(written, value):
    _, path = written
    original = json.loads(path.read_text())
    for name in original:
        if name in ("sha256", "made_by"):
            continue
        for edited in (original | {name: value}, {k: v for k, v in original.items() if k != name}):
            try:
                edited = edited | {"sha256": digest(edited)}
            except PrudentError:
                continue  # what JSON does not have
            path.write_text(json.dumps(edited))
            with pytest.raises(PrudentError) as refusal:
                verify_claim(path)
            assert len(str(refusal.value).splitlines()) == 1


def test_a_row_that_is_moved_a_file_that_is_changed_or_gone_and_one_elsewhere(written, tmp_path):
    _, path = written
    document = json.loads(path.read_text())
    file = path.with_name(document["stored"][0]["file"])
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(BrokenCertificate, match="sha256 does not match"):
        verify_claim(path)
    file.unlink()
    with pytest.raises(PrudentError, match="cannot read"):
        verify_claim(path)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / file.name).write_bytes(content)
    document["stored"][0]["file"] = f"other/{file.name}"
    path.write_text(json.dumps(document | {"sha256": digest(document)}))
    with pytest.raises(BadInput, match="lie beside it"):
        verify_claim(path)


def test_other_losses_with_every_hash_right_are_refused(tmp_path):
    """Losses of another study, renamed: the claim does not follow from them."""
    _, path = a_family(tmp_path)
    (tmp_path / "two").mkdir()
    other = nested([2, 5, 10, 40])
    write_family(certify_family(other, alpha=0.06, delta=0.1), other, tmp_path / "two" / "claim.json")
    theirs = json.loads((tmp_path / "two" / "claim.json").read_text())
    shutil.copy(tmp_path / "two" / "claim.losses-1.safetensors", tmp_path)
    edited = json.loads(path.read_text()) | {"stored": theirs["stored"]}
    path.write_text(json.dumps(edited | {"sha256": digest(edited)}))
    with pytest.raises(BrokenCertificate, match="its numbers give"):
        verify_claim(path)


def test_the_ledger_counts_each_claim_once(tmp_path):
    for _ in range(2):
        a_family(tmp_path)
    assert (spent(tmp_path, "d" * 64).claims, spent(tmp_path, "d" * 64).delta) == (1, 0.1)
    an_average(tmp_path)
    assert (spent(tmp_path, "d" * 64).claims, spent(tmp_path, "d" * 64).delta) == (2, 0.1), "an average has no delta"
    a_cascade(tmp_path)
    assert spent(tmp_path, "d" * 64).claims == 3


def test_a_claim_that_its_numbers_do_not_support_is_never_written(tmp_path):
    losses = nested([2, 5, 9, 40])
    claim = certify_family(losses, alpha=0.06, delta=0.1)
    for better in (replace(claim, selected=3), replace(claim, alpha=0.02), replace(claim, method="crc")):
        with pytest.raises(PrudentError):
            write_family(better, losses, tmp_path / "c.json")
    small, dense = pair(np.ones(50), np.zeros(50))
    cascade = certify_cascade(Thresholds(values=(0.5,)), small, dense, alpha=0.1, delta=0.1)
    with pytest.raises(BrokenCertificate):
        write_cascade(replace(cascade, disagreements=(1,)), served_table(small, dense), tmp_path / "c.json")
    assert list(tmp_path.iterdir()) == []


def test_a_bound_of_ones_own_cannot_be_verified_and_is_not_written(tmp_path):
    tables = [replace(table([1, 2], 90), split=split) for split in ("validation", "certification")]
    claim = certify_pareto(tables[:1], tables[1:], alphas=[0.1], delta=0.1, bound=lambda losses, alpha: 0.01)
    with pytest.raises(UnknownName):
        write_pareto(claim, tables[:1], tables[1:], tmp_path / "c.json")


def test_each_reader_names_the_other(tmp_path):
    _, path = a_family(tmp_path)
    with pytest.raises(BadInput, match="verify_claim checks it"):
        verify(path)
    (tmp_path / "no.json").write_text("{}")
    with pytest.raises(BadInput, match="no certificate"):
        verify_claim(tmp_path / "no.json")


def test_the_network_that_is_claimed_is_known_by_its_hash(tmp_path):
    assert [certified_fingerprint(make(tmp_path)[0]) for make in (a_family, an_average)] == ["c", "c"]
    pareto, _ = a_pareto(tmp_path)
    assert certified_fingerprint(pareto) == "abcd"[pareto.selected]
    cascade, _ = a_cascade(tmp_path)
    with pytest.raises(BadInput, match="certifies no network"):
        certified_fingerprint(cascade)
    assert certified_fingerprint(replace(cascade, selected=1)) == "s" * 64
    with pytest.raises(BadInput, match="does not say which"):
        certified_fingerprint(replace(pareto, models=()))


def test_the_command_verifies_every_kind_and_tells_what_the_ledger_knows(tmp_path, capsys):
    for i, make in enumerate(MADE):
        (tmp_path / str(i)).mkdir()
        make(tmp_path / str(i))
        assert run(["verify", str(tmp_path / str(i))]) == 0
        assert "the ledger beside it knows of no other claim on its examples" in capsys.readouterr().out
    losses = table([1, 2, 40], 450)
    (tmp_path / "both").mkdir()
    write_certificate(certify(losses, alpha=0.05, delta=0.05), losses, tmp_path / "both" / "walk.json")
    for alpha in (0.06, 0.05):
        stranger = replace(nested([2, 5]), data=losses.data)
        write_family(certify_family(stranger, alpha=alpha, delta=0.1), stranger, tmp_path / "both" / "family.json")
    assert run(["verify", str(tmp_path / "both")]) == 0
    out = capsys.readouterr().out
    assert out.count("verified") == 2
    # one was overwritten, and counts
    assert out.count("knows of 3 claims on its examples: all of them hold together with 75\u202f% confidence") == 2
    assert run(["verify", str(tmp_path / "both"), "--json"]) == 0
    assert [(said["claims"], said["delta_spent"]) for said in json.loads(capsys.readouterr().out)] == [(3, 0.25)] * 2
    (tmp_path / "both" / "spending.jsonl").unlink()
    assert run(["verify", str(tmp_path / "both" / "walk.json")]) == 0
    assert "no ledger beside it knows its examples" in capsys.readouterr().out
    family = tmp_path / "both" / "family.json"
    assert run(["verify", str(family), "--counts"]) == 2
    assert "leave --counts" in capsys.readouterr().err
    family.write_text(family.read_text().replace('"alpha": 0.05', '"alpha": 0.04'))
    assert run(["verify", str(family)]) == 2
    assert "was changed after it was written" in capsys.readouterr().err


def test_a_family_by_its_definition():
    rng = np.random.default_rng(2)
    chosen = set()
    stopped = certify_family(nested([2, 40, 3]), alpha=0.06, delta=0.1)
    assert stopped.limits[2] < 0.06 < stopped.limits[1]
    assert stopped.selected == 0, "what lies behind one that is not controlled is never reached"
    for _ in range(60):
        counts = np.sort(rng.integers(0, 25, 5))
        losses = nested(counts)
        found = certify_family(losses, alpha=0.06, delta=0.1)
        upper = beta.ppf(0.9, counts + 1, N - counts)
        assert found.limits == pytest.approx(upper, rel=1e-9)
        expected = None
        for j, u in enumerate(upper):
            if u > 0.06:
                break
            expected = j
        assert found.selected == expected
        average = certify_family_on_average(losses, alpha=0.035)
        assert average.limits == pytest.approx((counts + 1) / (N + 1))
        safe = [j for j in range(5) if counts[j] + 1 <= 0.035 * (N + 1)]
        assert average.selected == (safe[-1] if safe else None)
        chosen |= {expected, average.selected}
    assert len(chosen) > 3


def test_a_family_is_wrong_no_more_often_than_delta():
    """One candidate whose risk is just above alpha, all counts enumerated."""
    alpha, delta = 0.06, 0.1
    wrong = [certify_family(nested([k]), alpha=alpha, delta=delta).selected is not None for k in range(40)]
    assert 0.05 < binom.pmf(np.arange(40), N, alpha)[wrong].sum() <= delta


def test_words():
    assert certify_family(nested([2, 40]), alpha=0.06, delta=0.1).sentence() == (
        "With 90\u202f% confidence, at most 6\u202f% of predictions are wrong for 't0'."
    )
    assert certify_family(nested([40, 41]), alpha=0.06, delta=0.1).sentence() == (
        "Nothing certified: with 300 examples, for none of 2 candidates could it be shown that at most 6\u202f% of "
        "predictions are wrong."
    )
    assert certify_family_on_average(nested([2]), alpha=0.06).sentence() == (
        "On average over all draws of 300 certification examples, at most 6\u202f% of predictions are wrong for the "
        "candidate that is selected, here 't0'; with the examples at hand it may be more."
    )


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"split": "test"}, {}, "certification"),
        ({"high": 2.0}, {}, "another range"),
        ({"counted": np.ones((N, 2), bool), "group": "g"}, {}, "another range"),
        ({"stopped": True}, {}, "stopped"),
        ({}, {"alpha": 0.0}, "alpha lies"),
        ({}, {"delta": 1.0}, "delta lies"),
        ({}, {"bound": "binomal"}, "binomial"),
    ],
)
def test_families_refuse(change, options, message):
    losses = replace(nested([1, 2]), **change)
    with pytest.raises((BadInput, SplitMisuse, UnknownName), match=message):
        certify_family(losses, **({"alpha": 0.1, "delta": 0.1} | options))
    if change:
        with pytest.raises((BadInput, SplitMisuse), match=message):
            certify_family_on_average(losses, alpha=0.1)


def test_averages_refuse_losses_that_fall():
    with pytest.raises(BadInput, match="never fall"):
        certify_family_on_average(nested([3, 2]), alpha=0.1)


@pytest.mark.parametrize("margins", [[], [-1.0, 2.0], [np.nan, 1.0]])
def test_tables_of_served_examples_refuse(margins):
    with pytest.raises(BadInput, match="margins"):
        ServedTable(margins=np.array(margins), differs=np.zeros(2 if margins else 0, bool))
