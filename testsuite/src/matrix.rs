//! The rows of a scenario's matrix: which there are, which of them a machine can build, and few that stand for all.

use crate::paths;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// What a row may say.
pub const DIMENSIONS: [&str; 9] = ["cc", "opt", "kind", "ld", "lto", "dwarf", "debug", "cflags", "ldflags"];

/// One row of the matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    values: BTreeMap<String, String>,
}

impl Config {
    pub fn new(values: &[(&str, &str)]) -> Config {
        Config { values: values.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect() }
    }

    /// A dimension's value, or the default that every program shares.
    pub fn value(&self, dimension: &str) -> &str {
        let default = match dimension {
            "cc" => "gcc",
            "opt" => "-O2",
            "kind" => "pie",
            "ld" => "bfd",
            "dwarf" => "4",
            "lto" => "none",
            "debug" => "plain",
            _ => "",
        };
        self.values.get(dimension).map_or(default, String::as_str)
    }

    /// For names of tests and folders.
    pub fn label(&self) -> String {
        let parts: Vec<&str> =
            self.values.values().map(|v| v.trim_start_matches('-')).filter(|v| !v.is_empty()).collect();
        if parts.is_empty() { "default".to_owned() } else { parts.join(",") }
    }

    pub fn is_clang(&self) -> bool {
        self.value("cc").starts_with("clang")
    }

    /// No dynamic linker: the loader comes in by `hpatch attach`.
    pub fn is_static(&self) -> bool {
        self.value("kind").starts_with("static")
    }

    /// What `-fuse-ld=` takes. A linker that reads a compiler's intermediate code must be of its version.
    pub fn linker(&self) -> String {
        match (self.value("ld"), self.value("cc").strip_prefix("clang-")) {
            ("lld", Some(version)) if paths::find(&format!("ld.lld-{version}")).is_some() => format!("lld-{version}"),
            (linker, _) => linker.to_owned(),
        }
    }

    /// Whether any toolchain builds such a row at all.
    pub fn is_possible(&self) -> bool {
        let (clang, lto, debug) = (self.is_clang(), self.value("lto"), self.value("debug"));
        // Only LLVM has it.
        (lto != "thin" || clang)
            // lld can't read gcc's intermediate code.
            && (lto == "none" || clang || self.value("ld") != "lld")
            // gold lacks --no-dynamic-linker.
            && (self.value("kind") != "static-pie" || self.value("ld") != "gold")
            // dwz doesn't know .debug_addr, which clang writes for DWARF 5.
            && (!debug.starts_with("dwz") || !clang || self.value("dwarf") == "4")
            // Where the split part of what a linker compiles goes, each linker has its own option for.
            && (!matches!(debug, "split" | "dwp") || lto == "none")
    }

    /// The programs that the row takes.
    pub fn needs(&self) -> Vec<String> {
        let cc = self.value("cc");
        let linker = match self.value("ld") {
            // A compiler of another version than the linker's can't be asked to link its intermediate code.
            "lld" if self.value("lto") != "none" && cc.starts_with("clang-") => cc.replacen("clang", "ld.lld", 1),
            ld => format!("ld.{ld}"),
        };
        let tool = match self.value("debug") {
            "dwz" | "dwz-multi" => Some("dwz"),
            "dwp" => Some("llvm-dwp"),
            "zlib" | "zstd" | "separate" => Some("objcopy"),
            _ => None,
        };
        [Some(cc.to_owned()), Some(linker), tool.map(str::to_owned)].into_iter().flatten().collect()
    }
}

/// Every combination that is possible, once, however often a dimension names a value.
pub fn all(dimensions: &[(String, Vec<String>)]) -> Vec<Config> {
    let mut rows = vec![BTreeMap::new()];
    for (name, values) in dimensions {
        let with = |row: &BTreeMap<String, String>, value: &String| {
            let mut row = row.clone();
            row.insert(name.clone(), value.clone());
            row
        };
        let mut seen = HashSet::new();
        let values: Vec<&String> = values.iter().filter(|value| seen.insert(*value)).collect();
        rows = rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect();
    }
    rows.into_iter().map(|values| Config { values }).filter(Config::is_possible).collect()
}

