"""A model that learns: several optimizer steps per call into TensorFlow, on one device or mirrored over several."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from pai_train.errors import DataError, did_you_mean
from pai_train.models.finite import not_finite_error
from pai_train.training.devices import strategy
from pai_train.training.labels import Labels
from pai_train.training.totals import METRIC_SUMS, Totals
from pai_train.training.variable_names import model_names, optimizer_names

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pai_train.models.contracts import LabelSpec
    from pai_train.training.devices import Devices

OPTIMIZERS = {
    "adam": keras.optimizers.Adam,
    "adamw": keras.optimizers.AdamW,
    "rmsprop": keras.optimizers.RMSprop,
    "sgd": keras.optimizers.SGD,
}

SUPERBATCH_BYTES = 32 * 2**20
"""Bytes of the images of a superbatch, unless one batch alone takes more."""


class Learner:
    """A model with its optimizer and loss, on its devices.

    A step's loss is the sum of the rows' losses over the rows of the whole global batch, summed over the replicas, so
    that any number of replicas gives the same weights up to rounding. Two layers are exempt by their nature: batch
    normalisation normalises per replica, and dropout draws one mask for all replicas.

    Args:
        build: Builds the model; its variables are made on the devices. Its output are logits or values.
        label: What is learned. Classification minimises cross-entropy, regression the mean squared error.
        optimizer: A name in OPTIMIZERS.
        learning_rate: Above 0.
        devices: One per replica.

    Attributes:
        model: The Keras model.
        optimizer: The Keras optimizer.
        variables: Every variable that training changes, by a name that is the same in every process: weights, states
            of random generators, optimizer slots, iteration and learning rate.
        traces: How often each function was traced; 1 each, whatever the shapes.
    """

    model: Any
    optimizer: Any
    variables: dict[str, Any]
    traces: dict[str, int]
    row_counts = 1

    def __init__(
        self, build: Callable[[], Any], label: LabelSpec, *, optimizer: str, learning_rate: float, devices: Devices
    ) -> None:
        if optimizer not in OPTIMIZERS:
            raise ValueError(f"no optimizer {optimizer!r}; {did_you_mean(optimizer, OPTIMIZERS)}")
        self._label = label
        self._labels = Labels(label)
        self._strategy = strategy(devices)
        with self._strategy.scope():
            self.model = build()
            self.optimizer = OPTIMIZERS[optimizer](learning_rate=learning_rate)
            self.optimizer.build(self.model.trainable_variables)
        self.variables = _variables(self.model, self.optimizer)
        self._dtypes = {tensor.name: tf.as_dtype(tensor.dtype) for tensor in self.model.inputs}
        self._shapes = [tuple(tensor.shape[1:]) for tensor in self.model.inputs]
        # The label comes last, as `_steps` counts it.
        self._reals = [name for name, dtype in self._dtypes.items() if dtype.is_floating]
        if self._labels.dtype.is_floating:
            self._reals.append(label.column)
        self.traces = {}
        self._train = self._function("train", lambda *given: self._steps(*given, training=True), with_label=True)
        self._evaluate = self._function("evaluate", lambda *given: self._steps(*given, training=False), with_label=True)
        self._predict = self._function("predict", self._probabilities, with_label=False)

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return int(sum(np.prod(variable.shape) for variable in self.model.trainable_variables))

    @property
    def image_bytes(self) -> int:
        """Bytes of a row's images, as the feed delivers them."""
        return sum(math.prod(shape) for shape in self._shapes if shape)

    def train(self, columns: Mapping[str, Any], rows: Sequence[int]) -> Totals:
        """Runs one optimizer step per batch.

        Args:
            columns: Per column one vector over all batches, batch after batch; the features and the label. Of images
                one array of shape (rows, height, width, channels).
            rows: Row count of each batch, 1 or more; their sum is the vectors' length.

        Raises:
            DataError: A column is missing, a number is NaN or infinite, or a label is no known class; no variable
                has changed then.
        """
        return self._run(self._train, columns, rows)

    def evaluate(self, columns: Mapping[str, Any], rows: Sequence[int]) -> Totals:
        """Measures loss and metrics of batches as in `train`, in inference mode; changes nothing."""
        return self._run(self._evaluate, columns, rows)

    def predict(self, columns: Mapping[str, Any]) -> NDArray[np.float32]:
        """Returns probabilities of shape (rows, n classes), or values of shape (rows,).

        Raises:
            DataError: A column is missing, or holds NaN or infinite values.
        """
        found, odd = self._predict(*self._features(columns))
        self._check_finite(odd)
        result: NDArray[np.float32] = found.numpy()
        return result

    def _check_finite(self, odd: Any) -> None:
        if (counts := odd.numpy()).any():
            # Without a label to count, the names are one longer.
            raise not_finite_error(dict(zip(self._reals, counts.tolist(), strict=False)))

    def _function(self, name: str, body: Callable[..., Any], *, with_label: bool) -> Any:
        """Returns `body` as one graph for all row counts."""
        self.traces[name] = 0

        def traced(*given: Any) -> Any:
            self.traces[name] += 1
            return body(*given)

        # TensorFlow counts retracings by code object and would take each new learner for a retraced old one.
        own = partial(traced)

        pairs = zip(self._shapes, self._dtypes.values(), strict=True)
        signature = [tf.TensorSpec([None, *shape], dtype) for shape, dtype in pairs]
        if with_label:
            signature += [tf.TensorSpec([None], self._labels.dtype), tf.TensorSpec([self.row_counts, None], tf.int64)]
        return tf.function(own, input_signature=signature, autograph=False)

    def _run(self, function: Any, columns: Mapping[str, Any], rows: Sequence[int]) -> Totals:
        features = self._features(columns)
        label = self._column(columns, self._label.column)
        counts = self._counts(columns, rows)
        labels = self._labels.tensor(label)
        length = int(labels.shape[0])
        whole = counts[-1]
        if not whole.size or whole.min() < 1 or counts[0].sum() != length:
            raise ValueError(f"batches of {list(rows)} rows do not make up columns of {length} rows")
        found, unknown, odd = function(*features, labels, tf.constant(counts))
        self._check_finite(odd)
        if int(unknown):
            raise self._labels.unknown(label)
        values = found.numpy()
        names = METRIC_SUMS[self._label.task]
        return Totals(whole, values[:, 0], {name: values[:, index] for index, name in enumerate(names, start=1)})

    def _counts(self, columns: Mapping[str, Any], rows: Sequence[int]) -> NDArray[np.int64]:
        """Returns int64 (row_counts, steps): the rows of each batch in these columns; last, those of all workers."""
        return np.asarray([rows], np.int64)

    def _features(self, columns: Mapping[str, Any]) -> list[Any]:
        """Returns the model's inputs in their order, as tensors of their dtype."""
        return [_tensor(self._column(columns, name), dtype) for name, dtype in self._dtypes.items()]

    def _column(self, columns: Mapping[str, Any], name: str) -> Any:
        if name not in columns:
            raise DataError(f"the batch has no column {name!r}", todo=did_you_mean(name, columns))
        return columns[name]

    def _steps(self, *given: Any, training: bool) -> tuple[Any, Any, Any]:
        """Runs, inside a graph, one step per batch.

        Returns:
            float64 (steps, 1 + metric sums), the number of rows without a class, and `_not_finite` of all columns.
        """
        *features, labels, counts = given
        rows, whole = counts[0], counts[-1]
        targets, unknown = self._labels.encode(labels)
        odd = _not_finite([*features, labels])
        # With a label that is no class, or a number that is none, no step runs, so that the caller can report it with
        # all variables untouched.
        steps = tf.where(self._anywhere(unknown + tf.reduce_sum(odd)) == 0, tf.size(rows), 0)
        features, targets = self._padded(features, targets)
        ends = tf.cumsum(rows)
        width = 1 + len(METRIC_SUMS[self._label.task])
        found = tf.TensorArray(tf.float64, size=steps, element_shape=[width])

        def step(index: Any, found: Any) -> tuple[Any, Any]:
            batch = (ends[index] - rows[index], rows[index], whole[index])
            per_replica = self._strategy.run(lambda: self._replica_step(features, targets, batch, training=training))
            return index + 1, found.write(index, self._strategy.reduce("SUM", per_replica, axis=None))

        _, found = tf.while_loop(lambda index, _: index < steps, step, (0, found), parallel_iterations=1)
        return found.stack(), unknown, odd

    def _anywhere(self, count: Any) -> Any:
        """Returns a count over all workers."""
        return count

    def _padded(self, features: list[Any], targets: Any) -> tuple[list[Any], Any]:
        """Returns vectors that have a row for a replica without rows to take."""
        return features, targets

    def _replica_step(
        self, features: Sequence[Any], targets: Any, batch: tuple[Any, Any, Any], *, training: bool
    ) -> Any:
        """Runs this replica's share of one batch; its results add up over the replicas."""
        begin, rows, whole = batch
        low, high = self._share(begin, rows)
        # A replica without rows takes one at weight 0: the mean of nothing would be NaN in batch normalisation.
        weight = tf.cast(high > low, tf.float32)
        share = slice(low, tf.maximum(high, low + 1))
        inputs, target = [vector[share] for vector in features], targets[share]
        with tf.GradientTape() as tape:
            outputs = self._call(inputs, training=training)
            loss = weight * tf.reduce_sum(self._loss(target, outputs)) / tf.cast(whole, tf.float32)
            if self.model.losses:
                loss += tf.add_n([tf.cast(extra, tf.float32) for extra in self.model.losses]) / self._replicas
        if training:
            variables = self.model.trainable_variables
            gradients = [_dense(gradient) for gradient in tape.gradient(loss, variables)]
            self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        sums = [tf.reduce_sum(tf.cast(values, tf.float64)) for values in self._metrics(target, outputs)]
        return tf.stack([tf.cast(loss, tf.float64), *(tf.cast(weight, tf.float64) * value for value in sums)])

    @property
    def _replicas(self) -> int:
        return int(self._strategy.num_replicas_in_sync)

    def _share(self, begin: Any, rows: Any) -> tuple[Any, Any]:
        """Returns the bounds of this replica's rows; shares differ by one row at most."""
        replica = tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int64)
        replica, count = self._place(replica)
        return begin + replica * rows // count, begin + (replica + 1) * rows // count

    def _place(self, replica: Any) -> tuple[Any, int]:
        """Returns the number of a replica among those of this worker, and how many these are."""
        return replica, self._replicas

    def _call(self, features: Sequence[Any], *, training: bool) -> Any:
        """Returns float32 logits of shape (rows, n classes), or values of shape (rows,)."""
        by_name = dict(zip(self._dtypes, features, strict=True))
        # The structure the model was built with: one tensor, a list or a dict of them.
        inputs = keras.tree.map_structure(lambda tensor: by_name[tensor.name], self.model.input)
        outputs = tf.cast(self.model(inputs, training=training), tf.float32)
        return outputs if self._label.task == "classification" else tf.reshape(outputs, [-1])

    def _loss(self, target: Any, outputs: Any) -> Any:
        """Returns the loss of each row."""
        if self._label.task == "classification":
            return tf.nn.sparse_softmax_cross_entropy_with_logits(labels=target, logits=outputs)
        return tf.square(outputs - target)

    def _metrics(self, target: Any, outputs: Any) -> list[Any]:
        """Returns each row's part of the sums in METRIC_SUMS."""
        if self._label.task == "classification":
            return [tf.equal(tf.argmax(outputs, axis=-1, output_type=tf.int32), target)]
        return [tf.square(outputs - target), tf.abs(outputs - target)]

    def _probabilities(self, *features: Any) -> Any:
        def replica() -> Any:
            low, high = self._share(tf.constant(0, tf.int64), tf.shape(features[0], tf.int64)[0])
            outputs = self._call([vector[low:high] for vector in features], training=False)
            return tf.nn.softmax(outputs) if self._label.task == "classification" else outputs

        found = tf.concat(self._strategy.experimental_local_results(self._strategy.run(replica)), axis=0)
        return found, _not_finite(features)


