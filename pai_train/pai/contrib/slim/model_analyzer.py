"""`tf.contrib.slim.model_analyzer`: how large variables and values of a graph are."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pai_train.pai.gone import absent

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["analyze_ops", "analyze_vars", "tensor_description"]

_RULE = "---------"


def tensor_description(var: Any) -> str:
    """Returns type and shape: `(float32_ref 3x5)`."""
    sizes = "x".join(str(size) for size in var.get_shape().as_list())
    return f"({var.dtype.name} {sizes})"


def analyze_ops(graph: Any, print_info: bool = False) -> int:
    """Returns how many values the operations of a graph give, as far as shapes are known."""
    if print_info:
        _say(_RULE, "Operations: name -> (type shapes) [size]", _RULE)
    total = 0
    for op in graph.get_operations():
        sizes = [output.get_shape().num_elements() or 0 for output in op.outputs]
        total += sum(sizes)
        if print_info:
            shapes = ", ".join(tensor_description(output) for output in op.outputs)
            _say(f"{op.name}\t-> {shapes or None}\t[{sum(sizes)}]")
    if print_info:
        _say(_RULE, f"Total size: {total}")
    return total


def analyze_vars(variables: Iterable[Any], print_info: bool = False) -> tuple[int, int]:
    """Returns how many values and how many bytes variables hold."""
    if print_info:
        _say(_RULE, "Variables: name (type shape) [size]", _RULE)
    total_size = total_bytes = 0
    for variable in variables:
        size = variable.get_shape().num_elements() or 0
        held = size * variable.dtype.size
        total_size += size
        total_bytes += held
        if print_info:
            _say(f"{variable.name} {tensor_description(variable)} [{size}, bytes: {held}]")
    if print_info:
        _say(f"Total size of variables: {total_size}", f"Total bytes of variables: {total_bytes}")
    return total_size, total_bytes


def _say(*lines: str) -> None:
    sys.stdout.writelines(f"{line}\n" for line in lines)


__getattr__ = absent("tf.contrib.slim.model_analyzer")
