//! Names as they survive a rebuild: without the numbers and hashes that compilers put into them.

/// A name without clone numbers, and the kinds of clone it says it is.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Stem {
    pub name: String,
    /// `constprop`, `isra`, `part` ... in order. A clone is never the same function as the original: its parameters differ.
    pub kinds: Vec<&'static str>,
    /// The number that was removed, for the order among several.
    pub number: u64,
}

const KINDS: [&str; 5] = ["constprop", "isra", "part", "cold", "localalias"];

/// Kinds of clones whose parameters are others than the original's (GCC, ipa-cp and ipa-sra): an address is never that of one.
pub(super) const CALLED_ONLY: [&str; 2] = ["constprop", "isra"];

/// Splits `foo.isra.0.cold`, `x.1234`, `foo.lto_priv.3`, `bar.llvm.123456` and Rust's `...17h0123456789abcdefE`.
#[must_use]
pub fn stem(name: &str) -> Stem {
    let mut tokens = name.split('.');
    let mut out = Stem { name: lasting(tokens.next().unwrap_or_default()).to_owned(), kinds: Vec::new(), number: 0 };
    let mut privatised = false;
    for t in tokens {
        if let Some(k) = KINDS.iter().find(|k| **k == t) {
            out.kinds.push(k);
        } else if t == "lto_priv" || t == "llvm" {
            privatised = true;
        } else if !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit()) {
            if !privatised {
                out.number = t.parse().unwrap_or(u64::MAX);
            }
        } else {
            out.name.push('.');
            out.name.push_str(t);
        }
    }
    out
}

/// The part of a name that no other function's name is in. A unit has one function that constructs its objects, and gcc names it after
/// the unit's first function.
fn lasting(name: &str) -> &str {
    let setup = ["_GLOBAL__sub_I_", "_GLOBAL__sub_D_"].into_iter().find(|p| name.starts_with(p));
    setup.map_or_else(|| without_rust_hash(name), |p| &name[..p.len() - 1])
}

/// Rust's legacy mangling ends in `17h` + 16 hexadecimal digits + `E`, a hash of the compiler's internals.
fn without_rust_hash(name: &str) -> &str {
    name.strip_suffix('E')
        .filter(|n| n.starts_with("_ZN"))
        .and_then(|n| n.len().checked_sub(19).and_then(|at| n.get(at..).map(|h| (&n[..at], h))))
        .filter(|(_, h)| h.starts_with("17h") && h[3..].bytes().all(|b| b.is_ascii_hexdigit()))
        .map_or(name, |(n, _)| n)
}

/// Whether the name is one of Rust's, in either of its manglings.
pub(super) fn is_rust(name: &str) -> bool {
    // Version 0 (RFC 2603): a tag, or the number of another version.
    let tagged = name.strip_prefix("_R").and_then(|n| n.bytes().next());
    tagged.is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) || without_rust_hash(name).len() < name.len()
}

#[cfg(test)]
mod tests {
    use super::stem;

    #[test]
    fn clone_numbers_go_kinds_stay() {
        let s = stem("foo.constprop.3.isra.0");
        assert_eq!((s.name.as_str(), s.kinds.as_slice()), ("foo", ["constprop", "isra"].as_slice()));
        assert_eq!(stem("foo.lto_priv.7"), stem("foo"));
        assert_eq!(stem("count.1234").number, 1234);
        assert_eq!(stem("main.state.2").name, "main.state");
        assert_eq!(stem("_ZN4core3fmt5Write9write_str17h0123456789abcdefE").name, "_ZN4core3fmt5Write9write_str");
        assert_eq!(stem("_GLOBAL__sub_I__Z5firsti"), stem("_GLOBAL__sub_I__Z6secondv"));
        assert_ne!(stem("_GLOBAL__sub_I_first"), stem("_GLOBAL__sub_D_first"));
        assert_eq!(stem("_ZN4core3fmtE").name, "_ZN4core3fmtE");
    }
}
