//! Variables that keep their value, but not in the way that the new code takes for granted: what had several names and is several now, or was
//! several and is one; what is set up at its first use in one build only, or together with what is set up already; what may have another name.

use super::{Context, Findings};
use crate::addr::{DataId, FuncId, SymbolId};
use crate::correlate::{Pair, own_name};
use crate::diag::Severity;
use crate::image::{Binding, Image, SectionKind};
use crate::include::{Analysis, threads};
use crate::lift::{Data, DataKind, Exported, Lifted, Slot, Target, is_linker_symbol};
use foldhash::fast::FixedState;
use patchfmt::codes;
use std::collections::{BTreeSet, HashMap};

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    first_use(a, findings);
    first_use_in_thread(context, findings);
    renamed(a, findings);
    let (old, new) = ((a.old_image, a.old), (a.new_image, a.new));
    for name in divided(old, new) {
        let message =
            format!("`{name}` is one variable of several names in the old build, and these are several in the new one");
        findings.add(Severity::Refuse, codes::AMBIGUOUS_DATA, &name, message);
    }
    for name in divided(new, old) {
        let message =
            format!("`{name}` is one variable of several names in the new build, and these are several in the old one");
        findings.add(Severity::Refuse, codes::AMBIGUOUS_DATA, &name, message);
    }
}

/// A variable that only the old build has, where a function that both have uses one instead that only the new build has, itself or by functions
/// that are gone or new, or one of that name is in another scope (a function that got another name or other parameters, another unit): it may be
/// the same, alone or as a member of that, and would begin anew.
fn renamed(a: Analysis<'_>, findings: &mut Findings) {
    let gone = Alone::of(a.old_image, a.old, &a.pairs.data_to_new, &a.pairs.func_to_new);
    let come = Alone::of(a.new_image, a.new, &a.pairs.data_to_old, &a.pairs.func_to_old);
    let mut found = BTreeSet::new();
    for change in &a.changes.changed {
        let gone = gone.used(change.old);
        if !gone.is_empty() {
            let come = come.used(change.new);
            // A number may have become narrower; what is more than a number can't be in something smaller.
            let size = |lifted: &Lifted, id: DataId| lifted.data[id.index()].range.size();
            let holds = |(g, c): &(DataId, DataId)| size(a.old, *g) <= 8 || size(a.new, *c) >= size(a.old, *g);
            found.extend(gone.iter().flat_map(|&g| come.iter().map(move |&c| (g, c))).filter(holds));
        }
    }
    let mut by_name: HashMap<String, Vec<DataId>> = HashMap::new();
    for &id in a.changes.gone_data.iter().filter(|&&d| gone.is_state(d)) {
        by_name.entry(own_name(&a.old.data[id.index()].name)).or_default().push(id);
    }
    for &id in a.changes.new_data.iter().filter(|&&d| come.is_state(d)) {
        let same = by_name.get(&own_name(&a.new.data[id.index()].name));
        found.extend(same.into_iter().flatten().map(|&gone| (gone, id)));
    }
    for (gone, come) in found {
        let (gone, come) = (&a.old.data[gone.index()].name, &a.new.data[come.index()].name);
        let message = format!(
            "`{gone}` is gone where `{come}` came: if that is the same variable, or holds it, its live value would be lost"
        );
        findings.add(Severity::Start, codes::DATA_REMOVED, gone, message);
    }
}

/// The variables and functions that only one of the builds has.
struct Alone<'a> {
    image: &'a Image,
    lifted: &'a Lifted,
    threads: HashMap<SymbolId, DataId, FixedState>,
    exported: Exported<'a>,
    data: &'a [Option<Pair<DataId>>],
    functions: &'a [Option<Pair<FuncId>>],
}

impl<'a> Alone<'a> {
    fn of(
        image: &'a Image,
        lifted: &'a Lifted,
        data: &'a [Option<Pair<DataId>>],
        functions: &'a [Option<Pair<FuncId>>],
    ) -> Alone<'a> {
        Alone { image, lifted, threads: threads(lifted), exported: Exported::of(image, lifted), data, functions }
    }

    /// Whether it has a value that a process may have given it.
    fn is_state(&self, id: DataId) -> bool {
        let d = &self.lifted.data[id.index()];
        let writable =
            matches!(d.section, SectionKind::Data | SectionKind::Bss | SectionKind::Tdata | SectionKind::Tbss);
        writable && d.kind == DataKind::Named && !d.name.starts_with("_ZGV") && !d.name.starts_with("__tls_guard")
    }

    /// Those that a function uses, itself or by other functions that only this build has.
    fn used(&self, function: FuncId) -> BTreeSet<DataId> {
        let (mut found, mut seen, mut todo) = (BTreeSet::new(), BTreeSet::from([function]), vec![function]);
        while let Some(id) = todo.pop() {
            for target in self.lifted.functions[id.index()].refs.iter().map(|r| &r.target) {
                let variable = self.exported.datum(target).or_else(|| self.thread(target));
                found.extend(variable.filter(|&d| self.data[d.index()].is_none() && self.is_state(d)));
                let called = self.exported.func(target);
                let called = called.filter(|f| self.functions[f.index()].is_none());
                todo.extend(called.filter(|&f| seen.insert(f)));
            }
        }
        found
    }

    /// The thread-local variable of this image that is meant.
    fn thread(&self, target: &Target) -> Option<DataId> {
        let symbol = thread_symbol(target).or_else(|| {
            let Target::Slot(Slot::TpOff(of) | Slot::TlsGd(of) | Slot::TlsDesc(of)) = target else { return None };
            let name = &self.image.import(of.import?).name;
            let ids = self.image.tls_symbol_ids();
            let mut exported = (ids.start.0..ids.end.0).map(SymbolId).filter(|&s| self.image.symbol(s).exported);
            exported.find(|&s| self.image.symbol(s).name == *name)
        });
        self.threads.get(&symbol?).copied()
    }
}

