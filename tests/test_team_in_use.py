"""A team from its choice to its use: one ONNX file, certified, verified, served by ONNX Runtime, and watched."""

import json

import numpy as np
import pytest

from prudent.certificates import verify
from prudent.cli import run as run_command
from prudent.sources import load_data
from prudent.studies import study

STUDY = """
name = "few"
seeds = [4]
[data]
name = "moons"
options = { train = 300, validation = 100, certification = 400, test = 3000 }
[model]
name = "mlp"
options = { hidden = [16] }
[training]
epochs = 12
batch_size = 30
lr = 0.02
[retraining]
epochs = 1
[[methods]]
name = "weights"
sparsities = [0.3, 0.5]
[[methods]]
name = "units"
granularity = "channel"
sparsities = [0.5]
[evaluation]
latency_turns = 3
[certification]
alpha = 0.4
declared = { method = "weights", seed = 4 }
"""
OPTIONS = {"train": 300, "validation": 100, "certification": 400, "test": 3000}
ALPHA = 0.25


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The folder that `prudent team` wrote, outside of the run, and the certificate of its ONNX file."""
    pytest.importorskip("onnxruntime")
    place = tmp_path_factory.mktemp("few")
    (place / "few.toml").write_text(STUDY)
    made = study(str(place / "few.toml"), out=place / "runs", executor="inline")
    assert run_command(["team", str(made), "--seed", "4", "--out", str(place / "team")]) == 0
    certificate = place / "certificate.json"
    onnx = place / "team" / "team.onnx"
    assert run_command(["certify", "--onnx", str(onnx), "--alpha", str(ALPHA), "--out", str(certificate)]) == 0
    return onnx, certificate


def served(onnx, inputs):
    """What a server answers, which knows of ONNX Runtime only."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(onnx))
    return session.run(None, {session.get_inputs()[0].name: inputs})[0].argmax(axis=1)


def stream(place, predictions, labels):
    lines = [json.dumps({"prediction": int(p), "label": int(y)}) for p, y in zip(predictions, labels, strict=True)]
    place.write_text("\n".join(lines) + "\n")
    return str(place)


def test_the_certificate_is_of_that_file_and_of_examples_that_no_member_has_seen(shipped, capsys):
    onnx, certificate = shipped
    said, data = verify(certificate), load_data("moons", OPTIONS)
    assert said.n == 400
    assert said.data == data.certification.fingerprint
    wrong = int((served(onnx, data.certification.inputs) != data.certification.labels).sum())
    assert said.counts == (wrong,)
    assert run_command(["verify", str(certificate), "--network", str(onnx)]) == 0
    changed = certificate.parent / "changed.onnx"
    changed.write_bytes(onnx.read_bytes() + b"\0")
    assert run_command(["verify", str(certificate), "--network", str(changed)]) == 2
    capsys.readouterr()


def test_the_watch_is_quiet_while_the_claim_is_true_and_alarms_when_the_world_changes(shipped, tmp_path, capsys):
    onnx, certificate = shipped
    data = load_data("moons", OPTIONS)
    answers, labels = served(onnx, data.test.inputs), data.test.labels
    assert (answers != labels).mean() < ALPHA
    state = ["--state", str(tmp_path / "watch.json"), "--json"]
    first = stream(tmp_path / "first.jsonl", answers[:1500], labels[:1500])
    assert run_command(["monitor", str(certificate), first, *state]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["examples"], said["alarm_at"]) == (1500, None)
    assert said["loss"] == pytest.approx((answers[:1500] != labels[:1500]).mean())
    # the moons change places: what was learnt is no longer so
    turned = np.where(np.arange(1500) % 4 < 3, 1 - labels[1500:], labels[1500:])
    second = stream(tmp_path / "second.jsonl", answers[1500:], turned)
    assert run_command(["monitor", str(certificate), second, *state]) == 3
    said = json.loads(capsys.readouterr().out)
    assert said["examples"] == 3000
    assert 1500 < said["alarm_at"] < 3000
    assert said["log_evidence"] >= said["alarm_from"]
