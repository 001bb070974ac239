//! The library at work on a store: SQL, an annotation policy, an evaluation, an export.
//!
//! ```text
//! ./run demo && cargo run --release --example library -- target/demo/store fine.json
//! ```

#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::path::Path;

use grainstore::annotate::{AnnotateRequest, Policy, rethreshold};
use grainstore::eval::{EvalRequest, evaluate};
use grainstore::export::{Annotations, CocoFormat, ExportRequest, Ids, ImageChoice, export_coco};
use grainstore::progress::NoProgress;
use grainstore::sql::Sql;
use grainstore::store::Store;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(store), Some(file)) = (args.next(), args.next()) else {
        return Err("usage: library STORE FILE.json".into());
    };
    let store = Store::open(&store).await?;

    let sql = Sql::new(&store.snapshot().await?).await?;
    let rows = sql
        .query("SELECT head, class_set, images_read, seconds FROM heads ORDER BY created_at")
        .await?;
    println!(
        "{}",
        arrow::util::pretty::pretty_format_batches(&rows.collect().await?)?
    );

    // Another policy over the scores that are stored: nothing is judged again.
    let request = AnnotateRequest {
        head: "fine".to_owned(),
        condition: None,
        policy: Policy {
            score_threshold: 0.9,
            min_predicted_iou: 0.8,
            ..Policy::default()
        },
    };
    let summary = rethreshold(&store, &request, &NoProgress).await?;
    println!("{} of {} masks kept", summary.kept, summary.masks);

    let snapshot = store.snapshot().await?;
    let request = EvalRequest {
        head: "fine".to_owned(),
        ..EvalRequest::default()
    };
    let evaluation = evaluate(&snapshot, &request, &NoProgress).await?;
    for figure in evaluation
        .figures
        .iter()
        .filter(|it| it.class.is_none() && it.report == "eval/miou")
    {
        println!("{} {:?}", figure.metric, figure.value);
    }

    let request = ExportRequest {
        annotations: Annotations::Head {
            head: "fine".to_owned(),
            policy: None,
        },
        images: ImageChoice::default(),
        classes: None,
        supercategories: None,
        ids: Ids::Original,
    };
    let summary = export_coco(
        &snapshot,
        &request,
        CocoFormat::Dataset,
        None,
        Path::new(&file),
        &NoProgress,
    )
    .await?;
    println!("{} objects in '{file}'", summary.annotations);
    Ok(())
}
