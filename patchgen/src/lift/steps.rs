//! Addresses of which code computes another one at a constant distance: GCC makes a string of a text from the text's end, and has its
//! start by `lea -29(%rdx),%rsi`. Both are the same object's (a link editor puts objects where it likes), and tell more together than
//! the one that stands in the instruction.

use super::assemble::by_words;
use super::decode::Piece;
use super::indexed::{self, Callees, Room};
use super::{Access, CodeRef, Data, DataKind, Function, Target};
use crate::addr::{DataId, Svma};
use crate::image::Image;
use iced_x86::{FlowControl, Instruction, Mnemonic, OpKind, Register};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::Ordering;

/// Instructions between the two.
const NEAR: u32 = 24;

/// Addresses in registers that are kept in mind.
const MOST: usize = 4;

/// From the one to the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// The instructions that have the one and compute the other, indexes in [`Piece::insns`].
    pub first: u32,
    pub second: u32,
    pub at: Svma,
    pub distance: i32,
}

impl Step {
    /// The lower one of the two.
    pub fn start(self) -> Svma {
        self.at.offset(i64::from(self.distance.min(0)))
    }

    /// Bytes from there to the address that stands in the instruction.
    pub fn ahead(self) -> u32 {
        self.distance.min(0).unsigned_abs()
    }
}

/// The step from the address that an instruction has.
pub(super) fn from(piece: &Piece, first: u32) -> Option<Step> {
    piece.steps.binary_search_by_key(&first, |s| s.first).ok().map(|n| piece.steps[n])
}

/// Addresses that registers hold on the path through the instructions that are being decoded, as long as no branch is taken and nothing
/// is called.
#[derive(Default)]
pub(super) struct Held(Vec<(Register, u32, Svma)>);

impl Held {
    /// Takes down the instruction numbered `index`; gives a step that it makes.
    pub fn see(&mut self, i: &Instruction, index: u32) -> Option<Step> {
        let computes = i.mnemonic() == Mnemonic::Lea && i.op0_register().is_gpr64();
        let mut step = None;
        if !self.0.is_empty() {
            let distance = i32::try_from(i.memory_displacement64().cast_signed()).unwrap_or(0);
            if computes && i.memory_index() == Register::None && distance != 0 {
                let from = self.0.iter().find(|(register, ..)| *register == i.memory_base());
                step = from.map(|&(_, first, at)| Step { first, second: index, at, distance });
            }
            let written = i.op_count() > 0 && i.op0_kind() == OpKind::Register && i.mnemonic() != Mnemonic::Push;
            // Behind a call other code may begin that nothing comes to from here: not all of them return.
            let passed = is_plain(i) || i.flow_control() == FlowControl::ConditionalBranch;
            let kept = |r: Register| passed && !(written && i.op0_register().full_register() == r);
            self.0.retain(|&(register, first, _)| kept(register) && index - first < NEAR);
        }
        if computes && i.is_ip_rel_memory_operand() {
            if self.0.len() == MOST {
                self.0.remove(0);
            }
            self.0.push((i.op0_register(), index, Svma(i.ip_rel_memory_address())));
        }
        step
    }
}

/// The next instruction comes behind it, and it writes no general register but its first operand.
fn is_plain(i: &Instruction) -> bool {
    use Mnemonic::{
        Add, And, Cmp, Lea, Mov, Movaps, Movd, Movdqa, Movdqu, Movhps, Movq, Movsx, Movsxd, Movups, Movzx, Or, Push,
        Pxor, Sub, Test, Xor,
    };
    i.flow_control() == FlowControl::Next
        && matches!(
            i.mnemonic(),
            Add | And
                | Cmp
                | Lea
                | Mov
                | Movaps
                | Movd
                | Movdqa
                | Movdqu
                | Movhps
                | Movq
                | Movsx
                | Movsxd
                | Movups
                | Movzx
                | Or
                | Push
                | Pxor
                | Sub
                | Test
                | Xor
        )
}

/// Marks addresses that are as well the end of a nameless constant of which the same function has the address. Not of texts that nothing
/// else refers to: somebody means them, or they wouldn't be there. Nor where the function never has the two addresses together: each place
/// that uses such a constant has both by itself. Nor is a text, in an image that `named` its arrays, gone through by words.
pub(super) fn mark_ends(
    (image, named): (&Image, bool),
    callees: &Callees,
    functions: &mut [Function],
    data: &[Data],
    data_at: &BTreeMap<Svma, DataId>,
) {
    let mut room = Room::new();
    let target =
        |target: &Target| if let Target::Data { data, offset } = *target { Some((data, offset)) } else { None };
    let mut uses = vec![0u32; data.len()];
    let code = functions.iter().flat_map(|f| &f.refs).map(|r| &r.target);
    let held = data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)).map(|r| &r.target);
    code.chain(held).filter_map(target).for_each(|(id, _)| uses[id.index()] += 1);
    for f in functions {
        let taken: OnceCell<HashSet<DataId>> = OnceCell::new();
        let mut found = Vec::new();
        for (n, r) in
            f.refs.iter().enumerate().filter(|(_, r)| r.access == Access::Derived && r.stepped.is_none() && !r.meant)
        {
            let Some((id, 0)) = target(&r.target) else { continue };
            let here = &data[id.index()];
            if here.kind == DataKind::String && uses[id.index()] == 1 {
                continue;
            }
            let Some((_, &before)) = data_at.range(..here.range.start).next_back() else { continue };
            let d = &data[before.index()];
            let taken = || {
                let derived = f.refs.iter().filter(|r| r.access == Access::Derived);
                taken.get_or_init(|| derived.filter_map(|r| target(&r.target)).map(|(id, _)| id).collect())
            };
            let nameless = match d.kind {
                DataKind::String => !(named && by_words(image, f, r)),
                kind => kind == DataKind::Blob,
            };
            if nameless && d.range.end == here.range.start && taken().contains(&before) {
                let starts = |s: &&CodeRef| s.access == Access::Derived && s.target.data() == Some(before);
                let mut starts = f.refs.iter().filter(starts);
                if starts.any(|s| indexed::meet(image, callees, f, [s, r], &mut room)) {
                    found.push((n, (before, d.range.size().cast_signed())));
                }
            }
        }
        callees.decoded.fetch_add(room.end(), Ordering::Relaxed);
        for (n, reading) in found {
            if !f.refs[n].alternatives.contains(&reading) {
                f.refs[n].alternatives.push(reading);
            }
        }
    }
}
