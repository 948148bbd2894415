"""Tokens of MaxCompute SQL and a cursor over them, shared by the parsers of types and of statements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_NAME_BYTES = 128
_MAX_SHOWN = 40
_MAX_DIGITS = 9
_DIGITS = "0123456789"
_NUMBER_SUFFIXES = ("", "L", "S", "Y", "BD")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "Z": "\x1a", "0": "\0"}
_UNESCAPES = {value: f"\\{name}" for name, value in _ESCAPES.items() if name != "0"} | {"\\": "\\\\", "'": "\\'"}

Kind = Literal["word", "name", "string", "number", "symbol", "end"]


class SyntaxFault(ValueError):
    """Text that is not in the grammar, or asks for what is not supported.

    Attributes:
        line: Line of the offending token, from 1.
        column: Its first character in that line, from 1.
        message: What is wrong, without the position.
    """

    def __init__(self, message: str, line: int, column: int) -> None:
        super().__init__(message, line, column)
        self.message, self.line, self.column = message, line, column

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.message}"


@dataclass(frozen=True)
class Token:
    """A piece of text with its position.

    Attributes:
        kind: A word may be a keyword; a name was written in backquotes and never is one.
        text: As written, for messages.
        value: Words and numbers as written; names and strings without quotes and escapes.
        line: From 1.
        column: From 1.
    """

    kind: Kind
    text: str
    value: str
    line: int
    column: int

    @property
    def keyword(self) -> str:
        """The word in upper case, or '' for what cannot be a keyword."""
        # upper() maps letters such as ı and ſ to ASCII, which would make keywords of words that are none.
        return self.value.upper() if self.kind == "word" and self.value.isascii() else ""

    def __str__(self) -> str:
        if self.kind == "end":
            return "the end of the text"
        return repr(self.text if len(self.text) <= _MAX_SHOWN else f"{self.text[:_MAX_SHOWN]}…")


def is_word(text: str) -> bool:
    """Tells whether a column can be called this: letters of any script, digits and '_', at most 128 bytes."""
    return bool(text) and f"_{text}".isidentifier() and len(text.encode()) <= MAX_NAME_BYTES


def is_name(text: str) -> bool:
    """Tells whether a table or project can be called this: a word that does not begin with a digit."""
    return is_word(text) and text.isidentifier()


def quote_text(text: str) -> str:
    """Returns the SQL string that means this text."""
    return "'" + "".join(_UNESCAPES.get(char, char) for char in text) + "'"


def quote_name(name: str) -> str:
    """Returns the name in backquotes, as every position of the grammar takes it."""
    return f"`{name}`"


class Cursor:
    """A position in a text's tokens, and the questions that parsers ask there."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokenize(text))
        self._at = 0

    def peek(self, ahead: int = 0) -> Token:
        """Returns a token without moving; past the last one, the end."""
        return self._tokens[min(self._at + ahead, len(self._tokens) - 1)]

    def take(self) -> Token:
        """Returns the token here and moves past it."""
        token = self.peek()
        self._at += 1
        return token

    def sees(self, *words: str) -> bool:
        """Tells whether these keywords come next, in this order."""
        return all(self.peek(ahead).keyword == word for ahead, word in enumerate(words))

    def accept(self, *words: str) -> bool:
        """Moves past these keywords when all of them come next."""
        if not self.sees(*words):
            return False
        self._at += len(words)
        return True

    def expect(self, *words: str) -> None:
        """Moves past these keywords, one after the other.

        Raises:
            SyntaxFault: One of them is missing.
        """
        for word in words:
            if not self.accept(word):
                self.expected(word)

    def sees_symbol(self, symbol: str) -> bool:
        """Tells whether this character comes next."""
        token = self.peek()
        return token.kind == "symbol" and token.value == symbol

    def accept_symbol(self, symbol: str) -> bool:
        """Moves past this character when it comes next."""
        found = self.sees_symbol(symbol)
        self._at += found
        return found

    def expect_symbol(self, symbol: str, wanted: str | None = None) -> None:
        """Moves past this character.

        Raises:
            SyntaxFault: Something else is here.
        """
        if not self.accept_symbol(symbol):
            self.expected(wanted or repr(symbol))

    def integer(self, wanted: str) -> int:
        """Takes a number without sign or fraction.

        Raises:
            SyntaxFault: Something else is here.
        """
        token = self.peek()
        if token.kind != "number" or not token.value.isdigit() or len(token.value) > _MAX_DIGITS:
            self.expected(wanted)
        self._at += 1
        return int(token.value)

    def string(self, wanted: str) -> str:
        """Takes a string and returns what it means.

        Raises:
            SyntaxFault: Something else is here.
        """
        if self.peek().kind != "string":
            self.expected(wanted)
        return self.take().value

    def expected(self, wanted: str) -> NoReturn:
        """Raises a SyntaxFault that names what should be here and what is."""
        self.fault(f"expected {wanted}, got {self.peek()}", self.peek())

    def fault(self, message: str, token: Token) -> NoReturn:
        """Raises a SyntaxFault at a token."""
        raise SyntaxFault(message, token.line, token.column)


