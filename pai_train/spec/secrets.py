"""Where a configuration holds a secret in plain text: by the name of the key, by the shape of the value."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pai_train.errors import Fault
from pai_train.redact import MASK, hide, is_secret_name, secret_shape, secret_variables
from pai_train.spec import catalog
from pai_train.spec.check import split_key

Parts = tuple[str, ...]

SHORTEST_INSIDE = 16
"""A shorter value of the environment is only found where it is the whole text."""
SHORTEST_MASKED = 4

_STORES = ("storage", "tables", "tracking")
_KEYS_OF_STORES = {"key", "key_id", "ak", "sk", "auth", "id"}
_SECTIONS = ("inputs", "outputs")
_BY_COLUMN = ("columns", "record_defaults")
_MAY_HOLD_ONE = ("model", "params")
# Keys whose values become names of folders and objects, or are sent to a service as they are.
_PLACES = (
    ("storage", "root"), ("storage", "endpoint"), ("storage", "cache"), ("tables", "root"), ("tables", "endpoint"),
    ("tables", "tunnel_endpoint"), ("checkpointDir",),
    ("inputs", "*", "oss"), ("inputs", "*", "table"), ("outputs", "*", "oss"), ("outputs", "*", "table"),
    ("inputs", "*", "image", "labels"), ("stage", "from"), ("stage", "to"), ("tables", "catalog"),
)  # fmt: skip

_INTERPOLATION = re.compile(r"\$\{([^{}$]*)\}")
_ENVIRONMENT = re.compile(r"\$\{\s*oc\.env\s*:\s*['\"]?([^,}'\"\s]+)")
_NOTHING = {"", "null", "None", "''", '""', "???"}
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9]*)://")

_SOURCES = {
    "oss": "OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET in the environment, storage.profile or storage.role_arn",
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment, or storage.profile",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS in the environment, or the login of gcloud",
    "az": "AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME with _ACCOUNT_KEY, in the environment",
    "odps": "ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET in the environment",
    "postgresql": catalog.SECRETS["postgresql"],
}
_OTHER_SPELLINGS = {
    "s3a": "s3",
    "s3n": "s3",
    "gcs": "gs",
    "abfs": "az",
    "abfss": "az",
    "azure": "az",
    "postgres": "postgresql",
}
_ALL_SOURCES = (
    "the environment (OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY,"
    " AZURE_STORAGE_CONNECTION_STRING, GOOGLE_APPLICATION_CREDENTIALS) or storage.profile"
)


@dataclass(frozen=True)
class Literal:
    """A secret that stands in plain text.

    Attributes:
        key: The dotted key that holds it.
        what: What is wrong, in words.
        todo: What to do instead.
        value: The text that holds it; never shown.
    """

    key: str
    what: str
    todo: str
    value: str = field(repr=False)

    def fault(self, where: str | None = None) -> Fault:
        """Returns the fault, at its key where no other place is given."""
        return Fault(self.what, where=self.key if where is None else where, todo=self.todo)


def is_secret_key(key: str) -> bool:
    """Tells whether a dotted key's name says that its value is a secret."""
    return _says_secret(tuple(part for part in split_key(key.lstrip("+~").replace("/", ".").partition("@")[0]) if part))


def literals(value: Any, key: Parts = ()) -> Iterator[Literal]:
    """Finds the secrets in a tree whose interpolations of the environment are still text.

    Numbers and booleans are none, nor is `${oc.env:NAME}` under a key that may hold one; names that the user gives to
    inputs, outputs and columns say nothing about values.

    Args:
        value: A dict, a list or a scalar.
        key: The parts of the key it stands at.
    """
    if isinstance(value, Mapping):
        for name, item in value.items():
            shape = secret_shape(str(name))
            if shape is not None:
                yield _literal(key, f"holds {shape} as the name of a key", str(name))
            else:
                yield from literals(item, (*key, str(name)))
    elif isinstance(value, list | tuple):
        for at, item in enumerate(value):
            yield from literals(item, (*key, str(at)))
    elif isinstance(value, str):
        found = _of_text(key, value)
        if found is not None:
            yield found


def in_places(tree: Any, key: Parts = ()) -> Iterator[Literal]:
    """Finds addresses and folders that hold a secret once the environment has been read.

    Args:
        tree: Values with the environment read.
        key: The parts of the key it stands at.
    """
    if isinstance(tree, Mapping):
        for name, item in tree.items():
            yield from in_places(item, (*key, str(name)))
    elif isinstance(tree, list):
        for at, item in enumerate(tree):
            yield from in_places(item, (*key, str(at)))
    elif isinstance(tree, str) and _is_place(key) and (shape := secret_shape(tree)) is not None:
        yield _literal(key, f"holds {shape}", tree)


def of_environment(text: str) -> str | None:
    """Returns the first variable named as a secret that a text takes from the environment."""
    return next((name for name in _ENVIRONMENT.findall(text) if is_secret_name(name)), None)


