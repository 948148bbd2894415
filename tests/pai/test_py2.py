"""Scripts of Python 2: their division, and text that was bytes there."""

from __future__ import annotations

import ast
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pai_train.pai import py2, py2_division
from pai_train.pai.contracts import ScriptJob, ScriptProcess
from pai_train.pai.py2_text import as_text
from pai_train.pai.run import run

DIVISION = """
import numpy as np
import tensorflow as tf
rows = 10
print range(rows / 4), 7 / 2 * 2, -7 / 2, 7 / 2.0, 7.0 / 2
mean = np.array([7, 8]) / 2
mean /= 2
half = np.array([7.0]) / 2
rows /= 3
a = tf.constant([7, 9])
with tf.Session() as sess:
    print mean.tolist(), half.tolist(), rows, sess.run(tf.to_float(a) / 2).tolist(), sess.run(a / 2).tolist()
"""


def test_whole_numbers_are_rounded_down(desk):
    assert desk.done(DIVISION, py2=True) == ["[0, 1] 6 -4 3.5 3.5", "[1, 2] [3.5] 3 [3.5, 4.5] [3, 4]"]


@pytest.mark.parametrize(
    "future",
    ["from __future__ import division", "from __future__ import (print_function,\n    division)"],
    ids=["plain", "several"],
)
def test_scripts_that_want_fractions_get_them(desk, future):
    assert desk.done(f"# -*- coding: utf-8 -*-\n{future}\nassert 7 / 2 == 3.5\nprint('%g' % (7 / 2))", py2=True) == [
        "3.5"
    ]


def test_a_word_is_not_an_import(desk):
    script = "from __future__ import print_function\n# division\ndivision = 7 / 2\nprint(division)"
    assert desk.done(script, py2=True) == ["3"]


TABS = """
def f(x):
    if x:
\tprint 'both'
        return '''one
\ttwo'''
print f(1)
"""


def test_tabs_are_eight_spaces_but_in_text(desk):
    assert desk.done(TABS, py2=True) == ["both", "one", "\ttwo"]


numbers = st.one_of(st.integers(1, 9), st.sampled_from(["0.5", "3.0", "(2 + 1)", "f(4)", "x[0]"]))
terms = st.recursive(
    numbers.map(str),
    lambda inner: st.builds("{} {} {}".format, inner, st.sampled_from("/*/+-/%"), inner.map("({})".format)),
    max_leaves=8,
)


class Python2(ast.NodeTransformer):
    """The same by the other way: the tree of the source, with a division of its own."""

    def visit_BinOp(self, node):
        self.generic_visit(node)
        if not isinstance(node.op, ast.Div):
            return node
        return ast.Call(ast.Name("divide", ast.Load()), [node.left, node.right], [])


@settings(max_examples=60, deadline=None)
@given(terms)
def test_expressions_divide_as_they_did(source):
    def divide(left, right):
        return (operator.floordiv if isinstance(left, int) and isinstance(right, int) else operator.truediv)(
            left, right
        )

    tree = ast.fix_missing_locations(Python2().visit(ast.parse(source, mode="eval")))
    names = {"f": lambda x: x, "x": [5], "divide": divide, py2_division.NAME: py2_division.divided}
    converted = str(py2._tool(False, False).refactor_string(f"y = {source}\n", "x"))
    assert "/" not in converted.replace("//", "")
    try:
        wanted = eval(compile(tree, "x", "eval"), names)  # noqa: S307
    except (ZeroDivisionError, OverflowError) as error:
        with pytest.raises(type(error)):
            exec(converted, names)
        return
    exec(converted, names)
    assert names["y"] == wanted
    assert type(names["y"]) is type(wanted)


TEXT = """
import string
import sys
import numpy as np
import tensorflow as tf
reload(sys)
sys.setdefaultencoding('utf-8')

def first(line):
    parts = line.split(',')
    return parts[0], np.int64(len(parts))

def main(_):
    reader = tf.python_io.TableReader(sys.argv[1])
    records = reader.read(2)
    print [record[0].split(',')[0] for record in records], records[0][0] == 'a,b', records[1][1]
    print records[0][0].decode('utf-8') + u'!', type(records[0][1]).__name__
    line = tf.data.TableRecordDataset(sys.argv[1], ['', 0]).make_one_shot_iterator().get_next()[0]
    name, count = tf.py_func(first, [line], [tf.string, tf.int64])
    both = tf.stack([name, line])
    with tf.Session() as sess:
        print sess.run(name), sess.run({'both': both})['both'].tolist(), sess.run(tf.constant('x')) == 'x'
        print sess.run(tf.constant([[1, 2]])).tolist(), repr(sess.run(tf.constant(b'\\xff\\xfe')))
        summary = sess.run([tf.summary.scalar('loss', tf.constant(0.0))])[0]
        tf.summary.FileWriter('events').add_summary(summary, 1)
        print tf.Summary.FromString(summary).value[0].tag, string.join(['a', 'b'], ','), string.letters[:2]
        print string.atoi('7'), sorted([1, 3, 2], cmp=lambda a, b: cmp(b, a))

tf.app.run()
"""


