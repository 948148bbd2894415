"""Checks a plain tree against the dataclasses of a spec: every fault at once, in words."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from pai_train.errors import Fault, did_you_mean
from pai_train.redact import redact

T = TypeVar("T")

REQUIRED = "is required"

_MAX_SHOWN = 80
_NAMES: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "true or false values"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    NoneType: ("null", "nulls"),
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least"),
    "greater_than": ("gt", "must be greater than"),
    "less_than_equal": ("le", "must be at most"),
    "less_than": ("lt", "must be less than"),
}


def check(
    cls: type[T], tree: Mapping[str, Any], shown: Mapping[str, Any] | None = None
) -> tuple[T | None, list[Fault]]:
    """Makes an instance of a dataclass from a tree of JSON types.

    No value is converted: `"3"` and `true` are no integers; an integer is taken for a float. Unknown keys are faults.

    Args:
        cls: A dataclass whose fields may hold dataclasses, lists, dicts, unions and bounds of annotated_types.
        tree: The values.
        shown: The values as faults show them, where they differ, such as `${oc.env:NAME}`.

    Returns:
        The instance, or None and the faults, one per key, with the dotted key in `where`.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        text = json.dumps(_finite(tree), default=str)
        return TypeAdapter(cls).validate_json(text, strict=True, extra="forbid"), []
    except ValidationError as error:
        found = error.errors(include_url=False)
    errors: dict[str, list[tuple[_Place, Mapping[str, Any]]]] = {}
    for details in found:
        place = _place(cls, tree, tuple(details["loc"]), "")
        if place is not None:
            errors.setdefault(place.key, []).append((place, details))
    return None, [_fault(group, tree if shown is None else shown) for group in errors.values()]


def keys(cls: Any) -> dict[str, Any]:
    """Returns the keys of a section with their types: the fields' names, or the `alias` in a field's metadata.

    A key that Python keeps for itself, such as `from`, is the alias of a field of another name, such as `from_`.
    """
    hints = get_type_hints(cls, include_extras=True)
    return {field.metadata.get("alias", field.name): hints[field.name] for field in dataclasses.fields(cls)}


def as_tree(value: Any) -> Any:
    """Returns what `check` makes an instance from: dataclasses as dicts with the keys that a user writes."""
    if dataclasses.is_dataclass(value):
        names = zip(keys(type(value)), dataclasses.fields(value), strict=True)
        return {name: as_tree(getattr(value, field.name)) for name, field in names}
    if isinstance(value, Mapping):
        return {name: as_tree(item) for name, item in value.items()}
    return [as_tree(item) for item in value] if isinstance(value, list) else value


def _finite(value: Any) -> Any:
    """Turns infinities and NaN into text, which no number's key takes."""
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def split_key(key: str) -> list[str]:
    """Cuts `a.b[0]` into a, b, 0."""
    return key.replace("[", ".").replace("]", "").split(".")


def value_at(tree: Any, key: str) -> Any:
    """Returns the value of a dotted key; None where there is none."""
    for part in split_key(key):
        if isinstance(tree, Mapping):
            tree = tree.get(part)
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return None
    return tree


def as_written(value: Any) -> str:
    """Returns a value as a user would write it in YAML, on one line."""
    import yaml

    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf"), sort_keys=False)
    # A secret that is cut in two has no longer its shape.
    text = redact(text.removesuffix("...\n").strip())
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


@dataclasses.dataclass(frozen=True)
class _Place:
    """What stands at a key: its type, or None and the siblings of an unknown key."""

    key: str
    hint: Any
    known: tuple[str, ...] = ()


def _place(hint: Any, value: Any, loc: tuple[int | str, ...], key: str) -> _Place | None:
    """Follows an error's location through the types.

    Returns None for an error about a branch of a union that the value was not written for.
    """
    branches = [branch for branch in _branches(hint) if branch is not NoneType]
    if not loc:
        return _Place(key, hint)
    if len(branches) > 1:
        meant = [branch for branch in branches if isinstance(value, _container(branch))]
        if len(meant) != 1:
            return _Place(key, hint)
        # The location names the branch, such as 'LabelConfig' or 'list[str]'.
        tag = str(meant[0].__name__) if isinstance(meant[0], type) else f"{type(value).__name__}["
        return _place(meant[0], value, loc[1:], key) if str(loc[0]).startswith(tag) else None
    return _child(_bare(branches[0]), value, loc, key)


def _child(branch: Any, value: Any, loc: tuple[int | str, ...], key: str) -> _Place | None:
    name, rest = loc[0], loc[1:]
    below = f"{key}[{name}]" if isinstance(name, int) else f"{key}.{name}".lstrip(".")
    if dataclasses.is_dataclass(branch):
        fields = keys(branch)
        if name not in fields:
            return _Place(below, None, tuple(fields))
        return _place(fields[str(name)], _item(value, name), rest, below)
    if get_origin(branch) in (dict, list):
        return _place(get_args(branch)[-1], _item(value, name), rest, below)
    return _Place(key, branch)


