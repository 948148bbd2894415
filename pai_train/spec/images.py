"""Image files as an input: their keys, the columns they have, and the type of the one that holds the pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Le
from typing_extensions import Doc

IMAGE_COLUMNS = ("image", "label", "path")
"""What a row of an image file holds: the pixels, a STRING and a STRING."""


@dataclass(frozen=True, kw_only=True)
class ImageConfig:
    """What images become, and where their labels are."""

    height: Annotated[int, Ge(1), Le(65_536), Doc("Rows of pixels that every image is resized to.")]
    width: Annotated[int, Ge(1), Le(65_536), Doc("Columns of pixels that every image is resized to.")]
    channels: Annotated[Literal[1, 3, 4], Doc("1: grey; 3: RGB; 4: RGBA.")] = 3
    labels: Annotated[
        str | None,
        Doc(
            "A CSV object with `path,label` in its first line and paths from its own folder on, relative to"
            " storage.root, or a full URL; null: the label is the name of an image's folder."
        ),
    ] = None


@dataclass(frozen=True)
class ImageType:
    """The type of a column of images, which no table has: uint8 of shape [height, width, channels].

    Attributes:
        height: Rows of pixels.
        width: Columns of pixels.
        channels: 1, 3 or 4.
    """

    height: int
    width: int
    channels: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """[height, width, channels]."""
        return self.height, self.width, self.channels

    def __str__(self) -> str:
        return f"IMAGE({self.height}, {self.width}, {self.channels})"
