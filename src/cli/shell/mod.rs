//! The SQL shell: `grainstore sql` without a query, on a terminal.
//!
//! A statement may take several lines and ends with a semicolon; lines that begin with a backslash are [`Request`]s to the
//! shell. Every statement reads the newest state of the store, unless an earlier one was asked for. Ctrl-C ends a query, and
//! Ctrl-D the shell.

mod complete;
mod request;
mod statements;

use std::io::{BufRead, IsTerminal, stdin};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use grainstore::neighbours::ClipTexts;
use grainstore::query::Query;
use grainstore::schema::Table;
use grainstore::sql::Sql;
use grainstore::store::{Snapshot, Store};
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use self::complete::Assistant;
use self::request::{Request, is_request};
use self::statements::is_whole;
use super::output::Output;
use super::statement::{run_query, run_statement};
use super::{At, Ended, Global, is_closed_pipe, report_error};

const WELCOME: &str = "SQL over the store; end a statement with ';'. \\d lists the tables, \\? the shell's own commands, Ctrl-D leaves.";

/// An open shell.
pub struct Shell<'a> {
    global: &'a Global,
    store: Store,
    at: At,
    texts: Option<Arc<ClipTexts>>,
    output: Output,
    /// Where the rows of the next statement go, in place of `output`.
    file: Option<PathBuf>,
    timing: bool,
}

impl<'a> Shell<'a> {
    /// A shell over a store as it is, or was at `at`; `checkpoint` has the weights for `nearest_text`.
    pub fn new(
        store: Store,
        at: At,
        checkpoint: Option<PathBuf>,
        output: Output,
        global: &'a Global,
    ) -> Self {
        Self {
            global,
            store,
            at,
            texts: checkpoint.map(|file| Arc::new(ClipTexts::new(file))),
            output,
            file: None,
            timing: false,
        }
    }

    /// Reads and runs statements until the input ends. Without a terminal the first error ends it.
    pub async fn run(self) -> anyhow::Result<Ended> {
        if stdin().is_terminal() {
            self.run_on_terminal().await
        } else {
            self.run_script().await
        }
    }

    async fn run_on_terminal(mut self) -> anyhow::Result<Ended> {
        let snapshot = self.at.snapshot(&self.store).await?;
        let names = Sql::new(&snapshot).await?.names();
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(true)
            .build();
        let mut editor: Editor<Assistant, FileHistory> = Editor::with_config(config)?;
        editor.set_helper(Some(Assistant::new(names)?));
        let history = history_file();
        if let Some(file) = &history {
            // There is none before the first statement.
            let _ = editor.load_history(file);
        }
        if !self.global.quiet {
            errln!("{WELCOME}");
        }
        loop {
            let line = tokio::task::block_in_place(|| editor.readline("grainstore> "));
            let input = match line {
                Ok(input) => input,
                // What was typed is dropped, as in other shells.
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => break,
                Err(err) => return Err(err.into()),
            };
            if let Some(file) = &history {
                keep_history(&mut editor, file);
            }
            let answered = tokio::select! {
                answered = self.answer(&input) => answered,
                _ = tokio::signal::ctrl_c() => {
                    errln!("the query was ended");
                    continue;
                }
            };
            match answered {
                Ok(true) => break,
                Ok(false) => {}
                Err(err) if is_closed_pipe(&err) => return Err(err),
                Err(err) => report_error(&err, false),
            }
        }
        Ok(Ended::Done)
    }

    async fn run_script(mut self) -> anyhow::Result<Ended> {
        let mut input = String::new();
        for line in stdin().lock().lines() {
            input.push_str(&line.context("cannot read statements from stdin")?);
            input.push('\n');
            if is_request(&input) || is_whole(&input) {
                if self.answer(&input).await? {
                    return Ok(Ended::Done);
                }
                input.clear();
            }
        }
        if !is_whole(&input) {
            bail!(
                "the last statement does not end with ';': '{}'",
                input.trim()
            );
        }
        Ok(Ended::Done)
    }

    /// Does what a line asks for. Returns whether it was the last.
    async fn answer(&mut self, input: &str) -> anyhow::Result<bool> {
        if let Some(request) = Request::parse(input)? {
            return self.request(request).await;
        }
        for statement in statements::split(input)? {
            let started = Instant::now();
            let output = self.output_of_next();
            self.statement(&statement, &output).await?;
            if self.timing {
                errln!("{:.3} s", started.elapsed().as_secs_f64());
            }
        }
        Ok(false)
    }

    /// Where the rows of the next statement go. A file takes those of one.
    fn output_of_next(&mut self) -> Output {
        match self.file.take() {
            Some(file) => Output::to_file(file),
            None => self.output.clone(),
        }
    }

    async fn snapshot(&self) -> anyhow::Result<Snapshot> {
        self.at.snapshot(&self.store).await
    }

    async fn statement(&self, text: &str, output: &Output) -> anyhow::Result<()> {
        let snapshot = self.snapshot().await?;
        run_statement(
            text,
            &self.store,
            &snapshot,
            self.texts.clone(),
            output,
            self.global,
        )
        .await?;
        Ok(())
    }

    async fn request(&mut self, request: Request) -> anyhow::Result<bool> {
        match request {
            Request::Help => outln!("{}", request::HELP),
            Request::Leave => return Ok(true),
            Request::Drop => {}
            Request::Tables => self.statement(TABLES, &self.output).await?,
            Request::Describe(name) => match Table::from_name(&name) {
                Some(table) => outln!("{}", table.ddl().trim_end()),
                None => {
                    self.statement(&format!("DESCRIBE {name}"), &self.output)
                        .await?
                }
            },
            Request::Timing(timing) => {
                self.timing = timing.unwrap_or(!self.timing);
                errln!("timing is {}", if self.timing { "on" } else { "off" });
            }
            Request::Mode(format) => self.output.set_format(format),
            Request::Output(file) => self.file = Some(file),
            Request::At(at) => {
                let at = At { at };
                at.snapshot(&self.store).await?;
                self.at = at;
            }
            Request::Queries => {
                for query in Query::all()? {
                    outln!("{:<36} {}", query.name(), query.asks());
                }
            }
            Request::Run(name, parameters) => {
                let output = self.output_of_next();
                let snapshot = self.snapshot().await?;
                let query = Query::named(&name)?;
                run_query(&query, &snapshot, &parameters, &output, self.global).await?;
            }
        }
        Ok(false)
    }
}

/// The tables with what the shell knows of them.
const TABLES: &str = "SELECT CASE table_schema WHEN 'public' THEN table_name ELSE table_schema || '.' || table_name END AS \"table\" \
                      FROM information_schema.tables WHERE table_schema <> 'information_schema' ORDER BY 1";

/// Where statements are kept from one shell to the next.
fn history_file() -> Option<PathBuf> {
    let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from);
    let state = state.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("grainstore/sql_history"))
}

/// A history that cannot be written is not worth an error.
fn keep_history(editor: &mut Editor<Assistant, FileHistory>, file: &Path) {
    if let Some(folder) = file.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let _ = editor.save_history(file);
}
