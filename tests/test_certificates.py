"""Certificates as files: written, verified, and refused after any change."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from prudent.archive import losses_from_bytes, losses_to_bytes, predictions_from_bytes, predictions_to_bytes
from prudent.certificate_documents import digest, document
from prudent.certificates import losses_of, verify, write_certificate
from prudent.certification import certify
from prudent.errors import BadInput, BrokenCertificate, PrudentError
from prudent.network import fingerprint
from prudent.spending import Spending, spent
from prudent.types import Losses
from tests.conftest import chain, predictions
from tests.test_certification import table


@pytest.fixture
def written(tmp_path):
    losses = table([1, 2, 40], 450, loss="disagreement")
    certificate = certify(losses, alpha=0.05, delta=0.05)
    return write_certificate(certificate, losses, tmp_path / "claim.json"), certificate


def test_verify_gives_the_certificate_back(written):
    path, certificate = written
    assert verify(path) == certificate
    assert verify(str(path)) == certificate


def test_the_file_says_everything(written):
    document = json.loads(written[0].read_text())
    assert document["claim"] == written[1].sentence()
    assert [c["result"] for c in document["candidates"]] == ["passed", "passed", "stopped"]
    assert [c["losses"] for c in document["candidates"]] == [1, 2, 40]
    assert document["selected"] == 1
    assert len(document["assumptions"]) == 4
    for key in ("risk", "alpha", "delta", "n", "bound", "procedure", "order", "split", "dense", "sha256", "made_by"):
        assert key in document


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    else:
        yield path


def changed(value):
    if isinstance(value, bool) or value is None:
        return 0
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value * 0.5 + 0.001
    return value + "x"


def put(document, path, value):
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = value


def test_every_single_edit_is_refused(written):
    path, _ = written
    original = path.read_text()
    document = json.loads(original)
    everything = list(leaves(document))
    assert len(everything) > 40
    for at in everything:
        edited = json.loads(original)
        inner = edited
        for key in at:
            inner = inner[key]
        put(edited, at, changed(inner))
        path.write_text(json.dumps(edited))
        with pytest.raises(PrudentError):
            verify(path)
    path.write_text(original)
    verify(path)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("selected",), 2),
        (("alpha",), 0.01),
        (("candidates", 2, "losses"), 4),
        (("claim",), "All is well."),
        (("n",), 900),
        (("assumptions",), []),
        (("candidates", 2, "result"), "passed"),
        (("needed",), "Nothing."),
        (("order",), "any"),
        (("split", "name"), "train"),
        (("extra",), 1),
        (("prudent_certificate",), -7),
    ],
)
def test_edits_with_a_recomputed_hash_are_refused_too(written, at, value):
    _hash = digest

    path, _ = written
    document = json.loads(path.read_text())
    put(document, at, value)
    path.write_text(json.dumps(document | {"sha256": _hash(document)}))
    with pytest.raises(PrudentError):
        verify(path)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("alpha",), "0.05"),
        (("alpha",), None),
        (("delta",), []),
        (("n",), None),
        (("selected",), "1"),
        (("selected",), 99),
        (("candidates",), {}),
        (("candidates",), []),
        (("candidates", 0, "p_value"), None),
        (("candidates", 0, "p_value"), "0.01"),
        (("candidates", 0), None),
        (("candidates", 0, "empirical_risk"), []),
        (("bound",), ["binomial"]),
        (("losses", "file"), "x\0.json"),
        (("losses", "file"), ""),
        (("losses",), []),
        (("split",), None),
        (("claim",), None),
        (("models",), 3),
    ],
)
def test_odd_values_with_a_recomputed_hash_are_refused_in_one_line(written, at, value):
    _hash = digest

    path, _ = written
    document = json.loads(path.read_text())
    put(document, at, value)
    path.write_text(json.dumps(document | {"sha256": _hash(document)}))
    with pytest.raises(PrudentError) as refusal:
        verify(path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("key", ["claim", "candidates", "losses", "alpha", "needed", "assumptions"])
def test_a_missing_key_is_refused_in_one_line(written, key):
    _hash = digest

    path, _ = written
    document = json.loads(path.read_text())
    del document[key]
    path.write_text(json.dumps(document | {"sha256": _hash(document)}))
    with pytest.raises(PrudentError):
        verify(path)


def test_brackets_without_end_are_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text('{"prudent_certificate": ' + "[" * 200_000 + "]" * 200_000 + "}")
    with pytest.raises(BadInput, match="no certificate"):
        verify(path)


@pytest.mark.parametrize("key", ["claim", "alpha", "selected"])
def test_a_key_that_occurs_twice_is_refused(written, key):
    path, _ = written
    # a person reads the first, a parser takes the last: the hash of what was parsed is still right
    path.write_text(path.read_text().replace("{", f'{{"{key}": 0.001, ', 1))
    with pytest.raises(BrokenCertificate, match=f"'{key}' twice"):
        verify(path)


def test_the_network_is_compared_bit_by_bit(tmp_path):
    networks = [chain() for _ in range(3)]
    for i, network in enumerate(networks):
        with torch.no_grad():
            network[0].bias += i
    models = [fingerprint(network) for network in networks]
    losses = replace(table([1, 2, 40], 450), models=tuple(models))
    path = write_certificate(certify(losses, alpha=0.05, delta=0.05), losses, tmp_path / "c.json")
    assert verify(path, network=networks[1]).selected == 1
    for other in (networks[0], networks[2]):
        with pytest.raises(BrokenCertificate, match="not the network"):
            verify(path, network=other)
    nothing = replace(table([400], 450), models=(models[0],))
    path = write_certificate(certify(nothing, alpha=0.05, delta=0.05), nothing, tmp_path / "n.json")
    with pytest.raises(BadInput, match="certifies no network"):
        verify(path, network=networks[0])


def test_changed_losses_are_refused(written):
    path, _ = written
    beside = path.with_name("claim.losses.safetensors")
    content = bytearray(beside.read_bytes())
    content[-1] ^= 1
    beside.write_bytes(content)
    with pytest.raises(BrokenCertificate, match="was changed"):
        verify(path)
    beside.unlink()
    with pytest.raises(PrudentError, match="cannot read"):
        verify(path)


def test_losses_elsewhere_are_refused(written, tmp_path):
    _hash = digest

    path, _ = written
    document = json.loads(path.read_text())
    document["losses"]["file"] = "../claim.losses.safetensors"
    path.write_text(json.dumps(document | {"sha256": _hash(document)}))
    with pytest.raises(BadInput, match="lie beside it"):
        verify(path)


def test_both_files_can_be_moved_together(written, tmp_path):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("claim.json", "claim.losses.safetensors"):
        shutil.move(written[0].with_name(name), folder / name)
    verify(folder / "claim.json")


@pytest.mark.parametrize(
    "text", ["", "no json", "[]", "{}", '{"prudent_certificate": 1}', '{"prudent_certificate": 99}']
)
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(PrudentError):
        verify(path)


def test_a_certificate_that_its_losses_do_not_support_is_never_written(tmp_path):
    good = certify(table([1, 2, 40], 450), alpha=0.05, delta=0.05)
    with pytest.raises(BrokenCertificate):
        write_certificate(good, table([1, 20, 40], 450), tmp_path / "x.json")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("bound", ["binomial", "hoeffding_bentkus"])
def test_losses_between_0_and_1_survive(tmp_path, bound):
    losses = table([1, 5], 200)
    if bound == "hoeffding_bentkus":
        object.__setattr__(losses, "values", losses.values * 0.3)
        losses.__dict__.pop("binary", None)
        losses.__dict__.pop("counts", None)
    certificate = certify(losses, alpha=0.1, delta=0.1, bound=bound)
    assert verify(write_certificate(certificate, losses, tmp_path / "c.json")) == certificate


def test_archives_are_exact_and_repeatable():
    for p in (predictions(), predictions(members=3)):
        content = predictions_to_bytes(p)
        assert content == predictions_to_bytes(p)
        back = predictions_from_bytes(content)
        np.testing.assert_array_equal(back.logits, p.logits)
        np.testing.assert_array_equal(back.labels, p.labels)
        assert (back.split, back.data, back.model) == (p.split, p.data, p.model)
    losses = table([1, 2], 30)
    back = losses_from_bytes(losses_to_bytes(losses))
    np.testing.assert_array_equal(back.values, losses.values)
    assert (back.names, back.sparsities, back.loss) == (losses.names, losses.sparsities, losses.loss)


@pytest.mark.parametrize("content", [b"", b"12345678", b"\x00" * 100])
def test_archives_refuse_other_bytes(content):
    with pytest.raises(PrudentError, match="safetensors"):
        predictions_from_bytes(content)


def paired_tables():
    """Two risks of two candidates: one signed, one conditional with an option."""
    rng = np.random.default_rng(5)
    about = {"names": ("a", "b"), "sparsities": (0.1, 0.2), "split": "certification", "data": "d", "models": ("x", "y")}
    drop = Losses(values=rng.choice([0.0, 0.5, 1.0], (300, 2), p=[0.05, 0.9, 0.05]), loss="accuracy_drop", low=-1.0,
                  dense="z", **about)  # fmt: skip
    counted = rng.random((300, 2)) < 0.8
    served = Losses(values=np.where(counted, rng.random((300, 2)) < 0.01, 0.0), loss="selective_error", counted=counted,
                    options=(("threshold", 0.9),), **about)  # fmt: skip
    return [drop, served]


def test_a_claim_about_several_risks_is_written_and_verified(tmp_path):
    tables = paired_tables()
    certificate = certify(tables, alpha=[0.1, 0.05], delta=0.1, bound=["betting", "binomial"])
    assert certificate.selected == 1
    path = write_certificate(certificate, tables, tmp_path / "both.json")
    assert {p.name for p in tmp_path.iterdir()} == {
        "both.json", "both.losses-1.safetensors", "both.losses-2.safetensors", "spending.jsonl",
    }  # fmt: skip
    assert verify(path) == certificate
    document = json.loads(path.read_text())
    assert "The threshold was chosen on other examples." in document["assumptions"]
    assert [part["risk"] for part in document["parts"]] == ["accuracy_drop", "selective_error"]
    again = losses_of(path)
    for before, after in zip(tables, again, strict=True):
        np.testing.assert_array_equal(before.values, after.values)
        assert (before.low, before.options, before.sizes) == (after.low, after.options, after.sizes)


@pytest.mark.parametrize("edit", ["alpha", "threshold", "count", "part"])
def test_no_part_of_it_can_be_edited(tmp_path, edit):
    tables = paired_tables()
    certificate = certify(tables, alpha=[0.1, 0.05], delta=0.1, bound=["betting", "binomial"])
    path = write_certificate(certificate, tables, tmp_path / "both.json")
    document = json.loads(path.read_text())
    if edit == "alpha":
        document["parts"][1]["alpha"] = 0.01
    elif edit == "threshold":
        document["parts"][1]["options"] = {"threshold": 0.5}
    elif edit == "count":
        document["parts"][1]["candidates"][0]["losses"] += 1
    else:
        document["parts"] = document["parts"][:1]
        document["losses"] = document["losses"][:1]
    document["sha256"] = digest(document)
    path.write_text(json.dumps(document))
    with pytest.raises((BrokenCertificate, BadInput)):
        verify(path)


def test_other_procedures_are_written_and_verified(tmp_path):
    rng = np.random.default_rng(6)
    table = Losses(values=(rng.random((200, 4)) < 0.02).astype(float), names=("a", "b", "c", "d"), loss="error",
                   sparsities=(0.1, 0.2, 0.3, 0.4), split="certification", data="d")  # fmt: skip
    for procedure, settings in (("holm", {}), ("fixed_sequence_starts", {"starts": [0, 2]}),
                                ("graphical", {"weights": [0.25] * 4})):  # fmt: skip
        certificate = certify(table, alpha=0.1, delta=0.1, procedure=procedure, settings=settings)
        path = write_certificate(certificate, table, tmp_path / f"{procedure}.json")
        assert verify(path) == certificate
        assert verify(path, level="counts") == certificate


def test_counts_alone_find_a_changed_p_value_and_refuse_what_they_cannot_show(tmp_path):
    values = np.zeros((100, 1))
    values[:3] = 1.0
    table = Losses(values=values, names=("a",), sparsities=(0.1,), loss="error", split="certification", data="d")
    path = write_certificate(certify(table, alpha=0.1, delta=0.1), table, tmp_path / "one.json")
    (tmp_path / "one.losses.safetensors").unlink()
    assert verify(path, level="counts").counts == (3,)
    document = json.loads(path.read_text())
    document["candidates"][0]["losses"] = 2
    document["sha256"] = digest(document)
    path.write_text(json.dumps(document))
    with pytest.raises(BrokenCertificate, match="p_values|empirical_risks"):
        verify(path, level="counts")
    tables = paired_tables()
    both = certify(tables, alpha=[0.1, 0.05], delta=0.1, bound=["betting", "binomial"])
    with pytest.raises(BadInput, match="counts alone cannot show"):
        verify(write_certificate(both, tables, tmp_path / "both.json"), level="counts")


def test_what_a_split_was_spent_on_is_counted_once_for_each_claim(tmp_path):
    values = np.zeros((100, 1))
    table = Losses(values=values, names=("a",), sparsities=(0.1,), loss="error", split="certification", data="d")
    for alpha, delta in ((0.1, 0.1), (0.1, 0.1), (0.05, 0.1), (0.1, 0.02)):
        # the same file is overwritten: what was claimed before is not forgotten
        write_certificate(certify(table, alpha=alpha, delta=delta), table, tmp_path / "one.json")
    assert spent(tmp_path, "d").claims == 3
    assert spent(tmp_path, "d").delta == pytest.approx(0.22)
    assert spent(tmp_path, "other") == Spending(claims=0, delta=0)
    (tmp_path / "spending.jsonl").write_text("not json\n")
    with pytest.raises(PrudentError, match="damaged"):
        spent(tmp_path, "d")


def test_files_of_the_first_format_are_still_verified(tmp_path):
    values = np.zeros((100, 2))
    table = Losses(
        values=values, names=("a", "b"), sparsities=(0.1, 0.2), loss="error", split="certification", data="d"
    )
    certificate = certify(table, alpha=0.1, delta=0.1)
    path = write_certificate(certificate, table, tmp_path / "one.json")
    content = (tmp_path / "one.losses.safetensors").read_bytes()
    first = document(certificate, [("one.losses.safetensors", content)], schema=1)
    assert not {"parts", "group", "options", "settings", "consequence"} & set(first)
    assert "examples" not in first["candidates"][0]
    path.write_text(json.dumps(first))
    assert verify(path) == certificate


@pytest.mark.parametrize("edit", ["claim", "assumptions", "order", "needed"])
def test_counts_show_the_words_too(tmp_path, edit):
    values = np.zeros((100, 1))
    losses = Losses(values=values, names=("a",), sparsities=(0.1,), loss="error", split="certification", data="d")
    path = write_certificate(certify(losses, alpha=0.1, delta=0.1), losses, tmp_path / "one.json")
    stated = json.loads(path.read_text())
    stated[edit] = ["other"] if edit == "assumptions" else "other"
    stated["sha256"] = digest(stated)
    path.write_text(json.dumps(stated))
    with pytest.raises(BrokenCertificate):
        verify(path, level="counts")


def test_certificates_in_the_words_of_earlier_versions_are_still_verified(tmp_path):
    """Written by hand as versions before wrote them: one candidate, an ONNX file's, and an accuracy that rises."""
    alone = replace(table([40], 450), names=("net.onnx",), sparsities=(0.0,))
    signed = Losses(values=np.r_[np.zeros(300), np.full(150, 0.5)][:, None], names=("a",), sparsities=(0.5,),
                    loss="accuracy_drop", split="certification", low=-1.0, high=1.0)  # fmt: skip
    for losses, alpha, bound, old, new in (
        (alone, 0.05, "binomial", "for none of 1 candidate could it be shown with 95\u202f% confidence that",
         "it could not be shown with 95\u202f% confidence of the one candidate that"),
        (signed, -0.1, "betting", "accuracy is at most -10\u202f% lower than the dense network's",
         "accuracy is at least 10\u202f% higher than the dense network's"),
    ):  # fmt: skip
        certificate = certify(losses, alpha=alpha, delta=0.05, bound=bound)
        path = write_certificate(certificate, losses, tmp_path / "c.json")
        written = json.loads(path.read_text())
        assert new in written["claim"]
        earlier = written | {"claim": written["claim"].replace(new, old)}
        earlier["needed"] = written["needed"].replace("'net.onnx'", "The candidate at 0\u202f% sparsity")
        assert earlier["claim"] != written["claim"]
        path.write_text(json.dumps(earlier | {"sha256": digest(earlier)}))
        assert verify(path) == certificate
        mixed = earlier | {"claim": earlier["claim"].replace("95", "99")}
        path.write_text(json.dumps(mixed | {"sha256": digest(mixed)}))
        with pytest.raises(BrokenCertificate):
            verify(path)
    assert "'net.onnx' loses 40 of 450" in document(certify(alone, alpha=0.05, delta=0.05), [("x", b"")])["needed"]
