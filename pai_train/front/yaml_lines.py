"""What is looked up in the text of a YAML file: on which line a key is set, which words may be secrets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from pai_train.redact import is_secret_name
from pai_train.spec.check import split_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PAIR = re.compile(r"""["']?([A-Za-z_][\w.-]*)["']?\s*:\s+([^\n]+)""")


def line_of(text: str, key: str) -> int | None:
    """Returns the line, from 1, on which a YAML text sets a dotted key; None when it does not."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    line = None
    for part in split_key(key) if key else []:
        if isinstance(node, yaml.MappingNode):
            pairs = [pair for pair in node.value if pair[0].value == part]
            if not pairs:
                return None
            line, node = pairs[-1][0].start_mark.line + 1, pairs[-1][1]
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            node = node.value[int(part)]
            line = node.start_mark.line + 1
        else:
            return None
    return line


def line_of_default(text: str, name: str) -> int | None:
    """Returns the line on which a YAML text's defaults list names a config, such as `recipe/iris` or `iris`."""
    node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    scalars = (scalar for key, value in pairs if key.value == "defaults" for scalar in _scalars(value))
    last = name.rsplit("/", maxsplit=1)[-1]
    return next((scalar.start_mark.line + 1 for scalar in scalars if scalar.value.rsplit("/")[-1] == last), None)


def values_of_secrets(path: Path) -> list[str]:
    """Lists the words behind keys named as secrets in a file that is no YAML, whose errors may quote them."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError:
        return []
    words = [word for name, value in _PAIR.findall(text) if is_secret_name(name) for word in value.split()]
    return [*words, *(word.strip("!&*'\"%@`|>,{}[]") for word in words)]


def _scalars(node: Any) -> Iterator[yaml.ScalarNode]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _scalars(item)
    elif isinstance(node, yaml.MappingNode):
        for _, value in node.value:
            yield from _scalars(value)
