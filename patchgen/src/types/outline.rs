//! What one unit declares, as far as reports need it: members of its aggregates by place, and where its functions begin in the source.

use super::hash::of_bytes;
use super::shape::{Label, Shapes};
use crate::addr::Svma;
use crate::dwarf::die::{Home, NONE, Node, Text, is_aggregate};
use crate::dwarf::vars::View;
use crate::dwarf::{DebugInfo, DieRef, Reading, Spare, UnitId};
use crate::image::ImageError;
use foldhash::fast::FixedState;
use gimli::constants as dw;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

type HashMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// Pointers, references and arrays that are followed from a variable to what it is about.
const POINTERS: u32 = 8;

/// An aggregate's name, by the hash of what [`super::name::qualified`] gives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TypeName(u64);

impl TypeName {
    #[must_use]
    pub fn of(qualified: &str) -> TypeName {
        TypeName(of_bytes(qualified.as_bytes()))
    }
}

/// A name with the scopes around it, put together when it is shown.
#[derive(Clone, Debug)]
struct Scoped<'i> {
    scope: Arc<str>,
    name: Text<'i>,
}

impl std::fmt::Display for Scoped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mark = if self.scope.is_empty() { "" } else { "::" };
        write!(f, "{}{mark}{}", self.scope, String::from_utf8_lossy(self.name.bytes()))
    }
}

/// A struct, class or union.
#[derive(Debug)]
pub struct Aggregate<'i> {
    name: Scoped<'i>,
    /// Offset in bytes and name of each member.
    members: Vec<(u64, Label<'i>)>,
}

impl<'i> Aggregate<'i> {
    /// The first member there.
    #[must_use]
    pub fn member_at(&self, offset: i64) -> Option<&Label<'i>> {
        let offset = u64::try_from(offset).ok()?;
        self.members.iter().find(|(at, _)| *at == offset).map(|(_, name)| name)
    }

    #[must_use]
    pub fn same_members(&self, other: &Aggregate<'_>) -> bool {
        self.members
            .iter()
            .map(|(at, name)| (at, name.key()))
            .eq(other.members.iter().map(|(at, name)| (at, name.key())))
    }

    #[must_use]
    pub fn name(&self) -> String {
        self.name.to_string()
    }
}

/// A function's declaration, by file and line.
#[derive(Clone, Copy, Debug)]
struct Declared<'i> {
    /// Index in [`Outline::files`].
    file: u32,
    line: u32,
    name: Text<'i>,
}

#[derive(Default, Debug)]
pub struct Outline<'i> {
    /// None where they weren't asked for.
    pub members: Option<HashMap<TypeName, Aggregate<'i>>>,
    /// As [`DebugInfo::line_of`] names files.
    files: HashMap<String, u32>,
    /// Ascending, one for each line: of several the last by name.
    functions: Vec<Declared<'i>>,
    /// Names of the functions that have code, by entry.
    pub entries: HashMap<Svma, &'i [u8]>,
    /// Aggregates that a function's parameters and variables are of or point to, by the function's name. Of those that were asked for.
    pub touched: HashMap<&'i [u8], HashSet<TypeName>>,
}

impl<'i> Outline<'i> {
    /// The function whose text the line is in: the last that begins before it.
    #[must_use]
    pub fn function_at(&self, file: &str, line: u32) -> Option<&'i [u8]> {
        let file = *self.files.get(file)?;
        let before = self.functions.partition_point(|d| (d.file, d.line) <= (file, line));
        let found = self.functions.get(before.checked_sub(1)?)?;
        (found.file == file).then(|| found.name.bytes())
    }
}

/// Reads one unit. Members on demand only, and what functions touch only of those that begin at one of `asked`.
///
/// # Errors
/// When its debug information is damaged.
pub(crate) fn outline<'i>(
    info: &DebugInfo<'i>,
    unit: UnitId,
    members: bool,
    asked: &BTreeSet<Svma>,
    spare: &Spare<'i>,
) -> Result<Outline<'i>, ImageError> {
    let outline = info.with_table(unit.0, Reading::Full, spare, |local| {
        read(View { info, unit: unit.0, local, reading: Reading::Full }, members, asked)
    });
    outline.map_err(|e| crate::dwarf::malformed(info.path(), e))
}

