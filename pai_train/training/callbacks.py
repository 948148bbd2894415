"""A user's own Keras callbacks, called where Keras's fit would call them; batches once per call into TensorFlow."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import keras

from pai_train.errors import Fault, PaiTrainError, Refused
from pai_train.models.load import import_path
from pai_train.models.users import user_error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.training.learner import Learner


def load_callbacks(paths: Sequence[str]) -> list[Any]:
    """Returns the callbacks of dotted paths: objects as they are, classes and functions called without arguments.

    Raises:
        Refused: A path leads to no callback.
    """
    found, faults = [], []
    for at, path in enumerate(paths):
        where = f"train.callbacks[{at}]"
        try:
            callback = import_path(path, keras.callbacks.Callback)
            if not isinstance(callback, keras.callbacks.Callback):
                callback = _made(callback, path)
        except PaiTrainError as error:
            fault = error.fault
            keep = fault.where not in (None, "model.name")
            what = f"{fault.where}: {fault.what}" if keep else fault.what
            faults.append(replace(fault, what=what, where=where))
            continue
        found.append(callback)
        faults += [Fault(f"{path} is no Keras callback", where, type(one).__name__) for one in _foreign([callback])]
    if faults:
        raise Refused(faults)
    return found


class Callbacks:
    """Callbacks of one training.

    What they keep in themselves is not in a checkpoint: a resumed run begins with fresh ones, told so by
    `on_train_begin`. Whether they stopped the training is.

    Args:
        callbacks: keras.callbacks.Callback.
        learner: What they see: `model` with its weights, its optimizer, and `stop_training`.
        epochs: How many there will be.

    Raises:
        PaiTrainError: One of them is no callback.
    """

    def __init__(self, callbacks: Sequence[Any], learner: Learner, *, epochs: int) -> None:
        if foreign := _foreign(callbacks):
            got = ", ".join(type(one).__name__ for one in foreign)
            raise PaiTrainError("not a Keras callback", where="callbacks", got=got, wanted="keras.callbacks.Callback")
        self._model = learner.model
        self.callbacks = list(callbacks)
        if callbacks:
            learner.compile()
            self._model.stop_training = False
        with _told("set_model"):
            self._list = keras.callbacks.CallbackList(list(callbacks), model=self._model, epochs=epochs, verbose=0)

    def __bool__(self) -> bool:
        return bool(self.callbacks)

    @property
    def stop(self) -> bool:
        """Whether one of them asked to stop."""
        return bool(self) and bool(self._model.stop_training)

    def tell(self, event: str, *given: Any, values: Mapping[str, Mapping[str, float]] | None = None) -> None:
        """Calls a method of each callback.

        Args:
            event: The method's name.
            given: What it is called with before the logs.
            values: Metrics by set of rows; those of `test` are named `val_…` in the logs, as in Keras.

        Raises:
            PaiTrainError: A callback failed; names the line.
        """
        if not self:
            return
        logs = {
            f"val_{name}" if part == "test" and not event.startswith("on_test") else name: value
            for part, found in (values or {}).items()
            for name, value in found.items()
        }
        with _told(event):
            getattr(self._list, event)(*given, logs)


@contextmanager
def _told(event: str) -> Iterator[None]:
    try:
        yield
    except PaiTrainError:
        raise
    except Exception as error:
        raise user_error(error, f"a callback failed in {event}") from error


def _made(callback: Any, path: str) -> Any:
    try:
        return callback()
    except Exception as error:
        raise user_error(error, f"{path} cannot be called without arguments") from error


def _foreign(callbacks: Sequence[Any]) -> list[Any]:
    return [one for one in callbacks if not isinstance(one, keras.callbacks.Callback)]
