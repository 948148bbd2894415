"""The estimator: its losses against a loop by hand, resuming, rows, exports, exporters, hooks, settings."""

from __future__ import annotations

import json
import os
import socket

import numpy as np
import pytest
import tensorflow as tf

E = tf.estimator
X = np.random.RandomState(0).rand(64, 3).astype("float32")
Y = (X @ np.array([1.0, 2.0, -1.0]) + 0.5).astype("float32")
zeros = tf.zeros_initializer()


def model_fn(features, labels, mode, params):
    x = features["x"] if isinstance(features, dict) else features
    out = tf.layers.dense(x, 1, kernel_initializer=zeros, name="out")[:, 0]
    if mode == E.ModeKeys.PREDICT:
        return E.EstimatorSpec(mode, predictions={"y": out, "twice": 2 * out})
    loss = tf.losses.mean_squared_error(labels, out)
    train_op = tf.train.AdamOptimizer(params["rate"]).minimize(loss, tf.train.get_global_step())
    metrics = {"mae": tf.metrics.mean_absolute_error(labels, out)}
    return E.EstimatorSpec(mode, loss=loss, train_op=train_op, eval_metric_ops=metrics)


def batches(epochs=None, size=16):
    return E.inputs.numpy_input_fn({"x": X}, Y, size, epochs, shuffle=False)


def raw():
    return E.export.ServingInputReceiver(*[{"x": tf.placeholder(tf.float32, [None, 3], "x")}] * 2)


def new(folder, **config):
    return E.Estimator(model_fn, str(folder), E.RunConfig(tf_random_seed=1, **config), {"rate": 0.05})


class Losses(E.SessionRunHook):
    def __init__(self):
        self.seen = []

    def before_run(self, run_context):
        return E.SessionRunArgs(tf.losses.get_losses())

    def after_run(self, run_context, run_values):
        self.seen.append(float(run_values.results[0]))


def by_hand(steps):
    with tf.Graph().as_default(), tf.Session() as session:
        x, y = tf.placeholder(tf.float32, [None, 3]), tf.placeholder(tf.float32, [None])
        out = tf.layers.dense(x, 1, kernel_initializer=zeros)[:, 0]
        loss = tf.losses.mean_squared_error(y, out)
        train = tf.train.AdamOptimizer(0.05).minimize(loss)
        session.run(tf.global_variables_initializer())
        losses = []
        for step in range(steps):
            at = slice(step * 16 % 64, step * 16 % 64 + 16)
            losses.append(session.run([loss, train], {x: X[at], y: Y[at]})[0])
        return losses, session.run(out, {x: X})


def check_losses_are_those_of_a_loop_by_hand_and_go_on(folder):
    estimator, hook = new(folder), Losses()
    estimator.train(batches(), hooks=[hook], steps=20)
    assert estimator.get_variable_value("global_step") == 20
    again = new(folder).train(batches(), hooks=[hook], max_steps=40)
    assert again.latest_checkpoint().endswith("model.ckpt-40")
    again.train(batches(), hooks=[hook], max_steps=40)
    losses, out = by_hand(40)
    np.testing.assert_allclose(hook.seen, losses, rtol=1e-6, atol=1e-7)
    rows = list(again.predict(batches(1)))
    assert len(rows) == 64
    np.testing.assert_allclose([row["y"] for row in rows], out, rtol=1e-5, atol=1e-6)
    got = again.evaluate(batches(1, 64))
    assert got["global_step"] == 40
    assert got["loss"] == pytest.approx(np.mean((out - Y) ** 2), rel=1e-5)
    assert got["mae"] == pytest.approx(np.mean(np.abs(out - Y)), rel=1e-5)
    assert set(again.get_variable_names()) >= {"out/kernel", "out/bias", "out/kernel/Adam"}
    assert set(next(again.predict(batches(1), predict_keys="y"))) == {"y"}
    assert next(again.predict(batches(1), yield_single_examples=False))["twice"].shape == (16,)


def check_export_serves(folder):
    estimator = new(folder).train(batches(), steps=5)
    path = estimator.export_savedmodel(str(folder / "export"), raw, assets_extra={"a/b.txt": __file__})
    assert os.path.exists(os.path.join(path, b"assets.extra/a/b.txt"))
    want = [row["y"] for row in estimator.predict(batches(1))]
    for served in (tf.contrib.predictor.from_saved_model(path), tf.contrib.predictor.from_estimator(estimator, raw)):
        np.testing.assert_allclose(served({"x": X})["y"], want, rtol=1e-6)
        with pytest.raises(ValueError, match="no inputs z"):
            served({"z": X})
    assert len(os.listdir(folder / "export")) == 1


