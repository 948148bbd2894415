"""Remote names where TensorFlow itself opens files: in readers, datasets, event files and lookup tables."""

from __future__ import annotations

import os
import time
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from pai_train.pai.mirror import is_remote
from pai_train.pai.remote_files import as_tensorflow_says

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.pai.mirror import Mirror

_PUSH_EVERY_S = 30.0


def install(mirror: Mirror) -> None:
    """Has what opens files by name, in Python or in a graph, open remote ones."""
    names = _Names(mirror)
    _readers(names)
    _keys(mirror)
    _csv_datasets(names)
    _records(mirror)
    _events(mirror)
    _tables(names)


def everywhere(name: str, old: Any, new: Any) -> None:
    """Puts `new` in place of `old` in each of TensorFlow's modules that holds it under `name`."""
    import sys

    for module in list(sys.modules.values()):
        found = getattr(module, "__dict__", {})
        if getattr(module, "__name__", "").startswith("tensorflow") and found.get(name) is old:
            setattr(module, name, new)


class _Names:
    """Makes local names of remote ones: now where they are known, else when the graph runs."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror

    def local(self, names: Any) -> Any:
        """Returns names, a text, a list or a tensor, as local names."""
        known = _known(names)
        if known is None:
            return self.later(tf.convert_to_tensor(names))
        texts = [name.decode() if isinstance(name, bytes) else str(name) for name in known.reshape(-1).tolist()]
        if not any(map(is_remote, texts)):
            return names
        with as_tensorflow_says():
            staged = self._mirror.stage_all(texts)
        return staged[0] if known.ndim == 0 else np.array(staged, object).reshape(known.shape)

    def later(self, names: Any) -> Any:
        """Returns a tensor of local names, staged when it is evaluated."""
        staged = tf.numpy_function(self._staged, [names], tf.string)
        return tf.ensure_shape(staged, names.shape)

    def _staged(self, names: Any) -> Any:
        texts = [name.decode() for name in np.asarray(names, object).reshape(-1)]
        with as_tensorflow_says():
            staged = np.array([path.encode() for path in self._mirror.stage_all(texts)], object)
        return staged.reshape(np.shape(names))

    def write(self, name: bytes, content: bytes) -> np.bool_:
        """Writes one file, wherever it is."""
        url = name.decode()
        with as_tensorflow_says():
            if is_remote(url):
                self._mirror.store(url).put(url, content)
            else:
                Path(url).parent.mkdir(parents=True, exist_ok=True)
                Path(url).write_bytes(content)
        return np.True_

    def matching(self, pattern: str) -> list[str]:
        """Returns the URLs that a pattern matches."""
        from tensorflow.python.lib.io import file_io

        return list(file_io.get_matching_files(pattern))


def _known(names: Any) -> np.ndarray[Any, Any] | None:
    """Returns names that need no graph to be known."""
    if isinstance(names, Path):
        names = str(names)
    if isinstance(names, str | bytes) or (
        isinstance(names, list | tuple | np.ndarray) and all(isinstance(name, str | bytes | Path) for name in names)
    ):
        return (
            np.array([str(n) if isinstance(n, Path) else n for n in names], object)
            if isinstance(names, list | tuple)
            else np.array(names, object)
        )
    if isinstance(names, tf.Tensor):
        found = tf.get_static_value(names)
        return None if found is None else np.asarray(found, object)
    return None


def _readers(names: _Names) -> None:
    from tensorflow.python.data.ops import readers
    from tensorflow.python.ops import gen_io_ops, io_ops
    from tensorflow.python.training import input as producers

    old_names = readers._create_or_validate_filenames_dataset

    def file_names(filenames: Any, name: str | None = None) -> Any:
        given = filenames
        if not isinstance(filenames, tf.data.Dataset):
            known = _known(filenames)
            texts = [] if known is None else [n.decode() if isinstance(n, bytes) else n for n in known.reshape(-1)]
            if known is not None and not any(map(is_remote, texts)):
                return old_names(filenames, name)
            given = tf.data.Dataset.from_tensor_slices(tf.reshape(tf.convert_to_tensor(filenames), [-1]))
        return old_names(given.map(lambda one: tf.ensure_shape(names.later(one), [])), name)

    readers._create_or_validate_filenames_dataset = file_names

    old_producer = producers.string_input_producer

    @wraps(old_producer)
    def string_input_producer(string_tensor: Any, *more: Any, **options: Any) -> Any:
        return old_producer(names.local(string_tensor), *more, **options)

    everywhere("string_input_producer", old_producer, string_input_producer)

    old_read = io_ops.read_file

    @wraps(old_read)
    def read_file(filename: Any, name: str | None = None) -> Any:
        return old_read(names.local(filename), name)

    everywhere("read_file", old_read, read_file)

    old_write = io_ops.write_file

    @wraps(old_write)
    def write_file(filename: Any, contents: Any, name: str | None = None) -> Any:
        known = _known(filename)
        if known is not None and not is_remote(str(tf.compat.as_str(known.item()))):
            return old_write(filename, contents, name)
        return tf.numpy_function(names.write, [filename, contents], tf.bool, name=name).op

    everywhere("write_file", old_write, write_file)

    old_matching = gen_io_ops.matching_files

    @wraps(old_matching)
    def matching_files(pattern: Any, name: str | None = None) -> Any:
        known = _known(pattern)
        texts = [] if known is None else [tf.compat.as_str(one) for one in known.reshape(-1)]
        if not any(map(is_remote, texts)):
            return old_matching(pattern, name)
        found = [url for text in texts for url in names.matching(text)]
        return tf.constant(sorted(found), tf.string, [len(found)], name=name or "matching_files")

    everywhere("matching_files", old_matching, matching_files)


def _keys(mirror: Mirror) -> None:
    """Has keys of readers name objects, not their copies; it costs nothing where nobody asks for keys."""
    from tensorflow.python.ops import io_ops

    def named(read: Callable[..., tuple[Any, Any]]) -> Callable[..., tuple[Any, Any]]:
        @wraps(read)
        def call(*arguments: Any, **options: Any) -> tuple[Any, Any]:
            keys, values = read(*arguments, **options)
            return tf.strings.regex_replace(keys, mirror.copies, mirror.objects), values

        return call

    for name in ("read", "read_up_to"):
        setattr(io_ops.ReaderBase, name, named(getattr(io_ops.ReaderBase, name)))


def _csv_datasets(names: _Names) -> None:
    from tensorflow.python.data.experimental.ops import readers

    old = readers.CsvDatasetV2.__init__

    @wraps(old)
    def init(self: Any, filenames: Any, *more: Any, **options: Any) -> None:
        old(self, names.local(filenames), *more, **options)

    readers.CsvDatasetV2.__init__ = init


def _records(mirror: Mirror) -> None:
    from tensorflow.python.lib.io import tf_record

    # Its own methods name the class, which therefore stays, and is changed in place.
    writer = tf_record.TFRecordWriter
    old_init, old_close = writer.__init__, writer.close

    @wraps(old_init)
    def init(self: Any, path: Any, options: Any = None) -> None:
        name = tf.compat.as_str(os.fspath(path))
        self._sent_to = mirror.local(name) if is_remote(name) else None
        old_init(self, self._sent_to or path, options)
        if self._sent_to is not None:
            mirror.writing(self._sent_to, self.close)

    @wraps(old_close)
    def close(self: Any) -> None:
        old_close(self)
        path, self._sent_to = self._sent_to, None
        if path is not None:
            mirror.written(path)
            with as_tensorflow_says():
                mirror.push(path)

    writer.__init__, writer.close = init, close
    writer.__exit__ = lambda self, *exc: self.close()
    iterator = tf_record.tf_record_iterator

    @wraps(iterator)
    def tf_record_iterator(path: Any, options: Any = None) -> Any:
        name = tf.compat.as_str(path)
        with as_tensorflow_says():
            return iterator(mirror.stage(name) if is_remote(name) else path, options)

    everywhere("tf_record_iterator", iterator, tf_record_iterator)


def _events(mirror: Mirror) -> None:
    from tensorflow.python.summary.writer import event_file_writer

    native = event_file_writer._pywrap_events_writer

    class EventsWriter:
        """An event file that is sent now and then, when it is flushed, and when it is closed."""

        def __init__(self, prefix: str) -> None:
            self._writer = native.EventsWriter(mirror.local(prefix).encode())
            self._pushed_at = 0.0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._writer, name)

        def WriteEvent(self, event: Any) -> None:  # noqa: N802 - TensorFlow's name
            self._writer.WriteEvent(event)
            mirror.writing(self._path, self.Close)

        def Flush(self) -> Any:  # noqa: N802
            done = self._writer.Flush()
            if time.monotonic() - self._pushed_at > _PUSH_EVERY_S:
                self._push()
            return done

        def Close(self) -> Any:  # noqa: N802
            path = self._path
            done = self._writer.Close()
            self._push(path)
            mirror.written(path)
            return done

        @property
        def _path(self) -> str:
            return str(tf.compat.as_str(self._writer.FileName()))

        def _push(self, path: str | None = None) -> None:
            path = path or self._path
            if Path(path).is_file():
                with as_tensorflow_says():
                    mirror.push(path)
            self._pushed_at = time.monotonic()

    class Events:
        """The module of event writers."""

        def __getattr__(self, name: str) -> Any:
            return getattr(native, name)

        def EventsWriter(self, prefix: bytes) -> Any:  # noqa: N802
            name = tf.compat.as_str(prefix)
            return EventsWriter(name) if is_remote(name) else native.EventsWriter(prefix)

    event_file_writer._pywrap_events_writer = Events()


def _tables(names: _Names) -> None:
    from tensorflow.python.ops import lookup_ops

    def local_name(old: Callable[..., None]) -> Callable[..., None]:
        @wraps(old)
        def init(self: Any, filename: Any, *more: Any, **options: Any) -> None:
            old(self, names.local(filename), *more, **options)

        return init

    for name in ("TextFileInitializer",):
        kind = getattr(lookup_ops, name)
        kind.__init__ = local_name(kind.__init__)
