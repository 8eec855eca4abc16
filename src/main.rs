//! `llm-gateway`: the commands and their exit status, nothing else.

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use llm_gateway::app::commands::{
    self, AddressArguments, Arguments, CheckArguments, Command, ConnectArguments, KeysCommand,
    StatusArguments,
};
use llm_gateway::app::remote::{self, Remote, RemoteError, Turn, changes, status};
use llm_gateway::app::{
    App, Source, StartError, checked, connect, demo, descriptors, keys, probe, routed,
};
use llm_gateway::config::{self, Config, Environment, Loaded};
use llm_gateway::plan::options::PlanOptions;
use llm_gateway::provider::{self, settings::ProviderSettings};
use llm_gateway::sim::{self, SimOptions};
use llm_gateway::telemetry::logging;
use llm_gateway::telemetry::settings::LogSettings;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// About a tenth of the CPU per request comes from the allocator; this one is worth that much.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `EX_UNAVAILABLE` of sysexits.h: a listener cannot be bound, or no gateway answers.
const UNAVAILABLE: u8 = 69;
/// `EX_NOPERM` of sysexits.h: the gateway wants another token.
const FORBIDDEN: u8 = 77;
/// `EX_CONFIG` of sysexits.h: the configuration is wrong.
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return explain(&error),
    };
    let explicit = arguments.config;
    let remote = |at: &AddressArguments| Remote::find(at.address.as_deref(), explicit.as_deref());
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => serve(explicit),
        Command::Demo => system(run_demo),
        Command::Sim(arguments) => system(|| run_sim(arguments)),
        Command::Plan(options) => plan(&options, explicit),
        Command::Check(arguments) => check(explicit, arguments),
        Command::Status(status) => show(&status, &remote(&status.address)),
        Command::Set(set) => {
            answered(changes::set(&remote(&set.address), &set.provider, &set.changes))
        }
        Command::Drain(one) => {
            answered(remote::turn(&remote(&one.address), &one.provider, Turn::Drain))
        }
        Command::Resume(one) => {
            answered(remote::turn(&remote(&one.address), &one.provider, Turn::Resume))
        }
        Command::Reload(address) => answered(remote::reload(&remote(&address))),
        Command::Keys { command: KeysCommand::New { name } } => new_key(&name),
        Command::Keys { command: KeysCommand::List { json, address } } => {
            let told = remote::keys::ask(&remote(&address));
            answered(told.map(|told| match json {
                true => format!("{told:#}\n"),
                false => remote::keys::shown(&told),
            }))
        }
        Command::Connect(arguments) => connect(explicit, &arguments),
        Command::Health { url } => health(url.as_deref(), explicit.as_deref()),
        Command::Completions { shell } => printed(&commands::completions(shell)),
        Command::Man { command } => commands::manual(command.as_deref())
            .map_or_else(|error| failed(&error), |page| printed(&page)),
    }
}

