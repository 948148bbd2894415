"""The Python API, the composed values, and the shipped configuration itself."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

import pai_train
from pai_train.errors import Refused
from pai_train.front.composed import Composed, of_config
from pai_train.spec.check import as_tree
from pai_train.spec.config import STORAGE_SCHEMES, JobConfig
from tests.front.conftest import ROOT, Desk

if TYPE_CHECKING:
    from pathlib import Path

SHIPPED = sorted(path.stem for path in (ROOT / "recipes").glob("*.yaml"))
OPTIONS = [
    [f"{group}={path.stem}" for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
    for group in ("storage", "tables", "engine")
]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PAI_TRAIN_RECIPES", raising=False)
    monkeypatch.setenv("ODPS_PROJECT_NAME", "lab")


@pytest.mark.parametrize("recipe", SHIPPED)
@pytest.mark.parametrize("options", list(itertools.product(*OPTIONS)), ids=" ".join)
def test_every_recipe_on_every_option(recipe: str, options: tuple[str, ...]) -> None:
    scheme = STORAGE_SCHEMES.get(options[0].partition("=")[2])
    composed = pai_train.compose(recipe, [*options, *([f"storage.root={scheme}://bucket/folder"] if scheme else [])])
    assert composed.recipe == recipe
    assert composed.recipe_file == str(ROOT / "recipes" / f"{recipe}.yaml")
    assert composed.config.engine.name == options[2].partition("=")[2]


@pytest.mark.parametrize("recipe", SHIPPED)
def test_recipes_name_no_store(recipe: str) -> None:
    text = (ROOT / "recipes" / f"{recipe}.yaml").read_text()
    assert "# @package _global_" in text
    assert not {"storage", "tables", "defaults"} & set(yaml.safe_load(text))


def _defaults(cls: Any) -> dict[str, Any]:
    """Returns a dataclass's defaults as a tree; nothing for what a user must give."""
    found: dict[str, Any] = {}
    for one in dataclasses.fields(cls):
        if one.default is not dataclasses.MISSING:
            found[one.name] = one.default
        elif one.default_factory is not dataclasses.MISSING:
            made = one.default_factory()
            found[one.name] = as_tree(made) if dataclasses.is_dataclass(made) else made
    return found


def test_config_yaml_holds_the_dataclasses_defaults() -> None:
    written = yaml.safe_load((ROOT / "conf/config.yaml").read_text())
    groups = {name for item in written.pop("defaults") if isinstance(item, dict) for name in item}
    del written["hydra"]
    required = {name for name, value in written.items() if value == "???"}
    # A section whose group is left out of a configuration made in Python has defaults of its own.
    defaults = {name: value for name, value in _defaults(JobConfig).items() if name not in groups}
    assert {name: value for name, value in written.items() if name not in required} == defaults
    assert groups | required == {one.name for one in dataclasses.fields(JobConfig)} - set(defaults)


def test_overrides_are_applied_and_kept() -> None:
    composed = pai_train.compose("iris", ["gpus=2", "train.epochs=3"])
    assert isinstance(composed, Composed)
    assert (composed.config.gpus, composed.config.train.epochs) == (2, 3)
    assert composed.overrides == ("+recipe=iris", "gpus=2", "train.epochs=3")
    assert composed.tree["train"]["epochs"] == 3
    assert yaml.safe_load(composed.yaml) == composed.tree
    assert composed.run_dir.startswith("runs/iris/")


@pytest.mark.parametrize("given", ["+recipe=iris", "recipe=iris", "++recipe=iris"])
def test_recipe_by_override(given: str) -> None:
    composed = pai_train.compose(None, [given])
    assert composed.recipe == "iris"
    assert composed.config_hash == pai_train.compose("iris").config_hash


def test_group_with_a_plus() -> None:
    assert pai_train.compose("iris", ["+storage=memory"]).config.storage.root == "memory://pai_train"


def test_deleted_key_takes_its_default() -> None:
    assert pai_train.compose("iris", ["~outputs"]).config.outputs == {}


