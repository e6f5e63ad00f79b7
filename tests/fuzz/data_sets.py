"""Data sets: small image folders, CSV and Parquet files, each whole or damaged in ways that people's data are."""

from __future__ import annotations

import io
import json
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from PIL import Image

from tests.data.test_odd_input import bomb

Draw = Callable[..., Any]

NAMES = tuple(
    "cat dog é 比べ d\udcffg x\x1b[31m <b>`x`</b> =1+1 [red] 0 -1 test train unlabelled .hidden %s it's a,b".split()
)
NAMES = (*NAMES, "a b", "new\nline", "y" * 200, '"')
LABELS: tuple[Any, ...] = (0, 1, 2, 7, -1, -3, 100_000_000, 2**31, 2**53 + 1, 10**30, "", " ", "9" * 5000, "x" * 3000)
LABELS += tuple("cat dog 2024-01-01 1.5 1e3 nan inf =1+1 é <b> 0x1 1_0".split())
MODES = ("RGB", "L", "RGBA", "P", "1", "I;16", "CMYK", "LA", "F", "I")
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "ICO", "TGA", "EPS", "PDF")
SPECIAL = (
    "fifo",
    "/dev/zero",
    "/proc/kmsg",
    "/dev/null",
    "/proc/self/mem",
    "directory",
    "dangling",
    "loop",
    "unreadable",
)


def picture(draw: Draw, seed: int) -> bytes:
    """An encoded image, mostly a good one of 8 x 8."""
    kind = draw(st.sampled_from(("good",) * 60 + ("mode", "size", "cut", "flip", "empty", "text", "bomb", "format")))
    rng = np.random.default_rng(seed)
    width, height = draw(st.tuples(st.integers(1, 40), st.integers(1, 40))) if kind == "size" else (8, 8)
    image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
    form = draw(st.sampled_from(FORMATS)) if kind == "format" else "PNG"
    if kind == "mode":
        image = image.convert("L").convert(draw(st.sampled_from(MODES[:5])))
    buffer = io.BytesIO()
    try:
        image.save(buffer, form)
    except (OSError, ValueError, KeyError):
        image.convert("RGB").save(buffer, "PNG")
    data = buffer.getvalue()
    if kind == "cut":
        return data[: draw(st.integers(0, len(data)))]
    if kind == "flip":
        at = draw(st.integers(0, len(data) - 1))
        return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
    if kind == "bomb":
        return bomb(*draw(st.sampled_from(((8193, 8193), (60_000, 60_000), (2**31 - 1, 1), (0, 5), (4000, 4000)))))
    return {"empty": b"", "text": b"no image"}.get(kind, data)


def special(kind: str, place: bytes) -> None:
    """A file at `place` that is none."""
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        os.mkdir(place)
    elif kind == "unreadable":
        with open(place, "wb") as file:
            file.write(b"x")
        os.chmod(place, 0)
    else:
        os.symlink({"dangling": b"nowhere", "loop": place}.get(kind, os.fsencode(kind)), place)


def write(draw: Draw, place: bytes, seed: int) -> None:
    """An image file, or now and then something else under its name."""
    if os.path.lexists(place):
        return
    if draw(st.integers(0, 80)) == 80:
        special(draw(st.sampled_from(SPECIAL)), place)
        return
    with open(place, "wb") as file:
        file.write(picture(draw, seed))


def image_folder(draw: Draw, top: Path) -> dict[str, Any]:
    raw, seed = os.fsencode(top), 0
    parts = draw(st.sampled_from(((b"",), (b"train",), (b"train", b"test"), (b"", b"unlabelled"))))
    classes = draw(
        st.lists(st.sampled_from(NAMES), min_size=0 if draw(st.integers(0, 9)) == 9 else 2, max_size=4, unique=True)
    )
    many = draw(st.integers(0, 12)) == 12
    for part in parts:
        for name in [*classes, *(f"c{i}" for i in range(12) if many)]:
            folder = os.path.join(raw, part, os.fsencode(name))
            os.makedirs(folder, exist_ok=True)
            for number in range(1 if many else draw(st.integers(0, 12))):
                odd = draw(st.sampled_from((b"",) * 8 + (b"\xff", b"\x1b", b" ", b"<b>`", b"\n")))
                write(draw, os.path.join(folder, odd + str(number).encode() + b".png"), seed := seed + 1)
    return {"source": "image_folder", "path": str(top)}


def csv_file(draw: Draw, top: Path) -> dict[str, Any]:
    rows, count = [], draw(st.integers(0, 40))
    several = draw(st.lists(st.sampled_from(LABELS), min_size=1, max_size=6)) if draw(st.booleans()) else [0, 1, 2]
    columns = draw(
        st.lists(
            st.sampled_from(("more", "true_label", "split") * 4 + ("label", "", "é", "m" * 300)),
            max_size=3,
            unique=draw(st.integers(0, 9)) < 9,
        )
    )
    for number in range(count):
        name = f"{number}.png"
        write(draw, os.fsencode(top / name), number)
        if draw(st.integers(0, 90)) == 90:
            name = draw(
                st.sampled_from(
                    ("a\0b", "/dev/zero", "/proc/kmsg", "..", "", "x" * 5000, "~", "/etc/hostname", "missing.png")
                )
            )
        label = draw(st.sampled_from(several))
        more = [draw(st.sampled_from(_cells(column, label, last=number == 39))) for column in columns]
        rows.append(",".join(map(str, [name, label, *more])))
    raw = "\n".join([",".join(["path", "label", *columns]), *rows]).encode("utf-8", "surrogateescape")
    place = top / "table.csv"
    if draw(st.integers(0, 9)) == 9:
        at = draw(st.integers(0, len(raw)))
        raw = (
            raw[:at]
            + draw(st.one_of(st.binary(min_size=1, max_size=5), st.sampled_from((b'"', b"\0", b"\r", b",", b"\n\n"))))
            + raw[at:]
        )
    if draw(st.integers(0, 15)) == 15:
        special(draw(st.sampled_from(SPECIAL)), os.fsencode(place))
    else:
        place.write_bytes(raw)
    return {"source": "csv", "path": str(place)}


