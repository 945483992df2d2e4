//! Function by function: where the crude differ and `patchgen diff` agree, and why they don't where they don't.

use super::build::Build;
use super::crude::{Crude, Pair, Verdict};
use super::explain::Builds;
use super::ours::{Function, Ours, Part};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// One line of the reconciliation.
#[derive(Debug, Clone)]
pub struct Judged {
    pub class: String,
    /// Of the symbols, or an address where there are none.
    pub names: Vec<String>,
    pub old: u64,
    pub new: u64,
    pub detail: String,
}

#[derive(Debug, Default)]
pub struct Reconciled {
    /// Both say that it changed, by our cause.
    pub agreed: BTreeMap<String, Vec<Judged>>,
    /// The two say different things, by the reason.
    pub explained: BTreeMap<String, Vec<Judged>>,
    pub unexplained: Vec<Judged>,
}

impl Reconciled {
    fn agree(&mut self, cause: &str, pair: &Pair) {
        self.agreed.entry(cause.to_owned()).or_default().push(judged(cause, pair, ""));
    }

    fn explain(&mut self, class: &str, pair: &Pair) {
        self.explained.entry(class.to_owned()).or_default().push(judged(class, pair, ""));
    }

    fn leave_open(&mut self, what: &str, pair: &Pair, detail: &str) {
        self.unexplained.push(judged(what, pair, detail));
    }
}

fn judged(class: &str, pair: &Pair, detail: &str) -> Judged {
    let names = pair.names.clone();
    Judged { class: class.to_owned(), names, old: pair.old, new: pair.new, detail: detail.to_owned() }
}

/// Goes through both reports.
pub fn reconcile(old: &Build, new: &Build, crude: &Crude, ours: &Ours) -> Reconciled {
    let mut out = Reconciled::default();
    let builds = Builds { old, new, ours };
    let differs: HashMap<u64, &Pair> =
        crude.pairs.iter().filter(|p| p.verdict != Verdict::Same).map(|p| (p.new, p)).collect();
    let known: BTreeSet<u64> = crude.pairs.iter().map(|p| p.new).collect();
    for pair in &crude.pairs {
        match (ours.old_part(pair.old), ours.new_part(pair.new)) {
            (Some(p), Some(q)) if p == q => same_pair(&mut out, builds, pair, &ours.functions[p.0], p.1, &differs),
            _ if pair.verdict == Verdict::Same && !begins(ours, pair.new) => {}
            (Some(p), Some(q)) if p.0 == q.0 => {
                out.explain("its parts are others: the hot and a cold part, or more of them", pair)
            }
            (None, None) => match old.inside_another(pair.old) && new.inside_another(pair.new) {
                true => out.explain("no function of its own: a label, or a part that nothing can be told about", pair),
                false => out.leave_open("a function of that name is in both builds, and we don't pair it", pair, ""),
            },
            (was, is) => another(&mut out, builds, pair, was, is),
        }
    }
    for (function, cause) in ours.changed().filter(|(f, _)| !known.contains(&f.new[0])) {
        let at = function.new[0];
        let names =
            new.holding(at).map(|(symbols, _)| symbols.iter().map(|s| s.name.clone()).collect()).unwrap_or_default();
        let pair = Pair { old: function.old[0], new: at, names, verdict: Verdict::Same, only_lines: false };
        match () {
            () if crude.several.contains(&at) => out
                .explain(&format!("name of several functions, not compared by the crude differ; ours: {cause}"), &pair),
            () if crude.only_new.contains(&at) => {
                out.explain(&format!("name that only the new build has; ours: {cause}"), &pair)
            }
            () if new.holding(at).is_none_or(|(symbols, _)| symbols.iter().all(|s| !s.function || s.size == 0)) => {
                out.explain(&format!("no symbol of a function; ours: {cause}"), &pair);
            }
            () => out.leave_open("changed for us, and not seen by the crude differ", &pair, cause),
        }
    }
    out
}

