//! Functions of Rust whose address is held and of which several have one path. The hash in a name is of the path and of what the function is
//! generic over: what has the same name in both builds is the same instance, unless a closure or something else that its function counts is in
//! it. Debug information writes all of that out. A closure is the same where its number is, if no other one of its function catches what it
//! does and they all are as they were.

use super::{Correlation, Pair, Scoped, Why, held, stem};
use crate::addr::{FuncId, Svma};
use crate::rust_names::{LIBRARY, is_rust};
use crate::types::{CLOSURE_TYPE, Catches, Generic, closures, generics};
use patchfmt::codes;
use std::collections::{BTreeMap, BTreeSet};

/// Pairs such functions, and says of no others that they can't be told apart where they are other instances.
pub fn pair_instances(pairs: &mut Correlation, old: Scoped<'_, '_>, new: Scoped<'_, '_>) {
    let ambiguous = pairs.ambiguous.iter().filter(|a| a.0 == codes::AMBIGUOUS_FUNCTIONS.0);
    let stems: BTreeSet<&str> = ambiguous.map(|a| a.1.as_str()).collect();
    // Also what only its name or the order says.
    let open = |side: Scoped<'_, '_>, known: &[Option<Pair<FuncId>>]| -> BTreeMap<usize, String> {
        let rust = side.lifted.functions.iter().enumerate().filter(|(_, f)| is_rust(&f.name));
        let unsure = rust.filter(|(i, _)| known[*i].is_none_or(|pair| !pair.why.is_sure()));
        let stemmed = unsure.map(|(i, f)| (i, stem(&f.name).name));
        stemmed.filter(|(i, stem)| known[*i].is_some() || stems.contains(stem.as_str())).collect()
    };
    let (was, is) = (open(old, &pairs.func_to_new), open(new, &pairs.func_to_old));
    if was.is_empty() || is.is_empty() {
        return;
    }
    let (a, b) = (Open::of(old, was), Open::of(new, is));
    let same = Same::of(old, &a, new, &b);
    for (name, &i) in &a.by_name {
        let Some(&j) = b.by_name.get(name).filter(|j| same.is_instance(a.written.get(&i), b.written.get(j))) else {
            continue;
        };
        let pair = Pair { old: FuncId::from(i), new: FuncId::from(j), why: Why::LocalName };
        match (pairs.func_to_new[i], pairs.func_to_old[j]) {
            (Some(with), _) if with.new != pair.new => continue,
            (_, Some(with)) if with.old != pair.old => continue,
            _ => {}
        }
        pairs.func_to_new[i] = Some(pair);
        pairs.func_to_old[j] = Some(pair);
    }
    let (old_held, new_held) = (held(old.image, old.lifted), held(new.image, new.lifted));
    let gone = a.stems.iter().filter(|(i, _)| pairs.func_to_new[**i].is_none());
    let come: Vec<(&usize, &String)> = b.stems.iter().filter(|(j, _)| pairs.func_to_old[**j].is_none()).collect();
    let may_be = |i: &usize, j: &usize| {
        (old_held.contains(i) || new_held.contains(j)) && same.may_be(a.written.get(i), b.written.get(j))
    };
    let left = gone.filter(|(i, stem)| come.iter().any(|(j, other)| other == stem && may_be(i, j)));
    let left: BTreeSet<&String> = left.map(|(_, stem)| stem).collect();
    let told: BTreeSet<&String> = a.stems.values().filter(|stem| !left.contains(stem)).collect();
    pairs.ambiguous.retain(|(code, stem)| *code != codes::AMBIGUOUS_FUNCTIONS.0 || !told.contains(stem));
}

/// Functions of a build of which more is to be known.
struct Open<'a> {
    stems: BTreeMap<usize, String>,
    /// The only one of these that has the whole name, but for the number of a unit that thin link-time optimisation gives.
    by_name: BTreeMap<&'a str, usize>,
    written: BTreeMap<usize, Written>,
}

/// What a function is an instance of.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Written(String);

