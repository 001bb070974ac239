//! Any program that writes an image file.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use serde_json::{Map, Value, json};

use super::{Generator, Picture, Prompt};
use crate::error::{CollectError, FileAction};
use crate::task::blocking;
use crate::{Error, Result};

const NAME: &str = "command";
/// What of a program's messages an error repeats.
const MESSAGE: usize = 400;
/// Time between two looks at a program.
const LOOK: Duration = Duration::from_millis(20);

/// A program with its arguments. `{prompt}`, `{seed}`, `{label}`, `{class}` and `{out}` in them are replaced; no shell
/// sees them.
#[derive(Debug, Clone)]
pub struct CommandGenerator {
    line: String,
    words: Vec<String>,
    timeout: Duration,
}

impl CommandGenerator {
    /// Splits a command line as a shell would. An image may take `timeout`.
    ///
    /// # Errors
    /// [`CollectError::Generator`] for unbalanced quotes, an empty line, or one without `{prompt}` or `{out}`.
    pub fn new(line: &str, timeout: Duration) -> Result<Self> {
        let words = shlex::split(line).filter(|words| !words.is_empty());
        let words = words.ok_or_else(|| {
            failed(format!(
                "'{line}' is no command line; are its quotes balanced?"
            ))
        })?;
        for needed in ["{prompt}", "{out}"] {
            if !words.iter().any(|word| word.contains(needed)) {
                return Err(failed(format!("'{line}' has no {needed}")).into());
            }
        }
        Ok(Self {
            line: line.to_owned(),
            words,
            timeout,
        })
    }
}

fn failed(reason: String) -> CollectError {
    CollectError::Generator {
        generator: NAME,
        reason,
    }
}

/// A word of the command line with its values. Values are not looked at again, so a prompt may hold braces.
fn filled(word: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::new();
    let mut rest = word;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        let found = values.iter().find(|(name, _)| from.starts_with(name));
        match found {
            Some((name, value)) => {
                text.push_str(value);
                rest = from.get(name.len()..).unwrap_or_default();
            }
            None => {
                text.push('{');
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    text.push_str(rest);
    text
}

#[async_trait]
impl Generator for CommandGenerator {
    fn name(&self) -> &'static str {
        NAME
    }

    fn settings(&self) -> Map<String, Value> {
        let mut settings = Map::new();
        settings.insert("command".to_owned(), json!(self.line));
        settings
    }

    async fn prepare(&self, _labels: &[&str]) -> Result<()> {
        Ok(())
    }

    async fn generate(&self, prompt: &Prompt) -> Result<Picture> {
        let (words, timeout, prompt) = (self.words.clone(), self.timeout, prompt.clone());
        blocking("running a generator", move || run(&words, &prompt, timeout)).await
    }
}

/// Runs the program once, and reads the file that it wrote.
fn run(words: &[String], prompt: &Prompt, timeout: Duration) -> Result<Picture> {
    let temporary = std::env::temp_dir();
    let work = tempfile::tempdir().map_err(Error::file(FileAction::Create, &temporary))?;
    let (out, messages) = (work.path().join("image.png"), work.path().join("messages"));
    let (seed, out_text) = (prompt.seed.to_string(), out.display().to_string());
    let values = [
        ("{prompt}", prompt.text.as_str()),
        ("{seed}", seed.as_str()),
        ("{label}", prompt.label.as_str()),
        ("{class}", prompt.class.as_str()),
        ("{out}", out_text.as_str()),
    ];
    let mut words = words.iter().map(|word| filled(word, &values));
    let program = words.next().unwrap_or_default();
    // Into a file, so that a program with much to say never waits for a reader.
    let said = File::create(&messages).map_err(Error::file(FileAction::Create, &messages))?;
    let mut child = Command::new(&program)
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::from(said))
        .spawn()
        .map_err(|err| failed(format!("'{program}' cannot be run: {err}")))?;
    let status = wait(&mut child, timeout);
    let status =
        status.map_err(|err| failed(format!("'{program}' cannot be waited for: {err}")))?;
    let Some(status) = status else {
        let seconds = timeout.as_secs_f32();
        return Err(failed(format!("'{program}' took longer than {seconds} s")).into());
    };
    if !status.success() {
        let said = std::fs::read(&messages).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let said = said.trim();
        let start = said.ceil_char_boundary(said.len().saturating_sub(MESSAGE));
        let said = said.get(start..).unwrap_or_default();
        return Err(failed(format!("'{program}' failed ({status}): {said}")).into());
    }
    Ok(std::fs::read(&out).map_err(|err| {
        failed(format!(
            "'{program}' ended well but wrote no image to {{out}}: {err}"
        ))
    })?)
}

/// Waits for a program; `None` if it took too long and was ended.
fn wait(child: &mut Child, timeout: Duration) -> std::io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= timeout {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(LOOK);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_for_themselves() {
        let values = [("{prompt}", "a {seed} of \"x\""), ("{seed}", "7")];
        assert_eq!(filled("{prompt}", &values), "a {seed} of \"x\"");
        assert_eq!(filled("s={seed},{other}", &values), "s=7,{other}");
        assert_eq!(filled("{", &values), "{");
    }

    #[test]
    fn command_lines_need_a_prompt_and_a_place() {
        let new = |line: &str| CommandGenerator::new(line, Duration::from_secs(1));
        assert_eq!(
            new("gen --p '{prompt}' -o {out}").unwrap().words,
            ["gen", "--p", "{prompt}", "-o", "{out}"]
        );
        for bad in ["", "gen '{prompt} {out}", "gen {out}", "gen {prompt}"] {
            assert!(new(bad).is_err(), "{bad}");
        }
    }
}
