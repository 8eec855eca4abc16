//! The client's address, by which failed keys are counted.
//!
//! It owns one decision: the connection's address counts, unless it is a proxy that the operator
//! trusts. Then the last address in `X-Forwarded-For` that is not a trusted proxy counts:
//! everything left of it is the client's own claim.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::http::header::HeaderMap;
use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The address or network of trusted proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        self.0.contains(&address)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.0)
    }
}

impl std::str::FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
        let network = text.parse().ok().or_else(address).map(Self);
        network.ok_or(r#"write an IP address or a network, as in "10.0.0.0/8""#.to_owned())
    }
}

impl Serialize for Network {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The client's address; `None` where the connection has none.
pub fn of(request: &HttpRequest, trusted: &[Network]) -> Option<IpAddr> {
    let peer = request.peer_addr()?.ip().to_canonical();
    Some(behind(peer, request.headers(), trusted))
}

fn behind(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    let mut known = peer;
    if !is_trusted(known) {
        return known;
    }
    let lines = headers.get_all("x-forwarded-for").filter_map(|line| line.to_str().ok());
    let hops: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    for hop in hops.into_iter().rev() {
        // A trusted proxy writes only addresses.
        let Some(address) = parse(hop) else { break };
        known = address;
        if !is_trusted(known) {
            break;
        }
    }
    known
}

/// An address, with or without a port.
fn parse(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let bare = hop.trim_start_matches('[').trim_end_matches(']').parse().ok();
    bare.or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::{HeaderName, HeaderValue};

    fn seen(peer: &str, forwarded: &[&'static str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            let name = HeaderName::from_static("x-forwarded-for");
            headers.append(name, HeaderValue::from_static(line));
        }
        let trusted: Vec<Network> = trusted.iter().map(|one| one.parse().unwrap()).collect();
        behind(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn an_untrusted_client_cannot_claim_an_address() {
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"], &[]), "192.0.2.1");
        assert_eq!(seen("192.0.2.1", &["198.51.100.7"], &["10.0.0.0/8"]), "192.0.2.1");
    }

    #[test]
    fn the_last_address_that_is_not_a_trusted_proxy_counts() {
        let trusted = &["10.0.0.0/8", "2001:db8::/32"];
        assert_eq!(seen("10.0.0.1", &["203.0.113.9, 198.51.100.7"], trusted), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7, 10.2.3.4"], trusted), "198.51.100.7");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7", "10.2.3.4:99"], trusted), "198.51.100.7");
        assert_eq!(seen("2001:db8::1", &["[2001:4860::1]:443"], trusted), "2001:4860::1");
        assert_eq!(seen("10.0.0.1", &[], trusted), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["198.51.100.7, nonsense"], trusted), "10.0.0.1");
        assert_eq!(seen("10.0.0.1", &["10.2.3.4"], trusted), "10.2.3.4");
    }
}
