"""Networks that torch.nn.utils.prune, or anybody, left."""

import pytest
import torch
from torch.nn.utils import prune as torch_prune

import prudent
from prudent.adoption import adopt
from prudent.errors import BadInput
from tests.conftest import assert_untouched, chain, snapshot


def masked_by_torch():
    model = chain(norm=True)
    torch_prune.l1_unstructured(model[0], "weight", amount=0.4)
    torch_prune.random_structured(model[3], "weight", amount=2, dim=0)
    torch_prune.l1_unstructured(model[8], "weight", amount=0.5)
    torch_prune.l1_unstructured(model[8], "bias", amount=3)
    return model.eval()


@pytest.mark.parametrize("as_module", [True, False])
def test_masks_of_torch_are_read(as_module):
    torch.manual_seed(0)
    theirs = masked_by_torch()
    fresh = chain(norm=True)
    before = snapshot(fresh)
    pruned = adopt(theirs if as_module else theirs.state_dict(), fresh)
    assert_untouched(fresh, before)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(pruned.model.eval()(x), theirs(x))
    for index in (0, 3, 8):
        assert torch.equal(pruned.mask.kept[f"{index}.weight"], theirs[index].weight_mask.bool())
    assert pruned.mask.kept["11.weight"].all()
    trained = prudent.train(pruned.model, [(x, torch.tensor([0, 1, 2]))], epochs=2, lr=0.1, mask=pruned.mask)
    assert (trained[8].weight[~pruned.mask.kept["8.weight"]] == 0).all()


def test_zeros_are_read():
    model = chain()
    with torch.no_grad():
        model[3].weight[:2] = 0
    pruned = adopt(model.state_dict(), chain())
    assert pruned.mask.removed_by_layer == {"0.weight": 0, "3.weight": 2 * 36, "8.weight": 0, "11.weight": 0}
    assert pruned.sparsity == pruned.requested


def test_a_kept_weight_that_happens_to_be_zero_stays_kept():
    model = chain()
    torch_prune.l1_unstructured(model[0], "weight", amount=1)
    with torch.no_grad():
        model[0].weight_orig[model[0].weight_mask.bool()] = 0
    assert adopt(model, chain()).mask.removed_by_layer["0.weight"] == 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s: s.pop("0.bias"), "lacks '0.bias'"),
        (lambda s: s.update(extra=torch.ones(1)), "has 'extra'"),
        (lambda s: s.update({"3.weight": torch.zeros(1)}), "'3.weight' has shape"),
        (lambda s: s["0.weight_mask"].fill_(0.5), "other values"),
        (lambda s: s.update({"0.weight_mask": torch.ones(3)}), "its weight"),
    ],
)
def test_states_that_do_not_fit(spoil, message):
    model = chain()
    torch_prune.l1_unstructured(model[0], "weight", amount=0.4)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    spoil(state)
    with pytest.raises(BadInput, match=message):
        adopt(state, chain())


def test_nothing_pruned_is_refused():
    with pytest.raises(BadInput, match="nothing is zero"):
        adopt(chain().state_dict(), chain())
