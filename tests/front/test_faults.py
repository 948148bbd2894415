"""Every kind of fault: its text, the place it names, exit code 2, and nothing written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import pai_train
from tests.front.conftest import ROOT, Desk

if TYPE_CHECKING:
    from pathlib import Path

CSVTEST = f"{ROOT}/recipes/csvtest.yaml"
MINE = """# Mine
inputs:
  train:
    oss: rows.csv
    columns: {a: BIGINT, b: STRING, c: DOUBLE}
    record_defaults: [0, "", 0.0]
    label: b
outputs:
  done:
    table: result
    ddl: create table result(a BIGINT, b STRING)
checkpointDir: checkpoints/mine
train:
  epochs: 3
"""

# Overrides of recipe `mine`; the line of the report that names place and fault; further lines below it.
ONE_OVERRIDE: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unknown": ("gpu=2", "command line gpu=2: unknown key 'gpu'", ("to do: did you mean 'gpus'?",)),
    "unknown-added": ("+gpu=2", "command line +gpu=2: unknown key 'gpu'", ("to do: did you mean 'gpus'?",)),
    "unknown-below": ("train.epoch=2", "command line train.epoch=2: unknown key 'epoch'", ("did you mean 'epochs'?",)),
    "bound": (
        "train.epochs=0",
        "command line train.epochs=0: must be at least 1",
        ("got: 0", "wanted: an integer, 1 or more"),
    ),
    "limit-without-policy": (
        "inputs.train.max_bad_rows=5",
        "command line inputs.train.max_bad_rows=5: no bad row is left out",
        ("got: 5", "to do: set on_bad_row to skip or quarantine"),
    ),
    "limit-neither-share-nor-number": (
        "inputs.train.max_bad_rows=1.5",
        "inputs.train.max_bad_rows=1.5: must be less than 1",
        ("wanted: an integer, 0 or more, or a number, greater than 0 and less than 1",),
    ),
    "encoding": (
        "inputs.train.encoding=gbq",
        "inputs.train.encoding=gbq: there is no such encoding",
        ("wanted: a name such as utf-8, gbk",),
    ),
    "quoted-newlines-of-json": (
        "inputs.train={format: jsonl, quoted_newlines: true}",
        "inputs.train.quoted_newlines: format jsonl has no quoted_newlines",
        ("to do: leave it out",),
    ),
    "open-bound": ("inputs.train.split={test: 1.0}", "inputs.train.split.test: must be less than 1", ()),
    "wrong-type": ("train.epochs='3'", "command line train.epochs='3': has the wrong type", ("got: '3'",)),
    "bool-is-no-int": ("train.epochs=true", "train.epochs=true: has the wrong type", ("got: true",)),
    "literal": ("train.optimizer=adm", "train.optimizer=adm: is not one of its values", ("did you mean 'adam'?",)),
    "union-bound": ("engine.parallel=0", "must be at least 1", ("wanted: an integer, 1 or more, or auto",)),
    "union-literal": (
        "train.steps_per_call=x",
        "is not one of its values",
        ("wanted: an integer, 1 or more, or auto",),
    ),
    "union-type": (
        "inputs.train.oss=3",
        "inputs.train.oss=3: has the wrong type",
        ("wanted: text or a list of texts",),
    ),
    "union-member": (
        "inputs.train.label={column: b, taks: auto}",
        "inputs.train.label.taks: unknown key 'taks'",
        ("did you mean 'task'?",),
    ),
    "list-item": ("inputs.train.features=[a,3]", "inputs.train.features[1]: has the wrong type", ("got: 3",)),
    "rows-of-an-output": (
        "outputs.done.table='result?start=5'",
        "a write replaces or adds whole rows, and its address names a range of them",
        ("got: ?start=5", "to do: write to odps://pai_train/tables/result"),
    ),
    "filter-of-files": (
        "inputs.train.where='a > 1'",
        "inputs.train.where='a > 1': only rows of a table can be filtered",
        ("wanted: a table",),
    ),
    "window-without-windows": (
        "inputs.train.window=4",
        "inputs.train.window=4: only shuffle=window has windows",
        ("got: 4, with shuffle=block", "choose inputs.train.shuffle=window"),
    ),
    "window-of-one": (
        "inputs.train.window=1",
        "inputs.train.window=1: must be at least 2",
        ("wanted: an integer, 2 to 4096",),
    ),
    "rows-twice": (
        "inputs.test={table: 'a?end=5,b,a?start=4', label: b}",
        "rows of a table would be read twice",
        ("'odps://pai_train/tables/a?start=0&end=5' and 'odps://pai_train/tables/a?start=4'",),
    ),
    "gpus-negative": ("gpus=-1", "command line gpus=-1: not a choice of GPUs", ("got: -1", "wanted: 0, a number")),
    "gpus-word": ("gpus=aoto", "command line gpus=aoto: not a choice of GPUs", ("did you mean 'auto'?",)),
    "gpus-twice": ("gpus='0,0'", "gpus='0,0': not a choice of GPUs", ()),
    "storage-option": (
        "storage=locl",
        "command line storage=locl: there is no storage 'locl'",
        ("wanted: azure, gcs, local, memory, oss, s3", "did you mean 'local'?"),
    ),
    "engine-option": ("engine=tf_dta", "there is no engine 'tf_dta'", ("did you mean 'tf_data'?",)),
    "hydra-option": ("hydra/job_logging=nope", "there is no hydra/job_logging 'nope'", ("wanted: default,",)),
    "hydra-key": ("hydra.foo=1", "command line hydra.foo=1: Could not override 'hydra.foo'", ()),
    "no-group": ("strage@x=local", "there is no group 'strage'", ("did you mean 'storage'?",)),
    "null-option": ("storage=null", "there is no storage 'null'", ()),
    "nothing-to-delete": ("~train.epoch", "command line ~train.epoch: there is nothing to delete", ()),
    "deleted": ("~storage.root", "command line ~storage.root: is required", ("wanted: text",)),
    "sweep": ("gpus=0,1", "command line gpus=0,1: several values for one run", ("\"gpus='0,1'\"",)),
    "range-sweep": ("train.epochs=range(1,3)", "several values for one run", ("one command per value",)),
    "multirun-mode": ("hydra.mode=MULTIRUN", "several runs in one command are not served", ()),
    "syntax": ("model.name=(b", "command line model.name=(b: cannot be read", ("quote it twice: ",)),
    "no-key": ("=3", "command line =3: unknown key ''", ()),
    "environment": (
        "checkpointDir=${oc.env:SURELY_NOT_SET}",
        "cannot be resolved: Environment variable 'SURELY_NOT_SET' not found",
        (
            "got: ${oc.env:SURELY_NOT_SET}",
            "wanted: text",
            "to do: set SURELY_NOT_SET in the environment, or give checkpointDir",
        ),
    ),
    "interpolation": ("checkpointDir=${nope}/x", "cannot be resolved: Interpolation key 'nope' not found", ()),
    "run-dir": ("hydra.run.dir=${nope}", "hydra.run.dir: cannot be resolved: Interpolation key 'nope' not found", ()),
    "no-place": ("~inputs.train.oss", "inputs.train: needs a place", ("wanted: oss or table",)),
    "two-places": ("inputs.train.table=rows", "inputs.train: has two places", ("got: oss and table",)),
    "empty-place": ("inputs.train.oss=[]", "inputs.train.oss=[]: names no file", ()),
    "bad-table": (
        "outputs.done.table='a,b'",
        "outputs.done.table='a,b': several tables where one is meant",
        ("only an input reads several",),
    ),
    "bad-type": ("inputs.train.columns.a=BIGNT", "not a column type: unknown type 'BIGNT'", ("got: BIGNT",)),
    "defaults-count": (
        "inputs.train.record_defaults=[1]",
        "one default per column: 1 for 3 columns",
        ("got: 1 values", "wanted: 3 values, in the order of columns"),
    ),
    "defaults-name": (
        "inputs.train.record_defaults={aa: 1}",
        "inputs.train.record_defaults.aa: no column 'aa'",
        ("did you mean 'a'?",),
    ),
    "defaults-type": (
        "inputs.train.record_defaults=[x,'',0]",
        "record_defaults[0]: not a value of a, which is BIGINT",
        ("got: 'x'", "wanted: an integer from -9223372036854775808"),
    ),
    "label": ("inputs.train.label=cc", "command line inputs.train.label=cc: no column 'cc'", ("did you mean 'c'?",)),
    "label-null": ("inputs.train.label=null", "inputs.train.label=null: needs a label", ()),
    "label-column": ("inputs.train.label={column: z}", "inputs.train.label.column: no column 'z'", ("known: a, b, c",)),
    "classes": ("inputs.train.label={column: b, classes: [x]}", "needs two or more distinct classes", ()),
    "regression-classes": (
        "inputs.train.label={column: c, task: regression, classes: [1, 2]}",
        "regression has no classes",
        (),
    ),
    "features-empty": ("inputs.train.features=[]", "inputs.train.features=[]: the model sees no column", ()),
    "features-unknown": ("inputs.train.features=[a,cc]", "features[1]: no column 'cc'", ("did you mean 'c'?",)),
    "features-label": ("inputs.train.features=[a,b]", "the label 'b' is not a feature too", ("remove it",)),
    "features-twice": ("inputs.train.features=[a,a]", "column 'a' is named twice", ()),
    "delimiter": ("inputs.train.delimiter=ab", "not a delimiter", ("wanted: one character",)),
    "split-and-test": (
        "inputs={train: {split: {test: 0.2}}, test: {oss: t.csv, columns: {a: BIGINT}}}",
        "a split holds rows out of `train`, and `inputs.test` gives held-out rows too",
        ("leave out inputs.train.split or inputs.test",),
    ),
    "image-of-another-format": (
        "inputs.train.image={height: 8, width: 8}",
        "inputs.train.image={height: 8, width: 8}: format csv has no images",
        ("to do: leave it out, or choose inputs.train.format=image",),
    ),
    "image-height": ("inputs.train.image={height: 0, width: 8}", "inputs.train.image.height: must be at least 1", ()),
    "image-channels": (
        "inputs.train.image={height: 8, width: 8, channels: 2}",
        "inputs.train.image.channels: has the wrong type",
        ("wanted: 1, 3 or 4",),
    ),
    "image-unknown": (
        "inputs.train.image={height: 8, width: 8, chanels: 3}",
        "inputs.train.image.chanels: unknown key 'chanels'",
        ("did you mean 'channels'?",),
    ),
    "image-incomplete": ("inputs.train.image={height: 8}", "inputs.train.image.width: is required", ()),
    "no-columns": ("~inputs.train.columns", "files need columns", ("such as {f1: DOUBLE, f2: STRING}",)),
    "output-two": ("outputs.done.oss=there", "outputs.done: has two places", ()),
    "output-input": ("outputs.done.input=trian", "no input 'trian'", ("did you mean 'train'?",)),
    "output-source": ("outputs.done.columns={a: cc}", "the input 'train' has no column 'cc'", ("did you mean 'c'?",)),
    "output-target": ("outputs.done.columns={z: c}", "the statement has no column 'z'", ("known: a, b",)),
    "output-prediction": ("outputs.done.columns={a: $predicton}", "not a column of the model", ("'$prediction'?",)),
    "output-twice": ("outputs.more={table: result}", "the output 'done' writes there too", ()),
    "ddl": (
        "outputs.done.ddl='create table result(a BIGINT b STRING)'",
        "not a CREATE TABLE statement: line 1, column 30",
        ("got: create table",),
    ),
    "ddl-without-table": ("outputs.done={table: null, oss: x}", "a CREATE TABLE statement needs its table", ()),
    "secret-unread": (
        "+storage.password=(SEKRET",
        "command line +storage.password=…: holds a secret in plain text",
        (),
    ),
    "secret-list": ("+storage.password=SEKRET,b", "command line +storage.password=…: holds a secret in plain text", ()),
    "secret": (
        "+storage.secret_key=SEKRET",
        "+storage.secret_key=…: holds a secret in plain text",
        ("AWS_ACCESS_KEY_ID",),
    ),
}


@pytest.mark.parametrize(("override", "head", "below"), ONE_OVERRIDE.values(), ids=ONE_OVERRIDE.keys())
def test_fault_of_an_override(desk: Desk, override: str, head: str, below: tuple[str, ...]) -> None:
    desk.recipe("mine", MINE)
    report = desk.refused("+recipe=mine", override)
    assert report.startswith("1 fault, nothing was touched:\n"), report
    lines = report.splitlines()
    assert head in lines[1], report
    for text in below:
        assert text in "\n".join(lines[2:]), report
    assert "SEKRET" not in report


def test_no_project_of_maxcompute(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    desk.recipe("mine", MINE)
    monkeypatch.delenv("ODPS_PROJECT_NAME", raising=False)
    monkeypatch.delenv("ODPS_CONFIG_FILE_PATH", raising=False)
    report = desk.refused("+recipe=mine", "tables=maxcompute")
    assert "tables.project: no project of MaxCompute" in report
    assert "to do: set tables.project, or ODPS_PROJECT_NAME, or project_name in the file" in report
    file = tmp_path / "odps.conf"
    monkeypatch.setenv("ODPS_CONFIG_FILE_PATH", str(file))
    assert f"tables.project: {file}: the file that" in " ".join(
        desk.refused("+recipe=mine", "tables=maxcompute").split()
    )


def test_the_project_of_the_file_of_pai(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "odps.conf"
    file.write_text("project_name=filed\n")
    monkeypatch.setenv("ODPS_CONFIG_FILE_PATH", str(file))
    monkeypatch.delenv("ODPS_PROJECT_NAME", raising=False)
    assert pai_train.compose("iris", ["tables=maxcompute"]).config.tables.project == "filed"
    monkeypatch.setenv("ODPS_PROJECT_NAME", "named")
    assert pai_train.compose("iris", ["tables=maxcompute"]).config.tables.project == "named"


# What a recipe says in place of `epochs: 3` on line 14; place and fault.
ONE_LINE: dict[str, tuple[str, str]] = {
    "bound": ("  epochs: 0", "recipes/mine.yaml:14 train.epochs: must be at least 1"),
    "unknown": ("  epoch: 2", "recipes/mine.yaml:14 train.epoch: unknown key 'epoch'"),
    "wrong-type": ("  epochs: many", "recipes/mine.yaml:14 train.epochs: has the wrong type"),
    "flow": ("  {epochs: 1,\n   seed: -1}", "recipes/mine.yaml:15 train.seed: must be at least 0"),
    "open": ("  epochs: 1\nmodel: {params: {x: '???'}}", "recipes/mine.yaml:15 model.params.x: is not set"),
    "interpolation": ("  epochs: ${nope}", "recipes/mine.yaml:14 train.epochs: cannot be resolved"),
    "group-key": ("  epochs: 1\nengine:\n  lanes: 999", "recipes/mine.yaml:16 engine.lanes: must be at most 256"),
}


@pytest.mark.parametrize(("line", "head"), ONE_LINE.values(), ids=ONE_LINE.keys())
def test_fault_of_a_recipe(desk: Desk, line: str, head: str) -> None:
    desk.recipe("mine", MINE.replace("  epochs: 3", line))
    report = desk.refused("+recipe=mine")
    assert report.startswith("1 fault, nothing was touched:\n"), report
    assert report.splitlines()[1].strip().startswith(head), report


BROKEN: dict[str, tuple[str, str]] = {
    "yaml": ("# Broken\ninputs: [\n", "recipes/broken.yaml:2: not YAML: "),
    "twice": ("a: 1\na: 2\n", "recipes/broken.yaml:2: not YAML: found duplicate key a"),
    "list": ("- a\n", "recipes/broken.yaml:1: not a mapping of keys"),
    "number": ("3\n", "recipes/broken.yaml:1: not a mapping of keys"),
    "interpolation": ("train:\n  epochs: ${\n", "recipes/broken.yaml:2: no viable alternative"),
    "header": ("# @package a b\n", "recipes/broken.yaml:1: Too many components"),
    "loop": ("defaults: [/recipe/broken, _self_]\n", "recipes/broken.yaml: a recipe extends itself"),
    "extends": ("defaults:\n  - /recipe/iri\n", "recipes/broken.yaml:2 defaults: there is no recipe 'iri'"),
    "override": (
        "defaults:\n  - override /storage: locl\n",
        "recipes/broken.yaml:2 defaults: there is no storage 'locl'",
    ),
    "defaults": ("defaults: words\n", "recipes/broken.yaml: Invalid defaults list"),
    "search-path": (
        "hydra: {searchpath: [x]}\n",
        "recipes/broken.yaml: In 'recipe/broken': Overriding hydra.searchpath",
    ),
}


@pytest.mark.parametrize(("text", "head"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_recipe_is_one_fault_and_the_rest_is_checked(desk: Desk, text: str, head: str) -> None:
    desk.recipe("broken", text)
    report = desk.refused("+recipe=broken", "gpus=-1", "train.epochs=0")
    assert report.startswith("3 faults, nothing was touched:\n"), report
    assert report.splitlines()[1].strip().startswith(head), report
    assert "command line gpus=-1: not a choice" in report
    assert "command line train.epochs=0: must be" in report


def test_broken_recipe_leaves_help_alone(desk: Desk) -> None:
    for name, (text, _) in BROKEN.items():
        desk.recipe(name.replace("-", "_"), text)
    (desk.folder / "recipes/latin.yaml").write_bytes(b"# caf\xe9\n")
    outcome = desk.command("--help")
    assert outcome.code == 0
    assert "  latin" in outcome.out
    assert "recipes/latin.yaml:1: not UTF-8 text" in desk.refused("+recipe=latin")


def test_no_arguments(desk: Desk) -> None:
    report = desk.refused()
    assert f"{ROOT}/conf/config.yaml:9 inputs: is not set" in report
    assert "+recipe=iris" in report
    assert "--help" in report


@pytest.mark.parametrize(
    ("word", "hint"), [("iris", "did you mean +recipe=iris?"), ("iris.yaml", "did you mean +recipe=iris?")]
)
def test_bare_word(desk: Desk, word: str, hint: str) -> None:
    report = desk.refused(word)
    assert report.startswith("1 fault")
    assert hint in report


def test_unknown_recipe_is_one_fault(desk: Desk) -> None:
    report = desk.refused("+recipe=irs")
    assert report.startswith("1 fault")
    assert "command line +recipe=irs: there is no recipe 'irs'" in report
    assert "wanted: csvtest, iris" in report
    assert "did you mean 'iris'?" in report


def test_recipe_given_twice(desk: Desk) -> None:
    assert "a recipe is given twice" in desk.refused("+recipe=iris", "+recipe=csvtest")


def test_what_several_workers_cannot_share(desk: Desk) -> None:
    desk.recipe("mine", MINE)
    report = desk.refused("+recipe=mine", "cluster.workers=9", "gpus=auto")
    assert report.startswith("2 faults, nothing was touched:\n"), report
    assert "command line cluster.workers=9: there are more workers than lanes to share" in report
    assert "command line gpus=auto: several workers cannot share a choice of GPUs" in report


def test_all_faults_of_a_command_at_once(desk: Desk) -> None:
    desk.recipe("mine", MINE.replace("epochs: 3", "epochs: 0").replace("label: b", "label: bb"))
    report = desk.refused(
        "+recipe=mine",
        "+gpu=2",
        "gpus=-1",
        "storage=s4",
        "engine.lanes=0",
        "train.batch_size=x",
        "a=(b",
        "tables.root=1",
    )
    assert report.startswith("9 faults, nothing was touched:\n"), report
    for text in (
        "command line a=(b: cannot be read",
        "command line storage=s4: there is no storage 's4'",
        "recipes/mine.yaml:14 train.epochs: must be at least 1",
        "command line train.batch_size=x: has the wrong type",
        "command line tables.root=1: has the wrong type",
        "command line engine.lanes=0: must be at least 1",
        "command line +gpu=2: unknown key 'gpu'",
        "command line gpus=-1: not a choice of GPUs",
        "recipes/mine.yaml:7 inputs.train.label: no column 'bb'",
    ):
        assert text in report, report


IMAGES = """# Images
inputs:
  train:
    oss: pets/*/*.png
    format: image
    image: {height: 8, width: 8}
    label: label
outputs:
  done:
    table: result
    ddl: create table result(path STRING, kind STRING)
    columns: {kind: $prediction}
checkpointDir: checkpoints/images
"""


@pytest.mark.parametrize(
    ("override", "head"),
    [
        ("~inputs.train.image", "inputs.train.image: images need the shape they are resized to"),
        ("inputs.train.columns={a: BIGINT}", "format image has no columns: they are image, label, path"),
        ("inputs.train.header=true", "inputs.train.header=true: format image has no header"),
        ("inputs.train.delimiter=x", "inputs.train.delimiter=x: format image has no delimiter"),
        ("inputs.train.on_bad_row=skip", "format image has no on_bad_row: what is no image ends the run"),
        ("inputs.train.compression=gzip", "format image has no compression"),
        ("inputs.train.label=lable", "inputs.train.label=lable: no column 'lable'"),
        ("inputs.train.features=[image,size]", "features[1]: no column 'size'"),
        ("outputs.done.columns.path=pth", "the input 'train' has no column 'pth'"),
    ],
)
def test_fault_of_an_input_of_images(desk: Desk, override: str, head: str) -> None:
    desk.recipe("images", IMAGES)
    report = desk.refused("+recipe=images", override)
    assert report.startswith("1 fault, nothing was touched:\n"), report
    assert head in report.splitlines()[1], report


def test_a_table_has_no_images(desk: Desk) -> None:
    desk.recipe("images", IMAGES.replace("oss: pets/*/*.png", "table: pets"))
    assert "inputs.train.image: a table has no images" in desk.refused("+recipe=images")
    desk.recipe("more", IMAGES.replace("oss: pets/*/*.png", "table: pets").replace("    image: {", "    #"))
    assert "inputs.train.format: a table has no images" in desk.refused("+recipe=more")


