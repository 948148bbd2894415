"""The names under which scripts look for tables: `tf.data.TableRecordDataset`, `paiio`, `common_io` and others."""

from __future__ import annotations

import sys
import weakref
from collections import Counter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from pai_train import paiio
from pai_train.errors import TableError
from pai_train.pai.v1 import tf
from pai_train.paiio import queue_io
from pai_train.paiio.settings import ReadStyle, settings
from pai_train.spec.address import parse_table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from pai_train.spec.address import TableRef

COMMON_IO = ReadStyle(strings="str", records="tuples", short_read="return")


class Outputs:
    """Which tables the script may write, and which it has.

    Args:
        declared: Addresses of the outputs.
        record: A file that gets a line per table opened for writing; another process reads it.
    """

    def __init__(self, declared: Sequence[str], record: Path) -> None:
        self._declared = [settings().ref(table) for table in declared]
        self._record = record
        self._writers: weakref.WeakSet[paiio.TableWriter] = weakref.WeakSet()
        self._dropped: set[str] = set()

    def open(self, table: str) -> None:
        """Notes that a table is going to be written.

        Raises:
            TableError: It is not among the outputs.
        """
        ref = parse_table(table, settings().project)
        if not any(_covers(one, ref) for one in self._declared):
            raise TableError(
                f"table {ref.name} not predefined",
                where=str(ref),
                wanted=", ".join(map(str, self._declared)) or "a table that is named in outputs; none is",
                todo=f'add it to the command: -Doutputs="{ref}"',
            )
        with self._record.open("a") as file:
            file.write(f"{ref}\n")

    def keep(self, writer: paiio.TableWriter) -> None:
        """Notes a writer."""
        self._writers.add(writer)

    def drop(self, writer: paiio.TableWriter) -> None:
        """Notes a writer that goes without having been closed."""
        self._dropped.add(str(writer._ref))

    def unclosed(self) -> list[str]:
        """Returns the tables whose writers were not closed: their rows are not published."""
        return sorted(self._dropped | {str(writer._ref) for writer in self._writers if not writer._done})


def _covers(declared: TableRef, ref: TableRef) -> bool:
    same = (declared.project, declared.name) == (ref.project, ref.name)
    return same and (not declared.partitions or set(ref.partitions) <= set(declared.partitions))


class _Made:
    """The classes that scripts get, tied to what the script may write."""

    def __init__(self, outputs: Outputs) -> None:
        class TableWriter(paiio.TableWriter):
            """A writer of one of the job's outputs; what it writes shows when the job has ended well."""

            def __init__(self, table: str, slice_id: int = 0, *more: Any, **options: Any) -> None:
                self._done = True
                outputs.open(table)
                super().__init__(table, slice_id, *more, **options)
                outputs.keep(self)

            def __del__(self) -> None:
                if not self._done:
                    outputs.drop(self)
                    self.abort()

        class TableReader(paiio.TableReader):
            """A reader that hands out rows as common_io does: lists of tuples, text as str."""

            def __init__(self, *arguments: Any, **options: Any) -> None:
                super().__init__(*arguments, **{"style": COMMON_IO, **options})

        names: Counter[str] = Counter()

        class WorkQueue(paiio.WorkQueue):
            """A queue of works that all workers of the job share."""

            def __init__(self, *arguments: Any, name: str = "work_queue", **options: Any) -> None:
                # Processes of one job tell queues apart by name; several of one process have the default one.
                names[name] += 1
                unique = name if names[name] == 1 else f"{name}_{names[name] - 1}"
                super().__init__(*arguments, **{**options, "name": unique})

        setattr(queue_io, "TableWriter", TableWriter)  # noqa: B010 - what TableRecordWriter writes with
        self.TableWriter, self.CommonReader, self.WorkQueue = TableWriter, TableReader, WorkQueue


def install(real: ModuleType, outputs: Outputs) -> dict[str, Callable[[], ModuleType]]:
    """Puts PAI's names where scripts look for them in TensorFlow, and returns the modules that they import.

    Args:
        real: TensorFlow.
        outputs: What the script may write.
    """
    made = _Made(outputs)
    v1: Any = real.compat.v1
    for place in (v1.data, real.data):
        place.TableRecordDataset = paiio.TableRecordDataset
    v1.TableRecordReader = paiio.TableRecordReader
    for place in (v1, v1.io, real.io):
        place.decode_csv = queue_io.decode_csv
    v1.TableRecordWriter = paiio.TableRecordWriter
    v1.python_io.TableReader = paiio.TableReader
    v1.python_io.TableWriter = made.TableWriter
    v1.python_io.OutOfRangeException = paiio.OutOfRangeException
    modules = _modules(made)
    ops: Any = sys.modules["tensorflow.python.ops"]
    ops.work_queue = modules["tensorflow.python.ops.work_queue"]
    return {name: lambda module=module: module for name, module in modules.items()}  # type: ignore[misc]


def _modules(made: _Made) -> dict[str, ModuleType]:
    readers = {
        "TableReader": paiio.TableReader,
        "TableWriter": made.TableWriter,
        "OutOfRangeException": paiio.OutOfRangeException,
    }
    rows = {"TableRecordDataset": paiio.TableRecordDataset, "WorkQueue": made.WorkQueue}
    common = {**readers, "TableReader": made.CommonReader}
    queues = {
        "TableRecordReader": paiio.TableRecordReader,
        "TableRecordWriter": paiio.TableRecordWriter,
    }
    prefetch: dict[str, Any] = {"prefetch": _prefetch, "make_prefetch_hook": _make_prefetch_hook}
    contents: dict[str, dict[str, Any]] = {
        "paiio": {**rows, **readers, **queues},
        "paiio.data": rows,
        "paiio.python_io": readers,
        "common_io": {},
        "common_io.table": common,
        "common_io.exception": {"OutOfRangeException": paiio.OutOfRangeException},
        "pai": {},
        "pai.data": {**rows, **prefetch},
        "tensorflow.python.ops.work_queue": {"WorkQueue": made.WorkQueue},
    }
    modules: dict[str, ModuleType] = {}
    for name, inside in contents.items():
        modules[name] = ModuleType(name, "PAI's names, as pai_train gives them to scripts")
        modules[name].__dict__.update(inside, __path__=[])
    for name, module in modules.items():
        package, _, own = name.rpartition(".")
        if package in modules:
            setattr(modules[package], own, module)
    return modules


def _prefetch(rows: Any, buffer_size: int = 2, **_: Any) -> Any:
    """Does what PAI's prefetch does for a dataset; a graph's tensors come as they are, read ahead by their dataset."""
    return rows.prefetch(buffer_size) if hasattr(rows, "prefetch") else rows


def _make_prefetch_hook() -> Any:
    """Returns a hook that does nothing: nothing that is read ahead needs to be started."""
    return tf.train.SessionRunHook()


def close_all(outputs: Outputs) -> None:
    """Says which writers the script forgot."""
    for table in outputs.unclosed():
        sys.stderr.write(f"{table}: a writer was not closed: its rows are not published; call close()\n")
