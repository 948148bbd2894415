"""The steps of one training: a session that saves, logs and stops as its hooks say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from pai_train.pai.estimator.run_config import RunConfig
    from pai_train.pai.estimator.spec import EstimatorSpec


def run_steps(
    spec: EstimatorSpec, scaffold: Any, config: RunConfig, worker_hooks: list[Any], listeners: list[Any]
) -> None:
    """Runs the default graph's training operation until a hook or the end of the input stops it.

    Args:
        spec: The model's tensors.
        scaffold: The session's parts.
        config: The run's settings.
        worker_hooks: Hooks of every worker.
        listeners: Told of each checkpoint.

    Raises:
        ValueError: There are listeners, and no checkpoints are made.
    """
    chief_hooks = list(spec.training_chief_hooks or ())
    savers = [one for one in (*chief_hooks, *worker_hooks) if isinstance(one, tf.train.CheckpointSaverHook)]
    if savers:
        savers[0]._listeners.extend(listeners)
    elif config.save_checkpoints_secs or config.save_checkpoints_steps:
        saver = tf.train.CheckpointSaverHook(
            config.model_dir,
            save_secs=config.save_checkpoints_secs or None,
            save_steps=config.save_checkpoints_steps or None,
            scaffold=scaffold,
            listeners=listeners,
        )
        chief_hooks.insert(0, saver)
    elif listeners:
        raise ValueError("Estimator.train: there are saving_listeners and no checkpoints are made")
    loss = None
    with tf.train.MonitoredTrainingSession(
        master=config.master,
        is_chief=config.is_chief,
        checkpoint_dir=config.model_dir,
        scaffold=scaffold,
        hooks=worker_hooks,
        chief_only_hooks=chief_hooks,
        save_checkpoint_secs=0,
        save_summaries_steps=config.save_summary_steps or None,
        config=config.session_config,
        max_wait_secs=config.session_creation_timeout_secs,
        log_step_count_steps=config.log_step_count_steps,
    ) as session:
        while not session.should_stop():
            _, loss = session.run([spec.train_op, spec.loss])
    if loss is not None:
        tf.logging.info("Loss for final step: %s.", loss)
    else:
        tf.logging.warning("Estimator.train: no step was made, the input may be empty")


def session_config(config: RunConfig) -> Any:
    """Returns the settings of a session; a worker's waits for the ps and for nobody else."""
    filters = ["/job:ps", f"/job:{config.task_type}/task:{config.task_id}"] if config.master else []
    return tf.ConfigProto(allow_soft_placement=True, device_filters=filters)


def summarize_loss(loss: Any) -> None:
    """Adds the loss to the graph's summaries unless the model did."""
    names = {one.op.name for one in tf.get_collection(tf.GraphKeys.SUMMARIES) if hasattr(one, "op")}
    if "loss" not in names:
        tf.summary.scalar("loss", loss)
