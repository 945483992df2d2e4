//! Types by structure: what a value of a type looks like in memory, as a hash that doesn't depend on the order or numbering of entries.

use super::hash::{Memo, Scopes, hash_of, of_bytes};
use crate::dwarf::DieRef;
use crate::dwarf::die::{Node, Rare, Table, Text, is_aggregate};
use crate::dwarf::vars::{View, text};
use gimli::constants as dw;
use std::hash::Hash as _;

/// Deeper nesting than this is damage.
const DEPTH: u32 = 64;

/// In [`Shapes::vtables`].
const NO_VTABLE: u64 = 1;

/// A type without typedefs and qualifiers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bare<'a, 'i> {
    pub at: DieRef,
    pub table: &'a Table<'i>,
    pub index: u32,
    /// The last typedef that was passed: it names what has no name of its own.
    pub alias: Option<DieRef>,
}

impl<'a, 'i> Bare<'a, 'i> {
    pub fn node(&self) -> &'a Node<'i> {
        self.table.node(self.index)
    }
}

/// A member or base class. Members of unnamed structs and unions inside are members of the outer one.
#[derive(Clone, Debug)]
pub(super) struct Field {
    pub name: String,
    /// From the start of the outermost, in bits. None: found at run time (virtual bases).
    pub at: Option<u64>,
    /// Width of a bit-field, else 0.
    pub bits: u64,
    pub ty: Option<DieRef>,
    /// Within a variant; its name ends with the discriminant.
    pub variant: bool,
}

/// A [`Field`]'s name.
#[derive(Clone, Debug)]
pub enum Label<'i> {
    Plain(Text<'i>),
    /// Of a base class, or within a variant.
    Made(String),
}

impl Label<'_> {
    /// Equal where the names are.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        match self {
            Label::Plain(name) => name.bytes(),
            Label::Made(name) => name.as_bytes(),
        }
    }
}

impl std::fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.key()))
    }
}

/// A [`Field`] without its text.
#[derive(Clone, Debug)]
struct Member<'i> {
    name: Text<'i>,
    base: bool,
    at: Option<u64>,
    bits: u64,
    ty: Option<DieRef>,
    /// Discriminants of the variants around it, innermost first.
    marks: Vec<Option<u64>>,
}

/// How [`Shapes`] hashes a type, at a depth.
type HashOfType<'a, 'i> = fn(&mut Shapes<'a, 'i>, Option<DieRef>, u32) -> u64;

/// Computes and keeps hashes; entries of the unit at hand aren't kept beyond it.
#[derive(Debug)]
pub(super) struct Shapes<'a, 'i> {
    pub view: View<'a, 'i>,
    pub scopes: Scopes,
    deep: Memo,
    names: Memo,
    vtables: Memo,
    /// An entry that something refers to isn't there: no hash can be trusted.
    pub broken: bool,
}

/// What the bytes of a base type mean.
#[derive(PartialEq, Eq, Hash, Debug)]
pub(super) struct Number {
    pub encoding: u8,
    pub size: Option<u64>,
    pub bit_size: u64,
    pub endianity: u8,
    /// Of floats that are neither single nor double: there are several of a size.
    pub name: String,
}

pub(super) fn number(b: &Bare<'_, '_>) -> Number {
    let (node, rare) = (b.node(), b.table.rare(b.node()));
    let named = match gimli::DwAte(node.encoding) {
        dw::DW_ATE_float => !matches!(node.size(), Some(4 | 8)),
        dw::DW_ATE_complex_float | dw::DW_ATE_imaginary_float => true,
        _ => false,
    };
    let name = if named { text(node.name.bytes()) } else { String::new() };
    Number { encoding: node.encoding, size: node.size(), bit_size: rare.bit_size, endianity: rare.endianity, name }
}

/// A number with a sign or without: no truth value, no character of Unicode, no enumeration.
fn is_integer(node: &Node<'_>) -> bool {
    let encoding = gimli::DwAte(node.encoding);
    let (plain, characters) =
        ([dw::DW_ATE_signed, dw::DW_ATE_unsigned], [dw::DW_ATE_signed_char, dw::DW_ATE_unsigned_char]);
    node.tag == dw::DW_TAG_base_type && (plain.contains(&encoding) || characters.contains(&encoding))
}

