//! How an entry is read: settled once for each abbreviation of a unit, as most attributes are passed over, and the rest come in few forms.

use super::abbrev::{Abbrev, Abbrevs};
use super::die::{Reading, wanted};
use gimli::constants as dw;
use gimli::{AttributeSpecification, DwAt, DwForm, DwTag, Encoding, Format};

/// What is done with one attribute, or with several that are passed over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// So many bytes.
    Skip(u32),
    SkipLeb,
    /// A LEB128 length, and as many bytes.
    SkipBlock,
    /// Of another form.
    SkipOther(AttributeSpecification),
    /// DW_AT_name, four bytes of an offset in `.debug_str`.
    Name,
    /// A linkage name, the same.
    Linkage,
    /// DW_AT_type, four bytes of an offset in the unit.
    Type,
    /// What the entry completes or is an instance of, the same.
    Origin,
    /// One byte, or two where it is so said.
    Number(Number, bool),
    /// As the abbreviation has it.
    Constant(Number, u64),
    Declaration,
    External,
    /// Of another form, or more than a number.
    Read(AttributeSpecification),
}

/// Which number of a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Number {
    Size,
    Value,
    /// One less than the number of elements.
    Bound,
    File,
    Line,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    code: u64,
    pub tag: DwTag,
    /// Passed over with all that is inside it.
    pub skip: bool,
    pub children: bool,
    /// Has DW_AT_location.
    pub located: bool,
    steps: Steps,
    /// Settled when the first entry is passed over.
    passing: Option<Passing>,
}

/// A part of [`Plans::steps`].
type Steps = (usize, usize);

/// How an entry is passed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Passing {
    /// All attributes, or those before DW_AT_sibling.
    pub before: Steps,
    pub sibling: Option<AttributeSpecification>,
    /// Those behind it.
    pub behind: Steps,
}

/// By code of the abbreviation. Compilers number them from 1.
#[derive(Debug)]
pub(super) struct Plans<'i> {
    reading: Reading,
    encoding: Encoding,
    abbrevs: Abbrevs<'i>,
    plans: Vec<Plan>,
    /// In `plans`, counted from one.
    dense: Vec<u32>,
    other: std::collections::HashMap<u64, u32>,
    /// Of all plans.
    steps: Vec<Step>,
    /// Room for the next one.
    abbrev: Abbrev,
}

/// Codes above this go to a map.
const DENSE: usize = 1 << 14;

