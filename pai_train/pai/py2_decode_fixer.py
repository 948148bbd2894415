"""The fixer, for fissix, of literals that are decoded: a str of Python 2 was bytes."""

from __future__ import annotations

import re
from typing import Any

from fissix.fixer_base import BaseFix
from fissix.fixer_util import Name
from fissix.pgen2 import token
from fissix.pygram import python_symbols as syms

_OURS = re.compile(r"""\(\s*(['"])utf_?-?8\1\s*[,)]""", re.IGNORECASE)


class FixPy2DecodeFixer(BaseFix):  # type: ignore[misc]
    r"""Turns `'\xe4'.decode('utf-8')` into one of `b'\xe4'`, and `'ä'.decode('utf-8')` into `'ä'`."""

    BM_compatible = False
    # Before the fixer of u'…', behind which no literal is known to have been text.
    run_order = 1

    def match(self, node: Any) -> bool:
        """Tells whether a node decodes a literal that has no prefix."""
        return (
            node.type == syms.power
            and len(node.children) > 2
            and node.children[0].type == token.STRING
            and node.children[0].value[0] in "'\""
            and str(node.children[1]).replace(" ", "") == ".decode"
            and node.children[2].type == syms.trailer
            and node.children[2].children[0].value == "("
            and self._is_certain(node.children[0].value, str(node.children[2]))
        )

    def _is_certain(self, literal: str, called: str) -> bool:
        # Sources are read as UTF-8: letters of theirs are what they look like, unless escapes stand for bytes beside.
        return literal.isascii() or (_OURS.match(called) is not None and "\\" not in literal)

    def transform(self, node: Any, results: Any) -> None:
        """Changes the node in its place."""
        literal = node.children[0]
        if literal.value.isascii():
            literal.replace(Name(f"b{literal.value}", prefix=literal.prefix))
            return
        for called in node.children[1:3]:
            called.remove()
