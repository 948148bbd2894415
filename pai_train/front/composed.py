"""From a recipe's name and overrides to a checked configuration, or to every fault at once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pai_train.errors import Fault, Refused, did_you_mean
from pai_train.front import overrides as asked_for
from pai_train.front import recipes
from pai_train.front.plain import environment_kept, plain
from pai_train.front.provenance import Origins, layers, locate, quoted
from pai_train.front.yaml_lines import line_of_default, values_of_secrets
from pai_train.redact import redact, secret_shape
from pai_train.spec.check import as_tree, value_at
from pai_train.spec.config import StorageConfig
from pai_train.spec.judge import judge, remove
from pai_train.spec.secrets import hide_resolved, in_places, literals, masked, of_environment, without_secrets
from pai_train.spec.train_config import without_unused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from hydra.core.config_loader import ConfigLoader
    from omegaconf import DictConfig

    from pai_train.spec.config import JobConfig
    from pai_train.spec.secrets import Literal

PRIMARY = "config"

# What may change between two starts of one run without changing what it computes.
_NOT_HASHED = (
    "mode",
    "stage",
    "expire",
    "gpus",
    "on_missing_gpu",
    "cluster",
    "train.resume",
    "train.checkpoint.keep_best",
    "train.checkpoint.keep_every_seconds",
    "engine.parallel",
    "engine.ahead",
    *(f"storage.{field.name}" for field in dataclasses.fields(StorageConfig) if field.name != "root"),
    *(f"tables.{name}" for name in ("endpoint", "tunnel_endpoint", "role_arn")),
)
# Keys that came later: left out as long as they say nothing, so that a run begun before them keeps its hash.
_HASHED_IF_SET = ("train.warm_start",)


@dataclass(frozen=True)
class Composed:
    """A configuration that has passed every check.

    Attributes:
        config: The keys' values, environment variables read.
        recipe: The recipe's name; stacked recipes are joined by `+`; None without one.
        recipe_file: Its file; of stacked recipes, the first.
        overrides: The overrides, as a command line that composes the same.
        tree: The composed keys and values; what comes from `${oc.env:NAME}` stays that text.
        yaml: The tree as YAML.
        config_hash: SHA-256 over what decides the result, in hex.
        run_dir: Folder of this start, relative to the working folder; it is not there yet.
        verbose: Value of hydra.verbose: a bool, a logger's name, or several.
        place: Says which file and line, or which override, set a dotted key.
    """

    config: JobConfig
    recipe: str | None
    recipe_file: str | None
    overrides: tuple[str, ...]
    tree: dict[str, Any]
    yaml: str
    config_hash: str
    run_dir: str
    verbose: bool | str | tuple[str, ...] = False
    place: Callable[[str], str] = field(default=str, repr=False, compare=False)


def compose(recipe: str | None = None, overrides: Sequence[str] = (), *, word: str = "override") -> Composed:
    """Composes and checks; touches nothing.

    Args:
        recipe: A recipe's name, such as `iris`; None when the overrides give one, or all keys.
        overrides: Overrides as on the command line, such as `gpus=2`.
        word: What an override is called in faults.

    Raises:
        Refused: Anything is wrong with it; holds every fault.
    """
    texts = (*(() if recipe is None else (f"+{recipes.GROUP}={recipe}",)), *overrides)
    # An override with a secret in it goes no further, not even to Hydra's parser and its messages.
    clean = asked_for.clean(texts, word)
    with _hydra() as loader:
        asked = asked_for.sort(clean.texts, loader, word)
        asked.faults[:0] = clean.faults
        config, lost = _load(loader, asked, word)
        lost = lost or bool(clean.faults)
        asked.faults += [fault for one in asked.values if (fault := asked_for.apply(one, config, word)) is not None]
        hydra, keys = config.hydra, OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        tree, unset = plain(keys)
        with environment_kept():
            shown, _ = plain(keys)
        hide_resolved(tree, shown)
        origins = Origins(lambda: layers(config, loader, asked.hydra), asked.values, word)
        job, faults = judge(tree, shown, unset, complete=not lost)
        hydras = _hydras_secrets(hydra)
        faults = [*(secret.fault() for secret in hydras), *faults]
        if job is None or faults or asked.faults:
            placed = [*asked.faults, *(_placed(fault, origins, asked) for fault in faults)]
            plain_text = [*clean.values, *(secret.value for secret in (*hydras, *literals(shown), *in_places(tree)))]
            raise Refused([masked(fault, plain_text) for fault in placed])
        return Composed(
            config=job,
            recipe="+".join(asked.recipes) or None,
            recipe_file=_file(config, asked.recipes),
            overrides=texts,
            tree=shown,
            yaml=_yaml(shown),
            config_hash=config_hash(job),
            run_dir=_run_dir(hydra, asked.hydra, word),
            verbose=_verbose(hydra.verbose),
            place=origins.place,
        )


def secret_faults(overrides: Sequence[str], word: str) -> list[Fault]:
    """Composes without a check, and returns the faults of secrets in plain text and of files that cannot be read.

    What keys named as secrets take from the environment is masked from then on.
    """
    clean = asked_for.clean(overrides, word)
    with _hydra() as loader:
        asked = asked_for.sort(clean.texts, loader, word)
        asked.faults.clear()
        config, _ = _load(loader, asked, word)
        for one in asked.values:
            asked_for.apply(one, config, word)
        hydra, keys = config.hydra, OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
        tree, _ = plain(keys)
        of_hydra, _ = plain(_hydras_own(hydra))
        with environment_kept():
            shown, _ = plain(keys)
            hydra_shown, _ = plain(_hydras_own(hydra))
        hide_resolved(tree, shown)
        hide_resolved(of_hydra, hydra_shown, ("hydra",))
        origins = Origins(lambda: layers(config, loader, asked.hydra), asked.values, word)
        found = [*_hydras_secrets(hydra), *literals(shown)]
        plain_text = [*clean.values, *(secret.value for secret in found)]
        placed = [*clean.faults, *asked.faults, *(secret.fault(origins.place(secret.key)) for secret in found)]
        return [masked(fault, plain_text) for fault in placed]


def of_config(config: JobConfig) -> Composed:
    """Checks a configuration that was made in Python.

    Raises:
        Refused: Anything is wrong with it; holds every fault.
    """
    tree = as_tree(config)
    job, faults = judge(tree)
    if job is None or faults:
        raise Refused(faults)
    with _hydra() as loader:
        run_dir = loader.load_configuration(PRIMARY, [], RunMode.RUN, from_shell=False).hydra.run.dir
    return Composed(
        config=job,
        recipe=None,
        recipe_file=None,
        overrides=(),
        tree=tree,
        yaml=_yaml(tree),
        config_hash=config_hash(job),
        run_dir=str(run_dir),
    )


def config_hash(config: JobConfig) -> str:
    """Returns a hash of what decides the result: not of devices, of resuming or of speed."""
    tree = as_tree(config)
    for key in (*_NOT_HASHED, *(key for key in _HASHED_IF_SET if not value_at(tree, key))):
        remove(tree, key)
    # A key that was exchanged for a new one changes no result.
    tree = without_unused(without_secrets(tree))
    return hashlib.sha256(json.dumps(_ordered(tree), sort_keys=True).encode()).hexdigest()


@contextmanager
def _hydra() -> Iterator[ConfigLoader]:
    """Lends a config loader, and gives Hydra's one global instance back to whoever has it."""
    recipes.install()
    previous = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(recipes.folder("conf")), job_name="pai_train", version_base="1.3"):
            yield GlobalHydra.instance().config_loader()
    finally:
        GlobalHydra.instance().clear()
        if previous is not None:
            GlobalHydra.instance().initialize(previous)


