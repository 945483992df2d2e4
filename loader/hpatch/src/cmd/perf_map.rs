//! `/tmp/perf-PID.map`: where perf looks for the names of code that comes from no file.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use object::{Object, ObjectSection, ObjectSymbol};

use crate::error::{Error, Result};
use crate::target::Target;
use crate::target::control::Patch;
use crate::target::procfs;

/// Adds the functions of `patch` to the map, in the mount and pid namespace of the process.
pub fn write(target: &Target, patch: &Patch) -> Result<()> {
    let mut lines = String::new();
    for (unit, _) in patch.units.iter().filter(|u| u.0.symfile != 0 && u.0.symfile_len < 64 << 20) {
        let bytes = target.mem.read_vec(unit.symfile, unit.symfile_len as usize).map_err(|_| target.vanished())?;
        let Ok(file) = object::File::parse(&*bytes) else {
            return Err(Error::internal("the symbol file can't be read"));
        };
        for s in file.symbols().filter(|s| s.size() != 0) {
            // A relocatable file's symbols count from the section, of which the loader has noted the place.
            let section = s.section_index().and_then(|n| file.section_by_index(n).ok());
            let Some(start) = section.map(|s| s.address()).filter(|a| *a != 0) else { continue };
            let (name, at) = (s.name().unwrap_or("?"), start.wrapping_add(s.address()));
            let _ = writeln!(lines, "{at:x} {:x} {name} [{}]", s.size(), patch.id);
        }
    }
    let status = procfs::text(format!("/proc/{}/status", target.pid)).map_err(|_| target.vanished())?;
    // The last one is the pid as the process itself sees it.
    let inner = status.lines().find_map(|l| l.strip_prefix("NSpid:")?.split_whitespace().last()).unwrap_or("");
    let inner: i32 = inner.parse().unwrap_or(target.pid);
    let tmp = Path::new("/proc").join(target.pid.to_string()).join("root").join("tmp");
    let path = tmp.join(format!("perf-{inner}.map"));
    let fail = |e: std::io::Error| Error::io(format!("the patch is live; cannot write {}", path.display()), &e);
    // Others can write to that directory: nothing but a plain file of root's or of the process's user is taken.
    let options = libc::O_NOFOLLOW | libc::O_CLOEXEC | libc::O_NONBLOCK;
    let mut file =
        File::options().append(true).create(true).mode(0o600).custom_flags(options).open(&path).map_err(fail)?;
    let (meta, process) =
        (file.metadata().map_err(fail)?, std::fs::metadata(format!("/proc/{}", target.pid)).map_err(fail)?);
    if !meta.is_file() || meta.nlink() != 1 || ![0, process.uid()].contains(&meta.uid()) {
        return Err(fail(std::io::Error::other("somebody else's file")));
    }
    // perf reads only files of its own user or root's.
    let _ = std::os::unix::fs::fchown(&file, Some(process.uid()), Some(process.gid()));
    file.write_all(lines.as_bytes()).map_err(fail)
}