/// Variables with a value that a guard lets be set up once (Itanium C++ ABI, 3.3.3), where only one build has the guard: a live value would be
/// set up anew, or one used that nothing has set up.
fn first_use(a: Analysis<'_>, findings: &mut Findings) {
    let sides = [
        (a.new, &a.pairs.data_to_old, "set up at its first use only now"),
        (a.old, &a.pairs.data_to_new, "no longer set up at its first use"),
    ];
    for (lifted, pairs, what) in sides {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (i, d) in lifted.data.iter().enumerate().filter(|(_, d)| d.name.starts_with("_Z")) {
            by_name.entry(&d.name).or_default().push(i);
        }
        let guards = by_name.iter().filter_map(|(name, list)| Some((name.strip_prefix("_ZGV")?, list)));
        for (name, _) in guards.filter(|(_, list)| list.iter().any(|&i| pairs[i].is_none())) {
            let variable = format!("_Z{name}");
            let kept = by_name.get(variable.as_str()).is_some_and(|v| v.iter().any(|&i| pairs[i].is_some()));
            if kept {
                let message = format!("`{variable}` is {what}: its live value isn't what that would have made of it");
                findings.add(Severity::Start, codes::INIT_ARRAY, &variable, message);
            }
        }
    }
}

/// A unit's thread-local objects are set up together, once in each thread, under one guard: a new one never would be in a thread that has passed
/// it, and one that had no guard would be set up anew.
fn first_use_in_thread(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let threads = threads(a.new);
    for &id in context.set.functions.keys() {
        let function = &a.new.functions[id.index()];
        let used: BTreeSet<DataId> =
            function.refs.iter().filter_map(|r| threads.get(&thread_symbol(&r.target)?).copied()).collect();
        let (guards, objects): (Vec<DataId>, Vec<DataId>) =
            used.into_iter().partition(|d| a.new.data[d.index()].name.starts_with("__tls_guard"));
        let is_new = |d: &DataId| a.pairs.data_to_old[d.index()].is_none();
        let Some(guard) = guards.first() else { continue };
        for object in objects.iter().filter(|o| is_new(o) != is_new(guard)) {
            let name = &a.new.data[object.index()].name;
            let message = match is_new(object) {
                true => format!("`{name}` is new, and threads that run have set up what its unit has"),
                false => format!("`{name}` is set up at its first use only now: what a thread has in it would be lost"),
            };
            findings.add(Severity::Start, codes::INIT_ARRAY, name, message);
        }
    }
}

fn thread_symbol(target: &Target) -> Option<SymbolId> {
    match target {
        Target::Tls { symbol, .. } => *symbol,
        Target::Slot(Slot::TpOff(of) | Slot::TlsGd(of) | Slot::TlsDesc(of)) => of.symbol,
        _ => None,
    }
}

/// Names of variables of one build whose global names belong to several variables of the other.
fn divided((image, lifted): (&Image, &Lifted), (other_image, other): (&Image, &Lifted)) -> BTreeSet<String> {
    let mut owners: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for (i, d) in other.data.iter().enumerate() {
        owners.extend(names(other_image, d).map(|name| (name, i)));
    }
    let several = |d: &&Data| names(image, d).filter_map(|n| owners.get(&n)).collect::<BTreeSet<_>>().len() > 1;
    lifted.data.iter().filter(several).map(|d| d.name.clone()).collect()
}

/// Name and version of each global symbol that is the whole variable.
fn names<'a>(image: &'a Image, d: &'a Data) -> impl Iterator<Item = (&'a str, Option<&'a str>)> {
    let variable = d.kind == DataKind::Named && !matches!(d.section, SectionKind::Rodata | SectionKind::Relro);
    let symbols = d.names.iter().filter(move |_| variable).map(|&n| image.symbol(n));
    let whole =
        symbols.filter(|s| s.binding != Binding::Local && s.size == d.range.size() && !is_linker_symbol(&s.name));
    whole.map(|s| (s.name.as_str(), s.version.as_deref()))
}
