//! Stores of format 1: read as they are, raised by the first write, and nothing of them lost.
//!
//! tests/data/store/format_1 was written by grainstore 0.1.0; it is never made anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::json::ArrayWriter;
use futures::TryStreamExt;
use grainstore::head::register_predict;
use grainstore::schema::Table;
use grainstore::sql::Sql;
use grainstore::store::rows::{
    EvaluationRow, ExtractorKind, ExtractorRow, HeadRow, PolicyRow, Row,
};
use grainstore::store::{Snapshot, Store};
use lance::dataset::builder::DatasetBuilder;
use serde_json::Value;

use crate::harness::{Program, copy_tree};
use crate::support::{append, label, rows};

const FORMAT_1: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/store/format_1");
/// One with a head, its annotation and an evaluation; make_format_1_eval.sh beside it says how it was made.
const EVALUATED: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/data/store/format_1_eval"
);

fn copied() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    copy_tree(Path::new(FORMAT_1), &store);
    let uri = store.to_str().unwrap().to_owned();
    (dir, uri)
}

fn json(batches: &[RecordBatch]) -> Vec<Value> {
    let mut writer = ArrayWriter::new(Vec::new());
    for batch in batches {
        writer.write(batch).unwrap();
    }
    writer.finish().unwrap();
    let bytes = writer.into_inner();
    if bytes.is_empty() {
        Vec::new()
    } else {
        serde_json::from_slice(&bytes).unwrap()
    }
}

fn sorted(mut rows: Vec<Value>) -> Vec<Value> {
    rows.sort_by_key(Value::to_string);
    rows
}

/// Every row of every table, in no order that matters.
async fn dump(snapshot: &Snapshot) -> BTreeMap<&'static str, Vec<Value>> {
    let sql = Sql::new(snapshot).await.unwrap();
    let mut tables = BTreeMap::new();
    for table in Table::ALL {
        let rows = sql.query(&format!("SELECT * FROM {}", table.name())).await;
        let rows = rows.unwrap().collect().await.unwrap();
        tables.insert(table.name(), sorted(json(&rows)));
    }
    tables
}

/// The rows of a table as format 1 wrote them, read by Lance alone.
async fn written(table: Table, version: u64) -> Vec<Value> {
    let uri = format!("{FORMAT_1}/{}.lance", table.name());
    let dataset = DatasetBuilder::from_uri(uri).with_version(version);
    let rows = dataset.load().await.unwrap().scan();
    let rows = rows.try_into_stream().await.unwrap();
    json(&rows.try_collect::<Vec<_>>().await.unwrap())
}

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    walkdir::WalkDir::new(dir)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), std::fs::read(&path).unwrap()))
        .collect()
}

#[tokio::test]
async fn a_store_of_format_1_is_read_and_left_alone() {
    let (_dir, uri) = copied();
    let before = files(Path::new(&uri));
    let store = Store::open(&uri).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    for table in Table::ALL {
        let dataset = snapshot.dataset(table).await.unwrap();
        let read = arrow::datatypes::Schema::from(dataset.schema());
        assert_eq!(read.fields(), store.schema(table).fields(), "{table:?}");
    }
    let dump = dump(&snapshot).await;
    for (table, rows) in [
        ("images", 9),
        ("masks", 38),
        ("predictions", 2),
        ("policies", 1),
    ] {
        assert_eq!(dump[table].len(), rows, "{table}");
    }
    for table in ["embedders", "embeddings", "mask_labels", "image_features"] {
        assert!(dump[table].is_empty(), "{table}");
    }
    assert_eq!(files(Path::new(&uri)), before, "reading writes nothing");
}

/// What a row of format 1 becomes, but for what it gains.
fn expected(table: Table, mut row: Value, imported: &[Value]) -> Value {
    let of_import = |row: &Value, key: &str| imported.contains(&row[key]);
    let nulls: &[&str] = match table {
        Table::Extractors if of_import(&row, "extractor_id") => &["model_type", "embedding_dim"],
        Table::Masks if of_import(&row, "extractor_id") => &[
            "predicted_iou",
            "stability_score",
            "point",
            "mask_output",
            "embedding",
        ],
        Table::Heads if of_import(&row, "extractor_id") => &["weights", "seed", "device"],
        Table::Predictions if of_import(&row, "extractor_id") => &["entropy"],
        _ => &[],
    };
    let object = row.as_object_mut().unwrap();
    for key in nulls {
        object.remove(*key);
    }
    match table {
        Table::Predictions => drop(object.remove("policy")),
        Table::Evaluations => {
            for (old, new) in [("report", "query"), ("policy", "request")] {
                let value = object.remove(old).unwrap();
                object.insert(new.to_owned(), value);
            }
        }
        Table::Heads => {
            object.insert("query".to_owned(), "results.json".into());
        }
        _ => {}
    }
    row
}

