//! What models are loaded with: the operator's settings, and the largest context length that was
//! asked for.
//!
//! Owns the context length of each runner: what its calls say now, and what requests have asked
//! for. The change to a call's bytes is [`crate::backend::pins`]'s.
//!
//! The one thing to know: a larger context length counts from the next load on. Until then calls
//! say what the model was loaded with, because a call that says something else makes the server
//! load the model behind the gateway's back.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::Provider;
use super::settings::{BackendName, KeepAlive, ModelSettings};
use crate::admission::warm::Needs;
use crate::backend::UpstreamRequest;
use crate::backend::pins::{OF_THE_RUNNER, Pins};
use crate::chat::{Api, Ask, Extra, Listing, untagged};
use crate::job::Job;
use crate::wire::splice::Outline;

/// The largest context length that requests may have a model loaded with, where the operator has
/// set none.
const MOST_CONTEXT: u32 = 32_768;
/// What a context length grows to is a multiple of this, so that a client cannot have a model
/// reloaded by every request.
const STEP: u32 = 1024;
/// The most runners whose context length is remembered.
const MOST_RUNNERS: usize = 256;

/// The context lengths of a provider's runners. They outlive a change of settings.
#[derive(Debug, Default)]
pub(super) struct Contexts(Mutex<HashMap<Arc<str>, Context>>);

/// The context length of one runner, in tokens.
#[derive(Debug, Default, Clone, Copy)]
struct Context {
    /// The largest that was asked for.
    asked: Option<u32>,
    /// What its calls say.
    said: Option<u32>,
    /// What it was last loaded with.
    loaded: Option<u32>,
    /// What could not be loaded: less is asked for from then on.
    too_large: Option<u32>,
}

impl Provider {
    /// Whether the options with which the model is loaded are the operator's alone.
    fn is_pinned(&self, model: &str) -> bool {
        let pin = self.model_settings(model).and_then(|settings| settings.pin);
        self.settings.backend == BackendName::Ollama && pin.unwrap_or(self.schedules_loads())
    }

    /// What the operator has written for the model.
    pub(super) fn model_settings(&self, model: &str) -> Option<&ModelSettings> {
        self.settings.models.of(model, self.naming())
    }

    /// Writes the model's options into a call; `may_say` is whether the call may say some itself.
    pub(super) fn pin(&self, call: &mut UpstreamRequest, model: &str, may_say: bool) {
        if self.settings.backend != BackendName::Ollama {
            return;
        }
        if self.is_pinned(model) {
            let pins = self.pins(model, self.said_context(model));
            if may_say || pins != Pins::default() {
                pins.replace(call);
            }
        } else if let Some(settings) = self.model_settings(model) {
            let keep_alive = settings.keep_alive.as_ref().map(KeepAlive::json);
            let num_ctx = settings.num_ctx;
            Pins { num_ctx, keep_alive, ..Pins::default() }.fill(call);
        }
    }

    /// Writes the model's options into a call that loads it, with the context length that is
    /// wanted now. The calls that follow say the same.
    pub(super) fn pin_load(&self, call: &mut UpstreamRequest, model: &str) {
        if !self.is_pinned(model) {
            return self.loading(model, self.own_context(model)).fill(call);
        }
        let own = self.own_context(model);
        let mut said = own;
        self.contexts.change(&self.runner_key(model), model, |context| {
            said = own.or(context.asked);
            context.said = said;
        });
        self.loading(model, said).fill(call);
    }

    /// Writes the options that the model is loaded with into a call that only gives it another time
    /// to stay.
    pub(super) fn pin_stay(&self, call: &mut UpstreamRequest, model: &str) {
        let said = match self.is_pinned(model) {
            true => self.said_context(model),
            false => self.own_context(model),
        };
        self.pins(model, said).fill(call);
    }

    /// How long the operator lets the model stay without calls; `None` also where that is no time,
    /// which would unload it at once.
    pub(super) fn own_stay(&self, model: &str) -> Option<Value> {
        self.loading(model, None).keep_alive
    }

