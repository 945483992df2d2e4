//! Variables at fixed places, with the scopes that enclose them.

use super::die::{Home, NONE, Node, Reading, Table};
use super::{DebugInfo, DieRef, UnitId};
use crate::addr::Svma;
use crate::image::ImageError;
use gimli::constants as dw;
use rayon::prelude::*;

/// A variable that lives at a fixed address or in the TLS block.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Variable {
    pub name: String,
    /// As the symbol table has it, where that differs (C++).
    pub linkage_name: Option<String>,
    pub unit: UnitId,
    /// Namespaces, classes and functions around it, outermost first; lexical blocks don't count.
    pub scope: Vec<String>,
    /// Whether a function encloses it: a static local.
    pub in_function: bool,
    pub external: bool,
    /// Its address, or with `tls` its offset in the block.
    pub svma: Svma,
    pub tls: bool,
    /// Line of its declaration, 0 where not known.
    pub line: u32,
    /// In DIE order of its unit: tells variables of one name and scope apart.
    pub order: u32,
}

/// A static local variable.
pub type StaticLocal = Variable;

impl<'i> DebugInfo<'i> {
    /// All variables at fixed places, in order of unit and entry.
    pub fn variables(&self) -> Result<Vec<Variable>, ImageError> {
        let found: gimli::Result<Vec<Vec<Variable>>> =
            (0..self.units.len() as u32).into_par_iter().map(|unit| self.unit_variables(unit)).collect();
        Ok(found.map_err(|e| super::malformed(self.path(), e))?.concat())
    }

    /// Those that a function encloses.
    pub fn static_locals(&self) -> Result<Vec<StaticLocal>, ImageError> {
        let mut all = self.variables()?;
        all.retain(|v| v.in_function);
        Ok(all)
    }

    fn unit_variables(&self, unit: u32) -> gimli::Result<Vec<Variable>> {
        if !self.units[unit as usize].full {
            return Ok(Vec::new());
        }
        let table = self.read_table(unit)?;
        let mut out = Vec::new();
        View { info: self, unit, local: &table, reading: Reading::Full }.variables(unit, &mut out);
        for part in self.imported(&table, Reading::Full) {
            View::kept(self, part, Reading::Full).variables(unit, &mut out);
        }
        Ok(out)
    }
}

impl View<'_, '_> {
    /// Variables at fixed places in this unit, which `of` imports or is.
    pub(crate) fn variables(&self, of: u32, out: &mut Vec<Variable>) {
        for (i, node) in self.local.tagged(|tag| tag == dw::DW_TAG_variable) {
            let Some(home) = node.home else { continue };
            let (svma, tls) = match home {
                Home::At(a) => (a, false),
                Home::Tls(offset) => (Svma(offset), true),
            };
            let here = DieRef { unit: self.unit, offset: node.offset };
            let Some((scope, in_function)) = self.scope(here) else { continue };
            let Some((_, decl)) = self.declared(here) else { continue };
            let linkage = [node, decl].map(|n| n.linkage.bytes());
            out.push(Variable {
                name: text(decl.name.bytes()),
                linkage_name: linkage.into_iter().find(|l| !l.is_empty()).map(text),
                unit: UnitId(of),
                scope,
                in_function,
                external: node.external || decl.external,
                svma,
                tls,
                line: if node.line != 0 { node.line } else { decl.line },
                order: i,
            });
        }
    }
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Entries of the unit at hand (its table isn't kept) and of those that it refers to (kept).
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'a, 'i> {
    pub info: &'a DebugInfo<'i>,
    pub unit: u32,
    pub local: &'a Table<'i>,
    /// How much of `local` and other units is read.
    pub reading: Reading,
}

impl<'a, 'i> View<'a, 'i> {
    /// Of a unit whose entries are kept.
    pub fn kept(info: &'a DebugInfo<'i>, unit: u32, reading: Reading) -> View<'a, 'i> {
        View { info, unit, local: info.table(unit, reading), reading }
    }

    pub fn table(&self, unit: u32) -> &'a Table<'i> {
        if unit == self.unit { self.local } else { self.info.table(unit, self.reading) }
    }

    pub fn get(&self, at: DieRef) -> Option<(&'a Table<'i>, u32)> {
        let table = self.table(at.unit);
        Some((table, table.at(at.offset)?))
    }

    pub fn node(&self, at: DieRef) -> Option<&'a Node<'i>> {
        self.get(at).map(|(t, i)| t.node(i))
    }

    /// Follows specifications and abstract origins to the entry that has the name.
    pub fn declared(&self, at: DieRef) -> Option<(DieRef, &'a Node<'i>)> {
        let mut at = at;
        for _ in 0..8 {
            let node = self.node(at)?;
            if !node.name.is_empty() {
                return Some((at, node));
            }
            at = node.origin?;
        }
        None
    }

    /// Names of what encloses the declaration of `at`, outermost first, and whether a function is among it.
    pub fn scope(&self, at: DieRef) -> Option<(Vec<String>, bool)> {
        let (mut names, mut in_function) = (Vec::new(), false);
        let mut at = at;
        // Chains of scopes and origins are short; the bound ends cycles in damaged input.
        'up: for _ in 0..64 {
            // Where a name was declared decides, as definitions outside of classes and inlined copies lie elsewhere.
            for _ in 0..8 {
                match self.node(at)?.origin {
                    Some(origin) if self.node(origin).is_some() => at = origin,
                    _ => break,
                }
            }
            let (table, i) = self.get(at)?;
            let parent = table.node(i).parent;
            if parent == NONE {
                break 'up;
            }
            let outer = table.node(parent);
            at = DieRef { unit: at.unit, offset: outer.offset };
            let name = || self.declared(at).map(|(_, n)| text(n.name.bytes()));
            match outer.tag {
                dw::DW_TAG_namespace | dw::DW_TAG_module => {
                    names.push(name().unwrap_or_else(|| "(anonymous namespace)".into()));
                }
                dw::DW_TAG_subprogram => {
                    in_function = true;
                    names.push(name().unwrap_or_else(|| "(unnamed function)".into()));
                }
                // Compilers keep or drop blocks as they like.
                dw::DW_TAG_lexical_block => {}
                tag if super::die::is_aggregate(tag) || tag == dw::DW_TAG_enumeration_type => {
                    names.push(name().unwrap_or_else(|| "(unnamed)".into()));
                }
                _ => break 'up,
            }
        }
        names.reverse();
        Some((names, in_function))
    }
}
