//! The processes of a cluster: the scheduler, and the executors that do the work.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use ballista_core::ConfigProducer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::error::BallistaError;
use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::start_server;
use datafusion::prelude::{SessionConfig, SessionContext};

use super::codec::Codec;
use crate::jobs::{Worker, WorkerOptions};
use crate::{Error, Result};

/// Time between two signs of life of an executor, and between two looks for dead ones, in seconds.
const HEARTBEAT: u64 = 1;
/// Time that an executor waits for its scheduler when it starts, in seconds.
const CONNECT: u16 = 60;
/// Time for which the rows of a finished query can be fetched, in seconds.
const RESULTS_KEPT: u64 = 4 * 3600;
/// Time for which the scheduler remembers a finished job with its plan, in seconds.
const JOBS_KEPT: u64 = 600;
/// Largest message between processes, in bytes. Plans carry heads and the rows of earlier queries.
pub(super) const LARGEST_MESSAGE: u32 = 128 << 20;

/// How an executor runs.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// The scheduler, as `host:port`.
    pub scheduler: String,
    /// Where it listens for tasks; results are fetched at the next port.
    pub listen: SocketAddr,
    /// The name or address by which others reach it; `None` for the address that it listens on.
    pub host: Option<String>,
    /// Directory for the results of tasks.
    pub work: PathBuf,
    /// Bytes that queries may hold in memory at the same time, divided among its slots; what sorts, joins and groups hold
    /// beyond that goes to disk where they can, and the query fails where they cannot. `None` for no limit.
    pub query_memory: Option<u64>,
    /// Its device, slots and access to stores.
    pub worker: WorkerOptions,
}

/// Runs a scheduler until the process ends. An executor that gives no sign of life for `timeout` seconds counts as dead. Jobs that it has are lost with it; whoever started them starts them again.
///
/// # Errors
/// [`Error::Cluster`] if it cannot listen there.
pub async fn run_scheduler(listen: SocketAddr, timeout: u64) -> Result<()> {
    let config = SchedulerConfig {
        external_host: listen.ip().to_string(),
        bind_host: listen.ip().to_string(),
        bind_port: listen.port(),
        scheduling_policy: TaskSchedulingPolicy::PushStaged,
        executor_timeout_seconds: timeout,
        expire_dead_executor_interval_seconds: HEARTBEAT,
        override_physical_codec: Some(Arc::new(Codec::default())),
        grpc_server_max_decoding_message_size: LARGEST_MESSAGE,
        grpc_server_max_encoding_message_size: LARGEST_MESSAGE,
        finished_job_data_clean_up_interval_seconds: RESULTS_KEPT,
        finished_job_state_clean_up_interval_seconds: JOBS_KEPT,
        ..SchedulerConfig::default()
    };
    let ended = async {
        let cluster = BallistaCluster::new_from_config(&config).await?;
        start_server(cluster, listen, Arc::new(config.clone())).await
    };
    ended.await.map_err(|err| failed("scheduler", listen, &err))
}

/// Runs an executor until the process ends or its scheduler tells it to stop.
///
/// # Errors
/// [`Error::Cluster`] if it cannot listen there, or does not reach the scheduler within a minute.
pub async fn run_executor(options: ExecutorOptions) -> Result<()> {
    let listen = options.listen;
    let slots = options.worker.slots.max(1);
    let worker = Arc::new(Worker::new(options.worker));
    let config: ConfigProducer = Arc::new(move || {
        SessionConfig::new_with_ballista()
            .with_extension(worker.clone())
            .with_extension(worker.stores())
    });
    // Ballista's own registry lacks DataFusion's functions of lists.
    let functions = BallistaFunctionRegistry::from(&SessionContext::new().state());
    let (scheduler_host, scheduler_port) = host_and_port(&options.scheduler)?;
    let results = listen.port().checked_add(1).ok_or_else(|| Error::Cluster {
        reason: format!("an executor needs two ports, and there is none after {listen}"),
    })?;
    let config = ExecutorProcessConfig {
        bind_host: listen.ip().to_string(),
        external_host: Some(options.host.unwrap_or_else(|| listen.ip().to_string())),
        port: results,
        grpc_port: listen.port(),
        scheduler_host,
        scheduler_port,
        scheduler_connect_timeout_seconds: CONNECT,
        concurrent_tasks: slots,
        memory_pool_size: options.query_memory,
        task_scheduling_policy: TaskSchedulingPolicy::PushStaged,
        work_dir: Some(options.work.display().to_string()),
        grpc_max_decoding_message_size: LARGEST_MESSAGE,
        grpc_max_encoding_message_size: LARGEST_MESSAGE,
        job_data_ttl_seconds: RESULTS_KEPT,
        job_data_clean_up_interval_seconds: 600,
        executor_heartbeat_interval_seconds: HEARTBEAT,
        override_config_producer: Some(config),
        override_function_registry: Some(Arc::new(functions)),
        override_physical_codec: Some(Arc::new(Codec::default())),
        ..ExecutorProcessConfig::default()
    };
    let ended = start_executor_process(Arc::new(config)).await;
    ended.map_err(|err| failed("executor", listen, &err))
}

/// The parts of `host:port`.
fn host_and_port(address: &str) -> Result<(String, u16)> {
    let parts = address.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parts.ok_or_else(|| Error::InvalidOption {
        what: "scheduler",
        value: address.to_owned(),
        expected: "HOST:PORT, like 127.0.0.1:50050".to_owned(),
    })
}

fn failed(what: &str, listen: SocketAddr, err: &BallistaError) -> Error {
    Error::Cluster {
        reason: format!("the {what} at {listen} ended: {err}"),
    }
}
