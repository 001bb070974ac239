//! Stores for the SQL tests: a small healthy one, and rows that each break one rule of `queries/check`.
//!
//! Masks are small enough to draw, and their counts, areas and boxes were written by pycocotools, not by
//! this program. Of the 3 x 4 images (H x W), with `#` for foreground:
//!
//! ```text
//! mask 0  mask 1  mask 2  cat    cat crowd  void
//! ##..    .##.    ....    ###.   .###       ####
//! ##..    .##.    ....    ###.   .###       ....
//! ##..    .##.    ...#    ###.   .###       ....
//! ```

use std::sync::Arc;

use arrow::array::{
    ArrayRef, FixedSizeListBuilder, Float16Builder, Float32Array, Float64Array, Float64Builder,
    Int8Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type};
use grainstore::ids::{EmbedderId, ExtractorId, Id, ImageId, kind};
use grainstore::schema::{StoreTable, Table, VectorTable};
use grainstore::store::rows::{
    ClassRow, EvaluationRow, ExtractionRow, FailureRow, GroundTruthRow, HeadRow, ImageRow,
    LabelRow, PolicyRow, PredictionRow, PromptRow, RleRow, Row, VectorRow, vectors_to_batch,
};
use grainstore::store::{Changes, Store};

use crate::support::{image, instant, new_store};

/// An id that people can read: `n` in decimal, filled up with zeros.
pub fn id<K>(n: u32) -> Id<K> {
    Id::try_from(format!("{n:032}")).unwrap()
}

/// An image row of a given size, healthy in all else.
pub fn photo(n: u32, file_name: &str, height: i32, width: i32) -> ImageRow {
    ImageRow {
        image_id: id(n),
        file_name: file_name.to_owned(),
        height,
        width,
        dataset: "tiny".to_owned(),
        ..image(n)
    }
}

pub fn rle(height: i32, width: i32, counts: &str) -> RleRow {
    RleRow {
        height,
        width,
        counts: counts.to_owned(),
    }
}

pub fn tag(image: u32, dataset: &str, label: &str) -> LabelRow {
    LabelRow {
        image_id: id(image),
        dataset: dataset.to_owned(),
        label: label.to_owned(),
        origin: "csv".to_owned(),
        ingested_at: instant(0),
    }
}

pub fn class(class_set: &str, version: i32, class_index: i32, class: &str) -> ClassRow {
    ClassRow {
        class_set: class_set.to_owned(),
        version,
        class_index,
        class: class.to_owned(),
        supercategory: None,
        external_id: None,
        labels: vec![class.to_owned(), format!("{class}s")],
        search: None,
        origin: "file".to_owned(),
        created_at: instant(0),
    }
}

pub fn failure(n: u32, dataset: Option<&str>, item: &str) -> FailureRow {
    FailureRow {
        failure_id: id(n),
        stage: "ingest".to_owned(),
        dataset: dataset.map(str::to_owned),
        item: item.to_owned(),
        image_id: None,
        reason: "the file is empty".to_owned(),
        failed_at: instant(i64::from(n)),
    }
}

/// An annotation of the 3 x 4 cat: the left three columns, with a polygon's area of 8.5 pixels.
pub fn annotation(n: u32, image: u32) -> GroundTruthRow {
    GroundTruthRow {
        ground_truth_id: id(n),
        image_id: id(image),
        dataset: "tiny".to_owned(),
        external_id: Some(i64::from(n)),
        category: Some("cat".to_owned()),
        category_id: Some(17),
        rle: Some(rle(3, 4, "093")),
        bbox: [0.0, 0.0, 3.0, 3.0],
        area: 8.5,
        iscrowd: false,
        is_ignored: false,
        segmentation: "polygon".to_owned(),
        attributes: None,
        ingested_at: instant(0),
    }
}

