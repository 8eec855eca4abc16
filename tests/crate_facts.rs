//! Facts about actix, awc and actix-web that the design rests on, each as a small test of the crate
//! alone.
//!
//! Nothing here tests the gateway. When an update of a crate fails one of these, the code that
//! relies on the fact has to be looked at before the test is changed.
#![cfg(test)]

#[path = "crate_facts/clients.rs"]
mod clients;
#[path = "crate_facts/connections.rs"]
mod connections;
#[path = "crate_facts/mailboxes.rs"]
mod mailboxes;
#[path = "crate_facts/servers.rs"]
mod servers;

use std::future::Future;
use std::time::Duration;

/// Awaits what ought to happen at once, on a machine that may be busy.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("this did not happen: {what}"),
    }
}
