"""The workflow through the methods of a store."""

from __future__ import annotations

import json
import pathlib
import threading
import time

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

import grainstore
from grainstore import errors
from grainstore._run import _in_python


def test_rows_of_queries_are_arrow_tables(store):
    table = store.sql("SELECT split, count(*) AS images FROM images GROUP BY split ORDER BY split")
    assert isinstance(table, pa.Table)
    assert table.to_pydict() == {"split": ["test", "train"], "images": [4, 18]}
    empty = store.sql("SELECT image_id FROM images WHERE false")
    assert (empty.num_rows, empty.column_names) == (0, ["image_id"])


def test_rows_can_be_read_a_batch_at_a_time(store):
    reader = store.sql_reader("SELECT image_id, mask_index FROM masks")
    assert reader.schema.names == ["image_id", "mask_index"]
    assert sum(batch.num_rows for batch in reader) == 22 * 16


def test_named_queries_take_parameters(store):
    names = [query["name"] for query in store.queries()]
    assert "review/labels" in names
    labels = store.query("review/labels", {"dataset": "scenes"})
    assert labels.num_rows > 0
    with pytest.raises(errors.QueryError, match="no parameter 'datas'"):
        store.query("review/labels", {"datas": "scenes"})
    with pytest.raises(errors.NotFoundError, match="there is no data set 'no such'"):
        store.query("review/labels", {"dataset": "no such"})


def test_an_earlier_version_can_be_read(store):
    first = store.log()[0]["version"]
    assert store.sql("SELECT count(*) AS n FROM images", at=first)["n"].to_pylist() == [0]


def test_evaluations_and_checks_are_values(store):
    evaluation = store.evaluate(head="fine", split="test")
    assert evaluation["images"] == 4
    assert any(metric["metric"] == "miou" for metric in evaluation["metrics"])
    assert store.check()["healthy"] is True


def test_exports_are_files(store, tmp_path: pathlib.Path):
    done = store.export_coco(output=tmp_path / "fine.json", head="fine")
    text = json.loads((tmp_path / "fine.json").read_text())
    assert len(text["annotations"]) == done["annotations"] == len(store.predictions("fine"))


def test_lists_and_mappings_are_given_for_repeated_options(store, tmp_path):
    store.copy(tmp_path / "store")
    other = grainstore.open(tmp_path / "store", progress=False)
    summary = other.rethreshold("fine", class_threshold={"tent": 0.9, "leaf": 0.8}, where="split = 'test'")
    assert summary["masks"] == 4 * 16
    policy = json.loads(other.query("annotate/policies")["policy"][0].as_py())
    assert policy["class_thresholds"] == {"leaf": 0.8, "tent": 0.9}
    other.show(where="split = 'test'", parts=["photo", "masks"], side=32)


def test_stores_are_created_with_options(tmp_path):
    store = grainstore.create(tmp_path / "store", embedding_type="f32", embedding_dim=8)
    field = store.sql("SELECT embedding FROM masks").schema.field("embedding")
    assert (field.type.list_size, field.type.value_type) == (8, pa.float32())
    with pytest.raises(errors.ExistsError, match="exists already, with embeddings"):
        grainstore.create(tmp_path / "store", embedding_dim=16)


def test_what_cannot_be_used_is_a_warning(tmp_path, scenes):
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "cut.png").write_bytes(next(scenes.glob("test/*.png")).read_bytes()[:200])
    (photos / "whole.png").write_bytes(next(scenes.glob("test/*.png")).read_bytes())
    store = grainstore.create(tmp_path / "store", progress=False)
    with pytest.warns(grainstore.UnusableItemsWarning, match="failures"):
        added = store.ingest_images(photos, no_labels=True)
    assert (added["images_added"], added["failed"]) == (1, 1)
    assert "cut.png" in str(store.query("review/failures").to_pylist())


