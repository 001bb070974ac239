//! Nearest neighbours: exact ones against brute force in f64, those of an index, SQL, and the command.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Float32Type, Int32Type, Int64Type};
use chrono::TimeDelta;
use datafusion::prelude::{col, lit};
use grainstore::Error;
use grainstore::error::VectorError;
use grainstore::geometry::{Rle, Size};
use grainstore::ids::{EmbedderId, EmbeddingSpaceId, ExtractorId, ImageId};
use grainstore::neighbours::{
    NearestRequest, Neighbour, Neighbours, Search, SearchQuery, SearchedTable, SearchedWith,
    TextVectors, nearest, register_neighbours,
};
use grainstore::progress::NoProgress;
use grainstore::schema::{EmbeddingType, StoreTable, Table, VectorTable};
use grainstore::selection::ImageFilter;
use grainstore::sql::Sql;
use grainstore::store::rows::{
    EmbedderRow, ExtractorKind, ExtractorRow, ImageRow, ImageVectorRow, MaskRow, Row, VectorRow,
    image_vectors_to_batch, masks_to_batch, vectors_to_batch,
};
use grainstore::store::{Changes, IndexKind, IndexRequest, Snapshot, Store, StoreOptions};

use crate::support::{CHECKPOINT, append, image, instant, new_place};

/// Numbers per vector; not a multiple of the lanes of the kernel.
const DIM: u32 = 24;

/// A store with masks of one extractor, and an embedder called `e` with vectors of them.
pub(crate) struct Made {
    _dir: tempfile::TempDir,
    pub(crate) store: Store,
    extractor: ExtractorId,
    embedder: EmbedderRow,
    random: fastrand::Rng,
    pub(crate) vectors: Vec<VectorRow>,
}

fn extractor(name: &str, minute: i64, space: &str) -> ExtractorRow {
    ExtractorRow {
        extractor_id: ExtractorId::of_bytes(name.as_bytes()),
        kind: ExtractorKind::Sam,
        model_type: Some("custom".to_owned()),
        checkpoint: format!("{name}.safetensors"),
        checkpoint_sha256: "0".repeat(64),
        embedding_dim: Some(DIM as i32),
        embedding_space: Some(EmbeddingSpaceId::of_bytes(space.as_bytes())),
        options: "{}".to_owned(),
        grainstore_version: "0".to_owned(),
        created_at: instant(minute),
    }
}

fn embedder(name: &str) -> EmbedderRow {
    EmbedderRow {
        embedder_id: EmbedderId::of_bytes(name.as_bytes()),
        embedder: name.to_owned(),
        model_type: "custom".to_owned(),
        checkpoint: format!("{name}.safetensors"),
        checkpoint_sha256: "1".repeat(64),
        dim: DIM as i32,
        options: "{}".to_owned(),
        grainstore_version: "0".to_owned(),
        created_at: instant(0),
    }
}

