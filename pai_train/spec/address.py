"""The address of a table: a bare name, project.name, or odps://project/tables/name[/pt=value][?start=a&end=b]."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pai_train.errors import TableError
from pai_train.spec.tokens import MAX_NAME_BYTES, is_name, is_word

Partition = tuple[tuple[str, str], ...]

_SCHEME = "odps://"
_FORMS = "name, project.name, or odps://project/tables/name[/pt=value/…][&pt=value/…][?start=row&end=row]"
_RESERVED_IN_VALUES = "/&?,"
_MAX_ROW = 2**63 - 1


@dataclass(frozen=True)
class TableRef:
    """Which table, and which of its partitions; project, name and partition keys are kept in lower case.

    Attributes:
        project: The project that owns the table.
        name: The table's name in it.
        partitions: (key, value) pairs of each partition meant, outermost first; empty for the whole table.
        rows: First row and the row before which it ends, None for the last, counted from 0 over what is named;
            None for all rows.

    Raises:
        TableError: A part that no table can have.
    """

    project: str
    name: str
    partitions: tuple[Partition, ...] = ()
    rows: tuple[int, int | None] | None = None

    def __post_init__(self) -> None:
        partitions = tuple(tuple((key.lower(), value) for key, value in pairs) for pairs in self.partitions)
        object.__setattr__(self, "project", self.project.lower())
        object.__setattr__(self, "name", self.name.lower())
        object.__setattr__(self, "partitions", partitions)
        _check_name("project", self.project)
        _check_name("table", self.name)
        for partition in partitions:
            _check_partition(partition)
        _check_apart(partitions)
        _check_rows(self.rows)

    def __str__(self) -> str:
        partitions = "&".join(_partition_text(partition) for partition in self.partitions)
        text = f"{_SCHEME}{self.project}/tables/{self.name}" + (f"/{partitions}" if partitions else "")
        if self.rows is None:
            return text
        start, end = self.rows
        return f"{text}?start={start}" + ("" if end is None else f"&end={end}")


def parse_tables(text: str, project: str) -> tuple[TableRef, ...]:
    """Reads the addresses of several tables, separated by `,`; each may name partitions and rows of its own.

    Args:
        text: One address or more, as `parse_table` reads them.
        project: The project of a bare name.

    Raises:
        TableError: One of them is no address; rows of a table would be read twice.
    """
    refs = tuple(parse_table(one, project) for one in text.split(","))
    for index, ref in enumerate(refs):
        for other in refs[:index]:
            if (other.project, other.name) == (ref.project, ref.name) and _meet(other, ref):
                raise TableError(
                    "rows of a table would be read twice",
                    got=f"{str(other)!r} and {str(ref)!r}",
                    wanted="each table, partition and range of rows once",
                )
    return refs


def refuse_rows(ref: TableRef) -> None:
    """Refuses a range of rows in the address of what is written.

    Raises:
        TableError: The address has one.
    """
    if ref.rows is not None:
        start, end = ref.rows
        raise TableError(
            "a write replaces or adds whole rows, and its address names a range of them",
            where=str(ref),
            got=f"?start={start}" + ("" if end is None else f"&end={end}"),
            todo=f"write to {replace(ref, rows=None)}",
        )


def parse_target(text: str, project: str) -> TableRef:
    """Reads the address of a table that is written: as `parse_table`, without a range of rows.

    Raises:
        TableError: No such form.
    """
    ref = parse_table(text, project)
    refuse_rows(ref)
    return ref


def parse_table(text: str, project: str) -> TableRef:
    """Reads a table's address.

    Args:
        text: A bare name, `project.name`, or `odps://project/tables/name`, the last with partitions: `/` between
            the levels of one partition, `&` between partitions. Each may end in `?start=row&end=row`.
        project: The project of a bare name.

    Raises:
        TableError: No such form, or a form that is not served: several tables, schemas.
    """
    if "," in text:
        raise TableError(
            "several tables where one is meant",
            got=repr(text),
            wanted="one table; several partitions of it are joined by '&'",
            todo="only an input reads several tables; give each output one of its own",
        )
    address, question, query = text.partition("?")
    rows = _parse_rows(text, query) if question else None
    if address[: len(_SCHEME)].lower() == _SCHEME:
        return _parse_url(address, rows)
    if "/" in address or "=" in address:
        raise TableError("not a table address", got=repr(text), wanted=_FORMS)
    *owner, name = address.split(".")
    if len(owner) > 1:
        raise _schema(text)
    return TableRef(owner[0] if owner else project, name, rows=rows)


def _parse_rows(text: str, query: str) -> tuple[int, int | None]:
    found: dict[str, int] = {}
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key not in ("start", "end") or key in found or not (value.isascii() and value.isdecimal()):
            raise TableError("not a range of rows", got=repr(text), wanted="?start=row&end=row, counted from 0")
        found[key] = int(value)
    return found.get("start", 0), found.get("end")


def _parse_url(text: str, rows: tuple[int, int | None] | None) -> TableRef:
    project, *rest = text[len(_SCHEME) :].removesuffix("/").split("/")
    if rest[:1] == ["schemas"]:
        raise _schema(text)
    if len(rest) < 2 or rest[0] != "tables":
        raise TableError("not a table address", got=repr(text), wanted=_FORMS)
    name, levels = rest[1], rest[2:]
    if "." in name:
        raise _schema(text)
    partitions = "/".join(levels).split("&") if levels else []
    return TableRef(project, name, tuple(_parse_partition(partition) for partition in partitions), rows)


def _parse_partition(text: str) -> Partition:
    pairs = []
    for level in text.split("/"):
        key, equals, value = level.partition("=")
        if not equals:
            raise TableError("not a partition", got=repr(text), wanted="key=value, levels joined by '/'")
        pairs.append((key, value))
    return tuple(pairs)


def _partition_text(partition: Partition) -> str:
    return "/".join(f"{key}={value}" for key, value in partition)


def _check_name(kind: str, name: str) -> None:
    if not is_name(name):
        raise TableError(
            f"not a {kind} name",
            got=repr(name),
            wanted=f"letters, digits and '_', no digit first, at most {MAX_NAME_BYTES} bytes",
        )


def _check_partition(partition: Partition) -> None:
    shown = repr(_partition_text(partition))
    keys = [key for key, _ in partition]
    if not partition or not all(is_word(key) for key in keys):
        raise TableError("not a partition", got=shown, wanted="key=value with a column name as key")
    if len(set(keys)) < len(keys):
        raise TableError("a partition names a column twice", got=shown, wanted="each partition column once")
    if any(not value or any(char in _RESERVED_IN_VALUES for char in value) for _, value in partition):
        raise TableError(
            "not a partition value", got=shown, wanted=f"text that is not empty, without any of {_RESERVED_IN_VALUES}"
        )


def _check_apart(partitions: tuple[Partition, ...]) -> None:
    named: set[Partition] = set()
    for partition in sorted(partitions, key=len):
        twice = next((outer for end in range(1, len(partition) + 1) if (outer := partition[:end]) in named), None)
        if twice is not None:
            raise TableError(
                "rows of a partition would be read twice",
                got=f"{_partition_text(twice)!r} and {_partition_text(partition)!r}",
                wanted="each partition once, without the partitions inside it",
            )
        named.add(partition)


def _check_rows(rows: tuple[int, int | None] | None) -> None:
    if rows is None:
        return
    start, end = rows
    last = _MAX_ROW if end is None else end
    if not 0 <= start <= last <= _MAX_ROW:
        raise TableError("not a range of rows", got=f"{start} to {end}", wanted="0 <= start <= end")


def _meet(one: TableRef, other: TableRef) -> bool:
    """Tells whether two addresses of one table can name a row in common."""
    if one.partitions == other.partitions and one.rows is not None and other.rows is not None:
        ends = [_MAX_ROW if end is None else end for _, end in (one.rows, other.rows)]
        return max(one.rows[0], other.rows[0]) < min(ends)
    if not one.partitions or not other.partitions:
        return True
    return any(_agree(dict(pairs), dict(others)) for pairs in one.partitions for others in other.partitions)


def _agree(one: dict[str, str], other: dict[str, str]) -> bool:
    return all(one[key] == other[key] for key in one.keys() & other.keys())


def _schema(text: str) -> TableError:
    return TableError(
        "schemas inside a project are not served", got=repr(text), wanted="project.name", todo="leave the schema out"
    )
