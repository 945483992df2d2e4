//! The entries of one unit as a flat table: types, variables, functions and what scopes them.

use super::abbrev::Abbrevs;
use super::plan::{Number, Plans, Step};
use super::{DebugInfo, DebugUnit, DieRef, Dwarf, Reader};
use crate::addr::Svma;
use gimli::constants as dw;
use gimli::{AttributeValue, DwTag, EntriesRaw, Operation, Reader as _, Section as _};
use std::ffi::CStr;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, OnceLock, PoisonError};

/// Where a variable lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    At(Svma),
    /// Offset in the image's TLS block.
    Tls(u64),
}

/// How much of a unit is read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// With what templates are instantiated for.
    Full,
    /// Without what lives on the stack, parameters of functions that are declared elsewhere, and places in the source.
    Survey,
    /// Names, types and places in memory only, with the inlined calls in functions, which are many. Never kept.
    Frames,
}

/// A name, or a section of strings from where the name starts: most are never looked at, and the first look is a miss of all caches.
#[derive(Clone, Copy, Default)]
pub(crate) struct Text<'i>(&'i [u8]);

impl<'i> Text<'i> {
    /// The text that starts there.
    fn at(strings: gimli::DebugStr<Reader<'i>>, at: u32) -> gimli::Result<Text<'i>> {
        let at = at as usize;
        match strings.reader().slice().get(at..) {
            // What ends with a NUL has one for all that starts in it.
            Some(rest) if rest.ends_with(&[0]) => Ok(Text(rest)),
            _ => strings.get_str(gimli::DebugStrOffset(at)).map(|s| Text(s.slice())),
        }
    }

    pub fn is_empty(self) -> bool {
        self.0.first().is_none_or(|&byte| byte == 0)
    }

    pub fn bytes(self) -> &'i [u8] {
        CStr::from_bytes_until_nul(self.0).map_or(self.0, CStr::to_bytes)
    }
}

impl std::fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.bytes()))
    }
}

/// One entry. Which fields mean something depends on the tag.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node<'i> {
    /// From the start of the unit, in bytes.
    pub offset: u32,
    pub tag: DwTag,
    /// Index of the enclosing entry; `NONE` at the top.
    pub parent: u32,
    /// Index behind the last entry inside this one.
    pub end: u32,
    pub name: Text<'i>,
    /// DW_AT_linkage_name.
    pub linkage: Text<'i>,
    pub ty: Option<DieRef>,
    /// DW_AT_specification, DW_AT_abstract_origin, the definition that DW_AT_signature names, or the unit that is imported.
    pub origin: Option<DieRef>,
    size: u64,
    value: u64,
    has_size: bool,
    has_value: bool,
    pub encoding: u8,
    pub declaration: bool,
    pub external: bool,
    pub is_virtual: bool,
    /// Has code (DW_AT_low_pc or DW_AT_ranges); `home` is its entry.
    pub code: bool,
    pub home: Option<Home>,
    pub file: u32,
    pub line: u32,
    /// Index in [`Table::rare`], counted from one.
    rare: u32,
}

/// What hardly any entry has. There are millions of them, and reading is waiting for memory.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Rare<'i> {
    /// DW_AT_data_bit_offset (bits from the start of the aggregate), or the old DW_AT_bit_offset.
    pub bit_offset: Option<u64>,
    pub old_bit_offset: bool,
    pub bit_size: u64,
    pub alignment: u64,
    /// DW_AT_endianity of a number that isn't in the order of the machine.
    pub endianity: u8,
    /// DW_AT_containing_type of a pointer to a member.
    pub containing: Option<DieRef>,
    /// DW_AT_location of something that isn't at one place, if it begins with an address.
    pub pieces: &'i [u8],
}

const NOTHING_RARE: &Rare<'static> = &Rare {
    bit_offset: None,
    old_bit_offset: false,
    bit_size: 0,
    alignment: 0,
    endianity: 0,
    containing: None,
    pieces: b"",
};

pub(crate) const NONE: u32 = u32::MAX;

/// Entries in the order of the file, so that offsets ascend and children follow their parent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table<'i> {
    pub nodes: Vec<Node<'i>>,
    /// Of each of them. Who looks for a few doesn't have to look at all.
    tags: Vec<DwTag>,
    rare: Vec<Rare<'i>>,
    /// For each 64 bytes of the unit: where entries start (a bit each), and how many start before.
    starts: Vec<(u64, u32)>,
}