def test_errors_are_exceptions_of_their_kind(store, tmp_path):
    with pytest.raises(errors.NotFoundError, match="no store at") as found:
        grainstore.open(tmp_path / "nowhere")
    assert "grainstore init" in found.value.hint
    assert isinstance(found.value, LookupError)
    with pytest.raises(errors.NotFoundError, match="there is no head 'fin'.*'fine'"):
        store.annotate("fin")
    with pytest.raises(errors.NotFoundError, match="there is no head"):
        store.head("fin")
    with pytest.raises(errors.NotFoundError, match="there is no image 'x.png'"):
        store.masks(image="x.png")
    with pytest.raises(errors.QueryError, match="imagess"):
        store.sql("SELECT * FROM imagess")
    with pytest.raises(errors.QueryError, match="only queries can be run"):
        store.sql("DROP TABLE images")
    with pytest.raises(errors.OptionError, match="points_per_batch"):
        store.extract("x.pth", points_per_batch=0)
    with pytest.raises(errors.OptionError, match="'where' cannot be used with|cannot be used with 'query|the argument 'query"):
        store.train("x", "kinds", query="q.sql", where="true")
    with pytest.raises(errors.FileError, match="x.pth"):
        store.extract("x.pth")
    with pytest.raises(errors.GrainstoreError, match="Not a directory"):
        grainstore.create("/proc/version/store")
    with pytest.raises(TypeError, match="head: expected text or a number, found object"):
        store.annotate(object())
    with pytest.raises(TypeError, match="no_such_option"):
        store.annotate("fine", no_such_option=1)


def test_names_that_are_not_there_are_not_found(store):
    with pytest.raises(errors.NotFoundError, match="no data set with annotations 'nope'; there are 'scenes'"):
        store.ground_truth(dataset="nope")
    with pytest.raises(errors.NotFoundError, match="under policy 'nope'"):
        store.predictions("fine", policy="nope")
    with pytest.raises(errors.NotFoundError, match="no image 'nope'"):
        store.show("nope")


def test_images_are_named_by_four_digits_or_a_whole_name(store):
    image = store.images(limit=1).to_pylist()[0]
    expected = store.photo(image["file_name"])
    assert np.array_equal(store.photo(image["image_id"][:12]), expected)
    for word in ("", image["image_id"][:1], image["image_id"][:3], image["file_name"][:-1], "%"):
        with pytest.raises(errors.NotFoundError, match="there is no image"):
            store.photo(word)
    used = store.predictions("fine").table["policy_id"][0].as_py()
    assert len(store.predictions("fine", policy=used[:4])) == len(store.predictions("fine"))
    with pytest.raises(errors.NotFoundError, match="under policy"):
        store.predictions("fine", policy=used[:3])


def test_arguments_of_another_type_are_named(store):
    for method in (store.masks, store.ground_truth, lambda image: store.predictions("fine", image=image), store.photo):
        with pytest.raises(TypeError, match="image: expected text, found int"):
            method(image=3)
    with pytest.raises(TypeError, match="dataset: expected text, found int"):
        store.ground_truth(dataset=3)
    with pytest.raises(TypeError, match="policy: expected text, found int"):
        store.predictions("fine", policy=3)
    with pytest.raises(TypeError, match="params: expected a mapping of names to values, found str"):
        store.query("review/labels", "dataset=scenes")


def test_missing_arguments_have_their_names_in_python(store):
    missing = "the following required arguments were not provided: "
    for method, names in (
        (lambda: store.heads_rm(None), "head"),
        (lambda: store.classes_show(None), "name"),
        (lambda: store.query(), "name"),
        (lambda: store.annotate(None), "head"),
        (lambda: store.heads_rename("fine", None), "new_name"),
        (lambda: store.label_mask(None, None), "is_ or is_not or none or bad, image, mask_index"),
    ):
        with pytest.raises(errors.OptionError) as found:
            method()
        assert found.value.text == missing + names
    assert _in_python(f"{missing}<IMAGE_ID|--where <SQL>>", "show") == f"{missing}image or where"
    with pytest.raises(errors.OptionError, match=f"{missing}image"):
        store.show()
    with pytest.raises(errors.OptionError, match="invalid value 'x' for 'mask_index'"):
        store.label_mask("1.png", "x", none=True)


def test_errors_of_parts_of_the_library_have_their_kinds(store, tmp_path):
    text = tmp_path / "README.md"
    text.write_text("# Not a checkpoint\n")
    with pytest.raises(errors.ModelError, match="is text that begins"):
        store.extract(text)
    with pytest.raises(errors.OptionError, match="fits what was asked for"):
        store.export_coco(output=tmp_path / "out.json", head="fine", where="false")
    with pytest.raises(errors.OptionError, match="nothing to search for"):
        store.search()


