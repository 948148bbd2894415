"""What a script's own text says of the files that it reads: names below its buckets, and columns of its CSV."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

_TYPES = {str: "STRING", int: "BIGINT", float: "DOUBLE"}
_MOST_COLUMNS = 1000


@dataclass(frozen=True)
class Reads:
    """What was found.

    Attributes:
        files: Names that the script joins to its buckets.
        columns: Types of the columns that it decodes, by name, in their order; empty where they are not written out.
        defaults: The value of an empty field of each column.
    """

    files: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    defaults: tuple[str | int | float, ...] = ()


def look(script: str) -> Reads:
    """Looks through a script without running it; one that cannot be parsed says nothing."""
    try:
        tree = ast.parse(Path(script).read_bytes())
    except (OSError, SyntaxError, ValueError):
        return Reads()
    nodes = list(ast.walk(tree))
    files = dict.fromkeys(name for node in nodes for name in _joined(node))
    defaults = next((found for node in nodes if (found := _defaults(node))), ())
    names = next((found for node in nodes if (found := _decoded(node, len(defaults)))), ())
    names = names or tuple(f"f{at}" for at in range(1, len(defaults) + 1))
    columns = tuple((name, _TYPES[type(value)]) for name, value in zip(names, defaults, strict=True))
    return Reads(tuple(files), columns, defaults)


def _joined(node: ast.AST) -> list[str]:
    """Finds the texts that `os.path.join(FLAGS.buckets, …)` and `FLAGS.buckets + …` join."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "join":
        parts: list[ast.expr] = list(node.args)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        parts = [node.left, node.right]
    else:
        return []
    if not any(isinstance(part, ast.Attribute) and part.attr == "buckets" for part in parts):
        return []
    return [part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)]


def _defaults(node: ast.AST) -> tuple[str | int | float, ...]:
    """Finds `record_defaults = [[''], [0]]`, or `[['']] * 5`, as a name or an argument."""
    if isinstance(node, ast.Assign):
        named = any(isinstance(target, ast.Name) and target.id == "record_defaults" for target in node.targets)
    else:
        named = isinstance(node, ast.keyword) and node.arg == "record_defaults"
    if not named or not isinstance(node, ast.Assign | ast.keyword):
        return ()
    value: ast.expr = node.value
    times = 1
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult) and isinstance(value.right, ast.Constant):
        times = value.right.value if isinstance(value.right.value, int) else 0
        value = value.left
    try:
        cells = ast.literal_eval(value)
    except (ValueError, TypeError):
        return ()
    if not isinstance(cells, list) or len(cells) * times > _MOST_COLUMNS:
        return ()
    flat = [cell[0] if isinstance(cell, list) and len(cell) == 1 else cell for cell in cells * times]
    return tuple(flat) if all(type(cell) in _TYPES for cell in flat) else ()


def _decoded(node: ast.AST, count: int) -> tuple[str, ...]:
    """Finds the names in `d1, d2 = tf.decode_csv(…)`."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call) or len(node.targets) != 1:
        return ()
    called, target = node.value.func, node.targets[0]
    if not isinstance(called, ast.Attribute) or called.attr != "decode_csv" or not isinstance(target, ast.Tuple):
        return ()
    names = tuple(one.id for one in target.elts if isinstance(one, ast.Name))
    return names if len(set(names)) == count == len(target.elts) else ()