def test_repeatedly_and_inside_another_hydra(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with initialize_config_dir(str(tmp_path / "other"), version_base="1.3"):
        theirs = GlobalHydra.instance().hydra
        hashes = {pai_train.compose("iris").config_hash for _ in range(3)}
        assert len(hashes) == 1
        assert GlobalHydra.instance().hydra is theirs


def test_faults_in_python_name_the_override() -> None:
    with pytest.raises(Refused, match="override gpus=-1: not a choice") as caught:
        pai_train.compose("iris", ["gpus=-1", "gpu=2"])
    assert [fault.where for fault in caught.value.faults] == ["override gpu=2", "override gpus=-1"]
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize("name", ["my recipe", "irs", "", "a/b", "iris.yaml"])
def test_odd_recipe_names(name: str) -> None:
    with pytest.raises(Refused):
        pai_train.compose(name)


def test_hash_is_of_what_decides_the_result() -> None:
    base = pai_train.compose("iris").config_hash
    same = ["gpus=2", "on_missing_gpu=fail", "train.resume=never", "engine.parallel=3", "engine.ahead=5"]
    assert pai_train.compose("iris", same).config_hash == base
    others = [
        "train.seed=1",
        "train.epochs=1",
        "storage=memory",
        "engine=queue_runner",
        "engine.lanes=2",
        "outputs.predictions.write=append",
        "~outputs",
        "model.params.hidden=[8]",
    ]
    hashes = {pai_train.compose("iris", [other]).config_hash for other in others}
    assert len(hashes | {base}) == len(others) + 1
    assert pai_train.compose("csvtest").config_hash != base


def test_hash_knows_the_order_of_columns_and_no_other(desk: Desk) -> None:
    text = "inputs: {train: {oss: x, columns: {a: BIGINT, b: BIGINT}, label: a}}\ncheckpointDir: c\n"
    desk.recipe("one", text + "model: {params: {x: 1, y: 2}}\n")
    desk.recipe("two", text + "model: {params: {y: 2, x: 1}}\n")
    desk.recipe(
        "three", text.replace("a: BIGINT, b: BIGINT", "b: BIGINT, a: BIGINT") + "model: {params: {x: 1, y: 2}}\n"
    )
    one, two, three = (pai_train.compose(name).config_hash for name in ("one", "two", "three"))
    assert one == two != three


def test_environment_stays_text_in_the_tree(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATA_ROOT", "/somewhere/private")
    composed = pai_train.compose("iris", ["storage.root=${oc.env:DATA_ROOT}"])
    assert composed.config.storage.root == "/somewhere/private"
    assert composed.config.tables.root == "/somewhere/private/tables"
    assert composed.tree["storage"]["root"] == "${oc.env:DATA_ROOT}"
    assert composed.tree["tables"]["root"] == "${oc.env:DATA_ROOT}/tables"
    assert "private" not in composed.yaml
    with pytest.raises(Refused) as caught:
        pai_train.compose("iris", ["train.epochs=${oc.env:DATA_ROOT}"])
    assert "private" not in str(caught.value)
    assert pai_train.compose("iris", ["storage.root=${oc.env:DATA_ROOT}"]).config.storage.root == "/somewhere/private"


def test_user_recipes_join_extend_and_stack(desk: Desk) -> None:
    desk.recipe("quick", "defaults: [/recipe/iris, _self_]\ntrain: {epochs: 1}\n")
    desk.recipe("tiny", "train: {steps: 2}\n")
    quick = pai_train.compose("quick")
    assert quick.config.train.epochs == 1
    assert quick.config.inputs == pai_train.compose("iris").config.inputs
    assert quick.recipe_file == str(desk.folder / "recipes/quick.yaml")
    stacked = pai_train.compose(None, ["+recipe=[iris,tiny]"])
    assert (stacked.recipe, stacked.config.train.steps) == ("iris+tiny", 2)
    assert stacked.recipe_file == str(ROOT / "recipes/iris.yaml")


def test_folder_of_another_place(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.recipe("far", "defaults: [/recipe/iris]\n", "elsewhere")
    monkeypatch.setenv("PAI_TRAIN_RECIPES", "elsewhere")
    assert pai_train.compose("far").recipe_file == str(desk.folder / "elsewhere/far.yaml")


def test_recipe_may_override_a_group_and_the_command_line_wins(desk: Desk) -> None:
    desk.recipe("far", "defaults: [/recipe/iris, override /storage: memory, _self_]\n".replace(", _self_", ""))
    assert pai_train.compose("far").config.storage.root == "memory://pai_train"
    assert pai_train.compose("far", ["storage=local"]).config.storage.root == "data"


def test_place_of_a_key() -> None:
    composed = pai_train.compose("iris", ["train.epochs=3", "model={params: {hidden: [4]}}"])
    assert composed.place("train.epochs") == "override train.epochs=3"
    assert composed.place("model.params.hidden[0]") == "override model={params: {hidden: [4]}} model.params.hidden[0]"
    assert composed.place("inputs.train.label") == f"{ROOT}/recipes/iris.yaml:8 inputs.train.label"
    assert composed.place("inputs.train.columns.f2") == f"{ROOT}/recipes/iris.yaml:7 inputs.train.columns.f2"
    assert composed.place("train.optimizer") == f"{ROOT}/conf/config.yaml:27 train.optimizer"
    assert composed.place("storage.root") == f"{ROOT}/conf/storage/local.yaml:3 storage.root"
    assert composed.place("inputs.train.delimiter") == f"{ROOT}/recipes/iris.yaml:4 inputs.train.delimiter"


def test_verbose() -> None:
    assert pai_train.compose("iris").verbose is False
    assert pai_train.compose("iris", ["hydra.verbose=[a,b]"]).verbose == ("a", "b")


def test_of_config_checks_too() -> None:
    composed = pai_train.compose("iris")
    made = of_config(composed.config)
    assert made.config == composed.config
    assert made.config_hash == composed.config_hash
    assert made.run_dir.startswith("runs/adhoc/")
    wrong = dataclasses.replace(composed.config, gpus=-1, train=dataclasses.replace(composed.config.train, epochs=0))
    with pytest.raises(Refused) as caught:
        of_config(wrong)
    assert {fault.where for fault in caught.value.faults} == {"gpus", "train.epochs"}


def test_run_takes_both(desk: Desk) -> None:
    composed = pai_train.compose("iris")
    pai_train.run(composed)
    pai_train.run(composed.config)
    assert [run.config for run in desk.runs] == [composed.config, composed.config]


def test_version_is_the_projects() -> None:
    assert f'version = "{pai_train.__version__}"' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("outputs.predictions.table", "odps://lab/tables/sales/dt=2024-12-31"),
        ("outputs.predictions.table", "odps://lab/tables/sales/dt=2024-12-31/hh=01&dt=2025-01-01/hh=02"),
        ("outputs.predictions.ddl", "create table iris_output(f1 DOUBLE, f5 STRING);"),
        ("outputs.predictions.ddl", "CREATE TABLE iris_output (f5 STRING COMMENT 'a, b') LIFECYCLE 7"),
    ],
)
def test_addresses_and_statements_need_no_quotes_of_hydras(desk: Desk, key: str, value: str) -> None:
    composed = pai_train.compose("iris", [f"{key}={value}"])
    output = composed.config.outputs["predictions"]
    assert getattr(output, key.rpartition(".")[2]) == value
