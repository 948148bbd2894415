"""Our loop beside `keras.Model.fit`: the same rows out of the same table, the same model and optimizer.

    python benchmarks/training.py --json training.json

A repetition of a case trains every way for the same epochs, one after the other; what is judged is the median of the
ratios of steps per second, over that setting of theirs which is the fastest in the median. `fit` is given a
`tf.data.Dataset` of the rows in memory, cut into batches and read ahead; our loop reads them from an Iceberg table on
local disk, which it opens in each repetition. The first repetition, in which all compile, is not counted.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import numpy as np  # noqa: E402
from feed_data import Shape, write_table  # noqa: E402
from pairs import Result, Way, in_turns, judged, over, save  # noqa: E402

from pai_train.feed.ahead import ahead  # noqa: E402
from pai_train.feed.contracts import FeedPlan  # noqa: E402
from pai_train.feed.engines import engine  # noqa: E402
from pai_train.feed.stats import Stats  # noqa: E402
from pai_train.models.contracts import ColumnSpec, LabelSpec  # noqa: E402
from pai_train.models.load import build  # noqa: E402
from pai_train.storage import Stores  # noqa: E402
from pai_train.tables.iceberg import IcebergTables  # noqa: E402
from pai_train.training.call_size import auto_steps  # noqa: E402
from pai_train.training.devices import Devices  # noqa: E402
from pai_train.training.learner import Learner  # noqa: E402
from pai_train.training.loop import train_steps  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FEATURES = tuple(f"f{i}" for i in range(4))
LABEL = LabelSpec("y", "regression")


@dataclass(frozen=True)
class Size:
    """A model and its batches.

    Attributes:
        name: For people.
        hidden: Units of each hidden layer.
        batch: Rows of a batch.
        steps: Steps of an epoch.
        epochs: Epochs of a repetition.
    """

    name: str
    hidden: tuple[int, ...]
    batch: int
    steps: int
    epochs: int

    @property
    def total(self) -> int:
        """Steps of a repetition."""
        return self.steps * self.epochs


TINY = Size("tiny, 2 x 10 units, B=16", (10, 10), 16, 4096, 2)
LARGER = (
    Size("small, 2 x 128 units, B=256", (128, 128), 256, 576, 8),
    Size("middle, 3 x 512 units, B=512", (512, 512, 512), 512, 64, 2),
    Size("large, 3 x 2048 units, B=512", (2048, 2048, 2048), 512, 8, 2),
)


def model(size: Size) -> Any:
    """Builds the model, the same for every way."""
    import keras

    keras.utils.set_random_seed(1)
    return build("mlp", {"hidden": list(size.hidden)}, [ColumnSpec(name, "float") for name in FEATURES], LABEL)


class Ours:
    """Our loop over a table."""

    def __init__(self, folder: Path, size: Size) -> None:
        shape = Shape(f"b{size.batch}", dict.fromkeys((*FEATURES, "y"), "DOUBLE"), size.batch * size.steps, ())
        tables = IcebergTables(str(folder / f"{size.batch}-{size.steps}"), "bench", Stores())
        self._source = tables.source(write_table(shape, tables))
        self._learner = Learner(
            lambda: model(size), LABEL, optimizer="adam", learning_rate=0.001, devices=Devices(("/cpu:0",), "cpu")
        )
        steps = auto_steps(self._learner.parameters, size.batch)
        self._learner.expect(size.batch, steps)
        self._plan = FeedPlan((*FEATURES, "y"), size.batch, {}, epochs=size.epochs, lanes=4, steps=steps)

    def __call__(self) -> int:
        """Trains the epochs and returns their steps."""
        stats, done = Stats(), 0
        with engine("tf_data").open(self._source, self._plan) as stream, ahead(stream, 2, stats) as ready:
            for call in train_steps(self._learner, ready):
                done = call.step
        return done


class Fit:
    """`keras.Model.fit` over rows in memory."""

    def __init__(self, size: Size, **options: Any) -> None:
        import keras
        import tensorflow as tf

        rows = size.batch * size.steps
        values = np.random.default_rng(0).normal(size=(len(FEATURES) + 1, rows))
        columns = dict(zip(FEATURES, values, strict=False))
        made = tf.data.Dataset.from_tensor_slices((columns, values[-1]))
        self._rows = made.batch(size.batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
        self._size = size
        self._model = model(size)
        self._model.compile(keras.optimizers.Adam(0.001), "mse", **options)

    def __call__(self) -> int:
        """Trains the epochs and returns their steps."""
        self._model.fit(self._rows, epochs=self._size.epochs, verbose=0)
        return self._size.total


def case(folder: Path, size: Size, fits: dict[str, dict[str, Any]], times: int) -> dict[str, list[float]]:
    """Measures every way; returns ratios of steps per second, ours over each of theirs."""
    ways = {"ours": Way(Ours(folder, size), size.total)}
    ways |= {name: Way(Fit(size, **options), size.total) for name, options in fits.items()}
    rates = in_turns(ways, times)
    return {name: over(rates, "ours", name) for name in fits}


def measured(folder: Path, sizes: Sequence[Size], times: int) -> Iterator[Result]:
    """Measures every case."""
    tuned = {
        f"steps_per_execution={steps}{', jit' if jit else ''}": {"steps_per_execution": steps, "jit_compile": jit}
        for steps in (16, 128)
        for jit in (False, True)
    }
    for size in sizes:
        fits = {"defaults": {}, **tuned} if size is TINY else tuned
        ratios = case(folder, size, fits, times)
        if size is TINY:
            yield judged(f"{size.name} / fit, its defaults", ratios.pop("defaults"), 8.0)
        # A maximum over each repetition would be that of the noise.
        best = min(ratios.values(), key=statistics.median)
        yield judged(f"{size.name} / fit, best of its settings", best, 2.0 if size is TINY else 0.98)


def main() -> int:
    """Measures, prints and checks every case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument("--repetitions", type=int, default=5, help="at least 5")
    names = [size.name.split(",")[0] for size in (TINY, *LARGER)]
    parser.add_argument("--only", choices=names, nargs="+", default=names, help="models to measure")
    options = parser.parse_args()
    if options.repetitions < 5:
        parser.error("at least 5 repetitions")
    sizes = [size for size in (TINY, *LARGER) if size.name.split(",")[0] in options.only]
    results = []
    with tempfile.TemporaryDirectory() as name:
        for result in measured(Path(name), sizes, options.repetitions):
            print(result, flush=True)
            results.append(result)
    if options.json is not None:
        save(results, options.json)
    return 0 if all(result.kept for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