def check_train_and_evaluate_exports_and_stops_early(folder):
    estimator = new(folder, save_checkpoints_steps=10)
    better = E.BestExporter("best", raw, exports_to_keep=2)
    exporters = [E.FinalExporter("final", raw), E.LatestExporter("latest", raw, exports_to_keep=3), better]
    spec = E.EvalSpec(batches(1), steps=None, exporters=exporters, throttle_secs=0)
    result, exported = E.train_and_evaluate(estimator, E.TrainSpec(batches(), max_steps=50), spec)
    assert result["global_step"] == 50
    assert [bool(one) for one in exported][:2] == [True, True]
    kept = {name: len(os.listdir(folder / "export" / name)) for name in ("final", "latest", "best")}
    assert kept == {"final": 1, "latest": 3, "best": 2}
    from pai_train.pai.estimator.evaluation import read_events

    assert list(read_events(estimator.eval_dir())) == [10, 20, 30, 40, 50]
    hook = E.experimental.stop_if_lower_hook(estimator, "loss", 100.0, run_every_secs=None, run_every_steps=1)
    estimator.train(batches(), hooks=[hook], max_steps=500)
    stopped = estimator.get_variable_value("global_step")
    assert 50 < stopped < 55
    stay = E.experimental.stop_if_no_decrease_hook(estimator, "loss", 1000, run_every_secs=None, run_every_steps=1)
    estimator.train(batches(), hooks=[stay], max_steps=stopped + 5)
    assert estimator.get_variable_value("global_step") == stopped + 5


def check_datasets_listeners_and_warm_start(folder):
    told = []

    class Listener(E.CheckpointSaverListener):
        def after_save(self, session, global_step_value):
            told.append(int(global_step_value))

    def input_fn(params):
        assert params["rate"] == 0.05
        return tf.data.Dataset.from_tensor_slices(({"x": X}, Y)).batch(16).repeat(2)

    first = new(folder / "a", save_checkpoints_steps=4)
    first.train(input_fn, saving_listeners=[Listener()])
    assert told == [0, 4, 8]
    other = E.Estimator(model_fn, str(folder / "b"), params={"rate": 0.0}, warm_start_from=str(folder / "a"))
    other.train(batches(), steps=1)
    np.testing.assert_allclose(other.get_variable_value("out/kernel"), first.get_variable_value("out/kernel"))
    more = tf.contrib.estimator.add_metrics(first, lambda labels, features: {"top": tf.metrics.mean(labels)})
    assert more.evaluate(batches(1))["top"] == pytest.approx(Y.mean(), rel=1e-5)


def check_pandas_inputs(_):
    import pandas as pd

    frame = pd.DataFrame({"n": np.arange(5), "s": list("abcde")})
    features, label = E.inputs.pandas_input_fn(frame, frame["n"] * 2, 2, 1, shuffle=False)()
    mixed = E.inputs.pandas_input_fn(frame, None, 5, 2, shuffle=True)()
    with tf.train.MonitoredSession() as session:
        got = []
        got.append(session.run([features["n"], features["s"], label]))
        got.append(session.run([features["n"], features["s"], label]))
        rows = np.concatenate([session.run(mixed["n"]) for _ in "ab"])
    assert [[part.tolist() for part in one] for one in got] == [
        [[0, 1], [b"a", b"b"], [0, 2]], [[2, 3], [b"c", b"d"], [4, 6]],
    ]  # fmt: skip
    assert sorted(rows) == sorted([*range(5)] * 2)
    with pytest.raises(ValueError, match="shuffle"):
        E.inputs.numpy_input_fn(X)


def check_canned_models(folder):
    canned(folder, "deep", "value")


def check_full_canned_models(folder):
    canned(folder, "linear", "both", "line")


