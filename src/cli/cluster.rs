//! `grainstore scheduler` and `grainstore executor`: the processes of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use datafusion::prelude::SessionContext;
use grainstore::device::DeviceName;
use grainstore::jobs::{JobOptions, RunPlan};
use grainstore::store::Store;

use super::{Ended, Global};

/// Exit status of a program that Ctrl-C ended.
#[cfg(feature = "cluster")]
const INTERRUPTED: i32 = 130;

/// Where a command has its work done.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct OnCluster {
    /// Have the work done by the executors of a cluster, known by its scheduler; the device is theirs. This process commits what
    /// they stage, and a run after an interruption of any kind goes on.
    #[arg(long, value_name = "HOST:PORT")]
    pub cluster: Option<String>,
    /// Images of a task: what is lost when an executor dies, and the rows of a file.
    #[arg(long, default_value_t = JobOptions::default().chunk_images, requires = "cluster", value_name = "N")]
    chunk_images: usize,
}

impl OnCluster {
    fn job(&self) -> JobOptions {
        JobOptions {
            chunk_images: self.chunk_images,
            ..JobOptions::default()
        }
    }

    /// Runs a command with the workers of the cluster at `scheduler`.
    pub async fn run<T>(
        &self,
        scheduler: &str,
        command: impl AsyncFnOnce(&dyn RunPlan, &JobOptions) -> grainstore::Result<T>,
    ) -> anyhow::Result<T> {
        run_on(scheduler, &self.job(), command).await
    }
}

/// Runs a command with the workers of the cluster at `scheduler`. Ctrl-C takes the job back.
#[cfg(feature = "cluster")]
pub async fn run_on<T>(
    scheduler: &str,
    job: &JobOptions,
    command: impl AsyncFnOnce(&dyn RunPlan, &JobOptions) -> grainstore::Result<T>,
) -> anyhow::Result<T> {
    let cluster = grainstore::cluster::Cluster::connect(scheduler).await?;
    let done = tokio::select! {
        done = command(&cluster, job) => done.map_err(anyhow::Error::from),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!(
            "interrupted; the next run does what was not committed"
        )),
    };
    if done.is_err() {
        // Executors would go on with a job that nobody waits for.
        if let Err(err) = cluster.cancel().await {
            tracing::warn!("the job was not taken back: {err}");
        }
    }
    done
}

/// Says that this build has no clusters.
#[cfg(not(feature = "cluster"))]
pub async fn run_on<T>(
    _: &str,
    _: &JobOptions,
    _: impl AsyncFnOnce(&dyn RunPlan, &JobOptions) -> grainstore::Result<T>,
) -> anyhow::Result<T> {
    no_cluster()
}

/// Where a command has its queries run.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Cluster")]
pub struct QueriesOnCluster {
    /// Have queries run by the executors of a cluster, known by its scheduler. This process fetches the rows from them.
    #[arg(long, value_name = "HOST:PORT")]
    cluster: Option<String>,
    /// Queries that read fewer rows run in this process: they are done before a cluster has begun.
    #[arg(
        long,
        default_value_t = 250_000,
        requires = "cluster",
        value_name = "ROWS"
    )]
    cluster_rows: u64,
}

impl QueriesOnCluster {
    /// The store, with its queries run where they should be. Ctrl-C takes them back.
    pub async fn open(&self, global: &Global) -> anyhow::Result<Store> {
        self.open_for(global, true).await
    }

    /// As [`QueriesOnCluster::open`], for a shell: Ctrl-C takes queries back, but does not end the program.
    pub async fn open_for_shell(&self, global: &Global) -> anyhow::Result<Store> {
        self.open_for(global, false).await
    }

