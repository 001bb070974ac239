//! SQL on a cluster of a scheduler and two executors, compared with SQL in one process.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use grainstore::cluster::QueryCluster;
use grainstore::query::{Query, QuerySession};
use grainstore::schema::Table;
use grainstore::sql::Sql;
use grainstore::store::rows::{ImageRow, LabelRow, Row};
use grainstore::store::{Changes, Store};

use crate::sql::reports::words_for;
use crate::sql::{cells, slt};
use crate::sql_store::{
    broken, healthy, mask, masks_batch, photo, predicted, rle, store_with, tag,
};
use crate::support::cluster::Cluster;
use crate::support::harness::Program;

/// Makes the rows of a commit.
type Rows = fn() -> Changes;

fn program(dir: &Path) -> Program {
    Program {
        file: env!("CARGO_BIN_EXE_grainstore").into(),
        store: dir.join("unused"),
    }
}

/// The cluster, for all queries, however small.
async fn engine(cluster: &Cluster<'_>) -> Arc<QueryCluster> {
    for _ in 0..600 {
        match QueryCluster::connect(&cluster.address, 0).await {
            Ok(engine) => return Arc::new(engine),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    panic!("no executor came: {}", cluster.logs());
}

async fn rows(sql: &Sql, query: &str) -> Vec<Vec<String>> {
    let found = sql.query(query).await;
    let found = found.unwrap_or_else(|err| panic!("{query}: {err}"));
    let found = found.collect().await;
    cells(&found.unwrap_or_else(|err| panic!("{query}: {err}"))).unwrap()
}

/// Whether two texts are the same, or numbers of which the last digits differ by the order of a sum.
fn is_same(one: &str, other: &str) -> bool {
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => {
            one == other
                || (one - other).abs() <= 1e-12 * one.abs().max(other.abs())
                || (one.is_nan() && other.is_nan())
        }
        _ => one == other,
    }
}

fn assert_same(mut here: Vec<Vec<String>>, mut there: Vec<Vec<String>>, what: &str) {
    here.sort();
    there.sort();
    assert_eq!(here.len(), there.len(), "{what}: {here:?} {there:?}");
    for (here, there) in here.iter().zip(&there) {
        let same = here.iter().zip(there).all(|(a, b)| is_same(a, b));
        assert!(
            same && here.len() == there.len(),
            "{what}: {here:?} {there:?}"
        );
    }
}

#[test]
fn every_file_of_tests_slt_holds_on_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let cluster = Cluster::start(&program, dir.path());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (_store, sql) = runtime.block_on(async {
        let (guard, store) = store_with(&[healthy]).await;
        let store = store.with_engine(engine(&cluster).await);
        (
            guard,
            Sql::new(&store.snapshot().await.unwrap()).await.unwrap(),
        )
    });
    slt::every_file(runtime, sql);
}

async fn session(store: &Store) -> QuerySession {
    QuerySession::new(&store.snapshot().await.unwrap())
        .await
        .unwrap()
}

