//! The command line: one file per subcommand, each with its arguments and a `run`.
//!
//! Results go to stdout, logs and progress to stderr. Exit codes: 0 done, 1 failed, 2 done with unusable items. A
//! closed pipe counts as success.

/// Prints a line to stdout. A closed pipe is an error here, where `println!` panics.
macro_rules! outln {
    ($($arg:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout().lock(), $($arg)*)?
    }};
}

/// Prints a line to stderr, or gives it to the host program. Unlike `eprintln!`, it does not panic if stderr is closed.
macro_rules! errln {
    ($($arg:tt)*) => {
        $crate::cli::print_to_stderr(format_args!($($arg)*))
    };
}

mod annotate;
pub mod call;
mod check;
mod classes;
mod cluster;
mod collect;
pub mod command_list;
mod compare;
mod completions;
mod demo;
mod embed;
mod embedders;
mod eval;
mod eval_args;
mod export;
mod extract;
mod heads;
mod import;
mod ingest;
mod init;
mod label;
mod man;
mod output;
mod progress;
mod propagate;
mod query;
mod queue;
mod report;
mod review;
mod schema;
mod search;
mod shell;
mod show;
mod sql;
mod statement;
mod store;
mod store_index;
mod train;

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::process;
use std::sync::OnceLock;

use anyhow::Context;
use clap::{Parser, Subcommand};
use grainstore::Error;
use grainstore::review::fold_journals;
use grainstore::selection::ImageFilter;
use grainstore::store::{Snapshot, StorageOption, StorageOptions, Store, StoreOptions};
use serde::Serialize;

use crate::hints::hint;

/// Run Segment Anything once, then query: a store of masks, labels, heads and evaluations.
#[derive(Debug, Parser)]
#[command(name = "grainstore", version, propagate_version = true, after_help = EXAMPLES)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  grainstore demo
  grainstore ingest images photos/ --dataset web
  grainstore ingest coco --annotations instances_val2017.json --images val2017/ --split val
  grainstore extract --checkpoint sam_vit_b_01ec64.pth
  grainstore embed --checkpoint dinov2_vitb14_pretrain.pth
  grainstore classes add all --from labels
  grainstore train --name fine --classes all
  grainstore annotate --head fine
  grainstore eval --head fine --split test
  grainstore export coco --head fine -o fine.json
  grainstore sql \"SELECT label, count(*) FROM labels GROUP BY label\"
  grainstore query review/datasets
  grainstore check

Exit codes: 0 done, 1 failed, 2 done, but some items could not be used. Each was reported, and
'grainstore query failures' lists those of ingest, extract, embed and import.";

/// Options of all commands.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Options of every command")]
struct Global {
    /// The store: a directory, or in a build with these features a bucket: s3://, gs:// or az://BUCKET/PREFIX.
    #[arg(
        long,
        global = true,
        env = "GRAINSTORE_STORE",
        default_value = "grainstore",
        value_name = "PATH"
    )]
    store: String,
    /// An option of buckets, such as endpoint=http://127.0.0.1:9000, region or allow_http=true; repeat it for more. Keys and
    /// secrets come from the environment (AWS_PROFILE, AWS_ACCESS_KEY_ID, GOOGLE_APPLICATION_CREDENTIALS, ...).
    #[arg(
        long = "storage-option",
        global = true,
        env = "GRAINSTORE_STORAGE_OPTIONS",
        hide_env_values = true,
        value_delimiter = ',',
        value_name = "KEY=VALUE"
    )]
    storage_options: Vec<StorageOption>,
    /// Print results and errors as JSON on stdout.
    #[arg(long, global = true)]
    json: bool,
    /// Print more on stderr; repeat it for even more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Print only errors on stderr.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

impl Global {
    /// The options of buckets.
    fn storage(&self) -> StorageOptions {
        self.storage_options.iter().cloned().collect()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::Args),
    Init(init::Args),
    #[command(subcommand)]
    Ingest(ingest::Args),
    #[command(subcommand)]
    Collect(collect::Args),
    Extract(extract::Args),
    Embed(embed::Args),
    #[command(subcommand)]
    Embedders(embedders::Args),
    #[command(subcommand)]
    Classes(classes::Args),
    #[command(subcommand)]
    Label(label::Args),
    #[command(subcommand)]
    Labels(label::LabelsArgs),
    Queue(queue::Args),
    Propagate(propagate::Args),
    Review(review::Args),
    Train(Box<train::Args>),
    Annotate(annotate::Args),
    Rethreshold(annotate::RethresholdArgs),
    #[command(subcommand)]
    Heads(heads::Args),
    Eval(eval::Args),
    Compare(compare::Args),
    #[command(subcommand)]
    Import(import::Args),
    #[command(subcommand)]
    Export(export::Args),
    Show(show::Args),
    Search(search::Args),
    Report(report::Args),
    Sql(sql::Args),
    Query(query::Args),
    Check(check::Args),
    #[command(subcommand)]
    Store(store::Args),
    Scheduler(cluster::SchedulerArgs),
    Executor(cluster::ExecutorArgs),
    Schema(schema::Args),
    Completions(completions::Args),
    Man(man::Args),
}

