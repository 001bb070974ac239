//! Extraction: prompts and masks against segment-anything (fixtures: `tests/data/extract`), and runs on
//! a store.

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use grainstore::device::{DeviceName, Precision};
use grainstore::extract::{
    CropLayout, ExtractSummary, Extractor, ImageSelection, MaskGenerator, MaskOptions, MaskOutput,
    Prompter, Tiling, crops, extract_with, extractor_row, point_grid, points_per_side,
};
use grainstore::geometry::{Rle, Size};
use grainstore::ingest::FolderIngest;
use grainstore::ingest::{DEFAULT_COMMIT_ROWS, IngestOptions, LabelSource, Source, ingest_folder};
use grainstore::models::sam::{Checkpoint, PixelTransform, Sam};
use grainstore::progress::NoProgress;
use grainstore::query::{Query, QuerySession};
use grainstore::schema::{EmbeddingFloat, EmbeddingType, Table};
use grainstore::selection::ImageFilter;
use grainstore::sql::Sql;
use grainstore::store::rows::{ExtractorRow, FailureRow};
use grainstore::store::{Snapshot, Store, StoreOptions};
use serde_json::Value;

use crate::support::{device, new_store, rows};

fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/extract/grid.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn number(value: &Value) -> u32 {
    u32::try_from(value.as_u64().unwrap()).unwrap()
}

#[test]
fn crops_are_upstreams() {
    let fixture = fixture();
    let cases = fixture["crops"].as_array().unwrap();
    assert!(cases.len() >= 40);
    for case in cases {
        let (height, width) = (number(&case["size"][0]), number(&case["size"][1]));
        let layout = CropLayout {
            layers: number(&case["layers"]),
            overlap_ratio: case["overlap"].as_f64().unwrap(),
        };
        let ours: Vec<_> = crops(width, height, layout)
            .into_iter()
            .map(|c| [c.left, c.top, c.right, c.bottom, c.layer])
            .collect();
        let boxes = case["boxes"].as_array().unwrap();
        let upstream: Vec<[u32; 5]> = boxes
            .iter()
            .map(|b| std::array::from_fn(|i| number(&b[i])))
            .collect();
        assert_eq!(ours, upstream, "{height}x{width} {layout:?}");
    }
}

#[test]
fn grids_are_upstreams() {
    let fixture = fixture();
    for case in fixture["grids"].as_array().unwrap() {
        let points = case["points"].as_array().unwrap();
        let ours = point_grid(number(&case["per_side"]));
        assert_eq!(ours.len(), points.len());
        for (ours, upstream) in ours.iter().zip(points) {
            for axis in 0..2 {
                let difference = (ours[axis] - upstream[axis].as_f64().unwrap()).abs();
                assert!(difference < 1e-15, "{ours:?} {upstream}");
            }
        }
    }
    for case in fixture["layers"].as_array().unwrap() {
        for (layer, count) in case["points"].as_array().unwrap().iter().enumerate() {
            let side = points_per_side(
                number(&case["per_side"]),
                number(&case["factor"]),
                layer as u32,
            );
            assert_eq!(side * side, number(count), "{case} layer {layer}");
        }
    }
}

fn masks_fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/extract/masks.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn test_data(name: &str) -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// The small model of `make_masks.py`; shapes do not tell its decoder's heads.
fn sharp_model() -> Sam {
    let checkpoint = Checkpoint::open(test_data("extract/sharp.safetensors")).unwrap();
    let mut config = checkpoint.config().unwrap();
    config.decoder.heads = 4;
    checkpoint.load_as(&config, &device()).unwrap()
}

