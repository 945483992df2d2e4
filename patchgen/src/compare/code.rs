//! Compares two functions instruction by instruction.

use super::same::{Assumed, Same, Site};
use super::{Cause, FuncChange, text};
use crate::addr::{DataId, FuncId, Svma};
use crate::correlate::{Side, stem};
use crate::image::SectionKind;
use crate::lift::{
    Access, CodeRef, Data, DataKind, Field, Function, InFront, Insn, JumpTable, Slot, Target, displaced,
};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind};

/// Functions of the C start-up objects (gcc's crtstuff): they refer to the ends of sections, where objects lie as well.
const START_UP: [&str; 4] = ["deregister_tm_clones", "register_tm_clones", "__do_global_dtors_aux", "frame_dummy"];

/// What two instructions differ in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Diff {
    /// A plain number.
    Immediate,
    /// The content of a string or constant.
    Literal,
    Displacement,
    /// Another clone (`f.part.0`, `f.isra.1`) of what it referred to.
    Clone,
    Table,
    Retarget,
    /// An address and a number can't be told apart, and only one reading says that they are the same.
    Unproven,
    Code,
}

/// A function with the means to compare branch targets: the ordinal of each instruction among those that aren't filler.
pub(super) struct Body<'a> {
    pub f: &'a Function,
    side: Side<'a>,
    pub image: &'a crate::image::Image,
    /// For each instruction the ordinal of it or, for filler, of what follows.
    ordinal: Vec<u32>,
    /// Of each part; empty where the file has none.
    bytes: Vec<&'a [u8]>,
}

impl<'a> Body<'a> {
    pub fn new(f: &'a Function, side: Side<'a>) -> Body<'a> {
        let mut n = 0;
        let ordinal = f
            .insns
            .iter()
            .map(|i| {
                let o = n;
                n += u32::from(!i.is_nop());
                o
            })
            .collect();
        let bytes = f.parts.iter().map(|p| side.image.bytes(p.start, p.size()).unwrap_or_default()).collect();
        Body { f, side, image: side.image, ordinal, bytes }
    }

    /// (part, ordinal, bytes into the instruction) of a place in the function.
    pub fn place(&self, (part, offset): (u8, u32)) -> (u8, u32, u32) {
        let i = self.f.insns.partition_point(|i| (i.part, i.offset) <= (part, offset));
        let Some(insn) = i.checked_sub(1).map(|i| &self.f.insns[i]).filter(|i| i.part == part) else {
            return (part, u32::MAX, offset);
        };
        let into = offset - insn.offset;
        // Inside filler every place means what follows it.
        let end = insn.offset + u32::from(insn.len);
        if offset >= end {
            return (part, u32::MAX, offset - end);
        }
        (part, self.ordinal[i - 1], if insn.is_nop() { 0 } else { into })
    }

    pub fn at(&self, i: &Insn) -> Svma {
        self.f.parts[usize::from(i.part)].start.plus(u64::from(i.offset))
    }

    pub fn bytes(&self, i: &Insn) -> &'a [u8] {
        let (from, len) = (i.offset as usize, usize::from(i.len));
        self.bytes.get(usize::from(i.part)).and_then(|part| part.get(from..from + len)).unwrap_or_default()
    }

    /// The address that a field holds.
    fn address(&self, r: &CodeRef) -> Svma {
        text::held(self.image, self.f, r)
    }

    pub fn datum(&self, id: DataId) -> &'a Data {
        &self.side.lifted.data[id.index()]
    }

    pub fn refs(&self, i: &Insn) -> &'a [CodeRef] {
        &self.f.refs[i.refs()]
    }

    pub fn decode(&self, i: &Insn) -> Instruction {
        Decoder::with_ip(64, self.bytes(i), self.at(i).0, DecoderOptions::NONE).decode()
    }

    fn text(&self, i: Option<&Insn>) -> String {
        i.map_or_else(|| "end of function".to_owned(), |i| text::instruction(self.side, self.f, i))
    }
}

