//! Changes to what stands in a source already, as fixes make them.

use super::super::random::Random;
use super::text::{Function, Item, Text, is_word};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// A change: the whole text after it. None where it has no place.
pub(super) type Change = fn(&Text, &mut Random) -> Option<String>;

/// Each with its name, and how often it comes among all.
pub(super) const EDITS: [(&str, u64, Change); 20] = [
    ("number", 10, number),
    ("macro number", 2, macro_number),
    ("operator", 8, operator),
    ("literal", 10, literal),
    ("literals swapped", 2, literals_swapped),
    ("parameter", 8, parameter),
    ("member", 5, member),
    ("case", 5, case),
    ("statements swapped", 4, statements_swapped),
    ("statement removed", 3, statement_removed),
    ("attribute", 4, attribute),
    ("functions swapped", 4, functions_swapped),
    ("variables swapped", 3, variables_swapped),
    ("renamed", 5, renamed),
    ("early return", 5, early_return),
    ("initial value", 5, initial_value),
    ("table grown", 6, table_grown),
    ("constness", 3, constness),
    ("copied function", 4, copied_function),
    ("local type", 2, local_type),
];

macro_rules! pattern {
    ($name:ident, $text:expr) => {
        static $name: LazyLock<Regex> = LazyLock::new(|| Regex::new($text).expect("a valid pattern"));
    };
}

pattern!(NUMBER, r"\b(0[xX][0-9a-fA-F]+|\d+)([uUlL]*)\b|\b\d+\.\d+\b");
pattern!(OPERATOR, r"[^-+<>=!&|*/](<=|>=|==|!=|<<|>>|&&|\|\||<|>|\+|-)[^-+<>=!&|*/]");
pattern!(MACRO, r"^#\s*define\s+\w+\s+\(?(\d+|0x[0-9a-fA-F]+)\b");
pattern!(STRUCT, r"\bstruct\s+(\w+\s*)?\{");
pattern!(CASE, r"\bcase\s+[\w']+\s*:|\bdefault\s*:");
pattern!(STATEMENT, r"[;{}]\s*([A-Za-z_][\w.>\[\]-]*\s*(?:\([^;{}]*\)|[-+|&]?=[^;{}=][^;{}]*);)");
pattern!(LOCAL, r"[;{]\s*(int|unsigned|char|short|long|size_t|unsigned int) \w+( =|;|,)");

fn range(found: Option<regex::Match<'_>>, offset: usize) -> Option<Range<usize>> {
    found.map(|m| m.start() + offset..m.end() + offset)
}

fn choose<T: Clone>(all: &[T], random: &mut Random) -> Option<T> {
    (!all.is_empty()).then(|| random.pick(all))
}

/// Another number in place of one, of the same kind.
fn other_number(digits: &str, random: &mut Random) -> Option<String> {
    if let Some((whole, part)) = digits.split_once('.') {
        return Some(format!("{}.{part}5", whole.parse::<u64>().ok()? + random.below(3) as u64));
    }
    let (value, hexadecimal) = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(rest) => (u64::from_str_radix(rest, 16).ok()?, true),
        None => (digits.parse::<u64>().ok()?, false),
    };
    let other = match random.below(6) {
        0 => value.wrapping_add(1),
        1 => value.saturating_sub(1),
        2 => value ^ (1 << random.below(8)),
        3 => value.checked_mul(2)?,
        4 => value / 2,
        _ => u64::from(random.bits(16)),
    };
    Some(if hexadecimal { format!("0x{other:x}") } else { other.to_string() })
}

fn number(text: &Text, random: &mut Random) -> Option<String> {
    let (_, function) = text.function(random)?;
    let body = &text.code[function.body.clone()];
    let all: Vec<_> =
        NUMBER.captures_iter(body).filter_map(|c| range(c.get(1).or(c.get(0)), function.body.start)).collect();
    let place = choose(&all, random)?;
    let other = other_number(&text.text[place.clone()], random)?;
    Some(text.with(vec![(place, other)]))
}

fn macro_number(text: &Text, random: &mut Random) -> Option<String> {
    let found = |range: &Range<usize>| {
        let place = MACRO.captures(&text.text[range.clone()])?.get(1)?;
        Some(place.start() + range.start..place.end() + range.start)
    };
    let all: Vec<_> = text.directives.iter().filter_map(found).collect();
    let place = choose(&all, random)?;
    let other = other_number(&text.text[place.clone()], random)?;
    Some(text.with(vec![(place, other)]))
}

