//! The phases in order: what `build`, `diff` and `explain` run.

use crate::addr::{DataId, FuncId, Svma};
use crate::check::{self, Calls, Fate, Instances};
use crate::compare::{self, Cause, ChangeSet, DataDiff, Stamp, Stamps};
use crate::correlate::{self, Correlation, Scoped, Shared, Side, Units};
use crate::diag::{Finding, Severity};
use crate::drift;
use crate::dwarf::{DebugData, DebugInfo, Variable};
use crate::image::{Image, ImageError, SectionKind};
use crate::include::{self, Analysis, Binder, Choices, Migrations, PatchSet};
use crate::keep;
use crate::lift::{self, Function, Lifted};
use crate::link::{self, PatchImage};
use crate::migrate;
use crate::settle;
use crate::types::{self, Survey, TypeDiff};
use patchfmt::codes;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

/// One build, read and lifted.
#[derive(Debug)]
pub struct Loaded {
    pub image: Image,
    pub lifted: Lifted,
    pub debug: Option<DebugData>,
    /// Why there is no `debug`; None also where it wasn't asked for.
    pub no_debug: Option<ImageError>,
}

/// How much of the debug information is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Depth {
    /// Symbols and code only: static locals are paired by name, line numbers are numbers, types aren't compared.
    Code,
    Types,
}

/// What a build is read from.
#[derive(Clone, Copy, Debug)]
pub struct Files<'p> {
    pub image: &'p Path,
    /// Where it isn't found by build-id.
    pub debug: Option<&'p Path>,
}

/// Reads and lifts an image. Missing debug information is no error here: [`check`] says what is lost.
///
/// # Errors
/// When the file isn't an image that can be read.
pub fn load(path: &Path, debug: Option<&Path>, debug_dirs: &[PathBuf]) -> Result<Loaded, ImageError> {
    load_to(Depth::Types, Files { image: path, debug }, debug_dirs, false)
}

/// As [`load`], both builds side by side, with as much of the debug information as is asked for.
///
/// # Errors
/// When a file isn't an image that can be read.
pub fn load_both(
    depth: Depth,
    old: Files<'_>,
    new: Files<'_>,
    debug_dirs: &[PathBuf],
) -> Result<(Loaded, Loaded), ImageError> {
    // Inflating takes much memory for a while: one inflates while the other lifts.
    let (old, new) = rayon::join(|| load_to(depth, old, debug_dirs, false), || load_to(depth, new, debug_dirs, true));
    Ok((old?, new?))
}

fn load_to(depth: Depth, files: Files<'_>, debug_dirs: &[PathBuf], debug_first: bool) -> Result<Loaded, ImageError> {
    let image = Image::load(files.image, files.debug, debug_dirs)?;
    let inflate = || (depth == Depth::Types).then(|| DebugData::load(&image, debug_dirs));
    let early = debug_first.then(inflate);
    let lifted = lift::lift(&image);
    let (debug, no_debug) = match early.unwrap_or_else(inflate) {
        Some(Ok(data)) => (Some(data), None),
        Some(Err(e)) => (None, Some(e)),
        None => (None, None),
    };
    Ok(Loaded { image, lifted, debug, no_debug })
}

/// One build, as far as it is read.
#[derive(Debug)]
pub struct Opened<'d> {
    pub image: &'d Image,
    pub lifted: &'d Lifted,
    /// Kept open: lines and units that one phase has read serve the next.
    pub debug: Option<DebugInfo<'d>>,
}

/// Two builds compared.
#[derive(Debug)]
pub struct Compared<'d> {
    pub old: Opened<'d>,
    pub new: Opened<'d>,
    pub pairs: Correlation,
    pub changes: ChangeSet,
    /// Changed functions of the new build that are not to be touched.
    pub left: BTreeSet<FuncId>,
    /// Variables of the new build whose live value is to be thrown away.
    pub reset: BTreeSet<DataId>,
    pub types: Option<TypeDiff>,
    pub calls: Calls,
    /// Of the types whose layout changed.
    pub instances: Instances,
    /// Changed and new functions of the new build of whose types one of them says nothing.
    pub undescribed: BTreeSet<FuncId>,
    /// Variables that can take their value to a new place; the same of the types, if they do.
    pub moving: (migrate::Found, Instances),
    /// Variables at fixed places that only the new build has.
    pub fresh: Vec<Variable>,
    /// About the inputs as such.
    pub findings: Vec<Finding>,
    /// Ways of building that make builds differ widely.
    pub built_with: Vec<&'static str>,
}

