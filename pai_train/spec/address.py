"""The address of a table: a bare name, project.name, or odps://project/tables/name[/pt=value]."""

from __future__ import annotations

from dataclasses import dataclass

from pai_train.errors import TableError
from pai_train.spec.tokens import MAX_NAME_BYTES, is_name, is_word

Partition = tuple[tuple[str, str], ...]

_SCHEME = "odps://"
_FORMS = "name, project.name, or odps://project/tables/name[/pt=value/…][&pt=value/…]"
_RESERVED_IN_VALUES = "/&?,"


@dataclass(frozen=True)
class TableRef:
    """Which table, and which of its partitions; project, name and partition keys are kept in lower case.

    Attributes:
        project: The project that owns the table.
        name: The table's name in it.
        partitions: (key, value) pairs of each partition meant, outermost first; empty for the whole table.

    Raises:
        TableError: A part that no table can have.
    """

    project: str
    name: str
    partitions: tuple[Partition, ...] = ()

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

    def __str__(self) -> str:
        partitions = "&".join(_partition_text(partition) for partition in self.partitions)
        return f"{_SCHEME}{self.project}/tables/{self.name}" + (f"/{partitions}" if partitions else "")


def parse_table(text: str, project: str) -> TableRef:
    """Reads a table's address.

    Args:
        text: A bare name, `project.name`, or `odps://project/tables/name`, the last with partitions: `/` between
            the levels of one partition, `&` between partitions.
        project: The project of a bare name.

    Raises:
        TableError: No such form, or a form that is not served: row ranges, several tables, schemas.
    """
    _refuse_unserved(text)
    if text[: len(_SCHEME)].lower() == _SCHEME:
        return _parse_url(text)
    if "/" in text or "=" in text:
        raise TableError("not a table address", got=repr(text), wanted=_FORMS)
    *owner, name = text.split(".")
    if len(owner) > 1:
        raise _schema(text)
    return TableRef(owner[0] if owner else project, name)


def _refuse_unserved(text: str) -> None:
    if "," in text:
        raise TableError(
            "several tables in one address are not served",
            got=repr(text),
            wanted="one table; several partitions of it are joined by '&'",
            todo="give each table an input or output of its own",
        )
    if "?" in text:
        raise TableError(
            "row ranges in a table address are not served",
            got=repr(text),
            wanted=f"the address without {text[text.index('?') :]!r}",
            todo="name partitions, or read the whole table",
        )


def _parse_url(text: str) -> TableRef:
    project, *rest = text[len(_SCHEME) :].removesuffix("/").split("/")
    if rest[:1] == ["schemas"]:
        raise _schema(text)
    if len(rest) < 2 or rest[0] != "tables":
        raise TableError("not a table address", got=repr(text), wanted=_FORMS)
    name, levels = rest[1], rest[2:]
    if "." in name:
        raise _schema(text)
    partitions = "/".join(levels).split("&") if levels else []
    return TableRef(project, name, tuple(_parse_partition(partition) for partition in partitions))


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


def _schema(text: str) -> TableError:
    return TableError(
        "schemas inside a project are not served", got=repr(text), wanted="project.name", todo="leave the schema out"
    )
