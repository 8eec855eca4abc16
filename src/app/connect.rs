//! The lines to paste into a client so that it uses this gateway.
//!
//! It owns the filling in of address, model and key. The text is that of `docs/clients.md`, of
//! which `connect/clients.md` is the copy that is built in; a test compares the two.
//!
//! The one thing to know: the page contains an example address, model and key, which are replaced.

use std::net::IpAddr;

use crate::config::Config;

/// The page.
const PAGE: &str = include_str!("connect/clients.md");
/// The example address in it.
const ADDRESS: &str = "http://localhost:8000";
/// The example model in it.
const MODEL: &str = "llama3.1";
/// The example key in it.
const KEY: &str = "YOUR_KEY";

/// The values for a client's lines. Those that are `None` come from the configuration.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wanted<'a> {
    /// The gateway's address, with or without `/v1` at its end.
    pub url: Option<&'a str>,
    /// The key.
    pub key: Option<&'a str>,
    /// The model.
    pub model: Option<&'a str>,
}

/// The lines for a client, by its short name.
///
/// # Errors
///
/// If the name is unknown, with all known names; or if the address is invalid.
pub fn lines(client: &str, wanted: Wanted<'_>, config: &Config) -> Result<String, String> {
    let asked = client.to_ascii_lowercase();
    let Some((_, text)) = sections().find(|(name, _)| *name == asked) else {
        return Err(format!("no client is called `{client}`; known are {}", names().join(", ")));
    };
    let address = match wanted.url {
        Some(url) => given(url)?,
        None => address(config),
    };
    let provider = config.default.providers.first().and_then(|name| config.providers.get(name));
    let default = provider.map(|provider| provider.default_model()).filter(|name| !name.is_empty());
    let model = wanted.model.or(default).unwrap_or(MODEL);
    let filled = text.replace(ADDRESS, &address).replace(MODEL, model);
    Ok(filled.replace(KEY, wanted.key.unwrap_or(KEY)))
}

/// The short names of all clients, in the page's order.
#[must_use]
pub fn names() -> Vec<&'static str> {
    sections().map(|(name, _)| name).collect()
}

/// Each client's short name and its section. A heading ends with that name: "Claude Code
/// (`claude-code`)".
fn sections() -> impl Iterator<Item = (&'static str, &'static str)> {
    PAGE.split("\n## ").skip(1).filter_map(|section| {
        let (heading, text) = section.split_once('\n')?;
        let (_, name) = heading.strip_suffix("`)")?.rsplit_once("(`")?;
        Some((name, text.trim_start()))
    })
}

/// The address that the user gave, without the path that clients add.
fn given(url: &str) -> Result<String, String> {
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return Err(format!("--url: `{url}` must begin with http:// or https://"));
    }
    let url = url.trim_end_matches('/');
    Ok(url.strip_suffix("/v1").unwrap_or(url).to_owned())
}

/// The address of a gateway with this configuration, for clients on this machine.
fn address(config: &Config) -> String {
    let listen = config.server.listen;
    let is_here = listen.ip().is_loopback() || listen.ip().is_unspecified();
    let host = match listen.ip() {
        _ if is_here => "localhost".to_owned(),
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    };
    format!("http://{host}:{}", listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_in_the_documentation_is_the_one_that_is_printed() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/clients.md");
        assert!(
            std::fs::read_to_string(page).unwrap() == PAGE,
            "copy src/app/connect/clients.md to docs/clients.md"
        );
    }

    #[test]
    fn every_client_gets_address_key_and_model_and_no_example_is_left() {
        let config = Config::default();
        assert_eq!(names().len(), PAGE.matches("\n## ").count(), "a heading without a name");
        assert_eq!(names().len(), 21);
        let (url, key, model) = (Some("https://llm.example.org/v1/"), Some("sk-1"), Some("m:7b"));
        for name in names() {
            let told = lines(name, Wanted { url, key, model }, &config).unwrap();
            for part in ["https://llm.example.org", "sk-1", "```"] {
                assert!(told.contains(part), "{name}: {part}");
            }
            for part in [ADDRESS, KEY, MODEL, "/v1/v1", "org//", "\n## "] {
                assert!(!told.contains(part), "{name}: {part}");
            }
        }
    }

    #[test]
    fn values_that_are_not_given_come_from_the_configuration() {
        let mut config = Config::default();
        config.server.listen = "0.0.0.0:9000".parse().unwrap();
        config.providers["ollama"].default_model = "qwen3".to_owned();
        let told = lines("Codex", Wanted::default(), &config).unwrap();
        assert!(told.contains("base_url = \"http://localhost:9000/v1\""), "{told}");
        assert!(told.contains("model = \"qwen3\"") && told.contains("=YOUR_KEY"), "{told}");
        config.server.listen = "[2001:db8::1]:80".parse().unwrap();
        let told = lines("claude-code", Wanted::default(), &config).unwrap();
        assert!(told.contains("=http://[2001:db8::1]:80\n"), "{told}");
    }

    #[test]
    fn the_errors_for_an_unknown_client_and_an_invalid_address_say_what_is_right() {
        let config = Config::default();
        let error = lines("emacs", Wanted::default(), &config).unwrap_err();
        assert!(error.contains("`emacs`") && error.contains("claude-code, codex"), "{error}");
        let wanted = Wanted { url: Some("localhost:8000"), ..Wanted::default() };
        assert!(lines("codex", wanted, &config).unwrap_err().contains("http://"));
    }
}
