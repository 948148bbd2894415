"""What a PAI command asks for, made ready to run: the script, its processes, and what it may read and write."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

JobName = Literal["", "chief", "worker", "ps", "evaluator"]


@dataclass(frozen=True)
class ScriptProcess:
    """One process of a script.

    Attributes:
        job_name: Its part in the cluster; '' for the one process of a script without a cluster.
        task_index: Its number within its part, from 0.
        flags: What the script finds behind its own name in `sys.argv`.
        env: What it finds in its environment beside ours: TF_CONFIG, CUDA_VISIBLE_DEVICES.
    """

    job_name: JobName
    task_index: int
    flags: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ScriptJob:
    """A script that is ready to run; everything it names is local by now, or is read through the storage room.

    Attributes:
        entry: The Python file that runs as `__main__`.
        folder: Where it runs, first on its path: the archive's root, or the file's own folder.
        processes: One, or those of a cluster.
        tables: Addresses of the input tables, in their order.
        outputs: Addresses of the tables that may be written; writing another fails.
        statements: CREATE TABLE statements, run where the table is absent; by position those of `outputs`.
        run_dir: Where logs and records go, an absolute local folder.
        settings: PAI_TRAIN_* and providers' variables that the command asks for; they reach every process. They may
            hold keys, and are in no text.
        py2: Whether Python 2 sources are converted before they run.
    """

    entry: Path
    folder: Path
    processes: tuple[ScriptProcess, ...]
    tables: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    statements: tuple[str, ...] = ()
    run_dir: Path = Path("runs")
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    py2: bool = False
