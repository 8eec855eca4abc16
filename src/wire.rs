//! Framings and JSON shapes that both sides of the gateway share.
//!
//! Pure: bytes in, values out, however the bytes are cut. A framing never loops over a stream; it is fed what
//! arrived and says what became whole.

pub mod coding;
pub mod fields;
pub mod http1;
pub mod image;
pub mod json;
pub mod ndjson;
pub mod pdf;
pub mod signature;
pub mod splice;
pub mod sse;