impl Made {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = new_place(&dir);
        let embedding = EmbeddingType {
            dim: DIM,
            ..EmbeddingType::default()
        };
        let options = StoreOptions { embedding };
        let store = Store::open_or_create(&place, options);
        let store = store.await.unwrap();
        let extractor = extractor("first", 0, "space");
        append(&store, std::slice::from_ref(&extractor)).await;
        let row = embedder("e");
        let made = EmbedderRow::to_batch(std::slice::from_ref(&row)).unwrap();
        let (made, embedder_id) = (&made, &row.embedder_id);
        store
            .commit("test", |_| async move {
                let mut changes = Changes::new();
                changes.create_vectors(VectorTable::Masks, embedder_id, DIM)?;
                changes.append(Table::Embedders, made.clone());
                Ok(changes)
            })
            .await
            .unwrap();
        Self {
            _dir: dir,
            store,
            extractor: extractor.extractor_id,
            embedder: row,
            random: fastrand::Rng::with_seed(11),
            vectors: Vec::new(),
        }
    }

    pub(crate) fn table(&self) -> StoreTable {
        StoreTable::Vectors(VectorTable::Masks, self.embedder.embedder_id.clone())
    }

    /// Numbers that 16 bits hold exactly.
    fn vector(&mut self) -> Vec<f32> {
        let numbers = (0..DIM).map(|_| f32::from(self.random.i8(..)) / 64.0);
        numbers.collect()
    }

    /// Commits images, each with so many masks whose vectors are their embeddings, too.
    pub(crate) async fn add(&mut self, images: std::ops::Range<u32>, masks: i32) {
        let mut rows = Vec::new();
        for n in images.clone() {
            for mask_index in 0..masks {
                let vector = self.vector();
                rows.push((n, mask_index, vector));
            }
        }
        let images: Vec<ImageRow> = images.map(image).collect();
        self.commit(&images, rows).await;
    }

    async fn commit(&mut self, images: &[ImageRow], rows: Vec<(u32, i32, Vec<f32>)>) {
        let size = Size {
            height: 2,
            width: 2,
        };
        let vectors = rows.iter().map(|(n, mask_index, vector)| VectorRow {
            extractor_id: self.extractor.clone(),
            image_id: image(*n).image_id,
            mask_index: *mask_index,
            vector: vector.clone(),
        });
        let vectors: Vec<VectorRow> = vectors.collect();
        let masks = vectors.iter().map(|row| MaskRow {
            extractor_id: row.extractor_id.clone(),
            image_id: row.image_id.clone(),
            mask_index: row.mask_index,
            rle: Rle::from_bitmap(size, &[1, 0, 0, 0]).unwrap(),
            bbox: None,
            predicted_iou: None,
            stability_score: None,
            point: None,
            crop_box: [0.0, 0.0, 2.0, 2.0],
            mask_output: None,
            embedding: Some(row.vector.clone()),
            object_score: None,
        });
        let embedding = self.store.options().embedding;
        let masks = masks_to_batch(&masks.collect::<Vec<_>>(), embedding).unwrap();
        let batch = vectors_to_batch(&vectors, DIM).unwrap();
        let images = (!images.is_empty()).then(|| ImageRow::to_batch(images).unwrap());
        let (masks, batch, images, table) = (&masks, &batch, &images, &self.table());
        self.store
            .commit("test", |_| async move {
                let mut changes = Changes::new();
                if let Some(images) = images {
                    changes.append(Table::Images, images.clone());
                }
                changes.append(Table::Masks, masks.clone());
                changes.append(table.clone(), batch.clone());
                Ok(changes)
            })
            .await
            .unwrap();
        self.vectors.extend(vectors);
    }

    pub(crate) async fn snapshot(&self) -> Snapshot {
        self.store.snapshot().await.unwrap()
    }

    pub(crate) async fn nearest(&self, request: &NearestRequest) -> Neighbours {
        nearest(&self.snapshot().await, request).await.unwrap()
    }

    async fn fails(&self, request: &NearestRequest) -> String {
        let failed = nearest(&self.snapshot().await, request).await;
        failed.unwrap_err().to_string()
    }

    /// A session with the functions, of which texts have the given vectors.
    async fn sql(&self, texts: Option<Arc<dyn TextVectors>>) -> Sql {
        let snapshot = self.snapshot().await;
        let sql = Sql::new(&snapshot).await.unwrap();
        register_neighbours(&sql, &snapshot, texts);
        sql
    }

    /// Image, mask and similarity of all vectors for which `wanted` holds, in f64, the most similar first.
    pub(crate) fn brute_force(
        &self,
        numbers: &[f32],
        wanted: impl Fn(&VectorRow) -> bool,
    ) -> Vec<(ImageId, i32, f64)> {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            let pairs = a.iter().zip(b);
            pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
        };
        let rows = self.vectors.iter().filter(|row| wanted(row));
        let mut found: Vec<(ImageId, i32, f64)> = rows
            .map(|row| {
                let lengths = dot(numbers, numbers) * dot(&row.vector, &row.vector);
                let similarity = dot(numbers, &row.vector) / lengths.sqrt();
                (row.image_id.clone(), row.mask_index, similarity)
            })
            .filter(|(_, _, similarity)| similarity.is_finite())
            .collect();
        found.sort_by(|a, b| b.2.total_cmp(&a.2));
        found
    }
}

pub(crate) fn vectors_of_e() -> SearchedTable {
    SearchedTable::Vectors("e".to_owned())
}

pub(crate) fn of_mask(table: SearchedTable, n: u32, mask_index: i32) -> NearestRequest {
    let query = SearchQuery::Mask {
        image: image(n).image_id,
        extractor: None,
        mask_index,
    };
    NearestRequest::new(table, query)
}

#[track_caller]
pub(crate) fn assert_same(found: &[Neighbour], expected: &[(ImageId, i32, f64)]) {
    assert_eq!(found.len(), expected.len());
    for (found, (image_id, mask_index, similarity)) in found.iter().zip(expected) {
        assert_eq!(
            (&found.image_id, found.mask_index),
            (image_id, Some(*mask_index))
        );
        let difference = f64::from(found.similarity) - similarity;
        assert!(difference.abs() < 1e-5, "{found:?} {similarity}");
        assert!((found.similarity + found.distance - 1.0).abs() < 1e-6);
    }
}

/// A search by the index that looks at everything.
pub(crate) fn thorough(mut request: NearestRequest) -> NearestRequest {
    request.count = 10;
    request.search = Search::Index {
        nprobes: 100,
        refine: 20,
    };
    request
}

pub(crate) async fn healthy(store: &Store) {
    let snapshot = store.snapshot().await.unwrap();
    let found = snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!((found.damaged, found.without_checksum), (vec![], 0));
}

