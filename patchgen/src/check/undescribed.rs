//! Functions that changed, or are new, and of whose types the debug information says nothing: their unit was compiled without.

use super::{Context, Findings};
use crate::diag::Severity;
use patchfmt::codes;
use std::collections::BTreeSet;

/// Functions that are named at most.
const NAMED: usize = 6;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let functions = &context.analysis.new.functions;
    let touched = context.undescribed.iter().filter(|f| !context.analysis.left.contains(f));
    let names: BTreeSet<&str> = touched.map(|f| functions[f.index()].name.as_str()).collect();
    if names.is_empty() {
        return;
    }
    let mut list = names.iter().take(NAMED).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    if names.len() > NAMED {
        list.push_str(&format!(" and {} more", names.len() - NAMED));
    }
    let message = format!("there is no debug information on the types of {list}: those that changed can't be seen");
    findings.add(Severity::Review, codes::NO_DEBUG_INFO, "", message);
}
