//! How much is read, counted: an analysis that reads the same again and again takes ten times as long, and no test can measure time.

mod support;

use patchgen::compare::Stamps;
use patchgen::image::Image;
use patchgen::lift::lift;
use patchgen::pipeline;
use patchgen::report::Reasons;
use std::fmt::Write as _;
use std::path::Path;
use support::Bench;

/// Programs that each machine has, with thousands of computed addresses and of calls between their own functions.
const PROGRAMS: [&str; 2] = ["/bin/bash", "/usr/bin/python3"];

/// Each instruction is decoded once to begin with, at most once more for the addresses that are computed in its function, and at most
/// once more for what the function leaves of its callers' registers; most need neither (1.3 to 1.4 times in all).
const DECODED: f64 = 2.0;

/// Entries are read for the survey, the comparison of types, the search for frames, what types say of variables, and the report; some of
/// them twice.
const READINGS: f64 = 8.0;

#[test]
fn code_is_decoded_about_once() {
    let mut seen = 0;
    for path in PROGRAMS.map(Path::new).into_iter().filter(|p| p.exists()) {
        let image = Image::load(path, None, &[]).unwrap_or_else(|e| panic!("{e}"));
        let lifted = lift(&image);
        let all: usize = lifted.functions.iter().map(|f| f.insns.len()).sum();
        let times = lifted.decoded as f64 / all as f64;
        assert!(all > 50_000, "{} has {all} instructions", path.display());
        assert!((1.0..DECODED).contains(&times), "{}: each instruction was decoded {times:.1} times", path.display());
        seen += 1;
    }
    assert!(seen > 0, "none of the programs is there");
}

/// One of several units in which all functions, a type that all of them use, and variables change.
fn unit(number: usize, new: bool) -> String {
    let (more, step) = if new { ("long more;", 2) } else { ("", 1) };
    let mut text = format!("struct state {{ int a; {more} int b; }}; struct state state_{number};\n");
    for f in 0..40 {
        let _ = writeln!(
            text,
            "int take_{number}_{f}(struct state *s) {{ static int calls; struct state own = *s; calls += {step}; \
             return own.b + s->a + calls + state_{number}.b; }}"
        );
    }
    text
}

#[test]
fn units_are_not_read_for_each_of_their_functions() {
    let bench = Bench::new();
    for build in ["old", "new"] {
        for number in 0..4 {
            bench.write(&format!("{number}.c"), &unit(number, build == "new"));
        }
        bench.run("gcc", &format!("-O1 -g -shared -fPIC -Wl,--build-id 0.c 1.c 2.c 3.c -o {build}.so"));
    }
    let load = |build: &str| pipeline::load(&bench.path(build), None, &[]).unwrap_or_else(|e| panic!("{e}"));
    let (old, mut new) = (load("old.so"), load("new.so"));
    let compared = pipeline::compare(&old, &mut new, &Stamps::default()).unwrap_or_else(|e| panic!("{e}"));
    pipeline::plan(&compared, false).unwrap_or_else(|e| panic!("{e}"));
    let changes: Vec<_> = compared.changes.changed.iter().collect();
    assert!(changes.len() >= 160, "{} changed", changes.len());
    let reasons = Reasons::new(&compared, &changes).unwrap_or_else(|e| panic!("{e}"));
    for change in changes {
        reasons.of(change).unwrap_or_else(|e| panic!("{e}"));
    }
    for build in [&compared.old, &compared.new] {
        let times = build.debug.as_ref().expect("debug information").readings();
        assert!((1.0..READINGS).contains(&times), "each entry was read {times:.1} times");
    }
}