#[tokio::test]
async fn exact_neighbours_are_those_of_brute_force() {
    let mut made = Made::new().await;
    made.add(0..20, 10).await;
    made.add(20..27, 30).await; // another fragment
    made.commit(&[], vec![(3, 99, vec![0.0; DIM as usize])])
        .await;
    let wanted = made.vectors[37].clone();
    let all = made.brute_force(&wanted.vector, |_| true);
    assert_eq!(all.len(), 410, "not the vector of zeros");
    for table in [SearchedTable::Masks, vectors_of_e()] {
        let mut request = of_mask(table.clone(), 3, 7);
        let found = made.nearest(&request).await;
        assert_same(&found.rows, &all[..20]);
        assert_eq!(found.searched, SearchedWith::Exact { vectors: 411 });
        let first = &found.rows[0];
        assert_eq!(first.extractor_id.as_ref(), Some(&made.extractor));
        assert!((first.similarity - 1.0).abs() < 1e-6, "itself");

        request.count = 1000;
        assert_same(&made.nearest(&request).await.rows, &all);

        // A vector of any length is the same as one of length 1.
        let longer = wanted.vector.iter().map(|x| x * 8.0).collect();
        let request = NearestRequest::new(table, SearchQuery::Vector(longer));
        assert_same(&made.nearest(&request).await.rows, &all[..20]);
    }
}

#[tokio::test]
async fn filters_apply_before_the_search_whether_they_leave_many_or_few() {
    let mut made = Made::new().await;
    made.add(0..40, 10).await;
    let numbers = made.vectors[12].vector.clone();
    let few = [image(5), image(30)].map(|row| row.image_id);
    for table in [SearchedTable::Masks, vectors_of_e()] {
        let mut request = of_mask(table, 1, 2);
        request.filter = Some(col("mask_index").lt(lit(7)));
        let expected = made.brute_force(&numbers, |row| row.mask_index < 7);
        assert_same(&made.nearest(&request).await.rows, &expected[..20]);

        request.images = ImageFilter {
            ids: Some(few.to_vec()),
            ..ImageFilter::default()
        };
        let expected = made.brute_force(&numbers, |row| {
            row.mask_index < 7 && few.contains(&row.image_id)
        });
        assert_eq!(expected.len(), 14);
        assert_same(&made.nearest(&request).await.rows, &expected);

        request.images = ImageFilter::matching("file_name = 'none.jpg'");
        assert!(made.nearest(&request).await.rows.is_empty());
    }
}

#[tokio::test]
async fn a_mask_is_the_newest_extractors_and_compared_within_its_space() {
    let mut made = Made::new().await;
    made.add(0..3, 5).await;
    let first = made.extractor.clone();
    for (name, minute, space) in [("alike", 1, "space"), ("other", 2, "other space")] {
        let row = extractor(name, minute, space);
        append(&made.store, std::slice::from_ref(&row)).await;
        made.extractor = row.extractor_id;
        let rows = (0..3).map(|n| (n, 0, made.vector())).collect();
        made.commit(&[], rows).await;
    }
    let [alike, other] = ["alike", "other"].map(|name| ExtractorId::of_bytes(name.as_bytes()));
    let extractors = |found: &Neighbours| {
        let ids = found
            .rows
            .iter()
            .map(|row| row.extractor_id.clone().unwrap());
        let mut ids: Vec<ExtractorId> = ids.collect();
        assert_eq!(found.rows[0].image_id, image(1).image_id, "itself");
        let own = ids[0].clone();
        ids.sort();
        ids.dedup();
        (own, ids.len(), found.rows.len())
    };
    let mut request = of_mask(SearchedTable::Masks, 1, 0);
    request.count = 100;
    // Newest first; no other extractor has its space.
    let found = made.nearest(&request).await;
    assert_eq!(extractors(&found), (other.clone(), 1, 3));
    if let SearchQuery::Mask { extractor, .. } = &mut request.query {
        *extractor = Some(first.clone());
    }
    assert_eq!(extractors(&made.nearest(&request).await), (first, 2, 18));

    // An embedder has one space, whoever made the masks.
    let mut request = of_mask(vectors_of_e(), 1, 0);
    request.count = 100;
    assert_eq!(extractors(&made.nearest(&request).await), (other, 3, 21));
    if let SearchQuery::Mask { extractor, .. } = &mut request.query {
        *extractor = Some(alike.clone());
    }
    assert_eq!(extractors(&made.nearest(&request).await), (alike, 3, 21));
}

