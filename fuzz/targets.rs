//! What reads files that others made, each as a function of hostile bytes: whatever they are, it ends in an error or in
//! something sound. Run by libFuzzer (`./run fuzz`) and, on mutated samples, by the test suite.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use grainstore::classes::{ClassSet, parse_class_file};
use grainstore::coco::{self, Annotation, Detection};
use grainstore::geometry::{Rle, Size, polygons_from_rle, rle_from_polygons};
use grainstore::head::HeadWeights;
use grainstore::ingest::{
    CvatIngest, IngestOptions, IngestSummary, LabelStudioIngest, Outlines, YoloIngest, ingest_cvat,
    ingest_label_studio, ingest_yolo,
};
use grainstore::models::sam::Checkpoint;
use grainstore::photo::{DecodeLimits, decode, decode_indexed_png, probe};
use grainstore::progress::NoProgress;
use grainstore::schema::Table;
use grainstore::store::rows::{GroundTruthRow, decode as decode_rows};
use grainstore::store::{Store, StoreOptions};

/// A name, and what takes the bytes.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 11] = [
    ("rle", rle),
    ("polygon", polygon),
    ("coco_json", coco_json),
    ("coco_results", coco_results),
    ("class_file", class_file),
    ("checkpoint", checkpoint),
    ("head_file", head_file),
    ("image", image),
    ("yolo_labels", yolo_labels),
    ("cvat", cvat),
    ("label_studio", label_studio),
];

/// Masks up to so many pixels are decoded, too.
const SMALL: u64 = 1 << 16;

fn sound(mask: &Rle, size: Size) {
    let pixels = u64::from(size.height) * u64::from(size.width);
    assert_eq!(mask.size(), size);
    assert!(mask.area() <= pixels);
    assert_eq!(
        mask.runs().iter().map(|run| u64::from(*run)).sum::<u64>(),
        pixels
    );
    let [left, top, right, bottom] = mask.bbox().to_xyxy();
    assert!(0.0 <= left && left <= right && right <= f64::from(size.width));
    assert!(0.0 <= top && top <= bottom && bottom <= f64::from(size.height));
    let again = Rle::from_counts_str(size, &mask.to_counts_string()).expect("its own counts");
    assert_eq!(again, *mask);
    if pixels <= SMALL {
        let bitmap = mask.to_bitmap();
        assert_eq!(
            Rle::from_bitmap(size, &bitmap).expect("its own bitmap"),
            *mask
        );
        let rings: Vec<Vec<f64>> = polygons_from_rle(mask)
            .iter()
            .map(|it| it.to_coco())
            .collect();
        if !rings.is_empty() {
            let filled = rle_from_polygons(&rings, size).expect("its own outlines");
            assert_eq!(filled.size(), size);
        }
    }
}

/// Height and width, 4 bytes each, then compressed counts.
pub fn rle(data: &[u8]) {
    let Some((size, counts)) = sized(data) else {
        return;
    };
    if let Ok(counts) = std::str::from_utf8(counts)
        && let Ok(mask) = Rle::from_counts_str(size, counts)
    {
        sound(&mask, size);
    }
    let runs = counts.chunks_exact(4).map(number).collect();
    if let Ok(mask) = Rle::from_runs(size, runs) {
        sound(&mask, size);
    }
}

fn number(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | u32::from(*byte))
}

fn sized(data: &[u8]) -> Option<(Size, &[u8])> {
    let (size, rest) = data.split_at_checked(8)?;
    let (height, width) = size.split_at(4);
    let (height, width) = (number(height), number(width));
    Some((Size { height, width }, rest))
}

/// Height and width, 4 bytes each, of which as much is used as a photo may be large, since time goes by it; then
/// coordinates of 8 bytes each.
pub fn polygon(data: &[u8]) {
    let Some((size, rest)) = sized(data) else {
        return;
    };
    let size = Size {
        height: size.height % 4097,
        width: size.width % 4097,
    };
    let numbers: Vec<f64> = rest
        .chunks_exact(8)
        .filter_map(|bytes| bytes.try_into().ok())
        .map(f64::from_be_bytes)
        .collect();
    if let Ok(mask) = rle_from_polygons(&[numbers], size) {
        sound(&mask, size);
    }
}

/// A data set.
pub fn coco_json(data: &[u8]) {
    let Ok((text, index)) = coco::open(data.to_vec()) else {
        return;
    };
    for found in &index.annotations {
        let text = text.get(found.text.clone()).expect("within the file");
        let Ok(mut annotation) = Annotation::parse(text) else {
            continue;
        };
        annotation.segmentation.take_stray_rings();
        let image = index.images.iter().find(|image| image.id == found.image_id);
        let Some((Some(height), Some(width))) = image.map(|image| (image.height, image.width))
        else {
            continue;
        };
        let size = Size { height, width };
        if let Ok(Some(mask)) = annotation.segmentation.to_rle(size) {
            sound(&mask, size);
        }
    }
}

/// A list of detections.
pub fn coco_results(data: &[u8]) {
    let Ok(found) = serde_json::from_slice::<Vec<Detection>>(data) else {
        return;
    };
    for detection in found {
        let size = Size {
            height: 480,
            width: 640,
        };
        if let Ok(Some(mask)) = detection.segmentation.to_rle(size) {
            sound(&mask, size);
        }
    }
}

/// A file with the bytes, of which there is one at a time for each thread.
fn with_file(data: &[u8], extension: &str, read: impl FnOnce(&Path)) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    struct Removed(PathBuf);
    impl Drop for Removed {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }
    let name = format!(
        "grainstore-fuzz-{}-{}.{extension}",
        std::process::id(),
        COUNT.fetch_add(1, Ordering::Relaxed)
    );
    let file = Removed(std::env::temp_dir().join(name));
    std::fs::write(&file.0, data).expect("a directory for temporary files");
    read(&file.0);
}

