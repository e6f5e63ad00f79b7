from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from platform.core.errors import Problem, UserError, did_you_mean
from platform.data.classes import encode, name_classes, try_encode
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
        if path.is_file():
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
        class_names = self._class_names(tables)
        parts = {split: self._to_split(table, split, class_names) for split, table in tables.items()}
        return Reading(parts["train"], parts.get("test"), class_names)

    def _to_split(self, table: Any, split: str, class_names: tuple[str, ...]) -> Split[Images]:
        options, where = self.options, f"{split} part of {self.options.path}"
        true_column = options.true_label_column
        label_column = options.label_column
        if split == "test" and label_column not in table.column_names and true_column in table.column_names:
            label_column = true_column  # a noisy label column is often there for training images only
        values = {name: _values(table, name, key, where) for name, key in _wanted(label_column, true_column)}
        labels = {name: encode(column, class_names, name, where) for name, column in values.items()}
        used = {options.image_column, true_column, label_column}
        others = {name: try_encode(table[name].to_pylist(), class_names) for name in _plain(table) if name not in used}
        images = _Images(_column(table, options.image_column, "data.image_column", where), options.path)
        return Split(
            images=images,
            labels=labels[label_column],
            true_labels=labels.get(true_column) if true_column else None,
            columns={name: column for name, column in others.items() if column is not None},
            ids=[f"{split}/{i}" + (f" {name}" if name else "") for i, name in enumerate(images.names())],
        )

    def _class_names(self, tables: dict[str, Any]) -> tuple[str, ...]:
        if self.options.class_names:
            return self.options.class_names
        named = _named_in(tables["train"].schema.metadata or {}, self.options.label_column)
        wanted = _wanted(self.options.label_column, self.options.true_label_column)
        return named or name_classes(
            *(
                _values(table, name, key, f"{split} part of {self.options.path}")
                for split, table in tables.items()
                for name, key in wanted
                if split == "train" or name in table.column_names
            )
        )


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
        return [name for chunk in self._column.chunks for name in chunk.field("path").to_pylist()]


def _table(shards: list[Path]) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    tables = []
    for shard in shards:
        try:
            tables.append(pq.read_table(shard))
        except (pa.ArrowInvalid, OSError) as error:
            text = f"not a readable Parquet file: {str(error).partition(chr(10))[0]}"
            raise UserError(Problem(text, "data.path", where=str(shard))) from error
    if len({tuple(t.column_names) for t in tables}) > 1:
        raise UserError(
            Problem("the files of one part have different columns", "data.path", where=str(shards[0].parent))
        )
    return pa.concat_tables(tables)


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
    return column.to_pylist()


def _plain(table: Any) -> list[str]:
    import pyarrow as pa

    def plain(kind: Any) -> bool:
        return pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_dictionary(kind)

    return [name for name in table.column_names if plain(table[name].type)]


def _named_in(metadata: dict[bytes, bytes], label_column: str) -> tuple[str, ...]:
    """Class names in the file's metadata: `class_names` (a JSON list, or words with commas), or Hugging Face's."""
    if b"class_names" in metadata:
        text = metadata[b"class_names"].decode()
        return tuple(json.loads(text)) if text.lstrip().startswith("[") else tuple(n.strip() for n in text.split(","))
    try:
        feature = json.loads(metadata[b"huggingface"])["info"]["features"][label_column]
        return tuple(feature["names"])
    except (KeyError, ValueError, TypeError):
        return ()
