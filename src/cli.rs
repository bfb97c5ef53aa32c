//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Settings};
use crate::operation::Version;

mod admin;
mod call;
mod serve;

use admin::{AgentCommand, Common, ExplainCommand, GroupCommand, KeyCommand, TaskCommand, TeamCommand};

/// `EX_USAGE`: the configuration or the command line is wrong; nothing was started.
const EXIT_CONFIG: u8 = 64;
/// `EX_UNAVAILABLE`: the port, or the gateway that was called, is not available.
const EXIT_UNAVAILABLE: u8 = 69;

/// An A2A agent gateway: any caller reaches any agent, in either protocol version.
#[derive(Parser)]
#[command(name = "switchboard", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve the agents of a configuration file until Ctrl-C or SIGTERM.
    Serve(ConfigFile),
    /// Check a configuration file and list every problem that it has.
    Check(ConfigFile),
    /// Send a text to an agent through a gateway, and print what comes back.
    Call(CallArguments),
    /// Register, list and change agents.
    Agent {
        #[command(subcommand)]
        command: AgentCommand,
        #[command(flatten)]
        common: Common,
    },
    /// Make, list, rotate and block keys.
    Key {
        #[command(subcommand)]
        command: KeyCommand,
        #[command(flatten)]
        common: Common,
    },
    /// Make, list and change teams.
    Team {
        #[command(subcommand)]
        command: TeamCommand,
        #[command(flatten)]
        common: Common,
    },
    /// Make, list and change access groups.
    Group {
        #[command(subcommand)]
        command: GroupCommand,
        #[command(flatten)]
        common: Common,
    },
    /// List an agent's tasks, and show whose one is.
    Task {
        #[command(subcommand)]
        command: TaskCommand,
        #[command(flatten)]
        common: Common,
    },
    /// Say why something is or is not allowed.
    Explain {
        #[command(subcommand)]
        command: ExplainCommand,
        #[command(flatten)]
        common: Common,
    },
    /// Start a gateway with two small agents of its own, call them in every way, and keep running.
    Demo(DemoArguments),
}

#[derive(clap::Args)]
struct ConfigFile {
    /// The configuration; switchboard.default.yaml in the repository documents every key.
    #[arg(long, env = "SWITCHBOARD_CONFIG", default_value = "switchboard.yaml")]
    config: PathBuf,
}

#[derive(clap::Args)]
struct CallArguments {
    /// The agent's name.
    agent: String,
    /// The text to send.
    text: String,
    /// Print events as they come.
    #[arg(long)]
    stream: bool,
    /// The version of A2A to call in: 1.0 or 0.3.
    #[arg(long, default_value = "1.0", value_parser = version)]
    version: Version,
    /// The gateway.
    #[arg(long, env = "SWITCHBOARD_URL", default_value = "http://127.0.0.1:4000", value_parser = config::web_url)]
    url: url::Url,
    /// A key of the gateway.
    #[arg(long, env = "SWITCHBOARD_KEY", hide_env_values = true)]
    key: String,
}

#[derive(clap::Args)]
struct DemoArguments {
    /// The address of the gateway.
    #[arg(long, default_value = "127.0.0.1:4000")]
    listen: std::net::SocketAddr,
    /// End after the calls instead of running on.
    #[arg(long)]
    once: bool,
}

fn version(text: &str) -> Result<Version, String> {
    Version::parse(text).ok_or_else(|| "must be 1.0 or 0.3".to_owned())
}

/// Runs the command that the arguments name, and says with which code the process is to end.
pub fn main() -> ExitCode {
    small_pages();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors.
            let code = if error.use_stderr() { EXIT_CONFIG } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    match arguments.command {
        Command::Check(file) => check(&file),
        Command::Serve(file) => match load(&file) {
            Ok(settings) => in_runtime(serve::serve(settings, file.config)),
            Err(code) => code,
        },
        Command::Call(arguments) => in_runtime(call::call(arguments)),
        Command::Agent { command, common } => in_runtime(admin::agent(command, common)),
        Command::Key { command, common } => in_runtime(admin::key(command, common)),
        Command::Team { command, common } => in_runtime(admin::team(command, common)),
        Command::Group { command, common } => in_runtime(admin::group(command, common)),
        Command::Task { command, common } => in_runtime(admin::task(command, common)),
        Command::Explain { command, common } => in_runtime(admin::explain(command, common)),
        Command::Demo(arguments) => in_runtime(serve::demo(arguments)),
    }
}

/// Where the system gives huge pages to everybody, each heap of a thread would hold two megabytes for its first kilobyte.
fn small_pages() {
    // An old kernel has no such switch, and nothing is lost.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}

fn in_runtime(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => {
            eprintln!("switchboard: cannot start: {error}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

fn load(file: &ConfigFile) -> Result<Settings, ExitCode> {
    config::load(&file.config, &|name| std::env::var(name).ok()).map_err(|problems| {
        eprintln!("{problems}");
        ExitCode::from(EXIT_CONFIG)
    })
}

fn check(file: &ConfigFile) -> ExitCode {
    match load(file) {
        Err(code) => code,
        Ok(settings) => {
            for note in &settings.notes {
                println!("{}: note: {note}", file.config.display());
            }
            let (agents, keys) = (settings.agents.len(), settings.keys.len());
            println!("{}: correct; agents: {agents}, keys beside the master key: {keys}", file.config.display());
            ExitCode::SUCCESS
        }
    }
}
