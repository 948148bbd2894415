"""A model that learns on several workers at once: one strategy over all, each with rows of its own."""

from __future__ import annotations

import json
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from pai_train.errors import DataError, LaunchError
from pai_train.feed.align import OWN
from pai_train.launch.native import native_stderr
from pai_train.launch.star import EXIT_LEFT, PeerLost
from pai_train.launch.tf_config import VARIABLE, write
from pai_train.training.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from pai_train.launch.tf_config import Workers
    from pai_train.training.totals import Totals


class WorkerLearner(Learner):
    """One worker's part of a model that is trained by all: the same variables everywhere, each worker its own rows.

    Columns hold the rows of this worker; a column `OWN` counts them by batch, and `rows` counts those of all workers,
    over which losses and metrics are taken. All workers make the same calls in the same order, but for `predict`.
    """

    row_counts = 2

    def train(self, columns: Mapping[str, Any], rows: Sequence[int]) -> Totals:
        return self._together(super().train, columns, rows)

    def evaluate(self, columns: Mapping[str, Any], rows: Sequence[int]) -> Totals:
        return self._together(super().evaluate, columns, rows)

    def _together(self, call: Callable[..., Totals], columns: Mapping[str, Any], rows: Sequence[int]) -> Totals:
        try:
            totals = call(columns, rows)
        except tf.errors.OpError as error:
            raise PeerLost(
                "the connection to another worker was lost",
                got=error.message.splitlines()[0] if error.message else type(error).__name__,
                todo="see the logs of the other workers; the same command goes on from the last checkpoint",
            ) from error
        if len(totals.losses) != len(rows):
            raise PeerLost("another worker has rows that cannot be trained on", todo="see the logs of the others")
        return totals

    def _counts(self, columns: Mapping[str, Any], rows: Sequence[int]) -> NDArray[np.int64]:
        if OWN not in columns:
            raise DataError(f"the batch has no column {OWN!r}")
        return np.stack([np.asarray(columns[OWN], np.int64), np.asarray(rows, np.int64)])

    def _anywhere(self, count: Any) -> Any:
        return self._strategy.reduce("SUM", self._strategy.run(lambda: tf.identity(count)), axis=None)

    def _padded(self, vectors: Any) -> Any:
        return tf.nest.map_structure(lambda vector: None if vector is None else _with_a_row(vector), vectors)

    def _place(self, replica: Any) -> tuple[Any, int]:
        count = int(self._strategy.extended._num_devices_per_worker)
        return replica % count, count


def _with_a_row(vector: Any) -> Any:
    """Adds the first row once more, or zeros where there is none."""
    spare = tf.zeros([1, *vector.shape[1:]], vector.dtype)
    return tf.concat([vector, tf.concat([vector[:1], spare], axis=0)[:1]], axis=0)


def span(workers: Workers, timeout_s: float) -> Any:
    """Returns the MultiWorkerMirroredStrategy over all workers; to be called before TensorFlow's first operation.

    TensorFlow waits for the others without end, and cannot be interrupted: past `timeout_s` seconds this process ends.
    """
    if tf.config.experimental.get_synchronous_execution() and _has_begun():
        raise LaunchError(
            "TensorFlow already runs in this process, which can join no other workers any more",
            where="cluster",
            todo="start this run in a process of its own",
        )
    os.environ[VARIABLE] = write(workers.addresses, workers.rank)
    with _bounded(timeout_s, workers), native_stderr(lambda text: None):
        return tf.distribute.MultiWorkerMirroredStrategy()


def _has_begun() -> bool:
    from tensorflow.python.eager import context

    return bool(context.context()._initialized)


@contextmanager
def _bounded(timeout_s: float, workers: Workers) -> Iterator[None]:
    done = threading.Event()

    def watch() -> None:
        if not done.wait(timeout_s):
            error = PeerLost(
                f"TensorFlow on {workers.size} workers did not connect within {timeout_s:g} s",
                got=json.dumps(list(workers.addresses)),
                todo="see the logs of the other workers; check that these addresses are reached from all of them",
            )
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            os._exit(EXIT_LEFT)

    thread = threading.Thread(target=watch, name="cluster-start", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
