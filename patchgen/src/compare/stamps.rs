//! Build stamps: texts that differ only because the build is another one (`__DATE__`, a path, a hash), left out on the user's word.

use regex::bytes::Regex;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// What to leave out of texts before they are compared, and where that decided.
#[derive(Debug, Default)]
pub struct Stamps {
    patterns: Vec<Regex>,
    met: Mutex<BTreeSet<Stamp>>,
}

/// Two texts that are the same but for what a pattern matches.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Stamp {
    pub pattern: String,
    pub old: String,
    pub new: String,
}

impl Stamps {
    /// # Errors
    /// What is wrong with a pattern: syntax, or that it matches nothing at all, which every text holds.
    pub fn new(patterns: &[String]) -> Result<Stamps, String> {
        let one = |text: &String| {
            let pattern = Regex::new(text).map_err(|e| e.to_string())?;
            if pattern.is_match(b"") {
                return Err(format!("`{text}` matches the empty text"));
            }
            Ok(pattern)
        };
        Ok(Stamps { patterns: patterns.iter().map(one).collect::<Result<_, _>>()?, met: Mutex::default() })
    }

    /// Where a pattern made two texts equal, in order.
    #[must_use]
    pub fn met(&self) -> Vec<Stamp> {
        self.met.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Whether two different texts are the same without what one of the patterns matches in both.
    pub(super) fn same(&self, old: &[u8], new: &[u8]) -> bool {
        let without =
            |p: &Regex, text: &[u8]| p.is_match(text).then(|| p.replace_all(text, b"".as_slice()).into_owned());
        let equal = |p: &&Regex| without(p, old).is_some_and(|rest| without(p, new).as_ref() == Some(&rest));
        let Some(pattern) = self.patterns.iter().find(equal) else { return false };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let stamp = Stamp { pattern: pattern.as_str().to_owned(), old: text(old), new: text(new) };
        self.met.lock().unwrap_or_else(PoisonError::into_inner).insert(stamp);
        true
    }
}
