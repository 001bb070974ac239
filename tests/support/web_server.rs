//! A server on loopback that answers as a test says, and remembers what it was asked.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A request.
pub struct Asked {
    /// Path without the query.
    pub path: String,
    /// Pairs of the query, decoded.
    pub query: BTreeMap<String, String>,
    /// The header User-Agent.
    pub agent: String,
    /// What was sent with it.
    pub body: Vec<u8>,
    /// `http://127.0.0.1:PORT`
    pub base: String,
}

/// What the server sends.
pub enum Answer {
    /// A status, headers beside the length, and a body.
    Whole(u16, Vec<(String, String)>, Vec<u8>),
    /// An image that has no end.
    Endless,
    /// An image of which a byte comes now and then.
    Slow,
    /// A body that is announced longer than it is.
    CutOff(Vec<u8>),
}

impl Answer {
    pub fn of(content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("Content-Type".to_owned(), content_type.to_owned())];
        Self::Whole(200, headers, body.into())
    }

    pub fn json(value: &serde_json::Value) -> Self {
        Self::of("application/json", value.to_string())
    }

    pub fn status(status: u16) -> Self {
        Self::Whole(status, Vec::new(), Vec::new())
    }

    pub fn redirect(to: &str) -> Self {
        Self::Whole(
            302,
            vec![("Location".to_owned(), to.to_owned())],
            Vec::new(),
        )
    }

    pub fn wait(status: u16, seconds: u32) -> Self {
        let header = ("Retry-After".to_owned(), seconds.to_string());
        Self::Whole(status, vec![header], Vec::new())
    }
}

/// A running server; it ends when this is dropped.
pub struct WebServer {
    pub base: String,
    /// Paths in the order in which they were asked for, with the times.
    pub asked: Arc<Mutex<Vec<(String, Instant)>>>,
    ended: Arc<AtomicBool>,
}

impl WebServer {
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (asked, ended) = (
            Arc::new(Mutex::new(Vec::new())),
            Arc::new(AtomicBool::new(false)),
        );
        let server = Self {
            base: base.clone(),
            asked: asked.clone(),
            ended: ended.clone(),
        };
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let (answer, asked, base, ended) =
                    (answer.clone(), asked.clone(), base.clone(), ended.clone());
                std::thread::spawn(move || {
                    let Some(request) = read_request(&stream, &base) else {
                        return;
                    };
                    let path = request.path.clone();
                    asked.lock().unwrap().push((path, Instant::now()));
                    let _ = send(stream, answer(&request), &ended);
                });
            }
        });
        server
    }

    /// `127.0.0.1:PORT`
    pub fn place(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    /// How often a path was asked for.
    pub fn times(&self, path: &str) -> usize {
        let asked = self.asked.lock().unwrap();
        asked.iter().filter(|(it, _)| it == path).count()
    }

    /// Paths that begin with `start`, each with how often it was asked for.
    pub fn paths(&self, start: &str) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for (path, _) in self.asked.lock().unwrap().iter() {
            if path.starts_with(start) {
                *found.entry(path.clone()).or_default() += 1;
            }
        }
        found
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.place());
    }
}

fn read_request(stream: &TcpStream, base: &str) -> Option<Asked> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let (mut length, mut agent) = (0, String::new());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        if header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':')?;
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "user-agent" => agent = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let url = reqwest::Url::parse(&format!("{base}{target}")).ok()?;
    Some(Asked {
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        agent,
        body,
        base: base.to_owned(),
    })
}

fn send(mut stream: TcpStream, answer: Answer, ended: &AtomicBool) -> std::io::Result<()> {
    let head = |status: u16, headers: &[(String, String)], length: Option<usize>| {
        let mut text = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if let Some(length) = length {
            text += &format!("Content-Length: {length}\r\n");
        }
        text + "\r\n"
    };
    let image = [("Content-Type".to_owned(), "image/jpeg".to_owned())];
    match answer {
        Answer::Whole(status, headers, body) => {
            stream.write_all(head(status, &headers, Some(body.len())).as_bytes())?;
            stream.write_all(&body)
        }
        Answer::CutOff(body) => {
            stream.write_all(head(200, &image, Some(body.len() + 1000)).as_bytes())?;
            stream.write_all(&body)
        }
        Answer::Endless => {
            stream.write_all(head(200, &image, None).as_bytes())?;
            while !ended.load(Ordering::Relaxed) {
                stream.write_all(&[0xff; 8192])?;
            }
            Ok(())
        }
        Answer::Slow => {
            stream.write_all(head(200, &image, Some(100_000)).as_bytes())?;
            while !ended.load(Ordering::Relaxed) {
                stream.write_all(&[0xff])?;
                std::thread::sleep(Duration::from_millis(100));
            }
            Ok(())
        }
    }
}
