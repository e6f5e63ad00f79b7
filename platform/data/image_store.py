"""The store of decoded images: memory maps that all trials of a machine share.

The first open decodes into $KURABE_CACHE/images/KEY (default ~/.cache/kurabe): `train.npy`, `test.npy` and perhaps
`extra.npy`, `labels.npz`, `ids.json`, `meta.json`. KEY hashes the source's files, its options, its code and FORMAT, so
a changed image gives a new key. The folder appears whole, by a rename, also where a process is killed.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from platform.core.errors import Problem, UserError, did_you_mean
from platform.core.plugins import BrokenPlugin, UnknownPlugin, imported_text
from platform.core.registry import SOURCES
from platform.core.spec import DataSettings
from platform.data import cache
from platform.data.dataset import Dataset, Images, Split
from platform.data.decode import Channels, decode, drop_rows
from platform.data.progress_bar import ProgressBar, progress_bar
from platform.data.source_contract import own_errors
from platform.data.sources.source import Reading, Source
from platform.data.splits import name_images, prepare, select

FORMAT = 1  # raise it when the same files would be decoded to other arrays


def open_dataset(settings: DataSettings, seed: int = 0, progress: bool = False) -> Dataset:
    """The dataset of `settings`: decoded on first use, a read-only memory map afterwards.

    seed: the data seed; decides `limit` and a test split that the files do not have. Raises UserError.
    """
    source = make_source(settings, seed)
    with own_errors(source), progress_bar(progress) as bar, cache.disk_errors("cannot write the decoded images"):
        source.prepare()
        folder = cache.root() / "images" / _key(source, settings, seed)
        meta = _read_meta(folder)
        if meta is None:
            with cache.locked(folder.parent / f".{folder.name}.lock") as held:
                meta = _read_meta(folder)  # another process may have made it during the wait
                if meta is None:
                    _build(folder, source, settings, seed, bar, held)
                    meta = _read_meta(folder)
    if meta is None:
        raise UserError(Problem("damaged again right after it was written", where=f"image cache {folder}"))
    with own_errors(source):
        return _open(folder, meta, source, settings)


def make_source(settings: DataSettings, seed: int = 0) -> Source:
    """The source with its options checked. Raises UserError with every problem."""
    try:
        source_class = SOURCES.get(settings.source)
    except UnknownPlugin as error:
        hint = did_you_mean(settings.source, error.valid, "python -m platform.catalog")
        raise UserError(Problem(f"no such data source: '{settings.source}'", "data.source", hint=hint)) from error
    except BrokenPlugin as error:
        raise UserError(Problem(f"{error.name}: {error.reason}", "data.source", hint=error.trace)) from error
    try:
        options = source_class.Options.model_validate(settings.options)
    except ValidationError as error:
        raise UserError(*_option_problems(error, source_class, settings.source)) from error
    return source_class(options, cache.root() / "downloads", seed)


def _option_problems(error: ValidationError, source_class: type[Source], name: str) -> Iterator[Problem]:
    for entry in error.errors():
        key = ".".join(map(str, ("data", *entry["loc"])))
        if entry["type"] == "extra_forbidden":
            valid = [*source_class.Options.model_fields, *DataSettings.model_fields]
            yield Problem(f"no such option of source '{name}'", key, hint=did_you_mean(str(entry["loc"][-1]), valid))
        elif entry["type"] == "missing":
            text = source_class.Options.model_fields[str(entry["loc"][0])].description or ""
            yield Problem(f"source '{name}' needs it: {text}", key)
        else:
            yield Problem(f"{entry['msg']}, not {entry['input']!r}", key)


def _key(source: Source, settings: DataSettings, seed: int) -> str:
    """16 hex digits. The path is left out: the same content in another place has the same key."""
    options = source.options.model_dump(mode="json", exclude={"path"})
    seeded = settings.limit is not None or source.drawn_test()
    content = {
        "format": FORMAT,
        "source": Path(settings.source).stem,
        "code": _code(type(source)),
        "options": options,
        "files": cache.hash_files(source.files()),
        "limit": settings.limit,
        "on_bad_image": settings.on_bad_image,
        "seed": seed if seeded else None,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _code(source_class: type[Source]) -> str:
    """sha256 of the file that a source is written in, also where a worker has only its text."""
    if (text := imported_text(source_class)) is not None:
        return hashlib.sha256(text.encode()).hexdigest()
    code = inspect.getsourcefile(source_class)
    return cache.hash_file(Path(code)) if code and Path(code).exists() else ""


# -- building --


def _build(folder: Path, source: Source, settings: DataSettings, seed: int, bar: ProgressBar, held: bool) -> None:
    if held:  # remains of a killed process
        for left in folder.parent.glob(f".{folder.name}.*.tmp"):
            shutil.rmtree(left, ignore_errors=True)
    reading = prepare(source, settings, seed)
    cache.publish(folder, lambda temporary: _write(temporary, reading, source, settings, bar))


def _write(folder: Path, reading: Reading, source: Source, settings: DataSettings, bar: ProgressBar) -> None:
    """Decode everything into `folder`. meta.json comes last and lists the size of each file."""
    assert reading.test is not None
    parts: dict[str, Split[Images]] = {"train": reading.train, "test": reading.test}
    if reading.extra is not None and len(reading.extra):
        nothing = np.full(len(reading.extra), -1, dtype=np.int64)
        parts["extra"] = Split(reading.extra, nothing)
        name_images(parts["extra"], "extra")
    notes, bad = list(reading.notes), {}
    size: int | None = getattr(source.options, "image_size", None)
    channels: Channels = getattr(source.options, "channels", "auto")
    shapes: dict[str, tuple[int, ...]] = {}
    bar.start(f"decoding {settings.source}", sum(map(len, parts.values())))
    for name, split in parts.items():
        if name != "train" and channels == "auto":
            channels = "gray" if shapes["train"][1] == 1 else "rgb"
        path = folder / f"{name}.npy"
        _check_space(folder, split, size)
        result = decode(split.images, split.ids or [], path, size, channels, bar.advance)
        bad.update({split.ids[i]: reason for i, reason in sorted(result.bad.items())})  # type: ignore[index]
        shapes[name] = result.shape
        if result.bad and settings.on_bad_image == "skip":
            keep = np.setdiff1d(np.arange(len(split)), list(result.bad))
            parts[name] = select(split, keep)
            shapes[name] = drop_rows(path, result.shape, keep)
    _report_bad_images(bad, sum(map(len, parts.values())), settings, notes)
    _check_shapes(shapes)
    _write_tables(folder, parts, shapes, reading.class_names, notes)


def _check_space(folder: Path, split: Split[Images], size: int | None) -> None:
    """Check the free space where the size is known beforehand; elsewhere the failing write reports it."""
    if isinstance(split.images, np.ndarray):
        cache.require_space(folder, split.images.nbytes)
    elif size is not None:
        cache.require_space(folder, len(split) * size * size)


def _report_bad_images(bad: dict[str, str], total: int, settings: DataSettings, notes: list[str]) -> None:
    if not bad:
        return
    listing = [f"{name}: {reason}" for name, reason in list(bad.items())[:20]]
    if len(bad) > 20:
        listing.append(f"... and {len(bad) - 20:,} more")
    if settings.on_bad_image == "stop":
        message = f"{len(bad):,} of {total:,} images cannot be read"
        hint = "\n".join([*listing, "to leave them out: data.on_bad_image=skip"])
        raise UserError(Problem(message, "data.on_bad_image", hint=hint))
    notes.append(f"{len(bad):,} unreadable images were left out: " + "; ".join(listing))


def _check_shapes(shapes: dict[str, tuple[int, ...]]) -> None:
    for name, shape in shapes.items():
        if shape[1:] != shapes["train"][1:]:
            text = f"{name} images are {list(shape[1:])}, training images {list(shapes['train'][1:])} (C, H, W)"
            raise UserError(Problem(text, "data.image_size", hint="set data.image_size and data.channels"))
        if shape[0] == 0:
            raise UserError(Problem(f"no readable image is left in the {name} part", "data.on_bad_image"))


def _write_tables(
    folder: Path, parts: dict[str, Split[Images]], shapes: dict[str, Any], class_names: Sequence[str], notes: list[str]
) -> None:
    arrays: dict[str, np.ndarray] = {}
    for name in ("train", "test"):
        split = parts[name]
        arrays[f"{name}/labels"] = split.labels.astype(np.int64)
        if split.true_labels is not None:
            arrays[f"{name}/true_labels"] = split.true_labels.astype(np.int64)
        for column, values in split.columns.items():
            arrays[f"{name}/columns/{column}"] = values.astype(np.int64)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # pyright: ignore[reportArgumentType] - any name could be allow_pickle
    (folder / "labels.npz").write_bytes(buffer.getvalue())
    (folder / "ids.json").write_text(json.dumps({name: split.ids for name, split in parts.items()}))
    meta = {
        "format": FORMAT,
        "class_names": list(class_names),
        "notes": notes,
        "shapes": {name: list(shape) for name, shape in shapes.items()},
        "sizes": {f.name: f.stat().st_size for f in folder.iterdir()},
        "sha256": _content_hash(folder, list(shapes), arrays, class_names),
    }
    cache.write_atomically(folder / "meta.json", json.dumps(meta, indent=1).encode())


def _content_hash(folder: Path, parts: list[str], arrays: dict[str, np.ndarray], class_names: Sequence[str]) -> str:
    total = hashlib.sha256(json.dumps(list(class_names)).encode())
    for name in parts:
        total.update(name.encode() + bytes.fromhex(cache.hash_file(folder / f"{name}.npy")))
    for name, values in sorted(arrays.items()):
        total.update(name.encode() + np.ascontiguousarray(values).tobytes())
    return total.hexdigest()


# -- opening --


def _read_meta(folder: Path) -> dict[str, Any] | None:
    """The content of meta.json, or None where the folder is missing or a file of it has another size."""
    try:
        meta = json.loads((folder / "meta.json").read_text())
        complete = meta["format"] == FORMAT and all(
            (folder / name).stat().st_size == size for name, size in meta["sizes"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return meta if complete else None


def _open(folder: Path, meta: dict[str, Any], source: Source, settings: DataSettings) -> Dataset:
    ids = json.loads((folder / "ids.json").read_text())
    with np.load(folder / "labels.npz", allow_pickle=False) as arrays:
        tables = {name: arrays[name] for name in arrays.files}
    splits = {}
    for name in ("train", "test"):
        start = f"{name}/columns/"
        splits[name] = Split(
            images=np.load(folder / f"{name}.npy", mmap_mode="r"),
            labels=tables[f"{name}/labels"],
            true_labels=tables.get(f"{name}/true_labels"),
            columns={key[len(start) :]: values for key, values in tables.items() if key.startswith(start)},
            ids=ids[name],
        )
    extra = folder / "extra.npy"
    return Dataset(
        name=Path(settings.source).stem,
        class_names=tuple(meta["class_names"]),
        train=splits["train"],
        test=splits["test"],
        augment=source.augment(tuple(meta["shapes"]["train"][1:])),
        sha256=meta["sha256"],
        extra=np.load(extra, mmap_mode="r") if extra.exists() else None,
        notes=tuple(meta["notes"]),
        truth_hint=source.truth_hint,
    )
