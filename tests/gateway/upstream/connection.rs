//! One accepted connection: a request, its script, the next request, until one side closes.
//!
//! It owns the socket. While a script plays, the reading side is watched, so that a peer's
//! disconnect is noticed at once and ends the script wherever it is.

use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpStream;

use super::inbox::{Inbox, Parts};
use super::ledger::{Call, Ledger};
use super::ollama;
use super::play::{Outcome, play};
use super::script::{Leaving, Script};

/// What all connections of one upstream share.
pub(super) struct Stage {
    pub(super) script: Box<dyn Fn(&Call) -> Script + Send + Sync>,
    pub(super) scripts_questions: bool,
    pub(super) ledger: Arc<Ledger>,
}

/// Serves `stream` to its end.
pub(super) async fn serve(mut stream: TcpStream, connection: usize, stage: Arc<Stage>) {
    stream.set_nodelay(true).unwrap();
    let (reader, mut writer) = stream.split();
    let mut inbox = Inbox::new(reader);
    let mut last_call = None;
    for nth_on_connection in 0.. {
        let parts = match inbox.request().await {
            Ok(parts) => parts,
            Err(how) => {
                if let Some(number) = last_call {
                    stage.ledger.peer_left(number, how);
                }
                return;
            }
        };
        let call = call(parts, connection, nth_on_connection);
        let (script, number) = stage.cue(call).await;
        let ending = || number.into_iter().for_each(|number| stage.ledger.ending(number));
        let outcome = tokio::select! {
            biased;
            outcome = play(script, &mut writer, ending) => outcome,
            how = inbox.leaving() => Outcome::PeerLeft(how),
        };
        ending();
        last_call = number.or(last_call);
        match outcome {
            Outcome::Complete { stays_open } => {
                number.into_iter().for_each(|number| stage.ledger.completed(number));
                if !stays_open {
                    return;
                }
            }
            Outcome::Cut(Leaving::Fin) => return,
            Outcome::Cut(Leaving::Reset) => {
                stream.set_zero_linger().unwrap();
                return;
            }
            Outcome::Broken => {
                let how = inbox.leaving().await;
                number.into_iter().for_each(|number| stage.ledger.peer_left(number, how));
                return;
            }
            Outcome::PeerLeft(how) => {
                number.into_iter().for_each(|number| stage.ledger.peer_left(number, how));
                return;
            }
        }
    }
}

impl Stage {
    /// Records the request and picks its script; calls get a number.
    async fn cue(&self, call: Call) -> (Script, Option<usize>) {
        if call.is_question() && !self.scripts_questions {
            self.ledger.asked(call.clone());
            let script = ollama::about_itself(&call, &self.ledger.loaded());
            return (script, None);
        }
        // A peer that closes one connection and then calls on another has not overlapped, although
        // both may have become readable in the same turn: two yields let the close be read first.
        tokio::task::yield_now().await;
        tokio::task::yield_now().await;
        let call = self.ledger.arrived(call);
        ((self.script)(&call), Some(call.number))
    }
}

fn call(parts: Parts, connection: usize, nth_on_connection: usize) -> Call {
    let Parts { head, method, path, headers, body } = parts;
    let arrived = Instant::now();
    Call { number: 0, connection, nth_on_connection, head, method, path, headers, body, arrived }
}
