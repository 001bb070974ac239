//! The review page: a local web server through which a person teaches the store what masks are.
//!
//! ```text
//! browser --key--> answer --journal (fsync)--> saved --every few seconds--> mask_labels
//!         <--queues, masks, photos, heads, SQL-- snapshots of the store
//! ```
//!
//! One process serves the page and the store. Pages are rendered with maud; their scripts are plain ES modules of
//! `assets/web`, embedded in the program. Nothing is requested from another machine.

mod access;
mod app;
mod assets;
mod classes;
mod failure;
mod grid;
mod guard;
mod heads;
mod job;
mod labels;
mod masks;
mod model;
mod page;
mod photos;
mod pictures;
mod prompts;
mod queue;
mod sql;
mod training;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use grainstore::device::{DeviceName, Precision};
use grainstore::store::Store;
use tokio::net::TcpListener;

use access::Access;
use app::App;

/// Maximum size of a request's body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// Time after the last key at which journals are folded into the table.
const REST: Duration = Duration::from_secs(3);

/// How the page is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 for a free one.
    pub port: u16,
    /// Who labels.
    pub reviewer: Option<String>,
    /// Whether nothing can be changed through the page.
    pub read_only: bool,
    /// Head that the page begins with; the newest by default.
    pub head: Option<String>,
    /// Weights of Segment Anything to add masks with; none are added without.
    pub checkpoint: Option<PathBuf>,
    /// Device that they run on.
    pub device: DeviceName,
    /// Precision that they compute in.
    pub precision: Precision,
}

impl Options {
    /// For this machine alone, at a free port.
    pub fn local() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            reviewer: None,
            read_only: false,
            head: None,
            checkpoint: None,
            device: DeviceName::Cpu,
            precision: Precision::F32,
        }
    }
}

/// A server that listens already, so that its address is known.
pub struct Server {
    listener: TcpListener,
    app: Arc<App>,
}

impl Server {
    /// Starts to listen.
    pub async fn bind(store: Store, options: &Options) -> anyhow::Result<Self> {
        let address = SocketAddr::new(options.host, options.port);
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen on {address}"))?;
        let access = Access::new(listener.local_addr()?)?;
        let app = App::new(store, access, options).await?;
        Ok(Self {
            listener,
            app: Arc::new(app),
        })
    }

    /// The address of the page, with the token that opens it.
    pub fn url(&self) -> String {
        self.app.access.url()
    }

    /// Whether masks are added with another model than that of the store's masks.
    pub async fn adds_of_another_model(&self) -> grainstore::Result<bool> {
        match &self.app.model {
            Some(model) => Ok(!model.is_of_store().await?),
            None => Ok(false),
        }
    }

    /// Serves until a signal to end; then everything that was answered is in the table. Returns whether a head is still
    /// being trained.
    pub async fn run(self) -> anyhow::Result<bool> {
        let Self { listener, app } = self;
        let router = router(app.clone());
        let folding = tokio::spawn(fold_at_rest(app.clone()));
        tokio::select! {
            served = axum::serve(listener, router).into_future() => served?,
            ended = ended() => ended?,
        }
        folding.abort();
        app.fold().await?;
        Ok(app.jobs.is_running())
    }
}

fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/", get(page::start))
        .route("/queue", get(page::queue))
        .route("/grid", get(page::grid))
        .route("/image", get(page::image))
        .route("/classes", get(page::classes))
        .route("/heads", get(page::heads))
        .route("/heads/{head}/coco", get(heads::coco))
        .route("/heads/{head}/report", get(heads::report))
        .route("/sql", get(page::sql))
        .route("/assets/{name}", get(assets::asset))
        .route("/photos/{image}", get(pictures::photo))
        .route("/crops/{extractor}/{image}/{mask}", get(pictures::crop))
        .route("/api/queue", get(queue::queue))
        .route("/api/masks", post(masks::masks))
        .route("/api/image", get(masks::image))
        .route("/api/images", get(masks::images))
        .route("/api/beside", get(masks::beside))
        .route("/api/labels", post(labels::add))
        .route("/api/prompt", post(prompts::preview))
        .route("/api/add", post(prompts::add))
        .route("/api/undo", post(labels::undo))
        .route("/api/progress", get(labels::progress))
        .route("/api/grid", get(grid::grid))
        .route("/api/train", post(training::train))
        .route("/api/job", get(training::job))
        .route("/api/events", get(training::events))
        .route("/api/classes", get(classes::list).post(classes::save))
        .route("/api/heads", get(heads::list))
        .route("/api/compare", get(heads::compare))
        .route("/api/sql", post(sql::run))
        .fallback(failure::not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(from_fn_with_state(app.clone(), guard::guard))
        .with_state(app)
}

/// Folds the journal a while after the last answer.
async fn fold_at_rest(app: Arc<App>) {
    let mut ticks = tokio::time::interval(REST);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if app.has_rested(REST)
            && let Err(err) = app.fold().await
        {
            // The answers are safe in the journal; the next round tries again.
            tracing::warn!(%err, "labels are not in their table yet");
        }
    }
}

/// Waits for Ctrl-C, or for the signal by which services are ended.
async fn ended() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminated = signal(SignalKind::terminate())?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done,
            _ = terminated.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
