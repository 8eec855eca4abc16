//! The router of this thread.
//!
//! Every worker has one, started by its first request, so that a request, its actors and its
//! upstream connection stay on one thread. The [`Front`] knows all routers of the process and tells
//! them about changes.
//!
//! The one thing to know: the address is used in place and never cloned per request. Every clone of
//! an actix address has a place of its own in the mailbox, so that a mailbox used through fresh
//! clones is never full.

use std::cell::RefCell;

use actix::dev::SendError;
use actix::{Addr, Handler, Message};

use super::Front;
use crate::chat::GatewayError;
use crate::job::Job;
use crate::router::{Browse, RouterActor, Submit};
use crate::telemetry::{ActorKind, Restarted};

thread_local! {
    static ROUTER: RefCell<Option<(usize, Addr<RouterActor>)>> = const { RefCell::new(None) };
}

/// Puts the job into the router's mailbox; a router that has died is started again, once.
pub(super) fn enter(job: Job, front: &Front) {
    let mut submit = Submit(job);
    for _ in 0..2 {
        submit = match send(front, submit) {
            Ok(()) => return,
            Err(SendError::Full(Submit(job))) => {
                return job.fail(GatewayError::mailbox_full());
            }
            Err(SendError::Closed(submit)) => {
                Restarted { actor: ActorKind::Router, provider: None }.emit();
                submit
            }
        };
    }
    submit.0.fail(GatewayError::internal("the router cannot be started"));
}

/// Asks this thread's router to refresh providers' lists. A full mailbox only skips the look.
pub(super) fn browse(front: &Front, browse: Browse) {
    drop(send(front, browse));
}

fn send<M>(front: &Front, message: M) -> Result<(), SendError<M>>
where
    RouterActor: Handler<M>,
    M: Message<Result = ()> + Send + 'static,
{
    ROUTER.with_borrow_mut(|router| {
        let known = router.take().filter(|(of, _)| *of == front.number);
        let (_, address) =
            router.insert(known.unwrap_or_else(|| (front.number, front.start_router())));
        let sent = address.try_send(message);
        if matches!(sent, Err(SendError::Closed(_))) {
            *router = None;
        }
        sent
    })
}
