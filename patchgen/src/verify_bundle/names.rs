//! Names of functions and data across two builds.

use std::borrow::Cow;

/// A symbol's name and the unit that a local symbol is in (its STT_FILE).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Name {
    pub name: String,
    /// None for global symbols and those of a payload.
    pub file: Option<String>,
}

/// How two names agree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// Up to a number that the compiler gave (`x.3`, `f.isra.0`), or in units of other names: says what to compare, proves nothing.
    Stem,
    /// The same, but it counts (the lambdas of a function, the variables of its blocks): another may have had it before.
    Counted,
    Exact,
}

impl Name {
    pub fn new(name: &str, file: Option<&str>) -> Name {
        Name { name: name.to_owned(), file: file.map(ToOwned::to_owned) }
    }

    pub fn compare(&self, other: &Name) -> Option<Match> {
        // rustc spreads functions over units as it likes, and its names are of the whole crate.
        let tagged = self.name.strip_prefix("_R").and_then(|n| n.bytes().next());
        let rust = is_hashed(&self.name) || tagged.is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
        let units = rust || self.file == other.file || self.file.is_none() || other.file.is_none();
        if self.name == other.name && units {
            // Rust's closures and what wraps them; a hash says which instance of another function it is.
            let closure = is_hashed(&self.name) && self.name.contains("$u7b$");
            let counts = closure || counted(&self.name).is_some() || numbered(&self.name);
            return Some(if counts { Match::Counted } else { Match::Exact });
        }
        (stem(&self.name) == stem(&other.name)).then_some(Match::Stem)
    }
}

/// Whether a name is one of several by a number alone: nested functions, locals of units that were linked as one, blocks.
fn numbered(name: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some((front, _)) = name.rsplit_once('.').filter(|(_, last)| number(last)) else {
        return name.rsplit_once("_block_invoke_").is_some_and(|(_, last)| number(last));
    };
    !front.contains('.') || front.ends_with(".lto_priv")
}

/// Whether a name ends in the hash that rustc gives one: `17h<16 digits>E`.
fn is_hashed(name: &str) -> bool {
    name.len()
        .checked_sub(20)
        .is_some_and(|hash| name.is_char_boundary(hash) && name[hash..].starts_with("17h") && name.ends_with('E'))
}

/// A name without what compilers number: `.constprop.0`, `.part.1`, `.lto_priv.2`, `.llvm.123`, `.45`, Rust's `17h<16 digits>E`, lambdas and
/// the variables of blocks.
pub fn stem(name: &str) -> Cow<'_, str> {
    let name = name.split('@').next().unwrap_or(name);
    let mut name = name.split(".llvm.").next().unwrap_or(name);
    if is_hashed(name) {
        return Cow::Borrowed(&name[..name.len() - 20]);
    }
    if let Some((dot, _)) = name.char_indices().skip(1).find(|&(_, c)| c == '.') {
        name = &name[..dot];
    }
    counted(name).map_or(Cow::Borrowed(name), Cow::Owned)
}

/// A mangled name of something inside of a function, or made for it, as it reads without numbers that say which it is.
fn counted(name: &str) -> Option<String> {
    let readable = if name.starts_with("_R") {
        format!("{:#}", rustc_demangle::try_demangle(name).ok()?)
    } else {
        // `Z` begins what is local to a function, `U` a lambda or a type without a name, `$` clang's own names for lambdas.
        name.strip_prefix("_Z")?.find(['Z', 'U', '$'])?;
        cpp_demangle::Symbol::new(name).ok()?.demangle().ok()?
    };
    let outside = readable.replace("(anonymous namespace)", "");
    let marks = ["#", "$_", ")::", " const::"];
    let local = name.starts_with("_R") || name.trim_start_matches("_ZGV").trim_start_matches("_Z").starts_with('Z');
    if !local && !marks.iter().any(|mark| outside.contains(mark)) {
        return None;
    }
    let mut out = String::new();
    let mut rest = readable.as_str();
    while let Some(at) = rest.find(['#', '_']) {
        let mark = at + 1;
        out.push_str(&rest[..mark]);
        let digits = rest[mark..].bytes().take_while(u8::is_ascii_digit).count();
        let counts = rest[at..].starts_with('#') || rest[..at].ends_with('$');
        rest = &rest[if counts { mark + digits } else { mark }..];
    }
    out.push_str(rest);
    Some(out)
}

/// The best agreement of any two names.
pub fn best(a: &[Name], b: &[Name]) -> Option<Match> {
    a.iter().flat_map(|x| b.iter().filter_map(move |y| x.compare(y))).max()
}

/// Whether a symbol is the part of a function that its compiler moved away.
pub fn is_part(names: &[Name]) -> bool {
    names.iter().any(|n| n.name.contains(".cold"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems() {
        assert_eq!(stem("x.12"), "x");
        assert_eq!(stem("f.isra.0.cold"), "f");
        assert_eq!(stem(".hidden"), ".hidden");
        assert_eq!(stem("_ZN1a1b17h0123456789abcdefE"), "_ZN1a1b");
        assert_eq!(stem("_ZN1a1b17h0123456789abcdefE.llvm.12"), "_ZN1a1b");
        assert_eq!(stem("puts@GLIBC_2.2.5"), "puts");
    }

    #[test]
    fn units_tell_equal_names_apart() {
        let (a, b) = (Name::new("init", Some("a.c")), Name::new("init", Some("b.c")));
        assert_eq!(a.compare(&b), Some(Match::Stem));
        assert_eq!(a.compare(&Name::new("init", None)), Some(Match::Exact));
        assert_eq!(a.compare(&Name::new("exit", None)), None);
        let rust = |unit| Name::new("_ZN1a1b17h0123456789abcdefE", Some(unit));
        assert_eq!(rust("a.cgu.0").compare(&rust("a.cgu.1")), Some(Match::Exact));
    }

    #[test]
    fn a_count_proves_nothing() {
        let name = |name: &str| Name::new(name, None);
        let (a, b) = (name("_ZZ4tickiE1n"), name("_ZZ4tickiE1n_0"));
        assert_eq!(a.compare(&b), Some(Match::Stem));
        assert_eq!(a.compare(&a), Some(Match::Counted));
        assert_eq!(a.compare(&name("_ZZ4tickiE1m")), None);
        assert_eq!(name("_ZZL4tickiENK3$_0clEi").compare(&name("_ZZL4tickiENK3$_1clEi")), Some(Match::Stem));
        assert_eq!(name("_ZN4ZLib4openEv").compare(&name("_ZN4ZLib4openEv")), Some(Match::Exact));
        let itself = |text: &str| name(text).compare(&name(text));
        for counts in ["step.0", "helper.lto_priv.2", "run_block_invoke_3"] {
            assert_eq!(itself(counts), Some(Match::Counted), "{counts}");
        }
        for alone in ["step", "step.constprop.0", "run.part.1", "run_block_invoke"] {
            assert_eq!(itself(alone), Some(Match::Exact), "{alone}");
        }
    }
}
