//! docs/corpus.md: what is measured for some packages takes the place of what stood there for them; the rest stays.

use std::collections::BTreeMap;
use testsuite::{Result, paths};

/// What begins the second part.
const HEADING: &str = "\n## The old build with the bundle, and the new build\n";

/// Puts the rows of the table `fresh`, which `patchgen build` gave for `packages`, in the first part.
pub fn write_builds(packages: &[String], fresh: &str) -> Result<()> {
    let text = read()?;
    let (first, second) = parts(&text);
    let rows = merged(first, packages, fresh, "| ");
    let results: Vec<&str> = rows.iter().filter_map(|row| row.split(" | ").nth(3)).collect();
    let count = |what: &str| results.iter().filter(|result| result.contains(what)).count();
    let (live, start) = (count("(live)"), count("(start"));
    let (refused, unchanged, errors) = (count("refused"), count("nothing changed"), count("error"));
    let head = "# Real fixes through `patchgen build`\n\nDebian's security fixes, each built before and after \
                (`cargo xtask corpus --write`, which wrote this page; with names of packages it renews their rows). Behind *start* stands what \
                forbids that it's live: instances of a type with another layout may be alive (HP0501), a live pointer may know a \
                constant that moves (HP0405), or `main` itself changed, which never leaves the stack (HP0512).\n";
    let share = |n: usize| n as f64 * 100.0 / (live + start + refused + errors).max(1) as f64;
    let totals = format!(
        "\n{} bundles ({live} live, {start} at start), {refused} refused, {unchanged} unchanged, {errors} errors: \
         {:.1} % of the changes are live, {:.1} % live or at start.\n",
        live + start,
        share(live),
        share(live + start)
    );
    let columns = "\n| package | fix | artifact | result | functions | bytes | s |\n|---|---|---|---|---|---|---|\n";
    write(&format!("{head}{totals}{columns}{}\n{second}", rows.join("\n")))
}

/// Puts what `corpus-run` found for `packages` in the second part: the rows of the table `fresh`, and the lists of what wasn't run.
pub fn write_runs(packages: &[String], fresh: &str) -> Result<()> {
    let text = read()?;
    let (first, second) = parts(&text);
    let rows = merged(second, packages, fresh, "| ");
    let left_out = merged(second, packages, fresh, "- ");
    let mut sums: BTreeMap<&str, (usize, usize, usize, usize)> = BTreeMap::new();
    for cells in rows.iter().map(|row| row.split(" | ").collect::<Vec<_>>()) {
        let [package, .., cases, seen, _, verdict] = cells[..] else { continue };
        let sum = sums.entry(package.trim_start_matches("| ")).or_default();
        sum.0 += usize::from(verdict.starts_with("as the new build"));
        sum.1 += 1;
        sum.2 += cases.parse::<usize>().unwrap_or(0);
        sum.3 += usize::from(seen != "0");
    }
    let intro = "\nEvery case runs with the new build and with the old build plus bundle, both with the loader: exit status, both \
                 streams and the output file must be the same (`cargo xtask corpus-run --write`, which wrote this part; with names \
                 of packages it renews their rows). *live* bundles were also applied to and reverted in a running process.\n";
    let mut summary =
        "\n| package | as the new build | runs | bundles whose fix the cases see |\n|---|---|---|---|\n".to_owned();
    for (package, (equal, all, runs, seen)) in &sums {
        summary += &format!("| **{package}** | {equal} of {all} | {runs} | {seen} |\n");
    }
    let columns = "\n| package | fix | artifact | bundle | cases | where old and new differ | vary by themselves | old + bundle |\n\
                   |---|---|---|---|---|---|---|---|\n";
    let not_run = if left_out.is_empty() { String::new() } else { format!("\n\nNot run:\n{}", left_out.join("\n")) };
    write(&format!("{first}{HEADING}{intro}{summary}{columns}{}{not_run}\n", rows.join("\n")))
}

/// Lines of `section` with this beginning that are for none of `packages`, and those of `fresh`, by package.
fn merged(section: &str, packages: &[String], fresh: &str, beginning: &str) -> Vec<String> {
    fn package_of(line: &str) -> &str {
        line.split_whitespace().nth(1).unwrap_or_default()
    }
    let lines = |text: &str| -> Vec<String> {
        let with = text.lines().filter(|line| line.starts_with(beginning));
        with.filter(|line| package_of(line) != "package" && !package_of(line).starts_with("**"))
            .map(str::to_owned)
            .collect()
    };
    let mut all = lines(section);
    all.retain(|line| packages.iter().all(|package| package_of(line) != package));
    all.extend(lines(fresh));
    all.sort_by(|one, two| package_of(one).cmp(package_of(two)));
    all
}

fn parts(text: &str) -> (&str, &str) {
    text.split_at(text.find(HEADING).unwrap_or(text.len()))
}

fn read() -> Result<String> {
    Ok(std::fs::read_to_string(paths::repository().join("docs/corpus.md"))?)
}

fn write(text: &str) -> Result<()> {
    Ok(std::fs::write(paths::repository().join("docs/corpus.md"), text)?)
}
