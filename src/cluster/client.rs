//! A client of a cluster: it hands a plan to the scheduler and waits for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::datatypes::Schema;
use ballista_core::extension::{SessionConfigExt, SessionConfigHelperExt};
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::job_status::Status;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, ExecuteQueryParams, GetJobStatusParams, SuccessfulJob, execute_query_result,
};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::AsExecutionPlan;
use datafusion_proto::protobuf::PhysicalPlanNode;
use serde::Deserialize;
use tokio::sync::Mutex;
use tonic::transport::Channel;

use super::codec::Codec;
use super::processes::LARGEST_MESSAGE;
use crate::jobs::RunPlan;
use crate::{Error, Result};

const NO_EXECUTOR: &str =
    "no executor is there; start one with 'grainstore executor --scheduler ...'";
/// Time to the first look at a job; it doubles up to [`POLL`].
const FIRST_POLL: Duration = Duration::from_millis(20);
/// Time between two looks at a job.
const POLL: Duration = Duration::from_millis(500);
/// Time for which a scheduler that went away, or a cluster without executors, is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Executors are looked for this often.
const LOOK: Duration = Duration::from_secs(5);
/// Time after which the scheduler is nudged, even if no executor came or went.
const NUDGE: Duration = Duration::from_secs(30);

/// A cluster, known by the address of its scheduler.
#[derive(Debug)]
pub struct Cluster {
    scheduler: String,
    /// For what the scheduler says of its executors.
    http: reqwest::Client,
    /// The jobs that are under way, for [`Cluster::cancel`].
    jobs: Mutex<BTreeSet<String>>,
}

type Client = SchedulerGrpcClient<Channel>;

impl Cluster {
    /// Looks for the scheduler at `host:port`.
    ///
    /// # Errors
    /// [`Error::Cluster`] if there is none.
    pub async fn connect(scheduler: &str) -> Result<Self> {
        let cluster = Self {
            scheduler: scheduler.to_owned(),
            http: reqwest::Client::new(),
            jobs: Mutex::default(),
        };
        cluster.client().await?;
        Ok(cluster)
    }

    /// Cancels the jobs that are under way. Tasks that run already go on to their end.
    ///
    /// # Errors
    /// [`Error::Cluster`] if the scheduler cannot be reached.
    pub async fn cancel(&self) -> Result<()> {
        let jobs = std::mem::take(&mut *self.jobs.lock().await);
        for job_id in jobs {
            let mut client = self.client().await?;
            let cancelled = client.cancel_job(CancelJobParams { job_id }).await;
            cancelled.map_err(|err| self.job_failed(err.message()))?;
        }
        Ok(())
    }

    async fn client(&self) -> Result<Client> {
        let config = SessionConfig::new_with_ballista().ballista_config();
        let endpoint = create_grpc_client_endpoint(
            format!("http://{}", self.scheduler),
            Some(&GrpcClientConfig::from(&config)),
        );
        let endpoint = endpoint.map_err(|err| self.failed(&err.to_string()))?;
        let channel = endpoint.connect().await.map_err(|_| {
            self.failed("there is no scheduler; start one with 'grainstore scheduler'")
        })?;
        let limit = LARGEST_MESSAGE as usize;
        let client = SchedulerGrpcClient::new(channel);
        Ok(client
            .max_encoding_message_size(limit)
            .max_decoding_message_size(limit))
    }

    /// Connects to a scheduler that was there before, and may be coming back.
    async fn client_again(&self) -> Result<Client> {
        let begun = Instant::now();
        loop {
            match self.client().await {
                Err(_) if begun.elapsed() < PATIENCE => tokio::time::sleep(POLL).await,
                found => return found,
            }
        }
    }

    /// Hands a plan to the scheduler; returns the id of its job.
    async fn submit(&self, client: &mut Client, plan: Vec<u8>) -> Result<String> {
        let config = SessionConfig::new_with_ballista();
        let query = ExecuteQueryParams {
            session_id: format!("{:016x}", fastrand::u64(..)),
            settings: config.to_key_value_pairs(),
            operation_id: format!("{:016x}", fastrand::u64(..)),
            query: Some(Query::PhysicalPlan(plan)),
        };
        let answer = client.execute_query(query).await;
        let answer = answer.map_err(|err| self.job_failed(&unreachable(&err)))?;
        match answer.into_inner().result {
            Some(execute_query_result::Result::Success(job)) => Ok(job.job_id),
            Some(execute_query_result::Result::Failure(failure)) => {
                Err(self.job_failed(&format!("the plan was refused: {failure:?}")))
            }
            None => Err(self.failed("the scheduler gave no answer to a plan")),
        }
    }

    /// Waits for a job.
    async fn wait(&self, client: &mut Client, job: &str) -> Result<SuccessfulJob> {
        let mut watched = Watch::new(self.executor_ids().await);
        let mut pause = FIRST_POLL;
        loop {
            tokio::time::sleep(pause).await;
            pause = POLL.min(pause * 2);
            let job_id = job.to_owned();
            let answer = client.get_job_status(GetJobStatusParams { job_id }).await;
            let answer = answer.map_err(|err| self.job_failed(&unreachable(&err)))?;
            let status = answer.into_inner().status;
            match status.and_then(|status| status.status) {
                Some(Status::Successful(done)) => return Ok(done),
                Some(Status::Failed(failed)) => return Err(self.job_failed(&failed.error)),
                Some(Status::Queued(_) | Status::Running(_)) => watched.known(),
                None if watched.is_unknown() => {
                    return Err(
                        self.job_failed("the scheduler does not know the job; it was started anew")
                    );
                }
                None => {}
            }
            if watched.looks() {
                let executors = self.executor_ids().await;
                watched.executors(executors.as_ref().map(BTreeSet::len));
                if watched.nudges(executors) {
                    self.nudge(client).await;
                }
            }
            if watched.is_alone() {
                self.cancel().await?;
                return Err(self.failed(NO_EXECUTOR));
            }
        }
    }