/// Prints the help that was asked for, or what is wrong with the arguments.
fn explain(error: &clap::Error) -> ExitCode {
    // Nobody can be told that the output is closed.
    drop(error.print());
    // clap's own status for wrong arguments is 2, which is none of ours.
    if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn serve(explicit: Option<PathBuf>) -> ExitCode {
    let (environment, loaded) = match load(explicit.clone()) {
        Ok(loaded) => loaded,
        Err(status) => return status,
    };
    logging::start(&loaded.config.log, environment.variables.get("RUST_LOG").map(String::as_str));
    log::info!("llm-gateway {} starts, {}", env!("CARGO_PKG_VERSION"), loaded.read);
    for warning in &loaded.warnings {
        log::warn!("{warning}");
    }
    descriptors::raise_limit();
    let source = Source { explicit, read: loaded.read, sources: loaded.sources };
    system(|| async {
        let mut signals = Signals::new()?;
        let app = App::start(loaded.config, Some(source)).map_err(Failure::from)?;
        loop {
            match signals.next().await {
                Received::Stop => break,
                Received::Reload => app.reload(),
            }
        }
        signals.stop(app.stop()).await
    })
}

async fn run_demo() -> Result<(), Failure> {
    logging::start(&LogSettings::default(), None);
    let mut signals = Signals::new()?;
    let running = demo::start()?;
    print(&demo::commands(&running))?;
    signals.until_stop().await;
    let stopped = signals.stop(running.app.stop()).await;
    running.sim.stop().await;
    stopped
}

async fn run_sim(arguments: SimOptions) -> Result<(), Failure> {
    logging::start(&LogSettings::default(), None);
    let mut signals = Signals::new()?;
    let listen = arguments.listen;
    let sim = sim::start(arguments.settings()).map_err(|error| StartError { listen, error })?;
    log::info!("simulated Ollama listening on http://{}", sim.addr());
    signals.until_stop().await;
    signals
        .stop(async {
            sim.stop().await;
        })
        .await
}

fn plan(options: &PlanOptions, explicit: Option<PathBuf>) -> ExitCode {
    let settings = match &options.provider {
        None if explicit.is_some() => {
            return failed("--config says nothing without --provider NAME, whose limits to take");
        }
        None => ProviderSettings::default().resolved(),
        Some(name) => {
            let config = match load(explicit) {
                Ok((_, loaded)) => loaded.config,
                Err(status) => return status,
            };
            let Some(settings) = config.providers.get(name) else {
                let known: Vec<&str> = config.providers.keys().map(String::as_str).collect();
                let known = known.join(" or ");
                return failed(&format!("no provider is named `{name}`: write --provider {known}"));
            };
            settings.clone()
        }
    };
    let (limits, total) = (provider::limits(&settings), settings.timeouts.total);
    if let Some(planned) = options.planned(limits, total) {
        return match planned {
            Ok(planned) => reported(&planned.report(Instant::now()), options),
            Err(error) => failed(&error),
        };
    }
    let policy = settings.remember_policy().unwrap_or_default();
    if let Some(planned) = options.agents(limits, policy) {
        return match planned {
            Ok(planned) => reported(&planned.report(Instant::now()), options),
            Err(error) => failed(&error),
        };
    }
    let report = match options.scenario(limits, total) {
        Ok(scenario) => scenario.run(Instant::now()),
        Err(error) => return failed(&error),
    };
    reported(&report, options)
}

fn reported(
    report: &(impl std::fmt::Display + serde::Serialize),
    options: &PlanOptions,
) -> ExitCode {
    if !options.json {
        return printed(&report.to_string());
    }
    match serde_json::to_string_pretty(report) {
        Ok(json) => printed(&format!("{json}\n")),
        Err(error) => failed(&error.to_string()),
    }
}

fn check(explicit: Option<PathBuf>, arguments: CheckArguments) -> ExitCode {
    let loaded = match load(explicit) {
        Ok((_, loaded)) => loaded,
        Err(status) => return status,
    };
    for warning in &loaded.warnings {
        complain(&format!("warning: {warning}"));
    }
    let config = &loaded.config;
    let CheckArguments { print, connect, route, hint, key, local, path } = arguments;
    let is_asked = [&route, &hint, &key, &path].iter().any(|one| one.is_some()) || local;
    if !is_asked {
        let asked = if connect { ask_providers(config) } else { ExitCode::SUCCESS };
        let text = if print { checked::everything(&loaded) } else { checked::summary(&loaded) };
        // That one does not answer is the last word.
        return if asked == ExitCode::SUCCESS { printed(&text) } else { asked };
    }
    let question = routed::Question { model: route, hint, key, local, path };
    match routed::explain(config, &question) {
        Ok(explained) => {
            let status = printed(&explained.text);
            if explained.has_answer { status } else { ExitCode::FAILURE }
        }
        Err(error) => failed(&error),
    }
}

/// Asks every provider whether it answers, and prints what it said.
fn ask_providers(config: &Config) -> ExitCode {
    let asked = actix::System::new().block_on(checked::ask(config));
    for one in asked.iter().filter(|one| one.is_well) {
        if let Err(error) = print(&format!("{}\n", one.line)) {
            return failed(&error.to_string());
        }
    }
    let silent = asked.iter().filter(|one| !one.is_well);
    silent.fold(ExitCode::SUCCESS, |_, one| failed(&one.line))
}

fn new_key(name: &str) -> ExitCode {
    match keys::new_key(name) {
        Ok(new) => printed(&format!(
            "The key, shown this once:\n\n  {}\n\nFor the configuration file:\n\n{}",
            new.key, new.lines
        )),
        Err(error) => failed(&format!("no random bytes: {error}")),
    }
}

fn connect(explicit: Option<PathBuf>, arguments: &ConnectArguments) -> ExitCode {
    let loaded = match load(explicit) {
        Ok((_, loaded)) => loaded,
        Err(status) => return status,
    };
    let ConnectArguments { client, url, key, model } = arguments;
    let [url, key, model] = [url, key, model].map(Option::as_deref);
    match connect::lines(client, connect::Wanted { url, key, model }, &loaded.config) {
        Ok(lines) => printed(&lines),
        Err(error) => failed(&error),
    }
}

fn health(url: Option<&str>, explicit: Option<&Path>) -> ExitCode {
    match probe::ask(url, explicit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn show(arguments: &StatusArguments, remote: &Remote) -> ExitCode {
    let show = || {
        let told = status::ask(remote)?;
        Ok(match (arguments.json, arguments.watch) {
            (true, Some(_)) => format!("{told}\n"),
            (true, None) => format!("{told:#}\n"),
            (false, _) => status::shown(remote, &told),
        })
    };
    let Some(seconds) = arguments.watch else { return answered(show()) };
    let first = match show() {
        Ok(first) => first,
        Err(error) => return answered(Err(error)),
    };
    let clears = !arguments.json && io::stdout().is_terminal();
    system(|| async {
        let mut shown = first;
        loop {
            let clear = if clears { "\x1b[H\x1b[2J" } else { "" };
            print(&format!("{clear}{shown}"))?;
            actix_rt::time::sleep(Duration::from_secs(seconds)).await;
            // A gateway that starts anew is watched on.
            shown = show().unwrap_or_else(|error| {
                complain(&format!("error: {}", error.message()));
                String::new()
            });
        }
    })
}

/// Prints what a running gateway answered, or why it did not, with the status that says so.
fn answered(answer: Result<String, RemoteError>) -> ExitCode {
    let error = match answer {
        Ok(text) => return printed(&text),
        Err(error) => error,
    };
    match &error {
        // These lines begin with `error: ` already.
        RemoteError::Configuration(problems) => complain(problems),
        RemoteError::Unreachable(what)
        | RemoteError::Forbidden(what)
        | RemoteError::Refused(what) => complain(&format!("error: {what}")),
    }
    match error {
        RemoteError::Unreachable(_) => ExitCode::from(UNAVAILABLE),
        RemoteError::Forbidden(_) => ExitCode::from(FORBIDDEN),
        RemoteError::Configuration(_) => ExitCode::from(CONFIG),
        RemoteError::Refused(_) => ExitCode::FAILURE,
    }
}

/// The environment and the configuration, or the problems on standard error and the status that
/// says so.
fn load(explicit: Option<PathBuf>) -> Result<(Environment, Loaded), ExitCode> {
    let loaded = config::read_environment().and_then(|environment| {
        let loaded = config::load(explicit.as_deref(), &environment)?;
        Ok((environment, loaded))
    });
    loaded.map_err(|problems| {
        complain(&problems.to_string());
        ExitCode::from(CONFIG)
    })
}

/// Why a command failed.
enum Failure {
    Start(StartError),
    Io(io::Error),
    /// A second signal came before everything was at rest.
    Hurried,
}

impl From<StartError> for Failure {
    fn from(error: StartError) -> Self {
        Self::Start(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Runs an actix system on this thread until `main` ends.
fn system<Main>(main: impl FnOnce() -> Main) -> ExitCode
where
    Main: Future<Output = Result<(), Failure>>,
{
    match actix::System::new().block_on(main()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Start(StartError { listen, error })) => {
            complain(&format!("error: cannot listen on {listen}: {error}"));
            ExitCode::from(UNAVAILABLE)
        }
        Err(Failure::Io(error)) => failed(&error.to_string()),
        Err(Failure::Hurried) => failed("stopped before everything was at rest"),
    }
}

/// What the operator's signals ask for.
enum Received {
    Stop,
    Reload,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Received {
        tokio::select! {
            _ = self.terminate.recv() => Received::Stop,
            _ = self.interrupt.recv() => Received::Stop,
            _ = self.hangup.recv() => Received::Reload,
        }
    }

    async fn until_stop(&mut self) {
        while let Received::Reload = self.next().await {}
    }

    /// Runs the orderly stop; a second signal ends it.
    async fn stop(&mut self, stopping: impl Future<Output = ()>) -> Result<(), Failure> {
        tokio::select! {
            () = stopping => Ok(()),
            () = self.until_stop() => Err(Failure::Hurried),
        }
    }
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn printed(text: &str) -> ExitCode {
    match print(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.to_string()),
    }
}

fn failed(what: &str) -> ExitCode {
    complain(&format!("error: {what}"));
    ExitCode::FAILURE
}

fn complain(text: &str) {
    // Nobody can be told that standard error is closed.
    drop(writeln!(io::stderr(), "{text}"));
}
