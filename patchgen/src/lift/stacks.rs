//! Whether code of an image moves the thread that runs it to another stack. Users of the C library's contexts are known by their imports, so the
//! library itself doesn't count, nor does what a static program has of it for `longjmp`, which dynamic ones import, and of the dynamic linker.

use super::{Function, Lifted, decode};
use crate::image::Image;
use iced_x86::{Instruction, Mnemonic, OpKind, Register};

/// Whether a function of the image switches stacks by itself.
#[must_use]
pub fn switches_stacks(image: &Image, lifted: &Lifted) -> bool {
    let mut candidates = lifted.functions.iter().filter(|f| f.writes_stack);
    let is_libc = image.soname.as_ref().is_some_and(|name| name.starts_with("libc.so"));
    let of_library = |f: &Function, code: &[Instruction]| restores_jump(code) || f.name.starts_with(AUDITED);
    let own = |f: &Function, code: &[Instruction]| {
        !(image.is_static() && of_library(f, code)) && hpatch_stacks::switches(code)
    };
    !is_libc && candidates.any(|f| own(f, &instructions(image, f)))
}

/// The dynamic linker's functions that let auditors see a call (rtld-audit(7)) take the stack pointer back out of a structure of their own in the
/// frame. Such names are the implementation's (C11, 7.1.3).
const AUDITED: &str = "_dl_runtime_profile_";

/// What glibc's `longjmp` does, and nothing else: it takes registers from a `jmp_buf`, where they are mangled with a word of the thread's
/// control block (`pointer_guard`).
fn restores_jump(code: &[Instruction]) -> bool {
    code.iter().any(|i| {
        let guard = i.memory_segment() == Register::FS && i.memory_displacement64() == 0x30;
        i.mnemonic() == Mnemonic::Xor && i.op0_kind() == OpKind::Register && i.op1_kind() == OpKind::Memory && guard
    })
}

fn instructions(image: &Image, f: &Function) -> Vec<Instruction> {
    f.parts
        .iter()
        .filter_map(|&p| Some((p.start, image.bytes(p.start, p.size())?)))
        .flat_map(|(start, bytes)| decode::decoder(bytes, start).into_iter().collect::<Vec<_>>())
        .collect()
}
