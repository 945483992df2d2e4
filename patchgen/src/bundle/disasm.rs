//! The payload's code as text, with what each relocation refers to.

use super::object::{Object, Reloc, reloc_name};
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter};
use std::fmt::Write;

/// All executable sections, symbol by symbol, in AT&T syntax as `objdump -dr` has it.
#[must_use]
pub fn text(object: &Object<'_>) -> String {
    let mut out = String::new();
    for (index, section) in object.sections.iter().enumerate().filter(|(_, s)| s.exec) {
        let mut starts: Vec<_> =
            object.symbols.iter().filter(|s| s.section == Some(index) && !s.is_section && !s.name.is_empty()).collect();
        starts.sort_by_key(|s| (s.offset, s.name));
        // Writing to a `String` can't fail.
        let _ = writeln!(out, "{}: {} bytes", section.name, section.size);
        let mut printed = 0;
        for (n, symbol) in starts.iter().enumerate() {
            let next = starts.get(n + 1).map_or(section.bytes.len() as u64, |s| s.offset);
            // A symbol without a size goes on to the next one.
            let end = if symbol.size > 0 { symbol.offset.saturating_add(symbol.size) } else { next };
            let _ = writeln!(out, "\n{:08x} <{}>:", symbol.offset, symbol.name);
            if symbol.offset >= printed {
                printed = end;
                instructions(object, index, symbol.offset, end, &mut out);
            }
        }
        if starts.is_empty() {
            instructions(object, index, 0, section.bytes.len() as u64, &mut out);
        }
    }
    out
}

fn instructions(object: &Object<'_>, section: usize, start: u64, end: u64, out: &mut String) {
    let range = usize::try_from(start).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
    let Some(code) = object.sections[section].bytes.get(range) else {
        let _ = writeln!(out, "  (outside of the section)");
        return;
    };
    let mut formatter = GasFormatter::new();
    let options = formatter.options_mut();
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    let mut decoder = Decoder::with_ip(64, code, start, DecoderOptions::NONE);
    while decoder.can_decode() {
        let from = decoder.position();
        let instruction = decoder.decode();
        let mut shown = String::new();
        formatter.format(&instruction, &mut shown);
        let mut hex = String::new();
        for byte in &code[from..decoder.position()] {
            let _ = write!(hex, "{byte:02x} ");
        }
        let _ = writeln!(out, "  {:6x}:  {hex:<32} {shown}", instruction.ip());
        for reloc in object.relocs_in(section, instruction.ip(), instruction.next_ip()) {
            let _ = writeln!(out, "  {:6x}:  {:32} {}", reloc.offset, "", described(object, reloc));
        }
    }
}

fn described(object: &Object<'_>, reloc: &Reloc) -> String {
    let addend = match reloc.addend {
        0 => String::new(),
        n if n < 0 => format!("-{:#x}", n.unsigned_abs()),
        n => format!("+{n:#x}"),
    };
    format!("{} {}{addend}", reloc_name(reloc.kind), object.target(reloc))
}
