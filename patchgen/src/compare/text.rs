//! Instructions as text, with what each operand refers to by name: two builds' texts differ where the builds do, not where the linker
//! put things.

use crate::addr::Svma;
use crate::correlate::Side;
use crate::image::Image;
use crate::lift::{CodeRef, DataKind, Field, Function, Insn, Slot, Target, ThreadSlot};
use iced_x86::{Decoder, DecoderOptions, Formatter, Instruction, IntelFormatter, SymbolResolver, SymbolResult};

/// Characters of a string that are shown.
const SHOWN: usize = 40;

/// Names by the address that an operand of one instruction holds.
struct Names(Vec<(u64, String)>);

impl SymbolResolver for Names {
    fn symbol(&mut self, _: &Instruction, _: u32, _: Option<u32>, address: u64, _: u32) -> Option<SymbolResult<'_>> {
        let (_, name) = self.0.iter().find(|(at, _)| *at == address)?;
        Some(SymbolResult::with_str(address, name))
    }
}

/// The instruction in Intel syntax, numbers in C's hexadecimal. Places of the function itself are `+0x12`.
pub fn instruction(side: Side<'_>, f: &Function, i: &Insn) -> String {
    let at = f.parts[usize::from(i.part)].start.plus(u64::from(i.offset));
    let bytes = side.image.bytes(at, u64::from(i.len)).unwrap_or_default();
    let decoded = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE).decode();
    let refs = f.refs.get(i.refs()).unwrap_or_default();
    let mut names: Vec<(u64, String)> = refs.iter().map(|r| (held(side.image, f, r).0, meant(side, f, r))).collect();
    if let Some((part, offset)) = i.local() {
        names.push((decoded.near_branch_target(), place(part, offset)));
    }
    let mut formatter = IntelFormatter::with_options(Some(Box::new(Names(names))), None);
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_branch_leading_zeros(false);
    let mut out = String::new();
    formatter.format(&decoded, &mut out);
    out
}

fn place(part: u8, offset: u32) -> String {
    match part {
        0 => format!("+{offset:#x}"),
        _ => format!("part {part}+{offset:#x}"),
    }
}

/// The address that a field holds, or the number that stands for it.
pub(crate) fn held(image: &Image, f: &Function, r: &CodeRef) -> Svma {
    let at = f.parts[usize::from(r.part)].start.plus(u64::from(r.field_at));
    let raw = image.read_u32(at).unwrap_or_default();
    match r.field {
        Field::Pc32 { tail } => at.offset(i64::from(raw as i32) + i64::from(tail)),
        Field::Pc8 => at.offset(i64::from(raw as u8 as i8) + 1),
        Field::Abs64 => Svma(image.read_u64(at).unwrap_or_default()),
        Field::Abs32S | Field::Tpoff32 | Field::Dtpoff32 => Svma(i64::from(raw as i32).cast_unsigned()),
        _ => Svma(u64::from(raw)),
    }
}

/// What a reference of `f` denotes; one whose object begins in front of it, by where the code goes on from.
fn meant(side: Side<'_>, f: &Function, r: &CodeRef) -> String {
    match (&r.target, r.stepped) {
        (&Target::Data { data, offset }, Some(ahead @ 1..)) => {
            let start = target(side, f, &Target::Data { data, offset: offset - i64::from(ahead) });
            format!("{start}+{ahead:#x}")
        }
        (whole, _) => target(side, f, whole),
    }
}

/// What a reference of `f` denotes, in words.
pub fn target(side: Side<'_>, f: &Function, t: &Target) -> String {
    denoted(side, Some(f), t)
}

/// What a reference in data denotes, in words.
pub fn data_target(side: Side<'_>, t: &Target) -> String {
    denoted(side, None, t)
}

fn denoted(side: Side<'_>, within: Option<&Function>, t: &Target) -> String {
    let shift = |name: String, offset: i64| match offset {
        0 => name,
        o if o < 0 => format!("{name}-{:#x}", o.unsigned_abs()),
        o => format!("{name}+{o:#x}"),
    };
    match t {
        Target::Func { func, part, offset } => {
            let g = &side.lifted.functions[func.index()];
            match (part, offset) {
                _ if within.is_some_and(|f| std::ptr::eq(f, g)) && (*part, *offset) != (0, 0) => place(*part, *offset),
                (0, _) => shift(function(g), i64::from(*offset)),
                _ => format!("{} {}", function(g), place(*part, *offset)),
            }
        }
        Target::Import(id) => side.image.import(*id).name.clone(),
        Target::Slot(slot) => format!("GOT({})", self::slot(side, within, slot)),
        Target::Data { data, offset } => {
            let d = &side.lifted.data[data.index()];
            let at = d.range.start.offset(*offset);
            match d.kind {
                DataKind::String => quoted(side.image, at),
                DataKind::Constant | DataKind::Literal => constant(side.image, d.range.end, at),
                DataKind::Named if d.name.is_empty() => format!("data at {at}"),
                _ if d.name.is_empty() => format!("constant at {at}"),
                _ => shift(d.name.clone(), *offset),
            }
        }
        Target::Tls { symbol, offset, .. } => match symbol {
            Some(s) => format!("tls({})", side.image.symbol(*s).name),
            None => format!("tls({offset:#x})"),
        },
        Target::Table(n) => format!("jump table {n}"),
        Target::Linker(name) => name.to_string(),
        Target::Unknown(at) => format!("unknown {at}"),
    }
}

/// A function by its name, or by its address.
pub fn function(f: &Function) -> String {
    if f.name.is_empty() { format!("function at {}", f.parts[0].start) } else { f.name.clone() }
}

fn slot(side: Side<'_>, within: Option<&Function>, s: &Slot) -> String {
    let variable = |of: &ThreadSlot| match (of.import, of.symbol) {
        (Some(i), _) => side.image.import(i).name.as_str(),
        (None, Some(s)) => side.image.symbol(s).name.as_str(),
        (None, None) => "thread-local",
    };
    match s {
        Slot::Import { import, .. } => side.image.import(*import).name.clone(),
        Slot::Address(inner) | Slot::Irelative(inner) => denoted(side, within, inner),
        Slot::TpOff(of) | Slot::TlsGd(of) | Slot::TlsDesc(of) => format!("tls({})", variable(of)),
        Slot::TlsLd | Slot::TlsBlockDesc => "tls block".to_owned(),
        Slot::Number(number) => number.to_string(),
    }
}

fn quoted(image: &Image, at: Svma) -> String {
    let bytes = image.c_str(at).unwrap_or_default();
    let text = String::from_utf8_lossy(bytes);
    let more = if text.chars().count() > SHOWN { "…" } else { "" };
    format!("\"{}{more}\"", text.chars().take(SHOWN).collect::<String>().escape_debug())
}

fn constant(image: &Image, end: Svma, at: Svma) -> String {
    let size = end.0.saturating_sub(at.0).min(16);
    let bytes = image.bytes(at, size).unwrap_or_default();
    format!("{{{}}}", bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(" "))
}
