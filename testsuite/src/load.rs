//! A bounded load on a server that speaks lines: many connections that never rest, and a count of what got lost.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// No load runs longer, whatever its owner does.
const LONGEST: Duration = Duration::from_secs(120);

/// What one request is and what its answer has to be.
#[derive(Debug, Clone)]
pub struct Exchange {
    pub request: String,
    pub answer: String,
}

/// A running load.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    start: Instant,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    lost: AtomicU64,
    /// Microseconds.
    slowest: AtomicU64,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Report {
    pub answered: u64,
    pub lost: u64,
    pub slowest: Duration,
    pub elapsed: Duration,
}

impl Load {
    pub fn start(server: SocketAddr, connections: usize, exchange: &Exchange) -> Load {
        let shared = Arc::new(Shared::default());
        let workers = (0..connections)
            .map(|_| {
                let (shared, exchange) = (Arc::clone(&shared), exchange.clone());
                thread::spawn(move || work(server, &exchange, &shared))
            })
            .collect();
        Load { shared, workers, start: Instant::now() }
    }

    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::Relaxed)
    }

    pub fn finish(self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        let elapsed = self.start.elapsed();
        for worker in self.workers {
            if worker.join().is_err() {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        Report {
            answered: self.shared.answered.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
            slowest: Duration::from_micros(self.shared.slowest.load(Ordering::Relaxed)),
            elapsed,
        }
    }
}

fn work(server: SocketAddr, exchange: &Exchange, shared: &Shared) {
    let end = Instant::now() + LONGEST;
    let running = || !shared.stop.load(Ordering::Relaxed) && Instant::now() < end;
    while running() {
        // Ends by itself only when a request is lost; then the next connection goes on.
        if converse(server, exchange, shared, &running).is_err() {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn converse(
    server: SocketAddr,
    exchange: &Exchange,
    shared: &Shared,
    running: &impl Fn() -> bool,
) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut answer = String::new();
    while running() {
        let start = Instant::now();
        stream.write_all(exchange.request.as_bytes())?;
        answer.clear();
        reader.read_line(&mut answer)?;
        if answer.trim_end() != exchange.answer {
            return Err(std::io::Error::other(format!("unexpected answer {answer:?}")));
        }
        shared.answered.fetch_add(1, Ordering::Relaxed);
        shared.slowest.fetch_max(start.elapsed().as_micros() as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// One request on a connection of its own.
pub fn ask(server: SocketAddr, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(5))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim_end().to_owned())
}
