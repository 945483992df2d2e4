//! `--dump PHASE`: what a phase found, as text that is the same for the same builds. Tests compare it with what was seen to be right;
//! people read it where a result surprises. Addresses are svma; offsets and sizes are in bytes, hexadecimal.

use super::function;
use crate::addr::{DataId, FuncId, SvmaRange};
use crate::compare::text;
use crate::correlate::{Pair, Side};
use crate::image::Image;
use crate::include::Role;
use crate::lift::{Data, DataKind, Function, Lifted};
use crate::link::{Definition, Out, OutSection};
use crate::pipeline::{Compared, Opened, Plan};
use std::fmt::Write as _;

/// The phases that can be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Phase {
    Image,
    Lift,
    Types,
    Correlate,
    Compare,
    Include,
    Check,
    Link,
}

/// The phase's value for one pair of builds.
#[must_use]
pub fn dump(phase: Phase, compared: &Compared<'_>, plan: &Plan) -> String {
    let mut out = String::new();
    let builds = [("old", &compared.old), ("new", &compared.new)];
    match phase {
        Phase::Image => builds.map(|(which, build)| image(which, build.image, &mut out)).into_iter().collect(),
        Phase::Lift => builds.map(|(which, build)| lifted(which, build, &mut out)).into_iter().collect(),
        Phase::Types => types(compared, &mut out),
        Phase::Correlate => correlation(compared, &mut out),
        Phase::Compare => changes(compared, &mut out),
        Phase::Include => included(compared, plan, &mut out),
        Phase::Check => findings(plan, &mut out),
        Phase::Link => linked(plan, &mut out),
    }
    out
}

/// Adds a line; a `String` takes every one.
macro_rules! line {
    ($out:expr, $($text:tt)*) => { writeln!($out, $($text)*).unwrap_or_default() };
}

fn image(which: &str, image: &Image, out: &mut String) {
    line!(out, "{which} image: {:?}, entry {}", image.kind, image.entry);
    for s in image.sections.iter().filter(|s| s.range.size() > 0) {
        line!(out, "  section {} {:?} {} size {:#x}", s.name, s.kind, s.range.start, s.range.size());
    }
    for s in &image.symbols {
        line!(out, "  symbol {} {:?} {:?} {} size {:#x}", s.name, s.kind, s.binding, s.svma, s.size);
    }
    for i in &image.imports {
        line!(out, "  import {}{}", i.name, i.version.as_deref().map(|v| format!("@{v}")).unwrap_or_default());
    }
    for (at, relocation) in &image.dynamic {
        line!(out, "  relocation {at} {relocation:?}");
    }
    for f in &image.fdes {
        line!(out, "  frame {} size {:#x}", f.range.start, f.range.size());
    }
}

fn side<'d>(build: &Opened<'d>) -> Side<'d> {
    Side { image: build.image, lifted: build.lifted }
}

fn lifted(which: &str, build: &Opened<'_>, out: &mut String) {
    line!(out, "{which} functions");
    for f in &build.lifted.functions {
        code(side(build), f, out);
    }
    line!(out, "{which} data");
    for d in &build.lifted.data {
        datum(build, d, out);
    }
}

fn code(side: Side<'_>, f: &Function, out: &mut String) {
    let size: u64 = f.parts.iter().map(SvmaRange::size).sum();
    let opaque = if f.opaque { ", opaque" } else { "" };
    line!(
        out,
        "  {}: {} parts, size {size:#x}, {} instructions{opaque}",
        text::function(f),
        f.parts.len(),
        f.insns.len()
    );
    for r in &f.refs {
        let doubt = if r.certain { "" } else { " ?" };
        let other = if r.alternatives.is_empty() { "" } else { " or another" };
        line!(
            out,
            "    part {}+{:#x} {:?} -> {}{other}{doubt}",
            r.part,
            r.insn,
            r.field,
            text::target(side, f, &r.target)
        );
    }
    for (i, table) in f.tables.iter().enumerate() {
        let entries: Vec<String> = table.entries.iter().map(|(part, offset)| format!("{part}+{offset:#x}")).collect();
        line!(out, "    jump table {i} {:?}: {}", table.field, entries.join(" "));
    }
    for u in &f.unprovable {
        line!(out, "    HP{:04} at {}: {}", u.code, u.at, u.what);
    }
}

/// A name that doesn't depend on where the linker put it, as far as there is one.
fn data_name(build: &Opened<'_>, d: &Data) -> String {
    match d.kind {
        DataKind::Named => d.name.clone(),
        DataKind::String => {
            format!("{:?}", String::from_utf8_lossy(build.image.c_str(d.range.start).unwrap_or_default()))
        }
        kind => format!("{kind:?} at {}", d.range.start),
    }
}

fn datum(build: &Opened<'_>, d: &Data, out: &mut String) {
    line!(out, "  {}: {:?} {:?} size {:#x}", data_name(build, d), d.kind, d.section, d.range.size());
    for r in &d.refs {
        line!(out, "    +{:#x} {:?} -> {}", r.at, r.field, text::data_target(side(build), &r.target));
    }
}

