"""The command line of PAI commands: plans, recipes that compose, exit codes; what is shown holds no secret."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pai_train.front.composed import compose
from pai_train.pai.__main__ import main

if TYPE_CHECKING:
    from pai_train.pai.contracts import ScriptJob

ROOT = Path(__file__).parents[2]
CSVTEST = """\
import os
name = os.path.join(FLAGS.buckets, "csvtest.csv")
record_defaults = [[''], [0], [0.0]]
d1, d2, d3 = tf.decode_csv(value, record_defaults=record_defaults)
"""


@dataclass
class Desk:
    folder: Path
    capsys: pytest.CaptureFixture[str]
    codes: list[int] = field(default_factory=list)
    jobs: list[ScriptJob] = field(default_factory=list)

    def run(self, job: ScriptJob) -> int:
        self.jobs.append(job)
        return self.codes.pop(0) if self.codes else 0

    def command(self, *words: str) -> tuple[int, str, str]:
        code = main(words)
        return code, *self.capsys.readouterr()


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """A folder with a script; jobs are recorded where they would be run, which other tests do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OSS_ENDPOINT", raising=False)
    (tmp_path / "train.py").write_text(CSVTEST)
    made = Desk(tmp_path, capsys)
    running = types.ModuleType("pai_train.pai.run")
    running.run = made.run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pai_train.pai.run", running)
    return made


COMMAND = ("-name", "tensorflow180_ext", "-project", "algo_public", "-Dscript=train.py")


def test_statements_run_in_order_until_one_fails(desk: Desk) -> None:
    (desk.folder / "jobs.sql").write_text(
        "".join(f"PAI -name t{'ensorflow'} -Dscript=train.py -Dtables=t{at};" for at in range(3))
    )
    desk.codes[:] = [0, 75]
    assert desk.command("--file", "jobs.sql", "--py2")[0] == 75
    assert [(job.tables, job.py2) for job in desk.jobs] == [(("t0",), True), (("t1",), True)]
    assert len({job.run_dir for job in desk.jobs}) == 2


def test_nothing_runs_where_one_statement_has_a_fault(desk: Desk) -> None:
    text = "PAI -name tensorflow -Dscript=train.py; PAI -name tensorflow -Dscript=trian.py;"
    code, out, err = desk.command("-e", text)
    assert (code, out, desk.jobs) == (2, "", [])
    assert err.startswith("1 fault, nothing was touched:\n  command line:1:62 -Dscript: there is no such file\n")
    assert not (desk.folder / "runs").exists()


def test_standard_input(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "stdin", io.StringIO("use lab;\npai -name tensorflow -Dscript='train.py' -Dtables='${t}';")
    )
    assert desk.command("--set", "t=iris", "--tables", "iceberg", "--tables-root", "/data/tables")[0] == 0
    [job] = desk.jobs
    assert job.tables == ("iris",)
    assert job.settings == {
        "PAI_TRAIN_TABLES": "iceberg",
        "PAI_TRAIN_TABLES_ROOT": "/data/tables",
        "PAI_TRAIN_PROJECT": "lab",
    }


REFUSED = {
    "option": ((*COMMAND, "--pln"), "did you mean '--plan'?"),
    "flag": ((*COMMAND, "-DuserDefinedParameters=--a=1", "--b=2"), "flags of the script belong into"),
    "file": (("--file", "none.sql"), "the file cannot be read"),
    "both": ((*COMMAND, "-e", "PAI;"), "statements come from several places"),
    "none": (("-e", "use lab;"), "there is no PAI statement"),
    "date": ((*COMMAND, "--date", "x"), "not a date"),
    "recipes": (("-e", "PAI -name tensorflow -Dscript=train.py;" * 2, "--to-recipe", "x.yaml"), "one recipe is of one"),
    "there": ((*COMMAND, "--to-recipe", "train.py"), "the file is there already"),
}


