"""The address of a catalog of tables: which kinds there are, and what is wrong with one that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from pai_train.errors import Fault, nearest
from pai_train.redact import secret_shape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from urllib.parse import SplitResult

KEY = "tables.catalog"
FORMS: Mapping[str, str] = {
    "http": "http://host:port/path",
    "https": "https://host/path",
    "postgresql": "postgresql://user@host:5432/database",
    "sqlite": "sqlite:///folder/catalog.db",
}
"""How the address of each kind of catalog looks."""
SECRETS: Mapping[str, str] = {
    "http": "PAI_TRAIN_CATALOG_TOKEN, or PAI_TRAIN_CATALOG_CREDENTIAL=client_id:secret, in the environment",
    "https": "PAI_TRAIN_CATALOG_TOKEN, or PAI_TRAIN_CATALOG_CREDENTIAL=client_id:secret, in the environment",
    "postgresql": "PGPASSWORD in the environment, or ~/.pgpass (PGPASSFILE)",
}
"""Where the secret of each kind is taken from."""

_IN_QUERIES = {
    "http": ("warehouse",),
    "https": ("warehouse",),
    "postgresql": ("host", "sslmode", "sslrootcert", "sslcert", "sslkey", "target_session_attrs"),
    "sqlite": (),
}


def catalog_fault(text: str) -> Fault | None:
    """Returns what is wrong with an address, or None; the text itself is told only where it holds no secret."""
    scheme, _, _ = text.partition("://")
    if scheme not in FORMS:
        close = nearest(scheme, FORMS) if "://" in text else None
        known = f"null for the store itself, {', '.join(FORMS.values())}"
        todo = f"did you mean {FORMS[close]}?" if close is not None else None
        return Fault("not the address of a catalog", KEY, got=text, wanted=known, todo=todo)
    if secret_shape(text) is not None:
        todo = f"leave it out; it is taken from {SECRETS.get(scheme, 'the environment')}"
        return Fault("holds a secret in plain text", KEY, todo=todo)
    try:
        parts = urlsplit(text)
        wrong = _wrong(parts)
    except ValueError as error:
        wrong = str(error)
    if wrong is None:
        return None
    return Fault(f"not the address of a catalog: {wrong}", KEY, got=text, wanted=FORMS[scheme])


def _wrong(parts: SplitResult) -> str | None:
    queries = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _IN_QUERIES[parts.scheme]
    unknown = [name for name in queries if name not in known]
    if unknown:
        return f"{unknown[0]!r} is not one of {', '.join(known)}" if known else "it has a query"
    if parts.fragment:
        return "it has a fragment"
    if parts.scheme == "sqlite":
        if parts.netloc:
            return "three slashes come before the file's name, four before an absolute one"
        return "it names no file" if parts.path.strip("/") in ("", ":memory:") else None
    if not parts.hostname and not queries.get("host"):
        return "it names no host"
    if parts.port == 0:
        return "0 is no port"
    if parts.scheme == "postgresql":
        return "it names no database" if not parts.path.strip("/") or "/" in parts.path.strip("/") else None
    return "a user has no place in it" if parts.username else None
