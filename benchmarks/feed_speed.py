"""Cases of the feed's speed: CSV, tables, ids beside the limit of the machine, the old way and the best of others."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import feed_experts as experts
import feed_rivals as rivals
import pyarrow.parquet as pq
from feed_forms import Data, read
from pairs import Result, Way, in_turns, judged, over

from pai_train.feed.id_source import with_ids
from pai_train.feed.ids import Ids

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIDDLE = 1024
"""Rows of a batch at which those are measured whose speed does not depend on it."""


@dataclass(frozen=True)
class How:
    """How cases are measured.

    Attributes:
        times: Repetitions.
        sizes: Rows of a batch.
        told: Takes lines about what is done.
    """

    times: int
    sizes: tuple[int, ...]
    told: Callable[[str], None]

    def rates(self, ways: dict[str, Way]) -> dict[str, list[float]]:
        """Runs ways in turns."""
        return in_turns(ways, self.times, self.told)


class Table:
    """Makes the rows of the result of the rates of one size.

    Args:
        part: The part of the benchmark.
        of: What is measured, for people.
        size: Rows of a batch.
        rates: Rows per second of each way.
    """

    def __init__(self, part: str, of: str, size: int, rates: dict[str, list[float]]) -> None:
        self._part, self._of, self._size, self._rates = part, of, size, rates

    def row(self, way: str, other: str, against: str, required: float | None) -> Result:
        """Compares two ways."""
        kind = {"ours": "", "queue": " by queue_runner", "shuffled": ", shuffled"}.get(way, f" {way}")
        case = f"{self._of}, B={self._size}{kind} / {against}"
        found = judged(case, over(self._rates, way, other), required)
        against = f"{against}{kind}" if way != "ours" else against
        return replace(found, part=self._part, batch=self._size, against=against)

    def __contains__(self, way: str) -> bool:
        return way in self._rates


def csv(data: Data, how: How, raw: float | None, old: float, queue: float) -> Iterator[Result]:
    """CSV beside the raw pyarrow stream, the PAI sample's queue and the best short programs."""
    shape, path = data.shape, data.csv
    head = min(40_000 if len(shape.columns) < 10 else 20_000, shape.rows)
    longer = min(25 * head, shape.rows)
    some, defaults = data.head(longer), data.defaults
    for size in how.sizes:
        ways = {
            "raw": Way(lambda: rivals.stream(path, shape), shape.rows),
            "ours": Way(lambda size=size: read(data.lines(), size, defaults), shape.rows),
            "again": Way(lambda size=size: read(data.lines(), size, defaults), shape.rows),
            "lines": Way(lambda size=size: experts.text_lines(path, shape, size), shape.rows),
            "old": Way(lambda size=size: rivals.row_at_a_time(data.head(head), shape, size), head),
            "queue": Way(lambda size=size: read(data.lines(some), size, defaults, name="queue_runner"), longer),
        }
        if size == MIDDLE:
            ways["chunks"] = Way(lambda size=size: experts.csv_chunks(path, shape, size), shape.rows)
            ways["ranges"] = Way(lambda: experts.csv_ranges(path, shape), shape.rows)
            if importlib.util.find_spec("polars") is None:
                how.told("Polars is not installed: skipped (pip install 'pai_train[peers]')")
            else:
                ways["polars"] = Way(lambda: experts.polars_csv(path, shape), shape.rows)
        table = Table(f"csv-{shape.name}", f"{shape.name} CSV", size, how.rates(ways))
        yield table.row("ours", "raw", "raw pyarrow stream without tensors", raw if size >= MIDDLE else None)
        yield table.row("ours", "old", "row-at-a-time queue runner of the PAI sample", old)
        yield table.row("queue", "old", "row-at-a-time queue runner of the PAI sample", queue)
        yield table.row("ours", "lines", "expert: TextLineDataset.batch.map(decode_csv)", 1.3)
        if size == MIDDLE:
            yield table.row("ours", "chunks", "expert: pyarrow stream, from_generator, rebatch", 1.3)
            yield table.row("ours", "ranges", "expert: pyarrow on ranges in threads, no batches", 1.3)
        if "polars" in table:
            yield table.row("ours", "polars", "expert: Polars' streaming scan, no batches", 1.3)
        yield table.row("ours", "again", "itself (A/A)", None)