def _item(value: Any, name: int | str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    return value[name] if isinstance(value, list) and isinstance(name, int) else None


def _fault(group: Sequence[tuple[_Place, Mapping[str, Any]]], tree: Mapping[str, Any]) -> Fault:
    place = group[0][0]
    name = split_key(place.key)[-1]
    if place.hint is None:
        return Fault(f"unknown key {name!r}", where=place.key, todo=did_you_mean(name, place.known))
    wanted = in_words(place.hint)
    if any(details["type"] == "missing" for _, details in group):
        return Fault(REQUIRED, where=place.key, wanted=wanted)
    value = value_at(tree, place.key)
    for _, details in group:
        if details["type"] in _BOUNDS:
            bound, words = _BOUNDS[details["type"]]
            limit = details["ctx"][bound]
            return Fault(f"{words} {_number(limit)}", where=place.key, got=as_written(value), wanted=wanted)
    options = [option for branch in _branches(place.hint) for option in _options(branch)]
    if isinstance(value, str) and options:
        todo = did_you_mean(value, options) if len(options) > 1 else None
        return Fault("is not one of its values", where=place.key, got=as_written(value), wanted=wanted, todo=todo)
    return Fault("has the wrong type", where=place.key, got=as_written(value), wanted=wanted)


def in_words(hint: Any, *, many: bool = False) -> str:
    """Returns what a type accepts, such as `an integer, 1 or more`."""
    branches = [branch for branch in _branches(hint) if branch is not NoneType]
    bounds = _bounds(hint)
    if {bool, int, float, str} <= {_bare(branch) for branch in branches}:
        scalars = "single values" if many else "a single value"
        others = [branch for branch in branches if _bare(branch) not in _NAMES]
        words = [scalars, *(_branch_in_words(branch, bounds, many=many) for branch in others)]
    else:
        words = [_branch_in_words(branch, bounds, many=many) for branch in branches]
    return (", or " if any(", " in word for word in words) else " or ").join(words)


def _branch_in_words(branch: Any, outer: Sequence[Any], *, many: bool) -> str:
    bare = _bare(branch)
    if dataclasses.is_dataclass(bare):
        return "mappings" if many else f"a mapping with the keys {', '.join(keys(bare))}"
    if get_origin(bare) is Literal:
        return _alternatives(get_args(bare))
    if get_origin(bare) is list:
        return f"{'lists' if many else 'a list'} of {in_words(get_args(bare)[0], many=True)}"
    if get_origin(bare) is dict:
        return f"{'mappings' if many else 'a mapping'} of names to {in_words(get_args(bare)[1], many=True)}"
    words = _NAMES[bare][many]
    return words + _limits([*outer, *_bounds(branch)]) if bare in (int, float) else words


def _limits(bounds: Sequence[Any]) -> str:
    low = next((bound for bound in bounds if isinstance(bound, Ge | Gt)), None)
    high = next((bound for bound in bounds if isinstance(bound, Le | Lt)), None)
    from_ = _number(low.ge if isinstance(low, Ge) else low.gt) if low is not None else ""
    to = _number(high.le if isinstance(high, Le) else high.lt) if high is not None else ""
    if isinstance(low, Ge) and isinstance(high, Le):
        return f", {from_} to {to}"
    words = [f"{from_} or more" if isinstance(low, Ge) else f"greater than {from_}"] if low is not None else []
    if high is not None:
        words.append(f"{to} or less" if isinstance(high, Le) else f"less than {to}")
    return f", {' and '.join(words)}" if words else ""


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _alternatives(values: Sequence[Any]) -> str:
    *first, last = (str(value) for value in values)
    return f"{', '.join(first)} or {last}" if first else last


def _options(branch: Any) -> tuple[str, ...]:
    return get_args(_bare(branch)) if get_origin(_bare(branch)) is Literal else ()


def _container(branch: Any) -> tuple[type, ...]:
    """Returns what a value of this branch is made of; nothing for a scalar."""
    bare = _bare(branch)
    if dataclasses.is_dataclass(bare) or get_origin(bare) is dict:
        return (dict,)
    return (list,) if get_origin(bare) is list else ()


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _bounds(hint: Any) -> list[Any]:
    return [note for note in getattr(hint, "__metadata__", ()) if isinstance(note, Ge | Gt | Le | Lt)]


def _branches(hint: Any) -> Iterator[Any]:
    bare = _bare(hint)
    if get_origin(bare) in (Union, UnionType):
        for branch in get_args(bare):
            yield from _branches(branch)
    else:
        yield hint