impl<'a, 'i> Shapes<'a, 'i> {
    pub fn new(view: View<'a, 'i>) -> Shapes<'a, 'i> {
        let memo = || Memo::new(&view);
        Shapes { view, scopes: Scopes::new(&view), deep: memo(), names: memo(), vtables: memo(), broken: false }
    }

    /// Strips typedefs and qualifiers; None is `void`.
    pub fn bare(&mut self, ty: Option<DieRef>) -> Option<Bare<'a, 'i>> {
        let (mut at, mut alias) = (ty?, None);
        for _ in 0..DEPTH {
            let Some((table, index)) = self.view.get(at) else { break };
            let node = table.node(index);
            let next = match node.tag {
                dw::DW_TAG_typedef => {
                    alias = Some(at);
                    node.ty
                }
                dw::DW_TAG_const_type
                | dw::DW_TAG_volatile_type
                | dw::DW_TAG_restrict_type
                | dw::DW_TAG_atomic_type
                | dw::DW_TAG_packed_type
                | dw::DW_TAG_shared_type
                | dw::DW_TAG_immutable_type => node.ty,
                // A stub whose definition is a type unit.
                _ if node.declaration && node.origin.is_some() => node.origin,
                _ => return Some(Bare { at, table, index, alias }),
            };
            at = next?;
        }
        self.broken = true;
        None
    }

    /// Hash of the qualified name; None for a type that neither it nor a typedef names.
    pub fn name_key(&mut self, b: &Bare<'a, 'i>) -> Option<u64> {
        let named = if self.view.declared(b.at).is_some() { b.at } else { b.alias? };
        let (_, index) = self.view.get(named)?;
        if let Some(known) = self.names.get(named, index) {
            return Some(known);
        }
        let key = self.scopes.key(&self.view, named)?;
        self.names.set(named, index, key);
        Some(key)
    }

    /// Hash of a value of type `ty`: equal when its bytes mean the same. Named types inside count by name and layout.
    pub fn value(&mut self, ty: Option<DieRef>, depth: u32) -> u64 {
        let Some(b) = self.bare(ty) else { return 0 };
        if depth > DEPTH {
            self.broken = true;
            return 0;
        }
        let node = b.node();
        if is_aggregate(node.tag) {
            let (name, deep) = (self.name_key(&b), self.layout(b.at, depth + 1));
            return hash_of(|h| (5u8, name, deep).hash(h));
        }
        match node.tag {
            dw::DW_TAG_array_type | dw::DW_TAG_coarray_type => {
                let (dims, element) = (dimensions(&b), self.value(node.ty, depth + 1));
                hash_of(|h| (4u8, dims, element).hash(h))
            }
            _ => self.meaning(&b, depth),
        }
    }

    /// Hash of what a type is called: as `value`, but structs count by their name only. For the target of a pointer, a parameter.
    pub fn mention(&mut self, ty: Option<DieRef>, depth: u32) -> u64 {
        let Some(b) = self.bare(ty) else { return 0 };
        if depth > DEPTH {
            self.broken = true;
            return 0;
        }
        let node = b.node();
        if is_aggregate(node.tag) {
            if let Some(name) = self.name_key(&b) {
                return hash_of(|h| (15u8, name).hash(h));
            }
            let deep = self.layout(b.at, depth + 1);
            return hash_of(|h| (16u8, deep).hash(h));
        }
        match node.tag {
            dw::DW_TAG_array_type | dw::DW_TAG_coarray_type => {
                let (dims, element) = (dimensions(&b), self.mention(node.ty, depth + 1));
                hash_of(|h| (14u8, dims, element).hash(h))
            }
            _ => self.meaning(&b, depth),
        }
    }

    /// As [`Self::value`] (`behind` a pointer: [`Self::mention`]), but integers count by their size alone, in arrays and behind pointers too: what
    /// is stored for a number is the same whether its type has a sign or not (two's complement; C11, 6.3.1.3).
    pub fn stored(&mut self, ty: Option<DieRef>, behind: bool, depth: u32) -> u64 {
        let Some(b) = self.bare(ty) else { return 0 };
        if depth > DEPTH {
            self.broken = true;
            return 0;
        }
        let node = b.node();
        match node.tag {
            dw::DW_TAG_base_type if is_integer(node) => {
                let number = Number { encoding: 0, ..number(&b) };
                hash_of(|h| (21u8, number).hash(h))
            }
            dw::DW_TAG_pointer_type => {
                let target = self.stored(node.ty, true, depth + 1);
                hash_of(|h| (22u8, target).hash(h))
            }
            dw::DW_TAG_array_type => {
                let (dims, element) = (dimensions(&b), self.stored(node.ty, behind, depth + 1));
                hash_of(|h| (23u8, dims, element).hash(h))
            }
            _ if behind => self.mention(ty, depth),
            _ => self.value(ty, depth),
        }
    }

