//! Polite requests over HTTP: a name to ask for, limits per host, pauses that servers ask for, robots.txt, limits on
//! time and bytes, no private addresses, HTTPS before HTTP.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

use super::address::{PublicResolver, is_public, private_reason};
use super::host::{Host, Robots};
use crate::Result;
use crate::error::CollectError;

/// Redirects that are followed.
const MAX_REDIRECTS: usize = 5;
/// Times that a request is made before it is given up.
const ATTEMPTS: u32 = 4;
/// Wait before the second attempt, where the server does not say; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// Longest wait that a host may ask for; if it asks for more, it is not asked again in this run.
const MAX_WAIT: Duration = Duration::from_secs(300);
/// Time to connect.
const CONNECT: Duration = Duration::from_secs(15);
/// Limit on a robots.txt (RFC 9309 asks for at least 500 KiB), and on an answer of an API.
const MAX_ROBOTS: u64 = 512 << 10;
const MAX_ANSWER: u64 = 32 << 20;

/// How servers are asked.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// Where the people who run a server can reach whoever collects: an e-mail address or a page. Part of the User-Agent.
    pub contact: Option<String>,
    /// Limit on an image's bytes.
    pub max_bytes: u64,
    /// Requests to one host at a time.
    pub per_host: usize,
    /// Minimum time between the beginnings of two requests to one host.
    pub pause: Duration,
    /// Limit on the time of one request.
    pub timeout: Duration,
    /// `HOST:PORT` of servers that may have addresses of a private network, and are asked over plain HTTP where their
    /// address says so.
    pub private_hosts: Vec<String>,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            contact: None,
            max_bytes: 30 << 20,
            per_host: 2,
            pause: Duration::from_millis(100),
            timeout: Duration::from_secs(60),
            private_hosts: Vec::new(),
        }
    }
}

/// Why something could not be fetched.
#[derive(Debug, Clone)]
pub(super) struct FetchError {
    pub reason: String,
    /// Whether another run may have more luck.
    pub is_temporary: bool,
}

impl FetchError {
    fn last(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            is_temporary: false,
        }
    }

    fn temporary(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            is_temporary: true,
        }
    }
}

/// What an answer has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Image,
    Json,
    Robots,
}

/// What one request yields.
enum Answer {
    Body(Vec<u8>),
    Redirect(Url),
}

/// Why one request yields nothing.
enum Attempt {
    /// Try again, after the time that the server asks for.
    Again(String, Option<Duration>),
    /// No connection could be made.
    Unreachable(String),
    /// The address is one of a private network.
    Private(String),
    /// Trying again would not help.
    Final(String),
}

/// A client: what sources of images ask servers with.
pub struct Http {
    client: Client,
    options: HttpOptions,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

impl Http {
    /// A client with the given manners.
    ///
    /// # Errors
    /// [`CollectError::Server`] if the system's certificates cannot be read.
    pub fn new(options: &HttpOptions) -> Result<Self> {
        let hosts = options.private_hosts.iter();
        let names: HashSet<String> = hosts
            .map(|host| {
                host.rsplit_once(':')
                    .map_or(host.as_str(), |(name, _)| name)
            })
            .map(str::to_owned)
            .collect();
        let contact = options.contact.as_deref();
        let contact = contact.map_or(String::new(), |contact| format!("; {contact}"));
        let agent = format!(
            "{}/{} (collects training images{contact})",
            super::host::AGENT,
            env!("CARGO_PKG_VERSION")
        );
        let client = Client::builder()
            .user_agent(agent)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT.min(options.timeout))
            .timeout(options.timeout)
            .dns_resolver(Arc::new(PublicResolver {
                private_hosts: Arc::new(names),
            }))
            .build();
        let client = client.map_err(|err| CollectError::Server {
            server: "HTTP".to_owned(),
            reason: reason_of(&err),
        })?;
        Ok(Self {
            client,
            options: options.clone(),
            hosts: Mutex::default(),
        })
    }

    /// Fetches an image's bytes.
    pub(super) async fn image(&self, url: &str) -> Result<Vec<u8>, FetchError> {
        let url = Url::parse(url).map_err(|err| FetchError::last(format!("not a URL: {err}")))?;
        self.fetch(url, Expected::Image).await
    }

    /// Asks an API, which answers with JSON.
    ///
    /// # Errors
    /// [`CollectError::Server`].
    pub async fn json(&self, url: Url) -> Result<Value> {
        let server = format!("{}{}", url.origin().ascii_serialization(), url.path());
        let failed = |reason: String| CollectError::Server {
            server: server.clone(),
            reason,
        };
        let body = self.fetch(url, Expected::Json).await;
        let body = body.map_err(|err| failed(err.reason))?;
        let read = serde_json::from_slice(&body);
        Ok(read.map_err(|err| failed(format!("it does not answer with JSON: {err}")))?)
    }

    async fn fetch(&self, url: Url, expected: Expected) -> Result<Vec<u8>, FetchError> {
        let mut at = url;
        for _ in 0..=MAX_REDIRECTS {
            match self.fetch_secure(&at, expected).await? {
                Answer::Body(body) => return Ok(body),
                Answer::Redirect(to) => at = to,
            }
        }
        Err(FetchError::last(format!(
            "more than {MAX_REDIRECTS} redirects"
        )))
    }