impl<'a> Open<'a> {
    fn of(side: Scoped<'a, '_>, stems: BTreeMap<usize, String>) -> Open<'a> {
        let functions = &side.lifted.functions;
        let name = |i: usize| functions[i].name.split(".llvm.").next().unwrap_or_default();
        let start = |i: usize| functions[i].parts[0].start;
        let families: BTreeSet<&str> = stems.values().map(String::as_str).collect();
        let rust = functions.iter().enumerate().filter(|(_, f)| is_rust(&f.name)).map(|(i, f)| (i, stem(&f.name).name));
        let members: Vec<(usize, String)> = rust.filter(|(_, stem)| families.contains(stem.as_str())).collect();
        let wanted: Vec<(Svma, &str)> = members.iter().map(|&(i, _)| (start(i), name(i))).collect();
        let generics = generics(side.info, &wanted);
        let written = |i: usize| Written::of(name(i), generics.get(&start(i))?);
        // Items of one name in two blocks of a function are told apart by nothing else than a number.
        let mut called: BTreeMap<(&str, Written), BTreeSet<&str>> = BTreeMap::new();
        for (i, stem) in &members {
            if let Some(written) = written(*i) {
                called.entry((stem, written)).or_default().insert(name(*i));
            }
        }
        let only = |i: usize| {
            let key = (stems[&i].as_str(), written(i)?);
            called.get(&key).is_some_and(|names| names.len() == 1).then_some((i, key.1))
        };
        let mut by_name: BTreeMap<&str, Option<usize>> = BTreeMap::new();
        for &i in stems.keys() {
            by_name.entry(name(i)).and_modify(|of| *of = None).or_insert(Some(i));
        }
        let by_name = by_name.into_iter().filter_map(|(name, i)| Some((name, i?))).collect();
        let written = stems.keys().filter_map(|&i| only(i)).collect();
        Open { written, by_name, stems }
    }
}

impl Written {
    fn of(symbol: &str, generic: &Generic) -> Option<Written> {
        let path = format!("{:#}", rustc_demangle::try_demangle(symbol).ok()?);
        // The symbol says of which implementation a function is, but not which closure one is.
        let plain = SHIMS.iter().fold(path, |path, shim| path.replace(shim, ""));
        let whole = if plain.contains('{') {
            format!("{}::{}", generic.scope, generic.name)
        } else {
            format!("{plain} {}", generic.name)
        };
        Some(Written(whole))
    }

    /// What is in it that something counts: what that is, and the rest of the text from the count on.
    fn counted(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.match_indices('{').map(|(at, _)| {
            let within = self.0[..at].rsplit(|c: char| !c.is_alphanumeric() && !"_:{}#".contains(c)).next();
            (within.unwrap_or_default(), &self.0[at..])
        })
    }
}

/// Shims of which there is one for each instance.
const SHIMS: [&str; 4] = ["{{vtable.shim}}", "{{reify.shim}}", "{shim:vtable#0}", "{shim:reify#0}"];

/// What the library counts is the same as long as the compiler is.
fn is_library(path: &str) -> bool {
    LIBRARY.iter().any(|root| path.starts_with(root))
}

/// A function and the number of a closure in it.
fn closure<'a>(within: &'a str, rest: &'a str) -> Option<(&'a str, &'a str)> {
    let number = rest.strip_prefix(CLOSURE_TYPE).or_else(|| rest.strip_prefix("{closure#"))?;
    Some((within.strip_suffix("::")?, number.split_once('}')?.0))
}

/// Closures by function, of both builds.
struct Same {
    old: BTreeMap<String, Catches>,
    new: BTreeMap<String, Catches>,
}

impl Same {
    fn of(old: Scoped<'_, '_>, a: &Open<'_>, new: Scoped<'_, '_>, b: &Open<'_>) -> Same {
        let all = a.written.values().chain(b.written.values()).flat_map(Written::counted);
        let own = all.filter(|(within, _)| !is_library(within)).filter_map(|(within, rest)| closure(within, rest));
        let functions: BTreeSet<String> = own.map(|(function, _)| function.to_owned()).collect();
        let (old, new) = rayon::join(|| closures(old.info, &functions), || closures(new.info, &functions));
        Same { old, new }
    }

    /// Whether nothing in it can be another thing under its number.
    fn is_plain(&self, written: &Written) -> bool {
        written.counted().all(|(within, rest)| {
            is_library(within) || closure(within, rest).is_some_and(|(function, number)| self.is_kept(function, number))
        })
    }

