//! A store of small photos on the disk, with a head whose predictions are given.

use grainstore::geometry::{Rle, Size};
use grainstore::import::{ImportRequest, import_coco_results};
use grainstore::ingest::{CocoIngest, IngestOptions, ingest_coco};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::GroundTruthRow;
use serde_json::{Value, json};

use crate::support::{new_store, rows};

/// The name of the head.
pub const HEAD: &str = "found";
/// The size of every photo.
pub const SIZE: Size = Size {
    height: 24,
    width: 30,
};
/// The classes, each with its id in the data set.
pub const CLASSES: [(i64, &str); 3] = [(3, "cat"), (11, "traffic light"), (40, "boat")];
/// The photos; their ids count from 1.
const PHOTOS: [&str; 4] = ["a.png", "sub/b.png", "c.png", "d.png"];

/// A rectangle as x, y, width and height in pixels.
pub type Place = [usize; 4];

/// The mask of a rectangle.
pub fn rectangle([left, top, width, height]: Place) -> Rle {
    let across = SIZE.width as usize;
    let mut bits = vec![0; across * SIZE.height as usize];
    for y in top..top + height {
        bits[y * across + left..][..width].fill(1);
    }
    Rle::from_row_major(SIZE, &bits).unwrap()
}

/// A mask that the head predicts.
pub struct Prediction {
    pub photo: &'static str,
    pub class: &'static str,
    pub score: f64,
    pub mask: Rle,
}

/// A store, in a directory that has the photos in `photos`. Its data set 'd' annotates a boat on the first photo and one on the last,
/// of which the head has no predictions.
pub async fn predicted_store(predictions: &[Prediction]) -> (tempfile::TempDir, Store) {
    let (dir, store) = new_store().await;
    let photos = dir.path().join("photos");
    std::fs::create_dir_all(photos.join("sub")).unwrap();
    let mut images = Vec::new();
    for (name, id) in PHOTOS.into_iter().zip(1u8..) {
        let photo = image::RgbImage::from_pixel(SIZE.width, SIZE.height, image::Rgb([id, 7, 9]));
        photo.save(photos.join(name)).unwrap();
        let (width, height) = (SIZE.width, SIZE.height);
        images.push(json!({"id": id, "file_name": name, "width": width, "height": height}));
    }
    let categories = CLASSES.map(|(id, name)| json!({"id": id, "name": name}));
    let annotations = [1, 4].map(|image| {
        json!({"id": image, "image_id": image, "category_id": 40, "iscrowd": 0,
               "segmentation": [[23.0, 1.0, 29.0, 1.0, 29.0, 6.0, 23.0, 6.0]]})
    });
    let coco = json!({"images": images, "annotations": annotations, "categories": categories});
    let request = CocoIngest {
        annotations: dir.path().join("in.json"),
        images: photos,
        options: IngestOptions::of_dataset("d"),
    };
    std::fs::write(&request.annotations, coco.to_string()).unwrap();
    let done = ingest_coco(&store, &request, &NoProgress).await.unwrap();
    assert_eq!((done.images_added, done.failed), (4, 0));

    let request = ImportRequest {
        split: None,
        file: dir.path().join("results.json"),
        head: HEAD.to_owned(),
        dataset: "d".to_owned(),
        classes: None,
    };
    let results: Vec<Value> = predictions.iter().map(Prediction::as_result).collect();
    std::fs::write(&request.file, Value::from(results).to_string()).unwrap();
    let done = import_coco_results(&store, &request, &NoProgress).await;
    let done = done.unwrap();
    assert_eq!(
        (done.detections, done.failed),
        (predictions.len() as u64, 0)
    );
    (dir, store)
}

impl Prediction {
    /// As COCO's results have it.
    fn as_result(&self) -> Value {
        let image = PHOTOS.iter().position(|name| *name == self.photo);
        let class = CLASSES.iter().find(|(_, name)| *name == self.class);
        json!({"image_id": image.unwrap() + 1, "category_id": class.unwrap().0, "score": self.score,
               "segmentation": {"size": [SIZE.height, SIZE.width], "counts": self.mask.to_counts_string()}})
    }
}

/// The image's id, the class and the run lengths of an object.
pub type Object = (String, String, String);

/// The objects that a data set annotates, sorted; all of them have masks.
pub async fn annotated(store: &Store, dataset: &str) -> Vec<Object> {
    let truth: Vec<GroundTruthRow> = rows(&store.snapshot().await.unwrap()).await;
    let of_dataset = truth.into_iter().filter(|row| row.dataset == dataset);
    let mut objects: Vec<Object> = of_dataset
        .map(|row| {
            assert!(!row.iscrowd && !row.is_ignored, "{row:?}");
            let mask = row.rle.unwrap();
            (row.image_id.to_string(), row.category.unwrap(), mask.counts)
        })
        .collect();
    objects.sort();
    objects
}
