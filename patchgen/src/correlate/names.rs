//! Names as they survive a rebuild: without the numbers and hashes that compilers put into them.

use crate::rust_names::{is_rust, without_rust_hash};
use std::borrow::Cow;

/// What a variable is called within its scope.
#[must_use]
pub fn own_name(name: &str) -> String {
    let stem = stem(name).name;
    let text = cpp_demangle::Symbol::new(&stem).ok().and_then(|s| s.demangle().ok()).unwrap_or(stem);
    text.rsplit("::").next().unwrap_or_default().to_owned()
}

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
    let (name, suffixes) = apart(name);
    let mut out = Stem { name: lasting(name).into_owned(), kinds: Vec::new(), number: 0 };
    let mut privatised = false;
    for t in suffixes.split('.').skip(1) {
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

/// A name and, from a period on, what compilers append. Names of Rust's have periods of their own.
fn apart(name: &str) -> (&str, &str) {
    let hash = |(at, _): (usize, &str)| {
        let end = at + 20;
        let rest = name.get(end..)?;
        (without_rust_hash(&name[..end]).len() < end && (rest.is_empty() || rest.starts_with('.'))).then_some(end)
    };
    let end = name.starts_with("_ZN").then(|| name.match_indices("17h").find_map(hash)).flatten();
    name.split_at(end.or_else(|| name.find('.')).unwrap_or(name.len()))
}

/// The part of a name that no other function's name is in. A unit has one function that constructs its objects, and gcc names it after
/// the unit's first function.
fn lasting(name: &str) -> Cow<'_, str> {
    let setup = ["_GLOBAL__sub_I_", "_GLOBAL__sub_D_"].into_iter().find(|p| name.starts_with(p));
    match setup {
        Some(p) => Cow::Borrowed(&name[..p.len() - 1]),
        None if name.contains(BLOCK) => Cow::Borrowed(name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '_')),
        None => counted(name).map_or_else(|| Cow::Borrowed(without_rust_hash(name)), Cow::Owned),
    }
}

/// What begins the mangled name of something inside of a function (Itanium C++ ABI, 5.1.6), of its guard or of what describes it.
const LOCAL: [&str; 8] = ["_ZZ", "_ZGVZ", "_ZNZ", "_ZNKZ", "_ZTVZ", "_ZTIZ", "_ZTSZ", "_ZTTZ"];

/// Where a name counts things of its function (blocks' variables, lambdas, closures, unnamed types): the same, readable, without the counts.
/// One more in front and each of them has the name that another had.
fn counted(name: &str) -> Option<String> {
    if without_rust_hash(name).len() < name.len() {
        return None;
    }
    let text = if is_rust(name) {
        format!("{:#}", rustc_demangle::try_demangle(name).ok()?)
    } else {
        let may_be = |mangled: &str| mangled.contains(['Z', '$']) || mangled.contains("Ul") || mangled.contains("Ut");
        name.strip_prefix("_Z").filter(|m| may_be(m))?;
        let text = cpp_demangle::Symbol::new(name).ok()?.demangle().ok()?;
        let plain = text.replace("(anonymous namespace)", "");
        let inside = LOCAL.iter().any(|p| name.starts_with(p)) || plain.contains(")::") || plain.contains(" const::");
        if !inside && !plain.contains("$_") && !plain.contains('#') {
            return None;
        }
        text
    };
    let mut out = String::with_capacity(text.len());
    let mut numeral = false;
    for c in text.chars() {
        numeral = c.is_ascii_digit() && (numeral || out.ends_with('#') || out.ends_with("$_"));
        if !numeral {
            out.push(c);
        }
    }
    Some(out)
}

/// Whether the name may be one of several that the compiler tells apart by a number, or by nothing in the first of them.
pub(super) fn may_be_counted(name: &str) -> bool {
    name.contains('.') || is_counted_function(name)
}

/// Whether its number alone may say which of several local functions it is: GCC's nested functions (`step.0`), those that link-time
/// optimisation brings together (`helper.lto_priv.0`, clang's `helper.1`), clang's blocks (`run_block_invoke_2`). Clones are made of a function.
pub(super) fn is_numbered_function(name: &str) -> bool {
    let suffixed = || {
        let own = stem(name);
        let numbered = own.kinds.is_empty() && own.name.len() < name.len();
        numbered && !name.starts_with("_GLOBAL__") && !name.contains(".llvm.") && !is_counted_function(name)
    };
    name.contains(BLOCK) || name.contains('.') && suffixed()
}