impl Compared<'_> {
    /// Leaves the changed functions of that name as they are in the old build; gives whether there are any.
    pub fn leave(&mut self, name: &str) -> bool {
        let image = self.new.image;
        let named = |f: &Function| f.name == name || f.names.iter().any(|&s| image.symbol(s).name == name);
        let changed = self.changes.changed.iter().map(|c| c.new);
        let found: Vec<FuncId> = changed.filter(|f| named(&self.new.lifted.functions[f.index()])).collect();
        self.left.extend(&found);
        !found.is_empty()
    }

    /// Asks that the variables of that name get their new initial value; gives whether there are any for which it changed.
    pub fn reset(&mut self, name: &str) -> bool {
        let image = self.new.image;
        let changed = self.changes.data_changed.iter().filter(|c| c.diff == DataDiff::Content).map(|c| c.new);
        let wanted = changed.filter(|d| {
            let datum = &self.new.lifted.data[d.index()];
            let named = datum.name == name || datum.names.iter().any(|&s| image.symbol(s).name == name);
            named && matches!(datum.section, SectionKind::Data | SectionKind::Bss)
        });
        let found: Vec<DataId> = wanted.collect();
        self.reset.extend(&found);
        !found.is_empty()
    }

    pub fn analysis(&self) -> Analysis<'_> {
        Analysis {
            old_image: self.old.image,
            new_image: self.new.image,
            old: self.old.lifted,
            new: self.new.lifted,
            pairs: &self.pairs,
            changes: &self.changes,
            left: &self.left,
        }
    }
}

/// Opens the debug information of a build that has some; with `whole`, reads what its units declare.
fn open<'d>(
    image: &Image,
    debug: Option<&'d DebugData>,
    whole: bool,
) -> Result<(Option<DebugInfo<'d>>, Option<Survey>), ImageError> {
    let Some(data) = debug else { return Ok((None, None)) };
    let mut info = DebugInfo::open(image, data)?;
    let survey = whole.then(|| Survey::read(&info)).transpose()?;
    info.forget_survey();
    Ok((Some(info), survey))
}

/// A part of the debug information that isn't there: types in it can't be compared.
fn missing(e: &ImageError) -> Finding {
    Finding {
        severity: Severity::Review,
        code: e.code.0,
        symbol: String::new(),
        place: None,
        message: format!("{}: {}", e.path.display(), e.what),
        help: Some("put the .dwo files, or one IMAGE.dwp, beside the image".to_owned()),
    }
}

/// Texts that are taken as equal, by the pattern that did it.
fn stamped(stamps: &Stamps) -> Vec<Finding> {
    let mut by_pattern: BTreeMap<String, Vec<Stamp>> = BTreeMap::new();
    for stamp in stamps.met() {
        by_pattern.entry(stamp.pattern.clone()).or_default().push(stamp);
    }
    let finding = |(pattern, met): (String, Vec<Stamp>)| {
        let shown = met.iter().take(3).map(|s| format!("{:?} stays, not {:?}", s.old, s.new));
        let mut message = shown.collect::<Vec<_>>().join("; ");
        if met.len() > 3 {
            message.push_str(&format!("; {} more", met.len() - 3));
        }
        Finding {
            severity: Severity::Review,
            code: codes::BUILD_STAMP.0,
            symbol: pattern,
            place: None,
            message,
            help: None,
        }
    };
    by_pattern.into_iter().map(finding).collect()
}

