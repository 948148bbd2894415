"""Pickles as Python 2 had them: files opened as text held bytes, and texts of old pickles are those of any encoding."""

from __future__ import annotations

import io
import pickle
from functools import wraps
from typing import Any


def install() -> None:
    """Makes `pickle.load` and `pickle.dump` take files opened without `b`, in this process from now on."""
    load, dump = pickle.load, pickle.dump

    @wraps(pickle.loads)
    def loads_any(data: Any, **options: Any) -> Any:
        return load_any(io.BytesIO(data), **options)

    @wraps(load)
    def load_any(file: Any, **options: Any) -> Any:
        # The file of text closes what lies below once nobody holds it any more.
        below = _binary(file)
        if "encoding" in options or not below.seekable():
            return load(below, **options)
        start = below.tell()
        try:
            return load(below, encoding="utf-8", **options)
        except UnicodeDecodeError:
            # What numpy and others put there as str is bytes, which it wants so.
            below.seek(start)
            return _texts(load(below, encoding="latin-1", **options))

    @wraps(dump)
    def dump_any(value: Any, file: Any, *arguments: Any, **options: Any) -> None:
        if isinstance(file, io.TextIOWrapper):
            file.flush()
        dump(value, _binary(file), *arguments, **options)

    vars(pickle).update(load=load_any, loads=loads_any, dump=dump_any)


def _texts(value: Any) -> Any:
    """Returns what was read as Latin-1 with those texts that were UTF-8, in lists, tuples and dicts too."""
    if isinstance(value, str):
        try:
            return value.encode("latin-1").decode("utf-8")
        except UnicodeError:
            return value
    if type(value) in (list, tuple, set):
        return type(value)(_texts(one) for one in value)
    if type(value) is dict:
        return {_texts(name): _texts(one) for name, one in value.items()}
    return value


def _binary(file: Any) -> Any:
    """Returns what lies below a file of text, which has read nothing yet; any other file as it is."""
    return file.buffer if isinstance(file, io.TextIOWrapper) else file
