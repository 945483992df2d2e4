//! A strict reader of the part of CBOR that metadata use (RFC 8949, section 4.2.1 "core deterministic encoding"): unsigned integers,
//! byte and text strings, arrays and maps, all of definite length and with the shortest heads.

use crate::codes::{self, Code};
use crate::error::FormatError;

/// Depth to which an ignorable value may be nested.
const MAX_DEPTH: u32 = 8;

const UINT: u8 = 0;
const BYTES: u8 = 2;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begin in the file: for error places.
    base: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8], base: usize) -> Self {
        Reader { bytes, at: 0, base }
    }

    /// The error `code` at the place that was last begun.
    pub(crate) fn error(&self, code: Code) -> FormatError {
        FormatError::new(code, self.base + self.at)
    }

    pub(crate) fn finished(&self) -> Result<(), FormatError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.error(codes::METADATA_LENGTH)) }
    }

    pub(crate) fn uint(&mut self) -> Result<u64, FormatError> {
        self.expect(UINT)
    }

    /// An integer not above `max`.
    pub(crate) fn uint_to(&mut self, max: u64) -> Result<u64, FormatError> {
        let start = *self;
        let value = self.uint()?;
        if value <= max { Ok(value) } else { Err(start.error(codes::METADATA_RANGE)) }
    }

    pub(crate) fn u32(&mut self) -> Result<u32, FormatError> {
        let start = *self;
        u32::try_from(self.uint()?).map_err(|_| start.error(codes::METADATA_RANGE))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], FormatError> {
        let n = self.expect(BYTES)?;
        self.take(n)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, FormatError> {
        let start = *self;
        let n = self.expect(TEXT)?;
        core::str::from_utf8(self.take(n)?).map_err(|_| start.error(codes::METADATA_TEXT))
    }

    /// Head of an array: number of items.
    pub(crate) fn array(&mut self) -> Result<u64, FormatError> {
        self.expect(ARRAY)
    }

    /// Head of a map: number of pairs.
    pub(crate) fn map(&mut self) -> Result<u64, FormatError> {
        self.expect(MAP)
    }

    /// Leaves out one item of any kind that this reader knows.
    pub(crate) fn skip(&mut self) -> Result<(), FormatError> {
        self.skip_within(MAX_DEPTH)
    }

    fn skip_within(&mut self, depth: u32) -> Result<(), FormatError> {
        let start = *self;
        let depth = depth.checked_sub(1).ok_or(start.error(codes::METADATA_RANGE))?;
        let (major, value) = self.head()?;
        let items = match major {
            UINT | 1 => 0,
            BYTES => self.take(value).map(|_| 0)?,
            TEXT => {
                core::str::from_utf8(self.take(value)?).map(|_| 0).map_err(|_| start.error(codes::METADATA_TEXT))?
            }
            ARRAY => value,
            MAP => value.checked_mul(2).ok_or(start.error(codes::METADATA_LENGTH))?,
            _ => return Err(start.error(codes::METADATA_TYPE)),
        };
        // Each item takes a byte at least, so this ends with the input.
        for _ in 0..items {
            self.skip_within(depth)?;
        }
        Ok(())
    }

    fn expect(&mut self, want: u8) -> Result<u64, FormatError> {
        let start = *self;
        let (major, value) = self.head()?;
        if major == want { Ok(value) } else { Err(start.error(codes::METADATA_TYPE)) }
    }

    /// Major type and value of the next head.
    fn head(&mut self) -> Result<(u8, u64), FormatError> {
        let start = *self;
        let first = self.take(1)?[0];
        let (size, least) = match first & 0x1f {
            small @ 0..=23 => return Ok((first >> 5, u64::from(small))),
            24 => (1, 24),
            25 => (2, 1 << 8),
            26 => (4, 1 << 16),
            27 => (8, 1 << 32),
            31 => return Err(start.error(codes::METADATA_INDEFINITE)),
            _ => return Err(start.error(codes::METADATA_TYPE)),
        };
        let value = self.take(size)?.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
        if value < least {
            return Err(start.error(codes::METADATA_NOT_SHORTEST));
        }
        Ok((first >> 5, value))
    }

    fn take(&mut self, n: u64) -> Result<&'a [u8], FormatError> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let n = usize::try_from(n).ok().filter(|n| *n <= rest.len()).ok_or(self.error(codes::METADATA_LENGTH))?;
        self.at += n;
        Ok(&rest[..n])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code<T: core::fmt::Debug>(r: Result<T, FormatError>) -> Code {
        r.unwrap_err().code
    }

    #[test]
    fn integers_only_in_shortest_form() {
        for (bytes, value) in [
            (&[0x17][..], 23),
            (&[0x18, 24], 24),
            (&[0x19, 1, 0], 256),
            (&[0x1a, 0, 1, 0, 0], 1 << 16),
            (&[0x1b, 0, 0, 0, 1, 0, 0, 0, 0], 1 << 32),
        ] {
            assert_eq!(Reader::new(bytes, 0).uint(), Ok(value));
        }
        for bytes in
            [&[0x18, 23][..], &[0x19, 0, 255], &[0x1a, 0, 0, 255, 255], &[0x1b, 0, 0, 0, 0, 255, 255, 255, 255]]
        {
            assert_eq!(code(Reader::new(bytes, 0).uint()), codes::METADATA_NOT_SHORTEST);
        }
    }

    #[test]
    fn refuses_what_is_cut_off_or_of_another_type() {
        assert_eq!(code(Reader::new(&[], 7).uint()), codes::METADATA_LENGTH);
        assert_eq!(Reader::new(&[], 7).uint().unwrap_err().at, 7);
        assert_eq!(code(Reader::new(&[0x19, 1], 0).uint()), codes::METADATA_LENGTH);
        assert_eq!(code(Reader::new(&[0x62, b'a'], 0).text()), codes::METADATA_LENGTH);
        assert_eq!(
            code(Reader::new(&[0x7b, 255, 255, 255, 255, 255, 255, 255, 255], 0).text()),
            codes::METADATA_LENGTH
        );
        assert_eq!(code(Reader::new(&[0x41, b'a'], 0).text()), codes::METADATA_TYPE);
        assert_eq!(code(Reader::new(&[0x61, 0xff], 0).text()), codes::METADATA_TEXT);
        assert_eq!(code(Reader::new(&[0x9f, 0xff], 0).array()), codes::METADATA_INDEFINITE);
        assert_eq!(code(Reader::new(&[0x1c], 0).uint()), codes::METADATA_TYPE);
    }

    #[test]
    fn skip_is_bounded() {
        assert!(Reader::new(&[0x82, 0x01, 0xa1, 0x00, 0x61, b'x'], 0).skip().is_ok());
        assert_eq!(code(Reader::new(&[0x81; 100_000], 0).skip()), codes::METADATA_RANGE);
        assert_eq!(
            code(Reader::new(&[0x9b, 255, 255, 255, 255, 255, 255, 255, 255, 0], 0).skip()),
            codes::METADATA_LENGTH
        );
        assert_eq!(
            code(Reader::new(&[0xbb, 255, 255, 255, 255, 255, 255, 255, 255, 0], 0).skip()),
            codes::METADATA_LENGTH
        );
        assert_eq!(code(Reader::new(&[0xf6], 0).skip()), codes::METADATA_TYPE);
    }
}
