//! Indirect functions (STT_GNU_IFUNC): their resolver ran when the process started and doesn't run again.

use super::initialisers::{reached, starters};
use super::{Context, Findings};
use crate::addr::FuncId;
use crate::diag::Severity;
use crate::image::{DynReloc, Image, SymbolKind};
use crate::lift::Lifted;
use patchfmt::codes;
use std::collections::BTreeSet;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let (before, after) = (resolvers(a.old_image, a.old), resolvers(a.new_image, a.new));
    if before.is_empty() && after.is_empty() {
        return;
    }
    let reached = reached(a, after.iter(), |_| true);
    // Worked out only where it is asked for: most changes are nowhere near.
    let mut only = None;
    for (old, new, _) in context.set.changed() {
        let name = &a.new.functions[new.index()].name;
        let (severity, message) = if after.contains(&new) {
            (Severity::Refuse, format!("`{name}` chooses an implementation when the program starts, and changed"))
        } else if before.contains(&old) {
            let message = "chose an implementation when the program started, and is a plain function now: who was told the choice keeps it";
            (Severity::Refuse, format!("`{name}` {message}"))
        } else if only.get_or_insert_with(|| starters(a, &after)).contains(&new) {
            let message = "changed, and runs only while an implementation is chosen, which isn't done again";
            (Severity::Refuse, format!("`{name}` {message}"))
        } else if reached.contains(&new) {
            let message = "changed, and took part when an implementation was chosen, which isn't done again";
            (Severity::Review, format!("`{name}` {message}"))
        } else {
            continue;
        };
        findings.add(severity, codes::IFUNC_RESOLVER, name, message);
    }
}

/// Functions that the dynamic linker calls for what they return.
fn resolvers(image: &Image, lifted: &Lifted) -> BTreeSet<FuncId> {
    let named = |id: usize| lifted.functions[id].names.iter().any(|&s| image.symbol(s).kind == SymbolKind::IFunc);
    let mut out: BTreeSet<FuncId> = (0..lifted.functions.len()).filter(|&id| named(id)).map(FuncId::from).collect();
    // Those without a symbol.
    out.extend(image.dynamic.values().filter_map(|reloc| match reloc {
        DynReloc::Irelative { resolver } => lifted.func_at.get(resolver).copied(),
        _ => None,
    }));
    out
}
