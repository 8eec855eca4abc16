//! The server of a workload: its calls, its loads and what it says is loaded.
//!
//! The one thing to know: a call for a loaded model that only gives it another time to stay is over
//! at once.

use std::sync::Arc;
use std::time::Duration;

use super::{Call, Event, World, needs};
use crate::admission::gate::loading::Loaded;
use crate::admission::warm::LoadEnd;
use crate::plan::models::Fate;
use crate::sim::prompt_cache::Prompt;
use crate::sim::runner_options::RunnerOptions;
use crate::sim::scheduler::{DEFAULT_KEEP_ALIVE, Want};

impl World<'_> {
    /// Lets the server do what has become due, and takes note of whose answers begin.
    pub(super) fn advance(&mut self, now: Duration) {
        self.server.advance(self.origin + now);
        for grant in self.server.take_grants() {
            match self.calls.get(&grant.call).copied() {
                Some(Call::Of(number)) => {
                    let Some(request) = self.workload.requests.get(number) else { continue };
                    let waited = now.saturating_sub(request.at);
                    self.at(now + request.hold, Event::Ends(number));
                    self.begun.push(number);
                    // Unless its client gives up before the end.
                    self.note(number, Fate::Answered { waited });
                }
                Some(Call::Load) => {
                    self.calls.remove(&grant.call);
                    self.at(now + self.workload.latency, Event::Loaded);
                }
                None => {}
            }
        }
    }

    pub(super) fn send_order(&mut self, now: Duration) {
        let Some((order, _)) = self.loading.clone() else { return };
        let loaded = self.server.residents(self.origin + now);
        if loaded.len() > 1 {
            let names: Vec<&Arc<str>> = order.leaving.iter().map(|(model, _)| model).collect();
            for name in names {
                let Some(model) = self.index(name) else { continue };
                let is_there = loaded.iter().any(|one| Some(&one.name) == self.keys.get(model));
                if let (true, Some(want)) = (is_there, self.load_of(model, Some(order.stay))) {
                    // It is loaded, so this is over at once.
                    let _ = self.server.arrive(self.origin + now, want);
                }
            }
        }
        let want = self.index(&order.model).and_then(|model| self.load_of(model, None));
        if let Some(Ok(id)) = want.map(|want| self.server.arrive(self.origin + now, want)) {
            self.calls.insert(id, Call::Load);
        }
    }

    pub(super) fn tell_loaded(&mut self, now: Duration) {
        let Some((order, since)) = self.loading.take() else { return };
        let (took, loaded) = (now.saturating_sub(since), self.loaded(now));
        self.ask(now, |gate, at, wakes| {
            gate.loaded(&order, (LoadEnd::Loaded, took), Some(&loaded), at, wakes);
        });
        // Those that did not have to go stay as before.
        for (name, _) in &order.leaving {
            let model = self.index(name).filter(|_| loaded.iter().any(|one| one.model == *name));
            let want = model.and_then(|model| self.load_of(model, Some(DEFAULT_KEEP_ALIVE)));
            if let Some(want) = want {
                let _ = self.server.arrive(self.origin + now, want);
            }
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.workload.models.iter().position(|model| &*model.name == name)
    }

    pub(super) fn want(&self, number: usize) -> Option<Want> {
        let model = self.workload.requests.get(number)?.model;
        Some(Want { generates: true, ..self.load_of(model, None)? })
    }

    fn load_of(&self, model: usize, keep_alive: Option<Duration>) -> Option<Want> {
        Some(Want {
            model: self.keys.get(model)?.clone(),
            name: self.keys.get(model)?.clone(),
            options: RunnerOptions::default(),
            load: self.workload.models.get(model)?.load.saturating_sub(self.recovery),
            size: self.workload.models.get(model)?.size,
            slots: self.workload.slots as usize,
            keep_alive,
            generates: false,
            prompt: Prompt::default(),
        })
    }

    pub(super) fn loaded(&mut self, now: Duration) -> Vec<Loaded> {
        let residents = self.server.residents(self.origin + now);
        let models = residents.iter().filter_map(|one| {
            let index = self.keys.iter().position(|key| *key == one.name)?;
            let name = &self.workload.models.get(index)?.name;
            Some(Loaded { model: Arc::clone(name), needs: needs(name) })
        });
        models.collect()
    }
}