    /// Asks over HTTPS first, also where an address says HTTP.
    async fn fetch_secure(&self, url: &Url, expected: Expected) -> Result<Answer, FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::last(format!(
                "'{}' is not a scheme that is fetched; expected https or http",
                url.scheme()
            )));
        }
        let mut secure = url.clone();
        let is_upgraded = url.scheme() == "http"
            && url.port().is_none()
            && !self.may_be_private(url)
            && secure.set_scheme("https").is_ok();
        if is_upgraded {
            match self.attempts(&secure, expected).await {
                Err((_, true)) => {} // there is no HTTPS
                Err((err, false)) => return Err(err),
                Ok(answer) => return Ok(answer),
            }
        }
        self.attempts(url, expected).await.map_err(|(err, _)| err)
    }

    /// Asks until there is an answer, or no more hope. The flag of an error says whether no connection could be made.
    async fn attempts(&self, url: &Url, expected: Expected) -> Result<Answer, (FetchError, bool)> {
        self.check_address(url)
            .map_err(|reason| (FetchError::last(reason), false))?;
        if expected == Expected::Image {
            self.check_robots(url).await.map_err(|err| (err, false))?;
        }
        let host = self.host(url);
        let mut wait = FIRST_WAIT;
        let mut attempt = 1;
        loop {
            let turn = host.turn().await;
            if let Some(reason) = host.closed() {
                return Err((FetchError::temporary(reason), false));
            }
            let found = self.once(url, expected).await;
            drop(turn);
            let (reason, asked, is_unreachable) = match found {
                Ok(answer) => return Ok(answer),
                Err(Attempt::Final(reason) | Attempt::Private(reason)) => {
                    return Err((FetchError::last(reason), false));
                }
                Err(Attempt::Unreachable(reason)) => (reason, None, true),
                Err(Attempt::Again(reason, asked)) => (reason, asked, false),
            };
            if let Some(asked) = asked.filter(|asked| *asked > MAX_WAIT) {
                let reason = format!("{reason}, and asks to wait for {} s", asked.as_secs());
                host.close(&reason);
                return Err((FetchError::temporary(reason), false));
            }
            // Once more is enough to see that nobody listens.
            if attempt == ATTEMPTS || (is_unreachable && attempt == 2) {
                return Err((FetchError::temporary(reason), is_unreachable));
            }
            match asked {
                Some(asked) => host.hold(asked),
                None => tokio::time::sleep(wait).await,
            }
            attempt += 1;
            wait *= 2;
        }
    }

    async fn once(&self, url: &Url, expected: Expected) -> Result<Answer, Attempt> {
        let response = self.client.get(url.clone()).send().await;
        let response = response.map_err(|err| {
            let reason = reason_of(&err);
            if reason.contains("private network") {
                Attempt::Private(reason)
            } else if err.is_connect() {
                Attempt::Unreachable(reason)
            } else if err.is_timeout() {
                Attempt::Again(self.too_slow(), None)
            } else {
                Attempt::Again(reason, None)
            }
        })?;
        let status = response.status();
        let headers = response.headers();
        if status.is_redirection()
            && let Some(to) = headers.get(LOCATION)
        {
            let to = to.to_str().ok().and_then(|to| url.join(to).ok());
            let to = to.ok_or_else(|| Attempt::Final("redirects to no URL".to_owned()))?;
            return Ok(Answer::Redirect(to));
        }
        if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
            let reason = format!("answers {}", said(status));
            return Err(Attempt::Again(reason, retry_after(headers, Utc::now())));
        }
        if !status.is_success() {
            return Err(Attempt::Final(format!("answers {}", said(status))));
        }
        let kind = headers.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        if expected == Expected::Image && !may_be_image(&kind) {
            return Err(Attempt::Final(format!("answers with {kind}, not an image")));
        }
        let limit = match expected {
            Expected::Image => self.options.max_bytes,
            Expected::Json => MAX_ANSWER,
            Expected::Robots => MAX_ROBOTS,
        };
        let too_large = || Attempt::Final(format!("over {limit} bytes"));
        if response.content_length().is_some_and(|it| it > limit) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        let mut chunks = response.bytes_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|err| {
                let reason = if err.is_timeout() {
                    self.too_slow()
                } else {
                    format!("the connection broke: {}", reason_of(&err))
                };
                Attempt::Again(reason, None)
            })?;
            if (body.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer::Body(body))
    }

    fn too_slow(&self) -> String {
        format!(
            "no whole answer in {} s",
            self.options.timeout.as_secs_f32()
        )
    }

    /// Refuses addresses of private networks; those behind a name are refused when it is resolved.
    fn check_address(&self, url: &Url) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default();
        if self.may_be_private(url) {
            return Ok(());
        }
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = bare.parse().ok();
        let is_private = match address {
            Some(address) => !is_public(address),
            // A listed name, at a port that is not listed.
            None => self.is_private_name(host),
        };
        if is_private {
            return Err(private_reason(host));
        }
        Ok(())
    }

    fn may_be_private(&self, url: &Url) -> bool {
        let place = place_of(url);
        self.options.private_hosts.contains(&place)
    }

    fn is_private_name(&self, host: &str) -> bool {
        let mut hosts = self.options.private_hosts.iter();
        hosts.any(|listed| {
            listed
                .rsplit_once(':')
                .is_some_and(|(name, _)| name == host)
        })
    }

    fn host(&self, url: &Url) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(|err| err.into_inner());
        let new = || Arc::new(Host::new(self.options.per_host, self.options.pause));
        hosts.entry(place_of(url)).or_insert_with(new).clone()
    }

    async fn check_robots(&self, url: &Url) -> Result<(), FetchError> {
        let host = self.host(url);
        let robots = host.robots.get_or_init(|| self.read_robots(url)).await;
        match robots {
            Robots::Absent => Ok(()),
            Robots::Rules(robot) if robot.allowed(url.as_str()) => Ok(()),
            Robots::Rules(_) => Err(FetchError::last("the host's robots.txt forbids it")),
            Robots::Private(reason) => Err(FetchError::last(reason)),
            Robots::Unknown(reason) => Err(FetchError::temporary(format!(
                "the host's robots.txt cannot be read: {reason}"
            ))),
        }
    }

    async fn read_robots(&self, url: &Url) -> Robots {
        let Ok(mut at) = url.join("/robots.txt") else {
            return Robots::Absent;
        };
        for _ in 0..=MAX_REDIRECTS {
            if let Err(reason) = self.check_address(&at) {
                return Robots::Private(reason);
            }
            let found = self.once(&at, Expected::Robots).await;
            match found {
                Ok(Answer::Body(text)) => return Robots::parse(&text),
                Ok(Answer::Redirect(to)) => at = to,
                // No such file, or none that may be read: everything is allowed (RFC 9309, 2.3.1.3).
                Err(Attempt::Final(reason)) if reason.starts_with("answers 4") => {
                    return Robots::Absent;
                }
                Err(Attempt::Private(reason)) => return Robots::Private(reason),
                Err(
                    Attempt::Final(reason)
                    | Attempt::Unreachable(reason)
                    | Attempt::Again(reason, _),
                ) => return Robots::Unknown(reason),
            }
        }
        Robots::Absent
    }
}

