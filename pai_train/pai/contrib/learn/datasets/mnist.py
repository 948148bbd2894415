"""Handwritten digits: `read_data_sets` of the tutorials, over the four files of MNIST in a folder or on a store."""

from __future__ import annotations

import gzip
from typing import Any

import numpy as np

from pai_train.errors import DataError
from pai_train.pai.contrib.learn.datasets.base import Datasets, maybe_download
from pai_train.pai.gone import absent
from pai_train.pai.v1 import tf

__all__ = ["DataSet", "dense_to_one_hot", "extract_images", "extract_labels", "load_mnist", "read_data_sets"]

DEFAULT_SOURCE_URL = "https://storage.googleapis.com/cvdf-datasets/mnist/"
_IMAGES, _LABELS, _CLASSES = 2051, 2049, 10


class DataSet:
    """Images with their labels, handed out in batches.

    Args:
        images: uint8 [images, rows, columns, 1].
        labels: [images], or [images, 10] of one-hot rows.
        fake_data: Whether batches are made up: ones, and label 0.
        one_hot: Whether made-up labels are one-hot rows.
        dtype: `tf.float32`, scaled from 0 to 1, or `tf.uint8`.
        reshape: Whether images become [images, rows * columns].
        seed: Of the order of batches.
    """

    def __init__(
        self,
        images: Any,
        labels: Any,
        fake_data: bool = False,
        one_hot: bool = False,
        dtype: Any = None,
        reshape: bool = True,
        seed: int | None = None,
    ) -> None:
        dtype = tf.as_dtype(tf.float32 if dtype is None else dtype).base_dtype
        if dtype not in (tf.uint8, tf.float32):
            raise TypeError(f"wanted tf.uint8 or tf.float32 as dtype, got {dtype}")
        if fake_data:
            images, labels, self.one_hot = np.ones((10000, 28, 28, 1)), np.zeros(10000), one_hot
        if len(images) != len(labels):
            raise ValueError(f"wanted as many labels as images, got images {images.shape}, labels {labels.shape}")
        if reshape and not fake_data:
            images = images.reshape(len(images), int(np.prod(images.shape[1:])))
        if dtype == tf.float32 and not fake_data:
            images = images.astype(np.float32) * np.float32(1 / 255)
        self._fake, self._order = fake_data, np.random.RandomState(seed)
        self._images, self._labels, self._at, self._epochs = images, labels, 0, 0

    @property
    def images(self) -> Any:
        """All images, in the order of this epoch."""
        return self._images

    @property
    def labels(self) -> Any:
        """All labels, in the order of `images`."""
        return self._labels

    @property
    def num_examples(self) -> int:
        """How many images there are."""
        return len(self._images)

    @property
    def epochs_completed(self) -> int:
        """How often all images were handed out."""
        return self._epochs

    def next_batch(self, batch_size: int, fake_data: bool = False, shuffle: bool = True) -> tuple[Any, Any]:
        """Returns the next images and labels; a batch at an epoch's end is filled up from the next one."""
        if fake_data or self._fake:
            label: Any = [1] + [0] * (_CLASSES - 1) if getattr(self, "one_hot", False) else 0
            return [[1] * 784 for _ in range(batch_size)], [label for _ in range(batch_size)]
        if self._at == 0 and self._epochs == 0 and shuffle:
            self._shuffle()
        end = self._at + batch_size
        if end <= len(self._images):
            begin, self._at = self._at, end
            return self._images[begin:end], self._labels[begin:end]
        images, labels = self._images[self._at :], self._labels[self._at :]
        self._epochs += 1
        if shuffle:
            self._shuffle()
        self._at = batch_size - len(images)
        more = self._images[: self._at], self._labels[: self._at]
        return np.concatenate([images, more[0]]), np.concatenate([labels, more[1]])

    def _shuffle(self) -> None:
        order = self._order.permutation(len(self._images))
        self._images, self._labels = self._images[order], self._labels[order]


def read_data_sets(
    train_dir: str,
    fake_data: bool = False,
    one_hot: bool = False,
    dtype: Any = None,
    reshape: bool = True,
    validation_size: int = 5000,
    seed: int | None = None,
    source_url: str = DEFAULT_SOURCE_URL,
) -> Datasets:
    """Reads MNIST's four files, which are fetched where they are absent.

    Args:
        train_dir: The folder of `train-images-idx3-ubyte.gz` and the three others.
        fake_data: Whether batches are made up and no file is read.
        one_hot: Whether labels are rows of ten numbers.
        dtype: `tf.float32`, from 0 to 1, or `tf.uint8`.
        reshape: Whether images become rows of 784 numbers.
        validation_size: How many of the first images of training are set aside.
        seed: Of the order of batches.
        source_url: Where absent files are fetched.

    Raises:
        DataError: A file is absent and cannot be fetched, or is none of MNIST's.
        ValueError: `validation_size` is not within the images of training.
    """
    options: dict[str, Any] = {"dtype": dtype, "reshape": reshape, "seed": seed}
    if fake_data:
        return Datasets(*(DataSet([], [], fake_data=True, one_hot=one_hot, **options) for _ in range(3)))
    parts = []
    for part in ("train", "t10k"):
        for kind, extract in (("images-idx3", extract_images), ("labels-idx1", extract_labels)):
            name = f"{part}-{kind}-ubyte.gz"
            with tf.gfile.Open(maybe_download(name, train_dir, source_url + name), "rb") as file:
                parts.append(extract(file, one_hot) if extract is extract_labels else extract(file))
    images, labels, *test = parts
    if not 0 <= validation_size <= len(images):
        raise ValueError(f"wanted a validation_size from 0 to {len(images)}, got {validation_size}")
    train = images[validation_size:], labels[validation_size:]
    held = images[:validation_size], labels[:validation_size]
    return Datasets(*(DataSet(*rows, **options) for rows in (train, held, test)))


def load_mnist(train_dir: str = "MNIST-data") -> Datasets:
    """Reads MNIST with its defaults."""
    return read_data_sets(train_dir)


def extract_images(f: Any) -> Any:
    """Reads a compressed file of images: uint8 [images, rows, columns, 1]."""
    return _idx(f, _IMAGES, 3)[..., None]


def extract_labels(f: Any, one_hot: bool = False, num_classes: int = _CLASSES) -> Any:
    """Reads a compressed file of labels: uint8 [images], or rows of one-hot numbers."""
    labels = _idx(f, _LABELS, 1)
    return dense_to_one_hot(labels, num_classes) if one_hot else labels


def dense_to_one_hot(labels_dense: Any, num_classes: int) -> Any:
    """Returns float64 [labels, classes] of labels [labels]."""
    return np.eye(num_classes)[labels_dense]


def _idx(file: Any, magic: int, rank: int) -> Any:
    name = str(getattr(file, "name", ""))
    try:
        content = gzip.decompress(file.read())
    except (OSError, EOFError) as error:
        raise DataError("a file of MNIST cannot be read", where=name, got=str(error), wanted="gzip") from error
    header = np.frombuffer(content[: 4 * (rank + 1)], ">u4").tolist()
    if header[:1] != [magic] or len(content) != 4 * (rank + 1) + int(np.prod(header[1:])):
        raise DataError("a file is not one of MNIST's", where=name, got=f"{len(content)} bytes that begin {header}")
    return np.frombuffer(content, np.uint8, offset=4 * (rank + 1)).reshape(header[1:])


__getattr__ = absent("tf.contrib.learn.datasets.mnist")
