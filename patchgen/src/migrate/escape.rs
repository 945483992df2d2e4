//! Whether the address of a variable can outlive the calls of the functions that name it.
//!
//! Follows the address through registers, from each instruction that makes it, along every path of the function, and into functions of the image
//! that are given it. It escapes where it is stored, returned to somebody who doesn't name the variable, given to code that isn't known to
//! forget it, or used in a way that isn't understood. Whatever isn't seen counts as an escape.

use crate::addr::{DataId, FuncId};
use crate::check::Calls;
use crate::image::{Image, Import, SectionKind};
use crate::lift::{Access, CodeRef, DataRef, Function, Insn, Lifted, Slot, Target};
use crate::types::{MOST, Returned};
use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, OpAccess, OpKind, Register,
};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A set of general registers, by their number.
pub type Regs = u16;

pub const RAX: Regs = 1;
const RDX: Regs = 1 << 2;
/// rdi, rsi, rdx, rcx, r8, r9, and r10 for the static chain.
pub const ARGUMENTS: Regs = 1 << 7 | 1 << 6 | RDX | 1 << 1 | 1 << 8 | 1 << 9 | 1 << 10;
/// In the order in which a caller fills them.
const IN_ORDER: [Regs; MOST as usize] = [1 << 7, 1 << 6, RDX, 1 << 1, 1 << 8, 1 << 9];
pub const CALLER_SAVED: Regs = RAX | ARGUMENTS | 1 << 11;

/// Calls that are followed into one another at most.
const DEPTH: u32 = 12;

/// Functions of the C library that keep none of their arguments behind their return (C11, 7.21 to 7.24; POSIX), and return numbers.
const FORGETFUL: &[&str] = &[
    "memcmp",
    "bzero",
    "strlen",
    "strnlen",
    "strcmp",
    "strncmp",
    "strcasecmp",
    "strncasecmp",
    "strspn",
    "strcspn",
    "atoi",
    "getopt",
    "getopt_long",
    "getopt_long_only",
    "strdup",
    "strndup",
    "fopen",
    "open",
    "access",
    "unlink",
    "getenv",
    "perror",
    "syslog",
    "__syslog_chk",
    "atol",
    "printf",
    "fprintf",
    "dprintf",
    "sprintf",
    "snprintf",
    "vprintf",
    "vfprintf",
    "vsnprintf",
    "__printf_chk",
    "__fprintf_chk",
    "__sprintf_chk",
    "__snprintf_chk",
    "__vsnprintf_chk",
    "puts",
    "fputs",
    "putchar",
    "putc",
    "fputc",
    "fwrite",
    "fread",
    "fflush",
    "sscanf",
    "__isoc99_sscanf",
    "__isoc23_sscanf",
    "malloc",
    "calloc",
    "free",
    "abort",
    "exit",
    "_exit",
    "__stack_chk_fail",
    "time",
    "clock_gettime",
    "gettimeofday",
    "read",
    "write",
    "pread",
    "pwrite",
    "recv",
    "send",
    "usleep",
    "sleep",
    "nanosleep",
    "rand",
    "random",
    "pthread_mutex_lock",
    "pthread_mutex_trylock",
    "pthread_mutex_unlock",
    "pthread_rwlock_rdlock",
    "pthread_rwlock_wrlock",
    "pthread_rwlock_unlock",
    "pthread_cond_wait",
    "pthread_cond_signal",
    "pthread_cond_broadcast",
];

/// Such that return one of their arguments, or an address derived from one.
const RETURNING: &[&str] = &[
    "memset",
    "memcpy",
    "memmove",
    "memchr",
    "strcpy",
    "strncpy",
    "strcat",
    "strncat",
    "strchr",
    "strrchr",
    "strstr",
    "fgets",
    "__memcpy_chk",
    "__memset_chk",
    "__memmove_chk",
    "__strcpy_chk",
    "__strncpy_chk",
    "__strcat_chk",
    "__fgets_chk",
];

