import pytest
import torch
from torch import nn

import prudent
from prudent.batches import Batches
from prudent.detection import auroc, fpr_id_at_tpr95_ood
from prudent.errors import BadInput, SplitMisuse, UnknownName
from prudent.ood import OOD
from prudent.separation import MEASURES, Separation, check_strange, separation_table, separations
from tests.conftest import assert_untouched, batches, chain, images, snapshot

DATA = batches(80, seed=1)
KNOWN = batches(50, seed=2, split="test")


def noise(n: int = 40, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


STRANGERS = {"near": [images(30, seed=3)[0].flip(2, 3) * 0.5], "far": [noise()[:25], noise()[25:]]}


def sure(*, norm: bool) -> nn.Sequential:
    """A network whose largest logits are above 0, as those of trained ones are."""
    model = chain(norm=norm)
    with torch.no_grad():
        model[-1].bias += 3
    return model


def pair() -> dict[str, nn.Module]:
    dense = sure(norm=True)
    return {"dense": dense, "pruned": prudent.prune(dense, sparsity=0.6).model}


def test_each_network_is_measured_by_detectors_of_its_own():
    networks = pair()
    before = {name: snapshot(model) for name, model in networks.items()}
    names = ["energy", "knn", "vim"]
    found = separations(networks, DATA, KNOWN, STRANGERS, detectors=names, options={"knn": {"k": 7}})
    for name, model in networks.items():
        assert_untouched(model, before[name])
    places = [(one.detector, one.strangers, one.network) for one in found]
    assert places == [(d, s, n) for d in names for s in ("near", "far") for n in ("dense", "pruned")]
    for one in found:
        options = {"k": 7} if one.detector == "knn" else {}
        score = OOD[one.detector](networks[one.network], DATA, **options)
        inside, outside = score(KNOWN.inputs), score(torch.cat(STRANGERS[one.strangers]))
        assert one.values["auroc"] == auroc(inside, outside)
        assert one.values["fpr_id_at_tpr95_ood"] == fpr_id_at_tpr95_ood(inside, outside)
        assert set(one.values) == set(MEASURES)
        assert one.note == ""
    assert len({one.values["auroc"] for one in found}) > 6, "near and far, dense and pruned are different"


def test_all_detectors_by_default_and_what_they_say_is_noted():
    dead = sure(norm=False)
    with torch.no_grad():
        dead[8].weight[3:] = 0
        dead[8].bias[3:] = -1
    found = separations({"dead": dead}, DATA, KNOWN, STRANGERS)
    assert {one.detector for one in found} == set(OOD)
    for one in found:
        assert ("pseudo-inverse" in one.note) == ("mahalanobis" in one.detector)
        assert one.values


def test_a_detector_that_cannot_work_is_told_and_the_others_go_on():
    headless = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = separations({"it": headless}, DATA, KNOWN, STRANGERS, detectors=["energy", "knn"])
    assert [bool(one.values) for one in found] == [True, True, False, False]
    assert "logits are the answer of a linear layer" in found[2].note
    table = separation_table(found)
    assert "| knn | far | - |" in table
    assert table.count("- it: detector 'knn' needs a network whose logits") == 1


def test_the_table_has_the_networks_beside_each_other():
    values = dict.fromkeys(MEASURES, 0.5)
    found = [
        Separation(
            detector=d, network=n, strangers=s, values={**values, "auroc": v}, note="is dead" if n == "b" else ""
        )
        for d, s, n, v in (
            ("energy", "near", "a", 0.75), ("energy", "near", "b", 0.5), ("energy", "far", "a", 1.0),
            ("energy", "far", "b", 0.875),
        )
    ]  # fmt: skip
    assert separation_table(found, digits=2).splitlines() == [
        "| detector | strangers | a | b |", "|---|---|---|---|", "| energy | near | 0.75 | 0.50 |",
        "| energy | far | 1.00 | 0.88 |", "", "- b: is dead",
    ]  # fmt: skip
    assert "| energy | near | 0.500 | 0.500 |" in separation_table(found, measure="aupr_ood")
    with pytest.raises(UnknownName, match="no measure named 'aurock'. Did you mean 'auroc'"):
        separation_table(found, measure="aurock")
    with pytest.raises(BadInput, match="at least one separation"):
        separation_table([])


@pytest.mark.parametrize("where", ["batches", "known"])
def test_strangers_that_are_of_the_task_are_refused(where):
    own = {"batches": DATA, "known": KNOWN}[where].inputs
    mixed = [noise(), own[7:8]]
    with pytest.raises(BadInput, match=f"1 input of 'far' is also in '{where}'"):
        separations(pair(), DATA, KNOWN, {"near": [noise(5, 9)], "far": mixed})
    with pytest.raises(BadInput, match="3 inputs of 'far' are also in 'x'"):
        check_strange({"far": [own[:3].double()]}, {"x": [own], "y": [noise()]})


def test_what_counts_as_the_same_input():
    whole = torch.tensor([[0.0, 1.0, 2.0, 3.0]])
    for same in (whole.double(), whole.to(torch.uint8), torch.tensor([[-0.0, 1.0, 2.0, 3.0]])):
        with pytest.raises(BadInput, match="1 input of 'b'"):
            check_strange({"b": [same]}, {"a": [whole]})
    for other in (whole + 1e-6, whole.view(1, 2, 2), whole.flip(1)):
        check_strange({"b": [other]}, {"a": [whole]})


def test_refused_before_anything_is_fitted(monkeypatch):
    monkeypatch.setattr("prudent.separation._fitted", lambda *_: pytest.fail("work began"))
    good = {"networks": pair(), "batches": DATA, "known": KNOWN, "strangers": STRANGERS}

    def refused(error, said, **changes):
        given = {**good, **changes}
        order = [given.pop(name) for name in ("networks", "batches", "known", "strangers")]
        with pytest.raises(error, match=said):
            separations(*order, **given)

    refused(BadInput, "at least one network", networks={})
    refused(BadInput, "at least one network", strangers={})
    refused(BadInput, "at least one network", detectors=[])
    refused(UnknownName, "no detector named 'enrgy'. Did you mean 'energy'", detectors=["enrgy"])
    refused(UnknownName, "no detector to give options to named 'knn'", detectors=["vim"], options={"knn": {"k": 3}})
    refused(UnknownName, "no option of detector 'knn' named 'kk'", options={"knn": {"kk": 3}})
    refused(BadInput, "not an iterator", known=iter([noise()]))
    refused(BadInput, "a set is empty", strangers={"far": []})
    refused(BadInput, "hold NaN", strangers={"far": [noise() * float("nan")]})
    refused(BadInput, "does not run on an input of shape", strangers={"far": [torch.randn(4, 2, 8, 8)]})
    wide = nn.Sequential(nn.Flatten(), nn.Linear(64, 5))
    refused(BadInput, "the same classes; these answer logits of a: 3, b: 5", networks={"a": chain(), "b": wide})
    refused(SplitMisuse, "validation or test split", known=DATA)
    refused(SplitMisuse, "train or validation split", batches=Batches(inputs=noise(), split="certification"))
