//! Stores in a bucket behind a network that loses requests and answers. They need a real bucket, `GRAINSTORE_TEST_STORES`; without one
//! there is nothing to lose.

use std::collections::{BTreeMap, BTreeSet};

use grainstore::progress::NoProgress;
use grainstore::store::rows::{ImageRow, LabelRow, Row};
use grainstore::store::{Changes, StorageOption, StorageOptions, Store, StoreOptions};

use crate::proxy::{Losses, Proxy};
use crate::support::{image, label, new_place, rows};

const ROWS: u32 = 5;
const COMMITS: u32 = 30;

/// The place of a new store in the bucket, and the options by which it is reached through a proxy; none without a bucket.
fn behind_proxy(losses: Losses) -> Option<(tempfile::TempDir, String, StorageOptions, Proxy)> {
    let endpoint = std::env::var("AWS_ENDPOINT_URL").ok()?;
    let dir = tempfile::tempdir().unwrap();
    let place = new_place(&dir);
    if !place.starts_with("s3://") {
        return None;
    }
    let proxy = Proxy::start(endpoint.strip_prefix("http://")?, losses);
    let option: StorageOption = format!("endpoint=http://{}", proxy.address)
        .parse()
        .unwrap();
    Some((dir, place, [option].into_iter().collect(), proxy))
}

async fn commit(store: &Store, n: u32) -> grainstore::Result<()> {
    let images: Vec<ImageRow> = (0..ROWS).map(|row| image(n * ROWS + row)).collect();
    let labels: Vec<LabelRow> = (0..ROWS).map(|row| label(n * ROWS + row, "cat")).collect();
    let plan = async |_| {
        let mut changes = Changes::new();
        changes.append(ImageRow::TABLE, ImageRow::to_batch(&images)?);
        changes.append(LabelRow::TABLE, LabelRow::to_batch(&labels)?);
        Ok(changes)
    };
    store.commit("test", plan).await.map(|_| ())
}

/// Checks that the rows of each commit are there once or not at all, and once if it was said to be made.
async fn check_rows(place: &str, made: &BTreeSet<u32>) {
    let store = Store::open(place).await.unwrap();
    // What a writer that gave up left is taken back by the next one.
    commit(&store, COMMITS).await.unwrap();
    let snapshot = store.snapshot().await.unwrap();
    let mut images: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows::<ImageRow>(&snapshot).await {
        *images.entry(row.image_id.to_string()).or_default() += 1;
    }
    let mut labels: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows::<LabelRow>(&snapshot).await {
        *labels.entry(row.image_id.to_string()).or_default() += 1;
    }
    assert_eq!(images, labels);
    for n in 0..=COMMITS {
        let ids = (0..ROWS).map(|row| image(n * ROWS + row).image_id.to_string());
        let counts: BTreeSet<usize> = ids
            .map(|id| images.get(&id).copied().unwrap_or_default())
            .collect();
        let is_made = n == COMMITS || made.contains(&n);
        assert!(
            counts == BTreeSet::from([1]) || !is_made && counts == BTreeSet::from([0]),
            "commit {n}, made: {is_made}, rows {counts:?}"
        );
    }
    let found = snapshot.verify_all(&NoProgress).await.unwrap();
    assert_eq!((found.damaged, found.without_checksum), (vec![], 0));
}

async fn writes(losses: Losses, writers: u32) {
    let Some((_dir, place, options, proxy)) = behind_proxy(losses) else {
        return;
    };
    Store::open_or_create(&place, StoreOptions::default())
        .await
        .unwrap();
    let write = async |writer: u32| {
        let mut made = BTreeSet::new();
        for n in (0..COMMITS).filter(|n| n % writers == writer) {
            // A command opens the store, too.
            let Ok(store) = Store::open_with(&place, &options).await else {
                continue;
            };
            if commit(&store, n).await.is_ok() {
                made.insert(n);
            }
        }
        made
    };
    let made = futures::future::join_all((0..writers).map(write)).await;
    let made: BTreeSet<u32> = made.into_iter().flatten().collect();
    let (requests, answers) = proxy.lost();
    assert!(requests > 5 && answers > 5, "{requests} {answers}");
    check_rows(&place, &made).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_loses_requests_and_answers_doubles_no_row() {
    let losses = Losses {
        requests: 0.03,
        answers: 0.05,
        seed: 1,
    };
    writes(losses, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_that_lose_requests_and_answers_double_no_row() {
    let losses = Losses {
        requests: 0.02,
        answers: 0.04,
        seed: 2,
    };
    writes(losses, 2).await;
}
