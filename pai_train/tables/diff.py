"""How a table that exists differs from a CREATE TABLE statement, as a person reads a diff."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pai_train.spec.ddl import Column, Ddl
    from pai_train.tables.contracts import TableInfo


def differences(info: TableInfo, ddl: Ddl) -> tuple[str, ...]:
    """Returns `- what is there` and `+ what the statement says`, for each column that differs."""
    return (
        *_diff("", [_line(column) for column in info.columns], [_line(column) for column in ddl.columns]),
        *_diff("PARTITION ", [_line(c) for c in info.partitions], [_line(c) for c in ddl.partitions]),
    )


def _diff(kind: str, held: list[str], said: list[str]) -> list[str]:
    lines = []
    for index in range(max(len(held), len(said))):
        old = held[index] if index < len(held) else None
        new = said[index] if index < len(said) else None
        if old != new:
            lines += [] if old is None else [f"- {kind}{old}"]
            lines += [] if new is None else [f"+ {kind}{new}"]
    return lines


def _line(column: Column) -> str:
    return f"{column.name} {column.type}" + ("" if column.nullable else " NOT NULL")
