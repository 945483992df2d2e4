//! Programs that a sanitizer watches: their runtime stands in front of the C library, lays a shadow over memory and knows of every stack's layout.

use super::{Case, Pair, answers, special};
use crate::bundle::Signer;
use crate::process::{run, tail};
use crate::program::Config;
use crate::snapshot::Snapshot;
use crate::target::{Launch, Target};
use crate::{Result, check, fail, paths};
use std::process::Command;
use std::time::Duration;

pub(super) const CASES: &[Case] = &[
    Case { name: "watched for wrong addresses", hazards: "S7,C10", run: addresses },
    Case { name: "watched for races", hazards: "S7,C10", run: races },
];

/// The program built so; `None` where the compiler has no such runtime.
fn watched(cc: &str, sanitizer: &str) -> Result<Option<Pair>> {
    let flag = format!("-fsanitize={sanitizer}");
    let scene = format!("sanitized-{cc}-{sanitizer}");
    let probe = paths::scratch()?.join("special").join(format!("{scene}-probe"));
    if let Some(folder) = probe.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut compiler = Command::new(cc);
    compiler.arg(&flag).args(["-x", "c", "-", "-o"]).arg(&probe);
    let source = "int main(void) { return 0; }";
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("echo '{source}' | \"$0\" \"$@\"")])
        .arg(compiler.get_program())
        .args(compiler.get_args());
    if run(&mut shell, Duration::from_secs(60))?.code() != Some(0) {
        return Ok(None);
    }
    let mut program = special("sanitized")?;
    program.flags.push(flag);
    let pair = Pair::built(&program, &scene, &Config::new(&[("cc", cc)]))?;
    Signer::shared()?.sign(&pair.bundle)?;
    Ok(Some(pair))
}

/// In and out while threads call the functions that change.
fn there_and_back(pair: &Pair, target: &mut Target, when: &str) -> Result<()> {
    let before = Snapshot::take(target.pid())?;
    answers(target, "value", "2", when)?;
    answers(target, "short", "10", when)?;
    answers(target, "start", "", when)?;
    for round in 0..3 {
        target.apply(&pair.bundle)?.expect(0)?;
        answers(target, "value", "101", when)?;
        answers(target, "short", "10", when)?;
        // What the old build would have ended at.
        answers(target, "long", "15", when)?;
        target.verify()?.expect(0)?;
        if round < 2 {
            target.revert_and_unmap("fix")?.expect(0)?;
            answers(target, "value", "2", when)?;
            if let Some(difference) = before.difference(&Snapshot::take(target.pid())?) {
                fail!("{when}: reverted: {difference}");
            }
        }
    }
    answers(target, "join", "wrong 0", when)
}

fn addresses() -> Result<()> {
    for cc in ["gcc", "clang"] {
        let Some(pair) = watched(cc, "address")? else { continue };
        let mut target = pair.start()?;
        there_and_back(&pair, &mut target, cc)?;
        // The patch's own code is watched as well.
        target.send("beyond")?;
        let complaints = target.last_words()?;
        check!(
            complaints.contains("heap-buffer-overflow"),
            "{cc}: no complaint of the patch:\n{}",
            tail(&complaints, 20)
        );
    }
    Ok(())
}

fn races() -> Result<()> {
    for cc in ["gcc", "clang"] {
        let Some(pair) = watched(cc, "thread")? else { continue };
        let mut target = Target::start(&pair.builds.old.program, &Launch::trusting(Signer::shared()?.trust()))?;
        there_and_back(&pair, &mut target, cc)?;
        let complaints = target.complaints();
        check!(!complaints.contains("WARNING"), "{cc}: {}", tail(&complaints, 20));
        target.finish()?;
    }
    Ok(())
}
