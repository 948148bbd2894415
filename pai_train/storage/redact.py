"""The words of a provider's exception without what may be secret in them."""

from __future__ import annotations

import re

from pai_train.redact import redact

_SECRET = re.compile(
    r"signature|authorization|accountkey|sharedaccess|access.?key|secret|credential|token|bearer|passw|\bsig=|header|"
    r"x-amz-|x-oss-|x-ms-|x-goog-|string.?to.?sign",
    re.IGNORECASE,
)
_QUERY = re.compile(r"\?[^\s'\"<>)]*")
_USER = re.compile(r"(\w://)[^/@\s]+@")
_LONGEST = 200


def safe_text(error: BaseException) -> str:
    """Returns the first words of an exception without what may be secret: queries, headers, signatures, keys."""
    text = redact(" ".join(str(error).split()))
    text = _QUERY.sub("", _USER.sub(r"\1", text))
    secret = _SECRET.search(text)
    if secret is not None:
        text = text[: secret.start()].rstrip(" ,;:'\"({[<") + " …"
    text = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return text.strip() if text.strip(" …") else type(error).__name__
