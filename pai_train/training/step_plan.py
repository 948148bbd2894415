"""How a step is taken: the plain values that a learner is made with. Imports no TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from pai_train.spec.config import TrainConfig
    from pai_train.spec.train_config import ScheduleConfig

Precision = Literal["float32", "mixed_bfloat16", "mixed_float16"]


@dataclass(frozen=True)
class StepPlan:
    """What a step does beside computing a loss.

    Attributes:
        schedule: How the learning rate goes; None for a constant one.
        clip_norm: Norm over all gradients that they are scaled down to; None for not.
        clip_value: Absolute value that each element of a gradient is cut to; None for not.
        accumulate: Batches whose gradients make one update.
        class_weights: Weight of each class, in the order of the label's classes; None for 1 each.
        weight: The column of the rows' weights; None for 1 each.
        precision: Keras's dtype policy of the layers.
        keep_best: Whether a second copy of the weights is kept, for the best ones so far.
        jit_compile: Whether XLA compiles steps; auto for where that pays.
    """

    schedule: ScheduleConfig | None = None
    clip_norm: float | None = None
    clip_value: float | None = None
    accumulate: int = 1
    class_weights: tuple[float, ...] | None = None
    weight: str | None = None
    precision: Precision = "float32"
    keep_best: bool = False
    jit_compile: bool | Literal["auto"] = "auto"

    @classmethod
    def of(cls, config: TrainConfig, class_weights: tuple[float, ...] | None, weight: str | None) -> StepPlan:
        """Takes the plan out of a recipe's `train`."""
        stopping = config.early_stopping
        return cls(
            schedule=config.learning_rate_schedule,
            clip_norm=config.clip_norm,
            clip_value=config.clip_value,
            accumulate=config.accumulate_steps,
            class_weights=class_weights,
            weight=weight,
            precision=config.precision,
            keep_best=stopping is not None and stopping.restore_best,
            jit_compile=config.jit_compile,
        )

    @property
    def one_update(self) -> bool:
        """Whether a batch's gradients can go to the optimizer as they are."""
        return (
            self.accumulate == 1
            and self.clip_norm is None
            and self.clip_value is None
            and self.precision != "mixed_float16"
        )
