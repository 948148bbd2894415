"""Characters of PAI statements: blanks, comments, quotes and values; says where each fault stands."""

from __future__ import annotations

import re

from pai_train.errors import Fault

_BLANKS = re.compile(r"(?:\s|\\(?=\r?\n))+")
_SPACES = re.compile(r"[ \t]*(?:\\\r?\n[ \t]*)?")
_COMMENT = re.compile(r"(?:--|#)[^\n]*")
_TRAILING = re.compile(r"(?:--(?![\w-])|--(?=[^\x00-\x7f])|-{3,}|#)[^\n]*")
"""A comment behind an argument; `--name` there is a flag of somebody who forgot the quotes."""
_BLOCK = re.compile(r"/\*.*?\*/", re.DOTALL)
_BLOCK_BEGINS = "/*"
_WORD = re.compile(r"[^\s;]+")
_CURLY = "“”„‘’‚«»＂＇"
_ENDS = re.compile(r"[\s;]|\Z")
_QUOTED_ENDS = re.compile(r"[\s;]|\Z|/\*|--|#")

_QUOTES = "straight quotes, ' or \""


class NotRead(Exception):
    """A place that cannot be read on from."""

    def __init__(self, at: int, what: str, *, wanted: str | None = None, todo: str | None = None) -> None:
        super().__init__(what)
        self.at, self.what, self.wanted, self.todo = at, what, wanted, todo


