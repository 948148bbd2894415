"""WorkQueue: names of tables handed out one by one, so that a slow worker takes fewer of them."""

from __future__ import annotations

import os
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from pai_train.errors import PaiTrainError, TableError
from pai_train.paiio.handles import Lease, as_is, dataset_class
from pai_train.paiio.out_of_range import OutOfRangeException
from pai_train.paiio.settings import settings
from pai_train.paiio.works import Claims, Works, sliced
from pai_train.paiio.writer import JOB_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

_queues: dict[int, Works] = {}


class WorkQueue:
    """Hands out each work once per epoch: in this process, or with a job once in all processes of the job.

    A worker that ends takes the works with it that it had taken; a job that is started again under another name hands
    all of them out again.

    Args:
        works: Addresses of tables, or other names.
        num_epochs: How often each is handed out.
        shuffle: Whether in a new order in each epoch.
        seed: Of that order; None for another one each time, or for the job's.
        prefix: Put in front of each name.
        num_slices: Cut the tables into about this many ranges of rows: at least ten per worker are advised. Ignored
            for names that are no tables.
        name: Tells the queues of a job apart.
        job: Shares the works with all processes that name the same job; None for `PAI_TRAIN_JOB`, or no sharing.

    Raises:
        TableError: There are no works, a number is not positive, or a table that is to be cut is not there.
    """

    def __init__(
        self,
        works: str | Sequence[str],
        num_epochs: int = 1,
        shuffle: bool = True,
        seed: int | None = None,
        prefix: str | None = None,
        num_slices: int | None = None,
        name: str = "work_queue",
        *,
        job: str | None = None,
    ) -> None:
        names = [f"{prefix or ''}{work}" for work in ([works] if isinstance(works, str) else works)]
        if not names or num_epochs < 1 or (num_slices is not None and num_slices < 1):
            got = f"{len(names)} works, num_epochs={num_epochs}, num_slices={num_slices}"
            raise TableError("not a queue of works", got=got, wanted="at least one of each")
        job = job or os.environ.get(JOB_VARIABLE) or None
        if seed is None:
            seed = zlib.crc32(f"{job}/{name}".encode()) if job else int.from_bytes(os.urandom(4), "big")
        self._name = name
        self._works = Works(
            names if num_slices is None else sliced(settings(), names, num_slices),
            num_epochs,
            seed if shuffle else None,
            None if job is None else Claims(settings(), job, name),
        )
        self._lease = Lease(_queues, self._works)

    def take(self) -> tf.Tensor:
        """Returns the next work, a string tensor; in a graph one that takes another work in each run.

        Raises:
            OutOfRangeException: None is left; in a graph a tf.errors.OutOfRangeError, when it is run.
        """
        if not tf.executing_eagerly():
            self._lease.keep()
            return tf.ensure_shape(tf.numpy_function(_take, [self._handle()], tf.string), [])
        work = self._works.take()
        if work is None:
            raise OutOfRangeException("No more work to take.")
        return tf.constant(work)

    def input_dataset(self) -> Any:
        """Returns a dataset of the works; each is taken when the dataset comes to it."""
        taken = dataset_class().from_tensors(self._handle()).repeat().map(as_is(_taken))
        works = taken.apply(lambda pairs: pairs.take_while(as_is(_more))).map(as_is(_work))
        self._lease.keep(works)
        return works

    def input_producer(self) -> Any:
        """Returns a queue of the works for readers of a graph, filled by a queue runner."""
        with tf.name_scope(self._name):
            queue = tf.queue.FIFOQueue(1, [tf.string], [[]], name="works")
            runner = tf.compat.v1.train.QueueRunner(queue, [queue.enqueue(self.take())])
        tf.compat.v1.train.add_queue_runner(runner)
        return queue

    def add_summary(self) -> None:
        """Adds the number of works that are left to the summaries of a graph; there are none without a graph."""
        if tf.executing_eagerly():
            raise TableError("summaries are added to a graph", todo="call add_summary where the graph is built")
        self._lease.keep()
        left = tf.ensure_shape(tf.numpy_function(_remaining, [self._handle()], tf.int64), [])
        tf.compat.v1.summary.scalar(f"{self._name}/remaining", left)

    def _handle(self) -> tf.Tensor:
        return tf.constant(self._lease.handle, tf.int64)


def _taken(handle: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    more, work = tf.numpy_function(_take_if_any, [handle], [tf.bool, tf.string])
    return tf.ensure_shape(more, []), tf.ensure_shape(work, [])


def _more(more: tf.Tensor, work: tf.Tensor) -> tf.Tensor:
    return more


def _work(more: tf.Tensor, work: tf.Tensor) -> tf.Tensor:
    return work


def _next(handle: np.int64) -> str | None:
    try:
        return _queues[int(handle)].take()
    except PaiTrainError as fault:
        raise ValueError(str(fault)) from None


def _take(handle: np.int64) -> bytes:
    work = _next(handle)
    if work is None:
        raise StopIteration("No more work to take.")  # arrives as OutOfRangeError
    return work.encode()


def _take_if_any(handle: np.int64) -> tuple[np.bool_, bytes]:
    work = _next(handle)
    return np.bool_(work is not None), (work or "").encode()


def _remaining(handle: np.int64) -> np.int64:
    return np.int64(_queues[int(handle)].remaining)
