"""A working folder with recipes of its own, and a command line that is run in this process."""

from __future__ import annotations

import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pai_train
from pai_train.__main__ import main

if TYPE_CHECKING:
    from pai_train.front.composed import Composed

ROOT = Path(__file__).parents[2]
HYDRAS_OWN = {"--help", "-h", "--hydra-help", "--cfg", "-c", "--info", "-i", "--shell-completion", "-sc"}


@dataclass
class Outcome:
    code: int
    out: str
    err: str


class Desk:
    """An empty working folder and the commands started in it; runs are recorded instead of made."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.runs: list[Composed] = []

    def recipe(self, name: str, text: str, folder: str = "recipes") -> Path:
        path = self.folder / folder / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    def command(self, *arguments: str) -> Outcome:
        self._capsys.readouterr()
        before = sorted(self.folder.rglob("*"))
        if HYDRAS_OWN & set(arguments):
            # Hydra sets logging up anew, at which absl, once TensorFlow is loaded, closes a captured stderr.
            command = [sys.executable, "-m", "pai_train", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            outcome = Outcome(done.returncode, done.stdout, done.stderr)
        else:
            code = main(arguments)
            outcome = Outcome(code, *self._capsys.readouterr())
        assert sorted(self.folder.rglob("*")) == before, "a command that does not run leaves the folder as it was"
        return outcome

    def refused(self, *arguments: str) -> str:
        outcome = self.command(*arguments)
        assert (outcome.code, outcome.out, self.runs) == (2, "", [])
        assert "Traceback" not in outcome.err
        return outcome.err


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PAI_TRAIN_RECIPES", raising=False)
    made = Desk(tmp_path, capsys)
    # The front ends where the resolver begins, which would load TensorFlow.
    resolver = types.ModuleType("pai_train.resolver")
    resolver.run = made.runs.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pai_train.resolver", resolver)
    monkeypatch.setattr(pai_train, "resolver", resolver, raising=False)
    return made