/// None where the two are proven the same.
pub(super) fn compare_function(same: &Same<'_>, old: FuncId, new: FuncId) -> Option<FuncChange> {
    let a = Body::new(&same.old.lifted.functions[old.index()], same.old);
    let b = Body::new(&same.new.lifted.functions[new.index()], same.new);
    let change = |cause, first, detail| Some(FuncChange { old, new, cause, first, detail, edits: None });
    let mut worst: Option<Diff> = None;
    let mut first: Option<(Option<&Insn>, Option<&Insn>)> = None;
    let mut note = |d: Diff, x: Option<&'_ Insn>, y: Option<&'_ Insn>| {
        if first.is_none() {
            // The lists outlive this closure's arguments; indices keep it simple.
            first = Some((
                x.and_then(|x| a.f.insns.iter().find(|i| i.part == x.part && i.offset == x.offset)),
                y.and_then(|y| b.f.insns.iter().find(|i| i.part == y.part && i.offset == y.offset)),
            ));
        }
        worst = worst.max(Some(d));
    };
    // What isn't known to be code may be data, in which nothing is filler but what follows it.
    let opaque = a.f.opaque && b.f.opaque;
    let end = |f: &Function| f.insns.iter().rposition(|i| !i.is_nop()).map_or(0, |last| last + 1);
    let (m, n) = (end(a.f), end(b.f));
    let mut xs = a.f.insns[..m].iter().filter(|i| opaque || !i.is_nop());
    let mut ys = b.f.insns[..n].iter().filter(|i| opaque || !i.is_nop());
    loop {
        match (xs.next(), ys.next()) {
            (None, None) => break,
            (Some(x), Some(y)) => {
                if let Some(d) = instruction(same, &a, &b, x, y) {
                    note(d, Some(x), Some(y));
                    if d == Diff::Code {
                        break;
                    }
                }
            }
            (x, y) => {
                note(Diff::Code, x, y);
                break;
            }
        }
    }
    if let (Some(d), Some((x, y))) = (worst, first) {
        let cause = match d {
            Diff::Code => Cause::Code,
            Diff::Unproven => Cause::Unproven,
            Diff::Retarget => Cause::Retarget,
            Diff::Displacement => Cause::Displacement,
            Diff::Literal => Cause::Literal,
            Diff::Immediate => Cause::Immediate,
            Diff::Clone => Cause::CloneRenumbering,
            Diff::Table => Cause::JumpTable,
        };
        let at = x.zip(y).map(|(x, y)| (a.at(x), b.at(y)));
        return change(cause, at, format!("{} → {}", a.text(x), b.text(y)));
    }
    if a.f.tables.len() != b.f.tables.len() {
        return change(Cause::JumpTable, None, format!("{} jump tables → {}", a.f.tables.len(), b.f.tables.len()));
    }
    if !super::unwind::same_unwind(same, a.f, b.f, &|s, t| a.place(s) == b.place(t)) {
        return change(Cause::Unwind, None, "exception tables or unwind data differ".into());
    }
    let filler = |x: &Body<'_>, from: usize| -> Vec<u8> {
        x.f.insns[from..].iter().flat_map(|i| x.bytes(i).iter().copied()).collect()
    };
    let differ = || {
        let (x, y) = (filler(&a, m), filler(&b, n));
        x.len() == y.len() && x != y
    };
    if opaque && differ() {
        return change(Cause::Unproven, None, "bytes at its end differ".into());
    }
    // Bytes that no instruction was made of: equal as they are, or not at all.
    let undecoded = |f: &Function| f.unprovable.iter().any(|u| u.code == 213);
    if undecoded(a.f) || undecoded(b.f) {
        let raw = |x: &Body<'_>| -> Vec<u8> {
            let ranges = x.f.parts.iter();
            ranges.flat_map(|r| x.image.bytes(r.start, r.size()).unwrap_or_default().iter().copied()).collect()
        };
        if raw(&a) != raw(&b) {
            return change(Cause::Unproven, None, "contains bytes that are not instructions".into());
        }
    }
    // A thread-local offset that isn't seen as one is the same number for something else when variables have moved.
    let unnamed = |f: &Function| f.unprovable.iter().any(|u| u.code == 214);
    if (unnamed(a.f) || unnamed(b.f)) && same.threads_moved() {
        return change(Cause::Unproven, None, "may hold offsets of thread-local variables, which have moved".into());
    }
    None
}

