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
    assert data.classes == names
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


def names_of(data):
    """The names of each item's classes, by file name."""
    return {target["file_name"]: sorted(data.classes[label - 1] for label in target["labels"]) for _, target in data}


@pytest.fixture(scope="module")
def with_sets(store, tmp_path_factory):
    """A copy of the store with more class sets."""
    place = tmp_path_factory.mktemp("sets")
    store.copy(place / "store")
    other = grainstore.open(place / "store", progress=False)
    sets = {
        "groups": {"grown": ["leaf", "starfish"], "round": ["ball", "donut"]},
        "others": {"person": ["person"]},
        "halves": {"one": ["ball", "crate", "donut"], "other": ["leaf", "starfish", "tent"]},
    }
    for name, classes in sets.items():
        text = "".join(f'[[class]]\nname = "{it}"\nlabels = {json.dumps(labels)}\n' for it, labels in classes.items())
        (place / f"{name}.toml").write_text(text)
        other.classes_add(name, file=place / f"{name}.toml")
    return other


def test_classes_are_those_of_a_class_set_in_its_order(with_sets):
    declared = [it["class"] for it in with_sets.classes_show("scenes")["classes"]]
    sorted_by_name = [it["class"] for it in with_sets.classes_show("kinds")["classes"]]
    assert declared != sorted_by_name == sorted(declared)
    # Classes that do not occur have their numbers, too.
    data = with_sets.to_torch_dataset(dataset="scenes", where="false")
    assert (len(data), data.classes) == (0, declared)
    assert with_sets.to_torch_dataset(head="fine").classes == sorted_by_name
    for wanted in ("scenes", "kinds", "kinds@1"):
        of_head = with_sets.to_torch_dataset(head="fine", classes=wanted)
        of_dataset = with_sets.to_torch_dataset(dataset="scenes", classes=wanted)
        assert of_head.classes == of_dataset.classes == (declared if wanted == "scenes" else sorted_by_name)
    assert names_of(of_head) == names_of(with_sets.to_torch_dataset(head="fine"))
    assert names_of(of_dataset) == names_of(with_sets.to_torch_dataset(dataset="scenes"))


def test_labels_are_mapped_to_the_classes_of_a_set(with_sets, tmp_path):
    groups = {"leaf": "grown", "starfish": "grown", "ball": "round", "donut": "round"}
    for source in ({"head": "fine"}, {"dataset": "scenes"}):
        data = with_sets.to_torch_dataset(**source, classes="groups")
        assert data.classes == ["grown", "round"]
        fine = names_of(with_sets.to_torch_dataset(**source))
        expected = {file: sorted(groups[name] for name in names if name in groups) for file, names in fine.items()}
        assert names_of(data) == expected
        which = {**source, "ground_truth": True} if "dataset" in source else source
        done = with_sets.export_coco(output=tmp_path / "out.json", classes="groups", **which)
        assert done["annotations"] == sum(len(names) for names in expected.values()) > 0


def test_the_newest_set_of_a_data_sets_name_is_read(store, tmp_path):
    store.copy(tmp_path / "store")
    other = grainstore.open(tmp_path / "store", progress=False)
    labels = ["ball", "crate", "donut", "leaf", "starfish", "tent"]
    (tmp_path / "set.toml").write_text(f'[[class]]\nname = "shape"\nlabels = {json.dumps(labels)}\n')
    before = other.classes_show("scenes")["version"]
    assert other.classes_add("scenes", file=tmp_path / "set.toml")["version"] == before + 1
    assert other.to_torch_dataset(dataset="scenes").classes == ["shape"]
    assert len(other.to_torch_dataset(dataset="scenes", classes=f"scenes@{before}").classes) == 6


def test_categories_are_the_classes_of_a_data_set_without_a_set(store, monkeypatch):
    def no_set(name):
        raise grainstore.errors.NotFoundError(f"there is no class set '{name}'")

    monkeypatch.setattr(store, "classes_show", no_set)
    data = store.to_torch_dataset(dataset="scenes")
    found = store.ground_truth(dataset="scenes").table["category"].to_pylist()
    assert data.classes == sorted(set(found))
    assert sum(len(target["labels"]) for _, target in data) == len(found)
    with pytest.raises(grainstore.errors.NotFoundError):
        store.to_torch_dataset(dataset="scenes", classes="scenes")


def test_sets_that_do_not_fit_are_refused_as_by_exports(with_sets, tmp_path):
    for source in ({"head": "fine"}, {"dataset": "scenes"}):
        with pytest.raises(grainstore.errors.NotFoundError, match="no class set 'kindss'.*'kinds'"):
            with_sets.to_torch_dataset(**source, classes="kindss")
        with pytest.raises(grainstore.errors.NotFoundError, match="no class set 'kinds@2'"):
            with_sets.to_torch_dataset(**source, classes="kinds@2")
    with_sets.train("coarse", "halves", loss="mil", epochs=1, members=1)
    with_sets.annotate("coarse", where="split = 'test'", score_threshold=0)
    for head, classes in (("fine", "others"), ("coarse", "kinds")):
        with pytest.raises(grainstore.errors.OptionError) as expected:
            with_sets.export_coco(output=tmp_path / "out.json", head=head, classes=classes)
        with pytest.raises(grainstore.errors.OptionError) as found:
            with_sets.to_torch_dataset(head=head, classes=classes)
        assert found.value.text == expected.value.text
    # A data set may have no object of any class of the set.
    data = with_sets.to_torch_dataset(dataset="scenes", classes="others")
    assert data.classes == ["person"]
    assert not any(len(target["labels"]) for _, target in data)


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
