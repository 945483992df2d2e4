//! Whether code of an image moves the thread that runs it to another stack. Users of the C library's contexts are known by their imports, so the
//! library itself doesn't count.

use super::{Function, Lifted, decode};
use crate::image::Image;
use iced_x86::Instruction;

/// Whether a function of the image switches stacks by itself.
#[must_use]
pub fn switches_stacks(image: &Image, lifted: &Lifted) -> bool {
    let mut candidates = lifted.functions.iter().filter(|f| f.writes_stack);
    let is_libc = image.soname.as_ref().is_some_and(|name| name.starts_with("libc.so"));
    !is_libc && candidates.any(|f| switches(image, f))
}

fn switches(image: &Image, f: &Function) -> bool {
    let code: Vec<Instruction> = f
        .parts
        .iter()
        .filter_map(|&p| Some((p.start, image.bytes(p.start, p.size())?)))
        .flat_map(|(start, bytes)| decode::decoder(bytes, start).into_iter().collect::<Vec<_>>())
        .collect();
    hpatch_stacks::switches(&code)
}