def _load(loader: ConfigLoader, asked: asked_for.Overrides, word: str) -> tuple[DictConfig, bool]:
    """Lets Hydra compose; what it refuses becomes a fault and is left out, so that the rest is checked too.

    Returns:
        The configuration, and whether an option was left out.
    """
    lost = bool(asked.faults) and asked.recipe_given and not any(_is_recipe(text) for text in asked.hydra)
    while True:
        try:
            config = loader.load_configuration(PRIMARY, asked.hydra, RunMode.RUN, from_shell=False)
        except (HydraException, OmegaConfBaseException, ValueError, RecursionError, yaml.MarkedYAMLError) as error:
            if not asked.hydra:
                raise
            blamed = _blamed(error, asked.hydra)
            asked.faults.append(_refusal(error, blamed, word))
            asked.hydra.remove(blamed)
            lost = True
        else:
            OmegaConf.set_struct(config, False)
            return config, lost


def _is_recipe(text: str) -> bool:
    return text.lstrip("+").startswith(f"{recipes.GROUP}=")


def _blamed(error: Exception, given: Sequence[str]) -> str:
    """Returns the override that an error is about: one it names, else the recipe, else the last."""
    named = [text for text in given if not _is_recipe(text) and text.lstrip("+~").split("=")[0] in str(error)]
    chosen = [text for text in given if _is_recipe(text)]
    return [*given, *chosen, *named][-1] if not isinstance(error, recipes.RecipeError) else [*given, *chosen][-1]