def test_a_statement_serves_another_table(desk: Desk) -> None:
    desk.recipe("mine", MINE)
    assert desk.command("+recipe=mine", "outputs.done.table=odps://other/tables/result_2").code == 0


def test_an_override_hides_the_recipes_fault(desk: Desk) -> None:
    desk.recipe("mine", MINE.replace("epochs: 3", "epochs: 0"))
    assert desk.command("+recipe=mine", "train.epochs=1").code == 0
    assert desk.runs[0].config.train.epochs == 1


def test_fault_in_an_extended_recipe_names_its_file(desk: Desk) -> None:
    desk.recipe("mine", "defaults: [/recipe/csvtest, _self_]\ninputs: {train: {features: [d9]}}\n")
    assert "recipes/mine.yaml:2 inputs.train.features[0]: no column 'd9'" in desk.refused("+recipe=mine")
    assert f"{CSVTEST}:9 inputs.train.label: no column 'd5'" in desk.refused(
        "+recipe=csvtest", "~inputs.train.columns.d5", "inputs.train.record_defaults=null"
    )


STRANGE = (
    "# S.\ninputs: {train: {oss: a.csv, columns: {'a.b': 3, y: DOUBLE, c: [STRING]}, label: c}}\ncheckpointDir: ck\n"
)


