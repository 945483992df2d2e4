//! The keys that may sign bundles.

use core::cell::UnsafeCell;
use core::ffi::CStr;

use hpatch_core::report::{Name, Report};
use patchfmt::key::{self, PublicKey};
use patchfmt::{Code, codes};

use crate::dir::Dir;
use crate::mem::Pages;
use crate::process;
use crate::sys::{self, Open};

/// The system's trust directory.
const SYSTEM: &CStr = c"/etc/hpatch/trust";
const MAX_KEYS: usize = 64;
const MAX_FILE: u64 = 64 * 1024;

/// Trusted keys.
#[derive(Debug)]
pub struct Keys {
    all: [PublicKey; MAX_KEYS],
    len: usize,
}

impl Keys {
    fn none() -> Keys {
        Keys { all: [PublicKey::Ed25519([0; 32]); MAX_KEYS], len: 0 }
    }

    pub fn all(&self) -> &[PublicKey] {
        &self.all[..self.len]
    }

    /// Keys of kinds that can't sign bundles are no keys here.
    fn add_lines(&mut self, text: &[u8]) {
        for (_, key) in key::keys_in(core::str::from_utf8(text).unwrap_or_default()) {
            if let (Ok(key), Some(slot)) = (key, self.all.get_mut(self.len)) {
                *slot = key;
                self.len += 1;
            }
        }
    }
}

/// Key lines that the command gave: address and length of a mapping.
struct Given(UnsafeCell<Option<(Pages, usize)>>);
// SAFETY: only the control thread uses it, one at a time.
unsafe impl Sync for Given {}
static GIVEN: Given = Given(UnsafeCell::new(None));

/// From now on only the keys in `pages` are trusted, `len` bytes of text.
pub fn give(pages: Pages, len: usize) {
    // SAFETY: see `Given`; no borrow is kept.
    unsafe { *GIVEN.0.get() = Some((pages, len)) }
}

/// The keys that count now: the command's, or else those of the trust directory.
pub fn keys(with_directory: bool, report: &mut Report) -> Result<Keys, Code> {
    let mut keys = Keys::none();
    // SAFETY: see `Given`; the borrow ends here.
    let given = unsafe { &*GIVEN.0.get() };
    match given {
        Some((pages, len)) => keys.add_lines(pages.bytes().get(..*len).unwrap_or_default()),
        None if with_directory => {
            let mut path = [0u8; 4096];
            let named =
                process::facts(|f| f.trust().map(|p| path[..p.count_bytes()].copy_from_slice(p.to_bytes())).is_some());
            let path = if named { CStr::from_bytes_until_nul(&path).unwrap_or(SYSTEM) } else { SYSTEM };
            read_directory(path, &mut keys, report)?;
        }
        None => {}
    }
    if keys.len == 0 {
        Err(report.refuse(codes::LOADER_NO_TRUST, format_args!("no usable public key")))
    } else {
        Ok(keys)
    }
}

fn read_directory(path: &CStr, keys: &mut Keys, report: &mut Report) -> Result<(), Code> {
    let shown = Name(path.to_bytes());
    let dir = sys::open(path, Open::Directory);
    let dir = dir.map_err(|e| report.refuse(codes::LOADER_NO_TRUST, format_args!("{shown}: {}", e)))?;
    if !sys::stat(&dir).is_ok_and(|s| s.is_safe()) {
        return Err(report.refuse(codes::TRUST_INSECURE, format_args!("{shown} can be changed by others")));
    }
    let entries = Dir::read(&dir).map_err(|e| report.refuse(codes::LOADER_NO_TRUST, format_args!("{shown}: {}", e)))?;
    let mut unread = None;
    for name in entries.sorted(b".pub") {
        // Not readable by this user, a link or a FIFO: not a key.
        let file = match sys::open_in(&dir, name, Open::ReadNoFollow) {
            Ok(file) => file,
            Err(e) => {
                unread = Some(e);
                continue;
            }
        };
        let Ok(stat) = sys::stat(&file) else { continue };
        if !stat.is_regular() || stat.size > MAX_FILE {
            continue;
        }
        if !stat.is_safe() {
            let name = Name(name.to_bytes());
            return Err(report.refuse(codes::TRUST_INSECURE, format_args!("{shown}/{name} can be changed by others")));
        }
        let Ok(mut pages) = Pages::new(stat.size) else { continue };
        let len = sys::read_full(&file, pages.bytes_mut()).unwrap_or(0);
        keys.add_lines(&pages.bytes()[..len]);
    }
    match unread {
        // All files may be open that this process is allowed.
        Some(e) if keys.len == 0 => Err(report.refuse(codes::LOADER_NO_TRUST, format_args!("{shown}: {e}"))),
        _ => Ok(()),
    }
}
