//! Finds out where a gateway listens, even from a broken configuration.
//!
//! Owns the part of a configuration that the health check and operators' commands need. Refuses nothing: it ignores all
//! problems, because a running gateway keeps the configuration that it read when it was valid.
//!
//! What a reader would get wrong: this is where the *next* gateway would listen. A running one
//! listens where its configuration said when it started; [`Start`] tells whether another process
//! was started in the same way.

use super::environment::{ADDRESS_VARIABLES, FILE_VARIABLE, Overlay, TOKEN_VARIABLE};
use super::key_path::KeyPath;
use super::source::{self, choose_file};
use super::tree::Tree;
use crate::admin::settings::AdminSettings;
use crate::http::settings::ServerSettings;
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The addresses to which a gateway is bound until it stops.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// The address to which clients connect.
    pub main: SocketAddr,
    /// The address to which operators connect.
    pub admin: SocketAddr,
}

/// The parts of a gateway's start that determine where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The file that it reads, whether or not that exists.
    file: PathBuf,
    /// The values of the variables for its address.
    address: [Option<String>; ADDRESS_VARIABLES.len()],
}

impl Start {
    /// Describes a start in this folder, with this file on the command line and these variables,
    /// without those of `.env`.
    pub fn new(
        explicit: Option<&Path>,
        folder: &Path,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let named = variable(FILE_VARIABLE).filter(|name| !name.is_empty()).map(PathBuf::from);
        let named = explicit.map(Path::to_owned).or(named);
        let file = folder.join(named.unwrap_or_else(|| source::USUAL_FILE.into()));
        let written = |name| variable(name).filter(|value| !value.trim().is_empty());
        Self { file, address: ADDRESS_VARIABLES.map(written) }
    }
}

/// How operators reach a gateway.
#[derive(Debug, Clone)]
pub struct Operated {
    /// The address of its admin listener.
    pub listen: SocketAddr,
    /// The token that it requires; empty if none is known.
    pub token: Secret,
    /// The token in the environment, for gateways that this configuration does not describe.
    pub own_token: Option<Secret>,
}

/// Where a gateway of this configuration would listen: the address from the environment, else from
/// the readable part of the file, else the default.
pub fn listens(explicit: Option<&Path>) -> SocketAddr {
    let variables = source::read_environment_in_part().variables;
    let tree = readable(&readable_text(explicit, &variables), &variables);
    address(&tree, "server").unwrap_or_else(|| ServerSettings::default().listen)
}

/// How operators reach a gateway of this configuration, from the same sources.
pub fn operated(explicit: Option<&Path>) -> Operated {
    let variables = source::read_environment_in_part().variables;
    operated_by(&readable_text(explicit, &variables), &variables)
}

fn operated_by(text: &str, variables: &BTreeMap<String, String>) -> Operated {
    let tree = readable(text, variables);
    let own_token = variables.get(TOKEN_VARIABLE).map(|token| token.trim());
    let own_token = own_token.filter(|token| !token.is_empty()).map(Secret::new);
    let written = tree.get(&KeyPath::of("admin").key("token")).and_then(toml::Value::as_str);
    let token = own_token.clone().unwrap_or_else(|| Secret::new(written.unwrap_or_default()));
    let listen = address(&tree, "admin").unwrap_or_else(|| AdminSettings::default().listen);
    Operated { listen, token, own_token }
}

