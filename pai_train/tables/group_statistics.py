"""The statistics of one row group in the form of a manifest's entry, so that one judge serves both."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pyiceberg.io.pyarrow import (
    MetricModeTypes,
    MetricsMode,
    StatisticsCollector,
    data_file_statistics_from_parquet_metadata,
)
from pyiceberg.manifest import DataFile as ManifestFile
from pyiceberg.types import PrimitiveType

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow.parquet as pq
    from pyiceberg.types import NestedField


def group_entry(footer: pq.FileMetaData, group: int, fields: Sequence[NestedField]) -> ManifestFile:
    """Returns what a row group knows of some columns of primitive types.

    Args:
        footer: The file's footer.
        group: Which row group.
        fields: The columns, as the file holds them.
    """
    known = _Columns(footer.row_group(group), {field.name for field in fields})
    full = MetricsMode(MetricModeTypes.FULL)
    plan = {
        field.field_id: StatisticsCollector(
            field_id=field.field_id, iceberg_type=field.field_type, mode=full, column_name=field.name
        )
        for field in fields
        if isinstance(field.field_type, PrimitiveType)
    }
    ids = {field.name: field.field_id for field in fields}
    statistics = data_file_statistics_from_parquet_metadata(known, plan, ids) if known.num_columns else None
    held = statistics.to_serialized_dict() if statistics is not None else {}
    return ManifestFile.from_args(**{**held, "record_count": known.num_rows})


class _Columns:
    """A footer that knows one row group and those of its columns that have statistics."""

    num_row_groups = 1

    def __init__(self, group: Any, names: set[str]) -> None:
        columns = [group.column(index) for index in range(group.num_columns)]
        self._columns = [one for one in columns if one.path_in_schema in names and one.is_stats_set]
        self.num_columns = len(self._columns)
        self.num_rows = group.num_rows

    def row_group(self, _: int) -> _Columns:
        return self

    def column(self, index: int) -> Any:
        return self._columns[index]
