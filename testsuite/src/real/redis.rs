//! redis-server under redis-benchmark, patched with one of Debian's fixes.

use super::{Running, free_port, make_bundle, pause, workspace};
use crate::bundle::Signer;
use crate::process::run;
use crate::story::Story;
use crate::target::{self, Launch};
use crate::{Result, check, corpus, fail};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(60);
/// Key patterns without a permission in an ACL: accepted before the fix, and an assertion failure later.
const FIX: &str = "CVE-2024-51741";
const ID: &str = "redis-CVE-2024-51741";

pub fn redis(story: Story) -> Result<()> {
    let pair = corpus::ensure_pair("redis", FIX, "redis-server")?;
    let folder = workspace("redis")?;
    let port = free_port()?;
    let mut launch = Launch::trusting(Signer::shared()?.trust());
    let settings = ["--port", &port.to_string(), "--save", "", "--appendonly", "no", "--daemonize", "no"];
    launch.arguments = settings.map(str::to_owned).to_vec();
    story.step("redis-server without the fix", &format!("hpatch run -- old/redis-server --port {port} ..."));
    let mut command = launch.command(&pair.old)?;
    let server = Running(command.current_dir(&folder).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?);
    wait_for(port)?;
    let old = observe(port)?;
    story.say(&format!("ACL SETUSER probe %       gives: {old}"));
    check!(old == "OK", "the old server already refuses the pattern: {old}");

    let load = Benchmark::start(port);
    let outcome = patch(&pair, &folder, &server, port, &load, story);
    let (rounds, failed) = load.finish();
    outcome?;
    check!(failed.is_empty(), "redis-benchmark saw errors:\n{failed}");
    story.say(&format!("redis-benchmark: {} requests, 0 failed.", rounds * REQUESTS_IN_A_ROUND));
    Ok(())
}

fn patch(
    pair: &corpus::CorpusPair,
    folder: &std::path::Path,
    server: &Running,
    port: u16,
    load: &Benchmark,
    story: Story,
) -> Result<()> {
    load.wait_for_rounds(1)?;
    let (bundle, _) = make_bundle(pair, ID, folder, story)?;
    story.step("Applied under redis-benchmark", &format!("hpatch apply --pid {} {ID}.hpatch", server.pid()));
    let applied = target::apply(server.pid(), &bundle, 20, &Signer::shared()?.trust())?.expect(0)?;
    story.say(&format!("redis-server stood still for {}.", pause(&applied)));
    let new = observe(port)?;
    story.say(&format!("ACL SETUSER probe %       gives: {new}"));
    check!(new.contains("Syntax error"), "the patched server still accepts the pattern: {new}");
    target::hpatch("verify", server.pid(), &[])?.expect(0)?;
    load.wait_for_rounds(2)?;
    story.step("And back", &format!("hpatch revert --pid {} {ID}", server.pid()));
    target::revert(server.pid(), ID, 20)?.expect(0)?;
    let again = observe(port)?;
    story.say(&format!("ACL SETUSER probe %       gives: {again}"));
    check!(again == "OK", "the reverted server answers {again}");
    load.wait_for_rounds(1)
}

fn cli(port: u16, words: &[&str]) -> Result<String> {
    let mut command = Command::new("redis-cli");
    command.args(["-p", &port.to_string()]).args(words);
    Ok(run(&mut command, LIMIT)?.text().trim().to_owned())
}

/// What the fix changes, left as it was found.
fn observe(port: u16) -> Result<String> {
    let answer = cli(port, &["ACL", "SETUSER", "probe", "%"])?;
    cli(port, &["ACL", "DELUSER", "probe"])?;
    Ok(answer)
}

fn wait_for(port: u16) -> Result<()> {
    let start = Instant::now();
    while cli(port, &["PING"])? != "PONG" {
        if start.elapsed() > LIMIT {
            fail!("redis-server does not answer on port {port}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Two commands with 10,000 requests each.
const REQUESTS_IN_A_ROUND: u64 = 20_000;

/// redis-benchmark, again and again, until it is told to end.
#[derive(Debug)]
struct Benchmark {
    shared: Arc<Shared>,
    thread: thread::JoinHandle<String>,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    rounds: AtomicU64,
}

impl Benchmark {
    fn start(port: u16) -> Benchmark {
        let shared = Arc::new(Shared::default());
        let mine = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            while !mine.stop.load(Ordering::Relaxed) {
                let mut command = Command::new("redis-benchmark");
                command.args(["-p", &port.to_string(), "-c", "24", "-t", "set,get", "-n", "10000", "-q"]);
                match run(&mut command, LIMIT) {
                    Ok(output) if output.code() == Some(0) && !output.text().contains("rror") => {
                        mine.rounds.fetch_add(1, Ordering::Relaxed);
                    }
                    Ok(output) => return output.describe(),
                    Err(failure) => return failure.to_string(),
                }
            }
            String::new()
        });
        Benchmark { shared, thread }
    }

    /// Waits until so many more rounds have ended well.
    fn wait_for_rounds(&self, more: u64) -> Result<()> {
        let wanted = self.shared.rounds.load(Ordering::Relaxed) + more;
        let start = Instant::now();
        while self.shared.rounds.load(Ordering::Relaxed) < wanted {
            check!(!self.thread.is_finished(), "redis-benchmark ended early");
            check!(start.elapsed() < LIMIT, "redis-benchmark is stuck");
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The rounds that ended well, and what the last one complained about.
    fn finish(self) -> (u64, String) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let complaint = self.thread.join().unwrap_or_else(|_| "its thread panicked".to_owned());
        (self.shared.rounds.load(Ordering::Relaxed), complaint)
    }
}
