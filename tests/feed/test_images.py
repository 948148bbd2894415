"""Image files: decoded to one shape, labelled by folder or list, read by both engines; what is none is named."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from pai_train import open_feed
from pai_train.errors import DataError
from pai_train.feed.contracts import FeedPlan
from pai_train.feed.engines import engine
from pai_train.feed.formats import FileFormat, look, open_files
from pai_train.feed.images import ImageSource
from pai_train.storage import open_store

STORE = open_store("memory://images")
NUMBERS = itertools.count()
KINDS = ("cat", "dog")


def png(value, height=6, width=8, channels=3):
    return tf.io.encode_png(np.full((height, width, channels), value, np.uint8)).numpy()


@pytest.fixture
def folder():
    return f"memory://images/{next(NUMBERS)}"


@pytest.fixture
def objects(folder):
    """20 images of one grey each, some larger, in two folders; one is a JPEG."""
    for n in range(20):
        STORE.put(f"{folder}/{KINDS[n % 2]}/{n:03}.png", png(10 * n, *((6, 8) if n % 3 else (60, 80))))
    STORE.put(f"{folder}/dog/019.png", tf.io.encode_jpeg(np.full((6, 8, 3), 190, np.uint8), quality=100).numpy())
    return STORE.glob(f"{folder}/*/*.png")


def rows(source, columns=("image", "label", "path")):
    found = []
    for chunk in source.chunks():
        (batch,) = source.read(chunk, columns)
        assert batch.num_rows == chunk.rows
        assert batch.schema.names == list(columns)
        images = batch.column("image").to_numpy_ndarray()
        found += zip(images, batch.column("label").to_pylist(), batch.column("path").to_pylist(), strict=True)
    return found


def test_images_come_in_one_shape_with_the_label_of_their_folder(objects):
    source = ImageSource(objects, store=STORE, height=6, width=8)
    found = rows(source)
    assert [path for _, _, path in found] == [info.url for info in objects]
    assert [label for _, label, _ in found] == ["cat"] * 10 + ["dog"] * 10
    for image, _, path in found:
        number = int(path[-7:-4])
        assert image.shape == (6, 8, 3)
        assert image.dtype == np.uint8
        assert np.abs(image.astype(int) - 10 * number).max() <= 1
    assert source.snapshot.rows == 20


def test_channels_and_sizes_are_as_asked(objects):
    grey = ImageSource(objects[:3], store=STORE, height=3, width=2, channels=1)
    assert {image.shape for image, _, _ in rows(grey)} == {(3, 2, 1)}
    with pytest.raises(DataError, match="not the shape"):
        ImageSource(objects, store=STORE, height=3, width=2, channels=2)


def test_a_list_gives_labels(objects, folder):
    lines = [f"{info.url.removeprefix(folder + '/')},{n % 3}\n" for n, info in enumerate(objects)]
    labels = STORE.put(f"{folder}/labels.csv", "".join(["path,label\n", *lines]).encode())
    source = ImageSource(objects, store=STORE, height=6, width=8, labels=labels)
    assert [label for _, label, _ in rows(source)] == [str(n % 3) for n in range(20)]
    assert source.faults() == []
    short = STORE.put(f"{folder}/short.csv", "".join(["path,label\n", *lines[:5]]).encode())
    written = FileFormat("image", height=6, width=8, labels=short)
    (fault,) = look(STORE, objects, {}, written)
    assert fault.where == short.url
    assert fault.got == objects[5].url
    other = STORE.put(f"{folder}/other.csv", b"file,kind\na,b\n")
    (fault,) = look(STORE, objects, {}, FileFormat("image", height=6, width=8, labels=other))
    assert "other columns" in fault.what
    assert open_files(objects, {}, STORE, written).snapshot.id != source.snapshot.id


@pytest.mark.parametrize("content", [b"", b"no image", png(7)[:-20]], ids=["empty", "text", "cut short"])
def test_what_is_no_image_is_named(objects, folder, content):
    bad = STORE.put(f"{folder}/dog/bad.png", content)
    with pytest.raises(DataError) as caught:
        rows(ImageSource([*objects[:4], bad], store=STORE, height=6, width=8))
    assert caught.value.fault.where == bad.url
    (fault,) = look(STORE, [*objects[:4], bad], {}, FileFormat("image", height=6, width=8))
    assert fault.where == bad.url


def test_an_image_that_changes_is_named(objects, folder):
    source = ImageSource(objects, store=STORE, height=6, width=8)
    STORE.put(objects[3].url, png(1, 7, 7))
    with pytest.raises(DataError, match="changed while it was read") as caught:
        rows(source)
    assert caught.value.fault.where == objects[3].url


def test_both_engines_deliver_the_same_batches(objects):
    source = ImageSource(objects, store=STORE, height=6, width=8)
    for plan in (
        FeedPlan(("image", "label"), 8, {}, lanes=1),
        FeedPlan(("label", "image"), 8, {}, shuffle="block", seed=2, epochs=2, steps=2),
    ):
        first, second = [], []
        for name, found in (("tf_data", first), ("queue_runner", second)):
            with engine(name).open(source, plan) as stream:
                for one in stream:
                    images = np.asarray(one.columns["image"])
                    assert images.shape == (sum(one.rows), 6, 8, 3)
                    assert images.dtype == np.uint8
                    found.append((one.rows, images.tolist(), np.asarray(one.columns["label"]).tolist()))
        assert first == second


@pytest.mark.parametrize("name", ["tf_data", "queue_runner"])
@pytest.mark.parametrize("drop_remainder", [False, True])
def test_the_feed_of_images_keeps_their_shape(objects, folder, name, drop_remainder):
    written = FileFormat("image", height=6, width=8, channels=3)
    address = f"{folder}/*/*.png"

    def feed():
        return open_feed(
            address,
            ["image", "label"],
            format=written,
            batch_size=8,
            drop_remainder=drop_remainder,
            engine=name,
            label="label",
            lanes=1,
        )

    dataset = feed().dataset()
    size = 8 if drop_remainder else None
    assert dataset.element_spec[0]["image"].shape.as_list() == [size, 6, 8, 3]
    found = [(images["image"].numpy(), labels.numpy()) for images, labels in dataset]
    assert [len(images) for images, _ in found] == ([8, 8] if drop_remainder else [8, 8, 4])
    wanted = [image for image, _, _ in rows(ImageSource(objects, store=STORE, height=6, width=8))]
    read = np.concatenate([images for images, _ in found])
    assert (read == np.stack(wanted[: len(read)])).all()
    assert set(found[0][1]) == {b"cat"}
    for batches in (feed().numpy(), feed().arrow()):
        arrays = [getattr(b, "to_numpy_ndarray", lambda b=b: b)() for b in (one["image"] for one in batches)]
        assert (np.concatenate(arrays) == read).all()
