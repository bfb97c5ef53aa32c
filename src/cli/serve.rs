//! `switchboard serve` and `switchboard demo`.

use std::path::PathBuf;
use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

use super::{DemoArguments, EXIT_UNAVAILABLE};
use crate::config::Settings;
use crate::demo::Demo;
use crate::server::{Server, StartError};
use crate::telemetry;

pub(super) async fn serve(settings: Settings, file: PathBuf) -> ExitCode {
    telemetry::start(&settings.log);
    raise_file_limit();
    for note in &settings.notes {
        tracing::info!("{note}");
    }
    let listen = settings.listen;
    let agents = settings.agents.len();
    match Server::start(settings, None).await {
        Ok(server) => {
            server.follow_file(file);
            tracing::info!(address = %server.address(), agents, "serving");
            until_asked_to_stop().await;
            tracing::info!(calls = server.open_calls(), "stopping: calls under way may end");
            server.stop().await;
            ExitCode::SUCCESS
        }
        Err(StartError::Listen(error)) => {
            eprintln!(
                "switchboard: cannot listen on {listen}: {error}. Is another process there? Change `listen` to use another port"
            );
            ExitCode::from(EXIT_UNAVAILABLE)
        }
        Err(error) => {
            eprintln!("switchboard: cannot start: {error}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

pub(super) async fn demo(arguments: DemoArguments) -> ExitCode {
    let demo = match Demo::start(arguments.listen).await {
        Ok(demo) => demo,
        Err(error) => {
            eprintln!("switchboard: cannot listen on {}: {error}. Try --listen 127.0.0.1:4001", arguments.listen);
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    let worked = demo.show().await;
    if !arguments.once {
        println!("Running on; Ctrl-C ends it.");
        until_asked_to_stop().await;
    }
    demo.stop().await;
    if worked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The usual soft limit of 1,024 descriptors is less than the connections that are allowed.
fn raise_file_limit() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

async fn until_asked_to_stop() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
