//! Training from the page: one job at a time, its progress, and what came of it.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures::Stream;
use grainstore::annotate::{AnnotateRequest, Policy, annotate};
use grainstore::catalogue::{annotated_categories, find_head, policies_of, with_prompted};
use grainstore::classes::ClassSet;
use grainstore::eval::{EvalRequest, evaluate};
use grainstore::head::{
    Loss, StoredSpec, TrainOptions, TrainRequest, class_scores, train as train_head,
};
use grainstore::ids::ImageId;
use grainstore::progress::{NoProgress, Progress};
use grainstore::review::{Origin, Verdict, mask_labels};
use grainstore::selection::ImageFilter;
use grainstore::store::Snapshot;
use serde::Deserialize;

use super::app::App;
use super::failure::{Answered, Failure};
use super::job::{Job, Stage};
use super::sql::named;

/// Labels of the reviewer with which a head is compared where there are no annotations.
const LAST_LABELS: usize = 200;
/// Pause between two states that are told.
const PAUSE: Duration = Duration::from_millis(150);

/// Tells the page how far a job is.
struct JobProgress(Arc<App>);

impl JobProgress {
    fn change(&self, change: impl FnOnce(&mut Job)) {
        self.0.jobs.state.send_modify(change);
    }
}

impl Progress for JobProgress {
    fn start(&self, what: &str, total: Option<u64>) {
        self.change(|job| {
            what.clone_into(&mut job.phase);
            (job.done, job.total) = (0, total);
            job.status.clear();
        });
    }

    fn advance(&self, n: u64) {
        self.change(|job| job.done += n);
    }

    fn note(&self, line: &str) {
        self.change(|job| job.notes.push(line.to_owned()));
    }

    fn status(&self, line: &str) {
        self.change(|job| line.clone_into(&mut job.status));
    }

    fn finish(&self) {}
}

/// What to train.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Name of the new head; the newest of a name is the one that counts.
    name: String,
    /// The class set.
    classes: String,
    /// A loss by its name; the default of 'grainstore train' if there is none. If it is that of the head before, the other
    /// options of training are that head's, too.
    loss: Option<String>,
    /// What the head reads; the tokens if there is none.
    #[serde(default)]
    vectors: Vec<String>,
    epochs: Option<usize>,
    /// The head that the new one is compared with.
    before: Option<String>,
}

/// `POST /api/train`: starts to train a head; it then predicts all masks, so that queues can use it.
pub async fn train(
    State(app): State<Arc<App>>,
    Json(request): Json<Request>,
) -> Answered<Json<Job>> {
    app.check_writable()?;
    let loss = request.loss.as_deref().filter(|word| !word.is_empty());
    let loss = loss.map(str::parse::<Loss>).transpose()?;
    let mut refused = false;
    app.jobs.state.send_if_modified(|job| {
        refused = job.state == Stage::Running;
        if !refused {
            *job = Job {
                id: job.id + 1,
                state: Stage::Running,
                head: request.name.clone(),
                ..Job::default()
            };
        }
        !refused
    });
    if refused {
        return Err(Failure::new(
            StatusCode::CONFLICT,
            "a head is being trained already".to_owned(),
        ));
    }
    let started = app.jobs.state.borrow().clone();
    tokio::spawn(async move {
        let begun = Instant::now();
        let of_run = app.clone();
        let ran = tokio::spawn(async move { run(&of_run, request, loss).await }).await;
        let done = ran.unwrap_or_else(|err| {
            let text = format!("the training ended with a fault of the program: {err}");
            Err(Failure::new(StatusCode::INTERNAL_SERVER_ERROR, text))
        });
        app.jobs.state.send_modify(|job| {
            job.seconds = begun.elapsed().as_secs_f64();
            match done {
                Ok(result) => {
                    job.state = Stage::Done;
                    job.result = Some(result);
                }
                Err(failure) => {
                    job.state = Stage::Failed;
                    job.error = Some(failure.text().to_owned());
                }
            }
        });
    });
    Ok(Json(started))
}