    #[cfg(feature = "cluster")]
    async fn open_for(&self, global: &Global, ends_with_ctrl_c: bool) -> anyhow::Result<Store> {
        let store = super::open(global).await?;
        let Some(scheduler) = &self.cluster else {
            return Ok(store);
        };
        let cluster =
            grainstore::cluster::QueryCluster::connect(scheduler, self.cluster_rows).await?;
        let cluster = std::sync::Arc::new(cluster);
        let cancelled = cluster.clone();
        // A host program has its own way to be interrupted, and goes on then.
        if !super::call::keep(TakenBack(cancelled.clone())) {
            tokio::spawn(async move {
                while tokio::signal::ctrl_c().await.is_ok() {
                    take_back(&cancelled).await;
                    if ends_with_ctrl_c {
                        std::process::exit(INTERRUPTED);
                    }
                }
            });
        }
        Ok(store.with_engine(cluster))
    }

    /// The store, or word that this build has no clusters.
    #[cfg(not(feature = "cluster"))]
    async fn open_for(&self, global: &Global, _: bool) -> anyhow::Result<Store> {
        let _ = self.cluster_rows;
        match &self.cluster {
            Some(_) => no_cluster(),
            None => super::open(global).await,
        }
    }
}

/// Executors would go on with a query that nobody waits for.
#[cfg(feature = "cluster")]
async fn take_back(cluster: &grainstore::cluster::QueryCluster) {
    if let Err(err) = cluster.cancel().await {
        tracing::warn!("the query was not taken back: {err}");
    }
}

/// Takes back the queries of a call that its host has ended.
#[cfg(feature = "cluster")]
struct TakenBack(std::sync::Arc<grainstore::cluster::QueryCluster>);

#[cfg(feature = "cluster")]
impl Drop for TakenBack {
    fn drop(&mut self) {
        let cluster = self.0.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { take_back(&cluster).await });
        }
    }
}

/// Run the scheduler of a cluster, until it is stopped.
///
/// It hands the tasks of commands with --cluster to executors. It keeps nothing: after a restart, executors come back by themselves, and
/// whoever waited for a job starts it again. It does not ask who connects, and listens on this machine alone unless --bind says
/// otherwise.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore scheduler
  grainstore scheduler --bind 10.0.0.1:50050   # in a network that only you can reach")]
pub struct SchedulerArgs {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:50050", value_name = "IP:PORT")]
    bind: SocketAddr,
    /// Time without a sign of life after which an executor counts as dead, and its tasks go to others.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(3..), value_name = "SECONDS")]
    timeout: u64,
}

/// Run an executor of a cluster, until it is stopped: it works for commands with --cluster.
///
/// Start one for each GPU. The checkpoint comes through the store, and so do the results; photos must be where the store says they
/// are. An executor may be killed at any time: what it had begun is done by another.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  grainstore executor --scheduler 127.0.0.1:50050
  grainstore executor --scheduler 10.0.0.1:50050 --bind 10.0.0.7:50060 --device tch:cuda:0
  grainstore executor --scheduler 10.0.0.1:50050 --bind 10.0.0.7:50060 --slots 8 --query-memory 24G
  AWS_PROFILE=labels grainstore executor --scheduler 10.0.0.1:50050 --bind 0.0.0.0:50060 --host gpu7")]
pub struct ExecutorArgs {
    /// The scheduler.
    #[arg(long, value_name = "HOST:PORT")]
    scheduler: String,
    /// Address to listen on, for tasks; results are fetched at the next port [default: free ports of 127.0.0.1].
    #[arg(long, value_name = "IP:PORT")]
    bind: Option<SocketAddr>,
    /// Name or address by which the scheduler reaches this machine [default: that of --bind].
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Device that models run on: cpu, or in a build with these features cuda:N, wgpu, tch:cpu, tch:cuda:N.
    #[arg(long, default_value_t = DeviceName::Cpu, value_name = "DEVICE")]
    device: DeviceName,
    /// Number of tasks at the same time.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    slots: u16,
    /// Number of images of a task that go through the model at once [default: as for 'extract'].
    #[arg(long, value_name = "N")]
    images_at_once: Option<usize>,
    /// Memory for the rows of queries, like 500M or 8G, divided among the slots; sorts and groups that need more go to disk
    /// [default: no limit].
    #[arg(long, value_parser = memory_of, value_name = "SIZE")]
    query_memory: Option<u64>,
    /// Directory for checkpoints that come from a store in a bucket [default: grainstore-checkpoints in the temporary directory].
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
}

