//! `switchboard agent|key|team|group|task` and `switchboard explain`: the admin API from a shell.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::EXIT_UNAVAILABLE;
use crate::client::{Client, Failure};
use crate::config;

mod commands;
mod table;

use commands::Asked;
pub(super) use commands::{AgentCommand, ExplainCommand, GroupCommand, KeyCommand, TaskCommand, TeamCommand};

/// How answers are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    Table,
    Json,
}

/// What every command has.
#[derive(Args)]
pub(super) struct Common {
    /// The gateway.
    #[arg(
        long,
        env = "SWITCHBOARD_URL",
        default_value = "http://127.0.0.1:4000",
        value_parser = config::web_url,
        global = true
    )]
    url: url::Url,
    /// The key by which the gateway knows you; best in the environment, where no list of processes shows it.
    #[arg(
        long,
        env = "SWITCHBOARD_KEY",
        hide_env_values = true,
        default_value = "",
        hide_default_value = true,
        global = true
    )]
    gateway_key: String,
    /// How to print the answer.
    #[arg(long, value_enum, default_value = "table", global = true)]
    output: Output,
}

pub(super) async fn agent(command: AgentCommand, common: Common) -> ExitCode {
    run(command.asked(), common).await
}

pub(super) async fn key(command: KeyCommand, common: Common) -> ExitCode {
    run(command.asked(), common).await
}

pub(super) async fn team(command: TeamCommand, common: Common) -> ExitCode {
    run(command.asked(), common).await
}

pub(super) async fn group(command: GroupCommand, common: Common) -> ExitCode {
    run(command.asked(), common).await
}

pub(super) async fn task(command: TaskCommand, common: Common) -> ExitCode {
    run(command.asked(), common).await
}

pub(super) async fn explain(command: ExplainCommand, common: Common) -> ExitCode {
    run(command.asked(), common).await
}

/// Calls the gateway and prints its answer; of a list, every page.
async fn run(asked: Asked, common: Common) -> ExitCode {
    let client = Client::new(common.url, common.gateway_key);
    let mut body = asked.body;
    let mut whole: Option<Value> = None;
    loop {
        let page = match client.admin(asked.method, &body).await {
            Ok(page) => page,
            Err(Failure::Refused(error)) => {
                eprintln!("switchboard: {error}");
                return ExitCode::FAILURE;
            }
            Err(Failure::Unreachable(error)) => {
                eprintln!("switchboard: {error}");
                return ExitCode::from(EXIT_UNAVAILABLE);
            }
        };
        let next = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
        match &mut whole {
            None => whole = Some(page),
            Some(whole) => append(whole, &page),
        }
        if next.is_empty() {
            break;
        }
        body["pageToken"] = next.into();
    }
    let mut answer = whole.unwrap_or_default();
    if let Some(answer) = answer.as_object_mut() {
        answer.remove("nextPageToken");
    }
    match common.output {
        Output::Json => println!("{answer:#}"),
        Output::Table => print!("{}", table::table(asked.method, &answer)),
    }
    ExitCode::SUCCESS
}

/// Adds the items of another page.
fn append(whole: &mut Value, page: &Value) {
    for (name, items) in page.as_object().into_iter().flatten() {
        if let (Some(known), Some(items)) = (whole[name.as_str()].as_array_mut(), items.as_array()) {
            known.extend(items.iter().cloned());
        }
    }
}