def auto_steps(parameters: int, batch_size: int, image_bytes: int = 0) -> int:
    """Returns how many steps one call into TensorFlow should run for `train.steps_per_call: auto`.

    Enough that a call's fixed cost vanishes beside its work, few enough that it stays short and its rows small.

    Args:
        parameters: Trainable parameters of the model.
        batch_size: Rows of a global batch.
        image_bytes: Bytes of a row's images.
    """
    by_work = 100_000_000 // max(1, parameters * batch_size)
    by_rows = 65_536 // batch_size
    # What is evaluated comes in batches of 256 rows at least.
    by_bytes = SUPERBATCH_BYTES // (max(batch_size, 256) * max(1, image_bytes))
    return max(1, min(64, by_work, by_rows, by_bytes))


def _variables(model: Any, optimizer: Any) -> dict[str, Any]:
    names = model_names([variable.path for variable in model.variables])
    by_identity = {id(variable): name for variable, name in zip(model.variables, names, strict=True)}
    owners = [(variable.path, by_identity[id(variable)]) for variable in model.trainable_variables]
    slots = optimizer_names([variable.path for variable in optimizer.variables], owners)
    pairs = [
        *((f"model/{name}", variable) for name, variable in zip(names, model.variables, strict=True)),
        *((f"optimizer/{name}", variable) for name, variable in zip(slots, optimizer.variables, strict=True)),
    ]
    return {name: variable.value for name, variable in pairs}


def _not_finite(vectors: Sequence[Any]) -> Any:
    """Returns how many values of each floating vector are NaN or infinite, int64 of shape (floating vectors,)."""
    counts = [tf.math.count_nonzero(~tf.math.is_finite(vector)) for vector in vectors if vector.dtype.is_floating]
    return tf.stack(counts) if counts else tf.zeros([0], tf.int64)


def _dense(gradient: Any) -> Any:
    # Replicas with unequal shares have unequal numbers of slices, which the collective gather refuses.
    return tf.convert_to_tensor(gradient) if isinstance(gradient, tf.IndexedSlices) else gradient


def _tensor(values: Any, dtype: Any) -> Any:
    tensor = values if tf.is_tensor(values) else tf.constant(values)
    return tensor if tensor.dtype == dtype else tf.cast(tensor, dtype)
