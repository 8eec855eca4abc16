//! Rewrites tool names in the characters that a provider allows, and back.
//!
//! OpenAI, Anthropic and Gemini allow 64 letters, digits, `_` and `-`; the names of MCP servers
//! contain dots and slashes.
//!
//! The one thing to know: the table is built from the request alone, so that the decoder of an
//! answer has the same names as the encoder of its request, without passing anything on. Names of
//! later calls change no earlier name: otherwise the beginning of the prompt would change, and the
//! server would have to process all of it again.

use std::collections::{HashMap, HashSet};

use super::call_ids::fits_as_id;
use crate::chat::{ChatRequest, Part, ToolChoice};

/// The longest allowed name, in characters.
const LONGEST: usize = 64;

/// The names that had to be changed.
#[derive(Debug, Default)]
pub(super) struct ToolNames {
    /// By the client's name.
    outbound: HashMap<String, String>,
    /// By the provider's name.
    inbound: HashMap<String, String>,
}

impl ToolNames {
    pub(super) fn new(request: &ChatRequest) -> Self {
        let unfit: Vec<&str> =
            all_names(request).filter(|name| !fits_as_id(name, LONGEST)).collect();
        let mut names = Self::default();
        if unfit.is_empty() {
            return names;
        }
        let offered: HashSet<&str> = request.tools.iter().map(|tool| tool.name.as_str()).collect();
        // The last number of each stem, so that many equal stems are not numbered from the start
        // again.
        let mut numbers: HashMap<String, u32> = HashMap::new();
        for own in unfit {
            if names.outbound.contains_key(own) {
                continue;
            }
            let stem: String = own.chars().map(letter).take(LONGEST).collect();
            let number = numbers.entry(stem.clone()).or_insert(1);
            let mut name = stem.clone();
            while name.is_empty()
                || offered.contains(name.as_str())
                || names.inbound.contains_key(&name)
            {
                *number = number.saturating_add(1);
                let tail = format!("_{number}");
                let kept = LONGEST.saturating_sub(tail.len());
                name = stem.chars().take(kept).chain(tail.chars()).collect();
            }
            names.inbound.insert(name.clone(), own.to_owned());
            names.outbound.insert(own.to_owned(), name);
        }
        names
    }

    /// The provider's name for the client's name.
    pub(super) fn outbound<'a>(&'a self, name: &'a str) -> &'a str {
        self.outbound.get(name).map_or(name, String::as_str)
    }

    /// The client's name for the provider's name.
    pub(super) fn inbound(&self, name: String) -> String {
        self.inbound.get(&name).cloned().unwrap_or(name)
    }
}

fn all_names(request: &ChatRequest) -> impl Iterator<Item = &str> {
    let parts = request.messages.iter().flat_map(|message| &message.content);
    let called = parts.filter_map(Part::as_tool_call).map(|call| call.name.as_str());
    let chosen = match &request.tool_choice {
        ToolChoice::Named(name) => Some(name.as_str()),
        ToolChoice::Auto | ToolChoice::None | ToolChoice::Required => None,
    };
    request.tools.iter().map(|tool| tool.name.as_str()).chain(called).chain(chosen)
}

fn letter(letter: char) -> char {
    if letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-') { letter } else { '_' }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::{call, message, tool, user};
    use crate::chat::Role;
    use proptest::prelude::*;

    fn names(of: &[&str]) -> ToolNames {
        let mut request = user("hi");
        request.tools = of.iter().map(|name| tool(name)).collect();
        ToolNames::new(&request)
    }

    #[test]
    fn names_that_fit_stay_and_others_avoid_them() {
        let names = names(&["a.b", "a/b", "a_b", "ok-1", "a.b", ""]);
        let told = ["a_b", "ok-1", "a.b", "a/b", ""].map(|name| names.outbound(name));
        assert_eq!(told, ["a_b", "ok-1", "a_b_2", "a_b_3", "_2"]);
        assert_eq!(names.inbound("a_b_3".into()), "a/b");
        assert_eq!(names.inbound("unheard_of".into()), "unheard_of");
    }

    #[test]
    fn what_is_called_later_changes_no_earlier_name() {
        let mut request = user("hi");
        request.tools = ["a.b", "a/b"].map(tool).to_vec();
        let called = |name| message(Role::Assistant, vec![call(Some("1"), name, "{}")]);
        for name in ["x.y", "a_b", "x_y", "x/y"] {
            request.messages.push(called(name));
            let names = ToolNames::new(&request);
            let told = ["a.b", "a/b", "x.y"].map(|name| names.outbound(name));
            assert_eq!(told, ["a_b", "a_b_2", "x_y"], "{name}");
        }
        assert_eq!(ToolNames::new(&request).outbound("x/y"), "x_y_2");
    }

    proptest! {
        #[test]
        fn every_name_fits_and_is_translated_back(own in proptest::collection::vec("[a-c./_é]{0,3}|[a.]{60,70}", 0..12)) {
            let own: Vec<&str> = own.iter().map(String::as_str).collect();
            let names = names(&own);
            for name in own {
                let fit = names.outbound(name);
                prop_assert!(fits_as_id(fit, LONGEST), "{}", fit);
                prop_assert_eq!(names.inbound(fit.to_owned()), name);
            }
        }
    }
}
