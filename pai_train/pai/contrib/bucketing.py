"""`tf.contrib.training.bucket`: queues that batch rows of a kind, sequences of like lengths among them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Sequence


def bucket(
    tensors: Any,
    which_bucket: Any,
    batch_size: Any,
    num_buckets: int,
    num_threads: int = 1,
    capacity: int = 32,
    bucket_capacities: Sequence[int] | None = None,
    shapes: Sequence[Any] | None = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    keep_input: Any = True,
    shared_name: str | None = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Batches rows bucket by bucket, by queues that `tf.train.start_queue_runners` fills.

    Args:
        tensors: One row's, a list or a dict of them.
        which_bucket: The row's bucket, int32.
        batch_size: Rows of a batch, or a list of those of each bucket.
        num_buckets: How many buckets.
        num_threads: How many read rows.
        capacity: How many batches wait.
        bucket_capacities: How many rows wait in each bucket.
        shapes: Of one row's tensors, where the tensors do not know them.
        dynamic_pad: Whether rows of different shapes are padded with zeros, or empty texts.
        allow_smaller_final_batch: Whether what is left in a bucket at the end is a batch too.
        keep_input: Whether this row is taken: a bool, or a tensor of one.
        shared_name: Of the queues, in a cluster.
        name: The scope.

    Returns:
        The bucket of a batch, and its tensors [batch, …], as the rows' are.

    Raises:
        ValueError: As many batch sizes or capacities as buckets are wanted, two buckets or more, and known shapes.
    """
    if num_buckets < 2:
        raise ValueError(f"bucket: wanted num_buckets of 2 or more, got {num_buckets}")
    sizes = list(batch_size) if isinstance(batch_size, list | tuple) else [batch_size] * num_buckets
    capacities = list(bucket_capacities) if bucket_capacities is not None else [capacity] * num_buckets
    for what, given in (("batch sizes", sizes), ("bucket_capacities", capacities)):
        if len(given) != num_buckets:
            raise ValueError(f"bucket: wanted {num_buckets} {what}, got {len(given)}")
    names = sorted(tensors) if isinstance(tensors, dict) else None
    row = [tf.convert_to_tensor(one) for one in (tensors if names is None else [tensors[key] for key in names])]
    with tf.name_scope(name, "bucket", row):
        shaped = [tf.TensorShape(one) for one in (shapes if shapes is not None else [one.shape for one in row])]
        if not dynamic_pad and not all(one.is_fully_defined() for one in shaped):
            raise ValueError(f"bucket: wanted known shapes, or dynamic_pad=True, got {[str(one) for one in shaped]}")
        made = tf.PaddingFIFOQueue if dynamic_pad else tf.FIFOQueue
        kinds = [one.dtype for one in row]
        queues = [
            made(capacities[at], kinds, shaped, shared_name=shared_name and f"{shared_name}_{at}", name=f"bucket_{at}")
            for at in range(num_buckets)
        ]
        _fill(queues, row, tf.convert_to_tensor(which_bucket, tf.int32), keep_input, num_threads)
        static = sizes[0] if isinstance(batch_size, int) and not allow_smaller_final_batch else None
        batched = [tf.TensorShape([static]).concatenate(one) for one in shaped]
        top = tf.PaddingFIFOQueue(
            capacity, [tf.int32, *kinds], [tf.TensorShape([]), *batched], shared_name=shared_name, name="top_queue"
        )
        takes = "dequeue_up_to" if allow_smaller_final_batch else "dequeue_many"
        moves = [
            top.enqueue([tf.constant(at), *_listed(getattr(queue, takes)(sizes[at]))])
            for at, queue in enumerate(queues)
        ]
        _run(top, moves, top.close(), top.close(cancel_pending_enqueues=True))
        tf.summary.scalar(f"bucket/{top.name}/fraction_of_{capacity}_full", tf.cast(top.size(), tf.float32) / capacity)
        number, *found = top.dequeue()
        number.set_shape([])
        return number, found if names is None else dict(zip(names, found, strict=True))


def bucket_by_sequence_length(
    input_length: Any,
    tensors: Any,
    batch_size: Any,
    bucket_boundaries: Sequence[int],
    num_threads: int = 1,
    capacity: int = 32,
    bucket_capacities: Sequence[int] | None = None,
    shapes: Sequence[Any] | None = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    keep_input: Any = True,
    shared_name: str | None = None,
    name: str | None = None,
) -> tuple[Any, Any]:
    """Batches sequences with others of like lengths; see `bucket`.

    Args:
        input_length: The row's length, int32.
        tensors: One row's, a list or a dict of them.
        batch_size: Rows of a batch, or a list of those of each bucket.
        bucket_boundaries: Lengths from which on a sequence is in the next bucket, growing.
        num_threads: How many read rows.
        capacity: How many batches wait.
        bucket_capacities: How many rows wait in each bucket.
        shapes: Of one row's tensors, where the tensors do not know them.
        dynamic_pad: Whether rows of different shapes are padded.
        allow_smaller_final_batch: Whether what is left in a bucket at the end is a batch too.
        keep_input: Whether this row is taken: a bool, or a tensor of one.
        shared_name: Of the queues, in a cluster.
        name: The scope.

    Returns:
        The lengths of a batch [batch], and its tensors [batch, …], as the rows' are.

    Raises:
        ValueError: There are no boundaries, or they do not grow; else as `bucket`.
    """
    edges = list(bucket_boundaries)
    if not edges or any(low >= high for low, high in pairwise(edges)):
        raise ValueError(f"bucket_by_sequence_length: wanted boundaries that grow, got {edges}")
    length = tf.cast(tf.convert_to_tensor(input_length), tf.int32)
    names = sorted(tensors) if isinstance(tensors, dict) else None
    row = list(tensors) if names is None else [tensors[key] for key in names]
    with tf.name_scope(name, "bucket_by_sequence_length", [length, *row]):
        number = tf.reduce_sum(tf.cast(length >= tf.constant(edges), tf.int32))
        _, (lengths, *found) = bucket(
            [length, *row],
            number,
            batch_size,
            len(edges) + 1,
            num_threads,
            capacity,
            bucket_capacities,
            None if shapes is None else [tf.TensorShape([]), *shapes],
            dynamic_pad,
            allow_smaller_final_batch,
            keep_input,
            shared_name,
        )
        return lengths, found if names is None else dict(zip(names, found, strict=True))


def _fill(queues: list[Any], row: list[Any], number: Any, keep: Any, threads: int) -> None:
    """Adds what puts each row into its bucket; the end of the input closes them all."""

    def into(at: int) -> Any:
        return tf.cond(tf.equal(number, at), lambda: queues[at].enqueue(row), tf.no_op)

    def every() -> Any:
        return tf.group(*(into(at) for at in range(len(queues))))

    moves = [every() if keep is True else tf.cond(tf.convert_to_tensor(keep), every, tf.no_op)] * threads
    close = tf.group(*(queue.close() for queue in queues))
    cancel = tf.group(*(queue.close(cancel_pending_enqueues=True) for queue in queues))
    _run(queues[0], moves, close, cancel)


def _run(queue: Any, moves: list[Any], close: Any, cancel: Any) -> None:
    ends = (tf.errors.OutOfRangeError, tf.errors.CancelledError)
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, moves, close, cancel, ends))


def _listed(found: Any) -> list[Any]:
    return list(found) if isinstance(found, list | tuple) else [found]
