//! `switchboard call`: one message to one agent, by JSON-RPC.

use std::process::ExitCode;

use super::{CallArguments, EXIT_UNAVAILABLE};
use crate::client::{Client, Failure};

pub(super) async fn call(arguments: CallArguments) -> ExitCode {
    let client = Client::new(arguments.url, arguments.key);
    let printed = |value: &serde_json::Value| println!("{value:#}");
    let outcome = client.send(&arguments.agent, &arguments.text, arguments.version, arguments.stream, printed).await;
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused(error)) => {
            eprintln!("switchboard: {error}");
            ExitCode::FAILURE
        }
        Err(Failure::Unreachable(error)) => {
            eprintln!("switchboard: {error}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}
