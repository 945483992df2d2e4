//! References from code against the relocations of code.

use crate::linker::{Reloc, SymbolKind, Want};
use crate::{Build, Report};
use patchgen::addr::{DataId, FuncId, Svma};
use patchgen::lift::{CodeRef, Field, Function, Slot, Target, is_linker_symbol};
use std::collections::{BTreeMap, HashSet};

/// A relaxed general-dynamic sequence has its field this many bytes behind the relocation; so has a call that became part of it.
const RELAXED_TLS: [i64; 3] = [0, 8, 9];

pub fn check(build: &Build, relocs: &[Reloc], report: &mut Report) {
    let mut refs: BTreeMap<u64, (FuncId, &CodeRef)> = BTreeMap::new();
    for (i, f) in build.lifted.functions.iter().enumerate() {
        for r in &f.refs {
            let start = f.parts[usize::from(r.part)].start.0;
            refs.insert(start + u64::from(r.field_at), (i.into(), r));
        }
    }
    let holders = holders(build);
    for r in relocs {
        let Some(&f) = holder(&holders, r.at) else {
            report.outside += 1;
            continue;
        };
        let function = &build.lifted.functions[f.index()];
        let refused = function.opaque || !function.unprovable.is_empty();
        report.sites += 1;
        let verdict = match r.want {
            Want::Thread | Want::ThreadBlock => thread(build, &refs, r),
            _ => match refs.get(&r.at) {
                _ if r.name == "__tls_get_addr" => Ok(()),
                Some((_, c)) => address(build, function, c, r),
                None if is_local(function, r.at) || is_void(build, r) => Ok(()),
                None => Err("missed".to_owned()),
            },
        };
        match verdict {
            Ok(()) => report.count(r.kind),
            Err(_) if refused => report.refused += 1,
            Err(_) if refs.get(&r.at).is_some_and(|(_, c)| is_left_open(build, c)) => report.open += 1,
            Err(why) => report.wrong(build, &function.name, r.at, &format!("{why}: {}", show(r))),
        }
    }
    invented(build, &refs, relocs, report);
}

/// Lifting says that another object may be meant, or no address at all: such a reference is bound only where the old version of the function
/// shows what it means, or where nothing moved.
fn is_left_open(build: &Build, c: &CodeRef) -> bool {
    let elsewhere =
        matches!(c.target, Target::Data { data, offset } if c.indexed && !build.lifted.is_start(data, offset));
    !c.certain || elsewhere
}

/// References that are said to be certain and have no relocation.
fn invented(build: &Build, refs: &BTreeMap<u64, (FuncId, &CodeRef)>, relocs: &[Reloc], report: &mut Report) {
    let known: HashSet<u64> = relocs.iter().flat_map(|r| [r.at, r.at + 8, r.at + 9]).collect();
    for (&at, (f, c)) in refs {
        // The assembler itself resolves distances within one section.
        let within = matches!(c.field, Field::Pc32 { .. } | Field::Pc8)
            && c.target_address(build).is_none_or(|t| same_section(build, at, t));
        if c.certain && !within && !known.contains(&at) {
            let function = &build.lifted.functions[f.index()];
            report.wrong(build, &function.name, at, &format!("invented: {:?}", c.target));
        } else if !c.certain {
            report.uncertain += 1;
        }
    }
}

fn same_section(build: &Build, a: u64, b: u64) -> bool {
    build.image.section_at(Svma(a)) == build.image.section_at(Svma(b))
}

trait Address {
    fn target_address(&self, build: &Build) -> Option<u64>;
}

impl Address for CodeRef {
    fn target_address(&self, build: &Build) -> Option<u64> {
        address_of(build, &self.target)
    }
}

pub fn address_of(build: &Build, target: &Target) -> Option<u64> {
    match target {
        Target::Func { func, part, offset } => {
            let f = &build.lifted.functions[func.index()];
            Some(f.parts.get(usize::from(*part))?.start.0 + u64::from(*offset))
        }
        Target::Data { data, offset } => Some(build.lifted.data[data.index()].range.start.offset(*offset).0),
        Target::Unknown(a) => Some(a.0),
        Target::Linker(name) => Some(build.image.symbols.iter().find(|s| *s.name == **name)?.svma.0),
        _ => None,
    }
}

fn holders(build: &Build) -> BTreeMap<u64, (u64, FuncId)> {
    let functions = build.lifted.functions.iter().enumerate();
    functions.flat_map(|(i, f)| f.parts.iter().map(move |p| (p.start.0, (p.end.0, FuncId::from(i))))).collect()
}

fn holder(holders: &BTreeMap<u64, (u64, FuncId)>, at: u64) -> Option<&FuncId> {
    holders.range(..=at).next_back().filter(|(_, (end, _))| at < *end).map(|(_, (_, f))| f)
}

/// In a branch within its function.
fn is_local(f: &Function, at: u64) -> bool {
    f.insns.iter().any(|i| {
        let start = f.parts[usize::from(i.part)].start.0 + u64::from(i.offset);
        i.local().is_some() && start < at && at < start + u64::from(i.len)
    })
}

/// What the linker resolved to plain zero: a weak symbol that isn't there.
fn is_void(build: &Build, r: &Reloc) -> bool {
    let imported = || build.image.imports.iter().any(|i| i.name == r.name);
    r.kind == SymbolKind::Undefined && !imported()
}

