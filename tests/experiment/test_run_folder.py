"""Run folders: never shared, and never a half-written file in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from pai_train.errors import PaiTrainError
from pai_train.experiment import folder

RACE = """
import sys
from pai_train.experiment.folder import create
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    print(create(sys.argv[1]))
"""


def test_a_free_name_is_taken_with_its_parents(tmp_path):
    made = folder.create(str(tmp_path / "runs" / "iris" / "now"))
    assert made == tmp_path / "runs" / "iris" / "now"
    assert made.is_dir()


def test_a_taken_name_is_counted_up_and_left_alone(tmp_path):
    path = str(tmp_path / "now")
    first = folder.create(path)
    (first / "run.json").write_text("mine")
    (tmp_path / "now-2").write_text("a file, not a folder")
    assert folder.create(path).name == "now-3"
    assert folder.create(path + os.sep).name == "now-4"
    assert [entry.name for entry in first.iterdir()] == ["run.json"]


def test_the_result_is_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert folder.create("runs/../runs/x") == tmp_path / "runs" / "x"


def test_eight_processes_racing_for_one_name_get_folders_of_their_own(tmp_path):
    path = str(tmp_path / "runs" / "now")
    racers = [
        subprocess.Popen([sys.executable, "-c", RACE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    made = [line for racer in racers for line in racer.communicate()[0].split()]
    assert len(made) == len(set(made)) == 160
    assert {os.path.basename(name) for name in made} == {"now"} | {f"now-{number}" for number in range(2, 161)}


def test_eight_threads_racing_for_one_name_get_folders_of_their_own(tmp_path):
    start = threading.Barrier(8)
    made = []

    def race():
        start.wait()
        made.extend(folder.create(str(tmp_path / "a" / "now")) for _ in range(20))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 160


def test_a_parent_that_is_a_file_is_an_error_that_says_where(tmp_path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(PaiTrainError, match="run folder cannot be written") as caught:
        folder.create(str(tmp_path / "runs" / "iris" / "now"))
    assert str(tmp_path / "runs") in str(caught.value)


def test_a_reader_never_sees_half_a_file(tmp_path):
    path = tmp_path / "run.json"
    texts = ["a" * 100_000, "b" * 200_000]
    folder.write(path, texts[0])
    done = threading.Event()

    def rewrite():
        for number in range(200):
            folder.write(path, texts[number % 2])
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_text())
    writer.join()
    assert seen <= set(texts)
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_a_write_that_fails_leaves_nothing_of_its_own(tmp_path):
    path = tmp_path / "run.json"
    path.mkdir()
    with pytest.raises(PaiTrainError, match="cannot be written"):
        folder.write(path, "new")
    with pytest.raises(PaiTrainError, match="No such file"):
        folder.write(tmp_path / "gone" / "run.json", "x")
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


def test_an_argument_that_is_no_utf8_can_be_written(tmp_path):
    folder.write(tmp_path / "run.json", '{"command": "caf\udce9"}')
    assert json.loads((tmp_path / "run.json").read_bytes()) == {"command": "caf\udce9"}


def test_the_config_is_written_as_given(tmp_path):
    text = "gpus: 2\nname: é\n"
    assert folder.write_config(tmp_path, text).read_text(encoding="utf-8") == text
    assert (tmp_path / "config.yaml").is_file()
