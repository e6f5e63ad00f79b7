"""The user's own files: parquet, image_folder, csv; and what is said when they are not as they should be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from platform.core.errors import UserError
from platform.core.spec import LabelSettings
from platform.data.label_plan import make_plan
from tests.data.conftest import opened, pixels, png

DATA = Path(os.environ.get("KURABE_DATA", "../shared/data"))


def problem(source: str, **settings: Any) -> tuple[str, str]:
    """(key, text) of the one problem that opening gives."""
    with pytest.raises(UserError) as caught:
        opened(source, **settings)
    assert len(caught.value.problems) == 1
    return caught.value.problems[0].key, str(caught.value)


# -- parquet --


def write_parquet(path: Path, labels: list[Any], metadata: dict[str, str] | None = None, **columns: Any) -> Path:
    """Images as struct {bytes, path}, with labels and further columns."""
    images = [{"bytes": png(pixels(i)), "path": f"{i}.png"} for i in range(len(labels))]
    table = pa.table({"image": images, "label": pa.array(labels), **columns})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def test_parquet_folder(tmp_path):
    worse = [1, 0, None, 1, 0, 1]
    write_parquet(tmp_path / "d" / "train.parquet", [0, 1] * 3, {"class_names": "cat, dog"}, worse=worse)
    write_parquet(tmp_path / "d" / "test.parquet", [1, 0])
    data = opened("parquet", path=tmp_path / "d")
    assert data.class_names == ("cat", "dog") and data.image_shape == (3, 8, 8)
    assert (data.train.images[3] == pixels(3).transpose(2, 0, 1)).all()
    assert data.train.columns["worse"].tolist() == [1, 0, -1, 1, 0, 1]
    assert data.train.true_labels is None and data.train.ids[2] == "train/2 2.png"


def test_parquet_one_file_is_split_by_the_data_seed(tmp_path):
    path = write_parquet(tmp_path / "all.parquet", [0, 1, 1, 1] * 10)
    first, again, other = (opened("parquet", seed, path=path, test_fraction=0.2) for seed in (1, 1, 2))
    assert len(first.train) == 32 and np.bincount(first.test.labels).tolist() == [2, 6]
    assert set(first.train.ids).isdisjoint(first.test.ids)
    assert first.test.ids == again.test.ids and first.test.ids != other.test.ids
    assert any("drawn by the data seed" in note for note in first.notes)


def test_parquet_encoded_bytes_shards_and_names(tmp_path):
    for shard, names in enumerate((["dog", "cat"], ["cat", None])):
        table = pa.table({"img": [png(pixels(10 * shard + i)) for i in range(2)], "kind": names})
        pq.write_table(table, tmp_path / f"train-0000{shard}-of-00002.parquet")
    pq.write_table(pa.table({"img": [png(pixels(5))], "kind": ["dog"]}), tmp_path / "test.parquet")
    data = opened("parquet", path=tmp_path, image_column="img", label_column="kind")
    assert data.class_names == ("cat", "dog") and data.train.labels.tolist() == [1, 0, 0, -1]
    assert any("1 of 4 training images have no label" in note for note in data.notes)
    given = opened("parquet", path=tmp_path, image_column="img", label_column="kind", class_names=("dog", "cat"))
    assert given.train.labels.tolist() == [0, 1, 1, -1]


def test_parquet_hugging_face_names(tmp_path):
    names = {"info": {"features": {"label": {"names": ["a", "b", "c"], "_type": "ClassLabel"}}}}
    path = write_parquet(tmp_path / "x.parquet", [0, 1] * 5, {"huggingface": json.dumps(names)})
    assert opened("parquet", path=path).class_names == ("a", "b", "c")


def test_parquet_true_labels(tmp_path):
    """The noisy column is often there for training only; test images are then judged by the true one."""
    write_parquet(tmp_path / "train.parquet", [0, 1, 0, 1], noisy=[1, 1, 0, 1])
    write_parquet(tmp_path / "test.parquet", [0, 1])
    data = opened("parquet", path=tmp_path, label_column="noisy", true_label_column="label")
    assert data.train.labels.tolist() == [1, 1, 0, 1] and data.train.true_labels.tolist() == [0, 1, 0, 1]
    assert data.test.labels.tolist() == [0, 1]


def test_parquet_errors(tmp_path):
    good = write_parquet(tmp_path / "a.parquet", [0, 1] * 5)
    assert problem("parquet", path=tmp_path / "b.parquet")[0] == "data.path"
    key, text = problem("parquet", path=good, label_column="labels")
    assert key == "data.label_column" and "did you mean: label" in text
    key, text = problem("parquet", path=good, image_column="imge")
    assert key == "data.image_column" and "did you mean: image" in text
    assert problem("parquet", path=good, true_label_column="truth")[0] == "data.true_label_column"
    assert problem("parquet", path=good, image_column="label")[0] == "data.image_column"
    assert problem("parquet", path=good, label_column="image")[0] == "data.label_column"
    (tmp_path / "empty").mkdir()
    key, text = problem("parquet", path=tmp_path / "empty")
    assert key == "data.path" and "no train.parquet" in text and "nothing" in text
    (tmp_path / "text.parquet").write_text("not a parquet file")
    assert "not a readable Parquet file" in problem("parquet", path=tmp_path / "text.parquet")[1]


def test_labels_out_of_range(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", [0, 1, 2, 7, 7], {"class_names": "x,y,z"})
    key, text = problem("parquet", path=path)
    assert key == "data.label_column" and "label 7" in text and "row 3 and 1 more" in text and "0 to 2" in text
    path = write_parquet(tmp_path / "b.parquet", ["x", "y", "zz"], {"class_names": "x,y,z"})
    assert "did you mean: z" in problem("parquet", path=path)[1]
    path = write_parquet(tmp_path / "c.parquet", [0, 1, -3])
    assert "label -3" in problem("parquet", path=path, class_names=("x", "y"))[1]


def test_test_parts_without_labels(tmp_path):
    write_parquet(tmp_path / "train.parquet", [0, 1] * 3)
    write_parquet(tmp_path / "test.parquet", [None, 1, None])
    data = opened("parquet", path=tmp_path)
    assert data.test.labels.tolist() == [1] and data.test.ids == ["test/1 1.png"]
    assert any("2 of 3 test images have no label" in note for note in data.notes)
    write_parquet(tmp_path / "test.parquet", pa.nulls(3, pa.int64()).to_pylist())
    assert "none of the 3 test images has a label" in problem("parquet", path=tmp_path)[1]


def test_rows_without_an_image_are_bad_images(tmp_path):
    images = [{"bytes": png(pixels(i)), "path": None} for i in range(9)] + [{"bytes": None, "path": None}]
    pq.write_table(pa.table({"image": images, "label": [0, 1] * 5}), tmp_path / "a.parquet")
    assert "the row has no image" in problem("parquet", path=tmp_path / "a.parquet")[1]
    skipped = opened("parquet", path=tmp_path / "a.parquet", on_bad_image="skip")
    assert len(skipped.train) + len(skipped.test) == 9


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "cifar10").is_dir(), reason="the real data are not here")
def test_real_noise_rates():
    """CIFAR-10N as published: aggregate 9.01 %, random 1 17.23 %, worse 40.21 % (docs/clid_mu.md, section 4.1)."""
    data = opened("parquet", path=DATA / "cifar10", limit=1500)
    assert data.class_names[5] == "dog" and data.image_shape == (3, 32, 32)
    for name, rate in (("aggre_label", 0.0901), ("random_label1", 0.1723), ("worse_label", 0.4021)):
        plan = make_plan(data, LabelSettings.model_validate({"noise": f"column:{name}"}), {"noise": 0, "split": 0})
        assert abs((plan.given != plan.true).mean() - rate) < 3 * np.sqrt(rate * (1 - rate) / 1500)


# -- image_folder --


def test_image_folder_is_split_when_it_has_no_test_part(folders):
    data = opened("image_folder", path=folders(cat=20, dog=10), test_fraction=0.3)
    assert np.bincount(data.test.labels).tolist() == [6, 3] and len(data.train) == 21
    assert data.image_shape == (3, 32, 32)  # all images get one shape without asking
    assert opened("image_folder", path=folders(), flip=False, image_size=8).augment.flip is False


def test_image_folder_unlabelled_and_other_files(folders):
    folder = folders(train={"cat": 4, "dog": 4}, test={"cat": 1}, unlabelled={"deep/er": 5})
    (folder / "train" / "cat" / "notes.txt").write_text("hello")
    (folder / "train" / "cat" / ".hidden.png").write_text("hello")
    (folder / "train" / ".git").mkdir()
    (folder / "train" / "cat" / "more").mkdir()
    (folder / "train" / "cat" / "more" / "x.PNG").write_bytes(png(pixels(77)))
    data = opened("image_folder", path=folder)
    assert data.class_names == ("cat", "dog") and data.train.labels.tolist() == [0] * 5 + [1] * 4
    assert data.extra is not None and len(data.extra) == 5
    assert any("1 files are no images" in note and "notes.txt" in note for note in data.notes)


def test_image_folder_errors(folders, tmp_path):
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    key, text = problem("image_folder", path=tmp_path / "empty")
    assert key == "data.path" and "no image in any class folder" in text
    (tmp_path / "file").write_text("")
    assert "not a folder" in problem("image_folder", path=tmp_path / "file")[1]
    key, text = problem("image_folder", path=tmp_path / "no" / "where")
    assert key == "data.path" and f"nearest folder that exists is {tmp_path}" in text
    folder = folders(train={"cat": 4}, test={"dgo": 1})
    assert "dgo" in problem("image_folder", path=folder)[1]


# -- csv --


def write_csv(folder: Path, header: str, rows: list[str]) -> Path:
    """A table, and an image for each path in its first field."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(rows):
        (folder / row.split(",")[0]).write_bytes(png(pixels(i)))
    (folder / "table.csv").write_text("\n".join([header, *rows]) + "\n")
    return folder / "table.csv"


