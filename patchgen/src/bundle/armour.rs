//! The armour around OpenSSH's keys and signatures: `-----BEGIN X-----`, base64 in lines, `-----END X-----`.

use patchfmt::base64;

pub const SIGNATURE: &str = "SSH SIGNATURE";
pub const PRIVATE_KEY: &str = "OPENSSH PRIVATE KEY";

/// The bytes inside; `None` when the text isn't one whole armour with that label.
#[must_use]
pub fn decode(label: &str, text: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let body = body.strip_suffix(&format!("-----END {label}-----"))?;
    let coded: Vec<u8> = body.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let mut out = vec![0; coded.len() / 4 * 3];
    let bytes = base64::decode(&coded, &mut out)?;
    Some(bytes.to_vec())
}

/// In lines of 70 digits, as OpenSSH writes it.
#[must_use]
pub fn encode(label: &str, bytes: &[u8]) -> String {
    let mut coded = String::new();
    // Writing to a `String` can't fail.
    let _ = base64::encode(bytes, true, &mut coded);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = coded.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(70));
        out.push_str(line);
        out.push('\n');
        rest = more;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_damage() {
        for n in 0..200 {
            let bytes: Vec<u8> = (0..n).map(|b| b as u8).collect();
            let text = encode(SIGNATURE, &bytes);
            assert!(text.lines().all(|l| l.len() <= 70));
            assert_eq!(decode(SIGNATURE, &text), Some(bytes));
            assert_eq!(decode(PRIVATE_KEY, &text), None);
            assert_eq!(decode(SIGNATURE, &text[..text.len() - 2]), None);
        }
        assert_eq!(decode(SIGNATURE, "-----BEGIN SSH SIGNATURE-----\n????\n-----END SSH SIGNATURE-----"), None);
        assert_eq!(decode(SIGNATURE, ""), None);
    }
}