def _cells(column: str, label: Any, last: bool) -> tuple[Any, ...]:
    """What a further column may hold beside `label`."""
    if column == "split":
        return ("", "train", "train", "test", "unlabelled", *(["tset"] if last else []))
    return ("", 0, 1, 2, label, label)


def _labels(draw: Draw, count: int) -> pa.Array:
    kind = draw(
        st.sampled_from(("int",) * 12 + ("string", "big", "float", "date", "null", "bool", "dictionary", "list", "bad"))
    )
    small = draw(st.lists(st.sampled_from((0, 1, 2, None)), min_size=count, max_size=count))
    match kind:
        case "string":
            return pa.array([None if v is None else NAMES[v] for v in small], pa.string())
        case "big":
            return pa.array(
                [None if v is None else draw(st.sampled_from((v, 10**8, 2**62))) for v in small], pa.int64()
            )
        case "float":
            return pa.array([None if v is None else v + draw(st.sampled_from((0.0, 0.5))) for v in small], pa.float64())
        case "date":
            far = draw(st.booleans())
            return pa.array([None if v is None else v * 10**8 * far + v for v in small], pa.int32()).cast(pa.date32())
        case "null":
            return pa.nulls(count)
        case "bool":
            return pa.array([None if v is None else v > 0 for v in small])
        case "dictionary":
            return pa.array([None if v is None else "abc"[v] for v in small]).dictionary_encode()
        case "list":
            return pa.array([[v] for v in small], pa.list_(pa.int64()))
        case "bad":
            ends = pa.py_buffer(struct.pack(f"<{count + 1}i", *range(count + 1)))
            return pa.Array.from_buffers(pa.utf8(), count, [None, ends, pa.py_buffer(b"\xff" * count)])
    return pa.array(small, pa.int64())


def parquet(draw: Draw, top: Path) -> dict[str, Any]:
    names = draw(
        st.sampled_from((("all.parquet",), ("train.parquet", "test.parquet"), ("train-0.parquet", "train-1.parquet")))
    )
    titles: list[str] = []
    for name in names:
        count = draw(st.integers(0, 30))
        struct_column = draw(st.booleans())
        images: list[Any] = [picture(draw, number) for number in range(count)]
        if struct_column:
            path = draw(st.sampled_from(("a.png", None, "/dev/zero", "a\0b", "/proc/kmsg", "x" * 5000)))
            images = [{"bytes": None if draw(st.integers(0, 20)) == 20 else data, "path": path} for data in images]
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if struct_column else pa.binary()
        columns = [pa.array(images, kind), _labels(draw, count), _labels(draw, count)]
        titles = ["image", "label", draw(st.sampled_from(("more", "true") * 5 + ("label", "m" * 300, "")))]
        texts = (
            "[no json",
            '["a", 1]',
            "a,b,c",
            '["a","b","c"]',
            "[" * 3000,
            "",
            "a,a",
            json.dumps({"info": 5}),
            '{"info": {"features": []}}',
        )
        metadata = {draw(st.sampled_from(("class_names", "huggingface", "x"))): draw(st.sampled_from(texts))}
        table = pa.Table.from_arrays(columns, titles).replace_schema_metadata(
            metadata if draw(st.integers(0, 4)) == 4 else None
        )
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        raw = buffer.getvalue()
        damage = draw(st.integers(0, 20))
        if damage == 20:
            raw = raw[: draw(st.integers(0, len(raw)))]
        elif damage == 1:
            at = draw(st.integers(max(0, len(raw) - 2000), len(raw) - 1))
            raw = raw[:at] + bytes([draw(st.integers(0, 255))]) + raw[at + 1 :]
        if draw(st.integers(0, 20)) == 20:
            special(draw(st.sampled_from(SPECIAL)), os.fsencode(top / name))
        else:
            (top / name).write_bytes(raw)
    found: dict[str, Any] = {"source": "parquet", "path": str(top / names[0] if len(names) == 1 else top)}
    if draw(st.integers(0, 3)) == 3:
        found["true_label_column"] = titles[2]
    return found


def data_set(draw: Draw, top: Path) -> dict[str, Any]:
    """Write a data set below `top` and return the `data` section that reads it."""
    found = draw(st.sampled_from((image_folder, csv_file, parquet)))(draw, top)
    options = {
        "on_bad_image": st.sampled_from(("stop", "skip", "skip", "skip")),
        "image_size": st.sampled_from((8, None, 1, 256)),
        "channels": st.sampled_from(("auto", "rgb", "gray")),
        "classes": st.sampled_from((None, 2, 3, 12)),
        "limit": st.sampled_from((None, 2, 10)),
        "test_fraction": st.sampled_from((0.2, 0.99, 1e-9)),
        "class_names": st.sampled_from((None, ["a", "b"], ["a", "a"], ["0", "1", "2"], [])),
    }
    for name, strategy in options.items():
        if name == "class_names" and found["source"] == "image_folder":
            continue
        if draw(st.integers(0, 5)) == 5 or name == "on_bad_image":
            found[name] = draw(strategy)
    return found
