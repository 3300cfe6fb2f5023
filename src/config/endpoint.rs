//! A URL that something is sent to: `https://`, or `http://` to this machine, with nothing in it that a request would lose.

use std::fmt;
use std::net::IpAddr;

use url::{Host, Url, form_urlencoded};

/// For many its path is a secret: `Debug` and [`Endpoint::origin`] show scheme, host and port only.
#[derive(Clone, PartialEq, Eq)]
pub struct Endpoint(Url);

impl Endpoint {
    /// # Errors
    /// What is wrong with it, in words that repeat nothing of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text.trim()).map_err(|error| format!("is no URL: {error}"))?;
        let endpoint = Self(url);
        if !["https", "http"].contains(&endpoint.0.scheme()) || endpoint.0.host().is_none() {
            return Err("is no https:// URL".to_owned());
        }
        if !endpoint.0.username().is_empty() || endpoint.0.password().is_some() {
            return Err("has a user or password in it; a header is the place for them".to_owned());
        }
        if endpoint.0.fragment().is_some() {
            return Err("has a `#`, and what follows that is never sent".to_owned());
        }
        if !endpoint.is_tls() && !endpoint.is_named_loopback() {
            return Err(
                "is http://, which sends in clear and is for this machine only; write https://"
                    .to_owned(),
            );
        }
        Ok(endpoint)
    }

    fn is_named_loopback(&self) -> bool {
        match self.0.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// `https://hc-ping.com`, with the port where it is not the usual one: all that is ever shown.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", self.0.scheme(), self.authority())
    }

    /// As the Host header has it.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = self.0.host_str().unwrap_or_default();
        match self.0.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        }
    }

    /// The name or address to connect to, an IPv6 address without brackets.
    #[must_use]
    pub fn host(&self) -> String {
        match self.0.host() {
            Some(Host::Ipv6(address)) => IpAddr::V6(address).to_string(),
            Some(host) => host.to_string(),
            None => String::new(),
        }
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or(443)
    }

    /// Path and query, as the request's first line has them.
    #[must_use]
    pub fn target(&self) -> String {
        match self.0.query() {
            Some(query) => format!("{}?{query}", self.0.path()),
            None => self.0.path().to_owned(),
        }
    }

    /// `…/start` of `…`; a query stays behind it.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        let mut url = self.0.clone();
        let path = format!("{}/{name}", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Self(url)
    }

    /// One more parameter of its query.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut url = self.0.clone();
        url.query_pairs_mut().append_pair(name, value);
        Self(url)
    }

    /// What no log and no report may show, long enough not to be an ordinary word: the whole, its path, and the parts of that.
    #[must_use]
    pub fn secret_parts(&self) -> Vec<String> {
        const SHORTEST: usize = 16;
        let target = self.target();
        let path = target.trim_matches('/');
        let parts = path.split(['/', '?', '&', '=']);
        let whole = format!("{}/{path}", self.authority());
        let long = |text: &&str| text.len() >= SHORTEST;
        let parts = parts.chain([path]).filter(long);
        // Who tells what it could not find may have decoded it.
        let parts = parts.flat_map(|part| [part.to_owned(), decoded(part)]);
        let named = (!path.is_empty()).then_some(whole);
        parts.chain(named).collect()
    }
}

fn decoded(text: &str) -> String {
    let signs = text.replace('+', "%2B").replace('&', "%26");
    let pairs = form_urlencoded::parse(signs.as_bytes());
    let words = pairs.map(|(name, value)| {
        let sign = if value.is_empty() { "" } else { "=" };
        format!("{name}{sign}{value}")
    });
    words.collect()
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/…", self.origin())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str) -> Endpoint {
        Endpoint::parse(text).expect(text)
    }

    #[test]
    fn https_goes_anywhere_and_http_stays_here() {
        for good in [
            "https://hc-ping.com/uuid",
            "https://hooks.example.org:8443/a?b=c",
            "http://localhost:8000/x",
            "http://127.0.0.1/x",
            "http://[::1]:1/x",
        ] {
            assert!(Endpoint::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://example.org/canary", "in clear"),
            ("http://localhost.example.org/canary", "in clear"),
            ("ftp://example.org/canary", "no https:// URL"),
            ("canary", "is no URL"),
            ("https:///canary", "canary?"),
            ("https://user:canary@example.org/", "a header"),
            ("https://example.org/a#canary", "`#`"),
        ] {
            match Endpoint::parse(bad) {
                Err(told) => {
                    assert!(told.contains(why), "{bad}: {told}");
                    assert!(!told.contains("canary"), "{bad}: {told}");
                }
                // Three slashes are two for browsers and for us: the host is then `canary`.
                Ok(found) => assert_eq!((why, found.host()), ("canary?", "canary".to_owned())),
            }
        }
    }

    #[test]
    fn what_is_below_keeps_the_query() {
        let start = endpoint("https://hc-ping.com/key/erp?create=1")
            .below("start")
            .with("rid", "1-2");
        assert_eq!(start.target(), "/key/erp/start?create=1&rid=1-2");
        let bare = endpoint("https://hc-ping.com/uuid/").below("fail");
        assert_eq!(bare.target(), "/uuid/fail");
    }

    #[test]
    fn only_the_origin_is_ever_shown() {
        let secret = endpoint("https://hooks.example.org:8443/services/T0/canary-canary-canary");
        assert_eq!(secret.origin(), "https://hooks.example.org:8443");
        assert!(!format!("{secret:?}").contains("canary"));
        let parts = secret.secret_parts();
        assert!(parts.contains(&"canary-canary-canary".to_owned()));
        assert!(endpoint("https://example.org/").secret_parts().is_empty());
        let packed =
            endpoint("https://example.org/x?token=canary%2Fcanary%2Bcanary").secret_parts();
        assert!(
            packed.contains(&"canary/canary+canary".to_owned()),
            "{packed:?}"
        );
        // An ordinary word would be blackened all over the report.
        let plain = endpoint("https://example.org/backup").secret_parts();
        assert_eq!(plain, ["example.org/backup"]);
    }

    #[test]
    fn an_address_is_connected_to_without_brackets() {
        let six = endpoint("https://[2001:db8::1]/x");
        assert_eq!((six.host().as_str(), six.port()), ("2001:db8::1", 443));
        assert_eq!(six.origin(), "https://[2001:db8::1]");
    }
}
