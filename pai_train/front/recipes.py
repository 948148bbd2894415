"""Where YAML lives: the folders of recipes, and the recipes:// config source that shows them to Hydra."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import CompactHydraException
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hydra.core.config_search_path import ConfigSearchPath

FOLDERS_VARIABLE = "PAI_TRAIN_RECIPES"
GROUP = "recipe"


class RecipeError(CompactHydraException, ConfigLoadError):
    """A recipe's file that cannot be read as a mapping of keys.

    Attributes:
        message: What is wrong, without the place.
        path: The file.
        line: From 1; None where the fault belongs to no line.
    """

    def __init__(self, message: str, path: Path, line: int | None = None) -> None:
        self.message, self.path, self.line = message, path, line
        super().__init__(f"{self.place}: {message}")

    @property
    def place(self) -> str:
        """`file:line`, as an editor takes it."""
        return shown(self.path) if self.line is None else f"{shown(self.path)}:{self.line}"


class RecipeSource(ConfigSource):
    """Shows DIR/iris.yaml as option `iris` of the group `recipe`, so that recipes lie in one flat folder."""

    @staticmethod
    def scheme() -> str:
        return "recipes"

    def available(self) -> bool:
        return Path(self.path).is_dir()

    def is_group(self, config_path: str) -> bool:
        return config_path in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        path = self.file(config_path)
        return path is not None and path.is_file()

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        if config_path == "":
            return [] if results_filter == ObjectType.CONFIG else [GROUP]
        if config_path != GROUP or results_filter == ObjectType.GROUP:
            return []
        return [path.stem for path in _files(Path(self.path))]

    def load_config(self, config_path: str) -> ConfigResult:
        path = self.file(config_path)
        if path is None or not path.is_file():
            raise ConfigLoadError(f"Config not found : {config_path}")
        text = _read(path)
        return ConfigResult(
            provider=self.provider, path=self.full_path(), config=_parse(text, path), header=_header(text, path)
        )

    def file(self, config_path: str) -> Path | None:
        """Returns the file that a config path names, whether it is there or not; None for what is no recipe."""
        group, _, name = config_path.partition("/")
        if group != GROUP or not name or "/" in name:
            return None
        return Path(self.path) / self._normalize_file_name(name)


class RecipeSearchPath(SearchPathPlugin):
    """Puts the folders of recipes behind Hydra's own search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for owner, directory in folders():
            search_path.append(owner, f"recipes://{directory}")


def install() -> None:
    """Makes Hydra know recipes, the parts of the help text and the environment's project; may be called again."""
    for plugin in (RecipeSource, RecipeSearchPath):
        Plugins.instance().register(plugin)
    OmegaConf.register_new_resolver("pai_train.recipes", _help_recipes, replace=True)
    OmegaConf.register_new_resolver("pai_train.keys", _help_keys, replace=True)
    OmegaConf.register_new_resolver("pai_train.odps_project", _odps_project, replace=True)


def _odps_project() -> str:
    """Returns the MaxCompute project that the environment means; looked for only where a configuration asks."""
    from pai_train.tables.maxcompute.service import find_project

    return find_project()


def folder(name: str) -> Path:
    """Returns the folder of this name: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def folders() -> list[tuple[str, Path]]:
    """Lists (owner, folder) of the recipe folders that exist, in the order in which they are searched."""
    own = [Path(text) for text in os.environ.get(FOLDERS_VARIABLE, "").split(os.pathsep) if text]
    candidates = [
        ("./recipes", Path("recipes")),
        *((FOLDERS_VARIABLE, path) for path in own),
        ("pai_train", folder("recipes")),
    ]
    found: dict[Path, str] = {}
    for owner, path in candidates:
        if path.is_dir():
            found.setdefault(path.resolve(), owner)
    return [(owner, path) for path, owner in found.items()]


def listing() -> list[tuple[str, str, Path]]:
    """Lists (name, first comment line, file) of every recipe, by name; a hidden one is left out."""
    found: dict[str, Path] = {}
    for _, directory in folders():
        for path in _files(directory):
            found.setdefault(path.stem, path)
    return [(name, _first_comment(path), path) for name, path in sorted(found.items())]


def hidden(name: str) -> list[Path]:
    """Lists the files that a recipe of the same name in an earlier folder hides."""
    paths = [directory / f"{name}.yaml" for _, directory in folders()]
    return [path for path in paths if path.is_file()][1:]


def shown(path: Path) -> str:
    """Returns a path as people write it: relative to the working folder where it lies below."""
    absolute = path.absolute()
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else str(absolute)


def _files(directory: Path) -> Iterator[Path]:
    return (path for path in sorted(directory.glob("*.yaml")) if path.is_file())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise RecipeError("not UTF-8 text", path, line) from None
    except OSError as error:
        raise RecipeError(f"cannot be read: {error.strerror}", path) from None


def _parse(text: str, path: Path) -> Any:
    try:
        config = OmegaConf.load(io.StringIO(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # The end of the text lies behind the last line.
        line = min(mark.line + 1, len(text.splitlines())) if mark else None
        raise RecipeError(f"not YAML: {error.problem}", path, line) from None
    except yaml.YAMLError as error:
        raise RecipeError(f"not YAML: {error}", path) from None
    except OSError:
        raise RecipeError("not a mapping of keys", path, 1) from None
    except (OmegaConfBaseException, ValueError) as error:
        raise RecipeError(str(error).splitlines()[0], path, _line_of(error, text)) from None
    if not OmegaConf.is_dict(config):
        raise RecipeError("not a mapping of keys", path, 1)
    return config


def _line_of(error: Exception, text: str) -> int | None:
    from pai_train.front.yaml_lines import line_of

    key = getattr(error, "full_key", None)
    return line_of(text, str(key)) if key else None


def _header(text: str, path: Path) -> dict[str, str | None]:
    """Reads `# @package` from anywhere in the leading comment; a recipe's keys are global without it."""
    comment: list[str] = []
    for line in text.splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            break
        comment.append(line)
    marked = [line for line in comment if line.lstrip("# \t").startswith("@")]
    try:
        header = ConfigSource._get_header_dict("\n".join(marked))
    except ValueError as error:
        raise RecipeError(str(error), path, comment.index(marked[0]) + 1) from None
    return {**header, "package": header["package"] or "_global_"}


def _first_comment(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as error:
        return f"(cannot be read: {error.strerror})"
    for line in text.splitlines():
        words = line.strip().lstrip("#").strip()
        if line.strip() and not line.lstrip().startswith("#"):
            break
        if words and not words.startswith("@"):
            return words
    return ""


def _help_recipes() -> str:
    rows = [(name, comment) for name, comment, _ in listing()]
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"  {name:<{width}}  {comment}".rstrip() for name, comment in rows] or ["  none"]
    # The help text is a string.Template.
    return "\n".join(lines).replace("$", "$$")


def _help_keys() -> str:
    """Returns the keys of conf/config.yaml with their comments, as written."""
    text = (folder("conf") / "config.yaml").read_text(encoding="utf-8")
    keys = text.partition("- _self_\n")[2].partition("\nhydra:")[0].strip()
    return "\n".join(f"  {line}".rstrip() for line in keys.splitlines()).replace("$", "$$")
