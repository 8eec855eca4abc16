//! Addresses of proxies, and which providers the environment sends to one.

use super::*;

#[test]
fn an_address_is_read_with_its_name_and_password_and_shown_without() {
    for (written, host, port, authorization, shown) in [
        ("http://proxy:3128", "proxy", 3128, None, "http://proxy:3128"),
        ("http://proxy/", "proxy", 80, None, "http://proxy/"),
        ("http://[::1]:8080", "::1", 8080, None, "http://[::1]:8080"),
        ("http://me:sk-planted@proxy:1", "proxy", 1, Some("me:sk-planted"), "http://***@proxy:1"),
        ("http://a%40b:p%3Aw@proxy", "proxy", 80, Some("a@b:p:w"), "http://***@proxy"),
    ] {
        let url = ProxyUrl::new(written);
        let proxy = url.proxy().unwrap();
        assert_eq!((proxy.host.as_str(), proxy.port), (host, port), "{written}");
        let sent = proxy.authorization.as_ref().map(|secret| secret.expose().to_owned());
        let expected = authorization.map(|text| format!("Basic {}", STANDARD.encode(text)));
        assert_eq!(sent, expected, "{written}");
        let json = serde_json::to_string(&url).unwrap();
        assert_eq!(format!("{url} {url:?} {json}"), format!("{shown} {shown:?} {shown:?}"));
        assert_eq!(url.problem(), None, "{written}");
    }
}

#[test]
fn an_invalid_proxy_address_gets_a_hint_and_is_never_shown() {
    for none in ["", "none"] {
        let url = ProxyUrl::new(none);
        assert_eq!((url.problem(), url.proxy(), url.to_string()), (None, None, none.to_owned()));
    }
    for wrong in [
        "https://proxy",
        "socks5://proxy:1",
        "proxy:3128",
        "http://",
        "http://:80",
        "http://proxy:0",
        "http://proxy:99999",
        "http://proxy/path",
        "http://pro xy",
        "http://::1:80",
        "http://[x]:80",
    ] {
        assert!(ProxyUrl::new(wrong).problem().is_some(), "{wrong}");
    }
    assert_eq!(ProxyUrl::new("https://me:sk-planted@proxy").to_string(), "***");
}

fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The variable that decides, and the proxy.
fn found(base_url: &str, variables: &[(&str, &str)]) -> Option<(&'static str, String)> {
    let found = ProxyUrl::of_environment(base_url, &environment(variables));
    found.map(|(name, url)| (name, url.to_string()))
}

#[test]
fn each_scheme_has_its_variable_and_upper_case_wins() {
    let all = [
        ("HTTPS_PROXY", "http://one:1"),
        ("https_proxy", "http://two:2"),
        ("http_proxy", "three:3"),
        ("ALL_PROXY", "http://four:4"),
    ];
    let expected = |name, url: &str| Some((name, url.to_owned()));
    assert_eq!(found("https://api/v1", &all), expected("HTTPS_PROXY", "http://one:1"));
    assert_eq!(found("http://api", &all), expected("http_proxy", "http://three:3"));
    assert_eq!(found("http://api", &all[..2]), None);
    assert_eq!(found("http://api", &all[3..]), expected("ALL_PROXY", "http://four:4"));
    assert_eq!(found("https://api", &[("HTTPS_PROXY", " ")]), None);
    assert_eq!(found("https://api", &[]), None);
}

#[test]
fn this_machine_is_never_reached_through_a_proxy() {
    let all = [("ALL_PROXY", "http://proxy:1")];
    for here in
        ["http://localhost:11434", "http://127.0.0.1", "https://127.9.9.9:1/v1", "http://[::1]:1"]
    {
        assert_eq!(found(here, &all), None, "{here}");
    }
    for there in ["http://192.168.1.2", "http://localhost.example", "http://[2001:db8::1]"] {
        assert!(found(there, &all).is_some(), "{there}");
    }
}

#[test]
fn no_proxy_exempts_names_subdomains_addresses_and_networks() {
    for (list, base_url, is_exempt) in [
        ("example.com", "http://example.com", true),
        ("example.com", "http://api.example.com/v1", true),
        ("example.com", "http://notexample.com", false),
        (".example.com", "http://api.example.com", true),
        (".example.com", "http://example.com", true),
        ("Example.COM", "http://API.example.com", true),
        ("a, b ,c", "http://b", true),
        ("*", "http://anything", true),
        ("", "http://anything", false),
        (",", "http://anything", false),
        (".", "http://anything", false),
        ("example.com:8080", "http://example.com:8080", true),
        ("example.com:8080", "http://example.com", false),
        ("example.com:80", "http://example.com", true),
        ("example.com:443", "https://example.com", true),
        ("10.0.0.0/8", "http://10.1.2.3", true),
        ("10.0.0.0/8", "http://11.1.2.3", false),
        ("192.168.1.2", "http://192.168.1.2:11434", true),
        ("192.168.1.2:1", "http://192.168.1.2:2", false),
        ("2001:db8::/32", "http://[2001:db8::1]:1", true),
        ("[2001:db8::1]", "http://[2001:db8::1]", true),
        ("1.2.3", "http://1.2.3.4", false),
    ] {
        for name in ["NO_PROXY", "no_proxy"] {
            let variables = [("ALL_PROXY", "http://proxy:1"), (name, list)];
            assert_eq!(found(base_url, &variables).is_none(), is_exempt, "{list} for {base_url}");
        }
    }
}
