//! From the name a client asked for to the providers that may answer.

pub mod route;
pub mod settings;
