//! Connections that are kept between exchanges: those whose last exchange ended exactly, and that stay quiet.
//!
//! It owns idle connections and watches them. It refuses a connection that has said anything since its exchange ended:
//! whatever that is, it answers nobody's question.
//!
//! The one thing to know: what is kept here is watched by a task that closes it as soon as it speaks or is closed, but
//! the task may not have had its turn. Whoever takes a connection has to ask the kernel, right before the first byte is
//! written ([`super::exchange_io`]).

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

/// A kept connection is used again within this time only. Common model servers close idle connections after 5 s
/// (uvicorn's default), and one closed under our hands costs a second try.
const KEEP_ALIVE: Duration = Duration::from_secs(4);
/// No connection lives longer, so that changes of DNS are seen.
const LIFETIME: Duration = Duration::from_secs(300);
/// How often a provider that says what nobody has asked for is told of in the log.
const COMPLAINTS: Duration = Duration::from_secs(60);
/// How often connections that have been idle for too long are looked for.
const PACE: Duration = Duration::from_secs(1);

/// The idle connections to one provider.
pub(super) struct Pool {
    provider: Arc<str>,
    kept: RefCell<VecDeque<Kept>>,
    /// When the log was last told that the provider says what nobody has asked for.
    complained: Cell<Option<Instant>>,
    /// The task that watches, while there is one.
    watcher: RefCell<Option<Waker>>,
}

/// A connection and its times.
pub(super) struct Kept {
    pub(super) transport: Transport,
    /// When it was opened.
    pub(super) born: Instant,
    /// Since when it is idle.
    since: Instant,
}

impl Pool {
    /// Of a provider that is called so, without connections.
    pub(super) fn new(provider: &Arc<str>) -> Self {
        Self {
            provider: Arc::clone(provider),
            kept: RefCell::default(),
            complained: Cell::new(None),
            watcher: RefCell::default(),
        }
    }

    /// The connection that has been idle for longest: it has had the most time to say something.
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
            // Polled at once, so that it is woken by what was put in before it ran.
            *self.watcher.borrow_mut() = Some(Waker::noop().clone());
            let watch = Watch { pool: Rc::downgrade(self), pace: Box::pin(sleep(PACE)) };
            drop(actix_rt::spawn(watch));
        }
    }

    /// Tells the log, now and then, that the provider says what nobody has asked for.
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

    /// Closes what is old, was closed or speaks; says whether any are left.
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
        // A busy pool is empty for moments; only one that is at rest needs nobody.
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