/// Correlates and compares; texts that differ in `stamps` only count as equal, and a finding says so.
///
/// # Errors
/// When debug information is there and damaged.
pub fn compare<'d>(old: &'d Loaded, new: &'d mut Loaded, stamps: &Stamps) -> Result<Compared<'d>, ImageError> {
    let a = Side { image: &old.image, lifted: &old.lifted };
    let Loaded { image, lifted, debug: new_debug, no_debug } = new;
    let (image, new_debug): (&Image, Option<&DebugData>) = (image, new_debug.as_ref());
    let b = Side { image, lifted };
    let whole = old.debug.is_some() && new_debug.is_some();
    let (mut pairs, (was, is)) = rayon::join(
        || correlate::correlate(a, b),
        || rayon::join(|| open(a.image, old.debug.as_ref(), whole), || open(b.image, new_debug, whole)),
    );
    let ((old_info, mut old_survey), (new_info, mut new_survey)) = (was?, is?);
    let debug = old_info.as_ref().zip(old_survey.as_ref()).zip(new_info.as_ref().zip(new_survey.as_ref()));
    let (shared, units) = match debug {
        Some(((x, p), (y, q))) => {
            let was = Scoped { image: a.image, lifted: a.lifted, info: x, variables: p.variables(), parts: p.parts() };
            let is = Scoped { image: b.image, lifted: b.lifted, info: y, variables: q.variables(), parts: q.parts() };
            let units = Units::of(x, y);
            let shared = correlate::pair_by_scope(&mut pairs, was, is, &units);
            correlate::pair_instances(&mut pairs, was, is);
            (shared, Some(units))
        }
        None => (Shared::unknown(a, b), None),
    };
    let seen = compare::witnesses(a, b, &pairs, stamps, &correlate::doubtful(a, b, &pairs, &shared));
    correlate::settle(a, b, &mut pairs, &shared, &seen);
    compare::pair_lists(a, b, &mut pairs, stamps);
    let types = debug.map(|(was, is)| types::surveyed_changes(was, is));
    [&mut old_survey, &mut new_survey].into_iter().flatten().for_each(Survey::forget_declarations);
    let debug = old_info.as_ref().zip(old_survey.as_ref()).zip(new_info.as_ref().zip(new_survey.as_ref()));
    let mut changes = compare::compare(a, b, &pairs, stamps);
    while correlate::part(a, b, &mut pairs, &changes, units.as_ref()) {
        changes = compare::compare(a, b, &pairs, stamps);
    }
    let mut findings = Vec::new();
    let calls = Calls::of(a.image, a.lifted);
    let (mut instances, mut moving) = (Instances::new(), (migrate::Found::default(), Instances::new()));
    let mut undescribed = BTreeSet::new();
    let types = match debug.zip(types) {
        Some((((x, p), (y, q)), types)) => {
            changes.mark_line_numbers(a, b, &pairs, stamps, &|at| x.line_of(at), &|at| y.line_of(at));
            let mut types = types;
            types.add_closures(
                x,
                y,
                &edited((a.lifted, b.lifted), &changes, |f| correlate::is_counted_function(&f.name)),
            );
            types.add_behind(x, y, &edited((a.lifted, b.lifted), &changes, |_| true));
            let objects = pairs.data_to_old.iter().flatten();
            let start = |lifted: &Lifted, id: DataId| lifted.data[id.index()].range.start;
            let objects = objects.map(|pair| (start(a.lifted, pair.old), start(b.lifted, pair.new)));
            types.add_renamed_variables((x, p), (y, q), objects);
            findings.extend(check::producers(x, y));
            findings.extend([x, y].into_iter().flat_map(|info| info.missing()).map(missing));
            undescribed = without_types((a.lifted, x, p), (b.lifted, y, q), &changes)?;
            let analysis = Analysis {
                old_image: a.image,
                new_image: b.image,
                old: a.lifted,
                new: b.lifted,
                pairs: &pairs,
                changes: &changes,
                left: &BTreeSet::new(),
            };
            findings.extend(check::of_traits(analysis, (x, p), (y, q))?);
            let judged = |m: &Migrations| check::instances(analysis, &calls, &types, (x, p), (y, q), m);
            instances = judged(&Migrations::new())?;
            moving.0 = migrate::migrations(analysis, &types, (x, p), (y, q))?;
            if !moving.0.migrations.is_empty() {
                moving.1 = judged(&moving.0.migrations)?;
            }
            Some(types)
        }
        None => {
            for (no_debug, which) in [(&old.no_debug, "old"), (&*no_debug, "new")] {
                if let Some(e) = no_debug {
                    findings.push(Finding {
                        severity: Severity::Review,
                        code: codes::NO_DEBUG_INFO.0,
                        symbol: String::new(),
                        place: None,
                        message: format!(
                            "the {which} build has no debug information ({}): changed types can't be seen",
                            e.what
                        ),
                        help: Some("give --old-debug and --new-debug, or a --debug-dir".to_owned()),
                    });
                }
            }
            None
        }
    };
    findings.extend(stamped(stamps));
    let settled = settle::settle(b.image, (a.lifted, &pairs), b.lifted, &changes, debug.map(|(_, is)| is))?;
    let built_with = debug.map(|((x, _), (y, _))| drift::built_with([x, y])).unwrap_or_default();
    settled.apply(lifted);
    let (left, reset) = (BTreeSet::new(), BTreeSet::new());
    let analysis = Analysis {
        old_image: a.image,
        new_image: image,
        old: a.lifted,
        new: lifted,
        pairs: &pairs,
        changes: &changes,
        left: &left,
    };
    let fresh = debug.map(|(_, (_, q))| keep::fresh(analysis, q.variables()).cloned().collect()).unwrap_or_default();
    let old = Opened { image: &old.image, lifted: &old.lifted, debug: old_info };
    let new = Opened { image, lifted, debug: new_info };
    Ok(Compared {
        old,
        new,
        pairs,
        changes,
        left,
        reset,
        types,
        calls,
        instances,
        undescribed,
        moving,
        fresh,
        findings,
        built_with,
    })
}

