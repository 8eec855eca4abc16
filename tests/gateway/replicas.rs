//! Several gateways in front of one provider, sharing a real Redis that fails in every way.
//!
//! It owns no machinery: the Redis is [`crate::redis`], the gateways are those of
//! [`crate::harness`].

mod crew;
mod leases;
mod limits;
mod link;
mod outage;
mod responses;
mod sharing;
mod turns;
