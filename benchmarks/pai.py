"""What reading a table costs in a script, beside the declarative feed on the same table.

    python benchmarks/pai.py --json pai.json

Rows are 4 DOUBLE and 1 STRING of 3 values. Both sides run in one process, a script's, one after the other again and
again; what is judged is the median of the ratios of rows per second. A script counts rows once per batch, by
`tf.size`: neither side makes Python's objects of its rows. What `session.run` itself costs for as many batches, and
what decode_csv costs of lines that are there already, are shown beside.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from feed_data import NARROW, Shape, write_table  # noqa: E402
from pairs import Way, in_turns, judged, over, save  # noqa: E402

from pai_train.pai.contracts import ScriptJob, ScriptProcess  # noqa: E402
from pai_train.pai.run import run  # noqa: E402
from pai_train.tables.iceberg import IcebergTables  # noqa: E402

BATCH, STEPS = 1024, 32
SLOWER = 1.5
REQUIRED = 1 / SLOWER
SCRIPT = """
import sys
sys.path[:0] = {path!r}
import importlib.util
spec = importlib.util.spec_from_file_location("bench_pai", {path!r}[1] + "/pai.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
sys.exit(bench.inside({table!r}, {root!r}, {rows}, {repetitions}, {result!r}))
"""


def dataset(table: str) -> int:
    """Counts rows as scripts with a one-shot iterator do."""
    import tensorflow as tf

    with tf.Graph().as_default():
        rows = tf.data.TableRecordDataset([table], [0.0, 0.0, 0.0, 0.0, ""]).batch(BATCH)
        batch = rows.make_one_shot_iterator().get_next()
        return _drained(tf.size(batch[-1]))


def queue(table: str) -> int:
    """Counts lines as scripts with a reader on a queue do."""
    import tensorflow as tf

    with tf.Graph().as_default():
        names = tf.train.string_input_producer([table], num_epochs=1)
        _, lines = tf.TableRecordReader().read_up_to(names, BATCH)
        return _drained(tf.size(lines))


def columns(table: str) -> int:
    """Counts rows as scripts do that decode the lines of a reader at once."""
    import tensorflow as tf

    with tf.Graph().as_default():
        names = tf.train.string_input_producer([table], num_epochs=1)
        _, lines = tf.TableRecordReader().read_up_to(names, BATCH)
        return _drained(tf.size(tf.decode_csv(lines, [[0.0]] * 4 + [[""]])[-1]))


def nothing(rows: int) -> int:
    """Counts rows of one batch that is there already: what the session costs."""
    import tensorflow as tf

    with tf.Graph().as_default():
        batch = tf.data.Dataset.from_tensors([1.0] * BATCH).repeat(rows // BATCH).make_one_shot_iterator().get_next()
        return _drained(_counted(batch))


def decoding(rows: int) -> int:
    """Decodes one batch of lines, again and again: what reading costs in any script that decodes them."""
    import tensorflow as tf

    lines = [b"%.4f,%.4f,%.4f,%.4f,Iris-virginica" % (at, at / 7, -at / 3, at / 9) for at in range(BATCH)]
    with tf.Graph().as_default():
        batch = tf.data.Dataset.from_tensors(lines).repeat(rows // BATCH).make_one_shot_iterator().get_next()
        return _drained(_counted(tf.decode_csv(batch, [[0.0]] * 4 + [[""]])[0]))


def _counted(column: object) -> object:
    """Returns how many of a column's numbers are none: that many cannot be had without them, as a known shape can."""
    import tensorflow as tf

    return BATCH - tf.reduce_sum(tf.cast(tf.is_nan(column), tf.int32))


def _drained(fetched: object) -> int:
    import tensorflow as tf

    count = 0
    with tf.Session() as sess:
        sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess, coord)
        step = sess.make_callable(fetched)
        try:
            while True:
                count += int(step())
        except tf.errors.OutOfRangeError:
            pass
        coord.request_stop()
        coord.join(threads)
    return count


def inside(table: str, root: str, rows: int, repetitions: int, result: str) -> int:
    """Measures, in a script's process, and leaves the rates in a file."""
    from pai_train.paiio.settings import settings

    feed = Path(__file__).with_name("pai_feed.py")
    import subprocess

    whole = rows // BATCH * BATCH
    ways = {
        "dataset": Way(lambda: dataset(table), rows),
        "queue": Way(lambda: queue(table), rows),
        "columns": Way(lambda: columns(table), rows),
        "nothing": Way(lambda: nothing(rows), whole),
        "decoding": Way(lambda: decoding(rows), whole),
    }
    # The declarative feed runs eagerly, as no script's process does: it has one of its own, which stays.
    command = [sys.executable, str(feed), root, str(settings().ref(table))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:

        def declarative() -> int:
            process.stdin.write("go\n")
            return int(process.stdout.readline())

        rates = in_turns({**ways, "feed": Way(declarative, rows)}, repetitions)
        process.stdin.close()
    Path(result).write_text(json.dumps(rates))
    return 0


def main() -> int:
    """Measures, prints and checks both cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the results there")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--rows", type=int, default=4_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        root, result = str(folder / "tables"), folder / "rates.json"
        table = str(write_table(Shape("narrow", NARROW, options.rows, (0,)), IcebergTables(root, "bench")))
        script = folder / "code" / "measure.py"
        script.parent.mkdir()
        path = [str(ROOT), str(ROOT / "benchmarks")]
        script.write_text(
            SCRIPT.format(
                path=path,
                table=table,
                root=root,
                rows=options.rows,
                repetitions=options.repetitions,
                result=str(result),
            )
        )
        settings = {"PAI_TRAIN_TABLES_ROOT": root, "PAI_TRAIN_PROJECT": "bench"}
        process = ScriptProcess("", 0, ())
        job = ScriptJob(script, script.parent, (process,), (table,), run_dir=folder / "run", settings=settings)
        if run(job) != 0:
            return 1
        rates = json.loads(result.read_text())
    results = [
        judged("TableRecordDataset.batch(1024) / the declarative feed", over(rates, "dataset", "feed"), REQUIRED),
        judged("TableRecordReader.read_up_to(1024) / the declarative feed", over(rates, "queue", "feed"), REQUIRED),
        judged("read_up_to(1024) and decode_csv / the declarative feed", over(rates, "columns", "feed"), REQUIRED),
        judged("session.run of a batch that is there / the declarative feed", over(rates, "nothing", "feed"), None),
        judged("decode_csv of lines that are there / the declarative feed", over(rates, "decoding", "feed"), None),
    ]
    for one in results:
        print(one)
    if options.json:
        save(results, options.json)
    return 0 if all(one.kept for one in results) else 1


if __name__ == "__main__":
    sys.exit(main())
