//! What an address in an image denotes.

use super::data::Objects;
use super::indexed::Callees;
use super::space::Space;
use super::{Slot, Target, ThreadSlot};
use crate::addr::{DataId, FuncId, ImportId, Svma, SvmaRange, SymbolId};
use crate::image::{DynReloc, Image, ImageKind, SectionKind, SymbolKind};
use std::collections::HashMap;

/// Symbols that the link editor (or the C start-up objects on its behalf) defines: they denote places, not objects.
#[must_use]
pub fn is_linker_symbol(name: &str) -> bool {
    matches!(
        name,
        "_end"
            | "end"
            | "_edata"
            | "edata"
            | "_etext"
            | "etext"
            | "__etext"
            | "__bss_start"
            | "__bss_start__"
            | "_bss_end__"
            | "__bss_end__"
            | "__end__"
            | "__data_start"
            | "data_start"
            | "__dso_handle"
            | "__TMC_END__"
            | "__TMC_LIST__"
            | "_GLOBAL_OFFSET_TABLE_"
            | "_PROCEDURE_LINKAGE_TABLE_"
            | "_DYNAMIC"
            | "_TLS_MODULE_BASE_"
            | "__ehdr_start"
            | "__executable_start"
            | "__GNU_EH_FRAME_HDR"
            | "__FRAME_END__"
            | "__EH_FRAME_BEGIN__"
            | "__init_array_start"
            | "__init_array_end"
            | "__fini_array_start"
            | "__fini_array_end"
            | "__preinit_array_start"
            | "__preinit_array_end"
            | "__rela_iplt_start"
            | "__rela_iplt_end"
            | "__frame_dummy_init_array_entry"
            | "__do_global_dtors_aux_fini_array_entry"
    ) || name.starts_with("__start_")
        || name.starts_with("__stop_")
}

/// Thread-local variables by their offset in the module's block.
#[derive(Debug)]
pub(super) struct TlsMap {
    /// (offset, size, symbol), ascending.
    vars: Vec<(u64, u64, SymbolId)>,
    /// Size of the block as the thread pointer sees it: memory size rounded up to the alignment (psABI variant II).
    pub block: u64,
    /// The image has pairs or descriptors of its own block, which the dynamic linker fills in.
    pub dynamic: bool,
}

impl TlsMap {
    pub fn new(image: &Image) -> TlsMap {
        let mut vars: Vec<_> = image
            .symbols
            .iter()
            .enumerate()
            .filter(|(_, s)| s.kind == SymbolKind::Tls && !is_linker_symbol(&s.name))
            .map(|(i, s)| (s.svma.0, s.size, SymbolId::from(i)))
            .collect();
        vars.sort_unstable();
        let block = image.tls.map_or(0, |(_, size, align)| size.next_multiple_of(align.max(1)));
        let of_block =
            |r: &DynReloc| matches!(r, DynReloc::DtpMod { import: None } | DynReloc::TlsDesc { import: None, .. });
        TlsMap { vars, block, dynamic: image.dynamic.values().any(of_block) }
    }
    /// The variable at an offset in the block.
    pub fn at(&self, offset: i64) -> Option<SymbolId> {
        let i = self.vars.partition_point(|v| (v.0 as i64) <= offset);
        let &(start, ..) = self.vars[..i].last()?;
        // The first of the aliases is the canonical one.
        let first = self.vars.partition_point(|v| v.0 < start);
        let size = self.vars[first..i].iter().map(|v| v.1).max().unwrap_or(0);
        let within = offset - start as i64;
        ((within as u64) < size.max(1)).then(|| self.vars[first].2)
    }
    /// Bytes of the variable at the start of the block.
    pub fn size_at_start(&self) -> u64 {
        self.vars.iter().take_while(|v| v.0 == 0).map(|v| v.1).max().unwrap_or(0)
    }
    /// The variable at an offset from the thread pointer.
    pub fn at_tp(&self, tp_offset: i64) -> Option<SymbolId> {
        self.at(tp_offset.wrapping_add(self.block as i64))
    }
    /// Whether a variable begins at an offset from the thread pointer.
    pub fn starts_at_tp(&self, tp_offset: i64) -> bool {
        let at = tp_offset.wrapping_add(self.block as i64) as u64;
        self.vars.binary_search_by_key(&at, |v| v.0).is_ok()
    }
    /// A thread-pointer offset inside this module's block.
    pub fn is_tp_offset(&self, v: i64) -> bool {
        v < 0 && v >= -(self.block as i64)
    }
}

