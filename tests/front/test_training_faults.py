"""Faults of the keys that say how steps are taken, and a hash that does not know keys that are left out."""

from __future__ import annotations

import pytest

import pai_train
from pai_train.errors import Refused
from pai_train.front.composed import config_hash
from pai_train.spec.check import as_tree
from pai_train.spec.train_config import StepConfig, without_unused

LABELLED = "inputs.train.label={column: f5, task: classification, classes: [setosa, versicolor, virginica]}"
FAULTS = {
    "schedule-name": ("train.learning_rate_schedule={name: cosin}", "did you mean 'cosine'?"),
    "schedule-needs": ("train.learning_rate_schedule={name: cosine}", "schedule cosine needs decay_steps"),
    "schedule-has-no": (
        "train.learning_rate_schedule={name: cosine, decay_steps: 5, power: 2.0}",
        "schedule cosine has no power",
    ),
    "pieces": (
        "train.learning_rate_schedule={name: piecewise, boundaries: [5, 2], values: [0.1]}",
        "not the boundaries of pieces",
    ),
    "values": (
        "train.learning_rate_schedule={name: piecewise, boundaries: [2, 5], values: [0.1]}",
        "wanted: 3 values, one more than boundaries",
    ),
    "accumulate": ("train.accumulate_steps=0", "must be at least 1"),
    "precision": ("train.precision=mixed_float61", "did you mean 'mixed_float16'?"),
    "weight-missing": ("inputs.train.weight=f6", "no column 'f6'"),
    "weight-label": ("inputs.train.weight=f5", "the label is not a weight too"),
    "class-weight": ("train.class_weight={setoza: 2.0}", "did you mean 'setosa'?"),
    "class-weight-below-0": ("train.class_weight={setosa: -2.0}", "must be at least 0"),
    "class-weight-word": ("train.class_weight=balance", "balanced"),
    "metric": ("train.early_stopping={metric: test/acuracy}", "did you mean 'test/accuracy'?"),
    "metric-of-task": ("train.early_stopping={metric: test/rmse}", "a classification has no such metric"),
    "callback": ("train.callbacks=[Stopper]", "not the path of a callback"),
    "patience": ("train.early_stopping={patience: 0}", "must be at least 1"),
}


def refused(*overrides):
    with pytest.raises(Refused) as caught:
        pai_train.compose("iris", overrides)
    return "\n".join(map(str, caught.value.faults))


@pytest.mark.parametrize(("override", "text"), FAULTS.values(), ids=FAULTS)
def test_every_fault_says_what_is_wanted(override, text):
    assert text in refused(LABELLED, override)


def test_clipping_twice_and_weights_of_other_inputs():
    assert "clipped by their norm already" in refused("train.clip_norm=1.0", "train.clip_value=1.0")
    assert "not a feature too" in refused("inputs.train.weight=f1", "inputs.train.features=[f1,f2]")
    other = "inputs.test={table: other, columns: {f1: DOUBLE}, weight: f1}"
    assert "only training rows have weights" in refused("inputs.train.split=null", other)
    text = refused("inputs.train.split=null", "train.evaluate_every_steps=5", "train.early_stopping={}")
    assert text.count("there are no rows to evaluate on") == 2


def test_keys_that_are_left_out_are_not_in_the_hash():
    config = pai_train.compose("iris").config
    tree = as_tree(config)
    train = without_unused(tree)["train"]
    assert not set(train) & set(StepConfig.__dataclass_fields__)
    assert "weight" not in tree["inputs"]["train"]
    base = config_hash(config)
    for override in ("train.clip_norm=1.0", "train.accumulate_steps=2", "train.early_stopping={patience: 3}"):
        assert pai_train.compose("iris", [override]).config_hash != base
