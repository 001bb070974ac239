//! Photos of every kind against what Pillow reads from them, and bad files against their errors.
//!
//! Fixtures, expected pixels and tolerances: `tests/data/photos/make_photos.py`. JPEG and lossy
//! WebP may differ by at most 6 levels in a channel and 0.8 on average (other rounding in the
//! inverse transforms and in chroma upsampling), CMYK TIFF by 1, everything else by nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use grainstore::error::PhotoError;
use grainstore::photo::{
    DecodeLimits, PhotoFormat, decode, decode_indexed_png, probe, voc_colormap,
};

/// Files that Pillow does not read as they are meant, or that no decoder should take; each is asserted on below.
const BAD: [&str; 31] = [
    "arithmetic.jpg",
    "arithmetic_progressive.jpg",
    "claims_30000.png",
    "claims_70000.png",
    "cut.bmp",
    "cut.gif",
    "cut.jpg",
    "cut.png",
    "cut.tif",
    "cut.webp",
    "cut_progressive.jpg",
    "cut_thumbnail.jpg",
    "empty.jpg",
    "float.tif",
    "float_gray.tif",
    "half.tif",
    "header_only.jpg",
    "hierarchical.jpg",
    "int16.tif",
    "jpeg_ls.jpg",
    "lossless.jpg",
    "palette.tif",
    "photo.heic",
    "preview.tif",
    "text.jpg",
    "twelve_bits.jpg",
    "uint32.tif",
    "unknown_compression.tif",
    "white.ppm",
    "ycbcr.tif",
    "zero_width.png",
];

fn data() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos")
}

