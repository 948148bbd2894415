"""Which file and line, or which override, gave a key its value. Worked out only when there are faults to show."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.types import RunMode

from pai_train.front.recipes import RecipeSource, shown
from pai_train.front.yaml_lines import line_of
from pai_train.redact import redact
from pai_train.spec.check import split_key
from pai_train.spec.secrets import is_secret_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hydra.core.config_loader import ConfigLoader
    from hydra.core.override_parser.types import Override
    from omegaconf import DictConfig

_MAX_SHOWN = 80


@dataclass(frozen=True)
class Layer:
    """A file that took part in a composition.

    Attributes:
        path: The file.
        package: The dotted key that its content was put under; empty for the root.
    """

    path: Path
    package: str


class Origins:
    """Finds where keys come from.

    Args:
        layers: Gives the files, in the order in which they were merged; called for the first question.
        overrides: The overrides, in the order in which they were given.
        word: What an override is called, such as `command line`.
    """

    def __init__(self, layers: Callable[[], Sequence[Layer]], overrides: Sequence[Override], word: str) -> None:
        self._find_layers, self._overrides, self._word = layers, overrides, word

    @cached_property
    def _layers(self) -> Sequence[Layer]:
        return self._find_layers()

    def place(self, key: str) -> str:
        """Returns `file:line key` or `command line key=value` of a key, or of the closest one around it."""
        for around in _outwards(key):
            for override in reversed(self._overrides):
                if _sets(override, around):
                    text = quoted(override, self._word)
                    return text if around == key == override.key_or_group else f"{text} {key}"
            for layer in reversed(self._layers):
                line = _line_in(layer, around)
                if line is not None:
                    return f"{shown(layer.path)}:{line} {key}"
            below = [one for one in self._overrides if around == key and one.key_or_group.startswith(f"{key}.")]
            if below:
                return f"{quoted(below[-1], self._word)} {key}"
        return key


def quoted(override: Override | str, word: str) -> str:
    """Returns an override as given, shortened, with the value of what may be a secret left out."""
    text = override if isinstance(override, str) else str(override.input_line)
    key, equals, _ = text.partition("=")
    # Before it is cut, for half a secret has no longer its shape.
    text = f"{key}=…" if equals and is_secret_key(key) else redact(text)
    return f"{word} {text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + '…'}"


def layers(config: DictConfig, loader: ConfigLoader, overrides: list[str]) -> list[Layer]:
    """Lists the files that a composed configuration was merged from."""
    defaults = loader.compute_defaults_list(config.hydra.job.config_name, overrides, RunMode.RUN).defaults
    found = ((locate(config, default.config_path), default.package) for default in defaults)
    return [Layer(path, package or "") for path, package in found if path is not None]


def locate(config: DictConfig, config_path: str) -> Path | None:
    """Returns the file of a config path such as `recipe/iris`; None for one that is in no file."""
    for source in config.hydra.runtime.config_sources:
        path: Path | None = None
        if source.schema == RecipeSource.scheme():
            path = RecipeSource(source.provider, f"recipes://{source.path}").file(config_path)
        elif source.schema == "file":
            path = Path(source.path) / f"{config_path.removesuffix('.yaml')}.yaml"
        if path is not None and path.is_file():
            return path
    return None


def _outwards(key: str) -> Iterator[str]:
    """Yields a key and the keys around it: a.b[0], a.b, a."""
    yield key
    while (cut := max(key.rfind("."), key.rfind("["))) > 0:
        key = key[:cut]
        yield key


def _sets(override: Override, key: str) -> bool:
    parts, own = split_key(key), split_key(override.key_or_group)
    if parts[: len(own)] != own:
        return False
    value: Any = None if override.is_delete() else override.value()
    for part in parts[len(own) :]:
        if isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        elif isinstance(value, dict) and part in value:
            value = value[part]
        else:
            return False
    return True


def _line_in(layer: Layer, key: str) -> int | None:
    inside = key
    if layer.package:
        if not key.startswith(f"{layer.package}."):
            return None
        inside = key.removeprefix(f"{layer.package}.")
    return line_of(layer.path.read_text(encoding="utf-8-sig"), inside)
