//! A store of made-up embeddings whose classes can be told apart, and trainings on it.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use grainstore::classes::{Class, ClassSet, add_class_set};
use grainstore::geometry::{Rle, Size};
use grainstore::head::{
    HeadWeights, TrainOptions, TrainRequest, TrainSummary, TrainingMasks, load_head,
    register_predict, train,
};
use grainstore::ids::{EmbeddingSpaceId, ExtractorId};
use grainstore::progress::NoProgress;
use grainstore::review::MaskKey;
use grainstore::schema::{EmbeddingType, Table};
use grainstore::sql::Sql;
use grainstore::store::rows::{
    ExtractorKind, ExtractorRow, ImageRow, LabelRow, MaskRow, Row, masks_to_batch,
};
use grainstore::store::{Changes, Store};

use crate::support::{image, instant, label, new_store, store_in_directory};

/// A store with one extractor; masks are added with [`add_images`].
pub struct Made {
    /// Its store is `store` in this directory, unless that is in a bucket.
    pub dir: tempfile::TempDir,
    pub store: Store,
    pub extractor: ExtractorId,
}

/// An extractor of Segment Anything whose masks have made-up embeddings.
pub fn extractor_row(extractor: &ExtractorId) -> ExtractorRow {
    ExtractorRow {
        extractor_id: extractor.clone(),
        kind: ExtractorKind::Sam,
        model_type: Some("custom".to_owned()),
        checkpoint: "made.safetensors".to_owned(),
        checkpoint_sha256: "0".repeat(64),
        embedding_dim: Some(1024),
        embedding_space: Some(EmbeddingSpaceId::of_bytes(b"space")),
        options: "{}".to_owned(),
        grainstore_version: "0".to_owned(),
        created_at: instant(0),
    }
}

pub async fn made() -> Made {
    made_of(new_store().await).await
}

/// Like [`made`], for tests that look at the store's files.
pub async fn made_in_directory() -> Made {
    made_of(store_in_directory().await).await
}

async fn made_of((dir, store): (tempfile::TempDir, Store)) -> Made {
    let extractor = ExtractorId::of_bytes(b"extractor");
    let row = extractor_row(&extractor);
    crate::support::append(&store, &[row]).await;
    Made {
        dir,
        store,
        extractor,
    }
}

/// An image `n` with labels and so many masks, of which the first three per label show it.
pub struct Shown<'a> {
    pub n: u32,
    pub labels: &'a [&'a str],
    pub masks: usize,
}

/// A mask of class `label` has ones in a stretch of its embedding that the class alone has.
fn embedding(label: Option<&str>, random: &mut fastrand::Rng) -> Vec<f32> {
    let stretch = label.map(|label| {
        let place = ["cat", "dog", "cow", "owl"]
            .iter()
            .position(|l| *l == label);
        place.unwrap_or(4) * 100
    });
    (0..1024)
        .map(|at| {
            let signal = stretch.is_some_and(|from| (from..from + 100).contains(&at));
            random.f32() * 0.6 - 0.3 + f32::from(u8::from(signal))
        })
        .collect()
}

impl Made {
    /// The key of a mask of image `n`.
    pub fn mask(&self, n: u32, mask_index: i32) -> MaskKey {
        MaskKey {
            extractor_id: self.extractor.clone(),
            image_id: image(n).image_id,
            mask_index,
        }
    }

