//! Types: layouts, enumerators and prototypes that differ between the builds (DWARF 5, chapters 3 and 5).

use super::{Context, Findings};
use crate::diag::Severity;
use crate::types::TypeDiff;
use patchfmt::codes;
use std::collections::BTreeSet;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let Some(types) = context.types else { return };
    layouts(types, findings);
    enums(types, findings);
    prototypes(context, types, findings);
}

fn layouts(types: &TypeDiff, findings: &mut Findings) {
    for change in &types.layouts {
        let mut message = format!("`{}`: {}", change.name, change.detail);
        if change.ambiguous {
            message.push_str("; several types have this name");
        }
        let code = if change.only_vtable { codes::VTABLE } else { codes::STRUCT_LAYOUT };
        findings.at(Severity::Start, code, &change.name, change.place.clone(), message);
    }
}

fn enums(types: &TypeDiff, findings: &mut Findings) {
    for change in &types.enums {
        let list =
            |items: &[(String, i64)]| items.iter().map(|(n, v)| format!("{n} = {v}")).collect::<Vec<_>>().join(", ");
        let mut parts = Vec::new();
        if !change.changed.is_empty() {
            let values: Vec<String> = change.changed.iter().map(|(n, a, b)| format!("{n}: {a} -> {b}")).collect();
            parts.push(format!("other values: {}", values.join(", ")));
        }
        if !change.removed.is_empty() {
            parts.push(format!("gone: {}", list(&change.removed)));
        }
        if !change.added.is_empty() {
            parts.push(format!("added: {}", list(&change.added)));
        }
        let severity = if change.only_added() { Severity::Note } else { Severity::Review };
        let name = if change.name.is_empty() { "enum without a name" } else { &change.name };
        let message = format!("`{name}`: {}", parts.join("; "));
        findings.at(severity, codes::ENUM_VALUE, name, change.place.clone(), message);
    }
}

fn prototypes(context: Context<'_>, types: &TypeDiff, findings: &mut Findings) {
    let image = context.analysis.old_image;
    let exported: BTreeSet<&str> = image.symbols.iter().filter(|s| s.exported).map(|s| s.name.as_str()).collect();
    for change in &types.prototypes {
        let name = change.symbol.as_str();
        let message = format!("`{name}` was {} and is now {}", change.old, change.new);
        let severity = match exported.contains(name) {
            // Callers in other modules pass what the old one took.
            true => Severity::Refuse,
            false => Severity::Note,
        };
        findings.at(severity, codes::EXPORTED_PROTOTYPE, name, change.place.clone(), message);
    }
}