    fn is_kept(&self, function: &str, number: &str) -> bool {
        let Some((all, now)) = self.old.get(function).zip(self.new.get(function)) else { return false };
        // None that debug information doesn't know, or that came or went.
        let whole = (0..all.len()).all(|n| all.contains_key(&n.to_string()));
        let Some(own) = all.get(number).filter(|_| whole && all == now) else { return false };
        let others = all.iter().filter(|(other, _)| *other != number);
        !own.contains(&Vec::new()) && others.flat_map(|(_, caught)| caught).all(|caught| !own.contains(caught))
    }

    fn is_instance(&self, old: Option<&Written>, new: Option<&Written>) -> bool {
        old.zip(new).is_some_and(|(old, new)| old == new && self.is_plain(old))
    }

    /// Whether two functions of one path may be one.
    fn may_be(&self, old: Option<&Written>, new: Option<&Written>) -> bool {
        let Some((old, new)) = old.zip(new) else { return true };
        old == new || !self.is_plain(old) || !self.is_plain(new)
    }
}

#[cfg(test)]
mod tests {
    use super::{Same, Written};
    use crate::types::{Catches, Generic};
    use std::collections::{BTreeMap, BTreeSet};

    fn catches(list: &[(&str, &[&str])]) -> Catches {
        let set =
            |caught: &[&str]| BTreeSet::from([caught.iter().map(|c| ((*c).to_owned(), "u32".to_owned())).collect()]);
        list.iter().map(|(number, caught)| ((*number).to_owned(), set(caught))).collect()
    }

    fn is_plain(text: &str, old: &Catches, new: &Catches) -> bool {
        let map = |c: &Catches| BTreeMap::from([("app::main".to_owned(), c.clone())]);
        Same { old: map(old), new: map(new) }.is_plain(&Written(text.to_owned()))
    }

    #[test]
    fn closures_of_the_library_count_nothing() {
        let none = Catches::new();
        for text in [
            "write_char<std::io::default_write_fmt::Adapter<std::io::stdio::StdoutLock>>",
            "call_once<std::sync::once_lock::{impl#0}::initialize::{closure_env#0}<u32>, ()>",
            "call_once<&mut (std::sync::poison::once::{closure_env#0}, core::x::{closure#1}::{closure_env#0})>",
        ] {
            assert!(is_plain(text, &none, &none), "{text}");
        }
        for text in [
            "call_once<std::thread::lifecycle::{closure_env#1}<app::main::{closure_env#1}, ()>, ()>",
            "call_once<my_core::run::{closure_env#0}>",
            "f<{impl#2}>",
        ] {
            assert!(!is_plain(text, &none, &none), "{text}");
        }
    }

    #[test]
    fn a_closure_is_known_by_what_only_it_catches() {
        let text = "call_once<std::thread::{closure_env#1}<app::main::{closure_env#1}, ()>, ()>";
        let was = catches(&[("0", &[]), ("1", &["rx"]), ("2", &["prefix"])]);
        assert!(is_plain(text, &was, &was));
        // One more; another one at that number; two alike; one that isn't known of.
        assert!(!is_plain(text, &was, &catches(&[("0", &[]), ("1", &["rx"]), ("2", &["prefix"]), ("3", &["x"])])));
        assert!(!is_plain(text, &was, &catches(&[("0", &[]), ("1", &["prefix"]), ("2", &["rx"])])));
        for list in [[("0", &["rx"][..]), ("1", &["rx"])].as_slice(), &[("0", &[]), ("1", &[])], &[("1", &["rx"])]] {
            let list = catches(list);
            assert!(!is_plain(text, &list, &list));
        }
    }

    #[test]
    fn a_symbol_does_not_say_which_closure_it_is() {
        let generic = Generic { name: "{closure#1}".to_owned(), scope: "app::main".to_owned() };
        let written = Written::of("_ZN3app4main28_$u7b$$u7b$closure$u7d$$u7d$17h76566a28b71af478E", &generic);
        assert_eq!(written.map(|w| w.0).as_deref(), Some("app::main::{closure#1}"));
    }
}