fn operator(text: &Text, random: &mut Random) -> Option<String> {
    let (_, function) = text.function(random)?;
    let body = &text.code[function.body.clone()];
    let all: Vec<_> = OPERATOR.captures_iter(body).filter_map(|c| range(c.get(1), function.body.start)).collect();
    let place = choose(&all, random)?;
    let other = match &text.code[place.clone()] {
        "<" => random.pick(&["<=", ">"]),
        ">" => random.pick(&[">=", "<"]),
        "<=" => "<",
        ">=" => ">",
        "==" => "!=",
        "!=" => "==",
        "&&" => "||",
        "||" => "&&",
        "<<" => ">>",
        ">>" => "<<",
        "+" => "-",
        _ => "+",
    };
    Some(text.with(vec![(place, other.to_owned())]))
}

/// Literals with something in them, but for the names of files that are included.
fn literals(text: &Text) -> Vec<Range<usize>> {
    let in_directive = |at: usize| text.directives.iter().any(|range| range.contains(&at));
    text.literals.iter().filter(|range| range.len() > 3 && !in_directive(range.start)).cloned().collect()
}

/// One is longer, shorter, or has another letter. What it formats stays.
fn literal(text: &Text, random: &mut Random) -> Option<String> {
    let place = choose(&literals(text), random)?;
    let was = &text.text[place.start + 1..place.end - 1];
    let plain = !was.contains(['%', '\\']);
    let is = match random.below(5) {
        0 => format!("{was} (now)"),
        1 => format!("{was} with a tail that is long enough to be moved elsewhere"),
        2 if plain => was.get(..was.len() - 1)?.to_owned(),
        3 if plain => was.get(1..)?.to_owned(),
        _ => {
            let free = |&at: &usize| {
                let byte = was.as_bytes()[at];
                let before = was.as_bytes()[at.saturating_sub(3)..at].iter();
                byte.is_ascii_lowercase() && !before.into_iter().any(|b| matches!(b, b'%' | b'\\'))
            };
            let all: Vec<usize> = (0..was.len()).filter(free).collect();
            let at = choose(&all, random)?;
            let mut is = was.to_owned();
            is.replace_range(at..=at, random.pick(&["Q", "z", "_", "7"]));
            is
        }
    };
    Some(text.with(vec![(place, format!("\"{is}\""))]))
}

fn literals_swapped(text: &Text, random: &mut Random) -> Option<String> {
    let all: Vec<_> = literals(text).into_iter().filter(|range| !text.text[range.clone()].contains('%')).collect();
    let (one, other) = (choose(&all, random)?, choose(&all, random)?);
    if one.start == other.start {
        return None;
    }
    Some(text.with(vec![(one.clone(), text.text[other.clone()].to_owned()), (other, text.text[one].to_owned())]))
}

/// A static function and all that call it by name.
fn parameter(text: &Text, random: &mut Random) -> Option<String> {
    let (item, function) = text.function(random)?;
    let head = text.head(item, function);
    let name = &text.text[function.name.clone()];
    if !["static", "local", "l_sinline"].iter().any(|word| head.split_whitespace().any(|w| w == *word)) {
        return None;
    }
    let in_front = random.percent(40);
    let mut pieces = Vec::new();
    for place in text.words(name) {
        let open = place.end + text.text[place.end..].find(|c: char| !c.is_whitespace())?;
        if text.text.as_bytes()[open] != b'(' {
            return None;
        }
        let close = text.closing(open)?;
        let inside = text.text[open + 1..close].trim();
        let declared = place == function.name || is_declaration(text, &place);
        let added = if declared { "int extra".to_owned() } else { random.below(100).to_string() };
        if inside.is_empty() || inside == "void" {
            pieces.push((open + 1..close, added));
        } else if in_front {
            pieces.push((open + 1..open + 1, format!("{added}, ")));
        } else {
            pieces.push((close..close, format!(", {added}")));
        }
    }
    let shown = "static int calls; calls += extra; if ((calls & 255) == 3) __builtin_printf(\"extra %d\\n\", calls);";
    pieces.push((function.body.start..function.body.start, format!(" {{ {shown} }}")));
    Some(text.with(pieces))
}

/// Whether a name stands at the top level, and not in a function's body or a directive.
fn is_declaration(text: &Text, place: &Range<usize>) -> bool {
    let around = text.items.iter().find(|item| item.range.contains(&place.start));
    around.is_some_and(|item| item.function.as_ref().is_none_or(|function| !function.body.contains(&place.start)))
        && text.code[place.clone()] == text.text[place.clone()]
}

fn member(text: &Text, random: &mut Random) -> Option<String> {
    let all: Vec<usize> = STRUCT.find_iter(&text.code).map(|m| m.end() - 1).collect();
    let open = choose(&all, random)?;
    let close = text.closing(open)?;
    let inside = text.code.get(open + 1..close)?;
    let mut places: Vec<usize> = inside.match_indices(';').map(|(at, _)| open + at + 2).collect();
    // In front of all, between any two, and most often behind all.
    places.push(open + 1);
    let behind = places.len().checked_sub(2)?;
    let at = if random.percent(50) { places[behind] } else { random.pick(&places) };
    let member = random.pick(&[
        "int added_member;",
        "char added_member[3];",
        "void *added_member;",
        "unsigned long added_member[4];",
    ]);
    Some(text.with(vec![(at..at, format!(" {member}"))]))
}

