"""Whether the checkpoint that a run is asked to begin from fits the model of its recipe, found without the run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_train.examine import LONG_PASS_ROWS, describe_features, learn_label, open_input
from pai_train.feed.bad_rows import BadRows
from pai_train.findings import Finding
from pai_train.models.load import build
from pai_train.spec.checkpoints import warm_start_of
from pai_train.storage import Scratch
from pai_train.training.origin import fetch_names
from pai_train.training.step_plan import StepPlan

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.job import JobInput
    from pai_train.spec.config import JobConfig
    from pai_train.storage import Stores
    from pai_train.training.contracts import TrainState
    from pai_train.training.devices import Devices
    from pai_train.training.learner import Learner


def fits(
    key: str,
    url: str,
    config: JobConfig,
    stores: Stores,
    item: JobInput | None,
    devices: Callable[[], Devices],
    check: Callable[[], None],
) -> Finding:
    """Builds the model as the run will, and compares its variables with the checkpoint's by name, shape and dtype.

    Args:
        key: The key that names it: train.resume or train.warm_start.
        url: The checkpoint.
        config: The keys.
        stores: How stores are reached.
        item: The training input; None where it cannot be read.
        devices: Chooses the devices; TensorFlow is loaded by it.
        check: Called between batches; may raise to stop.

    Returns:
        What came out; skip where the model cannot be known yet.

    Raises:
        PaiTrainError: It does not fit, or the model cannot be built.
    """
    if item is None or item.label is None:
        return Finding(key, "model", "skip", "not compared: the training input cannot be read")
    if item.sample is not None:
        return Finding(key, "model", "skip", "not compared: the training input is not there yet")
    with Scratch() as scratch:
        state = fetch_names(stores, url, scratch)
        source = open_input(item, state if key == "train.resume" else None)
        rows = source.snapshot.rows
        if (
            item.label.task == "classification"
            and item.label.classes is None
            and (rows or LONG_PASS_ROWS + 1) > LONG_PASS_ROWS
        ):
            words = "not compared: the classes would have to be read from all rows"
            return Finding(key, "model", "skip", words, "name them as inputs.train.label.classes")
        bad = None if item.on_bad_row == "fail" else BadRows(item.name, limit=item.max_bad_rows, total=rows)
        label = learn_label(item, source, check, bad)
        columns = describe_features(item, source, check, bad)
        chosen = devices()
        from pai_train.training.learner import Learner

        learner = Learner(
            partial(build, config.model.name, config.model.params, columns, label),
            label,
            optimizer=config.train.optimizer,
            learning_rate=config.train.learning_rate,
            devices=chosen,
            plan=StepPlan.of(config.train, None, item.weight),
        )
        return Finding(key, "model", "ok", _compared(key, url, config, learner, state, Path(scratch)))


def _compared(key: str, url: str, config: JobConfig, learner: Learner, state: TrainState, folder: Path) -> str:
    from pai_train.training.state import refuse_others, stored_kinds
    from pai_train.training.warm_start import match

    where = key
    if key == "train.resume":
        refuse_others(stored_kinds(folder), learner.variables, where)
        return f"all {len(learner.variables)} variables fit; it stands behind step {state.step}"
    warm = warm_start_of(config)
    rules: dict[str, Any] = (
        {}
        if warm is None
        else {"include": warm.include, "exclude": warm.exclude, "ignore_mismatch": warm.ignore_mismatch}
    )
    account = match(learner.variables, folder, where, **rules)
    return f"{len(account.taken)} variables fit, {len(account.missing) + len(account.reshaped)} do not"
