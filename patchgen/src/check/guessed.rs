//! Functions that only their order tells apart, or that have one name in two units, and that changed, while pointers hold the address of one.

use super::{Context, Findings};
use crate::compare::text::function;
use crate::diag::Severity;
use patchfmt::codes;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    for (old, new) in &a.pairs.parted {
        let (was, is) = (&a.old.functions[old.index()], &a.new.functions[new.index()]);
        let message = format!(
            "`{}` of the old build may be `{}`, or another one: nothing but a name or their order says so, they differ, and pointers lead to one",
            function(was),
            function(is)
        );
        findings.add(Severity::Refuse, codes::AMBIGUOUS_FUNCTIONS, &is.name, message);
    }
}
