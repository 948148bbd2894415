"""Folders of recipes, and Hydra's own assertions about a config source."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigSource
from hydra.test_utils.config_source_common_tests import ConfigSourceTestSuite

from pai_train.front import recipes
from pai_train.front.recipes import RecipeError, RecipeSource
from tests.front.conftest import ROOT, Desk

if TYPE_CHECKING:
    from pathlib import Path

FLAT = {
    "plain": "# Plain: what it does\na: 1\n",
    "unicode": "# 数据库\ngroup: 数据库\n",
    "global": "# A comment first\n# @package _global_\nx: 10\n",
    "placed": "# @package train.checkpoint\nkeep_last: 3\n",
    "with_defaults": "defaults:\n  - /recipe/plain\nkey: value\n",
    "empty": "",
}


@pytest.fixture
def path(tmp_path: Path) -> str:
    for name, text in FLAT.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "notes.txt").write_text("no recipe")
    (tmp_path / "data").mkdir()
    (tmp_path / "folder.yaml").mkdir()
    return f"recipes://{tmp_path}"


@pytest.fixture
def type_() -> type[ConfigSource]:
    return RecipeSource


class TestRecipeSource(ConfigSourceTestSuite):
    """The suite's assertions over a flat folder: its own tables name nested groups, which recipes do not have."""

    @pytest.mark.parametrize(
        ("config_path", "expected"),
        [("", True), ("recipe", True), ("recipe/plain", False), ("recipe/data", False), ("other", False)],
    )
    def test_is_group(self, type_: Any, path: str, config_path: str, expected: bool) -> None:
        super().test_is_group(type_, path, config_path, expected)

    @pytest.mark.parametrize(
        ("config_path", "expected"),
        [
            ("", False),
            ("recipe", False),
            ("recipe/plain", True),
            ("recipe/plain.yaml", True),
            ("recipe/plain.foobar", False),
            ("recipe/folder", False),
            ("recipe/notes", False),
            ("recipe/data/plain", False),
            ("plain", False),
            ("other/plain", False),
        ],
    )
    def test_is_config(self, type_: Any, path: str, config_path: str, expected: bool) -> None:
        super().test_is_config(type_, path, config_path, expected)

    @pytest.mark.parametrize(
        ("config_path", "results_filter", "expected"),
        [
            ("", ObjectType.GROUP, ["recipe"]),
            ("", ObjectType.CONFIG, []),
            ("", None, ["recipe"]),
            ("recipe", ObjectType.GROUP, []),
            ("recipe", ObjectType.CONFIG, sorted(FLAT)),
            ("recipe", None, sorted(FLAT)),
            ("other", None, []),
        ],
    )
    def test_list(self, type_: Any, path: str, config_path: str, results_filter: Any, expected: list[str]) -> None:
        super().test_list(type_, path, config_path, results_filter, expected)
        assert type_("foo", path).list(config_path, results_filter) == expected

    @pytest.mark.parametrize(
        ("config_path", "expected_config", "expected_defaults_list", "expected_package"),
        [
            ("recipe/plain", {"a": 1}, None, "_global_"),
            ("recipe/unicode", {"group": "数据库"}, None, "_global_"),
            ("recipe/global", {"x": 10}, None, "_global_"),
            ("recipe/placed", {"keep_last": 3}, None, "train.checkpoint"),
            ("recipe/with_defaults", {"defaults": ["/recipe/plain"], "key": "value"}, None, "_global_"),
            ("recipe/empty", {}, None, "_global_"),
            ("recipe/not_found", pytest.raises(ConfigLoadError), None, None),
            ("plain", pytest.raises(ConfigLoadError), None, None),
        ],
    )
    def test_source_load_config(
        self,
        type_: Any,
        path: str,
        config_path: str,
        expected_config: Any,
        expected_defaults_list: Any,
        expected_package: Any,
        recwarn: Any,
    ) -> None:
        super().test_source_load_config(
            type_, path, config_path, expected_defaults_list, expected_package, expected_config, recwarn
        )

    test_is_config_with_overlap_name = None
    test_list_with_overlap_name = None
    test_package_behavior = None
    test_default_package_for_primary_config = None
    test_primary_config_with_non_global_package = None


def test_load_error_names_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("a: 1\nb: [1,\n")
    with pytest.raises(RecipeError, match=r"bad\.yaml:2: not YAML: ") as caught:
        RecipeSource("foo", f"recipes://{tmp_path}").load_config("recipe/bad")
    assert caught.value.line == 2
    assert caught.value.path == tmp_path / "bad.yaml"


def test_folder_is_the_checkouts() -> None:
    assert recipes.folder("conf") == ROOT / "conf"
    assert recipes.folder("recipes") == ROOT / "recipes"


def test_listing_has_first_comments(desk: Desk) -> None:
    for name, text in FLAT.items():
        desk.recipe(name, text)
    found = {name: comment for name, comment, _ in recipes.listing()}
    assert list(found) == sorted([*FLAT, "csvtest", "iris"])
    assert found["plain"] == "Plain: what it does"
    assert found["global"] == "A comment first"
    assert found["empty"] == ""
    assert found["iris"].startswith("Iris: learn the species")


def test_order_of_folders(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAI_TRAIN_RECIPES", os.pathsep.join(["first", "absent", "second", ""]))
    own = desk.recipe("iris", "# Own\n")
    first = desk.recipe("iris", "# First\n", "first")
    second = desk.recipe("other", "# Second\n", "second")
    assert [path for _, path in recipes.folders()] == [own.parent, first.parent, second.parent, ROOT / "recipes"]
    assert {name: path for name, _, path in recipes.listing()}["iris"] == own
    assert recipes.hidden("iris") == [first, ROOT / "recipes/iris.yaml"]
    assert recipes.hidden("other") == []
    assert recipes.hidden("nope") == []


def test_a_folder_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PAI_TRAIN_RECIPES", str(ROOT / "recipes"))
    assert recipes.folders() == [("./recipes", ROOT / "recipes")]
    assert recipes.hidden("iris") == []
