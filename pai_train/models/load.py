"""Finds a model builder by name or dotted path, checks its parameters, and builds and checks the model."""

from __future__ import annotations

import importlib
import inspect
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pai_train.errors import Fault, PaiTrainError, Refused, did_you_mean, nearest
from pai_train.models.named import ACCEPTED, NAMED
from pai_train.models.users import user_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pai_train.models.contracts import ColumnSpec, LabelSpec

_GIVEN = ("columns", "label")


def signature_faults(name: str, params: Mapping[str, Any]) -> list[Fault]:
    """Returns what is wrong with a model's name and parameters.

    The named models are checked without importing TensorFlow; a dotted path is imported.
    """
    builder = NAMED.get(name)
    if builder is None:
        try:
            builder = import_path(name)
        except PaiTrainError as error:
            return [error.fault]
    faults = _parameter_faults(name, builder, params)
    if name in NAMED and not faults:
        faults = [
            Fault(f"parameter {key!r} of model {name!r} has a wrong value", f"model.params.{key}", repr(value), wanted)
            for key, value in params.items()
            for wanted, accepts in [ACCEPTED[key]]
            if not accepts(value)
        ]
    return faults


def build(name: str, params: Mapping[str, Any], columns: Sequence[ColumnSpec], label: LabelSpec) -> Any:
    """Builds a `keras.Model` from raw columns to logits (rows, classes) or values (rows, 1).

    Args:
        name: `linear`, `mlp`, or `package.module.function`; the working directory is on the import path.
        params: Keyword arguments of the builder.
        columns: The features with their statistics.
        label: What is learned.

    Raises:
        Refused: The name or a parameter is wrong.
        PaiTrainError: The builder fails, or returns no model of these columns and this label.
    """
    faults = signature_faults(name, params)
    if faults:
        raise Refused(faults)
    builder = NAMED.get(name) or import_path(name)
    try:
        model = builder(tuple(columns), label, **params)
    except PaiTrainError:
        raise
    except Exception as error:
        raise user_error(error, f"the builder {name} failed") from error
    check_model(name, model, columns, label)
    return model


def made_class(name: str) -> type | None:
    """Returns the class of the models that a builder makes; None where only calling it would tell.

    Raises:
        PaiTrainError: There is no such builder.
    """
    if name in NAMED:
        return None
    builder: Any = import_path(name)
    if not isinstance(builder, type):
        try:
            builder = get_type_hints(builder).get("return")
        except (NameError, TypeError, AttributeError):
            # An annotation that only a type checker can read.
            return None
    return builder if isinstance(builder, type) else None


def check_model(name: str, model: Any, columns: Sequence[ColumnSpec], label: LabelSpec) -> None:
    """Checks a model's inputs and outputs.

    Raises:
        PaiTrainError: It is no functional Keras model, or its inputs or outputs are not those asked for.
    """
    import keras

    if not isinstance(model, keras.Model):
        raise PaiTrainError(f"model {name!r} returned no keras.Model", where="model.name", got=type(model).__name__)
    tensors = getattr(model, "inputs", None)
    if not tensors:
        raise PaiTrainError(
            f"model {name!r} has no named inputs",
            where="model.name",
            got=f"a {type(model).__name__} that is not built from keras.Input",
            wanted="a functional model: keras.Model(inputs, outputs)",
            todo="start with inputs, features = pai_train.models.preprocess.features(columns)",
        )
    _check_inputs(name, tensors, columns)
    outputs = model.outputs
    wanted = f"logits of shape (rows, {label.width})" if label.task == "classification" else "values of shape (rows, 1)"
    if len(outputs) != 1 or tuple(outputs[0].shape) not in _output_shapes(label):
        got = ", ".join(str(tuple(output.shape)) for output in outputs)
        raise PaiTrainError(f"model {name!r} has other outputs", where="model.name", got=got, wanted=wanted)
    if label.task == "classification" and _ends_in_softmax(model, keras):
        raise PaiTrainError(
            f"model {name!r} returns probabilities", where="model.name", wanted=wanted, todo="leave out the softmax"
        )