/// What the tests say of a row of `masks`.
pub struct MaskRow {
    pub extractor: u32,
    pub image: u32,
    pub index: i32,
    pub rle: RleRow,
    pub bbox: [f64; 4],
    pub area: i64,
}

pub fn mask(image: u32, index: i32, rle: RleRow, bbox: [f64; 4], area: i64) -> MaskRow {
    MaskRow {
        extractor: 1,
        image,
        index,
        rle,
        bbox,
        area,
    }
}

/// Rows of `masks`; all numbers of a mask's embedding are its index.
pub fn masks_batch(rows: &[MaskRow]) -> RecordBatch {
    let lists = |numbers: &dyn Fn(&MaskRow) -> Vec<f64>, length: i32| -> ArrayRef {
        let mut lists = FixedSizeListBuilder::new(Float64Builder::new(), length);
        for row in rows {
            lists.values().append_slice(&numbers(row));
            lists.append(true);
        }
        Arc::new(lists.finish())
    };
    let mut embeddings = FixedSizeListBuilder::new(Float16Builder::new(), 1024);
    for row in rows {
        let number = <Float16Type as ArrowPrimitiveType>::Native::from_f32(row.index as f32);
        embeddings.values().append_slice(&[number; 1024]);
        embeddings.append(true);
    }
    let texts = |ids: &dyn Fn(&MaskRow) -> u32| -> ArrayRef {
        let ids = rows
            .iter()
            .map(|row| id::<kind::Image>(ids(row)).to_string());
        Arc::new(StringArray::from_iter_values(ids))
    };
    let qualities: ArrayRef = Arc::new(Float32Array::from(vec![0.75; rows.len()]));
    let columns: Vec<ArrayRef> = vec![
        texts(&|row| row.extractor),
        texts(&|row| row.image),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.index))),
        Arc::new(rle_column(rows)),
        lists(&|row| row.bbox.to_vec(), 4),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.area))),
        qualities.clone(),
        qualities,
        lists(&|_| vec![0.5, 0.5], 2),
        lists(&|_| vec![0.0, 0.0, 4.0, 3.0], 4),
        Arc::new(Int8Array::from(vec![1; rows.len()])),
        Arc::new(embeddings.finish()),
        Arc::new(Float32Array::from(vec![None; rows.len()])),
    ];
    RecordBatch::try_new(Table::Masks.schema(), columns).unwrap()
}

fn rle_column(rows: &[MaskRow]) -> StructArray {
    let schema = Table::Masks.schema();
    let DataType::Struct(parts) = schema.field_with_name("rle").unwrap().data_type().clone() else {
        unreachable!("schemas/3_masks.sql says so")
    };
    let sides = |side: &dyn Fn(&RleRow) -> i32| -> ArrayRef {
        Arc::new(Int32Array::from_iter_values(
            rows.iter().map(|r| side(&r.rle)),
        ))
    };
    let counts = rows.iter().map(|row| &row.rle.counts);
    let columns = vec![
        sides(&|rle| rle.height),
        sides(&|rle| rle.width),
        Arc::new(StringArray::from_iter_values(counts)) as ArrayRef,
    ];
    StructArray::new(parts, columns, None)
}

/// Rows of `extractors` with the given ids.
pub fn extractors_batch(ids: &[u32]) -> RecordBatch {
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; ids.len()])) };
    let keys = ids.iter().map(|&n| id::<kind::Image>(n).to_string());
    let created = TimestampMicrosecondArray::from(vec![0; ids.len()]).with_timezone("UTC");
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from_iter_values(keys)),
        text("sam"),
        text("vit_b"),
        text("sam_vit_b_01ec64.pth"),
        text(&"ec".repeat(32)),
        Arc::new(Int32Array::from(vec![1024; ids.len()])),
        text(&"5a".repeat(16)),
        text(r#"{"points_per_side":32}"#),
        text("0.1.0"),
        Arc::new(created),
    ];
    RecordBatch::try_new(Table::Extractors.schema(), columns).unwrap()
}

