//! Hashes of names and shapes. They are compared between the two builds of one run and never stored.

use crate::dwarf::die::{NONE, is_aggregate};
use crate::dwarf::vars::View;
use crate::dwarf::{DieRef, Table};
use foldhash::quality::{FixedState, FoldHasher};
use gimli::constants as dw;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, Hasher as _};

/// Never 0, which stands for "not known yet".
pub(super) fn hash_of(f: impl FnOnce(&mut FoldHasher<'static>)) -> u64 {
    let mut h = FixedState::default().build_hasher();
    f(&mut h);
    h.finish().max(1)
}

pub(super) fn of_bytes(bytes: &[u8]) -> u64 {
    hash_of(|h| h.write(bytes))
}

/// The key of `name` inside what has the key `scope`; of the name alone at the top.
pub(super) fn inside(scope: u64, name: u64) -> u64 {
    if scope == TOP {
        return name;
    }
    hash_of(|h| {
        h.write_u64(scope);
        h.write_u64(name);
    })
}

/// Key of what no scope encloses.
pub(super) const TOP: u64 = 1;

/// Values by entry: a dense list for the unit at hand.
#[derive(Debug)]
pub(super) struct Memo {
    unit: u32,
    local: Vec<u64>,
    foreign: HashMap<DieRef, u64, foldhash::fast::FixedState>,
}

impl Memo {
    pub fn new(view: &View<'_, '_>) -> Memo {
        Memo { unit: view.unit, local: vec![0; view.local.nodes.len()], foreign: HashMap::default() }
    }

    /// `index` is that of `at` in its unit's table.
    pub fn get(&self, at: DieRef, index: u32) -> Option<u64> {
        if at.unit == self.unit {
            self.local.get(index as usize).copied().filter(|&v| v != 0)
        } else {
            self.foreign.get(&at).copied()
        }
    }

    pub fn set(&mut self, at: DieRef, index: u32, value: u64) {
        if at.unit != self.unit {
            self.foreign.insert(at, value);
        } else if let Some(slot) = self.local.get_mut(index as usize) {
            *slot = value;
        }
    }
}

/// Deeper nesting than this is damage.
const DEPTH: u32 = 64;

/// Keys of scopes: of what is directly inside an entry.
#[derive(Debug)]
pub(super) struct Scopes(Memo);

impl Scopes {
    pub fn new(view: &View<'_, '_>) -> Scopes {
        Scopes(Memo::new(view))
    }

    /// Key of the qualified name: equal where [`super::name::qualified`] is. None for what has no name.
    pub fn key(&mut self, view: &View<'_, '_>, at: DieRef) -> Option<u64> {
        let (at, node) = view.declared(at)?;
        let scope = self.around(view, at, 0)?;
        Some(inside(scope, of_bytes(node.name.bytes())))
    }

    /// Key of the scope around the declaration of `at`.
    pub fn around(&mut self, view: &View<'_, '_>, at: DieRef, depth: u32) -> Option<u64> {
        let mut at = at;
        for _ in 0..8 {
            match view.node(at)?.origin {
                Some(origin) if view.node(origin).is_some() => at = origin,
                _ => break,
            }
        }
        let (table, i) = view.get(at)?;
        let parent = table.node(i).parent;
        if parent == NONE || depth > DEPTH {
            return Some(TOP);
        }
        self.within(view, table, at.unit, parent, depth)
    }

    fn within(&mut self, view: &View<'_, '_>, table: &Table<'_>, unit: u32, outer: u32, depth: u32) -> Option<u64> {
        let node = table.node(outer);
        let here = DieRef { unit, offset: node.offset };
        if let Some(known) = self.0.get(here, outer) {
            return Some(known);
        }
        let default: &[u8] = match node.tag {
            dw::DW_TAG_namespace | dw::DW_TAG_module => b"(anonymous namespace)",
            dw::DW_TAG_subprogram => b"(unnamed function)",
            dw::DW_TAG_lexical_block => b"",
            tag if is_aggregate(tag) || tag == dw::DW_TAG_enumeration_type => b"(unnamed)",
            _ => return Some(TOP),
        };
        let scope = self.around(view, here, depth + 1)?;
        let key = match node.tag {
            dw::DW_TAG_lexical_block => scope,
            _ => inside(scope, of_bytes(view.declared(here).map_or(default, |(_, n)| n.name.bytes()))),
        };
        self.0.set(here, outer, key);
        Some(key)
    }
}