async fn all_rows(session: &QuerySession, query: &Query) -> Vec<Vec<String>> {
    let rows = async {
        let rows = session.run(query, &words_for(query)).await?;
        rows.collect().await
    };
    let rows = rows.await;
    cells(&rows.unwrap_or_else(|err| panic!("{}: {err}", query.name()))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_named_query_gives_the_same_on_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let cluster = Cluster::start(&program, dir.path());
    // Several commits, and so several fragments a table.
    let mut found = 0;
    let stores: [(&str, &[Rows]); 2] = [
        ("", &[healthy, predicted, more]),
        ("check/", &[healthy, broken]),
    ];
    for (folder, changes) in stores {
        let (_guard, store) = store_with(changes).await;
        let engine = engine(&cluster).await;
        let there = store.clone().with_engine(engine.clone());
        let here = session(&store).await;
        let there = session(&there).await;
        for query in Query::all().unwrap() {
            if !query.name().starts_with(folder) {
                continue;
            }
            let one = all_rows(&here, &query).await;
            let other = all_rows(&there, &query).await;
            found += one.len();
            assert_same(one, other, query.name());
            assert_eq!(engine.left_to_this_process(), 0, "{}", query.name());
        }
    }
    assert!(found > 100, "{found} rows");
}

/// Plans whose partitions must know of each other, of rows in several fragments.
const HARD: &[&str] = &[
    "SELECT a.mask_index, b.mask_index FROM masks a LEFT JOIN masks b ON a.area < b.area",
    "SELECT a.mask_index, b.mask_index FROM masks a FULL JOIN masks b ON a.area < b.area - 3",
    "SELECT a.mask_index, b.mask_index FROM masks a RIGHT JOIN masks b ON a.area > b.area + 2",
    "SELECT a.image_id, l.label FROM images a FULL JOIN labels l ON a.image_id = l.image_id",
    "SELECT image_id FROM images WHERE image_id NOT IN (SELECT image_id FROM labels)",
    "SELECT image_id FROM images WHERE dataset NOT IN (SELECT split FROM images)",
    "SELECT image_id FROM images WHERE split NOT IN (SELECT split FROM images WHERE split IS NOT NULL)",
    "SELECT image_id FROM images i WHERE NOT EXISTS (SELECT 1 FROM masks m WHERE m.image_id = i.image_id AND m.area > 3)",
    "SELECT image_id FROM images i WHERE EXISTS (SELECT 1 FROM masks m WHERE m.area > i.width)",
    "SELECT count(*), count(DISTINCT image_id), sum(area), avg(predicted_iou) FROM masks",
    "SELECT count(*) FROM masks WHERE area > (SELECT avg(area) FROM masks)",
    "SELECT image_id, row_number() OVER (PARTITION BY image_id ORDER BY area, mask_index, extractor_id) FROM masks",
    "SELECT image_id, sum(area) OVER (ORDER BY image_id, mask_index, extractor_id) FROM masks",
    "SELECT image_id FROM images UNION SELECT image_id FROM masks",
    "SELECT image_id FROM images UNION ALL SELECT image_id FROM masks",
    "SELECT image_id FROM images EXCEPT SELECT image_id FROM masks",
    "SELECT image_id FROM images INTERSECT SELECT image_id FROM masks",
    "SELECT image_id, rle_area(rle_union(rle)) FROM ground_truth WHERE rle IS NOT NULL AND NOT is_ignored GROUP BY image_id",
    "SELECT label, array_agg(image_id ORDER BY image_id) FROM labels GROUP BY label",
    "SELECT x.image_id, x.n FROM (SELECT image_id, count(*) AS n FROM masks GROUP BY image_id) x ORDER BY n DESC, image_id LIMIT 2",
    "SELECT a.image_id FROM images a CROSS JOIN labels b CROSS JOIN masks c",
    "WITH RECURSIVE t(n) AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t WHERE n < 4) SELECT n, image_id FROM t, images",
    "SELECT unnest(embedding) FROM masks WHERE mask_index = 0",
];

/// Joins whose left side must see every row on the right, under what wants all their rows together, in this order.
const ONE_FILE: &[&str] = &[
    "SELECT count(*) FROM images i LEFT JOIN labels l ON i.image_id = l.image_id",
    "SELECT count(*), sum(i.width) FROM images i FULL JOIN masks m ON i.image_id = m.image_id AND m.area > 5",
    "SELECT i.file_name, l.label FROM images i LEFT JOIN labels l ON i.image_id = l.image_id ORDER BY 1, 2",
    "SELECT i.file_name FROM images i WHERE NOT EXISTS (SELECT 1 FROM labels l WHERE l.image_id = i.image_id)",
    "SELECT count(*) FROM images i WHERE EXISTS (SELECT 1 FROM masks m WHERE m.image_id = i.image_id AND m.area > 5)",
    "SELECT i.file_name, row_number() OVER (ORDER BY i.file_name, l.label) FROM images i LEFT JOIN labels l ON i.image_id = l.image_id ORDER BY 1, 2",
    "SELECT m.image_id, m.mask_index, i.file_name FROM images i JOIN masks m ON i.image_id = m.image_id ORDER BY m.area DESC, m.image_id, m.mask_index, m.extractor_id",
    "SELECT count(*) FROM (SELECT m.image_id FROM masks m LEFT JOIN labels l ON m.image_id = l.image_id LIMIT 5)",
];

/// Photos 10 to 14, with masks of areas 0 to 4 and labels for some.
fn more() -> Changes {
    let mut changes = Changes::new();
    let photos = (10..15).map(|n| photo(n, &format!("{n}.jpg"), 3, 4));
    changes.append(
        Table::Images,
        ImageRow::to_batch(&photos.collect::<Vec<_>>()).unwrap(),
    );
    let masks = (10..15).flat_map(|n| {
        let one = move |index: i32| {
            let area = (n as i32 + index) % 5;
            let counts = ["<", "01;", "02:", "039", "048"][area as usize];
            mask(
                n,
                index,
                rle(3, 4, counts),
                [0.0, 0.0, 2.0, 3.0],
                area.into(),
            )
        };
        (0..4).map(one)
    });
    changes.append(Table::Masks, masks_batch(&masks.collect::<Vec<_>>()));
    let labels = [
        tag(10, "tiny", "cat"),
        tag(12, "tiny", "dog"),
        tag(13, "tiny", "cat"),
    ];
    changes.append(Table::Labels, LabelRow::to_batch(&labels).unwrap());
    changes
}

#[tokio::test(flavor = "multi_thread")]
async fn plans_that_cut_badly_give_the_same_on_a_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let cluster = Cluster::start(&program, dir.path());
    let (_guard, store) = store_with(&[healthy, more]).await;
    let engine = engine(&cluster).await;
    let there = store.clone().with_engine(engine.clone());
    let (here, there) = (
        store.snapshot().await.unwrap(),
        there.snapshot().await.unwrap(),
    );
    let here = Sql::new(&here).await.unwrap();
    let several = Sql::new(&there).await.unwrap();
    for query in HARD {
        let before = engine.left_to_this_process();
        let expected = rows(&here, query).await;
        assert_same(expected, rows(&several, query).await, query);
        // Of the queries with NOT IN, those that must look for nulls.
        let stays = query.contains("NOT IN (SELECT split") || query.contains("RECURSIVE");
        let left = engine.left_to_this_process() - before;
        assert_eq!(left, u64::from(stays), "{query}");
    }
    // Rows in order, and joins onto tables of one file, which what comes after them takes for one partition.
    let (_guard, store) = store_with(&[healthy]).await;
    let there = store.clone().with_engine(engine.clone());
    let one_file = Sql::new(&there.snapshot().await.unwrap()).await.unwrap();
    let alone = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
    let before = engine.left_to_this_process();
    for query in ONE_FILE {
        let found = rows(&one_file, query).await;
        assert_eq!(found, rows(&alone, query).await, "{query}");
        assert_eq!(engine.left_to_this_process(), before, "{query}");
    }
    let there = several;
    let plan = rows(&there, "EXPLAIN SELECT image_id FROM masks WHERE area > 3").await;
    let plan = plan.concat().concat();
    assert!(plan.contains("StoreScanExec: table=masks"), "{plan}");
    assert!(
        plan.contains("partitions=2, filter=area > Int64(3)"),
        "{plan}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn queries_give_the_same_while_executors_are_killed() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let mut cluster = Cluster::start(&program, dir.path());
    let (_guard, store) = store_with(&[healthy, more]).await;
    let there = store.clone().with_engine(engine(&cluster).await);
    let here = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
    let there = Arc::new(Sql::new(&there.snapshot().await.unwrap()).await.unwrap());
    let query = "SELECT a.image_id, count(*), sum(a.area * b.area) FROM masks a JOIN masks b ON a.mask_index = b.mask_index
                 GROUP BY a.image_id";
    let expected = rows(&here, query).await;
    for killed in 0..6 {
        let asked = there.clone();
        let asked = tokio::spawn(async move {
            let mut found = Vec::new();
            for _ in 0..5 {
                found.push(rows(&asked, query).await);
            }
            found
        });
        tokio::time::sleep(Duration::from_millis(fastrand::u64(0..400))).await;
        cluster.start_executor(killed % 2);
        for found in asked.await.unwrap() {
            assert_same(expected.clone(), found, &cluster.logs());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sorts_beyond_the_memory_of_executors_go_to_disk() {
    let dir = tempfile::tempdir().unwrap();
    let program = program(dir.path());
    let cluster = Cluster::start_with(&program, dir.path(), &["--query-memory", "32M"]);
    let (_guard, store) = store_with(&[healthy, more]).await;
    let engine = engine(&cluster).await;
    let there = store.clone().with_engine(engine.clone());
    let here = Sql::new(&store.snapshot().await.unwrap()).await.unwrap();
    let there = Sql::new(&there.snapshot().await.unwrap()).await.unwrap();
    // More than 100,000 rows of 230 bytes; a batch of these fits several times.
    let wide = "SELECT repeat(a.image_id, 4) || b.image_id || c.image_id AS text, a.mask_index AS first, b.mask_index AS second,
                       c.mask_index AS third, d.image_id AS fourth
                FROM masks a CROSS JOIN masks b CROSS JOIN masks c CROSS JOIN masks d
                WHERE d.mask_index = 0";
    let sorted = format!(
        "SELECT md5(text), first, second, third, fourth FROM ({wide}) ORDER BY text, first, second, third, fourth"
    );
    let before = engine.left_to_this_process();
    let found = rows(&there, &sorted).await;
    assert!(found.len() > 100_000, "{}", found.len());
    assert!(found == rows(&here, &sorted).await);
    assert_eq!(engine.left_to_this_process(), before, "{}", cluster.logs());
    // One side of a join must be in memory: there is no room, so it runs here.
    let joined = format!(
        "SELECT count(*) FROM ({wide}) x JOIN ({wide}) y ON x.text = y.text AND x.first = y.first
             AND x.second = y.second AND x.third = y.third AND x.fourth = y.fourth"
    );
    assert_eq!(rows(&there, &joined).await, rows(&here, &joined).await);
    assert_eq!(engine.left_to_this_process(), before + 1);
}