/// Which function holds an address.
#[derive(Debug)]
pub(super) struct CodeMap {
    /// Ascending by start.
    pub parts: Vec<(SvmaRange, FuncId, u8)>,
}

impl CodeMap {
    pub fn at(&self, a: Svma) -> Option<(FuncId, u8, u32)> {
        let mut i = self.parts.partition_point(|p| p.0.start <= a);
        // Overlapping (opaque) functions: the innermost that reaches so far.
        for _ in 0..8 {
            let &(range, func, part) = self.parts[..i].last()?;
            if range.contains(a) {
                return Some((func, part, (a.0 - range.start.0) as u32));
            }
            i -= 1;
        }
        None
    }
}

pub(super) struct Resolver<'a> {
    pub image: &'a Image,
    pub space: &'a Space,
    pub code: &'a CodeMap,
    pub objects: &'a Objects,
    pub tls: &'a TlsMap,
    pub labels: HashMap<Svma, &'a str>,
    /// Where a list ends that the linker knows the ends of, by address: the symbol there, and where the list begins.
    list_ends: HashMap<Svma, (&'a str, Svma)>,
    pub callees: Callees,
}

/// The symbol at the start of what ends at a linker's symbol.
fn start_of(end: &str) -> Option<String> {
    let section = end.strip_prefix("__stop_").map(|section| format!("__start_{section}"));
    let array =
        || end.starts_with("__").then(|| end.strip_suffix("_end").map(|array| format!("{array}_start"))).flatten();
    section.or_else(array)
}

