//! Source text of C and C++, looked at just so closely that changes can be put into it: what is code, what a top-level item.

use super::super::random::Random;
use std::ops::Range;

/// A file of source. All ranges are of bytes in `text`; `code` is as long.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) text: String,
    /// The text with comments, directives and the inside of literals blanked.
    pub(super) code: String,
    /// Literals of characters, with their quotes.
    pub(super) literals: Vec<Range<usize>>,
    /// Directives of the preprocessor.
    pub(super) directives: Vec<Range<usize>>,
    pub(super) items: Vec<Item>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) range: Range<usize>,
    /// Of a function.
    pub(super) function: Option<Function>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: Range<usize>,
    /// Between the parentheses.
    pub(super) parameters: Range<usize>,
    /// Between the braces.
    pub(super) body: Range<usize>,
}

impl Text {
    pub(super) fn new(text: String) -> Text {
        let (code, literals, directives) = blank(&text);
        let items = items(&code);
        Text { text, code, literals, directives, items }
    }

    pub(super) fn functions(&self) -> Vec<(&Item, &Function)> {
        self.items.iter().filter_map(|item| Some((item, item.function.as_ref()?))).collect()
    }

    pub(super) fn function(&self, random: &mut Random) -> Option<(&Item, &Function)> {
        let all = self.functions();
        (!all.is_empty()).then(|| random.pick(&all))
    }

    /// The code in front of a function's name.
    pub(super) fn head(&self, item: &Item, function: &Function) -> &str {
        &self.code[item.range.start..function.name.start]
    }

    /// The text with these pieces replaced. They must not overlap.
    pub(super) fn with(&self, mut pieces: Vec<(Range<usize>, String)>) -> String {
        pieces.sort_by_key(|(range, _)| range.start);
        let mut text = self.text.clone();
        for (range, piece) in pieces.into_iter().rev() {
            text.replace_range(range, &piece);
        }
        text
    }

    /// Where a statement may be put in: behind another one, in a function's body.
    pub(super) fn gaps(&self, body: &Range<usize>) -> Vec<usize> {
        let bytes = self.code.as_bytes();
        let (mut gaps, mut round, mut braces, mut last) = (Vec::new(), 0i32, Vec::new(), b'{');
        for at in body.clone() {
            match bytes[at] {
                b'(' | b'[' => round += 1,
                b')' | b']' => round -= 1,
                b'{' => braces.push(round > 0 || matches!(last, b'=' | b',' | b'(' | b'{' | b']')),
                b'}' => drop(braces.pop()),
                b';' if round == 0 && !braces.contains(&true) && !follows_else(&self.code[at + 1..body.end]) => {
                    gaps.push(at + 1);
                }
                _ => {}
            }
            if !bytes[at].is_ascii_whitespace() {
                last = bytes[at];
            }
        }
        gaps
    }

    /// Places of a word in the code and in directives.
    pub(super) fn words(&self, word: &str) -> Vec<Range<usize>> {
        let mut found = Vec::new();
        let inside = |at: usize, all: &[Range<usize>]| all.iter().any(|range| range.contains(&at));
        let mut from = 0;
        while let Some(at) = self.text[from..].find(word).map(|at| at + from) {
            from = at + word.len();
            let before = self.text[..at].bytes().next_back().is_some_and(is_word);
            let behind = self.text[from..].bytes().next().is_some_and(is_word);
            let code = &self.code[at..from] == word || inside(at, &self.directives);
            if !before && !behind && code {
                found.push(at..from);
            }
        }
        found
    }

    /// The end of a parenthesis or brace that opens at `open`: the place of what closes it.
    pub(super) fn closing(&self, open: usize) -> Option<usize> {
        let mut depth = 0;
        let text = if self.code.as_bytes()[open] == b' ' { &self.text } else { &self.code };
        for (at, byte) in text.bytes().enumerate().skip(open) {
            match byte {
                b'(' | b'{' | b'[' => depth += 1,
                b')' | b'}' | b']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return Some(at);
            }
        }
        None
    }
}

pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn follows_else(code: &str) -> bool {
    let next = code.trim_start();
    next.starts_with("else") || next.starts_with("while")
}

