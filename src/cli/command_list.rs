//! The commands and their options as data, from which the Python package makes its methods.

#![allow(dead_code, reason = "the Python package reads it (python/src/lib.rs)")]

use std::any::TypeId;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, Command, CommandFactory};
use serde::Serialize;

use super::Cli;

/// A command without subcommands.
#[derive(Debug, Serialize)]
pub struct DescribedCommand {
    /// Its words, such as `ingest coco`.
    pub words: Vec<String>,
    /// What it does.
    pub about: String,
    /// Text after the options: examples.
    pub after: String,
    /// Its arguments, except those of every command.
    pub arguments: Vec<DescribedArgument>,
}

/// An argument of a command.
#[derive(Debug, Serialize)]
pub struct DescribedArgument {
    /// Its name: an option's without dashes, else that of its value.
    pub name: String,
    /// Whether it has no name on the command line, but a place.
    pub is_positional: bool,
    /// Whether the command cannot do without it.
    pub is_required: bool,
    /// What its values are: flag, integer, number, path or text.
    pub kind: &'static str,
    /// What its value is called, such as `FILE`.
    pub value: Option<String>,
    /// Whether it takes several values.
    pub is_many: bool,
    /// The only values that it takes, if these are listed.
    pub choices: Vec<String>,
    /// The values that it has where none is given.
    pub default: Vec<String>,
    /// The letter of its short form.
    pub short: Option<char>,
    /// What it is for.
    pub help: String,
}

/// Every command of the program.
pub fn commands() -> Vec<DescribedCommand> {
    let mut program = Cli::command();
    program.build();
    let mut found = Vec::new();
    walk(&program, &mut Vec::new(), &mut found);
    found
}

fn walk(command: &Command, words: &mut Vec<String>, found: &mut Vec<DescribedCommand>) {
    if command.has_subcommands() {
        for below in command
            .get_subcommands()
            .filter(|it| it.get_name() != "help")
        {
            words.push(below.get_name().to_owned());
            walk(below, words, found);
            words.pop();
        }
        return;
    }
    let text = |styled: Option<&clap::builder::StyledStr>| styled.map(ToString::to_string);
    let about = text(command.get_long_about()).or_else(|| text(command.get_about()));
    let arguments = command.get_arguments().filter(|it| {
        let of_all = it.is_global_set() || ["help", "version"].contains(&it.get_id().as_str());
        !of_all && !it.is_hide_set()
    });
    found.push(DescribedCommand {
        words: words.clone(),
        about: about.unwrap_or_default(),
        after: text(command.get_after_help()).unwrap_or_default(),
        arguments: arguments.map(argument).collect(),
    });
}

fn argument(argument: &Arg) -> DescribedArgument {
    let parser = argument.get_value_parser();
    let id = parser.type_id();
    let is_any = |types: &[TypeId]| types.iter().any(|it| id == *it);
    let is_flag = !argument.get_action().takes_values();
    let kind = if is_flag {
        "flag"
    } else if is_any(&[
        TypeId::of::<u16>(),
        TypeId::of::<u32>(),
        TypeId::of::<i32>(),
        TypeId::of::<u64>(),
        TypeId::of::<i64>(),
        TypeId::of::<usize>(),
    ]) {
        "integer"
    } else if is_any(&[
        TypeId::of::<f32>(),
        TypeId::of::<f64>(),
        TypeId::of::<Duration>(), // given in seconds
    ]) {
        "number"
    } else if id == TypeId::of::<PathBuf>() {
        "path"
    } else {
        "text"
    };
    let help = argument.get_long_help().or_else(|| argument.get_help());
    let name = argument
        .get_long()
        .map_or(argument.get_id().as_str(), |it| it);
    let default = argument.get_default_values().iter();
    let choices = argument.get_possible_values();
    DescribedArgument {
        name: name.to_owned(),
        is_positional: argument.is_positional(),
        is_required: argument.is_required_set(),
        kind,
        value: argument
            .get_value_names()
            .and_then(|names| names.first())
            .map(ToString::to_string),
        is_many: !is_flag
            && (matches!(argument.get_action(), ArgAction::Append)
                || argument.get_value_delimiter().is_some()
                || argument
                    .get_num_args()
                    .is_some_and(|it| it.max_values() > 1)),
        choices: choices
            .iter()
            .filter(|_| !is_flag)
            .map(|it| it.get_name().to_owned())
            .collect(),
        default: default
            .map(|it| it.to_string_lossy().into_owned())
            .collect(),
        short: argument.get_short(),
        help: help.map(ToString::to_string).unwrap_or_default(),
    }
}