/// `HOST:PORT` of a URL.
fn place_of(url: &Url) -> String {
    let port = url.port_or_known_default().unwrap_or_default();
    format!("{}:{port}", url.host_str().unwrap_or_default())
}

fn said(status: StatusCode) -> String {
    let text = status.canonical_reason().unwrap_or_default();
    format!("{} {text}", status.as_u16()).trim_end().to_owned()
}

/// Servers name images by other types, or by none.
fn may_be_image(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim();
    let kind = kind.to_lowercase();
    kind.is_empty()
        || kind.starts_with("image/")
        || kind == "application/octet-stream"
        || kind == "binary/octet-stream"
}

/// The wait that a server asks for, in seconds or until a time (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = DateTime::parse_from_rfc2822(text).ok()?;
    Some(
        (until.with_timezone(&Utc) - now)
            .to_std()
            .unwrap_or_default(),
    )
}

/// An error's complete chain of causes, without the URL, which the caller names.
fn reason_of(err: &reqwest::Error) -> String {
    let mut reason = String::new();
    let mut cause: Option<&dyn std::error::Error> = std::error::Error::source(err);
    while let Some(found) = cause {
        reason = found.to_string();
        cause = found.source();
    }
    if reason.is_empty() {
        err.to_string()
    } else {
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_may_ask_to_wait_in_seconds_or_until_a_time() {
        let now = DateTime::parse_from_rfc3339("2026-01-02T03:04:05Z").unwrap();
        let after = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());
            retry_after(&headers, now.with_timezone(&Utc))
        };
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        let date = after("Fri, 02 Jan 2026 03:05:00 GMT");
        assert_eq!(date, Some(Duration::from_secs(55)));
        assert_eq!(after("Fri, 02 Jan 2026 03:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(after("soon"), None);
    }

    #[test]
    fn private_addresses_are_refused_but_for_listed_ports() {
        let http = Http::new(&HttpOptions {
            private_hosts: vec!["127.0.0.1:80".to_owned(), "localhost:8080".to_owned()],
            ..HttpOptions::default()
        });
        let http = http.unwrap();
        let allowed = |url: &str| http.check_address(&Url::parse(url).unwrap()).is_ok();
        assert!(allowed("http://127.0.0.1/a"));
        assert!(allowed("http://localhost:8080/a"));
        assert!(allowed("https://example.org/a"));
        for refused in [
            "http://127.0.0.1:81/a",
            "http://localhost:8081/a",
            "http://169.254.169.254/latest/meta-data",
            "http://[::1]/",
            "http://0x7f.1:99/",
            "http://2130706433:99/",
        ] {
            assert!(!allowed(refused), "{refused}");
        }
    }
}