def test_images_of_one_id_are_an_error_of_the_options(store, scenes, tmp_path):
    store.copy(tmp_path / "store")
    other = grainstore.open(tmp_path / "store", progress=False)
    coco = json.loads((scenes / "test.json").read_text())
    image = coco["images"][0]
    with PIL.Image.open(scenes / "test" / image["file_name"]) as photo:
        photo.transpose(PIL.Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / image["file_name"])
    (tmp_path / "more.json").write_text(json.dumps({**coco, "images": [image], "annotations": []}))
    other.ingest_coco(tmp_path / "more.json", tmp_path, split="test", dataset="more")
    other.extract(scenes.parent / "sam_demo.safetensors", points_per_side=4)
    other.annotate("fine", where="dataset = 'more'", score_threshold=0.2)
    with pytest.raises(errors.OptionError, match="both have id"):
        other.export_coco(output=tmp_path / "out.json", head="fine")


def test_heads_that_cannot_be_compared_are_an_error_of_the_options(store, tmp_path):
    store.copy(tmp_path / "store")
    other = grainstore.open(tmp_path / "store", progress=False)
    (tmp_path / "one.toml").write_text('[[class]]\nname = "person"\nlabels = ["person"]\n')
    other.classes_add("others", file=tmp_path / "one.toml")
    with pytest.raises(errors.OptionError, match="the classes do not fit"):
        other.compare("fine", "fine", classes="others", split="test")


def test_an_error_while_rows_are_read_is_an_exception(store):
    with pytest.raises(errors.QueryError, match="[Dd]ivide by zero"):
        store.sql("SELECT 1 / (mask_index - mask_index) AS x FROM masks")
    reader = store.sql_reader("SELECT 1 / (mask_index - mask_index) AS x FROM masks")
    with pytest.raises((OSError, pa.ArrowException), match="[Dd]ivide by zero"):
        reader.read_all()


class Recorder:
    """Remembers what it is told."""

    def __init__(self):
        self.calls = []

    def start(self, what, total):
        self.calls.append(("start", what, total))

    def advance(self, n):
        self.calls.append(("advance", n))

    def note(self, line):
        self.calls.append(("note", line))

    def status(self, line):
        self.calls.append(("status", line))

    def finish(self):
        self.calls.append(("finish",))


def test_progress_is_reported(store, scenes, tmp_path):
    recorder = Recorder()
    other = grainstore.Store(store.path, progress=recorder)
    other.export_yolo(output=tmp_path / "yolo", dataset="scenes", split="test", ground_truth=True)
    assert ("start", "images", 4) in recorder.calls
    assert sum(call[1] for call in recorder.calls if call[0] == "advance") >= 4
    assert recorder.calls[-1] == ("finish",)


def test_several_threads_may_call_at_once(store):
    found = []

    def count():
        found.append(store.sql("SELECT count(*) AS n FROM masks")["n"][0].as_py())

    threads = [threading.Thread(target=count) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [22 * 16] * 8


def test_other_threads_run_while_a_method_does(store):
    ticks = []
    done = threading.Event()

    def tick():
        while not done.wait(0.01):
            ticks.append(time.monotonic())

    thread = threading.Thread(target=tick)
    thread.start()
    try:
        store.evaluate(head="fine", split="test")
    finally:
        done.set()
        thread.join()
    assert len(ticks) > 5


def test_the_pictures_are_png(store, tmp_path):
    picture = store.show(where="split = 'test'", head="fine", limit=2, side=64)
    assert picture._repr_png_().startswith(b"\x89PNG")
    picture.save(tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes() == picture.png


def test_a_store_stays_where_it_is(store, tmp_path, monkeypatch):
    assert repr(store) == f"Store('{store.path}')"
    monkeypatch.chdir(pathlib.Path(store.path).parent)
    relative = grainstore.open(pathlib.Path(store.path).name)
    monkeypatch.chdir(tmp_path)
    assert relative.sql("SELECT 1 AS one").num_rows == 1
    assert relative.images().num_rows == 22
    assert grainstore.open(store.path.encode()).path == store.path


def test_options_of_buckets_come_from_the_environment(store, monkeypatch):
    monkeypatch.setenv("GRAINSTORE_STORAGE_OPTIONS", "region=a,allow_http=true")
    assert grainstore.open(store.path)._place.storage_options == ["region=a", "allow_http=true"]
    assert grainstore.open(store.path, storage_options={"allow_http": False})._place.storage_options == ["allow_http=false"]
    with pytest.raises(ValueError, match="comma"):
        grainstore.open(store.path, storage_options={"headers": "a,b"})


def test_photos_are_sized(store):
    assert np.array(store.images()["width"]).min() > 0
