#!/usr/bin/env python3
"""Make TIFFs of many channels and kinds of samples, and what NumPy and GDAL read from them.

In: nothing. Out, beside this script: the fixtures, `expected/*.png` (RGB pixels) and `expected.json` (for each fixture
its renderings and its place on Earth). Every sample is drawn here. Same versions, same pixels:

    python3 -m venv venv
    venv/bin/pip install numpy==2.4.6 pillow==13.0.0 rasterio==1.4.4 tifffile==2026.3.3 imagecodecs==2026.3.6 \
        pycocotools==2.0.11
    venv/bin/python make_channels.py

Samples are read back with rasterio (GDAL), or tifffile where GDAL gives a palette or turns white and black. They become
bytes as a user of NumPy would make them: `(samples - low) / (high - low) * 255`, rounded and clipped, with low and high
from `numpy.percentile`; samples that are missing become 0. `geo_transform` and `crs` are what rasterio reads.

`annotations.json` is COCO JSON of masks on four of them, encoded by pycocotools (2.0.11), and `polygons.json` what GDAL's
polygonisation (`rasterio.features.shapes`) makes of the same masks, by file and id.
"""

import json
import re
import shutil
import struct
import warnings
from pathlib import Path

import numpy as np
import rasterio
import rasterio.features
import tifffile
from PIL import Image
from pycocotools import mask as coco
from rasterio.transform import Affine

HERE = Path(__file__).parent
WIDTH, HEIGHT = 53, 38  # no multiples of 16
RNG = np.random.default_rng(20261128)
EXPECTED = {}
UTM = Affine(10.0, 0.0, 399960.0, 0.0, -10.0, 5300040.0)
TURNED = Affine(8.0, 3.0, 500000.0, 2.0, -9.0, 4000000.0)
DEGREES = Affine(0.01, 0.0, 11.5, 0.0, -0.02, 48.2)


def scene(channels):
    """Smooth waves, a block and noise, another for each channel, from 0 to 1."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    waves = [np.sin(x / (5 + c)) * np.cos(y / (7 + c)) for c in range(channels)]
    samples = np.stack(waves) * 0.4 + 0.5
    for c in range(channels):
        samples[c, 5 + c : 12 + c, 9 : 20 + 2 * c] = 0.95 - 0.1 * c
    return np.clip(samples + RNG.normal(0, 0.03, samples.shape), 0, 1)


def gdal(name, samples, **options):
    channels, height, width = samples.shape
    tags = options.pop("tags", {})
    profile = {"driver": "GTiff", "width": width, "height": height, "count": channels, "dtype": samples.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(HERE / name, "w", **profile, **options) as file:
            file.write(samples)
            file.update_tags(**tags)


def scaled(samples, percentiles, missing):
    valid = np.isfinite(samples) & (samples != missing if missing is not None else True)
    low, high = np.percentile(samples[valid].astype(np.float64), percentiles)
    # A sample that is no number is black, too.
    levels = (np.nan_to_num(samples.astype(np.float64), nan=low) - low) / (high - low) * 255
    return np.where(samples == missing, 0, np.clip(np.floor(levels + 0.5), 0, 255)).astype(np.uint8)


def expect(name, renderings, samples=None, missing=None, max_diff=0):
    """`renderings` are pairs of channels from 1, or None, and percentiles, or None; the last is the expected pixels' maker."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(HERE / name) as file:
            if samples is None:
                samples, missing = file.read(), file.nodata
            place = None if file.transform.is_identity else list(file.transform.to_gdal())
            # Only systems of EPSG's have a name.
            crs = file.crs.to_string() if file.crs and file.crs.to_string().startswith("EPSG:") else None
    found = []
    for at, (channels, percentiles, used_channels, used_percentiles) in enumerate(renderings):
        bands = [samples[channel - 1] for channel in used_channels]
        if used_percentiles is None:
            rgb = [(band >> 8 if band.dtype == np.uint16 else band).astype(np.uint8) for band in bands]
        else:
            rgb = [scaled(band, used_percentiles, missing) for band in bands]
        stored = f"{name.removesuffix('.tif')}_{at}.png"
        Image.fromarray(np.stack(rgb, -1)).save(HERE / "expected" / stored, optimize=True)
        found.append({"channels": channels, "percentiles": percentiles, "pixels": stored, "max_diff": max_diff})
    EXPECTED[name] = {"renderings": found, "geo_transform": place, "crs": crs}


