"""What a decoder reads at each step: the right answer, or what it said itself at the step before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable


class Helper:
    """What a decoder asks for its inputs; scripts write their own.

    Attributes:
        batch_size: A scalar tensor.
        sample_ids_shape: The shape of what is said at one step, without the batch.
        sample_ids_dtype: Its type.
    """

    batch_size: Any
    sample_ids_shape: Any = ()
    sample_ids_dtype: Any = "int32"

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        """Returns which rows are finished before the first step [batch], and its inputs."""
        raise NotImplementedError

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        """Returns what is said at a step: whole numbers [batch]."""
        raise NotImplementedError

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        """Returns which rows are finished, the next step's inputs, and the state."""
        raise NotImplementedError


class CustomHelper(Helper):
    """A helper of three functions, those of `Helper` by keyword."""

    def __init__(
        self,
        initialize_fn: Callable[..., Any],
        sample_fn: Callable[..., Any],
        next_inputs_fn: Callable[..., Any],
        sample_ids_shape: Any = None,
        sample_ids_dtype: Any = None,
    ) -> None:
        self._initialize, self._sample, self._next = initialize_fn, sample_fn, next_inputs_fn
        self.sample_ids_shape = () if sample_ids_shape is None else sample_ids_shape
        self.sample_ids_dtype = sample_ids_dtype or "int32"

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        finished, inputs = self._initialize()
        self.batch_size = tf.size(finished)
        return finished, inputs

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        return self._sample(time=time, outputs=outputs, state=state)

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        found: tuple[Any, Any, Any] = self._next(time=time, outputs=outputs, state=state, sample_ids=sample_ids)
        return found


class TrainingHelper(Helper):
    """Reads the right answers, one step after the other; says what has the largest output.

    Args:
        inputs: A tensor, or a structure of them, [batch, time, …].
        sequence_length: Each row's steps [batch].
        time_major: Whether inputs are [time, batch, …].
        name: Is not used.
    """

    def __init__(self, inputs: Any, sequence_length: Any, time_major: bool = False, name: str | None = None) -> None:
        def steps(one: Any) -> Any:
            one = tf.convert_to_tensor(one)
            return one if time_major else tf.transpose(one, [1, 0, *range(2, one.shape.ndims)])

        self._steps = tf.nest.map_structure(steps, inputs)
        self._length = tf.cast(tf.convert_to_tensor(sequence_length), tf.int32)
        self.batch_size = tf.size(self._length)

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        return tf.equal(self._length, 0), self._at(tf.constant(0))

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        return tf.argmax(outputs, -1, output_type=tf.int32)

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        return time + 1 >= self._length, self._at(time + 1), state

    def _at(self, time: Any) -> Any:
        """Returns a step's inputs; zeros behind the last one."""

        def at(steps: Any) -> Any:
            there = time < tf.shape(steps)[0]
            read = tf.cond(there, lambda: steps[time], lambda: tf.zeros(tf.shape(steps)[1:], steps.dtype))
            read.set_shape(steps.shape[1:])
            return read

        return tf.nest.map_structure(at, self._steps)


class GreedyEmbeddingHelper(Helper):
    """Says what has the largest output, and reads its vector at the next step.

    Args:
        embedding: Vectors by number, or a function from numbers [batch] to vectors.
        start_tokens: What is read first [batch].
        end_token: A row that says this is finished.
    """

    def __init__(self, embedding: Any, start_tokens: Any, end_token: Any) -> None:
        self._embed = embedding if callable(embedding) else lambda ids: tf.nn.embedding_lookup(embedding, ids)
        self._start = tf.cast(tf.convert_to_tensor(start_tokens), tf.int32)
        self._end = tf.cast(tf.convert_to_tensor(end_token), tf.int32)
        self.batch_size = tf.size(self._start)

    def initialize(self, name: str | None = None) -> tuple[Any, Any]:
        return tf.fill([self.batch_size], False), self._embed(self._start)

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        return tf.argmax(outputs, -1, output_type=tf.int32)

    def next_inputs(
        self, time: Any, outputs: Any, state: Any, sample_ids: Any, name: str | None = None
    ) -> tuple[Any, Any, Any]:
        return tf.equal(sample_ids, self._end), self._embed(sample_ids), state


class SampleEmbeddingHelper(GreedyEmbeddingHelper):
    """Draws what is said by its probability; otherwise as `GreedyEmbeddingHelper`.

    Args:
        embedding: Vectors by number, or a function from numbers [batch] to vectors.
        start_tokens: What is read first [batch].
        end_token: A row that says this is finished.
        softmax_temperature: Outputs are divided by it: large ones make all alike.
        seed: Of the draws.
    """

    def __init__(
        self, embedding: Any, start_tokens: Any, end_token: Any, softmax_temperature: Any = None, seed: Any = None
    ) -> None:
        super().__init__(embedding, start_tokens, end_token)
        self._temperature, self._seed = softmax_temperature, seed

    def sample(self, time: Any, outputs: Any, state: Any, name: str | None = None) -> Any:
        logits = outputs if self._temperature is None else outputs / self._temperature
        return tf.random.categorical(logits, 1, seed=self._seed, dtype=tf.int32)[:, 0]
