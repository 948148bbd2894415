"""One evaluation: metrics over an input's batches, their values as a dict and as events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pai_train.pai.estimator.spec import EstimatorSpec


def metrics_of(spec: EstimatorSpec) -> tuple[dict[str, Any], Any]:
    """Returns the metrics' values by name, and one operation that updates them all.

    Raises:
        ValueError: A metric is called as the loss or the step is.
    """
    pairs = dict(spec.eval_metric_ops or {})
    for taken in ("loss", "global_step"):
        if taken in pairs:
            raise ValueError(f"EstimatorSpec: eval_metric_ops has a metric called {taken}, which the estimator gives")
    values: dict[str, Any] = {}
    updates: list[Any] = []
    for name, metric in {**pairs, "loss": tf.metrics.mean(spec.loss)}.items():
        if hasattr(metric, "update_state"):
            for variable in metric.variables:
                tf.add_to_collection(tf.GraphKeys.LOCAL_VARIABLES, variable)
            values[name] = metric.result()
            updates += metric.updates
        else:
            values[name], update = metric
            updates.append(update)
    return {**values, "global_step": tf.train.get_global_step()}, tf.group(*tf.nest.flatten(updates))


def evaluate(
    spec: EstimatorSpec, checkpoint: str | None, steps: int | None, hooks: Sequence[Any], scaffold: Any, config: Any
) -> dict[str, Any]:
    """Returns the metrics of the default graph over so many batches, or all.

    Args:
        spec: The model's tensors.
        checkpoint: The variables' values; initial ones if none.
        steps: How many batches.
        hooks: Run around each batch.
        scaffold: The session's parts.
        config: The run's settings.
    """
    values, update = metrics_of(spec)
    final = tf.train.FinalOpsHook(values)
    creator = tf.train.ChiefSessionCreator(
        scaffold=scaffold,
        checkpoint_filename_with_path=checkpoint,
        master=config.evaluation_master,
        config=config.session_config,
    )
    done = 0
    with tf.train.MonitoredSession(session_creator=creator, hooks=[*hooks, final]) as session:
        while not session.should_stop() and (steps is None or done < steps):
            session.run(update)
            done += 1
    return dict(final.final_ops_values)


def log(results: Mapping[str, Any]) -> None:
    """Says an evaluation's numbers, as people look for them in logs."""
    numbers = ", ".join(f"{name} = {value}" for name, value in sorted(results.items()) if not isinstance(value, bytes))
    tf.logging.info("Saving dict for global step %d: %s", results["global_step"], numbers)


def write_events(folder: str, results: Mapping[str, Any]) -> None:
    """Writes an evaluation's numbers as events of its step."""
    summary = tf.Summary()
    for name, value in results.items():
        if name != "global_step" and np.ndim(value) == 0 and np.issubdtype(np.asarray(value).dtype, np.number):
            summary.value.add(tag=name, simple_value=float(value))
    step = int(results["global_step"])
    # A file is called after its second: two evaluations in one would be one file.
    writer = tf.summary.FileWriter(folder, filename_suffix=f".{step}")
    writer.add_summary(summary, step)
    writer.close()


def read_events(folder: str) -> dict[int, dict[str, float]]:
    """Returns an estimator's evaluations by step, in the order of steps."""
    found: dict[int, dict[str, float]] = {}
    if tf.gfile.Exists(folder):
        for path in sorted(tf.gfile.Glob(f"{folder}/*tfevents*")):
            for event in tf.train.summary_iterator(path):
                values = {one.tag: _number(one) for one in event.summary.value}
                if values:
                    found.setdefault(int(event.step), {}).update(values)
    return dict(sorted(found.items()))


def _number(value: Any) -> float:
    if value.HasField("simple_value"):
        return float(value.simple_value)
    return float(tf.make_ndarray(value.tensor))
