//! Programs by csmith (<https://github.com/csmith-project/csmith>), and small changes to their source.

use super::random::Random;
use super::{Pair, Source};
use crate::{Result, fail, process};
use regex::Regex;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Places that are tried for one change.
const TRIES: usize = 50;

/// Where Debian puts the headers that csmith's programs include.
const HEADERS: &str = "/usr/include/csmith";

/// A program of some functions, and the same with one to four changes. None where the seed gives no change.
/// `folder`: csmith leaves a file where it runs.
pub(super) fn pair(seed: u64, random: &mut Random, folder: &Path) -> Result<Option<Pair>> {
    std::fs::create_dir_all(folder)?;
    let functions = (4 + random.below(10)).to_string();
    let mut command = Command::new("csmith");
    command.current_dir(folder).args([
        "--seed",
        &seed.to_string(),
        "--max-funcs",
        &functions,
        "--no-argc",
        "--max-block-depth",
        "3",
    ]);
    let text = process::run_ok(command.arg("--no-packed-struct"), LIMIT)?.stdout;
    let mut old = format!("#include <stdint.h>\n{}", text.replace("int main (void)", "int run (void)"));
    if !old.contains("int run (void)") {
        fail!("csmith's program has no `int main (void)`");
    }
    if random.percent(60) {
        let prototype = Regex::new(r"(?m)^static (\S+\s+\*{0,4}\s*func_\d+\(.*\));$")?;
        old = prototype.replace_all(&old, "static __attribute__((noinline)) $1;").into_owned();
    }
    let changes = random.pick(&[1, 1, 2, 4]);
    let Some((new, kinds)) = change(&old, random, changes)? else { return Ok(None) };
    let flags = vec![format!("-I{HEADERS}")];
    if new == old {
        return Ok(None);
    }
    Ok(Some(Pair { old, new, kinds, flags, source: Source::Csmith }))
}

struct Forms {
    number: Regex,
    operation: Regex,
    statement: Regex,
    declaration: Regex,
    variable: Regex,
}

impl Forms {
    fn new() -> Result<Forms> {
        Ok(Forms {
            number: Regex::new("0x[0-9A-F]+")?,
            operation: Regex::new("safe_(add|sub|mul)_func")?,
            statement: Regex::new(r"^\s+(g_\w+|l_\w+|\(\*|return|for|if)\b")?,
            declaration: Regex::new(r"^\s+\w+ ")?,
            variable: Regex::new(r"(?m)^static (?:volatile )?u?int(?:8|16|32|64)_t (g_\w+) =")?,
        })
    }
}

fn change(source: &str, random: &mut Random, count: usize) -> Result<Option<(String, Vec<&'static str>)>> {
    let forms = Forms::new()?;
    let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
    let end = lines.iter().position(|line| line.starts_with("int run")).unwrap_or(0);
    let mut inside = false;
    let body: Vec<usize> = (0..end)
        .filter(|&i| {
            let brace = lines[i].starts_with(['{', '}']);
            inside = if brace { lines[i].starts_with('{') } else { inside };
            inside && !brace
        })
        .collect();
    let variables: Vec<String> = forms.variable.captures_iter(source).map(|c| c[1].to_owned()).collect();
    let mut kinds = Vec::new();
    if body.is_empty() {
        return Ok(None);
    }
    for _ in 0..count {
        let kind = random.pick(&[
            "number",
            "number",
            "operation",
            "text",
            "global",
            "function",
            "statement",
            "switch",
            "double",
            "static",
        ]);
        for _ in 0..TRIES {
            let i = random.pick(&body);
            let done = match kind {
                "number" => change_number(&forms, &mut lines[i], random),
                "operation" => change_operation(&forms, &mut lines[i], random),
                _ => insert(&forms, &mut lines, i, kind, &variables, random),
            };
            if done {
                kinds.push(kind);
                break;
            }
        }
    }
    Ok((!kinds.is_empty()).then(|| (lines.join("\n") + "\n", kinds)))
}

fn change_number(forms: &Forms, line: &mut String, random: &mut Random) -> bool {
    let all: Vec<_> = forms.number.find_iter(line).map(|m| m.range()).collect();
    if all.is_empty() {
        return false;
    }
    let range = random.pick(&all);
    let digits = &line[range.start + 2..range.end];
    let before = u64::from_str_radix(digits, 16).unwrap_or(1);
    let after = match random.below(3) {
        0 => before ^ (1 << random.below(8)),
        1 => u64::from(random.bits(6)),
        _ => u64::from(random.bits(31)),
    };
    // It stays as long as it was, and so of the same type.
    let width = digits.len().min(8) as u32;
    let after = after & ((1u64 << (4 * width)) - 1);
    line.replace_range(range, &format!("0x{after:X}"));
    true
}

fn change_operation(forms: &Forms, line: &mut String, random: &mut Random) -> bool {
    let Some(range) = forms.operation.captures(line).and_then(|c| c.get(1)).map(|m| m.range()) else { return false };
    let operation = random.pick(&["add", "sub", "mul"]);
    line.replace_range(range, operation);
    true
}

/// Puts a statement in front of another one; what it needs goes to the top of the file.
fn insert(
    forms: &Forms,
    lines: &mut [String],
    i: usize,
    kind: &str,
    variables: &[String],
    random: &mut Random,
) -> bool {
    let before = lines[i - 1].trim_end();
    let starts = forms.statement.is_match(&lines[i]) && lines[i].contains('=');
    if !starts || !before.ends_with([';', '{', '}']) || forms.declaration.is_match(before) || variables.is_empty() {
        return false;
    }
    let g = variables[random.below(variables.len())].as_str();
    let c = random.bits(16);
    let statement = match kind {
        "statement" => format!("{g} ^= {c};"),
        "text" if random.percent(50) => {
            format!("{{ static const char *const s = \"lit{c} text\"; {g} += s[({g} & 7)]; }}")
        }
        "text" => format!("{{ const char *s = \"lit{c} text\"; for (; *s; s++) {g} += *s; }}"),
        "static" => format!("{{ static unsigned cnt = {}; cnt += 3; {g} += cnt; }}", c & 15),
        "global" => {
            on_top(lines, &format!("static unsigned fz_{c} = {c};"));
            format!("fz_{c} += {g}; {g} ^= fz_{c};")
        }
        "function" => {
            let table = format!("static const unsigned t[] = {{{c},{},{},{}}};", c ^ 77, c * 3, c + 1);
            let body = format!("{{ {table} return t[x & 3] * (x | 1); }}");
            on_top(lines, &format!("static __attribute__((noinline)) unsigned fzf_{c}(unsigned x) {body}"));
            format!("{g} ^= fzf_{c}({g});")
        }
        "switch" => {
            let cases: String = (0..5 + random.below(7))
                .map(|n| match random.percent(50) {
                    true => format!("case {n}: {g} += {}; break; ", random.bits(10)),
                    false => format!("case {n}: {g} = {g} * {}; break; ", random.bits(5) | 1),
                })
                .collect();
            format!("switch ({g} & 15) {{ {cases} }}")
        }
        _ => {
            let value = format!("(double){g} * {c}.5 + 0.{c}");
            format!("{{ volatile double d = {value}; {g} += (int)(d / {}.25) & 0xff; }}", c + 3)
        }
    };
    let indent: String = lines[i].chars().take_while(|c| c.is_whitespace()).collect();
    lines[i] = format!("{indent}{statement}\n{}", lines[i]);
    true
}

fn on_top(lines: &mut [String], declaration: &str) {
    if !lines[0].contains(declaration) {
        lines[0].push('\n');
        lines[0].push_str(declaration);
    }
}
