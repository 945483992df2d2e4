//! What rustc's names show of themselves.

/// Rust's legacy mangling ends in `17h` + 16 hexadecimal digits + `E`, a hash of the compiler's internals.
pub(crate) fn without_rust_hash(name: &str) -> &str {
    name.strip_suffix('E')
        .filter(|n| n.starts_with("_ZN"))
        .and_then(|n| n.len().checked_sub(19).and_then(|at| n.get(at..).map(|h| (&n[..at], h))))
        .filter(|(_, h)| h.starts_with("17h") && h[3..].bytes().all(|b| b.is_ascii_hexdigit()))
        .map_or(name, |(n, _)| n)
}

/// Whether the name is one of Rust's, in either of its manglings.
pub(crate) fn is_rust(name: &str) -> bool {
    // Version 0 (RFC 2603): a tag, or the number of another version.
    let tagged = name.strip_prefix("_R").and_then(|n| n.bytes().next());
    tagged.is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit()) || without_rust_hash(name).len() < name.len()
}

/// What paths in Rust's library begin with.
pub(crate) const LIBRARY: &[&str] = &["core::", "std::", "alloc::"];

/// Where it is said to have been built, by its makers and by Debian.
pub(crate) const LIBRARY_SOURCES: &[&str] = &["/rustc/", "/rust/deps/", "/usr/src/rustc-"];