fn readable_text(explicit: Option<&Path>, variables: &BTreeMap<String, String>) -> String {
    let file = choose_file(explicit, variables).and_then(|path| std::fs::read(path).ok());
    file.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The readable part of a file, overridden by the environment.
fn readable(text: &str, variables: &BTreeMap<String, String>) -> Tree {
    let (mut tree, _) = Tree::parse(Path::new(""), text);
    if address(&tree, "server").is_none() {
        // So that a port from the environment is set in the default address.
        tree.remove(&KeyPath::of("server").key("listen"));
    }
    drop(Overlay::apply(variables, &mut tree));
    tree
}

/// The address of a section's listener.
fn address(tree: &Tree, section: &str) -> Option<SocketAddr> {
    tree.get(&KeyPath::of(section).key("listen"))?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
        variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    fn listens_with(text: &str, variables: &[(&str, &str)]) -> String {
        let tree = readable(text, &map(variables));
        let default = ServerSettings::default().listen;
        address(&tree, "server").unwrap_or(default).to_string()
    }

    #[test]
    fn operators_get_address_and_token_from_a_broken_file_too() {
        let text = "[admin]\nlisten = '127.0.0.2:9'\ntoken = 'written'\n[providers.olla";
        let operated = |text, variables: &[(&str, &str)]| {
            let Operated { listen, token, own_token } = operated_by(text, &map(variables));
            (listen.to_string(), token.expose().to_owned(), own_token.is_some())
        };
        assert_eq!(operated(text, &[]), ("127.0.0.2:9".into(), "written".into(), false));
        assert_eq!(operated("", &[]), ("127.0.0.1:9901".into(), String::new(), false));
        let long =
            [("LLM_GATEWAY__ADMIN__LISTEN", "0.0.0.0:1"), ("LLM_GATEWAY__ADMIN__TOKEN", "l")];
        assert_eq!(operated(text, &long), ("0.0.0.0:1".into(), "l".into(), false));
        let own = [("ADMIN_TOKEN", " own "), long[1]];
        assert_eq!(operated(text, &own), ("127.0.0.2:9".into(), "own".into(), true));
    }

    #[test]
    fn an_address_is_read_even_from_a_broken_file() {
        for text in [
            "[server]\nlisten = '127.0.0.2:9'\n",
            "[server]\nworker = -1\nlisten = '127.0.0.2:9'\n[providers.ollama\n",
            "[server]\nlisten = '127.0.0.2:9'\n[[keys]]\nname = \"cut o",
            "server = { listen = '127.0.0.2:9' }\nprovider = 3\n\u{fffd}\n",
        ] {
            assert_eq!(listens_with(text, &[]), "127.0.0.2:9", "{text}");
            assert_eq!(listens_with(text, &[("PORT", "7")]), "127.0.0.2:7", "{text}");
        }
    }

    #[test]
    fn the_environment_wins_and_the_default_replaces_an_unreadable_address() {
        let long = ("LLM_GATEWAY__SERVER__LISTEN", "0.0.0.0:8000");
        assert_eq!(listens_with("[server]\nlisten = '127.0.0.2:9'\n", &[long]), "0.0.0.0:8000");
        for text in ["", "[server]\nlisten = 'here'\n", "[server]\nlisten = 9\n", "server = 1\n"] {
            assert_eq!(listens_with(text, &[]), "127.0.0.1:8000", "{text}");
        }
        assert_eq!(listens_with("[server]\nlisten = 'here'\n", &[("PORT", "7")]), "127.0.0.1:7");
        assert_eq!(listens_with("", &[("PORT", "many")]), "127.0.0.1:8000");
    }

    #[test]
    fn starts_are_equal_if_their_files_and_the_variables_of_their_addresses_are() {
        let start = |explicit: Option<&str>, folder: &str, variables: &[(&str, &str)]| {
            let variable = |name: &str| {
                let found = variables.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            };
            Start::new(explicit.map(Path::new), Path::new(folder), variable)
        };
        let plain = start(None, "/srv", &[]);
        assert_eq!(plain, start(Some("config/gateway.toml"), "/srv", &[("PORT", "")]));
        assert_eq!(plain, start(None, "/srv", &[(FILE_VARIABLE, "/srv/config/gateway.toml")]));
        assert_ne!(plain, start(None, "/other", &[]));
        assert_ne!(plain, start(None, "/srv", &[("PORT", "1")]));
        let named = start(Some("/etc/a.toml"), "/srv", &[]);
        assert_eq!(named, start(Some("/etc/a.toml"), "/other", &[]));
    }
}
