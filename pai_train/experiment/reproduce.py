"""The line that runs a run again: quoted for a POSIX shell around Hydra's override grammar."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pai_train.redact import redact
from pai_train.spec.address import parse_table
from pai_train.spec.tokens import is_name

if TYPE_CHECKING:
    from pai_train.spec.config import JobConfig

_BARE = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_RESERVED = re.compile(r"true|false|null|inf|nan", re.IGNORECASE)
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_BEFORE_QUOTE = re.compile(r'(\\*)("|\Z)')


def reproduce_line(
    cwd: Path | str,
    overrides: Sequence[str],
    *,
    snapshots: Mapping[str, str] | None = None,
    fresh: Mapping[str, Any] | None = None,
) -> str:
    """Returns a shell line that repeats a run on the same data, touching neither its checkpoints nor its outputs.

    Args:
        cwd: The folder the run was started in.
        overrides: What followed `python -m pai_train`, in Hydra's grammar as the user wrote it: `+recipe=iris`.
        snapshots: Snapshot id by input name.
        fresh: Values to set instead of the run's own, by full key: `checkpointDir`, `outputs.predictions.table`.

    Raises:
        ValueError: A value cannot be written in Hydra's grammar.
    """
    # An input's snapshot is no key of the composed recipe unless the recipe names it, which Hydra's ++ allows for.
    pinned = {f"++inputs.{name}.snapshot": identity for name, identity in (snapshots or {}).items()}
    replaced = {"train.resume": "never"} | pinned | dict(fresh or {})
    names = {_name(key) for key in replaced}
    kept = [text for text in overrides if _name(text.partition("=")[0]) not in names]
    words = [*kept, *(f"{key}={hydra_value(value)}" for key, value in replaced.items())]
    return redact(f"cd {shlex.quote(str(cwd))} && python -m pai_train {shlex.join(words)}")


def reproduce_job(
    config: JobConfig,
    overrides: Sequence[str],
    run_id: str,
    snapshots: Mapping[str, str],
    begun_from: str | None = None,
) -> str:
    """Returns the line that runs a job again beside what it wrote, with the interpreter it ran with.

    Args:
        config: The job's configuration.
        overrides: The words it was composed from.
        run_id: Its run, which names what is written anew.
        snapshots: Snapshot id by input name.
        begun_from: The checkpoint it began from.
    """
    fresh: dict[str, str] = {"checkpointDir": f"{config.checkpointDir.rstrip('/')}-again-{run_id}"}
    if begun_from is not None:
        fresh["train.resume"] = begun_from
    for name, output in config.outputs.items():
        if output.table is not None:
            ref = parse_table(output.table, config.tables.project)
            again = str(replace(ref, name=f"{ref.name}_again_{run_id}"))
            fresh[f"outputs.{name}.table"] = again.rpartition("/")[2] if is_name(output.table) else again
        else:
            fresh[f"outputs.{name}.oss"] = f"{(output.oss or '').rstrip('/')}-again-{run_id}"
    line = reproduce_line(os.getcwd(), overrides, snapshots=snapshots, fresh=fresh)
    found = shutil.which("python")
    if found is not None and Path(found).resolve() == Path(sys.executable).resolve() and sys.prefix in found:
        return line
    return line.replace("python -m pai_train", f"{shlex.quote(sys.executable)} -m pai_train", 1)


def hydra_value(value: Any) -> str:
    """Writes a value so that Hydra's override parser reads it back; interpolations stay interpolations.

    Raises:
        ValueError: A value or a key of a dict has no form in the grammar.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return value if _BARE.fullmatch(value) and not _RESERVED.fullmatch(value) else _quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{_dict_key(key)}:{hydra_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(hydra_value(item) for item in value) + "]"
    raise ValueError(f"Hydra's override grammar has no form for a value of type {type(value).__name__}")


def _quoted(text: str) -> str:
    """Doubles the backslashes in front of a quote, where alone the grammar gives them a meaning."""
    escaped = _BEFORE_QUOTE.sub(lambda found: found[1] * 2 + ('\\"' if found[2] else ""), text)
    return f'"{escaped}"'


def _dict_key(key: Any) -> str:
    if isinstance(key, str) and _KEY.fullmatch(key) and not _RESERVED.fullmatch(key):
        return key
    raise ValueError(f"Hydra's override grammar has no form for the key {key!r} inside a value")


def _name(key: str) -> str:
    return key.lstrip("+~")
