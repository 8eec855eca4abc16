//! Model names as Ollama compares them: `[host/][namespace/]model[:tag]`.
//!
//! Owns the defaults (`registry.ollama.ai`, `library`, `latest`) and the rule that comparison
//! ignores case. Refuses names with empty or invalid parts. A [`ModelKey`] serves only for
//! comparing: answers repeat the name as the client wrote it, never the key.

/// A model name with its defaults filled in, in lower case: equal keys are the same model.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ModelKey(String);

impl ModelKey {
    /// Reads a name; `None` if it is empty, longer than 350 bytes, has more than three parts, or a
    /// part contains anything but letters, digits, `_`, `-` and `.` (a host may have a port).
    pub fn parse(name: &str) -> Option<Self> {
        if name.len() > 350 {
            return None;
        }
        let (path, tag) = match name.rsplit_once(':') {
            // A colon before the last slash belongs to the host's port, not to a tag.
            Some((path, tag)) if !tag.contains('/') => (path, tag),
            Some(_) | None => (name, "latest"),
        };
        let mut parts = path.rsplit('/');
        let model = parts.next()?;
        let namespace = parts.next().unwrap_or("library");
        let host = parts.next().unwrap_or("registry.ollama.ai");
        if parts.next().is_some() || ![model, namespace, tag].into_iter().all(is_part) {
            return None;
        }
        if !is_part(&host.replacen(':', "", 1)) {
            return None;
        }
        Some(Self(format!("{host}/{namespace}/{model}:{tag}").to_ascii_lowercase()))
    }

    /// The name in the shortest form with a tag, as `/api/tags` lists it.
    pub fn short(&self) -> &str {
        let name = self.0.strip_prefix("registry.ollama.ai/").unwrap_or(&self.0);
        name.strip_prefix("library/").unwrap_or(name)
    }

    /// The model's own name, without host, namespace and tag. It determines the family.
    pub fn stem(&self) -> &str {
        let short = self.short();
        let last = short.rsplit('/').next().unwrap_or(short);
        last.split(':').next().unwrap_or(last)
    }
}

fn is_part(part: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    part.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric() || first == b'_')
        && part.bytes().all(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ModelKey {
        ModelKey::parse(name).expect(name)
    }

    #[test]
    fn the_defaults_are_implied_and_case_is_ignored() {
        for same in ["llama3.1:latest", "Llama3.1", "library/llama3.1", "LLAMA3.1:LATEST"] {
            assert_eq!(key(same), key("llama3.1"), "{same}");
        }
        assert_ne!(key("llama3.1:70b"), key("llama3.1"));
        assert_ne!(key("me/llama3.1"), key("llama3.1"));
    }

    #[test]
    fn a_host_may_have_a_port_which_is_not_a_tag() {
        assert_eq!(key("localhost:5000/me/tiny").short(), "localhost:5000/me/tiny:latest");
        assert_eq!(key("localhost:5000/me/tiny:1b").stem(), "tiny");
    }

    #[test]
    fn invalid_names_are_refused() {
        for odd in ["", ":", "a:", "a//b", "a b", "a/b/c/d", "../x", "-x", "a:b/c:d:e", "é"] {
            assert_eq!(ModelKey::parse(odd), None, "{odd}");
        }
        assert_eq!(ModelKey::parse(&"a".repeat(400)), None);
    }

    #[test]
    fn short_names_leave_the_defaults_out() {
        assert_eq!(key("Mistral").short(), "mistral:latest");
        assert_eq!(key("me/mistral:7b").short(), "me/mistral:7b");
    }
}
