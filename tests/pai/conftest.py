"""A desk for scripts: a folder, tables in it, and a way to run a script and see what came of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pai_train.pai import __main__ as command_line
from pai_train.pai import run as running
from pai_train.pai.contracts import ScriptJob, ScriptProcess
from pai_train.pai.run import run
from pai_train.paiio import settings
from pai_train.spec.ddl import parse_ddl
from pai_train.tables.iceberg import IcebergTables
from tests.pai.warm import Warm
from tests.suites.table_rows import PROJECT, read, ref, stage
from tests.suites.zygote import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory) -> Iterator[Zygote]:
    with Zygote(tmp_path_factory.mktemp("zygote"), "tests.pai.preload") as server:
        yield server


@dataclass
class Ended:
    code: int
    out: str
    err: str
    logs: Path

    @property
    def lines(self) -> list[str]:
        """What the script printed, without what TensorFlow says."""
        noise = ("WARNING", "INFO", "I1", "W1", "E0000", "I0000", "W0000", "Instructions")
        return [line for line in self.out.splitlines() if line and not line.startswith(noise)]


class Desk:
    """Where scripts run."""

    def __init__(self, folder: Path, tables: Any, warm: Warm, capsys: Any) -> None:
        self.folder, self.tables, self.warm, self._capsys = folder, tables, warm, capsys
        self.settings = {"PAI_TRAIN_TABLES_ROOT": str(folder / "tables"), "PAI_TRAIN_PROJECT": PROJECT}
        self._runs = 0

    def make(self, ddl: str, *columns: list[Any]) -> str:
        """Makes a table, with rows if columns are given; returns its address."""
        statement = parse_ddl(ddl)
        where = ref(statement.name)
        self.tables.ensure(where, statement)
        if columns:
            names = [column.name for column in statement.columns]
            session = self.tables.write(where, "overwrite", f"make-{statement.name}")
            session.commit([stage(session, 0, pa.record_batch([pa.array(c) for c in columns], names))])
        return str(where)

    def rows(self, name: str) -> list[tuple[Any, ...]]:
        return [tuple(row.values()) for row in read(self.tables.source(ref(name))).to_pylist()]

    def write(self, name: str, source: str) -> Path:
        path = self.folder / "code" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        return path

    def run(self, source: str, *flags: str, processes: Any = None, **job: Any) -> Ended:
        self._runs += 1
        entry = self.write("main.py", source)
        logs = self.folder / f"run-{self._runs}"
        given = ScriptJob(
            entry,
            entry.parent,
            processes or (ScriptProcess("", 0, flags),),
            run_dir=logs,
            settings={**self.settings, **job.pop("settings", {})},
            **job,
        )
        self._capsys.readouterr()
        code = run(given, starter=self.warm)
        captured = self._capsys.readouterr()
        return Ended(code, captured.out, captured.err, logs / "logs")

    def done(self, source: str, *flags: str, **job: Any) -> list[str]:
        """Runs a script that must succeed, and returns what it printed."""
        ended = self.run(source, *flags, **job)
        assert ended.code == 0, f"{ended.out}\n{ended.err}"
        return ended.lines


@pytest.fixture
def desk(tmp_path, zygote, capsys, monkeypatch) -> Desk:
    monkeypatch.setattr(settings, "_configured", None)
    for name in ("PAI_TRAIN_JOB", "PAI_TRAIN_SLICE_COUNT"):
        monkeypatch.delenv(name, raising=False)
    return Desk(tmp_path, IcebergTables(str(tmp_path / "tables"), PROJECT), Warm(zygote), capsys)


@dataclass
class Front:
    """Runs command lines in the desk's folder, scripts in warm processes."""

    desk: Desk
    capsys: Any

    def __call__(self, *words: str) -> Ended:
        self.capsys.readouterr()
        code = command_line.main(words)
        captured = self.capsys.readouterr()
        return Ended(code, captured.out, captured.err, Path("runs"))

    def script(self, source: str, *words: str) -> Ended:
        self.desk.write("main.py", source)
        return self("-name", "tensorflow180_ext", "-project", "algo_public", "-Dscript=code/main.py", *words)


@pytest.fixture
def front(desk, monkeypatch, capsys) -> Front:
    monkeypatch.chdir(desk.folder)
    for name, value in desk.settings.items():
        monkeypatch.setenv(name, value)
    real = running.run
    monkeypatch.setattr(running, "run", lambda job: real(job, starter=desk.warm))
    return Front(desk, capsys)
