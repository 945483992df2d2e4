//! The entries of one unit as a flat table: types, variables, functions and what scopes them.

use super::{DebugInfo, DebugUnit, DieRef, Dwarf, Reader};
use crate::addr::Svma;
use gimli::constants as dw;
use gimli::{AttributeValue, DwTag, Operation, UnitOffset};

/// Where a variable lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    At(Svma),
    /// Offset in the image's TLS block.
    Tls(u64),
}

/// One entry. Which fields mean something depends on the tag.
#[derive(Clone, Debug)]
pub(crate) struct Node<'i> {
    pub offset: UnitOffset<usize>,
    pub tag: DwTag,
    /// Index of the enclosing entry; `NONE` at the top.
    pub parent: u32,
    /// Index behind the last entry inside this one.
    pub end: u32,
    pub name: &'i [u8],
    pub linkage: &'i [u8],
    pub ty: Option<DieRef>,
    /// DW_AT_specification, DW_AT_abstract_origin, the definition that DW_AT_signature names, or the unit that is imported.
    pub origin: Option<DieRef>,
    /// DW_AT_byte_size.
    pub size: Option<u64>,
    pub encoding: u8,
    /// DW_AT_data_member_location in bytes; DW_AT_const_value; number of elements of a subrange; slot in the vtable.
    pub value: Option<u64>,
    /// DW_AT_data_bit_offset (bits from the start of the aggregate), or the old DW_AT_bit_offset.
    pub bit_offset: Option<u64>,
    pub old_bit_offset: bool,
    pub bit_size: u64,
    pub alignment: u64,
    pub declaration: bool,
    pub external: bool,
    pub is_virtual: bool,
    /// Has code (DW_AT_low_pc or DW_AT_ranges); `home` is its entry.
    pub code: bool,
    pub home: Option<Home>,
    pub file: u32,
    pub line: u32,
}

pub(crate) const NONE: u32 = u32::MAX;

/// Entries in the order of the file, so that offsets ascend and children follow their parent.
#[derive(Debug, Default)]
pub(crate) struct Table<'i> {
    pub nodes: Vec<Node<'i>>,
}

impl<'i> Table<'i> {
    pub fn at(&self, offset: UnitOffset<usize>) -> Option<u32> {
        self.nodes.binary_search_by_key(&offset, |n| n.offset).ok().map(|i| i as u32)
    }

    pub fn node(&self, i: u32) -> &Node<'i> {
        &self.nodes[i as usize]
    }

    /// Direct children.
    pub fn children(&self, i: u32) -> impl Iterator<Item = u32> + '_ {
        let end = self.node(i).end;
        let mut next = i + 1;
        std::iter::from_fn(move || {
            let at = (next < end).then_some(next)?;
            next = self.node(at).end;
            Some(at)
        })
    }
}

/// What is kept. Everything else is passed over with all that is inside it.
fn wanted(tag: DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_compile_unit
            | dw::DW_TAG_partial_unit
            | dw::DW_TAG_type_unit
            | dw::DW_TAG_skeleton_unit
            | dw::DW_TAG_namespace
            | dw::DW_TAG_module
            | dw::DW_TAG_structure_type
            | dw::DW_TAG_class_type
            | dw::DW_TAG_interface_type
            | dw::DW_TAG_union_type
            | dw::DW_TAG_variant_part
            | dw::DW_TAG_variant
            | dw::DW_TAG_enumeration_type
            | dw::DW_TAG_enumerator
            | dw::DW_TAG_member
            | dw::DW_TAG_inheritance
            | dw::DW_TAG_typedef
            | dw::DW_TAG_base_type
            | dw::DW_TAG_pointer_type
            | dw::DW_TAG_reference_type
            | dw::DW_TAG_rvalue_reference_type
            | dw::DW_TAG_ptr_to_member_type
            | dw::DW_TAG_const_type
            | dw::DW_TAG_volatile_type
            | dw::DW_TAG_restrict_type
            | dw::DW_TAG_atomic_type
            | dw::DW_TAG_array_type
            | dw::DW_TAG_subrange_type
            | dw::DW_TAG_subroutine_type
            | dw::DW_TAG_formal_parameter
            | dw::DW_TAG_unspecified_parameters
            | dw::DW_TAG_unspecified_type
            | dw::DW_TAG_string_type
            | dw::DW_TAG_set_type
            | dw::DW_TAG_file_type
            | dw::DW_TAG_packed_type
            | dw::DW_TAG_shared_type
            | dw::DW_TAG_immutable_type
            | dw::DW_TAG_dynamic_type
            | dw::DW_TAG_coarray_type
            | dw::DW_TAG_generic_subrange
            | dw::DW_TAG_variable
            | dw::DW_TAG_subprogram
            | dw::DW_TAG_lexical_block
            | dw::DW_TAG_imported_unit
    )
}

pub(crate) fn is_aggregate(tag: DwTag) -> bool {
    matches!(tag, dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type | dw::DW_TAG_interface_type)
}

