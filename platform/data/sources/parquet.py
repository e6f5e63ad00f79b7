from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.files import unreadable
from platform.data.classes import check_count, encode, is_missing, name_classes, try_encode
from platform.data.sources.source import Image, Images, LocalOptions, Reading, Source, Split


class Parquet(Source):
    """parquet: images and labels in Parquet files, as Hugging Face datasets come.

    `path` is a folder with train*.parquet and test*.parquet, or one file, of which a test part is drawn. The image
    column holds the encoded image (PNG, JPEG, ...) or a struct {bytes, path}. Labels are class numbers or names; rows
    without one are unlabelled. Further label columns can be used by `labels.noise: column:NAME`.
    """

    local: ClassVar[bool] = True
    truth_hint: ClassVar[str] = "data.true_label_column=NAME names their column"

    class Options(LocalOptions):
        image_column: str = Field("image", description="column of the images: encoded bytes, or struct {bytes, path}")
        label_column: str = Field("label", description="column of the labels: class numbers or names")
        true_label_column: str | None = Field(None, description="column of the labels known to be right")
        class_names: tuple[str, ...] | None = Field(None, description="class names; otherwise from the file's metadata")

    def _shards(self, split: str) -> list[Path]:
        path = self.options.existing()
        if not path.is_dir():
            return [path] if split == "train" else []
        shards = sorted(path.glob(f"{split}*.parquet"))
        if split == "train" and not shards:
            has = ", ".join(sorted(f.name for f in path.iterdir())[:10]) or "nothing"
            raise UserError(Problem(f"no train.parquet in {path}", "data.path", hint=f"the folder holds: {has}"))
        return shards

    def files(self) -> list[Path]:
        return [*self._shards("train"), *self._shards("test")]

    def drawn_test(self) -> bool:
        return not self._shards("test")

    def read(self) -> Reading:
        tables = {split: _table(shards) for split in ("train", "test") if (shards := self._shards(split))}
        class_names, numbered = self._class_names(tables)
        parts = {split: self._to_split(table, split, class_names, numbered) for split, table in tables.items()}
        return Reading(parts["train"], parts.get("test"), class_names)

    def _to_split(self, table: Any, split: str, class_names: tuple[str, ...], numbered: bool) -> Split[Images]:
        options, where = self.options, f"{split} part of {self.options.path}"
        true_column = options.true_label_column
        label_column = options.label_column
        if split == "test" and label_column not in table.column_names and true_column in table.column_names:
            label_column = true_column  # a noisy label column is often there for training images only
        values = {name: _values(table, name, key, where) for name, key in _wanted(label_column, true_column)}
        labels = {name: encode(column, class_names, name, where, numbered) for name, column in values.items()}
        used = {options.image_column, true_column, label_column}
        plain = [name for name in _plain(table) if name not in used]
        others = {name: try_encode(_listed(table[name], name, "", where), class_names, numbered) for name in plain}
        images = _Images(_column(table, options.image_column, "data.image_column", where), options.path)
        return Split(
            images=images,
            labels=labels[label_column],
            true_labels=labels.get(true_column) if true_column else None,
            columns={name: column for name, column in others.items() if column is not None},
            ids=[f"{split}/{i}" + (f" {name}" if name else "") for i, name in enumerate(images.names())],
        )

    def _class_names(self, tables: dict[str, Any]) -> tuple[tuple[str, ...], bool]:
        """The names, and whether a whole number is a position among them: not where they are the labels that occur."""
        options, where = self.options, f"train part of {self.options.path}"
        names = options.class_names or _named_in(tables["train"].schema.metadata or {}, options.label_column, where)
        numbered = bool(names)
        if not numbered or options.classes is not None:
            wanted = _wanted(options.label_column, options.true_label_column)
            columns = [
                _values(table, name, key, f"{split} part of {options.path}")
                for split, table in tables.items()
                for name, key in wanted
                if split == "train" or name in table.column_names
            ]
            names = names or name_classes(*columns)
            images = max(sum(not is_missing(v) for v in columns[i]) for i in range(len(wanted)))
            what = f"labels in column '{options.label_column}'"
            check_count(names, images, options.classes, what, "data.label_column", where)
        return names, numbered


class _Images(Sequence[Image]):
    """The encoded images of a column; a struct without bytes names a file beside the Parquet file."""

    def __init__(self, column: Any, path: Path) -> None:
        self._column, self._folder = column, path if path.is_dir() else path.parent

    def __len__(self) -> int:
        return len(self._column)

    def __getitem__(self, i: Any) -> Any:
        value = self._column[i].as_py()
        if isinstance(value, dict):
            name = value.get("path")
            return value.get("bytes") or (self._folder / name if name else None)
        return value

    def names(self) -> list[str | None]:
        import pyarrow as pa

        if not pa.types.is_struct(self._column.type) or self._column.type.get_field_index("path") < 0:
            return [None] * len(self)
        return [name for chunk in self._column.chunks for name in _listed(chunk.field("path"), "path", "data.path", "")]