/// The code with all blanked that isn't code, and where literals and directives are.
fn blank(text: &str) -> (String, Vec<Range<usize>>, Vec<Range<usize>>) {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let (mut literals, mut directives) = (Vec::new(), Vec::new());
    let mut at = 0;
    let mut fresh = true;
    let hide = |code: &mut Vec<u8>, range: Range<usize>| {
        for byte in &mut code[range] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
    };
    while at < bytes.len() {
        let rest = &bytes[at..];
        if rest.starts_with(b"/*") || rest.starts_with(b"//") {
            let end = end_of_comment(bytes, at);
            hide(&mut code, at..end);
            at = end;
        } else if bytes[at] == b'"' || bytes[at] == b'\'' && !(at > 0 && bytes[at - 1].is_ascii_digit()) {
            let end = end_of_literal(bytes, at);
            if bytes[at] == b'"' {
                literals.push(at..end);
            }
            hide(&mut code, at + 1..(end - 1).max(at + 1));
            at = end;
            fresh = false;
        } else if bytes[at] == b'#' && fresh {
            let mut end = at;
            while end < bytes.len() && (bytes[end] != b'\n' || bytes[end - 1] == b'\\') {
                end = if bytes[end..].starts_with(b"/*") { end_of_comment(bytes, end) } else { end + 1 };
            }
            let end = end.min(bytes.len());
            directives.push(at..end);
            hide(&mut code, at..end);
            at = end;
        } else {
            fresh = bytes[at] == b'\n' || fresh && bytes[at].is_ascii_whitespace();
            at += 1;
        }
    }
    // Only whole characters were replaced by blanks, and by as many as they have bytes.
    (String::from_utf8_lossy(&code).into_owned(), literals, directives)
}

fn end_of_comment(bytes: &[u8], at: usize) -> usize {
    let mark: &[u8] = if bytes[at + 1] == b'*' { b"*/" } else { b"\n" };
    let behind = at + 2;
    let found = bytes[behind..].windows(mark.len()).position(|w| w == mark);
    found.map_or(bytes.len(), |n| behind + n + if mark.len() == 2 { 2 } else { 0 })
}

fn end_of_literal(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != bytes[at] && bytes[end] != b'\n' {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

/// What stands at the top level, also within namespaces.
fn items(code: &str) -> Vec<Item> {
    let bytes = code.as_bytes();
    let mut items = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b';' => {
                push(&mut items, code, start..at + 1, None);
                start = at + 1;
            }
            b'}' => start = at + 1,
            b'{' => {
                let head = code[start..at].trim();
                let linkage = head.starts_with("extern") && head.len() < 16;
                if head.contains("namespace") || linkage {
                    start = at + 1;
                } else {
                    let Some(end) = matching(bytes, at) else { return items };
                    if let Some(function) = function(code, start..at, at + 1..end) {
                        push(&mut items, code, start..end + 1, Some(function));
                        start = end + 1;
                    }
                    at = end;
                }
            }
            _ => {}
        }
        at += 1;
    }
    items
}

fn push(items: &mut Vec<Item>, code: &str, range: Range<usize>, function: Option<Function>) {
    let piece = &code[range.clone()];
    let start = range.start + piece.len() - piece.trim_start().len();
    if start < range.end {
        items.push(Item { range: start..range.end, function });
    }
}

fn matching(bytes: &[u8], open: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in bytes.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

/// The function whose head and body these are.
fn function(code: &str, head: Range<usize>, body: Range<usize>) -> Option<Function> {
    let text = code[head.clone()].trim_end();
    let text = ["const", "noexcept", "override"].iter().fold(text, |text, end| text.trim_end_matches(end).trim_end());
    if !text.ends_with(')') || text.contains('=') {
        return None;
    }
    let bytes = text.as_bytes();
    let (mut depth, mut open) = (0, text.len());
    while open > 0 {
        open -= 1;
        match bytes[open] {
            b')' => depth += 1,
            b'(' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    let before = text[..open].trim_end().trim_end_matches(')');
    let name = before.len() - before.bytes().rev().take_while(|&byte| is_word(byte)).count();
    if depth != 0 || name == before.len() || name == 0 {
        return None;
    }
    let from = head.start;
    Some(Function { name: from + name..from + before.len(), parameters: from + open + 1..from + text.len() - 1, body })
}

#[cfg(test)]
mod tests {
    use super::Text;

    #[test]
    fn functions_and_gaps() {
        let text = Text::new(
            "#define A {\nstatic int t[] = {1, 2}; // {\nnamespace n {\nint f(int a, int (*b)(void)) { const char *s = \"}\"; if (a) b(); else g(); return s[0]; }\n\
             void C::g() const { x(); }\nstruct S { int m; };\n}\n"
                .to_owned(),
        );
        let names: Vec<&str> = text.functions().iter().map(|(_, f)| &text.text[f.name.clone()]).collect();
        assert_eq!(names, ["f", "g"]);
        let (_, f) = text.functions()[0];
        assert_eq!(&text.text[f.parameters.clone()], "int a, int (*b)(void)");
        assert_eq!(text.gaps(&f.body).len(), 3);
        assert_eq!(text.literals.len(), 1);
        assert_eq!(text.items.len(), 4);
    }

    #[test]
    fn words_of_code() {
        let text = Text::new("#define X f(1)\nint f(int); int ff = 'f'; /* f */ char s[] = \"f\";\n".to_owned());
        assert_eq!(text.words("f").len(), 2);
    }
}
