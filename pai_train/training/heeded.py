"""Callbacks of a training on several workers: the chief calls them, and all do what they wish."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import keras

from pai_train.errors import PaiTrainError
from pai_train.storage import Scratch
from pai_train.training.callbacks import Callbacks
from pai_train.training.origin import RATE
from pai_train.training.state import read_variables, weights_sha256, write_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from pai_train.training.learner import Learner

_OF_CALLS = ("on_train_batch_begin", "on_train_batch_end")
_ALONE = ("fit", "evaluate", "predict", "train_on_batch", "test_on_batch", "predict_on_batch")


class Talk(Protocol):
    """What is asked of the connections with the other workers; all make the same calls in the same order."""

    def broadcast(self, value: Any = None) -> Any:
        """Returns what the chief gave; of JSON types."""
        ...

    def gather(self, value: Any) -> list[Any]:
        """Returns what each worker gave, by rank; of JSON types."""
        ...

    def share(self, folder: Path) -> None:
        """Brings the files of the chief's folder into every worker's own."""
        ...


class Heeded(Callbacks):
    """Callbacks that one worker calls and all heed.

    Behind every call of a method all stop when one of them asks to, and have the chief's learning rate. What a
    callback does to the weights is taken over from every method but those of batches, where it is refused at the end
    of the epoch.

    Args:
        make: Makes the callbacks; None on a worker that only heeds.
        learner: What they see.
        talk: The connections with the other workers.

    Raises:
        PaiTrainError: One of them is no callback.
    """

    def __init__(self, make: Callable[[], Callbacks] | None, learner: Learner, talk: Talk) -> None:
        # Makes variables, which all workers have to make together.
        learner.compile()
        self._own = None if make is None else make()
        self.callbacks = [] if self._own is None else self._own.callbacks
        self._learner = learner
        self._talk = talk
        self._stop = False
        for name in _ALONE if self._own is not None else ():
            setattr(learner.model, name, _refused(name))

    def __bool__(self) -> bool:
        return True

    @property
    def stop(self) -> bool:
        return self._stop

    def tell(self, event: str, *given: Any, values: Mapping[str, Mapping[str, float]] | None = None) -> None:
        variables = self._learner.variables
        if event == "on_epoch_end":
            self._check_same()
        wish: dict[str, Any] = {}
        if self._own is not None:
            # Who defines a method may change the weights in it.
            watched = event not in _OF_CALLS and any(_defines(one, event) for one in self.callbacks)
            before = weights_sha256(self._weights()) if watched else None
            self._own.tell(event, *given, values=values)
            changed = watched and weights_sha256(self._weights()) != before
            rate = float(variables[RATE].numpy()) if RATE in variables else None
            wish = {"stop": self._own.stop, "rate": rate, "changed": changed}
        wish = self._talk.broadcast(wish)
        self._stop = wish["stop"]
        if self._own is None and wish["rate"] is not None:
            variables[RATE].assign(wish["rate"])
        if wish["changed"]:
            self._take_over()

    def _weights(self) -> dict[str, Any]:
        """Returns what no callback changes but of its own will: all variables but the learning rate."""
        return {name: one for name, one in self._learner.variables.items() if name != RATE}

    def _check_same(self) -> None:
        if not any(self._talk.gather(any(_defines(one, name) for one in self.callbacks for name in _OF_CALLS))):
            return
        found = self._talk.gather(weights_sha256(self._weights()))
        if any(one != found[0] for one in found):
            raise PaiTrainError(
                "a callback changed the weights behind a batch, which the other workers did not learn of",
                where="train.callbacks",
                todo="change them in on_epoch_end, or train with one worker",
            )

    def _take_over(self) -> None:
        with Scratch() as scratch:
            folder = scratch / "changed"
            if self._own is not None:
                write_variables(self._learner.variables, folder)
            self._talk.share(folder)
            if self._own is None:
                read_variables(self._learner.variables, folder)


def _defines(callback: Any, event: str) -> bool:
    """Tells whether a callback does anything in a method."""
    names = {event, event.replace("on_train_batch", "on_batch")}
    plain = keras.callbacks.Callback
    return any(getattr(getattr(callback, name), "__func__", None) is not getattr(plain, name) for name in names)


def _refused(name: str) -> Callable[..., Any]:
    def call(*given: Any, **named: Any) -> Any:
        raise PaiTrainError(
            f"model.{name} waits for the other workers, which are not called",
            where="train.callbacks",
            todo="call the model itself: model(inputs); or train with one worker",
        )

    return call
