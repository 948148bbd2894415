"""The wheel, away from the checkout: both recipes run from an empty folder, and users' recipes join."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Returns a folder that holds the package from a wheel, and its console script."""
    folder = tmp_path_factory.mktemp("installed")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist")]
    subprocess.run([*build, str(CHECKOUT)], check=True, capture_output=True)
    (wheel,) = (folder / "dist").glob("*.whl")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(folder / "site"), str(wheel)], check=True, capture_output=True)
    return folder / "site"


def pai_train(site, cwd, *arguments):
    env = {**os.environ, "PYTHONPATH": str(site)}
    script = [sys.executable, str(site / "bin" / "pai-train"), *arguments]
    return subprocess.run(script, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("recipe", ["iris", "csvtest"])
def test_a_recipe_runs_from_an_empty_folder(recipe, installed, tmp_path):
    done = pai_train(installed, tmp_path, f"+recipe={recipe}", "train.epochs=2")
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.glob(f"runs/{recipe}/*/run.json")
    assert json.loads(record.read_text())["recipe_file"] == str(installed / "pai_train" / "recipes" / f"{recipe}.yaml")


def test_a_recipe_of_ones_own_joins_and_extends(installed, tmp_path):
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.yaml").write_text(
        "# Mine: iris, shorter.\n# @package _global_\ndefaults: [/recipe/iris, _self_]\ntrain: {epochs: 1}\n"
    )
    listed = pai_train(installed, tmp_path, "--help")
    assert "mine     Mine: iris, shorter." in listed.stdout
    assert "csvtest  Csvtest: read five columns" in listed.stdout
    done = pai_train(installed, tmp_path, "+recipe=mine")
    assert done.returncode == 0, done.stderr
    (record,) = tmp_path.glob("runs/mine/*/run.json")
    assert json.loads(record.read_text())["epochs"] == 1


def test_the_python_interface_runs_twice_in_one_process(installed, tmp_path):
    script = """
import sys
import pai_train
assert not {"tensorflow", "pyarrow", "hydra"} & set(sys.modules), "importing the package must stay light"
first = pai_train.run(pai_train.compose("iris", ["gpus=2", "train.epochs=2"]))
second = pai_train.run(pai_train.compose("iris", ["gpus=2", "train.epochs=2"]))
assert first.metrics == second.metrics and first.metrics["test"]["accuracy"] > 0.3
assert (first.generation, second.generation) == (1, 2)
assert first.folder != second.folder
try:
    pai_train.compose("iris", ["gpus=-1", "train.epoch=3"])
except Exception as error:
    assert len(error.faults) == 2, error
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("fine\n"), done.stderr
