//! The command line: the commands, their arguments and help, and what shells and `man` know of
//! them.
//!
//! It owns names and words. It runs nothing; `main.rs` does.

use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use crate::plan::options::PlanOptions;
use crate::sim::SimOptions;

/// A gateway between HTTP clients with bursty load and slow, expensive model servers.
#[derive(Parser)]
#[command(name = "llm-gateway", version, after_help = EXIT_STATUS)]
pub struct Arguments {
    /// The configuration file [default: $LLM_GATEWAY_CONFIG, else config/gateway.toml where it
    /// exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What to do; `serve` when there is none.
    #[command(subcommand)]
    pub command: Option<Command>,
}

const EXIT_STATUS: &str = "Exit status: 0 when it is done, 78 for a wrong configuration, 69 when a listener \
                           cannot be bound or no gateway answers, 77 when the gateway wants another admin \
                           token, else 1.";

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Run the gateway (this is also what runs when no command is given)
    Serve,
    /// Run the gateway in front of a simulated Ollama: no model, no key, no file
    Demo,
    /// Run the simulated Ollama alone
    Sim(SimOptions),
    /// Try limits against a load in simulated time: waits, refusals and what would be right
    Plan(PlanOptions),
    /// Validate the configuration: every problem, or `ok`
    Check(CheckArguments),
    /// Show what the running gateway does: slots, line, waits and trouble of every provider
    Status(StatusArguments),
    /// Change limits of a provider of the running gateway at once, until the next start
    Set(SetArguments),
    /// Give a provider of the running gateway no new work; what runs and waits is served
    Drain(ProviderArguments),
    /// Give a drained provider work again
    Resume(ProviderArguments),
    /// Have the running gateway read its configuration again
    Reload(AddressArguments),
    /// Client keys
    Keys {
        /// What to do with them.
        #[command(subcommand)]
        command: KeysCommand,
    },
    /// Print what to paste into a client so that it talks to this gateway
    Connect(ConnectArguments),
    /// Exit with 0 when the gateway is ready, with 1 when it is not
    Health {
        /// What to ask [default: /readyz of the gateway that runs by this configuration]
        #[arg(long)]
        url: Option<String>,
    },
    /// Print what makes a shell complete commands: `source <(llm-gateway completions bash)`
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the manual page, of one command or of all: `llm-gateway man > llm-gateway.1`
    Man {
        /// The command
        command: Option<String>,
    },
}

/// Arguments of `check`. With `route` or what follows it one request is explained instead, step by
/// step.
#[derive(Args)]
pub struct CheckArguments {
    /// Print everything that would be in force, where each value is from, secrets masked, and who
    /// answers to which name
    #[arg(long)]
    pub print: bool,
    /// Ask every provider whether it answers; exit with 1 when one does not
    #[arg(long)]
    pub connect: bool,
    /// Explain a request for this model; exit with 1 when nobody would answer it
    #[arg(long, value_name = "NAME")]
    pub route: Option<String>,
    /// Explain a request with this model_hint
    #[arg(long, value_name = "HINT")]
    pub hint: Option<String>,
    /// Explain a request of the key of this name
    #[arg(long, value_name = "NAME")]
    pub key: Option<String>,
    /// Explain a request with `x-gateway-data-policy: local`
    #[arg(long)]
    pub local: bool,
    /// Explain a request at this path: whether it would be passed on as it came, or translated
    #[arg(long, value_name = "PATH")]
    pub path: Option<String>,
}

/// Which running gateway is meant. The token is that of the environment variable `ADMIN_TOKEN`.
#[derive(Args)]
pub struct AddressArguments {
    /// The address of the admin listener, as in 127.0.0.1:9901; the token is in $ADMIN_TOKEN
    /// [default: that of the gateway that runs by this configuration, with its token]
    #[arg(long, value_name = "ADDRESS")]
    pub address: Option<String>,
}

/// Arguments of `status`.
#[derive(Args)]
pub struct StatusArguments {
    /// Print JSON: what /admin/providers answers
    #[arg(long)]
    pub json: bool,
    /// Go on, every so many seconds
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub watch: Option<u64>,
    /// Which gateway.
    #[command(flatten)]
    pub address: AddressArguments,
}

/// Arguments of `set`.
#[derive(Args)]
pub struct SetArguments {
    /// The provider's name
    pub provider: String,
    /// slots=8, queue=32, wait=10s; slots=auto; =file for what the configuration says
    #[arg(required = true, value_name = "LIMIT=VALUE")]
    pub changes: Vec<String>,
    /// Which gateway.
    #[command(flatten)]
    pub address: AddressArguments,
}

/// Arguments of `drain` and `resume`.
#[derive(Args)]
pub struct ProviderArguments {
    /// The provider's name
    pub provider: String,
    /// Which gateway.
    #[command(flatten)]
    pub address: AddressArguments,
}

/// Arguments of `connect`.
#[derive(Args)]
pub struct ConnectArguments {
    /// The client's short name, such as claude-code, codex or open-webui
    pub client: String,
    /// The gateway's address [default: where it listens by its configuration]
    #[arg(long)]
    pub url: Option<String>,
    /// The key to fill in
    #[arg(long)]
    pub key: Option<String>,
    /// The model to fill in [default: that of the first default provider]
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
}

/// What to do with client keys.
#[derive(Subcommand)]
pub enum KeysCommand {
    /// Print a new key once, and the lines that make it known
    New {
        /// Whose key it is
        #[arg(long)]
        name: String,
    },
    /// Show what each key of the running gateway has used of what it may
    List {
        /// Print JSON: what /admin/keys answers
        #[arg(long)]
        json: bool,
        /// Which gateway.
        #[command(flatten)]
        address: AddressArguments,
    },
}

/// What makes a shell complete commands.
#[must_use]
pub fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "llm-gateway", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// The manual page as roff: of one command, or of the program.
///
/// # Errors
///
/// If there is no such command, with all that there are.
pub fn manual(command: Option<&str>) -> Result<String, String> {
    let mut program = Arguments::command();
    program.build();
    let page = match command {
        None => program,
        Some(name) => {
            let names: Vec<&str> = program.get_subcommands().map(clap::Command::get_name).collect();
            let unknown = format!("no command is called `{name}`; known are {}", names.join(", "));
            program.find_subcommand(name).ok_or(unknown)?.clone()
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(page).render(&mut text).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_a_manual_page_and_is_completed() {
        let main = manual(None).unwrap();
        let bash = completions(Shell::Bash);
        for command in Arguments::command().get_subcommands() {
            let name = command.get_name();
            let page = manual(Some(name)).unwrap();
            assert!(page.contains(&format!(".TH llm-gateway-{name} 1")), "{page}");
            assert!(main.contains(&format!("llm\\-gateway\\-{name}(1)")), "{name}: {main}");
            assert!(bash.contains(name), "{name}");
        }
        assert!(manual(Some("swerve")).unwrap_err().contains("known are serve, demo"));
    }
}