@pytest.mark.parametrize(("words", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_refused(words: tuple[str, ...], text: str, desk: Desk) -> None:
    code, out, err = desk.command(*words)
    assert (code, out, desk.jobs) == (2, "", [])
    assert text in err


def test_a_plan_runs_nothing_and_shows_no_secret(desk: Desk) -> None:
    code, out, _ = desk.command(
        "--plan",
        *COMMAND,
        "-Dbuckets=oss://bucket/csv/?access_key_id=LTAIabcdefghijklmnop&access_key_secret=thesecretone&host=oss-x.com",
        "-DuserDefinedParameters=--db_password=thesecrettwo --token thesecretthree --lr 0.1",
        "-DhyperParameters=oss://bucket/hyper.txt",
        "-Dtags=x",
    )
    assert (code, desk.jobs, (desk.folder / "runs").exists()) == (0, [], False)
    assert "process      python train.py --buckets=oss://bucket/csv/ '--db_password=***' --token '***' --lr 0.1" in out
    assert "OSS_ENDPOINT=https://oss-x.com" in out
    assert "oss://bucket/hyper.txt" in out
    assert "-Dtags has no effect" in out
    assert not any(secret in out for secret in ("thesecret", "LTAIabcdefghijklmnop"))


def test_notes_and_warnings_of_a_run_are_told(desk: Desk) -> None:
    code, out, err = desk.command(*COMMAND, "-Dtags=x", "-Dbucket=y")
    assert (code, out) == (0, "")
    assert "-Dtags has no effect\n" in err
    assert "warning: command line -Dbucket: unknown key, without effect; did you mean -Dbuckets?\n" in err


RECIPES = {
    "tables": (
        ("-Dtables=odps://lab/tables/a,odps://lab/tables/b/ds=1", "-Doutputs=odps://lab/tables/o", "-DgpuRequired=200",
         "-DcreateTableSql=create table o(x double, kind string);"),
        {"train": "odps://lab/tables/a", "test": "odps://lab/tables/b/ds=1"}, "local",
    ),
    "oss": (("-Dbuckets=oss://bucket/csv/,oss://other/", "-DcheckpointDir=oss://bucket/ck/", "-Darn=acs:ram::1:role/x",
             "-DossHost=oss-cn-beijing.aliyuncs.com"), {"train": "csvtest.csv"}, "oss"),
    "s3": (("-Dbuckets=s3://bucket/csv/",), {"train": "csvtest.csv"}, "s3"),
    "file": (("-Dbuckets=file:///data/csv/", '-Dcluster={"worker":{}}'), {"train": "csvtest.csv"}, "local"),
    "remote": (("-Dscript=oss://bucket/x.tar.gz", "-DentryFile=main.py", "-Dbuckets=gs://bucket/"), {"train": "*.csv"},
               "gcs"),
    "nothing": ((), {"train": "csvtest.csv"}, "local"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "inputs", "storage"), RECIPES.values(), ids=RECIPES.keys())
def test_a_recipe_composes(words: tuple[str, ...], inputs: dict[str, str], storage: str, desk: Desk) -> None:
    command = [word for word in COMMAND if not (words and words[0].startswith("-Dscript") and "-Dscript" in word)]
    code, out, err = desk.command("--to-recipe", "recipes/mine.yaml", *command, *words)
    assert (code, desk.jobs) == (0, []), err
    assert "+recipe=mine" in out
    config = compose("mine").config
    assert {name: rows.table or rows.oss for name, rows in config.inputs.items()} == inputs
    assert config.storage.name == storage
    assert [output.ddl for output in config.outputs.values() if output.ddl] == [
        word.partition("=")[2].rstrip(";") for word in words if word.startswith("-DcreateTableSql")
    ]
    if storage == "oss":
        assert (config.storage.role_arn, config.storage.root) == ("acs:ram::1:role/x", "oss://bucket/csv/")
        assert config.checkpointDir == "oss://bucket/ck/"
    text = (desk.folder / "recipes" / "mine.yaml").read_text()
    for key in ("-Dscript=", "-Dcluster=", "-DentryFile="):
        given = any(word.startswith(key) for word in (*command, *words))
        assert (f"#   {key}" in text) is given
    before = text
    assert desk.command("--to-recipe", "recipes/mine.yaml", *command, *words)[0] == 2
    assert (desk.folder / "recipes" / "mine.yaml").read_text() == before
    assert desk.command("--force", "--to-recipe", "recipes/mine.yaml", *command, *words)[0] == 0


@pytest.mark.parametrize("words", [("--help",), ("--plan", *COMMAND)], ids=["help", "plan"])
def test_tensorflow_stays_away(words: tuple[str, ...], desk: Desk) -> None:
    code = f"""
import sys
from pai_train.pai.__main__ import main
try:
    main({words!r})
finally:
    heavy = [name for name in ("tensorflow", "keras", "pyiceberg", "odps") if name in sys.modules]
    assert not heavy, heavy
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "pai" in done.stdout