fn read<'i>(view: View<'_, 'i>, members: bool, asked: &BTreeSet<Svma>) -> Outline<'i> {
    let View { info, unit, local: table, .. } = view;
    let mut reader = Reader { shapes: Shapes::new(view), scopes: HashMap::default(), buffer: Vec::new() };
    let mut out = Outline { members: members.then(HashMap::default), ..Outline::default() };
    let mut files: HashMap<(u32, u32), u32> = HashMap::default();
    let mut declared_at: Vec<(u32, Text<'i>)> = Vec::new();
    let told = |tag| {
        let others = [dw::DW_TAG_class_type, dw::DW_TAG_union_type, dw::DW_TAG_typedef, dw::DW_TAG_subprogram];
        tag == dw::DW_TAG_structure_type || others.contains(&tag)
    };
    for (index, node) in table.tagged(told) {
        let at = DieRef { unit, offset: node.offset };
        match node.tag {
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type if !node.declaration => {
                if let Some(list) = &mut out.members
                    && let Some(name) = reader.qualified(at)
                {
                    reader.aggregate(name, at, list);
                }
            }
            dw::DW_TAG_typedef => {
                let Some(list) = &mut out.members else { continue };
                let bare = reader.shapes.bare(node.ty);
                if let Some(bare) = bare.filter(|b| is_aggregate(b.node().tag) && b.node().name.is_empty()) {
                    reader.aggregate(Scoped { scope: "".into(), name: node.name }, bare.at, list);
                }
            }
            dw::DW_TAG_subprogram => {
                let Some((from, declared)) = view.declared(at) else { continue };
                if declared.line == 0 || declared.name.is_empty() {
                    continue;
                }
                let next = out.files.len() as u32;
                let file = *files.entry((from.unit, declared.file)).or_insert_with(|| {
                    let name = info.file_name(from.unit, declared.file).unwrap_or_default();
                    *out.files.entry(name).or_insert(next)
                });
                if let Some(Home::At(entry)) = node.home.filter(|_| node.code) {
                    out.entries.insert(entry, declared.name.bytes());
                    if asked.contains(&entry) {
                        out.touched.entry(declared.name.bytes()).or_default();
                    }
                }
                if !asked.is_empty() {
                    declared_at.push((index, declared.name));
                }
                out.functions.push(Declared { file, line: declared.line, name: declared.name });
            }
            _ => {}
        }
    }
    for (index, name) in declared_at {
        let Some(touched) = out.touched.get_mut(name.bytes()) else { continue };
        let inside = table.nodes.get(index as usize + 1..table.node(index).end as usize).unwrap_or_default();
        let variables = inside.iter().filter(|n| matches!(n.tag, dw::DW_TAG_formal_parameter | dw::DW_TAG_variable));
        touched.extend(variables.filter_map(|n| reader.about(n)));
    }
    let place = |d: &Declared<'_>| (d.file, d.line);
    out.functions.sort_unstable_by(|a, b| place(a).cmp(&place(b)).then_with(|| b.name.bytes().cmp(a.name.bytes())));
    out.functions.dedup_by_key(|d| place(d));
    out
}

struct Reader<'a, 'i> {
    shapes: Shapes<'a, 'i>,
    /// Scopes as they are shown, by the entry that is one.
    scopes: HashMap<Option<DieRef>, Arc<str>>,
    buffer: Vec<u8>,
}

impl<'i> Reader<'_, 'i> {
    /// What [`super::name::qualified`] gives, in parts.
    fn qualified(&mut self, at: DieRef) -> Option<Scoped<'i>> {
        let view = self.shapes.view;
        let (mut at, node) = view.declared(at)?;
        for _ in 0..8 {
            match view.node(at)?.origin {
                Some(origin) if view.node(origin).is_some() => at = origin,
                _ => break,
            }
        }
        let (table, index) = view.get(at)?;
        let parent = table.node(index).parent;
        let outer = (parent != NONE).then(|| DieRef { unit: at.unit, offset: table.node(parent).offset });
        let scope = match self.scopes.get(&outer) {
            Some(known) => known.clone(),
            None => {
                let scope: Arc<str> = view.scope(at)?.0.join("::").into();
                self.scopes.entry(outer).or_insert(scope).clone()
            }
        };
        Some(Scoped { scope, name: node.name })
    }

    fn key(&mut self, name: &Scoped<'i>) -> TypeName {
        if name.scope.is_empty() {
            return TypeName(of_bytes(name.name.bytes()));
        }
        self.buffer.clear();
        self.buffer.extend_from_slice(name.scope.as_bytes());
        self.buffer.extend_from_slice(b"::");
        self.buffer.extend_from_slice(name.name.bytes());
        TypeName(of_bytes(&self.buffer))
    }

    fn aggregate(&mut self, name: Scoped<'i>, at: DieRef, out: &mut HashMap<TypeName, Aggregate<'i>>) {
        let key = self.key(&name);
        if out.contains_key(&key) {
            return;
        }
        let members = self.shapes.labels(at);
        if !members.is_empty() {
            out.insert(key, Aggregate { name, members });
        }
    }

    /// Name of the aggregate that a variable is, or points to at any distance.
    fn about(&mut self, variable: &Node<'_>) -> Option<TypeName> {
        let view = self.shapes.view;
        // The concrete copy of a function that is also inlined has its types on the abstract one.
        let own = DieRef { unit: view.unit, offset: variable.offset };
        let mut ty = variable.ty.or_else(|| view.declared(own)?.1.ty);
        for _ in 0..POINTERS {
            let bare = self.shapes.bare(ty)?;
            if is_aggregate(bare.node().tag) {
                let alias = || Some(Scoped { scope: "".into(), name: view.node(bare.alias?)?.name });
                let name = self.qualified(bare.at).or_else(alias)?;
                return Some(self.key(&name));
            }
            ty = bare.node().ty;
        }
        None
    }
}
