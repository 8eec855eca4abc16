//! The explanation of a routing decision: which rule matched, which providers it named, and the
//! verdict on each.
//!
//! Owns its wording: in full for the operator ([`Explanation::steps`], [`Explanation::summary`]),
//! and for a client only the parts that its key may use ([`Explanation::told`]).
//!
//! The one thing to know: the decision itself records it; it is never reconstructed afterwards.

use std::sync::Arc;

use crate::chat::GatewayError;
use crate::job::Candidate;
use crate::policy::DataPolicy;

/// How a routing decision was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explanation {
    /// The data policy that was applied, and its source.
    pub policy: Option<(DataPolicy, PolicySource)>,
    /// The rule that matched; `None` when the request was refused before.
    pub rule: Option<Rule>,
    /// The providers that the rule named, in order.
    pub considered: Vec<Considered>,
}

/// The source of a data policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicySource {
    /// The request's header.
    Request,
    /// The caller's key.
    Key,
    /// The hint of this name.
    Hint(String),
}

/// A routing rule that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// `model_hint`.
    Hint(String),
    /// `provider/model`.
    ProviderModel,
    /// One of `[[routes]]`.
    Route {
        /// Its place in the file, from 1 on.
        number: usize,
        /// Its pattern.
        pattern: Arc<str>,
    },
    /// A hint's name instead of a model's.
    Generic(String),
    /// The `models` patterns of the providers.
    Models,
    /// `[default]`.
    Default,
    /// The path, of a request that names no model.
    Path,
    /// Models are managed.
    Management,
}

/// A provider that a rule named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// The provider.
    pub provider: Arc<str>,
    /// The model that would run there; empty when it has no default model.
    pub model: Arc<str>,
    /// How its place in the order was found.
    pub pick: Pick,
    /// The verdict on it.
    pub verdict: Verdict,
    /// How the request is sent there, and why, if there is more than one way.
    pub way: Option<&'static str>,
}

/// How a provider's place in the order was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    /// It is next in the file.
    Next,
    /// It was drawn, with this weight.
    Weight(u32),
    /// It had the shortest wait of those that are left.
    Wait,
}

/// The verdict on a provider that a rule named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is a candidate.
    Candidate,
    /// The data policy excludes it.
    DataPolicy,
    /// The key may not use it, or not that model.
    Key,
    /// Its list of models does not have this one, and another provider's does.
    NotInstalled,
    /// The same model there is already a candidate.
    Twice,
    /// Its API cannot express this part of the request.
    Unable(&'static str),
}

/// The longest value of the header.
const LONGEST: usize = 1024;

impl Explanation {
    /// Records that a candidate cannot answer this request, because its API has no `what`.
    pub fn unable(&mut self, candidate: &Candidate, what: &'static str) {
        for one in &mut self.considered {
            if one.provider == candidate.provider && one.model == candidate.model {
                one.verdict = Verdict::Unable(what);
            }
        }
    }

    /// Records how the request is sent to a candidate, and why.
    pub fn goes(&mut self, provider: &str, way: &'static str) {
        for one in self.considered.iter_mut().filter(|one| &*one.provider == provider) {
            one.way = Some(way);
        }
    }

    /// The part that the client may know, as a header's value: the rule's kind, the candidates, and
    /// why others are excluded. It contains no pattern, and no provider or model that the key may
    /// not use.
    #[must_use]
    pub fn told(&self) -> String {
        let rule = self.rule.as_ref().map_or("none", Rule::kind);
        let mut told = format!("rule={rule}");
        let candidates: Vec<String> = self.candidates().map(|one| plain(&one.name())).collect();
        let none = || "none".to_owned();
        let tries = if candidates.is_empty() { none() } else { candidates.join(", ") };
        told.push_str(&format!("; tries={tries}"));
        if let Some((policy, _)) = &self.policy {
            told.push_str(&format!("; policy={policy}"));
        }
        let way = |one: &Considered| Some(format!("{} {}", plain(&one.name()), one.way?));
        let ways: Vec<String> = self.candidates().filter_map(way).collect();
        if !ways.is_empty() {
            told.push_str(&format!("; way={}", ways.join(", ")));
        }
        let mut reasons: Vec<&str> =
            self.considered.iter().filter_map(|one| one.verdict.reason()).collect();
        reasons.sort_unstable();
        reasons.dedup();
        if !reasons.is_empty() {
            told.push_str(&format!("; left-out={}", reasons.join(", ")));
        }
        told.truncate(LONGEST);
        told
    }