pub(super) fn instruction(same: &Same<'_>, a: &Body<'_>, b: &Body<'_>, x: &Insn, y: &Insn) -> Option<Diff> {
    if x.part != y.part {
        return Some(Diff::Code);
    }
    match (x.local(), y.local()) {
        (Some(s), Some(t)) => {
            if !same_branch(a, b, x, y) || a.place(s) != b.place(t) {
                return Some(Diff::Code);
            }
            return None;
        }
        (None, None) => {}
        _ => return Some(Diff::Code),
    }
    let (p, q) = (a.bytes(x), b.bytes(y));
    // As most are.
    if x.refs().is_empty() && y.refs().is_empty() && p == q {
        return None;
    }
    let (r, s) = (|| paired(a.refs(x), b.refs(y)), || paired(b.refs(y), a.refs(x)));
    if r().count() != s().count() || !masked_equal(p, q, r(), s()) {
        if let Some(d) = relaxed(same, a, b, x, y).or_else(|| branch_forms(same, a, b, x, y)) {
            return d;
        }
        if is_start_up(a.f) && is_start_up(b.f) && same_label_immediate(same, a, b, x, y) {
            return None;
        }
        return Some(kind_of_difference(a, b, x, y, (r().count(), s().count())));
    }
    r().zip(s()).filter_map(|(r, s)| reference(same, a, b, (p, r), (q, s))).max()
}

fn is_start_up(f: &Function) -> bool {
    f.opaque && START_UP.contains(&f.name.as_str())
}

/// The same instruction but for its immediate, which is in both builds a place that the linker defines under the same name.
fn same_label_immediate(same: &Same<'_>, a: &Body<'_>, b: &Body<'_>, x: &Insn, y: &Insn) -> bool {
    let (mut i, mut j) = (a.decode(x), b.decode(y));
    let Some(n) = (0..i.op_count()).find(|&n| is_immediate(i.op_kind(n))) else { return false };
    if i.code() != j.code() || !same.same_label(Svma(i.immediate(n)), Svma(j.immediate(n))) {
        return false;
    }
    i.set_immediate_i32(n, 0);
    j.set_immediate_i32(n, 0);
    i == j
}

/// The references of one side, without the uncertain ones that have no counterpart: those are plain numbers.
pub(super) fn paired<'a>(own: &'a [CodeRef], other: &'a [CodeRef]) -> impl Iterator<Item = &'a CodeRef> {
    let place = |r: &CodeRef| (r.field_at - r.insn, r.field);
    own.iter().filter(move |r| r.certain || other.iter().any(|s| place(s) == place(r)))
}

pub(super) fn masked_equal<'a>(
    p: &[u8],
    q: &[u8],
    r: impl Iterator<Item = &'a CodeRef>,
    s: impl Iterator<Item = &'a CodeRef>,
) -> bool {
    if p.len() != q.len() {
        return false;
    }
    let mut hidden = 0u32;
    for (r, s) in r.zip(s) {
        let at = (r.field_at - r.insn) as usize;
        if at != (s.field_at - s.insn) as usize || r.field != s.field {
            return false;
        }
        hidden |= (((1u64 << r.field.size()) - 1) << at) as u32;
    }
    p.iter().zip(q).enumerate().all(|(i, (x, y))| hidden >> i & 1 == 1 || x == y)
}

/// What the references of two functions lead to, in pairs, where nothing else differs.
pub(super) fn masked<'a>(a: &Body<'a>, b: &Body<'a>) -> Option<Vec<(&'a Target, &'a Target)>> {
    let of = |f: &'a Function| f.insns.iter().filter(|i| !i.is_nop());
    if of(a.f).count() != of(b.f).count() {
        return None;
    }
    let mut out = Vec::new();
    for (x, y) in of(a.f).zip(of(b.f)) {
        let same = match (x.local(), y.local()) {
            (Some(s), Some(t)) => same_branch(a, b, x, y) && a.place(s) == b.place(t),
            (None, None) => {
                let (r, s) = (|| paired(a.refs(x), b.refs(y)), || paired(b.refs(y), a.refs(x)));
                out.extend(r().zip(s()).map(|(r, s)| (&r.target, &s.target)));
                r().count() == s().count() && masked_equal(a.bytes(x), b.bytes(y), r(), s())
            }
            _ => false,
        };
        if x.part != y.part || !same {
            return None;
        }
    }
    Some(out)
}

