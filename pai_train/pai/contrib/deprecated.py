"""`tf.contrib.deprecated`: summaries by their first names, a tag in the place of a name."""

from __future__ import annotations

from typing import Any

from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

__all__ = ["audio_summary", "histogram_summary", "image_summary", "merge_all_summaries", "merge_summary",
           "scalar_summary"]  # fmt: skip


def scalar_summary(tags: Any, values: Any, collections: Any = None, name: str | None = None) -> Any:
    """Returns a summary of numbers: scalars, or [n] of both tags and values."""
    made = tf.raw_ops.ScalarSummary(tags=tags, values=values, name=name)
    return _collected(made, collections)


def histogram_summary(tag: Any, values: Any, collections: Any = None, name: str | None = None) -> Any:
    """Returns a summary of how values are distributed."""
    return _collected(tf.raw_ops.HistogramSummary(tag=tag, values=values, name=name), collections)


def image_summary(tag: Any, tensor: Any, max_images: int = 3, collections: Any = None, name: str | None = None) -> Any:
    """Returns a summary of images [batch, height, width, 1, 3 or 4]."""
    return _collected(tf.raw_ops.ImageSummary(tag=tag, tensor=tensor, max_images=max_images, name=name), collections)


def audio_summary(
    tag: Any, tensor: Any, sample_rate: Any, max_outputs: int = 3, collections: Any = None, name: str | None = None
) -> Any:
    """Returns a summary of sound [batch, frames] or [batch, frames, channels]."""
    made = tf.raw_ops.AudioSummaryV2(
        tag=tag, tensor=tensor, sample_rate=sample_rate, max_outputs=max_outputs, name=name
    )
    return _collected(made, collections)


def merge_summary(inputs: Any, collections: Any = None, name: str | None = None) -> Any:
    """Returns one summary of several."""
    return tf.summary.merge(inputs, collections, name)


def merge_all_summaries(key: str = "summaries") -> Any:
    """Returns one summary of all of the graph; None where it has none."""
    return tf.summary.merge_all(key)


def _collected(made: Any, collections: Any) -> Any:
    for key in [tf.GraphKeys.SUMMARIES] if collections is None else collections:
        tf.add_to_collection(key, made)
    return made


__getattr__ = absent("tf.contrib.deprecated")
