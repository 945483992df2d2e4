//! The command works with the rights of whoever starts it, and no others.

use crate::error::{Error, Exit, Result, code};

/// Refuses a file with a set-user-ID bit or with capabilities: who starts it chooses the loader's file, the keys that count and the process, and would
/// get that process's rights. A process whose effective user isn't its real one makes its own copy of the command look the same; other ways are tried then.
///
/// # Errors
/// HP1412.
pub fn check() -> Result<()> {
    // SAFETY: reads a number that the kernel has left beside the arguments (getauxval(3)), and the user's.
    let (secure, user) = unsafe { (libc::getauxval(libc::AT_SECURE), libc::getuid()) };
    // Root has these rights anyway: a security module sets it where a service's domain begins, too.
    match (secure, user) {
        (0, _) | (_, 0) => Ok(()),
        _ => Err(Error::new(
            code::PRIVILEGED,
            Exit::Refused,
            "this program's file gives it more rights than whoever starts it has",
        )
        .help(
            "take the set-user-ID bit or the capabilities from the file, and start it as root or as the process's user",
        )),
    }
}