def test_a_column_name_with_a_dot_does_not_confuse_the_check(desk: Desk) -> None:
    desk.recipe("strange", STRANGE)
    report = desk.refused("+recipe=strange")
    assert "has the wrong type" in report


@pytest.mark.parametrize("override", ["train.optimizer=\udcff", "inputs.train.label=\udcff", "+foo=\udcff"])
def test_an_override_that_is_not_text(desk: Desk, override: str) -> None:
    report = desk.refused("+recipe=iris", override)
    assert "is not UTF-8 text" in report


@pytest.mark.parametrize("number", ["inf", "nan", "-inf"])
def test_numbers_are_finite(desk: Desk, number: str) -> None:
    report = desk.refused("+recipe=iris", f"train.learning_rate={number}")
    assert "command line train.learning_rate=" in report
    assert "a number, greater than 0" in report


def test_table_columns_have_no_case(desk: Desk) -> None:
    assert desk.command("+recipe=iris", "inputs.train.label=F5", "inputs.train.features=[F1,F2]").code == 0
    desk.runs.clear()
    report = desk.refused("+recipe=iris", "inputs.train.columns.F1=DOUBLE")
    assert "is given twice, and names of table columns have no case" in report


@pytest.mark.parametrize(("recipe", "classes"), [("csvtest", '["7","8"]'), ("iris", "[1,2]")])
def test_classes_are_values_of_the_label(desk: Desk, recipe: str, classes: str) -> None:
    column = {"csvtest": "d5", "iris": "f5"}[recipe]
    report = desk.refused(f"+recipe={recipe}", f"inputs.train.label={{column: {column}, classes: {classes}}}")
    assert f"not values of the label {column}" in report


@pytest.mark.parametrize("key", ["checkpointDir", "storage.root", "tables.root"])
def test_places_are_named(desk: Desk, key: str) -> None:
    report = desk.refused("+recipe=iris", f"{key}=")
    assert f"command line {key}=: is empty" in report