    /// Of types that aren't aggregates or arrays.
    fn meaning(&mut self, b: &Bare<'a, 'i>, depth: u32) -> u64 {
        let node = b.node();
        match node.tag {
            dw::DW_TAG_base_type => hash_of(|h| (1u8, number(b)).hash(h)),
            dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                let target = self.mention(node.ty, depth + 1);
                hash_of(|h| (2u8, node.tag.0, target).hash(h))
            }
            dw::DW_TAG_ptr_to_member_type => {
                let of = b.table.rare(node).containing;
                let (target, of) = (self.mention(node.ty, depth + 1), self.mention(of, depth + 1));
                hash_of(|h| (3u8, node.size(), target, of).hash(h))
            }
            dw::DW_TAG_enumeration_type => match self.name_key(b) {
                Some(name) => hash_of(|h| (6u8, name, node.size()).hash(h)),
                None => {
                    let values = self.enumerators_hash(b);
                    hash_of(|h| (7u8, values, node.size()).hash(h))
                }
            },
            dw::DW_TAG_subroutine_type => {
                let params = self.parameters(b.table, b.index, depth + 1, Self::mention);
                let result = self.mention(node.ty, depth + 1);
                hash_of(|h| (8u8, result, params).hash(h))
            }
            _ => hash_of(|h| (9u8, node.tag.0, of_bytes(node.name.bytes()), node.size()).hash(h)),
        }
    }

    /// Hashes of the parameters' types, each by `of`; `...` counts as one.
    fn parameters(&mut self, table: &'a Table<'i>, index: u32, depth: u32, of: HashOfType<'a, 'i>) -> Vec<u64> {
        let mut out = Vec::new();
        for c in table.children(index) {
            match table.node(c).tag {
                dw::DW_TAG_formal_parameter => out.push(of(self, table.node(c).ty, depth)),
                dw::DW_TAG_unspecified_parameters => out.push(u64::MAX),
                _ => {}
            }
        }
        out
    }

    /// Hash of the prototype of the function at `at`, as it was declared.
    pub fn prototype(&mut self, at: DieRef) -> Option<u64> {
        self.declared_by(at, Self::mention)
    }

    /// As [`Self::prototype`], but what goes the same way in the same registers counts as the same.
    pub fn call(&mut self, at: DieRef) -> Option<u64> {
        self.declared_by(at, Self::passed)
    }

    fn declared_by(&mut self, at: DieRef, of: HashOfType<'a, 'i>) -> Option<u64> {
        let (decl, _) = self.view.declared(at)?;
        let (table, index) = self.view.get(decl)?;
        let params = self.parameters(table, index, 0, of);
        let result = of(self, table.node(index).ty, 0);
        Some(hash_of(|h| (result, params).hash(h)))
    }

    /// Hash of how an argument or a result goes. Compilers rely on a caller who has widened what is shorter than an `int`, by its sign.
    fn passed(&mut self, ty: Option<DieRef>, depth: u32) -> u64 {
        let short = self.bare(ty).is_some_and(|b| is_integer(b.node()) && b.node().size().is_none_or(|size| size < 4));
        if short { self.mention(ty, depth) } else { self.stored(ty, true, depth) }
    }

    /// Names and values, whatever their order.
    pub fn enumerators_hash(&mut self, b: &Bare<'a, 'i>) -> u64 {
        let mut all: Vec<(u64, u64)> = enumerators(b).into_iter().map(|(name, v)| (of_bytes(name), v)).collect();
        all.sort_unstable();
        hash_of(|h| all.hash(h))
    }

    /// Hash of the memory layout of an aggregate: size, and each member's name, place and type.
    pub fn layout(&mut self, at: DieRef, depth: u32) -> u64 {
        let Some((table, index)) = self.view.get(at) else {
            self.broken = true;
            return 0;
        };
        if let Some(known) = self.deep.get(at, index) {
            return known;
        }
        let node = table.node(index);
        // Ends cycles, which only damaged input has.
        self.deep.set(at, index, 1);
        let mut items: Vec<(Option<u64>, u64, u64, u64)> = Vec::new();
        // Their order says where virtual bases are, and which entry of the vtable says so.
        let mut virtual_bases = 0u32;
        for m in self.members(at, depth) {
            virtual_bases += u32::from(m.base && m.at.is_none());
            let order = if m.at.is_none() { virtual_bases } else { 0 };
            let mut name = match m.base {
                true => self.bare(m.ty).map_or(0, |b| hash_of(|h| (20u8, b.node().tag.0, order).hash(h))),
                false => of_bytes(m.name.bytes()),
            };
            for mark in m.marks {
                name = hash_of(|h| (name, mark).hash(h));
            }
            items.push((m.at, m.bits, name, self.value(m.ty, depth + 1)));
        }
        items.sort_unstable();
        let (union, alignment) = (node.tag == dw::DW_TAG_union_type, table.rare(node).alignment);
        let key = hash_of(|h| (union, node.size(), alignment, node.declaration, items).hash(h));
        self.deep.set(at, index, key);
        key
    }

    /// Members and base classes in order of declaration.
    pub fn fields(&mut self, at: DieRef, depth: u32) -> Vec<Field> {
        let members = self.members(at, depth);
        members.into_iter().map(|m| self.field(m)).collect()
    }

    /// Types of the members and base classes, in order of declaration.
    pub fn types_within(&mut self, at: DieRef) -> Vec<Option<DieRef>> {
        self.members(at, 0).into_iter().map(|m| m.ty).collect()
    }

    /// Offset in bytes and name of each member at a fixed place.
    pub fn labels(&mut self, at: DieRef) -> Vec<(u64, Label<'i>)> {
        let members = self.members(at, 0);
        let placed = members.into_iter().filter_map(|m| Some((m.at? / 8, m)));
        placed
            .map(|(at, m)| match (m.base, m.marks.is_empty()) {
                (false, true) => (at, Label::Plain(m.name)),
                _ => (at, Label::Made(self.field(m).name)),
            })
            .collect()
    }

    fn field(&mut self, m: Member<'i>) -> Field {
        let mut name = match m.base {
            true => format!("<base {}>", super::name::render(self, m.ty)),
            false => text(m.name.bytes()),
        };
        for mark in &m.marks {
            name = format!("{name}#{}", mark.map_or("_".into(), |v| v.to_string()));
        }
        Field { name, at: m.at, bits: m.bits, ty: m.ty, variant: !m.marks.is_empty() }
    }

    fn members(&mut self, at: DieRef, depth: u32) -> Vec<Member<'i>> {
        let mut out = Vec::new();
        if let Some((table, index)) = self.view.get(at) {
            self.collect(table, index, 0, depth, &mut out);
        }
        out
    }

    fn collect(&mut self, table: &'a Table<'i>, index: u32, base: u64, depth: u32, out: &mut Vec<Member<'i>>) {
        if depth > DEPTH {
            self.broken = true;
            return;
        }
        for c in table.children(index) {
            let node = table.node(c);
            match node.tag {
                // DWARF 4 has static members as members.
                dw::DW_TAG_member if !node.declaration && !node.external => {
                    let rare = table.rare(node);
                    let at = self.position(node, rare).map(|p| p.wrapping_add(base));
                    if node.name.is_empty()
                        && let Some(inner) = self.bare(node.ty)
                        && is_aggregate(inner.node().tag)
                        && self.name_key(&inner).is_none()
                    {
                        self.collect(inner.table, inner.index, at.unwrap_or(base), depth + 1, out);
                        continue;
                    }
                    out.push(Member {
                        name: node.name,
                        base: false,
                        at,
                        bits: rare.bit_size,
                        ty: node.ty,
                        marks: Vec::new(),
                    });
                }
                dw::DW_TAG_inheritance => {
                    let at = node.value().filter(|_| !node.is_virtual).map(|v| v.wrapping_mul(8).wrapping_add(base));
                    out.push(Member { name: Text::default(), base: true, at, bits: 0, ty: node.ty, marks: Vec::new() });
                }
                dw::DW_TAG_variant_part => self.collect(table, c, base, depth + 1, out),
                dw::DW_TAG_variant => {
                    let first = out.len();
                    self.collect(table, c, base, depth + 1, out);
                    for m in &mut out[first..] {
                        m.marks.push(node.value());
                    }
                }
                _ => {}
            }
        }
    }

    /// Bits from the start of the aggregate. The old DW_AT_bit_offset counts from the most significant bit of the storage unit.
    fn position(&mut self, node: &Node<'i>, rare: &Rare<'i>) -> Option<u64> {
        let bytes = node.value().unwrap_or(0).wrapping_mul(8);
        match (rare.bit_offset, rare.old_bit_offset) {
            (None, _) => Some(bytes),
            (Some(bits), false) => Some(bytes.wrapping_add(bits)),
            (Some(bits), true) => {
                let storage = node.size().or_else(|| self.bare(node.ty).and_then(|b| b.node().size())).unwrap_or(0);
                Some(bytes.wrapping_add(storage.wrapping_mul(8)).wrapping_sub(bits).wrapping_sub(rare.bit_size))
            }
        }
    }

    /// Virtual functions by slot, those of bases not included.
    pub fn virtuals(&self, at: DieRef) -> Vec<(u64, String)> {
        let mut out: Vec<(u64, String)> = self.own_virtuals(at).map(|(slot, name)| (slot, text(name))).collect();
        out.sort_unstable();
        out
    }

    fn own_virtuals(&self, at: DieRef) -> impl Iterator<Item = (u64, &'i [u8])> + use<'a, 'i> {
        let children =
            self.view.get(at).into_iter().flat_map(|(table, index)| table.children(index).map(|c| table.node(c)));
        children.filter(|n| n.tag == dw::DW_TAG_subprogram && n.is_virtual).map(|n| {
            let name = if n.linkage.is_empty() { n.name } else { n.linkage };
            (n.value().unwrap_or(u64::MAX), name.bytes())
        })
    }

    /// Hash of the order of virtual functions, with those of the bases; 0 where there are none.
    pub fn vtable(&mut self, at: DieRef, depth: u32) -> u64 {
        let Some((table, index)) = self.view.get(at).filter(|_| depth < DEPTH) else { return 0 };
        if let Some(known) = self.vtables.get(at, index) {
            return if known == NO_VTABLE { 0 } else { known };
        }
        // Ends cycles, which only damaged input has.
        self.vtables.set(at, index, NO_VTABLE);
        let mut own: Vec<(u64, u64)> = self.own_virtuals(at).map(|(slot, name)| (slot, of_bytes(name))).collect();
        own.sort_unstable();
        let mut bases: Vec<u64> = Vec::new();
        for c in table.children(index).filter(|&c| table.node(c).tag == dw::DW_TAG_inheritance) {
            bases.push(self.bare(table.node(c).ty).map_or(0, |b| self.vtable(b.at, depth + 1)));
        }
        let none = own.is_empty() && bases.iter().all(|&b| b == 0);
        let key = if none { NO_VTABLE } else { hash_of(|h| (own, bases).hash(h)) };
        self.vtables.set(at, index, key);
        if none { 0 } else { key }
    }

    /// Size in bytes of a value of type `ty`; None where the type is incomplete.
    pub fn size(&mut self, ty: Option<DieRef>) -> Option<u64> {
        let b = self.bare(ty)?;
        let node = b.node();
        match node.tag {
            dw::DW_TAG_pointer_type | dw::DW_TAG_reference_type | dw::DW_TAG_rvalue_reference_type => {
                Some(node.size().unwrap_or(8))
            }
            dw::DW_TAG_array_type if node.size().is_none() => {
                let count = dimensions(&b).into_iter().try_fold(1u64, |n, d| n.checked_mul(d?))?;
                self.size(node.ty)?.checked_mul(count)
            }
            _ => node.size(),
        }
    }
}

/// Number of elements by dimension; None where it isn't fixed.
pub(super) fn dimensions(b: &Bare<'_, '_>) -> Vec<Option<u64>> {
    b.table
        .children(b.index)
        .map(|c| b.table.node(c))
        .filter(|n| matches!(n.tag, dw::DW_TAG_subrange_type | dw::DW_TAG_generic_subrange))
        .map(|n| n.value())
        .collect()
}

/// Names and values in order of declaration.
pub(super) fn enumerators<'i>(b: &Bare<'_, 'i>) -> Vec<(&'i [u8], u64)> {
    b.table
        .children(b.index)
        .map(|c| b.table.node(c))
        .filter(|n| n.tag == dw::DW_TAG_enumerator)
        .map(|n| (n.name.bytes(), n.value().unwrap_or(0)))
        .collect()
}