def _table(shards: list[Path]) -> Any:
    import pyarrow as pa

    tables = [_read(shard) for shard in shards]
    first = tables[0].schema
    for shard, table in zip(shards, tables, strict=True):
        if table.column_names != first.names:
            text = "the files of one part have different columns"
            raise UserError(Problem(text, "data.path", where=str(shards[0].parent)))
        for name, here, there in zip(first.names, table.schema.types, first.types, strict=True):
            if here != there:
                text = f"column '{name}' holds {here}, in {shards[0].name} it holds {there}"
                raise UserError(Problem(text, "data.path", where=str(shard), hint="write all files with one schema"))
    return pa.concat_tables(tables)


def _read(shard: Path) -> Any:
    """The table of one file. Nothing is opened that is no regular file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    reason = unreadable(shard)
    try:
        if not reason:
            reason = _unfit(pq.read_metadata(shard))
        if not reason:
            return pq.read_table(shard)
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
    raise UserError(Problem(f"not a readable Parquet file: {reason}", "data.path", where=str(shard)))


def _unfit(metadata: Any) -> str:
    """The reason why a file of this description is not read, or "" where it is."""
    names = metadata.schema.to_arrow_schema().names
    twice = next((name for name, times in Counter(names).items() if times > 1), None)
    if twice is not None:
        return f"two columns are called '{twice}'"
    if metadata.num_rows > MOST_ROWS:
        return f"it says that it has {metadata.num_rows:,} rows, at most {MOST_ROWS:,} are read"
    return ""


MOST_ROWS = 50_000_000
"""Of a file. A column of one repeated value takes no room in it, and all of it in memory."""


def _wanted(label: str, true: str | None) -> list[tuple[str, str]]:
    return [(label, "data.label_column"), *([(true, "data.true_label_column")] if true else [])]


def _column(table: Any, name: str, key: str, where: str) -> Any:
    import pyarrow as pa

    if name not in table.column_names:
        raise UserError(Problem(f"no column '{name}'", key, where, did_you_mean(name, table.column_names)))
    column = table[name]
    encoded = (
        pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type) or pa.types.is_struct(column.type)
    )
    if key == "data.image_column" and not encoded:
        text = f"column '{name}' holds {column.type}, not images"
        raise UserError(Problem(text, key, where, "expected: binary (encoded images) or struct {bytes, path}"))
    return column


def _values(table: Any, name: str, key: str, where: str) -> list[Any]:
    import pyarrow as pa

    column = _column(table, name, key, where)
    if pa.types.is_nested(column.type) or pa.types.is_binary(column.type):
        raise UserError(Problem(f"column '{name}' holds {column.type}, not labels", key, where))
    return _listed(column, name, key, where)


def _listed(column: Any, name: str, key: str, where: str) -> list[Any]:
    """The values of a column; UserError for text that is not UTF-8, or a date that Python has no value for."""
    import pyarrow as pa

    try:
        return column.to_pylist()
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise UserError(Problem(f"column '{name}' holds a value that cannot be read: {error}", key, where)) from error


def _plain(table: Any) -> list[str]:
    import pyarrow as pa

    def plain(kind: Any) -> bool:
        return pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_dictionary(kind)

    return [name for name in table.column_names if plain(table[name].type)]


_MEND = "name the classes here, or mend the file"


def _named_in(metadata: dict[bytes, bytes], label_column: str, where: str) -> tuple[str, ...]:
    """Class names in the file's metadata: `class_names` (a JSON list, or words with commas), or Hugging Face's."""
    key = next((key for key in (b"class_names", b"huggingface") if key in metadata), b"")
    try:
        text = metadata.get(key, b"{}").decode()
        if key == b"class_names" and not text.lstrip().startswith("["):
            return tuple(name.strip() for name in text.split(","))
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        message = f"the metadata '{key.decode()}' cannot be read: {error}"
        raise UserError(Problem(message, "data.class_names", where, _MEND)) from error
    if key == b"huggingface":
        try:
            found = found["info"]["features"][label_column].get("names", [])
        except (KeyError, TypeError, AttributeError):
            return ()
    if key and not (isinstance(found, list) and all(isinstance(name, str) for name in found)):
        message = f"the metadata '{key.decode()}' is no list of names"
        raise UserError(Problem(message, "data.class_names", where, _MEND))
    return tuple(found)
