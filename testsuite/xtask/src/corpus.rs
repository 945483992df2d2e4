//! `cargo xtask corpus`: what `patchgen build` makes of real fixes.

use crate::build;
use crate::page;
use crate::setup;
use std::path::Path;
use testsuite::corpus::{self, CorpusPair};
use testsuite::{Result, check};

pub fn run(packages: &[String], json: Option<&Path>, write: bool) -> Result<()> {
    setup::install(setup::REAL)?;
    build::all(false)?;
    let names: Vec<&str> = packages.iter().map(String::as_str).collect();
    corpus::ensure_packages(&names)?;
    let mut pairs: Vec<CorpusPair> = Vec::new();
    for name in names {
        pairs.extend(corpus::pairs(name)?);
    }
    let rows = corpus::judge_all(&pairs)?;
    let table = corpus::table(&rows);
    print!("{table}");
    if let Some(path) = json {
        let text = serde_json::json!({ "schema": "hpatch.corpus/1", "rows": rows });
        std::fs::write(path, format!("{text:#}\n"))?;
    }
    if write {
        page::write_builds(packages, &table)?;
    }
    let errors: Vec<String> = rows.iter().filter_map(corpus::error_of).collect();
    check!(errors.is_empty(), "{} errors:\n{}", errors.len(), errors.join("\n"));
    Ok(())
}