/// Of a name that isn't the same function in both builds, as we say: the bodies must say so, too.
fn another(out: &mut Reconciled, builds: Builds<'_>, pair: &Pair, was: Option<Part>, is: Option<Part>) {
    let functions = &builds.ours.functions;
    let alone = match (was, is) {
        (Some((f, 1..)), None) => builds.new.is_cold_part(pair.new, functions[f].new[0]),
        (None, Some((f, 1..))) => builds.old.is_cold_part(pair.old, functions[f].old[0]),
        _ => false,
    };
    if alone {
        out.explain("a cold part that we take for a function of its own in one build", pair);
        return;
    }
    let forth = |(f, part): Part| functions[f].new.get(part).map(|&at| (pair.old, at));
    let back = |(f, part): Part| functions[f].old.get(part).map(|&at| (at, pair.new));
    let named = (pair.old, pair.new);
    let proven = was.map_or(Ok(()), |p| builds.rather(forth(p), named));
    let proven = proven.and_then(|()| is.map_or(Ok(()), |p| builds.rather(back(p), named)));
    let class = match (was, is) {
        (_, None) => "a function of that name is new, and the old one has another name now",
        (None, _) => "a function of that name went, and the new one had another name",
        _ => "that name is another function in the other build",
    };
    match proven {
        Ok(()) => out.explain(class, pair),
        Err(why) => out.leave_open(class, pair, &why),
    }
}

/// Whether a function of ours begins there.
fn begins(ours: &Ours, new: u64) -> bool {
    ours.new_part(new).is_some_and(|(f, k)| k == 0 && ours.functions[f].cause.is_some())
}

/// Both take the same two bodies for one another.
fn same_pair(
    out: &mut Reconciled,
    builds: Builds<'_>,
    pair: &Pair,
    f: &Function,
    part: usize,
    differs: &HashMap<u64, &Pair>,
) {
    let other = || f.new.iter().filter(|at| **at != pair.new).any(|at| differs.contains_key(at));
    match (&pair.verdict, &f.cause, part) {
        (Verdict::Same, None, _) => {}
        (Verdict::Differs { .. }, None, _) => match builds.same_after_all(pair.old, pair.new) {
            Ok(class) => out.explain(&format!("the same for us: {class}"), pair),
            Err(detail) => out.leave_open("the same for us", pair, &detail),
        },
        (Verdict::Retargeted(_), None, _) => match builds.not_retargeted(pair.old, pair.new) {
            Ok(class) => out.explain(&format!("the same for us: {class}"), pair),
            Err(detail) => out.leave_open("not retargeted for us", pair, &detail),
        },
        (Verdict::Same, Some(cause), 0) => match () {
            () if other() => out.explain("counted for its cold part, which differs", pair),
            () if f.old.len() != f.new.len() => out.explain("a cold part came or went", pair),
            () if builds.nameless_differs(pair.old, pair.new) => {
                out.explain(&format!("nameless data that it refers to differ; ours: {cause}"), pair);
            }
            () if cause == "retargeted reference" && builds.branches_between(pair.old, pair.new) => {
                out.explain("a branch to a part without code, in front of another function in one build", pair);
            }
            () if builds.numbers_in_image(pair.old, pair.new) => {
                out.explain(&format!("numbers that may be addresses, not proven the same; ours: {cause}"), pair);
            }
            () => out.leave_open("changed for us, the same for the crude differ", pair, cause),
        },
        // The function is counted at its first part.
        (Verdict::Same, Some(_), _) => {}
        (_, Some(cause), 0) => out.agree(cause, pair),
        (_, Some(_), _) if differs.contains_key(&f.new[0]) => {
            out.explain("counted twice: the function and its cold part", pair)
        }
        (_, Some(_), _) => out.explain("cold part of a function whose other part is equal", pair),
    }
}
