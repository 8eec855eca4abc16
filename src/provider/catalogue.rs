//! A provider's lists and descriptions of its models, shared by all workers.
//!
//! It owns one cached list for each [`Listing`]: the last list, when it was last requested, and
//! whether a request is running now; and the descriptions of models. It never asks a provider
//! itself.
//!
//! The one thing to know: a failed look counts as a look. The last list stays, and no client waits
//! for a dead provider again before the next look is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::sync::Notify;

use crate::chat::{Ability, Facts, Listing, Model};

/// How long a look stays fresh. Clients list models when a user opens a menu, and after installing
/// one.
const FRESH: Duration = Duration::from_secs(5);

/// The loaded models change with every call, and users look (`ollama ps`) right after they ran or
/// stopped a model: only simultaneous requests share a look.
const LOADED_FRESH: Duration = Duration::ZERO;

/// How long a description stays valid. A model changes only when it is installed again.
const BELIEVED: Duration = Duration::from_secs(300);

/// How many digests are kept with what is known of their models.
const MOST_DIGESTS: usize = 1024;

/// How many descriptions are kept. The models' names come from callers.
const MOST_DESCRIBED: usize = 256;

/// The lists and descriptions of a provider's models.
#[derive(Debug)]
pub struct Catalogue {
    installed: CachedList,
    loaded: CachedList,
    /// By the model's name.
    described: Mutex<HashMap<Arc<str>, Described>>,
    /// By the digest of the model's content, which never changes; without facts while a look at it
    /// is in progress or has failed.
    digests: Mutex<HashMap<String, (Instant, Option<Facts>)>>,
}

/// The content of a model's description.
#[derive(Debug)]
struct Described {
    facts: Facts,
    since: Instant,
}

/// One list of a provider.
#[derive(Debug)]
pub struct CachedList {
    /// How long a successful look stays fresh.
    lasts: Duration,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    models: Option<Arc<[Model]>>,
    looked: Option<Instant>,
    /// Whether the last look failed.
    failed: bool,
    is_looking: bool,
    /// Whether the models have changed since the look in progress began.
    is_outdated: bool,
}

/// The one look in progress. Dropping it ends it.
#[derive(Debug)]
pub struct Look<'a> {
    shelf: &'a CachedList,
    found: Option<Vec<Model>>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            installed: CachedList::lasting(FRESH),
            loaded: CachedList::lasting(LOADED_FRESH),
            described: Mutex::default(),
            digests: Mutex::default(),
        }
    }
}

impl Catalogue {
    /// The cached list of that kind.
    #[must_use]
    pub fn list(&self, listing: Listing) -> &CachedList {
        match listing {
            Listing::Installed => &self.installed,
            Listing::Loaded => &self.loaded,
        }
    }

    /// Whether the model can think, if its description says so; the outer `None` when it was not
    /// described lately.
    #[must_use]
    pub fn thinks(&self, model: &str, now: Instant) -> Option<Option<bool>> {
        self.described(model, now).map(|facts| facts.can(Ability::Thinking))
    }

    /// The facts of a model's description, if it was described lately.
    #[must_use]
    pub fn described(&self, model: &str, now: Instant) -> Option<Facts> {
        let described = self.described.lock();
        let told = described.get(model)?;
        (now.saturating_duration_since(told.since) < BELIEVED).then(|| told.facts.clone())
    }

    /// The models have changed: the next look is due, and nothing that was told of them is
    /// believed.
    pub fn outdate(&self) {
        let mut state = self.installed.state.lock();
        (state.looked, state.is_outdated) = (None, true);
        drop(state);
        self.described.lock().clear();
    }

    /// Keeps a model's description.
    pub fn describe(
        &self,
        model: &Arc<str>,
        description: Option<&Map<String, Value>>,
        now: Instant,
    ) {
        self.describe_as(model, description.map(facts).unwrap_or_default(), now);
    }

    /// Keeps the facts of a model's description.
    pub fn describe_as(&self, model: &Arc<str>, facts: Facts, now: Instant) {
        let mut described = self.described.lock();
        if described.len() >= MOST_DESCRIBED && !described.contains_key(model) {
            described.clear();
        }
        described.insert(Arc::clone(model), Described { facts, since: now });
    }