impl<'i> Table<'i> {
    pub fn at(&self, offset: u32) -> Option<u32> {
        let &(bits, before) = self.starts.get(offset as usize / 64)?;
        let bit = 1u64 << (offset % 64);
        (bits & bit != 0).then(|| before + (bits & (bit - 1)).count_ones())
    }

    fn clear(&mut self, unit_size: usize) {
        self.nodes.clear();
        self.tags.clear();
        self.rare.clear();
        self.starts.clear();
        self.starts.resize(unit_size / 64 + 1, (0, 0));
    }

    /// An entry that stays starts there.
    fn mark(&mut self, offset: u32) {
        if let Some(block) = self.starts.get_mut(offset as usize / 64) {
            block.0 |= 1 << (offset % 64);
        }
    }

    /// Counts what was marked.
    fn seal(&mut self) {
        let mut before = 0;
        for block in &mut self.starts {
            block.1 = before;
            before += block.0.count_ones();
        }
    }

    /// A parameter of a function without a name of its own: the entry that has the name has the parameters too.
    fn is_repeated(&self, tag: DwTag, parent: u32) -> bool {
        matches!(tag, dw::DW_TAG_formal_parameter | dw::DW_TAG_unspecified_parameters)
            && self.nodes.get(parent as usize).is_some_and(|p| p.tag == dw::DW_TAG_subprogram && p.name.is_empty())
    }

    pub fn node(&self, i: u32) -> &Node<'i> {
        &self.nodes[i as usize]
    }

    pub fn rare(&self, node: &Node<'i>) -> &Rare<'i> {
        node.rare.checked_sub(1).map_or(NOTHING_RARE, |i| &self.rare[i as usize])
    }

    /// The entries with such a tag, with their indexes.
    pub fn tagged(&self, wanted: impl Fn(DwTag) -> bool) -> impl Iterator<Item = (u32, &Node<'i>)> {
        let tags = self.tags.iter().enumerate().filter(move |(_, tag)| wanted(**tag));
        tags.map(|(i, _)| (i as u32, &self.nodes[i]))
    }

    /// Direct children.
    pub fn children(&self, i: u32) -> impl Iterator<Item = u32> + use<'_, 'i> {
        let end = self.node(i).end;
        let mut next = i + 1;
        std::iter::from_fn(move || {
            let at = (next < end).then_some(next)?;
            next = self.node(at).end;
            Some(at)
        })
    }
}

/// Room for entries of units that are read one after the other: fresh pages cost as much as reading does.
#[derive(Debug, Default)]
pub(crate) struct Spare<'i>(Mutex<Vec<Table<'i>>>);

impl<'i> Spare<'i> {
    /// Lends a table with any content to `f`.
    pub fn with<T>(&self, f: impl FnOnce(&mut Table<'i>) -> T) -> T {
        let spare = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = spare().pop().unwrap_or_default();
        let out = f(&mut table);
        spare().push(table);
        out
    }
}

/// What is kept. Everything else is passed over with all that is inside it.
pub(super) fn wanted(tag: DwTag) -> bool {
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
        let mut out = Table::default();
        self.read_into(unit, Reading::Full, &mut out)?;
        Ok(out)
    }