    /// The candidates on one line: `a/x (weight 3) or b/x (weight 1), then c/y`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut line = String::new();
        let mut before = None;
        for one in self.candidates() {
            let is_among_equals = one.pick != Pick::Next
                && before.is_some_and(|before| {
                    std::mem::discriminant(&before) == std::mem::discriminant(&one.pick)
                });
            line.push_str(match (before, is_among_equals) {
                (None, _) => "",
                (Some(_), true) => " or ",
                (Some(_), false) => ", then ",
            });
            line.push_str(&one.name());
            if let Pick::Weight(weight) = one.pick {
                line.push_str(&format!(" (weight {weight})"));
            }
            before = Some(one.pick);
        }
        let is_by_wait = self.candidates().any(|one| one.pick == Pick::Wait);
        match (line.is_empty(), is_by_wait) {
            (true, _) => "nobody".to_owned(),
            (false, true) => line + " (the shortest wait first)",
            (false, false) => line,
        }
    }

    /// Every step, one per line, for the operator; `refused` is the client's error.
    #[must_use]
    pub fn steps(&self, refused: Option<&GatewayError>) -> Vec<String> {
        let policy = match &self.policy {
            None => "none".to_owned(),
            Some((policy, PolicySource::Request)) => format!("{policy}, the request says so"),
            Some((policy, PolicySource::Key)) => format!("{policy}, the key says so"),
            Some((policy, PolicySource::Hint(hint))) => {
                format!("{policy}, the hint `{hint}` says so")
            }
        };
        let rule = match &self.rule {
            None => "none".to_owned(),
            Some(Rule::Hint(hint)) => format!("the hint `{hint}`"),
            Some(Rule::ProviderModel) => "provider/model".to_owned(),
            Some(Rule::Route { number, pattern }) => format!("route {number}, `{pattern}`"),
            Some(Rule::Generic(hint)) => format!("`{hint}` as a model means the hint"),
            Some(Rule::Models) => "the providers whose `models` fit best".to_owned(),
            Some(Rule::Default) => "[default], because nothing else matches".to_owned(),
            Some(Rule::Path) => "the providers whose `passthrough` lists the path".to_owned(),
            Some(Rule::Management) => "the first that installs models and may".to_owned(),
        };
        let mut steps = vec![format!("data policy: {policy}"), format!("rule: {rule}")];
        for one in &self.considered {
            let pick = match one.pick {
                Pick::Next => String::new(),
                Pick::Weight(weight) => format!(", drawn with weight {weight}"),
                Pick::Wait => ", by the shortest wait".to_owned(),
            };
            let verdict = match one.verdict {
                Verdict::Candidate => {
                    let way = one.way.map_or_else(String::new, |way| format!(", {way}"));
                    format!("candidate{pick}{way}")
                }
                Verdict::DataPolicy => {
                    "left out: the data policy allows local providers only".into()
                }
                Verdict::Key => "left out: the key may not use that model or provider".into(),
                Verdict::NotInstalled => "left out: it does not have the model, others do".into(),
                Verdict::Twice => "left out: it is a candidate already".into(),
                Verdict::Unable(what) => format!("left out: it has no {what}"),
            };
            steps.push(format!("{}: {verdict}", one.name()));
        }
        steps.push(match refused {
            None => format!("result: {}", self.summary()),
            Some(error) => format!("result: {} {}", error.kind.status(), error),
        });
        steps
    }

    fn candidates(&self) -> impl Iterator<Item = &Considered> {
        self.considered.iter().filter(|one| one.verdict == Verdict::Candidate)
    }
}

impl Rule {
    /// The word for the client.
    fn kind(&self) -> &'static str {
        match self {
            Self::Hint(_) | Self::Generic(_) => "hint",
            Self::ProviderModel => "provider/model",
            Self::Route { .. } => "route",
            Self::Models => "models",
            Self::Default => "default",
            Self::Path => "path",
            Self::Management => "management",
        }
    }
}

impl Considered {
    fn name(&self) -> String {
        if self.model.is_empty() {
            format!("{}/(no model)", self.provider)
        } else {
            format!("{}/{}", self.provider, self.model)
        }
    }
}

impl Verdict {
    /// The word for the client, if the reason for an exclusion concerns it.
    fn reason(self) -> Option<&'static str> {
        match self {
            Self::Candidate | Self::Twice | Self::NotInstalled => None,
            Self::DataPolicy => Some("data-policy"),
            Self::Key => Some("key"),
            Self::Unable(_) => Some("api"),
        }
    }
}

/// A name without characters that would break the header or look like its punctuation: models'
/// names are the client's text.
fn plain(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_graphic() && letter != ',' && letter != ';';
    name.chars().map(|letter| if is_plain(letter) { letter } else { '?' }).collect()
}
