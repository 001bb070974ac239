//! A proxy before a server that loses requests and answers, as networks do.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// A proxy on loopback; its threads live as long as the process.
pub struct Proxy {
    pub address: SocketAddr,
    lost: Arc<Lost>,
}

/// How much was lost so far.
#[derive(Default)]
struct Lost {
    requests: AtomicU64,
    answers: AtomicU64,
}

/// What is lost, by chance.
#[derive(Clone, Copy)]
pub struct Losses {
    /// Probability that a request does not arrive.
    pub requests: f64,
    /// Probability that a request arrives, and its answer does not.
    pub answers: f64,
    pub seed: u64,
}

impl Proxy {
    /// Forwards connections to a server, `HOST:PORT`.
    pub fn start(server: &str, losses: Losses) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let lost = Arc::new(Lost::default());
        let (server, its_lost) = (server.to_owned(), lost.clone());
        thread::spawn(move || {
            let mut random = fastrand::Rng::with_seed(losses.seed);
            for client in listener.incoming().map_while(Result::ok) {
                if let Ok(upstream) = TcpStream::connect(&server) {
                    forward(client, upstream, losses, random.fork(), its_lost.clone());
                }
            }
        });
        Self { address, lost }
    }

    /// Numbers of lost requests and lost answers.
    pub fn lost(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.lost.requests), count(&self.lost.answers))
    }
}

/// Carries one connection. HTTP/1.1 sends the next request after the last answer, so the first bytes in a direction after bytes in the
/// other begin a request or an answer.
fn forward(
    client: TcpStream,
    server: TcpStream,
    losses: Losses,
    mut random: fastrand::Rng,
    lost: Arc<Lost>,
) {
    let is_asking = Arc::new(AtomicBool::new(false));
    let (mut asks, mut answers) = (random.fork(), random.fork());
    let begins = is_asking.clone();
    let its_lost = lost.clone();
    carry(&client, &server, move || {
        let is_lost = !begins.swap(true, Ordering::SeqCst) && asks.f64() < losses.requests;
        its_lost
            .requests
            .fetch_add(u64::from(is_lost), Ordering::Relaxed);
        is_lost
    });
    carry(&server, &client, move || {
        let is_lost = is_asking.swap(false, Ordering::SeqCst) && answers.f64() < losses.answers;
        lost.answers
            .fetch_add(u64::from(is_lost), Ordering::Relaxed);
        is_lost
    });
}

/// Copies bytes on a thread until one side ends, or until `is_lost` says so of the next bytes; then both sides are closed.
fn carry(from: &TcpStream, to: &TcpStream, mut is_lost: impl FnMut() -> bool + Send + 'static) {
    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
    thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            if is_lost() || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    });
}