/// Two branches within their functions: the same kind, whatever the length of their displacement.
pub(super) fn same_branch(a: &Body<'_>, b: &Body<'_>, x: &Insn, y: &Insn) -> bool {
    let (p, q) = (a.bytes(x), b.bytes(y));
    if p.len() == q.len() && p.first() == q.first() && p.len() <= 2 {
        return true;
    }
    let (i, j) = (a.decode(x), b.decode(y));
    i.mnemonic() == j.mnemonic()
        && i.has_repne_prefix() == j.has_repne_prefix()
        && i.segment_prefix() == j.segment_prefix()
}

pub(super) fn reference(
    same: &Same<'_>,
    a: &Body<'_>,
    b: &Body<'_>,
    (p, r): (&[u8], &CodeRef),
    (q, s): (&[u8], &CodeRef),
) -> Option<Diff> {
    let access = match (r.access, s.access) {
        (x, y) if x == y => x,
        _ => return Some(Diff::Retarget),
    };
    if is_start_up(a.f) && is_start_up(b.f) && same.same_label(a.address(r), b.address(s)) {
        return None;
    }
    let meaning = match (&r.target, &s.target) {
        (Target::Table(i), Target::Table(j)) => match (a.f.tables.get(*i as usize), b.f.tables.get(*j as usize)) {
            (Some(t), Some(u)) => same_table(same, a, b, t, u),
            _ => false,
        },
        // A place of the function itself: by instruction, since filler moves offsets.
        (Target::Func { func: f, part: pf, offset: of }, Target::Func { func: g, part: pg, offset: og })
            if *of != 0 || *og != 0 || pf != pg =>
        {
            let body =
                |own: &Body<'_>, side: Side<'_>, id: FuncId| std::ptr::eq(own.f, &side.lifted.functions[id.index()]);
            let own = body(a, same.old, *f) && body(b, same.new, *g);
            same.functions(*f, *g)
                && match own {
                    true => a.place((*pf, *of)) == b.place((*pg, *og)),
                    false => same_place(same, (*f, *pf, *of), (*g, *pg, *og)),
                }
        }
        (x, y) => {
            let indexed = [r, s].iter().any(|r| r.indexed || r.backwards.is_some());
            let site = Site { access, functions: Some((a.f, b.f)), indexed };
            match (r.stepped, s.stepped) {
                (Some(m), Some(n)) => m == n && from_start(same, x, y, m, site) && same_in_front(same, r, s),
                _ => (same.targets(x, y, site) && same_in_front(same, r, s)) || other_reading(same, r, s, site),
            }
        }
    };
    if r.certain && s.certain {
        return (!meaning).then(|| kind_of_retarget(same, r, s));
    }
    if (is_open(same.old, a.f, r) || is_open(same.new, b.f, s)) && !same.texts_behind(a.address(r), b.address(s)) {
        return Some(Diff::Unproven);
    }
    let at = (r.field_at - r.insn) as usize;
    let number = p[at..at + r.field.size()] == q[at..at + s.field.size()];
    match (number, meaning) {
        // Different numbers that denote the same thing are addresses.
        (_, true) => None,
        // An address of nothing would have moved with what it was computed from.
        (true, false) if !r.certain && !s.certain => {
            let vague = [is_vague(same.old, a.f, &r.target), is_vague(same.new, b.f, &s.target)];
            // Both in code, it can only be an address if it leads to an entry, or a tag behind one, in either build.
            let code = matches!((&r.target, &s.target), (Target::Func { .. }, Target::Func { .. }));
            let number = vague == [true; 2] || code && vague != [false; 2];
            (!number).then_some(Diff::Unproven)
        }
        (true, false) => Some(Diff::Unproven),
        (false, false) => Some(Diff::Immediate),
    }
}

