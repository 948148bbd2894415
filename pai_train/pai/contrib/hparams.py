"""Hyper-parameters with types, set from text: what `tf.contrib.training.HParams` was."""

from __future__ import annotations

import ast
import json
import numbers
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

# NAME, NAME[INDEX]; then `=`; then a list in brackets, or text up to the next comma.
_ENTRY = re.compile(
    r"\s*(?P<name>[A-Za-z][\w.]*)(\[\s*(?P<index>\d+)\s*\])?\s*=\s*(\[(?P<list>[^\]]*)\]|(?P<one>[^,\[]*))\s*(,|$)"
)
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def parse_values(values: str, type_map: Mapping[str, type], ignore_unknown: bool = False) -> dict[str, Any]:
    """Returns the values of a text such as `rate=0.1,sizes=[8,4],name=x,sizes[0]=3`.

    Args:
        values: The text.
        type_map: The type of each name; a list's is that of its items.
        ignore_unknown: Whether names without a type are passed over.

    Returns:
        Values by name; an entry with an index gives a dict from index to value.

    Raises:
        ValueError: Text that is no entry, an unknown name, a value of another type, or a name given twice.
    """
    result: dict[str, Any] = {}
    at = 0
    while at < len(values):
        entry = _ENTRY.match(values, at)
        if entry is None:
            raise ValueError(f"hyper-parameters: malformed at {values[at:]!r}")
        at, name = entry.end(), entry["name"]
        if name not in type_map:
            if ignore_unknown:
                continue
            raise ValueError(f"hyper-parameters: unknown name {name!r}, known are {', '.join(sorted(type_map))}")
        if entry["index"] is not None:
            slot = result.setdefault(name, {})
            if not isinstance(slot, dict) or int(entry["index"]) in slot or entry["list"] is not None:
                raise ValueError(f"hyper-parameters: {name} is given twice, or a list stands where one value is wanted")
            slot[int(entry["index"])] = _typed(name, type_map[name], entry["one"])
            continue
        if name in result:
            raise ValueError(f"hyper-parameters: {name} is given twice")
        if entry["list"] is not None:
            items = [item for item in entry["list"].split(",") if item.strip()]
            result[name] = [_typed(name, type_map[name], item) for item in items]
        else:
            result[name] = _typed(name, type_map[name], entry["one"])
    return result


class HParams:
    """A set of named values; each name keeps the type of its first value.

    Args:
        hparam_def: Not given here.
        model_structure: Kept as it is.
        kwargs: Names and values: numbers, texts, bools, None, or lists of one type of them.
    """

    def __init__(self, hparam_def: Any = None, model_structure: Any = None, **kwargs: Any) -> None:
        self._types: dict[str, tuple[type, bool]] = {}
        self._model_structure = model_structure
        if hparam_def is not None:
            raise ValueError("HParams: hparam_def is not taken here, give the values by name")
        for name, value in kwargs.items():
            self.add_hparam(name, value)

    def add_hparam(self, name: str, value: Any) -> None:
        """Adds a name.

        Raises:
            ValueError: The name is taken, or the value an empty list.
        """
        if getattr(self, name, None) is not None or name in self._types:
            raise ValueError(f"HParams: the name {name} is taken")
        if isinstance(value, (list, tuple)):
            if not value:
                raise ValueError(f"HParams: an empty list has no type: {name}")
            self._types[name] = (type(value[0]), True)
        else:
            self._types[name] = (type(value), False)
        setattr(self, name, value)

    def set_hparam(self, name: str, value: Any) -> None:
        """Changes a value.

        Raises:
            KeyError: An unknown name.
            ValueError: A value of another type, or a list where one value stood, or the other way round.
        """
        kind, is_list = self._types[name]
        if isinstance(value, (list, tuple)) != is_list:
            raise ValueError(f"HParams: {name} is {'a list' if is_list else 'one value'}, got {value!r}")
        setattr(self, name, [_cast(name, kind, one) for one in value] if is_list else _cast(name, kind, value))

    def del_hparam(self, name: str) -> None:
        """Forgets a name; one that is not there is passed over."""
        if name in self._types:
            delattr(self, name)
            del self._types[name]

    def parse(self, values: str) -> HParams:
        """Sets values from a text such as `rate=0.1,sizes=[8,4]`, and returns itself."""
        for name, value in parse_values(values, {name: kind for name, (kind, _) in self._types.items()}).items():
            if isinstance(value, dict):
                items = list(getattr(self, name))
                for index, item in value.items():
                    items[index] = item
                value = items  # noqa: PLW2901
            elif self._types[name][1] and not isinstance(value, list):
                raise ValueError(f"HParams: {name} is a list, got {value!r}")
            self.set_hparam(name, value)
        return self

    def override_from_dict(self, values_dict: Mapping[str, Any]) -> HParams:
        """Sets values by name, and returns itself."""
        for name, value in values_dict.items():
            self.set_hparam(name, value)
        return self

    def parse_json(self, values_json: str) -> HParams:
        """Sets values from a JSON object, and returns itself."""
        return self.override_from_dict(json.loads(values_json))

    def to_json(self, indent: Any = None, separators: Any = None, sort_keys: bool = False) -> str:
        """Returns the values as JSON; functions are left out."""
        kept = {name: value for name, value in self.values().items() if not callable(value)}
        return json.dumps(kept, indent=indent, separators=separators, sort_keys=sort_keys)

    def values(self) -> dict[str, Any]:
        """Returns the values by name."""
        return {name: getattr(self, name) for name in self._types}

    def get(self, key: str, default: Any = None) -> Any:
        """Returns a value, or the default for an unknown name."""
        return getattr(self, key) if key in self._types else default

    def get_model_structure(self) -> Any:
        """Returns the model structure."""
        return self._model_structure

    def set_model_structure(self, model_structure: Any) -> None:
        """Changes the model structure."""
        self._model_structure = model_structure

    def __contains__(self, key: str) -> bool:
        return key in self._types

    def __str__(self) -> str:
        return str(sorted(self.values().items()))

    def __repr__(self) -> str:
        return f"HParams({self})"


def _typed(name: str, kind: type, text: str) -> Any:
    text = text.strip()
    try:
        if kind is bool:
            return _TRUTHS[text.lower()]
        if kind is type(None):
            return None if text == "None" else text
        if kind is int:
            number = ast.literal_eval(text)
            if not isinstance(number, int) or isinstance(number, bool):
                raise ValueError(text)
            return number
        return kind(text)
    except (ValueError, KeyError, SyntaxError) as fault:
        raise ValueError(f"hyper-parameters: {name} is of type {kind.__name__}, got {text!r}") from fault


def _cast(name: str, kind: type, value: Any) -> Any:
    fits = {
        bool: isinstance(value, bool),
        int: isinstance(value, numbers.Integral) and not isinstance(value, bool),
        float: isinstance(value, numbers.Real) and not isinstance(value, bool),
        str: isinstance(value, (str, bytes)),
    }
    if value is None or kind not in fits:
        return value
    if not fits[kind]:
        raise ValueError(f"HParams: {name} is of type {kind.__name__}, got {value!r}")
    return value.decode() if kind is str and isinstance(value, bytes) else kind(value)
