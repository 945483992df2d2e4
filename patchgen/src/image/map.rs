//! Input files in memory.

use super::error::{Blame, ImageError, codes};
use memmap2::UncheckedAdvice;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

/// A whole input file, read-only; cheap to clone.
#[derive(Clone)]
pub struct FileBytes(Arc<Content>);

enum Content {
    Mapped(memmap2::Mmap, File),
    Owned(Vec<u8>),
}

impl FileBytes {
    pub fn open(path: &Path) -> Result<FileBytes, ImageError> {
        let blame = Blame(path);
        // Without O_NONBLOCK opening a pipe would wait for a writer.
        let opened = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path);
        let file = opened.map_err(blame.with(codes::READ_FAILED, "can't be opened"))?;
        let meta = file.metadata().map_err(blame.with(codes::READ_FAILED, "can't be read"))?;
        if !meta.is_file() {
            return Err(blame.err(codes::NOT_REGULAR, "not a regular file"));
        }
        map(file).map_err(blame.with(codes::READ_FAILED, "can't be mapped"))
    }

    /// The same file mapped once more, where that can be done: what is read there is out of memory again as soon as the value is gone.
    pub(crate) fn apart(&self) -> FileBytes {
        let again = match &*self.0 {
            Content::Mapped(_, file) => file.try_clone().and_then(map).ok(),
            Content::Owned(_) => None,
        };
        again.unwrap_or_else(|| self.clone())
    }

    /// As the content of a file without a name, in the directory for temporary files: memory that can be had back.
    pub(crate) fn set_aside(bytes: &[u8]) -> std::io::Result<FileBytes> {
        let mut file =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_TMPFILE).open(std::env::temp_dir())?;
        file.write_all(bytes)?;
        map(file)
    }

    /// Takes a part of a file out of this process's memory, until it is read again.
    pub(crate) fn give_back(&self, part: Range<usize>) {
        let Content::Mapped(map, _) = &*self.0 else { return };
        if part.start < part.end && part.end <= map.len() {
            // SAFETY: the map is private and nothing writes to it, so its pages hold nothing that isn't in the file.
            #[expect(unsafe_code, reason = "debug sections of hundreds of megabytes are read unit by unit")]
            let given = unsafe { map.unchecked_advise_range(UncheckedAdvice::DontNeed, part.start, part.len()) };
            // Memory that isn't given back is in nobody's way.
            drop(given);
        }
    }
}

fn map(file: File) -> std::io::Result<FileBytes> {
    // SAFETY: the map is private and read-only, and nothing here writes to the file. Another process may still change or truncate the
    // file while it is mapped: the bytes are then other bytes (every read is bounds-checked and nothing relies on two reads being
    // equal), or the process dies by SIGBUS. Linkers and debuggers accept the same.
    #[expect(unsafe_code, reason = "input files of hundreds of megabytes are mapped, not read")]
    let map = unsafe { memmap2::Mmap::map(&file) };
    Ok(FileBytes(Arc::new(Content::Mapped(map?, file))))
}

impl From<Vec<u8>> for FileBytes {
    fn from(v: Vec<u8>) -> Self {
        FileBytes(Arc::new(Content::Owned(v)))
    }
}

impl std::ops::Deref for FileBytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match &*self.0 {
            Content::Mapped(m, _) => m,
            Content::Owned(v) => v,
        }
    }
}

impl fmt::Debug for FileBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileBytes({} bytes)", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::FileBytes;

    #[test]
    fn what_is_given_back_can_be_read_again() {
        let bytes: Vec<u8> = (0..100_000u32).map(|n| (n / 7) as u8).collect();
        let aside = FileBytes::set_aside(&bytes).expect("a temporary file");
        for part in [0..100_000, 5000..5000, 5000..60_001, 99_999..100_000, 7..100_001] {
            aside.give_back(part);
            assert_eq!(aside[..], bytes[..]);
        }
        FileBytes::from(bytes).give_back(0..10);
    }
}
