//! What stands between the gateway and one provider.

pub mod settings;
