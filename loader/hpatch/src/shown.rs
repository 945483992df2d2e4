//! Text from elsewhere on a terminal. A thread's name, a file's, a symbol's may hold any bytes, and a process may have overwritten what the loader
//! keeps in it: none of them moves the cursor, begins a line, or turns the direction of what follows.

use std::borrow::Cow;
use std::fmt;
use std::io::{ErrorKind, Write};

fn is_harmless(c: char) -> bool {
    // Unicode's marks for the direction of writing.
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !c.is_control() && !turns
}

fn escaped(text: &str, passes: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&passes) {
        return text.into();
    }
    let mut out = String::new();
    for c in text.chars() {
        if passes(c) {
            out.push(c);
        } else {
            out.extend(c.escape_default());
        }
    }
    out.into()
}

/// A piece of a line.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a>(pub &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&escaped(self.0, is_harmless))
    }
}

/// Lines whose pieces from elsewhere have no end of a line in them.
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, |c| c == '\n' || is_harmless(c))
}

/// What memory of a process says is text.
pub fn from_memory(bytes: &[u8]) -> String {
    Shown(&String::from_utf8_lossy(bytes)).to_string()
}

/// Writes to standard output. What was done isn't undone where nobody can read of it, and its exit status stands: a reader that went away
/// (`| head`) is none of its business, a full disk is told of.
pub fn out(text: &str) {
    let mut stream = std::io::stdout().lock();
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => say(&format!("note: the report can't be written: {e}\n")),
        _ => {}
    }
}

/// Writes to standard error, if anybody reads it.
pub fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves_the_cursor() {
        assert_eq!(Shown("naïve (a) \\ b").to_string(), "naïve (a) \\ b");
        assert_eq!(Shown("\u{1b}[31mx\ny\u{9b}2J\u{7f}").to_string(), "\\u{1b}[31mx\\ny\\u{9b}2J\\u{7f}");
        assert_eq!(lines("a\n  b\r\u{202e}c\n"), "a\n  b\\r\\u{202e}c\n");
        assert_eq!(from_memory(b"f\x1b\xff"), "f\\u{1b}\u{fffd}");
    }
}