    /// As [`Self::read_table`], into a table that held another unit's entries.
    pub(crate) fn read_into(&self, unit: u32, reading: Reading, out: &mut Table<'i>) -> gimli::Result<()> {
        let u = &self.units[unit as usize];
        let dwarf = &self.dwarfs[u.dwarf as usize];
        let size = u.unit.header.length_including_self();
        if u32::try_from(size).is_err() {
            return Err(gimli::Error::UnsupportedOffset);
        }
        self.read.fetch_add(size as u64, Ordering::Relaxed);
        let mut plans = Plans::new(reading, u.unit.encoding(), Abbrevs::of(dwarf, &u.unit.header)?);
        let mut at = Cursor::new(u)?;
        out.clear(size);
        let mut open: Vec<(isize, u32)> = Vec::new();
        let mut rare = None;
        while !at.input.is_empty() {
            let (offset, depth) = (at.next_offset() as u32, at.depth);
            let code = at.input.read_uleb128()?;
            if code == 0 {
                at.depth -= 1;
                continue;
            }
            let number = plans.of(code)?;
            let plan = plans.plan(number);
            at.depth += isize::from(plan.children);
            while open.last().is_some_and(|&(d, _)| d >= depth) {
                let closed = open.pop().map_or(NONE, |(_, i)| i);
                out.nodes[closed as usize].end = out.nodes.len() as u32;
            }
            let index = out.nodes.len() as u32;
            let parent = open.last().map_or(NONE, |&(_, i)| i);
            if plan.skip || (reading == Reading::Survey && out.is_repeated(plan.tag, parent)) {
                at.pass_over(&mut plans, number, depth)?;
                continue;
            }
            // Filled where it lies: it is large.
            out.nodes.push(Node::new(offset, plan.tag, parent, index + 1));
            let node = &mut out.nodes[index as usize];
            for step in plans.steps(plan) {
                at.step(step, node, &mut rare, (self, unit, dwarf))?;
            }
            let rare = rare.take();
            let nowhere = node.home.is_none() && rare.as_ref().is_none_or(|r: &Rare<'_>| r.pieces.is_empty());
            let on_stack = plan.tag == dw::DW_TAG_variable && plan.located && nowhere;
            if reading == Reading::Survey && on_stack && !plan.children {
                out.nodes.pop();
                continue;
            }
            out.tags.push(plan.tag);
            if let Some(rare) = rare {
                out.rare.push(rare);
                node.rare = out.rare.len() as u32;
            }
            out.mark(offset);
            if plan.children {
                open.push((depth, index));
            }
        }
        for (_, i) in open {
            out.nodes[i as usize].end = out.nodes.len() as u32;
        }
        out.seal();
        Ok(())
    }

    /// The partial units that the unit of `table` imports, directly or not (dwz makes them).
    pub(crate) fn imported(&self, table: &Table<'i>, reading: Reading) -> Vec<u32> {
        let mut out: Vec<u32> = Vec::new();
        let imports = |table: &Table<'i>| -> Vec<u32> {
            let imports = table.tagged(|tag| tag == dw::DW_TAG_imported_unit);
            imports.filter_map(|(_, n)| n.origin).map(|at| at.unit).collect()
        };
        let mut todo = imports(table);
        while let Some(unit) = todo.pop() {
            if !out.contains(&unit) && !self.units[unit as usize].full {
                out.push(unit);
                todo.extend(imports(self.table(unit, reading)));
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

    /// The entries of one unit, kept. A unit that can't be read is empty here; [`DebugInfo::read_into`] reports it.
    pub(crate) fn table(&self, unit: u32, reading: Reading) -> &Table<'i> {
        let read = |room: &mut Table<'i>| match self.read_into(unit, reading, room) {
            // As large as need be.
            Ok(()) => room.clone(),
            Err(_) => Table::default(),
        };
        self.kept(unit, reading).get_or_init(|| self.spare.with(read))
    }

    /// Shows `f` the entries of one unit. They are kept where units refer to each other's, because somebody asks for them again; else they only
    /// lie in a spare table, and the unit's bytes are given back.
    pub(crate) fn with_table<T>(
        &self,
        unit: u32,
        reading: Reading,
        spare: &Spare<'i>,
        f: impl FnOnce(&Table<'i>) -> T,
    ) -> gimli::Result<T> {
        if self.is_entangled() {
            return self.try_table(unit, reading).map(f);
        }
        spare.with(|table| {
            self.read_into(unit, reading, table)?;
            let out = f(table);
            self.give_back(unit);
            Ok(out)
        })
    }

    /// As [`Self::table`], with the reason why it can't be read.
    pub(crate) fn try_table(&self, unit: u32, reading: Reading) -> gimli::Result<&Table<'i>> {
        let table = self.table(unit, reading);
        // Every unit has an entry of its own: an empty table is one that could not be read.
        if table.nodes.is_empty() {
            self.read_into(unit, reading, &mut Table::default())?;
        }
        Ok(table)
    }

    fn kept(&self, unit: u32, reading: Reading) -> &OnceLock<Table<'i>> {
        &self.tables[usize::from(reading == Reading::Survey)][unit as usize]
    }

