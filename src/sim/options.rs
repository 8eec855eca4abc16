//! The command-line options of `llm-gateway sim`.
//!
//! Owns the options; settings without an option keep the default in [`SimSettings`].

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use super::name::ModelKey;
use super::settings::SimSettings;
use super::told::Counts;
use crate::units::parse_size;

/// The options of `llm-gateway sim`.
#[derive(Debug, Clone, clap::Args)]
pub struct SimOptions {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:11434", value_name = "ADDR")]
    pub listen: SocketAddr,
    /// Calls that run at once for a loaded model (OLLAMA_NUM_PARALLEL)
    #[arg(long, default_value_t = 1, value_name = "N")]
    slots: u32,
    /// How long MODEL takes to load, or, without a name, every other one [default: 1500]
    #[arg(long, value_name = "[MODEL=]MS")]
    load_ms: Vec<LoadMs>,
    /// Models that are installed: the usual ones, and more that are made up
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    models: Option<u32>,
    /// Models in memory at one time (OLLAMA_MAX_LOADED_MODELS)
    #[arg(long, default_value_t = 3, value_name = "M")]
    loaded: u32,
    /// Memory for models: one loads beside others if it takes at most 80 % of what they leave
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    memory: Option<u64>,
    /// Sizes of models, installed or not, as in `llama3.1:70b=40GiB,mistral=4GiB`
    #[arg(long, value_name = "NAME=SIZE", value_delimiter = ',', value_parser = model_size)]
    sizes: Vec<(String, u64)>,
    /// Other names of installed models, as `ollama cp` gives them: `helper=llama3.1`
    #[arg(long, value_name = "NAME=MODEL", value_delimiter = ',', value_parser = alias)]
    alias: Vec<(String, String)>,
    /// Calls that may wait for a load (OLLAMA_MAX_QUEUE)
    #[arg(long, default_value_t = 512, value_name = "N")]
    queue: u32,
    /// How long memory takes to come back after a model was unloaded
    #[arg(long, default_value_t = 500, value_name = "MS")]
    unload_ms: u64,
    /// From the turn to the first token
    #[arg(long, default_value_t = 200, value_name = "MS")]
    first_token_ms: u64,
    /// The speed of one call
    #[arg(long, default_value_t = 40.0, value_name = "N")]
    tokens_per_second: f64,
    /// Tokens of a prompt read each second before the first token; 0 takes no time
    #[arg(long, default_value_t = 0.0, value_name = "RATE")]
    read: f64,
    /// Tokens of earlier prompts that a loaded model remembers besides its slots, as 4000 or 64k
    #[arg(long, value_name = "TOKENS", value_parser = token_count)]
    prompt_cache: Option<u64>,
    /// Whose counts of remembered tokens answers have [default: ollama with --prompt-cache]
    #[arg(long, value_enum, value_name = "SERVER")]
    counts: Option<Counts>,
    /// Chooses the texts
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
}

/// The time of one model's loads, or of all.
#[derive(Debug, Clone)]
struct LoadMs {
    model: Option<String>,
    load: Duration,
}

impl FromStr for LoadMs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (model, millis) = match text.split_once('=') {
            Some((model, millis)) => (Some(model), millis),
            None => (None, text),
        };
        if let Some(model) = model.filter(|model| ModelKey::parse(model).is_none()) {
            return Err(format!("`{model}` is no name of a model"));
        }
        let wrong = || "write milliseconds, as in 1500 or llama3.1:70b=45000".to_owned();
        let load = millis.parse().map(Duration::from_millis).or(Err(wrong()))?;
        Ok(Self { model: model.map(str::to_owned), load })
    }
}

impl SimOptions {
    /// The settings of the simulator to start.
    #[must_use]
    pub fn settings(&self) -> SimSettings {
        let default = SimSettings::default();
        let bare = self.load_ms.iter().rfind(|one| one.model.is_none());
        let own = |one: &LoadMs| Some((one.model.clone()?, one.load));
        let loads = self.load_ms.iter().filter_map(own).collect();
        let settings = SimSettings {
            listen: self.listen,
            slots: self.slots,
            max_loaded_models: self.loaded,
            load: bare.map_or(default.load, |one| one.load),
            loads,
            max_queue: self.queue,
            memory: self.memory,
            sizes: self.sizes.clone(),
            aliases: self.alias.clone(),
            unload: Duration::from_millis(self.unload_ms),
            first_token: Duration::from_millis(self.first_token_ms),
            tokens_per_second: self.tokens_per_second,
            read: self.read,
            prompt_cache: self.prompt_cache,
            counts: self.counts.unwrap_or(match self.prompt_cache {
                Some(_) => Counts::Ollama,
                None => Counts::OlderOllama,
            }),
            seed: self.seed,
            ..default
        };
        match self.models {
            Some(count) => settings.with_models(count),
            None => settings,
        }
    }
}