/// Two addresses, so many bytes behind where the code goes on from: from there all is the same, at least up to them.
fn from_start(same: &Same<'_>, x: &Target, y: &Target, ahead: u32, site: Site<'_>) -> bool {
    let (&Target::Data { data: a, offset: x }, &Target::Data { data: b, offset: y }) = (x, y) else { return false };
    let n = i64::from(ahead);
    // What a variable holds is no matter of the code that has its address.
    let whole = |side: Side<'_>, data: DataId| {
        let datum = &side.lifted.data[data.index()];
        datum.kind == DataKind::Named || matches!(datum.section, SectionKind::Data | SectionKind::Bss)
    };
    let start =
        |side: Side<'_>, data: DataId, offset: i64| side.lifted.data[data.index()].range.start.offset(offset - n);
    // A text up to its end has been compared, or told to be a stamp.
    let text = |side: Side<'_>, data: DataId, offset: i64| {
        let text = side.image.c_str(start(side, data, offset));
        side.lifted.data[data.index()].kind == DataKind::String
            && text.is_some_and(|t| t.len() as u64 >= u64::from(ahead))
    };
    let between = || {
        ahead == 0
            || whole(same.old, a)
            || text(same.old, a, x) && text(same.new, b, y)
            || same.stretch((start(same.old, a, x), start(same.new, b, y)), u64::from(ahead), &mut Assumed::default())
    };
    let target = |data, offset| Target::Data { data, offset };
    same.targets(&target(a, x - n), &target(b, y - n), site) && between()
}

/// A place whose address no program takes by itself, in terms of a function `f` that would refer to it: an address there could only be
/// the base of something far away, less an index. Labels of the function itself aren't, nor are pointers to functions with tags in them.
pub(super) fn is_vague(side: Side<'_>, f: &Function, target: &Target) -> bool {
    const TAGS: u32 = 16;
    match *target {
        Target::Unknown(_) => true,
        Target::Func { func, part, offset } => {
            !std::ptr::eq(f, &side.lifted.functions[func.index()]) && (part != 0 || offset >= TAGS)
        }
        _ => false,
    }
}

/// A displacement beside a register that leads to nothing's start, nor into an object with a name: it may be the base of a text further behind, less
/// what its program takes off a character (`"text"[c - 'a']`). No character has more than four bytes.
pub(super) fn is_open(side: Side<'_>, f: &Function, r: &CodeRef) -> bool {
    let named = match r.target {
        Target::Data { data, .. } => side.lifted.data[data.index()].kind == DataKind::Named,
        _ => false,
    };
    !r.certain && !named && displaced(side.image, f, r).is_some_and(|size| size <= 4)
}

/// Names the difference of two references that are certainly ones.
fn kind_of_retarget(same: &Same<'_>, r: &CodeRef, s: &CodeRef) -> Diff {
    match (&r.target, &s.target) {
        (Target::Table(_), Target::Table(_)) => Diff::Table,
        (Target::Func { func: f, .. }, Target::Func { func: g, .. }) => {
            let (f, g) = (&same.old.lifted.functions[f.index()].name, &same.new.lifted.functions[g.index()].name);
            // A number that the compiler gave and a name that is the same without it.
            if f != g && stem(f).name == stem(g).name { Diff::Clone } else { Diff::Retarget }
        }
        (Target::Data { .. }, Target::Data { .. }) if is_literal(same, s) => Diff::Literal,
        _ => Diff::Retarget,
    }
}

