"""The tables of a script: made before it starts where they are absent, and published together when it has ended."""

from __future__ import annotations

import sys
from itertools import zip_longest
from typing import TYPE_CHECKING

from pai_train.errors import TableError
from pai_train.paiio.job import Job
from pai_train.paiio.settings import settings
from pai_train.paiio.writer import commit
from pai_train.spec.ddl import parse_ddl
from pai_train.storage import join

if TYPE_CHECKING:
    from pathlib import Path

    from pai_train.pai.contracts import ScriptJob


def prepare(job: ScriptJob) -> None:
    """Makes outputs that are absent, and looks for all other tables.

    Raises:
        TableError: An input is absent, an output is and no statement makes it, or a statement does not fit its output.
    """
    if not (job.tables or job.outputs or job.statements):
        return
    known = settings()
    for table in job.tables:
        for ref in known.refs(table):
            if known.tables.describe(ref) is None:
                raise TableError("no such table", where=f"tables {ref}")
    if len(job.statements) > len(job.outputs):
        got = f"{len(job.statements)} statements, {len(job.outputs)} outputs"
        raise TableError("there are more CREATE TABLE statements than outputs", got=got)
    for output, statement in zip_longest(job.outputs, job.statements):
        ref = known.ref(output)
        if known.tables.describe(ref) is not None:
            continue
        if not statement:
            raise TableError(
                "no such table",
                where=f"outputs {ref}",
                todo=f'make it, or give its statement: -DcreateTableSql="create table {ref.name} (…);"',
            )
        ddl = parse_ddl(statement)
        if ddl.name.lower() != ref.name:
            raise TableError("the statement makes another table", where=f"outputs {ref}", got=ddl.name)
        known.tables.ensure(ref, ddl)


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
