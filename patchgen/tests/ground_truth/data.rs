//! Pointers in data, jump tables and tables of literals against the relocations of data.

use crate::code::{address_of, describe};
use crate::linker::{Reloc, Want};
use crate::{Build, Report};
use patchgen::addr::{DataId, Svma};
use patchgen::image::SectionKind;
use patchgen::lift::{Data, DataKind, DataRef, Field, Slot, Target};
use std::collections::{BTreeMap, HashMap, HashSet};

pub fn check(build: &Build, relocs: &[Reloc], report: &mut Report) {
    let tables = table_entries(build);
    let objects = by_address(build);
    for r in relocs {
        let kind = build.image.kind_at(Svma(r.at));
        let wanted =
            matches!(kind, Some(SectionKind::Rodata | SectionKind::Relro | SectionKind::Data | SectionKind::Text));
        if !wanted {
            report.outside += 1;
            continue;
        }
        if let Some(&(target, start)) = tables.get(&r.at) {
            report.sites += 1;
            let wanted = r.value.wrapping_add_signed(r.addend);
            // A distance counts from the table's start, the relocation from the entry.
            let wanted = if r.want == Want::Relative { wanted.wrapping_sub(r.at - start) } else { wanted };
            if target == wanted {
                report.count(r.kind);
            } else {
                report.wrong(build, "jump table", r.at, &format!("{target:#x} instead of {wanted:#x}"));
            }
            continue;
        }
        let holders = holding(build, &objects, r.at);
        if holders.is_empty() {
            report.outside += 1;
            continue;
        }
        for id in holders {
            report.sites += 1;
            let d = &build.lifted.data[id.index()];
            match word(build, d, r) {
                Ok(()) => report.count(r.kind),
                // What can't be carried needs no proof.
                Err(_) if d.open || !d.ambiguous.is_empty() => report.refused += 1,
                Err(why) => {
                    let name = format!("{:?} `{}` {}", d.kind, d.name, d.range.start);
                    report.wrong(build, &name, r.at, &format!("{why}: {:?} `{}` {:+}", r.kind, r.name, r.addend));
                }
            }
        }
    }
    invented(build, relocs, report);
}

/// Entries of the recovered jump tables: where each leads to, and its table's start.
fn table_entries(build: &Build) -> HashMap<u64, (u64, u64)> {
    let mut out = HashMap::new();
    for f in &build.lifted.functions {
        for t in &f.tables {
            for (k, &(part, offset)) in t.entries.iter().enumerate() {
                let at = t.at.0 + (k * t.field.size()) as u64;
                out.insert(at, (f.parts[usize::from(part)].start.0 + u64::from(offset), t.at.0));
            }
        }
    }
    out
}

fn by_address(build: &Build) -> BTreeMap<u64, Vec<DataId>> {
    let mut out: BTreeMap<u64, Vec<DataId>> = BTreeMap::new();
    for (i, d) in build.lifted.data.iter().enumerate() {
        if !matches!(d.section, SectionKind::Tbss | SectionKind::Tdata) {
            out.entry(d.range.start.0).or_default().push(i.into());
        }
    }
    out
}

/// The objects that would carry a place along.
fn holding(build: &Build, objects: &BTreeMap<u64, Vec<DataId>>, at: u64) -> Vec<DataId> {
    let near = objects.range(..=at).rev().take(64).flat_map(|(_, ids)| ids);
    near.copied().filter(|id| build.lifted.data[id.index()].range.contains(Svma(at))).collect()
}

fn word(build: &Build, d: &Data, r: &Reloc) -> Result<(), String> {
    let at = r.at - d.range.start.0;
    let here = |list: &[DataRef]| list.iter().find(|x| u64::from(x.at) == at).cloned();
    let Some(found) = here(&d.refs).or_else(|| here(&d.ambiguous)) else { return Err("missed".to_owned()) };
    let wanted = match found.field {
        Field::TableRel32 => r.value.wrapping_add_signed(r.addend).wrapping_sub(at),
        _ => r.value.wrapping_add_signed(r.addend),
    };
    let import = |i: patchgen::addr::ImportId| build.image.import(i).name == r.name;
    let same = match &found.target {
        Target::Import(i) => import(*i),
        Target::Slot(Slot::Import { import: i, addend }) => import(*i) && *addend == r.addend,
        Target::Slot(Slot::Irelative(_)) => true,
        t => address_of(build, t) == Some(wanted),
    };
    if same { Ok(()) } else { Err(format!("read as {}, not {wanted:#x}", describe(build, &found.target))) }
}

/// Pointers that are said to be some and have no relocation.
fn invented(build: &Build, relocs: &[Reloc], report: &mut Report) {
    let known: HashSet<u64> = relocs.iter().map(|r| r.at).collect();
    for d in build.lifted.data.iter().filter(|d| !matches!(d.section, SectionKind::Tbss | SectionKind::Got)) {
        for x in &d.refs {
            let at = d.range.start.0 + u64::from(x.at);
            let linker_made = build.image.dynamic_at(Svma(at)).is_some();
            if !known.contains(&at) && !linker_made && d.kind != DataKind::String {
                report.wrong(build, &d.name, at, &format!("invented: {}", describe(build, &x.target)));
            }
        }
        report.ambiguous += d.ambiguous.len();
    }
}
