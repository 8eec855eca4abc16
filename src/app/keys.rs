//! Generates client keys.

use sha2::{Digest, Sha256};

/// A new key and its lines for the configuration.
#[derive(Debug)]
pub struct NewKey {
    /// The key itself, shown once.
    pub key: String,
    /// The `[[keys]]` lines, which contain only its hash.
    pub lines: String,
}

/// Generates a key of 256 random bits.
///
/// # Errors
///
/// If the system provides no random bytes.
pub fn new_key(name: &str) -> Result<NewKey, getrandom::Error> {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes)?;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let key = format!("sk-gateway-{}", hex(&bytes));
    let digest = hex(&Sha256::digest(key.as_bytes()));
    let name = toml::Value::from(name);
    Ok(NewKey { key, lines: format!("[[keys]]\nname = {name}\nsha256 = \"{digest}\"\n") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::settings::KeySettings;

    #[test]
    fn the_lines_contain_the_hash_of_the_key_and_any_name() {
        let new = new_key("team \"a\"\n").unwrap();
        let table: toml::Table = new.lines.parse().unwrap();
        let key = table["keys"][0].clone().try_into::<KeySettings>().unwrap();
        assert_eq!(key.name, "team \"a\"\n");
        let digest: [u8; 32] = Sha256::digest(new.key.as_bytes()).into();
        assert_eq!(key.digest(), Some(digest));
        assert!(!new.lines.contains(&new.key));
        assert_ne!(new_key("x").unwrap().key, new_key("x").unwrap().key);
    }
}
