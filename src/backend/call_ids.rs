//! Pairs tool calls with their results.
//!
//! It gives every call an id, and every result the id and the name of its call, even if the
//! client's own API leaves them out. It refuses results that answer no call.
//!
//! The one thing to know: ids are made in order, so that the same conversation always gets the same
//! ids and matches a provider's prompt cache. They have nine letters and digits, because the
//! templates of Mistral's models accept no others.

use std::collections::{HashMap, HashSet, VecDeque};

use super::history::excerpt;
use crate::chat::{ChatRequest, GatewayError, Part, ToolResult};

/// The ids of a conversation's calls and results, in the order in which they appear.
#[derive(Debug)]
pub(super) struct CallIds<'a> {
    calls: std::vec::IntoIter<String>,
    results: std::vec::IntoIter<(String, &'a str)>,
}

impl<'a> CallIds<'a> {
    /// Pairs the calls and results of `request`. An id that `fits` rejects is replaced in the call
    /// and in its results.
    ///
    /// # Errors
    ///
    /// `InvalidRequest` when a result answers no call before it.
    pub(super) fn new(
        request: &'a ChatRequest,
        fits: impl Fn(&str) -> bool,
    ) -> Result<Self, GatewayError> {
        let parts = || request.messages.iter().flat_map(|message| &message.content);
        let mut calls = Seen::default();
        let mut results = Vec::new();
        for part in parts() {
            match part {
                Part::ToolCall(call) => {
                    let own = call.id.as_deref();
                    let id = match own.filter(|id| fits(id) && !calls.made_ids.contains(*id)) {
                        Some(id) => id.to_owned(),
                        None => calls.made_id(),
                    };
                    calls.add(own, id, &call.name);
                }
                Part::ToolResult(result) => results.push(calls.answered_by(result)?),
                Part::Text(_)
                | Part::Image(_)
                | Part::Reasoning { .. }
                | Part::CacheMark(_)
                | Part::Document(_)
                | Part::Foreign(_) => {}
            }
        }
        let ids: Vec<String> = calls.all.into_iter().map(|call| call.id).collect();
        Ok(Self { calls: ids.into_iter(), results: results.into_iter() })
    }

    /// The id of the next call.
    pub(super) fn call(&mut self) -> String {
        self.calls.next().unwrap_or_default()
    }

    /// The id and the tool's name of the next result.
    pub(super) fn result(&mut self) -> (String, &'a str) {
        self.results.next().unwrap_or_default()
    }
}

/// The calls so far. Every lookup takes constant time, because clients decide how many calls there
/// are.
#[derive(Debug, Default)]
struct Seen<'a> {
    all: Vec<Call<'a>>,
    /// The latest call with each of the client's own ids.
    by_id: HashMap<&'a str, usize>,
    /// The calls of each tool, oldest first; some may be answered.
    by_name: HashMap<&'a str, VecDeque<usize>>,
    /// All calls, oldest first; some may be answered.
    waiting: VecDeque<usize>,
    /// How many ids were made or found to be in use.
    made: usize,
    made_ids: HashSet<String>,
}

#[derive(Debug)]
struct Call<'a> {
    id: String,
    name: &'a str,
    is_answered: bool,
}

impl<'a> Seen<'a> {
    /// The next id that the client has not used itself so far. If it does so later, its own is
    /// replaced then.
    fn made_id(&mut self) -> String {
        loop {
            let id = format!("call{:05}", self.made);
            self.made += 1;
            if !self.by_id.contains_key(id.as_str()) {
                self.made_ids.insert(id.clone());
                return id;
            }
        }
    }

    fn add(&mut self, own: Option<&'a str>, id: String, name: &'a str) {
        let index = self.all.len();
        self.all.push(Call { id, name, is_answered: false });
        self.by_name.entry(name).or_default().push_back(index);
        self.waiting.push_back(index);
        if let Some(own) = own {
            self.by_id.insert(own, index);
        }
    }

