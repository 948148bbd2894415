"""What is refused to several workers before any is started."""

from __future__ import annotations

import sys

import pytest

import pai_train
from pai_train.errors import Refused
from pai_train.gangs import gang_of


@pytest.mark.parametrize("cluster", ["cluster.workers=2", "cluster=tf_config"])
def test_callbacks_given_in_python_are_refused(cluster):
    composed = pai_train.compose("iris", [cluster])
    with pytest.raises(Refused, match="callbacks given in Python are called by a single worker only"):
        gang_of(composed, [object()])


def test_one_worker_takes_callbacks():
    assert gang_of(pai_train.compose("iris", []), [object()]) is None


def test_a_ray_cluster_without_ray_is_refused_by_name(monkeypatch):
    composed = pai_train.compose("iris", ["cluster=ray", "cluster.workers=2"])
    assert callable(gang_of(composed))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Refused, match="extra ray") as refused:
        gang_of(composed)
    assert refused.value.exit_code == 2
    assert "pip install 'pai_train[ray]'" in str(refused.value)


@pytest.mark.parametrize(
    ("words", "told"),
    {
        "client": (["cluster=ray", "cluster.address=ray://head:10001"], ["cluster.address", "host:port of its head"]),
        "ids": (["cluster=ray", "gpus='0,1'"], ["gpus", "number of GPUs of each worker"]),
        "lanes": (["cluster=ray", "cluster.workers=9"], ["cluster.workers", "a lane for each worker"]),
        "local": (["cluster.address=auto", "cluster.cpus=2"], ["cluster.address", "cluster.cpus", "cluster=ray"]),
        "silent": (["cluster=ray", "cluster.heartbeat_s=0"], ["cluster.heartbeat_s", "at least 1"]),
    }.values(),
    ids=["client", "ids", "lanes", "local", "silent"],
)
def test_what_a_ray_cluster_cannot_serve_is_refused(words, told):
    with pytest.raises(Refused) as refused:
        pai_train.compose("iris", words)
    for text in told:
        assert text in str(refused.value)


def test_one_worker_on_a_ray_cluster_is_served_all_keys():
    assert callable(gang_of(pai_train.compose("iris", ["cluster=ray", "train.clip_norm=1.0"])))