impl<'i> DebugInfo<'i> {
    /// Reads the entries of one unit.
    pub(crate) fn read_table(&self, unit: u32) -> gimli::Result<Table<'i>> {
        self.read_entries(unit, false)
    }

    /// Reads the entries of one unit; with `inlined` also the inlined calls in functions, which are many.
    pub(crate) fn read_entries(&self, unit: u32, inlined: bool) -> gimli::Result<Table<'i>> {
        let u = &self.units[unit as usize];
        let dwarf = &self.dwarfs[u.dwarf as usize];
        let mut raw = u.unit.entries_raw(None)?;
        let mut out = Table::default();
        let mut open: Vec<(isize, u32)> = Vec::new();
        let mut skip: Option<isize> = None;
        while !raw.is_empty() {
            let (offset, depth) = (raw.next_offset(), raw.next_depth());
            let Some(abbrev) = raw.read_abbreviation()? else { continue };
            if skip.is_some_and(|s| depth > s) {
                raw.skip_attributes(abbrev.attributes())?;
                continue;
            }
            skip = None;
            while open.last().is_some_and(|&(d, _)| d >= depth) {
                let closed = open.pop().map_or(NONE, |(_, i)| i);
                out.nodes[closed as usize].end = out.nodes.len() as u32;
            }
            let keep = wanted(abbrev.tag()) || (inlined && abbrev.tag() == dw::DW_TAG_inlined_subroutine);
            if !keep {
                raw.skip_attributes(abbrev.attributes())?;
                skip = abbrev.has_children().then_some(depth);
                continue;
            }
            let index = out.nodes.len() as u32;
            let parent = open.last().map_or(NONE, |&(_, i)| i);
            let mut node = Node::new(offset, abbrev.tag(), parent, index + 1);
            for spec in abbrev.attributes() {
                let attr = raw.read_attribute(*spec)?;
                node.attribute(self, unit, u, dwarf, attr.name(), attr.value())?;
            }
            out.nodes.push(node);
            if abbrev.has_children() {
                open.push((depth, index));
            }
        }
        for (_, i) in open {
            out.nodes[i as usize].end = out.nodes.len() as u32;
        }
        Ok(out)
    }

    /// The partial units that the unit of `table` imports, directly or not (dwz makes them).
    pub(crate) fn imported(&self, table: &Table<'i>) -> Vec<u32> {
        let mut out: Vec<u32> = Vec::new();
        let imports = |table: &Table<'i>| -> Vec<u32> {
            let imports = table.nodes.iter().filter(|n| n.tag == dw::DW_TAG_imported_unit);
            imports.filter_map(|n| n.origin).map(|at| at.unit).collect()
        };
        let mut todo = imports(table);
        while let Some(unit) = todo.pop() {
            if !out.contains(&unit) && !self.units[unit as usize].full {
                out.push(unit);
                todo.extend(imports(self.table(unit)));
            }
        }
        out.sort_unstable();
        out
    }

    /// gcc's split DWARF states the address of a thread-local variable in the template, not its offset in the block.
    fn in_block(&self, home: Home) -> Home {
        match (home, self.tls) {
            (Home::Tls(at), Some(template)) if at >= template.size() && template.contains(Svma(at)) => {
                Home::Tls(at - template.start.0)
            }
            _ => home,
        }
    }

    /// The entries of one unit, kept. A unit that can't be read is empty here; [`DebugInfo::read_table`] reports it.
    pub(crate) fn table(&self, unit: u32) -> &Table<'i> {
        self.tables[unit as usize].get_or_init(|| self.read_table(unit).unwrap_or_default())
    }
}

