"""NaN and infinities in columns that a model takes: an error that names the columns, as for a null without default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pai_train.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping


def not_finite_error(counts: Mapping[str, int]) -> DataError:
    """Returns the error for columns of which some values are NaN or infinite.

    Args:
        counts: How many values, by column; columns with 0 are passed over.
    """
    found = {name: count for name, count in counts.items() if count}
    names = ", ".join(repr(name) for name in found)
    return DataError(
        f"column{'s' if len(found) > 1 else ''} {names} hold{'' if len(found) > 1 else 's'} NaN or infinite values",
        got=", ".join(f"{count} in {name!r} among the rows looked at" for name, count in found.items()),
        wanted="finite numbers: one NaN makes every weight NaN, or teaches nothing",
        todo="leave these rows out, or make these fields empty and give the column a value in record_defaults",
    )
