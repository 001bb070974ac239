#!/usr/bin/env python3
"""Make the photo fixtures and what Pillow reads from them.

In: nothing. Out, beside this script: the fixtures, `expected/*.png` (RGB pixels) and
`expected.json` (size, orientation and colour of each readable fixture). Every pixel is
drawn here; no real photo is used. Same versions, same bytes:

    python3 -m venv venv
    venv/bin/pip install pillow==13.0.0 numpy==2.4.6 tifffile==2026.3.3
    venv/bin/python make_photos.py

`expected/` holds `ImageOps.exif_transpose(image).convert("RGB")`, except for 16-bit gray,
where Pillow clips to 255 and the high byte (what OpenCV's `imread` gives) is expected.
"""

import io
import json
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageOps

HERE = Path(__file__).parent
WIDTH, HEIGHT = 45, 34  # neither is a multiple of 8 or 16
RNG = np.random.default_rng(20231204)
EXPECTED = {}


# ---------------------------------------------------------------- drawing


def scene(width=WIDTH, height=HEIGHT):
    """A smooth gradient, two flat blocks and an off-centre mark: no symmetry, little detail."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    rgb = np.stack([x * 255 / (width - 1), y * 255 / (height - 1), 255 - (x + y) * 2], -1)
    rgb = np.clip(rgb, 0, 255)
    rgb[2 : height // 3, 2 : width // 3] = (220, 40, 30)
    rgb[height // 2 :, width * 2 // 3 :] = (20, 90, 200)
    return rgb.round().astype(np.uint8)


RGB = scene()
GRAY = np.asarray(Image.fromarray(RGB).convert("L"))
ALPHA = np.tile(np.linspace(0, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))
RGB16 = RGB.astype(np.uint16) * 256 + RNG.integers(0, 256, RGB.shape, dtype=np.uint16)
GRAY16 = GRAY.astype(np.uint16) * 256 + RNG.integers(0, 256, GRAY.shape, dtype=np.uint16)
PALETTED = Image.fromarray(RGB).quantize(16, dither=Image.Dither.NONE)


# ---------------------------------------------------------------- writing


def write(name, data):
    (HERE / name).write_bytes(data)
    return data


def saved(image, kind, **options):
    if not isinstance(image, Image.Image):
        image = Image.fromarray(image)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def good(name, data, color, *, orientation=1, max_diff=0, mean_diff=0.0, pixels=None):
    """Write a readable fixture and what is expected of it; `*_diff` are RGB levels."""
    write(name, data)
    image = Image.open(io.BytesIO(data))
    if pixels is None:
        pixels = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    stored = name.replace(".", "_") + ".png"
    (HERE / "expected" / stored).write_bytes(saved(pixels, "PNG", optimize=True))
    EXPECTED[name] = {
        "format": {"mpo": "jpeg", "ppm": "pnm"}.get(image.format.lower(), image.format.lower()),
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "orientation": orientation,
        "color": color,
        "pixels": stored,
        "max_diff": max_diff,
        "mean_diff": mean_diff,
    }
    return data


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color_type, raw_rows, extra=b""):
    """A PNG from packed rows; Pillow writes neither 16-bit RGB nor 2-bit gray."""
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + bytes(row) for row in raw_rows), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra
        + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def exif_of(orientation, thumbnail=None, is_long=False):
    """A little-endian EXIF block; the thumbnail, a whole JPEG, goes into IFD1."""
    kind = 4 if is_long else 3  # LONG or SHORT, of the same bytes in this order
    ifd0 = struct.pack("<HHHIHH", 1, 0x0112, kind, 1, orientation, 0)
    if thumbnail is None:
        return b"II*\0" + struct.pack("<I", 8) + ifd0 + struct.pack("<I", 0)
    at = 8 + len(ifd0) + 4
    ifd1 = struct.pack("<HHHIIHHII", 2, 0x0201, 4, 1, at + 30, 0x0202, 4, 1, len(thumbnail))
    ifd1 += struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8) + ifd0 + struct.pack("<I", at) + ifd1 + thumbnail


def with_app1(jpeg, exif):
    body = b"Exif\0\0" + exif
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def tiff16(pixels, **options):
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, metadata=None, software=False, **options)
    return out.getvalue()


# ---------------------------------------------------------------- the fixtures


def make_jpegs():
    near = {"max_diff": 4, "mean_diff": 0.5}
    baseline = good("baseline.jpg", saved(RGB, "JPEG", quality=90), "rgb8", **near)
    good("full_chroma.jpg", saved(RGB, "JPEG", quality=90, subsampling=0), "rgb8", **near)
    good("half_chroma.jpg", saved(RGB, "JPEG", quality=90, subsampling=1), "rgb8", **near)
    good("progressive.jpg", saved(RGB, "JPEG", quality=90, progressive=True), "rgb8", **near)
    good("stored_rgb.jpg", saved(RGB, "JPEG", quality=90, keep_rgb=True), "rgb8", **near)
    good("gray.jpg", saved(GRAY, "JPEG", quality=90), "gray8", **near)
    good("tiny.jpg", saved(scene(5, 3), "JPEG", quality=90), "rgb8", **near)
    good("restarts.jpg", saved(RGB, "JPEG", quality=90, restart_marker_blocks=1), "rgb8", **near)

    black = np.tile(np.linspace(0, 100, HEIGHT).round().astype(np.uint8)[:, None], (1, WIDTH))
    cmyk = np.dstack([255 - RGB, black])
    stored = Image.fromarray(cmyk, "CMYK")
    good("cmyk.jpg", saved(stored, "JPEG", quality=90), "cmyk8", **near)
    # YCCK: hand Pillow the inverted Y, Cb, Cr and K planes, then name them so (Adobe transform 2).
    ycc = np.asarray(Image.fromarray(255 - RGB).convert("YCbCr"))
    planes = Image.fromarray(np.dstack([255 - ycc, black]), "CMYK")
    ycck = bytearray(saved(planes, "JPEG", quality=90))
    ycck[ycck.index(b"Adobe") + 11] = 2
    good("ycck.jpg", bytes(ycck), "cmyk8", **near)

    small = saved(scene(24, 16), "JPEG", quality=90)
    for orientation in range(1, 9):
        good(f"orientation_{orientation}.jpg", with_app1(small, exif_of(orientation)), "rgb8",
             orientation=orientation, **near)
    # In the other byte order the bytes of LONG and SHORT differ.
    big = b"MM\0*" + struct.pack(">IHHHIII", 8, 1, 0x0112, 4, 1, 8, 0)
    long = exif_of(6, is_long=True)
    good("orientation_long.jpg", with_app1(small, long), "rgb8", orientation=6, **near)
    good("orientation_long_big.jpg", with_app1(small, big), "rgb8", orientation=8, **near)
    # The maker's note lies outside of the block.
    note = struct.pack("<HHHIIHHIHHI", 2, 0x927C, 7, 5000, 9999, 0x0112, 3, 1, 3, 0, 0)
    broken = b"II*\0" + struct.pack("<I", 8) + note
    good("orientation_broken.jpg", with_app1(small, broken), "rgb8", orientation=3, **near)
    thumbnail = saved(scene(16, 12), "JPEG", quality=50)
    thumbnailed = good("thumbnail.jpg", with_app1(baseline, exif_of(6, thumbnail)), "rgb8",
                       orientation=6, **near)
    good("trailing_garbage.jpg", baseline + bytes(RNG.integers(0, 256, 200, dtype=np.uint8)),
         "rgb8", **near)
    good("fill_bytes.jpg", baseline[:2] + b"\xff\xff\xff" + baseline[2:-2] + b"\xff\xff\xff\xd9",
         "rgb8", **near)
    good("really_a_jpeg.png", baseline, "rgb8", **near)

    start_of_scan = thumbnailed.rindex(b"\xff\xda")
    write("cut_thumbnail.jpg", thumbnailed[: (start_of_scan + len(thumbnailed)) // 2])
    write("cut_progressive.jpg", (HERE / "progressive.jpg").read_bytes()[:-300])
    write("cut.jpg", baseline[: len(baseline) * 6 // 10 + 200])

    # Only their frame headers are of these codings, which is where a reader turns away.
    frame = baseline.index(b"\xff\xc0")
    for name, marker, bits in [
        ("arithmetic", 0xC9, 8),
        ("arithmetic_progressive", 0xCA, 8),
        ("lossless", 0xC3, 8),
        ("hierarchical", 0xC5, 8),
        ("jpeg_ls", 0xF7, 8),
        ("twelve_bits", 0xC1, 12),
    ]:
        coded = bytearray(baseline)
        coded[frame + 1], coded[frame + 4] = marker, bits
        write(f"{name}.jpg", bytes(coded))


def make_pngs():
    good("rgb8.png", saved(RGB, "PNG"), "rgb8")
    rows = RGB16.astype(">u2").reshape(HEIGHT, -1).view(np.uint8)
    good("rgb16.png", png(WIDTH, HEIGHT, 16, 2, rows), "rgb16",
         pixels=(RGB16 >> 8).astype(np.uint8))
    good("gray8.png", saved(GRAY, "PNG"), "gray8")
    high = (GRAY16 >> 8).astype(np.uint8)
    good("gray16.png", saved(GRAY16, "PNG"), "gray16", pixels=np.dstack([high] * 3))
    good("gray1.png", saved(Image.fromarray(GRAY).point(lambda v: v > 99, "1"), "PNG"), "gray1")
    quads = np.pad(GRAY >> 6, ((0, 0), (0, -WIDTH % 4))).reshape(HEIGHT, -1, 4)
    packed = (quads << np.array([6, 4, 2, 0], np.uint8)).sum(-1).astype(np.uint8)
    good("gray2.png", png(WIDTH, HEIGHT, 2, 0, packed), "gray2")
    good("palette4.png", saved(PALETTED, "PNG", bits=4), "palette4")
    colors = chunk(b"PLTE", bytes(PALETTED.getpalette()))
    clear = chunk(b"tRNS", bytes(range(0, 256, 16)))
    indices = np.asarray(PALETTED)
    good("palette8.png", png(WIDTH, HEIGHT, 8, 3, indices, colors), "palette8")
    good("palette_trns.png", png(WIDTH, HEIGHT, 8, 3, indices, colors + clear), "palette8")
    good("rgba8.png", saved(np.dstack([RGB, ALPHA]), "PNG"), "rgba8")
    good("graya8.png", saved(np.dstack([GRAY, ALPHA]), "PNG"), "graya8")
    good("orientation_6.png", saved(RGB, "PNG", exif=exif_of(6)), "rgb8", orientation=6)

    whole = (HERE / "rgb8.png").read_bytes()
    write("cut.png", whole[: len(whole) * 6 // 10])
    nothing = b"\0" * 16
    write("claims_30000.png", png(30000, 30000, 8, 2, [nothing]))
    write("claims_70000.png", png(70000, 70000, 8, 2, [nothing]))
    write("zero_width.png", png(0, 20, 8, 2, [nothing]))


def make_webps():
    exact = {"lossless": True, "exact": True}
    lossy = good("lossy.webp", saved(RGB, "WEBP", quality=90), "rgb8")
    good("lossless.webp", saved(RGB, "WEBP", **exact), "rgb8")
    rgba = np.dstack([RGB, ALPHA])
    good("alpha_lossless.webp", saved(rgba, "WEBP", **exact), "rgba8")
    good("alpha_lossy.webp", saved(rgba, "WEBP", quality=90, exact=True), "rgba8")
    good("orientation_8.webp", saved(RGB, "WEBP", **exact, exif=exif_of(8)), "rgb8", orientation=8)
    frames = [Image.fromarray(np.roll(RGB, 9 * turn, 1)) for turn in range(3)]
    good("animated.webp",
         saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], duration=100, **exact),
         "rgba8")  # its header allows for alpha
    write("cut.webp", lossy[: len(lossy) * 6 // 10])


def make_others():
    bmp = good("rgb.bmp", saved(RGB, "BMP"), "rgb8")
    good("palette.bmp", saved(PALETTED, "BMP"), "palette8")
    good("bits32.bmp", saved(np.dstack([RGB, ALPHA]), "BMP"), "rgb8")  # the fourth byte is padding
    write("cut.bmp", bmp[: len(bmp) * 6 // 10])

    gif = good("palette.gif", saved(PALETTED, "GIF"), "palette8")
    good("transparent.gif", saved(PALETTED, "GIF", transparency=3), "palette8")
    good("interlaced.gif", saved(PALETTED, "GIF", interlace=1), "palette8")
    frames = [Image.fromarray(np.roll(RGB, 9 * turn, 1)).quantize(16) for turn in range(3)]
    good("animated.gif", saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
         "palette8")
    write("cut.gif", gif[: len(gif) * 6 // 10])

    good("rgb.ppm", saved(RGB, "PPM"), "rgb8")
    good("gray.pgm", saved(GRAY, "PPM"), "gray8")
    good("plain.ppm", b"P3\n# by hand\n3 2\n255\n"
         b"255 0 0 0 255 0 0 0 255\n9 9 9 60 70 80 255 255 255\n",
         "rgb8")
    write("white.ppm", b"P6 2 1 100\n" + bytes([100, 100, 100, 0, 50, 100]))
    good("bits.pbm", b"P4 10 3\n" + bytes([0b10101010, 0b01000000, 0xFF, 0, 0, 0xC0]), "gray1")


def make_tiffs():
    lzw = {"compression": "tiff_lzw"}
    tiff = good("rgb.tif", saved(RGB, "TIFF"), "rgb8")
    good("lzw.tif", saved(RGB, "TIFF", **lzw), "rgb8")
    good("gray.tif", saved(GRAY, "TIFF", **lzw), "gray8")
    good("rgba.tif", saved(np.dstack([RGB, ALPHA]), "TIFF", **lzw), "rgba8")
    good("rgb16.tif", tiff16(RGB16, photometric="rgb"), "rgb16",
         pixels=(RGB16 >> 8).astype(np.uint8))
    high = (GRAY16 >> 8).astype(np.uint8)
    good("gray16.tif", tiff16(GRAY16, photometric="minisblack", byteorder=">"), "gray16",
         pixels=np.dstack([high] * 3))
    cmyk = Image.fromarray(np.dstack([255 - RGB, ALPHA // 2]), "CMYK")
    good("cmyk.tif", saved(cmyk, "TIFF", **lzw), "cmyk8", max_diff=1, mean_diff=0.5)
    good("tiled.tif", tiff16(RGB, photometric="rgb", tile=(16, 16)), "rgb8")
    good("big.tif", tiff16(RGB, photometric="rgb", bigtiff=True), "rgb8")
    good("orientation_5.tif", saved(RGB, "TIFF", **lzw, tiffinfo={274: 5}), "rgb8", orientation=5)
    pages = [Image.fromarray(RGB), Image.fromarray(255 - RGB)]
    good("pages.tif", saved(pages[0], "TIFF", save_all=True, append_images=pages[1:], **lzw),
         "rgb8")
    write("palette.tif", saved(PALETTED, "TIFF"))
    write("float.tif", tiff16((RGB / 255).astype(np.float32)[:8, :8], photometric="rgb"))
    signed = GRAY16.astype(np.int32) - 32768
    write("int16.tif", tiff16(signed.astype(np.int16)[:8, :8], photometric="minisblack"))
    write("uint32.tif", tiff16(GRAY16.astype(np.uint32)[:8, :8], photometric="minisblack"))
    write("float_gray.tif", tiff16((GRAY / 255).astype(np.float32)[:8, :8],
                                   photometric="minisblack"))
    write("half.tif", tiff16((RGB / 255).astype(np.float16)[:8, :8], photometric="rgb"))
    write("ycbcr.tif", saved(Image.fromarray(RGB[:8, :8]).convert("YCbCr"), "TIFF"))
    preview = tiff16(RGB[:4, :4], photometric="rgb")
    at = preview.index(struct.pack("<HHI", 259, 3, 1)) + 8  # the compression's number
    write("unknown_compression.tif", preview[:at] + struct.pack("<H", 34661) + preview[at + 2 :])
    write("preview.tif", tiff16(RGB[:4, :4], photometric="rgb", subfiletype=1))
    write("cut.tif", tiff[: len(tiff) * 6 // 10])


def voc_colormap():
    """The colour map of the PASCAL VOC devkit (VOCcode/VOClabelcolormap.m)."""
    colors = np.zeros((256, 3), np.uint8)
    for index in range(256):
        for bit in range(3):
            for channel in range(3):
                colors[index, channel] |= ((index >> (3 * bit + channel)) & 1) << (7 - bit)
    return colors


def make_label_maps():
    """The same labels thrice: a border of 255 round blocks of 0..=20 (the test has the formula)."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    labels = ((x // 4 + y // 4 * 3) % 21).astype(np.uint8)
    labels[(x == 0) | (y == 0)] = 255
    colors = voc_colormap()
    paletted = Image.fromarray(labels, "P")
    paletted.putpalette(colors.tobytes())
    good("labels_palette.png", saved(paletted, "PNG"), "palette8")
    good("labels_gray.png", saved(labels, "PNG"), "gray8")
    good("labels_rgb.png", saved(colors[labels], "PNG"), "rgb8")


def make_non_photos():
    write("empty.jpg", b"")
    write("text.jpg", b"This is no photo, whatever its name says.\n")
    write("header_only.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\0")
    write("photo.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 32)


def main():
    shutil.rmtree(HERE / "expected", ignore_errors=True)
    (HERE / "expected").mkdir()
    for old in HERE.iterdir():
        if old.is_file() and old.name != Path(__file__).name:
            old.unlink()
    for make in (make_jpegs, make_pngs, make_webps, make_others, make_tiffs, make_label_maps,
                 make_non_photos):
        make()
    text = json.dumps(EXPECTED, indent=1, sort_keys=True)
    (HERE / "expected.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