/// Entries of the changed functions of which one build's version is `wanted`.
fn edited(
    (old, new): (&Lifted, &Lifted),
    changes: &ChangeSet,
    wanted: impl Fn(&Function) -> bool,
) -> Vec<(Svma, Svma)> {
    let changed = changes.changed.iter().filter(|c| c.cause != Cause::LineNumber);
    let both = changed.map(|c| (&old.functions[c.old.index()], &new.functions[c.new.index()]));
    both.filter(|(a, b)| wanted(a) || wanted(b)).map(|(a, b)| (a.parts[0].start, b.parts[0].start)).collect()
}

/// Changed and new functions of the new build of whose types the debug information of either build says nothing.
fn without_types(
    old: (&Lifted, &DebugInfo<'_>, &Survey),
    new: (&Lifted, &DebugInfo<'_>, &Survey),
    changes: &ChangeSet,
) -> Result<BTreeSet<FuncId>, ImageError> {
    let changed = || changes.changed.iter().filter(|c| c.cause != Cause::LineNumber);
    let start = |f: &Function| f.parts[0].start;
    // Nothing describes a thunk: it works with the types of the function that it is for.
    let entry = |lifted: &Lifted, f: FuncId| {
        let f = &lifted.functions[f.index()];
        let target = types::thunk_target(&f.name);
        let target = target.and_then(|name| lifted.functions.iter().find(|f| f.name == name));
        start(target.unwrap_or(f))
    };
    // Clang's own end of an exception that must not get out: it is given nothing but that.
    let described = |f: &FuncId| new.0.functions[f.index()].name != "__clang_call_terminate";
    let all = changed().map(|c| c.new).chain(changes.new_funcs.iter().copied());
    let touched: BTreeSet<FuncId> = all.filter(described).collect();
    let was = types::undescribed(old.1, old.2, changed().map(|c| entry(old.0, c.old)))?;
    let is = types::undescribed(new.1, new.2, touched.iter().map(|&f| entry(new.0, f)))?;
    let lost = changed().filter(|c| was.contains(&entry(old.0, c.old))).map(|c| c.new);
    Ok(lost.chain(touched.iter().copied().filter(|&f| is.contains(&entry(new.0, f)))).collect())
}

/// A finished plan for one module.
#[derive(Debug)]
pub struct Plan {
    pub set: PatchSet,
    pub patch: PatchImage,
    /// Of all phases, sorted, with places where they are known.
    pub findings: Vec<Finding>,
    /// The patch is only safe before `main`.
    pub start_only: bool,
}

/// Closes, checks and links. Findings of severity `Refuse` mean that `patch` must not be used. With `replace` no function is edited in
/// place.
///
/// # Errors
/// When debug information is damaged.
pub fn plan(compared: &Compared<'_>, replace: bool) -> Result<Plan, ImageError> {
    let analysis = compared.analysis();
    let (found, if_moved) = &compared.moving;
    let none = Migrations::new();
    let debug = (compared.old.debug.as_ref(), compared.new.debug.as_ref());
    let exchanged = check::exchanged(analysis, debug)?;
    let close = |fresh: bool, moving: bool, fixed: &BTreeMap<DataId, String>| {
        let (instances, migrations) = if moving { (if_moved, &found.migrations) } else { (&compared.instances, &none) };
        // Before `main` there are no frames to wait for.
        let holders: Vec<(FuncId, FuncId)> = instances.values().flat_map(Fate::holders).filter(|_| !fresh).collect();
        let mut binder = Binder::new(analysis);
        let reset = &compared.reset;
        // What is edited in place can't be closed while values are copied.
        let replace = replace || moving || !reset.is_empty();
        let choices = Choices { holders: &holders, fresh, replace, reset, migrations, fixed };
        let set = include::close(analysis, &mut binder, choices);
        let mut findings = compared.findings.clone();
        findings.extend(set.findings.iter().chain(&exchanged).cloned());
        let lasting = migrate::lasting(analysis, &set, debug)?.into_iter();
        findings.extend(lasting.map(|(id, why)| outlived(analysis, id, set.moved.contains(&id), &why)));
        findings.extend(
            migrate::labels(analysis, &set, debug)?.into_iter().map(|(id, how)| label_kept(analysis, id, &how)),
        );
        findings.extend(check::check(check::Context {
            analysis,
            set: &set,
            types: compared.types.as_ref(),
            instances,
            calls: &compared.calls,
            undescribed: &compared.undescribed,
        }));
        Ok::<_, ImageError>((binder, set, findings))
    };
    let link = |(binder, set, mut findings): (Binder<'_>, PatchSet, Vec<Finding>)| {
        let keeps = keep::keeps(analysis, &set, debug.1, &compared.fresh)?;
        let (patch, linked) = link::link(analysis, &binder, &set, &keeps);
        findings.extend(linked);
        Ok::<_, ImageError>((set, patch, findings))
    };
    // What moves is worth it only where the whole patch can be live for it.
    let mut fixed = found.forbidden.clone();
    let mut moved = None;
    if !found.migrations.is_empty() {
        let bad = |findings: &[Finding]| {
            let worst = findings.iter().find(|f| matches!(f.severity, Severity::Start | Severity::Refuse));
            worst.map(|f| format!("the patch wouldn't be live for it ({})", f.message))
        };
        let closed = close(false, true, &found.forbidden)?;
        let result = match bad(&closed.2) {
            None => Ok(link(closed)?),
            Some(why) => Err(why),
        };
        match result.and_then(|linked| bad(&linked.2).map_or(Ok(linked), Err)) {
            Ok(linked) => moved = Some(linked),
            Err(why) => fixed.extend(found.migrations.keys().map(|&id| (id, why.clone()))),
        }
    }
    let mut start_only = false;
    let (set, patch, mut findings) = match moved {
        Some(moved) => moved,
        None => {
            let closed = close(false, false, &fixed)?;
            let has = |severity: Severity| closed.2.iter().any(|f| f.severity == severity);
            start_only = has(Severity::Start);
            // Nothing is alive before `main`: initial values are then the new ones too, and nobody has to be waited for. More is brought along for
            // the former; so what refuses the live patch refuses this one, unless it is for the sake of the latter.
            let refused = has(Severity::Refuse) && compared.instances.values().flat_map(Fate::holders).next().is_none();
            link(if start_only && !refused { close(true, false, &fixed)? } else { closed })?
        }
    };
    findings.sort();
    findings.dedup();
    place(compared, &mut findings);
    Ok(Plan { set, patch, findings, start_only })
}

/// A constant that gets another place, itself or what is in it, and of which a live pointer may know the old one.
fn outlived(analysis: Analysis<'_>, constant: DataId, moved: bool, why: &str) -> Finding {
    let name = analysis.new.data[constant.index()].name.clone();
    let message = match moved {
        true => format!("`{name}` gets another place, and live pointers or indexes may lead to the old one: {why}"),
        false => format!("what is in `{name}` changes places, and live pointers may lead there: {why}"),
    };
    Finding { severity: Severity::Start, code: codes::POINTER_TABLE.0, message, symbol: name, place: None, help: None }
}

/// A function that is replaced, and of whose labels a live pointer may know the old place.
fn label_kept(analysis: Analysis<'_>, function: FuncId, how: &str) -> Finding {
    let name = analysis.new.functions[function.index()].name.clone();
    let message = format!("labels of `{name}` get another place, and live pointers may lead to the old ones: {how}");
    Finding { severity: Severity::Start, code: codes::POINTER_TABLE.0, message, symbol: name, place: None, help: None }
}

/// Adds the source line of each finding's function.
fn place(compared: &Compared<'_>, findings: &mut [Finding]) {
    let Some(info) = &compared.new.debug else { return };
    let functions = compared.new.lifted.functions.iter().rev();
    // Of several the first.
    let entries: HashMap<&str, Svma> = functions.map(|f| (f.name.as_str(), f.parts[0].start)).collect();
    for finding in findings.iter_mut().filter(|f| f.place.is_none() && !f.symbol.is_empty()) {
        let entry = entries.get(finding.symbol.as_str());
        finding.place = entry.and_then(|&at| info.line_of(at)).map(|p| p.to_string());
    }
}
