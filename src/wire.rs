//! Framings and JSON shapes that both sides of the gateway share.
//!
//! Pure: bytes in, values out, independent of how the bytes are cut. A framing never loops over a
//! stream: it is fed the bytes that arrived and returns what is complete.

pub mod coding;
pub mod fields;
pub mod http1;
pub mod image;
pub mod json;
pub mod multipart;
pub mod ndjson;
pub mod pdf;
pub mod signature;
pub mod splice;
pub mod sse;
