//! Addresses of other modules' objects in code of executables at fixed addresses. Such code has them as numbers of four bytes, because the
//! executable has copies of the objects; the objects themselves lie farther away.

use super::text::INT3;
use super::{Linker, Out, Reloc, RelocKind};
use crate::include::{Place, SlotKey};

/// `call rel32`; what is left of the `mov` that it takes the place of becomes `nop`.
const CALL: u8 = 0xe8;
const NOP: u8 = 0x90;
/// `mov slot(%rip),%rax; ret`, with the register's number still to be put in.
const FETCHER: [u8; 8] = [0x48, 0x8b, 0x05, 0, 0, 0, 0, 0xc3];
/// The bit of the REX prefix that makes `r8` of `rax`, and where the register's other bits are (Intel SDM, volume 2, 2.1).
const REX_R: u8 = 0x04;
const REGISTER_SHIFT: u8 = 3;
const FETCHER_FIELD: u64 = 3;
const FETCHER_ALIGN: u64 = 8;

impl Linker<'_, '_> {
    /// Makes `mov $address,%register`, which begins at `start` and has its operand at `at`, a call of a function that loads the register from a
    /// slot. That changes nothing else: no other register, no flag, and nothing on the stack that a function which makes calls could use.
    pub(super) fn fetch_instead(&mut self, at: u64, start: u64, key: &SlotKey) -> bool {
        let place = |at: u64| usize::try_from(at).ok();
        let (Some(from), Some(field)) = (place(start), place(at)) else { return false };
        let (register, width) = match self.section(Out::Text).bytes.get(from..field) {
            Some([opcode @ 0xb8..=0xbf]) => (opcode & 7, 4),
            Some([0x41, opcode @ 0xb8..=0xbf]) => (opcode & 7 | 8, 4),
            Some([0x48, opcode @ 0xb8..=0xbf]) => (opcode & 7, 8),
            Some([0x49, opcode @ 0xb8..=0xbf]) => (opcode & 7 | 8, 8),
            _ => return false,
        };
        let Some(fetcher) = self.fetcher(register, key) else { return false };
        match self.section(Out::Text).bytes.get_mut(from..field.saturating_add(width)) {
            Some(code) => {
                code.fill(NOP);
                code[field - from - 1] = CALL;
            }
            None => return false,
        }
        self.clear(at, 4);
        let symbol = self.symbols.section(Out::Text);
        let addend = fetcher.cast_signed() - 4;
        self.section(Out::Text).relocs.push(Reloc { offset: at, kind: RelocKind::Pc32, symbol, addend });
        self.out.return_sites.push(u32::try_from(at + 4).unwrap_or(u32::MAX));
        true
    }

    fn fetcher(&mut self, register: u8, key: &SlotKey) -> Option<u64> {
        if let Some(&at) = self.layout.fetchers.get(&(register, key.clone())) {
            return Some(at);
        }
        let mut code = FETCHER;
        code[0] |= if register & 8 == 0 { 0 } else { REX_R };
        code[2] |= (register & 7) << REGISTER_SHIFT;
        let text = self.section(Out::Text);
        text.align_to(FETCHER_ALIGN, INT3);
        let at = text.append(&code);
        let slot = Place::Slot(key.clone());
        if !self.relocate(Out::Text, at + FETCHER_FIELD, RelocKind::Pc32, &slot, -4) {
            return None;
        }
        self.layout.fetchers.insert((register, key.clone()), at);
        Some(at)
    }
}
