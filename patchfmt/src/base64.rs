//! Base64 (RFC 4648, section 4) without allocation. Decoding is strict: padded, no line breaks, unused bits zero.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn digit(c: u8) -> Option<u32> {
    Some(u32::from(match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Decodes into `out`; `None` when the text isn't base64 or `out` is too small.
pub fn decode<'o>(text: &[u8], out: &'o mut [u8]) -> Option<&'o [u8]> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let pad = text.iter().rev().take(2).take_while(|c| **c == b'=').count();
    let digits = &text[..text.len() - pad];
    let len = text.len() / 4 * 3 - pad;
    let out = out.get_mut(..len)?;
    for (group, chunk) in digits.chunks(4).zip(out.chunks_mut(3)) {
        let mut bits = 0;
        for c in group {
            bits = bits << 6 | digit(*c)?;
        }
        bits <<= 6 * (4 - group.len());
        let bytes = bits.to_be_bytes();
        chunk.copy_from_slice(&bytes[1..=chunk.len()]);
        if bytes[1 + chunk.len()..].iter().any(|b| *b != 0) {
            return None;
        }
    }
    Some(out)
}

/// Writes `bytes` as base64, with or without padding.
///
/// # Errors
/// Those of `out`.
pub fn encode(bytes: &[u8], pad: bool, out: &mut dyn core::fmt::Write) -> core::fmt::Result {
    for chunk in bytes.chunks(3) {
        let mut group = [0; 4];
        group[1..=chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes(group);
        for n in 0..4 {
            if n <= chunk.len() {
                out.write_char(ALPHABET[(bits >> (18 - 6 * n)) as usize & 63] as char)?;
            } else if pad {
                out.write_char('=')?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors_of_rfc_4648() {
        for (plain, coded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            let mut out = [0; 8];
            assert_eq!(decode(coded.as_bytes(), &mut out), Some(plain.as_bytes()));
            let mut text = String::new();
            encode(plain.as_bytes(), true, &mut text).unwrap();
            assert_eq!(text, coded);
        }
    }

    #[test]
    fn strict() {
        let mut out = [0; 8];
        for bad in ["Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm 9", "Zm9\n", "Zm-_"] {
            assert_eq!(decode(bad.as_bytes(), &mut out), None, "{bad:?}");
        }
        assert_eq!(decode(b"Zm9vYmFy", &mut [0; 5]), None);
    }
}