def _refusal(error: Exception, blamed: str, word: str) -> Fault:
    if isinstance(error, recipes.RecipeError):
        return masked(Fault(error.message, where=error.place), values_of_secrets(error.path))
    if isinstance(error, yaml.MarkedYAMLError) and (mark := error.problem_mark or error.context_mark) is not None:
        path = Path(mark.name)
        fault = Fault(f"not YAML: {error.problem}", where=f"{recipes.shown(path)}:{mark.line + 1}")
        return masked(fault, values_of_secrets(path))
    where = quoted(blamed, word)
    files = _recipe_files(blamed)
    if isinstance(error, RecursionError):
        return Fault("a recipe extends itself", where=recipes.shown(files[0]) if files else where)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None:
        group, _, name = error.missing_cfg_file.rpartition("/")
        options = error.options or [name for name, _, _ in recipes.listing() if group == recipes.GROUP]
        for path in files:
            line = line_of_default(path.read_text(encoding="utf-8-sig"), error.missing_cfg_file)
            where = where if line is None else f"{recipes.shown(path)}:{line} defaults"
        return Fault(
            f"there is no {group} {name!r}", where=where, todo=did_you_mean(name.removesuffix(".yaml"), options)
        )
    lines = [line.strip() for line in (str(error) or str(error.__cause__)).splitlines()]
    told = [line for line in lines if line and not line.startswith(("full_key:", "object_type="))]
    return Fault(" ".join(told), where=recipes.shown(files[0]) if files else where)


def _recipe_files(blamed: str) -> list[Any]:
    names = blamed.partition("=")[2].strip("[]").split(",") if _is_recipe(blamed) else []
    return [path for name, _, path in recipes.listing() if name in names]


def _ordered(value: Any) -> Any:
    """Writes `columns` as pairs: their order is that of the file's fields; the order of other keys means nothing."""
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: list(item.items()) if name == "columns" else _ordered(item) for name, item in value.items()}


def _placed(fault: Fault, origins: Origins, asked: asked_for.Overrides) -> Fault:
    key = str(fault.where)
    if key == "inputs" and not asked.recipe_given:
        todo = f"name a recipe, such as +{recipes.GROUP}=iris; python -m pai_train --help lists them"
        fault = replace(fault, wanted="a recipe, or rows to read", todo=todo)
    if key == "storage.root" and fault.what == "is not set":
        todo = "add storage.root=oss://bucket/folder, or the like"
        fault = replace(fault, wanted="a bucket or a folder in it", todo=todo)
    return replace(fault, where=origins.place(key))


def _file(config: DictConfig, names: Sequence[str]) -> str | None:
    path = locate(config, f"{recipes.GROUP}/{names[0]}") if names else None
    return None if path is None else str(path)


def _run_dir(hydra: DictConfig, given: Sequence[str], word: str) -> str:
    try:
        folder = str(hydra.run.dir)
        with environment_kept():
            variable = of_environment(str(hydra.run.dir))
    except OmegaConfBaseException as error:
        raise Refused([Fault(f"cannot be resolved: {str(error).splitlines()[0]}", where="hydra.run.dir")]) from None
    if variable is not None or secret_shape(folder) is not None:
        places = [quoted(text, word) for text in given if text.lstrip("+").startswith("hydra.run.dir=")]
        what = f"the run folder's name would hold {f'the value of {variable}' if variable else secret_shape(folder)}"
        raise Refused([Fault(what, where=[*places, "hydra.run.dir"][0], todo="name a folder")])
    return folder


def _hydras_secrets(hydra: DictConfig) -> list[Literal]:
    """Finds secrets that files gave to Hydra's own keys."""
    return list(literals(OmegaConf.to_container(_hydras_own(hydra), resolve=False), ("hydra",)))


def _hydras_own(hydra: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(hydra, [str(name) for name in hydra if name not in ("overrides", "runtime")])


def _verbose(value: Any) -> bool | str | tuple[str, ...]:
    return value if isinstance(value, bool | str) else tuple(map(str, value))


def _yaml(tree: dict[str, Any]) -> str:
    return redact(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=float("inf")))
