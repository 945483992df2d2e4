//! SSH's binary encoding (RFC 4251, section 5): what keys, signatures and the agent's messages are made of.

/// Reads fields from the front.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Fields { rest: bytes }
    }
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(head)
    }
    /// Big-endian.
    pub fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }
    /// A `string`: length and bytes.
    pub fn string(&mut self) -> Option<&'a [u8]> {
        let n = self.u32()?;
        self.take(usize::try_from(n).ok()?)
    }
    /// A positive `mpint` of at most 32 bytes in its shortest form, left-padded with zeros.
    pub fn mpint32(&mut self) -> Option<[u8; 32]> {
        let bytes = match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|b| b & 0x80 != 0) => rest,
            all @ [1..=0x7f, ..] => all,
            _ => return None,
        };
        let mut out = [0; 32];
        out.get_mut(32usize.checked_sub(bytes.len())?..)?.copy_from_slice(bytes);
        Some(out)
    }
    /// `Some` when nothing is left.
    #[must_use]
    pub fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// Appends a `string`.
#[cfg(feature = "alloc")]
pub fn put_string(out: &mut alloc::vec::Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mpint(bytes: &[u8]) -> Option<[u8; 32]> {
        let mut b = (bytes.len() as u32).to_be_bytes().to_vec();
        b.extend_from_slice(bytes);
        Fields::new(&b).mpint32()
    }

    #[test]
    fn mpints_only_in_shortest_positive_form() {
        assert_eq!(mpint(&[5]).unwrap()[31], 5);
        assert_eq!(mpint(&[0, 0x80]).unwrap()[31], 0x80);
        let mut full = [0xff; 33];
        full[0] = 0;
        assert_eq!(mpint(&full), Some([0xff; 32]));
        for bad in [&[][..], &[0], &[0, 5], &[0x80], &[1; 33]] {
            assert_eq!(mpint(bad), None, "{bad:?}");
        }
    }
}