async fn run(app: &Arc<App>, request: Request, loss: Option<Loss>) -> Answered<String> {
    let progress = JobProgress(app.clone());
    let snapshot = app.snapshot().await?;
    let before = match request.before.as_deref().filter(|word| !word.is_empty()) {
        Some(word) => Some(find_head(&snapshot, word).await?),
        None => None,
    };
    let stored = match &before {
        Some(head) => policies_of(&snapshot, &head.head_id)
            .await?
            .into_iter()
            .next(),
        None => None,
    };
    let policy = stored.and_then(|it| serde_json::from_str(&it.policy).ok());
    let mut policy: Policy = policy.unwrap_or_default();
    let names = ClassSet::load(&snapshot, &request.classes)
        .await?
        .class_names();
    policy
        .class_thresholds
        .retain(|class, _| names.contains(class));
    let spec = before.as_ref().and_then(|row| StoredSpec::of_row(row).ok());
    let like = spec.map(|spec| spec.options);
    let like = like.filter(|options| loss.is_some() && options.loss == loss);
    let options = TrainOptions {
        loss,
        epochs: request.epochs,
        patience: None,
        ..like.unwrap_or_default()
    };
    let trained = TrainRequest {
        name: request.name,
        classes: request.classes,
        vectors: request.vectors,
        options,
        ..TrainRequest::default()
    };
    let trained = train_head(&app.store, &trained, &progress).await?;
    let without = &trained.classes_without_examples;
    if !without.is_empty() {
        progress.note(&format!(
            "no image and no mask shows: {}",
            without.join(", ")
        ));
    }
    let head = trained.head_id.to_string();
    let annotated = AnnotateRequest {
        head: head.clone(),
        images: ImageFilter::default(),
        policy,
    };
    annotate(&app.store, &annotated, &progress).await?;
    let snapshot = app.store.snapshot().await?;
    let before = before.map(|head| head.head_id.to_string());
    told(app, &snapshot, &head, before.as_deref(), &progress).await
}

/// What changed: metrics where there are annotations, else how far the head agrees with the reviewer.
async fn told(
    app: &App,
    snapshot: &Snapshot,
    head: &str,
    before: Option<&str>,
    progress: &dyn Progress,
) -> Answered<String> {
    if annotated_categories(snapshot).await?.is_empty() {
        return agreement(app, snapshot, head).await;
    }
    // Both on the same splits, and only on those that somebody has annotated: the new head has predicted all images.
    let mut splits = annotated_splits(snapshot, head).await?;
    if let Some(before) = before {
        let others = annotated_splits(snapshot, before).await?;
        if !others.is_empty() {
            splits.retain(|split| others.contains(split));
        }
    }
    let ask = |head: &str| EvalRequest {
        head: head.to_owned(),
        images: ImageFilter {
            condition: of_splits(&splits),
            ..ImageFilter::default()
        },
        ..EvalRequest::default()
    };
    let now = match evaluate(snapshot, &ask(head), progress).await {
        Ok(found) => found,
        // Annotations of several data sets, or none of its classes: there is no one metric to tell.
        Err(err) => return Ok(format!("trained; not evaluated: {err}")),
    };
    now.save(&app.store).await?;
    let then = match before {
        Some(before) => evaluate(snapshot, &ask(before), &NoProgress).await.ok(),
        None => None,
    };
    let of = |metric: &str| -> String {
        let value = |found: Option<f64>| found.map_or("-".to_owned(), |it| format!("{it:.3}"));
        match &then {
            Some(then) => format!(
                "{} → {}",
                value(then.metric(metric)),
                value(now.metric(metric))
            ),
            None => value(now.metric(metric)),
        }
    };
    Ok(format!(
        "mIoU {}, AP50 {} on {} images of '{}'",
        of("miou"),
        of("ap50"),
        now.images,
        now.dataset
    ))
}

