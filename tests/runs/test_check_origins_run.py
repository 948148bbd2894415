"""mode=check looks at the checkpoint that a run is asked to begin from, and whether the model's variables are its."""

from __future__ import annotations

import shutil

import pytest

from tests.suites.jobs import Jobs
from tests.suites.modes import section, tree

IRIS = ["+recipe=iris", "train.epochs=1"]
CHECK = [*IRIS, "mode=check", "checkpointDir=other"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a finished run, and its record."""
    folder = tmp_path_factory.mktemp("trained") / "work"
    folder.mkdir()
    jobs = Jobs(folder)
    return jobs, jobs.done(*IRIS, "+outputs.files={oss: out}")


def checked(jobs, *words):
    before = tree(jobs.cwd)
    finished = jobs.run(*CHECK, *words)
    assert tree(jobs.cwd) == before
    assert "Traceback" not in finished.text
    return finished


# Each place and what is said of it: as train.resume, and as train.warm_start.
@pytest.mark.parametrize(
    ("path", "state", "said"),
    [
        ("checkpoints/iris", "ok", "/step-000000009"),
        ("checkpoints/irs", "FAIL", "there is no checkpoint"),
        ("out", "FAIL", "what was published there is no checkpoint"),
        ("tables", "FAIL", "there is no checkpoint"),
    ],
)
@pytest.mark.parametrize("key", ["train.resume", pytest.param("train.warm_start", marks=pytest.mark.full)])
def test_what_lies_there(trained, key, path, state, said):
    jobs, _ = trained
    finished = checked(jobs, f"{key}={path}")
    result, words = section(finished.text, key)["checkpoint"]
    assert (result, finished.code) == (state, 0 if state == "ok" else 2), finished
    assert said in words.replace(" ", "") or said in words


@pytest.mark.parametrize(
    ("words", "state", "said"),
    [
        (["train.resume=checkpoints/iris"], "ok", "all 20 variables fit; it stands behind step 9"),
        (["train.resume=checkpoints/iris", "model.params.hidden=[8]"], "FAIL", "mlp.hidden.0/bias is float32[16]"),
        pytest.param(
            *(["train.resume=checkpoints/iris", "train.optimizer=sgd"], "FAIL", "not in the model: optimizer/"),
            marks=pytest.mark.full,
        ),
        (["train.warm_start=checkpoints/iris"], "ok", "6 variables fit, 0 do not"),
        (["train.warm_start=checkpoints/iris", "model.params.hidden=[8]"], "FAIL", "another shape"),
        pytest.param(
            *(["train.warm_start={from: checkpoints/iris, include: [mpl.*]}"], "FAIL", "names no variable"),
            marks=pytest.mark.full,
        ),
        (
            ["train.warm_start={from: checkpoints/iris, ignore_mismatch: true}", "model.params.hidden=[16,8]"],
            "ok",
            "3 variables fit, 3 do not",
        ),
        (
            ["train.warm_start=checkpoints/iris", "model.name=linear", "~model.params.hidden"],
            "FAIL",
            "no variable that fits",
        ),
    ],
)
def test_whether_the_model_is_the_same(trained, words, state, said):
    jobs, _ = trained
    finished = checked(jobs, *words)
    result, told = section(finished.text, words[0].partition("=")[0])["model"]
    assert (result, finished.code) == (state, 0 if state == "ok" else 2), finished
    assert said in told, finished


def test_a_part_that_is_missing_and_rows_that_are_not_there(trained, tmp_path):
    jobs, record = trained
    moved = Jobs(tmp_path / "work")
    shutil.copytree(jobs.cwd / "data" / "checkpoints", moved.cwd / "data" / "checkpoints")
    path = record["checkpoint"].removeprefix("data/")
    finished = checked(moved, f"train.resume={path}")
    assert finished.code == 0, finished
    assert "is not there yet" in section(finished.text, "train.resume")["model"][1]
    next((moved.cwd / "data" / path).glob("variables.data*")).unlink()
    for mode in ("check", "train"):
        finished = moved.run(*CHECK, f"train.resume={path}", f"mode={mode}")
        assert finished.code == 2, finished
        assert "a file of the checkpoint is not the one that was published" in " ".join(finished.text.split())
    assert not (moved.cwd / "data" / "other").exists()