fn case(text: &Text, random: &mut Random) -> Option<String> {
    let (_, function) = text.function(random)?;
    let body = &text.code[function.body.clone()];
    let all: Vec<usize> = CASE.find_iter(body).map(|m| m.start() + function.body.start).collect();
    let at = choose(&all, random)?;
    let from = random.pick(&[70, 200, 300, 1000]);
    let cases: String = (0..1 + random.below(6))
        .map(|n| format!("case {}: __builtin_printf(\"case {n}\\n\"); break; ", from + 3 * n))
        .collect();
    Some(text.with(vec![(at..at, cases)]))
}

fn statements(text: &Text, body: &Range<usize>) -> Vec<Range<usize>> {
    let code = &text.code[body.clone()];
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(place) = STATEMENT.captures_at(code, from).and_then(|c| range(c.get(1), 0)) {
        from = place.end - 1;
        let words = ["return", "goto", "case", "default", "else", "break", "continue", "if", "while", "for", "switch"];
        let first: String = code[place.clone()].chars().take_while(|c| is_word(*c as u8)).collect();
        if !words.contains(&first.as_str()) && !code[place.clone()].contains(":") {
            found.push(place.start + body.start..place.end + body.start);
        }
    }
    found
}

fn statements_swapped(text: &Text, random: &mut Random) -> Option<String> {
    let (_, function) = text.function(random)?;
    let all = statements(text, &function.body);
    let beside = |pair: &[Range<usize>]| text.code[pair[0].end..pair[1].start].trim().is_empty();
    let pairs: Vec<_> =
        all.windows(2).filter(|pair| beside(pair)).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
    let (one, other) = choose(&pairs, random)?;
    Some(text.with(vec![(one.clone(), text.text[other.clone()].to_owned()), (other, text.text[one].to_owned())]))
}

fn statement_removed(text: &Text, random: &mut Random) -> Option<String> {
    let (_, function) = text.function(random)?;
    let place = choose(&statements(text, &function.body), random)?;
    Some(text.with(vec![(place, ";".to_owned())]))
}

fn attribute(text: &Text, random: &mut Random) -> Option<String> {
    let (item, _) = text.function(random)?;
    let attribute = random.pick(&["noinline", "always_inline", "cold", "noclone, noinline", "noipa", "flatten"]);
    let at = item.range.start;
    (!text.code[at..].starts_with("template"))
        .then(|| text.with(vec![(at..at, format!("__attribute__(({attribute})) "))]))
}

fn swapped(text: &Text, one: &Item, other: &Item) -> String {
    let piece = |item: &Item| text.text[item.range.clone()].to_owned();
    text.with(vec![(one.range.clone(), piece(other)), (other.range.clone(), piece(one))])
}

fn functions_swapped(text: &Text, random: &mut Random) -> Option<String> {
    let all: Vec<_> = text.items.windows(2).filter(|w| w.iter().all(|item| item.function.is_some())).collect();
    let pair = choose(&all, random)?;
    Some(swapped(text, &pair[0], &pair[1]))
}

fn is_variable(text: &Text, item: &Item) -> bool {
    let code = &text.code[item.range.clone()];
    let head = code.split('=').next().unwrap_or(code);
    item.function.is_none()
        && !head.contains(['(', '{', ')'])
        && !["typedef", "extern", "using"].iter().any(|word| head.starts_with(word))
}

fn variables_swapped(text: &Text, random: &mut Random) -> Option<String> {
    let all: Vec<_> = text.items.windows(2).filter(|w| w.iter().all(|item| is_variable(text, item))).collect();
    let pair = choose(&all, random)?;
    Some(swapped(text, &pair[0], &pair[1]))
}

/// A static function, or a variable of the file, by another name.
fn renamed(text: &Text, random: &mut Random) -> Option<String> {
    let name = if random.percent(60) {
        let (item, function) = text.function(random)?;
        text.head(item, function).starts_with("static").then(|| text.text[function.name.clone()].to_owned())?
    } else {
        let all: Vec<_> = text.items.iter().filter(|item| is_variable(text, item)).collect();
        let item = choose(&all, random)?;
        let code = &text.code[item.range.clone()];
        let head = code.strip_prefix("static ")?.split(['=', '[', ';']).next()?.trim_end();
        head.rsplit(|c: char| !is_word(c as u8)).next()?.to_owned()
    };
    let pieces: Vec<_> = text.words(&name).into_iter().map(|place| (place, format!("{name}_now"))).collect();
    (!name.is_empty()).then(|| text.with(pieces))
}

