//! Exports as VOC's label maps and as Parquet.

use std::collections::HashMap;

use grainstore::annotate::{AnnotateRequest, MapRule, Policy, rethreshold};
use grainstore::export::ParquetExport;
use grainstore::export::VocExport;
use grainstore::export::{Photos, export_parquet, export_voc};
use grainstore::geometry::Rle;
use grainstore::ingest::CocoIngest;
use grainstore::ingest::VocIngest;
use grainstore::ingest::{IngestOptions, Source, ingest_coco, ingest_voc, read_class_names};
use grainstore::photo::decode_indexed_png;
use grainstore::progress::NoProgress;
use grainstore::query::{Query, QuerySession};
use grainstore::store::Store;
use grainstore::store::rows::{GroundTruthRow, ImageRow, RleRow};
use serde::Deserialize;
use serde_json::json;

use crate::eval_store::{annotated_store, import, json as fixture};
use crate::export::{ingest, photos_and_annotations, request, rle_of};
use crate::support::{new_store, rows};

#[tokio::test]
async fn label_maps_hold_the_semantic_map() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let voc = dir.path().join("voc");
    let painted = label_maps(&store, &voc, MapRule::Paint).await;

    let policy = Policy {
        map: MapRule::Vote(0.4),
        score_threshold: 0.6,
        ..Policy::default()
    };
    let again = AnnotateRequest {
        head: "masks".to_owned(),
        policy,
        ..AnnotateRequest::default()
    };
    rethreshold(&store, &again, &NoProgress).await.unwrap();
    let voted = label_maps(&store, &dir.path().join("voted"), again.policy.map).await;
    assert_eq!(painted.len(), voted.len());
    assert!(painted.iter().zip(&voted).any(|(a, b)| a != b));

    let gated = AnnotateRequest {
        policy: Policy {
            image_gate: 0.8,
            ..again.policy.clone()
        },
        ..again.clone()
    };
    rethreshold(&store, &gated, &NoProgress).await.unwrap();
    let fewer = label_maps(&store, &dir.path().join("gated"), gated.policy.map).await;
    assert!(fewer.iter().zip(&voted).any(|(a, b)| a != b));

    let snapshot = store.snapshot().await.unwrap();
    let message = export_voc(
        &snapshot,
        &VocExport {
            export: request(Some("masks")),
            photos: Photos::Leave,
            directory: (&voc).into(),
        },
        &NoProgress,
    )
    .await;
    assert!(
        message
            .unwrap_err()
            .to_string()
            .contains("empty or not there yet")
    );
}

fn options(dataset: &str) -> IngestOptions {
    IngestOptions {
        dataset: dataset.to_owned(),
        source: Source::Target,
        split: Some("val".to_owned()),
        verify_pixels: true,
        commit_rows: 1000,
    }
}

#[tokio::test]
async fn a_voc_directory_can_be_ingested() {
    let dir = tempfile::tempdir().unwrap();
    photos_and_annotations(dir.path());
    let (_first, store) = new_store().await;
    ingest(&store, dir.path(), &dir.path().join("in.json")).await;
    let voc = dir.path().join("voc");
    let snapshot = store.snapshot().await.unwrap();
    let summary = export_voc(
        &snapshot,
        &VocExport {
            export: request(None),
            photos: Photos::Copy,
            directory: (&voc).into(),
        },
        &NoProgress,
    )
    .await
    .unwrap();
    assert_eq!(
        (summary.images, summary.annotations, summary.without_mask),
        (3, 1, 1)
    );
    let (_second, other) = new_store().await;
    let classes: Vec<String> = std::fs::read_to_string(voc.join("classes.txt"))
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    let done = ingest_voc(
        &other,
        &VocIngest {
            directory: (&voc).into(),
            class_names: classes.to_vec(),
            options: options("voc"),
        },
        &NoProgress,
    )
    .await
    .unwrap();
    assert_eq!((done.images_added, done.failed), (3, 0));
    let truth: Vec<GroundTruthRow> = rows(&store.snapshot().await.unwrap()).await;
    let back: Vec<GroundTruthRow> = rows(&other.snapshot().await.unwrap()).await;
    let dog = |rows: &[GroundTruthRow]| {
        rows.iter()
            .find(|row| row.category.as_deref() == Some("dog"))
            .and_then(|row| row.rle.clone())
    };
    assert_eq!(dog(&truth), dog(&back));
    let void: Vec<_> = back.iter().filter(|row| row.is_ignored).collect();
    let covered = |row: &GroundTruthRow| Rle::try_from(row.rle.as_ref().unwrap()).unwrap();
    let crowd = truth.iter().find(|row| row.iscrowd).unwrap();
    let shown = covered(crowd)
        .difference(&Rle::try_from(&dog(&truth).unwrap()).unwrap())
        .unwrap();
    assert_eq!(
        (void.len(), covered(void[0])),
        (1, shown),
        "a crowd is void where no object is"
    );
}

