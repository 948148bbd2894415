"""Tab completion: what is offered, how soon and with what imports, and that each shell really completes it."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hydra._internal.utils import get_args_parser

from pai_train.__main__ import main
from pai_train.front import completion, shells
from pai_train.front.completion import candidates, serve
from tests.front.conftest import ROOT
from tests.front.test_main import HEAVY

PROGRAMS = Path(sys.executable).parent
LONGEST_S = 60


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PAI_TRAIN_RECIPES", raising=False)
    return tmp_path


def offered(line):
    return [one.text for one in candidates(f"pai-train {line}")]


# What is offered


OFFERED = {
    "recipes": ("+recipe=", ["+recipe=csvtest", "+recipe=iris"]),
    "recipe-without-plus": ("recipe=i", ["recipe=iris"]),
    "second-recipe": ("+recipe=[iris,", ["+recipe=[iris,csvtest"]),
    "recipe-key": ("+re", ["+recipe="]),
    "options": ("storage=", [f"storage={name}" for name in ("azure", "gcs", "local", "memory", "oss", "s3")]),
    "engine": ("engine=q", ["engine=queue_runner"]),
    "tables": ("tables=", ["tables=iceberg", "tables=maxcompute"]),
    "group-and-section": ("stor", ["storage.", "storage="]),
    "key": ("train.ep", ["train.epochs="]),
    "key-that-no-file-lists": ("storage.cache.", ["storage.cache.dir=", "storage.cache.max_gb="]),
    "section": ("train.ch", ["train.checkpoint."]),
    "alias": ("stage.fr", ["stage.from="]),
    "enum": ("train.optimizer=", [f"train.optimizer={name}" for name in ("adam", "adamw", "rmsprop", "sgd")]),
    "mode": ("mode=", ["mode=check", "mode=expire", "mode=stage", "mode=train"]),
    "bool": ("train.deterministic=", ["train.deterministic=false", "train.deterministic=true"]),
    "null": ("train.steps=", ["train.steps=null"]),
    "number": ("train.epochs=", ["train.epochs=10"]),
    "auto": ("engine.parallel=", ["engine.parallel=auto"]),
    "value-of-the-recipe": ("+recipe=iris train.epochs=", ["train.epochs=60"]),
    "value-of-the-line": ("+recipe=iris train.epochs=7 train.epochs=", ["train.epochs=7"]),
    "inputs-of-the-recipe": ("+recipe=iris inputs.", ["inputs.train."]),
    "columns-of-the-recipe": ("+recipe=iris inputs.train.columns.f1", ["inputs.train.columns.f1="]),
    "parameters-of-the-recipe": ("+recipe=iris model.params.", ["model.params.hidden="]),
    "input-of-ones-own": ("inputs.mine.sh", ["inputs.mine.shuffle="]),
    "enum-of-ones-own": (
        "inputs.mine.shuffle=",
        [f"inputs.mine.shuffle={name}" for name in ("block", "none", "window")],
    ),
    "key-or-section": ("inputs.train.la", ["inputs.train.label.", "inputs.train.label="]),
    "unknown-recipe": ("+recipe=nope train.ep", ["train.epochs="]),
    "unreadable-word": ("a=[ train.ep", ["train.epochs="]),
    "deletion": ("~train.ste", ["~train.steps", "~train.steps_per_call"]),
    "hydras-own": ("hydra.verb", ["hydra.verbose="]),
    "flag": ("--c", ["--cfg", "--config-dir"]),
    "flag-value": ("--cfg ", ["all", "hydra", "job"]),
    "flag-short": ("-i def", ["defaults", "defaults-tree"]),
    "quoted": ("'train.ep", []),
    "quoted-inside": ("train.'ep", []),
    "unknown-key": ("nothing.at.all.", []),
    "unknown-value": ("train.epochs=x", []),
}


@pytest.mark.parametrize(("line", "expected"), OFFERED.values(), ids=OFFERED)
def test_offers(line, expected):
    assert offered(line) == expected


def test_an_empty_word_is_offered_all_groups_and_keys_at_the_top():
    found = offered("")
    assert {"+recipe=", "storage=", "storage.", "engine=", "tables=", "inputs.", "outputs.", "gpus=", "mode="} <= {
        *found
    }
    assert "recipe=" not in found
    assert [one.text for one in candidates("CUDA_VISIBLE_DEVICES= A=b pai-train +re")] == ["+recipe="]
    assert candidates("pai-train") == []


def test_the_users_own_recipes_and_groups_are_offered(folder):
    (folder / "recipes").mkdir()
    (folder / "recipes/mine.yaml").write_text("# My own.\ntrain: {epochs: 5}\n")
    (folder / "recipes/not plain.yaml").write_text("")
    (folder / "recipes/$(touch x).yaml").write_text("")
    (folder / "recipes/broken.yaml").write_text("a: [\n")
    (folder / "more/storage").mkdir(parents=True)
    (folder / "more/storage/far.yaml").write_text("root: /far\n")
    assert offered("+recipe=") == [f"+recipe={name}" for name in ("broken", "csvtest", "iris", "mine")]
    assert [one.note for one in candidates("pai-train +recipe=mine")] == ["My own."]
    assert offered("+recipe=broken train.ep") == ["train.epochs="]
    assert offered("--config-dir more storage=f") == ["storage=far"]
    assert offered("--config-dir more storage=far storage.root=") == ["storage.root=/far"]


def test_secrets_are_neither_asked_with_nor_offered(folder, monkeypatch):
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "hunter2hunter2")
    (folder / "recipes").mkdir()
    (folder / "recipes/mine.yaml").write_text(
        "storage: {endpoint: hunter2hunter2, region: '${oc.env:OSS_ACCESS_KEY_SECRET}', profile: fine}\n"
    )
    assert offered("+recipe=mine storage.profile=") == ["storage.profile=fine", "storage.profile=null"]
    assert offered("+recipe=mine storage.endpoint=") == ["storage.endpoint=null"]
    assert offered("+recipe=mine storage.region=") == ["storage.region=null"]
    assert offered("storage.access_key_secret=abcdefgh train.ep") == []


def test_flags_are_those_of_the_command_line():
    actions = {flag: action for action in get_args_parser()._actions for flag in action.option_strings}
    assert {*completion._FLAGS, *completion._VALUES_OF_FLAGS} <= {*actions}
    for short, flag in completion._SHORT.items():
        assert actions[short] is actions[flag]
    for flag, values in completion._VALUES_OF_FLAGS.items():
        if actions[flag].choices:
            assert sorted(values) == sorted(actions[flag].choices)


# The protocol between a shell's script and the command


def test_bash_gets_what_is_behind_its_own_marks():
    marks = " \t\n\"'@><=;|&(:"
    line = "pai-train train.optimizer=a"
    assert serve(["query=bash"], {"COMP_LINE": line, "COMP_WORDBREAKS": marks}) == "adam \nadamw \n"
    assert serve(["query=bash"], {"COMP_LINE": line}) == "train.optimizer=adam \ntrain.optimizer=adamw \n"
    assert serve(["query=bash"], {"COMP_LINE": "pai-train train.ep x", "COMP_POINT": "18"}) == "train.epochs=\n"


def test_zsh_and_fish_get_notes():
    line = {"COMP_LINE": "pai-train train.ep"}
    assert serve(["query=fish"], line) == serve(["query=zsh"], line)
    assert serve(["query=fish"], line) == "train.epochs=\tHow often the training rows are read\n"


@pytest.mark.parametrize("asked", [(), ("install=tcsh",), ("install",), ("remove=bash",), ("query=bash", "gpus=2")])
def test_other_requests_are_refused(asked, capsys):
    assert main(["-sc", *asked]) == 2
    assert "wanted: install=bash|fish|zsh or uninstall=bash|fish|zsh" in capsys.readouterr().err


def test_scripts_are_for_the_name_the_command_is_called_by():
    assert "complete -c pt-2 -f" in serve(["install=fish"], {}, "/x/pt-2")
    for name in ("__main__.py", "x y", "-c"):
        assert serve(["install=bash"], {}, f"/x/{name}").splitlines()[-2].endswith(" pai-train")
    assert serve(["uninstall=zsh"], {}, "pt") == "compdef -d pt; unfunction _pt_complete\n"


WATCH = "import atexit, json, sys; atexit.register(lambda: sys.stderr.write(json.dumps(sorted(sys.modules))))"


@pytest.mark.parametrize("line", ["pai-train ", "pai-train +recipe=iris train.optimizer="])
def test_a_query_imports_nothing_heavy(line):
    code = f"{WATCH}\nfrom pai_train.__main__ import main\nsys.exit(main(['-sc', 'query=fish']))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "COMP_LINE": line},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert not {name.partition(".")[0] for name in json.loads(done.stderr)} & set(HEAVY)


# Real shells

STARTED = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"], "fish": ["fish", "-N", "-i"]}
EVAL = 'eval "$(pai-train -sc {}={})"'
RUN = {"bash": EVAL, "zsh": EVAL, "fish": "pai-train -sc {}={} | source"}


class Terminal:
    """An interactive shell behind a terminal of its own; completes lines as a person would see them."""

    def __init__(self, command, folder):
        self.text = ""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAI_TRAIN_", "ZDOTDIR"))}
        path = f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"
        env = {**kept, "PATH": path, "HOME": str(folder), "TERM": "dumb", "PS1": "", "COLUMNS": "500"}
        self.process, self.end = pty.fork()
        if not self.process:
            os.chdir(folder)
            os.execvpe(command[0], command, env)  # noqa: S606 - it is what the test is about

    def wait(self, pattern):
        """Reads on until a pattern is there; returns its match and forgets what came before its end."""
        end = time.monotonic() + LONGEST_S
        while (found := re.search(pattern, self.text)) is None:
            ready, _, _ = select.select([self.end], [], [], end - time.monotonic())
            assert ready, f"{pattern} does not come: {self.text}"
            self.text += os.read(self.end, 65536).decode(errors="replace")
        self.text = self.text[found.end() :]
        return found

    def type(self, keys):
        os.write(self.end, keys.encode())

    def run(self, line):
        # The echo of what is typed is not what is printed: the quotes are missing there.
        self.type(f'{line}; echo "do""ne"\r')
        self.wait(r"done\r?\n")

    def completed(self, line):
        """Returns a line after the tab key and an X, printed by the shell itself: its beginning becomes an echo."""
        self.type(f'{line}\tX\x01echo "com""pleted:" \r')
        return self.wait(r"completed: (.*?)\r?\n")[1]

    def close(self):
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self.end)


@pytest.fixture(params=STARTED)
def terminal(request, folder):
    shell = request.param
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed (Debian: apt-get install {shell})")
    started = Terminal(STARTED[shell], folder)
    try:
        started.shell = shell
        started.run(RUN[shell].format("install", shell))
        yield started
    finally:
        started.close()


def test_a_shell_completes_leaves_others_alone_and_forgets(terminal, folder):
    (folder / "some-data").mkdir()
    for typed, expected in {
        "pai-train +rec": "pai-train +recipe=X",
        "pai-train +recipe=ir": "pai-train +recipe=iris X",
        "pai-train +recipe=iris train.ep": "pai-train +recipe=iris train.epochs=X",
        "pai-train +recipe=iris train.epochs=": "pai-train +recipe=iris train.epochs=60 X",
        "pai-train train.optimizer=ada": "pai-train train.optimizer=adamX",
        "pai-train storage.root=some-d": "pai-train storage.root=some-data/X",
        "CUDA_VISIBLE_DEVICES= pai-train mode=ch": "CUDA_VISIBLE_DEVICES= pai-train mode=check X",
        f"{PROGRAMS}/pai-train mode=ch": f"{PROGRAMS}/pai-train mode=check X",
    }.items():
        assert terminal.completed(typed) == expected, terminal.shell
    if terminal.shell != "fish":  # which shows choices in a pager that waits for keys
        terminal.type("pai-train train.resume=\t\t")
        terminal.wait(r"(?s)auto.*never")
        terminal.type("\x15")
    assert terminal.completed("ls some-d") == "ls some-data/X"
    assert terminal.completed("dd if=some-d") == "dd if=some-data/X"
    terminal.run(RUN[terminal.shell].format("uninstall", terminal.shell))
    assert terminal.completed("pai-train mode=ch") == "pai-train mode=chX"


def test_zsh_takes_the_script_for_bash(folder):
    """Hydra's own help tells users of zsh to install that one."""
    if shutil.which("zsh") is None:
        pytest.skip("zsh is not installed (Debian: apt-get install zsh)")
    terminal = Terminal(STARTED["zsh"], folder)
    try:
        terminal.run(EVAL.format("install", "bash"))
        assert terminal.completed("pai-train mode=ch") == "pai-train mode=check X"
    finally:
        terminal.close()


@pytest.mark.parametrize("shell", shells.SHELLS)
def test_the_page_shows_the_lines_that_are_tested(shell):
    assert shell in STARTED
    page = (ROOT / "docs/8-completion.md").read_text(encoding="utf-8").replace("\\|", "|")
    assert f"`{RUN[shell].format('install', shell)}`" in page
