//! Commands called by a host program, such as the Python package, in place of a terminal: arguments in; JSON values and rows
//! out. What a person would see on stderr goes to the host's [`Progress`].

#![allow(
    dead_code,
    reason = "the Python package calls it (python/src/lib.rs); the program only asks whether it is called"
)]

use std::ffi::OsString;
use std::sync::{Arc, Mutex};

use clap::Parser;
use grainstore::progress::Progress;
use grainstore::sql::Rows;
use serde_json::Value;

use super::{Cli, Ended, WARNINGS, described, log_to_stderr, run};

tokio::task_local! {
    static CALL: Call;
}

/// A call that is under way.
struct Call {
    kept: Mutex<Vec<Box<dyn Send>>>,
    progress: Arc<dyn Progress>,
    answer: Arc<Mutex<Answer>>,
}

/// What a command has to say to its host.
#[derive(Default)]
pub struct Answer {
    /// What it would print as JSON.
    pub value: Option<Value>,
    /// The rows of a query, not read yet.
    pub rows: Option<Rows>,
    /// Whether some items could not be used.
    pub with_bad_items: bool,
}

/// Why a command failed.
pub struct Failure {
    /// What is wrong.
    pub text: String,
    /// What a user can do, in terms of the command line.
    pub hint: Option<String>,
    /// The error; `None` if the arguments are wrong.
    pub error: Option<anyhow::Error>,
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        let (text, hint) = described(&error);
        Self {
            text,
            hint,
            error: Some(error),
        }
    }
}

/// Runs a command. `args` begin with the name of the program.
///
/// # Errors
/// Any error of the command, and of its arguments.
pub async fn call(args: Vec<OsString>, progress: Arc<dyn Progress>) -> Result<Answer, Failure> {
    log_to_stderr(WARNINGS);
    let cli = Cli::try_parse_from(args).map_err(|err| Failure {
        text: what_is_wrong(&err),
        hint: None,
        error: None,
    })?;
    let answer = Arc::new(Mutex::new(Answer::default()));
    let of_call = Call {
        kept: Mutex::default(),
        progress,
        answer: answer.clone(),
    };
    let ended = CALL.scope(of_call, run(cli)).await?;
    let mut answer = answer.lock().unwrap_or_else(|err| err.into_inner());
    let mut answer = std::mem::take(&mut *answer);
    answer.with_bad_items = ended == Ended::WithBadItems;
    Ok(answer)
}

/// What clap says, without the usage of the command.
fn what_is_wrong(err: &clap::Error) -> String {
    let text = err.render().to_string();
    let ends = ["Usage:", "For more information"];
    let lines = text
        .lines()
        .take_while(|line| !ends.iter().any(|end| line.starts_with(end)));
    let lines: Vec<&str> = lines
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let text = lines.join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// The host's progress, if a host is calling.
pub fn progress() -> Option<Box<dyn Progress>> {
    let of_host = CALL.try_with(|call| call.progress.clone()).ok()?;
    Some(Box::new(of_host))
}

/// Keeps a thing until the call has ended, in whichever way; false if no host is calling.
pub fn keep(thing: impl Send + 'static) -> bool {
    CALL.try_with(|call| {
        let mut kept = call.kept.lock().unwrap_or_else(|err| err.into_inner());
        kept.push(Box::new(thing));
    })
    .is_ok()
}

/// Gives a line to the host; false if no host is calling.
pub fn note(line: std::fmt::Arguments<'_>) -> bool {
    CALL.try_with(|call| call.progress.note(&line.to_string()))
        .is_ok()
}

/// Gives a value to the host; false if no host is calling.
pub fn value(value: &impl serde::Serialize) -> serde_json::Result<bool> {
    let Ok(answer) = CALL.try_with(|call| call.answer.clone()) else {
        return Ok(false);
    };
    let value = serde_json::to_value(value)?;
    answer.lock().unwrap_or_else(|err| err.into_inner()).value = Some(value);
    Ok(true)
}

/// Gives rows to the host; gives them back if no host is calling.
pub fn rows(rows: Rows) -> Option<Rows> {
    let Ok(answer) = CALL.try_with(|call| call.answer.clone()) else {
        return Some(rows);
    };
    answer.lock().unwrap_or_else(|err| err.into_inner()).rows = Some(rows);
    None
}
