"""Robust retraining and label noise in a study: the recipe reaches the training, and off is what it was."""

import pytest
import torch

from prudent.cells._shared import trained, training_values
from prudent.data.digits import digits
from prudent.errors import PrudentError
from prudent.models.mlp import mlp
from prudent.network import fingerprint
from prudent.objectives.interval import interval
from prudent.parsing import parse
from prudent.preflight import preflight
from prudent.sections import Training
from prudent.training import train
from tests.test_settings import SMALL

DATA = digits(validation=40, certification=150, test=1300)


def network():
    torch.manual_seed(0)
    return mlp(DATA.shape, len(DATA.classes), hidden=[32])


def recipe(**given):
    return Training(epochs=1, batch_size=64, **given).model_dump()


def told_of(given):
    if "objective" in given:
        return {"objective": interval(**given["objective_options"])}
    return {key: tuple(value) if isinstance(value, list) else value for key, value in given.items()}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"corruptions": ["contrast", "brightness"]},
        {"corruptions": ["contrast"], "severities": [1, 2], "label_noise": 0.2},
        {"label_noise": 0.2},
        {"objective": "interval", "objective_options": {"radius": 0.02, "kappa": 0.6}},
    ],
)
def test_a_recipe_is_what_train_is_told(given):
    model = network()
    made, history = trained(model, DATA, recipe(**given), seed=3)
    told = train(
        model, DATA.train.batches(64), epochs=1, lr=0.01, schedule="one_cycle", seed=3,
        **told_of(given),
    )  # fmt: skip
    assert fingerprint(made) == fingerprint(told)
    assert len(history) == 1
    plain, _ = trained(model, DATA, recipe(), seed=3)
    assert (fingerprint(plain) == fingerprint(made)) == (not given)


def test_off_has_no_keys_and_is_the_same_as_turned_off():
    assert not {"corruptions", "severities", "label_noise", "objective", "objective_options"} & recipe().keys()
    made, _ = trained(network(), DATA, recipe(corruptions=[], label_noise=0.0), seed=0)
    assert fingerprint(made) == fingerprint(trained(network(), DATA, recipe(), seed=0)[0])


def test_validation_and_what_is_reported_stay_clean():
    made, history = trained(
        network(), DATA, recipe(patience=20, label_noise=0.4) | {"epochs": 20, "batch_size": 16}, seed=0
    )
    reported = training_values(made, DATA, history)
    assert history[-1].error > 0.3, "the examples as they were trained on"
    assert history[-1].validation_error < 0.2
    assert reported["train_error"] < 0.25
    assert [pair[1] for pair in reported["history"]] == [one.error for one in history]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ('objective = "interval"', "failed: .*radius"),
        ('objective = "interval"\nobjective_options = { radius = -1.0 }', "radius above 0"),
        ('objective = "interval"\nobjective_options = { radios = 1.0 }', "Did you mean 'radius'"),
        ('objective = "stability"', "needs batch normalisations"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_work(recipe, message):
    text = SMALL.replace("[certification]", f"[retraining]\n{recipe}\n[certification]")
    with pytest.raises(PrudentError, match=message):
        preflight(parse(text, source="s"))