#[tokio::test]
async fn vectors_of_images_are_found_by_image() {
    let mut made = Made::new().await;
    made.add(0..3, 1).await;
    let row = embedder("photos");
    let vectors: Vec<ImageVectorRow> = (0..3)
        .map(|n| ImageVectorRow {
            image_id: image(n).image_id,
            vector: (0..DIM).map(|at| (at * (n + 1) % 7) as f32).collect(),
        })
        .collect();
    let batch = image_vectors_to_batch(&vectors, DIM).unwrap();
    let rows = EmbedderRow::to_batch(std::slice::from_ref(&row)).unwrap();
    let table = StoreTable::Vectors(VectorTable::Images, row.embedder_id.clone());
    let (batch, rows, table, id) = (&batch, &rows, &table, &row.embedder_id);
    made.store
        .commit("test", |_| async move {
            let mut changes = Changes::new();
            changes.create_vectors(VectorTable::Images, id, DIM)?;
            changes.append(Table::Embedders, rows.clone());
            changes.append(table.clone(), batch.clone());
            Ok(changes)
        })
        .await
        .unwrap();

    let table = SearchedTable::ImageVectors("photos".to_owned());
    let query = SearchQuery::Image {
        image: image(2).image_id,
    };
    let request = NearestRequest::new(table.clone(), query.clone());
    let found = made.nearest(&request).await.rows;
    assert_eq!(found.len(), 3);
    assert_eq!(found[0].image_id, image(2).image_id);
    assert_eq!((&found[0].extractor_id, found[0].mask_index), (&None, None));

    let of_a_mask = made.fails(&of_mask(table, 2, 0)).await;
    assert!(of_a_mask.contains("expected an image"), "{of_a_mask}");
    let of_an_image = made
        .fails(&NearestRequest::new(vectors_of_e(), query))
        .await;
    assert!(of_an_image.contains("expected a mask"), "{of_an_image}");
    let wrong = SearchedTable::Vectors("photos".to_owned());
    let wrong = made.fails(&of_mask(wrong, 2, 0)).await;
    assert!(wrong.contains("'image_vectors.photos'"), "{wrong}");

    let sql = made.sql(None).await;
    let query = "SELECT mask_index FROM nearest('image_vectors.photos', '000002.jpg', NULL, 2)";
    let rows = sql.query(query).await.unwrap().collect().await.unwrap();
    assert_eq!((rows[0].num_rows(), rows[0].column(0).null_count()), (2, 2));
}

#[tokio::test]
async fn what_cannot_be_searched_says_why() {
    let mut made = Made::new().await;
    made.add(0..2, 3).await;
    made.commit(&[], vec![(0, 7, vec![0.0; DIM as usize])])
        .await;
    let vector = |numbers| NearestRequest::new(vectors_of_e(), SearchQuery::Vector(numbers));
    let unknown = SearchedTable::Vectors("dinov2".to_owned());
    let mut none = of_mask(vectors_of_e(), 0, 0);
    none.count = 0;
    let mut index = of_mask(vectors_of_e(), 0, 0);
    index.search = "index".parse().unwrap();
    for (request, part) in [
        (of_mask(unknown, 0, 0), "there is no embedder 'dinov2'"),
        (of_mask(vectors_of_e(), 0, 3), "vectors.e"),
        (of_mask(vectors_of_e(), 9, 0), "vectors.e"),
        (of_mask(vectors_of_e(), 0, 7), "not all zero"),
        (vector(vec![1.0; 3]), "24 numbers"),
        (vector(vec![0.0; DIM as usize]), "not all zero"),
        (vector(vec![f32::NAN; DIM as usize]), "finite"),
        (none, "a number from 1"),
        (index, "vectors.e"),
    ] {
        let message = made.fails(&request).await;
        assert!(message.contains(part), "{part}: {message}");
    }
    let missing = nearest(&made.snapshot().await, &of_mask(SearchedTable::Masks, 0, 3)).await;
    assert!(matches!(
        missing,
        Err(Error::Vectors(VectorError::NoSuchMask {
            mask_index: Some(3),
            ..
        }))
    ));
}

/// Image, mask and similarity of the rows of a query.
fn triples(batches: &[RecordBatch]) -> Vec<(String, i32, f32)> {
    let mut found = Vec::new();
    for batch in batches {
        let images = batch.column(0).as_string::<i32>();
        let masks = batch.column(1).as_primitive::<Int32Type>();
        let similarities = batch.column(2).as_primitive::<Float32Type>();
        found.extend((0..batch.num_rows()).map(|row| {
            (
                images.value(row).to_owned(),
                masks.value(row),
                similarities.value(row),
            )
        }));
    }
    found
}

async fn query(sql: &Sql, text: &str) -> Result<Vec<RecordBatch>, Error> {
    sql.query(text).await?.collect().await
}