/// The splits with annotated objects and predictions of a head; `None` for the images of no split.
async fn annotated_splits(snapshot: &Snapshot, head: &str) -> Answered<Vec<Option<String>>> {
    #[derive(Deserialize)]
    struct Annotated {
        split: Option<String>,
    }
    let words = HashMap::from([("head".to_owned(), head.to_owned())]);
    let found: Vec<Annotated> = named(snapshot, "review/annotated_splits", &words).await?;
    Ok(found.into_iter().map(|it| it.split).collect())
}

/// The condition on images that they are of some splits; `None` for all images.
fn of_splits(splits: &[Option<String>]) -> Option<String> {
    let of_split = |split: &Option<String>| match split {
        Some(split) => format!("split = '{}'", split.replace('\'', "''")),
        None => "split IS NULL".to_owned(),
    };
    let parts: Vec<String> = splits.iter().map(of_split).collect();
    (!parts.is_empty()).then(|| parts.join(" OR "))
}

async fn agreement(app: &App, snapshot: &Snapshot, head: &str) -> Answered<String> {
    let row = find_head(snapshot, head).await?;
    let set = ClassSet::load(snapshot, &row.class_set_at_version()).await?;
    let of_label = set.index_by_label();
    let extractors = with_prompted(snapshot, &row.extractor_id).await?;
    let mut said = mask_labels(snapshot).await?;
    said.retain(|it| {
        it.reviewer == app.reviewer
            && it.origin == Origin::Review.word()
            && it.verdict == Verdict::Is.word()
            && extractors.contains(&it.extractor_id)
    });
    let said = said.split_off(said.len().saturating_sub(LAST_LABELS));
    let mut images: Vec<ImageId> = said.iter().map(|it| it.image_id.clone()).collect();
    images.sort();
    images.dedup();
    let scores = class_scores(snapshot, head, &images).await?;
    let (mut agrees, mut compared) = (0, 0);
    for label in said {
        let class = label
            .label
            .as_deref()
            .and_then(|it| of_label.get(it))
            .copied();
        let key = (label.image_id, label.mask_index);
        let Some(probabilities) = scores.of_masks.get(&key) else {
            continue;
        };
        let best = (0..probabilities.len())
            .max_by(|a, b| {
                let of = |at: &usize| probabilities.get(*at).copied().unwrap_or_default();
                of(a).total_cmp(&of(b))
            })
            .filter(|at| probabilities.get(*at).is_some_and(|it| *it >= 0.5));
        compared += 1;
        agrees += u32::from(best == class);
    }
    Ok(match compared {
        0 => "trained; there is nothing yet to compare it with".to_owned(),
        _ => format!("agrees with {agrees} of your last {compared} labels, which it learnt from"),
    })
}

/// `GET /api/job`: the job that runs, or ran last.
pub async fn job(State(app): State<Arc<App>>) -> Json<Job> {
    Json(app.jobs.state.borrow().clone())
}

/// `GET /api/events`: the job's states as server-sent events.
pub async fn events(
    State(app): State<Arc<App>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut receiver = app.jobs.state.subscribe();
    receiver.mark_changed();
    let states = futures::stream::unfold(receiver, |mut receiver| async move {
        receiver.changed().await.ok()?;
        let job = receiver.borrow_and_update().clone();
        // Progress comes thousands of times a second.
        if job.state == Stage::Running {
            tokio::time::sleep(PAUSE).await;
        }
        let event = Event::default().json_data(&job).unwrap_or_default();
        Some((Ok(event), receiver))
    });
    Sse::new(states).keep_alive(KeepAlive::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_become_a_condition_whatever_their_names() {
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(of_splits(&[]), None);
        assert_eq!(
            of_splits(&[named("val"), named("o'clock"), None]).unwrap(),
            "split = 'val' OR split = 'o''clock' OR split IS NULL"
        );
    }
}
