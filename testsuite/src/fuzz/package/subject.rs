//! Programs of Debian's source packages: how they are built, and what they are run over. Nothing of them is kept in this repository.

use crate::process::{self, Output};
use crate::{Result, fail, paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const FETCH_LIMIT: Duration = Duration::from_secs(300);

/// How a program is built of its package's source.
#[derive(Debug)]
pub(super) struct Subject {
    pub(super) name: &'static str,
    package: &'static str,
    /// Its files of code, without those that are only included.
    pub(super) units: &'static [&'static str],
    /// Headers that may be changed, too.
    pub(super) headers: &'static [&'static str],
    /// For the compiler; `@` is the folder of the source.
    pub(super) flags: &'static [&'static str],
    /// Whether it is C++.
    pub(super) cplusplus: bool,
    /// The type of what `main` gets, such as `char **`.
    pub(super) argument: &'static str,
    /// A `config.h`, where the source wants one that its `configure` makes.
    pub(super) config: &'static str,
    cases: fn(&Path) -> Result<Vec<Case>>,
}

/// One run: files that are copied into an empty folder, what is read from there (`/dev/null`: nothing), and the arguments.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) files: Vec<PathBuf>,
    pub(super) input: String,
    pub(super) arguments: Vec<String>,
}

impl Case {
    fn new(file: &Path, arguments: &[&str]) -> Case {
        let arguments = arguments.iter().map(|&word| if word == "%" { base(file) } else { word.to_owned() }).collect();
        Case { files: vec![file.to_path_buf()], input: "/dev/null".to_owned(), arguments }
    }

    fn reading(file: &Path, arguments: &[&str]) -> Case {
        Case { input: base(file), ..Case::new(file, arguments) }
    }

    pub(super) fn name(&self) -> String {
        format!("{} < {}", self.arguments.join(" "), self.input)
    }
}