def test_text_is_text(desk):
    table = desk.make("create table t(a string, n bigint)", ["a,b", "c,d,é"], [1, 2])
    assert desk.done(TEXT, table, tables=(table,), py2=True) == [
        "['a', 'c'] True 2",
        "a,b! int",
        "a ['c', 'c,d,é'] True",
        "[[1, 2]] b'\\xff\\xfe'",
        "loss a,b ab",
        "7 [3, 2, 1]",
    ]


def test_values_that_hold_text():
    given_ = {"a": (b"x", [np.array([b"y", b"\xff"], object), 3]), "b": None}
    found = as_text(given_)
    assert found["a"][0] == "x"
    assert found["a"][1][0].tolist() == ["y", b"\xff"]
    assert found["a"][1][1] == 3
    assert given_["a"][0] == b"x"


@pytest.mark.parametrize("py2", [False, True], ids=["python3", "python2"])
def test_files_beside_the_one_that_runs_and_in_packages(desk, py2):
    desk.write("job/__init__.py", "")
    desk.write("job/constant.py", "SIZE = 3\n")
    desk.write("job/nets/__init__.py", "from %sdense import width\n" % ("" if py2 else "."))
    desk.write("job/nets/dense.py", "import constant\nwidth = constant.SIZE * 2\n")
    desk.write("top.py", "NAME = 'top'\n")
    entry = desk.write(
        "job/train.py", "import constant\nimport nets, top\nprint(nets.width, constant.SIZE, top.NAME)\n"
    )
    job = ScriptJob(entry, desk.folder / "code", (ScriptProcess("", 0, ()),), run_dir=desk.folder / "run", py2=py2)
    assert run(job, starter=desk.warm) == 0
    assert "6 3 top" in (desk.folder / "run" / "logs" / "script.log").read_text()


BYTES = """
# -*- coding: utf-8 -*-
import cPickle as pickle
import numpy as np
print '\\xe4\\xb8\\xad'.decode('utf-8') == u'中', '中'.decode('utf8') + u'x', u'中'.encode('utf-8').decode('utf-8')
print 'a,b'.decode('ascii').split(',')
pickle.dump({'a': [1, 2]}, open('made.pkl', 'w'))
print pickle.load(open('made.pkl'))['a'], pickle.loads(pickle.dumps((3, '中')))[1]
print pickle.load(open('text.pkl')), pickle.load(open('array.pkl'))['x'].tolist()
print [getattr(one, 'tolist', lambda: one)() for one in pickle.load(open('both.pkl'))]
with open('two.pkl') as f:
    print pickle.load(f), pickle.load(f)
"""


ARRAY = (
    b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87Rq\x04"
    b"(K\x01K\x02\x85cnumpy\ndtype\nq\x05U\x02i4K\x00K\x01\x87Rq\x06"
    b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\xf7\x00\x00\x00\x80\x00\x00\x00tb"
)


def test_text_and_pickles_that_were_bytes(desk):
    # As Python 2.7 writes them, by protocol 0 and by protocol 2: texts of UTF-8, and an array's bytes.
    text = "中文".encode()
    files = {
        "text.pkl": b"S'" + repr(text)[2:-1].encode() + b"'\np0\n.",
        "two.pkl": b"I1\n.I2\n.",
        "array.pkl": b"\x80\x02}q\x00U\x01xq\x01" + ARRAY + b"s.",
        "both.pkl": b"\x80\x02U\x06" + text + ARRAY + b"\x86.",
    }
    (desk.folder / "code").mkdir(exist_ok=True)
    for name, data in files.items():
        (desk.folder / "code" / name).write_bytes(data)
    assert desk.done("import os\nos.chdir(os.path.dirname(os.path.abspath(__file__)))\n" + BYTES, py2=True) == [
        "True 中x 中",
        "['a', 'b']",
        "[1, 2] 中",
        "中文 [247, 128]",
        "['中文', [247, 128]]",
        "1 2",
    ]
