//! Position-independent content of functions, to tell apart those of the same name.

use super::Side;
use crate::image::Import;
use crate::lift::{Access, CodeRef, DataKind, Function, Target};
use std::collections::{BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

/// A match by similarity must share this much, and lead the next best by [`MARGIN`].
pub(super) const ENOUGH: f64 = 0.5;
pub(super) const MARGIN: f64 = 0.15;

#[derive(Debug)]
pub(super) struct Shapes<'a> {
    side: Side<'a>,
    full: HashMap<usize, u64>,
}

impl<'a> Shapes<'a> {
    pub fn new(side: Side<'a>) -> Shapes<'a> {
        Shapes { side, full: HashMap::new() }
    }

    /// Hash of the code without filler, with every address in it masked.
    pub fn full(&mut self, i: usize) -> u64 {
        if let Some(&h) = self.full.get(&i) {
            return h;
        }
        let f = &self.side.lifted.functions[i];
        let mut h = DefaultHasher::new();
        self.instructions(f, |bytes| bytes.hash(&mut h));
        for t in &f.tables {
            t.entries.len().hash(&mut h);
        }
        self.features(i).hash(&mut h);
        let h = h.finish();
        self.full.insert(i, h);
        h
    }

    fn instructions(&self, f: &Function, mut sink: impl FnMut(&[u8])) {
        let mut buffer = [0u8; 16];
        for insn in f.insns.iter().filter(|i| !i.is_nop()) {
            let len = usize::from(insn.len);
            let at = f.parts[usize::from(insn.part)].start.plus(u64::from(insn.offset));
            let Some(bytes) = self.side.image.bytes(at, len as u64) else { continue };
            buffer[..len].copy_from_slice(bytes);
            for r in &f.refs[insn.refs()] {
                let from = (r.field_at - r.insn) as usize;
                buffer[from..len.min(from + r.field.size())].fill(0);
            }
            if insn.local().is_some() && insn.refs().is_empty() {
                // A branch within the function: its kind counts, neither its length nor its distance.
                let kind = if buffer[0] == 0x0f { buffer[1] & 0x7f } else { buffer[0] };
                sink(&[kind]);
            } else {
                sink(&buffer[..len]);
            }
        }
    }

    /// Hash of the code without filler, with each address in it replaced by what is known of what it leads to.
    pub fn exact(&mut self, i: usize) -> u64 {
        let mut h = DefaultHasher::new();
        self.full(i).hash(&mut h);
        let f = &self.side.lifted.functions[i];
        for r in &f.refs {
            self.of([r]).hash(&mut h);
            if let (Target::Data { data, offset }, Access::Direct { width }) = (&r.target, r.access)
                && let d = &self.side.lifted.data[data.index()]
                && d.kind != DataKind::Named
            {
                self.side.image.bytes(d.range.start.offset(*offset), u64::from(width)).hash(&mut h);
            }
        }
        h.finish()
    }

    /// Whether [`Self::exact`] says all: it doesn't know what is behind the address of a constant without a name that is no text.
    pub fn is_whole(&self, i: usize) -> bool {
        let lifted = self.side.lifted;
        !lifted.functions[i].refs.iter().any(|r| match r.target {
            Target::Data { data, .. } if r.access == Access::Derived => {
                !matches!(lifted.data[data.index()].kind, DataKind::Named | DataKind::String)
            }
            _ => false,
        })
    }

    /// What the function is about: the names and literals that it refers to.
    pub fn features(&self, i: usize) -> BTreeSet<u64> {
        self.of(&self.side.lifted.functions[i].refs)
    }

    fn of<'r>(&self, refs: impl IntoIterator<Item = &'r CodeRef>) -> BTreeSet<u64> {
        let lifted = self.side.lifted;
        let mut out = BTreeSet::new();
        let mut add = |what: &dyn Fn(&mut DefaultHasher)| {
            let mut h = DefaultHasher::new();
            what(&mut h);
            out.insert(h.finish());
        };
        for r in refs {
            match &r.target {
                Target::Import(id) => {
                    let Import { name, .. } = self.side.image.import(*id);
                    add(&|h| (1, name).hash(h));
                }
                Target::Func { func, .. } => {
                    let name = super::stem(&lifted.functions[func.index()].name).name;
                    add(&|h| (2, &name).hash(h));
                }
                Target::Data { data, offset } => {
                    let d = &lifted.data[data.index()];
                    match d.kind {
                        DataKind::Named => {
                            let name = super::stem(&d.name).name;
                            add(&|h| (3, &name, offset).hash(h));
                        }
                        DataKind::String => {
                            let text = self.side.image.c_str(d.range.start.offset(*offset));
                            add(&|h| (4, text).hash(h));
                        }
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        out
    }
}

/// Share of common elements; 0 where there is nothing to compare.
pub(super) fn similarity(a: &BTreeSet<u64>, b: &BTreeSet<u64>) -> f64 {
    let common = a.intersection(b).count();
    let all = a.len() + b.len() - common;
    if all == 0 { 0.0 } else { common as f64 / all as f64 }
}