    /// Gives back the memory of what a survey kept.
    pub(crate) fn forget_survey(&mut self) {
        self.tables[1].iter_mut().for_each(|kept| *kept = OnceLock::new());
    }
}

/// A place among the entries of a unit.
struct Cursor<'a, 'i> {
    u: &'a DebugUnit<'i>,
    input: Reader<'i>,
    /// Of the unit, from its start.
    end: usize,
    /// Of the next entry.
    depth: isize,
}

impl<'a, 'i> Cursor<'a, 'i> {
    fn new(u: &'a DebugUnit<'i>) -> gimli::Result<Cursor<'a, 'i>> {
        let first = u.unit.entries_raw(None)?.next_offset();
        let input = u.unit.header.range_from(first..)?;
        Ok(Cursor { u, input, end: first.0 + input.len(), depth: 0 })
    }

    fn next_offset(&self) -> usize {
        self.end - self.input.len()
    }

    /// Lets gimli read on, from this place in an entry or between two.
    fn raw<T>(&mut self, read: impl FnOnce(&mut EntriesRaw<'a, Reader<'i>>) -> gimli::Result<T>) -> gimli::Result<T> {
        let here = self.next_offset();
        let (encoding, abbreviations) = (self.u.unit.encoding(), &*self.u.unit.abbreviations);
        let mut raw = EntriesRaw::new(self.input, encoding, abbreviations, gimli::UnitOffset(here));
        let out = read(&mut raw)?;
        self.depth += raw.next_depth();
        self.input.skip(raw.next_offset().0 - here)?;
        Ok(out)
    }

    /// Reads or passes over what one step is about.
    fn step(
        &mut self,
        step: &Step,
        node: &mut Node<'i>,
        rare: &mut Option<Rare<'i>>,
        (info, unit, dwarf): (&DebugInfo<'i>, u32, &Dwarf<'i>),
    ) -> gimli::Result<()> {
        match *step {
            Step::Name => node.name = Text::at(dwarf.debug_str, self.input.read_u32()?)?,
            Step::Linkage => node.linkage = Text::at(dwarf.debug_str, self.input.read_u32()?)?,
            Step::Type => node.ty = Some(DieRef { unit, offset: self.input.read_u32()? }),
            Step::Origin => node.origin = Some(DieRef { unit, offset: self.input.read_u32()? }),
            Step::Number(number, wide) => {
                let value = if wide { u64::from(self.input.read_u16()?) } else { u64::from(self.input.read_u8()?) };
                node.number(number, value);
            }
            Step::Constant(number, value) => node.number(number, value),
            Step::Declaration => node.declaration = true,
            Step::External => node.external = true,
            Step::Read(spec) => {
                let attr = self.raw(|raw| raw.read_attribute_inline(spec))?;
                node.attribute(rare, (info, unit, self.u, dwarf), attr.name(), attr.value())?;
            }
            ref skipped => self.skip(skipped)?,
        }
        Ok(())
    }

    fn skip(&mut self, step: &Step) -> gimli::Result<()> {
        match *step {
            Step::Skip(bytes) => self.input.skip(bytes as usize),
            Step::SkipLeb => self.input.skip_leb128(),
            Step::SkipBlock => {
                let len = self.input.read_uleb128()?;
                self.input.skip(usize::try_from(len).map_err(|_| gimli::Error::UnsupportedOffset)?)
            }
            Step::SkipOther(spec) => self.raw(|raw| raw.skip_attributes(&[spec])),
            _ => Ok(()),
        }
    }

    /// Leaves out the rest of an entry at `depth` with all that is inside it.
    fn pass_over(&mut self, plans: &mut Plans<'_>, number: usize, depth: isize) -> gimli::Result<()> {
        self.pass(plans, number, depth)?;
        while self.depth > depth && !self.input.is_empty() {
            let inside = self.depth;
            let code = self.input.read_uleb128()?;
            if code == 0 {
                self.depth -= 1;
                continue;
            }
            let number = plans.of(code)?;
            self.depth += isize::from(plans.plan(number).children);
            self.pass(plans, number, inside)?;
        }
        Ok(())
    }