/// A class set, as TOML and as CSV.
pub fn class_file(data: &[u8]) {
    for extension in ["toml", "csv"] {
        with_file(data, extension, |file| {
            if let Ok(classes) = parse_class_file(file) {
                let _ = ClassSet::new("set", classes);
            }
        });
    }
}

/// A checkpoint of PyTorch, or of safetensors.
pub fn checkpoint(data: &[u8]) {
    with_file(data, "pth", |file| {
        let Ok(checkpoint) = Checkpoint::open(file) else {
            return;
        };
        let _ = checkpoint.config();
        for name in checkpoint.names() {
            assert!(checkpoint.shape(name).is_some());
            if let Ok(values) = checkpoint.values(name) {
                assert!(values.iter().all(|value| value.is_finite()));
            }
        }
    });
}

/// A head, as `heads export` writes it.
pub fn head_file(data: &[u8]) {
    let _ = HeadWeights::of_safetensors("head", data);
}

/// A photo, and a label map.
pub fn image(data: &[u8]) {
    let limits = DecodeLimits {
        max_pixels: 1 << 20,
        max_bytes: 64 << 20,
    };
    let info = probe(data);
    if let Ok(photo) = decode(data, &limits) {
        let info = info.expect("what can be decoded can be probed");
        assert_eq!(photo.dimensions(), (info.width, info.height));
    }
    if let Ok(map) = decode_indexed_png(data) {
        assert_eq!(
            map.indices.len() as u64,
            u64::from(map.width) * u64::from(map.height)
        );
    }
}

/// A store that is kept, and a directory of one photo, which is new for each input.
struct Place {
    runtime: tokio::runtime::Runtime,
    store: Store,
    directory: tempfile::TempDir,
    photos: AtomicU32,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory for temporary files");
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    let place = directory.path().join("store");
    let place = place.to_str().expect("a name in UTF-8");
    let store = runtime.block_on(Store::open_or_create(place, StoreOptions::default()));
    Place {
        store: store.expect("a new store"),
        runtime,
        directory,
        photos: AtomicU32::new(0),
    }
});

/// Ingests a file beside the photo `images/a.bmp`, 32 pixels wide and 24 high; masks that get into the store are sound.
fn ingested(
    file: &str,
    data: &[u8],
    ingest: impl AsyncFnOnce(&Store, PathBuf, IngestOptions) -> grainstore::Result<IngestSummary>,
) {
    let (size, place) = (
        Size {
            height: 24,
            width: 32,
        },
        &*PLACE,
    );
    let number = place.photos.fetch_add(1, Ordering::Relaxed);
    let directory = place.directory.path().join("files");
    for folder in ["images", "labels"] {
        std::fs::create_dir_all(directory.join(folder)).expect("a directory");
    }
    std::fs::write(directory.join("images/a.bmp"), bitmap(size, number)).expect("a photo");
    let data_file = "names: [cat, dog]\ntrain: images\n";
    std::fs::write(directory.join("data.yaml"), data_file).expect("a file");
    std::fs::write(directory.join(file), data).expect("a file");
    let options = IngestOptions::of_dataset("d");
    let done = place
        .runtime
        .block_on(ingest(&place.store, directory, options));
    if done.is_ok_and(|summary| summary.images_added > 0) {
        let rows = place.runtime.block_on(async {
            let snapshot = place.store.snapshot().await?;
            let rows = snapshot.scan(Table::GroundTruth).await?;
            rows.collect().await
        });
        let rows = rows.expect("the store's own rows");
        // The newest are last.
        if let Some(batch) = rows.last() {
            let rows: Vec<GroundTruthRow> =
                decode_rows(Table::GroundTruth, batch).expect("the store's own rows");
            for row in rows.into_iter().filter_map(|row| row.rle) {
                sound(
                    &Rle::from_counts_str(size, &row.counts).expect("its own counts"),
                    size,
                );
            }
        }
    }
}

/// A BMP file of pixels that repeat a number. The width is a multiple of four.
fn bitmap(size: Size, number: u32) -> Vec<u8> {
    let bytes = size.width * size.height * 3;
    let mut file = b"BM".to_vec();
    for value in [
        54 + bytes,
        0,
        54,
        40,
        size.width,
        size.height,
        1 | 24 << 16,
        0,
        bytes,
        0,
        0,
        0,
        0,
    ] {
        file.extend(value.to_le_bytes());
    }
    file.extend(
        number
            .to_le_bytes()
            .into_iter()
            .cycle()
            .take(bytes as usize),
    );
    file
}

/// The objects of a photo, as YOLO has them.
pub fn yolo_labels(data: &[u8]) {
    ingested("labels/a.txt", data, async |store, data, options| {
        let request = YoloIngest {
            data,
            outlines: Outlines::Edges,
            options,
        };
        ingest_yolo(store, &request, &NoProgress).await
    });
}

/// CVAT's annotations.
pub fn cvat(data: &[u8]) {
    ingested(
        "annotations.xml",
        data,
        async |store, directory, options| {
            let request = CvatIngest {
                annotations: directory.join("annotations.xml"),
                images: Some(directory.join("images")),
                options,
            };
            ingest_cvat(store, &request, &NoProgress).await
        },
    );
}

/// Label Studio's tasks.
pub fn label_studio(data: &[u8]) {
    ingested("tasks.json", data, async |store, directory, options| {
        let request = LabelStudioIngest {
            tasks: directory.join("tasks.json"),
            images: directory.join("images"),
            key: None,
            annotator: None,
            predictions: false,
            options,
        };
        ingest_label_studio(store, &request, &NoProgress).await
    });
}
