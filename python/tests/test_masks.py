"""Pixels of masks and photos, compared with pycocotools; heads on NumPy arrays, compared with SQL."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import grainstore
from grainstore import mask_decode, mask_encode


def coco(rle):
    return {"size": [rle["height"], rle["width"]], "counts": rle["counts"].encode()}


def test_masks_are_those_that_pycocotools_decodes(store):
    masks = store.masks(limit=40)
    assert len(masks) == 40
    for mask in masks:
        expected = coco_mask.decode(coco(mask["rle"]))
        assert mask.array.dtype == np.bool_
        assert np.array_equal(mask.array, expected)
        assert mask.array.sum() == mask["area"]


@pytest.mark.parametrize("seed", range(5))
def test_masks_are_encoded_as_by_pycocotools(seed):
    random = np.random.default_rng(seed)
    pixels = random.random((int(random.integers(1, 40)), int(random.integers(1, 40)))) < random.random()
    expected = coco_mask.encode(np.asfortranarray(pixels.astype(np.uint8)))
    found = mask_encode(pixels)
    assert found["counts"].encode() == expected["counts"]
    assert found["size"] == expected["size"]
    assert np.array_equal(mask_decode(found), pixels)
    assert np.array_equal(mask_decode(expected), pixels)


@pytest.mark.parametrize("runs", [[0, 2, 3, 1], [6], [0, 6], [1, 0, 2, 3], [5, 1]])
def test_lists_of_runs_are_decoded(runs):
    expected = coco_mask.decode(coco_mask.frPyObjects({"size": [2, 3], "counts": runs}, 2, 3))
    for counts in (runs, tuple(runs), np.array(runs)):
        assert np.array_equal(mask_decode({"size": [2, 3], "counts": counts}), expected)


def test_what_runs_leave_over_is_background():
    assert mask_decode({"size": [2, 3], "counts": [1, 2]}).astype(int).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert not mask_decode({"size": [2, 3], "counts": []}).any()


def test_damaged_run_lengths_are_an_error():
    damaged = {
        "\x01": "counts of a 2x2",
        b"\xff": "not ASCII",
        "9": "codec refused a 2x2 mask",
        (1, -1): "whole numbers",
        (0.5,): "whole numbers",
    }
    for counts, text in damaged.items():
        with pytest.raises(grainstore.errors.InputError, match=text):
            mask_decode({"size": [2, 2], "counts": counts})
    with pytest.raises(grainstore.errors.InputError, match="run 1 of a 2x2 mask ends at pixel 5, expected at most 4"):
        mask_decode({"size": [2, 2], "counts": [2, 3, 1]})
    with pytest.raises(TypeError, match="counts: expected text, bytes or a list of runs, found int"):
        mask_decode({"size": [2, 2], "counts": 3})
    with pytest.raises(ValueError, match="height, width"):
        mask_encode([1, 0])


def test_masks_are_a_sequence(store):
    masks = store.masks(image="001.png" if "001.png" in store.images()["file_name"].to_pylist() else None)
    assert len(masks[2:5]) == 3
    assert masks[-1]["mask_index"] == masks[len(masks) - 1]["mask_index"]
    assert [mask["mask_index"] for mask in masks[:3]] == [0, 1, 2]
    with pytest.raises(IndexError):
        masks[len(masks)]
    with pytest.raises(ValueError, match="embeddings=True"):
        masks.embeddings
    assert "area" in dict(masks[0])


def test_embeddings_are_those_of_the_table(store):
    masks = store.masks(where="mask_index < 3", embeddings=True)
    assert masks.embeddings.shape == (66, 1024)
    assert masks.embeddings.dtype == np.float16
    assert np.array_equal(masks.embeddings[5], np.array(masks[5]["embedding"], dtype=np.float16))
    assert store.masks(where="false", embeddings=True).embeddings.shape == (0, 1024)


def test_a_head_predicts_what_is_stored(store):
    predicted = store.predictions("fine", all_masks=True)
    masks = store.masks(where="image_id IN (SELECT image_id FROM images WHERE split = 'test')", embeddings=True)
    head = store.head("fine")
    scores, entropy, disagreement = head.predict(masks.embeddings, uncertainty=True)
    assert scores.shape == (len(masks), len(head.classes))
    place = {(mask["image_id"], mask["mask_index"]): number for number, mask in enumerate(masks)}
    assert len(predicted) == len(masks)
    for row in predicted:
        number = place[row["image_id"], row["mask_index"]]
        assert head.classes[scores[number].argmax()] == row["class"]
        assert scores[number].max() == pytest.approx(row["score"], abs=1e-6)
        assert entropy[number] == pytest.approx(row["entropy"], abs=1e-5)
    assert not disagreement.any()
    assert np.array_equal(head.predict({"tokens": masks.embeddings}), scores)


def test_a_head_refuses_other_numbers(store):
    head = store.head("fine")
    with pytest.raises(ValueError, match=r"\[masks, 1024\], found \[2, 3\]"):
        head.predict(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="reads tokens; found shape"):
        head.predict({"shape": np.zeros((2, 6))})


def test_predictions_are_those_that_are_kept(store):
    kept = store.predictions("fine")
    assert 0 < len(kept) < 64
    assert all(mask["kept"] for mask in kept)
    assert kept[0].array.sum() == kept[0]["area"]
    image = kept[0]["image_id"]
    of_image = store.predictions("fine", image=image)
    assert {mask["image_id"] for mask in of_image} == {image}
    with pytest.raises(grainstore.errors.NotFoundError, match="has no predictions"):
        store.predictions("fine.teacher")


def test_annotated_objects_have_pixels(store):
    objects = store.ground_truth(dataset="scenes")
    assert objects
    for item in objects:
        assert np.array_equal(item.array, coco_mask.decode(coco(item["rle"])))
