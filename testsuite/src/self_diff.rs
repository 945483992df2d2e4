//! A program is no different from itself: `patchgen diff` of every ELF file with itself finds nothing, whatever made the file.

use crate::process::{self, Output};
use crate::{Failure, Result, check, paths};
use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// The largest program of a usual machine takes a tenth of this.
const LIMIT: Duration = Duration::from_secs(600);

/// What came out of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing differs.
    Same,
    /// `patchgen` doesn't take the file, and says why.
    NotTaken(String),
    /// A finding, a crash or a hang.
    Wrong(String),
}

/// Executables and shared objects for x86-64 below these folders (or these files), each inode once, by path.
pub fn images(roots: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let (mut found, mut seen) = (BTreeSet::new(), BTreeSet::new());
    let mut todo: Vec<PathBuf> = roots.to_vec();
    while let Some(path) = todo.pop() {
        // What vanishes or can't be read meanwhile is no image.
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_dir() {
            todo.extend(fs::read_dir(&path)?.filter_map(|entry| Some(entry.ok()?.path())));
        } else if meta.is_file() && is_image(&path) && seen.insert((meta.dev(), meta.ino())) {
            found.insert(path);
        }
    }
    Ok(found.into_iter().collect())
}

/// ELF magic, 64 bits, little-endian, ET_EXEC or ET_DYN, EM_X86_64 (gABI, chapter 4).
fn is_image(path: &Path) -> bool {
    let mut head = [0; 20];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut head));
    read.is_ok() && head.starts_with(b"\x7fELF\x02\x01") && matches!(head[16], 2 | 3) && head[18..] == [62, 0]
}

/// Compares one file with itself.
pub fn judge(patchgen: &Path, path: &Path) -> Verdict {
    let mut command = Command::new(patchgen);
    command.arg("diff").arg("--old").arg(path).arg("--new").arg(path).env("RAYON_NUM_THREADS", "1");
    match process::run(&mut command, LIMIT) {
        Ok(output) => verdict(&output),
        Err(failure) => Verdict::Wrong(failure.to_string()),
    }
}

fn verdict(output: &Output) -> Verdict {
    let said = || process::tail(&output.text(), 12);
    match output.code() {
        Some(3) => Verdict::Same,
        // What an image is may be refused, never what changed in it.
        Some(4 | 6) if ["error[HP01", "error[HP0521]"].iter().any(|code| output.text().starts_with(code)) => {
            Verdict::NotTaken(output.text().lines().next().unwrap_or_default().to_owned())
        }
        _ => Verdict::Wrong(said()),
    }
}

/// Compares all of them, several at a time, in the given order.
pub fn judge_all(patchgen: &Path, images: &[PathBuf], workers: usize) -> Result<Vec<Verdict>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut own = Vec::new();
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let Some(image) = images.get(n) else { return own };
            own.push((n, judge(patchgen, image)));
        }
    };
    let parts = std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(work)).collect();
        running.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
    });
    let mut all = Vec::new();
    for part in parts {
        all.extend(part.map_err(|_| Failure("a worker panicked".to_owned()))?);
    }
    all.sort_by_key(|(n, _)| *n);
    Ok(all.into_iter().map(|(_, verdict)| verdict).collect())
}

/// CI's share: a few dozen of the machine's smaller images.
pub fn check_sample() -> Result<()> {
    let roots = ["/usr/bin", "/usr/lib", "/usr/sbin", "/usr/libexec"].map(PathBuf::from);
    let images = sample(&roots, 300_000, 90)?;
    check!(images.len() >= 8, "only {} images on this machine", images.len());
    let verdicts = judge_all(&paths::tool("patchgen")?, &images, 2)?;
    for (image, verdict) in images.iter().zip(verdicts) {
        check!(!matches!(verdict, Verdict::Wrong(_)), "{}: {verdict:?}", image.display());
    }
    Ok(())
}

/// Every `step`th image of at most so many bytes.
fn sample(roots: &[PathBuf], bytes: u64, step: usize) -> Result<Vec<PathBuf>> {
    let all = images(roots)?;
    let small = |path: &PathBuf| fs::metadata(path).is_ok_and(|meta| meta.len() <= bytes);
    Ok(all.into_iter().filter(small).step_by(step).collect())
}