    pub async fn add_images(&self, shown: &[Shown<'_>]) {
        self.add_images_with(shown, |_| ()).await;
    }

    /// Like [`Self::add_images`], but each mask is changed before it is stored.
    pub async fn add_images_with(&self, shown: &[Shown<'_>], change: impl Fn(&mut MaskRow)) {
        let mut images: Vec<ImageRow> = Vec::new();
        let mut labels: Vec<LabelRow> = Vec::new();
        let mut masks = Vec::new();
        for it in shown {
            let mut random = fastrand::Rng::with_seed(u64::from(it.n));
            let row = ImageRow {
                source: "web".to_owned(),
                ..image(it.n)
            };
            for mask_index in 0..it.masks {
                let of = it.labels.get(mask_index / 3).copied();
                let size = Size {
                    height: 2,
                    width: 2,
                };
                // Masks of one label are one pixel; those of none are the last.
                let mut pixels = [0; 4];
                pixels[if of.is_some() { mask_index / 3 } else { 3 }] = 1;
                let mut mask = MaskRow {
                    extractor_id: self.extractor.clone(),
                    image_id: row.image_id.clone(),
                    mask_index: i32::try_from(mask_index).unwrap(),
                    rle: Rle::from_bitmap(size, &pixels).unwrap(),
                    bbox: None,
                    predicted_iou: Some(0.9),
                    stability_score: Some(0.9),
                    point: Some([0.0, 0.0]),
                    crop_box: [0.0, 0.0, 2.0, 2.0],
                    mask_output: Some(1),
                    embedding: Some(embedding(of, &mut random)),
                    object_score: None,
                };
                change(&mut mask);
                masks.push(mask);
            }
            labels.extend(it.labels.iter().map(|text| label(it.n, text)));
            images.push(row);
        }
        let masks = masks_to_batch(&masks, EmbeddingType::default()).unwrap();
        let images = ImageRow::to_batch(&images).unwrap();
        let labels = LabelRow::to_batch(&labels).unwrap();
        let (masks, images, labels) = (&masks, &images, &labels);
        self.store
            .commit("test", |_| async move {
                let mut changes = Changes::new();
                changes.append(Table::Images, images.clone());
                changes.append(Table::Labels, labels.clone());
                changes.append(Table::Masks, masks.clone());
                Ok(changes)
            })
            .await
            .unwrap();
    }

    /// `count` images a label, numbered from `first`.
    pub async fn add_classes(&self, labels: &[&str], count: u32, first: u32) {
        let mut shown = Vec::new();
        for n in 0..count * labels.len() as u32 {
            let at = n as usize % labels.len();
            shown.push(Shown {
                n: first + n,
                labels: &labels[at..=at],
                masks: 8 + n as usize % 5,
            });
        }
        self.add_images(&shown).await;
    }

    pub async fn classes(&self, name: &str, classes: &[(&str, &[&str])]) -> ClassSet {
        let class = |(name, labels): &(&str, &[&str])| Class {
            name: (*name).to_owned(),
            supercategory: None,
            external_id: None,
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            search: Vec::new(),
        };
        let set = ClassSet::new(name, classes.iter().map(class).collect()).unwrap();
        add_class_set(&self.store, "test", &set, "file")
            .await
            .unwrap();
        ClassSet::load(&self.store.snapshot().await.unwrap(), name)
            .await
            .unwrap()
    }

    pub async fn request(&self, name: &str, class_set: ClassSet) -> TrainRequest {
        TrainRequest {
            name: name.to_owned(),
            classes: format!("{}@{}", class_set.name, class_set.version),
            masks: TrainingMasks::OfImages {
                chosen: Box::default(),
                extractor: Some(self.extractor.to_string()),
            },
            options: TrainOptions {
                a: 4.0,
                batch_images: 16,
                epochs: Some(8),
                patience: Some(3),
                ..TrainOptions::default()
            },
            ..TrainRequest::default()
        }
    }

    pub async fn train(&self, request: TrainRequest) -> grainstore::Result<TrainSummary> {
        train(&self.store, &request, &NoProgress).await
    }

    pub async fn weights(&self, head: &str) -> HeadWeights {
        let snapshot = self.store.snapshot().await.unwrap();
        load_head(&snapshot, head).await.unwrap().weights
    }

    pub async fn query(&self, sql: &str) -> grainstore::Result<Vec<RecordBatch>> {
        let snapshot = self.store.snapshot().await?;
        let session = Sql::new(&snapshot).await?;
        register_predict(&session, &snapshot, sql).await?;
        session.query(sql).await?.collect().await
    }

    /// Share of the masks that show a label which the head calls by the class of that label.
    pub async fn mask_accuracy(&self, head: &str, label: &str) -> f64 {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE predict('{head}', m.embedding).class = '{label}'), count(*)
             FROM masks m JOIN labels l ON l.image_id = m.image_id
             WHERE l.label = '{label}' AND m.mask_index < 3"
        );
        let rows = self.query(&sql).await.unwrap();
        let count = |column: usize| rows[0].column(column).as_primitive::<Int64Type>().value(0);
        count(0) as f64 / count(1) as f64
    }
}
