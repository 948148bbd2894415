"""Model names and parameters are checked without TensorFlow; what a builder returns is checked by name and shape."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from pai_train.errors import PaiTrainError, Refused
from pai_train.models.contracts import ColumnSpec, LabelSpec
from pai_train.models.load import build, signature_faults

COLUMNS = (ColumnSpec("a", "float"), ColumnSpec("s", "string", vocabulary=("x", "y")))
LABEL = LabelSpec("y", "classification", ("no", "yes"))

USER_MODULE = """
import keras

from pai_train.models.preprocess import features


def tower(columns, label, *, units, act="relu"):
    raw, flow = features(columns)
    return keras.Model(list(raw.values()), keras.layers.Dense(label.width)(keras.layers.Dense(units, act)(flow)))


def softmax(columns, label):
    raw, flow = features(columns)
    return keras.Model(raw, keras.layers.Dense(label.width, "softmax")(flow))


def narrow(columns, label):
    raw, flow = features(columns)
    return keras.Model(raw, keras.layers.Dense(1)(flow))


def renamed(columns, label):
    tensors = [keras.Input((), name=c.name.replace("s", "ss"), dtype="float64") for c in columns]
    return keras.Model(tensors, keras.layers.Dense(2)(keras.ops.stack(tensors, axis=-1)))


def layer(columns, label):
    return keras.layers.Dense(2)


def no_arguments():
    pass


