//! Where code goes on: from an instruction, and through the dynamic linker to what its own image exports.

use super::{Function, Lifted, Slot, Target, instruction};
use crate::addr::{DataId, FuncId};
use crate::image::Image;
use iced_x86::FlowControl;
use std::collections::HashMap;

/// The instructions of the function that may come after number `at`, calls coming back, and whether the function may be left there.
pub(crate) fn ways(image: &Image, f: &Function, at: usize) -> (Vec<usize>, bool) {
    let insn = &f.insns[at];
    let on = || f.insns.get(at + 1).filter(|n| n.part == insn.part).map(|_| at + 1);
    let to = || insn.local().and_then(|place| f.index(place));
    let decoded = if insn.is_nop() { None } else { instruction(image, f, insn) };
    match decoded.map_or(FlowControl::Next, |i| i.flow_control()) {
        FlowControl::Return => (Vec::new(), true),
        FlowControl::Exception => (Vec::new(), false),
        FlowControl::UnconditionalBranch => (to().into_iter().collect(), insn.local().is_none()),
        FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
            (to().into_iter().chain(on()).collect(), insn.local().is_none())
        }
        FlowControl::IndirectBranch => {
            let entries = f.tables.iter().flat_map(|t| &t.entries);
            (entries.filter_map(|&place| f.index(place)).collect(), true)
        }
        FlowControl::Next | FlowControl::Call | FlowControl::IndirectCall | FlowControl::Interrupt => {
            (on().into_iter().collect(), false)
        }
    }
}

/// What an image exports: its own code comes to that through the dynamic linker, which finds this image's as a rule.
#[derive(Debug)]
pub(crate) struct Exported<'a> {
    image: &'a Image,
    funcs: HashMap<&'a str, FuncId>,
    data: HashMap<&'a str, DataId>,
}

impl<'a> Exported<'a> {
    pub fn of(image: &'a Image, lifted: &'a Lifted) -> Exported<'a> {
        let names = |ids: &'a [_]| ids.iter().map(|&s| image.symbol(s)).filter(|s| s.exported).map(|s| s.name.as_str());
        let funcs = lifted.functions.iter().enumerate();
        let data = lifted.data.iter().enumerate();
        Exported {
            image,
            funcs: funcs.flat_map(|(i, f)| names(&f.names).map(move |name| (name, i.into()))).collect(),
            data: data.flat_map(|(i, d)| names(&d.names).map(move |name| (name, i.into()))).collect(),
        }
    }

    fn name(&self, target: &Target) -> Option<&'a str> {
        match target {
            Target::Import(import) | Target::Slot(Slot::Import { import, .. }) => {
                Some(self.image.import(*import).name.as_str())
            }
            _ => None,
        }
    }

    /// The function of this image that is meant.
    pub fn func(&self, target: &Target) -> Option<FuncId> {
        target.func().or_else(|| self.funcs.get(self.name(target)?).copied())
    }

    /// The datum of this image that is meant.
    pub fn datum(&self, target: &Target) -> Option<DataId> {
        target.data().or_else(|| self.data.get(self.name(target)?).copied())
    }
}