#[tokio::test]
async fn sql_finds_the_same_rows() {
    let mut made = Made::new().await;
    made.add(0..10, 8).await;
    let found = made.nearest(&of_mask(vectors_of_e(), 4, 2)).await.rows;
    let expected: Vec<(String, i32, f32)> = found
        .iter()
        .map(|row| {
            let mask_index = row.mask_index.unwrap();
            (row.image_id.to_string(), mask_index, row.similarity)
        })
        .collect();
    let sql = made.sql(None).await;
    let id = image(4).image_id;
    for image in ["000004.jpg", id.as_str(), &id.as_str()[..8]] {
        let text = format!(
            "SELECT image_id, mask_index, similarity FROM nearest('vectors.e', '{image}', 2, 20)"
        );
        let rows = query(&sql, &text).await.unwrap();
        assert_eq!(triples(&rows), expected, "{image}");
    }
    let numbers = made.vectors[4 * 8 + 2].vector.iter();
    let numbers: Vec<String> = numbers.map(|x| format!("{x:?}")).collect();
    let numbers = numbers.join(", ");
    for list in [format!("make_array({numbers})"), format!("[{numbers}]")] {
        let text = format!(
            "SELECT image_id, mask_index, similarity FROM nearest_vector('vectors.e', {list}, 20, 'exact')"
        );
        assert_eq!(triples(&query(&sql, &text).await.unwrap()), expected);
    }

    // A table like any other.
    let joined = "SELECT n.image_id, n.mask_index, n.similarity
        FROM nearest('masks', '000004.jpg', 2, 20) n JOIN images i USING (image_id)
        WHERE n.similarity < 1 AND i.file_name <> '000004.jpg' ORDER BY n.similarity DESC LIMIT 3";
    let others = expected
        .iter()
        .filter(|row| row.0 != id.as_str() && row.2 < 1.0)
        .take(3);
    let rows = query(&sql, joined).await.unwrap();
    assert_eq!(triples(&rows), others.cloned().collect::<Vec<_>>());
    let counted = "SELECT count(*) FROM nearest('masks', '000004.jpg', 2, 30)";
    let counted = query(&sql, counted).await.unwrap();
    let count = counted[0].column(0).as_primitive::<Int64Type>();
    assert_eq!(count.value(0), 30);
}

async fn explained(sql: &Sql, text: &str) -> String {
    let rows = query(sql, &format!("EXPLAIN {text}")).await.unwrap();
    let rows = arrow::util::pretty::pretty_format_batches(&rows).unwrap();
    rows.to_string()
}

#[tokio::test]
async fn sql_tells_how_it_searches_and_what_is_wrong() {
    let mut made = Made::new().await;
    made.add(0..3, 4).await;
    let sql = made.sql(None).await;
    let plan = explained(
        &sql,
        "SELECT * FROM nearest('vectors.e', '000001.jpg', 2, 5)",
    )
    .await;
    assert!(
        plan.contains("NearestExec: table=vectors.e, count=5, exact over 12 vectors"),
        "{plan}"
    );
    for (call, part) in [
        (
            "nearest('vectors.f', '000001.jpg', 2, 5)",
            "no embedder 'f'",
        ),
        (
            "nearest('vectors.e', 'none.jpg', 2, 5)",
            "no image 'none.jpg'",
        ),
        ("nearest('vectors.e', '000001.jpg', 77, 5)", "vectors.e"),
        (
            "nearest('vectors.e', '000001.jpg', 2)",
            "'IMAGE', MASK, COUNT",
        ),
        ("nearest('vectors', '000001.jpg', 2, 5)", "'vectors.NAME'"),
        ("nearest('masks', '000001.jpg', 2, 5, 'fast')", "nprobes=N"),
        ("nearest('masks', '000001.jpg', 2, 5, 'index')", "masks"),
        ("nearest('masks', file_name, 2, 5)", "of literals"),
        ("nearest_vector('masks', make_array(1.0), 5)", "24 numbers"),
        ("nearest_vector('masks', 'text', 5)", "make_array"),
        ("nearest_text('e', 'a rusty bolt', 5)", "checkpoint"),
        ("nearest_text('f', 'a rusty bolt', 5)", "no embedder 'f'"),
    ] {
        let failed = query(&sql, &format!("SELECT * FROM {call}")).await;
        let message = failed.unwrap_err().to_string();
        assert!(message.contains(part), "{call}: {message}");
    }
}

/// Texts that are numbers: their vector has a one at that place.
#[derive(Debug)]
struct Places;

impl TextVectors for Places {
    fn vector(&self, embedder: &EmbedderRow, text: &str) -> grainstore::Result<Vec<f32>> {
        let place: u32 = text.parse().map_err(|_| Error::InvalidOption {
            what: "text",
            value: text.to_owned(),
            expected: "a number".to_owned(),
        })?;
        let dim = embedder.dim();
        Ok((0..dim)
            .map(|at| f32::from(u8::from(at == place)))
            .collect())
    }
}

#[tokio::test]
async fn texts_are_searched_by_their_vectors() {
    let mut made = Made::new().await;
    made.add(0..3, 4).await;
    let vector = Places.vector(&made.embedder, "5").unwrap();
    let expected = made.brute_force(&vector, |_| true);
    let sql = made.sql(Some(Arc::new(Places))).await;
    for name in ["e", "vectors.e"] {
        let text =
            format!("SELECT image_id, mask_index, similarity FROM nearest_text('{name}', '5', 4)");
        let found = triples(&query(&sql, &text).await.unwrap());
        assert_eq!(found.len(), 4);
        for (found, (image_id, mask_index, similarity)) in found.iter().zip(&expected) {
            assert_eq!((&found.0[..], found.1), (image_id.as_str(), *mask_index));
            assert!((f64::from(found.2) - similarity).abs() < 1e-5);
        }
    }
    let failed = query(&sql, "SELECT * FROM nearest_text('e', 'a rusty bolt', 4)").await;
    assert!(failed.unwrap_err().to_string().contains("a number"));
}

