"""One image file as pixels of one shape, decoded and resized by TensorFlow's kernels, off Python's lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    import numpy as np


class NoImageError(ValueError):
    """The bytes are no whole PNG or JPEG file."""


def pixels(data: bytes, shape: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    """Returns an image as uint8 of shape [height, width, channels].

    Raises:
        NoImageError: It cannot be decoded.
    """
    height, width, channels = shape
    with tf.device("/CPU:0"):
        try:
            image = tf.io.decode_image(data, channels=channels, expand_animations=False)
        except tf.errors.InvalidArgumentError as error:
            raise NoImageError(" ".join(error.message.split("[Op:")[0].split())[:200]) from None
        if tuple(image.shape[:2]) != (height, width):
            exact = tf.image.resize(image, (height, width), method="bilinear", antialias=True)
            image = tf.cast(tf.clip_by_value(tf.round(exact), 0, 255), tf.uint8)
        array: np.ndarray[Any, Any] = image.numpy()
    return array