def canned(folder, *names):
    column = tf.feature_column
    three = [column.numeric_column("x", (3,))]
    labels = (Y.mean() < Y).astype("int64")
    words = np.array(["no", "yes"])[labels]
    feed = lambda y, epochs=None: E.inputs.numpy_input_fn({"x": X}, y, 64, epochs, shuffle=False)
    quick = lambda: tf.train.AdamOptimizer(0.05)
    models = {
        "linear": (E.LinearClassifier(three, optimizer=lambda: tf.train.AdamOptimizer(0.1)), labels),
        "deep": (E.DNNClassifier([8], three, label_vocabulary=["no", "yes"], optimizer=quick), words),
        "both": (E.DNNLinearCombinedClassifier(None, three, "Ftrl", three, "Adam", [8], n_classes=3), labels),
        "value": (E.DNNRegressor([8], three, optimizer=quick), Y),
        "line": (E.LinearRegressor(three, optimizer=tf.train.FtrlOptimizer(0.5)), Y),
    }
    spec = column.make_parse_example_spec(three)
    receiver = E.export.build_parsing_serving_input_receiver_fn(spec)
    example = tf.train.Example()
    example.features.feature["x"].float_list.value.extend(X[0].tolist())
    for name in names:
        model, y = models[name]
        model.train(feed(y), steps=80)
        got = model.evaluate(feed(y, 1))
        assert got["loss"] == pytest.approx(64 * got["average_loss"], rel=1e-4), name
        row = next(model.predict(feed(y, 1)))
        if name in ("value", "line"):
            assert got["average_loss"] < np.var(Y), name
            assert got["label/mean"] == pytest.approx(Y.mean(), rel=1e-5)
        else:
            assert got["accuracy"] > 0.8, (name, got)
        served = tf.contrib.predictor.from_saved_model(model.export_saved_model(str(folder / name), receiver))
        out = served({next(iter(served.feed_tensors)): [example.SerializeToString()]})
        want = row["predictions"] if name in ("value", "line") else row["probabilities"]
        np.testing.assert_allclose(out.get("outputs", out.get("scores"))[0], want, rtol=1e-5)
        if name == "deep":
            assert row["classes"][0] == words[0].encode()
            assert out["classes"].tolist() == [[b"no", b"yes"]]


def check_run_config(_):
    cluster = {"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}
    tasks = {("chief", 0): (True, 0), ("worker", 1): (False, 2), ("ps", 0): (False, 3), ("evaluator", 0): (False, None)}
    for (part, index), (chief, number) in tasks.items():
        os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": part, "index": index}})
        config = E.RunConfig(save_checkpoints_steps=5)
        assert (config.is_chief, config.global_id_in_cluster) == (chief, number)
        assert (config.num_worker_replicas, config.num_ps_replicas, config.save_checkpoints_secs) == (3, 1, None)
        assert config.master == ("" if part == "evaluator" else f"grpc://{cluster[part][index]}")
    os.environ["TF_CONFIG"] = json.dumps(
        {"cluster": {"worker": ["b:1", "c:1"]}, "task": {"type": "worker", "index": 0}}
    )
    assert E.RunConfig().is_chief
    os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 2}})
    with pytest.raises(ValueError, match="no worker 2"):
        E.RunConfig()
    del os.environ["TF_CONFIG"]
    assert E.RunConfig().replace(model_dir="/m").model_dir == "/m"
    with pytest.raises(ValueError, match="train_distribute"):
        E.RunConfig(train_distribute=object())


def check_mistakes_are_told(folder):
    estimator = new(folder)
    with pytest.raises(ValueError, match="no checkpoint"):
        estimator.get_variable_names()
    with pytest.raises(ValueError, match="steps or max_steps"):
        estimator.train(batches(), steps=1, max_steps=1)
    with pytest.raises(ValueError, match="params"):
        E.Estimator(lambda features: None, params={"a": 1})
    with pytest.raises(ValueError, match="train_op"):
        E.EstimatorSpec("train", loss=tf.constant(1.0))
    with pytest.raises(ValueError, match="EstimatorSpec"):
        E.Estimator(lambda features, labels: None, str(folder)).train(batches(), steps=1)


def check_a_worker_that_comes_late_leaves_the_stop_alone(_):
    from pai_train.pai.estimator.early_stopping import _StopHook

    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
    places = [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]
    for door in doors:
        door.close()
    cluster = tf.train.ClusterSpec({"ps": [places[0]], "chief": [places[1]], "worker": [places[2]]})
    servers = {part: tf.train.Server(cluster, part, 0) for part in ("ps", "chief", "worker")}

    def steps(part, should_stop, most=3):
        chief, done = part == "chief", 0
        with (
            tf.Graph().as_default(),
            tf.device(tf.train.replica_device_setter(worker_device=f"/job:{part}/task:0", cluster=cluster)),
        ):
            step = tf.assign_add(tf.train.get_or_create_global_step(), 1)
            config = tf.ConfigProto(device_filters=["/job:ps", f"/job:{part}/task:0"])
            hook = _StopHook(chief, should_stop, None, 1)
            with tf.train.MonitoredTrainingSession(servers[part].target, chief, hooks=[hook], config=config) as session:
                while done < most and not session.should_stop():
                    session.run(step)
                    done += 1
        return done

    assert steps("chief", lambda: False) == 3
    assert steps("worker", lambda: True) == 3
    assert steps("chief", lambda: True) == 1
    assert steps("worker", lambda: False) == 1
