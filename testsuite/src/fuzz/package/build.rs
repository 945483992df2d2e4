//! Builds of a package's program, and runs of them.

use super::super::row::{self, Build, Row};
use super::subject::{Case, Subject};
use crate::target::{Launch, Target};
use crate::{Failure, Result, paths};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

/// What can be seen of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    /// `exit 0`, `signal 11`.
    pub(super) end: String,
    /// Both streams and what else it wrote, by name.
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// The old build of a subject by a row. Many seeds share it.
#[derive(Debug)]
pub(super) struct Base {
    pub(super) subject: &'static Subject,
    pub(super) row: Row,
    /// The source in the cache.
    pub(super) source: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) build: Build,
    pub(super) cases: Vec<Case>,
    /// None: it varies by itself, or ends by a signal.
    pub(super) outcomes: Vec<Option<Outcome>>,
}

type Slot = Arc<Mutex<Option<Arc<Base>>>>;

impl Base {
    /// That of this process, built at its first use. None where the package can't be had.
    pub(super) fn get(subject: &'static Subject, row: &Row) -> Result<Option<Arc<Base>>> {
        static ALL: LazyLock<Mutex<HashMap<u64, Slot>>> = LazyLock::new(Mutex::default);
        let mut hasher = DefaultHasher::new();
        (subject.name, row).hash(&mut hasher);
        let key = hasher.finish();
        let poisoned = |_| Failure("a worker panicked".to_owned());
        let slot = Arc::clone(ALL.lock().map_err(poisoned)?.entry(key).or_default());
        let mut slot = slot.lock().map_err(|_| Failure("a worker panicked".to_owned()))?;
        if let Some(base) = &*slot {
            return Ok(Some(Arc::clone(base)));
        }
        let Some(source) = subject.source()? else { return Ok(None) };
        let folder = paths::scratch()?.join("fuzz").join(format!("{}-{key:016x}", subject.name));
        let tree = Tree::new(subject, &source, folder.join("old"))?;
        let build = tree.build(row, &[])?;
        let build = build.ok_or_else(|| Failure(format!("{} doesn't compile by {}", subject.name, row.label())))?;
        let cases = subject.cases(&source)?;
        let outcomes = steady(&build, &cases, &folder)?;
        let base = Arc::new(Base { subject, row: row.clone(), source, folder, build, cases, outcomes });
        *slot = Some(Arc::clone(&base));
        Ok(Some(base))
    }

    /// Where the old build's source and objects are.
    pub(super) fn tree(&self) -> PathBuf {
        self.folder.join("old")
    }
}

/// A copy of the source with its objects.
#[derive(Debug)]
pub(super) struct Tree {
    subject: &'static Subject,
    pub(super) folder: PathBuf,
}

impl Tree {
    pub(super) fn new(subject: &'static Subject, source: &Path, folder: PathBuf) -> Result<Tree> {
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let needed = |path: &Path| subject.units.iter().any(|unit| source.join(unit).starts_with(path));
        let passed_over = ["debian", "tests", "test"];
        copy(source, &folder, &|path| needed(path) || !passed_over.iter().any(|name| path.ends_with(name)))?;
        if !subject.config.is_empty() {
            fs::write(folder.join("config.h"), subject.config)?;
        }
        Ok(Tree { subject, folder })
    }

    pub(super) fn read(&self, file: &str) -> Result<Option<String>> {
        Ok(String::from_utf8(fs::read(self.folder.join(file))?).ok())
    }

    /// Puts another text into a file. The file may be one with that of the cache.
    pub(super) fn write(&self, file: &str, text: &str) -> Result<()> {
        let path = self.folder.join(file);
        fs::remove_file(&path)?;
        fs::write(path, text)?;
        Ok(())
    }

    /// Compiles and links everything, or everything that isn't there. None if a unit doesn't compile.
    pub(super) fn build(&self, row: &Row, more: &[&str]) -> Result<Option<Build>> {
        let cplusplus = self.subject.cplusplus;
        let place = self.folder.display().to_string();
        let flags: Vec<String> = self
            .subject
            .flags
            .iter()
            .map(|flag| flag.replace('@', &place))
            .chain(["-Dmain=subject_main".to_owned()])
            .chain(more.iter().map(|&flag| flag.to_owned()))
            .collect();
        for unit in self.subject.units {
            if self.folder.join(row::object(unit)).exists() {
                continue;
            }
            if row.unit(&self.folder, cplusplus, unit, &flags)?.code() != Some(0) {
                return Ok(None);
            }
        }
        let argument = format!("-DARGUMENT={}", self.subject.argument);
        let flags: Vec<String> = [argument].into_iter().chain(more.iter().map(|&flag| flag.to_owned())).collect();
        row.driver(&self.folder, cplusplus, &paths::programs().join("driver/orders.c"), &flags)?;
        let objects: Vec<String> = self.subject.units.iter().map(|unit| row::object(unit)).collect();
        let objects: Vec<&str> = objects.iter().map(String::as_str).chain(more.iter().copied()).collect();
        // A change may leave something undefined.
        Ok(row.link(&self.folder, cplusplus, &["driver.o"], &objects).ok())
    }