/// Upstream's options, as the fixture names them, over upstream's defaults.
fn upstream_options(case: &Value) -> MaskOptions {
    let given = &case["options"];
    let float = |name: &str, default: f64| given[name].as_f64().unwrap_or(default);
    let whole = |name: &str, default: u64| given[name].as_u64().unwrap_or(default);
    MaskOptions {
        points_per_side: whole("points_per_side", 32) as u32,
        pred_iou_thresh: float("pred_iou_thresh", 0.88) as f32,
        stability_score_thresh: float("stability_score_thresh", 0.95) as f32,
        stability_score_offset: float("stability_score_offset", 1.0) as f32,
        box_nms_thresh: float("box_nms_thresh", 0.7),
        crop_n_layers: whole("crop_n_layers", 0) as u32,
        crop_nms_thresh: float("crop_nms_thresh", 0.7),
        crop_n_points_downscale_factor: whole("crop_n_points_downscale_factor", 1) as u32,
        min_mask_region_area: whole("min_mask_region_area", 0),
        mask_output: MaskOutput::All,
        ..Default::default()
    }
}

#[test]
fn masks_are_those_of_upstreams_automatic_generator() {
    let fixture = masks_fixture();
    let photo = test_data("sam").join(fixture["photo"].as_str().unwrap());
    let photo = image::open(photo).unwrap().to_rgb8();
    let size = Size {
        height: photo.height(),
        width: photo.width(),
    };
    let (mut masks, mut exact) = (0, 0);
    for case in fixture["cases"].as_array().unwrap() {
        let options = upstream_options(case);
        let generator = MaskGenerator::new(sharp_model(), device(), options, 7).unwrap();
        let ours = generator.generate(&photo).unwrap();
        let upstream = case["masks"].as_array().unwrap();
        assert_eq!(ours.len(), upstream.len(), "{}", case["options"]);
        for (ours, upstream) in ours.iter().zip(upstream) {
            let near = |found: f64, name: &str, tolerance: f64| {
                let expected = upstream[name].as_f64().unwrap();
                assert!(
                    (found - expected).abs() <= tolerance,
                    "{name}: {found} {expected}"
                );
            };
            near(f64::from(ours.predicted_iou), "predicted_iou", 1e-3);
            let numbers = |name: &str| -> Vec<f64> {
                upstream[name]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|x| x.as_f64().unwrap())
                    .collect()
            };
            assert_eq!(ours.crop.to_xywh().to_vec(), numbers("crop_box"));
            for (ours, upstream) in ours.point.iter().zip(numbers("point")) {
                assert!((ours - upstream).abs() < 1e-9);
            }
            let mask = Rle::from_counts_str(size, upstream["counts"].as_str().unwrap()).unwrap();
            // A logit next to the threshold may fall on the other side of it.
            let differing =
                mask.union(&ours.rle).unwrap().area() - mask.intersection_area(&ours.rle).unwrap();
            assert!(differing <= 2, "{differing} pixels differ");
            if differing == 0 {
                near(ours.rle.area() as f64, "area", 0.0);
                exact += 1;
            }
            if !ours.rle.is_empty() {
                near(f64::from(ours.stability_score), "stability_score", 1e-2);
            }
            masks += 1;
        }
    }
    assert!(masks >= 40, "{masks} masks");
    assert!(
        exact * 20 >= masks * 19,
        "{exact} of {masks} masks are exactly upstream's"
    );
}

/// A store with photos of two sizes, and an extractor of the small model.
pub async fn store_of_photos(count: u32) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let photos = dir.path().join("photos");
    std::fs::create_dir(&photos).unwrap();
    for n in 0..count {
        let [a, b, ..] = (n * 37).to_le_bytes();
        let photo = image::RgbImage::from_fn(40 + n % 3, 30, |x, y| {
            image::Rgb([a.wrapping_add((x * 5) as u8), b, (y * 7) as u8])
        });
        photo.save(photos.join(format!("{n:03}.png"))).unwrap();
    }
    let embedding = EmbeddingType {
        float: EmbeddingFloat::F16,
        dim: 4 * 32,
    };
    let place = dir.path().join("store");
    let store = Store::open_or_create(place.to_str().unwrap(), StoreOptions { embedding })
        .await
        .unwrap();
    let options = IngestOptions {
        dataset: "photos".to_owned(),
        source: Source::Target,
        split: None,
        verify_pixels: false,
        commit_rows: DEFAULT_COMMIT_ROWS,
    };
    ingest_folder(
        &store,
        &FolderIngest {
            directory: (&photos).into(),
            labels: LabelSource::Unlabelled,
            options,
        },
        &NoProgress,
    )
    .await
    .unwrap();
    (dir, store)
}

