//! `[providers.NAME.proxy]`: the proxy for a provider that is not reached directly.
//!
//! Owns the forms of the address and the variables that replace an unset one: `HTTPS_PROXY`,
//! `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY`, also in lower case, as curl and Go read them. Refuses
//! proxies that do not speak plain HTTP.
//!
//! The trap: the variables never apply to this machine itself (`localhost`, loopback addresses), so
//! that an Ollama beside the gateway is reached directly. A proxy that is written here is used for
//! any address.

use std::collections::BTreeMap;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;

use crate::secret::url::{SecretUrl, Shown};
use crate::secret::{MASK, Secret};

/// The word for no proxy, whatever the environment says.
const NONE: &str = "none";
/// The scheme of an address.
const SCHEME: &str = "http://";

/// The address of a proxy, or the word `none`, or empty, so that the environment decides. A name
/// and a password in it are never shown.
pub type ProxyUrl = SecretUrl<ProxyAddress>;

/// How the address of a proxy is shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProxyAddress;

/// A proxy to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// A name or an address, without brackets.
    pub host: String,
    /// The port; 80 where none is written, as in any such URL.
    pub port: u16,
    /// The value of `Proxy-Authorization`, where the address has a name and a password.
    pub authorization: Option<Secret>,
}

impl ProxyUrl {
    /// What is wrong with it, and what would be right.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let is_right = self.is_empty() || self.expose() == NONE || self.proxy().is_some();
        (!is_right).then_some(
            "write http://HOST:PORT, with NAME:PASSWORD@ before the host if need be, or none; a \
             proxy is spoken to in plain HTTP",
        )
    }

    /// The proxy, unless there is none.
    #[must_use]
    pub fn proxy(&self) -> Option<Proxy> {
        let rest = self.expose().trim_end_matches('/').strip_prefix(SCHEME)?;
        let (user, address) = match rest.rsplit_once('@') {
            Some((user, address)) => (Some(user), address),
            None => (None, rest),
        };
        let (host, port) = split(address)?;
        let authorization = user.map(|user| {
            let decoded: Vec<u8> = percent_decode_str(user).collect();
            Secret::new(format!("Basic {}", STANDARD.encode(decoded)))
        });
        Some(Proxy { host: host.to_owned(), port: port.unwrap_or(80), authorization })
    }

    /// The environment's proxy for a provider at this address, and the variable that names it.
    #[must_use]
    pub fn of_environment(
        base_url: &str,
        environment: &BTreeMap<String, String>,
    ) -> Option<(&'static str, Self)> {
        let (names, rest) = match base_url.split_once("://")? {
            ("https", rest) => (["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"], rest),
            (_, rest) => (["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"], rest),
        };
        let said = |name: &str| environment.get(name).map(|value| value.trim());
        let said = |name: &str| said(name).filter(|value| !value.is_empty());
        let (name, value) = names.iter().find_map(|name| Some((*name, said(name)?)))?;
        let usual = if base_url.starts_with("https") { 443 } else { 80 };
        let (host, port) = split(rest.split('/').next().unwrap_or_default())?;
        let exempt = said("NO_PROXY").or_else(|| said("no_proxy")).unwrap_or_default();
        if is_here(host) || is_exempt(exempt, host, port.unwrap_or(usual)) {
            return None;
        }
        // Most tools accept an address without a scheme.
        let value =
            if value.contains("://") { value.to_owned() } else { format!("{SCHEME}{value}") };
        Some((name, Self::new(value)))
    }
}

impl Shown for ProxyAddress {
    fn shown(text: &str) -> String {
        match (text.strip_prefix(SCHEME), text) {
            (None, "" | NONE) => text.to_owned(),
            (None, _) => MASK.to_owned(),
            (Some(rest), _) => match rest.rsplit_once('@') {
                Some((_, address)) => format!("{SCHEME}{MASK}@{address}"),
                None => text.to_owned(),
            },
        }
    }
}

/// A host, without brackets, and the port where one is written.
fn split(address: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match address.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, port)
        }
        None => address.split_at(address.find(':').unwrap_or(address.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(port) => Some(port.parse().ok().filter(|port| *port > 0)?),
        None if port.is_empty() => None,
        None => return None,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_name)).then_some((host, port))
}

/// Whether it is this machine itself.
fn is_here(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether a list as in `NO_PROXY` names the host: a name also covers its subdomains, with or
/// without a dot in front, and `*` covers everything; addresses may be networks, and a port
/// restricts an entry.
fn is_exempt(list: &str, host: &str, port: u16) -> bool {
    let address = host.parse::<IpAddr>().ok();
    let names = |entry: &str| {
        let (name, narrowed) = match split(entry) {
            Some((name, narrowed)) => (name, narrowed),
            None => (entry, None),
        };
        if narrowed.is_some_and(|narrowed| narrowed != port) {
            return false;
        }
        match (address, name.parse::<IpNet>(), name.parse::<IpAddr>()) {
            (Some(address), Ok(network), _) => network.contains(&address),
            (Some(address), _, Ok(other)) => address == other,
            (Some(_), Err(_), Err(_)) => false,
            (None, ..) => {
                let name = name.trim_start_matches('.').to_ascii_lowercase();
                let host = host.to_ascii_lowercase();
                let below = host.strip_suffix(name.as_str());
                !name.is_empty()
                    && below.is_some_and(|below| below.is_empty() || below.ends_with('.'))
            }
        }
    };
    list.split(',').map(str::trim).any(|entry| entry == "*" || !entry.is_empty() && names(entry))
}

#[cfg(test)]
mod tests;
