//! Old unwinders that are linked into a module (`-static-libgcc`) ask nobody for the tables of a frame but the dynamic linker's list of modules: an
//! exception that such a one brings through new code ends the process. Of the module's own new code `patchgen` has seen to that.

use hpatch_core::abi::Unit;
use object::{Object, ObjectSymbol};

use crate::error::{Error, Exit, Result, code};
use crate::target::control::Patch;
use crate::target::modules::{self, Module};
use crate::target::{Target, source};

/// libgcc's search for a frame's tables, and what it is built on.
const SEARCH: &[u8] = b"_Unwind_Find_FDE";
const WALKS: &[u8] = b"dl_iterate_phdr";
/// What newer ones ask, and where libgcc is told of tables.
const ASKED: &[u8] = b"_dl_find_object";
const TOLD: &[u8] = b"__register_frame_info";

/// Refuses a patch whose code makes calls where a module has such an unwinder. One in a stripped file isn't seen.
///
/// # Errors
/// HP1110.
pub fn check(target: &Target, patch: &Patch) -> Result<()> {
    // Those of functions that stay where they are aren't new code.
    let calls = |u: &Unit| patch.new_sites.iter().any(|site| u.is_called_from(*site));
    let calling: Vec<u64> = patch.units.iter().filter(|(u, _)| calls(u)).map(|(u, _)| u.lo).collect();
    if calling.is_empty() {
        return Ok(());
    }
    let maps = target.maps()?;
    let others = |m: &Module| calling.iter().any(|lo| !m.contains(*lo));
    let mut modules = modules::loaded(&target.mem, &maps).into_iter().filter(|m| others(m) && !m.is_libc());
    match modules.find(|m| source::file_of(target, m, &maps).is_some_and(|file| unwinds_alone(&file))) {
        None => Ok(()),
        Some(m) => Err(Error::new(
            code::UNWINDER,
            Exit::Refused,
            format!(
                "{} has an old unwinder of its own, whose exceptions couldn't pass through the patch",
                m.file_name()
            ),
        )
        .help("build it without -static-libgcc, or with GCC 12 or later")),
    }
}

fn unwinds_alone(file: &source::ElfFile) -> bool {
    let named = |s: &object::read::elf::ElfSymbol64<'_, '_>, name: &[u8]| s.name_bytes() == Ok(name);
    let imports = |name: &[u8]| file.dynamic_symbols().any(|s| s.is_undefined() && named(&s, name));
    let exports = |name: &[u8]| file.dynamic_symbols().any(|s| s.is_definition() && named(&s, name));
    imports(WALKS)
        && !imports(ASKED)
        && !exports(TOLD)
        && file.symbols().any(|s| s.is_definition() && named(&s, SEARCH))
}
