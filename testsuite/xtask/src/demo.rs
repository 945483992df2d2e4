//! `cargo xtask demo`: a server with a bug, patched while clients use it.

use crate::{RealServer, build, setup};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;
use testsuite::bundle::{self, Signer};
use testsuite::load::{self, Exchange, Load};
use testsuite::process::run_ok;
use testsuite::real::{self, pause};
use testsuite::story::{Story, count};
use testsuite::target::{self, Launch};
use testsuite::{Failure, Result, check, fail, paths};

const CONNECTIONS: usize = 8;
const ID: &str = "echo-overread";
const PROBE: &str = "ECHO 40 hi\n";

/// The same on a server that people use, with one of Debian's fixes.
pub fn real(server: RealServer) -> Result<()> {
    setup::install(setup::REAL)?;
    println!("Building hpatch, and the server before and after the fix ...");
    build::all(false)?;
    match server {
        RealServer::Redis => real::redis(Story::Told),
        RealServer::Nginx => real::nginx(Story::Told),
    }
}

pub fn run() -> Result<()> {
    setup::install(setup::DEMO)?;
    println!("Building hpatch and a small server in C, once with a bug and once with the fix ...");
    build::all(false)?;
    let folder = paths::scratch()?.join("demo");
    let old = compile(&folder.join("old"), &[])?;
    let new = compile(&folder.join("new"), &["-DFIXED"])?;
    let signer = Signer::new("ed25519")?;

    let server = Server::start(&old, &signer)?;
    Story::Told.step(
        "The old server runs",
        &format!("hpatch run -- old/server    # pid {}, port {}", server.pid(), server.port),
    );
    let leak = server.ask(PROBE)?;
    Story::Told.say(&format!("A client asks for 40 bytes of a 2-byte text and gets: {leak}"));
    check!(leak.contains("token"), "the old server doesn't show its bug: {leak}");
    let exchange = Exchange { request: "ECHO 5 hello\n".to_owned(), answer: "hello".to_owned() };
    let load = Load::start(server.address(), CONNECTIONS, &exchange);
    thread::sleep(Duration::from_millis(500));
    Story::Told.say(&format!("{CONNECTIONS} other clients keep it busy."));

    Story::Told.step(
        "Two builds in, a signed bundle out",
        &format!("patchgen build --old old/server --new new/server -o {ID}.hpatch"),
    );
    let file = folder.join(format!("{ID}.hpatch"));
    bundle::build_signed(&signer, &old, &new, &file, ID)?;
    let summary = bundle::inspect(&file)?;
    Story::Told.say(&format!(
        "{} changed, {} new, bundle {} bytes with its signature.",
        count(summary.changed(), "function"),
        summary.added,
        summary.size
    ));

    Story::Told.step("Applied to the running server", &format!("hpatch apply --pid {} {ID}.hpatch", server.pid()));
    let applied = target::apply(server.pid(), &file, 20, &signer.trust())?.expect(0)?;
    Story::Told.say(&format!("The server stood still for {}.", pause(&applied)));
    let answer = server.ask(PROBE)?;
    Story::Told.say(&format!("The same client now gets: {answer}"));
    check!(answer.starts_with("ERR"), "the patched server still shows its bug: {answer}");
    thread::sleep(Duration::from_millis(500));

    Story::Told.step("And back", &format!("hpatch revert --pid {} {ID}", server.pid()));
    target::revert(server.pid(), ID, 20)?.expect(0)?;
    let again = server.ask(PROBE)?;
    check!(again == leak, "after the revert the server answers {again}");
    Story::Told.say(&format!("The old behaviour is back: {again}"));
    thread::sleep(Duration::from_millis(300));

    let report = load.finish();
    println!(
        "\nDuring all this: {} requests answered, {} lost; the slowest took {:.1} ms.",
        report.answered,
        report.lost,
        report.slowest.as_secs_f64() * 1e3
    );
    check!(report.lost == 0, "{} requests were lost", report.lost);
    check!(report.answered > 0, "the load never ran");
    Ok(())
}

fn compile(folder: &Path, flags: &[&str]) -> Result<PathBuf> {
    std::fs::create_dir_all(folder)?;
    let program = folder.join("server");
    let sources = paths::programs().join("demo");
    let mut cc = Command::new("cc");
    cc.args(["-g", "-O2", "-Wall", "-pthread", "-Wl,--build-id"]).args(flags).arg("-o").arg(&program);
    cc.arg(sources.join("server.c")).arg(sources.join("handlers.c"));
    run_ok(&mut cc, Duration::from_secs(60))?;
    Ok(program)
}

/// The demo server as a child process that ends with the value.
#[derive(Debug)]
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(program: &Path, signer: &Signer) -> Result<Server> {
        let mut command = Launch::trusting(signer.trust()).command(program)?;
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(stream) = child.stdout.take() {
            BufReader::new(stream).read_line(&mut line)?;
        }
        let mut server = Server { child, port: 0 };
        match line.trim().strip_prefix("port ").and_then(|port| port.parse().ok()) {
            Some(port) => server.port = port,
            None => fail!("the server said `{}` instead of its port", line.trim()),
        }
        Ok(server)
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    fn ask(&self, request: &str) -> Result<String> {
        load::ask(self.address(), request).map_err(|error| Failure(format!("asking the server: {error}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
