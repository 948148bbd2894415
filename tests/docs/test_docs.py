"""The pages as programs: their files are written, their commands and snippets are run, their links are followed.

A comment in front of a block says what is expected of it:

    <!-- file: recipes/mine.yaml -->   the block is written to that file
    <!-- exit 2 -->                    the commands end with this exit code, not with 0
    <!-- compare -->                   what is shown below the command is printed, `…` standing for any text

Blocks of a page run in order in one folder that is empty at first, but for `.venv`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pai_train.spec.reference import reference

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
BLOCK = re.compile(
    r"(?:^<!-- (?P<marks>.+?) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
LONGEST_S = 120
ENDPOINTS = {"oss": "OSS_ENDPOINT", "s3": "AWS_ENDPOINT_URL_S3", "gcs": "STORAGE_EMULATOR_HOST"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the words of the comment in front of it."""

    line: int
    language: str
    marks: str
    text: str

    @property
    def file(self) -> str | None:
        return self.marks.removeprefix("file:").strip() if self.marks.startswith("file:") else None

    @property
    def code(self) -> int:
        found = re.search(r"\bexit (\d+)\b", self.marks)
        return int(found[1]) if found else 0

    @property
    def commands(self) -> list[str]:
        return [line[2:] for line in self.text.splitlines() if line.startswith("$ ")]

    @property
    def shown(self) -> list[str]:
        return [line for line in self.text.splitlines() if not line.startswith("$ ")]


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(text.count("\n", 0, found.start()) + 1, found["language"], found["marks"] or "", found["text"])
        for found in BLOCK.finditer(text)
    ]


def pattern(shown: list[str]) -> re.Pattern[str]:
    """Matches the lines as they stand; `…` inside a line is any text, a line of `…` any lines."""
    lines = [r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"[ ]*\n" for line in shown]
    return re.compile("".join(lines))


def run(command: list[str], cwd: Path, more: Mapping[str, str] | None = None) -> tuple[int, str]:
    """Runs a command with the environment's programs first on PATH; whatever it starts ends with it."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PAI_TRAIN_")}
    with subprocess.Popen(
        command,
        cwd=cwd,
        env={**kept, "PATH": path, **(more or {})},
        text=True,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            text, _ = process.communicate(timeout=LONGEST_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return process.returncode, text


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.fixture
def desk(tmp_path):
    """An empty folder whose `.venv` is the environment that the tests run in."""
    folder = tmp_path / "desk"
    folder.mkdir()
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture
def stores(request):
    """Finds what reaches the stores that a page names: environment, and what `my-bucket` is really called."""

    def start(page):
        env, names = {}, {}
        for option, endpoint in ENDPOINTS.items():
            if f"storage={option}" in page:
                served = request.getfixturevalue(f"{option}_server")
                env |= {**served.env, endpoint: served.endpoint}
                names[f"{served.scheme}://my-bucket"] = f"{served.scheme}://{served.bucket}"
        if "tables=maxcompute" in page:
            env |= request.getfixturevalue("maxcompute_server").env
            names["my_project"] = request.getfixturevalue("maxcompute_door").project()
        return env, names

    return start


@pytest.mark.parametrize("name", [name for name in NAMES if name != "docs/keys.md"])
def test_a_page_does_what_it_says(name, desk, stores):
    env, names = stores((ROOT / name).read_text(encoding="utf-8"))
    for block in blocks(ROOT / name):
        place = f"{name}:{block.line}"
        if block.file is not None:
            path = desk / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.language == "console":
            assert block.commands, f"{place}: no line starts with '$ '"
            made = [command.split()[1] for command in block.commands if command.startswith("make ")]
            assert set(made) <= targets(), place
            commands = [command for command in block.commands if not command.startswith("make ")]
            if commands:
                lines = "\n".join(commands)
                for shown, real in names.items():
                    lines = lines.replace(shown, real)
                code, text = run(["bash", "-euo", "pipefail", "-c", lines], desk, env)
                for shown, real in names.items():
                    text = text.replace(real, shown)
                assert code == block.code, f"{place}: exit {code}\n{text}"
                if "compare" in block.marks:
                    assert pattern(block.shown).search(text), f"{place}: printed was\n{text}"
        elif block.language == "python":
            text = block.text
            for shown, real in names.items():
                text = text.replace(shown, real)
            code, text = run([sys.executable, "-c", text], desk, env)
            assert code == block.code, f"{place}: exit {code}\n{text}"


def test_marks_are_understood():
    for name in NAMES:
        for block in blocks(ROOT / name):
            rest = "" if block.file else re.sub(r"\bexit \d+\b|\bcompare\b|,", "", block.marks).strip()
            assert not rest, f"{name}:{block.line}: {block.marks}"


@pytest.mark.parametrize("name", NAMES)
def test_relative_links_lead_somewhere(name):
    page = ROOT / name
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:|#", link):
            assert (page.parent / link.partition("#")[0]).exists(), f"{name}: {link}"


def test_every_page_is_in_the_reading_order():
    listed = LINK.findall((ROOT / "docs" / "README.md").read_text(encoding="utf-8"))
    numbered = [link for link in listed if re.match(r"\d-", link)]
    assert numbered == sorted(page.name for page in PAGES if re.match(r"\d-", page.name))
    assert {page.name for page in PAGES if page.parent.name == "docs"} - {"README.md"} <= set(listed)


def test_the_reference_of_keys_is_up_to_date():
    written = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    assert written == reference(), "run: python -m pai_train.spec.reference > docs/keys.md"


@pytest.mark.parametrize(
    ("shown", "printed", "fits"),
    [
        (["a … c"], "a b c\n", True),
        (["a", "…", "d"], "a\nb\nc\nd\n", True),
        (["a", "d"], "a\nb\nd\n", False),
        (["a … c"], "a b\nc\n", False),
    ],
)
def test_ellipses_stand_for_any_text(shown, printed, fits):
    assert bool(pattern(shown).search(printed)) is fits