mod index {
    use super::*;

    #[tokio::test]
    async fn an_index_is_made_used_updated_and_dropped() {
        let mut made = Made::new().await;
        made.add(0..30, 20).await;
        let before = made.snapshot().await;
        let numbers = made.vectors[25].vector.clone();
        let exact = made.brute_force(&numbers, |_| true);
        for (kind, name) in [
            (IndexKind::IvfPq, "IVF_PQ"),
            (IndexKind::IvfSq, "IVF_SQ"),
            (IndexKind::IvfFlat, "IVF_FLAT"),
        ] {
            let request = IndexRequest {
                kind,
                partitions: Some(4),
                ..IndexRequest::new(made.table())
            };
            // The second takes the place of the first.
            let stats = made.store.create_index(&request).await.unwrap();
            assert_eq!(stats.kind, name);
            assert_eq!((stats.rows, stats.unindexed_rows), (600, 0));
            assert_eq!(made.snapshot().await.indexes().await.unwrap(), [stats]);
            let found = made.nearest(&thorough(of_mask(vectors_of_e(), 1, 5))).await;
            let expected = SearchedWith::Index {
                index: "vector_idx".to_owned(),
                nprobes: 100,
                refine: 20,
                unindexed_rows: 0,
            };
            assert_eq!(found.searched, expected);
            // With 200 candidates of 600, quantisation loses few.
            let is_found = |row: &&(ImageId, i32, f64)| {
                found
                    .rows
                    .iter()
                    .any(|it| (&it.image_id, it.mask_index) == (&row.0, Some(row.1)))
            };
            let recall = exact[..10].iter().filter(is_found).count();
            assert!(recall >= 8, "{name}: {recall} of 10");
            assert_eq!(found.rows[0].image_id, image(1).image_id, "itself");
            assert!((f64::from(found.rows[0].similarity) - 1.0).abs() < 1e-6);
            healthy(&made.store).await;
        }
        let log = made.store.log().await.unwrap();
        assert_eq!(log.last().unwrap().operation, "create index");
        assert!(before.indexes().await.unwrap().is_empty());

        // By default, a search uses it, filters included, and 'exact' does not.
        let mut request = of_mask(vectors_of_e(), 1, 5);
        let found = made.nearest(&request).await;
        assert!(matches!(found.searched, SearchedWith::Index { .. }));
        request.filter = Some(col("mask_index").lt(lit(3)));
        let found = made.nearest(&thorough(request.clone())).await.rows;
        assert!(found.iter().all(|row| row.mask_index.unwrap() < 3) && found.len() == 10);
        request.filter = None;
        request.search = Search::Exact;
        assert_same(&made.nearest(&request).await.rows, &exact[..20]);

        // Rows that come later are found at once.
        made.commit(&[], vec![(29, 500, numbers.clone())]).await;
        let request = thorough(of_mask(vectors_of_e(), 1, 5));
        let found = made.nearest(&request).await;
        assert!(matches!(
            found.searched,
            SearchedWith::Index {
                unindexed_rows: 1,
                ..
            }
        ));
        let latest = |found: &Neighbours| {
            let mut first = found.rows.iter().take(2);
            first.any(|row| row.mask_index == Some(500))
        };
        assert!(latest(&found), "{found:?}");
        let sql = made.sql(None).await;
        let plan = explained(
            &sql,
            "SELECT * FROM nearest('vectors.e', '000001.jpg', 5, 10, 'nprobes=3')",
        );
        let plan = plan.await;
        let told = "index vector_idx, nprobes=3, refine=10, 1 rows not indexed";
        assert!(plan.contains(told), "{plan}");

        let stats = made.store.update_indexes(&made.table()).await.unwrap();
        assert_eq!((stats[0].rows, stats[0].unindexed_rows), (601, 0));
        assert!(latest(&made.nearest(&request).await));
        healthy(&made.store).await;
        let version = made.snapshot().await.version();
        made.store.update_indexes(&made.table()).await.unwrap();
        assert_eq!(made.snapshot().await.version(), version, "nothing to add");

        made.store.drop_indexes(&made.table(), None).await.unwrap();
        assert!(made.snapshot().await.indexes().await.unwrap().is_empty());
        let again = made.store.drop_indexes(&made.table(), None).await;
        assert!(matches!(
            again,
            Err(Error::Vectors(VectorError::NoSuchIndex { .. }))
        ));
        let by_index = made.fails(&request).await;
        assert!(by_index.contains("vectors.e"), "{by_index}");
        healthy(&made.store).await;
    }

