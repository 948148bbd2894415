"""Estimators of contrib.learn on rows in memory and from input functions, monitors, experiments."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from pai_train.pai.gone import ArgumentGone

L = tf.contrib.learn
R = np.random.RandomState(0)
# Three clouds of points in four dimensions.
Y = np.arange(150) % 3
X = (np.eye(4)[Y] * 3 + R.randn(150, 4) * 0.5).astype("float32")
VALUES = (X @ np.array([1.0, -2.0, 0.5, 0.0])).astype("float32")


def _rows(x=X, y=Y):
    return {"a": tf.constant(x[:, :2]), "b": tf.constant(x[:, 2:])}, tf.constant(y)


def check_deep_classes_of_rows_in_memory(folder):
    columns = [tf.contrib.layers.real_valued_column("", dimension=4)]
    deep = L.DNNClassifier(feature_columns=columns, hidden_units=[10, 20, 10], n_classes=3, model_dir=str(folder))
    assert deep.fit(x=X, y=Y, steps=200) is deep
    found = deep.evaluate(x=X, y=Y, steps=1)
    assert found["accuracy"] > 0.97
    assert found["global_step"] == 200
    assert list(deep.predict(X[:5], as_iterable=True)) == Y[:5].tolist()
    assert deep.predict(X[:5], as_iterable=False).tolist() == Y[:5].tolist()
    chances = np.array(list(deep.predict_proba(X[:6])))
    assert chances.shape == (6, 3)
    assert chances.argmax(1).tolist() == Y[:6].tolist()
    (row,) = deep.predict(X[:1], outputs=["logits", "classes"])
    assert set(row) == {"logits", "classes"}
    deep.partial_fit(X, Y)
    assert deep.get_variable_value("global_step") == 201
    assert "dnn/logits/kernel" in deep.get_variable_names()


def check_a_loss_is_a_mean(folder):
    columns = L.infer_real_valued_columns_from_input(X)
    linear = L.LinearRegressor(columns, str(folder), optimizer=tf.train.GradientDescentOptimizer(0.0))
    linear.fit(X, VALUES, steps=1)
    assert linear.evaluate(X, VALUES)["loss"] == pytest.approx(np.mean(VALUES**2), rel=1e-4)


def check_linear_values_from_an_input_function(folder):
    columns = L.infer_real_valued_columns_from_input_fn(lambda: _rows(y=VALUES))
    assert sorted(column.key for column in columns) == ["a", "b"]
    linear = L.LinearRegressor(columns, str(folder), gradient_clip_norm=100.0)
    linear.fit(input_fn=lambda: _rows(y=VALUES), steps=400)
    found = linear.evaluate(input_fn=lambda: _rows(y=VALUES), steps=1)
    assert found["loss"] < 0.01
    assert found["labels/actual_label_mean"] == pytest.approx(VALUES.mean(), rel=1e-4)
    scores = [next(linear.predict(input_fn=lambda: (_rows()[0], None))) for _ in range(1)]
    assert scores[0] == pytest.approx(VALUES[0], abs=0.3)


def check_wide_and_deep(folder):
    words = np.array(["red", "green", "blue"])

    def rows():
        indices = [[row, 0] for row in range(len(Y))]
        colour = tf.SparseTensor(indices=indices, values=words[Y].tolist(), dense_shape=[len(Y), 1])
        return {"colour": colour, "size": tf.constant(X[:, :1])}, tf.constant((Y == 1).astype("int32"))

    colour = tf.contrib.layers.sparse_column_with_hash_bucket("colour", hash_bucket_size=100)
    size = tf.contrib.layers.real_valued_column("size")
    both = L.DNNLinearCombinedClassifier(
        model_dir=str(folder), linear_feature_columns=[colour],
        dnn_feature_columns=[tf.contrib.layers.embedding_column(colour, dimension=4), size],
        dnn_hidden_units=[8], config=L.RunConfig(save_checkpoints_steps=50),
    )  # fmt: skip
    both.fit(input_fn=rows, steps=100)
    found = both.evaluate(input_fn=rows, steps=1)
    assert found["accuracy"] == 1
    assert found["auc"] > 0.99
    assert found["accuracy/baseline_label_mean"] == pytest.approx(2 / 3)


def _model(features, targets, mode, params):
    out = tf.layers.dense(features, 3, name="out")
    predictions = {"class": tf.argmax(out, 1), "scores": out}
    if mode == L.ModeKeys.INFER:
        return predictions, None, None
    loss = tf.losses.sparse_softmax_cross_entropy(targets, out)
    step = tf.contrib.layers.optimize_loss(loss, tf.train.get_global_step(), params["rate"], "Adam")
    return predictions, loss, step


def check_a_model_function_of_three_parts(folder):
    metrics = {
        "right": L.MetricSpec(tf.contrib.metrics.streaming_accuracy, prediction_key="class"),
        "as_core": L.MetricSpec(tf.metrics.accuracy, prediction_key="class"),
        ("by_hand", "class"): lambda said, true: tf.metrics.mean(tf.cast(tf.equal(said, true), tf.float32)),
    }
    own = L.Estimator(model_fn=_model, model_dir=str(folder), params={"rate": 0.05})
    own.fit(X, Y, steps=150, batch_size=50)
    found = own.evaluate(X, Y, metrics=metrics)
    said = own.predict(X, as_iterable=False)
    accuracy = np.mean(said["class"] == Y)
    assert accuracy > 0.95
    assert [found[name] for name in ("right", "as_core", "by_hand")] == pytest.approx([accuracy] * 3)
    assert said["scores"].shape == (150, 3)
    with pytest.raises(ValueError, match="prediction_key"):
        own.evaluate(X, Y, metrics={"right": L.MetricSpec(tf.metrics.accuracy)})


def check_model_fn_ops_and_a_scikit_face(folder):
    def model(features, labels, mode, config, model_dir):
        assert config.model_dir == model_dir == str(folder)
        return L.ModelFnOps(mode, *_model(features, labels, mode, {"rate": 0.05}))

    def halved(features, labels):
        return features / 2, labels

    face = L.SKCompat(L.Estimator(model, str(folder), feature_engineering_fn=halved))
    face.fit(X, Y, batch_size=50, steps=150)
    spec = L.MetricSpec(tf.contrib.metrics.streaming_accuracy, "class")
    assert face.score(X, Y, metrics={"accuracy": spec})["accuracy"] > 0.95
    assert face.predict(X, outputs=["class"])["class"].shape == (150,)


def check_a_monitor_stops_a_training_that_gets_no_better(folder):
    columns = L.infer_real_valued_columns_from_input(X)
    deep = L.DNNClassifier([8], columns, str(folder), 3, config=L.RunConfig(save_checkpoints_steps=10))
    # Of labels that say nothing the loss on others soon gets worse.
    r = np.random.RandomState(1)
    watch = L.monitors.ValidationMonitor(
        X, r.permutation(Y), every_n_steps=10, early_stopping_rounds=40,
        metrics={"right": L.MetricSpec(tf.contrib.metrics.streaming_accuracy, L.PredictionKey.CLASSES)},
    )  # fmt: skip
    deep.fit(X, Y, steps=2000, monitors=[watch])
    assert watch.early_stopped
    done = int(deep.get_variable_value("global_step"))
    assert watch.best_step + 40 <= done < 2000
    assert watch.best_metrics["loss"] == watch.best_value
    assert 0 <= watch.best_metrics["right"] <= 1
    wrong = L.monitors.ValidationMonitor(X, Y, every_n_steps=1, early_stopping_rounds=1, early_stopping_metric="f1")
    with pytest.raises(ValueError, match="f1"):
        deep.fit(X, Y, steps=30, monitors=[wrong])


def _experiment(folder, estimator=None, **more):
    columns = L.infer_real_valued_columns_from_input_fn(_rows)
    config = L.RunConfig(model_dir=str(folder), save_checkpoints_steps=20)
    made = estimator or L.DNNClassifier([8], columns, n_classes=3, config=config)
    return L.Experiment(made, _rows, _rows, train_steps=100, eval_steps=1, **more)


def check_an_experiment(folder):
    from tensorflow.contrib.learn.python.learn import learn_runner

    spec = L.MetricSpec(tf.contrib.metrics.streaming_accuracy, "classes")
    seen = []

    def counted(predictions, labels):
        seen.append(labels)
        return tf.metrics.accuracy(labels, predictions)

    def make(output_dir):
        metrics = {"right": spec, "seen": L.MetricSpec(counted, "classes")}
        return _experiment(output_dir, eval_metrics=metrics, min_eval_frequency=20)

    found, exports = learn_runner.run(make, str(folder / "a"))
    assert found["global_step"] == 100
    assert found["right"] == found["accuracy"] > 0.5
    assert exports == []
    # At least two on the way, and the one at the end.
    assert len(seen) >= 3
    assert learn_runner.run(_experiment, str(folder / "a"), "evaluate")["global_step"] == 100
    columns = [tf.feature_column.numeric_column("a", [2])]
    core = tf.estimator.DNNClassifier([4], columns, str(folder / "c"), 3, config=L.RunConfig(save_checkpoints_steps=20))
    found, _ = _experiment(folder, core, min_eval_frequency=20).local_run()
    assert found["global_step"] == 100
    found, _ = _experiment(folder / "b").test()
    assert found["global_step"] == 1
    with pytest.raises(ValueError, match="no method 'practise'"):
        learn_runner.run(make, str(folder / "a"), "practise")


def check_an_experiment_of_a_current_estimator(folder):
    columns = [tf.feature_column.numeric_column("a", [2]), tf.feature_column.numeric_column("b", [2])]

    def make(run_config, hparams):
        assert hparams.units == 4
        core = tf.estimator.DNNClassifier([hparams.units], columns, n_classes=3, config=run_config)
        return _experiment(folder, core)

    config = L.RunConfig(model_dir=str(folder))
    found, _ = L.learn_runner.run(make, run_config=config, hparams=tf.contrib.training.HParams(units=4))
    assert found["global_step"] == 100
    core = tf.estimator.DNNClassifier([4], columns, n_classes=3, config=config)
    with pytest.raises(ValueError, match="eval_metrics"):
        _experiment(folder, core, eval_metrics={})
    os.environ["TF_CONFIG"] = json.dumps({
        "cluster": {"chief": ["localhost:1"], "evaluator": ["localhost:2"]},
        "task": {"type": "evaluator", "index": 0},
    })  # fmt: skip
    try:
        # An evaluator is no part of the training's cluster: it evaluates what the others have trained.
        config = L.RunConfig(model_dir=str(folder))
        core = tf.estimator.DNNClassifier([4], columns, n_classes=3, config=config)
        found = L.learn_runner.run(lambda where: _experiment(where, core, eval_delay_secs=0), output_dir=str(folder))
        assert found["global_step"] == 100
    finally:
        del os.environ["TF_CONFIG"]


def check_what_is_not_taken(folder):
    columns = L.infer_real_valued_columns_from_input(X)
    linear = L.LinearClassifier(columns, str(folder), n_classes=3)
    with pytest.raises(ValueError, match="got both"):
        linear.fit(X, Y, input_fn=_rows, steps=1)
    with pytest.raises(ValueError, match="x and y, or input_fn"):
        linear.evaluate()
    with pytest.raises(ArgumentGone, match="export_strategies"):
        L.Experiment(linear, _rows, _rows, export_strategies=[lambda: None])
    with pytest.raises(ArgumentGone, match="LinearClassifier"):
        L.LinearClassifier(columns, enable_centered_bias=True)
    with pytest.raises(ValueError, match="ModelFnOps"):
        L.Estimator(lambda features, labels: features, str(folder / "own")).fit(X, Y, steps=1)
