//! Which attributes of an entry are read: settled once for each abbreviation of a unit, as most are passed over.

use super::die::{Reading, wanted};
use gimli::constants as dw;
use gimli::{Abbreviation, DwAt, DwTag};

#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// Attributes `.0..` `.1` in the abbreviation's order.
    Skip(usize, usize),
    Read(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub tag: DwTag,
    /// Passed over with all that is inside it.
    pub skip: bool,
    pub children: bool,
    /// Has DW_AT_location.
    pub located: bool,
    /// In [`Plans::steps`].
    steps: (usize, usize),
    /// Which attribute is DW_AT_sibling.
    pub sibling: Option<usize>,
}

/// By code of the abbreviation. Compilers number them from 1.
#[derive(Debug)]
pub(super) struct Plans {
    reading: Reading,
    dense: Vec<Option<Plan>>,
    other: std::collections::HashMap<u64, Plan>,
    /// Of all plans.
    steps: Vec<Step>,
}

/// Codes above this go to a map.
const DENSE: usize = 1 << 14;

impl Plans {
    pub fn new(reading: Reading) -> Plans {
        Plans { reading, dense: Vec::new(), other: std::collections::HashMap::new(), steps: Vec::new() }
    }

    pub fn steps(&self, plan: &Plan) -> &[Step] {
        &self.steps[plan.steps.0..plan.steps.1]
    }

    pub fn of(&mut self, abbrev: &Abbreviation) -> Plan {
        let (reading, steps) = (self.reading, &mut self.steps);
        match usize::try_from(abbrev.code()) {
            Ok(code) if code < DENSE => {
                if code >= self.dense.len() {
                    self.dense.resize_with((code + 1).next_power_of_two(), || None);
                }
                *self.dense[code].get_or_insert_with(|| plan(abbrev, reading, steps))
            }
            _ => *self.other.entry(abbrev.code()).or_insert_with(|| plan(abbrev, reading, steps)),
        }
    }
}

/// Appends the steps to `steps`.
fn plan(abbrev: &Abbreviation, reading: Reading, steps: &mut Vec<Step>) -> Plan {
    let specs = abbrev.attributes();
    let first = steps.len();
    for (i, spec) in specs.iter().enumerate() {
        let needed = match reading {
            Reading::Full => true,
            Reading::Survey => surveyed(spec.name(), abbrev.tag()),
            Reading::Frames => framed(spec.name()),
        };
        if needed && read(spec.name()) {
            steps.push(Step::Read(i));
        } else if let Some(Step::Skip(_, to)) = steps[first..].last_mut() {
            *to = i + 1;
        } else {
            steps.push(Step::Skip(i, i + 1));
        }
    }
    let location = specs.iter().find(|s| s.name() == dw::DW_AT_location);
    // A variable with a list of places lives on the stack, and nothing refers to it.
    let on_stack = abbrev.tag() == dw::DW_TAG_variable && location.is_some_and(|s| is_list(s.form()));
    let inlined = reading == Reading::Frames && abbrev.tag() == dw::DW_TAG_inlined_subroutine;
    Plan {
        tag: abbrev.tag(),
        skip: !(wanted(abbrev.tag()) || inlined) || (reading == Reading::Survey && on_stack),
        located: location.is_some(),
        children: abbrev.has_children(),
        steps: (first, steps.len()),
        sibling: specs.iter().enumerate().find(|(_, s)| s.name() == dw::DW_AT_sibling).map(|(i, _)| i),
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
fn read(name: DwAt) -> bool {
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
