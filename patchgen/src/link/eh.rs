//! `.eh_frame` and `.gcc_except_table` of the payload (LSB 5.0, "Exception Frames").

use super::{Linker, Out, Reloc, RelocKind};
use crate::include::{Cie, Lsda, Place, TYPE_ENCODING, Unwind, unwind_of};
use patchfmt::codes;
use std::collections::BTreeMap;

/// DW_EH_PE_pcrel | DW_EH_PE_sdata4.
const PCREL_SDATA4: u8 = 0x1b;

fn uleb(mut value: u64, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn sleb(mut value: i64, out: &mut Vec<u8>) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        let sign = byte & 0x40 != 0;
        if (value == 0 && !sign) || (value == -1 && sign) {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

impl Linker<'_, '_> {
    pub(super) fn fill_eh_frame(&mut self) {
        let parts: Vec<_> = self.layout.parts.iter().map(|(&k, &at)| (k, at)).collect();
        let mut cies: BTreeMap<Cie, u64> = BTreeMap::new();
        for ((func, part), at) in parts {
            let size = self.analysis.new.functions[func.index()].parts[usize::from(part)].size();
            match unwind_of(self.analysis, self.binder, func, part) {
                Ok(Some(unwind)) => {
                    let cie = match cies.get(&unwind.cie) {
                        Some(&at) => at,
                        None => {
                            let at = self.push_cie(&unwind.cie);
                            cies.insert(unwind.cie.clone(), at);
                            at
                        }
                    };
                    let lsda = unwind.lsda.as_ref().map(|l| self.push_lsda(l));
                    self.push_fde(&unwind, cie, at, size, lsda);
                }
                Ok(None) => {}
                Err(unbound) => {
                    let name = self.name_of(func);
                    self.refuse(unbound.code, &name, format!("`{name}` has {}", unbound.what));
                }
            }
        }
        if !cies.is_empty() {
            // A zero length ends the list for the unwinder.
            self.section(Out::EhFrame).append(&[0; 4]);
        }
    }

    /// Writes a record with its length in front, padded with DW_CFA_nop to 8 bytes, and gives its offset.
    fn push_record(&mut self, mut body: Vec<u8>) -> u64 {
        body.resize((body.len() + 4).next_multiple_of(8) - 4, 0);
        let section = self.section(Out::EhFrame);
        section.align_to(8, 0);
        let at = section.append(&u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        section.append(&body);
        at
    }

    fn push_cie(&mut self, cie: &Cie) -> u64 {
        let mut body = vec![0, 0, 0, 0, 1];
        body.push(b'z');
        if cie.personality.is_some() {
            body.push(b'P');
        }
        if cie.has_lsda {
            body.push(b'L');
        }
        body.push(b'R');
        if cie.signal_frame {
            body.push(b'S');
        }
        body.push(0);
        uleb(cie.code_align, &mut body);
        sleb(cie.data_align, &mut body);
        body.push(u8::try_from(cie.return_register).unwrap_or(u8::MAX));
        let mut data = Vec::new();
        let mut field = None;
        if cie.personality.is_some() {
            data.push(TYPE_ENCODING);
            field = Some(data.len());
            data.extend_from_slice(&[0; 4]);
        }
        if cie.has_lsda {
            data.push(PCREL_SDATA4);
        }
        data.push(PCREL_SDATA4);
        uleb(data.len() as u64, &mut body);
        let data_at = body.len();
        body.extend_from_slice(&data);
        body.extend_from_slice(&cie.instructions);
        let at = self.push_record(body);
        if let (Some(key), Some(field)) = (&cie.personality, field) {
            let offset = at + 4 + (data_at + field) as u64;
            self.relocate(Out::EhFrame, offset, RelocKind::Pc32, &Place::Slot(key.clone()), 0);
        }
        at
    }

    fn push_fde(&mut self, unwind: &Unwind, cie: u64, text: u64, size: u64, lsda: Option<u64>) {
        let at = self.section(Out::EhFrame).size.next_multiple_of(8);
        let mut body = Vec::new();
        // Distance back from this field to the CIE.
        body.extend_from_slice(&u32::try_from(at + 4 - cie).unwrap_or(u32::MAX).to_le_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
        if unwind.cie.has_lsda {
            body.push(4);
            body.extend_from_slice(&[0; 4]);
        } else {
            body.push(0);
        }
        body.extend_from_slice(&unwind.instructions);
        self.push_record(body);
        let symbol = self.symbols.section(Out::Text);
        let addend = text.cast_signed();
        self.section(Out::EhFrame).relocs.push(Reloc { offset: at + 8, kind: RelocKind::Pc32, symbol, addend });
        if let Some(lsda) = lsda {
            let symbol = self.symbols.section(Out::Lsda);
            let addend = lsda.cast_signed();
            self.section(Out::EhFrame).relocs.push(Reloc { offset: at + 17, kind: RelocKind::Pc32, symbol, addend });
        }
    }

    fn push_lsda(&mut self, lsda: &Lsda) -> u64 {
        let section = self.section(Out::Lsda);
        section.align_to(4, 0);
        let base = section.append(&lsda.bytes);
        for (offset, key) in &lsda.types {
            let at = base + u64::from(*offset);
            self.clear_lsda(at);
            if !self.relocate(Out::Lsda, at, RelocKind::Pc32, &Place::Slot(key.clone()), 0) {
                let message = "an exception table refers to a type that can't be carried".to_owned();
                self.refuse(codes::LSDA_NOT_CARRIED, "", message);
            }
        }
        base
    }

    fn clear_lsda(&mut self, at: u64) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        if let Some(field) = self.section(Out::Lsda).bytes.get_mut(at..at.saturating_add(4)) {
            field.fill(0);
        }
    }
}
