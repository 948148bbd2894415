"""The frame of an Avro file: what pyiceberg writes passes, no cut of it does, and no damage leaves its bounds."""

from __future__ import annotations

import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.avro.file import AvroOutputFile
from pyiceberg.io import OutputFile
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField, StringType

from pai_train.tables.avro import FrameError, check_frame

SCHEMA = Schema(NestedField(1, "n", LongType(), required=True), NestedField(2, "s", StringType(), required=True))


class Kept(OutputFile):
    """Keeps what is written."""

    def __init__(self):
        super().__init__("kept.avro")
        self.stream = io.BytesIO()
        self.stream.close = lambda: None

    def create(self, overwrite=False):
        return self.stream

    def exists(self):
        return False

    def __len__(self):
        return len(self.stream.getvalue())

    def to_input_file(self):
        raise NotImplementedError


def written(blocks, codec="deflate"):
    kept = Kept()
    with AvroOutputFile(kept, SCHEMA, "row", metadata={"avro.codec": codec}) as file:
        for block in blocks:
            file.write_block(block)
    return kept.stream.getvalue()


BLOCKS = [[Record(n, "x" * n) for n in range(size)] for size in (1, 3, 200)]
WHOLE = written(BLOCKS)
ENDS = [len(written(BLOCKS[:count])) for count in range(4)]


@pytest.mark.parametrize("codec", ["null", "deflate"])
@pytest.mark.parametrize("count", range(4))
def test_what_pyiceberg_writes_is_whole(count, codec):
    check_frame(written(BLOCKS[:count], codec))


def test_no_cut_is_whole_but_where_a_block_ends():
    sync = WHOLE[-16:]
    whole = []
    for end in range(len(WHOLE) + 1):
        try:
            check_frame(WHOLE[:end])
            whole.append(end)
        except FrameError:
            pass
    assert whole == [place + 16 for place in range(len(WHOLE)) if WHOLE[place : place + 16] == sync]
    assert len(whole) == len(ENDS)


@given(st.binary(max_size=60), st.integers(0, len(WHOLE)))
def test_of_damage_nothing_comes_but_its_own_error(damage, place):
    with suppress(FrameError):
        check_frame(WHOLE[:place] + damage + WHOLE[place + len(damage) :])
