//! What `patchgen diff --json --pairs` says.

use crate::real::stock::StockPair;
use crate::{Failure, Result, process};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The largest pair takes a tenth of this.
const LIMIT: Duration = Duration::from_secs(1200);

#[derive(Debug, Deserialize)]
struct Report {
    drift: Option<serde_json::Value>,
    same: usize,
    causes: BTreeMap<String, usize>,
    new_functions: Vec<String>,
    gone_functions: Vec<String>,
    pairs: Vec<Paired>,
}

#[derive(Debug, Deserialize)]
struct Paired {
    old: Vec<String>,
    new: Vec<String>,
    verdict: String,
}

/// Two functions with the addresses of their parts.
#[derive(Debug, Clone)]
pub struct Function {
    pub old: Vec<u64>,
    pub new: Vec<u64>,
    /// None: the same.
    pub cause: Option<String>,
}

/// A part of a function: which function, which part.
pub type Part = (usize, usize);

#[derive(Debug)]
pub struct Ours {
    pub drift: Option<serde_json::Value>,
    pub same: usize,
    pub causes: BTreeMap<String, usize>,
    pub new: usize,
    pub gone: usize,
    pub functions: Vec<Function>,
    old_parts: HashMap<u64, Part>,
    new_parts: HashMap<u64, Part>,
}

impl Ours {
    /// Runs `patchgen diff`.
    ///
    /// # Errors
    /// When it can't compare the two.
    pub fn ask(patchgen: &Path, pair: &StockPair) -> Result<Ours> {
        let mut command = Command::new(patchgen);
        command.args(["diff", "--json", "--pairs", "--old"]).arg(&pair.old).arg("--new").arg(&pair.new);
        let output = process::run(command.args(pair.debug_options()), LIMIT)?;
        match output.code() {
            Some(0 | 3 | 4) => Ours::parse(&output.stdout),
            _ => Err(Failure(output.describe())),
        }
    }

    fn parse(json: &str) -> Result<Ours> {
        let report: Report = serde_json::from_str(json)?;
        let address = |text: &String| {
            let digits = text.strip_prefix("0x").unwrap_or(text);
            u64::from_str_radix(digits, 16).map_err(|error| Failure(format!("{text}: {error}")))
        };
        let mut ours = Ours {
            drift: report.drift,
            same: report.same,
            causes: report.causes,
            new: report.new_functions.len(),
            gone: report.gone_functions.len(),
            functions: Vec::new(),
            old_parts: HashMap::new(),
            new_parts: HashMap::new(),
        };
        for (n, pair) in report.pairs.iter().enumerate() {
            let parts = |texts: &[String]| texts.iter().map(address).collect::<Result<Vec<u64>>>();
            let (old, new) = (parts(&pair.old)?, parts(&pair.new)?);
            ours.old_parts.extend(old.iter().enumerate().map(|(k, &at)| (at, (n, k))));
            ours.new_parts.extend(new.iter().enumerate().map(|(k, &at)| (at, (n, k))));
            let cause = (pair.verdict != "same").then(|| pair.verdict.clone());
            ours.functions.push(Function { old, new, cause });
        }
        Ok(ours)
    }

    pub fn old_part(&self, at: u64) -> Option<Part> {
        self.old_parts.get(&at).copied()
    }

    pub fn new_part(&self, at: u64) -> Option<Part> {
        self.new_parts.get(&at).copied()
    }

    /// Changed functions.
    pub fn changed(&self) -> impl Iterator<Item = (&Function, &str)> {
        self.functions.iter().filter_map(|f| Some((f, f.cause.as_deref()?)))
    }
}
