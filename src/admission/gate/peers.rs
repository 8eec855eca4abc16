//! The gate's part in agreeing with other gateways about loads: it passes on what [`Warm`] says and
//! hears, by the keys of its models.
//!
//! [`Warm`]: crate::admission::warm::Warm

use std::sync::Arc;
use std::time::Instant;

use super::{Gate, Moment, Wake};
use crate::admission::line::Lane;
use crate::admission::warm::words::{Heard, Report};

impl<W> Gate<W> {
    /// From now on other gateways are asked before a model is loaded.
    pub fn share_loads(&mut self) {
        if let Some(warm) = &mut self.warm {
            warm.share();
        }
    }

    /// The other gateways cannot be heard any more.
    pub fn be_alone(&mut self, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        if let Some(warm) = &mut self.warm {
            warm.be_alone();
            self.grant(at, wakes);
        }
    }

    /// What the other gateways should hear; `None` where no loads are scheduled.
    pub fn report(&mut self, now: Instant) -> Option<Report> {
        let models = &self.models;
        let key_of = |lane: Lane| models.key(lane).map(Arc::clone);
        self.warm.as_mut()?.report(&self.line, key_of, now)
    }

    /// Takes what all gateways have said.
    pub fn hear(&mut self, heard: &Heard, at: &mut Moment<'_>, wakes: &mut Vec<Wake<W>>) {
        let models = &self.models;
        if let Some(warm) = &mut self.warm {
            warm.hear(heard, |key| models.find(key), at.now);
            self.grant(at, wakes);
        }
    }

    /// Whether the other gateways must hear of something at once.
    pub fn has_news(&self) -> bool {
        self.warm.as_ref().is_some_and(|warm| warm.has_news())
    }

    /// Whether the server should be asked what it has loaded because another gateway has had its
    /// turn.
    pub fn is_stale(&self) -> bool {
        self.warm.as_ref().is_some_and(|warm| warm.is_stale())
    }

    /// The server is asked what it has loaded. Returns the model that another gateway has had
    /// loaded since the last time, if that is known.
    pub fn ask_server(&mut self) -> Option<Arc<str>> {
        let warm = self.warm.as_mut()?;
        warm.ask_server();
        warm.loaded_elsewhere()
    }
}
