//! Thread-local variables that a patch brings, while threads are born and end.

use super::{Case, Pair};
use crate::bundle::Signer;
use crate::target::{self, Launch, Target};
use crate::{Result, check};

pub(super) const CASES: &[Case] = &[
    Case { name: "new thread-local variables, threads born meanwhile", hazards: "D9,S4", run: births },
    Case { name: "new thread-local variables, no room left", hazards: "D9", run: used_up },
    Case { name: "new thread-local variables, attached", hazards: "D9,S7", run: attached },
];

/// In and out, with storage that earlier rounds have used: every thread begins with what the patch says.
fn births() -> Result<()> {
    let pair = Pair::make("thread_locals", "thread-locals-births")?;
    let mut target = pair.start()?;
    target.ask("start")?;
    for round in 0..8 {
        target.apply_within(&pair.bundle, 20)?.expect(0)?;
        for _ in 0..20 {
            let wrong = target.ask("wrong")?;
            check!(wrong == "0", "round {round}: {wrong} threads began with something else");
        }
        // This thread lives on: it begins anew with each round, and keeps its values within one.
        for expected in ["1", "2"] {
            let seen = target.ask("look")?;
            check!(seen == expected, "round {round}: a running thread answers {seen}, not {expected}");
        }
        target.revert_and_unmap("fix")?.expect(0)?;
        check!(target.ask("look")? == "0", "the patch is still live");
    }
    let (born, wrong) = (target.ask("end")?, target.ask("wrong")?);
    check!((born.as_str(), wrong.as_str()) == ("born", "0"), "{born}, {wrong} threads began with something else");
    target.finish()
}

/// What was reverted keeps its room, because pointers into it may be stored. Refused in the end, and nothing has changed.
fn used_up() -> Result<()> {
    let pair = Pair::make("thread_locals", "thread-locals-room")?;
    let mut target = pair.start()?;
    let mut rounds = 0;
    let refused = loop {
        let output = target.apply(&pair.bundle)?;
        if output.code() != Some(0) || rounds > 1024 {
            break output;
        }
        check!(target.ask("look")? == "1", "round {rounds}: other values");
        target.revert("fix")?.expect(0)?;
        rounds += 1;
    };
    let text = refused.expect(4)?.text();
    check!(rounds > 1 && text.contains("HP1109"), "after {rounds} rounds: {text}");
    check!(target.ask("look")? == "0", "the refused patch is live");
    target.verify()?.expect(0)?;
    target.finish()
}

/// A loader that came later has no storage in threads.
fn attached() -> Result<()> {
    let pair = Pair::make("thread_locals", "thread-locals-attached")?;
    let mut target = Target::start(&pair.builds.old.program, &Launch::default())?;
    let trust = Signer::shared()?.trust();
    target::hpatch("attach", target.pid(), &["--trust", &trust.to_string_lossy()])?.expect(0)?;
    let text = target.apply(&pair.bundle)?.expect(4)?.text();
    check!(text.contains("HP1109"), "{text}");
    check!(target.ask("look")? == "0", "the refused patch is live");
    target.finish()
}
