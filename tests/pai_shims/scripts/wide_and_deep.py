"""The census tutorial's shape: wide and deep columns, a CSV input_fn, train and evaluate in turn."""

import os
import sys

import numpy as np
import tensorflow as tf

folder = sys.argv[1]
rng = np.random.RandomState(0)
path = os.path.join(folder, "census.csv")
with open(path, "w") as f:
    for _ in range(400):
        age, job = rng.randint(18, 80), rng.choice(["clerk", "chef", "smith"])
        f.write("%d,%s,%s\n" % (age, job, ">50K" if age > 40 and job != "chef" else "<=50K"))


def input_fn(data_file, epochs, batch):
    def parse(value):
        age, job, income = tf.decode_csv(value, record_defaults=[[0], [""], [""]])
        return {"age": age, "job": job}, tf.equal(income, ">50K")

    return tf.data.TextLineDataset(data_file).map(parse).repeat(epochs).batch(batch)


age = tf.feature_column.numeric_column("age")
job = tf.feature_column.categorical_column_with_vocabulary_list("job", ["clerk", "chef", "smith"])
buckets = tf.feature_column.bucketized_column(age, [25, 40, 60])
crossed = tf.feature_column.crossed_column([buckets, "job"], 100)
model = tf.estimator.DNNLinearCombinedClassifier(
    model_dir=os.path.join(folder, "model"),
    linear_feature_columns=[buckets, job, crossed],
    dnn_feature_columns=[buckets, tf.feature_column.indicator_column(job)],
    dnn_hidden_units=[16],
    linear_optimizer="Ftrl",
    dnn_optimizer="Adam",
)
for _ in range(2):
    model.train(lambda: input_fn(path, 8, 40))
    results = model.evaluate(lambda: input_fn(path, 1, 40))
RESULT = {key: float(value) for key, value in results.items()}