/// That an extractor is done with an image, and gave so many masks.
pub fn extraction(extractor: u32, image: u32, masks: i32) -> ExtractionRow {
    ExtractionRow {
        extractor_id: id(extractor),
        image_id: id(image),
        masks,
        seconds: 0.5,
        extracted_at: instant(0),
    }
}

fn add<R: Row>(changes: &mut Changes, rows: &[R]) {
    changes.append(R::TABLE, R::to_batch(rows).unwrap());
}

/// The healthy rows that `tests/slt` asks about.
pub fn healthy() -> Changes {
    let mut changes = Changes::new();
    let mut web = photo(3, "c.png", 2, 2);
    (web.source, web.split, web.dataset) =
        ("web".to_owned(), Some("train".into()), "web".to_owned());
    let mut bare = photo(4, "d.png", 5, 5);
    (bare.source, bare.split, bare.dataset) = ("synthetic".to_owned(), None, "web".to_owned());
    let photos = [photo(1, "a.jpg", 3, 4), photo(2, "b.jpg", 3, 4), web, bare];
    add(&mut changes, &photos);

    changes.append(Table::Extractors, extractors_batch(&[1, 2]));
    let mut other = mask(1, 0, rle(3, 4, "0<"), [0.0, 0.0, 4.0, 3.0], 12);
    other.extractor = 2;
    let masks = [
        mask(1, 0, rle(3, 4, "066"), [0.0, 0.0, 2.0, 3.0], 6),
        mask(1, 1, rle(3, 4, "363"), [1.0, 0.0, 2.0, 3.0], 6),
        mask(1, 2, rle(3, 4, ";1"), [3.0, 2.0, 1.0, 1.0], 1),
        mask(2, 0, rle(3, 4, "<"), [0.0; 4], 0),
        mask(2, 1, rle(3, 4, "0<"), [0.0, 0.0, 4.0, 3.0], 12),
        mask(3, 0, rle(2, 2, "0120"), [0.0, 0.0, 2.0, 2.0], 2),
        other,
    ];
    changes.append(Table::Masks, masks_batch(&masks));

    let extractions = [
        extraction(1, 1, 3),
        extraction(1, 2, 2),
        extraction(1, 3, 1),
        extraction(1, 4, 0),
        extraction(2, 1, 1),
    ];
    add(&mut changes, &extractions);

    let mut crowd = annotation(2, 1);
    (crowd.rle, crowd.bbox, crowd.area) = (Some(rle(3, 4, "39")), [1.0, 0.0, 3.0, 3.0], 9.0);
    (crowd.iscrowd, crowd.segmentation) = (true, "rle".to_owned());
    let mut void = annotation(3, 2);
    (void.rle, void.bbox, void.area) = (Some(rle(3, 4, "012000000")), [0.0, 0.0, 4.0, 1.0], 4.0);
    (void.is_ignored, void.segmentation) = (true, "label_map".to_owned());
    (void.category, void.category_id, void.external_id) = (None, None, None);
    let mut boxed = annotation(4, 2);
    (boxed.rle, boxed.bbox, boxed.area) = (None, [1.0, 1.0, 2.0, 2.0], 4.0);
    (boxed.category, boxed.category_id) = (Some("dog".to_owned()), Some(18));
    boxed.segmentation = "none".to_owned();
    let mut small = annotation(5, 3);
    (small.rle, small.bbox, small.area) = (Some(rle(2, 2, "121")), [0.0, 0.0, 2.0, 2.0], 2.0);
    (small.category, small.dataset) = (Some("dog".to_owned()), "web".to_owned());
    add(&mut changes, &[annotation(1, 1), crowd, void, boxed, small]);

    let labels = [
        tag(1, "tiny", "cat"),
        tag(1, "tiny", "dog"),
        tag(2, "tiny", "dog"),
        tag(3, "web", "dog"),
    ];
    add(&mut changes, &labels);
    let classes = [
        class("pets", 1, 0, "cat"),
        class("pets", 1, 1, "dog"),
        class("pets", 2, 0, "animal"),
    ];
    add(&mut changes, &classes);
    let failures = [
        failure(1, Some("tiny"), "empty.jpg"),
        failure(2, None, "list.csv line 3"),
        failure(3, Some("o'hara'; DROP TABLE images; --"), "odd.jpg"),
    ];
    add(&mut changes, &failures);
    changes
}

