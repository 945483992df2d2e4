//! Scenario programs and the directives in their comments.
//!
//! A scenario is one source file in `testsuite/programs`, compiled twice: as it is (the old build) and with `NEW` defined (the new
//! build; in Rust `cfg(new)`). Lines that begin with `//#` (in Fortran `!#`) say how it is built and what must come out:
//!
//! ```text
//! //#Hazard: D2,C3              rows of the hazard table that it covers
//! //#Matrix: cc=gcc,clang opt=-O0,-O2 kind=pie,nopie,shared ld=bfd,lld cflags=... ldflags=...
//! //#Sample: 2                  the usual sample of the matrix has every pair of values (without this line: every value)
//! //#Flags: -pthread            for every build
//! //#Units: 2                   compiled twice into one module, with UNIT defined as 1 and 2
//! //#Edits: 2                   at least so many functions are edited in place; without this line all are replaced (`--replace`)
//! //#Most: 9                   no more than so many functions are replaced or edited
//! //#Unwritten: HP0614          `patchgen rewrite` may refuse the bundle with this code: only a process has what it needs
//! //#Accept: HP0516             findings that the author of the fix has reviewed
//! //#Leave: f                   changed functions that are to stay old
//! //#ResetData: limit           variables that get their new initial value at once
//! //#IgnoreText: [0-9]+         what texts may differ in, a regular expression
//! //#Expect: live               live | start | not-live | refuse [CODE] | same | safe
//! //#Expect[cc=clang,kind=nopie]: safe   for some rows of the matrix
//! //#Warm: add 3                sent before the patch only, to the running process
//! //#Call: show                 stateless: patched = fresh new build, reverted = fresh old build
//! //#After: count => 4          exact answer after the patch, where state makes it differ from a fresh build
//! //#Reverted: count => 5       exact answer after the revert
//! //#Rewritten: count => 0      exact answer of the file with the patch in it, freshly started
//! ```
//!
//! `safe` accepts a live bundle, a start bundle or a refusal, whichever `patchgen` chooses, but checks that what it chose is right, and that the
//! builds answer alike where it finds no difference.

use crate::matrix::{self, DIMENSIONS};
use crate::{Failure, Result, check, fail, paths};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub use crate::matrix::Config;

/// One source file with its directives.
#[derive(Debug, Clone)]
pub struct Program {
    pub name: String,
    pub source: PathBuf,
    pub hazards: Vec<String>,
    matrix: Vec<(String, Vec<String>)>,
    /// How many dimensions' values are combined in every way in the usual sample of the matrix; None: its values are gone through side by
    /// side, first with first.
    pub strength: Option<usize>,
    pub flags: Vec<String>,
    pub accepted: Vec<String>,
    /// The code with which `patchgen rewrite` may refuse.
    pub unwritten: Option<String>,
    /// Changed functions that stay old.
    pub left: Vec<String>,
    /// Variables whose live value is thrown away.
    pub reset: Vec<String>,
    /// What texts may differ in, as regular expressions.
    pub ignored_text: Vec<String>,
    /// Functions that must be edited in place, at least; None: none may be.
    pub edits: Option<u64>,
    /// The largest number of functions that may be replaced or edited.
    pub most: Option<u64>,
    /// Translation units made of the one source.
    pub units: u32,
    expects: Vec<(Vec<(String, String)>, Expect)>,
    pub warm: Vec<String>,
    pub calls: Vec<String>,
    pub after: Vec<(String, String)>,
    pub reverted: Vec<(String, String)>,
    pub rewritten: Vec<(String, String)>,
}

/// What must come out of a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// A bundle that applies to the running process.
    Live,
    /// A bundle that applies before `main` only.
    Start,
    /// A bundle for the start only, or none.
    NotLive,
    /// No bundle, for this reason if one is named.
    Refuse(Option<String>),
    /// `patchgen` sees no change.
    Same,
    /// Any of the above, but right.
    Safe,
}

