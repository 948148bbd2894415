"""Keeps secrets out of what is shown or written: values of the environment, shapes, and what was told to hide."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import traceback
import warnings
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, TextIO
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

MASK = "***"
SHORTEST_VARIABLE = 8
"""Values of environment variables that are shorter are not masked: they would take words out of every text."""
SHORTEST_HIDDEN = 4

_WORD_ENDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[-.\s]+")
# A name in lower case, its words joined by `_`.
_NAMES = re.compile(
    r"secret(?!ar)|passw|passphrase|(?:^|_)pwd$|credential"
    r"|(?:access|account|api|private|shared|signing|encryption|auth|master)_?key"
    r"|(?:access|account|api|private|shared|secret|auth|bearer|session|security|refresh|sas|oauth|id|service)_?tokens?(?:_|$)"
    r"|(?:^|_)token$|(?:^|_)sas(?:_|$)|conn(?:ection)?_?str(?:ing)?(?:_|$)|(?:^|_)access_?id$|(?:^|_)authorization$"
)
# What such a name says about a secret without being one; the last group are tokens of a language.
_ABOUT = re.compile(
    r"_(?:name|names|file|path|dir|folder|column|columns|col|cols|field|type|types|url|uri|env|var|variable|count|len"
    r"|length|dim|size|ttl|expiry|expires|expiration|profile|arn|scope|endpoint|host|region|format|version|index"
    r"|encoding|sock|enabled)$"
    r"|(?:^|_)(?:pad|padding|mask|unk|unknown|cls|sep|bos|eos|sos|oov|start|end|stop|special|separator|next|prev|blank"
    r"|max|min|num|per|first|last|begin|image|space|newline|new|start_of_text|end_of_text)_tokens?(?:_|$)"
)
_PLACES = {"google_application_credentials", "pwd", "oldpwd"}

_OPEN = r"(?!\$\{|\*\*\*)"
_VALUE = rf"{_OPEN}[^\s&;,\"'<>]+"
_QUERY_NAMES = (
    r"access_key_id|access_key_secret|secret_access_key|security_token|session_token|sas_token|account_key"
    r"|x-amz-(?:signature|credential|security-token)|x-goog-(?:signature|credential)|awsaccesskeyid"
    r"|x-oss-(?:signature|credential|security-token)|ossaccesskeyid|security-token|sig|signature"
)
# In front of these a query has begun for sure: `key=value` is how we speak of overrides.
_SHORT_QUERY_NAMES = (
    r"key|ak|sk|token|password|passwd|pwd|secret|accesskey(?:id|secret)?|secret_?(?:access_?)?key|accountkey"
    r"|securitytoken|sessiontoken|apikey|api_key|access_?token|auth_?token|client_?secret"
)
# What it is in words, a text that it cannot do without, and its pattern: `keep` stays, what follows it is masked.
_SHAPES = (
    (
        "a private key",
        "-----BEGIN",
        r"(?P<keep>)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    ),
    ("a private key", '"private_key"', rf"(?P<keep>\"private_key\"\s*:\s*\"){_OPEN}[^\"]+"),
    ("an Azure key", "=", rf"(?P<keep>(?i:AccountKey|SharedAccessKey)=){_VALUE}"),
    ("an Azure signature", "=", rf"(?P<keep>(?i:SharedAccessSignature)=){_OPEN}[^\s;\"']+"),
    (
        "a key in front of @",
        "@",
        r"(?P<keep>://)(?!\d+[/\s])[^/\s:@?#\"'<>\[]{0,256}:(?!\d+/)[^\s@\"'<>]{1,256}(?=@)",
    ),
    ("a key in a query", "=", rf"(?P<keep>(?:^|[?&;])(?i:{_QUERY_NAMES})=){_VALUE}"),
    ("a key in a query", "=", rf"(?P<keep>[?&;](?i:{_SHORT_QUERY_NAMES})=){_VALUE}"),
    ("a key in an address", "=", rf"(?P<keep>(?:[\x01\x02]|\\x0[12])(?:id|key|token)=){_OPEN}[^\x01\x02\\/\s]+"),
    (
        "a key in an address",
        "/##/",
        rf"(?P<keep>/##/(?:id|key|token)=|/#/(?:id|key|token)=(?=[^\s/]+/##/)){_OPEN}[^\s/]+",
    ),
    ("an AWS access key id", "IA", r"(?P<keep>)A(?:KIA|SIA)(?<![A-Za-z0-9]....)[A-Z0-9]{16}(?![A-Za-z0-9])"),
    (
        "an Alibaba Cloud access key id",
        "LTAI",
        r"(?P<keep>)LTAI(?<![A-Za-z0-9]....)[A-Za-z0-9]{12,30}(?![A-Za-z0-9])",
    ),
    (
        "an Alibaba Cloud access key id",
        "STS.",
        r"(?P<keep>)STS\.(?<![A-Za-z0-9]....)[A-Za-z0-9]{20,40}(?![A-Za-z0-9])",
    ),
    ("a signed token", "eyJ", r"(?P<keep>)eyJ(?<![\w-]...)[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]*"),
    ("a bearer token", "earer ", r"(?P<keep>[Bb]earer )(?=\S*\d)[\w.~+/=-]{20,}"),
    ("a service's token", "gh", r"(?P<keep>)gh[pousr]_(?<!\w....)[A-Za-z0-9]{36,}"),
    ("a service's token", "AIza", r"(?P<keep>)AIza(?<![\w-]....)[\w-]{35}(?![\w-])"),
)
_INSIDE = re.compile(r"(?i:AccountKey|SharedAccessKey|SharedAccessSignature|sig)=([^;&\s]+)")

_hidden: set[str] = set()


@cache
def _shape(pattern: str) -> re.Pattern[str]:
    """Compiles what most commands never need."""
    return re.compile(pattern, re.DOTALL)


def hide(value: str | None) -> None:
    """Has a value masked in every text from now on; one shorter than 4 characters is not, for it is in every text."""
    if value is not None and len(value) >= SHORTEST_HIDDEN:
        _hidden.add(value)


def redact(text: str) -> str:
    """Returns a text with `***` in place of every secret that is known, or looks like one.

    Known are the values of this process's environment variables whose names say so, and what `hide` was told.
    """
    return redact_each([text])[0]


def redact_each(texts: Iterable[str]) -> list[str]:
    """Returns texts as `redact` does, and looks through the environment once for all of them."""
    pattern = _pattern(frozenset(secret_variables().values()), frozenset(_hidden))
    return [_redacted(text, pattern) for text in texts]


def _redacted(text: str, pattern: re.Pattern[str] | None) -> str:
    if pattern is not None:
        text = pattern.sub(MASK, text)
    for _, part, shape in _SHAPES:
        if part in text:
            text = _shape(shape).sub(rf"\g<keep>{MASK}", text)
    return text


def redacted(tree: Any) -> Any:
    """Returns dicts, lists and scalars with every text redacted, names included."""
    if isinstance(tree, str):
        return redact(tree)
    if isinstance(tree, dict):
        return {redact(name) if isinstance(name, str) else name: redacted(value) for name, value in tree.items()}
    return [redacted(value) for value in tree] if isinstance(tree, list | tuple) else tree


def secret_shape(text: str) -> str | None:
    """Says what secret a text holds by its shape, such as `an AWS access key id`; None when it does not."""
    return next((words for words, part, shape in _SHAPES if part in text and _shape(shape).search(text)), None)


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tells whether the name of a key or an environment variable says that its value is a secret."""
    plain = _WORD_ENDS.sub("_", name).lower().strip("_")
    if plain in _PLACES:
        return False
    return _NAMES.search(plain) is not None and _ABOUT.search(plain) is None