fn types(c: &Compared<'_>, out: &mut String) {
    let Some(types) = &c.types else {
        line!(out, "no debug information");
        return;
    };
    line!(out, "{} declarations compared", types.compared);
    for layout in &types.layouts {
        line!(
            out,
            "  layout {}: same storage {}, {:?}",
            layout.name,
            layout.same_storage,
            c.instances.get(&layout.name)
        );
    }
    for change in &types.enums {
        line!(out, "  enumeration {change:?}");
    }
    for change in &types.prototypes {
        line!(out, "  prototype {change:?}");
    }
    for change in &types.variables {
        line!(out, "  variable {change:?}");
    }
}

fn correlation(c: &Compared<'_>, out: &mut String) {
    let name = |l: &Lifted, f: FuncId| text::function(&l.functions[f.index()]);
    let data = |build: &Opened<'_>, d: DataId| data_name(build, &build.lifted.data[d.index()]);
    for Pair { old, new, why } in c.pairs.func_to_old.iter().flatten() {
        line!(out, "function {} = {} ({why:?})", name(c.old.lifted, *old), name(c.new.lifted, *new));
    }
    for Pair { old, new, why } in c.pairs.data_to_old.iter().flatten() {
        line!(out, "data {} = {} ({why:?})", data(&c.old, *old), data(&c.new, *new));
    }
    for (code, symbol) in &c.pairs.ambiguous {
        line!(out, "HP{code:04} {symbol}");
    }
}

fn changes(c: &Compared<'_>, out: &mut String) {
    let name = |l: &Lifted, f: FuncId| text::function(&l.functions[f.index()]);
    let data = |build: &Opened<'_>, d: DataId| data_name(build, &build.lifted.data[d.index()]);
    line!(out, "same {}", c.changes.same);
    for f in &c.changes.changed {
        line!(out, "changed {}: {} {}", name(c.new.lifted, f.new), f.cause.word(), f.detail);
        for edit in f.edits.iter().flatten() {
            line!(out, "  part {}+{:#x} = {:02x?}", edit.part, edit.offset, edit.bytes);
        }
    }
    for f in &c.changes.new_funcs {
        line!(out, "new function {}", name(c.new.lifted, *f));
    }
    for f in &c.changes.gone_funcs {
        line!(out, "gone function {}", name(c.old.lifted, *f));
    }
    for d in &c.changes.data_changed {
        line!(out, "changed data {}: {:?}", data(&c.new, d.new), d.diff);
    }
    for d in &c.changes.new_data {
        line!(out, "new data {}", data(&c.new, *d));
    }
    for d in &c.changes.gone_data {
        line!(out, "gone data {}", data(&c.old, *d));
    }
}

fn included(c: &Compared<'_>, plan: &Plan, out: &mut String) {
    let name = |f: FuncId| text::function(&c.new.lifted.functions[f.index()]);
    let data = |d: DataId| data_name(&c.new, &c.new.lifted.data[d.index()]);
    let set = &plan.set;
    for (f, role) in &set.functions {
        match role {
            Role::Replaces(_, cause) => line!(out, "replaces {} ({})", name(*f), cause.word()),
            Role::New => line!(out, "brings {}", name(*f)),
        }
    }
    for f in &set.in_place {
        line!(out, "edits {} ({}), {} places", name(f.new), f.cause.word(), f.edits.len());
    }
    for f in &set.idle {
        line!(out, "idle {} ({})", text::function(&c.old.lifted.functions[f.old.index()]), f.cause.word());
    }
    for d in &set.data {
        line!(out, "carries {}{}", data(*d), if set.moved.contains(d) { ", moved" } else { "" });
    }
    for edit in &set.edits {
        line!(out, "overwrites {}", data(edit.new));
    }
    for slot in &set.slots {
        line!(out, "slot {}", function::slot(c, slot));
    }
    for stub in &set.stubs {
        line!(out, "stub {}", c.new.image.import(*stub).name);
    }
    line!(out, "references {} proven, {} refused", set.references.proven, set.references.refused);
}

fn findings(plan: &Plan, out: &mut String) {
    for f in plan.findings.iter().rev() {
        line!(out, "{:?} HP{:04} {}: {}", f.severity, f.code, f.symbol, f.message);
    }
}

fn linked(plan: &Plan, out: &mut String) {
    let patch = &plan.patch;
    let symbol = |index: u32| patch.symbols.get(index as usize).map_or("?", |s| s.name.as_str());
    for (name, section) in &patch.sections {
        let OutSection { size, relocs, .. } = section;
        line!(out, "section {} size {size:#x}", Out::name(*name));
        for r in relocs {
            let defined = patch.symbols.get(r.symbol as usize).map(|s| &s.definition);
            let of = match defined {
                Some(Definition::Section(out)) => out.name(),
                _ => symbol(r.symbol),
            };
            line!(out, "  +{:#x} {:?} {of} {:+}", r.offset, r.kind, r.addend);
        }
    }
    for s in &patch.symbols {
        line!(out, "symbol {} {:?}", s.name, s.definition);
    }
    for f in &patch.funcs {
        let stays = if f.idle { "idle in the stop" } else { "edited in place" };
        let how = f.symbol.map_or(stays.to_owned(), |s| format!("replaced by {}", symbol(s)));
        line!(
            out,
            "function {} at {}, window {}, {how}; {} return sites",
            f.name,
            f.entry,
            f.window,
            f.return_sites.len()
        );
    }
    for e in &patch.edits {
        line!(out, "edit {} at {} size {:#x}", e.name, e.at, e.size);
    }
    for g in &patch.guards {
        line!(out, "guard {} at {} size {:#x}", g.name, g.range.start, g.range.size());
    }
}