def _tokenize(text: str) -> Iterator[Token]:
    scanner = _Scanner(text)
    while scanner.skip_blanks():
        yield scanner.token()
    yield Token("end", "", "", *scanner.position(len(text)))


class _Scanner:
    """Cuts a text into tokens."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self._line, self._line_start, self._counted = 1, 0, 0

    def position(self, at: int) -> tuple[int, int]:
        """Returns line and column of an offset; offsets never decrease, so that a text is counted once."""
        self._line += self.text.count("\n", self._counted, at)
        self._line_start = max(self._line_start, self.text.rfind("\n", self._counted, at) + 1)
        self._counted = at
        return self._line, at - self._line_start + 1

    def fault(self, message: str, at: int) -> NoReturn:
        raise SyntaxFault(message, *self.position(at))

    def skip_blanks(self) -> bool:
        """Moves past white space and comments; tells whether anything follows."""
        while self.at < len(self.text):
            if self.text[self.at].isspace() or self.text[self.at] == "\ufeff":
                self.at += 1
            elif self.text.startswith("--", self.at):
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end + 1
            elif self.text.startswith("/*", self.at):
                end = self.text.find("*/", self.at + 2)
                if end < 0:
                    self.fault("a comment that begins with /* does not end", self.at)
                self.at = end + 2
            else:
                return True
        return False

    def token(self) -> Token:
        start, char = self.at, self.text[self.at]
        line, column = self.position(start)
        kind: Kind
        if char.isidentifier():
            kind, value = "word", self._word()
        elif char in _DIGITS:
            kind, value = "number", self._number()
        elif char == "`":
            kind, value = "name", self._name()
        elif char in "'\"":
            kind, value = "string", self._string(char)
        else:
            kind, value = "symbol", char
            self.at += 1
        return Token(kind, self.text[start : self.at], value, line, column)

    def _word(self) -> str:
        start = self.at
        while self.at < len(self.text) and f"_{self.text[self.at]}".isidentifier():
            self.at += 1
        return self.text[start : self.at]

    def _digits(self) -> None:
        while self.at < len(self.text) and self.text[self.at] in _DIGITS:
            self.at += 1

    def _number(self) -> str:
        start = self.at
        self._digits()
        if self.text[self.at : self.at + 1] == "." and self.text[self.at + 1 : self.at + 2] in tuple(_DIGITS):
            self.at += 1
            self._digits()
        if self.text[self.at : self.at + 1] in ("e", "E"):
            sign = self.text[self.at + 1 : self.at + 2] in ("+", "-")
            if self.text[self.at + 1 + sign : self.at + 2 + sign] in tuple(_DIGITS):
                self.at += 1 + sign
                self._digits()
        if self._word().upper() not in _NUMBER_SUFFIXES:
            word = self.text[start : self.at]
            self.fault(f"{word[:_MAX_SHOWN]!r} begins with a digit; write such a name in backquotes", start)
        return self.text[start : self.at]

    def _name(self) -> str:
        start = self.at
        end = self.text.find("`", start + 1)
        if end < 0 or "\n" in self.text[start:end]:
            self.fault("a name in backquotes does not end in its line", start)
        if end == start + 1:
            self.fault("a name in backquotes is empty", start)
        self.at = end + 1
        return self.text[start + 1 : end]

    def _string(self, quote: str) -> str:
        start = self.at
        self.at += 1
        parts: list[str] = []
        while (char := self.text[self.at : self.at + 1]) != quote:
            if not char or self.at + 1 == len(self.text):
                self.fault(f"a string that begins with {quote} does not end", start)
            parts.append(self._escape() if char == "\\" else char)
            self.at += char != "\\"
        self.at += 1
        if self.text[self.at : self.at + 1] == quote:
            self.fault(f"a quote inside a string is written \\{quote}, not {quote * 2}", self.at - 1)
        try:
            # \ud83d\ude00 is one character; half of such a pair is none.
            return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise SyntaxFault("a string holds half of a surrogate pair", *self.position(start)) from None

    def _escape(self) -> str:
        code = self.text[self.at + 2 : self.at + 6]
        if self.text[self.at + 1] == "u" and len(code) == 4 and all(char in "0123456789abcdefABCDEF" for char in code):
            self.at += 6
            return chr(int(code, 16))
        octal = self.text[self.at + 1 : self.at + 4]
        if len(octal) == 3 and octal[0] in "0123" and all(char in "01234567" for char in octal):
            self.at += 4
            return chr(int(octal, 8))
        char = self.text[self.at + 1]
        self.at += 2
        return _ESCAPES.get(char, char)