    /// Takes the objects of another tree, but for those of units that `changed` names.
    pub(super) fn borrow(&self, other: &Path, changed: &[&str]) -> Result<()> {
        if changed.iter().any(|file| !self.subject.units.contains(file)) {
            return Ok(());
        }
        for unit in self.subject.units.iter().filter(|unit| !changed.contains(unit)) {
            let object = row::object(unit);
            fs::copy(other.join(&object), self.folder.join(&object))?;
        }
        Ok(())
    }
}

/// A folder with all that `keep` keeps, by links where that can be.
fn copy(from: &Path, to: &Path, keep: &dyn Fn(&Path) -> bool) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let (path, kind) = entry.map(|entry| (entry.path(), entry.file_type()))?;
        let target = to.join(path.file_name().unwrap_or_default());
        if kind?.is_dir() {
            if keep(&path) {
                copy(&path, &target, keep)?;
            }
        } else if fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// The outcomes of a build that is the same each time, also with other bytes in memory that nobody has set. A run that ends by a signal
/// says nothing: what it did before may have depended on where things lie.
pub(super) fn steady(build: &Build, cases: &[Case], folder: &Path) -> Result<Vec<Option<Outcome>>> {
    let once = |byte: &str| {
        let environment = vec![("MALLOC_PERTURB_".to_owned(), byte.to_owned())];
        let mut target = Target::start(&build.program, &Launch { environment, ..Launch::default() })?;
        let outcomes = run(&mut target, cases, folder)?;
        target.finish()?;
        Ok::<_, Failure>(outcomes)
    };
    let (one, other) = (once("0")?, once("165")?);
    let fine = |outcome: &Outcome| !outcome.end.starts_with("signal");
    Ok(one.into_iter().zip(other).map(|(a, b)| if a == b { a.filter(fine) } else { None }).collect())
}

/// All cases, in a process that waits for its orders. Each has an outcome.
pub(super) fn run(target: &mut Target, cases: &[Case], folder: &Path) -> Result<Vec<Option<Outcome>>> {
    let place = folder.join(format!("run-{}", target.pid()));
    let outcomes = cases.iter().map(|case| {
        if place.exists() {
            fs::remove_dir_all(&place)?;
        }
        fs::create_dir_all(&place)?;
        for file in &case.files {
            let to = place.join(file.file_name().unwrap_or_default());
            if file.is_dir() {
                copy_files(file, &to)?;
            } else {
                fs::copy(file, to)?;
            }
        }
        let place_name = place.display().to_string();
        let words = [&["run".to_owned(), place_name, case.input.clone()][..], &case.arguments].concat();
        let end = target.ask(&words.join("\t"))?;
        let mut files = BTreeMap::new();
        collect(&place, "", &mut files)?;
        Ok(Some(Outcome { end, files }))
    });
    let outcomes = outcomes.collect::<Result<Vec<_>>>()?;
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    Ok(outcomes)
}

/// As files of their own: a program may write to them.
fn copy_files(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy_files(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = format!("{prefix}{}", path.file_name().unwrap_or_default().to_string_lossy());
        if path.is_dir() {
            collect(&path, &format!("{name}/"), files)?;
        } else {
            files.insert(name, fs::read(&path)?);
        }
    }
    Ok(())
}

impl Outcome {
    /// In what it differs from another.
    pub(super) fn difference(&self, other: &Outcome) -> String {
        if self.end != other.end {
            return format!("{} against {}", self.end, other.end);
        }
        let names = self.files.keys().chain(other.files.keys());
        let Some(name) = names.into_iter().find(|name| self.files.get(*name) != other.files.get(*name)) else {
            return "nothing".to_owned();
        };
        let [one, two] = [self, other].map(|outcome| {
            String::from_utf8_lossy(outcome.files.get(name).map_or(&[][..], Vec::as_slice)).into_owned()
        });
        let pair = one.lines().map(Some).chain([None]).zip(two.lines().map(Some).chain([None])).find(|(a, b)| a != b);
        let (a, b) = pair.unwrap_or_default();
        let short = |line: Option<&str>| line.unwrap_or("(end)").chars().take(100).collect::<String>();
        format!("{name}: `{}` against `{}`", short(a), short(b))
    }

    /// Whether a sanitizer complains.
    pub(super) fn is_complaint(&self) -> bool {
        let text =
            self.files.get("stderr").map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default();
        text.contains("runtime error:") || text.contains("Sanitizer")
    }
}