/// The outcome of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Everything was done.
    Done,
    /// Everything possible was done, but some items could not be used.
    WithBadItems,
    /// The command did its work, and the answer is negative.
    Unhealthy,
}

impl Ended {
    /// The outcome of a run in which `failed` items could not be used.
    fn with_failures(failed: u64) -> Self {
        match failed {
            0 => Self::Done,
            _ => Self::WithBadItems,
        }
    }

    fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Unhealthy => 1,
            Self::WithBadItems => 2,
        }
    }
}

/// Parses the arguments, of which the first is the program's name, runs the command, and reports its outcome. Returns the exit code.
pub fn main(args: Vec<OsString>) -> u8 {
    let wants_json = args.iter().any(|arg| arg == "--json");
    let cli = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(err) => {
            if err.use_stderr() && wants_json {
                let _ = print_json(&serde_json::json!({ "error": err.to_string() }));
            }
            let _ = err.print();
            return u8::from(err.use_stderr());
        }
    };
    start_logging(&cli.global);
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(err) => {
            errln!("error: cannot start worker threads: {err}");
            return 1;
        }
    };
    let json = cli.global.json;
    match runtime.block_on(run(cli)) {
        Ok(ended) => ended.code(),
        Err(err) if is_closed_pipe(&err) => 0,
        Err(err) => {
            report_error(&err, json);
            1
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<Ended> {
    let global = &cli.global;
    match cli.command {
        Command::Demo(args) => demo::run(args, global).await,
        Command::Init(args) => init::run(args, global).await,
        Command::Ingest(args) => ingest::run(args, global).await,
        Command::Collect(args) => collect::run(args, global).await,
        Command::Extract(args) => extract::run(args, global).await,
        Command::Embed(args) => embed::run(args, global).await,
        Command::Embedders(args) => embedders::run(args, global).await,
        Command::Classes(args) => classes::run(args, global).await,
        Command::Label(args) => label::run(args, global).await,
        Command::Labels(args) => label::run_labels(args, global).await,
        Command::Queue(args) => queue::run(args, global).await,
        Command::Propagate(args) => propagate::run(args, global).await,
        Command::Review(args) => review::run(args, global).await,
        Command::Train(args) => train::run(*args, global).await,
        Command::Annotate(args) => annotate::run(args, global).await,
        Command::Rethreshold(args) => annotate::run_rethreshold(args, global).await,
        Command::Heads(args) => heads::run(args, global).await,
        Command::Eval(args) => eval::run(args, global).await,
        Command::Compare(args) => compare::run(args, global).await,
        Command::Import(args) => import::run(args, global).await,
        Command::Export(args) => export::run(args, global).await,
        Command::Search(args) => search::run(args, global).await,
        Command::Show(args) => show::run(args, global).await,
        Command::Report(args) => report::run(args, global).await,
        Command::Sql(args) => sql::run(args, global).await,
        Command::Query(args) => query::run(args, global).await,
        Command::Check(args) => check::run(args, global).await,
        Command::Store(args) => store::run(args, global).await,
        Command::Scheduler(args) => cluster::run_scheduler(args, global).await,
        Command::Executor(args) => cluster::run_executor(args, global).await,
        Command::Schema(args) => schema::run(&args, global),
        Command::Completions(args) => completions::run(&args),
        Command::Man(args) => man::run(&args),
    }
}

fn start_logging(global: &Global) {
    log_to_stderr(match (global.quiet, global.verbose) {
        (true, _) => "error",
        (_, 0) => WARNINGS,
        (_, 1) => "grainstore=info,warn",
        (_, 2) => "grainstore=debug,info",
        _ => "debug",
    });
}

/// The filter of the log that shows warnings.
const WARNINGS: &str = "grainstore=warn,error";

/// Starts the log, unless it was started before.
fn log_to_stderr(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("GRAINSTORE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
}

fn report_error(err: &anyhow::Error, json: bool) {
    let (text, hint) = described(err);
    if json {
        let told = std::iter::once(("error", &text)).chain(hint.iter().map(|hint| ("hint", hint)));
        let _ = print_json(&told.collect::<BTreeMap<_, _>>());
    }
    errln!("error: {text}");
    if let Some(hint) = hint {
        errln!("hint: {hint}");
    }
}

/// An error with its causes in one line, and advice on it.
fn described(err: &anyhow::Error) -> (String, Option<String>) {
    let mut reasons: Vec<String> = Vec::new();
    for cause in err.chain() {
        let reason = cause.to_string();
        // Some libraries repeat the text of the cause in their own, or the reverse.
        let repeats = |last: &String| last.contains(&reason) || reason.contains(last.as_str());
        if !reasons.last().is_some_and(repeats) {
            reasons.push(reason);
        }
        if cause.downcast_ref().is_some_and(tells_its_cause) {
            break;
        }
    }
    let hint = err.chain().find_map(|cause| hint(cause.downcast_ref()?));
    (reasons.join(": "), hint)
}

/// Whether an error's own text already includes those of its causes.
fn tells_its_cause(err: &Error) -> bool {
    matches!(
        err,
        Error::Lance(_) | Error::DataFusion(_) | Error::Arrow(_) | Error::Json(_)
    )
}

fn is_closed_pipe(err: &anyhow::Error) -> bool {
    output::stdout_was_closed()
        || err.chain().any(|cause| {
            let io = cause.downcast_ref::<io::Error>();
            io.is_some_and(|err| err.kind() == ErrorKind::BrokenPipe)
        })
}

/// What `errln!` does.
pub fn print_to_stderr(line: fmt::Arguments<'_>) {
    if !call::note(line) {
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Prints a value to stdout, or gives it to the host program.
fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    if call::value(value)? {
        return Ok(());
    }
    let mut out = io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, value).map_err(io::Error::from)?;
    writeln!(out)?;
    Ok(())
}

/// How to start this program: by its file, unless a host program says otherwise.
pub static PROGRAM: OnceLock<Vec<OsString>> = OnceLock::new();

/// This program, to be started in another process.
fn this_program() -> anyhow::Result<process::Command> {
    let words = PROGRAM.get().map_or(&[][..], Vec::as_slice);
    let Some((program, args)) = words.split_first() else {
        let program = std::env::current_exe().context("cannot find the program itself")?;
        return Ok(process::Command::new(program));
    };
    let mut command = process::Command::new(program);
    command.args(args);
    Ok(command)
}

/// A number with its noun, such as `1 row` or `2 rows`.
fn plural(n: u64, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

/// Prints a run's summary as JSON, with the seconds it took.
fn print_json_summary(summary: &impl Serialize, seconds: f64) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Timed<'a, T> {
        #[serde(flatten)]
        summary: &'a T,
        seconds: f64,
    }
    // Going through a JSON value sorts the keys.
    print_json(&serde_json::to_value(Timed { summary, seconds })?)
}

/// Opens the store that is asked for. Labels that a review page saved before it was killed are put into their table first.
async fn open(global: &Global) -> anyhow::Result<Store> {
    let store = Store::open_with(&global.store, &global.storage()).await?;
    folded(store, global).await
}

/// Opens the store that is asked for, and creates it if the place is empty.
async fn open_or_create(global: &Global) -> anyhow::Result<Store> {
    let options = StoreOptions::default();
    let store = Store::open_or_create_with(&global.store, options, &global.storage()).await?;
    folded(store, global).await
}

async fn folded(store: Store, global: &Global) -> anyhow::Result<Store> {
    match fold_journals(&store).await {
        Ok(0) => {}
        Ok(_) if global.quiet => {}
        Ok(labels) => errln!(
            "{} of the review page put into the store",
            plural(labels, "label")
        ),
        // Whoever may only read the store reads it as it is.
        Err(Error::File { source, .. })
            if [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem]
                .contains(&source.kind()) =>
        {
            tracing::warn!("labels of a review page are not in their table yet: {source}");
        }
        Err(err) => return Err(err.into()),
    }
    Ok(store)
}

/// The images for which a condition holds, if one is given.
fn images_where(condition: Option<String>) -> ImageFilter {
    ImageFilter {
        condition,
        ..ImageFilter::default()
    }
}

/// The state of the store to read.
#[derive(Debug, Clone, clap::Args)]
struct At {
    /// Read the store at an earlier version ('grainstore store log') or at a tag.
    #[arg(long, value_name = "VERSION|TAG")]
    at: Option<String>,
}

impl At {
    async fn snapshot(&self, store: &Store) -> anyhow::Result<Snapshot> {
        let Some(at) = &self.at else {
            return Ok(store.snapshot().await?);
        };
        let version = match at.parse() {
            Ok(version) => version,
            Err(_) => store.version_of_tag(at).await?,
        };
        Ok(store.snapshot_at(version).await?)
    }
}

/// What tables are called in SQL. Those of vectors are stored under the ids of their embedders.
struct TableNames {
    of_vectors: HashMap<String, String>,
}

impl TableNames {
    async fn of(snapshot: &Snapshot) -> grainstore::Result<Self> {
        let tables = snapshot.vector_tables().await?;
        let named = tables.into_iter().map(|(embedder, table)| {
            let path = table.path();
            let folder = path.split('/').next().unwrap_or_default();
            let name = format!("{folder}.{embedder}");
            (path, name)
        });
        Ok(Self {
            of_vectors: named.collect(),
        })
    }

    /// The name of a table, by the path that the store gives it; the path itself for vectors that are gone.
    fn name<'a>(&'a self, path: &'a str) -> &'a str {
        self.of_vectors.get(path).map_or(path, String::as_str)
    }
}