    /// Notes the context length that a job asks for, before it is admitted. Where the model has to
    /// be loaded with a larger one, it is not started before that.
    pub(super) fn note_context(&self, job: &Job, model: &str) {
        if !self.is_pinned(model) || is_unload(&job.request) {
            return;
        }
        let asked = match &*job.request {
            Ask::Chat(_) | Ask::Embed(_) => asked_context(job),
            Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => return,
        };
        if asked.or(self.own_context(model)).is_none() && self.contexts.is_empty() {
            return;
        }
        // Nothing is loaded for a name that the server does not have.
        let Some(Needs { key, .. }) = self.needs_of(model, false) else { return };
        let most = || self.most_context(model);
        self.contexts.change(&key, model, |context| {
            if let Some(asked) = asked.filter(|asked| Some(*asked) > context.asked) {
                let grown = context.asked.map_or(asked, |_| asked.next_multiple_of(STEP));
                let grown = grown.min(most());
                if context.too_large.is_none_or(|too_large| grown < too_large) {
                    context.asked = context.asked.max(Some(grown));
                }
            }
            self.reload_if_outdated(context, &key, model);
        });
    }

    /// Notes how the model's load has ended. One that fails with a larger context length than the
    /// model was loaded with before is not tried again, or a single request could make the model
    /// unusable.
    pub(super) fn note_load(&self, model: &str, is_loaded: bool) {
        if !self.is_pinned(model) {
            return;
        }
        self.contexts.change(&self.runner_key(model), model, |context| {
            if is_loaded {
                context.loaded = context.said;
            } else if context.said > context.loaded && context.loaded.is_some() {
                context.too_large = context.said;
                (context.asked, context.said) = (context.loaded, context.loaded);
            }
        });
    }

    /// Has a model that was just loaded loaded again, if another context length was asked for
    /// during the load.
    pub(super) fn check_context(&self, model: &str) {
        if !self.is_pinned(model) {
            return;
        }
        let key = self.runner_key(model);
        self.contexts.change(&key, model, |context| self.reload_if_outdated(context, &key, model));
    }

    /// Has the model loaded again if its calls say another context length than is wanted; where
    /// nothing is loaded, they say the one that is wanted from now on.
    fn reload_if_outdated(&self, context: &mut Context, key: &str, model: &str) {
        let wanted = self.own_context(model).or(context.asked);
        if wanted != context.said && !self.gate.reload(key) {
            context.said = wanted;
        }
    }

    /// The operator's own fields of a call, except those that are pinned.
    pub(super) fn added_to(&self, model: &str) -> &Map<String, Value> {
        if self.is_pinned(model) { &self.unpinned } else { &self.added }
    }

    /// What is written into the model's calls, with this context length.
    fn pins(&self, model: &str, num_ctx: Option<u32>) -> Pins {
        let own = self.model_settings(model).and_then(|settings| settings.keep_alive.as_ref());
        let field = |name: &str| self.added.get(name).cloned();
        let options = self.added.get("options").and_then(Value::as_object);
        let set = |name: &&str| Some(((*name).to_owned(), options?.get(*name)?.clone()));
        Pins {
            num_ctx,
            keep_alive: own.map(KeepAlive::json).or_else(|| field("keep_alive")),
            shift: field("shift"),
            options: OF_THE_RUNNER.iter().filter_map(set).collect(),
        }
    }

    /// The same for a call that loads it: without prompt, no time to stay would unload it.
    fn loading(&self, model: &str, num_ctx: Option<u32>) -> Pins {
        let pins = self.pins(model, num_ctx);
        let keep_alive = pins.keep_alive.filter(|time| !is_no_time(time));
        Pins { keep_alive, ..pins }
    }

    /// The context length that the model's calls say now.
    fn said_context(&self, model: &str) -> Option<u32> {
        if self.contexts.is_empty() {
            return None;
        }
        let mut said = None;
        self.contexts.change(&self.runner_key(model), model, |context| said = context.said);
        said
    }

    /// The context length that the operator has set.
    fn own_context(&self, model: &str) -> Option<u32> {
        let written = self.model_settings(model).and_then(|settings| settings.num_ctx);
        let of_all = || self.added.get("options")?.get("num_ctx")?.as_u64();
        written.or_else(|| u32::try_from(of_all()?).ok())
    }

    /// The largest context length that requests may have the model loaded with.
    fn most_context(&self, model: &str) -> u32 {
        let most = self.model_settings(model).and_then(|settings| settings.max_num_ctx);
        let most = most.unwrap_or(MOST_CONTEXT);
        let list = self.catalogue.list(Listing::Installed).models();
        let listed = list.iter().flat_map(|list| list.iter()).find(|it| it.is_called(model));
        let context = self.facts(model, listed).context;
        context.and_then(|context| u32::try_from(context).ok()).map_or(most, |it| it.min(most))
    }

    /// What the model's runner is known by, here and to the gate.
    fn runner_key(&self, model: &str) -> Arc<str> {
        let needs = self.needs_of(model, false);
        needs.map_or_else(|| Arc::from(untagged(model)), |needs| needs.key)
    }
}