/// At every so manieth time, if the function's result is a number, a pointer or nothing.
fn early_return(text: &Text, random: &mut Random) -> Option<String> {
    let (item, function) = text.function(random)?;
    let head = text.head(item, function);
    let result = head.trim_end_matches(|c: char| c.is_whitespace() || c == '(');
    let words: Vec<&str> = result.split_whitespace().collect();
    let value = match *words.last()? {
        "void" => "",
        "int" | "unsigned" | "size_t" | "long" | "char" | "bool" | "Bool" | "Int32" | "double" => " 0",
        word if word.ends_with('*') => " 0",
        _ => return None,
    };
    let at = choose(&text.gaps(&function.body), random)?;
    let often = 7 + random.below(300);
    let code = match random.percent(50) {
        true => format!(" {{ static unsigned times; if (++times % {often} == 0) return{value}; }}"),
        false => format!(" {{ extern int getpid(void); if (getpid() == 1) return{value}; }}"),
    };
    Some(text.with(vec![(at..at, code)]))
}

/// Of a variable or a table of the file.
fn initial_value(text: &Text, random: &mut Random) -> Option<String> {
    let initialised = |item: &&Item| is_variable(text, item) && text.code[item.range.clone()].contains('=');
    let all: Vec<_> = text.items.iter().filter(initialised).collect();
    let item = choose(&all, random)?;
    let from = item.range.start + text.code[item.range.clone()].find('=')?;
    let code = &text.code[from..item.range.end];
    let all: Vec<_> = NUMBER.captures_iter(code).filter_map(|c| range(c.get(1).or(c.get(0)), from)).collect();
    let place = choose(&all, random)?;
    let other = other_number(&text.text[place.clone()], random)?;
    Some(text.with(vec![(place, other)]))
}

/// Its first entry once more, at some place: behind the first or the last but one.
fn table_grown(text: &Text, random: &mut Random) -> Option<String> {
    let table = |item: &&Item| is_variable(text, item) && text.code[item.range.clone()].contains("[]");
    let all: Vec<_> = text.items.iter().filter(table).collect();
    let item = choose(&all, random)?;
    let open = item.range.start + text.code[item.range.clone()].find('{')?;
    let close = text.closing(open)?;
    let mut commas = Vec::new();
    let mut depth = 0;
    for at in open..close {
        match text.code.as_bytes()[at] {
            b'{' | b'(' => depth += 1,
            b'}' | b')' => depth -= 1,
            b',' if depth == 1 => commas.push(at),
            _ => {}
        }
    }
    let (&first, &last) = (commas.first()?, commas.last()?);
    let entry = text.text[open + 1..first].to_owned();
    let at = if random.percent(50) { first } else { last };
    Some(text.with(vec![(at..at, format!(", {entry}"))]))
}

fn constness(text: &Text, random: &mut Random) -> Option<String> {
    let all: Vec<_> = text.items.iter().filter(|item| is_variable(text, item)).collect();
    let item = choose(&all, random)?;
    let at = item.range.start;
    if text.code[at..].starts_with("static const ") {
        return Some(text.with(vec![(at + 7..at + 13, String::new())]));
    }
    text.code[at..].starts_with("static ").then(|| text.with(vec![(at + 7..at + 7, "const ".to_owned())]))
}

/// A static function twice, the copy by a name of its own, and one of the calls goes to the copy.
fn copied_function(text: &Text, random: &mut Random) -> Option<String> {
    let (item, function) = text.function(random)?;
    if !text.head(item, function).starts_with("static") {
        return None;
    }
    let name = &text.text[function.name.clone()];
    let copy = format!("{name}_too");
    let renamed = |(at, text): (usize, &str)| (at, text.len());
    let head: Vec<_> = text.text[item.range.clone()].match_indices(name).map(renamed).collect();
    let mut body = text.text[item.range.clone()].to_owned();
    let own = function.name.start - item.range.start;
    for (at, len) in head.into_iter().rev().filter(|(at, _)| *at == own) {
        body.replace_range(at..at + len, &copy);
    }
    let calls: Vec<_> = text
        .words(name)
        .into_iter()
        .filter(|place| place.start > item.range.end && !is_declaration(text, place))
        .collect();
    let call = choose(&calls, random)?;
    let at = item.range.end;
    Some(text.with(vec![(at..at, format!(" {body}")), (call, copy)]))
}

fn local_type(text: &Text, random: &mut Random) -> Option<String> {
    let (_, function): (&Item, &Function) = text.function(random)?;
    let body = &text.code[function.body.clone()];
    let all: Vec<_> = LOCAL.captures_iter(body).filter_map(|c| range(c.get(1), function.body.start)).collect();
    let place = choose(&all, random)?;
    let other = if &text.text[place.clone()] == "long" { "int" } else { "long" };
    Some(text.with(vec![(place, other.to_owned())]))
}
