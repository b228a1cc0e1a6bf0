"""The study of segmentation: it learns, its tables are the network's masks, its claims follow by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import prudent
from prudent.building import build
from prudent.data.shapes import shapes
from prudent.errors import BadInput
from prudent.network import fingerprint
from prudent.study_files import segmentation as study

PATH = (0.0, 0.3, 0.6, 0.9)


@pytest.fixture(scope="module")
def trained():
    torch.set_num_threads(1)
    data = shapes(train=160, validation=1, certification=120, test=90, size=16, noise=0.05, distractors=0.3)
    model = build("unet", data.shape, 1, seed=0, options={"widths": (4, 8)})
    study.fit(model, data.train, epochs=8, seed=0)
    return data, model, study.tables(model, data, path=PATH)


def test_it_learns_and_training_follows_its_seed(trained):
    data, model, found = trained
    fresh = build("unet", data.shape, 1, seed=0, options={"widths": (4, 8)})
    untrained = study.tables(fresh, data, path=(0.0,))
    assert found["test", "missed_overlap"].means[0] < 0.35 < untrained["test", "missed_overlap"].means[0]
    again, other = (build("unet", data.shape, 1, seed=0, options={"widths": (4, 8)}) for _ in range(2))
    for network, seed in ((again, 0), (other, 1)):
        study.fit(network, data.train, epochs=8, seed=seed)
    assert fingerprint(again) == fingerprint(model) != fingerprint(other)


def test_tables_are_the_masks_of_pruned_networks(trained):
    data, model, found = trained
    for split in ("certification", "test"):
        examples = data.splits[split]
        assert found[split, "missed_overlap"].data == examples.fingerprint
        for c, sparsity in enumerate(PATH):
            pruned = prudent.prune(model, sparsity=sparsity).model.eval()
            for i in range(0, len(examples), 17):
                with torch.no_grad():
                    sees = pruned(torch.from_numpy(examples.inputs[i : i + 1])).numpy()[0, 0] > 0
                true = examples.masks[i]
                expected = 1 - (sees & true).sum() / max((sees | true).sum(), 1)
                assert found[split, "missed_overlap"].values[i, c] == pytest.approx(expected, abs=1e-12)
                missed = (true & ~sees).sum() / true.sum()
                assert found[split, "missed_pixels"].values[i, c] == pytest.approx(missed, abs=1e-12)


def test_claims_follow_by_hand(trained, monkeypatch):
    monkeypatch.setattr(study, "CLAIMS", (("missed_overlap", 0.45), ("missed_pixels", 0.4)))
    _, _, found = trained
    rows = {(row.loss, row.bound): row for row in study.certified(found, delta=0.05)}
    assert len(rows) == 2 * len(study.BOUNDS)
    for (loss, _), row in rows.items():
        table, at = found["certification", loss], None
        if row.bound == "hoeffding":
            for i, risk in enumerate(table.means):
                if math.exp(-2 * table.n * max(0.0, row.alpha - risk) ** 2) > 0.05:
                    break
                at = i
            assert row.sparsity == (None if at is None else table.sparsities[at])
            assert at is not None, "the test would say nothing"
        else:
            assert (row.sparsity or 0) >= (rows[loss, "hoeffding"].sparsity or 0), "no other bound is weaker here"
        at = table.sparsities.index(row.sparsity)
        assert row.certification_risk == table.means[at] < row.alpha
        assert row.test_risk == np.mean(found["test", loss].values[:, at])


def test_examples_without_masks_are_refused():
    data = shapes(train=20, validation=1, certification=1, test=1, size=16)
    bare = replace(data.train, masks=None)
    with pytest.raises(BadInput, match="needs examples with masks"):
        study.fit(build("unet", data.shape, 1, seed=0, options={}), bare, epochs=1, seed=0)


@pytest.mark.slow
def test_the_whole_study(capsys):
    study.main()
    printed = capsys.readouterr().out
    rows = [line.split() for line in printed.splitlines() if "<=" in line]
    assert len(rows) == 8
    assert all(float(row[5]) < float(row[2]) for row in rows)
    sparsity = {(row[0], row[3]): float(row[4]) for row in rows}
    for loss in ("missed_overlap", "missed_pixels"):
        assert sparsity[loss, "hoeffding"] <= sparsity[loss, "hoeffding_bentkus"] <= sparsity[loss, "betting"]
        assert sparsity[loss, "betting"] >= 0.4