impl<'a> Resolver<'a> {
    pub fn new(
        image: &'a Image,
        space: &'a Space,
        code: &'a CodeMap,
        objects: &'a Objects,
        tls: &'a TlsMap,
    ) -> Resolver<'a> {
        let mut labels = HashMap::new();
        for s in &image.symbols {
            if s.kind != SymbolKind::Tls && is_linker_symbol(&s.name) {
                let slot = labels.entry(s.svma).or_insert(s.name.as_str());
                // One name for one place, whatever the order of the symbol table.
                if s.name.as_str() < *slot {
                    *slot = &s.name;
                }
            }
        }
        let named: HashMap<&str, Svma> = image.symbols.iter().map(|s| (s.name.as_str(), s.svma)).collect();
        let end = |s: &'a crate::image::Symbol| {
            let start = *named.get(start_of(&s.name)?.as_str())?;
            (is_linker_symbol(&s.name) && start < s.svma).then_some((s.svma, (s.name.as_str(), start)))
        };
        let list_ends = image.symbols.iter().filter_map(end).collect();
        Resolver { image, space, code, objects, tls, labels, list_ends, callees: Callees::default() }
    }

    /// The symbol where a list ends, and where that begins: code that walks it takes both addresses.
    pub fn list_end(&self, a: Svma) -> Option<(&'a str, Svma)> {
        self.list_ends.get(&a).copied()
    }

    fn label(&self, a: Svma) -> Option<Target> {
        self.labels.get(&a).map(|n| Target::Linker((*n).into()))
    }

    /// What a computed or accessed address denotes.
    pub fn address(&self, a: Svma) -> Target {
        let Some(span) = self.space.at(a) else {
            return self.label(a).or_else(|| self.beside(a)).unwrap_or(Target::Unknown(a));
        };
        match span.kind {
            SectionKind::Plt => self.stub(a).unwrap_or(Target::Unknown(a)),
            SectionKind::Got => match self.labels.get(&a) {
                Some(&n) if n == "_GLOBAL_OFFSET_TABLE_" => Target::Linker(n.into()),
                _ => self.slot(a).map_or(Target::Unknown(a), Target::Slot),
            },
            SectionKind::Text => match self.code.at(a) {
                Some((func, part, offset)) => Target::Func { func, part, offset },
                None => self.in_data(a),
            },
            _ => self.in_data(a),
        }
    }

    /// The named object that ends where the linker put this symbol.
    pub fn ending_at_label(&self, name: &str) -> Option<(Svma, Svma, DataId)> {
        let at = self.labels.iter().filter(|(_, n)| **n == name).map(|(a, _)| *a).min()?;
        self.objects.ending_at(at)
    }

    fn in_data(&self, a: Svma) -> Target {
        let held = self.objects.holding(a).map(|(data, offset)| Target::Data { data, offset });
        held.or_else(|| self.label(a)).or_else(|| self.beside(a)).unwrap_or(Target::Unknown(a))
    }

    fn beside(&self, a: Svma) -> Option<Target> {
        self.objects.beside(a).map(|(data, offset)| Target::Data { data, offset })
    }

    fn stub(&self, a: Svma) -> Option<Target> {
        let i = self.image.plt.partition_point(|s| s.range.start <= a);
        let stub = self.image.plt[..i].last().filter(|s| s.range.start == a)?;
        match self.image.dynamic.get(&stub.slot) {
            Some(DynReloc::JumpSlot { import, .. }) => Some(Target::Import(*import)),
            Some(DynReloc::Symbol { import, addend: 0, .. }) => Some(Target::Import(*import)),
            _ => self.slot(stub.slot).map(Target::Slot),
        }
    }

    /// Content of the GOT slot at `a`.
    pub fn slot(&self, a: Svma) -> Option<Slot> {
        match self.image.dynamic.get(&a) {
            Some(r) => self.dynamic(a, r),
            None => {
                let word = i64::from_le_bytes(self.image.bytes(a, 8)?.try_into().ok()?);
                if self.image.kind != ImageKind::Shared && self.tls.is_tp_offset(word) {
                    let offset = word + self.tls.block as i64;
                    return Some(Slot::TpOff(self.thread(None, offset)));
                }
                if let Some(number) = self.image.number_in_slot(a) {
                    return Some(Slot::Number(number));
                }
                let fixed = self.image.kind == ImageKind::Exec && self.space.at(Svma(word as u64)).is_some();
                fixed.then(|| Slot::Address(Box::new(self.address(Svma(word as u64)))))
            }
        }
    }

    /// The pair of the variable at the start of the block.
    pub fn first_thread(&self) -> Slot {
        Slot::TlsGd(self.thread(None, 0))
    }

    fn thread(&self, import: Option<ImportId>, offset: i64) -> Box<ThreadSlot> {
        let symbol = if import.is_none() { self.tls.at(offset) } else { None };
        Box::new(ThreadSlot { import, symbol, offset })
    }

    /// What the dynamic linker puts at `a`.
    pub fn dynamic(&self, a: Svma, r: &DynReloc) -> Option<Slot> {
        Some(match r {
            DynReloc::Relative { target } => Slot::Address(Box::new(self.address(*target))),
            DynReloc::Symbol { import, addend, .. } => Slot::Import { import: *import, addend: *addend },
            DynReloc::JumpSlot { import, .. } => Slot::Import { import: *import, addend: 0 },
            DynReloc::Irelative { resolver } => Slot::Irelative(Box::new(self.address(*resolver))),
            DynReloc::TpOff { import, offset, .. } => Slot::TpOff(self.thread(*import, *offset)),
            DynReloc::TlsDesc { import, offset, .. } => Slot::TlsDesc(self.thread(*import, *offset)),
            DynReloc::DtpMod { import } => match (import, self.image.dynamic.get(&a.plus(8))) {
                (Some(i), _) => Slot::TlsGd(self.thread(Some(*i), 0)),
                (None, Some(DynReloc::DtpOff { import, offset, .. })) => Slot::TlsGd(self.thread(*import, *offset)),
                (None, Some(_)) => return None,
                (None, None) => {
                    let offset = i64::from_le_bytes(self.image.bytes(a.plus(8), 8)?.try_into().ok()?);
                    // A zero second word: the module's own pair, from which variables are reached by their offset, or that of the variable
                    // at offset 0. Code that passes the pair says which.
                    if offset == 0 { Slot::TlsLd } else { Slot::TlsGd(self.thread(None, offset)) }
                }
            },
            DynReloc::DtpOff { .. } | DynReloc::Copy { .. } | DynReloc::Other { .. } => return None,
        })
    }
}
