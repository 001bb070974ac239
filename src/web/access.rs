//! Who may use the page: whoever has the token that was printed, from the page itself.
//!
//! The token comes once in the address and stays as a cookie that scripts cannot read and other sites cannot send. The
//! header `Host` must name this machine by its address, or a site whose name is made to resolve to it (DNS rebinding)
//! could reach the page. Requests that change something must come from the page's own origin.

use std::net::{IpAddr, SocketAddr};

use anyhow::anyhow;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use sha2::{Digest, Sha256};

use super::failure::Failure;

/// Bytes of the token.
const TOKEN_BYTES: usize = 16;

/// The token, and where it is valid.
#[derive(Debug)]
pub struct Access {
    token: String,
    address: SocketAddr,
}

impl Access {
    /// Draws a token for a page at an address.
    pub fn new(address: SocketAddr) -> anyhow::Result<Self> {
        let mut bytes = [0; TOKEN_BYTES];
        getrandom::fill(&mut bytes)
            .map_err(|err| anyhow!("the system gives no random numbers: {err}"))?;
        Ok(Self {
            token: grainstore::ids::hex(&bytes),
            address,
        })
    }

    /// The address of the page, with the token.
    pub fn url(&self) -> String {
        format!("http://{}/?token={}", self.address, self.token)
    }

    /// Cookies are shared by all ports of a machine, so the name has the port.
    fn cookie_name(&self) -> String {
        format!("grainstore-{}", self.address.port())
    }

    /// What a browser is to send with every request.
    pub fn cookie(&self) -> String {
        let name = self.cookie_name();
        format!("{name}={}; HttpOnly; SameSite=Strict; Path=/", self.token)
    }

    fn is_token(&self, given: &str) -> bool {
        // Digests are compared, so that the time it takes says nothing of the token.
        Sha256::digest(given.as_bytes()) == Sha256::digest(self.token.as_bytes())
    }

    fn has_cookie(&self, headers: &HeaderMap) -> bool {
        let name = self.cookie_name();
        let cookies = headers.get_all(header::COOKIE).into_iter();
        let pairs = cookies.filter_map(|value| value.to_str().ok());
        let mut pairs = pairs
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(key, value)| key == name && self.is_token(value))
    }

    /// Whether the host of a request is this machine by its address.
    fn is_host(&self, host: &str) -> bool {
        let Some((name, port)) = host.rsplit_once(':') else {
            return self.address.port() == 80 && is_here(host, self.address.ip());
        };
        port.parse() == Ok(self.address.port()) && is_here(name, self.address.ip())
    }
}

/// Whether a name is `localhost` or an address of this machine, as far as `bound` says.
fn is_here(name: &str, bound: IpAddr) -> bool {
    if name == "localhost" {
        return true;
    }
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    // A site can make its name resolve to this machine, but not an address.
    name.parse::<IpAddr>()
        .is_ok_and(|ip| ip == bound || bound.is_unspecified())
}

/// What is done with a request that is let in.
pub enum Checked {
    /// It is answered.
    Passes,
    /// The token came in the address; it is left out of the one that the browser goes to.
    HasToken(String),
}

/// Whether a request is let in.
pub fn check(access: &Access, request: &Request) -> Result<Checked, Failure> {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !access.is_host(host) {
        return Err(Failure::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("the page is not at '{host}'; open it at {}", access.address),
        ));
    }
    let is_read = [Method::GET, Method::HEAD].contains(request.method());
    if is_read
        && let Some(token) = parameter(request.uri(), "token")
        && access.is_token(token)
    {
        return Ok(Checked::HasToken(without_token(request.uri())));
    }
    if !access.has_cookie(headers) {
        return Err(Failure::new(
            StatusCode::UNAUTHORIZED,
            "open the address that 'grainstore review' printed: it has the token that lets you in"
                .to_owned(),
        ));
    }
    if !is_read && text(header::ORIGIN) != Some(format!("http://{host}").as_str()) {
        return Err(Failure::new(
            StatusCode::FORBIDDEN,
            "only the page itself may change something".to_owned(),
        ));
    }
    Ok(Checked::Passes)
}

fn pairs(uri: &Uri) -> impl Iterator<Item = (&str, &str)> {
    let query = uri.query().unwrap_or_default().split('&');
    query.filter_map(|pair| pair.split_once('='))
}

fn parameter<'u>(uri: &'u Uri, name: &str) -> Option<&'u str> {
    pairs(uri)
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// The path and its parameters but for the token.
fn without_token(uri: &Uri) -> String {
    let others = pairs(uri).filter(|(key, _)| *key != "token");
    let others: Vec<String> = others
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    // A path that begins with two slashes would name another machine.
    let path = uri.path().trim_start_matches('/');
    match others.as_slice() {
        [] => format!("/{path}"),
        others => format!("/{path}?{}", others.join("&")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(address: &str) -> Access {
        Access::new(address.parse().unwrap()).unwrap()
    }

    #[test]
    fn only_addresses_of_this_machine_are_hosts() {
        let local = access("127.0.0.1:8123");
        for (host, is_host) in [
            ("127.0.0.1:8123", true),
            ("localhost:8123", true),
            ("127.0.0.1:80", false),
            ("127.0.0.1", false),
            ("192.168.0.7:8123", false),
            ("evil.example:8123", false),
            ("localhost.evil.example:8123", false),
            ("", false),
        ] {
            assert_eq!(local.is_host(host), is_host, "{host}");
        }
        let anywhere = access("0.0.0.0:8123");
        assert!(anywhere.is_host("192.168.0.7:8123"));
        assert!(anywhere.is_host("[::1]:8123"));
        assert!(!anywhere.is_host("evil.example:8123"));
    }

    #[test]
    fn tokens_are_long_and_left_out_of_addresses() {
        let (one, other) = (access("127.0.0.1:1"), access("127.0.0.1:1"));
        assert_eq!(one.token.len(), 2 * TOKEN_BYTES);
        assert_ne!(one.token, other.token);
        assert!(one.is_token(&one.token) && !one.is_token(&other.token) && !one.is_token(""));
        for (uri, expected) in [
            ("/?token=a", "/"),
            (
                "/queue?kind=random&token=a&head=b",
                "/queue?kind=random&head=b",
            ),
            ("//evil.example/?token=a", "/evil.example/"),
        ] {
            assert_eq!(without_token(&uri.parse().unwrap()), expected);
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let access = access("127.0.0.1:8123");
        let has = |value: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, value.parse().unwrap());
            access.has_cookie(&headers)
        };
        assert!(has(format!("a=b; grainstore-8123={}", access.token)));
        assert!(!has(format!("grainstore-8124={}", access.token)));
        assert!(!has("grainstore-8123=".to_owned()));
    }
}
