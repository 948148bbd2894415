"""What a recipe says about image files: keys that they have alone, and keys that say nothing of them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pai_train.errors import Fault
from pai_train.spec.config import InputConfig, LabelConfig
from pai_train.spec.images import IMAGE_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHAPE = "image: {height: 32, width: 32, channels: 3}"
# Keys that say nothing of an image, with what is to be known instead.
_OTHERS = {
    "columns": f"they are {', '.join(IMAGE_COLUMNS)}",
    "header": None,
    "delimiter": None,
    "ids": None,
    "record_defaults": "no column of an image is null",
    "on_bad_row": "what is no image ends the run",
    "sample": None,
}


def image_faults(key: str, rows: InputConfig) -> Iterator[Fault]:
    """Checks that the keys of images, and only these, are given where the files are images."""
    if rows.format != "image" or rows.table is not None:
        if rows.image is not None:
            what = "a table" if rows.table is not None else f"format {rows.format}"
            todo = "leave it out" if rows.table is not None else f"leave it out, or choose {key}.format=image"
            yield Fault(f"{what} has no images", where=f"{key}.image", todo=todo)
        elif rows.format == "image":
            todo = "leave format out, or read files by oss"
            yield Fault("a table has no images", where=f"{key}.format", got="image", todo=todo)
        return
    if rows.image is None:
        yield Fault("images need the shape they are resized to", where=f"{key}.image", wanted=_SHAPE)
    defaults = InputConfig()
    for name, instead in _OTHERS.items():
        given = getattr(rows, name)
        if given != getattr(defaults, name):
            what = f"format image has no {name}" + (f": {instead}" if instead is not None else "")
            yield Fault(what, where=f"{key}.{name}", got=str(given), todo="leave it out")


def with_columns(rows: InputConfig) -> InputConfig:
    """Gives an input of images the columns that it has, for checks by name; the pixels' stands as BINARY."""
    if rows.format != "image" or rows.table is not None:
        return rows
    label = rows.label.column if isinstance(rows.label, LabelConfig) else rows.label
    seen = [name for name in IMAGE_COLUMNS if name != label]
    return replace(
        rows,
        columns=dict(zip(IMAGE_COLUMNS, ("BINARY", "STRING", "STRING"), strict=True)),
        features=rows.features if rows.features is not None else seen[:1],
        record_defaults=None,
    )
