//! Instructions, decoded with capstone.

use super::world::World;
use capstone::arch::x86::X86OperandType;
use capstone::arch::{ArchDetail, BuildsCapstone, DetailsArchInsn};
use capstone::{Capstone, RegId};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operand {
    Reg(u16),
    Imm(i64),
    Mem { segment: u16, base: u16, index: u16, scale: i32, disp: i64, size: u8 },
}

/// What follows an instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    Next,
    Call,
    /// To an address, and on to the next one when conditional.
    Jump {
        to: u64,
        conditional: bool,
    },
    /// Through a register or memory.
    Indirect,
    Stop,
}

#[derive(Debug, Clone)]
pub struct Insn {
    pub at: u64,
    pub bytes: Vec<u8>,
    pub mnemonic: String,
    pub operands: Vec<Operand>,
    pub flow: Flow,
    /// Offset and size of the displacement and the immediate in the instruction.
    pub disp: Option<(u8, u8)>,
    pub imm: Option<(u8, u8)>,
    /// For a report.
    pub text: String,
}

/// capstone's number of `rip` and of the segment registers that hold the thread pointer.
const RIP: u16 = capstone::arch::x86::X86Reg::X86_REG_RIP as u16;
const FS: u16 = capstone::arch::x86::X86Reg::X86_REG_FS as u16;

impl Insn {
    pub fn end(&self) -> u64 {
        self.at.wrapping_add(self.bytes.len() as u64)
    }

    /// Without `bnd`, `notrack` and the like.
    pub fn verb(&self) -> &str {
        self.mnemonic.rsplit(' ').next().unwrap_or_default()
    }

    pub fn jumps(&self) -> bool {
        self.verb() == "jmp"
    }

    pub fn is_nop(&self) -> bool {
        self.verb() == "nop"
    }

    pub fn rip_relative(&self) -> bool {
        self.operands.iter().any(|o| matches!(o, Operand::Mem { base: RIP, .. }))
    }

    /// A displacement from the thread pointer.
    pub fn thread_relative(operand: &Operand) -> bool {
        matches!(operand, Operand::Mem { segment: FS, .. })
    }

    /// Of a branch or call with an operand that is its target.
    pub fn direct_target(&self) -> Option<u64> {
        match (self.flow, self.operands.first()) {
            (Flow::Jump { to, .. }, _) => Some(to),
            (Flow::Call, Some(Operand::Imm(to))) => Some(*to as u64),
            _ => None,
        }
    }
}

pub struct Decoder {
    capstone: Capstone,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Decoder")
    }
}

impl Decoder {
    /// # Errors
    /// When capstone can't decode x86-64.
    pub fn new() -> Result<Decoder, String> {
        let built = Capstone::new().x86().mode(capstone::arch::x86::ArchMode::Mode64).detail(true).build();
        Ok(Decoder { capstone: built.map_err(|e| e.to_string())? })
    }

    pub fn decode(&self, world: &World, at: u64) -> Option<Insn> {
        if !world.executable(at) {
            return None;
        }
        let bytes = world.bytes_up_to(at, 16);
        let decoded = self.capstone.disasm_count(bytes, at, 1).ok()?;
        let insn = decoded.iter().next()?;
        let detail = self.capstone.insn_detail(insn).ok()?;
        let ArchDetail::X86Detail(x86) = detail.arch_detail();
        let encoding = x86.encoding();
        let reg = |r: RegId| r.0;
        let mnemonic = insn.mnemonic()?.to_owned();
        let verb = mnemonic.rsplit(' ').next().unwrap_or_default();
        let operands: Vec<Operand> = x86
            .operands()
            .filter_map(|o| match o.op_type {
                X86OperandType::Reg(r) => Some(Operand::Reg(reg(r))),
                X86OperandType::Imm(value) => Some(Operand::Imm(value)),
                X86OperandType::Mem(m) => Some(Operand::Mem {
                    segment: reg(m.segment()),
                    base: reg(m.base()),
                    index: reg(m.index()),
                    scale: m.scale(),
                    disp: m.disp(),
                    size: compared(verb).unwrap_or(o.size),
                }),
                X86OperandType::Invalid => None,
            })
            .collect();
        // An access to the page at zero always faults.
        let flow = if null(verb, &operands) { Flow::Stop } else { flow(verb, &operands) };
        let bytes = insn.bytes().to_vec();
        // capstone doesn't say where the displacement of every SSE instruction is, or says it wrongly.
        let seen = || {
            let disp = operands.iter().find_map(|o| match o {
                Operand::Mem { base: RIP, disp, .. } => i32::try_from(*disp).ok(),
                _ => None,
            })?;
            let at = bytes.windows(4).rposition(|w| w == disp.to_le_bytes())?;
            Some((u8::try_from(at).ok()?, 4))
        };
        let disp = seen().or(encoding.disp.map(|s| (s.offset, s.size)));
        Some(Insn {
            at,
            text: format!("{mnemonic} {}", insn.op_str().unwrap_or_default()),
            mnemonic,
            bytes,
            operands,
            flow,
            disp,
            imm: encoding.imm.map(|s| (s.offset, s.size)),
        })
    }
}

/// Bytes that a comparison of scalars reads (Intel SDM, volume 2): capstone takes them for those of a whole vector register.
fn compared(verb: &str) -> Option<u8> {
    match verb.strip_prefix('v').unwrap_or(verb) {
        "comisd" | "ucomisd" => Some(8),
        "comiss" | "ucomiss" => Some(4),
        _ => None,
    }
}

fn null(verb: &str, operands: &[Operand]) -> bool {
    let at_zero = |o: &Operand| matches!(o, Operand::Mem { segment: 0, base: 0, index: 0, disp: 0..4096, .. });
    !(verb == "lea" || verb == "nop" || verb.starts_with("prefetch")) && operands.iter().any(at_zero)
}

fn flow(verb: &str, operands: &[Operand]) -> Flow {
    let target = match operands.first() {
        Some(Operand::Imm(to)) => Some(*to as u64),
        _ => None,
    };
    match verb {
        "call" | "lcall" => Flow::Call,
        "jmp" => target.map_or(Flow::Indirect, |to| Flow::Jump { to, conditional: false }),
        "ljmp" => Flow::Indirect,
        "ret" | "retf" | "retfq" | "iretq" | "iretd" | "hlt" | "ud2" | "ud1" | "ud0" | "sysret" | "sysretq" => {
            Flow::Stop
        }
        v if v.starts_with('j') || v.starts_with("loop") || v == "xbegin" => {
            target.map_or(Flow::Indirect, |to| Flow::Jump { to, conditional: true })
        }
        _ => Flow::Next,
    }
}
