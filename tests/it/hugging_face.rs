//! Directories of Hugging Face's `datasets`, as its own reader takes them (tests/data/hugging_face/read.py).

use std::path::Path;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Float64Type, Int64Type, UInt32Type};
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use grainstore::export::{HuggingFaceExport, export_hugging_face};
use grainstore::geometry::{Rle, Size};
use grainstore::ingest::{CocoIngest, IngestOptions, ingest_coco};
use grainstore::progress::NoProgress;
use grainstore::store::Store;
use grainstore::store::rows::GroundTruthRow;
use serde_json::{Value, json};

use crate::export::request;
use crate::support::{new_store, rows};

const SIZE: Size = Size {
    height: 11,
    width: 13,
};

async fn of_coco(store: &Store, dir: &Path, split: &str, level: u8) {
    let photos = dir.join(split);
    std::fs::create_dir_all(&photos).unwrap();
    let photo = image::RgbImage::from_pixel(SIZE.width, SIZE.height, image::Rgb([level, 7, 9]));
    photo.save(photos.join("a.png")).unwrap();
    let mut random = fastrand::Rng::with_seed(u64::from(level));
    let mut annotations = Vec::new();
    for id in 1..5 {
        let bitmap: Vec<u8> = (0..11 * 13)
            .map(|_| u8::from(random.u8(..) < 150))
            .collect();
        let mask = Rle::from_row_major(SIZE, &bitmap).unwrap();
        annotations.push(
            json!({"id": i32::from(level) * 100 + id, "image_id": level, "category_id": 1 + id % 2, "iscrowd": u8::from(id == 4),
            "segmentation": {"size": [11, 13], "counts": mask.runs()}}),
        );
    }
    annotations.push(
        json!({"id": i32::from(level) * 100 + 9, "image_id": level, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 0}),
    );
    let coco = json!({"images": [{"id": level, "file_name": "a.png", "width": 13, "height": 11}],
        "annotations": annotations, "categories": [{"id": 1, "name": "kočka"}, {"id": 2, "name": "dog"}]});
    let file = dir.join(format!("{split}.json"));
    std::fs::write(&file, coco.to_string()).unwrap();
    let request = CocoIngest {
        annotations: file,
        images: photos,
        options: IngestOptions {
            split: Some(split.to_owned()),
            ..IngestOptions::of_dataset("d")
        },
    };
    assert_eq!(
        ingest_coco(store, &request, &NoProgress)
            .await
            .unwrap()
            .failed,
        0
    );
}

#[tokio::test]
async fn rows_hold_photos_and_objects() {
    let dir = tempfile::tempdir().unwrap();
    let (_store_dir, store) = new_store().await;
    of_coco(&store, dir.path(), "train", 1).await;
    of_coco(&store, dir.path(), "val-2", 2).await;
    let request = HuggingFaceExport {
        export: request(None),
        directory: dir.path().join("hf"),
    };
    let snapshot = store.snapshot().await.unwrap();
    let done = export_hugging_face(&snapshot, &request, &NoProgress)
        .await
        .unwrap();
    assert_eq!((done.images, done.annotations), (2, 10));
    let card = std::fs::read_to_string(request.directory.join("README.md")).unwrap();
    for line in [
        "split: \"train\"",
        "split: \"val_2\"",
        "path: data/val_2-*.parquet",
        "| val_2 | 1 |",
    ] {
        assert!(card.contains(line), "{line}: {card}");
    }
    let truth: Vec<GroundTruthRow> = rows(&snapshot).await;
    let context = SessionContext::new();
    let mut found = 0;
    for split in ["train", "val_2"] {
        let file = request
            .directory
            .join(format!("data/{split}-00000.parquet"));
        let file = file.to_str().unwrap();
        let frame = context
            .read_parquet(file, ParquetReadOptions::default())
            .await
            .unwrap();
        let batches = frame.collect().await.unwrap();
        let [batch] = &batches[..] else {
            panic!("{batches:?}");
        };
        // The metadata name the types; `datasets` takes them only if the columns are theirs, in their order.
        let file = std::fs::File::open(file).unwrap();
        let reader =
            datafusion::parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(
                file,
            );
        let schema = reader.unwrap().schema().clone();
        let features: Value = serde_json::from_str(&schema.metadata()["huggingface"]).unwrap();
        let features = &features["info"]["features"];
        assert_eq!(
            features["objects"][0]["category"]["names"],
            json!(["kočka", "dog"])
        );
        let named: Vec<&String> = features["objects"][0].as_object().unwrap().keys().collect();
        let lists = batch.column_by_name("objects").unwrap().as_list::<i32>();
        let objects = lists.value(0);
        let objects = objects.as_struct();
        assert_eq!(objects.column_names(), named);

        let photo = batch.column_by_name("image").unwrap().as_struct();
        let bytes = photo
            .column_by_name("bytes")
            .unwrap()
            .as_binary::<i32>()
            .value(0);
        let folder = split.replace('_', "-");
        assert_eq!(
            bytes,
            std::fs::read(dir.path().join(folder).join("a.png")).unwrap()
        );
        let number = |name: &str| {
            objects
                .column_by_name(name)
                .unwrap()
                .as_primitive::<Int64Type>()
                .clone()
        };
        let (ids, categories) = (number("id"), number("category"));
        let boxes = objects.column_by_name("bbox").unwrap().as_list::<i32>();
        let masks = objects.column_by_name("segmentation").unwrap().as_struct();
        let counts = masks.column_by_name("counts").unwrap().as_string::<i32>();
        let sizes = masks.column_by_name("size").unwrap().as_list::<i32>();
        let crowds = objects.column_by_name("iscrowd").unwrap().as_boolean();
        for row in 0..objects.len() {
            let mut same = truth
                .iter()
                .filter(|it| it.external_id == Some(ids.value(row)));
            let is_same = |it: &&GroundTruthRow| {
                if it.rle.is_none() {
                    return masks.is_null(row);
                }
                it.rle
                    .as_ref()
                    .is_some_and(|rle| rle.counts == counts.value(row))
            };
            let own = same
                .find(is_same)
                .unwrap_or_else(|| panic!("{}", ids.value(row)));
            let class = ["kočka", "dog"][categories.value(row) as usize];
            assert_eq!(own.category.as_deref(), Some(class));
            assert_eq!(own.iscrowd, crowds.value(row));
            assert_eq!(
                boxes
                    .value(row)
                    .as_primitive::<Float64Type>()
                    .values()
                    .to_vec(),
                own.bbox
            );
            if own.rle.is_some() {
                assert_eq!(
                    sizes
                        .value(row)
                        .as_primitive::<UInt32Type>()
                        .values()
                        .to_vec(),
                    [11, 13]
                );
            }
            found += 1;
        }
    }
    assert_eq!(found, 10);
}
