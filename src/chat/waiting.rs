//! Where a waiting request stands, in the words that its client reads: in the comments of a stream,
//! and in a refusal.
//!
//! The one thing to know: the name of a model comes from a client or a provider, so that control
//! characters, which could end a comment, are left out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A request's place in its provider's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// At most how many are served before it.
    pub ahead: u64,
    /// How long it is expected to wait; zero if nothing has been measured yet.
    pub expected: Duration,
    /// The load that it waits for, if its model is not loaded.
    pub load: Option<AwaitedLoad>,
}

/// The load of a model that a request waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwaitedLoad {
    /// The model, as the request names it.
    pub model: Arc<str>,
    /// How far its load is.
    pub stage: LoadStage,
    /// How long until it is probably loaded; zero if that is unknown.
    pub left: Duration,
}

/// How far the load is that a request waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadStage {
    /// The model is being loaded.
    Loading,
    /// Others are served before it is loaded.
    Wanted,
    /// It is loaded and makes room for another model, so that it has to be loaded again.
    Leaving,
}

impl fmt::Display for Waiting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ahead, expected, load } = self;
        let Some(load) = load else {
            write!(formatter, "waiting, {ahead} ahead")?;
            return about(*expected, "", formatter);
        };
        write!(formatter, "{load}, {ahead} ahead")?;
        // A load is a guess: a little more is no news, and without it the whole is unknown.
        if !load.left.is_zero() && seconds(*expected) * 10 > seconds(load.left) * 11 {
            about(*expected, " in all", formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for AwaitedLoad {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model: String =
            self.model.chars().filter(|character| !character.is_control()).collect();
        match self.stage {
            LoadStage::Loading => write!(formatter, "loading `{model}`")?,
            LoadStage::Wanted => write!(formatter, "waiting until `{model}` is loaded")?,
            LoadStage::Leaving => {
                write!(formatter, "`{model}` makes room for another model and comes back")?;
            }
        }
        about(self.left, "", formatter)
    }
}

fn about(time: Duration, of: &str, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    match seconds(time) {
        0 => Ok(()),
        seconds => write!(formatter, ", about {seconds} s{of}"),
    }
}

/// In whole seconds, rounded up.
fn seconds(time: Duration) -> u128 {
    time.as_millis().div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(ahead: u64, expected: u64, load: Option<(LoadStage, u64)>) -> String {
        let load = load.map(|(stage, left)| AwaitedLoad {
            model: Arc::from("llama3.1:70b"),
            stage,
            left: Duration::from_millis(left),
        });
        Waiting { ahead, expected: Duration::from_millis(expected), load }.to_string()
    }

    #[test]
    fn a_wait_is_told_with_its_load_and_its_time_as_far_as_they_are_known() {
        assert_eq!(said(3, 0, None), "waiting, 3 ahead");
        assert_eq!(said(3, 11_200, None), "waiting, 3 ahead, about 12 s");
        let loading = "loading `llama3.1:70b`";
        assert_eq!(
            said(3, 40_000, Some((LoadStage::Loading, 40_000))),
            format!("{loading}, about 40 s, 3 ahead")
        );
        let long = format!("{loading}, about 40 s, 3 ahead, about 64 s in all");
        assert_eq!(said(3, 64_000, Some((LoadStage::Loading, 39_001))), long);
        assert_eq!(said(0, 2_000, Some((LoadStage::Loading, 0))), format!("{loading}, 0 ahead"));
        let cold = "waiting until `llama3.1:70b` is loaded, about 52 s, 1 ahead";
        assert_eq!(said(1, 52_000, Some((LoadStage::Wanted, 52_000))), cold);
        let leaving = "`llama3.1:70b` makes room for another model and comes back, 1 ahead";
        assert_eq!(said(1, 52_000, Some((LoadStage::Leaving, 0))), leaving);
    }

    #[test]
    fn no_name_of_a_model_ends_a_comment() {
        let model = Arc::from("a\n\ndata: forged\r\n");
        let load = AwaitedLoad { model, stage: LoadStage::Loading, left: Duration::ZERO };
        assert_eq!(load.to_string(), "loading `adata: forged`");
    }
}