/// What a function does with addresses that it is given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Being looked at further up.
    Pending,
    /// It forgets them, but for what is in these registers when it returns.
    Leaves(Regs),
}

type Verdict<T> = Result<T, String>;

/// The address of one variable in one build.
pub struct Address<'a> {
    image: &'a Image,
    lifted: &'a Lifted,
    /// With how many arguments other modules' functions are called at most, by their names.
    taken: &'a BTreeMap<String, u64>,
    object: DataId,
    /// Nobody writes to it, and the old one stays what it is: who still reads it does no harm once nothing comes of that.
    constant: bool,
    /// Functions that return it to their callers, which are all known.
    sources: BTreeSet<FuncId>,
    known: HashMap<(FuncId, Regs), Known>,
    factory: InstructionInfoFactory,
}

impl std::fmt::Debug for Address<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the address of {}", self.lifted.data[self.object.index()].name)
    }
}

/// The object that a target is, or that a slot has the address of.
fn object(target: &Target) -> Option<DataId> {
    match target {
        Target::Data { data, .. } => Some(*data),
        Target::Slot(Slot::Address(inner)) => object(inner),
        _ => None,
    }
}

/// Whether a target is the object, or a slot with its address.
pub fn leads(target: &Target, to: DataId) -> bool {
    object(target) == Some(to)
}

/// The objects that a reference may mean.
pub fn objects(reference: &CodeRef) -> impl Iterator<Item = DataId> + '_ {
    object(&reference.target).into_iter().chain(reference.alternatives.iter().map(|(data, _)| *data))
}

/// Whether a reference may mean the object.
pub fn names(reference: &CodeRef, object: DataId) -> bool {
    objects(reference).any(|id| id == object)
}

impl<'a> Address<'a> {
    pub fn new(image: &'a Image, lifted: &'a Lifted, taken: &'a BTreeMap<String, u64>, object: DataId) -> Address<'a> {
        let section = lifted.data[object.index()].section;
        let constant = matches!(section, SectionKind::Rodata | SectionKind::Relro);
        Address {
            image,
            lifted,
            taken,
            object,
            constant,
            sources: BTreeSet::new(),
            known: HashMap::new(),
            factory: InstructionInfoFactory::new(),
        }
    }

    /// Checks functions that name the variable, with what each function returns. With `calls`, where a function that nobody else can call
    /// returns a constant's address, its callers are checked in its stead.
    ///
    /// # Errors
    /// In words, how the address may get out.
    pub fn stays_in(
        &mut self,
        users: &[FuncId],
        returned: impl Fn(FuncId) -> Returned,
        calls: Option<&Calls>,
    ) -> Result<(), String> {
        let mut todo: Vec<(FuncId, bool)> = users.iter().rev().map(|&user| (user, false)).collect();
        while let Some((func, kept)) = todo.pop() {
            let result = match returned(func) {
                Returned::Nothing => 0,
                Returned::Word => RAX,
                Returned::More => RAX | RDX,
            };
            if self.walk(func, 0, 0, kept)? & result == 0 {
                continue;
            }
            let known = calls.filter(|c| self.constant && result == RAX && !c.address_taken(func));
            let Some(calls) = known else {
                return Err(format!("`{}` may return its address", self.name(func)));
            };
            if self.sources.insert(func) {
                self.known.clear();
                todo.extend(calls.callers(func).map(|caller| (caller, !users.contains(&caller))));
            }
        }
        Ok(())
    }

    /// In which registers a function of another module may have arguments. One that isn't declared, or takes any number, has all.
    fn arguments(&self, import: &Import) -> Regs {
        let count = self.taken.get(&import.name).copied().filter(|&count| count < MOST);
        match count.and_then(|count| IN_ORDER.get(..usize::try_from(count).ok()?)) {
            Some(used) => used.iter().fold(0, |all, one| all | one),
            None => ARGUMENTS,
        }
    }

    fn name(&self, func: FuncId) -> &'a str {
        &self.lifted.functions[func.index()].name
    }

