//! The sections that occur once.

use super::callers::Rate;
use super::table::{Names, table};

table! {
    /// `[server]`.
    Server {
        listen: String,
        drain: String,
        max_body: String,
        max_buffered: String,
        body_timeout: String,
        heartbeat_after: String,
        write_stall: String,
        ;
        workers: usize,
        cors: Cors,
    }
}

table! {
    /// `server.cors`.
    Cors {
        origins: Names,
    }
}

table! {
    /// `[auth]`.
    Auth {
        trusted_proxies: Names,
        ;
        anonymous: bool,
        failures: Rate,
        count_cache_hits: bool,
    }
}

table! {
    /// `[cache]`.
    Cache {
        ttl: String,
        max_size: String,
        max_answer: String,
        ;
        shared: bool,
        coalesce: bool,
        nondeterministic: bool,
    }
}

table! {
    /// `[redis]`.
    RedisSection {
        url: String,
        timeout: String,
    }
}

table! {
    /// `[otel]`.
    Otel {
        endpoint: String,
        headers: String,
        service_name: String,
    }
}

impl Server {
    /// Allows browsers on pages of these origins.
    pub fn origins(self, origins: impl Into<Names>) -> Self {
        self.cors(Cors::default().origins(origins))
    }
}