/// Clang's name of the code of a block; of further ones of the function with a number.
const BLOCK: &str = "_block_invoke";

/// Whether a number or a hash in the name says of which lambda, closure, block or local class it is.
#[must_use]
pub fn is_counted_function(name: &str) -> bool {
    let (name, _) = apart(name);
    is_rust(name) || counted(name).is_some()
}

#[cfg(test)]
mod tests {
    use super::{is_counted_function, is_numbered_function, own_name, stem};

    #[test]
    fn scopes_go() {
        for name in ["count.12", "_ZZ4nextiE5count", "_ZZ4nextiiE5count_0", "_ZL5count", "_ZN3app5countE"] {
            assert_eq!(own_name(name), "count");
        }
    }

    #[test]
    fn clone_numbers_go_kinds_stay() {
        let s = stem("foo.constprop.3.isra.0");
        assert_eq!((s.name.as_str(), s.kinds.as_slice()), ("foo", ["constprop", "isra"].as_slice()));
        assert_eq!(stem("foo.lto_priv.7"), stem("foo"));
        assert_eq!(stem("count.1234").number, 1234);
        assert_eq!(stem("main.state.2").name, "main.state");
        assert_eq!(stem("_ZN4core3fmt5Write9write_str17h0123456789abcdefE").name, "_ZN4core3fmt5Write9write_str");
        let shim = "_ZN4core3ops8function6FnOnce40call_once$u7b$$u7b$vtable.shim$u7d$$u7d$17h";
        assert_eq!(stem(&format!("{shim}3b197d6938585be1E.llvm.77")), stem(&format!("{shim}87e80cbd740d822dE")));
        assert_eq!(stem("_GLOBAL__sub_I__Z5firsti"), stem("_GLOBAL__sub_I__Z6secondv"));
        assert_ne!(stem("_GLOBAL__sub_I_first"), stem("_GLOBAL__sub_D_first"));
        assert_eq!(stem("_ZN4core3fmtE").name, "_ZN4core3fmtE");
    }

    #[test]
    fn counts_within_functions_go() {
        // Two static variables, in two blocks of one function; in two lambdas, by GCC and by clang.
        assert_eq!(stem("_ZZ4tickiE1n").name, stem("_ZZ4tickiE1n_0").name);
        assert_ne!(stem("_ZZ4tickiE1n").name, stem("_ZZ4tockiE1n").name);
        assert_eq!(stem("_ZZZ4tickiENKUliE_clEiE1n").name, stem("_ZZZ4tickiENKUliE0_clEiE1n").name);
        assert_eq!(stem("_ZZZL4tickiENK3$_0clEiE1n").name, stem("_ZZZL4tickiENK3$_1clEiE1n").name);
        assert_eq!(stem("_ZZL4tickiENK3$_1clEi").name, stem("_ZZL4tickiENK4$_12clEi").name);
        // A function that is generic over a lambda.
        let invoke = |n| format!("_ZNSt17_Function_handlerIFiiEZL5setupiEUliE{n}_E9_M_invokeERKSt9_Any_dataOi");
        assert_eq!(stem(&invoke("")).name, stem(&invoke("0")).name);
        assert!(is_counted_function(&invoke("")));
        // Rust's version 0.
        assert_eq!(stem("_RNvNvCs1234_1a4tick1N").name, stem("_RNvNvCs1234_1a4ticks_1N").name);
        assert_eq!(stem("_RNCNvCs1234_1a4tick0B3_").name, stem("_RNCNvCs1234_1a4ticks_0B3_").name);
        // Nested functions, what link-time optimisation brings together, blocks.
        for name in ["step.0", "helper.lto_priv.3", "helper.1", "run_block_invoke", "run_block_invoke_12"] {
            assert!(is_numbered_function(name), "{name}");
        }
        for name in ["step", "f.constprop.0", "f.part.2", "f.cold", "f.llvm.123", "_ZL5stepi"] {
            assert!(!is_numbered_function(name), "{name}");
        }
        assert_eq!(stem("run_block_invoke_12").name, stem("run_block_invoke").name);
        // Names that count nothing stay as they are.
        for name in ["_ZN12_GLOBAL__N_11fEv", "_ZN4ZLib4openEv", "counter", "_ZSt3minIiERKT_S2_S2_"] {
            assert_eq!(stem(name).name, name);
            assert!(!is_counted_function(name));
        }
    }
}