#[tokio::test]
async fn the_first_write_raises_a_store_and_loses_nothing() {
    let (_dir, uri) = copied();
    let store = Store::open(&uri).await.unwrap();
    let read = store.snapshot().await.unwrap();
    let as_read = dump(&read).await;
    let versions = read.record().tables.clone();

    let after = append(&store, &[label(1, "cat")]).await;
    assert_eq!(after.version(), read.version() + 2, "raised, then written");
    let mut raised = dump(&after).await;
    raised
        .get_mut("labels")
        .unwrap()
        .retain(|row| row["label"] != "cat");
    assert_eq!(raised, as_read);
    let past = dump(&store.snapshot_at(read.version()).await.unwrap()).await;
    assert_eq!(past, as_read, "earlier versions stay readable");

    let extractors: Vec<ExtractorRow> = rows(&after).await;
    let imported: Vec<Value> = extractors
        .iter()
        .filter(|row| row.kind == ExtractorKind::ImportedBoxes)
        .map(|row| Value::String(row.extractor_id.to_string()))
        .collect();
    assert_eq!((extractors.len(), imported.len()), (2, 1));
    let gained = ["kind", "embedding_space", "inputs", "normalise"];
    for (table, version) in &versions {
        let table = Table::from_name(table).unwrap();
        let old = written(table, *version).await.into_iter();
        let old = old.map(|row| expected(table, row, &imported));
        let mut new = raised[table.name()].clone();
        for row in &mut new {
            for key in gained {
                row.as_object_mut().unwrap().remove(key);
            }
        }
        assert_eq!(sorted(new), sorted(old.collect()), "{}", table.name());
    }

    let head = rows::<HeadRow>(&after).await.pop().unwrap();
    assert!(head.is_imported() && head.weights.is_none());
    let policies: Vec<PolicyRow> = rows(&after).await;
    let texts: Vec<&str> = policies.iter().map(|row| row.policy.as_str()).collect();
    assert_eq!(texts, [r#"{"imported":"results.json"}"#]);
    let made = PolicyRow::new(policies[0].policy.clone(), policies[0].created_at);
    assert_eq!(made, policies[0]);

    // Opened anew it is a store of today.
    let store = Store::open(&uri).await.unwrap();
    let again = append(&store, &[label(2, "dog")]).await;
    assert_eq!(again.version(), after.version() + 1);
}

#[tokio::test]
async fn raising_that_was_cut_off_is_done_again() {
    let (_dir, uri) = copied();
    let store = Store::open(&uri).await.unwrap();
    let as_read = dump(&store.snapshot().await.unwrap()).await;
    let after = append(&store, &[label(1, "cat")]).await;
    // As if the program had died before it put its records: tables are changed, and nothing says so.
    for version in [after.version() - 1, after.version()] {
        std::fs::remove_file(format!("{uri}/commits/{version:010}.json")).unwrap();
    }
    let store = Store::open(&uri).await.unwrap();
    assert_eq!(dump(&store.snapshot().await.unwrap()).await, as_read);
    let done = append(&store, &[label(1, "cat")]).await;
    assert_eq!(done.version(), after.version());
    let mut raised = dump(&done).await;
    raised
        .get_mut("labels")
        .unwrap()
        .retain(|row| row["label"] != "cat");
    assert_eq!(raised, as_read);
    assert_eq!(done.count(ExtractorRow::TABLE).await.unwrap(), 2);
}

#[tokio::test]
async fn a_head_of_format_1_predicts_and_evaluates_as_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("store");
    copy_tree(Path::new(EVALUATED), &place);
    let program = Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: place.clone(),
    };
    let store = Store::open(place.to_str().unwrap()).await.unwrap();
    let before: Vec<EvaluationRow> = rows(&store.snapshot().await.unwrap()).await;
    let eval = ["eval", "--head", "linear", "--dataset", "scenes"];
    program.expect(0, &[&eval[..], &["--split", "test"]].concat());
    let snapshot = store.snapshot().await.unwrap();
    let mut after: Vec<EvaluationRow> = rows(&snapshot).await;
    after.retain(|row| row.evaluation_id != before[0].evaluation_id);
    let values = |rows: &[EvaluationRow]| -> BTreeMap<_, Option<f64>> {
        let value = |row: &EvaluationRow| {
            let key = (row.query.clone(), row.metric.clone(), row.class.clone());
            (key, row.value)
        };
        rows.iter().map(value).collect()
    };
    let (old, new) = (values(&before), values(&after));
    assert_eq!(old.len(), before.len());
    assert!(old.values().filter(|value| **value > Some(0.1)).count() > 5);
    for (key, value) in &old {
        let same = match (value, new.get(key).copied().flatten()) {
            (Some(old), Some(new)) => (old - new).abs() < 1e-12,
            (old, new) => old.is_none() && new.is_none(),
        };
        assert!(same, "{key:?}: {value:?} was {:?}", new.get(key));
    }

    // The head says of every mask today what was stored then.
    let query = "SELECT max(abs(p.score - predict('linear', m.embedding, m.extractor_id).score)) AS farthest, \
         sum(CASE WHEN p.class <> predict('linear', m.embedding, m.extractor_id).class THEN 1 ELSE 0 END) AS others, \
         count(*) AS masks \
         FROM predictions p JOIN masks m USING (extractor_id, image_id, mask_index)";
    let sql = Sql::new(&snapshot).await.unwrap();
    register_predict(&sql, &snapshot, query).await.unwrap();
    let found = sql.query(query).await.unwrap().collect().await.unwrap();
    let found = json(&found).pop().unwrap();
    assert_eq!(
        (&found["others"], &found["masks"]),
        (&0.into(), &400.into())
    );
    assert!(found["farthest"].as_f64().unwrap() < 1e-6, "{found}");
}
