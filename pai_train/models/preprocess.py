"""Preprocessing inside the model: raw columns to one float32 feature matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import keras

from pai_train.errors import PaiTrainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pai_train.models.contracts import ColumnSpec

ONE_HOT_LIMIT = 32
_OUT_OF_VOCABULARY = "[UNK]"
_INPUT_DTYPES = {
    "float": "float64",
    "int": "int64",
    "bool": "bool",
    "string": "string",
    "id": "int32",
    "image": "uint8",
}


def inputs(columns: Sequence[ColumnSpec]) -> dict[str, Any]:
    """Returns one `keras.Input` per column, by name.

    Of shape (rows,) as float64, int64, bool, string, or int32 of ids; of images (rows, height, width, channels) as
    uint8.
    """
    return {
        column.name: keras.Input(shape=column.shape, name=column.name, dtype=_INPUT_DTYPES[column.dtype])
        for column in columns
    }


def features(columns: Sequence[ColumnSpec]) -> tuple[dict[str, Any], Any]:
    """Returns the inputs and the features computed of them, float32 of shape (rows, width).

    Numbers and bools are normalised; strings up to 32 values become one-hot, larger vocabularies an embedding, both
    with a place for values outside the vocabulary. So do integer ids, which have such a place among them. Images are
    scaled to 0 to 1 and flattened; layers that need their shape take the `inputs` of their columns instead.

    Raises:
        PaiTrainError: There are no columns.
    """
    if not columns:
        raise PaiTrainError("the model has no feature columns", todo="name at least one column besides the label")
    raw = inputs(columns)
    numeric = [column for column in columns if column.dtype not in ("string", "id", "image")]
    parts = []
    if numeric:
        layer = NumericFeatures(
            mean=[column.mean for column in numeric],
            variance=[column.variance for column in numeric],
            name="features.numeric",
        )
        parts.append(layer([raw[column.name] for column in numeric]))
    # Layers are named by number, with a dot: a column's name may be no TensorFlow scope, or that of another layer.
    parts += [
        _category(raw[column.name], column, f"features.string.{index}")
        for index, column in enumerate(columns)
        if column.dtype == "string"
    ]
    parts += [
        _places(raw[column.name], column.size, f"features.id.{index}")
        for index, column in enumerate(columns)
        if column.dtype == "id"
    ]
    parts += [
        _pixels(raw[column.name], f"features.image.{index}")
        for index, column in enumerate(columns)
        if column.dtype == "image"
    ]
    return raw, parts[0] if len(parts) == 1 else keras.layers.Concatenate(name="features.all")(parts)


def _category(tensor: Any, column: ColumnSpec, name: str) -> Any:
    vocabulary = _lookup_values(column.vocabulary)
    size = len(vocabulary) + 1
    index = keras.layers.StringLookup(vocabulary=vocabulary, oov_token=_OUT_OF_VOCABULARY, name=f"{name}.lookup")(
        tensor
    )
    return _places(index, size, name)


def _places(index: Any, size: int, name: str) -> Any:
    if size <= ONE_HOT_LIMIT + 1:
        return OneHot(size, name=f"{name}.one_hot")(index)
    return keras.layers.Embedding(size, embedding_width(size), name=f"{name}.embedding")(index)


def _pixels(tensor: Any, name: str) -> Any:
    scaled = keras.layers.Rescaling(1 / 255, name=f"{name}.scaled")(tensor)
    return keras.layers.Flatten(name=f"{name}.flat")(scaled)


def embedding_width(size: int) -> int:
    """Returns the width of an embedding of `size` values: the square root, at most 64."""
    return min(64, round(math.sqrt(size)))


def _lookup_values(vocabulary: Sequence[bytes | str]) -> list[str]:
    """Returns the values that StringLookup can hold; the rest falls to the out-of-vocabulary place."""
    texts = (value.decode(errors="replace") if isinstance(value, bytes) else value for value in vocabulary)
    # NumPy drops trailing NULs, and Keras refuses its own token as a value.
    usable = dict.fromkeys(text for text in texts if not text.endswith("\0") and text != _OUT_OF_VOCABULARY)
    return list(usable) or [""]


@keras.saving.register_keras_serializable("pai_train")
class NumericFeatures(keras.layers.Layer):  # type: ignore[misc]
    """Normalises numeric columns: a list of n vectors (rows,) to float32 (rows, n).

    The mean is taken off in float64, so that integers up to 2**53 and narrow columns far from zero keep their digits.

    Args:
        mean: Per column.
        variance: Per column, above 0.
    """

    def __init__(self, mean: Sequence[float], variance: Sequence[float], **kwargs: Any) -> None:
        super().__init__(autocast=False, **kwargs)
        self.mean = [float(value) for value in mean]
        self.variance = [float(value) for value in variance]

    def call(self, inputs: Sequence[Any]) -> Any:
        """Returns the normalised columns side by side."""
        stacked = keras.ops.stack([keras.ops.cast(vector, "float64") for vector in inputs], axis=-1)
        mean = keras.ops.convert_to_tensor(self.mean, "float64")
        scale = keras.ops.convert_to_tensor([value**-0.5 for value in self.variance], "float64")
        return keras.ops.cast((stacked - mean) * scale, "float32")

    def compute_output_spec(self, inputs: Sequence[Any]) -> Any:
        """Returns the shape and dtype of the result."""
        return keras.KerasTensor((inputs[0].shape[0], len(inputs)), dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        config = super().get_config()
        config.pop("autocast", None)
        return {**config, "mean": self.mean, "variance": self.variance}


@keras.saving.register_keras_serializable("pai_train")
class OneHot(keras.layers.Layer):  # type: ignore[misc]
    """Turns indices (rows,) into float32 (rows, size).

    Args:
        size: Number of places.
    """

    def __init__(self, size: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.size = size

    def call(self, inputs: Any) -> Any:
        """Returns the rows with a 1 at their index."""
        return keras.ops.one_hot(inputs, self.size, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "size": self.size}