def hide_resolved(tree: Any, shown: Any, key: Parts = ()) -> None:
    """Has every value masked that a key named as a secret got from the environment."""
    if isinstance(tree, Mapping) and isinstance(shown, Mapping):
        for name, item in tree.items():
            hide_resolved(item, shown.get(name), (*key, str(name)))
    elif isinstance(tree, list) and isinstance(shown, list):
        for at, (item, text) in enumerate(zip(tree, shown, strict=False)):
            hide_resolved(item, text, (*key, str(at)))
    elif isinstance(tree, str) and tree != shown and _says_secret(key):
        hide(tree)


def without_secrets(tree: Any, key: Parts = ()) -> Any:
    """Returns a tree with null for each text under a key that is named as a secret."""
    if isinstance(tree, Mapping):
        return {name: without_secrets(item, (*key, str(name))) for name, item in tree.items()}
    if isinstance(tree, list):
        return [without_secrets(item, (*key, str(at))) for at, item in enumerate(tree)]
    return None if isinstance(tree, str) and _says_secret(key) else tree


def masked(fault: Fault, values: Sequence[str]) -> Fault:
    """Returns a fault without these values, which another place may have copied."""
    long = sorted((value for value in values if len(value) >= SHORTEST_MASKED), key=len, reverse=True)
    texts = {name: getattr(fault, name) for name in ("what", "where", "got", "wanted", "todo")}
    for value in long:
        texts = {name: text if text is None else text.replace(value, MASK) for name, text in texts.items()}
    return replace(fault, **texts)


def _of_text(key: Parts, text: str) -> Literal | None:
    rest, defaults, refers = _without_interpolations(text)
    shape = secret_shape(rest)
    if shape is not None:
        return _literal(key, f"holds {shape} in plain text", text)
    # What the environment does not give in the end stands there in plain text.
    plain = [rest] if not refers else defaults
    if _says_secret(key) and any(one.strip() not in _NOTHING for one in plain):
        return _literal(key, "holds a secret in plain text", text)
    for name, value in secret_variables().items():
        if rest == value or (len(value) >= SHORTEST_INSIDE and value in rest):
            return _literal(key, f"holds the value of {name} in plain text", text, name)
    taken = of_environment(text)
    if taken is not None and _is_place(key):
        return _literal(key, f"would hold the value of {taken}, which goes into names and logs", text)
    return None


def _without_interpolations(text: str) -> tuple[str, list[str], bool]:
    """Returns a text without its interpolations, their defaults, and whether there were any."""
    defaults: list[str] = []
    refers = False

    def taken(found: re.Match[str]) -> str:
        nonlocal refers
        refers = True
        resolver, colon, arguments = found[1].partition(":")
        if not colon:
            return ""
        _, comma, default = arguments.partition(",")
        literal = default if comma and resolver.strip() in ("oc.env", "oc.select") else ""
        if resolver.strip() not in ("oc.env", "oc.select", "oc.decode", "now", "hydra"):
            literal = arguments
        literal = literal.strip()
        if literal and literal not in _NOTHING:
            defaults.append(literal)
        return literal

    before = None
    while before != text:
        before, text = text, _INTERPOLATION.sub(taken, text)
    return text, defaults, refers


def _says_secret(key: Parts) -> bool:
    """Tells whether a part of a key says that what it holds is a secret; names that users give are left out."""
    named = [part for part in key if not part.isdigit()]
    if named[:1] and named[0] in _SECTIONS:
        inner = named[2:3]
        named = inner if inner and inner[0] in _BY_COLUMN else named[2:]
    if any(map(is_secret_name, named)):
        return True
    return len(named) > 1 and named[0] in _STORES and named[-1].lower() in _KEYS_OF_STORES


def _is_place(key: Parts) -> bool:
    named = [part for part in key if not part.isdigit()]
    return any(
        len(named) >= len(place) and all(wanted in ("*", part) for part, wanted in zip(named, place, strict=False))
        for place in _PLACES
    )


def _literal(key: Parts, what: str, text: str, variable: str | None = None) -> Literal:
    return Literal(dotted(key), what, _todo(key, what, text, variable), text)


def dotted(key: Parts) -> str:
    """Joins the parts of a key: a, b, 0 is `a.b[0]`."""
    text = ""
    for part in key:
        text += f"[{part}]" if part.isdigit() and text else f".{part}" if text else part
    return text


def _todo(key: Parts, what: str, text: str, variable: str | None) -> str:
    if what.startswith("would"):
        return "name a place without it"
    if key[:2] == _MAY_HOLD_ONE and len(key) > 2:
        return f"keep it in the environment, and write {dotted(key)}=${{oc.env:{variable or 'NAME'}}}"
    scheme = _SCHEME.search(text)
    provider = scheme[1].lower() if scheme is not None else ""
    provider = _OTHER_SPELLINGS.get(provider, provider)
    for word, named in (("AWS", "s3"), ("Alibaba", "oss"), ("Azure", "az")):
        provider = named if word in what else provider
    if key == ("tables", "catalog") and provider in catalog.SECRETS:
        return f"leave it out; it is taken from {catalog.SECRETS[provider]}"
    if provider in _SOURCES:
        return f"leave it out; it is taken from {_SOURCES[provider]}"
    if key[:1] and key[0] in _STORES:
        return f"leave it out; keys of a store are taken from {_ALL_SOURCES}"
    return "leave it out, or keep it in the environment and write ${oc.env:NAME} for a key that may hold one"
