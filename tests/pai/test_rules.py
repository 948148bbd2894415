"""PAI's rules: what may be written, when it shows, what a failed script leaves; and what is said of missing names."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from pai_train.errors import LaunchError, Refused
from pai_train.pai import tf1
from pai_train.pai.missing import explain

TABLE = "create table t(a bigint)"
WRITE = """
import sys
import tensorflow as tf
table = sys.argv[1]
writer = tf.python_io.TableWriter(table)
writer.write([(7,)], [0])
"""


@pytest.fixture
def table(desk):
    return desk.make(TABLE, [1, 2])


def test_an_output_that_is_not_declared(desk, table):
    other = desk.make("create table u(a bigint)")
    ended = desk.run(WRITE, table, outputs=(other,))
    assert ended.code == 1
    assert "main.py" in ended.out
    assert f"{table}: table t not predefined" in ended.out
    assert f'-Doutputs="{table}"' in ended.out
    assert desk.rows("t") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("writer.close()\nsys.exit(3)", 1),
        ("writer.close()\nraise ValueError('broken')", 1),
        ("writer.close()\nimport os\nos.kill(os.getpid(), 9)", 1),
        ("writer.close()\nimport os\nos.kill(os.getpid(), 15)\nimport time\ntime.sleep(9)", 75),
    ],
    ids=["exit", "exception", "SIGKILL", "SIGTERM"],
)
def test_a_script_that_fails_publishes_nothing(desk, table, end, code):
    ended = desk.run(WRITE + end, table, outputs=(table,))
    assert ended.code == code
    assert "nothing is published" in ended.err
    assert desk.rows("t") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("end", "rows", "said"),
    [
        ("writer.close()", [(7,)], ""),
        ("writer.close()\nsys.exit(0)", [(7,)], ""),
        ("writer.close()\nprint(tf.python_io.TableReader(table).get_row_count())", [(7,)], "2"),
        (
            "writer.close()\nwriter = tf.python_io.TableWriter(table)\nwriter.write([[8], [9]])\nwriter.close()",
            [(8,), (9,)],
            "",
        ),
        ("", [(1,), (2,)], "was not closed: its rows are not published"),
        (
            "with tf.python_io.TableWriter(table, slice_id=1) as more:\n    more.write((8,))\nwriter.close()",
            [(7,), (8,)],
            "",
        ),
    ],
    ids=["close", "exit 0", "not visible before the end", "opening truncates", "not closed", "two slices"],
)
def test_rows_show_when_the_script_has_ended_well(desk, table, end, rows, said):
    ended = desk.run(WRITE + end, table, outputs=(table,))
    assert (ended.code, desk.rows("t")) == (0, rows)
    assert said in ended.out


def test_a_second_run_in_one_folder_shows_its_own_output(desk):
    assert desk.done("print('first')") == ["first"]
    desk._runs = 0
    assert desk.done("print('second')") == ["second"]


def test_one_writer_for_each_slice(desk, table):
    ended = desk.run(WRITE + "tf.python_io.TableWriter(table)", table, outputs=(table,))
    assert ended.code == 1
    assert "slice 0 of the table has a writer already" in ended.out


def test_an_output_that_nobody_writes_stays(desk, table):
    ended = desk.run("print('nothing')", outputs=(table,))
    assert (ended.code, ended.lines, desk.rows("t")) == (0, ["nothing"], [(1,), (2,)])
    assert f"output {table} was not written" in ended.err


def test_a_partition_is_an_output(desk):
    desk.make("create table p(a bigint) partitioned by (ds string)")
    address = "odps://lab/tables/p/ds=1"
    assert desk.run(WRITE + "writer.close()", address, outputs=(address,)).code == 0
    assert desk.rows("p") == [(7, "1")]
    ended = desk.run(WRITE, "odps://lab/tables/p/ds=2", outputs=(address,))
    assert "table p not predefined" in ended.out


@pytest.mark.parametrize(
    ("job", "said"),
    [
        ({"tables": ("odps://lab/tables/none",)}, "tables odps://lab/tables/none: no such table"),
        ({"outputs": ("odps://lab/tables/none",)}, "-DcreateTableSql="),
        ({"outputs": ("odps://lab/tables/none",), "statements": (TABLE,)}, "another table"),
        ({"statements": (TABLE,)}, "more CREATE TABLE statements"),
    ],
)
def test_tables_are_looked_for_before_the_script_starts(desk, job, said):
    with pytest.raises(Refused, match=said):
        desk.run("open('started', 'w')", **job)
    assert not desk.warm.children


def test_a_stop_request(desk, table):
    def stop() -> None:
        log = desk.folder / "run-1" / "logs" / "script.log"
        while not (log.exists() and b"waiting" in log.read_bytes()):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    ended = desk.run(WRITE + "writer.close()\nprint('waiting')\nimport time\ntime.sleep(60)", table, outputs=(table,))
    thread.join()
    assert ended.code == 75
    assert desk.rows("t") == [(1,), (2,)]


def test_what_a_script_finds_about_itself(desk):
    desk.write("helper.py", "import tensorflow.compat.v1 as tf\nname = tf.data.TableRecordDataset.__name__")
    source = """
        import os, sys, helper, pickle
        class Point(object):
            pass
        print(sys.argv[1:], os.path.basename(sys.argv[0]), os.getcwd() == os.path.dirname(os.path.abspath(__file__)))
        print(helper.name, __name__, type(pickle.loads(pickle.dumps(Point()))).__name__, sys.path[0] == os.getcwd())
        from tensorflow.python.framework import dtypes
        from tensorflow.python.ops.nn import relu
        import tensorflow as tf
        import tensorflow.python.util.nest as nest
        from tensorflow import nn, layers, float32
        print(dtypes.int64 is tf.int64, nn is tf.nn, hasattr(tf, "no_such"), getattr(tf, "no_such", 3))
        print(os.environ["MODE"], tf.executing_eagerly(), tf.VERSION[0])
        flags = tf.app.flags
        flags.DEFINE_string("log_dir", "mine", "taken by absl since")
        flags.DEFINE_integer("steps", 1, "")
        flags.DEFINE_bool("sync", False, "")
        print(flags.FLAGS.log_dir, flags.FLAGS.steps, flags.FLAGS.sync)
    """
    flags = ("--steps=5", "--sync", "word")
    assert desk.done(_flat(source), *flags, settings={"MODE": "fast"}) == [
        "['--steps=5', '--sync', 'word'] main.py True",
        "TableRecordDataset __main__ Point True",
        "True True False 3",
        "fast False 2",
        "mine 5 True",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("tf.mul(1, 2)", "main.py:3: tf.mul(1, 2): TensorFlow has no tf.mul any more\n    to do: use tf.multiply"),
        ("tf.train.SummaryWriter('x')", "TensorFlow has no tf.train.SummaryWriter any more"),
        ("tf.nn.reluu(1.0)", "TensorFlow has no tf.nn.reluu\n    to do: did you mean 'relu'?"),
        ("from tensorflow.nn import seq2seq", "TensorFlow has no tf.nn.seq2seq any more"),
        ("import tensorflow.no_such_module", "TensorFlow has no tf.no_such_module"),
    ],
)
def test_a_name_that_is_gone(desk, line, said):
    ended = desk.run(f"import tensorflow as tf\n\n{line}\n")
    assert ended.code == 1
    assert said in ended.out


def test_what_is_not_made_anew_is_named(monkeypatch):
    import tensorflow

    monkeypatch.setattr(tf1, "_OURS", dict.fromkeys(("contrib", "estimator"), "pai_train.pai.absent"))
    shim = tf1.TensorFlow(tensorflow)
    assert not hasattr(shim, "estimator")
    with pytest.raises(AttributeError) as raised:
        shim.contrib  # noqa: B018
    said = explain(raised.value, Path(__file__).parent)
    assert isinstance(said, LaunchError)
    assert str(said).startswith("test_rules.py:")
    assert "TensorFlow has no tf.contrib any more" in str(said)


def test_an_attribute_that_the_script_itself_misses_is_not_explained(desk):
    ended = desk.run("import tensorflow as tf\nclass A: pass\nA().b")
    assert ended.code == 1
    assert "AttributeError: 'A' object has no attribute 'b'" in ended.out
    assert "TensorFlow has no" not in ended.out


PYTHON2 = """
import helper2
d = {"a": 1}
for k, v in d.iteritems():
    print k, v
