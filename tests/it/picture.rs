//! Pictures and the report page: what they show is what the store holds.

use std::path::Path;

use grainstore::eval::EvalRequest;
use grainstore::import::{ImportRequest, import_coco_results};
use grainstore::ingest::CocoIngest;
use grainstore::ingest::{IngestOptions, Source, ingest_coco};
use grainstore::picture::{Part, ShowRequest, Shown, class_color, show};
use grainstore::progress::NoProgress;
use grainstore::report::{ReportRequest, write_report};
use grainstore::selection::ImageFilter;
use grainstore::store::Store;
use serde_json::json;

use crate::eval_store::annotated_store;
use crate::support::new_store;

/// Two photos of 40 x 30 with a car on the left and a dog on the right; the model found the car, and the dog elsewhere.
async fn store_with_two_photos(dir: &Path) -> (tempfile::TempDir, Store) {
    std::fs::create_dir_all(dir.join("photos")).unwrap();
    let (left, right) = (
        [[2, 2, 18, 2, 18, 28, 2, 28]],
        [[22, 2, 38, 2, 38, 28, 22, 28]],
    );
    let (mut images, mut annotations, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for id in [1, 2] {
        let name = format!("<{id}>.png");
        image::RgbImage::from_pixel(40, 30, image::Rgb([id, 0, 0]))
            .save(dir.join("photos").join(&name))
            .unwrap();
        images.push(json!({"id": id, "file_name": name, "width": 40, "height": 30}));
        annotations.push(json!({"id": id, "image_id": id, "category_id": 1, "segmentation": left}));
        annotations
            .push(json!({"id": id + 10, "image_id": id, "category_id": 2, "segmentation": right}));
        results.push(json!({"image_id": id, "category_id": 1, "score": 0.9,
            "segmentation": grainstore_rle(&left[0])}));
        let dog = if id == 1 { &right[0] } else { &left[0] };
        results.push(json!({"image_id": id, "category_id": 2, "score": 0.8, "segmentation": grainstore_rle(dog)}));
    }
    let categories = json!([{"id": 1, "name": "car"}, {"id": 2, "name": "dog & co"}]);
    let file = json!({"images": images, "annotations": annotations, "categories": categories});
    std::fs::write(dir.join("in.json"), file.to_string()).unwrap();
    std::fs::write(dir.join("results.json"), json!(results).to_string()).unwrap();
    let (guard, store) = new_store().await;
    let options = IngestOptions {
        dataset: "two".to_owned(),
        source: Source::Target,
        split: None,
        verify_pixels: false,
        commit_rows: 1000,
    };
    let photos = dir.join("photos");
    ingest_coco(
        &store,
        &CocoIngest {
            annotations: (&dir.join("in.json")).into(),
            images: (&photos).into(),
            options,
        },
        &NoProgress,
    )
    .await
    .unwrap();
    let request = ImportRequest {
        split: None,
        file: dir.join("results.json"),
        head: "model".to_owned(),
        dataset: "two".to_owned(),
        classes: None,
    };
    assert_eq!(
        import_coco_results(&store, &request, &NoProgress)
            .await
            .unwrap()
            .failed,
        0
    );
    (guard, store)
}

fn grainstore_rle(polygon: &[i32]) -> serde_json::Value {
    let size = grainstore::geometry::Size {
        height: 30,
        width: 40,
    };
    let points: Vec<f64> = polygon.iter().map(|at| f64::from(*at)).collect();
    let mask = grainstore::geometry::rle_from_polygon(&points, size).unwrap();
    json!({"size": [30, 40], "counts": mask.to_counts_string()})
}

fn request(parts: &[Part]) -> ShowRequest {
    ShowRequest {
        images: ImageFilter::default(),
        dataset: None,
        limit: 10,
        head: Some("model".to_owned()),
        policy: None,
        extractor: None,
        classes: None,
        parts: parts.to_vec(),
        side: 400,
    }
}

#[tokio::test]
async fn panels_show_classes_in_their_colours() {
    let dir = tempfile::tempdir().unwrap();
    let (_guard, store) = store_with_two_photos(dir.path()).await;
    let snapshot = store.snapshot().await.unwrap();
    let all = [Part::Photo, Part::Truth, Part::Masks, Part::Head];
    let Shown {
        pictures, failed, ..
    } = show(&snapshot, &request(&all), &NoProgress).await.unwrap();
    assert_eq!((pictures.len(), failed), (2, 0));
    let captions: Vec<&str> = pictures[0]
        .panels
        .iter()
        .map(|panel| panel.caption.as_str())
        .collect();
    assert_eq!(
        captions,
        ["photo", "ground truth", "all 2 masks", "annotated"]
    );
    for picture in &pictures {
        assert_eq!(picture.panels[0].picture.dimensions(), (400, 300));
        let near = |panel: usize, x: u32, y: u32, class: usize| {
            // Tinted over the nearly black photo, where no label lies.
            let found = picture.panels[panel].picture.get_pixel(x, y).0;
            let color = class_color(class).0.map(|level| f32::from(level) * 0.45);
            found
                .iter()
                .zip(color)
                .all(|(a, b)| (f32::from(*a) - b).abs() < 6.0)
        };
        assert!(
            near(1, 100, 250, 0) && near(1, 300, 250, 1),
            "annotated objects"
        );
        let [photo, ..] = &picture.panels[..] else {
            panic!("no panels");
        };
        assert!(
            photo
                .picture
                .pixels()
                .all(|pixel| pixel.0[1] == 0 && pixel.0[2] == 0),
            "nothing drawn on the photo"
        );
    }
    let head = |image: usize, x: u32| pictures[image].panels[3].picture.get_pixel(x, 250).0;
    assert_ne!(
        head(0, 300),
        pictures[0].panels[0].picture.get_pixel(300, 250).0,
        "the dog is found on the first"
    );
    assert_eq!(
        head(1, 300),
        pictures[1].panels[0].picture.get_pixel(300, 250).0,
        "and missed on the second"
    );

    // A photo that is gone is told and left out.
    std::fs::remove_file(dir.path().join("photos/<2>.png")).unwrap();
    let Shown {
        pictures, failed, ..
    } = show(&snapshot, &request(&[Part::Photo]), &NoProgress)
        .await
        .unwrap();
    assert_eq!((pictures.len(), failed), (1, 1));
    let nobody = ShowRequest {
        head: None,
        ..request(&[Part::Head])
    };
    let message = show(&snapshot, &nobody, &NoProgress)
        .await
        .unwrap_err()
        .to_string();
    assert!(message.contains("no head is given"), "{message}");
}

#[tokio::test]
async fn a_report_is_one_page_that_needs_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (_guard, store) = store_with_two_photos(dir.path()).await;
    let snapshot = store.snapshot().await.unwrap();
    let request = ReportRequest {
        evaluation: EvalRequest {
            head: "model".to_owned(),
            ..EvalRequest::default()
        },
        images: 1,
        ..ReportRequest::default()
    };
    let file = dir.path().join("report.html");
    std::fs::write(&file, "old").unwrap();
    let summary = write_report(
        &snapshot,
        &ReportRequest {
            file: (&file).into(),
            ..request.clone()
        },
        &NoProgress,
    )
    .await
    .unwrap();
    assert_eq!((summary.images, summary.images_shown), (2, 2));
    let page = std::fs::read_to_string(&file).unwrap();
    assert_eq!(page.len() as u64, summary.bytes);
    // Addresses of namespaces are no requests.
    let without = page.replace("http://www.w3.org/2000/svg", "");
    for request in ["http://", "https://", "<script", "<link", "@import", "url("] {
        assert!(!without.contains(request), "{request}");
    }
    assert_eq!(page.matches("src=\"data:image/jpeg;base64,").count(), 2 * 2);
    assert!(
        page.contains("dog &amp; co")
            && page.contains("&lt;1&gt;.png")
            && !page.contains("<1>.png")
    );
    for part in [
        "Classes",
        "Precision and recall",
        "Calibration",
        "Confusion",
        "Best images",
        "Worst images",
        "Lineage",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // On photo 1 all is right; on photo 2 the dog is missed, and the car's pixels are the car's, whose score is greater.
    let best = page.find("Best images").unwrap();
    let worst = page.find("Worst images").unwrap();
    assert!(page[best..worst].contains("IoU 1.00") && page[best..worst].contains("&lt;1&gt;.png"));
    assert!(page[worst..].contains("&lt;2&gt;.png"));

    let unknown = ReportRequest {
        evaluation: EvalRequest {
            head: "nobody".to_owned(),
            ..EvalRequest::default()
        },
        images: 1,
        file: file.clone(),
    };
    assert!(
        write_report(
            &snapshot,
            &ReportRequest {
                file: (&file).into(),
                ..unknown.clone()
            },
            &NoProgress
        )
        .await
        .is_err()
    );
    assert_eq!(std::fs::read_to_string(&file).unwrap(), page);
}

#[tokio::test]
async fn what_cannot_be_shown_is_told() {
    let (_dir, store) = annotated_store().await;
    let snapshot = store.snapshot().await.unwrap();
    let of = |dataset: &str, part| ShowRequest {
        dataset: Some(dataset.to_owned()),
        limit: 1,
        parts: vec![part],
        side: 64,
        ..ShowRequest::default()
    };
    let unknown = show(&snapshot, &of("shape", Part::Truth), &NoProgress).await;
    let unknown = unknown.unwrap_err().to_string();
    assert!(unknown.contains("'shape'"), "{unknown}");
}

#[tokio::test]
async fn without_masks_of_segment_anything_that_part_is_empty() {
    let dir = tempfile::tempdir().unwrap();
    // Its masks are another model's.
    let (_guard, store) = store_with_two_photos(dir.path()).await;
    let snapshot = store.snapshot().await.unwrap();
    let asked = ShowRequest {
        head: None,
        ..request(&[Part::Photo, Part::Masks])
    };
    let shown = show(&snapshot, &asked, &NoProgress).await.unwrap();
    let panels = shown.pictures.iter().map(|it| it.panels.len());
    assert_eq!(panels.collect::<Vec<_>>(), [2, 2]);
}
