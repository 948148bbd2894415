"""The line that repeats a run beside what it wrote."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pai_train.experiment.reproduce import reproduce_line
from pai_train.spec.address import parse_table
from pai_train.spec.tokens import is_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pai_train.front.composed import Composed


def reproduce(composed: Composed, run_id: str, snapshots: Mapping[str, str]) -> str:
    """Returns the line that runs this again beside what it wrote, with the interpreter it ran with."""
    config = composed.config
    fresh: dict[str, str] = {"checkpointDir": f"{config.checkpointDir.rstrip('/')}-again-{run_id}"}
    for name, output in config.outputs.items():
        if output.table is not None:
            ref = parse_table(output.table, config.tables.project)
            again = str(replace(ref, name=f"{ref.name}_again_{run_id}"))
            fresh[f"outputs.{name}.table"] = again.rpartition("/")[2] if is_name(output.table) else again
        else:
            fresh[f"outputs.{name}.oss"] = f"{(output.oss or '').rstrip('/')}-again-{run_id}"
    line = reproduce_line(os.getcwd(), composed.overrides, snapshots=snapshots, fresh=fresh)
    found = shutil.which("python")
    if found is not None and Path(found).resolve() == Path(sys.executable).resolve() and sys.prefix in found:
        return line
    return line.replace("python -m pai_train", f"{shlex.quote(sys.executable)} -m pai_train", 1)
