//! nginx with a master and workers under wrk, every process patched with one of Debian's fixes.

use super::{Running, free_port, make_bundle, pause, workspace};
use crate::bundle::Signer;
use crate::process::{Output, run};
use crate::story::Story;
use crate::target::{self, Launch};
use crate::{Failure, Result, check, corpus, fail};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Captures evaluated after a rewrite with arguments were escaped although they must not be.
const FIX: &str = "CVE-2026-42945";
const ID: &str = "nginx-CVE-2026-42945";
const WORKERS: usize = 2;
const LIMIT: Duration = Duration::from_secs(60);

pub fn nginx(story: Story) -> Result<()> {
    let pair = corpus::ensure_pair("nginx", FIX, "nginx")?;
    let folder = workspace("nginx")?;
    let port = free_port()?;
    configure(&folder, port)?;
    let mut launch = Launch::trusting(Signer::shared()?.trust());
    let prefix = folder.to_string_lossy().into_owned();
    launch.arguments = ["-p", &prefix, "-c", "nginx.conf", "-e", "stderr"].map(str::to_owned).to_vec();
    story.step("nginx without the fix: a master and two workers", "hpatch run -- old/nginx -c nginx.conf");
    let mut command = launch.command(&pair.old)?;
    let log = std::fs::File::create(folder.join("stderr"))?;
    let master = Running(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?);
    wait_for(port, &folder)?;
    let old = observe(port)?;
    story.say(&format!("GET /a%20b/c   gives: {old}"));
    check!(old.contains("%20"), "the old server doesn't show the bug: {old}");

    let (bundle, _) = make_bundle(&pair, ID, &folder, story)?;
    let load = thread::spawn(move || {
        let mut wrk = Command::new("wrk");
        wrk.args(["-t", "1", "-c", "16", "-d", "10s", &format!("http://127.0.0.1:{port}/ok")]);
        run(&mut wrk, LIMIT)
    });
    let outcome = patch(&bundle, &master, port, story, || load.is_finished());
    let served = load.join().map_err(|_| Failure("the load's thread panicked".to_owned()))??;
    outcome?;
    let requests = served_well(&served)?;
    story.say(&format!("wrk: {requests} requests, 0 failed."));
    Ok(())
}

fn patch(bundle: &Path, master: &Running, port: u16, story: Story, load_ended: impl Fn() -> bool) -> Result<()> {
    let trust = Signer::shared()?.trust();
    let workers = children(master.pid())?;
    check!(workers.len() == WORKERS, "nginx has the workers {workers:?}");
    let all: Vec<u32> = std::iter::once(master.pid()).chain(workers).collect();
    story.step("Applied to the master and to every worker under wrk", &format!("hpatch apply --pid PID {ID}.hpatch"));
    for pid in &all {
        let applied = target::apply(*pid, bundle, 20, &trust)?.expect(0)?;
        story.say(&format!("process {pid} stood still for {}.", pause(&applied)));
        target::hpatch("verify", *pid, &[])?.expect(0)?;
    }
    // Connections are spread over the workers: many answers from every one of them.
    let mut new = String::new();
    for _ in 0..40 {
        new = observe(port)?;
        check!(new.contains("/a b/c"), "a patched worker still escapes: {new}");
    }
    story.say(&format!("GET /a%20b/c   gives: {new}"));
    check!(!load_ended(), "wrk ended before the patch was in");
    story.step("And back", &format!("hpatch revert --pid PID {ID}"));
    for pid in &all {
        target::revert(*pid, ID, 20)?.expect(0)?;
    }
    let again = observe(port)?;
    story.say(&format!("GET /a%20b/c   gives: {again}"));
    check!(again.contains("%20"), "a reverted worker does not escape: {again}");
    Ok(())
}

fn configure(folder: &Path, port: u16) -> Result<()> {
    // Built as root, its workers would become another user, who may not read this folder.
    let user = if std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0) {
        "user root;"
    } else {
        ""
    };
    let text = format!(
        "daemon off;\n{user}\nworker_processes {WORKERS};\npid nginx.pid;\nevents {{ worker_connections 256; }}\n\
         http {{\n  access_log off;\n  server {{\n    listen 127.0.0.1:{port} reuseport;\n\
         \x20   location = /ok {{ return 200 \"ok\\n\"; }}\n\
         \x20   location / {{ rewrite ^(.*) /new?c=1; set $myvar $1; return 200 \"[$myvar]\\n\"; }}\n  }}\n}}\n"
    );
    std::fs::write(folder.join("nginx.conf"), text)?;
    Ok(())
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// The body of the answer that the fix changes.
fn observe(port: u16) -> Result<String> {
    let answer = get(port, "/a%20b/c")?;
    match answer.split_once("\r\n\r\n") {
        Some((head, body)) if head.contains(" 200 ") => Ok(body.trim().to_owned()),
        _ => fail!("nginx answered {answer:?}"),
    }
}

fn wait_for(port: u16, folder: &Path) -> Result<()> {
    let start = Instant::now();
    while !get(port, "/ok").is_ok_and(|answer| answer.ends_with("ok\n")) {
        if start.elapsed() > Duration::from_secs(15) {
            let said = std::fs::read_to_string(folder.join("stderr")).unwrap_or_default();
            fail!("nginx does not answer:\n{said}");
        }
        thread::sleep(Duration::from_millis(30));
    }
    Ok(())
}

fn children(pid: u32) -> Result<Vec<u32>> {
    let list = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Ok(list.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// The number of requests in wrk's report, which must not tell of any error.
fn served_well(report: &Output) -> Result<u64> {
    let bad = ["Socket errors", "Non-2xx"].iter().any(|sign| report.text().contains(sign));
    check!(report.code() == Some(0) && !bad, "wrk saw errors: {}", report.describe());
    let requests = report.stdout.lines().find_map(|line| line.split(" requests in ").next()?.trim().parse().ok());
    match requests {
        Some(number) if number > 0 => Ok(number),
        _ => fail!("wrk counted no request: {}", report.describe()),
    }
}