def test_csv_with_everything(tmp_path):
    rows = [
        "a.png,cat,cat,train,0",
        "b.png,dog,cat,train,1",
        "c.png,,dog,,",
        "d.png,dog,dog,train,dog",
        "e.png,cat,dog,test,0",
        "f.png,,,unlabelled,",
    ]
    path = write_csv(tmp_path / "d", "path, label,true_label,split,second", rows[:3] + rows[4:])
    data = opened("csv", path=path, image_size=8)
    assert data.class_names == ("cat", "dog") and data.train.ids == ["a.png", "b.png", "c.png"]
    assert data.train.labels.tolist() == [0, 1, -1] and data.train.true_labels.tolist() == [0, 0, 1]
    assert data.train.columns["second"].tolist() == [0, 1, -1]
    assert data.test.labels.tolist() == [1]  # judged by its true label
    assert data.extra is not None and len(data.extra) == 1
    assert (data.train.images[1] == pixels(1).transpose(2, 0, 1)).all()
    assert any("1 of 3 training images have no label" in note for note in data.notes)
    assert any("true labels" in note for note in data.notes)


def test_csv_numbers_and_a_drawn_test_part(tmp_path):
    path = write_csv(tmp_path / "d", "path,label", [f"{i}.png,{i % 3}" for i in range(30)])
    data = opened("csv", path=path)
    assert data.class_names == ("0", "1", "2") and np.bincount(data.test.labels).tolist() == [2, 2, 2]
    named = opened("csv", path=path, class_names=("x", "y", "z"))
    assert named.class_names == ("x", "y", "z") and (named.train.labels == data.train.labels).all()


