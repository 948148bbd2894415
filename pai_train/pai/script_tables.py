"""The tables of a script: made before it starts where they are absent, and published together when it has ended."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.errors import Fault, Refused, TableError, did_you_mean
from pai_train.paiio.job import Job
from pai_train.paiio.settings import settings
from pai_train.paiio.writer import commit
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import join
from pai_train.tables.partitions import check_keys

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pai_train.pai.contracts import ScriptJob
    from pai_train.paiio.settings import Settings
    from pai_train.spec.address import TableRef
    from pai_train.spec.ddl import Ddl


def look(job: ScriptJob) -> list[tuple[TableRef, Ddl]]:
    """Looks for all tables, and returns those that are to be made.

    Raises:
        Refused: Inputs or their partition columns are absent, outputs are and no statement makes them, or statements
            do not fit their outputs.
        PaiTrainError: The table store is not configured, or cannot be reached.
    """
    if not (job.tables or job.outputs or job.statements):
        return []
    known = settings()
    inputs = [ref for table in job.tables for ref in known.refs(table)]
    faults = [fault for ref in inputs if (fault := _input_fault(ref, known)) is not None]
    if len(job.statements) > len(job.outputs):
        got = f"{len(job.statements)} statements, {len(job.outputs)} outputs"
        faults.append(Fault("there are more CREATE TABLE statements than outputs", "outputs", got))
    makes: list[tuple[TableRef, Ddl]] = []
    for output, statement in zip(job.outputs, [*job.statements, *[""] * len(job.outputs)], strict=False):
        ref = known.ref(output)
        if known.tables.describe(ref) is not None:
            continue
        ddl = parse_ddl(statement) if statement else None
        if ddl is None:
            faults.append(_absent(f"outputs {ref}", ref, known, writes=True))
        elif ddl.name.lower() != ref.name:
            faults.append(Fault("the statement makes another table", f"outputs {ref}", ddl.name, ref.name))
        else:
            makes.append((ref, ddl))
    if faults:
        raise Refused(faults)
    return makes


def make(tables: Sequence[tuple[TableRef, Ddl]]) -> None:
    """Makes the outputs that are absent.

    Raises:
        TableError: One cannot be made.
    """
    for ref, ddl in tables:
        settings().tables.ensure(ref, ddl)


def _input_fault(ref: TableRef, known: Settings) -> Fault | None:
    where = f"tables {ref}"
    info = known.tables.describe(ref)
    if info is None:
        return _absent(where, ref, known)
    try:
        check_keys(ref, info.partitions)
    except TableError as error:
        return replace(error.fault, where=where)
    return None


def _absent(where: str, ref: TableRef, known: Settings, *, writes: bool = False) -> Fault:
    todo = did_you_mean(ref.name, known.tables.names(ref.project))
    if writes:
        make = f'make it, or give its statement: -DcreateTableSql="create table {ref.name} (…);"'
        todo = make if todo is None or todo.startswith("known") else f"{todo} Or {make}"
    return Fault("no such table", where, todo=todo or f"there are no tables in project {ref.project!r}")


def publish(job: ScriptJob, token: str, records: Path) -> None:
    """Makes what the script's processes wrote the content of its outputs.

    Args:
        job: The script.
        token: The job that its writers named.
        records: A folder with a file per process, which lists the tables that it opened for writing.

    Raises:
        TableError: A table cannot be published.
    """
    known = settings()
    opened = {line for record in sorted(records.iterdir()) for line in record.read_text().splitlines()}
    for table in sorted(opened):
        if Job(known, token, known.ref(table)).parts():
            commit(table, token)
    written = {known.ref(table).name for table in opened}
    for output in job.outputs:
        if known.ref(output).name not in written:
            sys.stderr.write(f"output {output} was not written; it stays as it was\n")
    if opened:
        root, store = known.jobs_store()
        store.delete_tree(join(root, token))
