"""Steps, replicas and restored states agree; labels that are no class change nothing."""

import concurrent.futures
import multiprocessing

import numpy as np
import pytest

from pai_train.errors import DataError
from pai_train.models.contracts import ColumnSpec, LabelSpec
from pai_train.training.totals import add_totals, metrics

CLASSES = ("p", "q", "r")
COLUMNS = (
    ColumnSpec("a", "float", mean=100.0, variance=25.0),
    ColumnSpec("i", "int", mean=2.0, variance=2.0),
    ColumnSpec("s", "string", vocabulary=("x", "y")),
    ColumnSpec("many", "string", vocabulary=tuple(f"v{i}" for i in range(40))),
    ColumnSpec("flag", "bool"),
)
LABEL = LabelSpec("l", "classification", CLASSES)
VALUE = LabelSpec("a", "regression")


def data(rows, seed=0):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=rows) * 5 + 100
    return {
        "a": a,
        "i": rng.integers(0, 5, rows).astype(np.int32),
        "s": rng.choice(["x", "y", "z"], rows).astype(object),
        "many": rng.choice([f"v{i}" for i in range(50)], rows).astype(object),
        "flag": rng.random(rows) > 0.5,
        "l": np.array(CLASSES, object)[np.digitize(a, [98, 102])],
    }


def learner(label=LABEL, *, name="mlp", devices=None, columns=COLUMNS, optimizer="adam", rate=0.01, **params):
    import keras

    from pai_train.models.load import build
    from pai_train.training.devices import Devices
    from pai_train.training.learner import Learner

    keras.utils.set_random_seed(5)
    return Learner(
        lambda: build(name, params, columns, label),
        label,
        optimizer=optimizer,
        learning_rate=rate,
        devices=devices or Devices(("/cpu:0",), "cpu"),
    )


def head(columns, rows):
    return {name: values[:rows] for name, values in columns.items()}


def values_of(learner):
    return {name: variable.numpy() for name, variable in learner.variables.items()}


def assert_same_bits(left, right):
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def epochs(learner, columns, batch, count, steps):
    """Trains some epochs with `steps` batches per call; returns the running sums."""
    length = len(columns["l"])
    rows = [batch] * (length // batch) + ([length % batch] if length % batch else [])
    running = {}
    for _ in range(count):
        for i in range(0, len(rows), steps):
            low, size = sum(rows[:i]), sum(rows[i : i + steps])
            given = {name: values[low : low + size] for name, values in columns.items()}
            running = add_totals(running, learner.train(given, rows[i : i + steps]))
    return running


def test_steps_in_one_call_or_one_by_one_give_the_same_bits():
    columns = data(83)
    results = []
    for steps in (1, 2, 6):
        one = learner(dropout=0.3, batch_norm=True)
        results.append((epochs(one, columns, 16, 2, steps), values_of(one)))
        assert one.traces["train"] == 1
    for running, values in results[1:]:
        assert running == results[0][0]
        assert_same_bits(values, results[0][1])


def test_one_graph_serves_all_shapes_and_input_types():
    one = learner()
    for rows in ([5], [3, 4, 2], [1], [7] * 9):
        columns = data(sum(rows))
        one.train(columns, rows)
        one.evaluate(columns, rows)
        one.predict(columns)
    narrow = {**columns, "a": columns["a"].astype(np.float32), "i": columns["i"].astype(np.int8)}
    one.train(narrow, [63])
    assert one.traces == {"train": 1, "evaluate": 1, "predict": 1}


def test_assigning_every_variable_restores_the_training():
    columns = data(64)
    straight = learner(dropout=0.4, batch_norm=True, hidden=[8, 8])
    straight.train(columns, [16] * 4)
    saved = values_of(straight)
    assert sum("seed_generator" in name for name in saved) == 2
    assert {"optimizer/iteration", "optimizer/learning_rate"} <= saved.keys()
    slots = [name for name in saved if name.startswith(("optimizer/momentum/", "optimizer/velocity/"))]
    assert len(slots) == 2 * len(straight.model.trainable_variables)
    assert len(saved) == len(straight.model.variables) + len(straight.optimizer.variables)
    expected = straight.train(columns, [16] * 4)

    # A later model of the same process: Keras numbers its unnamed parts on, the names must not follow.
    resumed = learner(dropout=0.4, batch_norm=True, hidden=[8, 8])
    resumed.train(columns, [64])
    assert resumed.variables.keys() == saved.keys()
    for name, variable in resumed.variables.items():
        variable.assign(saved[name])
    np.testing.assert_array_equal(resumed.train(columns, [16] * 4).losses, expected.losses)
    assert_same_bits(values_of(resumed), values_of(straight))


def test_a_label_that_is_no_class_changes_nothing_and_is_named():
    one = learner(dropout=0.3)
    columns = data(40)
    before = values_of(one)
    columns["l"] = columns["l"].copy()
    columns["l"][[9, 30, 31]] = ["zz", "", "zz"]
    with pytest.raises(DataError) as caught:
        one.train(columns, [10] * 4)
    assert "3 rows of label 'l'" in str(caught.value)
    assert "'zz', ''" in str(caught.value)
    assert "'p', 'q', 'r'" in str(caught.value)
    assert_same_bits(values_of(one), before)
    with pytest.raises(DataError, match="'zz'"):
        one.evaluate(columns, [10] * 4)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_no_number_changes_nothing_and_is_named(value):
    one = learner(dropout=0.3, batch_norm=True)
    columns = data(40)
    before = values_of(one)
    columns["a"][[9, 30]] = value
    for call in (one.train, one.evaluate):
        with pytest.raises(DataError, match="column 'a' holds NaN or infinite values") as caught:
            call(columns, [10] * 4)
        assert "2 in 'a'" in str(caught.value)
    with pytest.raises(DataError, match="column 'a' holds"):
        one.predict(columns)
    assert_same_bits(values_of(one), before)


def test_a_value_to_learn_that_is_no_number_is_named():
    one = learner(VALUE, name="linear", columns=[ColumnSpec("x", "float")])
    before = values_of(one)
    columns = {"x": np.ones(4), "a": np.array([1.0, np.nan, 2.0, 3.0])}
    with pytest.raises(DataError, match="1 in 'a'"):
        one.train(columns, [2, 2])
    assert_same_bits(values_of(one), before)
    assert one.predict(columns).shape == (4,)


def test_evaluate_and_predict_change_nothing_and_agree():
    one = learner(dropout=0.5, batch_norm=True)
    columns = data(50)
    one.train(columns, [25, 25])
    before = values_of(one)
    measured = one.evaluate(columns, [20, 20, 10])
    probabilities = one.predict(columns)
    assert_same_bits(values_of(one), before)
    assert probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0, rtol=1e-5)
    index = np.searchsorted(CLASSES, columns["l"].astype(str))
    found = measured.metrics()
    assert found["accuracy"] == (probabilities.argmax(axis=1) == index).mean()
    assert found["loss"] == pytest.approx(-np.log(probabilities[np.arange(50), index]).mean(), rel=1e-5)
    assert one.predict(head(columns, 0)).shape == (0, 3)
    assert one.predict(head(columns, 1)).shape == (1, 3)


