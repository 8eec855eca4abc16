//! Where a gateway listens, as far as its configuration can tell although it may be broken.
//!
//! Owns what the health check needs of a configuration. Refuses nothing: whatever is wrong is passed over,
//! because a gateway goes on by what it read when it was right.
//!
//! What a reader would get wrong: this is where the *next* gateway would listen. One that runs is where it
//! was told to when it started; [`Start`] tells whether another process was started in the same way.

use super::environment::{ADDRESS_VARIABLES, FILE_VARIABLE, Overlay};
use super::key_path::KeyPath;
use super::source::{self, choose_file};
use super::tree::Tree;
use crate::http::settings::ServerSettings;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where a gateway is bound, which lasts until it stops.
#[derive(Debug, Clone, Copy)]
pub struct Bound {
    /// Where clients connect.
    pub main: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
}

/// How a gateway was started, as far as that decides where it listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The file it reads, whether or not that exists.
    file: PathBuf,
    /// What the variables say of its address.
    address: [Option<String>; ADDRESS_VARIABLES.len()],
}

impl Start {
    /// A start in this folder, with this file on the command line and these variables, without those of `.env`.
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

/// Where a gateway of this configuration would listen: by the environment, else by what can be read of the file, else
/// by default.
pub fn listens(explicit: Option<&Path>) -> SocketAddr {
    let variables = source::read_environment_in_part().variables;
    let file = choose_file(explicit, &variables).and_then(|path| std::fs::read(path).ok());
    let text = file.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    listens_by(&text, &variables)
}

fn listens_by(text: &str, variables: &std::collections::BTreeMap<String, String>) -> SocketAddr {
    let (mut tree, _) = Tree::parse(Path::new(""), text);
    let path = KeyPath::of("server").key("listen");
    let address = |tree: &Tree| tree.get(&path).and_then(|listen| listen.as_str()?.parse().ok());
    if address(&tree).is_none() {
        // So that a port in the environment has a default to be set in.
        tree.remove(&path);
    }
    drop(Overlay::apply(variables, &mut tree));
    address(&tree).unwrap_or_else(|| ServerSettings::default().listen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn listens_with(text: &str, variables: &[(&str, &str)]) -> String {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        listens_by(text, &variables.collect::<BTreeMap<_, _>>()).to_string()
    }

    #[test]
    fn an_address_is_read_from_whatever_else_is_wrong() {
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
    fn the_environment_wins_and_the_default_stands_in_for_what_cannot_be_read() {
        let long = ("LLM_GATEWAY__SERVER__LISTEN", "0.0.0.0:8000");
        assert_eq!(listens_with("[server]\nlisten = '127.0.0.2:9'\n", &[long]), "0.0.0.0:8000");
        for text in ["", "[server]\nlisten = 'here'\n", "[server]\nlisten = 9\n", "server = 1\n"] {
            assert_eq!(listens_with(text, &[]), "127.0.0.1:8000", "{text}");
        }
        assert_eq!(listens_with("[server]\nlisten = 'here'\n", &[("PORT", "7")]), "127.0.0.1:7");
        assert_eq!(listens_with("", &[("PORT", "many")]), "127.0.0.1:8000");
    }

    #[test]
    fn a_start_is_the_same_by_its_file_and_the_variables_of_its_address() {
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
