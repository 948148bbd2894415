"""What is refused to several workers before any is started."""

from __future__ import annotations

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