/// The rows that break rules, on top of the healthy ones: what each is meant to set off stands beside it.
pub fn broken() -> Changes {
    let mut changes = Changes::new();
    add(&mut changes, &broken_images());
    changes.append(Table::Extractors, extractors_batch(&[2])); // extractors_once
    changes.append(Table::Masks, masks_batch(&broken_masks()));
    // extractions_once; extractions_masks, which finds the broken masks of images 1, 99 and 3 too
    add(&mut changes, &[extraction(1, 4, 0), extraction(1, 5, 2)]);
    changes.append(Table::GroundTruth, broken_ground_truth());
    let labels = [
        tag(1, "tiny", "cat"),  // labels_once
        tag(99, "tiny", "cat"), // labels_without_image
    ];
    add(&mut changes, &labels);
    // class_sets_in_order, once for each of its conditions
    let mut repeated = class("repeated", 1, 2, "b");
    repeated.class = "c".to_owned();
    let classes = [
        class("below_zero", 1, -1, "a"),
        class("below_zero", 1, 1, "b"),
        class("gap", 1, 0, "a"),
        class("gap", 1, 2, "b"),
        class("repeated", 1, 0, "a"),
        class("repeated", 1, 2, "b"),
        repeated,
        class("same_name", 1, 0, "a"),
        class("same_name", 1, 1, "a"),
    ];
    add(&mut changes, &classes);
    add(&mut changes, &[failure(1, Some("tiny"), "empty.jpg")]); // failures_once
    // predictions_once, predictions_without_mask, and of all three predictions_without_head and _without_policy
    add(
        &mut changes,
        &[prediction(0), prediction(0), prediction(77)],
    );
    add(&mut changes, &[head(9), head(9)]); // heads_once
    add(&mut changes, &[metric("miou"), metric("miou")]); // evaluations_once
    add(&mut changes, &[policy(), policy()]); // policies_once
    changes.append(Table::Extractors, half_imported()); // extractors_values
    add(&mut changes, &[prompt(), prompt()]); // prompts_once, prompts_without_mask
    for (table, twice) in broken_others() {
        changes.append(table, twice); // embedders_once, embeddings_once, mask_labels_once, image_features_once
    }
    // vectors_once, vectors_without_mask; and none of the 7 that embeddings tells of: embeddings_vectors
    let sevens = || "7".repeat(32);
    let embedder_id = EmbedderId::try_from(sevens()).unwrap();
    let vector = VectorRow {
        extractor_id: ExtractorId::try_from(sevens()).unwrap(),
        image_id: ImageId::try_from(sevens()).unwrap(),
        mask_index: 7,
        vector: vec![0.0, 1.0],
    };
    let vectors = VectorTable::Masks;
    changes.create_vectors(vectors, &embedder_id, 2).unwrap();
    changes.append(
        StoreTable::Vectors(vectors, embedder_id),
        vectors_to_batch(&[vector.clone(), vector], 2).unwrap(),
    );
    changes
}

fn policy() -> PolicyRow {
    PolicyRow {
        policy_id: id(6),
        policy: "{}".to_owned(),
        created_at: instant(0),
    }
}

/// A click that made no mask.
fn prompt() -> PromptRow {
    PromptRow {
        extractor_id: id(1),
        image_id: id(1),
        mask_index: -1,
        foreground: vec![1.0, 2.0],
        background: Vec::new(),
        bbox: Some([0.0, 0.0, 3.0, 2.0]),
        edited: false,
        source_extractor_id: None,
        source_mask_index: None,
        reviewer: None,
        seconds: None,
        created_at: instant(0),
    }
}

