//! What tools and the program itself see of patch code: names, addresses, stacks.

use super::{Case, Pair};
use crate::bundle::Signer;
use crate::process;
use crate::target::{self, Launch, Target};
use crate::{Result, check, paths};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "addresses and stacks", hazards: "I1,I3", run: identity },
    Case { name: "names in a debugger", hazards: "I3", run: names },
    Case { name: "names for perf", hazards: "I3", run: perf_map },
    Case { name: "a name that steers the terminal", hazards: "B7", run: steering },
    Case { name: "a report that can't be written", hazards: "S11", run: unreadable },
];

/// An address stays the old entry, by comparison and by name; `backtrace` goes through the patch; its callers' addresses are the program's.
fn identity() -> Result<()> {
    let pair = Pair::make("seen", "identity")?;
    for attached in [false, true] {
        let mut target = if attached {
            let target = Target::start(&pair.builds.old.program, &Launch::default())?;
            let trust = Signer::shared()?.trust();
            target::hpatch("attach", target.pid(), &["--trust", &trust.to_string_lossy()])?.expect(0)?;
            target
        } else {
            pair.start()?
        };
        // `backtrace` loads the unwinder when it is called first.
        let questions = [("frames", "site seen, main seen"), ("caller", "outer"), ("name", "look"), ("same", "same")];
        for (result, when) in [("2", "old"), ("101", "patched"), ("2", "reverted")] {
            match when {
                "patched" => drop(target.apply(&pair.bundle)?.expect(0)?),
                "reverted" => drop(target.revert("fix")?.expect(0)?),
                _ => {}
            }
            let answer = target.ask("result")?;
            check!(answer == result, "{when}: `result` gives `{answer}`");
            for (question, wanted) in questions {
                let answer = target.ask(question)?;
                check!(answer == wanted, "{when}, attached {attached}: `{question}` gives `{answer}`, not `{wanted}`");
            }
        }
        target.finish()?;
    }
    Ok(())
}

/// gdb names a patch function and walks through it to those that called it.
fn names() -> Result<()> {
    let pair = Pair::make("seen", "names")?;
    let mut target = pair.start()?;
    target.apply(&pair.bundle)?.expect(0)?;
    target.ask("enter")?;
    let mut gdb = Command::new("gdb");
    gdb.args(["-q", "-batch", "-nx", "-p", &target.pid().to_string()]).args(["-ex", "thread apply all bt"]);
    let said = process::run(&mut gdb, Duration::from_secs(60))?.expect(0)?;
    let frames: Vec<&str> = said.stdout.lines().filter(|line| line.starts_with('#')).collect();
    let at = frames.iter().position(|line| line.contains(" look ") || line.contains(" look ("));
    let through = at.is_some_and(|n| frames.get(n + 1).is_some_and(|line| line.contains("outer")));
    check!(through, "gdb doesn't see `look` called by `outer`: {}", said.describe());
    target.ask("leave")?;
    target.finish()
}

/// On request the functions are in the map that perf reads.
fn perf_map() -> Result<()> {
    let pair = Pair::make("seen", "perf-map")?;
    let target = pair.start()?;
    let map = std::path::PathBuf::from(format!("/tmp/perf-{}.map", target.pid()));
    let bundle = pair.bundle.to_string_lossy();
    target::hpatch("apply", target.pid(), &[&bundle])?.expect(0)?;
    check!(!map.exists(), "a map was written without being asked for");
    target.revert_and_unmap("fix")?.expect(0)?;
    target::hpatch("apply", target.pid(), &[&bundle, "--perf-map"])?.expect(0)?;
    let text = std::fs::read_to_string(&map)?;
    std::fs::remove_file(&map)?;
    let list = target::hpatch("list", target.pid(), &["--json"])?.expect(0)?;
    let list: serde_json::Value = serde_json::from_str(&list.stdout)?;
    let replacement =
        list["functions"][0]["replacement"].as_str().unwrap_or_default().trim_start_matches("0x").to_owned();
    let named = text.lines().any(|line| line.starts_with(&format!("{replacement} ")) && line.ends_with(" look [fix]"));
    check!(!replacement.is_empty() && named, "no line for {replacement} and look in\n{text}");
    target.finish()
}

/// A thread's name is whatever the program says.
fn steering() -> Result<()> {
    let pair = Pair::make("busy", "steering")?;
    let mut target = pair.start()?;
    check!(target.ask("rename")? == "done", "the thread isn't renamed");
    target.ask("enter")?;
    let name = "\u{1b}[1m\r\nx";
    let status = target::hpatch("status", target.pid(), &[])?.expect(0)?;
    let blocked = target.apply_within(&pair.bundle, 1)?.expect(7)?;
    for output in [&status, &blocked] {
        let text = output.text();
        let steers = |c: char| c.is_control() && c != '\n';
        check!(!text.contains(steers), "it says {text:?}");
        check!(text.contains(r"\u{1b}[1m\r\nx"), "the name isn't in {text:?}");
    }
    let json = target::hpatch("status", target.pid(), &["--json"])?.expect(0)?;
    let json: serde_json::Value = serde_json::from_str(&json.stdout)?;
    check!(json["comm"].as_str().is_some_and(|comm| comm.starts_with(name)), "{json}");
    target.ask("leave")?;
    target.finish()
}

/// What was done stands, and so does its exit status, where nobody can be told of it.
fn unreadable() -> Result<()> {
    let pair = Pair::make("seen", "unreadable")?;
    let mut target = pair.start()?;
    let full = || std::fs::File::options().write(true).open("/dev/full");
    let gone = || std::io::pipe().map(|(_reader, writer)| writer);
    let (pid, bundle) = (target.pid().to_string(), pair.bundle.to_string_lossy());
    let status = |arguments: &[&str], out: Stdio, errors: Stdio| -> Result<Option<i32>> {
        let mut command = Command::new(paths::tool("hpatch")?);
        command.args(arguments).args(["--pid", &pid]).env("HPATCH_TRUST", Signer::shared()?.trust());
        Ok(command.stdout(out).stderr(errors).status()?.code())
    };
    let mut whole = false;
    for (arguments, result, code) in [
        (&["apply", &bundle][..], "101", 0),
        (&["revert", "fix"], "2", 0),
        (&["apply", &bundle], "101", 0),
        (&["status"], "101", 0),
        (&["apply", "/nowhere"], "101", 6),
        (&["revert", "fix"], "2", 0),
    ] {
        whole = !whole;
        let status = if whole {
            status(arguments, full()?.into(), full()?.into())?
        } else {
            status(arguments, gone()?.into(), gone()?.into())?
        };
        check!(status == Some(code), "{arguments:?} ends with {status:?}, not {code}");
        let answer = target.ask("result")?;
        check!(answer == result, "{arguments:?}: `result` gives `{answer}`");
    }
    target.finish()
}
