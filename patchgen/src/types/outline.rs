//! What one unit declares, as far as reports need it: members of its aggregates by place, and where its functions begin in the source.

use super::name;
use super::shape::Shapes;
use crate::addr::Svma;
use crate::dwarf::die::{Home, Node, is_aggregate};
use crate::dwarf::vars::{View, text};
use crate::dwarf::{DebugInfo, DieRef, Reading, UnitId};
use crate::image::ImageError;
use gimli::constants as dw;
use std::collections::{BTreeMap, BTreeSet};

/// Pointers, references and arrays that are followed from a variable to what it is about.
const POINTERS: u32 = 8;

/// A function's declaration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Declared {
    /// As [`DebugInfo::line_of`] names files.
    pub file: String,
    pub line: u32,
    pub name: String,
}

#[derive(Clone, Default, Debug)]
pub struct Outline {
    /// Offset in bytes and name of each member, by the aggregate's name.
    pub members: BTreeMap<String, Vec<(u64, String)>>,
    /// Ascending.
    pub functions: Vec<Declared>,
    /// Names of the functions that have code, by entry.
    pub entries: BTreeMap<Svma, String>,
    /// Aggregates that a function's parameters and variables are of or point to, by the function's name.
    pub touched: BTreeMap<String, BTreeSet<String>>,
}

impl Outline {
    /// The function whose text the line is in: the last that begins before it.
    pub fn function_at(&self, file: &str, line: u32) -> Option<&str> {
        let before = self.functions.partition_point(|d| (d.file.as_str(), d.line) <= (file, line));
        let found = self.functions.get(before.checked_sub(1)?)?;
        (found.file == file).then_some(found.name.as_str())
    }
}

/// Reads one unit; nothing of it is kept.
///
/// # Errors
/// When its debug information is damaged.
pub fn outline(info: &DebugInfo<'_>, unit: UnitId) -> Result<Outline, ImageError> {
    let table = info.read_table(unit.0).map_err(|e| crate::dwarf::malformed(info.path(), e))?;
    let view = View { info, unit: unit.0, local: &table, reading: Reading::Full };
    let mut shapes = Shapes::new(view);
    let mut out = Outline::default();
    for (index, node) in table.nodes.iter().enumerate() {
        let at = DieRef { unit: unit.0, offset: node.offset };
        match node.tag {
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type if !node.declaration => {
                if let Some(name) = name::qualified(&view, at) {
                    members(&mut shapes, name, at, &mut out);
                }
            }
            dw::DW_TAG_typedef => {
                let bare = shapes.bare(node.ty);
                if let Some(bare) = bare.filter(|b| is_aggregate(b.node().tag) && b.node().name.is_empty()) {
                    members(&mut shapes, text(node.name), bare.at, &mut out);
                }
            }
            dw::DW_TAG_subprogram => {
                let Some((from, declared)) = view.declared(at) else { continue };
                if declared.line == 0 || declared.name.is_empty() {
                    continue;
                }
                let file = info.file_name(from.unit, declared.file).unwrap_or_default();
                let name = text(declared.name);
                let inside = table.nodes.get(index + 1..node.end as usize).unwrap_or_default();
                let variables =
                    inside.iter().filter(|n| matches!(n.tag, dw::DW_TAG_formal_parameter | dw::DW_TAG_variable));
                let touched = variables.filter_map(|n| aggregate(&mut shapes, &view, unit, n));
                out.touched.entry(name.clone()).or_default().extend(touched);
                if let Some(Home::At(entry)) = node.home.filter(|_| node.code) {
                    out.entries.insert(entry, name.clone());
                }
                out.functions.push(Declared { file, line: declared.line, name });
            }
            _ => {}
        }
    }
    out.functions.sort();
    out.functions.dedup();
    Ok(out)
}

/// Name of the aggregate that a variable is, or points to at any distance.
fn aggregate(shapes: &mut Shapes<'_, '_>, view: &View<'_, '_>, unit: UnitId, variable: &Node<'_>) -> Option<String> {
    // The concrete copy of a function that is also inlined has its types on the abstract one.
    let own = DieRef { unit: unit.0, offset: variable.offset };
    let mut ty = variable.ty.or_else(|| view.declared(own)?.1.ty);
    for _ in 0..POINTERS {
        let bare = shapes.bare(ty)?;
        if is_aggregate(bare.node().tag) {
            let alias = || Some(text(view.node(bare.alias?)?.name));
            return name::qualified(view, bare.at).or_else(alias);
        }
        ty = bare.node().ty;
    }
    None
}

fn members(shapes: &mut Shapes<'_, '_>, name: String, at: DieRef, out: &mut Outline) {
    let fields = shapes.fields(at, 0).into_iter();
    let list: Vec<(u64, String)> = fields.filter_map(|f| Some((f.at? / 8, f.name))).collect();
    if !list.is_empty() {
        out.members.entry(name).or_insert(list);
    }
}