    /// The call that `result` answers: by id, else the oldest unanswered call of that tool, else
    /// the oldest unanswered call.
    fn answered_by(&mut self, result: &ToolResult) -> Result<(String, &'a str), GatewayError> {
        let index = match (result.call_id.as_deref(), result.name.as_deref()) {
            (Some(id), _) => self.by_id.get(id).copied(),
            (None, Some(name)) => {
                self.by_name.get_mut(name).and_then(|queue| oldest(queue, &self.all))
            }
            (None, None) => oldest(&mut self.waiting, &self.all),
        };
        let Some(call) = index.and_then(|index| self.all.get_mut(index)) else {
            return Err(GatewayError::invalid(match result.call_id.as_deref() {
                Some(id) => format!("tool_call_id: no earlier message calls `{}`", excerpt(id)),
                None => "messages: a tool message must follow the call that it answers".to_owned(),
            }));
        };
        call.is_answered = true;
        Ok((call.id.clone(), call.name))
    }
}

/// Takes the oldest unanswered call.
fn oldest(queue: &mut VecDeque<usize>, all: &[Call<'_>]) -> Option<usize> {
    while let Some(index) = queue.pop_front() {
        if all.get(index).is_some_and(|call| !call.is_answered) {
            return Some(index);
        }
    }
    None
}

/// Whether an id has the form of the ids that are made here: nine letters and digits.
pub(super) fn is_made_like(id: &str) -> bool {
    id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether an id consists of letters, digits, `_` and `-`, at most `longest` of them.
pub(super) fn fits_as_id(id: &str, longest: usize) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    !id.is_empty() && id.len() <= longest && id.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::testing::{call, message, result, user};
    use crate::chat::Role;

    fn named(name: &str) -> Part {
        let Part::ToolResult(result) = result(None, "") else { panic!("a result") };
        Part::ToolResult(ToolResult { name: Some(name.into()), ..result })
    }

    fn paired(calls: Vec<Part>, results: Vec<Part>) -> Result<Vec<String>, GatewayError> {
        let count = results.len();
        let mut request = user("hi");
        request.messages.push(message(Role::Assistant, calls));
        request.messages.push(message(Role::Tool, results));
        let mut call_ids = CallIds::new(&request, |id| fits_as_id(id, 40))?;
        Ok((0..count).map(|_| call_ids.result().0).collect())
    }

    #[test]
    fn results_without_ids_are_paired_by_tool_name_and_then_by_order() {
        let calls = || vec![call(None, "f", ""), call(None, "g", ""), call(None, "f", "")];
        let pairs = |results| paired(calls(), results).unwrap();
        assert_eq!(
            pairs(vec![named("g"), named("f"), named("f")]),
            ["call00001", "call00000", "call00002"]
        );
        let unnamed = || result(None, "");
        assert_eq!(
            pairs(vec![unnamed(), named("f"), unnamed()]),
            ["call00000", "call00002", "call00001"]
        );
        assert!(paired(calls(), vec![named("h")]).is_err());
        assert!(paired(calls(), vec![named("g"), named("g")]).is_err());
    }

    #[test]
    fn a_made_id_is_unused_and_every_template_accepts_it() {
        let own = "call00000";
        let calls = || vec![call(Some(own), "f", ""), call(None, "g", ""), call(None, "h", "")];
        let answers = || vec![named("h"), result(Some(own), ""), named("g")];
        let ids = paired(calls(), answers()).unwrap();
        assert_eq!(ids, ["call00002", own, "call00001"]);
        assert!(ids.iter().all(|id| is_made_like(id)));
        // Later calls change no earlier id.
        let mut more = calls();
        more.push(call(None, "f", ""));
        assert_eq!(paired(more, answers()).unwrap(), ids);
    }

    #[test]
    fn an_own_id_like_one_that_was_made_before_is_replaced() {
        let calls = vec![call(None, "f", ""), call(Some("call00000"), "g", "")];
        let ids = paired(calls, vec![named("f"), result(Some("call00000"), "")]).unwrap();
        assert_eq!(ids, ["call00000", "call00001"]);
    }

    #[test]
    fn an_id_that_is_used_twice_means_the_latest_call() {
        let calls = vec![call(Some("a"), "f", ""), call(Some("a"), "g", "")];
        let mut request = user("hi");
        request.messages.push(message(Role::Assistant, calls));
        request.messages.push(message(Role::Tool, vec![result(Some("a"), "")]));
        let mut call_ids = CallIds::new(&request, |_| true).unwrap();
        assert_eq!(call_ids.result(), ("a".to_owned(), "g"));
    }
}