class Scanner:
    """A position in a text.

    Args:
        text: The text.
        source: What it is called: a file's name, or `standard input`.
    """

    def __init__(self, text: str, source: str) -> None:
        self.text, self.source, self.at = text, source, 0
        self.fresh = True  # nothing but blanks stands between here and the line's beginning, or a `;`

    @property
    def ended(self) -> bool:
        """Whether nothing is left."""
        return self.at >= len(self.text)

    def place(self, at: int, name: str = "") -> str:
        """Returns `source:line:column`, with a name behind it."""
        line = self.text.count("\n", 0, at) + 1
        column = at - (self.text.rfind("\n", 0, at) + 1) + 1
        return f"{self.source}:{line}:{column}{' ' if name else ''}{name}"

    def fault(self, error: NotRead) -> Fault:
        """Returns the fault that an error is."""
        return Fault(error.what, where=self.place(error.at), wanted=error.wanted, todo=error.todo)

    def skip_blanks(self) -> list[str]:
        """Moves past blanks and comments, and returns those comments that go to the end of their line.

        Raises:
            NotRead: A comment is not closed.
        """
        self.at, self.fresh, lines = self._behind_blanks(self.at, self.fresh)
        return lines

    def _behind_blanks(self, at: int, fresh: bool) -> tuple[int, bool, list[str]]:
        lines: list[str] = []
        while at < len(self.text):
            blanks = _BLANKS.match(self.text, at)
            if blanks is not None:
                fresh = fresh or "\n" in blanks[0]
                at = blanks.end()
                continue
            behind, is_line = self._behind_comment(at, fresh=fresh)
            if behind == at:
                break
            lines += [self.text[at:behind]] if is_line else []
            at = behind
        return at, fresh, lines

    def _behind_comment(self, at: int, *, fresh: bool) -> tuple[int, bool]:
        """Returns the position behind a comment that begins at `at`, if one does, and whether it ends with its line."""
        if self.text.startswith(_BLOCK_BEGINS, at):
            found = _BLOCK.match(self.text, at)
            if found is None:
                raise NotRead(at, "a comment is not closed", wanted="*/ at its end")
            return found.end(), False
        found = (_COMMENT if fresh else _TRAILING).match(self.text, at)
        return (at, False) if found is None else (found.end(), True)

    def accept_end(self) -> bool:
        """Moves past a `;` when one comes next; tells whether a statement ends here."""
        if not self.ended and self.text[self.at] == ";":
            self.at += 1
            self.fresh = True
            return True
        return self.ended

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Moves past what a pattern matches here."""
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
            self.fresh = False
        return found

    def word(self) -> str:
        """Returns what stands here up to a blank or a `;`, and moves past it."""
        found = self.match(_WORD)
        return "" if found is None else found[0]

    def rest(self) -> str:
        """Returns what stands here up to a `;` outside of quotes and comments, without comments, and moves there."""
        pieces, begin = [], self.at
        while not self.ended and self.text[self.at] != ";":
            if self.text[self.at] in "'\"":
                self.at = self._closed(self.at)
                continue
            behind = self.at
            if self.at == 0 or self.text[self.at - 1].isspace():
                before = self.text[self.text.rfind("\n", 0, self.at) + 1 : self.at]
                behind, _ = self._behind_comment(self.at, fresh=not before.strip())
            if behind > self.at:
                pieces.append(self.text[begin : self.at])
                self.at = begin = behind
            else:
                self.at += 1
        return "".join([*pieces, self.text[begin : self.at]]).strip()

    def skip_statement(self, at: int) -> None:
        """Moves from a fault behind the end of its statement."""
        self.at = at
        try:
            self.rest()
        except NotRead as error:
            # What is never closed is the fault, or one more of a statement that has one already.
            end = -1 if self.text.startswith(_BLOCK_BEGINS, error.at) else self.text.find(";", error.at + 1)
            self.at = len(self.text) if end < 0 else end
        self.accept_end()

    def value(self) -> str:
        """Reads a value: quoted strings joined by commas, JSON in braces, or a word in which quotes protect blanks.

        Raises:
            NotRead: A quote or a comment is not closed, or a quote is followed by what cannot follow.
        """
        found = _SPACES.match(self.text, self.at)
        begin = self.at if found is None else found.end()
        if begin > self.at or self.text.startswith(_BLOCK_BEGINS, begin):
            behind, _ = self._behind_comment(begin, fresh=False)
            if behind > begin:
                self.at = behind
                return self.value()
        broken = _BLANKS.match(self.text, self.at)
        if broken is not None and self.text[broken.end() : broken.end() + 1] in ("'", '"'):
            begin = broken.end()
        first = self.text[begin : begin + 1]
        if first and first in _CURLY:
            raise NotRead(begin, f"{first} is not a quote here", wanted=_QUOTES)
        if first in ("'", '"'):
            return self._quoted(begin)
        if first == "{":
            return self._json(begin)
        if first == "-" and begin > self.at:
            return ""
        return self._bare(begin)

    def _quoted(self, at: int) -> str:
        pieces = []
        while True:
            end = self._closed(at)
            pieces.append(unescaped(self.text[at:end]))
            following = self._behind_blanks(end + 1, False)[0] if self.text[end : end + 1] == "," else len(self.text)
            if self.text[following : following + 1] not in ("'", '"'):
                break
            at = following
        if _QUOTED_ENDS.match(self.text, end) is None:
            what = f"a quoted value is followed by {self.text[end : end + 12].split(chr(10))[0]!r}"
            raise NotRead(end, what, wanted="a blank", todo='a quote inside a value is written \\"')
        self.at = end
        return ",".join(pieces)

    def _json(self, begin: int) -> str:
        pieces, opened, depth, at = [], begin, 0, begin
        while at < len(self.text):
            char = self.text[at]
            if char in "'\"":
                at = self._closed(at)
                continue
            behind, _ = self._behind_comment(at, fresh=True)
            if behind > at:
                pieces.append(self.text[begin:at])
                at = begin = behind
                continue
            depth += (char == "{") - (char == "}")
            at += 1
            if depth == 0:
                self.at = at
                return "".join([*pieces, self.text[begin:at]])
        raise NotRead(opened, "{ is not closed", wanted="}")

    def _bare(self, begin: int) -> str:
        at = begin
        while _ENDS.match(self.text, at) is None:
            char = self.text[at]
            if char in _CURLY:
                raise NotRead(at, f"{char} is not a quote here", wanted=_QUOTES)
            at = self._closed(at) if char in "'\"" else at + 1
        self.at = at
        return self.text[begin:at]

    def _closed(self, at: int) -> int:
        """Returns the position behind the quoted string that begins at `at`."""
        quote, end = self.text[at], at + 1
        while end < len(self.text):
            if self.text[end] == "\\" and self.text[end + 1 : end + 2] in (quote, "\\"):
                end += 2
            elif self.text[end] == quote:
                return end + 1
            else:
                end += 1
        raise NotRead(at, "a quote is not closed", wanted=f"{quote} at the end of the value")


def unescaped(text: str) -> str:
    """Returns what a quoted string means: a backslash escapes its quote and itself, and stands for itself elsewhere."""
    quote = text[0]
    return re.sub(rf"\\([\\{quote}])", r"\1", text[1:-1])


def quote(value: str) -> str:
    r"""Returns a value in double quotes, as a statement takes it: `a"b` as `"a\"b"`."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