    /// Whether the model of this digest is to be described now. Then it is not again for a while,
    /// so that only one look at it is in progress and a failed one is not repeated at once.
    #[must_use]
    pub fn claim(&self, digest: &str, now: Instant) -> bool {
        let mut digests = self.digests.lock();
        if let Some((since, facts)) = digests.get(digest)
            && (facts.is_some() || now.saturating_duration_since(*since) < BELIEVED)
        {
            return false;
        }
        if digests.len() >= MOST_DIGESTS {
            digests.clear();
        }
        digests.insert(digest.to_owned(), (now, None));
        true
    }

    /// Keeps the facts of the model of this digest, which was claimed before.
    pub fn keep(&self, digest: &str, facts: Facts) {
        if let Some((_, kept)) = self.digests.lock().get_mut(digest) {
            *kept = Some(facts);
        }
    }

    /// The facts of the model of this digest, if they are known.
    #[must_use]
    pub fn of_digest(&self, digest: &str) -> Option<Facts> {
        self.digests.lock().get(digest)?.1.clone()
    }
}

/// The facts in Ollama's description of a model. Older servers do not list its capabilities.
pub(super) fn facts(description: &Map<String, Value>) -> Facts {
    let context = || {
        let about = description.get("model_info")?;
        let kind = about.get("general.architecture")?.as_str()?;
        about.get(format!("{kind}.context_length"))?.as_u64()
    };
    match description.get("capabilities").and_then(Value::as_array) {
        Some(list) => {
            Facts::exactly(context(), |ability| list.iter().any(|one| one == ability.word()))
        }
        None => Facts::taking(context()),
    }
}

impl CachedList {
    fn lasting(lasts: Duration) -> Self {
        Self { lasts, state: Mutex::default(), changed: Notify::new() }
    }

    /// The last list; `None` when there was never one.
    #[must_use]
    pub fn models(&self) -> Option<Arc<[Model]>> {
        self.state.lock().models.clone()
    }

    /// Whether the last look is fresh, successful or not.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.state.lock().is_fresh(self.lasts, now)
    }

    /// Whether the last look is younger than `age`, successful or not.
    #[must_use]
    pub fn is_younger(&self, age: Duration, now: Instant) -> bool {
        let looked = self.state.lock().looked;
        looked.is_some_and(|looked| now.saturating_duration_since(looked) < age)
    }

    /// Whether there was ever a look, successful or not.
    #[must_use]
    pub fn was_looked_at(&self) -> bool {
        self.state.lock().looked.is_some()
    }

    /// Takes a list that came without a look.
    pub fn heard(&self, models: Vec<Model>, now: Instant) {
        let mut state = self.state.lock();
        state.models = Some(models.into());
        state.looked = Some(now);
        state.failed = false;
        drop(state);
        self.changed.notify_waiters();
    }

    /// Begins a look, unless one is in progress or was made lately.
    pub fn look(&self, now: Instant) -> Option<Look<'_>> {
        let mut state = self.state.lock();
        if state.is_fresh(self.lasts, now) || state.is_looking {
            return None;
        }
        state.is_looking = true;
        state.is_outdated = false;
        Some(Look { shelf: self, found: None })
    }

    /// Waits until the list is fresh, or a look has ended after `since`.
    ///
    /// # Cancellation
    ///
    /// Safe to drop at any time.
    pub async fn fresh(&self, since: Instant) {
        loop {
            let changed = self.changed.notified();
            let has_ended = self.state.lock().looked.is_some_and(|looked| looked >= since);
            if has_ended || self.is_fresh(Instant::now()) {
                return;
            }
            changed.await;
        }
    }
}

impl State {
    fn is_fresh(&self, lasts: Duration, now: Instant) -> bool {
        let lasts = if self.failed { FRESH } else { lasts };
        self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < lasts)
    }
}

impl Look<'_> {
    /// Ends the look with what was found.
    pub fn found(mut self, models: Vec<Model>) {
        self.found = Some(models);
    }
}