/// An extractor that says it is imported and claims a model.
fn half_imported() -> RecordBatch {
    let batch = extractors_batch(&[4]);
    let (at, _) = batch.schema().column_with_name("kind").unwrap();
    let mut columns = batch.columns().to_vec();
    columns[at] = Arc::new(StringArray::from(vec!["imported masks"]));
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

/// The same row twice in tables that nothing writes yet: zeros, and texts that are '7' (mask 7 of nothing, so
/// mask_labels_without_mask too).
fn broken_others() -> Vec<(Table, RecordBatch)> {
    let tables = [
        Table::Embedders,
        Table::Embeddings,
        Table::MaskLabels,
        Table::ImageFeatures,
    ];
    tables
        .into_iter()
        .map(|table| {
            let columns = table.schema();
            let columns = columns.fields().iter().map(|field| -> ArrayRef {
                match field.data_type() {
                    DataType::Utf8 => Arc::new(StringArray::from(vec!["7".repeat(32); 2])),
                    DataType::Int32 => Arc::new(Int32Array::from(vec![7; 2])),
                    DataType::Float32 => Arc::new(Float32Array::from(vec![0.0; 2])),
                    DataType::Float64 => Arc::new(Float64Array::from(vec![0.0; 2])),
                    DataType::Timestamp(..) => {
                        Arc::new(TimestampMicrosecondArray::from(vec![0; 2]).with_timezone("UTC"))
                    }
                    DataType::List(_) => {
                        let mut lists = ListBuilder::new(Float16Builder::new());
                        lists.append(true);
                        lists.append(true);
                        Arc::new(lists.finish())
                    }
                    other => unreachable!("{other}"),
                }
            });
            let batch = RecordBatch::try_new(table.schema(), columns.collect()).unwrap();
            (table, batch)
        })
        .collect()
}

/// A head of the class set 'pets' with one prediction, on top of the healthy rows.
pub fn predicted() -> Changes {
    let mut changes = Changes::new();
    let head = HeadRow {
        class_set: "pets".to_owned(),
        ..head(7)
    };
    add(&mut changes, &[head]);
    add(&mut changes, &[prediction(0)]);
    let policy = PolicyRow {
        policy_id: id(8),
        ..policy()
    };
    add(&mut changes, &[policy]);
    changes
}

/// A head, of which nothing matters but the id.
fn head(n: u32) -> HeadRow {
    HeadRow {
        head_id: id(n),
        head: format!("head {n}"),
        extractor_id: id(1),
        class_set: "tiny".to_owned(),
        class_set_version: 1,
        spec: "{}".to_owned(),
        inputs: "[]".to_owned(),
        normalise: "[]".to_owned(),
        weights: None,
        query: String::new(),
        store_version: Some(1),
        seed: Some(0),
        parent_head_id: None,
        teacher_head_id: None,
        curves: "[]".to_owned(),
        images_read: 0,
        rows_read: 0,
        seconds: 0.0,
        device: Some("cpu".to_owned()),
        grainstore_version: "0".to_owned(),
        created_at: instant(0),
    }
}

/// A figure of one evaluation.
fn metric(metric: &str) -> EvaluationRow {
    EvaluationRow {
        evaluation_id: id(3),
        query: "eval/miou".to_owned(),
        head_id: id(9),
        policy_id: id(8),
        dataset: "tiny".to_owned(),
        slice: None,
        class: None,
        metric: metric.to_owned(),
        value: Some(0.5),
        ci_low: None,
        ci_high: None,
        request: "{}".to_owned(),
        store_version: 1,
        created_at: instant(0),
        query_sha256: None,
    }
}

/// What head 7 says of a mask of image 1.
fn prediction(mask_index: i32) -> PredictionRow {
    PredictionRow {
        head_id: id(7),
        policy_id: id(8),
        image_id: id(1),
        extractor_id: id(1),
        mask_index,
        class_index: 0,
        class: "cat".to_owned(),
        score: 0.5,
        entropy: Some(0.5),
        kept: true,
        dropped: None,
        suppressed_by: None,
        created_at: instant(0),
    }
}

/// Image 4 again (`images_once`), then one image for each condition of `images_values`.
fn broken_images() -> Vec<ImageRow> {
    let mut images = vec![
        photo(4, "d.png", 5, 5),
        photo(10, "no width", 5, 0),
        photo(11, "no height", 0, 5),
        photo(12, "2^32 pixels", 65536, 65536),
    ];
    for (n, orientation) in [(13, 0), (14, 9)] {
        let mut turned = photo(n, "orientation", 5, 5);
        turned.orientation = orientation;
        images.push(turned);
    }
    let (mut source, mut empty) = (photo(15, "source", 5, 5), photo(16, "empty", 5, 5));
    source.source = "elsewhere".to_owned();
    empty.file_bytes = 0;
    images.extend([source, empty]);
    images
}

fn broken_masks() -> Vec<MaskRow> {
    let mut unknown = mask(3, 0, rle(2, 2, "0120"), [0.0, 0.0, 2.0, 2.0], 2);
    unknown.extractor = 3;
    vec![
        unknown,                                                // masks_without_extractor
        mask(1, 0, rle(3, 4, "066"), [0.0, 0.0, 2.0, 3.0], 6),  // masks_once
        mask(99, 0, rle(3, 4, "066"), [0.0, 0.0, 2.0, 3.0], 6), // masks_without_image
        // masks_geometry: height, width, area, box
        mask(1, 10, rle(2, 4, "08"), [0.0, 0.0, 4.0, 2.0], 8),
        mask(1, 11, rle(3, 3, "09"), [0.0, 0.0, 3.0, 3.0], 9),
        mask(1, 12, rle(3, 4, "066"), [0.0, 0.0, 2.0, 3.0], 7),
        mask(1, 13, rle(3, 4, "066"), [0.0, 0.0, 3.0, 3.0], 6),
    ]
}

fn broken_ground_truth() -> RecordBatch {
    let mut rows = vec![annotation(1, 1), annotation(10, 99)]; // ground_truth_once, _without_image
    // ground_truth_geometry: height, width, area, box width, box height, and a mask without counts
    rows.extend((11..=16).map(|n| annotation(n, 1)));
    rows[2].rle = Some(rle(2, 4, "08"));
    rows[3].rle = Some(rle(3, 3, "09"));
    rows[4].area = -1.0;
    rows[5].bbox[2] = -1.0;
    rows[6].bbox[3] = -1.0;
    let batch = GroundTruthRow::to_batch(&rows).unwrap();
    let (position, _) = batch.schema().column_with_name("rle").unwrap();
    let masks = batch
        .column(position)
        .as_any()
        .downcast_ref::<StructArray>();
    let (parts, mut columns, nulls) = masks.unwrap().clone().into_parts();
    let last = rows.len() - 1;
    let counts = rows.iter().enumerate().map(|(row, annotation)| {
        let mask = annotation.rle.as_ref().filter(|_| row != last);
        mask.map(|mask| mask.counts.clone())
    });
    columns[2] = Arc::new(counts.collect::<StringArray>());
    let mut all = batch.columns().to_vec();
    all[position] = Arc::new(StructArray::new(parts, columns, nulls));
    RecordBatch::try_new(batch.schema(), all).unwrap()
}

/// A store with these rows, each set in a commit of its own.
pub async fn store_with(changes: &[fn() -> Changes]) -> (tempfile::TempDir, Store) {
    let (dir, store) = new_store().await;
    for changes in changes {
        let plan = async |_| Ok(changes());
        store.commit("test", plan).await.unwrap();
    }
    (dir, store)
}
