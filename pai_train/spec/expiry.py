"""What `mode=expire` asks of a recipe, and the tables that it names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge
from typing_extensions import Doc

from pai_train.errors import Fault, TableError
from pai_train.spec.address import TableRef, parse_tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pai_train.spec.config import JobConfig

_NOTHING = "name a recipe with tables, such as +recipe=iris, or '+inputs.train.table=odps://project/tables/name'"


@dataclass(frozen=True, kw_only=True)
class ExpireConfig:
    """What `mode=expire` lists, or takes away, of the tables that a recipe names; what unfinished runs hold stays."""

    older_than_days: Annotated[
        float, Ge(0), Doc("Snapshots expire so many days after another one has taken their place.")
    ] = 7.0
    keep_last: Annotated[int, Ge(1), Doc("So many of the newest snapshots stay, however old.")] = 1
    grace_hours: Annotated[
        float, Ge(1), Doc("Files written since then stay, for a write may be under way; longer than any write takes.")
    ] = 24.0
    delete: Annotated[bool, Doc("false lists what would go; true takes it away.")] = False


def expire_faults(config: JobConfig) -> Iterator[Fault]:
    """Checks that there is something to expire."""
    if config.mode != "expire":
        return
    if config.tables.name != "iceberg":
        what = f"tables of {config.tables.name} expire by the service's own rules"
        yield Fault(what, where="mode", got="expire", todo="the LIFECYCLE of its DDL says how long rows live there")
    elif not named_tables(config):
        yield Fault("no table is named", where="mode", got="expire", todo=_NOTHING)


def named_tables(config: JobConfig) -> list[TableRef]:
    """Returns the tables of inputs and outputs, each once, without partitions; faulty addresses are left out."""
    texts = [rows.table for rows in config.inputs.values()]
    texts += [output.table for output in config.outputs.values()]
    found: dict[TableRef, None] = {}
    for text in texts:
        if text is None:
            continue
        try:
            refs = parse_tables(text, config.tables.project)
        except TableError:
            continue
        found |= {TableRef(ref.project, ref.name): None for ref in refs}
    return list(found)