impl<'i> Plans<'i> {
    pub fn new(reading: Reading, encoding: Encoding, abbrevs: Abbrevs<'i>) -> Plans<'i> {
        let (plans, dense, steps, other) = (Vec::new(), Vec::new(), Vec::new(), std::collections::HashMap::new());
        Plans { reading, encoding, abbrevs, plans, dense, other, steps, abbrev: Abbrev::default() }
    }

    /// Which plan an abbreviation of the unit has.
    pub fn of(&mut self, code: u64) -> gimli::Result<usize> {
        let slot = match usize::try_from(code) {
            Ok(code) if code < DENSE => {
                if code >= self.dense.len() {
                    self.dense.resize((code + 1).next_power_of_two(), 0);
                }
                &mut self.dense[code]
            }
            _ => self.other.entry(code).or_default(),
        };
        if *slot == 0 {
            self.abbrevs.read(code, &mut self.abbrev)?;
            self.plans.push(plan(code, &self.abbrev, self.reading, self.encoding, &mut self.steps));
            *slot = self.plans.len() as u32;
        }
        Ok(*slot as usize - 1)
    }

    pub fn plan(&self, number: usize) -> &Plan {
        &self.plans[number]
    }

    /// To read an entry.
    pub fn steps(&self, plan: &Plan) -> &[Step] {
        self.some(plan.steps)
    }

    pub fn some(&self, steps: Steps) -> &[Step] {
        &self.steps[steps.0..steps.1]
    }

    pub fn passing(&mut self, number: usize) -> gimli::Result<Passing> {
        let plan = &mut self.plans[number];
        if let Some(passing) = plan.passing {
            return Ok(passing);
        }
        self.abbrevs.read(plan.code, &mut self.abbrev)?;
        let passing = passing(&self.abbrev, self.encoding, &mut self.steps);
        plan.passing = Some(passing);
        Ok(passing)
    }
}

/// Appends the steps to `steps`.
fn plan(code: u64, abbrev: &Abbrev, reading: Reading, encoding: Encoding, steps: &mut Vec<Step>) -> Plan {
    let specs = &abbrev.attributes;
    let location = specs.iter().find(|s| s.name() == dw::DW_AT_location);
    // A variable with a list of places lives on the stack, and nothing refers to it.
    let on_stack = abbrev.tag == dw::DW_TAG_variable && location.is_some_and(|s| is_list(s.form()));
    let inlined = reading == Reading::Frames && abbrev.tag == dw::DW_TAG_inlined_subroutine;
    let argument = reading == Reading::Full
        && matches!(abbrev.tag, dw::DW_TAG_template_type_parameter | dw::DW_TAG_GNU_template_parameter_pack);
    let skip = !(wanted(abbrev.tag) || inlined || argument) || (reading == Reading::Survey && on_stack);
    let first = steps.len();
    for spec in specs.iter().filter(|_| !skip) {
        let needed = match reading {
            Reading::Full => true,
            Reading::Survey => surveyed(spec.name(), abbrev.tag),
            Reading::Frames => framed(spec.name()),
        };
        if needed && read(spec.name(), abbrev.tag) {
            steps.push(reading_step(*spec, encoding));
        } else {
            pass(*spec, encoding, first, steps);
        }
    }
    Plan {
        code,
        tag: abbrev.tag,
        skip,
        located: location.is_some(),
        children: abbrev.children,
        steps: (first, steps.len()),
        passing: None,
    }
}

/// Appends the steps to `steps`.
fn passing(abbrev: &Abbrev, encoding: Encoding, steps: &mut Vec<Step>) -> Passing {
    let specs = &abbrev.attributes;
    let sibling = specs.iter().position(|s| s.name() == dw::DW_AT_sibling).filter(|_| abbrev.children);
    let (early, late) = specs.split_at(sibling.unwrap_or(specs.len()));
    let first = steps.len();
    early.iter().for_each(|spec| pass(*spec, encoding, first, steps));
    let middle = steps.len();
    late.iter().skip(1).for_each(|spec| pass(*spec, encoding, middle, steps));
    Passing { before: (first, middle), sibling: sibling.map(|i| specs[i]), behind: (middle, steps.len()) }
}

/// Bytes of an attribute whose form has always as many (DWARF 5, 7.5.5 and 7.5.6).
fn fixed_size(form: DwForm, encoding: Encoding) -> Option<u32> {
    let offset = u32::from(encoding.format.word_size());
    Some(match form {
        dw::DW_FORM_flag_present | dw::DW_FORM_implicit_const => 0,
        dw::DW_FORM_data1 | dw::DW_FORM_ref1 | dw::DW_FORM_flag | dw::DW_FORM_strx1 | dw::DW_FORM_addrx1 => 1,
        dw::DW_FORM_data2 | dw::DW_FORM_ref2 | dw::DW_FORM_strx2 | dw::DW_FORM_addrx2 => 2,
        dw::DW_FORM_data4 | dw::DW_FORM_ref4 | dw::DW_FORM_strx4 | dw::DW_FORM_addrx4 => 4,
        dw::DW_FORM_data8 | dw::DW_FORM_ref8 | dw::DW_FORM_ref_sig8 => 8,
        dw::DW_FORM_addr => u32::from(encoding.address_size),
        dw::DW_FORM_strp | dw::DW_FORM_line_strp | dw::DW_FORM_sec_offset => offset,
        _ => return None,
    })
}

/// Appends how an attribute is passed over. Steps from `first` on are of the same entry.
fn pass(spec: AttributeSpecification, encoding: Encoding, first: usize, steps: &mut Vec<Step>) {
    let step = match (fixed_size(spec.form(), encoding), spec.form()) {
        (Some(0), _) => return,
        (Some(size), _) => {
            if let Some(Step::Skip(bytes)) = steps[first..].last_mut() {
                *bytes += size;
                return;
            }
            Step::Skip(size)
        }
        (None, dw::DW_FORM_udata | dw::DW_FORM_sdata | dw::DW_FORM_ref_udata) => Step::SkipLeb,
        (None, dw::DW_FORM_exprloc | dw::DW_FORM_block) => Step::SkipBlock,
        _ => Step::SkipOther(spec),
    };
    steps.push(step);
}

/// How an attribute that is wanted is read: what most entries consist of by the shortest way.
fn reading_step(spec: AttributeSpecification, encoding: Encoding) -> Step {
    let number = match spec.name() {
        dw::DW_AT_byte_size => Some(Number::Size),
        dw::DW_AT_data_member_location | dw::DW_AT_const_value | dw::DW_AT_count => Some(Number::Value),
        dw::DW_AT_upper_bound => Some(Number::Bound),
        dw::DW_AT_decl_file => Some(Number::File),
        dw::DW_AT_decl_line => Some(Number::Line),
        _ => None,
    };
    let implicit = spec.implicit_const_value().and_then(|value| u64::try_from(value).ok());
    match (spec.name(), spec.form(), number, implicit) {
        (.., Some(number), Some(value)) => Step::Constant(number, value),
        (_, dw::DW_FORM_data1, Some(number), _) => Step::Number(number, false),
        (_, dw::DW_FORM_data2, Some(number), _) => Step::Number(number, true),
        (dw::DW_AT_declaration, dw::DW_FORM_flag_present, ..) => Step::Declaration,
        (dw::DW_AT_external, dw::DW_FORM_flag_present, ..) => Step::External,
        (dw::DW_AT_name, dw::DW_FORM_strp, ..) if encoding.format == Format::Dwarf32 => Step::Name,
        (dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name, dw::DW_FORM_strp, ..)
            if encoding.format == Format::Dwarf32 =>
        {
            Step::Linkage
        }
        (dw::DW_AT_type, dw::DW_FORM_ref4, ..) => Step::Type,
        (dw::DW_AT_specification | dw::DW_AT_abstract_origin, dw::DW_FORM_ref4, ..) => Step::Origin,
        _ => Step::Read(spec),
    }
}

/// Forms of a location list's offset; in DWARF 3 and before, numbers.
fn is_list(form: gimli::DwForm) -> bool {
    matches!(form, dw::DW_FORM_sec_offset | dw::DW_FORM_loclistx | dw::DW_FORM_data4 | dw::DW_FORM_data8)
}

/// Whether a survey needs this attribute, of those that are read at all.
fn surveyed(name: DwAt, tag: DwTag) -> bool {
    match name {
        dw::DW_AT_decl_file => false,
        dw::DW_AT_decl_line => matches!(tag, dw::DW_TAG_variable | dw::DW_TAG_member),
        _ => tag != dw::DW_TAG_formal_parameter || name == dw::DW_AT_type,
    }
}

/// Whether the search for frames needs this attribute, of those that are read at all.
fn framed(name: DwAt) -> bool {
    matches!(
        name,
        dw::DW_AT_name
            | dw::DW_AT_linkage_name
            | dw::DW_AT_MIPS_linkage_name
            | dw::DW_AT_type
            | dw::DW_AT_specification
            | dw::DW_AT_abstract_origin
            | dw::DW_AT_signature
            | dw::DW_AT_import
            | dw::DW_AT_declaration
            | dw::DW_AT_external
            | dw::DW_AT_low_pc
            | dw::DW_AT_ranges
            | dw::DW_AT_location
    )
}

/// What [`super::die::Node`] has a field for.
fn read(name: DwAt, tag: DwTag) -> bool {
    // Classes with virtual functions have it, too.
    if name == dw::DW_AT_containing_type {
        return tag == dw::DW_TAG_ptr_to_member_type;
    }
    matches!(
        name,
        dw::DW_AT_name
            | dw::DW_AT_linkage_name
            | dw::DW_AT_MIPS_linkage_name
            | dw::DW_AT_type
            | dw::DW_AT_specification
            | dw::DW_AT_abstract_origin
            | dw::DW_AT_signature
            | dw::DW_AT_import
            | dw::DW_AT_byte_size
            | dw::DW_AT_encoding
            | dw::DW_AT_endianity
            | dw::DW_AT_data_member_location
            | dw::DW_AT_vtable_elem_location
            | dw::DW_AT_const_value
            | dw::DW_AT_discr_value
            | dw::DW_AT_count
            | dw::DW_AT_upper_bound
            | dw::DW_AT_data_bit_offset
            | dw::DW_AT_bit_offset
            | dw::DW_AT_bit_size
            | dw::DW_AT_alignment
            | dw::DW_AT_declaration
            | dw::DW_AT_external
            | dw::DW_AT_virtuality
            | dw::DW_AT_decl_file
            | dw::DW_AT_decl_line
            | dw::DW_AT_low_pc
            | dw::DW_AT_ranges
            | dw::DW_AT_location
    )
}
