"""Overrides as given: which choose options of groups, which set values, and which are faults."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString, ValueType
from hydra.errors import OverrideParseException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pai_train.errors import Fault, did_you_mean, nearest
from pai_train.front import recipes
from pai_train.front.provenance import quoted
from pai_train.redact import redact
from pai_train.spec.config import JobConfig
from pai_train.spec.secrets import Literal, is_secret_key, literals

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

_FILTER = re.compile(r"\+{0,2}inputs\.[^.=]+\.where")
_TABLES = re.compile(r"\+{0,2}inputs\.[^.=]+\.table")
_PLAIN_TEXT = re.compile(r"[a-z][a-z0-9+.-]*://|create\s+table\s", re.IGNORECASE)

# A pair inside a value that cannot be parsed: `name: value` or `name=value`.
_PAIR = re.compile(r"[\"']?([A-Za-z_][\w-]*)[\"']?\s*[:=]\s*(\"[^\"]*\"?|'[^']*'?|[^\s,{}\[\]]+)")
_NO_TEXT = re.compile(r"[+-]?\d+(\.\d*)?|true|false|null", re.IGNORECASE)

ONE_RUN = "several runs in one command are not served"


@dataclass
class Overrides:
    """What a list of overrides asks for.

    Attributes:
        hydra: Overrides that Hydra takes: options of groups, and its own keys.
        values: Overrides of keys, to be set on what Hydra composed.
        faults: What cannot be followed.
        recipes: The recipes that were chosen, in order.
        recipe_given: Whether a recipe was asked for, be it there or not.
    """

    hydra: list[str] = field(default_factory=list)
    values: list[Override] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    recipes: list[str] = field(default_factory=list)
    recipe_given: bool = False


@dataclass
class Clean:
    """Overrides without those that hold a secret in plain text.

    Attributes:
        texts: The others, as given.
        faults: One per secret; the value is in none of their texts.
        values: The secrets.
    """

    texts: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    values: list[str] = field(default_factory=list)


def clean(texts: Sequence[str], word: str) -> Clean:
    """Finds the overrides that hold a secret in plain text, whether they can be parsed or not."""
    found = Clean()
    for text in texts:
        secrets = {secret.key: secret for secret in _secrets(text)}.values()
        if not secrets:
            found.texts.append(text)
            continue
        key = redact(text.partition("=")[0]) if "=" in text else ""
        own = key.lstrip("+~").replace("/", ".").partition("@")[0]
        for secret in secrets:
            inner = "" if secret.key in ("", own) else f" {secret.key}"
            found.faults.append(secret.fault(f"{word} {key}=…{inner}" if key else f"{word} …"))
            found.values.append(secret.value)
    return found


def _secrets(text: str) -> Iterator[Literal]:
    try:
        parsed = _parse(text)
    except OverrideParseException:
        yield from _secrets_unparsed(text)
        return
    for override in parsed:
        key = tuple(part for part in re.split(r"[./]", override.key_or_group) if part)
        value = override.value()
        for item in value.list if isinstance(value, ChoiceSweep) else [value]:
            yield from literals(_plain(item), key)


def _secrets_unparsed(text: str) -> Iterator[Literal]:
    """Looks for secrets in what is no override: its first key, pairs inside its value, and shapes anywhere."""
    name, equals, value = text.partition("=")
    key = tuple(part for part in re.split(r"[./]", name.lstrip("+~").partition("@")[0]) if part)
    if not equals:
        yield from literals(text)
        return
    own = list(literals(value.strip("'\""), key))
    yield from own
    if own:
        return
    for inner, item in _PAIR.findall(value):
        bare = item.strip("'\"")
        if not _NO_TEXT.fullmatch(bare):
            yield from literals({inner: bare}, key)


def _plain(value: Any) -> Any:
    """Returns a parsed value as dicts, lists and scalars."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, dict):
        return {str(_plain(name)): _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def sort(texts: Sequence[str], loader: ConfigLoader, word: str) -> Overrides:
    """Parses every override and tells choices from values; one that is a fault is left out."""
    found, parsed = Overrides(), []
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            shown = text.encode("utf-8", "backslashreplace").decode()
            found.faults.append(Fault("is not UTF-8 text", where=f"{word} {shown}", todo="set a UTF-8 locale"))
            continue
        try:
            parsed += _parse(text)
        except OverrideParseException as error:
            found.faults.append(_unreadable(text, error.message, word))
    search_path = [str(one.input_line) for one in parsed if one.key_or_group == "hydra.searchpath"]
    given = [one for one in parsed if one.key_or_group == recipes.GROUP]
    # A bare word is meant to be a recipe.
    found.recipe_given = bool(given) or any("=" not in text for text in texts)
    for override in given[1:]:
        todo = "stack recipes with +recipe=[first,second]"
        found.faults.append(Fault("a recipe is given twice", where=quoted(override, word), todo=todo))
    for override in (one for one in parsed if one not in given[1:]):
        if override.key_or_group == "hydra.mode":
            found.faults.append(Fault(ONE_RUN, where=quoted(override, word), todo="run one job per command"))
        elif override.is_sweep_override():
            found.faults.append(_several(override, word))
        elif override.key_or_group.startswith("hydra."):
            found.hydra.append(str(override.input_line))
        elif isinstance(override.value(), dict):
            found.values.append(override)
        elif options := _options(override.key_or_group, loader, search_path):
            _choose(override, options, found, word)
        elif override.package is not None:
            found.faults.append(_no_group(override, loader.list_groups(""), word))
        else:
            found.values.append(override)
    return found


def _parse(text: str) -> list[Override]:
    """Parses an override; addresses, filters and statements are texts, whatever Hydra's grammar keeps for itself."""
    parser = OverridesParser.create()
    key, _, value = text.partition("=")
    if _FILTER.fullmatch(key) and value not in ("", "null") and value[0] not in "'\"":
        escaped = value.replace('"', '\\"')
        return parser.parse_overrides([f'{key}="{escaped}"'])
    plain = not {*"'\"\\$[{("} & {*value} and _TABLES.fullmatch(key) is not None
    if plain and "," in value:
        # Several tables, not several runs.
        return parser.parse_overrides([f'{key}="{value}"'])
    try:
        return parser.parse_overrides([text])
    except OverrideParseException:
        if not plain and (not _PLAIN_TEXT.match(value) or '"' in value or "\\" in value):
            raise
        return parser.parse_overrides([f'{key}="{value}"'])


def apply(override: Override, config: DictConfig, word: str) -> Fault | None:
    """Sets or deletes one key; a key that is not there yet is added, for the check to judge."""
    key = override.key_or_group
    try:
        if not override.is_delete():
            _set(config, key, override.value())
            return None
        around, _, name = key.rpartition(".")
        node = OmegaConf.select(config, around) if around else config
        if not OmegaConf.is_dict(node) or name not in node:
            return Fault("there is nothing to delete", where=quoted(override, word))
        del node[name]
    except (OmegaConfBaseException, ValueError) as error:
        return Fault(f"cannot be set: {str(error).splitlines()[0]}", where=quoted(override, word))
    return None


def _set(config: DictConfig, key: str, value: Any) -> None:
    try:
        OmegaConf.update(config, key, value, merge=True, force_add=True)
    except (OmegaConfBaseException, TypeError):
        # A mapping is not merged into a list: it takes its place.
        OmegaConf.update(config, key, value, merge=False, force_add=True)


def _options(group: str, loader: ConfigLoader, search_path: list[str]) -> list[str]:
    """Lists the options of a group; nothing for what is no group."""
    if not group or "." in group:
        return []
    return loader.get_group_options(group, ObjectType.CONFIG, overrides=search_path)


def _choose(override: Override, options: list[str], found: Overrides, word: str) -> None:
    group, value = override.key_or_group, override.value()
    names = ["null" if name is None else str(name) for name in (value if isinstance(value, list) else [value])]
    unknown = [] if override.is_delete() else [name for name in names if name not in options]
    for name in unknown:
        what = f"there is no {group} {name!r}"
        close = nearest(name, options)
        todo = None if close is None else f"did you mean {close!r}?"
        found.faults.append(Fault(what, where=quoted(override, word), wanted=", ".join(options), todo=todo))
    if unknown:
        return
    text = str(override.input_line).lstrip("+")
    if group == recipes.GROUP and not override.is_delete():
        # A recipe has no default to replace, so that Hydra takes it with a + only.
        text = f"+{text}"
        found.recipes = names
    elif group not in {own.name for own in fields(JobConfig)}:
        text = str(override.input_line)
    found.hydra.append(text)


def _unreadable(text: str, message: str, word: str) -> Fault:
    names = [name for name, _, _ in recipes.listing()]
    todo: str | None = None
    if text.removesuffix(".yaml") in names:
        todo = f"did you mean +recipe={text.removesuffix('.yaml')}?"
    elif "=" in text:
        key, _, value = text.partition("=")
        inner = value.strip("'\"")
        quote = "'" if '"' in inner else '"'
        # Two layers: the outer quotes are the shell's, the inner ones Hydra's.
        todo = f"quote it twice: {shlex.quote(f'{key}={quote}{inner}{quote}')}" if not is_secret_key(key) else None
    lines = [line for line in message.splitlines() if line.strip(" ^") and not line.startswith(("Error", "See http"))]
    reason = lines[0].removeprefix("LexerNoViableAltException: ") if lines else ""
    reason = reason.partition(" expecting {")[0]
    known = reason and reason not in text and not is_secret_key(text.partition("=")[0])
    what = f"cannot be read: {reason}" if known else "cannot be read"
    return Fault(what, where=quoted(text, word), wanted="key=value, +group=option or ~key", todo=todo)


def _no_group(override: Override, groups: Sequence[str], word: str) -> Fault:
    name = override.key_or_group
    return Fault(f"there is no group {name!r}", where=quoted(override, word), todo=did_you_mean(name, groups))


def _several(override: Override, word: str) -> Fault:
    key = override.key_or_group
    todo = "give one value, and start one command per value"
    if override.value_type == ValueType.SIMPLE_CHOICE_SWEEP and not is_secret_key(key):
        value = override.get_value_string()
        as_list = "" if key == "gpus" else f'; as a list: "{key}=[{value}]"; else one command per value'
        todo = f"as one text: \"{key}='{value}'\"{as_list}"
    return Fault("several values for one run", where=quoted(override, word), todo=todo)