fn read(name: &str) -> Vec<u8> {
    fs::read(data().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// One line of `expected.json`: what Pillow says of a readable fixture.
struct Expected {
    name: String,
    format: String,
    width: u32,
    height: u32,
    orientation: u8,
    color: String,
    pixels: String,
    max_diff: u8,
    mean_diff: f64,
}

fn expected() -> Vec<Expected> {
    let text = String::from_utf8(read("expected.json")).unwrap();
    let all: serde_json::Value = serde_json::from_str(&text).unwrap();
    let mut expected = Vec::new();
    for (name, one) in all.as_object().unwrap() {
        let text = |key: &str| one[key].as_str().unwrap().to_owned();
        let number = |key: &str| u32::try_from(one[key].as_u64().unwrap()).unwrap();
        expected.push(Expected {
            name: name.clone(),
            format: text("format"),
            width: number("width"),
            height: number("height"),
            orientation: number("orientation").try_into().unwrap(),
            color: text("color"),
            pixels: text("pixels"),
            max_diff: number("max_diff").try_into().unwrap(),
            mean_diff: one["mean_diff"].as_f64().unwrap(),
        });
    }
    expected
}

#[test]
fn every_fixture_is_asserted_on() {
    let mut asserted: BTreeSet<String> = BAD.map(str::to_owned).into();
    asserted.extend(expected().into_iter().map(|one| one.name));
    let mut present = BTreeSet::new();
    for entry in fs::read_dir(data()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !["make_photos.py", "expected.json", "expected"].contains(&name.as_str()) {
            present.insert(name);
        }
    }
    assert_eq!(asserted, present);
}

#[test]
fn headers_are_as_pillow_reads_them() {
    for one in expected() {
        let info = probe(&read(&one.name)).unwrap_or_else(|error| panic!("{}: {error}", one.name));
        assert_eq!(info.format.as_str(), one.format, "{}", one.name);
        assert_eq!(
            (info.width, info.height),
            (one.width, one.height),
            "{}",
            one.name
        );
        assert_eq!(info.orientation, one.orientation, "{}", one.name);
        assert_eq!(info.color, Some(one.color), "{}", one.name);
    }
}

#[test]
fn pixels_are_as_pillow_reads_them() {
    for one in expected() {
        let found = decode(&read(&one.name), &DecodeLimits::default())
            .unwrap_or_else(|error| panic!("{}: {error:?}", one.name));
        let wanted = image::open(data().join("expected").join(&one.pixels))
            .unwrap()
            .into_rgb8();
        assert_eq!(found.dimensions(), wanted.dimensions(), "{}", one.name);
        let mut max_diff = 0;
        let mut sum = 0_u64;
        for (found, wanted) in found.as_raw().iter().zip(wanted.as_raw()) {
            max_diff = max_diff.max(found.abs_diff(*wanted));
            sum += u64::from(found.abs_diff(*wanted));
        }
        let mean_diff = sum as f64 / wanted.as_raw().len() as f64;
        assert!(
            max_diff <= one.max_diff && mean_diff <= one.mean_diff,
            "{}: differs by {max_diff} at most and {mean_diff:.3} on average, allowed {} and {}",
            one.name,
            one.max_diff,
            one.mean_diff,
        );
    }
}

#[test]
fn a_readable_file_cut_anywhere_is_truncated() {
    for one in expected() {
        let whole = read(&one.name);
        // What may go unseen: garbage after the image, the last digits of plain text, the last
        // byte where it pads, a TIFF's resolution, which may stand at its end, and later pages.
        let end = match one.name.as_str() {
            "trailing_garbage.jpg" => whole.len() - 201,
            "plain.ppm" => whole.len() - 5,
            "pages.tif" => whole.len() * 4 / 10,
            name if name.ends_with(".tif") => whole.len() * 9 / 10,
            _ => whole.len() - 2,
        };
        for percent in (30..=100).step_by(10) {
            let cut = &whole[..end * percent / 100];
            let error = probe(cut).expect_err(&one.name);
            let is_truncated = matches!(error, PhotoError::TruncatedImage { .. });
            assert!(is_truncated, "{} at {percent} %: {error}", one.name);
            assert!(
                decode(cut, &DecodeLimits::default()).is_err(),
                "{}",
                one.name
            );
        }
    }
}

#[test]
fn no_prefix_and_no_flipped_byte_panics() {
    let limits = DecodeLimits {
        max_pixels: 1 << 20,
        max_bytes: 1 << 24,
    };
    for one in expected() {
        let whole = read(&one.name);
        for end in 0..whole.len().min(600) {
            let _ = probe(&whole[..end]);
        }
        for at in (0..whole.len()).step_by(7).take(120) {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x5a;
            let _ = probe(&damaged);
            let _ = decode(&damaged, &limits);
            let _ = decode_indexed_png(&damaged);
        }
    }
}

#[test]
fn cut_files_are_named_truncated() {
    for (name, format, reason) in [
        ("cut.bmp", "bmp", "expected 4678 bytes, found 2806"),
        ("cut.gif", "gif", "no trailer"),
        ("cut.jpg", "jpeg", "no end-of-image marker"),
        ("cut_progressive.jpg", "jpeg", "no end-of-image marker"),
        ("cut_thumbnail.jpg", "jpeg", "no end-of-image marker"),
        ("header_only.jpg", "jpeg", "inside the header"),
        ("cut.png", "png", "no IEND chunk"),
        ("cut.tif", "tiff", "found 2838"),
        ("cut.webp", "webp", "expected"),
    ] {
        match probe(&read(name)) {
            Err(PhotoError::TruncatedImage {
                format: found,
                reason: said,
            }) => {
                assert_eq!(found, format, "{name}");
                assert!(said.contains(reason), "{name}: {said}");
            }
            other => panic!("{name}: {other:?}"),
        }
    }
    let thumbnail_end = read("cut_thumbnail.jpg")
        .windows(2)
        .any(|pair| pair == [0xff, 0xd9]);
    assert!(
        thumbnail_end,
        "the fixture must hold its thumbnail's end marker"
    );
}

#[test]
fn files_that_hold_no_photo_say_what_they_hold() {
    assert!(matches!(
        probe(&read("empty.jpg")),
        Err(PhotoError::EmptyFile)
    ));
    let error = probe(&read("text.jpg")).unwrap_err();
    assert!(matches!(&error, PhotoError::NotAnImage { start } if start == "This is no photo"));
    let error = probe(&read("photo.heic")).unwrap_err();
    assert!(matches!(
        error,
        PhotoError::UnsupportedFormat { name: "heic" }
    ));
    let error = probe(&read("zero_width.png")).unwrap_err();
    assert!(matches!(
        error,
        PhotoError::ImageWithoutPixels {
            format: "png",
            width: 0,
            height: 20
        }
    ));
}

#[test]
fn content_counts_and_not_the_name() {
    let info = probe(&read("really_a_jpeg.png")).unwrap();
    assert_eq!(info.format, PhotoFormat::Jpeg);
}

#[test]
fn claimed_sizes_are_checked_before_anything_is_allocated() {
    let claims = read("claims_30000.png");
    let info = probe(&claims).unwrap();
    assert_eq!((info.width, info.height), (30_000, 30_000));
    let error = decode(&claims, &DecodeLimits::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "image of 30000 x 30000 pixels is over the limit of 200000000 pixels; extract --tile 1024 takes larger ones"
    );
    let error = decode_indexed_png(&claims).unwrap_err();
    assert!(matches!(error, PhotoError::ImageTooLarge { .. }));

    let many_pixels = DecodeLimits {
        max_pixels: u64::MAX,
        ..DecodeLimits::default()
    };
    let error = decode(&claims, &many_pixels).unwrap_err();
    let needed_found = match error {
        PhotoError::ImageTakesTooMuchMemory { needed, limit, .. } => (needed, limit),
        other => panic!("{other:?}"),
    };
    assert_eq!(needed_found, (2 * 3 * 30_000 * 30_000, 2 << 30));

    let error = probe(&read("claims_70000.png")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "image of 70000 x 70000 pixels is over the limit of 4294967295 pixels"
    );
}

#[test]
fn previews_are_refused() {
    let error = probe(&read("preview.tif")).unwrap_err();
    assert!(error.to_string().contains("preview"), "{error}");
}

#[test]
fn samples_of_other_kinds_fill_the_range_of_8_bits() {
    for name in [
        "float.tif",
        "float_gray.tif",
        "half.tif",
        "int16.tif",
        "uint32.tif",
    ] {
        let image = decode(&read(name), &DecodeLimits::default()).unwrap();
        let levels = image.as_raw();
        let range = (levels.iter().min().copied(), levels.iter().max().copied());
        assert_eq!(range, (Some(0), Some(255)), "{name}");
    }
    // The palette's colours are those of the PNG that was quantised with it.
    let palette = decode(&read("palette.tif"), &DecodeLimits::default()).unwrap();
    let png = decode(&read("palette8.png"), &DecodeLimits::default()).unwrap();
    assert_eq!(palette, png);
}

#[test]
fn samples_that_are_never_decoded_are_named_by_the_header() {
    for (name, said) in [
        ("unknown_compression.tif", "compression 34661"),
        ("ycbcr.tif", "YCbCr colours that are not in JPEG"),
    ] {
        let bytes = read(name);
        let error = probe(&bytes).unwrap().check_decodable().unwrap_err();
        let expected =
            format!("unsupported tiff image: {said}; convert the file to 8-bit gray or rgb");
        assert_eq!(error.to_string(), expected, "{name}");
        let error = decode(&bytes, &DecodeLimits::default()).unwrap_err();
        assert_eq!(error.to_string(), expected, "{name}");
    }
    for one in expected() {
        let info = probe(&read(&one.name)).unwrap();
        assert!(info.check_decodable().is_ok(), "{}", one.name);
    }
}

#[test]
fn jpeg_codings_that_are_never_decoded_are_named() {
    for (name, said) in [
        ("arithmetic.jpg", "arithmetic coding"),
        ("arithmetic_progressive.jpg", "arithmetic coding"),
        ("hierarchical.jpg", "hierarchical coding"),
        ("jpeg_ls.jpg", "jpeg-ls coding"),
        ("lossless.jpg", "lossless coding"),
        ("twelve_bits.jpg", "12-bit samples"),
    ] {
        let error = probe(&read(name)).unwrap_err().to_string();
        let expected = format!(
            "unsupported jpeg image: {said}; convert the file to a baseline jpeg of 8 bits"
        );
        assert_eq!(error, expected, "{name}");
    }
}

#[test]
fn samples_of_an_unusual_range_are_scaled() {
    let image = decode(&read("white.ppm"), &DecodeLimits::default()).unwrap();
    assert_eq!(image.as_raw(), &[255, 255, 255, 0, 128, 255]);
}

/// The formula of `make_label_maps` in `make_photos.py`.
fn label(x: u32, y: u32) -> u8 {
    if x == 0 || y == 0 {
        255
    } else {
        ((x / 4 + y / 4 * 3) % 21) as u8
    }
}

#[test]
fn label_maps_give_their_indices() {
    let mut wanted = Vec::new();
    for y in 0..34 {
        wanted.extend((0..45).map(|x| label(x, y)));
    }
    for name in ["labels_palette.png", "labels_gray.png", "labels_rgb.png"] {
        let image = decode_indexed_png(&read(name)).unwrap();
        assert_eq!((image.width, image.height), (45, 34), "{name}");
        assert_eq!(image.indices, wanted, "{name}");
        let palette = (name == "labels_palette.png").then(|| voc_colormap().to_vec());
        assert_eq!(image.palette, palette, "{name}");
    }
}

#[test]
fn packed_indices_are_not_scaled() {
    let two_bits = decode_indexed_png(&read("gray2.png")).unwrap();
    assert_eq!(two_bits.indices.len(), 45 * 34);
    assert_eq!(two_bits.indices.iter().max(), Some(&3));
    let one_bit = decode_indexed_png(&read("gray1.png")).unwrap();
    assert_eq!(
        one_bit.indices.iter().collect::<BTreeSet<_>>(),
        BTreeSet::from([&0, &1])
    );

    // Four-bit and eight-bit files of one image; its colours check the order within a byte.
    let four_bits = decode_indexed_png(&read("palette4.png")).unwrap();
    let eight_bits = decode_indexed_png(&read("palette_trns.png")).unwrap();
    assert_eq!(four_bits.indices, eight_bits.indices);
    let palette = four_bits.palette.unwrap();
    let colors = decode(&read("palette4.png"), &DecodeLimits::default()).unwrap();
    for (index, color) in four_bits.indices.iter().zip(colors.pixels()) {
        assert_eq!(palette[usize::from(*index)], color.0);
    }
}

#[test]
fn other_images_are_no_label_maps() {
    for (name, found) in [
        ("baseline.jpg", "jpeg of rgb8"),
        ("rgba8.png", "png of rgba8"),
        ("graya8.png", "png of graya8"),
        ("gray16.png", "png of gray16"),
        ("rgb16.png", "png of rgb16"),
    ] {
        match decode_indexed_png(&read(name)) {
            Err(PhotoError::NotALabelMap { found: said }) => assert_eq!(said, found, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    let error = decode_indexed_png(&read("rgb8.png")).unwrap_err();
    assert!(
        matches!(
            error,
            PhotoError::NotAVocColor {
                x: 0,
                y: 0,
                color: [0, 0, 255]
            }
        ),
        "{error}"
    );
}
