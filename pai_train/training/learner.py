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
from pai_train.training.compiled import CompiledSteps, compiled_steps
from pai_train.training.devices import strategy
from pai_train.training.labels import Labels
from pai_train.training.objective import for_compile, predicted, row_factors
from pai_train.training.optimizers import make_optimizer
from pai_train.training.own_step import OwnStep, has_own_step, refuse_unsuited
from pai_train.training.precision import build_as
from pai_train.training.step_graph import Learning, Rows, repeated
from pai_train.training.step_plan import StepPlan
from pai_train.training.tensors import not_finite, tensor_of
from pai_train.training.totals import METRIC_SUMS, Totals
from pai_train.training.updates import Updates
from pai_train.training.variables import Best, averaged, named_variables
from pai_train.training.weights import refuse_negative

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from pai_train.models.contracts import LabelSpec
    from pai_train.training.devices import Devices


class Learner:
    """A model with its optimizer and loss, on its devices.

    A step's loss is the sum of the rows' losses over the rows of the whole global batch, summed over the replicas, so
    that any number of replicas gives the same weights up to rounding. Two layers are exempt by their nature: batch
    normalisation normalises per replica, keeping the mean of their statistics, and dropout draws one mask for all
    replicas. Weights multiply the rows' losses in training and change neither that divisor nor what is evaluated.

    Args:
        build: Builds the model; its variables are made on the devices. Its output are logits or values.
        label: What is learned. Classification minimises cross-entropy, regression the mean squared error.
        optimizer: A name in `optimizers.OPTIMIZERS`.
        learning_rate: Above 0.
        devices: One per replica.
        plan: What a step does besides.

    Attributes:
        model: The Keras model.
        optimizer: The Keras optimizer.
        variables: Every variable that training changes, by a name that is the same in every process: weights, states
            of random generators, optimizer slots, iteration and learning rate; where the plan asks for them
            sums of gradients, the scale of the loss, and the best weights too.
        traces: How often each function was traced; 1 each, whatever the shapes.
    """

    model: Any
    optimizer: Any
    variables: dict[str, Any]
    traces: dict[str, int]
    row_counts = 1

    def __init__(
        self,
        build: Callable[[], Any],
        label: LabelSpec,
        *,
        optimizer: str,
        learning_rate: float,
        devices: Devices,
        plan: StepPlan = StepPlan(),
    ) -> None:
        self._label = label
        self._plan = plan
        self._labels = Labels(label)
        self._strategy = strategy(devices)
        with self._strategy.scope():
            self.model = averaged(partial(build_as, build, plan.precision))
            self.optimizer = make_optimizer(optimizer, learning_rate, plan.schedule, plan.precision)
            self.optimizer.build(self.model.trainable_variables)
        self._own: OwnStep | None = None
        if has_own_step(self.model):
            refuse_unsuited(self.model, plan, self._replicas)
            self.compile()
            self._own = OwnStep(self.model)
        of_model, of_optimizer = named_variables(self.model, self.optimizer)
        self.variables = {**of_model, **of_optimizer}
        self._updates: Updates | None = None
        if not plan.one_update:
            trained = {id(variable.value) for variable in self.model.trainable_variables}
            names = {id(one): name for name, one in of_model.items() if id(one) in trained}
            by_name = {names[id(one.value)]: one for one in self.model.trainable_variables}
            self._updates = Updates(self.optimizer, by_name, self._strategy, plan, devices.names[0])
            self.variables |= self._updates.state
        self._best = Best(of_model, "/cpu:0") if plan.keep_best else None
        self.variables |= self._best.state if self._best is not None else {}
        self._dtypes = {tensor.name: tf.as_dtype(tensor.dtype) for tensor in self.model.inputs}
        self._shapes = [tuple(tensor.shape[1:]) for tensor in self.model.inputs]
        # The label comes last, as `_steps` counts it.
        self._reals = [name for name, dtype in self._dtypes.items() if dtype.is_floating]
        self._reals += [label.column] if self._labels.dtype.is_floating else []
        self._reals += [plan.weight] if plan.weight is not None else []
        self._devices = devices
        self._compiled: CompiledSteps | None = None
        self.traces = {}
        self.plain = self._function("train", lambda *given: self._steps(*given, training=True), with_label=True)
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

    def expect(self, batch_size: int, steps: int) -> None:
        """Tells `train` the rows of a full batch and the most steps of a call, for XLA where the plan asks for it."""
        self._compiled = compiled_steps(self, self._plan, self._devices, batch_size, steps)

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
        return self._run(self.plain, columns, rows)

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

    def compile(self) -> None:
        """Gives the model its optimizer and loss, for callbacks and a train_step of its own."""
        if self.model.compiled:
            return
        with self._strategy.scope():
            loss, found = for_compile(self._label.task)
            self.model.compile(
                optimizer=self.optimizer,
                loss=loss,
                metrics=None if has_own_step(self.model) else found,
                auto_scale_loss=False,
            )

    def keep_best(self) -> None:
        """Keeps a copy of the weights, which `restore_best` brings back; only with `plan.keep_best`."""
        if self._best is not None:
            self._best.keep()

    def restore_best(self) -> None:
        """Makes the weights those that were kept last."""
        if self._best is not None:
            self._best.restore()

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
        given = zip(self._shapes, self._dtypes.values(), strict=True)
        signature = [tf.TensorSpec([None, *shape], dtype) for shape, dtype in given]
        if with_label:
            signature += [tf.TensorSpec([None], self._labels.dtype), tf.TensorSpec([self.row_counts, None], tf.int64)]
        if name == "train" and self._plan.weight is not None:
            signature.append(tf.TensorSpec([None], tf.float64))
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
        given = [*features, labels, tf.constant(counts)]
        weights = None
        if function is self.plain and self._plan.weight is not None:
            weights = tensor_of(self._column(columns, self._plan.weight), tf.float64)
            given.append(weights)
        run = self._compiled.run if function is self.plain and self._compiled is not None else function
        found, unknown, odd = run(*given)
        self._check_finite(odd)
        if weights is not None and int(tf.math.count_nonzero(weights < 0)):
            raise refuse_negative(self._plan.weight or "", weights)
        if int(unknown):
            raise self._labels.unknown(label)
        values = found.numpy()
        names = () if function is self.plain and self._own is not None else METRIC_SUMS[self._label.task]
        return Totals(whole, values[:, 0], {name: values[:, index] for index, name in enumerate(names, start=1)})

    def _counts(self, columns: Mapping[str, Any], rows: Sequence[int]) -> NDArray[np.int64]:
        """Returns int64 (row_counts, steps): the rows of each batch in these columns; last, those of all workers."""
        return np.asarray([rows], np.int64)

    def _features(self, columns: Mapping[str, Any]) -> list[Any]:
        """Returns the model's inputs in their order, as tensors of their dtype."""
        return [tensor_of(self._column(columns, name), dtype) for name, dtype in self._dtypes.items()]

    def _column(self, columns: Mapping[str, Any], name: str) -> Any:
        if name not in columns:
            raise DataError(f"the batch has no column {name!r}", todo=did_you_mean(name, columns))
        return columns[name]

    def _steps(self, *given: Any, training: bool) -> tuple[Any, Any, Any]:
        """Runs, inside a graph, one step per batch.

        Returns:
            float64 (steps, 1 + metric sums), the number of rows without a class, and `not_finite` of all columns.
        """
        vectors, counts, steps, unknown, odd = self.examined(*given, training=training)
        return self.taken(vectors, counts, 0, steps, training), unknown, odd

    def taken(self, vectors: Any, counts: Any, begin: Any, end: Any, training: bool) -> Any:
        """Takes, inside a graph, the steps from `begin` to before `end` of what was examined."""
        features, targets, weighed = self._padded(vectors)
        rows, whole, ends = counts[0], counts[-1], tf.cumsum(counts[0])

        def step(index: Any) -> Any:
            index += begin
            batch = (ends[index] - rows[index], rows[index], whole[index])
            taken = partial(self._replica_step, features, targets, weighed, batch, training=training)
            return self.step(taken, whole[index], training)

        return repeated(step, end - begin, end - begin, self.width(training))

    def examined(self, *given: Any, training: bool) -> tuple[Any, Any, Any, Any, Any]:
        """Returns features, targets and weights; row counts; how many steps to run; and what `_steps` tells of rows.

        Where a row is wrong no step runs, so that the caller can report it with all variables untouched.
        """
        features, (labels, counts, *weights) = given[: len(self._shapes)], given[len(self._shapes) :]
        targets, unknown = self._labels.encode(labels)
        odd = not_finite([*features, labels, *weights])
        wrong = unknown + tf.reduce_sum(odd)
        if weights:
            wrong += tf.math.count_nonzero(weights[0] < 0)
        weighed = row_factors(self._plan.class_weights, targets, weights) if training else None
        steps = tf.where(self._anywhere(wrong) == 0, tf.size(counts[0]), 0)
        return (features, targets, weighed), counts, steps, unknown, odd

    def width(self, training: bool) -> int:
        """Returns how many values a step gives."""
        return 1 if training and self._own is not None else 1 + len(METRIC_SUMS[self._label.task])

    def step(self, replica: Callable[[], Any], whole: Any, training: bool) -> Any:
        """Takes, inside a graph, one step on all replicas; returns the sums of what they give."""
        per_replica = self._strategy.run(replica)
        if training and self._updates is not None:
            per_replica, gradients = per_replica
            self._updates.take(gradients, whole)
        return self._strategy.reduce("SUM", per_replica, axis=None)

    def _anywhere(self, count: Any) -> Any:
        """Returns a count over all workers."""
        return count

    def _padded(self, vectors: Any) -> Any:
        """Returns vectors, in the structure given, that have a row for a replica without rows to take."""
        return vectors

    def _replica_step(
        self, features: Sequence[Any], targets: Any, weights: Any, batch: tuple[Any, Any, Any], *, training: bool
    ) -> Any:
        """Runs this replica's share of one batch; its results, and gradients, add up over the replicas."""
        begin, rows, whole = batch
        low, high = self._share(begin, rows)
        # A replica without rows takes one at weight 0: the mean of nothing would be NaN in batch normalisation.
        weight = tf.cast(high > low, tf.float32)
        share = slice(low, tf.maximum(high, low + 1))
        inputs, weights = [vector[share] for vector in features], None if weights is None else weights[share]
        return self.learned(self.whole_model, inputs, Rows(targets[share], weights, weight, whole), training=training)

    def learned(self, call: Callable[..., Any], inputs: Sequence[Any], rows: Rows, *, training: bool) -> Any:
        """Runs, inside a graph, one replica's share of one batch, through `call` instead of the model."""
        if training and self._own is not None:
            return self._own.take(self._inputs(inputs), rows.target, rows.weights)
        one = Learning(self._label.task, self.model, self.optimizer, self._updates, self._replicas)
        return one.step(lambda: call(inputs, training=training), rows, training=training)

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

    def whole_model(self, features: Sequence[Any], *, training: bool) -> Any:
        """Calls the model on its inputs in their order."""
        return self.model(self._inputs(features), training=training)

    def _inputs(self, features: Sequence[Any]) -> Any:
        """Returns the structure the model was built with: one tensor, a list or a dict of them."""
        by_name = dict(zip(self._dtypes, features, strict=True))
        return keras.tree.map_structure(lambda tensor: by_name[tensor.name], self.model.input)

    def _probabilities(self, *features: Any) -> Any:
        def replica() -> Any:
            low, high = self._share(tf.constant(0, tf.int64), tf.shape(features[0], tf.int64)[0])
            outputs = self.whole_model([vector[low:high] for vector in features], training=False)
            return predicted(self._label.task, outputs)

        found = tf.concat(self._strategy.experimental_local_results(self._strategy.run(replica)), axis=0)
        return found, not_finite(features)