fn base(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

pub(super) static SUBJECTS: [Subject; 13] = [
    Subject {
        name: "lua",
        package: "lua5.4",
        units: &[
            "src/lapi.c",
            "src/lauxlib.c",
            "src/lbaselib.c",
            "src/lcode.c",
            "src/lcorolib.c",
            "src/lctype.c",
            "src/ldblib.c",
            "src/ldebug.c",
            "src/ldo.c",
            "src/ldump.c",
            "src/lfunc.c",
            "src/lgc.c",
            "src/linit.c",
            "src/liolib.c",
            "src/llex.c",
            "src/lmathlib.c",
            "src/lmem.c",
            "src/loadlib.c",
            "src/lobject.c",
            "src/lopcodes.c",
            "src/loslib.c",
            "src/lparser.c",
            "src/lstate.c",
            "src/lstring.c",
            "src/lstrlib.c",
            "src/ltable.c",
            "src/ltablib.c",
            "src/ltm.c",
            "src/lua.c",
            "src/lundump.c",
            "src/lutf8lib.c",
            "src/lvm.c",
            "src/lzio.c",
        ],
        headers: &["src/lobject.h", "src/lparser.h", "src/llex.h", "src/lzio.h"],
        // Its seed for hashes is made of addresses and the time.
        flags: &["-DLUA_COMPAT_5_3", "-Dluai_makeseed(L)=0"],
        cplusplus: false,
        argument: "char **",
        config: "",
        cases: |_| own_inputs("lua", &["%"]),
    },
    Subject {
        name: "mujs",
        package: "mujs",
        units: &["one.c", "main.c"],
        headers: &["jsi.h", "jsrun.h", "jsvalue.h", "jsparse.h", "regexp.c", "jsstring.c", "jsarray.c", "jsrun.c"],
        flags: &[],
        cplusplus: false,
        argument: "char **",
        config: "",
        cases: |_| own_inputs("js", &["%"]),
    },
    Subject {
        name: "bzip2",
        package: "bzip2",
        units: &[
            "blocksort.c",
            "bzip2.c",
            "bzlib.c",
            "compress.c",
            "crctable.c",
            "decompress.c",
            "huffman.c",
            "randtable.c",
        ],
        headers: &["bzlib_private.h"],
        flags: &["-D_FILE_OFFSET_BITS=64"],
        cplusplus: false,
        argument: "char **",
        config: "",
        cases: |source| {
            let text = source.join("bzip2.1.preformatted");
            let packed = source.join("sample1.bz2");
            Ok(vec![
                Case::reading(&text, &["-c", "-1"]),
                Case::new(&text, &["-9", "-v", "-k", "%"]),
                Case::reading(&source.join("sample3.ref"), &["-c", "-2", "-v", "-v", "-v"]),
                Case::new(&packed, &["-t", "-v", "-v", "%"]),
                Case::reading(&packed, &["-d", "-c", "-s"]),
                Case::new(&source.join("words0"), &["-d", "-c", "%"]),
                Case::new(&source.join("words1"), &["-h"]),
                Case::new(&source.join("words2"), &["-t", "--fast", "nothing", "%"]),
            ])
        },
    },
    Subject {
        name: "tcc",
        package: "tcc",
        units: &[
            "tcc.c",
            "libtcc.c",
            "tccpp.c",
            "tccgen.c",
            "tccelf.c",
            "tccasm.c",
            "tccrun.c",
            "x86_64-gen.c",
            "x86_64-link.c",
            "i386-asm.c",
        ],
        headers: &["tcc.h", "tcctools.c"],
        flags: &["-DONE_SOURCE=0", "-DTCC_TARGET_X86_64"],
        cplusplus: false,
        argument: "char **",
        config: "#define TCC_VERSION \"0\"\n",
        cases: |source| {
            let include = format!("-I{}", source.join("include").display());
            let compile = ["-nostdinc", &include, "-I/usr/include", "-I/usr/include/x86_64-linux-gnu"];
            let all = files(&source.join("tests/tests2"), "c")?;
            let mut cases = Vec::new();
            for (number, file) in all.iter().step_by(5).enumerate() {
                let what: &[&str] = if number % 4 == 3 { &["-E", "%"] } else { &["-c", "-o", "out.o", "%"] };
                cases.push(Case::new(file, &[&compile, what].concat()));
            }
            cases.push(Case::new(&source.join("tests/asmtest.S"), &["-c", "-o", "out.o", "%"]));
            cases.push(Case::new(&source.join("tests/asmtest.S"), &["-hh"]));
            Ok(cases)
        },
    },
    Subject {
        name: "lz4",
        package: "lz4",
        units: &[
            "lib/lz4.c",
            "lib/lz4frame.c",
            "lib/lz4hc.c",
            "lib/xxhash.c",
            "programs/bench.c",
            "programs/datagen.c",
            "programs/lz4cli.c",
            "programs/lz4io.c",
        ],
        headers: &["lib/lz4hc.h"],
        flags: &["-DXXH_NAMESPACE=LZ4_", "-I@/lib"],
        cplusplus: false,
        argument: "const char **",
        config: "",
        cases: |source| {
            let text = source.join("lib/lz4hc.h");
            let other = source.join("doc/lz4_Block_format.md");
            let golden = source.join("tests/goldenSamples/skip.bin");
            Ok(vec![
                Case::reading(&text, &["-1", "-c"]),
                Case::reading(&text, &["-9", "-c", "-BD", "-B4"]),
                Case::reading(&other, &["-12", "-c", "-BX"]),
                Case::new(&other, &["-l", "-k", "-5", "%", "out"]),
                Case::new(&text, &["-v", "-v", "--fast=3", "-m", "%", "nothing"]),
                Case::reading(&golden, &["-d", "-c"]),
                Case::reading(&other, &["-t"]),
                Case::new(&other, &["-H"]),
            ])
        },
    },
    Subject {
        name: "jsoncpp",
        package: "libjsoncpp",
        units: &[
            "src/lib_json/json_reader.cpp",
            "src/lib_json/json_value.cpp",
            "src/lib_json/json_writer.cpp",
            "src/jsontestrunner/main.cpp",
        ],
        headers: &[
            "include/json/value.h",
            "include/json/reader.h",
            "include/json/writer.h",
            "src/lib_json/json_tool.h",
        ],
        flags: &["-I@/include"],
        cplusplus: true,
        argument: "const char **",
        config: "",
        cases: |source| {
            let mut cases = Vec::new();
            for (number, file) in files(&source.join("test/data"), "json")?.iter().step_by(3).enumerate() {
                let what: &[&str] = match number % 4 {
                    0 => &["%"],
                    1 => &["--json-writer", "StyledStreamWriter", "%"],
                    2 => &["--json-writer", "BuiltStyledStreamWriter", "%"],
                    _ => &["--json-checker", "%"],
                };
                cases.push(Case::new(file, what));
            }
            Ok(cases)
        },
    },
    Subject {
        name: "tinyxml2",
        package: "tinyxml2",
        units: &["tinyxml2.cpp", "xmltest.cpp"],
        headers: &["tinyxml2.h"],
        flags: &["-I@"],
        cplusplus: true,
        argument: "const char **",
        config: "",
        cases: |source| {
            let folder = source.join("resources");
            let mut all = Case::new(&folder, &[]);
            all.files = vec![folder.clone()];
            let mut cases = vec![all];
            for file in files(&folder, "xml")?.iter().step_by(3) {
                cases.push(Case::new(file, &["%"]));
            }
            Ok(cases)
        },
    },
    Subject {
        name: "minigzip",
        package: "zlib",
        units: &[
            "adler32.c",
            "compress.c",
            "crc32.c",
            "deflate.c",
            "gzclose.c",
            "gzlib.c",
            "gzread.c",
            "gzwrite.c",
            "infback.c",
            "inffast.c",
            "inflate.c",
            "inftrees.c",
            "test/minigzip.c",
            "trees.c",
            "uncompr.c",
            "zutil.c",
        ],
        headers: &["deflate.h", "inflate.h", "inftrees.h", "gzguts.h", "zutil.h"],
        flags: &["-D_LARGEFILE64_SOURCE=1", "-DHAVE_UNISTD_H", "-DHAVE_HIDDEN", "-I@"],
        cplusplus: false,
        argument: "char **",
        config: "",
        cases: |source| {
            let (text, other) = (source.join("zlib.3"), source.join("README"));
            let drawing = source.join("doc/crc-doc.1.0.pdf");
            Ok(vec![
                Case::reading(&text, &["-1"]),
                Case::reading(&text, &["-6"]),
                Case::reading(&other, &["-9", "-f"]),
                Case::reading(&text, &["-h"]),
                Case::reading(&other, &["-r", "-4"]),
                Case::new(&text, &["-c", "-3", "%"]),
                Case::new(&drawing, &["-5", "%"]),
                Case::reading(&text, &["-d"]),
            ])
        },
    },
    Subject {
        name: "figlet",
        package: "figlet",
        units: &["crc.c", "figlet.c", "inflate.c", "utf8.c", "zipio.c"],
        headers: &["inflate.h", "zipio.h"],
        flags: &["-DTLF_FONTS"],
        cplusplus: false,
        argument: "char **",
        config: "",
        cases: |source| {
            let (text, fonts) = (source.join("tests/longtext.txt"), source.join("fonts"));
            let emboss = source.join("tests/emboss.tlf");
            let ways: [&[&str]; 8] = [
                &[],
                &["-cR", "-w60"],
                &["-k", "-f", "small"],
                &["-W", "-r", "-f", "slant"],
                &["-o", "-p", "-w250", "-f", "big"],
                &["-f", "emboss", "-d", ".", "-kc"],
                &["-f", "banner", "-C", "uskata", "-s"],
                &["-I2", "-v"],
            ];
            let case = |arguments: &&[&str]| {
                let mut case = Case::reading(&text, arguments);
                case.files.extend([fonts.clone(), emboss.clone()]);
                case
            };
            Ok(ways.iter().map(case).collect())
        },
    },
    Subject {
        name: "unifdef",
        package: "unifdef",
        units: &["unifdef.c"],
        headers: &["unifdef.h"],
        flags: &["-I@"],
        cplusplus: false,
        argument: "char **",
        config: "",
        cases: |source| {
            let ways: [&[&str]; 6] = [
                &["-DFOO=1", "-DFOOB=42", "-UBAR", "%"],
                &["-b", "-DFOO", "-UFOO1", "%"],
                &["-s", "-h", "%"],
                &["-k", "-n", "-UFOO", "-DBAR=0", "%"],
                &["-c", "-e", "-t", "-DA=3", "%"],
                &["-x2", "-l", "-K", "-DDEFINED", "%"],
            ];
            let all = files(&source.join("tests"), "c")?;
            Ok(all.iter().step_by(2).enumerate().map(|(n, file)| Case::new(file, ways[n % ways.len()])).collect())
        },
    },
    Subject {
        name: "md2html",
        package: "md4c",
        units: &["md2html/cmdline.c", "md2html/md2html.c", "src/entity.c", "src/md4c-html.c", "src/md4c.c"],
        headers: &["md2html/cmdline.h", "src/entity.h"],
        flags: &["-I@/src", "-DMD_VERSION_MAJOR=0", "-DMD_VERSION_MINOR=4", "-DMD_VERSION_RELEASE=8"],
        cplusplus: false,
        argument: "char **",
        config: "",
        cases: |source| {
            let ways: [&[&str]; 5] = [
                &["%"],
                &["--github", "%"],
                &["-f", "--fpermissive-autolinks", "-x", "%"],
                &["--fwiki-links", "--flatex-math", "--funderline", "%"],
                &["--fcollapse-whitespace", "--fverbatim-entities", "--fno-html", "-o", "out", "%"],
            ];
            let all = files(&source.join("test"), "txt")?;
            Ok(all.iter().enumerate().map(|(n, file)| Case::new(file, ways[n % ways.len()])).collect())
        },
    },
    Subject {
        name: "zopfli",
        package: "zopfli",
        units: &[
            "src/zopfli/blocksplitter.c",
            "src/zopfli/cache.c",
            "src/zopfli/deflate.c",
            "src/zopfli/gzip_container.c",
            "src/zopfli/hash.c",
            "src/zopfli/katajainen.c",
            "src/zopfli/lz77.c",
            "src/zopfli/squeeze.c",
            "src/zopfli/tree.c",
            "src/zopfli/util.c",
            "src/zopfli/zlib_container.c",
            "src/zopfli/zopfli_bin.c",
            "src/zopfli/zopfli_lib.c",
        ],
        headers: &["src/zopfli/lz77.h", "src/zopfli/hash.h", "src/zopfli/symbols.h"],
        flags: &[],
        cplusplus: false,
        argument: "char **",
        config: "",
        cases: |source| {
            let text = source.join("README");
            Ok(vec![
                Case::new(&text, &["-c", "--i1", "%"]),
                Case::new(&text, &["--zlib", "--i2", "%"]),
                Case::new(&source.join("CONTRIBUTORS"), &["--deflate", "-c", "--i3", "%"]),
                Case::new(&source.join("Makefile"), &["-v", "--i1", "--splitlast", "%"]),
                Case::new(&text, &["-h"]),
            ])
        },
    },
    Subject {
        name: "lzip",
        package: "lzip",
        units: &[
            "arg_parser.cc",
            "decoder.cc",
            "encoder.cc",
            "encoder_base.cc",
            "fast_encoder.cc",
            "list.cc",
            "lzip_index.cc",
            "main.cc",
        ],
        headers: &["decoder.h", "encoder.h", "encoder_base.h", "fast_encoder.h", "lzip.h", "lzip_index.h"],
        flags: &["-DPROGVERSION=\"1\""],
        cplusplus: true,
        argument: "const char *const *",
        config: "",
        cases: |source| {
            let folder = source.join("testsuite");
            let text = folder.join("test.txt");
            let mut cases = vec![
                Case::reading(&text, &["-0", "-c"]),
                Case::reading(&text, &["-9", "-c", "-s", "64KiB"]),
                Case::new(&text, &["-k", "-4", "-m", "20", "-vv", "%"]),
                Case::new(&text, &["-b", "100kB", "-S", "100kB", "-o", "part", "%"]),
            ];
            let ways: [&[&str]; 4] =
                [&["-t", "-vvv", "%"], &["-d", "-c", "%"], &["-l", "-vv", "%"], &["-d", "-k", "%"]];
            for (n, file) in files(&folder, "lz")?.iter().enumerate() {
                cases.push(Case::new(file, ways[n % ways.len()]));
            }
            Ok(cases)
        },
    },
];

/// Files of a folder with that ending, by name.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == ending) {
            all.push(path);
        }
    }
    all.sort();
    Ok(all)
}

