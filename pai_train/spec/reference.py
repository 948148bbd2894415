"""The reference of every recipe key as Markdown, made from the dataclasses: `python -m pai_train.spec.reference`."""

from __future__ import annotations

import dataclasses
import sys
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

from typing_extensions import Doc

from pai_train.spec.check import as_written, in_words, keys
from pai_train.spec.config import JobConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Keys

Every key of a recipe, which is also every key of the command line (`train.epochs=3`). This page is made from the code
by `python -m pai_train.spec.reference`. A key without default is required; where the default is an option's name, such
as `storage=local`, the option gives the value, and `--cfg job` shows it. A name of your choice is written `<name>`.
"""
_DEFAULT_OPTIONS = {"storage": "local", "tables": "iceberg", "engine": "tf_data", "cluster": "local"}


def reference() -> str:
    """Returns the page: a table of key, accepted values, default and meaning for each section of a recipe."""
    return "\n".join([_HEAD, *_sections(JobConfig, "")])


def _sections(cls: type, prefix: str) -> Iterator[str]:
    """Yields the section of a dataclass, then those of the dataclasses in its fields."""
    title = f"`{prefix}`" if prefix else "The top of a recipe"
    yield f"## {title}\n\n{cls.__doc__}\n\n| key | accepts | default | meaning |\n|---|---|---|---|"
    nested: list[tuple[type, str]] = []
    for field, (key, hint) in zip(dataclasses.fields(cls), keys(cls).items(), strict=True):
        inner = _dataclass_in(hint)
        if inner is not None:
            repeated = any(get_origin(branch) is dict for branch in _branches(hint))
            nested.append((inner, f"{prefix}.{key}{'.<name>' if repeated else ''}".lstrip(".")))
        meaning = _doc(hint) or str(inner.__doc__)
        cells = (f"`{key}`", _accepts(hint, inner), _default(field, prefix), meaning)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    for inner, below in nested:
        yield from _sections(inner, below)


def _accepts(hint: Any, inner: type | None) -> str:
    """Returns the words that faults use too; a nested section is pointed to instead."""
    branches = [branch for branch in _branches(hint) if branch is not NoneType]
    if inner is None:
        words = in_words(hint)
        return words if len(branches) == len(_branches(hint)) else f"{words}{',' if ', ' in words else ''} or null"
    scalars = [in_words(branch) for branch in branches if _dataclass_in(branch) is None]
    below = "keys, see below"
    for branch in branches:
        if get_origin(branch) is dict:
            others = [in_words(one) for one in _branches(get_args(branch)[-1]) if _dataclass_in(one) is None]
            each = f", each {', or '.join([*others, 'keys'])}" if others else ""
            below = f"names of your choice{each}, see below"
    return " or ".join([*scalars, below])


def _default(field: dataclasses.Field[Any], prefix: str) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{as_written(field.default)}`"
    if field.default_factory is dataclasses.MISSING:
        group = prefix or field.name
        return f"`{group}={_DEFAULT_OPTIONS[group]}`" if group in _DEFAULT_OPTIONS else "required"
    made = field.default_factory()
    return "see below" if dataclasses.is_dataclass(made) else f"`{as_written(made)}`"


def _doc(hint: Any) -> str | None:
    return next((note.documentation for note in getattr(hint, "__metadata__", ()) if isinstance(note, Doc)), None)


def _dataclass_in(hint: Any) -> type | None:
    for branch in _branches(hint):
        for bare in _branches(get_args(branch)[-1]) if get_origin(branch) is dict else [branch]:
            if isinstance(bare, type) and dataclasses.is_dataclass(bare):
                return bare
    return None


def _branches(hint: Any) -> list[Any]:
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    if get_origin(bare) in (Union, UnionType):
        return [inner for branch in get_args(bare) for inner in _branches(branch)]
    return [bare]


if __name__ == "__main__":
    sys.stdout.write(reference())