def test_csv_a_missing_file_is_a_bad_image(tmp_path):
    path = write_csv(tmp_path / "d", "path,label", [f"{i}.png,{i % 2}" for i in range(20)])
    (tmp_path / "d" / "7.png").unlink()
    text = problem("csv", path=path)[1]
    assert "1 of 20 images cannot be read" in text and "7.png: no such file or directory" in text


def test_csv_errors(tmp_path):
    path = write_csv(tmp_path / "d", "path,lable", ["a.png,1"])
    key, text = problem("csv", path=path)
    assert key == "data.label_column" and "did you mean: lable" in text
    assert "table.csv" in problem("csv", path=tmp_path / "d")[1]
    path = write_csv(tmp_path / "e", "path,label", [])
    assert "lists no image" in problem("csv", path=path)[1]
    path = write_csv(tmp_path / "f", "path,label", ["a.png,1", "b.png,1,2"])
    assert "table.csv:3" in problem("csv", path=path)[1]
    path = write_csv(tmp_path / "g", "path,label,split", ["a.png,1,tset"])
    assert "did you mean: test" in problem("csv", path=path)[1]
    path.write_bytes(b"path,label\n\xff\xfe\x00.png,1\n")
    assert "not a readable table" in problem("csv", path=path)[1]
    path = write_csv(tmp_path / "h", "path,label", ["a.png,", "b.png,"])
    assert "no test part can be drawn" in problem("csv", path=path)[1]