fn own_inputs(ending: &str, arguments: &[&str]) -> Result<Vec<Case>> {
    Ok(files(&paths::programs().join("inputs"), ending)?.iter().map(|file| Case::new(file, arguments)).collect())
}

impl Subject {
    /// The source, fetched unless it is there. None where the package can't be had; the output says why.
    pub(super) fn source(&self) -> Result<Option<PathBuf>> {
        let folder = cache().join(self.package);
        let source = folder.join("source");
        if source.is_dir() {
            return Ok(Some(source));
        }
        let fresh = cache().join(format!("{}.{}", self.package, std::process::id()));
        fs::create_dir_all(&fresh)?;
        let mut fetch = Command::new("apt-get");
        fetch.current_dir(&fresh).args(["-q", "source", self.package]);
        let output = process::run(&mut fetch, FETCH_LIMIT);
        let unpacked = || fs::read_dir(&fresh).ok()?.flatten().map(|entry| entry.path()).find(|path| path.is_dir());
        match (output, unpacked()) {
            (Ok(Output { status, .. }), Some(path)) if status.success() => {
                fs::create_dir_all(&folder)?;
                if fs::rename(path, &source).is_err() && !source.is_dir() {
                    fail!("cannot put the source of {} into its place", self.package);
                }
                fs::remove_dir_all(&fresh)?;
                Ok(Some(source))
            }
            (output, _) => {
                fs::remove_dir_all(&fresh)?;
                let why = output.map_or_else(|failure| failure.to_string(), |output| output.describe());
                println!("the source package {} can't be fetched: {}", self.package, why.trim_end());
                Ok(None)
            }
        }
    }

    pub(super) fn cases(&self, source: &Path) -> Result<Vec<Case>> {
        (self.cases)(source)
    }
}

/// Where source packages are kept: `$HPATCH_FUZZ_SOURCES`, else in the user's cache.
fn cache() -> PathBuf {
    match std::env::var_os("HPATCH_FUZZ_SOURCES") {
        Some(folder) => PathBuf::from(folder),
        None => PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/hpatch-fuzz"),
    }
}
