"""Every variable by its name: to and from TensorFlow's checkpoint format, strictly, and their common hash."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from pai_train.errors import CheckpointError, DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILES = "variables"
ROOT = "by_name"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
SHOWN = 20

Kind = tuple[str, list[int]]
"""Dtype and shape of a variable."""


def write_variables(variables: Mapping[str, Any], folder: Path) -> None:
    """Writes all variables into a folder, as a checkpoint that `tf.train.load_checkpoint` reads too.

    Args:
        variables: tf.Variable by name, of any shape and dtype; mirrored ones are written once.
        folder: Created when absent.

    Raises:
        CheckpointError: The files cannot be written.
    """
    import tensorflow as tf

    try:
        folder.mkdir(parents=True, exist_ok=True)
        _checkpoint(variables).write(str(folder / FILES))
    except (tf.errors.OpError, OSError) as error:
        said = error.message if isinstance(error, tf.errors.OpError) else error.strerror
        raise CheckpointError(
            "the checkpoint cannot be written to this machine's disk, from which it would be published",
            where=str(folder),
            got=str(said).partition(" [Op:")[0].rpartition("; ")[2],
            todo="free space there, or set TMPDIR to a folder on another disk",
        ) from error


def refuse_not_finite(variables: Mapping[str, Any], step: int) -> None:
    """Refuses weights that are no numbers any more, before they are saved in the place of good ones.

    Args:
        variables: tf.Variable by name; of those that are trained none may hold NaN or an infinity.
        step: Steps done, for people.

    Raises:
        DataError: One does.
    """
    import tensorflow as tf

    trained = {name: one for name, one in variables.items() if one.trainable and one.dtype.is_floating}
    odd = [name for name, one in trained.items() if not tf.reduce_all(tf.math.is_finite(tf.convert_to_tensor(one)))]
    if odd:
        more = f", and {len(odd) - SHOWN} more" if len(odd) > SHOWN else ""
        raise DataError(
            f"weights are NaN or infinite behind step {step}, though its loss is a number",
            got=", ".join(odd[:SHOWN]) + more,
            wanted="finite weights; nothing of this step is saved, and the last checkpoint stays as it is",
            todo="look for gradients without a value, such as that of sqrt at 0, or lower train.learning_rate",
        )


def read_variables(variables: Mapping[str, Any], folder: Path, where: str | None = None) -> None:
    """Assigns to every variable what `write_variables` wrote, whatever the number of replicas was then.

    Args:
        variables: tf.Variable by name.
        folder: Holds the files.
        where: Where they come from, for people; None for the folder.

    Raises:
        CheckpointError: Names, shapes or dtypes differ, which lists them and leaves all variables as they were; or the
            files cannot be read.
    """
    refuse_others(stored_kinds(folder), variables, where or str(folder))
    read_some(variables, folder)


def refuse_others(stored: Mapping[str, Kind], variables: Mapping[str, Any], where: str) -> None:
    """Refuses a checkpoint that is not one of exactly these variables.

    Args:
        stored: Dtype and shape by name of what the checkpoint holds.
        variables: tf.Variable by name.
        where: The checkpoint, for people.

    Raises:
        CheckpointError: Names, shapes or dtypes differ, which it lists.
    """
    differences = _differences(stored, kinds(variables))
    if not differences:
        return
    more = len(differences) - SHOWN
    raise CheckpointError(
        "the checkpoint does not fit the model",
        where=where,
        got="; ".join(differences[:SHOWN]) + (f"; and {more} more" if more > 0 else ""),
        wanted="the same variables with the same shapes and dtypes",
        todo="undo the change of the model or optimizer, or start anew with train.resume=never",
    )


def read_some(variables: Mapping[str, Any], folder: Path) -> None:
    """Assigns to these variables what `write_variables` wrote; names, shapes and dtypes are known to be the same.

    Raises:
        CheckpointError: The files cannot be read.
    """
    import tensorflow as tf

    try:
        status = _checkpoint(variables).read(str(folder / FILES))
        status.assert_existing_objects_matched()
        # What else lies there is nobody's concern, or was found to be nothing.
        status.expect_partial()
    except (tf.errors.OpError, LookupError, RuntimeError, ValueError, AssertionError) as error:
        raise _unreadable(folder, error) from error


def kinds(variables: Mapping[str, Any]) -> dict[str, Kind]:
    """Returns dtype and shape by name."""
    return {name: _kind(variable) for name, variable in variables.items()}


def stored_kinds(folder: Path) -> dict[str, Kind]:
    """Returns dtype and shape by name of what `write_variables` wrote.

    Raises:
        CheckpointError: The files cannot be read.
    """
    import tensorflow as tf

    try:
        return _stored(tf.train.load_checkpoint(str(folder / FILES)))
    except (tf.errors.OpError, LookupError, RuntimeError, ValueError) as error:
        raise _unreadable(folder, error) from error


def weights_sha256(variables: Mapping[str, Any]) -> str:
    """Returns the SHA-256 over all variables: names in order, dtypes, shapes and little-endian bytes."""
    digest = hashlib.sha256()
    for name in sorted(variables):
        value = variables[name].numpy()
        digest.update(json.dumps([name, *_kind(variables[name])]).encode())
        digest.update(value.astype(value.dtype.newbyteorder("<"), copy=False).tobytes())
    return digest.hexdigest()


def _checkpoint(variables: Mapping[str, Any]) -> Any:
    import tensorflow as tf

    return tf.train.Checkpoint(**{ROOT: dict(variables)})


def _kind(variable: Any) -> Kind:
    return variable.dtype.name, variable.shape.as_list()


def _stored(reader: Any) -> dict[str, Kind]:
    dtypes = reader.get_variable_to_dtype_map()
    return {
        _unescape(key.removeprefix(f"{ROOT}/").removesuffix(SUFFIX)): (dtypes[key].name, list(shape))
        for key, shape in reader.get_variable_to_shape_map().items()
        if key.startswith(f"{ROOT}/") and key.endswith(SUFFIX)
    }


def _unescape(key: str) -> str:
    # TensorFlow writes a name's '/' as '.S' and its '.' as '..'.
    return re.sub(r"\.([.S])", lambda match: "/" if match[1] == "S" else ".", key)


def _differences(stored: Mapping[str, Kind], wanted: Mapping[str, Kind]) -> list[str]:
    missing = [f"missing in the checkpoint: {name}" for name in sorted(wanted.keys() - stored.keys())]
    superfluous = [f"not in the model: {name}" for name in sorted(stored.keys() - wanted.keys())]
    changed = [
        f"{name} is {show(stored[name])}, the model wants {show(wanted[name])}"
        for name in sorted(stored.keys() & wanted.keys())
        if stored[name] != wanted[name]
    ]
    return missing + superfluous + changed


def show(kind: Kind) -> str:
    """Returns dtype and shape as people write them."""
    dtype, shape = kind
    return f"{dtype}[{','.join(map(str, shape))}]"


def _unreadable(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        "the checkpoint's variables cannot be read",
        where=str(folder),
        got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
        todo="the files are not as they were written; go on from an earlier checkpoint",
    )
