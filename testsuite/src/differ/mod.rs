//! Pairs of stock images: what a crude differ counts, what `patchgen diff` says, and why the two say different things.
//!
//! Shares no code with `patchgen`, so that no mistake of its analysis hides itself.

mod body;
mod build;
mod crude;
mod explain;
mod lines;
mod ours;
mod reconcile;
mod report;

pub use build::Build;
pub use crude::{Crude, Figures};
pub use ours::Ours;
pub use reconcile::{Reconciled, reconcile};

use crate::Result;
use crate::real::stock::StockPair;
use std::path::Path;

/// Everything about one pair.
#[derive(Debug)]
pub struct Compared {
    pub name: String,
    pub versions: [String; 2],
    pub crude: Crude,
    pub ours: Ours,
    pub reconciled: Reconciled,
}

impl Compared {
    /// Fetches the pair if it isn't there, and compares it in both ways.
    ///
    /// # Errors
    /// When a file can't be read, or `patchgen diff` fails.
    pub fn of(name: &str, patchgen: &Path) -> Result<Compared> {
        let pair = StockPair::ensure(name)?;
        let (old, new) = (Build::read(&pair.old, &pair.old_debug)?, Build::read(&pair.new, &pair.new_debug)?);
        let mut crude = Crude::compare(&old, &new);
        crude.look_up_lines((&old, &pair.old_debug), (&new, &pair.new_debug))?;
        let ours = Ours::ask(patchgen, &pair)?;
        let reconciled = reconcile(&old, &new, &crude, &ours);
        Ok(Compared { name: name.to_owned(), versions: pair.versions, crude, ours, reconciled })
    }
}
