"""A store to test on: scenes, masks of the demo's SAM, and two heads."""

from __future__ import annotations

import pathlib

import pytest

import grainstore

@pytest.fixture(scope="session")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Generated photos: 18 of one object each in folders of their class, and 4 of several with COCO JSON."""
    place = tmp_path_factory.mktemp("demo")
    made = grainstore.demo(place / "made", train_images=18, test_images=4, only_scenes=True, progress=False)
    assert made["train_images"] == 18
    return pathlib.Path(made["directory"])


def filled(place: pathlib.Path, scenes: pathlib.Path) -> grainstore.Store:
    """A store of the scenes, with masks and a head 'fine' that annotated the test photos."""
    store = grainstore.create(place, progress=False)
    added = store.ingest_images(scenes / "train", source="synthetic", split="train", dataset="scenes")
    assert added["images_added"] == 18
    store.ingest_coco(scenes / "test.json", scenes / "test", split="test", dataset="scenes")
    store.extract(scenes.parent / "sam_demo.safetensors", points_per_side=4)
    store.classes_add("kinds", from_="labels", dataset="scenes")
    store.train("fine", "kinds", loss="mil+distill", epochs=20, members=1, seed=3)
    store.annotate("fine", where="split = 'test'", score_threshold=0.2)
    return store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory, scenes: pathlib.Path) -> grainstore.Store:
    """A filled store; no test changes it."""
    return filled(tmp_path_factory.mktemp("store") / "store", scenes)