impl Contexts {
    /// Whether no context length was ever asked for, set or sent: so it is for most.
    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Their server is another one: nothing is known of what it has loaded, nor of what it can
    /// load. What clients ask for is the same.
    pub(super) fn forget_server(&self) {
        self.0.lock().values_mut().for_each(|context| {
            *context = Context { asked: context.asked, ..Context::default() };
        });
    }

    /// Changes what is known of a runner, or of the model of that name while its runner was
    /// unknown. Names come from callers, so that those beyond [`MOST_RUNNERS`] are not remembered.
    fn change(&self, key: &Arc<str>, model: &str, change: impl FnOnce(&mut Context)) {
        let mut contexts = self.0.lock();
        if let Some(context) = contexts.get_mut(key) {
            return change(context);
        }
        let known = contexts.remove(untagged(model));
        if known.is_none() && contexts.len() >= MOST_RUNNERS {
            // A context length that cannot be remembered must not reload a model.
            return;
        }
        let mut context = known.unwrap_or_default();
        change(&mut context);
        if context.asked.or(context.said).is_some() {
            contexts.insert(Arc::clone(key), context);
        }
    }
}

/// The operator's own fields without those that are pinned.
pub(super) fn unpinned(added: &Map<String, Value>) -> Map<String, Value> {
    let mut rest = added.clone();
    rest.retain(|name, _| !["keep_alive", "shift"].contains(&name.as_str()));
    if let Some(options) = rest.get_mut("options").and_then(Value::as_object_mut) {
        options.retain(|name, _| name != "num_ctx" && !OF_THE_RUNNER.contains(&name.as_str()));
        if options.is_empty() {
            rest.remove("options");
        }
    }
    rest
}

/// Whether it says in Ollama's own words how the model is to be run.
pub(super) fn says_options(ask: &Ask) -> bool {
    let extra = match ask {
        Ask::Chat(chat) => &chat.extra,
        Ask::Embed(embed) => &embed.extra,
        Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => return false,
    };
    extra.as_ref().is_some_and(|extra| extra.api == Api::Ollama)
}

/// Whether it asks for nothing but that the model be unloaded.
pub(super) fn is_unload(ask: &Ask) -> bool {
    let (is_empty, extra) = match ask {
        Ask::Chat(chat) => (chat.messages.is_empty() && chat.suffix.is_none(), &chat.extra),
        Ask::Embed(embed) => (embed.input.is_empty(), &embed.extra),
        Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => return false,
    };
    is_empty && own_field(extra.as_ref(), "keep_alive").is_some_and(is_no_time)
}

/// Whether it is no time at all, as Ollama reads a duration.
fn is_no_time(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => {
            let text = text.trim_start_matches(['-', '+']);
            let is_zero = |letter: char| letter == '0' || letter == '.' || letter.is_alphabetic();
            text.starts_with('0') && text.chars().all(is_zero)
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// The context length that a request asks for, in Ollama's own words.
fn asked_context(job: &Job) -> Option<u32> {
    let asked = match &*job.request {
        Ask::Chat(chat) => own_field(chat.extra.as_ref(), "options"),
        Ask::Embed(embed) => own_field(embed.extra.as_ref(), "options"),
        Ask::Show(_) | Ask::CountTokens(_) | Ask::Raw(_) => None,
    };
    let number = match (asked, &job.carry) {
        (Some(options), _) => options.get("num_ctx")?.as_f64()?,
        // What the gateway cannot read is only known as it came.
        (None, Some(carry)) if carry.refusal.is_some() => {
            let outline = Outline::read(&carry.body)?;
            let options = Outline::read(outline.get("options")?)?;
            serde_json::from_slice(options.get("num_ctx")?).ok()?
        }
        (None, _) => return None,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates")]
    let whole = number as u32;
    (whole > 0).then_some(whole)
}

fn own_field<'a>(extra: Option<&'a Extra>, name: &str) -> Option<&'a Value> {
    extra.filter(|extra| extra.api == Api::Ollama)?.fields.get(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_another_server_nothing_is_known_but_what_clients_ask_for() {
        let contexts = Contexts::default();
        let key: Arc<str> = Arc::from("m");
        contexts.change(&key, "m", |context| {
            *context = Context {
                asked: Some(8192),
                said: Some(4096),
                loaded: Some(4096),
                too_large: Some(16_384),
            };
        });
        contexts.forget_server();
        contexts.change(&key, "m", |context| {
            assert_eq!((context.asked, context.said), (Some(8192), None));
            assert_eq!((context.loaded, context.too_large), (None, None));
        });
    }
}