impl Program {
    pub fn read(source: &Path) -> Result<Program> {
        let text = std::fs::read_to_string(source)?;
        let name = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut program = Program {
            name: name.clone(),
            source: source.to_path_buf(),
            hazards: Vec::new(),
            matrix: Vec::new(),
            strength: None,
            flags: Vec::new(),
            accepted: Vec::new(),
            unwritten: None,
            left: Vec::new(),
            reset: Vec::new(),
            ignored_text: Vec::new(),
            edits: None,
            most: None,
            units: 1,
            expects: Vec::new(),
            warm: Vec::new(),
            calls: Vec::new(),
            after: Vec::new(),
            reverted: Vec::new(),
            rewritten: Vec::new(),
        };
        for line in text.lines().filter_map(|line| line.strip_prefix("//#").or(line.strip_prefix("!#"))) {
            program.directive(line).map_err(|Failure(why)| Failure(format!("{name}: `//#{line}`: {why}")))?;
        }
        check!(!program.hazards.is_empty(), "{name}: no `//#Hazard:`");
        check!(!program.expects.is_empty(), "{name}: no `//#Expect:`");
        check!(!program.calls.is_empty() || !program.after.is_empty(), "{name}: nothing to call");
        Ok(program)
    }

    /// Every scenario program, by name.
    pub fn all(folder: &Path) -> Result<Vec<Program>> {
        let mut programs = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let source = path.extension().is_some_and(|e| e == "c" || e == "cc" || e == "rs" || e == "f90");
            if path.is_file() && source {
                programs.push(Program::read(&path)?);
            }
        }
        programs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(programs)
    }

    fn directive(&mut self, line: &str) -> Result<()> {
        let Some((key, value)) = line.split_once(": ") else { fail!("`NAME: VALUE` is needed") };
        let value = value.trim();
        let (key, conditions) = match key.split_once('[') {
            None => (key, Vec::new()),
            Some((key, rest)) => {
                let inner = rest.strip_suffix(']').map(|inner| inner.split(','));
                let pairs: Option<Vec<_>> = inner.and_then(|inner| {
                    inner.map(|pair| pair.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()))).collect()
                });
                let Some(pairs) = pairs else { fail!("`[dimension=value]` is needed") };
                (key, pairs)
            }
        };
        check!(conditions.is_empty() || key == "Expect", "only Expect takes conditions");
        let answer = |value: &str| match value.split_once(" => ") {
            Some((call, answer)) => Ok((call.to_owned(), answer.to_owned())),
            None => Err(Failure("`CALL => ANSWER` is needed".to_owned())),
        };
        match key {
            "Hazard" => self.hazards.extend(value.split(',').map(|id| id.trim().to_owned())),
            "Matrix" => {
                for dimension in value.split_whitespace() {
                    let Some((name, values)) = dimension.split_once('=') else { fail!("`name=value,value` is needed") };
                    check!(DIMENSIONS.contains(&name), "unknown dimension {name}");
                    self.matrix.push((name.to_owned(), values.split(',').map(str::to_owned).collect()));
                }
            }
            "Sample" => self.strength = Some(value.parse().map_err(|_| Failure("a number is needed".to_owned()))?),
            "Flags" => self.flags.extend(value.split_whitespace().map(str::to_owned)),
            "Units" => self.units = value.parse().map_err(|_| Failure("a number is needed".to_owned()))?,
            "Edits" => self.edits = Some(value.parse().map_err(|_| Failure("a number is needed".to_owned()))?),
            "Most" => self.most = Some(value.parse().map_err(|_| Failure("a number is needed".to_owned()))?),
            "Unwritten" => self.unwritten = Some(value.to_owned()),
            "Accept" => self.accepted.extend(value.split_whitespace().map(str::to_owned)),
            "Leave" => self.left.extend(value.split_whitespace().map(str::to_owned)),
            "ResetData" => self.reset.extend(value.split_whitespace().map(str::to_owned)),
            "IgnoreText" => self.ignored_text.push(value.to_owned()),
            "Expect" => self.expects.push((conditions, expectation(value)?)),
            "Warm" => self.warm.push(value.to_owned()),
            "Call" => self.calls.push(value.to_owned()),
            "After" => self.after.push(answer(value)?),
            "Reverted" => self.reverted.push(answer(value)?),
            "Rewritten" => self.rewritten.push(answer(value)?),
            _ => fail!("unknown directive"),
        }
        Ok(())
    }

    /// The options of `patchgen build` that accept the reviewed findings and choose between new bodies and edits.
    pub fn build_options(&self) -> Vec<&str> {
        let replace = if self.edits.is_none() { Some("--replace") } else { None };
        let accepted = self.accepted.iter().flat_map(|code| ["--accept", code.as_str()]);
        let left = self.left.iter().flat_map(|name| ["--leave", name.as_str()]);
        let ignored = self.ignored_text.iter().flat_map(|text| ["--ignore-text", text.as_str()]);
        let reset = self.reset.iter().flat_map(|name| ["--reset-data", name.as_str()]);
        accepted.chain(left).chain(reset).chain(ignored).chain(replace).collect()
    }

    /// What must come out in this row: the last directive whose conditions hold.
    pub fn expect(&self, config: &Config) -> &Expect {
        let holds = |conditions: &[(String, String)]| {
            conditions.iter().all(|(dimension, wanted)| config.value(dimension) == wanted)
        };
        let matching = self.expects.iter().rev().find(|(conditions, _)| holds(conditions));
        matching.map_or(&Expect::Safe, |(_, expect)| expect)
    }

    /// Every row of the matrix that the machine can build, and what it lacks for the others.
    pub fn full_matrix(&self) -> (Vec<Config>, BTreeSet<String>) {
        let mut rows = matrix::all(&self.matrix);
        let needed: BTreeSet<String> = rows.iter().flat_map(Config::needs).collect();
        let missing: BTreeSet<String> = needed.into_iter().filter(|program| paths::find(program).is_none()).collect();
        rows.retain(|row| missing.is_empty() || row.needs().iter().all(|program| !missing.contains(program)));
        (rows, missing)
    }

    /// As few rows as show every value once, which a short matrix can be written for: the first values together, the second, and so on.
    pub fn side_by_side(&self) -> Vec<Config> {
        let rows = self.matrix.iter().map(|(_, values)| values.len()).max().unwrap_or(1);
        let row = |i: usize| {
            let values: Vec<_> = self.matrix.iter().map(|(name, v)| (name.as_str(), v[i % v.len()].as_str())).collect();
            Config::new(&values)
        };
        (0..rows).map(row).filter(Config::is_possible).collect()
    }

    /// As few of these rows as show every combination of values of `strength` dimensions that they have.
    pub fn sample(&self, rows: &[Config], strength: usize) -> Vec<Config> {
        matrix::sample(&self.matrix, rows, strength)
    }
}

