//! The router of this thread.
//!
//! Every worker has one, started by its first request, so that a request, its actors and its upstream connection stay
//! on one thread. All of a process's routers are known to the [`Front`], which tells them about changes.
//!
//! The one thing to know: the address is used in place and never cloned per request. Every clone of an actix address
//! has a place of its own in the mailbox, so that a mailbox used through fresh clones is never full.

use std::cell::RefCell;

use actix::dev::SendError;
use actix::{Addr, Handler, Message};

use super::Front;
use crate::router::{Browse, RouterActor, Submit};

thread_local! {
    static ROUTER: RefCell<Option<(usize, Addr<RouterActor>)>> = const { RefCell::new(None) };
}

/// Puts a job into the mailbox of this thread's router, which is started when there is none.
///
/// # Errors
///
/// The job, when the mailbox is full, or closed because the router died; the next call starts another.
#[expect(clippy::result_large_err, reason = "the job itself comes back, to be answered")]
pub(super) fn submit(front: &Front, submit: Submit) -> Result<(), SendError<Submit>> {
    send(front, submit)
}

/// Asks this thread's router to have providers looked at. A full mailbox costs the look and nothing else.
pub(super) fn browse(front: &Front, browse: Browse) {
    drop(send(front, browse));
}

#[expect(clippy::result_large_err, reason = "the message itself comes back")]
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
