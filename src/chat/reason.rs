//! Why the gateway turns a request away: one word of a closed set, the same in answers, metrics,
//! logs, feeds and snapshots.
//!
//! It owns the words. `docs/errors.md` has a row for each, with its meaning and its remedy.
//!
//! The one thing to know: a kind of error says what a client can do, a reason says what was
//! decided. Several reasons share a kind, and a provider's failures have a kind and no reason.

use serde::{Serialize, Serializer};

/// Declares an enum together with all its variants and their words, so that none is left out.
macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$doc])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The reason in one word.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}

/// Why a request was turned away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A provider's gate refused it.
    Gate(RefusalReason),
    /// It was decided before any provider's gate, or by the client.
    Edge(EdgeReason),
}

impl Reason {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Self> {
        let gate = RefusalReason::ALL.iter().copied().map(Self::Gate);
        gate.chain(EdgeReason::ALL.iter().copied().map(Self::Edge))
    }

    /// The reason in one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gate(reason) => reason.as_str(),
            Self::Edge(reason) => reason.as_str(),
        }
    }
}

impl Serialize for Reason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

words! {
    /// Why a provider's gate refused a job, at the admission check or while it waited in line.
    RefusalReason {
        /// The line is full.
        QueueFull = "queue_full",
        /// The predicted wait ends after its deadline, or after the longest wait allowed.
        PredictedWait = "predicted_wait",
        /// Others wait, and its caller already has half of the line.
        OverShare = "over_share",
        /// It was the newest job of the longest queue when another caller's job reached a full
        /// line, or batch work in a full line.
        PushedOut = "pushed_out",
        /// It waited as long as the operator allows without getting a slot.
        WaitedTooLong = "waited_too_long",
        /// Its deadline passed.
        DeadlinePassed = "deadline_passed",
        /// The provider or the model keeps failing.
        BreakerOpen = "breaker_open",
        /// The provider's cooldown lasts longer than the job can wait.
        CoolingDown = "cooling_down",
        /// The provider does not accept our credentials.
        AuthFailed = "auth_failed",
        /// The same request has made the model fail again and again.
        Quarantined = "quarantined",
        /// The provider is being drained.
        Draining = "draining",
    }
}

words! {
    /// Why a request came to no provider's gate, or left its line.
    EdgeReason {
        /// The key is missing, unknown or expired.
        InvalidApiKey = "invalid_api_key",
        /// Too many invalid keys came from the address.
        Failures = "failures",
        /// A page of an origin that is not allowed calls where no key is required.
        ForeignOrigin = "foreign_origin",
        /// The key may not use the model or the provider, or may not manage models.
        NotAllowed = "not_allowed",
        /// The key has used its requests.
        Requests = "requests",
        /// The key has used its tokens of the minute.
        TokensPerMinute = "tokens_per_minute",
        /// The key has used its tokens of the day.
        TokensPerDay = "tokens_per_day",
        /// The key already has as many requests under way as it may.
        Concurrency = "concurrency",
        /// The request needs more tokens than its key's limit.
        TooLarge = "too_large",
        /// No provider serves the model.
        ModelNotFound = "model_not_found",
        /// No hint has that name.
        UnknownHint = "unknown_hint",
        /// The API of no candidate can express what the request asks for.
        NotSupported = "not_supported",
        /// The data policy leaves no provider.
        NoProviderForPolicy = "no_provider_for_policy",
        /// A reload removed the provider meanwhile.
        ProviderRemoved = "provider_removed",
        /// The gateway holds as many bytes of requests as it may.
        BodiesFull = "bodies_full",
        /// An actor's mailbox is full.
        MailboxFull = "mailbox_full",
        /// The gateway is stopping.
        Stopping = "stopping",
        /// The client left while the request waited in a provider's line.
        LeftWaiting = "left_waiting",
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The rows of the page's table of reasons.
    fn rows() -> BTreeMap<&'static str, Vec<&'static str>> {
        let page = include_str!("../../docs/errors.md");
        let (_, section) =
            page.split_once("\n| reason | who decides, and why | remedy |\n").unwrap();
        let section = section.split("\n\n").next().unwrap();
        let cells = |line: &'static str| -> Vec<&str> {
            line.trim_matches('|').split(" | ").map(str::trim).collect()
        };
        let rows = section.lines().filter(|line| line.starts_with("| `")).map(cells);
        rows.map(|cells| (cells[0].trim_matches('`'), cells[1..].to_vec())).collect()
    }

    #[test]
    fn the_page_has_a_meaning_and_a_remedy_for_each_reason_and_for_no_other() {
        let rows = rows();
        let known: Vec<&str> = Reason::all().map(Reason::as_str).collect();
        for word in &known {
            let cells = rows.get(word).unwrap_or_else(|| panic!("docs/errors.md lacks `{word}`"));
            assert_eq!(cells.len(), 2, "{word}");
            assert!(cells.iter().all(|cell| cell.len() > 3), "{word}: {cells:?}");
        }
        for word in rows.keys() {
            assert!(known.contains(word), "docs/errors.md knows `{word}`, the gateway does not");
        }
    }

    #[test]
    fn no_two_reasons_have_the_same_word() {
        let words: Vec<&str> = Reason::all().map(Reason::as_str).collect();
        let different: std::collections::BTreeSet<_> = words.iter().collect();
        assert_eq!(different.len(), words.len());
        let plain =
            |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
        assert!(words.iter().all(plain), "{words:?}");
    }
}
