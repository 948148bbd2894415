"""A factorisation machine with a deep part, as an Estimator with contrib's layers; trained, evaluated, exported."""

import os

import numpy as np
import tensorflow as tf

flags = tf.app.flags
flags.DEFINE_string("model_dir", "", "")
flags.DEFINE_string("deep_layers", "16,8", "")
FLAGS = flags.FLAGS
RESULT = {}
FEATURES, FIELDS, K = 20, 3, 4
rng = np.random.RandomState(0)
ids = rng.randint(0, FEATURES, (256, FIELDS))
truth = rng.randn(FEATURES)
labels = (truth[ids].sum(1) > 0).astype("float32")


def input_fn(epochs):
    dataset = tf.data.Dataset.from_tensor_slices(({"ids": ids}, labels))
    return dataset.repeat(epochs).batch(64).make_one_shot_iterator().get_next()


def model_fn(features, labels, mode, params):
    bias = tf.get_variable("bias", [1], initializer=tf.constant_initializer(0.0))
    w = tf.get_variable("w", [FEATURES], initializer=tf.glorot_normal_initializer())
    v = tf.get_variable("v", [FEATURES, K], initializer=tf.glorot_normal_initializer())
    emb = tf.nn.embedding_lookup(v, features["ids"])
    first = tf.reduce_sum(tf.nn.embedding_lookup(w, features["ids"]), 1)
    second = 0.5 * tf.reduce_sum(tf.square(tf.reduce_sum(emb, 1)) - tf.reduce_sum(tf.square(emb), 1), 1)
    deep = tf.reshape(emb, [-1, FIELDS * K])
    reg = tf.contrib.layers.l2_regularizer(params["l2"])
    for i, units in enumerate(map(int, FLAGS.deep_layers.split(","))):
        deep = tf.contrib.layers.fully_connected(deep, units, weights_regularizer=reg, scope="mlp%d" % i)
        deep = tf.contrib.layers.batch_norm(
            deep, decay=0.9, is_training=mode == tf.estimator.ModeKeys.TRAIN, updates_collections=None, scope="bn%d" % i
        )
    deep = tf.contrib.layers.fully_connected(deep, 1, activation_fn=tf.identity, scope="deep_out")
    logits = bias + first + second + tf.reshape(deep, [-1])
    prob = tf.sigmoid(logits)
    outputs = {
        tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY: tf.estimator.export.PredictOutput(
            {"prob": prob}
        )
    }
    if mode == tf.estimator.ModeKeys.PREDICT:
        return tf.estimator.EstimatorSpec(mode, predictions={"prob": prob}, export_outputs=outputs)
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits))
    loss += tf.losses.get_regularization_loss()
    train_op = tf.train.AdamOptimizer(params["rate"]).minimize(loss, global_step=tf.train.get_global_step())
    metrics = {"auc": tf.metrics.auc(labels, prob)}
    return tf.estimator.EstimatorSpec(mode, loss=loss, train_op=train_op, eval_metric_ops=metrics)


def main(_):
    config = tf.estimator.RunConfig(log_step_count_steps=50, save_summary_steps=50).replace(
        session_config=tf.ConfigProto(device_count={"GPU": 0, "CPU": 1})
    )
    model = tf.estimator.Estimator(model_fn, FLAGS.model_dir, config, {"l2": 1e-4, "rate": 0.01})
    tf.estimator.train_and_evaluate(
        model,
        tf.estimator.TrainSpec(lambda: input_fn(40)),
        tf.estimator.EvalSpec(lambda: input_fn(1), steps=None, start_delay_secs=0, throttle_secs=60),
    )
    RESULT.update(model.evaluate(lambda: input_fn(1)))
    feature = {"ids": tf.placeholder(tf.int64, [None, FIELDS], name="ids")}
    receiver = tf.estimator.export.build_raw_serving_input_receiver_fn(feature)
    path = model.export_savedmodel(os.path.join(FLAGS.model_dir, "serve"), receiver)
    served = tf.contrib.predictor.from_saved_model(path)({"ids": ids[:8]})["prob"]
    asked = [row["prob"] for _, row in zip(range(8), model.predict(lambda: input_fn(1), predict_keys="prob"))]
    RESULT["served_off_by"] = float(np.abs(served - asked).max())


if __name__ == "__main__":
    try:
        tf.app.run()
    except SystemExit as end:
        if end.code:
            raise
