"""Every variable that training changes, by a name that is the same in every process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from pai_train.training.variable_names import model_names, optimizer_names

if TYPE_CHECKING:
    from collections.abc import Callable


def named_variables(model: Any, optimizer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns the tf.Variable of a model, and those of its optimizer, by name."""
    names = model_names([variable.path for variable in model.variables])
    by_identity = {id(variable): name for variable, name in zip(model.variables, names, strict=True)}
    owners = [(variable.path, by_identity[id(variable)]) for variable in model.trainable_variables]
    slots = optimizer_names([variable.path for variable in optimizer.variables], owners)
    return (
        {f"model/{name}": one.value for name, one in zip(names, model.variables, strict=True)},
        {f"optimizer/{name}": one.value for name, one in zip(slots, optimizer.variables, strict=True)},
    )


def averaged(build: Callable[[], Any]) -> Any:
    """Builds a model whose statistics, such as those of batch normalisation, are averaged over the replicas each step.

    Else each replica keeps those of its own rows, of which a checkpoint holds one; a resumed run, and the rows that
    another replica predicts, would meet others.
    """

    def create(next_creator: Callable[..., Any], **how: Any) -> Any:
        statistic = not how.get("trainable", True) and how.get("dtype") is not None
        if statistic and tf.as_dtype(how["dtype"]).is_floating:
            how["aggregation"] = tf.VariableAggregation.MEAN
        return next_creator(**how)

    with tf.variable_creator_scope(create):
        return build()


class Best:
    """A second copy of a model's variables: those of the best measurement so far.

    Args:
        variables: The model's, by name.
        device: Where the copies are kept.

    Attributes:
        state: The copies by name, for the checkpoint.
    """

    def __init__(self, variables: dict[str, Any], device: str) -> None:
        self._variables = variables
        with tf.device(device):
            self.state = {f"best/{name}": tf.Variable(one.numpy(), trainable=False) for name, one in variables.items()}

    def keep(self) -> None:
        """Copies the model's variables."""
        for name, variable in self._variables.items():
            self.state[f"best/{name}"].assign(variable.numpy())

    def restore(self) -> None:
        """Makes the copies the model's variables."""
        for name, variable in self._variables.items():
            variable.assign(self.state[f"best/{name}"].numpy())
