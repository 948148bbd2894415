"""Texts that come as integer ids: the keys that say which id each has, and what these ask of the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from annotated_types import Ge, Le
from typing_extensions import Doc

from pai_train.errors import Fault, TableError, did_you_mean
from pai_train.spec.address import parse_tables
from pai_train.spec.types import Primitive, Text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pai_train.spec.config import InputConfig
    from pai_train.spec.types import MaxComputeType

_MOST = 2**31 - 1
_ONE_WAY = ("buckets", "vocabulary", "file", "table")


@dataclass(frozen=True, kw_only=True)
class IdsConfig:
    """Which integer id each text of a column has: by `buckets`, or a vocabulary by `vocabulary`, `file` or `table`."""

    buckets: Annotated[
        int | None,
        Ge(1),
        Le(_MOST),
        Doc(
            "Hash every text into so many ids: Fingerprint64 of its UTF-8, modulo this, as"
            " tf.strings.to_hash_bucket_fast."
        ),
    ] = None
    vocabulary: Annotated[list[str] | None, Doc("The texts; the id of each is its place, from 0.")] = None
    file: Annotated[
        str | None,
        Doc("An object in UTF-8 with a text of the vocabulary per line, relative to storage.root, or a full URL."),
    ] = None
    table: Annotated[str | None, Doc("A table whose rows hold the vocabulary, in their order, in `column`.")] = None
    column: Annotated[str | None, Doc("Of `table`: the column.")] = None
    oov_buckets: Annotated[
        int,
        Ge(0),
        Le(_MOST),
        Doc(
            "Of a vocabulary: so many ids behind it are shared, by that hash, by all texts outside; 0: a row with such"
            " a text is one that cannot be read."
        ),
    ] = 1


IdsChoice = Annotated[int, Ge(1), Le(_MOST)] | list[str] | IdsConfig


def written_out(choice: IdsChoice) -> IdsConfig:
    """Returns what a number, of buckets, or a list, the vocabulary, stands for."""
    if isinstance(choice, IdsConfig):
        return choice
    return IdsConfig(vocabulary=choice) if isinstance(choice, list) else IdsConfig(buckets=choice)


def ids_without_case(ids: Mapping[str, IdsChoice]) -> dict[str, IdsChoice]:
    """Writes the names of table columns in lower case."""
    return {name.lower(): choice for name, choice in ids.items()}


def id_faults(key: str, rows: InputConfig, types: Mapping[str, MaxComputeType], project: str) -> Iterator[Fault]:
    """Checks which columns come as ids, and where these are from."""
    label = rows.label if isinstance(rows.label, str) or rows.label is None else rows.label.column
    for name, choice in rows.ids.items():
        where = f"{key}.ids.{name}"
        if rows.columns and name not in rows.columns:
            yield Fault(f"no column {name!r}", where=where, todo=did_you_mean(name, rows.columns))
        elif name in types and not is_text(types[name]):
            wanted = "a column of STRING, VARCHAR or CHAR"
            yield Fault("only texts get ids", where=where, got=f"{name} {types[name]}", wanted=wanted)
        elif name == label:
            yield Fault("the label is learned by its classes, not by ids", where=where, todo="leave it out")
        elif rows.features is not None and name not in rows.features:
            todo = f"leave it out, or add it to {key}.features"
            yield Fault("a column that the model does not see needs no ids", where=where, todo=todo)
        yield from _choice(where, written_out(choice), project, short=not isinstance(choice, IdsConfig))


def is_text(kind: object) -> bool:
    """Tells whether a declared type is one of texts."""
    return isinstance(kind, Text) or (isinstance(kind, Primitive) and kind.name == "STRING")


def _choice(where: str, choice: IdsConfig, project: str, *, short: bool) -> Iterator[Fault]:
    given = [name for name in _ONE_WAY if getattr(choice, name) is not None]
    if len(given) != 1:
        wanted = "one of buckets, vocabulary, file and table"
        yield Fault("ids come from one place", where=where, got=" and ".join(given) or "none", wanted=wanted)
    if choice.vocabulary is not None:
        yield from _values(where if short else f"{where}.vocabulary", choice.vocabulary)
    if choice.file == "":
        yield Fault("names no file", where=f"{where}.file", wanted="an object")
    if choice.table is not None:
        try:
            parse_tables(choice.table, project)
        except TableError as error:
            yield replace(error.fault, where=f"{where}.table")
        if choice.column is None:
            yield Fault("needs a column", where=f"{where}.column", wanted="the column that holds the vocabulary")
    elif choice.column is not None:
        what, todo = "only a table has columns", f"leave it out, or set {where}.table"
        yield Fault(what, where=f"{where}.column", got=choice.column, todo=todo)
    if choice.buckets is not None and choice.oov_buckets != IdsConfig().oov_buckets:
        what, todo = "without a vocabulary no text is outside of it", "leave it out"
        yield Fault(what, where=f"{where}.oov_buckets", got=str(choice.oov_buckets), todo=todo)


def _values(where: str, values: Sequence[str]) -> Iterator[Fault]:
    if not values:
        yield Fault("a vocabulary holds texts", where=where, got="[]", wanted="one text or more")
    for value in [text for text, count in Counter(values).items() if count > 1][:3]:
        yield Fault("a vocabulary holds each text once", where=where, got=repr(value), todo="remove it once")
