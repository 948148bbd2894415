"""The models that have a name. Importing this file imports no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pai_train.models.contracts import ColumnSpec, LabelSpec

ACTIVATIONS = ("elu", "gelu", "leaky_relu", "linear", "mish", "relu", "selu", "sigmoid", "silu", "softplus", "tanh")


def linear(columns: Sequence[ColumnSpec], label: LabelSpec) -> Any:
    """Builds a linear model: logits of shape (rows, classes), or values of shape (rows, 1)."""
    import keras

    from pai_train.models.preprocess import features

    raw, hidden = features(columns)
    return keras.Model(
        raw, keras.layers.Dense(label.width, dtype="float32", name="linear.output")(hidden), name="linear"
    )


def mlp(
    columns: Sequence[ColumnSpec],
    label: LabelSpec,
    *,
    hidden: Sequence[int] = (16,),
    activation: str = "relu",
    dropout: float = 0.0,
    batch_norm: bool = False,
) -> Any:
    """Builds a multilayer perceptron: logits of shape (rows, classes), or values of shape (rows, 1).

    Args:
        columns: The features.
        label: What is learned.
        hidden: Units of each hidden layer.
        activation: Of the hidden layers.
        dropout: Share of the hidden units dropped in training, 0 to below 1.
        batch_norm: Normalise each hidden layer before its activation; statistics are per replica.
    """
    import keras

    from pai_train.models.preprocess import features

    raw, flow = features(columns)
    for index, units in enumerate(hidden):
        name = f"mlp.hidden.{index}"
        flow = keras.layers.Dense(units, name=name)(flow)
        if batch_norm:
            flow = keras.layers.BatchNormalization(name=f"{name}.batch_norm")(flow)
        flow = keras.layers.Activation(activation, name=f"{name}.activation")(flow)
        if dropout:
            flow = keras.layers.Dropout(dropout, name=f"{name}.dropout")(flow)
    return keras.Model(raw, keras.layers.Dense(label.width, dtype="float32", name="mlp.output")(flow), name="mlp")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_units(value: Any) -> bool:
    return isinstance(value, Sequence) and all(isinstance(u, int) and not isinstance(u, bool) and u > 0 for u in value)


NAMED: Mapping[str, Callable[..., Any]] = {"linear": linear, "mlp": mlp}

ACCEPTED: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "hidden": ("a list of whole numbers above 0", _is_units),
    "activation": (f"one of {', '.join(ACTIVATIONS)}", lambda value: value in ACTIVATIONS),
    "dropout": ("a number from 0 to below 1", lambda value: _is_number(value) and 0 <= value < 1),
    "batch_norm": ("true or false", lambda value: isinstance(value, bool)),
}
"""What the parameters of the named models accept: in words, and as a check."""