impl Drop for Look<'_> {
    fn drop(&mut self) {
        let mut state = self.shelf.state.lock();
        state.failed = self.found.is_none();
        if let Some(models) = self.found.take() {
            state.models = Some(models.into());
        }
        state.looked = Some(Instant::now()).filter(|_| !state.is_outdated);
        state.is_looking = false;
        drop(state);
        self.shelf.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(name: &str) -> Model {
        Model { name: name.into(), ..Model::default() }
    }

    #[tokio::test]
    async fn one_request_looks_and_the_others_wait_for_it() {
        let shelf = CachedList::lasting(FRESH);
        let look = shelf.look(Instant::now()).unwrap();
        assert!(shelf.look(Instant::now()).is_none());
        let waiting = shelf.fresh(Instant::now());
        look.found(vec![model("a")]);
        waiting.await;
        assert_eq!(shelf.models().unwrap()[0].name, "a");
        assert!(shelf.look(Instant::now()).is_none());
        assert!(shelf.look(Instant::now() + FRESH).is_some());
    }

    #[test]
    fn a_description_is_kept_for_a_while_and_the_table_is_bounded() {
        let (catalogue, now) = (Catalogue::default(), Instant::now());
        let told = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap();
        let (wise, plain) = (Arc::from("wise"), Arc::from("plain"));
        catalogue.describe(&wise, Some(&told(r#"{"capabilities": ["thinking"]}"#)), now);
        let text = r#"{"capabilities": ["tools"], "model_info":
            {"general.architecture": "tiny", "tiny.context_length": 4096}}"#;
        catalogue.describe(&plain, Some(&told(text)), now);
        assert_eq!(catalogue.described("plain", now).unwrap().context, Some(4096));
        catalogue.describe(&Arc::from("old"), Some(&told("{}")), now);
        catalogue.describe(&Arc::from("mute"), None, now);
        assert_eq!(catalogue.thinks("wise", now), Some(Some(true)));
        assert_eq!(catalogue.thinks("plain", now), Some(Some(false)));
        assert_eq!(catalogue.thinks("old", now), Some(None));
        assert_eq!(catalogue.thinks("mute", now), Some(None));
        assert_eq!(catalogue.thinks("other", now), None);
        assert_eq!(catalogue.thinks("wise", now + BELIEVED), None);
        for number in 0..10_000 {
            catalogue.describe(&Arc::from(format!("invented-{number}")), None, now);
            assert!(catalogue.described.lock().len() <= MOST_DESCRIBED);
        }
    }

    #[test]
    fn a_digest_is_described_once_and_a_failure_not_again_at_once() {
        let (catalogue, now) = (Catalogue::default(), Instant::now());
        assert!(catalogue.claim("a", now) && !catalogue.claim("a", now));
        assert_eq!(catalogue.of_digest("a"), None);
        assert!(catalogue.claim("a", now + BELIEVED), "it was not answered");
        catalogue.keep("a", Facts::taking(Some(7)));
        assert!(!catalogue.claim("a", now + 10 * BELIEVED));
        assert_eq!(catalogue.of_digest("a").unwrap().context, Some(7));
        catalogue.keep("unclaimed", Facts::default());
        assert_eq!(catalogue.of_digest("unclaimed"), None);
        for number in 0..3 * MOST_DIGESTS {
            assert!(catalogue.claim(&number.to_string(), now));
            assert!(catalogue.digests.lock().len() <= MOST_DIGESTS);
        }
    }

    #[tokio::test]
    async fn loaded_models_are_requested_each_time_but_not_from_a_dead_provider() {
        let (catalogue, now) = (Catalogue::default(), Instant::now());
        let loaded = catalogue.list(Listing::Loaded);
        loaded.look(now).unwrap().found(vec![model("a")]);
        loaded.fresh(now).await;
        assert_eq!(loaded.models().unwrap()[0].name, "a");
        assert!(!loaded.is_fresh(Instant::now()));
        drop(loaded.look(Instant::now()).unwrap());
        assert!(loaded.is_fresh(Instant::now()) && loaded.look(Instant::now()).is_none());
        assert!(!loaded.is_fresh(Instant::now() + FRESH));
    }

    #[tokio::test]
    async fn a_failed_look_keeps_the_last_list_and_ends_the_wait() {
        let shelf = CachedList::lasting(FRESH);
        shelf.look(Instant::now()).unwrap().found(vec![model("a")]);
        drop(shelf.look(Instant::now() + FRESH).unwrap());
        shelf.fresh(Instant::now() + FRESH).await;
        assert_eq!(shelf.models().unwrap()[0].name, "a");
        let never = CachedList::lasting(FRESH);
        drop(never.look(Instant::now()));
        never.fresh(Instant::now() + FRESH).await;
        assert!(never.models().is_none());
    }
}