/// What lies in front of a constant is the same too, as far as the code of either build may go there.
fn same_in_front(same: &Same<'_>, r: &CodeRef, s: &CodeRef) -> bool {
    let address = |side: Side<'_>, r: &CodeRef| match r.target {
        Target::Data { data, offset } => Some(side.lifted.data[data.index()].range.start.offset(offset)),
        _ => None,
    };
    let text = |side: Side<'_>, a: Svma| {
        let section = side.image.section(side.image.section_at(a)?).range.start;
        let before = side.image.bytes(section, a.0 - section.0)?;
        let end = before.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        before[..end].rsplit(|b| *b == 0).next().map(<[u8]>::to_vec)
    };
    let far = [r.backwards, s.backwards];
    let (Some(x), Some(y)) = (address(same.old, r), address(same.new, s)) else { return far == [None; 2] };
    let bytes = |far: InFront| match far {
        InFront::Text => true,
        InFront::Bytes(n) => {
            let from = |a: Svma| a.offset(-i64::from(n));
            same.stretch((from(x), from(y)), u64::from(n), &mut Assumed::default())
        }
    };
    far == [None; 2] || text(same.old, x) == text(same.new, y) && far.into_iter().flatten().all(bytes)
}

/// The end of an object that the function uses may be the start of another in one build only: then the object counts.
fn other_reading(same: &Same<'_>, r: &CodeRef, s: &CodeRef, site: Site<'_>) -> bool {
    let others = |r: &CodeRef| -> Vec<Target> {
        r.alternatives.iter().map(|&(data, offset)| Target::Data { data, offset }).collect()
    };
    if r.backwards.or(s.backwards).is_some() {
        return false;
    }
    let (x, y) = (others(r), others(s));
    match (x.is_empty(), y.is_empty()) {
        // Where something starts in both builds, it may well be meant: then this reading proves nothing.
        (false, false) => {
            !(exact(same.old, &r.target) && exact(same.new, &s.target))
                && x.iter().any(|x| y.iter().any(|y| same.targets(x, y, site)))
        }
        _ => x.iter().any(|x| same.targets(x, &s.target, site)) || y.iter().any(|y| same.targets(&r.target, y, site)),
    }
}

/// The start of something whose address can be taken. (Constants of the compiler are only read in place.)
fn exact(side: Side<'_>, t: &Target) -> bool {
    match t {
        Target::Data { data, offset } => *offset == 0 && side.lifted.data[data.index()].kind != DataKind::Constant,
        _ => true,
    }
}

fn is_literal(same: &Same<'_>, r: &CodeRef) -> bool {
    match r.target {
        Target::Data { data, .. } => same.new.lifted.data[data.index()].kind != DataKind::Named,
        _ => false,
    }
}

fn same_place(same: &Same<'_>, (f, pf, of): (FuncId, u8, u32), (g, pg, og): (FuncId, u8, u32)) -> bool {
    let a = Body::new(&same.old.lifted.functions[f.index()], same.old);
    let b = Body::new(&same.new.lifted.functions[g.index()], same.new);
    a.place((pf, of)) == b.place((pg, og))
}

fn same_table(same: &Same<'_>, a: &Body<'_>, b: &Body<'_>, t: &JumpTable, u: &JumpTable) -> bool {
    let function = |side: Side<'_>, at: Svma| {
        let (_, &func) = side.lifted.func_at.range(..=at).next_back()?;
        let range = side.lifted.functions[func.index()].parts[0];
        range.contains(at).then(|| (func, 0, (at.0 - range.start.0) as u32))
    };
    // What leads to no function can't be meant: the check was for something else.
    let beyond = |(&s, &t): (&Svma, &Svma)| match (function(same.old, s), function(same.new, t)) {
        (Some(s), Some(t)) => same.functions(s.0, t.0) && same_place(same, s, t),
        (None, None) => true,
        _ => false,
    };
    t.field == u.field
        && t.entries.len() == u.entries.len()
        && t.entries.iter().zip(&u.entries).all(|(&s, &t)| a.place(s) == b.place(t))
        && t.beyond.len() == u.beyond.len()
        && t.beyond.iter().zip(&u.beyond).all(beyond)
}

