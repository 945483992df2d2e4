//! The text that goes with a code, in a fixed buffer.

use core::fmt;

use patchfmt::Code;

/// Where the first refusal of an operation is put into words. What doesn't fit is cut at a character.
pub struct Report {
    text: [u8; 512],
    len: usize,
}

impl Default for Report {
    fn default() -> Report {
        Report { text: [0; 512], len: 0 }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl fmt::Write for Report {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let mut n = s.len().min(self.text.len() - self.len);
        while !s.is_char_boundary(n) {
            n -= 1;
        }
        self.text[self.len..self.len + n].copy_from_slice(&s.as_bytes()[..n]);
        self.len += n;
        Ok(())
    }
}

impl Report {
    /// Replaces the text; gives the code back, to be returned.
    pub fn refuse(&mut self, code: Code, text: fmt::Arguments<'_>) -> Code {
        self.len = 0;
        // Writing to the buffer can't fail.
        let _ = fmt::write(self, text);
        code
    }

    pub fn text(&self) -> &str {
        core::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }
}

/// A name from an ELF file, or a file's, which may be any bytes: those that would steer a terminal aren't shown.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a>(pub &'a [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for (n, piece) in chunk.valid().split(char::is_control).enumerate() {
                f.write_str(if n == 0 { "" } else { "\u{fffd}" })?;
                f.write_str(piece)?;
            }
            if !chunk.invalid().is_empty() {
                f.write_str("\u{fffd}")?;
            }
        }
        Ok(())
    }
}

/// Bytes as hexadecimal digits, as build-ids are written.
#[derive(Debug, Clone, Copy)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchfmt::codes;

    #[test]
    fn text_is_cut_at_a_character() {
        let mut r = Report::default();
        let long = "é".repeat(400);
        assert_eq!(r.refuse(codes::INTERNAL, format_args!("x{long}")), codes::INTERNAL);
        assert_eq!(r.text().len(), 511);
        r.refuse(codes::INTERNAL, format_args!("{} {}", Name(b"a\xffb"), Hex(&[1, 0xab])));
        assert_eq!(r.text(), "a\u{fffd}b 01ab");
        r.refuse(codes::INTERNAL, format_args!("{}", Name(b"a\x1b[1m\nb")));
        assert_eq!(r.text(), "a\u{fffd}[1m\u{fffd}b");
    }
}
