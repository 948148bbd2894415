"""decode_csv of lines that a reader gives: the same as TensorFlow's own, with the lines or without them."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import event, example, given, settings

from pai_train.paiio import queue_io
from pai_train.paiio.decoded import Field, decoded
from pai_train.paiio.queue_io import TableRecordReader, decode_csv
from pai_train.paiio.written import written
from tests.paiio.test_dataset_order import Chunked
from tests.paiio.test_queue_io import chunked
from tests.suites.paiio_rows import Configured

tf1 = tf.compat.v1
WHOLE = st.integers(-(2**63), 2**63 - 1)
SMALL = st.integers(-100, 100)
COLUMNS = (
    (pa.float64(), st.floats() | st.integers(-9, 9).map(float)),
    (pa.float32(), st.floats(width=32)),
    (pa.int64(), WHOLE | SMALL),
    (pa.int32(), SMALL),
    (pa.int8(), SMALL),
    (pa.string(), st.text(st.sampled_from('ab é,;"\n\x02'), max_size=3)),
    (pa.string(), st.sampled_from(["x", "yy", ""])),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["x", "yy", "", "a,b"])),
    (pa.bool_(), st.booleans()),
    (pa.binary(), st.binary(max_size=2)),
)
FITTING = {"double": [0.5], "float": [2.0], "int64": np.int64([7]), "int32": [1], "int8": [1.5], "string": ["d"]}
DEFAULTS = st.sampled_from(
    [[0.5], [1], ["d"], np.float64([0.25]), np.int64([7]), 2.0, np.int64(3), "e", tf.constant([], tf.float32).numpy(),
     np.array([], np.int64), tf.constant([], tf.string).numpy()]
)  # fmt: skip


@st.composite
def tables(draw):
    count = draw(st.integers(1, 4))
    made = []
    for _ in range(draw(st.integers(1, 3))):
        kind, one = draw(st.sampled_from(COLUMNS))
        values = draw(st.lists(one | st.none() if draw(st.booleans()) else one, min_size=count, max_size=count))
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        column = pa.array(values, plain)
        default = FITTING.get(str(plain), "e") if draw(st.booleans()) else draw(DEFAULTS)
        made.append((column.dictionary_encode() if plain is not kind else column, default))
    batch = pa.RecordBatch.from_arrays([column for column, _ in made], [f"c{at}" for at in range(len(made))])
    return batch, [default for _, default in made]


def of(record_defaults):
    with tf.Graph().as_default():
        return queue_io._decoding(record_defaults)


@settings(max_examples=300, deadline=None)
@given(tables(), st.sampled_from([",", ";", "\x02"]), st.booleans())
@example((pa.record_batch({"a": [1e300, float("nan"), None, -0.0]}), [[0.5]]), ",", True)
@example((pa.record_batch({"a": [2**62 + 1, 16777217]}), [[0.5]]), ",", True)
def test_the_same_as_of_lines(table, delimiter, quotes):
    batch, defaults = table
    decoding = of(defaults)
    found = decoded(batch, decoding, delimiter)
    event("direct" if found is not None else "left to decode_csv")
    if found is None:
        return
    whole = written(batch, delimiter)
    text, separator = whole.part(0, batch.num_rows)
    wanted = tf.io.decode_csv(text.split(separator), defaults, delimiter, quotes)
    for column, field, expected in zip(found.columns, decoding, wanted, strict=True):
        if field.dtype == "object":
            joined, separator, indices = column.part(0, batch.num_rows)
            values = joined[0].split(separator.item())
            got = [values[at] for at in indices] if len(indices) else values
            assert got == expected.numpy().tolist()
            part = column.part(batch.num_rows - 1, 1)
            values = part[0][0].split(part[1].item())
            assert [values[at] for at in part[2]] == got[-1:] if len(part[2]) else values == got[-1:]
        else:
            np.testing.assert_array_equal(column, expected.numpy())
            assert column.dtype == field.dtype


FLOAT, TEXT = Field("float32", 0.5), Field("object", b"d")
NOT = {
    "columns": ({"a": [1.0]}, (FLOAT, FLOAT)),
    "a number of text": ({"a": ["1"]}, (FLOAT,)),
    "a whole number of a fraction": ({"a": [1.0]}, (Field("int32", 0),)),
    "double of single": ({"a": pa.array([0.1], pa.float32())}, (Field("float64", 0.0),)),
    "too large": ({"a": [2**40]}, (Field("int32", 0),)),
    "an empty field without a default": ({"a": [None, 1.0]}, (Field("float32", None),)),
    "an empty text without a default": ({"a": ["x", ""]}, (Field("object", None),)),
    "a delimiter": ({"a": ["x,y"]}, (TEXT,)),
    "a quote": ({"a": ['"']}, (TEXT,)),
    "a line of nothing": ({"a": ["", "x"]}, (TEXT,)),
    "text of a number": ({"a": [1.5]}, (TEXT,)),
}


@pytest.mark.parametrize("name", NOT)
def test_what_is_left_to_decode_csv(name):
    columns, decoding = NOT[name]
    assert decoded(pa.record_batch(columns), decoding, ",") is None


class TestGraphs(Configured):
    @pytest.fixture
    def tables(self):
        return chunked(a=[1.5, None, 3.5, 4.5], b=[1, 2, 3, None], c=["x", "", "y", None])

    def rows(self, decode, *more, count=3, **options):
        with tf.Graph().as_default(), tf1.Session() as session:
            queue = tf1.train.string_input_producer(["t"], num_epochs=1)
            reader = TableRecordReader(**options)
            lines = reader.read_up_to(queue, count)[1]
            fetched = [decode(lines), *[make(lines) for make in more]]
            session.run([tf1.global_variables_initializer(), tf1.local_variables_initializer()])
            coordinator = tf.train.Coordinator()
            threads = tf1.train.start_queue_runners(session, coordinator)
            got = []
            with pytest.raises(tf.errors.OutOfRangeError):
                while True:
                    got.append(session.run(fetched))
            coordinator.request_stop()
            coordinator.join(threads)
            return [[[column.tolist() for column in batch[0]], *batch[1:]] for batch in got]

    def test_columns_alone_and_with_their_lines(self, tables, monkeypatch):
        calls = []
        monkeypatch.setattr("pai_train.paiio.lines.written", lambda *given: calls.append(1) or written(*given))

        def decode(lines):
            return decode_csv(lines, [[0.5], np.int64([9]), ["d"]])

        wanted = [[[1.5, 0.5, 3.5], [1, 2, 3], [b"x", b"d", b"y"]], [[4.5], [9], [b"d"]]]
        assert [batch[0] for batch in self.rows(decode)] == wanted
        assert not calls
        both = self.rows(decode, lambda lines: lines)
        assert [batch[0] for batch in both] == wanted
        assert [batch[1].tolist() for batch in both] == [[b"1.5,1,x", b",2,", b"3.5,3,y"], [b"4.5,,"]]

    def test_what_decode_csv_says_of_lines(self, tables):
        with pytest.raises(tf.errors.InvalidArgumentError, match="Field 0 is required but missing in record 1"):
            self.rows(lambda lines: decode_csv(lines, [tf.constant([], tf.float32), [0], [""]]))
        with pytest.raises(tf.errors.InvalidArgumentError, match="Expect 2 fields but have 3 in record 0"):
            self.rows(lambda lines: decode_csv(lines, [[0.0], [0]]))
        as_text = self.rows(lambda lines: decode_csv(lines, [[""], [""], [""]]))
        assert as_text[0][0] == [[b"1.5", b"", b"3.5"], [b"1", b"2", b"3"], [b"x", b"", b"y"]]

    def test_other_arguments(self, tables):
        chosen = self.rows(lambda lines: decode_csv(lines, [[0.0]], select_cols=[1]))
        assert chosen[0][0] == [[1.0, 2.0, 3.0]]
        other = self.rows(lambda lines: decode_csv(lines, [[""]], field_delim=";"))
        assert other[1][0] == [[b"4.5,,"]]
        given = self.rows(lambda lines: decode_csv(tf.identity(lines), [[0.5], [9], ["d"]], ","))
        assert given[1][0] == [[4.5], [9], [b"d"]]

    def test_plain_text(self):
        records = tf.constant(["1,a", "2,b"])
        got = decode_csv(records, [[0], [""]])
        assert [column.numpy().tolist() for column in got] == [[1, 2], [b"a", b"b"]]


class TestBlocks(Configured):
    @pytest.fixture
    def tables(self):
        # The second block has a text that only decode_csv itself can give.
        table = Chunked([65536, 65536], 65536)
        texts = np.where(np.arange(2 * 65536) == 70000, "a,b", "c")
        table.rows = pa.record_batch({"id": np.arange(2 * 65536), "c": texts})
        table.schema = table.rows.schema
        return table

    def test_blocks_of_both_kinds(self, tables):
        decoded_rows = TestGraphs.rows(self, lambda lines: decode_csv(lines, [np.int64([0]), ["d"]]), count=10000)
        ids = [one for batch in decoded_rows for one in batch[0][0]]
        texts = [one for batch in decoded_rows for one in batch[0][1]]
        assert ids == list(range(2 * 65536))
        assert {at for at, text in enumerate(texts) if text != b"c"} == {70000}
        assert texts[70000] == b"a,b"