print "%d" % sum(xrange(4)), unicode("text")
print helper2.total(range(3))
"""
HELPER2 = """
def total(values):
    try:
        raise ValueError, "three"
    except ValueError, error:
        print error
    return reduce(lambda a, b: a + b, values)
"""


def test_python_2_is_converted_and_said(desk):
    desk.write("helper2.py", HELPER2)
    desk.write("helper3.py", "def f():\n    print('one', end='')\n")
    ended = desk.run(PYTHON2, py2=True)
    assert (ended.code, ended.lines) == (0, ["a 1", "6 text", "three", "3"]), ended.out
    said = "".join(ended.err.splitlines(True))
    assert "converted from Python 2: main.py: lines 4-7" in said
    assert "converted from Python 2: helper2.py: lines 1, 4-6, 7" in said or "helper2.py: lines" in said
    assert "helper3.py" not in said
    assert (desk.folder / "code" / "helper2.py").read_text() == HELPER2
    assert desk.run(PYTHON2).code == 1


def test_of_a_folder_only_what_the_script_imports_is_converted(desk):
    desk.write("helper2.py", HELPER2)
    desk.write("another.py", "print 'of another job'\n")
    desk.write("broken.py", "def broken(:\n")
    desk.write("pack/__init__.py", "from . import deep\n")
    desk.write("pack/deep.py", "rows = [i for i in xrange(2)]\n")
    source = PYTHON2 + "from pack import deep as far; print far.rows\nprint open('pack/data.txt').read()\n"
    desk.write("pack/data.txt", "data")
    ended = desk.run(source, py2=True)
    assert (ended.code, ended.lines[-2:]) == (0, ["[0, 1]", "data"]), ended.out + ended.err
    said = [line.split(": ")[1] for line in ended.err.splitlines() if line.startswith("converted from Python 2: ")]
    assert said == ["main.py", "helper2.py", "pack/deep.py"]


def test_what_is_neither_python_2_nor_3(desk):
    with pytest.raises(Refused, match="neither Python 2 nor Python 3"):
        desk.run("def broken(:\n  pass", py2=True)


def _flat(source: str) -> str:
    import textwrap

    return textwrap.dedent(source)