    #[tokio::test]
    async fn an_index_survives_compaction_and_cleanup() {
        let mut made = Made::new().await;
        made.add(0..10, 30).await;
        made.add(10..20, 30).await;
        let request = IndexRequest::new(Table::Masks);
        made.store.create_index(&request).await.unwrap();
        let by_index = thorough(of_mask(SearchedTable::Masks, 12, 3));
        let found = made.nearest(&by_index).await;
        assert!(!made.store.compact().await.unwrap().is_empty());
        assert_eq!(made.nearest(&by_index).await, found);
        healthy(&made.store).await;
        made.store.cleanup(TimeDelta::zero()).await.unwrap();
        assert_eq!(made.nearest(&by_index).await, found);
        healthy(&made.store).await;

        // What reopens the store reads the same index.
        let reopened = Store::open(made.store.uri()).await.unwrap();
        let snapshot = reopened.snapshot().await.unwrap();
        assert_eq!(nearest(&snapshot, &by_index).await.unwrap(), found);
    }

    #[tokio::test]
    async fn an_index_of_images_finds_the_rows_of_images() {
        let mut made = Made::new().await;
        made.add(0..10, 30).await;
        let request = IndexRequest {
            kind: IndexKind::Bloom,
            ..IndexRequest::new(Table::Masks)
        };
        let stats = made.store.create_index(&request).await.unwrap();
        assert_eq!((&*stats.column, &*stats.kind), ("image_id", "BloomFilter"));
        assert_eq!(
            (stats.rows, stats.unindexed_rows, stats.metric),
            (300, 0, None)
        );
        // A search is not by this index.
        let exact = made.nearest(&of_mask(SearchedTable::Masks, 1, 5)).await;
        assert!(matches!(exact.searched, SearchedWith::Exact { .. }));

        let query = |image_no: u32| {
            let id = image(image_no).image_id;
            format!("SELECT count(*) AS n FROM masks WHERE image_id = '{id}'")
        };
        let read = async |made: &Made, number: u32, rows: i64, by: bool| {
            let sql = made.sql(None).await;
            let found = sql.query(&query(number)).await.unwrap();
            let found = found.collect().await.unwrap();
            let count = found[0].column(0).as_primitive::<Int64Type>().value(0);
            assert_eq!(count, rows);
            let plan = explained(&sql, &query(number)).await;
            assert_eq!(plan.contains("image_id_idx"), by, "{plan}");
        };
        read(&made, 3, 30, true).await;
        read(&made, 15, 0, true).await;
        // Rows that are not in it are read all the same, before it is brought up to date, after, and after compaction.
        made.add(10..20, 30).await;
        read(&made, 15, 30, true).await;
        let stats = made.store.update_indexes(&Table::Masks.into()).await;
        assert_eq!(stats.unwrap()[0].unindexed_rows, 0);
        read(&made, 15, 30, true).await;
        assert!(!made.store.compact().await.unwrap().is_empty());
        let indexes = made.snapshot().await.indexes().await.unwrap();
        let covered: Vec<_> = indexes
            .iter()
            .map(|it| (it.rows, it.unindexed_rows))
            .collect();
        assert_eq!(covered, [(600, 0)]);
        for number in [3, 15] {
            read(&made, number, 30, true).await;
        }
        healthy(&made.store).await;
        // Beside one of vectors, each is dropped alone.
        made.store
            .create_index(&IndexRequest::new(Table::Masks))
            .await
            .unwrap();
        let masks = Table::Masks.into();
        let dropped = made
            .store
            .drop_indexes(&masks, Some(IndexKind::Bloom))
            .await;
        assert_eq!(dropped.unwrap().len(), 1);
        read(&made, 15, 30, false).await;
        let again = made
            .store
            .drop_indexes(&masks, Some(IndexKind::Bloom))
            .await;
        assert_eq!(
            again.unwrap_err().to_string(),
            "'masks' has no index of its images"
        );
        assert_eq!(
            made.store.drop_indexes(&masks, None).await.unwrap().len(),
            1
        );
    }

    #[tokio::test]
    async fn rows_are_added_while_an_index_is_made() {
        let mut made = Made::new().await;
        made.add(0..20, 20).await;
        let store = made.store.clone();
        let request = IndexRequest::new(made.table());
        let (made_index, ()) = tokio::join!(store.create_index(&request), made.add(20..24, 5));
        let stats = made_index.unwrap();
        assert!(stats.unindexed_rows <= 20 && stats.rows >= 400);
        let snapshot = made.snapshot().await;
        assert_eq!(snapshot.count(made.table()).await.unwrap(), 420);
        assert_eq!(snapshot.indexes().await.unwrap().len(), 1);
        healthy(&made.store).await;
    }

    #[tokio::test]
    async fn what_cannot_be_indexed_says_why() {
        let mut made = Made::new().await;
        made.add(0..10, 10).await;
        let table = IndexRequest {
            kind: IndexKind::IvfPq,
            ..IndexRequest::new(made.table())
        };
        let partitions = IndexRequest {
            kind: IndexKind::IvfFlat,
            partitions: Some(101),
            ..table.clone()
        };
        let unknown = EmbedderId::of_bytes(b"unknown");
        let unknown = StoreTable::Vectors(VectorTable::Masks, unknown);
        for (request, part) in [
            (table, "at least 256 vectors"),
            (partitions, "1 to 100"),
            (IndexRequest::new(Table::Images), "vectors"),
            (IndexRequest::new(unknown), "vectors"),
            (
                IndexRequest {
                    kind: IndexKind::Bloom,
                    ..IndexRequest::new(Table::Heads)
                },
                "a column image_id",
            ),
        ] {
            let failed = made.store.create_index(&request).await;
            let message = failed.unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
        let none = made.store.update_indexes(&made.table()).await;
        assert!(matches!(
            none,
            Err(Error::Vectors(VectorError::NoSuchIndex { .. }))
        ));
        assert_eq!(made.snapshot().await.version(), 4, "no commit was made");
    }
}

mod command {
    use std::path::Path;