def _check_inputs(name: str, tensors: Sequence[Any], columns: Sequence[ColumnSpec]) -> None:
    found = {tensor.name: tensor for tensor in tensors}
    unknown = sorted(found.keys() - {column.name for column in columns})
    missing = sorted({column.name for column in columns} - found.keys())
    if unknown or missing:
        raise PaiTrainError(
            f"model {name!r} has other inputs than the features",
            where="model.name",
            got=", ".join(sorted(found)),
            wanted=", ".join(sorted(column.name for column in columns)),
            todo=did_you_mean(unknown[0], missing) if unknown and missing else None,
        )
    for column in columns:
        tensor = found[column.name]
        if tuple(tensor.shape[1:]) != column.shape or (str(tensor.dtype) == "string") != (column.dtype == "string"):
            raise PaiTrainError(
                f"input {column.name!r} of model {name!r} has another shape or type",
                where="model.name",
                got=f"{tensor.dtype} of shape {tuple(tensor.shape)}",
                wanted=f"{column.dtype}: keras.Input(shape={column.shape}, name={column.name!r}, dtype=…)",
            )


def _output_shapes(label: LabelSpec) -> list[tuple[int | None, ...]]:
    shapes: list[tuple[int | None, ...]] = [(None, label.width)]
    return [*shapes, (None,)] if label.task == "regression" else shapes


def _ends_in_softmax(model: Any, keras: Any) -> bool:
    last = model.layers[-1]
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax


def _parameter_faults(name: str, builder: Callable[..., Any], params: Mapping[str, Any]) -> list[Fault]:
    parameters = list(inspect.signature(builder).parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if len(positional) < len(_GIVEN) and not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [Fault(f"model {name!r} is no model builder", "model.name", wanted="function(columns, label, **params)")]
    own = [p for p in parameters if p not in positional[: len(_GIVEN)] and p.kind is not p.POSITIONAL_ONLY]
    known = {p.name: p for p in own if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
    unknown = [] if takes_any else [key for key in params if key not in known]
    missing = [key for key, p in known.items() if p.default is p.empty and key not in params]
    return [
        Fault(
            f"model {name!r} has no parameter {key!r}",
            f"model.params.{key}",
            todo=did_you_mean(key, known) or "it has no parameters",
        )
        for key in unknown
    ] + [Fault(f"model {name!r} needs the parameter {key!r}", f"model.params.{key}") for key in missing]


def import_path(path: str, kind: type | None = None) -> Any:
    """Imports `package.module.function`.

    Args:
        path: The dotted path; the working directory is on the import path.
        kind: What may be there besides: an object of this class.

    Raises:
        PaiTrainError: There is no such module or function.
    """
    module_name, _, function = path.rpartition(".")
    if not module_name:
        close = nearest(path, NAMED)
        guess = f"did you mean {close!r}?" if close else f"named models: {', '.join(sorted(NAMED))}"
        raise PaiTrainError(
            f"there is no model {path!r}",
            where="model.name",
            wanted=f"{', '.join(sorted(NAMED))}, or a dotted path: package.module.function",
            todo=guess,
        )
    here = str(Path.cwd())
    # `python -m` has it there already; a console script has not.
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise user_error(error, f"module {module_name} cannot be imported") from error
        raise PaiTrainError(
            f"there is no module {error.name!r}",
            where="model.name",
            got=path,
            wanted="a module in the working directory or an installed package",
        ) from error
    except Exception as error:
        raise user_error(error, f"module {module_name} cannot be imported") from error

    def accepts(found: Any) -> bool:
        return callable(found) or (kind is not None and isinstance(found, kind))

    builder = getattr(module, function, None)
    if not accepts(builder):
        functions = [key for key, value in vars(module).items() if accepts(value) and not key.startswith("_")]
        what = "is no function" if builder is not None else "does not exist"
        raise PaiTrainError(
            f"{function!r} {what} in {module_name!r}",
            where="model.name",
            got=path,
            todo=did_you_mean(function, functions),
        )
    return builder