    /// What is left of it in caller-saved registers when a function returns that was entered with it in `given`.
    fn function(&mut self, func: FuncId, given: Regs, depth: u32) -> Verdict<Regs> {
        match self.known.get(&(func, given)) {
            Some(Known::Leaves(regs)) => return Ok(*regs),
            // Further in than its own entry anything may be left.
            Some(Known::Pending) => return Ok(CALLER_SAVED),
            None => {}
        }
        let function = &self.lifted.functions[func.index()];
        if depth > DEPTH {
            return Err(format!("what `{}` does with its address can't be followed", function.name));
        }
        self.known.insert((func, given), Known::Pending);
        let left = self.walk(func, given, depth, false)?;
        self.known.insert((func, given), Known::Leaves(left));
        Ok(left)
    }

    fn walk(&mut self, func: FuncId, given: Regs, depth: u32, kept: bool) -> Verdict<Regs> {
        let function = &self.lifted.functions[func.index()];
        if function.opaque || !function.unprovable.is_empty() || function.insns.is_empty() {
            return Err(format!("what `{}` does with its address can't be followed", function.name));
        }
        let (states, todo) = (BTreeMap::new(), Vec::new());
        Walk { address: self, func, function, depth, kept, states, todo, left: 0 }.run(given)
    }
}

struct Walk<'w, 'a> {
    address: &'w mut Address<'a>,
    func: FuncId,
    function: &'a Function,
    depth: u32,
    /// It may stay, and be active with the address at the switch: new code must not get it from there.
    kept: bool,
    /// By index of the instruction: in which registers it may be on the way in.
    states: BTreeMap<usize, Regs>,
    todo: Vec<usize>,
    /// At a return.
    left: Regs,
}