fn expectation(value: &str) -> Result<Expect> {
    let mut words = value.split_whitespace();
    let expect = match words.next() {
        Some("live") => Expect::Live,
        Some("start") => Expect::Start,
        Some("not-live") => Expect::NotLive,
        Some("refuse") => Expect::Refuse(words.next().map(str::to_owned)),
        Some("same") => Expect::Same,
        Some("safe") => Expect::Safe,
        _ => fail!("live, start, not-live, refuse [CODE], same or safe is needed"),
    };
    check!(words.next().is_none(), "too many words");
    Ok(expect)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(text: &str) -> Result<Program> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("sample.c");
        std::fs::write(&path, text)?;
        Program::read(&path)
    }

    #[test]
    fn matrix_and_conditions() {
        let text = "//#Hazard: C1, D2\n//#Matrix: cc=gcc,clang opt=-O0,-O1,-O2\n//#Expect: live\n\
                    //#Expect[cc=clang]: refuse HP0501\n//#Call: f 1\n//#After: g => 2 | 3\n";
        let program = program(text).unwrap();
        assert_eq!(program.hazards, ["C1", "D2"]);
        let row = |cc| Config::new(&[("cc", cc), ("opt", "-O1")]);
        assert_eq!(program.expect(&row("gcc")), &Expect::Live);
        assert_eq!(program.expect(&row("clang")), &Expect::Refuse(Some("HP0501".to_owned())));
        assert_eq!(program.after, [("g".to_owned(), "2 | 3".to_owned())]);
    }

    #[test]
    fn mistakes_in_directives_are_found() {
        for text in
            ["//#Hazard: C1\n//#Call: f\n", "//#Hazard: C1\n//#Expect: perhaps\n//#Call: f\n", "//#Nonsense: 1\n"]
        {
            assert!(program(text).is_err(), "accepted {text:?}");
        }
    }
}