/// Reads a number of tokens; `k` and `m` are 1024 and 1024 × 1024, as contexts are counted.
///
/// # Errors
/// What would be right.
pub fn token_count(text: &str) -> Result<u64, String> {
    let (digits, unit) = match text.trim_end().to_ascii_lowercase() {
        text if text.ends_with('k') => (text.trim_end_matches('k').to_owned(), 1 << 10),
        text if text.ends_with('m') => (text.trim_end_matches('m').to_owned(), 1 << 20),
        text => (text, 1),
    };
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    number.ok_or_else(|| r#"write a number of tokens, as in "4000" or "64k""#.to_owned())
}

/// Reads a model's name and its size.
///
/// # Errors
/// What would be right.
pub fn model_size(text: &str) -> Result<(String, u64), String> {
    let (name, size) = pair(text, "llama3.1:70b=40GiB")?;
    Ok((name, parse_size(&size)?))
}

/// Reads another name and that of its model.
fn alias(text: &str) -> Result<(String, String), String> {
    let (alias, model) = pair(text, "helper=llama3.1")?;
    ModelKey::parse(&model).ok_or_else(|| format!("`{model}` is no name of a model"))?;
    Ok((alias, model))
}

fn pair(text: &str, example: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("write it as in {example}"))?;
    ModelKey::parse(name).ok_or_else(|| format!("`{name}` is no name of a model"))?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        options: SimOptions,
    }

    fn read(arguments: &[&str]) -> Result<SimSettings, String> {
        let line = Line::try_parse_from([&["sim"], arguments].concat());
        line.map(|line| line.options.settings()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_time_of_a_load_is_one_models_or_that_of_all_others() {
        let settings = read(&["--load-ms", "9", "--load-ms", "m:70b=45000"]).unwrap();
        assert_eq!(settings.load, Duration::from_millis(9));
        assert_eq!(settings.loads, [("m:70b".to_owned(), Duration::from_secs(45))]);
        assert_eq!(read(&[]).unwrap().load, Duration::from_millis(1500));
        for (wrong, says) in
            [("soon", "write milliseconds"), ("a b=9", "is no name"), ("m=", "write")]
        {
            let error = read(&["--load-ms", wrong]).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn tokens_are_numbers_with_or_without_a_unit() {
        assert_eq!(token_count("4000"), Ok(4000));
        assert_eq!(token_count("64k"), Ok(65_536));
        assert_eq!(token_count("1M"), Ok(1_048_576));
        for wrong in
            ["", "k", "-1", "1.5k", "64kk9", "99999999999999999999", "18446744073709551615k"]
        {
            assert!(token_count(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_sizes_and_names_are_read() {
        let sizes = "llama3.1:70b=40GiB,mine=1GB";
        let words = ["--memory", "24GiB", "--sizes", sizes, "--alias", "a=mine", "--queue", "7"];
        let settings = read(&words).unwrap();
        assert_eq!((settings.memory, settings.max_queue), (Some(24 << 30), 7));
        let size = |name: &str, size| (name.to_owned(), size);
        assert_eq!(settings.sizes, [size("llama3.1:70b", 40 << 30), size("mine", 1_000_000_000)]);
        assert_eq!(settings.aliases, [("a".to_owned(), "mine".to_owned())]);
        assert_eq!(read(&[]).unwrap().memory, None);
    }

    #[test]
    fn what_is_wrong_is_told_with_what_is_right() {
        for (words, right) in [
            (["--sizes", "mine"], "write it as in llama3.1:70b=40GiB"),
            (["--sizes", "mine=12"], "write a unit"),
            (["--sizes", "a b=12GiB"], "`a b` is no name of a model"),
            (["--alias", "helper"], "write it as in helper=llama3.1"),
            (["--alias", "helper="], "`` is no name of a model"),
            (["--memory", "24"], "write a unit"),
        ] {
            let error = read(&words).unwrap_err();
            assert!(error.contains(right), "{words:?}: {error}");
        }
    }
}