/// A tail call that is short in one of the builds. None: not such a pair.
fn branch_forms(same: &Same<'_>, a: &Body<'_>, b: &Body<'_>, x: &Insn, y: &Insn) -> Option<Option<Diff>> {
    let ([r], [s]) = (a.refs(x), b.refs(y)) else { return None };
    if !r.branch || !s.branch || !same_branch(a, b, x, y) || (r.field != Field::Pc8 && s.field != Field::Pc8) {
        return None;
    }
    let site = Site { access: Access::Branch, functions: Some((a.f, b.f)), indexed: false };
    Some((!same.targets(&r.target, &s.target, site)).then_some(Diff::Retarget))
}

/// A load or branch through the GOT that the linker rewrote in one of the builds. None: not such a pair.
fn relaxed(same: &Same<'_>, a: &Body<'_>, b: &Body<'_>, x: &Insn, y: &Insn) -> Option<Option<Diff>> {
    let ([r], [s]) = (a.refs(x), b.refs(y)) else { return None };
    let (i, j) = (a.decode(x), b.decode(y));
    let slot = |t: &Target| matches!(t, Target::Slot(Slot::Address(_)));
    let (through, direct, ti, tj) = match (slot(&r.target), slot(&s.target)) {
        (true, false) => (i, j, &r.target, &s.target),
        (false, true) => (j, i, &s.target, &r.target),
        _ => return None,
    };
    let Target::Slot(Slot::Address(inner)) = ti else { return None };
    let form = match (through.mnemonic(), direct.mnemonic()) {
        // `mov slot(%rip),%r` → `lea x(%rip),%r` or `mov $x,%r`.
        (Mnemonic::Mov, Mnemonic::Lea) => through.op0_register() == direct.op0_register(),
        (Mnemonic::Mov, Mnemonic::Mov) => {
            direct.op1_kind() != OpKind::Memory
                && through.op0_register().full_register() == direct.op0_register().full_register()
        }
        (Mnemonic::Call, Mnemonic::Call) | (Mnemonic::Jmp, Mnemonic::Jmp) => direct.op0_kind() == OpKind::NearBranch64,
        _ => false,
    };
    if !form || through.op_kind(0) == OpKind::Memory && !matches!(through.mnemonic(), Mnemonic::Call | Mnemonic::Jmp) {
        return None;
    }
    let site = Site { access: Access::Derived, functions: Some((a.f, b.f)), indexed: true };
    let equal = if slot(&r.target) { same.targets(inner, tj, site) } else { same.targets(tj, inner, site) };
    Some((!equal).then_some(Diff::Retarget))
}

/// Names the difference of two instructions whose bytes differ outside their addresses.
/// `refs`: how many addresses each has.
fn kind_of_difference(a: &Body<'_>, b: &Body<'_>, x: &Insn, y: &Insn, refs: (usize, usize)) -> Diff {
    let (i, j) = (a.decode(x), b.decode(y));
    let same_shape = i.mnemonic() == j.mnemonic()
        && i.op_count() == j.op_count()
        && i.segment_prefix() == j.segment_prefix()
        && i.has_lock_prefix() == j.has_lock_prefix()
        && i.has_rep_prefix() == j.has_rep_prefix()
        && i.has_repne_prefix() == j.has_repne_prefix()
        && i.memory_base() == j.memory_base()
        && i.memory_index() == j.memory_index()
        && i.memory_index_scale() == j.memory_index_scale()
        && refs.0 == refs.1;
    if !same_shape {
        return Diff::Code;
    }
    let mut diff = Diff::Immediate;
    for n in 0..i.op_count() {
        match (i.op_kind(n), j.op_kind(n)) {
            (OpKind::Register, OpKind::Register) if i.op_register(n) == j.op_register(n) => {}
            (OpKind::Memory, OpKind::Memory) if i.memory_size() == j.memory_size() => {
                if i.memory_displacement64() != j.memory_displacement64() && refs.0 == 0 {
                    diff = diff.max(Diff::Displacement);
                }
            }
            (p, q) if is_immediate(p) && is_immediate(q) => {}
            _ => return Diff::Code,
        }
    }
    diff
}

pub(crate) fn is_immediate(k: OpKind) -> bool {
    matches!(
        k,
        OpKind::Immediate8
            | OpKind::Immediate8_2nd
            | OpKind::Immediate16
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to16
            | OpKind::Immediate8to32
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
    )
}