def main():
    shutil.rmtree(HERE / "expected", ignore_errors=True)
    (HERE / "expected").mkdir()
    default, other = [2.0, 98.0], [0.5, 90.0]

    # Sentinel-2's bands: whole numbers of 16 bits, of which few are used, with a value for pixels that have none.
    five = (scene(5) * 9000 + 300).astype(np.uint16)
    five[:, :4, :6] = 0
    gdal("five_u16.tif", five, nodata=0, crs="EPSG:32632", transform=UTM,
         tiled=True, blockxsize=16, blockysize=16, compress="deflate", predictor=2, interleave="pixel")
    expect("five_u16.tif", [
        (None, None, [1, 2, 3], default),
        ([4, 3, 2], None, [4, 3, 2], default),
        ([5, 5, 5], other, [5, 5, 5], other),
        ([1, 5, 2], [0.0, 100.0], [1, 5, 2], [0.0, 100.0]),
    ])

    planar = (scene(4) * 2 - 0.7).astype(np.float32)
    planar[1, 3:6, 3:6] = np.nan
    gdal("planar_f32.tif", planar, crs="EPSG:4326", transform=DEGREES, compress="zstd", predictor=3, interleave="band",
         tags={"AREA_OR_POINT": "Point"})
    expect("planar_f32.tif", [(None, None, [1, 2, 3], default), ([4, 2, 1], other, [4, 2, 1], other)])

    # Red, green, blue and near infrared, as of NAIP: GDAL says RGB and one more sample.
    near = (scene(4) * 255).astype(np.uint8)
    gdal("rgb_nir_u8.tif", near, photometric="RGB", alpha="unspecified", crs="EPSG:26917", transform=TURNED,
         compress="lzw", predictor=2, interleave="pixel")
    expect("rgb_nir_u8.tif", [
        (None, None, [1, 2, 3], None),
        ([4, 1, 2], None, [4, 1, 2], None),
        (None, other, [1, 2, 3], other),
    ])

    # The same in 16 bits, of which 11 are used: its bands are no photo's, so they are scaled. Its projection is the file's own.
    deep = (scene(4) * 2000).astype(np.uint16)
    lambert = "+proj=lcc +lat_1=49 +lat_2=44 +lat_0=46.5 +lon_0=3 +x_0=700000 +y_0=6600000 +datum=WGS84 +units=m"
    gdal("rgb_nir_u16.tif", deep, photometric="RGB", alpha="unspecified", crs=lambert, transform=UTM, compress="lzw",
         predictor=2, interleave="pixel")
    expect("rgb_nir_u16.tif", [(None, None, [1, 2, 3], default), ([4, 1, 2], None, [4, 1, 2], default)])

    # Tiles that reach over the edges, plane by plane.
    planes = (scene(3) * 40000 + 9000).astype(np.uint16)
    gdal("tiled_planes_u16.tif", planes, photometric="minisblack", tiled=True, blockxsize=16, blockysize=16,
         compress="deflate", interleave="band")
    expect("tiled_planes_u16.tif", [(None, None, [1, 2, 3], default), ([3, 2, 1], other, [3, 2, 1], other)])

    depth = (scene(1) * 4000 - 2500).astype(np.int16)
    depth[0, 20:, :5] = -9999
    gdal("depth_i16.tif", depth, nodata=-9999, compress="zstd", predictor=2, transform=UTM)
    expect("depth_i16.tif", [(None, None, [1, 1, 1], default), ([1, 1, 1], other, [1, 1, 1], other)])

    gray = (scene(1) * 40000 + 2000).astype(np.uint16)
    gdal("gray_u16.tif", gray, compress="packbits", BIGTIFF="YES")
    expect("gray_u16.tif", [(None, None, [1, 1, 1], None), (None, default, [1, 1, 1], default)])

    # Orthophotos are stored like this: JPEG in tiles, in YCbCr.
    smooth = np.clip(scene(3) * 0.2 + np.linspace(0, 0.8, WIDTH), 0, 1)
    gdal("ortho_jpeg.tif", (smooth * 255).astype(np.uint8), photometric="YCBCR", compress="jpeg", tiled=True,
         blockxsize=32, blockysize=32, interleave="pixel", crs="EPSG:25832", transform=UTM, JPEG_QUALITY=95)
    expect("ortho_jpeg.tif", [(None, None, [1, 2, 3], None), ([3, 3, 3], None, [3, 3, 3], None)], max_diff=8)

    # One strip, of as many rows as there are: 2^32 - 1 says so, which is what a file says that says nothing.
    whole = (scene(1)[0] * 250).astype(np.uint16) * 200
    tifffile.imwrite(HERE / "one_strip_u16.tif", whole, photometric="minisblack", metadata=None, software=False)
    data = (HERE / "one_strip_u16.tif").read_bytes()
    at = re.search(struct.pack("<H", 278) + b"[\x03\x04]\\0" + struct.pack("<I", 1), data, re.DOTALL).start()
    data = data[:at] + struct.pack("<HHII", 278, 4, 1, 2**32 - 1) + data[at + 12 :]
    (HERE / "one_strip_u16.tif").write_bytes(data)
    expect("one_strip_u16.tif", [(None, default, [1, 1, 1], default)])

    double = scene(2) * 1e-3
    tifffile.imwrite(HERE / "two_f64.tif", np.moveaxis(double, 0, -1), photometric="minisblack", planarconfig="contig",
                     metadata=None, software=False, byteorder=">")
    expect("two_f64.tif", [(None, None, [1, 1, 1], default), ([2, 1, 2], None, [2, 1, 2], default)])

    counts = (scene(1)[0] * 1e9).astype(np.uint32)
    tifffile.imwrite(HERE / "white_u32.tif", counts, photometric="miniswhite", metadata=None, software=False,
                     rowsperstrip=7)
    expect("white_u32.tif", [(None, None, [1, 1, 1], default)], samples=counts[None])
    inverted = Image.open(HERE / "expected" / "white_u32_0.png")
    Image.fromarray(255 - np.asarray(inverted)).save(HERE / "expected" / "white_u32_0.png", optimize=True)

    indices = (scene(1)[0] * 15).astype(np.uint8)
    colours = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tifffile.imwrite(HERE / "palette_u8.tif", indices, photometric="palette", colormap=colours, metadata=None,
                     software=False)
    rgb = (colours[:, indices] >> 8).astype(np.uint8)
    expect("palette_u8.tif", [(None, None, [1, 2, 3], None), ([2, 2, 2], None, [2, 2, 2], None)], samples=rgb)

    annotate()
    text = ",\n".join(f" {json.dumps(name)}: {json.dumps(EXPECTED[name])}" for name in sorted(EXPECTED))
    (HERE / "expected.json").write_text(f"{{\n{text}\n}}\n")