impl<'a> Walk<'_, 'a> {
    fn run(mut self, given: Regs) -> Verdict<Regs> {
        self.reach(0, given);
        loop {
            while let Some(at) = self.todo.pop() {
                let state = self.states.get(&at).copied().unwrap_or(0);
                self.step(at, state)?;
            }
            // Landing pads, and whatever else no branch leads to: entered with all that was ever there.
            let all = self.states.values().fold(given, |all, s| all | s);
            let unseen = (0..self.function.insns.len()).filter(|i| !self.function.insns[*i].is_nop());
            let Some(next) = unseen.into_iter().find(|i| !self.states.contains_key(i)) else { break };
            self.reach(next, all);
        }
        Ok(self.left)
    }

    fn reach(&mut self, at: usize, state: Regs) {
        let known = self.states.get(&at).copied();
        if known.is_none_or(|k| k | state != k) {
            self.states.insert(at, known.unwrap_or(0) | state);
            self.todo.push(at);
        }
    }

    /// The instruction behind `at` in the same part.
    fn next(&mut self, at: usize, state: Regs) {
        let here = &self.function.insns[at];
        if self.function.insns.get(at + 1).is_some_and(|n| n.part == here.part) {
            self.reach(at + 1, state);
        }
    }

    fn branch(&mut self, place: (u8, u32), state: Regs) -> Verdict<()> {
        match self.function.index(place) {
            Some(there) => self.reach(there, state),
            // The end of a part, where only filler is.
            None if state == 0 => {}
            None => return self.lost("jumps where nothing is known to be"),
        }
        Ok(())
    }

    fn lost<T>(&self, how: &str) -> Verdict<T> {
        Err(format!("`{}` {how} with its address", self.function.name))
    }

    fn decode(&self, insn: &Insn) -> Option<Instruction> {
        let at = self.function.parts[usize::from(insn.part)].start.plus(u64::from(insn.offset));
        let bytes = self.address.image.bytes(at, u64::from(insn.len))?;
        Some(Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE).decode())
    }

    fn refs(&self, insn: &Insn) -> &'a [CodeRef] {
        self.function.refs.get(insn.refs()).unwrap_or_default()
    }

    fn step(&mut self, at: usize, state: Regs) -> Verdict<()> {
        let function = self.function;
        let insn = &function.insns[at];
        if insn.is_nop() {
            self.next(at, state);
            return Ok(());
        }
        let Some(i) = self.decode(insn) else { return self.lost("has bytes that can't be read") };
        match i.flow_control() {
            FlowControl::Next => {
                let state = self.plain(insn, &i, state)?;
                self.next(at, state);
            }
            FlowControl::ConditionalBranch | FlowControl::XbeginXabortXend => {
                match insn.local() {
                    Some(place) => self.branch(place, state)?,
                    None => self.tail_call(insn, state)?,
                }
                self.next(at, state);
            }
            FlowControl::UnconditionalBranch => match insn.local() {
                Some(place) => self.branch(place, state)?,
                None => self.tail_call(insn, state)?,
            },
            FlowControl::IndirectBranch => {
                let branches = function.insns.iter().filter_map(|n| self.decode(n));
                let branches = branches.filter(|b| b.flow_control() == FlowControl::IndirectBranch).count();
                if branches > function.tables.len() && state != 0 {
                    let Some(labels) = self.labels() else { return self.lost("jumps through a pointer") };
                    labels.into_iter().try_for_each(|place| self.branch(place, state))?;
                }
                for &place in function.tables.iter().flat_map(|t| &t.entries) {
                    self.branch(place, state)?;
                }
            }
            FlowControl::Call | FlowControl::IndirectCall => {
                let state = self.call(insn, &i, state)?;
                self.next(at, state);
            }
            FlowControl::Return => self.left |= state & CALLER_SAVED,
            FlowControl::Exception | FlowControl::Interrupt => {}
        }
        Ok(())
    }

    /// Where an interpreter that dispatches through the object may jump: every label of this function whose address is anywhere in data, if
    /// the object holds nothing but such.
    fn labels(&self) -> Option<Vec<(u8, u32)>> {
        let inner = |r: &DataRef| match r.target {
            Target::Func { func, part, offset } if func == self.func && (part, offset) != (0, 0) => {
                Some((part, offset))
            }
            _ => None,
        };
        let lifted = self.address.lifted;
        let table = &lifted.data[self.address.object.index()];
        let whole = table.refs.len() as u64 * 8 == table.range.size() && table.refs.iter().all(|r| inner(r).is_some());
        whole.then(|| lifted.data.iter().flat_map(|d| &d.refs).filter_map(inner).collect())
    }

    /// The caller's frame is gone: nobody would see that the callee holds it. Of a constant that does no harm, as long as nothing is left of it.
    fn tail_call(&mut self, insn: &Insn, state: Regs) -> Verdict<()> {
        let refs = self.refs(insn);
        if refs.iter().any(|r| names(r, self.address.object)) {
            return self.lost("jumps to another function");
        }
        if state == 0 && self.source(refs).is_none() {
            return Ok(());
        }
        let image = self.address.image;
        let target = refs.iter().filter(|r| r.branch).find_map(|r| match &r.target {
            Target::Func { func, part: 0, offset: 0 } => Some(Ok(*func)),
            Target::Import(import) | Target::Slot(Slot::Import { import, addend: 0 }) => {
                Some(Err(&image.imports[import.index()]))
            }
            _ => None,
        });
        // The registers that it must leave as they were are its caller's again.
        let given = state & CALLER_SAVED;
        let constant = self.address.constant;
        match target {
            _ if given != state => self.lost("jumps to another function"),
            Some(Ok(_)) if self.kept && given & ARGUMENTS != 0 => self.lost("jumps to another function"),
            // Left over from before, in registers that aren't looked at.
            Some(Err(import)) if given & self.address.arguments(import) == 0 => Ok(()),
            Some(Err(import)) if constant && is_libc(import) && FORGETFUL.contains(&import.name.as_str()) => Ok(()),
            Some(Ok(func)) if constant && self.is_forgetful(func) => Ok(()),
            Some(Ok(func)) if constant => {
                self.left |= self.address.function(func, given, self.depth + 1)?;
                Ok(())
            }
            _ => self.lost("jumps to another function"),
        }
    }

    /// A function that is called or jumped to and returns the address.
    fn source(&self, refs: &[CodeRef]) -> Option<FuncId> {
        refs.iter().filter(|r| r.branch).find_map(|r| match r.target {
            Target::Func { func, part: 0, offset: 0 } if self.address.sources.contains(&func) => Some(func),
            _ => None,
        })
    }

    /// The C library calls its own functions without a slot.
    fn is_forgetful(&self, func: FuncId) -> bool {
        let symbols = self.address.lifted.functions[func.index()].names.iter().map(|&s| self.address.image.symbol(s));
        let mut exported = symbols.filter(|s| s.exported && s.version.as_deref().is_some_and(is_glibc));
        exported.any(|s| FORGETFUL.contains(&s.name.as_str()))
    }

    fn call(&mut self, insn: &Insn, i: &Instruction, state: Regs) -> Verdict<Regs> {
        let given = state & CALLER_SAVED;
        let kept = state & !CALLER_SAVED;
        if given == 0 && self.source(self.refs(insn)).is_none() {
            return Ok(kept);
        }
        let image = self.address.image;
        let target = self.refs(insn).iter().find_map(|r| match &r.target {
            _ if i.mnemonic() != Mnemonic::Call => None,
            Target::Func { func, part: 0, offset: 0 } if r.branch => Some(Ok(*func)),
            Target::Slot(Slot::Address(inner)) => match **inner {
                Target::Func { func, part: 0, offset: 0 } => Some(Ok(func)),
                _ => None,
            },
            Target::Import(import) | Target::Slot(Slot::Import { import, addend: 0 }) => {
                Some(Err(&image.imports[import.index()]))
            }
            _ => None,
        });
        match target {
            Some(Ok(func)) if self.is_forgetful(func) => Ok(kept),
            Some(Ok(_)) if self.kept && given & ARGUMENTS != 0 => self.lost("calls another function"),
            Some(Ok(func)) => {
                let depth = self.depth + 1;
                Ok(kept | self.address.function(func, given, depth)?)
            }
            // Left over from before, in registers that aren't looked at.
            Some(Err(import)) if given & self.address.arguments(import) == 0 => Ok(kept),
            Some(Err(import)) if is_libc(import) && FORGETFUL.contains(&import.name.as_str()) => Ok(kept),
            Some(Err(import)) if is_libc(import) && RETURNING.contains(&import.name.as_str()) => Ok(kept | RAX),
            Some(Err(import)) => self.lost(&format!("may call `{}`", import.name)),
            None if i.mnemonic() == Mnemonic::Call && given & ARGUMENTS == 0 => Ok(kept),
            None => self.lost("calls through a pointer, or the kernel,"),
        }
    }

    /// Any other instruction: in which registers it may be afterwards.
    fn plain(&mut self, insn: &Insn, i: &Instruction, state: Regs) -> Verdict<Regs> {
        let made = self.makes(insn, i)?;
        let holds = |r: Register| bit(r).is_some_and(|b| state & b != 0);
        let both = holds(i.op0_register()) && holds(i.op1_register())
            || holds(i.memory_base()) && holds(i.memory_index())
            || holds(i.op0_register()) && i.mnemonic() != Mnemonic::Mov && holds(i.memory_base());
        if self.kept && both && !matches!(i.mnemonic(), Mnemonic::Mov | Mnemonic::Test) {
            return self.lost("compares what another call returned");
        }
        let after = through(&mut self.address.factory, i, made, state);
        after.or_else(|how| self.lost(how))
    }

    /// Whether the instruction makes the address anew, as a value.
    fn makes(&self, insn: &Insn, i: &Instruction) -> Verdict<bool> {
        let object = self.address.object;
        let mut made = false;
        // Who has nothing of a constant but what may be its end has no way to read it.
        if self.address.constant && !self.function.refs.iter().any(|r| leads(&r.target, object)) {
            return Ok(false);
        }
        for r in self.refs(insn).iter().filter(|r| names(r, object)) {
            if matches!(r.target, Target::Slot(_)) {
                // Loads it from the GOT; comparing it there makes nothing.
                made |= !matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test);
                continue;
            }
            let displacement = self.is_displacement(insn, r);
            made |= match r.access {
                Access::Direct { .. } => false,
                Access::Derived => i.mnemonic() == Mnemonic::Lea || !displacement,
                Access::Branch | Access::Thread => return self.lost("does what isn't understood"),
            };
        }
        Ok(made && !matches!(i.mnemonic(), Mnemonic::Cmp | Mnemonic::Test))
    }

    fn is_displacement(&self, insn: &Insn, reference: &CodeRef) -> bool {
        let at = self.function.parts[usize::from(insn.part)].start.plus(u64::from(insn.offset));
        let Some(bytes) = self.address.image.bytes(at, u64::from(insn.len)) else { return false };
        let mut decoder = Decoder::with_ip(64, bytes, at.0, DecoderOptions::NONE);
        let instruction = decoder.decode();
        let offsets = decoder.get_constant_offsets(&instruction);
        offsets.has_displacement() && offsets.displacement_offset() as u32 == reference.field_at - reference.insn
    }
}