def secret_variables() -> dict[str, str]:
    """Returns the environment variables that hold a secret, by their names."""
    found = {name: os.environ.get(name, "") for name in os.environ if is_secret_name(name)}
    return {name: value for name, value in found.items() if len(value) >= SHORTEST_VARIABLE}


class Redacting(logging.Formatter):
    """Formats log records as its base does, tracebacks included, and redacts the whole."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def guard() -> None:
    """Redacts what Python itself writes to standard error from now on: uncaught tracebacks, warnings, lost logs."""

    def show(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None, lead: str = ""
    ) -> None:
        if sys.stderr is not None:
            sys.stderr.write(redact(lead + "".join(traceback.format_exception(kind, error, trace))))

    def of_thread(given: threading.ExceptHookArgs) -> None:
        if given.exc_type is not SystemExit:
            name = given.thread.name if given.thread is not None else "unknown"
            show(given.exc_type, given.exc_value, given.exc_traceback, f"Exception in thread {name}:\n")

    def unraisable(given: sys.UnraisableHookArgs) -> None:
        lead = f"{given.err_msg or 'Exception ignored in'}: {given.object!r}\n"
        show(given.exc_type, given.exc_value, given.exc_traceback, lead)

    def warned(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        stream = sys.stderr if file is None else file
        if stream is not None:
            stream.write(redact(warnings.formatwarning(message, category, filename, lineno, line)))

    sys.excepthook = show
    warnings.showwarning = warned
    threading.excepthook = of_thread
    sys.unraisablehook = unraisable
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(Redacting())


@lru_cache(maxsize=8)
def _pattern(variables: frozenset[str], hidden: frozenset[str]) -> re.Pattern[str] | None:
    """Returns what finds values, longest first, as they are and as URLs and quoted texts write them."""
    found: set[str] = set()
    for value in variables | hidden:
        found |= {value, *(inner for inner in _INSIDE.findall(value) if len(inner) >= SHORTEST_VARIABLE)}
    for value in tuple(found):
        found |= {quote(value, safe=""), quote(value), quote_plus(value)}
        found |= {repr(value)[1:-1], json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    if not found:
        return None
    return re.compile("|".join(re.escape(value) for value in sorted(found, key=lambda one: (-len(one), one))))
