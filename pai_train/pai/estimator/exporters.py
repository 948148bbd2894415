"""Exports after evaluations: the final model, the last few, or the best ones."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pai_train.pai.estimator.evaluation import read_events
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pai_train.pai.estimator.estimator import Estimator


class Exporter:
    """What `EvalSpec` takes as an exporter: a `name` and `export`."""

    name: str

    def export(
        self, estimator: Estimator, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> Any:
        """Exports a checkpoint, or not.

        Args:
            estimator: The model.
            export_path: The folder of this exporter's models.
            checkpoint_path: The checkpoint.
            eval_result: Its evaluation.
            is_the_final_export: Whether training has ended.

        Returns:
            The model's folder, or None where nothing was exported.
        """
        raise NotImplementedError


class _ModelExporter(Exporter):
    def __init__(
        self,
        name: str,
        serving_input_receiver_fn: Callable[[], Any],
        assets_extra: Mapping[str, str] | None,
        as_text: bool,
        exports_to_keep: int | None,
    ) -> None:
        if exports_to_keep is not None and exports_to_keep <= 0:
            raise ValueError(f"exporter {name}: wanted exports_to_keep above 0, got {exports_to_keep}")
        self.name = name
        self._receiver_fn, self._assets, self._as_text = serving_input_receiver_fn, assets_extra, as_text
        self._keep = exports_to_keep

    def _write(self, estimator: Estimator, folder: str, checkpoint: str) -> bytes:
        written = estimator.export_saved_model(folder, self._receiver_fn, self._assets, self._as_text, checkpoint)
        if self._keep is not None:
            stamps = sorted(int(name) for one in tf.gfile.ListDirectory(folder) if (name := one.strip("/")).isdigit())
            for stamp in stamps[: -self._keep]:
                tf.gfile.DeleteRecursively(os.path.join(folder, str(stamp)))
        return written


class FinalExporter(_ModelExporter):
    """Exports once, when training has ended."""

    def __init__(
        self,
        name: str,
        serving_input_receiver_fn: Callable[[], Any],
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
    ) -> None:
        super().__init__(name, serving_input_receiver_fn, assets_extra, as_text, None)

    def export(
        self, estimator: Estimator, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> bytes | None:
        return self._write(estimator, export_path, checkpoint_path) if is_the_final_export else None


class LatestExporter(_ModelExporter):
    """Exports after each evaluation and keeps the last few."""

    def __init__(
        self,
        name: str,
        serving_input_receiver_fn: Callable[[], Any],
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
        exports_to_keep: int | None = 5,
    ) -> None:
        super().__init__(name, serving_input_receiver_fn, assets_extra, as_text, exports_to_keep)

    def export(
        self, estimator: Estimator, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> bytes | None:
        return self._write(estimator, export_path, checkpoint_path)


class BestExporter(_ModelExporter):
    """Exports after an evaluation that is better than all before it, those of earlier runs included.

    Args:
        name: The exporter's name.
        serving_input_receiver_fn: Makes what is fed.
        event_file_pattern: Where earlier evaluations are, below the model's folder: `eval/*.tfevents.*`.
        compare_fn: From `best_eval_result` and `current_eval_result` to whether the current one is better; a smaller
            loss if none.
        assets_extra: Files to put under `assets.extra`.
        as_text: Whether the graph is text.
        exports_to_keep: How many models are kept, None for all.
    """

    def __init__(
        self,
        name: str = "best_exporter",
        serving_input_receiver_fn: Any = None,
        event_file_pattern: str | None = None,
        compare_fn: Callable[..., bool] | None = None,
        assets_extra: Mapping[str, str] | None = None,
        as_text: bool = False,
        exports_to_keep: int | None = 5,
    ) -> None:
        if serving_input_receiver_fn is None:
            raise ValueError("BestExporter: wanted a serving_input_receiver_fn")
        super().__init__(name, serving_input_receiver_fn, assets_extra, as_text, exports_to_keep)
        self._compare = compare_fn or _smaller_loss
        self._pattern = event_file_pattern
        self._best: Any = None
        self._begun = False

    def export(
        self, estimator: Estimator, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> bytes | None:
        if not self._begun:
            self._begun = True
            self._best = self._earlier(estimator, eval_result)
        if self._best is not None and not self._compare(best_eval_result=self._best, current_eval_result=eval_result):
            return None
        self._best = eval_result
        return self._write(estimator, export_path, checkpoint_path)

    def _earlier(self, estimator: Estimator, current: Mapping[str, Any]) -> Any:
        if self._pattern is None:
            return None
        best: Any = None
        folder = os.path.join(estimator.model_dir, os.path.dirname(self._pattern))
        for step, values in read_events(folder).items():
            if step < current.get("global_step", 0) and (
                best is None or self._compare(best_eval_result=best, current_eval_result=values)
            ):
                best = values
        return best


def _smaller_loss(best_eval_result: Mapping[str, Any], current_eval_result: Mapping[str, Any]) -> bool:
    for result in (best_eval_result, current_eval_result):
        if "loss" not in result:
            raise ValueError("BestExporter: an evaluation has no loss to compare")
    return bool(best_eval_result["loss"] > current_eval_result["loss"])
