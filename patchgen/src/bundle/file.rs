//! Files, read once within a limit and replaced as a whole.

use super::Failure;
use patchfmt::codes;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// HP0010, HP0012 or HP0013.
pub fn read(path: &Path, limit: usize) -> Result<Vec<u8>, Failure> {
    let io = |e| Failure::io(codes::READ_FAILED, path.display(), &e);
    // Without O_NONBLOCK opening a pipe would wait for a writer.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).map_err(io)?;
    let meta = file.metadata().map_err(io)?;
    if !meta.is_file() {
        return Err(Failure::new(codes::NOT_REGULAR, path.display()));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len()).unwrap_or(0).min(limit) + 1);
    // The file may grow meanwhile: what counts is what was read.
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() > limit {
        let detail = format!("more than {limit} bytes");
        return Err(Failure::new(codes::FILE_TOO_LARGE, path.display()).detail(detail));
    }
    Ok(bytes)
}

/// Reads a bundle file.
///
/// # Errors
/// As [`read`].
pub fn read_bundle(path: &Path) -> Result<Vec<u8>, Failure> {
    read(path, patchfmt::wire::MAX_BUNDLE)
}

/// Writes `bytes` to `path` so that the path holds either the old or the new content, whatever happens: a new file in the same
/// directory is written, synced and renamed over it. Permissions of an existing file are kept. A pipe or a character device
/// (`/dev/null`) isn't replaced, it takes the bytes.
///
/// # Errors
/// HP0011, HP0012; the old file is unchanged then.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    replace_as(path, bytes, |_| Some(fs::metadata(target_of(path)).ok()?.permissions().mode() & 0o7777))
}

/// Refuses an output that is one of the inputs, under whatever name.
///
/// # Errors
/// HP0014.
pub fn not_an_input<'a>(output: &Path, inputs: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    let place = |path: &Path| fs::metadata(path).ok().map(|m| (m.dev(), m.ino()));
    let taken = place(output);
    match inputs.into_iter().find(|input| taken.is_some() && place(input) == taken) {
        Some(input) => Err(Failure::new(codes::OUTPUT_IS_INPUT, output.display()).detail(input.display())),
        None => Ok(()),
    }
}

/// What [`replace_like`] takes over from a file.
///
/// # Errors
/// HP0010.
pub fn metadata(path: &Path) -> Result<fs::Metadata, Failure> {
    fs::metadata(path).map_err(|e| Failure::io(codes::READ_FAILED, path.display(), &e))
}

/// As [`replace`], with the permissions of another file. The bits that let a program run as its owner are taken over only where the new
/// file has the same owner and group.
///
/// # Errors
/// HP0011; the old file is unchanged then.
pub fn replace_like(path: &Path, bytes: &[u8], model: &fs::Metadata) -> Result<(), Failure> {
    replace_as(path, bytes, |made| {
        let same = (made.uid(), made.gid()) == (model.uid(), model.gid());
        Some(model.permissions().mode() & if same { 0o7777 } else { 0o777 })
    })
}

fn replace_as(path: &Path, bytes: &[u8], mode: impl FnOnce(&fs::Metadata) -> Option<u32>) -> Result<(), Failure> {
    let io = |e: std::io::Error| Failure::io(codes::WRITE_FAILED, path.display(), &e);
    // Behind a symbolic link lies the file that is meant.
    let target = target_of(path);
    match fs::metadata(&target).map(|m| m.file_type()) {
        Ok(kind) if kind.is_char_device() || kind.is_fifo() => {
            let mut stream = OpenOptions::new().write(true).open(&target).map_err(io)?;
            return stream.write_all(bytes).map_err(io);
        }
        Ok(kind) if !kind.is_file() && !kind.is_dir() => return Err(Failure::new(codes::NOT_REGULAR, path.display())),
        _ => {}
    }
    let (temporary, mut file) = create_beside(&target).map_err(io)?;
    let written = (|| {
        file.write_all(bytes)?;
        if let Some(mode) = mode(&file.metadata()?) {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        file.sync_all()?;
        fs::rename(&temporary, &target)
    })();
    if let Err(e) = written {
        // Nothing more can be done about a leftover than to try.
        let _ = fs::remove_file(&temporary);
        return Err(io(e));
    }
    // The rename itself is durable only with its directory; some file systems can't sync one.
    if let Some(directory) = directory_of(&target).and_then(|d| File::open(d).ok()) {
        let _ = directory.sync_all();
    }
    Ok(())
}

/// Writes a new file; one that is there already is never overwritten.
///
/// # Errors
/// HP0011.
pub fn create(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let io = |e: std::io::Error| Failure::io(codes::WRITE_FAILED, path.display(), &e);
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(io)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io)
}

fn target_of(path: &Path) -> PathBuf {
    fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
}

fn directory_of(path: &Path) -> Option<&Path> {
    path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p })
}

fn create_beside(path: &Path) -> std::io::Result<(PathBuf, File)> {
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let mut last = None;
    for n in 0..100 {
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.{n}.tmp", std::process::id()));
        let temporary = path.with_file_name(hidden);
        match OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    Err(last.unwrap_or_else(|| std::io::ErrorKind::AlreadyExists.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_as_a_whole_and_keeps_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        replace(&path, b"one").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        replace(&path, b"two").unwrap();
        assert_eq!(read(&path, 3).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(read(&path, 2).unwrap_err().code, codes::FILE_TOO_LARGE);
        assert_eq!(create(&path, b"three").unwrap_err().code, codes::WRITE_FAILED);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        // Every write to /dev/full fails with ENOSPC, but the file beside can't be made there: the directory isn't writable for files.
        assert_eq!(replace(Path::new("/proc/self/nothing"), b"x").unwrap_err().code, codes::WRITE_FAILED);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("dir");
        fs::create_dir(&path).unwrap();
        assert_eq!(replace(&path, b"x").unwrap_err().code, codes::WRITE_FAILED);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "a temporary file was left");
    }

    #[test]
    fn what_is_no_file_takes_the_bytes_and_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        let reader = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        replace(&path, b"one").unwrap();
        let mut taken = Vec::new();
        (&reader).take(3).read_to_end(&mut taken).unwrap();
        assert_eq!(taken, b"one");
        assert!(fs::metadata(&path).unwrap().file_type().is_fifo(), "the pipe was replaced");
        let socket = dir.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert_eq!(replace(&socket, b"x").unwrap_err().code, codes::NOT_REGULAR);
    }

    #[test]
    fn reads_regular_files_only() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(dir.path(), 9).unwrap_err().code, codes::NOT_REGULAR);
        assert_eq!(read(Path::new("/dev/null"), 9).unwrap_err().code, codes::NOT_REGULAR);
        assert_eq!(read(&dir.path().join("absent"), 9).unwrap_err().code, codes::READ_FAILED);
    }
}
