"""Several workers of one training, in processes of their own: the same result, and every row with one of them."""

from __future__ import annotations

import os
import signal

import pytest

RUN = ("+recipe=uneven", "train.epochs=3", "train.batch_size=64", "train.learning_rate=0.01", "train.steps_per_call=4")


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.full)])
def test_losses_of_several_workers_are_those_of_one(crews, count):
    alone, several = crews("alone"), crews("several")
    alone.done(*RUN)
    wanted = alone.losses()
    assert len(wanted) == 6
    ended = several.crew(count, *RUN).wait()
    assert [one.code for one in ended] == [0] * count, ended
    found = several.losses()
    assert [line[:3] for line in found] == [line[:3] for line in wanted]
    assert [line[3] for line in found] == pytest.approx([line[3] for line in wanted], abs=1e-6)
    record = several.last()
    assert (record["status"], record["replicas"], len(several.records())) == ("done", count, 1)
    folder = several.records()[0].parent
    logs = {f"worker-{rank}.log" for rank in range(1, count)}
    assert {path.name for path in folder.iterdir()} == {"config.yaml", "log", "metrics.jsonl", "run.json", *logs}
    assert "done: " in (folder / "worker-1.log").read_text()
    runs = [path.name for path in (several.cwd / "data/ck").iterdir() if path.is_dir()]
    assert len(runs) == 1


def test_a_run_stopped_with_three_workers_goes_on_with_two(crews):
    long = ("+recipe=uneven", "train.epochs=40", *RUN[2:], "train.checkpoint.every_seconds=3600")
    alone = crews("alone")
    alone.done(*long)
    jobs = crews("stopped")
    crew = jobs.crew(3, *long)
    crew.running[0].wait_for(
        lambda: jobs.records() and (jobs.records()[-1].parent / "metrics.jsonl").exists() and jobs.losses()
    )
    # Not the chief is asked: all stop with it.
    os.kill(crew.running[2].pid, signal.SIGTERM)
    ended = crew.wait()
    assert [one.code for one in ended] == [75, 75, 75], ended
    assert jobs.last()["status"] == "interrupted"
    assert 0 < jobs.last()["steps"] < 40 * 9
    ended = jobs.crew(2, *long).wait()
    assert [one.code for one in ended] == [0, 0], ended
    assert "going on behind step" in ended[0].text
    last, wanted = jobs.last(), alone.last()
    assert last["steps"] == wanted["steps"]
    assert last["generation"] == 1
    assert last["metrics"]["test"]["loss"] == pytest.approx(wanted["metrics"]["test"]["loss"], abs=1e-5)


def test_a_worker_that_never_comes_is_named(crews):
    jobs = crews("missing")
    ended = jobs.crew(3, *RUN, "cluster.start_timeout_s=3", missing=[1]).wait()
    assert [one.code for one in ended] == [1, 74], ended
    assert "worker 1 did not come within 3 s" in ended[0].text
    assert "worker 0 of 3 has failed" in ended[1].text
    assert "worker 1 did not come" in ended[1].text
    assert not any("Traceback" in one.text for one in ended)
    assert not list(jobs.cwd.glob("runs"))


def test_workers_with_different_configurations_do_not_begin(crews):
    jobs = crews("different")
    first = jobs.crew(2, *RUN, missing=[1])
    other = jobs.worker(first.addresses, 1, *RUN, "train.seed=5")
    ended = [*first.wait(), other.wait()]
    assert [one.code for one in ended] == [1, 74], ended
    assert "worker 1 was started with another configuration than worker 0" in ended[0].text
