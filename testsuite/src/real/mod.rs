//! Real software, patched while it works: servers under load, libraries in processes that aren't ours.

mod library;
mod nginx;
mod redis;
pub mod stock;

pub use library::{expat_in_python, libxml2_in_xmllint};
pub use nginx::nginx;
pub use redis::redis;

use crate::bundle::{self, Signer, Summary};
use crate::corpus::CorpusPair;
use crate::process::{Output, run};
use crate::story::{Story, count};
use crate::{Result, paths};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// How long a program may take to end when it's asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A child process that ends with the value.
#[derive(Debug)]
struct Running(Child);

impl Running {
    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A master that is killed leaves its workers behind, so it is asked first. All of this fails only when it has ended already.
        if matches!(self.0.try_wait(), Ok(None)) {
            let _ = run(Command::new("kill").arg(self.0.id().to_string()), PATIENCE);
        }
        let asked = Instant::now();
        while matches!(self.0.try_wait(), Ok(None)) && asked.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A fresh folder for one scenario.
fn workspace(name: &str) -> Result<PathBuf> {
    let folder = paths::scratch()?.join("real").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder)?;
    }
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Builds and signs the bundle of a corpus pair.
fn make_bundle(pair: &CorpusPair, id: &str, folder: &std::path::Path, story: Story) -> Result<(PathBuf, Summary)> {
    let file = folder.join(format!("{id}.hpatch"));
    let name = &pair.artifact;
    story.step(
        "Two builds in, a signed bundle out",
        &format!(
            "patchgen build --old old/{name} --new new/{name} -o {id}.hpatch && patchgen sign {id}.hpatch --key KEY"
        ),
    );
    let start = std::time::Instant::now();
    bundle::build_signed(Signer::shared()?, &pair.old, &pair.new, &file, id)?;
    let seconds = start.elapsed().as_secs_f64();
    let summary = bundle::inspect(&file)?;
    story.say(&format!(
        "{} changed, {} new, bundle {} bytes with its signature, {seconds:.1} s.",
        count(summary.changed(), "function"),
        summary.added,
        summary.size
    ));
    Ok((file, summary))
}

/// The pause as `hpatch apply` reports it: the first number followed by a unit of time.
pub fn pause(applied: &Output) -> String {
    let text = applied.text();
    let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches([',', ';', '.', '(', ')'])).collect();
    let time =
        words.windows(2).find(|pair| pair[0].parse::<f64>().is_ok() && ["us", "µs", "ms", "s"].contains(&pair[1]));
    time.map_or_else(|| "a time that it does not tell".to_owned(), |pair| format!("{} {}", pair[0], pair[1]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::run;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn the_pause_is_found() {
        let said = |text: &str| run(Command::new("echo").arg(text), Duration::from_secs(5)).unwrap();
        assert_eq!(pause(&said("applied fix: 3 functions, stopped for 0.41 ms (2 attempts)")), "0.41 ms");
        assert_eq!(pause(&said("applied")), "a time that it does not tell");
    }
}
