"""Steps that XLA compiles: full batches of one shape, the same code however many of them a call runs."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from pai_train.training.lookups import parts
from pai_train.training.step_graph import Rows, repeated

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.training.devices import Devices
    from pai_train.training.learner import Learner
    from pai_train.training.step_plan import StepPlan

log = logging.getLogger(__name__)

COMPILED_WORK = 8_000_000
"""Parameters times rows of a batch up to which `train.jit_compile: auto` compiles: above, kernels take all the time."""
COMPILED_AFTER = 4096
"""Steps of a training that `auto` runs before it compiles, which takes as long as some thousand tiny steps."""

_REFUSALS = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError, tf.errors.InternalError)
_GATHERS = {"GatherV2", "GatherNd", "ResourceGather", "ResourceGatherNd"}
_UNSEEN = {"Assert", "Print", "PrintV2", "CheckNumerics", "CheckNumericsV2"}
_RANDOM = {"RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal", "RandomShuffle"}
_RANDOM |= {"ParameterizedTruncatedNormal", "Multinomial", "RandomGamma", "RandomPoissonV2"}
_DIFFERENT = _UNSEEN | _RANDOM
"""Operations that XLA leaves out, or whose random numbers come out of no state that could be restored."""


def compiled_steps(
    learner: Learner, plan: StepPlan, devices: Devices, batch_size: int, steps: int
) -> CompiledSteps | None:
    """Returns what compiles the steps of a learner; None where that is not asked for, or does not pay.

    Args:
        learner: Its functions for training are traced when they are needed first.
        plan: Says whether to compile.
        devices: Where it runs.
        batch_size: Rows of a full batch.
        steps: Most steps of a call.
    """
    if plan.jit_compile is False:
        return None
    if devices.replicas > 1 or devices.cluster is not None:
        if plan.jit_compile is True:
            log.warning("train.jit_compile: steps of several replicas are not compiled")
        return None
    if plan.jit_compile is True:
        return CompiledSteps(learner, batch_size, steps, 0, plan)
    pays = (
        devices.kind == "cpu"
        and plan.precision == "float32"
        and not learner.image_bytes
        and learner.parameters * batch_size <= COMPILED_WORK
        and learner.width(training=True) > 1
        and not _shares_weights(learner.model)
    )
    return CompiledSteps(learner, batch_size, steps, COMPILED_AFTER, plan) if pays else None


def _shares_weights(model: Any) -> bool:
    """Tells whether weights are used many times per row, so that their number does not tell the work."""
    if any(len(variable.shape) > 2 for variable in model.trainable_variables):
        return True
    layers = model._flatten_layers()
    return any(isinstance(layer, keras.layers.RNN | keras.layers.TimeDistributed) for layer in layers)


class CompiledSteps:
    """Trains on full batches by one compiled function, on others by the learner's own.

    Which function takes a step follows from the batch's rows and from the number of the step alone, and the function
    is the same for any number of steps: calls may be cut anywhere, and weights have the same bits. What XLA compiles
    differs from what it does not in the last bits.

    Args:
        learner: What learns, on one replica.
        batch_size: Rows of a full batch.
        steps: Most steps of one call of the function.
        after: Steps of the training that are not compiled, from its beginning on.
        plan: How a step is taken.
    """

    def __init__(self, learner: Learner, batch_size: int, steps: int, after: int, plan: StepPlan) -> None:
        self._learner = learner
        self._batch_size = batch_size
        self._room = steps
        self._after = after
        self._plan = plan
        # Behind the row counts come the weights.
        self._counts = -1 if plan.weight is None else -2
        self._functions: dict[bool, Any] = {}
        self._inner = tf.function(self._steps, autograph=False, jit_compile=True)
        self._check: Any = None
        self._refused = False
        self._parts: Any = None

    def run(self, *given: Any) -> tuple[Any, Any, Any]:
        """Trains on batches; takes and returns what the learner's own function does."""
        pieces = self._pieces(given[self._counts].numpy()[0].tolist())
        if len(pieces) == 1:
            return self._take(pieces[0][0], len(pieces[0][1]), given)
        # No step may run where a row of any batch is wrong.
        if self._check is None:
            checked = partial(self._learner.examined, training=True)
            signature = self._learner.plain.input_signature
            self._check = tf.function(lambda *all: checked(*all)[2:], input_signature=signature, autograph=False)
        steps, unknown, odd = self._check(*given)
        if not int(steps):
            return tf.zeros([0, self._learner.width(training=True)], tf.float64), unknown, odd
        found, begin, done = [], 0, 0
        for head, part in pieces:
            end = begin + sum(part)
            taken = self._cut(given, slice(begin, end), slice(done, done + len(part)))
            found.append(self._take(head, len(part), taken)[0])
            begin, done = end, done + len(part)
        return tf.concat(found, axis=0), unknown, odd

    def _cut(self, given: Sequence[Any], rows: slice, steps: slice) -> list[Any]:
        counts = len(given) + self._counts
        return [one[:, steps] if at == counts else one[rows] for at, one in enumerate(given)]

    def _pieces(self, rows: Sequence[int]) -> list[tuple[int, Sequence[int]]]:
        """Cuts a call into pieces of batches, each with how many of it are compiled: the first ones."""
        if self._refused:
            return [(0, rows)]
        early = max(0, self._after - self._done()) if self._after else 0
        pieces: list[tuple[int, Sequence[int]]] = []
        begin, end = 0, min(early, len(rows))
        while end < len(rows):
            if end > begin:
                pieces.append((0, rows[begin:end]))
                begin = end
            while end < len(rows) and end - begin < self._room and rows[end] == self._batch_size:
                end += 1
            head = end - begin
            while end < len(rows) and rows[end] != self._batch_size:
                end += 1
            pieces.append((head, rows[begin:end]))
            begin = end
        return pieces if begin == len(rows) else [*pieces, (0, rows[begin:])]

    def _done(self) -> int:
        """Returns the number of steps taken, out of the state that a checkpoint holds."""
        updates = int(self._learner.optimizer.iterations.numpy())
        if self._plan.accumulate == 1:
            return updates
        return updates * self._plan.accumulate + int(self._learner.variables["accumulated_batches"].numpy())

    def _take(self, head: int, steps: int, given: Sequence[Any]) -> tuple[Any, Any, Any]:
        """Takes the steps of a piece, of which the first `head` are compiled."""
        if head and not self._refused:
            found = self._compiled(head, head < steps, given)
            if found is not None:
                return found
        plain: tuple[Any, Any, Any] = self._learner.plain(*given)
        return plain

    def _compiled(self, head: int, mixed: bool, given: Sequence[Any]) -> tuple[Any, Any, Any] | None:
        """Calls the compiled function; None where XLA takes no such function."""
        found: tuple[Any, Any, Any] | None = None
        count = tf.constant(head)
        if mixed in self._functions:
            found = self._functions[mixed](count, *given)
            return found
        before = self._done()
        try:
            function = self._traced(mixed)
            # XLA compiles in the first call, and gives up before anything of it has run.
            found = function(count, *given)
            if not self._functions:
                log.info("train.jit_compile: XLA compiled the steps of full batches")
            self._functions[mixed] = function
        except (*_REFUSALS, NotImplementedError, TypeError, ValueError) as error:
            if self._functions or self._done() != before:
                raise
            self._refuse(str(error).strip().splitlines()[0] if str(error) else type(error).__name__)
        return found

    def _refuse(self, reason: str) -> None:
        self._refused = True
        level = logging.WARNING if self._plan.jit_compile is True else logging.INFO
        log.log(level, "train.jit_compile: the model's steps are not compiled, for XLA cannot: %s", reason)

    def _traced(self, mixed: bool) -> Any:
        """Traces the function; its rows are looked up, and made up to the shape compiled for, outside of XLA.

        Args:
            mixed: Whether batches follow those that are compiled.

        Raises:
            NotImplementedError: The model does what XLA would leave out.
        """
        learner = self._learner
        if self._parts is None:
            self._parts = parts(learner.model)

        def traced(head: Any, *given: Any) -> tuple[Any, Any, Any]:
            name = "mixed" if mixed else "compiled"
            learner.traces[name] = learner.traces.get(name, 0) + 1
            vectors, counts, steps, unknown, odd = learner.examined(*given, training=True)
            head = tf.minimum(head, steps)
            rows = head * self._batch_size if mixed else None
            features, *rest = tf.nest.map_structure(lambda one: None if one is None else one[:rows], vectors)
            features = features if self._parts is None else self._parts.looked_up(features)
            filled = tf.nest.map_structure(self._filled, (features, *rest))
            self._refuse_different(head, filled)
            found = self._inner(head, *filled)[:head]
            if mixed:
                found = tf.concat([found, learner.taken(vectors, counts, head, steps, training=True)], axis=0)
            return found, unknown, odd

        signature = [tf.TensorSpec([], tf.int32), *learner.plain.input_signature]
        return tf.function(traced, input_signature=signature, autograph=False)

    def _refuse_different(self, *given: Any) -> None:
        specs = tf.nest.map_structure(
            lambda one: None if one is None else tf.TensorSpec(one.shape, one.dtype), (given[0], *given[1])
        )
        graph = self._inner.get_concrete_function(*specs).graph.as_graph_def()
        names = [node.op for nodes in (graph.node, *(one.node_def for one in graph.library.function)) for node in nodes]
        if odd := sorted(_DIFFERENT.intersection(names)):
            raise NotImplementedError(f"it would run {', '.join(odd)} in another way, or not at all")
        known = 0 if self._parts is None else self._parts.embeddings
        if self._plan.jit_compile == "auto" and sum(name in _GATHERS for name in names) > known:
            raise NotImplementedError("it would not notice an index that is out of range, as of an Embedding")

    def _filled(self, vector: Any) -> Any:
        """Returns a vector over the rows as (room, rows of a batch, …); batches that no step takes are zeros."""
        if vector is None:
            return None
        shape = [int(size) for size in vector.shape[1:]]
        missing = self._room * self._batch_size - tf.shape(vector)[0]
        filled = tf.concat([vector, tf.zeros([missing, *shape], vector.dtype)], axis=0)
        return tf.reshape(filled, [self._room, self._batch_size, *shape])

    def _steps(self, steps: Any, features: Sequence[Any], targets: Any, weighed: Any) -> Any:
        """Runs the steps; this is what is compiled."""
        learner = self._learner
        call = learner.whole_model if self._parts is None else self._parts.rest
        whole = tf.constant(self._batch_size, tf.int64)

        def step(index: Any) -> Any:
            inputs, weights = [vector[index] for vector in features], None if weighed is None else weighed[index]
            rows = Rows(targets[index], weights, tf.constant(1.0), whole)
            return learner.step(lambda: learner.learned(call, inputs, rows, training=True), whole, training=True)

        return repeated(step, steps, self._room, learner.width(training=True))
