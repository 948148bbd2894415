"""`tf.contrib.slim.learning`: the training operation, and the loop around it, by a Supervisor."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pai_train.pai.contrib.training import clip_gradient_norms, create_train_op, multiply_gradients
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["clip_gradient_norms", "create_train_op", "multiply_gradients", "train", "train_step"]

_DEFAULT = 0
"""What a Supervisor takes for an argument that was not given."""


def train_step(
    sess: Any, train_op: Any, global_step: Any, train_step_kwargs: Mapping[str, Any]
) -> tuple[Any, bool | Any]:
    """Makes one step; returns the loss and whether it was the last one.

    Args:
        sess: The session.
        train_op: Its value is the loss.
        global_step: The step counter.
        train_step_kwargs: `should_stop` and `should_log`, tensors that are run where they are there.
    """
    begun = time.time()
    loss, step = sess.run([train_op, global_step])
    if "should_log" in train_step_kwargs and sess.run(train_step_kwargs["should_log"]):
        tf.logging.info("global step %d: loss = %.4f (%.3f sec/step)", step, loss, time.time() - begun)
    return loss, sess.run(train_step_kwargs["should_stop"]) if "should_stop" in train_step_kwargs else False


def train(
    train_op: Any,
    logdir: str | None,
    train_step_fn: Callable[..., tuple[Any, Any]] = train_step,
    train_step_kwargs: Any = _DEFAULT,
    log_every_n_steps: int = 1,
    graph: Any = None,
    master: str = "",
    is_chief: bool = True,
    global_step: Any = None,
    number_of_steps: int | None = None,
    init_op: Any = _DEFAULT,
    init_feed_dict: Any = None,
    local_init_op: Any = _DEFAULT,
    init_fn: Callable[[Any], None] | None = None,
    ready_op: Any = _DEFAULT,
    summary_op: Any = _DEFAULT,
    save_summaries_secs: float = 600,
    summary_writer: Any = _DEFAULT,
    startup_delay_steps: int = 0,
    saver: Any = None,
    save_interval_secs: float = 600,
    sync_optimizer: Any = None,
    session_config: Any = None,
    session_wrapper: Callable[[Any], Any] | None = None,
    trace_every_n_steps: int | None = None,
    ignore_live_threads: bool = False,
) -> Any:
    """Trains until `number_of_steps`, the end of the input, or a `train_step_fn` that says so; returns the last loss.

    The chief saves into `logdir` as it goes and at the end, and goes on from what is there. `trace_every_n_steps` has
    no effect.

    Raises:
        ValueError: Arguments that do not go together.
    """
    if train_op is None:
        raise ValueError("train_op cannot be None.")
    if logdir is None and not ((summary_op is None or isinstance(summary_op, int)) and saver is None):
        raise ValueError("Cannot provide summary_op or saver when logdir=None")
    if number_of_steps is not None and number_of_steps <= 0:
        raise ValueError("`number_of_steps` must be either None or a positive number.")
    synced = list(sync_optimizer) if isinstance(sync_optimizer, list | tuple) else [sync_optimizer]
    synced = [one for one in synced if one is not None]
    with (graph or tf.get_default_graph()).as_default():
        step = tf.train.get_or_create_global_step() if global_step is None else global_step
        saver = saver or tf.train.Saver()
        if isinstance(local_init_op, int):
            local_init_op = tf.group(tf.local_variables_initializer(), tf.tables_initializer())
        ready_for_local_init_op = _DEFAULT
        for one in synced:
            local_init_op = tf.group(local_init_op, one.chief_init_op if is_chief else one.local_step_init_op)
            ready_for_local_init_op = one.ready_for_local_init_op
        runners = [one.get_chief_queue_runner() for one in synced if is_chief]
        tokens = [one.get_init_tokens_op() for one in synced if is_chief]
        if isinstance(train_step_kwargs, int):
            train_step_kwargs = _kwargs(step, number_of_steps, log_every_n_steps)
        supervisor = tf.train.Supervisor(
            is_chief=is_chief,
            logdir=logdir,
            init_op=init_op,
            init_feed_dict=init_feed_dict,
            local_init_op=local_init_op,
            ready_op=ready_op,
            ready_for_local_init_op=ready_for_local_init_op,
            summary_op=None if logdir is None else summary_op,
            summary_writer=None if logdir is None else summary_writer,
            global_step=step,
            saver=saver,
            save_summaries_secs=save_summaries_secs,
            save_model_secs=save_interval_secs,
            init_fn=init_fn,
        )
        loss = None
        with supervisor.managed_session(master, start_standard_services=False, config=session_config) as plain:
            sess = plain if session_wrapper is None else session_wrapper(plain)
            if is_chief and logdir:
                supervisor.start_standard_services(sess)
            elif not is_chief and startup_delay_steps > 0:
                _wait_for(sess, step, min(startup_delay_steps, number_of_steps or startup_delay_steps))
            threads = supervisor.start_queue_runners(sess)
            if runners:
                threads += supervisor.start_queue_runners(sess, runners)
                sess.run(tokens)
            try:
                while not supervisor.should_stop():
                    loss, is_last = train_step_fn(sess, train_op, step, train_step_kwargs)
                    if is_last:
                        break
            except tf.errors.OutOfRangeError as ended:
                tf.logging.info("the input has ended: %s", ended.message)
            if logdir and is_chief:
                supervisor.saver.save(sess, supervisor.save_path, global_step=supervisor.global_step)
            supervisor.stop(threads, close_summary_writer=True, ignore_live_threads=ignore_live_threads)
        return loss


def _kwargs(step: Any, number_of_steps: int | None, log_every_n_steps: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if number_of_steps:
        made["should_stop"] = tf.greater_equal(step, number_of_steps)
    if log_every_n_steps > 0:
        made["should_log"] = tf.equal(tf.mod(step, log_every_n_steps), 0)
    return made


def _wait_for(sess: Any, step: Any, count: int) -> None:
    while sess.run(step) < count:
        time.sleep(1)


__getattr__ = absent("tf.contrib.slim.learning")