/// Bytes of a size of memory: a number of K, M or G.
fn memory_of(size: &str) -> Result<u64, String> {
    let parsed = size
        .is_ascii()
        .then(|| SessionContext::parse_capacity_limit("memory", size));
    let bytes = parsed.and_then(|parsed| u64::try_from(parsed.ok()?).ok());
    let bytes = bytes.filter(|bytes| *bytes > 0);
    bytes.ok_or_else(|| "expected a number and K, M or G, like 500M or 8G".to_owned())
}

#[cfg(not(feature = "cluster"))]
pub async fn run_scheduler(args: SchedulerArgs, _: &Global) -> anyhow::Result<Ended> {
    let _ = (args.bind, args.timeout);
    no_cluster()
}

#[cfg(not(feature = "cluster"))]
pub async fn run_executor(args: ExecutorArgs, _: &Global) -> anyhow::Result<Ended> {
    let _ = (
        args.scheduler,
        args.bind,
        args.host,
        args.device,
        args.slots,
    );
    let _ = (args.images_at_once, args.query_memory, args.cache_dir);
    no_cluster()
}

/// What a build without clusters says.
#[cfg(not(feature = "cluster"))]
fn no_cluster<T>() -> anyhow::Result<T> {
    anyhow::bail!(
        "this build has no clusters; build it with 'cargo install --path . --locked --features cluster'"
    )
}

#[cfg(feature = "cluster")]
pub async fn run_scheduler(args: SchedulerArgs, global: &Global) -> anyhow::Result<Ended> {
    if !global.quiet {
        errln!("scheduler at {}; stop it with Ctrl-C", args.bind);
    }
    grainstore::cluster::run_scheduler(args.bind, args.timeout).await?;
    Ok(Ended::Done)
}

#[cfg(feature = "cluster")]
pub async fn run_executor(args: ExecutorArgs, global: &Global) -> anyhow::Result<Ended> {
    use grainstore::cluster::{ExecutorOptions, run_executor};
    use grainstore::jobs::WorkerOptions;

    let listen = match args.bind {
        Some(listen) => listen,
        None => free_ports()?,
    };
    if listen.ip().is_unspecified() && args.host.is_none() {
        anyhow::bail!(
            "--bind {listen} listens on every address; say with --host by which one the scheduler reaches this machine"
        );
    }
    // A device that this machine does not have is an error now, not in the first task.
    args.device.open()?;
    let work = tempfile::Builder::new()
        .prefix("grainstore-executor")
        .tempdir()?;
    let options = ExecutorOptions {
        scheduler: args.scheduler,
        listen,
        host: args.host,
        work: work.path().to_owned(),
        query_memory: args.query_memory,
        worker: WorkerOptions {
            device: args.device,
            slots: usize::from(args.slots),
            images_at_once: args.images_at_once,
            storage: global.storage(),
            ..match args.cache_dir {
                Some(cache) => WorkerOptions {
                    cache,
                    ..WorkerOptions::default()
                },
                None => WorkerOptions::default(),
            }
        },
    };
    if !global.quiet {
        errln!(
            "executor at {listen} on {}, of the scheduler at {}; stop it with Ctrl-C",
            args.device,
            options.scheduler
        );
    }
    run_executor(options).await?;
    Ok(Ended::Done)
}

/// An address of this machine with a free port that is followed by another.
#[cfg(feature = "cluster")]
fn free_ports() -> anyhow::Result<SocketAddr> {
    use std::net::{Ipv4Addr, TcpListener};
    for _ in 0..100 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = first.local_addr()?;
        let next = address.port().checked_add(1);
        if next.is_some_and(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, next)).is_ok()) {
            return Ok(address);
        }
    }
    anyhow::bail!("found no two free ports; choose them with --bind")
}
