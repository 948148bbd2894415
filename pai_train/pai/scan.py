"""Characters of PAI statements: blanks, comments, quotes and values; says where each fault stands."""

from __future__ import annotations

import re

from pai_train.errors import Fault

_BLANKS = re.compile(r"(?:\s|\\(?=\r?\n))+")
_SPACES = re.compile(r"[ \t]*(?:\\\r?\n[ \t]*)?")
_COMMENT = re.compile(r"(?:--|#)[^\n]*")
_WORD = re.compile(r"[^\s;]+")
_NEXT_QUOTED = re.compile(r",\s*(?=[\"'])")
_CURLY = "“”„‘’‚«»＂＇"
_ENDS = re.compile(r"[\s;]|\Z")

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

    def skip_blanks(self) -> None:
        """Moves past blanks, and past comments, which begin a line or follow a `;`."""
        while not self.ended:
            blanks = _BLANKS.match(self.text, self.at)
            if blanks is not None:
                self.fresh = self.fresh or "\n" in blanks[0]
                self.at = blanks.end()
            elif self.fresh and (comment := _COMMENT.match(self.text, self.at)) is not None:
                self.at = comment.end()
            else:
                return

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
        """Returns what stands here up to a `;` outside of quotes, and moves there."""
        begin = self.at
        while not self.ended and self.text[self.at] != ";":
            self.at = self._closed(self.at) if self.text[self.at] in "'\"" else self.at + 1
        return self.text[begin : self.at].strip()

    def skip_statement(self, at: int) -> None:
        """Moves from a fault behind the end of its statement."""
        self.at = at
        try:
            self.rest()
        except NotRead as error:
            # The quote that is never closed is the fault, or one more of a statement that has one already.
            end = self.text.find(";", error.at + 1)
            self.at = len(self.text) if end < 0 else end
        self.accept_end()

    def value(self) -> str:
        """Reads a value: quoted strings joined by commas, JSON in braces, or a word in which quotes protect blanks.

        Raises:
            NotRead: A quote is not closed, or is followed by what cannot follow.
        """
        found = _SPACES.match(self.text, self.at)
        begin = self.at if found is None else found.end()
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
            following = _NEXT_QUOTED.match(self.text, end)
            if following is None:
                break
            at = following.end()
        if _ENDS.match(self.text, end) is None:
            what = f"a quoted value is followed by {self.text[end : end + 12].split(chr(10))[0]!r}"
            raise NotRead(end, what, wanted="a blank", todo='a quote inside a value is written \\"')
        self.at = end
        return ",".join(pieces)

    def _json(self, begin: int) -> str:
        depth, at = 0, begin
        while at < len(self.text):
            char = self.text[at]
            if char in "'\"":
                at = self._closed(at)
                continue
            depth += (char == "{") - (char == "}")
            at += 1
            if depth == 0:
                self.at = at
                return self.text[begin:at]
        raise NotRead(begin, "{ is not closed", wanted="}")

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