fn show(r: &Reloc) -> String {
    format!("{:?} {:?} `{}` {:#x} {:+}", r.want, r.kind, r.name, r.value, r.addend)
}

/// An address, or the slot that holds one.
fn address(build: &Build, f: &Function, c: &CodeRef, r: &Reloc) -> Result<(), String> {
    let addend = match c.field {
        Field::Pc32 { tail } => r.addend + i64::from(tail),
        Field::Pc8 => r.addend + 1,
        _ => r.addend,
    };
    if c.field.size() != usize::from(r.size) {
        return Err(format!("read as {:?}", c.field));
    }
    // Relocations of slots count from the field as well.
    let targets = std::iter::once(c.target.clone())
        .chain(c.alternatives.iter().map(|&(data, offset)| Target::Data { data, offset }));
    let mut seen = Vec::new();
    for t in targets {
        if means(build, f, &t, r, addend) {
            return Ok(());
        }
        seen.push(describe(build, &t));
    }
    Err(format!("read as {}{}", seen.join(" or "), if c.certain { "" } else { ", uncertain" }))
}

pub fn describe(build: &Build, t: &Target) -> String {
    match t {
        Target::Data { data, offset } => {
            let d = &build.lifted.data[data.index()];
            format!("{:?} `{}` {} {offset:+}", d.kind, d.name, d.range.start)
        }
        Target::Func { func, part, offset } => {
            format!("function `{}`.{part} +{offset:#x}", build.lifted.functions[func.index()].name)
        }
        other => format!("{other:?}"),
    }
}

/// Whether a target is the relocation's symbol plus addend.
pub fn means(build: &Build, f: &Function, t: &Target, r: &Reloc, addend: i64) -> bool {
    let at = r.value.wrapping_add_signed(addend);
    let exact = |start: Svma, offset: i64| match r.kind {
        // The assembler replaced a local symbol: only the place is known.
        SymbolKind::Section | SymbolKind::Label => start.offset(offset).0 == at,
        _ if is_linker_symbol(&r.name) => start.offset(offset).0 == at,
        SymbolKind::Undefined => false,
        _ => start.0 == r.value && offset == addend,
    };
    let import = |i: patchgen::addr::ImportId| build.image.import(i).name == r.name;
    match t {
        Target::Func { func, part, offset } => {
            let g = &build.lifted.functions[func.index()];
            g.parts.get(usize::from(*part)).is_some_and(|p| exact(p.start, i64::from(*offset)))
        }
        Target::Data { data, offset } => exact(data_start(build, *data), *offset),
        Target::Table(i) => f.tables.get(*i as usize).is_some_and(|t| t.at.0 == at),
        Target::Linker(name) => {
            let value = || build.image.symbols.iter().any(|s| *s.name == **name && s.svma.0 == at);
            (**name == *r.name && addend == 0) || value()
        }
        Target::Import(i) => import(*i) && addend == 0,
        Target::Slot(slot) => match slot {
            Slot::Import { import: i, addend: a } => import(*i) && *a == 0 && addend == 0,
            Slot::Address(inner) => means(build, f, inner, r, addend),
            Slot::Number(0) => r.kind == SymbolKind::Undefined,
            Slot::Number(n) => *n == r.value && addend == 0,
            Slot::Irelative(_) => r.kind == SymbolKind::IFunc && addend == 0,
            _ => false,
        },
        Target::Unknown(_) | Target::Tls { .. } => false,
    }
}

fn data_start(build: &Build, d: DataId) -> Svma {
    build.lifted.data[d.index()].range.start
}

/// A thread-local variable: found at the field, or where the relaxed sequence has it.
fn thread(build: &Build, refs: &BTreeMap<u64, (FuncId, &CodeRef)>, r: &Reloc) -> Result<(), String> {
    let found: Vec<&CodeRef> =
        RELAXED_TLS.iter().filter_map(|n| refs.get(&r.at.wrapping_add_signed(*n))).map(|(_, c)| *c).collect();
    if found.iter().any(|c| is_thread(build, &c.target, r)) {
        return Ok(());
    }
    // A relaxed local-dynamic sequence has no field left.
    if r.want == Want::ThreadBlock && !found.iter().any(|c| matches!(c.target, Target::Slot(_))) {
        return Ok(());
    }
    match found.first() {
        Some(c) => Err(format!("read as {}", describe(build, &c.target))),
        None => Err("missed".to_owned()),
    }
}

fn is_thread(build: &Build, t: &Target, r: &Reloc) -> bool {
    let own = |symbol: &Option<patchgen::addr::SymbolId>| {
        symbol.is_some_and(|s| {
            let s = build.image.symbol(s);
            match r.kind {
                SymbolKind::Section => true,
                _ => s.svma.0 == r.value && (r.kind == SymbolKind::Thread || s.name == r.name),
            }
        })
    };
    match t {
        Target::Tls { symbol, .. } => own(symbol),
        Target::Slot(Slot::TpOff(of) | Slot::TlsGd(of) | Slot::TlsDesc(of)) => match of.import {
            Some(i) => build.image.import(i).name == r.name,
            None => own(&of.symbol),
        },
        // A variable at the block's start has the block's address.
        Target::Slot(Slot::TlsLd) => r.want == Want::ThreadBlock || r.value == 0,
        _ => false,
    }
}