    /// Has the scheduler look again for executors that have nothing to do. Ballista 54.1 looks when a job comes in or a task ends;
    /// a task that is handed back because its executor was lost can wait for ever.
    async fn nudge(&self, client: &mut Client) {
        let nothing = PlaceholderRowExec::new(Arc::new(Schema::empty()));
        let nudged = async { self.submit(client, to_bytes(Arc::new(nothing))?).await };
        if let Err(err) = nudged.await {
            tracing::debug!("the scheduler was not nudged: {err}");
        }
    }

    /// Number of tasks that the executors can run at the same time.
    ///
    /// # Errors
    /// [`Error::Cluster`] if there is no executor.
    pub(super) async fn slots(&self) -> Result<usize> {
        let executors = self.executors().await.unwrap_or_default();
        if executors.is_empty() {
            return Err(self.failed(NO_EXECUTOR));
        }
        let slots = executors.iter().map(|it| it.specification.task_slots);
        Ok(slots.sum::<usize>().max(1))
    }

    /// The ids of the executors that are there; they get new ones when they are started again.
    pub(super) async fn executor_ids(&self) -> Option<BTreeSet<String>> {
        let executors = self.executors().await?;
        Some(executors.into_iter().map(|it| it.id).collect())
    }

    /// The executors that the scheduler knows; `None` if it does not say.
    async fn executors(&self) -> Option<Vec<Executor>> {
        let url = format!("http://{}/api/executors", self.scheduler);
        let answer = self.http.get(url).timeout(LOOK).send().await.ok()?;
        answer.json().await.ok()
    }

    /// Runs a plan, given as bytes, to its end.
    pub(super) async fn run_bytes(&self, plan: Vec<u8>) -> Result<SuccessfulJob> {
        let mut client = self.client_again().await?;
        let job = self.submit(&mut client, plan).await?;
        self.jobs.lock().await.insert(job.clone());
        let ended = self.wait(&mut client, &job).await;
        self.jobs.lock().await.remove(&job);
        ended
    }

    fn job_failed(&self, reason: &str) -> Error {
        Error::ClusterJob {
            reason: format!("{}: {reason}", self.scheduler),
        }
    }

    fn failed(&self, reason: &str) -> Error {
        Error::Cluster {
            reason: format!("{}: {reason}", self.scheduler),
        }
    }
}

#[async_trait::async_trait]
impl RunPlan for Cluster {
    async fn run(&self, plan: Arc<dyn ExecutionPlan>) -> Result<u64> {
        let done = self.run_bytes(to_bytes(plan)?).await?;
        Ok(done.partition_location.len() as u64)
    }

    async fn cancel(&self) -> Result<()> {
        Cluster::cancel(self).await
    }
}

fn unreachable(err: &tonic::Status) -> String {
    format!("lost the connection to the scheduler: {}", err.message())
}

/// A plan as the scheduler reads it.
pub(super) fn to_bytes(plan: Arc<dyn ExecutionPlan>) -> datafusion::error::Result<Vec<u8>> {
    let codec = Codec::default();
    let plan = PhysicalPlanNode::try_from_physical_plan(plan, &codec)?;
    let mut bytes = Vec::new();
    plan.try_encode(&mut bytes)?;
    Ok(bytes)
}

/// What a scheduler says of an executor.
#[derive(Deserialize)]
struct Executor {
    id: String,
    specification: Specification,
}

#[derive(Deserialize)]
struct Specification {
    task_slots: usize,
}

/// What was seen of a job, and since when not.
struct Watch {
    known: Instant,
    looked: Instant,
    executors: Instant,
    warned: bool,
    ids: Option<BTreeSet<String>>,
    nudged: Instant,
}

impl Watch {
    fn new(ids: Option<BTreeSet<String>>) -> Self {
        let now = Instant::now();
        Self {
            known: now,
            looked: now,
            executors: now,
            warned: false,
            ids,
            nudged: now,
        }
    }

    fn known(&mut self) {
        self.known = Instant::now();
    }

    fn is_unknown(&self) -> bool {
        self.known.elapsed() > LOOK
    }

    /// Whether it is time to look for executors.
    fn looks(&mut self) -> bool {
        let is_due = self.looked.elapsed() >= LOOK;
        if is_due {
            self.looked = Instant::now();
        }
        is_due
    }

    fn executors(&mut self, count: Option<usize>) {
        if count != Some(0) {
            self.executors = Instant::now();
        } else if !self.warned {
            self.warned = true;
            tracing::warn!("no executor is connected; waiting for one");
        }
    }

    /// Whether it is time to nudge the scheduler: executors came or went, or long ago.
    fn nudges(&mut self, ids: Option<BTreeSet<String>>) -> bool {
        let is_other = self.ids.is_some() && ids != self.ids;
        self.ids = ids;
        let is_due = is_other || self.nudged.elapsed() > NUDGE;
        if is_due {
            self.nudged = Instant::now();
        }
        is_due
    }

    fn is_alone(&self) -> bool {
        self.executors.elapsed() > PATIENCE
    }
}
