"""`tf.contrib.learn.datasets.base`: CSV files of numbers as arrays, and files fetched where they are absent."""

from __future__ import annotations

import csv
import os
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from pai_train.errors import DataError
from pai_train.pai.gone import absent, user_line
from pai_train.pai.v1 import tf

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Dataset", "Datasets", "load_csv_with_header", "load_csv_without_header", "maybe_download"]

_WAIT_S = 30


class Dataset(NamedTuple):
    """Rows and what is known of them.

    Attributes:
        data: [rows, features].
        target: [rows].
    """

    data: Any
    target: Any


class Datasets(NamedTuple):
    """Three sets of rows."""

    train: Any
    validation: Any
    test: Any


def load_csv_with_header(filename: str, target_dtype: Any, features_dtype: Any, target_column: int = -1) -> Dataset:
    """Reads a CSV file whose first line says how many rows and features follow.

    Args:
        filename: The file, on any store.
        target_dtype: The type of the target.
        features_dtype: The type of the features.
        target_column: Where the target stands in a line.

    Raises:
        DataError: The first line does not begin with two numbers, or not so many rows follow.
    """
    with tf.gfile.Open(filename) as file:
        lines = csv.reader(file)
        header = next(lines, [])
        try:
            rows, features = int(header[0]), int(header[1])
        except (IndexError, ValueError):
            raise DataError(
                "the first line of a CSV file does not say what follows", where=str(filename), got=",".join(header),
                wanted="rows,features,…", todo="for a file without it: load_csv_without_header",
            ) from None  # fmt: skip
        found = _load(lines, target_dtype, features_dtype, target_column)
    if found.data.shape != (rows, features):
        raise DataError(
            "a CSV file is not what its first line says", where=str(filename),
            got=f"rows and features {found.data.shape}", wanted=str((rows, features)),
        )  # fmt: skip
    return found


def load_csv_without_header(filename: str, target_dtype: Any, features_dtype: Any, target_column: int = -1) -> Dataset:
    """Reads a CSV file of rows only; arguments as of `load_csv_with_header`."""
    with tf.gfile.Open(filename) as file:
        return _load(csv.reader(file), target_dtype, features_dtype, target_column)


def _load(lines: Iterable[list[str]], target_dtype: Any, features_dtype: Any, target_column: int) -> Dataset:
    data, target = [], []
    for line in lines:
        target.append(line.pop(target_column))
        data.append(line)
    return Dataset(np.array(data).astype(features_dtype), np.array(target).astype(target_dtype))


def maybe_download(filename: str, work_directory: str, source_url: str) -> str:
    """Returns the path of a file in a folder, which is fetched from an address where it is absent.

    Raises:
        DataError: It is absent and cannot be fetched.
    """
    if not tf.gfile.Exists(work_directory):
        tf.gfile.MakeDirs(work_directory)
    path = os.path.join(work_directory, filename)
    if tf.gfile.Exists(path):
        return path
    try:
        with urllib.request.urlopen(source_url, timeout=_WAIT_S) as answer:  # noqa: S310
            content = answer.read()
    except (OSError, ValueError) as error:
        raise DataError(
            "a file is absent, and could not be fetched", where=user_line(), got=f"{source_url}: {error}",
            wanted=path, todo=f"put the file there: {path}",
        ) from error  # fmt: skip
    with tf.gfile.Open(path, "wb") as file:
        file.write(content)
    return path


__getattr__ = absent("tf.contrib.learn.datasets.base")
