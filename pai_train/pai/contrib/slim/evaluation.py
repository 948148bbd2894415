"""`tf.contrib.slim.evaluation`: checkpoints evaluated, one or each that comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.framework import get_variables_to_restore
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["evaluate_once", "evaluation_loop"]

_DEFAULT = 0


def evaluate_once(
    master: str,
    checkpoint_path: str,
    logdir: str | None,
    num_evals: int = 1,
    initial_op: Any = None,
    initial_op_feed_dict: Any = None,
    eval_op: Any = None,
    eval_op_feed_dict: Any = None,
    final_op: Any = None,
    final_op_feed_dict: Any = None,
    summary_op: Any = _DEFAULT,
    summary_op_feed_dict: Any = None,
    variables_to_restore: Sequence[Any] | None = None,
    session_config: Any = None,
    hooks: Sequence[Any] | None = None,
) -> Any:
    """Evaluates one checkpoint; returns the final op's value.

    `eval_op` is run `num_evals` times, or until the input ends. Summaries are written into `logdir`, at the
    checkpoint's step.
    """
    step = tf.train.get_or_create_global_step()
    restored = get_variables_to_restore() if variables_to_restore is None else variables_to_restore
    saver = tf.train.Saver(restored)
    scaffold = tf.train.Scaffold(
        init_op=tf.group(tf.global_variables_initializer(), *([initial_op] if initial_op is not None else [])),
        init_feed_dict=initial_op_feed_dict,
        init_fn=lambda _, session: saver.restore(session, checkpoint_path),
        saver=saver,
    )
    if isinstance(summary_op, int):
        summary_op = tf.summary.merge_all()
    creator = tf.train.ChiefSessionCreator(scaffold, master=master, config=session_config)
    final = _Final(final_op, final_op_feed_dict, summary_op, summary_op_feed_dict, step)
    with tf.train.MonitoredSession(creator, hooks=[*(hooks or ()), final]) as session:
        if eval_op is not None:
            for _ in range(num_evals):
                session.run(eval_op, eval_op_feed_dict)
    if logdir is not None and final.summary is not None:
        with tf.summary.FileWriter(logdir) as writer:
            writer.add_summary(final.summary, final.step)
    return final.value


def evaluation_loop(
    master: str,
    checkpoint_dir: str,
    logdir: str | None,
    num_evals: int = 1,
    initial_op: Any = None,
    initial_op_feed_dict: Any = None,
    init_fn: Any = None,
    eval_op: Any = None,
    eval_op_feed_dict: Any = None,
    final_op: Any = None,
    final_op_feed_dict: Any = None,
    summary_op: Any = _DEFAULT,
    summary_op_feed_dict: Any = None,
    variables_to_restore: Sequence[Any] | None = None,
    eval_interval_secs: float = 60,
    max_number_of_evaluations: int | None = None,
    session_config: Any = None,
    timeout: float | None = None,
    timeout_fn: Callable[[], bool] | None = None,
    hooks: Sequence[Any] | None = None,
) -> Any:
    """Evaluates each new checkpoint as `evaluate_once` does; returns the last value.

    Ends after `max_number_of_evaluations`, or where none came within `timeout` seconds. `init_fn` has no effect.
    """
    value = None
    if max_number_of_evaluations is not None and max_number_of_evaluations <= 0:
        raise ValueError("`max_number_of_evaluations` must be either None or a positive number.")
    found = tf.train.checkpoints_iterator(checkpoint_dir, eval_interval_secs, timeout, timeout_fn)
    for count, path in enumerate(found, 1):
        value = evaluate_once(
            master,
            path,
            logdir,
            num_evals,
            initial_op,
            initial_op_feed_dict,
            eval_op,
            eval_op_feed_dict,
            final_op,
            final_op_feed_dict,
            summary_op,
            summary_op_feed_dict,
            variables_to_restore,
            session_config,
            hooks,
        )
        if count == max_number_of_evaluations:
            break
    return value


class _Final(tf.train.SessionRunHook):  # type: ignore[misc]
    """Runs the final op and the summaries when the evaluation is over."""

    def __init__(self, op: Any, op_feed: Any, summary_op: Any, summary_feed: Any, step: Any) -> None:
        self._op, self._op_feed = op, op_feed
        self._summary_op, self._summary_feed = summary_op, summary_feed
        self._step = step
        self.value: Any = None
        self.summary: Any = None
        self.step = 0

    def end(self, session: Any) -> None:
        if self._op is not None:
            self.value = session.run(self._op, self._op_feed)
        if self._summary_op is not None:
            self.summary, self.step = session.run([self._summary_op, self._step], self._summary_feed)


__getattr__ = absent("tf.contrib.slim.evaluation")
