"""`_linear` and `_Linear`: the matrix product inside of old cells, which scripts with cells of their own import."""

from __future__ import annotations

from typing import Any

from pai_train.pai.v1 import tf


class Linear:
    """A matrix product of tensors side by side, with the variables `kernel` and `bias` of the scope it is made in.

    Args:
        args: A tensor [batch, width], or several.
        output_size: The width of the product.
        build_bias: Whether a bias is added.
        bias_initializer: Of the bias; zeros if none.
        kernel_initializer: Of the kernel; the scope's if none.

    Raises:
        ValueError: No tensor, one that is not of rank 2, or one of a width that is not known.
    """

    def __init__(
        self,
        args: Any,
        output_size: int,
        build_bias: bool,
        bias_initializer: Any = None,
        kernel_initializer: Any = None,
    ) -> None:
        tensors = self._listed(args)
        widths = [one.shape.as_list()[1] for one in tensors if one.shape.ndims == 2]
        if not tensors or len(widths) < len(tensors) or None in widths:
            raise ValueError(f"wanted tensors [batch, width], got {[str(one.shape) for one in tensors]}")
        kind = tensors[0].dtype
        self._weights = tf.get_variable("kernel", [sum(widths), output_size], kind, kernel_initializer)
        self._biases = None
        if build_bias:
            zeros = tf.zeros_initializer(dtype=kind)
            self._biases = tf.get_variable("bias", [output_size], kind, bias_initializer or zeros)

    def __call__(self, args: Any) -> Any:
        """Returns [batch, output_size]."""
        tensors = self._listed(args)
        product = tf.matmul(tensors[0] if len(tensors) == 1 else tf.concat(tensors, 1), self._weights)
        return product if self._biases is None else tf.nn.bias_add(product, self._biases)

    def _listed(self, args: Any) -> list[Any]:
        return [tf.convert_to_tensor(one) for one in (args if isinstance(args, list | tuple) else [args])]


def linear(
    args: Any, output_size: int, bias: bool, bias_initializer: Any = None, kernel_initializer: Any = None
) -> Any:
    """Returns a matrix product of tensors [batch, width] side by side: [batch, output_size]."""
    return Linear(args, output_size, bias, bias_initializer, kernel_initializer)(args)
