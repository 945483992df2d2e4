//! The repository's own commands. `cargo xtask demo` and `cargo xtask test` are where a newcomer starts.

mod bench;
mod build;
mod corpus;
mod corpus_run;
mod demo;
mod fuzz;
mod ground_truth;
mod limits;
mod page;
mod self_diff;
mod setup;
mod soak;
mod stock;
mod test;

use clap::{Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use testsuite::fuzz::{Fixed, Source};
use testsuite::{corpus as packages, suites};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The repository's own commands")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Install what the tests need, or say what to install
    Setup,
    /// Build patchgen, hpatch and the loader side by side
    Build {
        /// Optimised
        #[arg(long)]
        release: bool,
    },
    /// Patch a running server before your eyes
    Demo {
        /// A real server instead of the small one
        #[arg(long)]
        real: Option<RealServer>,
    },
    /// Everything that CI runs
    Test {
        /// Only scenarios whose name contains this
        filter: Option<String>,
        /// Every row of every matrix
        #[arg(long)]
        full: bool,
        /// A sample in which every N values of different dimensions meet, of every matrix
        #[arg(long, value_name = "N", conflicts_with = "full")]
        strength: Option<usize>,
    },
    /// Put every pair of some packages through patchgen build
    Corpus {
        /// Packages of the corpus
        #[arg(default_values_t = packages::PACKAGES.map(str::to_owned))]
        packages: Vec<String>,
        /// Also write the table as JSON
        #[arg(long)]
        json: Option<PathBuf>,
        /// Also write the table to docs/corpus.md
        #[arg(long)]
        write: bool,
    },
    /// Run the old builds of some packages with their bundles and compare with the new builds
    CorpusRun {
        /// Packages of the corpus
        #[arg(default_values_t = suites::PACKAGES.map(str::to_owned))]
        packages: Vec<String>,
        /// Also write the table, with each difference, as JSON
        #[arg(long)]
        json: Option<PathBuf>,
        /// Also write the table to docs/corpus.md
        #[arg(long)]
        write: bool,
    },
    /// Apply and revert a bundle again and again in one busy process, and look whether anything is left over or grows
    Soak {
        /// How often
        #[arg(long, default_value_t = 100_000)]
        cycles: u64,
    },
    /// Compare every program and library of the machine with itself
    SelfDiff {
        /// Folders or files
        #[arg(default_values = ["/usr/bin", "/usr/lib", "/usr/sbin", "/usr/libexec"])]
        roots: Vec<PathBuf>,
    },
    /// Compare pairs of stock programs with a crude differ and with patchgen diff, and say for each function why the two differ
    Stock {
        /// glibc, python, openjdk
        #[arg(default_values_t = ["glibc", "python", "openjdk"].map(str::to_owned))]
        pairs: Vec<String>,
        /// Also a line for each function: old and new address, class, names, details
        #[arg(long)]
        list: bool,
    },
    /// Compare what is read back from images with the relocations that their linker kept
    GroundTruth {
        /// Images linked with --emit-relocs; none: every scenario program, for each compiler, kind and linker
        images: Vec<PathBuf>,
        /// Only scenario programs whose name contains this
        #[arg(long)]
        only: Option<String>,
    },
    /// Put random pairs of programs through everything: built, patched, compared with the new build and checked
    Fuzz {
        /// The pairs, A..B
        #[arg(long, default_value = "0..200", value_parser = fuzz::seeds)]
        seeds: std::ops::Range<u64>,
        /// Only programs from there; else it depends on the seed, as all that isn't given here
        #[arg(long)]
        source: Option<FuzzSource>,
        /// Compiler
        #[arg(long)]
        cc: Option<String>,
        /// Optimisation, as `--opt=-O2`
        #[arg(long)]
        opt: Option<String>,
        /// pie, nopie or shared
        #[arg(long)]
        kind: Option<String>,
        /// Linker
        #[arg(long)]
        ld: Option<String>,
        /// With the source `package`: lua, mujs, bzip2, tcc, lz4, minigzip, figlet, unifdef, md2html, zopfli; in C++ jsoncpp, tinyxml2, lzip
        #[arg(long)]
        program: Option<String>,
        /// How many at a time
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Begin no further pair after so many seconds
        #[arg(long)]
        seconds: Option<u64>,
    },
    /// Measure against a baseline in the same run
    Bench {
        /// pause, call, start, size, build or limits
        what: Option<String>,
        /// For limits: pairs of stock programs
        #[arg(long, value_delimiter = ',', default_value = "glibc,python,openjdk")]
        pairs: Vec<String>,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RealServer {
    Redis,
    Nginx,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FuzzSource {
    Csmith,
    Own,
    /// Programs of Debian's source packages
    Package,
}

impl From<FuzzSource> for Source {
    fn from(source: FuzzSource) -> Source {
        match source {
            FuzzSource::Csmith => Source::Csmith,
            FuzzSource::Own => Source::Own,
            FuzzSource::Package => Source::Package,
        }
    }
}

fn main() -> ExitCode {
    let result = match Arguments::parse().verb {
        Verb::Setup => setup::everything(),
        Verb::Build { release } => build::all(release).map(|dir| println!("{}", dir.display())),
        Verb::Demo { real: None } => demo::run(),
        Verb::Demo { real: Some(server) } => demo::real(server),
        Verb::Test { filter, full, strength } => test::run(filter.as_deref(), full, strength),
        Verb::Corpus { packages, json, write } => corpus::run(&packages, json.as_deref(), write),
        Verb::CorpusRun { packages, json, write } => corpus_run::run(&packages, json.as_deref(), write),
        Verb::Soak { cycles } => soak::run(cycles),
        Verb::SelfDiff { roots } => self_diff::run(&roots),
        Verb::Stock { pairs, list } => stock::run(&pairs, list),
        Verb::GroundTruth { images, only } => ground_truth::run(&images, only.as_deref()),
        Verb::Fuzz { seeds, source, cc, opt, kind, ld, program, jobs, seconds } => fuzz::run(
            seeds,
            source.map(Source::from),
            &Fixed { cc, opt, kind, ld, program },
            jobs,
            seconds.map(Duration::from_secs),
        ),
        Verb::Bench { what, pairs } => bench::run(what.as_deref(), &pairs),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