number = 3
"""


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    (tmp_path / "my_towers.py").write_text(textwrap.dedent(USER_MODULE))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    yield "my_towers"
    sys.modules.pop("my_towers", None)


def test_named_models_are_checked_without_tensorflow():
    code = textwrap.dedent("""
        import sys
        from pai_train.models.load import signature_faults
        assert signature_faults("mlp", {"hidden": [3], "dropout": 0.5}) == []
        assert len(signature_faults("mlp", {"hiden": [3]})) == 1
        heavy = {"tensorflow", "keras", "pyarrow", "numpy"} & sys.modules.keys()
        sys.exit(str(heavy) if heavy else 0)
    """)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "params", "where", "text"),
    [
        ("mpl", {}, "model.name", "did you mean 'mlp'"),
        ("forest", {}, "model.name", "or a dotted path"),
        ("mlp", {"hiden": [3]}, "model.params.hiden", "did you mean 'hidden'"),
        ("linear", {"hidden": [3]}, "model.params.hidden", "it has no parameters"),
        ("mlp", {"hidden": [0]}, "model.params.hidden", "above 0"),
        ("mlp", {"hidden": 16}, "model.params.hidden", "a list"),
        ("mlp", {"dropout": 1.0}, "model.params.dropout", "below 1"),
        ("mlp", {"batch_norm": "yes"}, "model.params.batch_norm", "true or false"),
        ("mlp", {"activation": "rleu"}, "model.params.activation", "relu"),
        ("no_such_package.model", {}, "model.name", "no module 'no_such_package'"),
        ("math.sqroot", {}, "model.name", "did you mean 'sqrt'"),
        ("math.pi", {}, "model.name", "is no function"),
    ],
)
def test_faults_say_where_and_what(name, params, where, text):
    [fault] = signature_faults(name, params)
    assert fault.where == where
    assert text in str(fault)


def test_all_faults_at_once():
    assert len(signature_faults("mlp", {"a": 1, "b": 2})) == 2


def test_parameters_of_a_users_builder(user_module):
    assert signature_faults(f"{user_module}.tower", {"units": 3}) == []
    [fault] = signature_faults(f"{user_module}.tower", {})
    assert "needs the parameter 'units'" in str(fault)
    [fault] = signature_faults(f"{user_module}.tower", {"units": 3, "akt": "tanh"})
    assert "did you mean 'act'" in str(fault)
    [fault] = signature_faults(f"{user_module}.no_arguments", {})
    assert "function(columns, label" in str(fault)


def test_a_users_model_takes_raw_columns(user_module):
    model = build(f"{user_module}.tower", {"units": 3}, COLUMNS, LABEL)
    assert [tensor.name for tensor in model.inputs] == ["a", "s"]
    assert model.output.shape == (None, 2)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        ("softmax", "leave out the softmax"),
        ("narrow", "logits of shape"),
        ("renamed", "a, ss"),
        ("layer", "no keras.Model"),
    ],
)
def test_a_users_wrong_model_is_named(user_module, function, text):
    with pytest.raises(PaiTrainError, match=text):
        build(f"{user_module}.{function}", {}, COLUMNS, LABEL)


def test_build_refuses_wrong_parameters():
    with pytest.raises(Refused, match="did you mean 'hidden'"):
        build("mlp", {"hiden": [3]}, COLUMNS, LABEL)


def test_a_label_needs_distinct_classes_of_one_kind():
    for classes in [(), ("a", "a"), ("a", 1), (True, 1)]:
        with pytest.raises(ValueError, match="label 'y'"):
            LabelSpec("y", "classification", classes)


def test_large_integers_keep_their_digits():
    from pai_train.models.preprocess import features

    first = 1_700_000_000_000_000
    raw, flow = features([ColumnSpec("i", "int", mean=first + 1.5, variance=1.25)])
    import keras

    out = keras.Model(raw, flow)({"i": np.arange(first, first + 4)})
    np.testing.assert_allclose(np.ravel(out), (np.arange(4) - 1.5) / np.sqrt(1.25), rtol=1e-6)


@pytest.mark.parametrize("size", [2, 40])
def test_unknown_strings_share_a_place(size):
    import keras

    from pai_train.models.preprocess import features

    vocabulary = ("[UNK]", "", "nul\0", *(f"v{i}" for i in range(size)))
    raw, flow = features([ColumnSpec("s", "string", vocabulary=vocabulary)])
    values = keras.ops.convert_to_tensor(np.array(["v0", "v1", "new", "other", "[UNK]", ""], object))
    out = np.asarray(keras.Model(raw, flow)({"s": values}))
    assert out.shape == (6, size + 2 if size < 32 else 6)
    assert (out[2] == out[3]).all()
    assert (out[2] == out[4]).all()
    assert len(np.unique(out, axis=0)) == 4


def test_no_vocabulary_and_no_columns():
    model = build("linear", {}, [ColumnSpec("s", "string")], LABEL)
    assert model.output.shape == (None, 2)
    with pytest.raises(PaiTrainError, match="no feature columns"):
        build("linear", {}, [], LABEL)


def test_columns_may_be_named_like_layers():
    names = ["dense", "cast", "features", "mlp", "_x", "数量"]
    model = build("mlp", {"hidden": [2, 2], "batch_norm": True, "dropout": 0.1}, _strings_and_numbers(names), LABEL)
    assert {tensor.name for tensor in model.inputs} == set(names)


def test_a_model_comes_back_from_its_file(tmp_path):
    import keras

    columns = (ColumnSpec("a", "float", mean=2.0, variance=4.0), COLUMNS[1])
    model = build("mlp", {"hidden": [3]}, columns, LABEL)
    model.save(tmp_path / "m.keras")
    back = keras.models.load_model(tmp_path / "m.keras")
    given = {
        "a": keras.ops.convert_to_tensor(np.array([1.0, 7.0])),
        "s": keras.ops.convert_to_tensor(np.array(["x", "q"], object)),
    }
    np.testing.assert_array_equal(np.asarray(model(given)), np.asarray(back(given)))


def _strings_and_numbers(names):
    kinds = ["float", "string"]
    return [ColumnSpec(name, kinds[i % 2], vocabulary=("x",) * (i % 2)) for i, name in enumerate(names)]


BROKEN_MODULES = {
    "a missing import": ("import nonexistent_pkg\n", "No module named 'nonexistent_pkg'", 1),
    "no Python": ("def ok(:\n", "SyntaxError", 1),
    "raising": ("x = 1\nraise RuntimeError('at import')\n", "RuntimeError: at import", 2),
}


@pytest.mark.parametrize(("text", "said", "line"), BROKEN_MODULES.values(), ids=BROKEN_MODULES)
def test_a_module_of_the_users_that_cannot_be_imported(text, said, line, tmp_path, monkeypatch):
    name = f"broken_{line}_{len(text)}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (fault,) = signature_faults(f"{name}.ok", {})
    assert said in fault.what
    assert fault.where == f"{name}.py:{line}"


def test_a_builder_that_raises_names_the_users_line(tmp_path, monkeypatch):
    (tmp_path / "raising_builder.py").write_text("def boom(columns, label):\n    return 1 / len([])\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(PaiTrainError, match=r"the builder raising_builder\.boom failed: ZeroDivisionError") as caught:
        build("raising_builder.boom", {}, [ColumnSpec("a", "float")], LabelSpec("c", "classification", ("x", "y")))
    assert caught.value.fault.where == "raising_builder.py:2"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_module_beside_our_package_is_the_users(tmp_path):
    from pai_train.models import users

    own = f"{users._LIBRARIES[0].rstrip('/')}_towers/own.py"
    with pytest.raises(ValueError, match="x") as caught:
        exec(compile("def boom():\n    raise ValueError('x')\nboom()", own, "exec"), {})
    assert (users.user_error(caught.value, "w").fault.where or "").endswith("_towers/own.py:2")
