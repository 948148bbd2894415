"""Text in other encodings than UTF-8, turned into UTF-8 in such a way that what is no text is found again."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from pai_train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Bytes that cannot be decoded become lone surrogates, U+DC80 to U+DCFF, which no valid UTF-8 holds.
_UNDECODABLE = re.compile(rb"\xed[\xb2\xb3][\x80-\xbf]")
_BOM = "\ufeff"
_ESCAPE = "pai_train-escape"


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Lets ASCII bytes through, so that lines stay lines, and makes lone surrogates of the others."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    data = error.object[error.start : error.end]
    return "".join(chr(byte if byte < 0x80 else 0xDC00 + byte) for byte in data), error.end


codecs.register_error(_ESCAPE, _escape)


class Encoding:
    """How text is written.

    Args:
        name: A name that Python knows, such as gbk.

    Raises:
        DataError: There is no such encoding of text.
    """

    def __init__(self, name: str = "utf-8") -> None:
        try:
            info = codecs.lookup(name)
            newline = "\n".encode(name)
        except (LookupError, TypeError, UnicodeError):
            raise DataError(
                "there is no such encoding", got=name, wanted="a name such as utf-8, gbk, gb18030, latin-1 or utf-16"
            ) from None
        self.name = "utf-8" if info.name == "utf-8-sig" else info.name
        self.is_utf8 = self.name in ("utf-8", "ascii")
        # Such text can be cut at any newline byte; in others that byte may be half a character, or change the rest.
        stateful = self.name.startswith(("utf-16", "utf-32", "utf-7", "iso2022", "hz", "punycode", "idna"))
        self.cuts_anywhere = newline == b"\n" and not stateful

    def to_utf8(self, raw: bytes) -> bytes:
        """Turns lines into UTF-8; what cannot be decoded becomes bytes that are no UTF-8."""
        if self.is_utf8:
            return raw
        try:
            return raw.decode(self.name).encode()
        except UnicodeError:
            text = raw.decode(self.name, _ESCAPE)
            return text.encode("utf-8", "surrogatepass")

    def stream(self, pieces: Iterable[bytes], where: str) -> Iterator[bytes]:
        """Turns a stream into UTF-8.

        Raises:
            DataError: Something in text of 16 or 32 bits per character cannot be decoded, so that it has no lines.
        """
        if self.is_utf8:
            yield from pieces
            return
        decoder = codecs.getincrementaldecoder(self.name)(_ESCAPE if self.cuts_anywhere else "strict")
        begun, lines = False, 1
        for data, final in _and_last(pieces):
            try:
                text = decoder.decode(data, final)
            except UnicodeError as error:
                got = f"line {lines} or later: {error}"
                raise DataError(f"the text is not {self.name}", where=where, got=got, todo="correct encoding") from None
            lines += text.count("\n")
            text = text if begun else text.removeprefix(_BOM)
            begun = begun or bool(text)
            yield text.encode("utf-8", "surrogatepass")

    def length(self, text: bytes) -> int:
        """Returns how many bytes a piece of UTF-8 text has as it is stored."""
        if self.is_utf8:
            return len(text)
        return len(text.decode("utf-8", "surrogatepass").encode(self.name, "surrogateescape"))


def as_stored(text: bytes) -> bytes:
    """Returns UTF-8 text, from `Encoding.to_utf8`, with the bytes that could not be decoded as they were."""
    return text.decode("utf-8", "surrogatepass").encode("utf-8", "surrogateescape")


def undecodable(text: bytes) -> re.Match[bytes] | None:
    """Returns the first place in UTF-8 text, from `Encoding.to_utf8`, that could not be decoded."""
    return _UNDECODABLE.search(text)


def all_undecodable(text: bytes) -> list[int]:
    """Returns every place in UTF-8 text that could not be decoded."""
    return [match.start() for match in _UNDECODABLE.finditer(text)]


def _and_last(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    for piece in pieces:
        yield piece, False
    yield b"", True
