"""The command line: exit codes, what Hydra's own app shows, and what is imported for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import pai_train
from pai_train.__main__ import main
from pai_train.errors import DataError, Interrupted
from tests.front.conftest import ROOT, Desk

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = ("tensorflow", "keras", "pyarrow", "pyiceberg", "pydantic", "numpy", "fsspec", "rich")


def test_runs_what_is_sound(desk: Desk) -> None:
    outcome = desk.command("+recipe=iris", "gpus=2")
    assert (outcome.code, outcome.err) == (0, "")
    assert [(run.recipe, run.config.gpus, run.overrides) for run in desk.runs] == [
        ("iris", 2, ("+recipe=iris", "gpus=2"))
    ]


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (DataError("no number", where="x.csv:3", got="a"), 1, "x.csv:3: no number\n    got: a\n"),
        (Interrupted("stopped at step 3"), 75, "stopped at step 3\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
    ids=["data", "interrupted", "keyboard"],
)
def test_exit_codes(desk: Desk, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str) -> None:
    def fail(composed: object) -> None:
        raise error

    monkeypatch.setattr(pai_train.resolver, "run", fail)
    outcome = desk.command("+recipe=iris")
    assert (outcome.code, outcome.err, outcome.out) == (code, text, "")


def test_a_bug_keeps_its_traceback(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pai_train.resolver, "run", lambda composed: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["+recipe=iris"])


FLAGS: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown": (("+recipe=iris", "--gpus"), "unrecognized arguments: --gpus"),
    "near": (("--multirn",), "did you mean '--multirun'?"),
    "value": (("--cfg", "jb"), "invalid choice: 'jb'"),
    "multirun": (("-m", "+recipe=iris"), "several runs in one command are not served"),
    "multirun-long": (("--multirun", "+recipe=iris", "train.seed=1,2"), "run one job per command"),
    "resolve": (("--resolve",), "goes with --cfg"),
    "package": (("-p", "train"), "goes with --cfg"),
    "config-name": (("-cn", "x"), "are not exchanged"),
    "config-path": (("-cp", "x"), "are not exchanged"),
    "config-dir": (("--config-dir", "nope"), "there is no such folder"),
    "rerun": (("--experimental-rerun", "x"), "is not served"),
}


@pytest.mark.parametrize(("arguments", "text"), FLAGS.values(), ids=FLAGS.keys())
def test_flags_that_are_refused(desk: Desk, arguments: tuple[str, ...], text: str) -> None:
    assert text in desk.refused(*arguments)


def test_config_dir(desk: Desk) -> None:
    (desk.folder / "mine/storage").mkdir(parents=True)
    (desk.folder / "mine/storage/far.yaml").write_text("root: /far\n")
    assert desk.command("--config-dir", "mine", "+recipe=iris", "storage=far").code == 0
    assert desk.runs[0].config.storage.root == "/far"
    desk.runs.clear()
    (desk.folder / "mine/storage/far.yaml").write_text("# Far\nroot: 3\n")
    assert "mine/storage/far.yaml:2 storage.root: has the wrong type" in desk.refused(
        "--config-dir", "mine", "+recipe=iris", "storage=far"
    )


def test_help(desk: Desk) -> None:
    desk.recipe("mine", "# Costs $5: my own\n")
    outcome = desk.command("--help")
    assert outcome.code == 0
    assert outcome.out.startswith("pai_train turns a recipe into a trained model")
    assert outcome.out.count("python -m pai_train +recipe=") == 7
    assert "  iris     Iris: learn the species from four measurements" in outcome.out
    assert "  mine     Costs $5: my own\n" in outcome.out
    assert "storage: azure, gcs, local, memory, oss, s3\n" in outcome.out
    assert "  gpus: 0                      # 0 | N | auto" in outcome.out
    assert "hydra:" not in outcome.out


@pytest.mark.parametrize("at", range(5))
def test_commands_in_the_help_are_real(desk: Desk, at: int) -> None:
    lines = [line for line in desk.command("--help").out.splitlines() if "python -m pai_train +recipe=" in line]
    command = lines[at].strip().split("  ")[0].split()
    assert desk.command(*command[3:]).code == 0
    assert len(desk.runs) == 1


def test_hydras_own_modes(desk: Desk) -> None:
    assert "== Flags ==" in desk.command("--hydra-help").out
    assert desk.command("--version").out.startswith(f"pai_train {pai_train.__version__}, Hydra 1.3")
    shown = desk.command("--cfg", "job", "+recipe=iris", "-p", "train")
    assert (shown.code, "epochs: 60\n" in shown.out) == (0, True)
    assert "root: data/tables" in desk.command("--cfg", "job", "+recipe=iris", "--resolve").out
    assert desk.runs == []


def test_hydras_own_modes_refuse_with_2(desk: Desk) -> None:
    desk.recipe("bad", "a: [\n")
    assert "recipes/bad.yaml:1: not YAML" in desk.refused("--cfg", "job", "+recipe=bad")
    assert "recipes/bad.yaml:1: not YAML" in desk.refused("--help", "+recipe=bad")


def test_hidden_recipe_is_reported_once(desk: Desk) -> None:
    own = desk.recipe("iris", "defaults: [/recipe/csvtest]\n")
    outcome = desk.command("+recipe=iris")
    assert outcome.code == 0
    assert outcome.err == f"recipe iris: {own} hides {ROOT}/recipes/iris.yaml\n"
    assert desk.runs[0].recipe_file == str(own)


def _python(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_search_path_is_the_checkouts(tmp_path: Path) -> None:
    shown = _python("-m", "pai_train", "--info", "searchpath", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert f"file://{ROOT}/conf" in shown.stdout
    assert f"recipes://{ROOT}/recipes" in shown.stdout
    assert not list(tmp_path.iterdir())


def test_completion(tmp_path: Path) -> None:
    shown = _python(
        "-m", "pai_train", "-sc", "query=bash", cwd=tmp_path, COMP_LINE="pai-train +recipe=", COMP_POINT="18"
    )
    assert shown.returncode == 0, shown.stderr
    assert set(shown.stdout.split()) == {"+recipe=csvtest", "+recipe=iris"}


def test_refusal_of_the_real_command(tmp_path: Path) -> None:
    refused = _python("-m", "pai_train", "+recipe=iris", "gpus=-1", "train.epochs=0", cwd=tmp_path)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("2 faults, nothing was touched:\n")
    assert not list(tmp_path.iterdir())


_WATCH = """
import atexit, json, sys
atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))
"""


@pytest.mark.parametrize("arguments", [("--help",), ("--cfg", "job"), ("--cfg", "job", "+recipe=iris")], ids=" ".join)
def test_import_budget(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    code = f"{_WATCH}\nfrom pai_train.__main__ import main\nsys.exit(main({list(arguments)!r}))"
    done = _python("-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    modules = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert "hydra" in modules
    assert not modules & set(HEAVY)


def test_import_of_the_package_is_light(tmp_path: Path) -> None:
    done = _python("-c", f"{_WATCH}\nimport pai_train", cwd=tmp_path)
    modules = {name.partition(".")[0] for name in json.loads(done.stderr)}
    assert not modules & {*HEAVY, "hydra", "omegaconf", "yaml"}


def test_output_that_nobody_reads_on_ends_quietly(tmp_path: Path) -> None:
    command = f"{sys.executable} -m pai_train --help | head -1"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("pai_train turns a recipe")
    assert done.stderr == ""
