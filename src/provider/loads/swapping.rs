//! Loads at servers that load models as others of their API do not.
//!
//! The one thing to know: only such a server's list tells that a model is loaded. Some answer the
//! order before that, and one that is told to load a loaded model loads it a second time.

use std::time::Duration;

use super::send;
use crate::admission::warm::LoadOrder;
use crate::backend::{Load, Swapper};
use crate::chat::{ErrorKind, GatewayError, Memory, Model};
use crate::provider::client::Call;
use crate::provider::discovery::{LOOK_TIME, what_is_loaded};
use crate::provider::failed::Failed;
use crate::provider::retry::Failure;
use crate::provider::station::Station;

/// The pause before a list is read again, at first; each is half as long again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// And at most so long.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// Has a model loaded, and waits until the server lists it as loaded.
pub(super) async fn load(
    station: &Station,
    swapper: Swapper,
    order: &LoadOrder,
) -> Result<(), Failed> {
    let provider = &station.provider;
    let loading =
        tokio::time::timeout(provider.settings.first_event(), begin(station, swapper, order));
    loading.await.unwrap_or_else(|_| {
        let message =
            format!("provider `{}` did not load `{}` in time", provider.name, order.model);
        let error = GatewayError::upstream(ErrorKind::Timeout, message);
        Err(Failed::new(Failure::FirstEventTimeout, error))
    })
}

async fn begin(station: &Station, swapper: Swapper, order: &LoadOrder) -> Result<(), Failed> {
    let model = &*order.model;
    let (swapper, models) = listed(station, swapper).await?;
    let own = models.iter().find(|listed| listed.is_called(model));
    if own.and_then(|own| own.memory) == Some(Memory::Loaded) {
        return Ok(());
    }
    let by = own.map_or(order.by, Swapper::by);
    let load = || {
        let load = Load { model, by, api_key: station.provider.api_key(), keep_alive: None };
        send(station, Call::at_root(swapper.load(load)), model)
    };
    let mut sent = load().await;
    if sent.is_err() && !swapper.makes_room() && make_room(station, swapper, order).await? {
        sent = load().await;
    }
    let ended = settle(station, swapper, model, |memory| memory != Some(Memory::Loading)).await?;
    let why = match ended {
        Some(Memory::Loaded) => return Ok(()),
        Some(Memory::Failed) => "could not load it",
        Some(Memory::Unloaded | Memory::Loading | Memory::Elsewhere) | None => {
            "does not list it as loaded"
        }
    };
    sent?;
    let message =
        format!("provider `{}` was told to load `{model}`, and {why}", station.provider.name);
    let failure = match ended {
        // Its server may know the model by another name than the list.
        None => {
            log::warn!("{message}: its requests are sent as they come");
            Failure::NoModel
        }
        Some(_) => Failure::Status { status: 500, retry_after: None },
    };
    Err(Failed::new(failure, GatewayError::upstream(ErrorKind::BadUpstream, message)))
}

/// Unloads the models that should go, and waits until they are gone. Returns whether there were
/// such.
async fn make_room(station: &Station, swapper: Swapper, order: &LoadOrder) -> Result<bool, Failed> {
    let (_, models) = listed(station, swapper).await?;
    let mut is_any = false;
    for (leaving, _) in &order.leaving {
        let is_loaded = |listed: &&Model| listed.memory == Some(Memory::Loaded);
        let own = models.iter().find(|listed| listed.is_called(leaving)).filter(is_loaded);
        if let Some(own) = own {
            tell_to_unload(station, swapper, own).await?;
            settle(station, swapper, leaving, |memory| memory != Some(Memory::Loaded)).await?;
            is_any = true;
        }
    }
    Ok(is_any)
}

/// Has a model unloaded, if it is loaded.
///
/// # Errors
///
/// `InvalidRequest` where the server has no call for that, and the failure of the call.
pub(in crate::provider) async fn unload(
    station: &Station,
    swapper: Swapper,
    model: &str,
) -> Result<(), Failed> {
    let (swapper, models) = listed(station, swapper).await?;
    let own = models.iter().find(|listed| listed.is_called(model));
    match own.filter(|own| own.memory == Some(Memory::Loaded)) {
        Some(own) => tell_to_unload(station, swapper, own).await,
        None => Ok(()),
    }
}

async fn tell_to_unload(station: &Station, swapper: Swapper, model: &Model) -> Result<(), Failed> {
    let calls = swapper.unload(model, station.provider.api_key());
    if calls.is_empty() {
        let message =
            format!("provider `{}` has no call that unloads a model", station.provider.name);
        let error = GatewayError::new(ErrorKind::InvalidRequest, message);
        return Err(Failed::new(Failure::Rejected, error));
    }
    for call in calls {
        send(station, Call::at_root(call), &model.name).await?;
    }
    Ok(())
}

/// Reads the list until it says something of the model that is enough.
async fn settle(
    station: &Station,
    swapper: Swapper,
    model: &str,
    is_enough: impl Fn(Option<Memory>) -> bool,
) -> Result<Option<Memory>, Failed> {
    let mut pause = FIRST_PAUSE;
    loop {
        let (_, models) = listed(station, swapper).await?;
        let own = models.iter().find(|listed| listed.is_called(model));
        let memory = own.and_then(|own| own.memory);
        if is_enough(memory) {
            return Ok(memory);
        }
        actix_rt::time::sleep(pause).await;
        pause = (pause * 3 / 2).min(LONGEST_PAUSE);
    }
}

async fn listed(station: &Station, swapper: Swapper) -> Result<(Swapper, Vec<Model>), Failed> {
    let unlisted = match tokio::time::timeout(LOOK_TIME, what_is_loaded(station, swapper)).await {
        Ok(Ok(found)) => return Ok(found),
        Ok(Err(unlisted)) => unlisted.why,
        Err(_) => "no answer in time".to_owned(),
    };
    let name = &station.provider.name;
    let message = format!("provider `{name}` does not say what it has loaded: {unlisted}");
    let error = GatewayError::upstream(ErrorKind::BadUpstream, message);
    Err(Failed::new(Failure::DiedBeforeFirstEvent, error))
}