/// Of `rows`, a few in which every combination of values of `strength` dimensions occurs that occurs in any row. With the same rows
/// it's always the same choice.
pub fn sample(dimensions: &[(String, Vec<String>)], rows: &[Config], strength: usize) -> Vec<Config> {
    let names: Vec<&str> = dimensions.iter().map(|(name, _)| name.as_str()).collect();
    let strength = strength.clamp(1, names.len().max(1));
    if names.is_empty() {
        return rows.to_vec();
    }
    let numbered: Vec<Vec<usize>> = rows
        .iter()
        .map(|row| {
            let place = |(name, values): &(String, Vec<String>)| values.iter().position(|v| v == row.value(name));
            dimensions.iter().map(|dimension| place(dimension).unwrap_or_default()).collect()
        })
        .collect();
    let groups = subsets(names.len(), strength);
    // What breaks ties: more of the next larger combinations.
    let larger = if strength < names.len() { subsets(names.len(), strength + 1) } else { Vec::new() };
    let tuples = |row: &[usize], groups: &[Vec<usize>]| -> Vec<Vec<(usize, usize)>> {
        groups.iter().map(|group| group.iter().map(|&d| (d, row[d])).collect()).collect()
    };
    let mut wanted: BTreeSet<Vec<(usize, usize)>> = numbered.iter().flat_map(|row| tuples(row, &groups)).collect();
    let mut seen: HashSet<Vec<(usize, usize)>> = HashSet::new();
    let mut chosen = Vec::new();
    while let Some(first) = wanted.first().cloned() {
        let fits = |row: &[usize]| first.iter().all(|&(d, value)| row[d] == value);
        let gain = |row: &[usize]| {
            let direct = tuples(row, &groups).iter().filter(|t| wanted.contains(*t)).count();
            (direct, tuples(row, &larger).iter().filter(|t| !seen.contains(*t)).count())
        };
        let candidates = (0..rows.len()).filter(|&i| fits(&numbered[i]));
        let Some(best) = candidates.max_by_key(|&i| (gain(&numbered[i]), std::cmp::Reverse(i))) else { break };
        for tuple in tuples(&numbered[best], &groups) {
            wanted.remove(&tuple);
        }
        seen.extend(tuples(&numbered[best], &larger));
        chosen.push(best);
    }
    chosen.into_iter().map(|i| rows[i].clone()).collect()
}

/// All sets of `size` of the numbers below `n`.
fn subsets(n: usize, size: usize) -> Vec<Vec<usize>> {
    let mut sets = vec![Vec::new()];
    for _ in 0..size {
        let from = |set: &Vec<usize>| set.last().map_or(0, |last| last + 1);
        sets = sets
            .iter()
            .flat_map(|set| (from(set)..n).map(|next| [set.as_slice(), &[next]].concat()).collect::<Vec<_>>())
            .collect();
    }
    sets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dimensions(list: &[(&str, &[&str])]) -> Vec<(String, Vec<String>)> {
        list.iter().map(|(name, v)| ((*name).to_owned(), v.iter().map(|v| (*v).to_owned()).collect())).collect()
    }

    #[test]
    fn every_value_once() {
        let d =
            dimensions(&[("cc", &["gcc", "clang"]), ("opt", &["-O0", "-O2"]), ("kind", &["pie", "nopie", "shared"])]);
        let rows = all(&d);
        assert_eq!(rows.len(), 12);
        assert_eq!(all(&dimensions(&[("cc", &["gcc", "clang", "gcc"])])).len(), 2);
        let few = sample(&d, &rows, 1);
        assert_eq!(few.len(), 3);
        // Neither compiler is only tried at one level.
        let pairs: BTreeSet<_> = few.iter().map(|c| (c.value("cc"), c.value("opt"))).collect();
        assert_eq!(pairs.len(), 3);
    }

    #[test]
    fn every_pair_once() {
        let d = dimensions(&[
            ("cc", &["gcc", "clang"]),
            ("ld", &["bfd", "gold", "lld", "mold"]),
            ("lto", &["none", "full", "thin"]),
            ("opt", &["-O0", "-O1", "-O2", "-O3", "-Os"]),
        ]);
        let rows = all(&d);
        let few = sample(&d, &rows, 2);
        assert!(few.len() < rows.len() / 3, "{} of {}", few.len(), rows.len());
        for row in &rows {
            for (a, b) in [("cc", "ld"), ("cc", "lto"), ("ld", "lto"), ("ld", "opt"), ("lto", "opt"), ("cc", "opt")] {
                assert!(
                    few.iter().any(|f| f.value(a) == row.value(a) && f.value(b) == row.value(b)),
                    "{} and {} never meet",
                    row.value(a),
                    row.value(b)
                );
            }
        }
        assert!(rows.iter().all(|row| row.is_clang() || row.value("lto") != "thin"));
    }
}