/// What an instruction that goes on to the next one does with the address, which it makes anew if `made`; in words where that isn't followed.
pub fn through(
    factory: &mut InstructionInfoFactory,
    i: &Instruction,
    made: bool,
    state: Regs,
) -> Result<Regs, &'static str> {
    let info = factory.info(i);
    let holds = |r: Register| bit(r).is_some_and(|b| state & b != 0);
    let operands = || (0..i.op_count()).filter(|&n| i.op_kind(n) == OpKind::Register);
    let zeroes = matches!(i.mnemonic(), Mnemonic::Xor | Mnemonic::Sub)
        && operands().count() == 2
        && i.op0_register() == i.op1_register();
    let read = operands().any(|n| reads(info.op_access(n)) && holds(i.op_register(n)));
    let computed = i.mnemonic() == Mnemonic::Lea && (holds(i.memory_base()) || holds(i.memory_index()));
    let value = !zeroes && (made || read || computed);
    let mut after = state;
    for used in info.used_registers() {
        let register = used.register();
        let Some(own) = bit(register) else { continue };
        let same = |r: Register| r.full_register() == register.full_register();
        let explicit = operands().any(|n| same(i.op_register(n)));
        // Where a string instruction reads or writes, and goes on from.
        let pointer = i.is_string_instruction() && [Register::RDI, Register::RSI].iter().any(|r| same(*r));
        if pointer {
            continue;
        }
        // Multiplied, divided, counted with...
        if reads(used.access()) && state & own != 0 && !explicit && !same(i.memory_base()) && !same(i.memory_index()) {
            return Err("computes");
        }
        match (writes(used.access()), value) {
            (true, true) if !explicit && !same(Register::RSP) => return Err("computes"),
            (true, false) if zeroes || used.access() == OpAccess::Write && register.size() >= 4 => after &= !own,
            _ => {}
        }
    }
    if !value {
        return Ok(after);
    }
    for n in (0..i.op_count()).filter(|&n| writes(info.op_access(n))) {
        match i.op_kind(n) {
            OpKind::Register => match bit(i.op_register(n)) {
                Some(own) => after |= own,
                None => return Err("fills a vector register"),
            },
            _ => return Err("writes to memory"),
        }
    }
    // `push` writes to memory without an operand that says so.
    if i.is_stack_instruction() { Err("writes to memory") } else { Ok(after) }
}

/// Whether it is the C library's, by its version: others may have a function of that name.
fn is_libc(import: &Import) -> bool {
    import.version.as_deref().is_some_and(is_glibc)
}

fn is_glibc(version: &str) -> bool {
    version.starts_with("GLIBC_")
}

pub fn bit(register: Register) -> Option<Regs> {
    let full = register.full_register();
    full.is_gpr64().then(|| 1 << full.number())
}

pub fn reads(access: OpAccess) -> bool {
    matches!(access, OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}

pub fn writes(access: OpAccess) -> bool {
    matches!(access, OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite)
}