/// Exports two objects of classes of such names as VOC's label maps, and reads them back: the classes and areas of the
/// objects before and after.
async fn there_and_back(names: [&str; 2]) -> grainstore::Result<[Vec<(String, f64)>; 2]> {
    let dir = tempfile::tempdir().unwrap();
    let photo = image::RgbImage::from_pixel(40, 30, image::Rgb([1, 2, 3]));
    photo.save(dir.path().join("a.png")).unwrap();
    let square = |id: i64, x: i64, y: i64| {
        json!({"id": id, "image_id": 1, "category_id": id, "iscrowd": 0, "area": 100, "bbox": [x, y, 10, 10],
               "segmentation": [[x, y, x + 10, y, x + 10, y + 10, x, y + 10]]})
    };
    let file = dir.path().join("in.json");
    let data_set = json!({
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [square(1, 2, 3), square(2, 20, 15)],
        "categories": [{"id": 1, "name": names[0]}, {"id": 2, "name": names[1]}],
    });
    std::fs::write(&file, data_set.to_string()).unwrap();
    let (_first, store) = new_store().await;
    ingest_coco(
        &store,
        &CocoIngest {
            annotations: (&file).into(),
            images: dir.path().into(),
            options: options("mini"),
        },
        &NoProgress,
    )
    .await?;
    let snapshot = store.snapshot().await?;
    let voc = dir.path().join("voc");
    let exported = export_voc(
        &snapshot,
        &VocExport {
            export: request(None),
            photos: Photos::Copy,
            directory: (&voc).into(),
        },
        &NoProgress,
    )
    .await;
    if exported.is_err() {
        assert!(!voc.exists(), "a refused export leaves nothing");
    }
    exported?;
    let (_second, other) = new_store().await;
    let classes = read_class_names(&voc.join("classes.txt"))?;
    ingest_voc(
        &other,
        &VocIngest {
            directory: (&voc).into(),
            class_names: classes.to_vec(),
            options: options("voc"),
        },
        &NoProgress,
    )
    .await?;
    let objects = |rows: Vec<GroundTruthRow>| {
        let object = |row: GroundTruthRow| (row.category.unwrap(), row.area);
        let mut objects: Vec<_> = rows.into_iter().map(object).collect();
        objects.sort_by(|a, b| a.0.cmp(&b.0));
        objects
    };
    Ok([
        objects(rows(&snapshot).await),
        objects(rows(&other.snapshot().await?).await),
    ])
}

#[tokio::test]
async fn class_names_come_back_from_voc_or_are_refused() {
    for names in [
        ["cat", "traffic light"],
        ["\u{732b}", "a, \"b\""],
        ["0", "-1"],
        ["#cat", "caf\u{e9}"],
    ] {
        let [before, after] = there_and_back(names).await.unwrap();
        assert_eq!(before, after);
        assert_eq!(after.len(), 2, "{names:?}");
    }
    for (name, shown) in [
        ("cat ", "'cat '"),
        ("new\nline", "'new\\nline'"),
        ("new\r\nline", "'new\\r\\nline'"),
        ("", "''"),
        ("\u{feff}cat", "'\\u{feff}cat'"),
    ] {
        let refused = there_and_back([name, "cat"]).await.unwrap_err().to_string();
        let said = format!("{shown} is not a class name that a line of classes.txt can hold");
        assert!(refused.starts_with(&said), "{refused}");
    }
}

