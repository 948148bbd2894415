"""Values of a first training taken from another model's checkpoint: `WarmStartSettings`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class WarmStartSettings:
    """Which variables start with which values.

    Attributes:
        ckpt_to_initialize_from: A checkpoint, or a folder of them, or an exported model.
        vars_to_warm_start: A pattern of trainable variables, a list of patterns of any, or of variables.
        var_name_to_vocab_info: Vocabularies of embeddings that have changed.
        var_name_to_prev_var_name: Names in the checkpoint where they differ.
    """

    ckpt_to_initialize_from: str
    vars_to_warm_start: Any = ".*"
    var_name_to_vocab_info: Mapping[str, Any] = field(default_factory=dict)
    var_name_to_prev_var_name: Mapping[str, str] = field(default_factory=dict)


def settings_of(warm_start_from: Any) -> WarmStartSettings | None:
    """Returns the settings of a path, of settings, or None.

    Raises:
        ValueError: Something else.
    """
    if warm_start_from is None or isinstance(warm_start_from, WarmStartSettings):
        return warm_start_from
    if isinstance(warm_start_from, (str, bytes, os.PathLike)):
        path = os.fspath(warm_start_from)
        path = path.decode() if isinstance(path, bytes) else path
        exported = os.path.join(path, "variables", "variables")
        return WarmStartSettings(exported if tf.gfile.Exists(f"{exported}.index") else path)
    raise ValueError(f"warm_start_from: wanted a path or WarmStartSettings, got {warm_start_from!r}")


def warm_start(settings: WarmStartSettings) -> None:
    """Makes the graph's initialisers take the checkpoint's values."""
    tf.train.warm_start(
        settings.ckpt_to_initialize_from,
        settings.vars_to_warm_start,
        dict(settings.var_name_to_vocab_info) or None,
        dict(settings.var_name_to_prev_var_name) or None,
    )
