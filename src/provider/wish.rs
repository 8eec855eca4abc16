//! Wishes of the operator: a model that is to be loaded, or unloaded, though no request asks for
//! it.
//!
//! A wish to load waits in the provider's line like a request, and takes a slot only for the moment
//! in which its turn comes. So it has the same order, the same longest wait and the same failures.
//!
//! The one thing to know: it never loads anything itself. The gate orders the load, as for
//! requests.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Provider;
use super::client::Client;
use super::discovery;
use super::loads;
use super::refusal_error::refused;
use super::station::Station;
use crate::admission::line::Share;
use crate::admission::slot::Admission;
use crate::admission::warm::LoadState;
use crate::admission::{Arrival, Ended};
use crate::chat::{ErrorKind, GatewayError, Listing, LoadBy};
use crate::policy::Priority;

/// The caller's name of the operator's wishes in the line.
const OPERATOR: &str = "(operator)";

impl Provider {
    /// Has a model loaded, and waits until it is. Returns how long that took.
    ///
    /// # Errors
    ///
    /// `ModelNotFound` when the provider does not have it, and the failure of the load; the refusal
    /// when it does not come in time.
    ///
    /// # Cancellation
    ///
    /// Dropping it ends the wish; a load that has begun goes on.
    pub async fn load_model(
        self: &Arc<Self>,
        model: &str,
        priority: Priority,
    ) -> Result<Duration, GatewayError> {
        let since = Instant::now();
        let needs = {
            self.find(model).await?;
            self.needs_of(model, false)
        };
        let Some(needs) = needs else { return Err(self.loads_nothing_for(model)) };
        // Perhaps it is loaded with other options than it is to have.
        self.check_context(model);
        let key = Arc::clone(&needs.key);
        let share = Share { caller: Arc::from(OPERATOR), weight: 1, priority };
        let deadline = since + self.settings.first_event();
        let arrival = Arrival::new(share, Arc::from(model), deadline);
        let slot = match self.gate.admit(Arrival { needs: Some(needs), ..arrival }) {
            Admission::Run(slot) => slot,
            Admission::Wait(mut ticket) => {
                ticket.granted().await.map_err(|refusal| refused(&self.name, &refusal))?
            }
            Admission::Refuse(refusal) => return Err(refused(&self.name, &refusal)),
        };
        let has_failed = slot.load_failed();
        slot.ended(Ended::Unused);
        if has_failed {
            return Err(self.load_failure(model).error);
        }
        match self.gate.load_state(&key) {
            Some(LoadState::Loaded | LoadState::Leaving) => Ok(since.elapsed()),
            Some(LoadState::Loading { .. } | LoadState::Waiting { .. } | LoadState::Cold) => {
                Err(self.loads_nothing_for(model))
            }
            None => {
                let message = format!("provider `{}` does not say what it has loaded", self.name);
                Err(GatewayError::upstream(ErrorKind::BadUpstream, message))
            }
        }
    }

    /// Has a model unloaded once its running calls have ended.
    ///
    /// # Errors
    ///
    /// `ModelNotFound` when the provider does not have it, and the failure of the call.
    pub async fn unload_model(self: &Arc<Self>, model: &str) -> Result<(), GatewayError> {
        let station = self.find(model).await?;
        let unloaded = match self.swapper() {
            Some(swapper) => loads::swapping::unload(&station, swapper, model).await,
            // An unloading prompt works for every kind of model, and loads none.
            None if self.has_loaded_list() => {
                loads::call(&station, model, LoadBy::Prompt, Some(&json!(0))).await
            }
            None => return Err(self.loads_nothing_for(model)),
        };
        self.surprised.notify_one();
        unloaded.map_err(|failed| failed.error)
    }

    /// Looks whether the provider has the model, as far as it can be asked.
    async fn find(self: &Arc<Self>, model: &str) -> Result<Rc<Station>, GatewayError> {
        let client = Client::new(self);
        let station = Rc::new(Station { provider: Arc::clone(self), client });
        discovery::look(Rc::clone(&station), Listing::Installed).await;
        if self.lacks_model(model) {
            let message = format!("provider `{}` does not have the model `{model}`", self.name);
            return Err(GatewayError::new(ErrorKind::ModelNotFound, message));
        }
        Ok(station)
    }

    fn loads_nothing_for(&self, model: &str) -> GatewayError {
        let message = format!("provider `{}` does not load `{model}` by itself", self.name);
        GatewayError::new(ErrorKind::InvalidRequest, message)
    }
}
