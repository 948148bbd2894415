"""Takes the lookups of strings and integers out of a model: XLA compiles none, and they are the same row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Sequence

_LOOKUPS = (keras.layers.StringLookup, keras.layers.IntegerLookup)


@dataclass(frozen=True)
class Parts:
    """A model in two parts: `rest` of what `looked_up` gives is what the model gives, with the same layers.

    Attributes:
        rest: A Keras model of a list of tensors.
        lookups: By number of an input of the model, the layer it goes through before `rest`; None for none.
        embeddings: How many embeddings take an index that a lookup gave, and have a place for each.
    """

    rest: Any
    lookups: tuple[Any, ...]
    embeddings: int

    def looked_up(self, features: Sequence[Any]) -> list[Any]:
        """Returns, inside a graph, what `rest` takes, of the model's inputs in their order; each row by itself."""
        pairs = zip(self.lookups, features, strict=True)
        return [feature if lookup is None else lookup(feature) for lookup, feature in pairs]


def parts(model: Any) -> Parts | None:
    """Takes a model apart; None where a string goes anywhere but into a lookup of the value itself, or is not needed.

    Only what is known to give a row the same alone as among others is taken out: lookups of one index per value.
    """
    if not any(isinstance(layer, _LOOKUPS) for layer in model.layers) and not _texts(model.inputs):
        return None
    lookups: list[Any] = []
    tensors: list[Any] = []
    for tensor in model.inputs:
        takers = [layer for layer in model.layers if _is_taken_by(tensor, layer)]
        lookup = takers[0] if len(takers) == 1 and _is_plain(takers[0]) else None
        lookups.append(lookup)
        tensors.append(tensor if lookup is None else lookup.output)
    if type(model).__name__ != "Functional" or _texts(tensors):
        return None
    found = [one for one in lookups if one is not None]
    fitting = [layer for one in found for layer in model.layers if _is_embedding_of(one, layer)]
    return Parts(keras.Model(tensors, model.outputs[0]), tuple(lookups), len(fitting))


def _is_plain(layer: Any) -> bool:
    return isinstance(layer, _LOOKUPS) and layer.output_mode == "int" and len(layer._inbound_nodes) == 1


def _is_taken_by(tensor: Any, layer: Any) -> bool:
    if isinstance(layer, keras.layers.InputLayer):
        return False
    return any(tensor is given for node in layer._inbound_nodes for given in node.input_tensors)


def _is_embedding_of(lookup: Any, layer: Any) -> bool:
    if not isinstance(layer, keras.layers.Embedding) or len(layer._inbound_nodes) != 1:
        return False
    return _is_taken_by(lookup.output, layer) and layer.input_dim >= lookup.vocabulary_size()


def _texts(tensors: Sequence[Any]) -> bool:
    return any(str(tensor.dtype) == "string" for tensor in tensors)
