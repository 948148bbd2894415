"""Checkpoints at remote names: variables are written and read here, and stand in the store as whole objects."""

from __future__ import annotations

import os
from functools import wraps
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from pai_train.pai.mirror import is_remote
from pai_train.pai.remote_files import as_tensorflow_says
from pai_train.pai.remote_names import everywhere

if TYPE_CHECKING:
    from collections.abc import Callable

    from pai_train.pai.mirror import Mirror


def install(mirror: Mirror) -> None:
    """Has savers, checkpoints and their readers take remote names."""
    _saver(mirror)
    _object_saver(mirror)
    _reader(mirror)


def _saver(mirror: Mirror) -> None:
    from tensorflow.python.client import session as sessions
    from tensorflow.python.training import saver

    class Local(sessions.SessionInterface):  # type: ignore[misc]
        """A session whose saver ops find local names in place of remote ones."""

        def __init__(self, session: Any, *, saves: bool) -> None:
            self._session, self._saves = session, saves

        @property
        def graph(self) -> Any:
            return self._session.graph

        @property
        def sess_str(self) -> Any:
            return self._session.sess_str

        def run(self, fetches: Any, feed_dict: Any = None, *more: Any, **options: Any) -> Any:
            names = {key: name for key, name in (feed_dict or {}).items() if isinstance(name, str) and is_remote(name)}
            if not names:
                return self._session.run(fetches, feed_dict, *more, **options)
            with as_tensorflow_says():
                place = mirror.local if self._saves else mirror.stage_prefix
                local = {key: place(name) for key, name in names.items()}
            done = self._session.run(fetches, {**feed_dict, **local}, *more, **options)
            if not self._saves:
                return done
            with as_tensorflow_says():
                for prefix in local.values():
                    mirror.push_prefix(prefix)
            return mirror.remote(tf.compat.as_str(done))

    def over(old: Callable[..., Any], *, saves: bool) -> Callable[..., Any]:
        @wraps(old)
        def call(self: Any, sess: Any, save_path: Any, *more: Any, **options: Any) -> Any:
            name = None if save_path is None else os.fspath(save_path)
            if name is not None and is_remote(tf.compat.as_str(name)):
                sess = Local(sess, saves=saves)
            return old(self, sess, name, *more, **options)

        return call

    saver.Saver.save = over(saver.Saver.save, saves=True)
    saver.Saver.restore = over(saver.Saver.restore, saves=False)


def _object_saver(mirror: Mirror) -> None:
    from tensorflow.python.checkpoint import checkpoint

    kind = checkpoint.TrackableSaver
    old_save, old_restore = kind.save, kind.restore

    @wraps(old_save)
    def save(self: Any, file_prefix: Any, *more: Any, **options: Any) -> Any:
        name = tf.compat.as_str(os.fspath(file_prefix))
        if not is_remote(name):
            return old_save(self, file_prefix, *more, **options)
        with as_tensorflow_says():
            local = tf.compat.as_str(old_save(self, mirror.local(name), *more, **options))
            mirror.push_prefix(local)
        return mirror.remote(local)

    @wraps(old_restore)
    def restore(self: Any, save_path: Any, *more: Any, **options: Any) -> Any:
        name = None if save_path is None else tf.compat.as_str(os.fspath(save_path))
        if name is not None and is_remote(name):
            with as_tensorflow_says():
                save_path = mirror.stage_prefix(name)
        return old_restore(self, save_path, *more, **options)

    kind.save, kind.restore = save, restore


def _reader(mirror: Mirror) -> None:
    from tensorflow.python.training import checkpoint_utils, py_checkpoint_reader

    native = py_checkpoint_reader.NewCheckpointReader

    @wraps(native)
    def new_checkpoint_reader(filepattern: Any) -> Any:
        name = tf.compat.as_str(os.fspath(filepattern))
        with as_tensorflow_says():
            return native(mirror.stage_prefix(name) if is_remote(name) else filepattern)

    everywhere("NewCheckpointReader", native, new_checkpoint_reader)
    old = checkpoint_utils.init_from_checkpoint

    @wraps(old)
    def init_from_checkpoint(ckpt_dir_or_file: Any, assignment_map: Any) -> Any:
        name = tf.compat.as_str(os.fspath(ckpt_dir_or_file))
        if is_remote(name):
            with as_tensorflow_says():
                ckpt_dir_or_file = mirror.stage_prefix(tf.train.latest_checkpoint(name) or name)
        return old(ckpt_dir_or_file, assignment_map)

    everywhere("init_from_checkpoint", old, init_from_checkpoint)