def annotate():
    """Masks of parts and holes, and their polygons."""
    images, annotations, polygons = [], [], {}
    names = ["five_u16.tif", "gray_u16.tif", "planar_f32.tif", "rgb_nir_u8.tif"]
    for image_id, name in enumerate(names, 1):
        place = EXPECTED[name]["geo_transform"]
        images.append({"id": image_id, "file_name": name, "width": WIDTH, "height": HEIGHT, "photographer": "nobody"})
        of_image = polygons.setdefault(name, {})
        for number, level in enumerate((0.45, 0.6)):
            mask = (np.roll(scene(1)[0], 7 * image_id, 1) > level).astype(np.uint8)
            rle = coco.encode(np.asfortranarray(mask))
            annotation_id = 10 * image_id + number
            annotations.append({
                "id": annotation_id, "image_id": image_id, "category_id": 1 + number, "iscrowd": 0, "area": int(mask.sum()),
                "bbox": coco.toBbox(rle).tolist(), "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
            })
            transform = Affine.identity() if place is None else Affine.from_gdal(*place)
            shapes = rasterio.features.shapes(mask, mask=mask > 0, connectivity=4, transform=transform)
            of_image[annotation_id] = [shape["coordinates"] for shape, _ in shapes]
    categories = [{"id": 1, "name": "crop"}, {"id": 2, "name": "water"}]
    whole = {"images": images, "categories": categories, "annotations": annotations}
    (HERE / "annotations.json").write_text(json.dumps(whole) + "\n")
    (HERE / "polygons.json").write_text(json.dumps(polygons) + "\n")


if __name__ == "__main__":
    main()