def test_classification_learns():
    columns = data(320)
    one = learner()
    before = one.evaluate(columns, [320]).metrics()
    epochs(one, columns, 32, 25, 10)
    after = one.evaluate(columns, [320]).metrics()
    assert after["accuracy"] > 0.9
    assert after["loss"] < before["loss"] / 2


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_regression_learns_on_raw_values(kind):
    rng = np.random.default_rng(1)
    x = rng.normal(size=256)
    columns = {"x": x, "a": (20 * x + 7).astype(kind)}
    one = learner(VALUE, name="linear", columns=[ColumnSpec("x", "float")], optimizer="sgd", rate=0.1)
    for _ in range(40):
        one.train(columns, [64] * 4)
    found = one.evaluate(columns, [100, 100, 56]).metrics()
    errors = one.predict(columns) - columns["a"]
    assert found["rmse"] == pytest.approx(np.sqrt((errors.astype(float) ** 2).mean()), rel=1e-4, abs=1e-5)
    assert found["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4, abs=1e-5)
    assert found["loss"] == pytest.approx(found["rmse"] ** 2, rel=1e-4)
    assert found["rmse"] < 0.5
    assert errors.shape == (256,)


@pytest.mark.parametrize(
    ("classes", "labels"),
    [
        ((False, True), np.array([True, False, True, True])),
        ((0, 1), np.array([True, False, True, True])),
        ((7, -3), np.array([7, -3, 7, 7], np.int8)),
        ((7, -3), np.array([7.0, -3.0, 7.0, 7.0])),
        (("no", "yes"), np.array([b"yes", b"no", b"yes", b"yes"], object)),
    ],
)
def test_labels_of_every_kind(classes, labels):
    label = LabelSpec("l", "classification", classes)
    one = learner(label, name="linear", columns=[ColumnSpec("x", "float")], rate=0.5)
    columns = {"x": np.array([1.0, -1.0, 1.0, 1.0]), "l": labels}
    for _ in range(5):
        one.train(columns, [4])
    assert one.evaluate(columns, [4]).metrics()["accuracy"] == 1.0
    expected = [[value.decode() if isinstance(value, bytes) else value for value in labels.tolist()]]
    assert [[classes[i] for i in one.predict(columns).argmax(axis=1)]] == expected


@pytest.mark.parametrize(
    ("classes", "labels", "text"),
    [
        ((0, 1), np.array([0.0, 0.5]), "0.5"),
        ((0, 1), np.array([0, -1]), "-1"),
        ((0, 1), np.array([0.0, np.nan]), "nan"),
        ((0, 1), np.array(["0", "1"], object), "type string"),
        (("0", "1"), np.array([0, 1]), "type int64"),
    ],
)
def test_labels_that_are_no_class(classes, labels, text):
    label = LabelSpec("l", "classification", classes)
    one = learner(label, name="linear", columns=[ColumnSpec("x", "float")])
    with pytest.raises(DataError, match=text):
        one.train({"x": np.zeros(2), "l": labels}, [2])


def test_calls_that_do_not_fit():
    one = learner()
    for rows in ([], [39], [41], [40, 0]):
        with pytest.raises(ValueError, match="do not make up"):
            one.train(data(40), rows)
    columns = data(8)
    columns["many_"] = columns.pop("many")
    with pytest.raises(DataError, match="did you mean 'many_'"):
        one.predict(columns)
    with pytest.raises(ValueError, match="did you mean 'adam'"):
        learner(optimizer="adamm")


def test_regularisation_is_part_of_the_loss():
    import keras

    from pai_train.models.preprocess import features
    from pai_train.training.devices import Devices
    from pai_train.training.learner import Learner

    def build():
        raw, flow = features([ColumnSpec("x", "float")])
        return keras.Model(raw, keras.layers.Dense(1, kernel_initializer="ones", kernel_regularizer="l2")(flow))

    one = Learner(build, LabelSpec("y", "regression"), optimizer="sgd", learning_rate=0.1,
                  devices=Devices(("/cpu:0",), "cpu"))  # fmt: skip
    totals = one.evaluate({"x": np.ones(4), "y": np.ones(4)}, [3, 1])
    np.testing.assert_allclose(totals.losses, [0.01, 0.01], rtol=1e-6)


def test_metrics_of_no_rows():
    assert metrics({}) == {}


def test_more_steps_per_call_for_smaller_models():
    from pai_train.training.call_size import auto_steps

    assert auto_steps(403, 16) == 256
    assert 1 < auto_steps(50_000, 256) < 256
    assert auto_steps(100_000_000, 256) == 1
    assert auto_steps(10, 100_000) == 1


def test_replicas_agree():
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        pool.submit(_replicas_of_one_process).result(timeout=200)


def _replicas_of_one_process():
    from pai_train.training.devices import Devices, prepare

    four = prepare(4, "logical_cpu", deterministic=True, seed=5)
    groups = [Devices(four.names[:count], "logical_cpu") for count in (1, 2, 4)]

    columns = data(641)
    small = head(columns, 12)
    losses, probabilities, tiny = [], [], []
    for devices in groups:
        one = learner(devices=devices)
        losses.append(metrics(epochs(one, columns, 64, 3, 4)))
        losses[-1] |= {f"test {name}": value for name, value in one.evaluate(columns, [640, 1]).metrics().items()}
        probabilities.append(one.predict(columns))
        # Batches with fewer rows than replicas.
        tiny.append(one.train(small, [3, 1, 2, 4, 2]).losses)
        assert one.predict(head(columns, 2)).shape == (2, 3)
        assert one.traces == {"train": 1, "evaluate": 1, "predict": 1}
    for index in (1, 2):
        assert losses[index] == pytest.approx(losses[0], abs=1e-6)
        np.testing.assert_allclose(probabilities[index], probabilities[0], atol=1e-5)
        np.testing.assert_allclose(tiny[index], tiny[0], atol=1e-5)

    # Fewer rows than replicas for a layer that would take the mean of nothing, and mirrored variables set back.
    one = learner(devices=four, batch_norm=True, dropout=0.2)
    before = values_of(one)
    totals = one.train(small, [3, 1, 2, 4, 2])
    assert np.isfinite(totals.losses).all()
    after = values_of(one)
    assert all(np.isfinite(values).all() for values in after.values())
    for name, variable in one.variables.items():
        variable.assign(before[name])
    np.testing.assert_array_equal(one.train(small, [3, 1, 2, 4, 2]).losses, totals.losses)
    assert_same_bits(values_of(one), after)
    # What one replica holds, of which a checkpoint is made, is what all of them hold.
    assert any("moving" in name for name in one.variables)
    for name, variable in one.variables.items():
        first, *others = (np.asarray(value) for value in getattr(variable, "values", [variable]))
        assert all(np.array_equal(first, other) for other in others), name
        assert len(others) == 3 or "moving" not in name