#[tokio::test]
async fn parquet_has_a_row_an_object() {
    let (dir, store) = annotated_store().await;
    import(&store, "masks").await;
    let file = dir.path().join("masks.parquet");
    let snapshot = store.snapshot().await.unwrap();
    let summary = export_parquet(
        &snapshot,
        &ParquetExport {
            export: request(Some("masks")),
            file: (&file).into(),
        },
        &NoProgress,
    )
    .await
    .unwrap();
    let session = datafusion::prelude::SessionContext::new();
    session
        .register_parquet("objects", file.to_str().unwrap(), Default::default())
        .await
        .unwrap();
    let query = "SELECT count(*), count(DISTINCT annotation_id), sum(area), max(score), count(rle), count(mask_index)
                 FROM objects WHERE category_id IN (3, 7, 11, 12, 20, 44) AND bbox_width > 0";
    let found = session.sql(query).await.unwrap().collect().await.unwrap();
    let column =
        |at: usize| arrow::util::display::array_value_to_string(found[0].column(at), 0).unwrap();
    let count = summary.annotations.to_string();
    assert_eq!(
        [column(0), column(1), column(4), column(5)],
        [(); 4].map(|()| count.clone())
    );
    let list = fixture("masks.json");
    let areas: u64 = list
        .as_array()
        .unwrap()
        .iter()
        .map(|it| rle_of(it).area())
        .sum();
    assert_eq!(column(2).parse::<f64>().unwrap(), areas as f64);
}

/// Exports the label maps of head 'masks' and checks that they are, pixel for pixel, what SQL says. Returns the class of
/// each pixel, image by image.
async fn label_maps(store: &Store, voc: &std::path::Path, rule: MapRule) -> Vec<Vec<u8>> {
    #[derive(Deserialize)]
    struct Region {
        image_id: String,
        class_index: i32,
        rle: RleRow,
    }
    let snapshot = store.snapshot().await.unwrap();
    let export = VocExport {
        export: request(Some("masks")),
        photos: Photos::Leave,
        directory: voc.into(),
    };
    let summary = export_voc(&snapshot, &export, &NoProgress).await.unwrap();
    assert!(summary.images > 20 && summary.failed == 0, "{summary:?}");
    let names = std::fs::read_to_string(voc.join("classes.txt")).unwrap();
    assert_eq!(names, "cat\ndog\ncar\nbus\nboat\nspoon\n");

    let session = QuerySession::new(&snapshot).await.unwrap();
    let parameters = HashMap::from([("head".to_owned(), "masks".to_owned())]);
    let query = Query::named("eval/predicted_regions").unwrap();
    let mut regions: HashMap<String, Vec<Region>> = HashMap::new();
    let mut found = session.run(&query, &parameters).await.unwrap();
    while let Some(batch) = found.next().await.unwrap() {
        let decoded =
            grainstore::store::rows::decode::<Region>(grainstore::schema::Table::Masks, &batch)
                .unwrap();
        for region in decoded {
            let of_image = regions.entry(region.image_id.clone()).or_default();
            of_image.push(region);
        }
    }
    let images: Vec<ImageRow> = rows(&snapshot).await;
    let mut maps = Vec::new();
    for image in &images {
        let stem = image.file_name.trim_end_matches(".jpg");
        let Ok(bytes) = std::fs::read(voc.join("SegmentationClass").join(format!("{stem}.png")))
        else {
            continue;
        };
        let map = decode_indexed_png(&bytes).unwrap();
        let mut expected = vec![0u8; map.indices.len()];
        for region in regions.remove(image.image_id.as_str()).unwrap_or_default() {
            let pixels = Rle::try_from(&region.rle).unwrap().to_row_major();
            let pixels = expected.iter_mut().zip(pixels);
            for (slot, _) in pixels.filter(|(_, pixel)| *pixel == 1) {
                *slot = u8::try_from(region.class_index + 1).unwrap();
            }
        }
        assert!(map.indices == expected, "{}", image.file_name);
        let objects =
            std::fs::read(voc.join("SegmentationObject").join(format!("{stem}.png"))).unwrap();
        let objects = decode_indexed_png(&objects).unwrap();
        // An object has a class, and one class.
        let mut class_of: HashMap<u8, u8> = HashMap::new();
        for (object, class) in objects.indices.iter().zip(&expected) {
            if *object != 0 {
                assert!(*class != 0 && *class_of.entry(*object).or_insert(*class) == *class);
            }
        }
        let pixels = objects.indices.iter().zip(&expected);
        let all_of_objects = pixels
            .into_iter()
            .all(|(object, class)| (*object == 0) == (*class == 0));
        assert!(all_of_objects || rule != MapRule::Paint);
        maps.push(expected);
    }
    assert_eq!(maps.len() as u64, summary.images);
    assert!(regions.is_empty());
    maps
}