    /// Passes over the attributes of an entry at `depth`, and over its children where the compiler says by DW_AT_sibling where they end.
    fn pass(&mut self, plans: &mut Plans<'_>, number: usize, depth: isize) -> gimli::Result<()> {
        let passing = plans.passing(number)?;
        plans.some(passing.before).iter().try_for_each(|step| self.skip(step))?;
        let Some(sibling) = passing.sibling else { return Ok(()) };
        let next = match sibling.form() {
            dw::DW_FORM_ref4 => Some(self.input.read_u32()? as usize),
            _ => match self.raw(|raw| raw.read_attribute(sibling))?.value() {
                AttributeValue::UnitRef(next) => Some(next.0),
                _ => None,
            },
        };
        match next.filter(|&next| next > self.next_offset()) {
            Some(next) => {
                self.input = self.u.unit.header.range_from(gimli::UnitOffset(next)..)?;
                self.depth = depth;
                Ok(())
            }
            None => plans.some(passing.behind).iter().try_for_each(|step| self.skip(step)),
        }
    }
}

impl<'i> Node<'i> {
    fn new(offset: u32, tag: DwTag, parent: u32, end: u32) -> Node<'i> {
        Node {
            offset,
            tag,
            parent,
            end,
            name: Text::default(),
            linkage: Text::default(),
            ty: None,
            origin: None,
            size: 0,
            value: 0,
            has_size: false,
            has_value: false,
            encoding: 0,
            declaration: false,
            external: false,
            is_virtual: false,
            code: false,
            home: None,
            file: 0,
            line: 0,
            rare: 0,
        }
    }

    /// DW_AT_byte_size.
    pub fn size(&self) -> Option<u64> {
        self.has_size.then_some(self.size)
    }

    /// DW_AT_data_member_location in bytes; DW_AT_const_value; number of elements of a subrange; slot in the vtable.
    pub fn value(&self) -> Option<u64> {
        self.has_value.then_some(self.value)
    }

    fn set_size(&mut self, size: Option<u64>) {
        (self.has_size, self.size) = (size.is_some(), size.unwrap_or(0));
    }

    fn set_value(&mut self, value: Option<u64>) {
        (self.has_value, self.value) = (value.is_some(), value.unwrap_or(0));
    }

    fn number(&mut self, number: Number, value: u64) {
        let small = u32::try_from(value).unwrap_or(0);
        match number {
            Number::Size => self.set_size(Some(value)),
            Number::Value => self.set_value(Some(value)),
            Number::Bound => self.set_value(Some(value.wrapping_add(1))),
            Number::File => self.file = small,
            Number::Line => self.line = small,
        }
    }

    fn attribute(
        &mut self,
        rare: &mut Option<Rare<'i>>,
        (info, id, u, dwarf): (&DebugInfo<'i>, u32, &DebugUnit<'i>, &Dwarf<'i>),
        name: gimli::DwAt,
        value: AttributeValue<Reader<'i>>,
    ) -> gimli::Result<()> {
        let flag = matches!(value, AttributeValue::Flag(true));
        match name {
            dw::DW_AT_name => self.name = Text(dwarf.attr_string(&u.unit, value)?.slice()),
            dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name => {
                self.linkage = Text(dwarf.attr_string(&u.unit, value)?.slice());
            }
            dw::DW_AT_type => {
                let target = info.resolve(id, &value);
                self.ty = Some(target.ok_or(gimli::Error::NoEntryAtGivenOffset(u64::from(self.offset)))?);
            }
            dw::DW_AT_specification | dw::DW_AT_abstract_origin | dw::DW_AT_signature | dw::DW_AT_import => {
                self.origin = info.resolve(id, &value);
            }
            dw::DW_AT_byte_size => self.set_size(value.udata_value()),
            dw::DW_AT_encoding => {
                if let AttributeValue::Encoding(e) = value {
                    self.encoding = e.0;
                }
            }
            dw::DW_AT_data_member_location => {
                self.set_value(match value {
                    AttributeValue::Exprloc(e) => member_location(e, u),
                    v => v.udata_value(),
                });
            }
            dw::DW_AT_vtable_elem_location => {
                if let AttributeValue::Exprloc(e) = value {
                    self.set_value(constant(e, u));
                }
            }
            dw::DW_AT_const_value => self.set_value(const_value(&value)),
            dw::DW_AT_discr_value if self.tag == dw::DW_TAG_variant => self.set_value(const_value(&value)),
            dw::DW_AT_count => self.set_value(value.udata_value()),
            // An upper bound of -1 means a flexible array, and DWARF has it in many forms.
            dw::DW_AT_upper_bound => self.set_value(const_value(&value).map(|v| v.wrapping_add(1))),
            dw::DW_AT_data_bit_offset => rare.get_or_insert_default().bit_offset = value.udata_value(),
            dw::DW_AT_bit_offset => {
                rare.get_or_insert_default().bit_offset = value.udata_value();
                rare.get_or_insert_default().old_bit_offset = true;
            }
            dw::DW_AT_bit_size => rare.get_or_insert_default().bit_size = value.udata_value().unwrap_or(0),
            dw::DW_AT_alignment => rare.get_or_insert_default().alignment = value.udata_value().unwrap_or(0),
            dw::DW_AT_endianity => {
                if let AttributeValue::Endianity(e) = value
                    && e != dw::DW_END_default
                {
                    rare.get_or_insert_default().endianity = e.0;
                }
            }
            dw::DW_AT_containing_type => rare.get_or_insert_default().containing = info.resolve(id, &value),
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
                    let bytes = e.0.slice();
                    let addressed = bytes.first().is_some_and(|op| ADDRESSES.contains(&dw::DwOp(*op)));
                    if self.home.is_none() && addressed {
                        rare.get_or_insert_default().pieces = bytes;
                    }
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

/// What a location begins with that is a fixed address (of split units of DWARF 4 by GNU's own operation), or a piece without one.
const ADDRESSES: [dw::DwOp; 4] = [dw::DW_OP_addr, dw::DW_OP_addrx, dw::DW_OP_GNU_addr_index, dw::DW_OP_piece];

/// A part of a variable at a place of its own (DWARF 5, 2.6.1.2).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// In the variable, in bytes.
    pub offset: u64,
    pub size: u64,
    pub svma: Svma,
}

impl<'i> DebugInfo<'i> {
    /// The pieces of an entry of `unit` that have an address, by [`Rare::pieces`]; none where there is anything else in the location.
    pub(crate) fn pieces(&self, unit: u32, location: &'i [u8]) -> Vec<Piece> {
        let unit = &self.units[unit as usize];
        let reader = gimli::EndianSlice::new(location, gimli::LittleEndian);
        let found = pieces(gimli::Expression(reader), unit, &self.dwarfs[unit.dwarf as usize]);
        found.ok().flatten().unwrap_or_default()
    }
}

fn pieces(e: gimli::Expression<Reader<'_>>, u: &DebugUnit<'_>, dwarf: &Dwarf<'_>) -> gimli::Result<Option<Vec<Piece>>> {
    let (mut out, mut offset, mut address) = (Vec::new(), 0u64, None);
    let mut ops = e.operations(u.unit.encoding());
    while let Some(op) = ops.next()? {
        match op {
            Operation::Address { address: at } if address.is_none() => address = Some(Svma(at)),
            Operation::AddressIndex { index } if address.is_none() => {
                address = Some(Svma(dwarf.address(&u.unit, index)?));
            }
            Operation::Piece { size_in_bits, bit_offset: None } if size_in_bits % 8 == 0 => {
                let size = size_in_bits / 8;
                out.extend(address.take().map(|svma| Piece { offset, size, svma }));
                offset = offset.saturating_add(size);
            }
            _ => return Ok(None),
        }
    }
    Ok(Some(out).filter(|_| address.is_none()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_ends_where_its_text_does() {
        let text = |section: &'static [u8], at| {
            let strings = gimli::DebugStr::new(section, gimli::LittleEndian);
            Text::at(strings, at).map(|text| (text.bytes(), text.is_empty())).ok()
        };
        let found: Vec<_> = (0..7).map(|at| text(b"ab\0\0c\0", at)).collect();
        let (none, c): (&[u8], &[u8]) = (b"", b"c");
        let meant = [Some((&b"ab"[..], false)), Some((b"b", false)), Some((none, true)), Some((none, true))];
        assert_eq!(found[..4], meant);
        assert_eq!(found[4..], [Some((c, false)), Some((none, true)), None]);
        assert_eq!((text(b"ab\0c", 0), text(b"ab\0c", 3)), (Some((&b"ab"[..], false)), None));
    }
}
