"""Images beside other columns: what the model takes, and what it makes of them."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from pai_train.errors import PaiTrainError
from pai_train.models.contracts import ColumnSpec, LabelSpec
from pai_train.models.load import build, check_model
from pai_train.models.preprocess import features, inputs
from pai_train.training.call_size import SUPERBATCH_BYTES, auto_steps

COLUMNS = [ColumnSpec("image", "image", shape=(2, 3, 1)), ColumnSpec("size", "float", mean=4.0, variance=4.0)]
LABEL = LabelSpec("kind", "classification", ("a", "b", "c"))


def test_images_are_scaled_and_flattened_beside_numbers():
    raw, matrix = features(COLUMNS)
    assert raw["image"].dtype == "uint8"
    assert raw["image"].shape == (None, 2, 3, 1)
    model = keras.Model(raw, matrix)
    images = np.arange(0, 240, 20, dtype=np.uint8).reshape(2, 2, 3, 1)
    found = model({"image": images, "size": np.array([4.0, 8.0])}).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0], [0, 2])
    np.testing.assert_allclose(found[:, 1:], images.reshape(2, 6) / 255, rtol=1e-6)


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_named_models_take_images(name):
    model = build(name, {}, COLUMNS, LABEL)
    assert model.output.shape == (None, 3)


def test_an_image_of_another_shape_is_refused():
    raw = inputs([ColumnSpec("image", "image", shape=(3, 2, 1))])
    model = keras.Model(raw, keras.layers.Dense(3)(keras.layers.Flatten()(raw["image"])))
    with pytest.raises(PaiTrainError, match="another shape") as caught:
        check_model("mine", model, COLUMNS[:1], LABEL)
    assert "(2, 3, 1)" in caught.value.fault.wanted


def test_superbatches_of_images_stay_small():
    photo = 224 * 224 * 3
    steps = auto_steps(100, 256, photo)
    assert steps == 1
    small = 32 * 32 * 3
    assert auto_steps(100, 256, small) * 256 * small <= SUPERBATCH_BYTES
    assert auto_steps(100, 32, 0) == 256
