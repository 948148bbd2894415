"""The loop alone: what each call into TensorFlow is given of a superbatch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pai_train.feed.align import OWN
from pai_train.feed.contracts import Position, Superbatch
from pai_train.spec.contracts import Snapshot
from pai_train.training.loop import train_steps
from pai_train.training.totals import Totals


def test_a_call_that_is_cut_has_the_rows_of_this_worker():
    calls = []

    class Noted:
        def train(self, columns, rows):
            calls.append(({name: list(column) for name, column in columns.items()}, rows))
            return Totals(np.array(rows), np.zeros(len(rows)), {"correct": np.zeros(len(rows))})

    after = Position(Snapshot("s", 8, 8), "block", 0, 0, 0, ())
    columns = {"id": np.arange(5), OWN: np.array([2, 0, 3])}
    done = list(train_steps(Noted(), [Superbatch(columns, (4, 1, 3), replace(after, batch=3))], step=3, cut=2))
    assert calls == [({"id": [0, 1], OWN: [2]}, (4,)), ({"id": [2, 3, 4], OWN: [0, 3]}, (1, 3))]
    assert [(call.step, call.rows, call.whole) for call in done] == [(4, 4, False), (6, 4, True)]
