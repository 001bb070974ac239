"""The data set for training other models, also in other processes."""

from __future__ import annotations

import json
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from pycocotools.coco import COCO

import grainstore
from read_in_workers import checksum


def test_items_are_those_of_the_annotation_file(store, scenes):
    data = store.to_torch_dataset(dataset="scenes", where="split = 'test'")
    coco = COCO(scenes / "test.json")
    images = {image["file_name"]: image for image in coco.loadImgs(coco.getImgIds())}
    names = [category["name"] for category in coco.loadCats(coco.getCatIds())]
    assert len(data) == len(images) == 4
    assert set(data.classes) <= set(names)
    for photo, target in data:
        image = images[target["file_name"]]
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=image["id"]))
        assert photo.shape == (image["height"], image["width"], 3)
        assert photo.dtype == np.uint8
        expected = {(coco.cats[it["category_id"]]["name"], coco.annToMask(it).tobytes()) for it in annotations}
        found = {(data.classes[label - 1], mask.tobytes()) for label, mask in zip(target["labels"], target["masks"])}
        assert found == expected
        for (x0, y0, x1, y1), mask in zip(target["boxes"], target["masks"]):
            rows, columns = np.nonzero(mask)
            assert (x0, y0) == pytest.approx((columns.min(), rows.min()), abs=1)
            assert (x1, y1) == pytest.approx((columns.max() + 1, rows.max() + 1), abs=1)


def test_photos_are_as_other_programs_decode_them(store, scenes):
    images = store.images("split = 'test'").to_pylist()
    assert images
    for image in images:
        with PIL.Image.open(scenes / "test" / image["file_name"]) as expected:
            assert np.array_equal(store.photo(image["image_id"]), np.asarray(expected.convert("RGB")))


def test_items_of_a_head_are_its_annotation(store):
    data = store.to_torch_dataset(head="fine")
    assert len(data) == 4
    assert data.classes == store.head("fine").classes
    assert sum(len(target["labels"]) for _, target in data) == len(store.predictions("fine"))
    assert all((target["scores"] > 0).all() for _, target in data)


def test_a_transform_makes_the_items(store):
    data = store.to_torch_dataset(head="fine", transform=lambda photo, target: photo.transpose(2, 0, 1) / 255)
    assert data[0].shape[0] == 3
    assert data[-1].max() <= 1
    with pytest.raises(IndexError):
        data[4]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_same_items(store, method):
    data = store.to_torch_dataset(dataset="scenes", where="split = 'test'")
    expected = [checksum(data, index) for index in range(len(data))]
    # In a process of its own, as a training program is: threads of what other tests did would be forked, too.
    script = pathlib.Path(__file__).with_name("read_in_workers.py")
    done = subprocess.run([sys.executable, script, method, store.path], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == expected


def test_a_data_set_can_be_pickled(store):
    data = store.to_torch_dataset(head="fine")
    assert checksum(pickle.loads(pickle.dumps(data)), 0) == checksum(data, 0)


def test_a_data_set_that_is_not_there_is_an_error(store):
    with pytest.raises(grainstore.errors.NotFoundError, match="'sceness'"):
        store.to_torch_dataset(dataset="sceness")
    with pytest.raises(ValueError, match="either a head or a data set"):
        store.to_torch_dataset()
    with pytest.raises(ValueError, match="a policy is one of a head"):
        store.to_torch_dataset(dataset="scenes", policy="1")


def test_results_of_other_models_are_items(store, scenes, tmp_path):
    store.copy(tmp_path / "store")
    other = grainstore.open(tmp_path / "store", progress=False)
    coco = json.loads((scenes / "test.json").read_text())
    results = [
        {"image_id": it["image_id"], "category_id": it["category_id"], "bbox": it["bbox"], "segmentation": it["segmentation"], "score": 0.5}
        for it in coco["annotations"]
        if isinstance(it["segmentation"], dict)
    ]
    if not results:
        by_id = {image["id"]: image for image in coco["images"]}
        results = [
            {
                "image_id": it["image_id"],
                "category_id": it["category_id"],
                "score": 0.5,
                "segmentation": grainstore.mask_encode(COCO(scenes / "test.json").annToMask(it)),
            }
            for it in coco["annotations"]
            if it["image_id"] in by_id
        ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    other.import_coco_results(tmp_path / "results.json", head="theirs", dataset="scenes", split="test")
    data = other.to_torch_dataset(head="theirs")
    assert sum(len(target["labels"]) for _, target in data) == len(results)
