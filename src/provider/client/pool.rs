//! Keep-alive connections between exchanges: those whose last exchange ended exactly, and that stay
//! quiet.
//!
//! It owns idle connections and watches them. It refuses a connection that has sent anything since
//! its exchange ended: such bytes answer no request.
//!
//! The one thing to know: a task watches the connections and drops one as soon as it speaks or is
//! closed, but the task may not have run yet. The taker of a connection has to ask the kernel right
//! before it writes the first byte ([`super::exchange_io`]).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::time::{Sleep, sleep};

use super::transport::{Idle, Transport};

/// A kept connection is reused only within this time. Common model servers close idle connections
/// after 5 s (uvicorn's default), and a connection closed just as it is used costs a second try.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// The longest life of a connection, so that DNS changes are noticed.
const LIFETIME: Duration = Duration::from_secs(300);
/// How often the log reports a provider that sends unrequested bytes.
const COMPLAINTS: Duration = Duration::from_secs(60);
/// How often idle connections are checked for their age.
const PACE: Duration = Duration::from_secs(1);

/// The idle connections to one provider.
pub(super) struct Pool {
    provider: Arc<str>,
    kept: RefCell<VecDeque<Kept>>,
    /// When the log last reported that the provider sends unrequested bytes.
    complained: Cell<Option<Instant>>,
    /// The waker of the watching task, while there is one.
    watcher: RefCell<Option<Waker>>,
}

/// A connection and its times.
pub(super) struct Kept {
    pub(super) transport: Transport,
    /// When it was opened.
    pub(super) born: Instant,
    /// When it became idle.
    since: Instant,
}

impl Pool {
    /// An empty pool of the provider with this name.
    pub(super) fn new(provider: &Arc<str>) -> Self {
        Self {
            provider: Arc::clone(provider),
            kept: RefCell::default(),
            complained: Cell::new(None),
            watcher: RefCell::default(),
        }
    }

    /// Takes the connection that has been idle longest: unrequested bytes had the most time to
    /// arrive.
    pub(super) fn take(&self) -> Option<Kept> {
        let now = Instant::now();
        let mut kept = self.kept.borrow_mut();
        std::iter::from_fn(|| kept.pop_front()).find(|kept| !kept.is_old(now))
    }

    /// Keeps a connection whose exchange ended exactly.
    pub(super) fn put(self: &Rc<Self>, mut transport: Transport, born: Instant) {
        let waker = self.watcher.borrow().clone();
        let waker = waker.unwrap_or_else(|| Waker::noop().clone());
        match transport.poll_idle(&mut Context::from_waker(&waker)) {
            Idle::Quiet => {}
            Idle::Closed => return,
            Idle::Speaks => return self.complain(),
        }
        self.kept.borrow_mut().push_back(Kept { transport, born, since: Instant::now() });
        if self.watcher.borrow().is_none() {
            // The task polls at once, so that it also watches what was put in before it ran.
            *self.watcher.borrow_mut() = Some(Waker::noop().clone());
            let watch = Watch { pool: Rc::downgrade(self), pace: Box::pin(sleep(PACE)) };
            drop(actix_rt::spawn(watch));
        }
    }

    /// Logs, at a limited rate, that the provider sends unrequested bytes.
    pub(super) fn complain(&self) {
        let now = Instant::now();
        let is_due = |before: Instant| now.saturating_duration_since(before) > COMPLAINTS;
        if self.complained.get().is_none_or(is_due) {
            self.complained.set(Some(now));
            log::warn!(
                "provider `{}` sent something that nobody had asked for; that connection was closed",
                self.provider
            );
        }
    }

    /// Drops connections that are old, closed or speaking; returns whether any are left.
    fn look(&self, context: &mut Context<'_>) -> bool {
        let now = Instant::now();
        let mut speaks = false;
        self.kept.borrow_mut().retain_mut(|kept| {
            let idle = kept.transport.poll_idle(context);
            speaks |= idle == Idle::Speaks;
            idle == Idle::Quiet && !kept.is_old(now)
        });
        if speaks {
            self.complain();
        }
        !self.kept.borrow().is_empty()
    }
}

impl Kept {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > KEEP_ALIVE
            || now.saturating_duration_since(self.born) > LIFETIME
    }
}

/// Watches the idle connections of a pool until there are none.
struct Watch {
    pool: Weak<Pool>,
    pace: Pin<Box<Sleep>>,
}

impl Future for Watch {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(pool) = self.pool.upgrade() else { return Poll::Ready(()) };
        *pool.watcher.borrow_mut() = Some(context.waker().clone());
        let are_left = pool.look(context);
        // A busy pool is briefly empty; only a pool at rest needs no watcher.
        while self.pace.poll_unpin(context).is_ready() {
            if !are_left {
                *pool.watcher.borrow_mut() = None;
                return Poll::Ready(());
            }
            self.pace.as_mut().reset(tokio::time::Instant::now() + PACE);
        }
        Poll::Pending
    }
}
