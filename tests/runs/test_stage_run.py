"""mode=stage: files and tables put in place on every store, verified, gone on with, and never over what differs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from pai_train import compose, run
from pai_train.__main__ import main
from pai_train.errors import Refused
from pai_train.front.recipes import folder
from pai_train.spec.check import as_tree, check
from pai_train.spec.config import EngineConfig, JobConfig, StorageConfig, TablesConfig
from pai_train.spec.stage_config import StageConfig
from pai_train.storage import open_store
from tests.suites.modes import below, put, refused, rows, staged, tree

SAMPLES = folder("recipes") / "data"
ROWS = "create table t(a BIGINT, b STRING)"


# Samples of a recipe


def test_the_sample_of_a_file(here, capsys):
    done = staged("+recipe=csvtest")
    size = (SAMPLES / "csvtest.csv").stat().st_size
    assert (done.files, done.bytes, done.skipped, done.place) == (1, size, 0, "data/csvtest.csv")
    assert capsys.readouterr().out == f"staged 1 file, {size:,} bytes, 0 skipped: data/csvtest.csv\n"
    assert tree(here) == {"data/csvtest.csv": (SAMPLES / "csvtest.csv").read_bytes()}
    again = staged("+recipe=csvtest")
    assert (again.files, again.skipped) == (0, 1)


def test_the_sample_of_a_table(here):
    done = staged("+recipe=iris")
    assert (done.files, done.skipped, done.place) == (1, 0, "odps://pai_train/tables/iris")
    assert [",".join(map(str, row)) for row in rows("iris")] == (SAMPLES / "iris.csv").read_text().splitlines()
    before = tree(here)
    assert staged("+recipe=iris").skipped == 1
    assert tree(here) == before


def test_a_sample_of_ones_own(here):
    put(here, {"recipes/data/mine.csv": "1,x\n", "recipes/mine.yaml": "# Mine.\ndefaults: [/recipe/csvtest, _self_]\n"})
    words = ["+recipe=mine", "inputs.train.sample=mine.csv", "inputs.train.oss=deep/mine.csv"]
    assert staged(*words).place == "data/deep/mine.csv"
    assert (here / "data" / "deep" / "mine.csv").read_text() == "1,x\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["+recipe=csvtest", "inputs.train.oss=csvtset.csv"], ["of its own name", "wanted: csvtset.csv"]),
        (["+recipe=csvtest", "inputs.train.oss=x*.csv"], ["stands in for one object", "inputs.train.oss=x*.csv"]),
        (["+recipe=csvtest", "inputs.train.sample=csvtset.csv"], ["no such sample", "did you mean 'csvtest.csv'?"]),
        (["+recipe=iris", "inputs.train.table=irsi"], ["of its own name", "wanted: irsi.csv"]),
        (["+recipe=iris", "inputs.train.columns.f6=DOUBLE"], ["iris.csv:1", "5 fields"]),
        (["+recipe=iris", "inputs.train.sample=null"], ["there is nothing to stage", "name a recipe whose inputs"]),
        ([], ["there is nothing to stage", "stage.from and stage.to"]),
        (["stage.to=x"], ["nothing says what"]),
        (["stage.from=x"], ["nothing says where", "stage.to=./"]),
        (["stage.from=3", "stage.to=x"], ["has the wrong type", "wanted: text or a list of texts"]),
        (["stage.frm=x"], ["unknown key 'frm'", "did you mean 'from'?"]),
        (["stage.from_=x"], ["unknown key 'from_'", "did you mean 'from'?"]),
        (["stage=x"], ["a mapping with the keys from, to, ddl"]),
        (["stage.from=x", "stage.to=y"], ["there is no such file or folder", "got: x"]),
        (["stage.from=[]", "stage.to=y"], ["names no file"]),
        (["stage.from=x*", "stage.to=y"], ["nothing matches the pattern", "got: x*"]),
        (["stage.from=ftp://h/x", "stage.to=y"], ["ftp:// is not served"]),
        (["stage.from=x", "stage.to=odps://p/t"], ["not a table address"]),
        (["stage.from=x", "stage.to=t", "stage.ddl=create table t(a BIGINTT)"], ["not a CREATE TABLE statement"]),
        (["stage.from=x", "stage.to=t", "stage.delimiter=ab", f"stage.ddl={ROWS}"], ["not a delimiter"]),
    ],
)
def test_what_cannot_be_staged(words, said, here):
    found = refused(*words)
    for each in said:
        assert each in found
    assert tree(here) == {}


def test_the_command_says_it_too(here, capsys):
    assert main(["mode=stage"]) == 2
    out, err = capsys.readouterr()
    assert "there is nothing to stage" in err
    assert out == ""


def test_no_tensorflow(here):
    script = "import sys; from pai_train.__main__ import main; code = main(['+recipe=iris', 'mode=stage']);"
    script += "assert not {'tensorflow', 'keras'} & set(sys.modules); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", script], cwd=here, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "staged 1 file, 4,550 bytes, 0 skipped: odps://pai_train/tables/iris\n"


def test_a_configuration_made_in_python(here):
    """The field `from_` stands for the key `from`, which Python keeps for itself."""
    put(here, {"src/a": "1"})
    made = JobConfig(
        mode="stage",
        stage=StageConfig(from_="src", to="up"),
        inputs={},
        checkpointDir="",
        storage=StorageConfig(root="data"),
        tables=TablesConfig(name="iceberg", root="data/tables"),
        engine=EngineConfig(name="tf_data"),
    )
    with pytest.raises(Refused, match="checkpointDir"):
        run(replace(made, mode="train"))
    assert run(made).files == 1
    assert (here / "data" / "up" / "a").read_text() == "1"
    composed = compose(None, ["mode=stage", "stage.from=src", "stage.to=up"])
    assert composed.tree["stage"]["from"] == "src"
    assert as_tree(composed.config)["stage"] == composed.tree["stage"]
    assert check(JobConfig, as_tree(composed.config))[0] == composed.config


# Files and folders

SOURCE = {"src/a.csv": "1\n", "src/b c#?%.csv": "2\n", "src/deep/a.csv": b"", "src/deep/big.bin": b"\0" * (9 * 2**20)}


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["stage.from=src", "stage.to=up"], ["up/a.csv", "up/b c#?%.csv", "up/deep/a.csv", "up/deep/big.bin"]),
        (["stage.from=src", "stage.to=./"], ["a.csv", "b c#?%.csv", "deep/a.csv", "deep/big.bin"]),
        (["stage.from=src/*.csv", "stage.to=up"], ["up/a.csv", "up/b c#?%.csv"]),
        (["stage.from=src/*/a.csv", "stage.to=up"], ["up/deep/a.csv"]),
        (["stage.from=src/**/*.csv", "stage.to=up"], ["up/a.csv", "up/b c#?%.csv", "up/deep/a.csv"]),
        (["stage.from=src/a.csv", "stage.to=up.csv"], ["up.csv"]),
        (["stage.from=src/a.csv", "stage.to=up/"], ["up/a.csv"]),
        (["stage.from=src/a.csv", "stage.to=."], ["a.csv"]),
        (["stage.from=[src/a.csv,src/deep]", "stage.to=up"], ["up/a.csv", "up/big.bin"]),
    ],
)
def test_files_folders_and_globs(words, found, here):
    put(here, SOURCE)
    if "deep]" in words[0]:
        os.remove(here / "src/deep/a.csv")
    done = staged(*words)
    made = below(here, "data")
    assert sorted(made) == sorted(found)
    assert done.files == len(found)
    for name, text in made.items():
        wanted = {path.rsplit("/", 1)[1]: one.encode() if isinstance(one, str) else one for path, one in SOURCE.items()}
        assert text in (wanted.get(name.rsplit("/", 1)[-1]), b"1\n", b"")


def test_two_files_of_one_name(here):
    put(here, SOURCE)
    assert "two files have one name where they go" in refused("stage.from=[src/a.csv,src/deep]", "stage.to=up")
    assert not (here / "data").exists()


def test_what_differs_is_refused_all_at_once_and_then_replaced(here):
    put(here, SOURCE)
    put(here, {"data/up/a.csv": "other", "data/up/deep/a.csv": "more", "data/up/mine": "mine"})
    before = tree(here)
    found = refused("stage.from=src", "stage.to=up")
    assert found.count("another object lies there") == 2
    assert found.count("stage.replace=true") == 2
    assert "data/up/a.csv" in found
    assert "data/up/deep/a.csv" in found
    assert tree(here) == before
    done = staged("stage.from=src", "stage.to=up", "stage.replace=true")
    assert (done.files, done.skipped) == (4, 0)
    assert tree(here)["data/up/a.csv"] == b"1\n"
    assert tree(here)["data/up/mine"] == b"mine"


def test_the_same_size_is_not_the_same(here):
    put(here, {"src/a": "12345", "data/up/a": "12354"})
    assert "another object lies there" in refused("stage.from=src", "stage.to=up")
    put(here, {"data/up/a": "12345"})
    assert staged("stage.from=src", "stage.to=up").skipped == 1


def test_a_folder_in_the_way(here):
    put(here, {"src/a": "1", "data/up/a/b": "1"})
    assert "there is a folder of that name" in refused("stage.from=src", "stage.to=up")
    assert "there is a folder of that name" in refused("stage.from=src/a", "stage.to=up")


def test_more_files_than_are_asked_for_one_by_one(here):
    put(here, {f"src/{number:03}": str(number) for number in range(70)})
    assert staged("stage.from=src", "stage.to=up").files == 70
    put(here, {"src/new": "new"})
    done = staged("stage.from=src", "stage.to=up")
    assert (done.files, done.skipped) == (1, 70)


def test_from_one_store_to_another(here):
    open_store("memory://").put("memory://stage/in/x/a.csv", b"1\n")
    done = staged("stage.from=memory://stage/in", "stage.to=memory://stage/out")
    assert (done.files, done.place) == (1, "memory://stage/out")
    assert open_store("memory://").read("memory://stage/out/x/a.csv") == b"1\n"
    assert staged("stage.from=memory://stage/out/*/a.csv", "stage.to=home").files == 1
    assert (here / "data" / "home" / "x" / "a.csv").read_text() == "1\n"


def test_odd_characters_in_the_folders_around(here, monkeypatch):
    (here / "[1]*").mkdir()
    monkeypatch.chdir(here / "[1]*")
    put(here / "[1]*", {"src/a.csv": "1\n"})
    assert staged("stage.from=src/*.csv", "stage.to='up[2]*'", "storage.root='[d]'").files == 1
    assert sorted(tree(here / "[1]*")) == ["[d]/up[2]*/a.csv", "src/a.csv"]


def test_progress_without_a_terminal_is_plain(monkeypatch, here, capsys):
    import pai_train.bar

    monkeypatch.setattr(pai_train.bar, "PLAIN_EVERY_S", 0.0)
    put(here, SOURCE)
    staged("stage.from=src", "stage.to=up")
    err = capsys.readouterr().err
    assert "staging: 4 of 4 files, 9.0 of 9.0 MiB" in err.splitlines()
    assert "\x1b" not in err
