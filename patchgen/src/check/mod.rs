//! Patchability: rules over the whole change, one file a rule. All findings are collected and printed together.

mod contexts;
mod entries;
mod exports;
mod folded;
mod goroutines;
mod guessed;
mod identity;
mod initialisers;
mod instances;
mod left;
mod linker_sets;
mod main_like;
mod outlived;
mod paths;
mod prepared;
mod producers;
mod resolvers;
mod set_up;
mod static_unwinder;
mod types;
mod undescribed;
mod variables;
mod vtables;

use crate::addr::FuncId;
use crate::diag::{Finding, Severity};
use crate::include::{Analysis, PatchSet};
use crate::types::TypeDiff;
use patchfmt::codes::Code;
use std::collections::BTreeSet;

pub use instances::{Calls, Fate, Instances, instances};
pub use outlived::exchanged;
pub use producers::producers;
pub use vtables::of_traits;

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub analysis: Analysis<'a>,
    pub set: &'a PatchSet,
    /// None without debug information in both builds.
    pub types: Option<&'a TypeDiff>,
    pub instances: &'a Instances,
    pub calls: &'a Calls,
    /// Changed and new functions of the new build of whose types the debug information of a build says nothing.
    pub undescribed: &'a BTreeSet<FuncId>,
}

type Rule = fn(Context<'_>, &mut Findings);

const RULES: &[Rule] = &[
    identity::rule,
    exports::rule,
    initialisers::rule,
    set_up::rule,
    resolvers::rule,
    folded::rule,
    entries::rule,
    contexts::rule,
    vtables::rule,
    variables::rule,
    prepared::rule,
    main_like::rule,
    types::rule,
    left::rule,
    outlived::rule,
    goroutines::rule,
    linker_sets::rule,
    undescribed::rule,
    guessed::rule,
    static_unwinder::rule,
];

/// Collects findings.
#[derive(Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, code: Code, symbol: &str, message: String) {
        self.at(severity, code, symbol, None, message);
    }

    fn at(&mut self, severity: Severity, code: Code, symbol: &str, place: Option<String>, message: String) {
        self.0.push(Finding { severity, code: code.0, symbol: symbol.to_owned(), place, message, help: None });
    }
}

/// Runs every rule.
pub fn check(context: Context<'_>) -> Vec<Finding> {
    let mut findings = Findings::default();
    for rule in RULES {
        rule(context, &mut findings);
    }
    findings.0
}