pub fn extractor(options: &MaskOptions) -> Extractor {
    let checkpoint = Checkpoint::open(test_data("extract/sharp.safetensors")).unwrap();
    let sam = sharp_model();
    let row = extractor_row(&checkpoint, sam.config(), options, Precision::F32).unwrap();
    let generator = MaskGenerator::new(sam, device(), options.clone(), 16).unwrap();
    Extractor::new(generator, row)
}

fn small_grid() -> MaskOptions {
    MaskOptions {
        points_per_side: 3,
        ..Default::default()
    }
}

async fn run(store: &Store, selection: &ImageSelection) -> ExtractSummary {
    extract_with(store, extractor(&small_grid()), selection, &NoProgress)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn extraction_goes_on_where_it_stopped_and_repeats_nothing() {
    let (_dir, store) = store_of_photos(5).await;
    let two = ImageSelection {
        limit: Some(2),
        ..Default::default()
    };
    let first = run(&store, &two).await;
    assert_eq!((first.images, first.masks, first.failed), (2, 18, 0));
    let rest = run(&store, &ImageSelection::default()).await;
    assert_eq!((rest.images, rest.masks), (3, 27));
    let version = store.snapshot().await.unwrap().version();
    assert_eq!(
        run(&store, &ImageSelection::default()).await,
        ExtractSummary::default()
    );
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.version(), version);

    let session = QuerySession::new(&snapshot).await.unwrap();
    for query in Query::all().unwrap() {
        if query.name().starts_with("check/") {
            let rows = session
                .run(&query, &Default::default())
                .await
                .unwrap()
                .collect()
                .await
                .unwrap();
            assert_eq!(
                rows.iter().map(|rows| rows.num_rows()).sum::<usize>(),
                0,
                "{}",
                query.name()
            );
        }
    }
    assert_eq!(rows::<ExtractorRow>(&snapshot).await.len(), 1);

    // Other options are another extractor, which starts from nothing.
    let single = MaskOptions {
        mask_output: MaskOutput::Single,
        ..small_grid()
    };
    let other = extract_with(&store, extractor(&single), &two, &NoProgress)
        .await
        .unwrap();
    assert_eq!((other.images, other.masks), (2, 18));
}