impl<'i> Node<'i> {
    fn new(offset: UnitOffset<usize>, tag: DwTag, parent: u32, end: u32) -> Node<'i> {
        Node {
            offset,
            tag,
            parent,
            end,
            name: b"",
            linkage: b"",
            ty: None,
            origin: None,
            size: None,
            encoding: 0,
            value: None,
            bit_offset: None,
            old_bit_offset: false,
            bit_size: 0,
            alignment: 0,
            declaration: false,
            external: false,
            is_virtual: false,
            code: false,
            home: None,
            file: 0,
            line: 0,
        }
    }

    fn attribute(
        &mut self,
        info: &DebugInfo<'i>,
        id: u32,
        u: &DebugUnit<'i>,
        dwarf: &Dwarf<'i>,
        name: gimli::DwAt,
        value: AttributeValue<Reader<'i>>,
    ) -> gimli::Result<()> {
        let flag = matches!(value, AttributeValue::Flag(true));
        match name {
            dw::DW_AT_name => self.name = dwarf.attr_string(&u.unit, value)?.slice(),
            dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name => {
                self.linkage = dwarf.attr_string(&u.unit, value)?.slice();
            }
            dw::DW_AT_type => {
                let target = info.resolve(id, &value);
                self.ty = Some(target.ok_or(gimli::Error::NoEntryAtGivenOffset(self.offset.0 as u64))?);
            }
            dw::DW_AT_specification | dw::DW_AT_abstract_origin | dw::DW_AT_signature | dw::DW_AT_import => {
                self.origin = info.resolve(id, &value);
            }
            dw::DW_AT_byte_size => self.size = value.udata_value(),
            dw::DW_AT_encoding => {
                if let AttributeValue::Encoding(e) = value {
                    self.encoding = e.0;
                }
            }
            dw::DW_AT_data_member_location => {
                self.value = match value {
                    AttributeValue::Exprloc(e) => member_location(e, u),
                    v => v.udata_value(),
                }
            }
            dw::DW_AT_vtable_elem_location => {
                if let AttributeValue::Exprloc(e) = value {
                    self.value = constant(e, u);
                }
            }
            dw::DW_AT_const_value => self.value = const_value(&value),
            dw::DW_AT_discr_value if self.tag == dw::DW_TAG_variant => self.value = const_value(&value),
            dw::DW_AT_count => self.value = value.udata_value(),
            // An upper bound of -1 means a flexible array, and DWARF has it in many forms.
            dw::DW_AT_upper_bound => self.value = const_value(&value).map(|v| v.wrapping_add(1)),
            dw::DW_AT_data_bit_offset => self.bit_offset = value.udata_value(),
            dw::DW_AT_bit_offset => {
                self.bit_offset = value.udata_value();
                self.old_bit_offset = true;
            }
            dw::DW_AT_bit_size => self.bit_size = value.udata_value().unwrap_or(0),
            dw::DW_AT_alignment => self.alignment = value.udata_value().unwrap_or(0),
            dw::DW_AT_declaration => self.declaration = flag,
            dw::DW_AT_external => self.external = flag,
            dw::DW_AT_virtuality => {
                self.is_virtual = matches!(value, AttributeValue::Virtuality(v) if v != dw::DW_VIRTUALITY_none);
            }
            dw::DW_AT_decl_file => {
                self.file = match value {
                    AttributeValue::FileIndex(i) => u32::try_from(i).unwrap_or(0),
                    v => v.udata_value().and_then(|v| u32::try_from(v).ok()).unwrap_or(0),
                }
            }
            dw::DW_AT_decl_line => self.line = value.udata_value().and_then(|v| u32::try_from(v).ok()).unwrap_or(0),
            dw::DW_AT_low_pc => {
                if let Some(at) = dwarf.attr_address(&u.unit, value)? {
                    self.code = true;
                    self.home = Some(Home::At(Svma(at)));
                }
            }
            dw::DW_AT_ranges if !self.code => {
                self.code = true;
                if let Some(mut ranges) = dwarf.attr_ranges(&u.unit, value)? {
                    self.home = ranges.next()?.map(|r| Home::At(Svma(r.begin)));
                }
            }
            dw::DW_AT_location => {
                if let AttributeValue::Exprloc(e) = value {
                    self.home = location(e, u, dwarf)?.map(|h| info.in_block(h));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

fn const_value(v: &AttributeValue<Reader<'_>>) -> Option<u64> {
    match v {
        AttributeValue::Sdata(n) => Some(n.cast_unsigned()),
        AttributeValue::Data1(n) => Some(u64::from(*n)),
        AttributeValue::Data2(n) => Some(u64::from(*n)),
        AttributeValue::Data4(n) => Some(u64::from(*n)),
        v => v.udata_value(),
    }
}

fn member_location(e: gimli::Expression<Reader<'_>>, u: &DebugUnit<'_>) -> Option<u64> {
    let mut ops = e.operations(u.unit.encoding());
    match (ops.next().ok()??, ops.next().ok()?) {
        (Operation::PlusConstant { value }, None) => Some(value),
        _ => None,
    }
}

fn constant(e: gimli::Expression<Reader<'_>>, u: &DebugUnit<'_>) -> Option<u64> {
    match e.operations(u.unit.encoding()).next().ok()?? {
        Operation::UnsignedConstant { value } => Some(value),
        Operation::SignedConstant { value } => u64::try_from(value).ok(),
        _ => None,
    }
}

/// A fixed address, or an offset in the TLS block; anything else is computed at run time.
fn location(e: gimli::Expression<Reader<'_>>, u: &DebugUnit<'_>, dwarf: &Dwarf<'_>) -> gimli::Result<Option<Home>> {
    let mut ops = e.operations(u.unit.encoding());
    let (first, second) = (ops.next()?, ops.next()?);
    Ok(match (first, second) {
        (Some(Operation::Address { address }), None) => Some(Home::At(Svma(address))),
        (Some(Operation::AddressIndex { index }), None) => Some(Home::At(Svma(dwarf.address(&u.unit, index)?))),
        (Some(Operation::UnsignedConstant { value }), Some(Operation::TLS)) => Some(Home::Tls(value)),
        (Some(Operation::ConstantIndex { index }), Some(Operation::TLS)) => {
            Some(Home::Tls(dwarf.address(&u.unit, index)?))
        }
        _ => None,
    })
}
