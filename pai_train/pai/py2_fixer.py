"""The fixer of `py2_division`, for fissix: it is loaded by its module's name, where sources are converted."""

from __future__ import annotations

from typing import Any

from fissix.fixer_base import BaseFix
from fissix.fixer_util import Call, Comma, Name
from fissix.pygram import python_symbols as syms

from pai_train.pai.py2_division import NAME, NAME_IN_PLACE


class FixPy2Fixer(BaseFix):  # type: ignore[misc]
    """Turns `a * b / c` into `py2_div(a * b, c)`, and `a /= b` into `a = py2_idiv(a, b)`."""

    BM_compatible = False

    def match(self, node: Any) -> bool:
        """Tells whether a node divides."""
        if node.type == syms.term:
            return any(str(one).strip() == "/" for one in node.children[1::2])
        return node.type == syms.expr_stmt and len(node.children) == 3 and str(node.children[1]).strip() == "/="

    def transform(self, node: Any, results: Any) -> Any:
        """Returns the node in whose place it stands."""
        from fissix.pytree import Node

        if node.type == syms.expr_stmt:
            target, _, value = (one.clone() for one in node.children)
            again = target.clone()
            again.prefix, value.prefix = "", " "
            call = Call(Name(NAME_IN_PLACE), [again, Comma(), value])
            call.prefix = " "
            return Node(syms.expr_stmt, [target, Name("=", prefix=" "), call])
        children = [one.clone() for one in node.children]
        prefix, done = node.prefix, [children[0]]
        for operator, right in zip(children[1::2], children[2::2], strict=True):
            if str(operator).strip() != "/":
                done += [operator, right]
                continue
            left = done[0] if len(done) == 1 else Node(syms.term, done)
            left.prefix, right.prefix = "", " "
            done = [Call(Name(NAME), [left, Comma(), right])]
        made = done[0] if len(done) == 1 else Node(syms.term, done)
        made.prefix = prefix
        return made