#[tokio::test(flavor = "multi_thread")]
async fn medsams_pixels_are_those_of_another_extractor() {
    let (_dir, store) = store_of_photos(2).await;
    run(&store, &ImageSelection::default()).await;
    let medsam = MaskOptions {
        pixels: PixelTransform::MedSam,
        ..small_grid()
    };
    let all = ImageSelection::default();
    let summary = extract_with(&store, extractor(&medsam), &all, &NoProgress).await;
    assert_eq!(summary.unwrap().masks, 18);
    let snapshot = store.snapshot().await.unwrap();
    let stored: Vec<ExtractorRow> = rows(&snapshot).await;
    let [sam, medsam] = &stored[..] else {
        panic!("{stored:?}");
    };
    assert!(!sam.options.contains("pixels"), "{}", sam.options);
    let expected = r#""pixels":"medsam""#;
    assert!(medsam.options.contains(expected), "{}", medsam.options);
    assert_ne!(sam.embedding_space, medsam.embedding_space);
    let sql = Sql::new(&snapshot).await.unwrap();
    let batches = sql
        .query("SELECT count(DISTINCT predicted_iou) AS n FROM masks")
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let different = batches[0].column(0).as_primitive::<Int64Type>().value(0);
    assert!(different > 30, "{different} of 36 predicted IoUs");

    // Clicks are seen as the newest extractor of the same weights sees photos.
    let open = || {
        let checkpoint = test_data("extract/sharp.safetensors");
        Prompter::open(&checkpoint, DeviceName::Cpu, Precision::F32).unwrap()
    };
    for (beside, expected) in [(&stored[..1], sam), (&stored[..], medsam)] {
        let prompted = open().beside(beside).extractor().clone();
        assert_eq!(prompted.embedding_space, expected.embedding_space);
        let has_pixels = prompted.options.contains(r#""pixels":"medsam""#);
        assert_eq!(has_pixels, expected == medsam, "{}", prompted.options);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_images_at_once_give_the_same_masks_in_the_same_order() {
    let mut found = Vec::new();
    for at_once in [1, 3] {
        let (dir, store) = store_of_photos(7).await;
        // One that cannot be read, in the middle.
        std::fs::write(dir.path().join("photos/004.png"), "gone").unwrap();
        let extractor = extractor(&small_grid()).with_images_at_once(at_once);
        let summary = extract_with(&store, extractor, &ImageSelection::default(), &NoProgress)
            .await
            .unwrap();
        assert_eq!((summary.images, summary.masks, summary.failed), (6, 54, 1));
        let snapshot = store.snapshot().await.unwrap();
        found.push(
            snapshot
                .scan(Table::Masks)
                .await
                .unwrap()
                .collect()
                .await
                .unwrap(),
        );
    }
    assert!(found[0] == found[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_extractions_at_once_share_the_work() {
    let (_dir, store) = store_of_photos(6).await;
    let part = |text: &str| ImageSelection {
        shard: Some(text.parse().unwrap()),
        ..Default::default()
    };
    let (one, two) = (part("0/2"), part("1/2"));
    let whole = ImageSelection::default();
    let (one, two, whole) = tokio::join!(run(&store, &one), run(&store, &two), run(&store, &whole));
    assert_eq!(one.images + two.images + whole.images, 6);
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.count(Table::Masks).await.unwrap(), 54);
    assert_eq!(snapshot.count(Table::Extractions).await.unwrap(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_changed_or_vanished_are_told_and_the_rest_goes_on() {
    let (dir, store) = store_of_photos(4).await;
    let photos = dir.path().join("photos");
    std::fs::remove_file(photos.join("001.png")).unwrap();
    std::fs::copy(photos.join("003.png"), photos.join("002.png")).unwrap();
    let summary = run(&store, &ImageSelection::default()).await;
    assert_eq!((summary.images, summary.failed), (2, 2));
    let failures = rows::<FailureRow>(&store.snapshot().await.unwrap()).await;
    let reasons: Vec<_> = failures
        .iter()
        .map(|row| (row.item.as_str(), row.reason.as_str()))
        .collect();
    assert!(
        reasons[0].0 == "001.png" && reasons[0].1.contains("is not there any more"),
        "{reasons:?}"
    );
    assert!(
        reasons[1].0 == "002.png" && reasons[1].1.contains("not the one"),
        "{reasons:?}"
    );
    assert!(
        failures
            .iter()
            .all(|row| row.stage == "extract" && row.image_id.is_some())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_selects_and_a_wrong_store_is_refused() {
    let (_dir, store) = store_of_photos(6).await;
    let wide = ImageSelection {
        images: ImageFilter::matching("width = 41"),
        ..Default::default()
    };
    assert_eq!(run(&store, &wide).await.images, 2);
    let nonsense = ImageSelection {
        images: ImageFilter::matching("widht = 41"),
        ..Default::default()
    };
    let refused = extract_with(&store, extractor(&small_grid()), &nonsense, &NoProgress).await;
    assert!(refused.unwrap_err().to_string().contains("widht"));

    let (_other_dir, other) = new_store().await;
    let refused = extract_with(&other, extractor(&small_grid()), &wide, &NoProgress)
        .await
        .unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("embeddings of 1024 numbers, the model gives 128"),
        "{refused}"
    );
}

/// Tiles of photos through a store: smaller photos stay whole, and what is stored of a joined mask is of its greatest part.
#[tokio::test(flavor = "multi_thread")]
async fn tiles_are_part_of_the_extractor() {
    let (_dir, store) = store_of_photos(3).await;
    let tiled = |side| MaskOptions {
        points_per_side: 2,
        tile: Some(Tiling {
            side,
            overlap: side / 4,
        }),
        ..MaskOptions::default()
    };
    // Photos are 40 to 42 pixels wide and 30 high, smaller than the smallest tile.
    let whole = MaskOptions {
        tile: None,
        ..tiled(64)
    };
    let run = async |options: &MaskOptions| {
        let selection = ImageSelection::default();
        extract_with(&store, extractor(options), &selection, &NoProgress).await
    };
    let [first, second] = [run(&whole).await.unwrap(), run(&tiled(64)).await.unwrap()];
    assert_eq!((first.images, second.images), (3, 3));
    assert_eq!(first.masks, second.masks);
    let again = run(&tiled(64)).await.unwrap();
    assert_eq!(again.images, 0);
    let snapshot = store.snapshot().await.unwrap();
    let extractors: Vec<ExtractorRow> = rows(&snapshot).await;
    assert_eq!(extractors.len(), 2);
    assert!(
        extractors[1]
            .options
            .contains("\"tile\":{\"overlap\":16,\"side\":64}")
    );
    assert!(!extractors[0].options.contains("tile"));

    let options = tiled(64);
    let features = extractor(&options).with_features();
    let selection = ImageSelection::default();
    let error = extract_with(&store, features, &selection, &NoProgress).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("tile with keep-features"), "{error}");
}

/// A photo that is larger than a tile: every mask is of the photo's size, and its point lies in its crop.
#[test]
fn masks_of_tiles_lie_in_the_photo() {
    let photo = image::RgbImage::from_fn(150, 100, |x, y| {
        image::Rgb([
            (x * 3) as u8,
            (y * 5) as u8,
            ((x / 20 + y / 20) % 2 * 200) as u8,
        ])
    });
    let tiling = Tiling {
        side: 64,
        overlap: 16,
    };
    let options = MaskOptions {
        points_per_side: 3,
        tile: Some(tiling),
        ..MaskOptions::default()
    };
    let generator = MaskGenerator::new(sharp_model(), device(), options, 16).unwrap();
    let masks = generator.with_neck().generate(&photo).unwrap();
    let tiles = tiling.tiles(150, 100);
    assert!(tiles.len() > 4 && !masks.is_empty());
    assert!(masks.len() <= 9 * tiles.len(), "{}", masks.len());
    let size = Size {
        height: 100,
        width: 150,
    };
    for mask in &masks {
        assert_eq!(mask.rle.size(), size);
        assert!(tiles.contains(&mask.crop));
        let [x, y] = mask.point;
        let [left, top, width, height] = mask.crop.to_xywh();
        assert!((left..left + width).contains(&x) && (top..top + height).contains(&y));
        assert_eq!(mask.neck.is_some(), !mask.rle.is_empty());
    }
}

/// Another grid over features that were kept: the same masks as of photos whose features are rounded, and no photo is read.
#[tokio::test(flavor = "multi_thread")]
async fn kept_features_are_prompted_again() {
    let (dir, store) = store_of_photos(3).await;
    let selection = ImageSelection::default();
    let first = extractor(&small_grid()).with_features();
    extract_with(&store, first, &selection, &NoProgress)
        .await
        .unwrap();
    let other_grid = |from_features| MaskOptions {
        points_per_side: 4,
        from_features,
        ..MaskOptions::default()
    };
    // A photo that is gone has features still; a new one has none, and is encoded.
    std::fs::remove_file(dir.path().join("photos/001.png")).unwrap();
    let photo = image::RgbImage::from_fn(44, 31, |x, y| image::Rgb([x as u8 * 5, y as u8 * 8, 40]));
    photo.save(dir.path().join("photos/new.png")).unwrap();
    let options = IngestOptions {
        dataset: "photos".to_owned(),
        source: Source::Target,
        split: None,
        verify_pixels: false,
        commit_rows: DEFAULT_COMMIT_ROWS,
    };
    let request = FolderIngest {
        directory: (&dir.path().join("photos")).into(),
        labels: LabelSource::Unlabelled,
        options,
    };
    ingest_folder(&store, &request, &NoProgress).await.unwrap();
    let second = extractor(&other_grid(true));
    let done = extract_with(&store, second, &selection, &NoProgress)
        .await
        .unwrap();
    assert_eq!((done.images, done.failed, done.masks), (4, 0, 4 * 16));

    // Photos whose features were kept, and a photo whose features were not, give the masks that rounding alone gives.
    let snapshot = store.snapshot().await.unwrap();
    let stored: Vec<ExtractorRow> = rows(&snapshot).await;
    let of_features = stored
        .iter()
        .find(|row| row.options.contains("from_features"))
        .unwrap();
    let (other, copy) = store_of_photos(3).await;
    photo.save(other.path().join("photos/new.png")).unwrap();
    let directory = &other.path().join("photos");
    let request = FolderIngest {
        directory: directory.into(),
        ..request
    };
    ingest_folder(&copy, &request, &NoProgress).await.unwrap();
    let rounded = extractor(&other_grid(true));
    extract_with(&copy, rounded, &selection, &NoProgress)
        .await
        .unwrap();
    let masks = async |snapshot: &Snapshot| {
        let sql = format!(
            "SELECT image_id, mask_index, rle, predicted_iou, embedding FROM masks WHERE extractor_id = '{}'
             ORDER BY image_id, mask_index",
            of_features.extractor_id
        );
        let sql_session = Sql::new(snapshot).await.unwrap();
        let batches = sql_session
            .query(&sql)
            .await
            .unwrap()
            .collect()
            .await
            .unwrap();
        concat_batches(&batches[0].schema(), &batches).unwrap()
    };
    let found = masks(&snapshot).await;
    assert_eq!(found.num_rows(), 64);
    assert_eq!(found, masks(&copy.snapshot().await.unwrap()).await);

    // Rounding to 16 bits moves hardly anything.
    let plain = extractor(&other_grid(false));
    extract_with(&copy, plain, &selection, &NoProgress)
        .await
        .unwrap();
    let sql = "SELECT max(abs(a.predicted_iou - b.predicted_iou)) AS apart, avg(CASE WHEN a.area = b.area THEN 1.0 ELSE 0.0 END) AS same
               FROM masks a JOIN masks b ON a.image_id = b.image_id AND a.mask_index = b.mask_index
               WHERE a.extractor_id < b.extractor_id";
    let sql_session = Sql::new(&copy.snapshot().await.unwrap()).await.unwrap();
    let batches = sql_session
        .query(sql)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let apart = batches[0].column(0).as_primitive::<Float32Type>().value(0);
    let same = batches[0].column(1).as_primitive::<Float64Type>().value(0);
    assert!(apart > 0.0 && apart < 0.01, "{apart}");
    assert!(same > 0.8, "{same}");

    let in_tiles = MaskOptions {
        tile: Some(Tiling {
            side: 64,
            overlap: 16,
        }),
        ..other_grid(true)
    };
    for (extractor, said) in [
        (extractor(&in_tiles), "tile with from-features"),
        (
            extractor(&other_grid(true)).with_features(),
            "keep-features with from-features",
        ),
    ] {
        let error = extract_with(&store, extractor, &selection, &NoProgress).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}