    use super::*;
    use crate::support::Asks;
    use crate::support::harness::Program;

    #[test]
    fn masks_are_searched_and_drawn() {
        let dir = tempfile::tempdir().unwrap();
        let photos = dir.path().join("photos");
        std::fs::create_dir(&photos).unwrap();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/embed");
        for name in ["photo_a.png", "photo_b.png"] {
            std::fs::copy(data.join(name), photos.join(name)).unwrap();
        }
        let program = Program {
            file: env!("CARGO_BIN_EXE_grainstore").into(),
            store: dir.path().join("store"),
        };
        program.expect(0, &["init", "--embedding-dim", "128"]);
        program.expect(0, &["ingest", "images", photos.to_str().unwrap()]);
        program.expect(
            0,
            &[
                "extract",
                "--checkpoint",
                CHECKPOINT,
                "--points-per-side",
                "4",
            ],
        );
        let first = program.json(&[
            "--json",
            "sql",
            "SELECT mask_index FROM masks m JOIN images i USING (image_id)
             WHERE file_name = 'photo_a.png' AND embedding IS NOT NULL ORDER BY mask_index LIMIT 1",
        ]);
        let like = format!("photo_a.png:{}", first[0]["mask_index"]);
        let sheet = dir.path().join("sheet.png");
        let sheet = sheet.to_str().unwrap();
        let told = program.json(&["--json", "search", "--like", &like, "-k", "3", "-o", sheet]);
        let rows = told["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0]["file_name"], "photo_a.png");
        assert_eq!(rows[0]["mask_index"], first[0]["mask_index"]);
        assert!(rows[0]["similarity"].as_f64().unwrap() > 0.999);
        assert_eq!(told["searched"]["search"], "exact");
        let picture = image::open(sheet).unwrap();
        assert!(picture.width() > 200 && picture.height() > 100);

        let table = program.expect(0, &["search", "--like", &like, "-k", "2"]);
        assert_eq!(table.lines().count(), 3, "{table}");
        assert!(table.lines().nth(1).unwrap().ends_with("photo_a.png"));
        let elsewhere = "file_name = 'photo_b.png'";
        let told = program.json(&["--json", "search", "--like", &like, "--where", elsewhere]);
        let rows = told["rows"].as_array().unwrap();
        assert!(!rows.is_empty() && rows.iter().all(|row| row["file_name"] == "photo_b.png"));

        for (arguments, part) in [
            (vec!["--like", "photo_a.png:9999"], "masks"),
            (vec!["--like", "none.png:0"], "there is no image 'none.png'"),
            (
                vec!["--like", &like, "--vectors", "dino"],
                "no embedder 'dino'",
            ),
            (vec!["--image", "photo_a.png"], "there are no embedders yet"),
        ] {
            let command: Vec<&str> = ["search"].iter().chain(&arguments).copied().collect();
            let failed = program.fails(&command);
            assert!(failed.contains(part), "{arguments:?}: {failed}");
        }
        let nothing = program.fails(&["search"]);
        assert!(nothing.contains("give --like IMAGE:MASK"), "{nothing}");
        let few = program.fails(&["store", "index", "create", "masks", "--kind", "ivf_pq"]);
        assert!(few.contains("at least 256 vectors"), "{few}");
        program.expect(
            0,
            &["store", "index", "create", "masks", "--kind", "ivf_flat"],
        );
        let listed = program.json(&["--json", "store", "index", "list"]);
        assert_eq!(
            (&listed[0]["table"], &listed[0]["kind"]),
            (&"masks".into(), &"IVF_FLAT".into())
        );
        let told = program.json(&["--json", "search", "--like", &like]);
        assert_eq!(told["searched"]["index"], "embedding_idx");
        program.expect(0, &["check", "--deep"]);
        let bloom = ["store", "index", "create", "labels", "--kind", "bloom"];
        let empty = program.fails(&bloom);
        assert!(empty.contains("at least one row"), "{empty}");
        program.expect(0, &["store", "index", "create", "masks", "--kind", "bloom"]);
        let updated = program.json(&["--json", "store", "index", "update", "masks"]);
        assert_eq!(updated.as_array().unwrap().len(), 2);
        program.expect(0, &["check", "--deep"]);
        program.expect(0, &["store", "index", "drop", "masks"]);
        let none = program.fails(&["store", "index", "drop", "masks"]);
        assert!(none.contains("'masks' has no index"), "{none}");
    }
}
