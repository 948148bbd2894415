"""The reproduce line: through a shell and Hydra's parser every value comes back as it was."""

from __future__ import annotations

import math
import shlex
import subprocess

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pai_train.experiment.reproduce import hydra_value, reproduce_line

PARSER = OverridesParser.create()
TEXT = st.one_of(
    st.text(max_size=20).filter(lambda text: "\0" not in text),
    st.text(alphabet="\\\"' $({[,:=]})#\n\ttrue01.e-", max_size=12),
)
SCALAR = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), TEXT)
NAME = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name.lower() not in ("true", "false", "null", "inf", "nan")
)
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAME, inner, max_size=3), max_leaves=5
)


def read(line):
    words = shlex.split(line)
    assert words[0] == "cd"
    assert words[2:6] == ["&&", "python", "-m", "pai_train"]
    return words[1], {word.partition("=")[0].lstrip("+"): PARSER.parse_override(word).value() for word in words[6:]}


@settings(deadline=None, max_examples=300)
@given(value=VALUE)
@example(value="123")
@example(value="")
@example(value="null")
@example(value="TRUE")
@example(value="1e5")
@example(value="inf")
@example(value='\\"')
@example(value="\\")
@example(value="a\\\\'\"")
@example(value='"\n')
@example(value="${oc.env:HOME}/x")
@example(value="choice(1,2)")
@example(value=["a,b", "]", ""])
def test_a_value_comes_back_through_shell_and_parser(value):
    line = reproduce_line("/work", [], fresh={"key": value})
    _, values = read(line)
    assert values == {"train.resume": "never", "key": value}
    assert type(values["key"]) is type(value)


@settings(deadline=None, max_examples=50)
@given(cwd=TEXT.filter(bool))
def test_any_folder_is_quoted(cwd):
    assert read(reproduce_line(cwd, ["+recipe=iris"]))[0] == cwd


def test_nan_comes_back():
    assert math.isnan(PARSER.parse_override(f"a={hydra_value(math.nan)}").value())


def test_the_line_people_see():
    line = reproduce_line(
        "/home/me/my work",
        ["+recipe=iris", "gpus=2", "checkpointDir=old", "train.resume=auto", "train.epochs=3"],
        snapshots={"train": "123"},
        fresh={"checkpointDir": "checkpoints/iris-2", "outputs.predictions.table": "iris_output_2"},
    )
    assert line == (
        "cd '/home/me/my work' && python -m pai_train +recipe=iris gpus=2 train.epochs=3 train.resume=never"
        " '++inputs.train.snapshot=\"123\"' checkpointDir=checkpoints/iris-2 outputs.predictions.table=iris_output_2"
    )


@pytest.mark.parametrize("given", ["+inputs.train.snapshot=1", "++inputs.train.snapshot=1", "inputs.train.snapshot=1"])
def test_a_key_given_by_the_user_is_replaced_however_it_was_spelled(given):
    line = reproduce_line("/", ["+recipe=iris", given], snapshots={"train": "new"})
    assert line.count("snapshot") == 1
    assert read(line)[1]["inputs.train.snapshot"] == "new"


def test_the_users_words_are_kept_as_they_were():
    words = ["+recipe=[iris,tiny]", "a='x y'", "b=${oc.env:HOME}", 'c="it\'s"', "~d", "e=$(touch /tmp/never)"]
    assert shlex.split(reproduce_line("/", words))[6:-1] == words


def test_a_shell_passes_the_words_on_unchanged():
    line = reproduce_line("/", ["+recipe=iris"], fresh={"a": "`id` $HOME \\ ' \" *"})
    shown = line.replace("python -m pai_train", "printf '%s\\n'")
    out = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True).stdout.splitlines()
    assert PARSER.parse_override(out[-1]).value() == "`id` $HOME \\ ' \" *"


def test_the_line_composes_on_the_shipped_configuration(pytestconfig):
    from hydra import compose, initialize_config_dir

    inputs = "+inputs={train: {table: iris}}"
    line = reproduce_line("/", [inputs, "checkpointDir=x"], snapshots={"train": "7"}, fresh={"checkpointDir": "y"})
    with initialize_config_dir(str(pytestconfig.rootpath / "conf"), version_base="1.3"):
        composed = compose("config", shlex.split(line)[6:])
    assert composed.inputs.train.snapshot == "7"
    assert composed.checkpointDir == "y"
    assert composed.train.resume == "never"


@pytest.mark.parametrize(
    "value", [{"a b": 1}, {1: 2}, {"true": 1}, object(), b"x"], ids=["space", "int", "bool", "object", "bytes"]
)
def test_what_the_grammar_cannot_say_is_refused(value):
    with pytest.raises(ValueError, match="Hydra's override grammar has no form"):
        hydra_value(value)
