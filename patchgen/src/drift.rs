//! Whether two builds differ so widely that the cause is how they were built: a profile, link-time optimisation, another compiler.

use crate::compare::Cause;
use crate::dwarf::DebugInfo;
use crate::pipeline::Compared;
use serde::Serialize;
use std::collections::BTreeSet;

/// From this share of the functions on, in percent.
const SHARE: u64 = 10;

/// Fewer functions than this say nothing: a small program changes as a whole.
const LEAST: u64 = 100;

/// How much of the new build isn't in the old one.
#[derive(Clone, PartialEq, Eq, Serialize, Debug)]
pub struct Drift {
    pub functions: u64,
    /// Changed or new.
    pub functions_differ: u64,
    /// Bytes of code in functions.
    pub code: u64,
    pub code_differs: u64,
    /// Ways of building that make it so, as far as the debug information tells.
    pub because: Vec<&'static str>,
}

impl Drift {
    /// None where the difference isn't a wide one.
    #[must_use]
    pub fn measure(compared: &Compared<'_>) -> Option<Drift> {
        let functions = &compared.new.lifted.functions;
        let size = |i: usize| functions[i].parts.iter().map(|p| p.size()).sum::<u64>();
        let changes = &compared.changes;
        let changed = changes.changed.iter().filter(|c| c.cause != Cause::LineNumber).map(|c| c.new);
        let differ: Vec<u64> = changed.chain(changes.new_funcs.iter().copied()).map(|f| size(f.index())).collect();
        let drift = Drift {
            functions: functions.len() as u64,
            functions_differ: differ.len() as u64,
            code: (0..functions.len()).map(size).sum(),
            code_differs: differ.iter().sum(),
            because: compared.built_with.clone(),
        };
        (drift.functions_differ >= LEAST && percent(drift.functions_differ, drift.functions) >= SHARE).then_some(drift)
    }
}

impl std::fmt::Display for Drift {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "drift: {} % of functions, {} % of code bytes differ: ",
            percent(self.functions_differ, self.functions),
            percent(self.code_differs, self.code)
        )?;
        match self.because.as_slice() {
            [] => write!(f, "probably other flags, another compiler or another profile, not a fix"),
            because => write!(f, "built with {}, whose choices change from build to build", because.join(" and ")),
        }
    }
}

/// Rounded to the nearest.
fn percent(part: u64, whole: u64) -> u64 {
    (part * 100 + whole / 2).checked_div(whole).unwrap_or(0)
}

/// Ways of building whose result depends on more than the source, from DW_AT_producer of either build.
pub(crate) fn built_with(builds: [&DebugInfo<'_>; 2]) -> Vec<&'static str> {
    let mut out = BTreeSet::new();
    for producer in builds.iter().flat_map(|info| info.producers().into_keys()) {
        let flag = |name: &str| producer.split_whitespace().any(|word| word.starts_with(name));
        if flag("-fprofile-use") || flag("-fprofile-instr-use") || flag("-fauto-profile") {
            out.insert("a profile");
        }
        if flag("-flto") || producer.starts_with("GNU GIMPLE") {
            out.insert("link-time optimisation");
        }
    }
    out.into_iter().collect()
}
