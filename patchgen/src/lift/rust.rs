//! Constants of Rust code, which have no symbols: where one ends shows in what it is.
//!
//! Two witnesses bound a constant. Its form says how long it is: the place that a panic names, the table of a `dyn` type, the template of
//! a formatted text, a text whose length goes along with its address. And something else that is referred to begins exactly there.
//! Where they don't agree, nothing is said.

use super::decode::{self, Piece, Raw, Use};
use super::resolve::CodeMap;
use super::space::Space;
use crate::addr::Svma;
use crate::image::{DynReloc, Image, SectionKind};
use iced_x86::OpKind;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Instructions on either side of an address among which the length of its text is looked for.
const BESIDE: usize = 6;

/// Longest text that is looked at.
const LONGEST_TEXT: u64 = 1 << 16;

/// Ends of constants by their start.
pub(super) type Ends = BTreeMap<u64, u64>;

/// Whether the image has code of rustc's.
pub(super) fn is_there(image: &Image) -> bool {
    let comment = image.sections.iter().position(|s| s.name == ".comment");
    comment.is_some_and(|i| image.section_bytes(i.into()).windows(RUSTC.len()).any(|w| w == RUSTC))
}

const RUSTC: &[u8] = b"rustc version ";

/// Everything that is known of one image.
pub(super) struct Forms<'a> {
    pub image: &'a Image,
    pub space: &'a Space,
    pub code: &'a CodeMap,
    /// Where something begins that is referred to or has a symbol, ascending.
    pub starts: &'a [u64],
}

