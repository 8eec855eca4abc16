//! A load that nobody carries out to its end.

use super::*;
use crate::admission::Arrival;
use crate::admission::line::Share;
use crate::admission::slot::{Admission, Ticket};
use crate::backend::Ollama;
use crate::policy::Priority;
use crate::provider::settings::ProviderSettings;

/// A job that waits for the load of its model.
fn waiting(provider: &Arc<Provider>) -> Ticket {
    let share = Share { caller: Arc::from("a"), weight: 1, priority: Priority::Interactive };
    let needs = Needs { key: Arc::from("m"), by: LoadBy::Prompt, slots: None };
    let deadline = Instant::now() + Duration::from_secs(600);
    let arrival = Arrival::new(share, Arc::from("m"), deadline);
    match provider.gate.admit(Arrival { needs: Some(needs), ..arrival }) {
        Admission::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

#[actix::test]
async fn a_load_that_is_dropped_midway_is_the_failed_attempt_of_those_who_wait() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", silent.local_addr().unwrap());
    let settings = ProviderSettings { base_url, ..ProviderSettings::default() }.resolved();
    let provider = Provider::new("ollama", settings, &Ollama, None);
    provider.gate.believe(Some(&[]));
    let mut job = waiting(&provider);
    let client = Client::new(&provider);
    let station = Rc::new(Station { provider: Arc::clone(&provider), client });
    let loading = provider.gate.take_order().unwrap();
    tokio::select! {
        () = carry_out(&station, loading) => panic!("the server does not answer"),
        called = silent.accept() => drop(called.unwrap()),
    }
    let slot = job.granted().await.unwrap();
    assert!(slot.load_failed() && !provider.gate.is_loading());
}
