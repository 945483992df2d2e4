//! The compilers and flags that made the builds (DW_AT_producer): other ones mean that everything may differ for no reason.

use crate::diag::{Finding, Severity};
use crate::dwarf::DebugInfo;
use patchfmt::codes;
use std::collections::BTreeSet;

/// At most one finding.
pub fn producers(old: &DebugInfo<'_>, new: &DebugInfo<'_>) -> Option<Finding> {
    let names = |info: &DebugInfo<'_>| -> BTreeSet<String> {
        info.producers().into_keys().map(|producer| without_folders(&producer)).collect()
    };
    let (old, new) = (names(old), names(new));
    let (gone, added): (Vec<_>, Vec<_>) = (old.difference(&new).collect(), new.difference(&old).collect());
    if gone.is_empty() || added.is_empty() {
        return None;
    }
    Some(Finding {
        severity: Severity::Review,
        code: codes::PRODUCER_DIFFERS.0,
        symbol: String::new(),
        place: None,
        message: format!("the old build was made by {:?}, the new one by {:?}", gone[0], added[0]),
        help: Some("build both with the same compiler and flags".to_owned()),
    })
}

/// Options of gfortran that name the folders of modules and of what is included first: they say where a build was made, not how.
const FOLDERS: [&str; 2] = ["-J", "-fintrinsic-modules-path"];

fn without_folders(producer: &str) -> String {
    let mut words = Vec::new();
    let mut rest = producer.split(' ');
    while let Some(word) = rest.next() {
        if FOLDERS.contains(&word) {
            rest.next();
        } else if !word.starts_with("-fpre-include=") {
            words.push(word);
        }
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::without_folders;

    #[test]
    fn folders_are_no_flags() {
        let producer =
            "GNU Fortran2008 12.2.0 -g -O2 -J old -fintrinsic-modules-path /usr/lib/finclude -fpre-include=/usr/x.h";
        assert_eq!(without_folders(producer), "GNU Fortran2008 12.2.0 -g -O2");
        assert_ne!(without_folders("GNU C17 12.2.0 -O2"), without_folders("GNU C17 12.2.0 -O3"));
    }
}
