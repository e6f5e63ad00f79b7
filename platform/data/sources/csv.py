from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.files import unreadable
from platform.data.classes import check_count, encode, is_missing, name_classes, try_encode
from platform.data.sources.source import Images, LocalOptions, Reading, Source, Split

SPLITS = ("train", "test", "unlabelled")


class Csv(Source):
    """csv: a table `path,label[,true_label][,split]` that lists image files, relative to the table's folder.

    A label is a class name or number; the classes are `class_names`, or the labels that occur. Without a label, the
    image is unlabelled. `split` is train, test or unlabelled; without that column a test part is drawn. Further columns
    with labels serve `labels.noise: column:NAME`.
    """

    local: ClassVar[bool] = True
    truth_hint: ClassVar[str] = "a column true_label of the table names them"

    class Options(LocalOptions):
        image_size: int | None = Field(
            32, ge=1, le=4096, description="resize the shorter side to this many pixels and cut the centre square"
        )
        label_column: str = Field("label", description="column of the labels: class numbers or names")
        class_names: tuple[str, ...] | None = Field(
            None, description="class names; otherwise the labels that occur, sorted"
        )

    def _table(self) -> dict[str, list[str]]:
        """Values by column name. Raises UserError for an empty table, uneven rows or a missing column."""
        path = self.options.existing()
        if path.is_dir():
            tables = ", ".join(sorted(f.name for f in path.glob("*.csv"))) or "none"
            raise UserError(Problem(f"{path} is a folder; name the table", "data.path", hint=f"tables in it: {tables}"))
        if reason := unreadable(path):
            raise UserError(Problem(f"not a readable table: {reason}", "data.path", where=str(path)))
        try:
            with open(path, newline="", encoding="utf-8-sig") as handle:
                reader = csv.reader(handle)
                lines = [(reader.line_num, row) for row in reader if row]
        except (UnicodeDecodeError, csv.Error, OSError) as error:
            raise UserError(Problem(f"not a readable table: {error}", "data.path", where=str(path))) from error
        if len(lines) < 2:
            raise UserError(Problem("the table lists no image", "data.path", where=str(path)))
        header = [name.strip() for name in lines[0][1]]
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise UserError(Problem(f"two columns are called '{twice}'", "data.path", where=str(path)))
        for name, key in (("path", "data.path"), (self.options.label_column, "data.label_column")):
            if name not in header:
                raise UserError(Problem(f"no column '{name}'", key, str(path), did_you_mean(name, header)))
        uneven = next((number for number, row in lines[1:] if len(row) != len(header)), None)
        if uneven is not None:
            text = f"this row does not have {len(header)} fields as the first"
            raise UserError(Problem(text, "data.path", where=f"{path}:{uneven}"))
        return {name: [row[i].strip() for _, row in lines[1:]] for i, name in enumerate(header)}

    def files(self) -> list[Path]:
        path = self.options.path.expanduser()
        return [path, *(path.parent / name for name in self._table()["path"])]

    def drawn_test(self) -> bool:
        return "test" not in self._table().get("split", ())

    def read(self) -> Reading:
        table, options = self._table(), self.options
        where, folder = str(options.path), options.path.expanduser().parent
        given, true = table[options.label_column], table.get("true_label")
        numbered = bool(options.class_names)  # else the numbers that occur are the names
        class_names = options.class_names or name_classes(given, true or [])
        if options.classes is not None or not numbered:
            images, what = sum(not is_missing(v) for v in given), f"labels in column '{options.label_column}'"
            check_count(class_names, images, options.classes, what, "data.label_column", where)
        split = np.array([value or "train" for value in table.get("split", ["train"] * len(given))])
        unknown = sorted(set(split.tolist()) - set(SPLITS))
        if unknown:
            raise UserError(
                Problem(f"no such split: '{unknown[0]}'", "data.path", where, did_you_mean(unknown[0], SPLITS))
            )
        labels = encode(given, class_names, options.label_column, where, numbered)
        true_labels = encode(true, class_names, "true_label", where, numbered) if true else None
        used = {"path", "split", "true_label", options.label_column}
        columns = {n: try_encode(values, class_names, numbered) for n, values in table.items() if n not in used}

        def part(name: str) -> Split[Images]:
            rows = np.flatnonzero(split == name)
            return Split(
                images=[folder / table["path"][i] for i in rows],
                labels=labels[rows],
                true_labels=None if true_labels is None else true_labels[rows],
                columns={key: values[rows] for key, values in columns.items() if values is not None},
                ids=[table["path"][i] for i in rows],
            )

        test = part("test") if "test" in split else None
        return Reading(part("train"), test, tuple(class_names), extra=part("unlabelled").images or None)