def table(data: Data, how: How, tfrecord: float | None) -> Iterator[Result]:
    """A table beside TFRecord, the raw scan and the best short programs."""
    shape, defaults = data.shape, data.defaults
    for size in how.sizes:
        ways = {
            "ours": Way(lambda size=size: read(data.table(), size, defaults), shape.rows),
            "again": Way(lambda size=size: read(data.table(), size, defaults), shape.rows),
            "shuffled": Way(lambda size=size: read(data.table(), size, defaults, "block"), shape.rows),
            "record": Way(lambda size=size: rivals.parse_examples(data.tfrecord, shape, size), shape.rows),
        }
        if size == MIDDLE:
            ways["scan"] = Way(lambda: rivals.scan(data.files), shape.rows)
            ways["chunks"] = Way(lambda size=size: experts.table_chunks(data.files, shape, size), shape.rows)
            ways["groups"] = Way(lambda: experts.table_groups(data.files, shape), shape.rows)
        found = Table(f"table-{shape.name}", f"{shape.name} table", size, how.rates(ways))
        yield found.row("ours", "record", "TFRecord batch+parse_example", tfrecord)
        yield found.row("shuffled", "ours", "unshuffled", 0.9)
        if size == MIDDLE:
            yield found.row("ours", "scan", "raw pyarrow scan without tensors", None)
            yield found.row("ours", "chunks", "expert: scanner, dictionaries gathered, rebatch", 1.3)
            yield found.row("ours", "groups", "expert: pyarrow on row groups in threads, no batches", 1.3)
        yield found.row("ours", "again", "itself (A/A)", None)


def ids(data: Data, how: How) -> Iterator[Result]:
    """Integer ids made at the source, of a table and of CSV, beside the texts as tf.string."""
    shape = data.shape
    texts = [name for name, kind in shape.columns.items() if kind == "STRING"]
    known = [str(10**7 + value) for value in range(max(shape.values))]
    kinds = {"vocabulary": Ids(known, 1), "hash": Ids(buckets=100_000)}
    for form, open_ in (("table", data.table), ("CSV", data.lines)):
        for size in how.sizes:
            ways = {"text": Way(lambda size=size, open_=open_: read(open_(), size), shape.rows)}
            for name, one in kinds.items():

                def by_ids(size: int = size, one: Ids = one, open_: Callable[[], object] = open_) -> int:
                    return read(with_ids(open_(), dict.fromkeys(texts, one)), size)

                ways[f"ids by {name}"] = Way(by_ids, shape.rows)
            found = Table("ids", f"{shape.name} {form}", size, how.rates(ways))
            for name in kinds:
                yield found.row(f"ids by {name}", "text", "tf.string", 5.0 if form == "table" else None)


def peers(data: Data, how: How) -> Iterator[Result]:
    """A table beside the libraries that are there."""
    shape = data.shape
    there = {
        name: importlib.util.find_spec(module) is not None for name, module in (("hf", "datasets"), ("ray", "ray"))
    }
    for name, is_there in there.items():
        if not is_there:
            title = {"hf": "Hugging Face datasets", "ray": "Ray"}[name]
            how.told(f"{title} is not installed: skipped (pip install 'pai_train[peers]')")
    if not any(there.values()):
        return
    some = min(100_000 if len(shape.columns) < 10 else 30_000, shape.rows)
    hugging = rivals.HuggingFace(data.files[:1], data.folder / "hf", some) if there["hf"] else None
    ray = rivals.RayData(data.files[:1]) if there["ray"] else None
    try:
        for size in how.sizes:
            ways = {"ours": Way(lambda size=size: read(data.table(), size), shape.rows)}
            if hugging is not None:
                ways["hf"] = Way(lambda size=size: hugging.read(size), some)
            if ray is not None:
                ways["ray"] = Way(lambda size=size: ray.read(size), pq.read_metadata(data.files[0]).num_rows)
            found = Table(f"peers-{shape.name}", f"{shape.name} table", size, how.rates(ways))
            if hugging is not None:
                yield found.row("ours", "hf", "Hugging Face datasets' to_tf_dataset", 40.0)
            if ray is not None:
                yield found.row("ours", "ray", "Ray Data's iter_tf_batches", 10.0)
    finally:
        if ray is not None:
            ray.close()
