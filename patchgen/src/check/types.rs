//! Types: layouts, enumerators and prototypes that differ between the builds (DWARF 5, chapters 3 and 5).

use super::{Context, Fate, Findings};
use crate::addr::{FuncId, Svma};
use crate::diag::Severity;
use crate::image::{ImageKind, SectionKind};
use crate::types::{EnumChange, LayoutChange, ProtoChange, Stored, TypeDiff, VarChange};
use patchfmt::codes;
use std::collections::BTreeSet;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    // Each list has a rule here: what only differs passes in silence otherwise.
    let Some(TypeDiff { layouts, enums, prototypes, variables, about: _, whole_program: _, compared: _ }) =
        context.types
    else {
        return;
    };
    layouts_changed(context, layouts, findings);
    enums_changed(enums, findings);
    prototypes_changed(context, prototypes, findings);
    variables_changed(context, variables, findings);
}

/// Reasons that are printed at most.
const REASONS: usize = 6;

fn layouts_changed(context: Context<'_>, layouts: &[LayoutChange], findings: &mut Findings) {
    for change in layouts {
        let mut message = format!("`{}`: {}", change.name, change.detail);
        if change.ambiguous {
            message.push_str("; several types have this name");
        }
        let code = if change.only_vtable { codes::VTABLE } else { codes::STRUCT_LAYOUT };
        let severity = match context.instances.get(&change.name) {
            _ if change.same_storage => {
                message.push_str("; what is stored where is the same");
                Severity::Note
            }
            Some(Fate::Unread) => {
                message.push_str("; no function that changed knows the type");
                Severity::Note
            }
            Some(Fate::Frames(_)) => {
                message.push_str("; instances are only in frames of functions that are replaced");
                Severity::Note
            }
            Some(Fate::Moved(_)) => {
                message.push_str(
                    "; instances are only in variables that move along, and in frames of functions that are replaced",
                );
                Severity::Note
            }
            Some(Fate::InPlace) => {
                message.push_str("; its vtables are rewritten in place");
                Severity::Note
            }
            Some(Fate::Alive(reasons)) => {
                message.push_str("; instances may be alive: ");
                message.push_str(&listed(reasons));
                Severity::Start
            }
            None => Severity::Start,
        };
        findings.at(severity, code, &change.name, change.place.clone(), message);
    }
}

fn listed(reasons: &BTreeSet<String>) -> String {
    let first: Vec<&str> = reasons.iter().take(REASONS).map(String::as_str).collect();
    match reasons.len().saturating_sub(REASONS) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

fn enums_changed(enums: &[EnumChange], findings: &mut Findings) {
    for change in enums {
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

fn prototypes_changed(context: Context<'_>, prototypes: &[ProtoChange], findings: &mut Findings) {
    let image = context.analysis.old_image;
    let exported: BTreeSet<&str> = image.symbols.iter().filter(|s| s.exported).map(|s| s.name.as_str()).collect();
    for change in prototypes {
        let name = change.symbol.as_str();
        let message = format!("`{name}` was {} and is now {}", change.old, change.new);
        let functions = context.analysis.old.functions.iter().enumerate().filter(|(_, f)| f.name == name);
        let stored = functions.map(|(i, _)| FuncId::from(i)).any(|f| context.calls.address_taken(f));
        let (severity, code) = match exported.contains(name) {
            _ if change.same_call => (Severity::Note, codes::EXPORTED_PROTOTYPE),
            // Callers in other modules pass what the old one took. A program linked with -rdynamic exports all that it has; whether it
            // loads modules that call it, its authors know.
            true if image.kind != ImageKind::Shared => (Severity::Review, codes::EXPORTED_PROTOTYPE),
            true => (Severity::Refuse, codes::EXPORTED_PROTOTYPE),
            false if stored => (Severity::Review, codes::STORED_PROTOTYPE),
            false => (Severity::Note, codes::EXPORTED_PROTOTYPE),
        };
        findings.at(severity, code, name, change.place.clone(), message);
    }
}

/// Variables that hold something else now: code that is new would read in its way what old code has put there.
fn variables_changed(context: Context<'_>, variables: &[VarChange], findings: &mut Findings) {
    let a = context.analysis;
    let moving: BTreeSet<Svma> =
        context.set.migrations.values().map(|m| a.old.data[m.old.index()].range.start).collect();
    let written = |at| matches!(a.old_image.kind_at(at), Some(SectionKind::Data | SectionKind::Bss));
    // Constants are compared by their content, with what it means.
    let holds = |c: &&VarChange| c.tls || (written(c.old_at) && !moving.contains(&c.old_at));
    for change in variables.iter().filter(|c| c.stored != Stored::Inside).filter(holds) {
        let (severity, bytes) = match change.stored {
            Stored::Same if !change.ambiguous => (Severity::Note, "what is stored where is the same"),
            _ => (Severity::Start, "what it holds has the old form"),
        };
        let several = if change.ambiguous { "; several variables have this name" } else { "" };
        let VarChange { name, old_type, new_type, .. } = change;
        let message = format!("`{name}` was {old_type} and is now {new_type}: {bytes}{several}");
        findings.at(severity, codes::STRUCT_LAYOUT, name, change.place.clone(), message);
    }
}