impl Forms<'_> {
    /// The ends that both witnesses agree on. `pieces`: all code. In front of them those of constants that are never part of another one.
    pub fn ends<'p>(&self, pieces: impl Iterator<Item = &'p Piece>) -> (BTreeSet<Svma>, Ends) {
        let mut ends = Ends::new();
        let mut tables: BTreeSet<u64> = BTreeSet::new();
        for (i, &at) in self.starts.iter().enumerate() {
            let Some(span) = self.space.at(Svma(at)) else { continue };
            let next = self.starts.get(i + 1).copied().unwrap_or(u64::MAX).min(span.range.end.0);
            let mut end = match span.kind {
                SectionKind::Relro => self.location(at),
                SectionKind::Rodata => self.template(at),
                _ => None,
            };
            if end.is_none() && span.kind == SectionKind::Relro {
                end = self.vtable(at, next);
                tables.extend(end.map(|_| at));
            }
            if let Some(end) = end.filter(|&end| self.is_filler(end, next)) {
                ends.insert(at, end);
            }
        }
        ends.extend(self.texts(pieces));
        // Behind a constant with an end. What follows one of unknown length may be the rest of it.
        let behind = |w: &&[u64]| ends.contains_key(&w[0]) && !tables.contains(&w[1]);
        let alone = |&at: &u64| ends.get(&at).is_some_and(|&end| !self.may_be_tail(at, end));
        let whole = self.starts.windows(2).filter(behind).map(|w| w[1]).filter(alone).map(Svma).collect();
        (whole, ends)
    }

    /// Whether a linker may have put a constant into the tail of another one, as it does with texts that end in a zero.
    fn may_be_tail(&self, at: u64, end: u64) -> bool {
        let zero = |at: u64| self.image.bytes(Svma(at), 1) == Some(&[0]);
        let rodata = self.space.at(Svma(at)).is_some_and(|s| s.kind == SectionKind::Rodata);
        rodata && !zero(at.wrapping_sub(1)) && (zero(end - 1) || zero(end))
    }

    /// Whether nothing but zeros up to an alignment lies between an end and the next start, or the one behind the name of a file.
    fn is_filler(&self, end: u64, next: u64) -> bool {
        let gap = next.wrapping_sub(end);
        let aligned = 1 << next.trailing_zeros().min(4);
        gap < aligned.max(2)
            && (gap == 0 || self.image.bytes(Svma(end), gap).is_some_and(|b| b.iter().all(|b| *b == 0)))
    }

    fn pointer(&self, at: u64) -> Option<Svma> {
        match self.image.dynamic.get(&Svma(at))? {
            DynReloc::Relative { target } => Some(*target),
            _ => None,
        }
    }

    /// A word that the dynamic linker doesn't fill.
    fn number(&self, at: u64) -> Option<u64> {
        let filled = self.image.dynamic.contains_key(&Svma(at));
        if filled { None } else { self.image.read_u64(Svma(at)) }
    }

    /// `core::panic::Location`: a file's name, its length, line and column.
    fn location(&self, at: u64) -> Option<u64> {
        let (name, len) = (self.pointer(at)?, self.number(at + 8)?);
        let name = self.image.bytes(name, len.min(LONGEST_TEXT))?;
        let place = self.number(at + 16)?;
        let (line, column) = (place & 0xffff_ffff, place >> 32);
        let is_name = std::str::from_utf8(name).is_ok_and(|n| n.trim_end_matches('\0').ends_with(".rs"));
        (at.is_multiple_of(8) && is_name && line > 0 && column > 0).then_some(at + 24)
    }

    /// The table of a type behind `dyn`: what drops it, its size and alignment, its methods.
    fn vtable(&self, at: u64, next: u64) -> Option<u64> {
        let method = |at: u64| match self.pointer(at) {
            Some(to) => {
                let function = matches!(self.code.at(to), Some((_, 0, 0)));
                function || self.space.at(to).is_some_and(|s| s.kind == SectionKind::Relro)
            }
            None => self.number(at) == Some(0),
        };
        let (size, align) = (self.number(at + 8)?, self.number(at + 16)?);
        let words = at.is_multiple_of(8) && next.is_multiple_of(8) && next >= at + 24;
        let typed = align.is_power_of_two() && size.is_multiple_of(align) && size < 1 << 47;
        (words && typed && method(at) && (at + 24..next).step_by(8).all(method)).then_some(next)
    }

    /// The template of `fmt::Arguments` (Rust 1.93): runs of text behind their length, placeholders with what they are given, a zero.
    fn template(&self, at: u64) -> Option<u64> {
        let byte = |at: u64| self.image.bytes(Svma(at), 1).map(|b| b[0]);
        let (mut end, mut placeholders) = (at, 0);
        loop {
            let first = byte(end)?;
            end += 1;
            let run = match first {
                0 => return (placeholders > 0).then_some(end),
                1..=0x7f => u64::from(first),
                0x80 => {
                    let len = u64::from(byte(end)?) | u64::from(byte(end + 1)?) << 8;
                    end += 2;
                    len
                }
                0xc0.. => {
                    placeholders += 1;
                    end += u64::from(first & 1) * 4 + u64::from((first & 0xe).count_ones()) * 2;
                    continue;
                }
                _ => return None,
            };
            std::str::from_utf8(self.image.bytes(Svma(end), run)?).ok()?;
            end += run;
        }
    }

    /// Texts up to the next start, where every reference says that they are so long.
    fn texts<'p>(&self, pieces: impl Iterator<Item = &'p Piece>) -> Ends {
        let mut silent: BTreeSet<u64> = BTreeSet::new();
        let mut told: HashMap<u64, u64> = HashMap::new();
        let mut hear = |at: u64, says: &dyn Fn(u64) -> bool| match self.text(at) {
            // With the zero, where there is one: a reader who knows the length may not need it.
            Some((len, room)) if says(len) => drop(told.insert(at, at + room.min(len + 1))),
            Some(_) => drop(silent.insert(at)),
            None => {}
        };
        for piece in pieces {
            for raw in piece.raws.iter().filter(|r| matches!(r.how, Use::Derived | Use::Direct { .. })) {
                hear(raw.addr, &|len| matches!(raw.how, Use::Direct { .. }) || self.tells(piece, raw, len));
            }
        }
        for (&word, reloc) in &self.image.dynamic {
            if let DynReloc::Relative { target } = reloc {
                hear(target.0, &|len| self.number(word.0 + 8) == Some(len));
            }
        }
        told.into_iter().filter(|(at, _)| !silent.contains(at)).collect()
    }

    /// Length of the text that lies between a start and the next one, without filler, and with it.
    fn text(&self, at: u64) -> Option<(u64, u64)> {
        let span = self.space.at(Svma(at)).filter(|s| s.kind == SectionKind::Rodata)?;
        let after = self.starts.partition_point(|&s| s <= at);
        let next = self.starts.get(after).copied().unwrap_or(u64::MAX).min(span.range.end.0);
        let bytes = self.image.bytes(Svma(at), (next - at).min(LONGEST_TEXT))?;
        let len = bytes.iter().rposition(|b| *b != 0)? as u64 + 1;
        let text = std::str::from_utf8(&bytes[..len as usize]).is_ok_and(|t| !t.contains(|c: char| c < '\t'));
        // A small number has zeros behind it, too.
        let room = next - at;
        let number = len < 4 && room > len && room.is_power_of_two();
        (text && !number && self.is_filler(at + len, next)).then_some((len, room))
    }

    /// Whether a number beside the address is the length, or as `fmt::Arguments` holds that of a text without placeholders.
    fn tells(&self, piece: &Piece, raw: &Raw, len: u64) -> bool {
        let here = raw.insn as usize;
        let around = here.saturating_sub(BESIDE)..(here + BESIDE + 1).min(piece.insns.len());
        piece.insns[around].iter().any(|insn| {
            let at = piece.range.start.plus(u64::from(insn.offset));
            let bytes = self.image.bytes(at, u64::from(insn.len)).unwrap_or_default();
            let i = decode::decoder(bytes, at).decode();
            let number = |n: u32| match i.op_kind(n) {
                OpKind::Immediate8 | OpKind::Immediate8to32 | OpKind::Immediate8to64 => Some(i.immediate(n)),
                OpKind::Immediate32 | OpKind::Immediate32to64 | OpKind::Immediate64 => Some(i.immediate(n)),
                _ => None,
            };
            (0..i.op_count()).filter_map(number).any(|v| v == len || v == 2 * len + 1)
        })
    }
}
