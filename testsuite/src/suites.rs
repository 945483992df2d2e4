//! What to do with the artifacts of some packages so that every part of them runs: upstream's own tests and programs over upstream's sample
//! files, over hostile inputs that came with the fixes, and over damaged copies of all of these.

mod packages;

use crate::process::{run, run_ok};
use crate::sandbox::Case;
use crate::{Failure, Result, check, corpus, fail, paths};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);

/// The packages that have cases.
pub const PACKAGES: [&str; 15] = [
    "expat",
    "jq",
    "libxml2",
    "tiff",
    "redis",
    "libxslt",
    "openjpeg2",
    "libarchive",
    "libde265",
    "libssh2",
    "c-ares",
    "curl",
    "nginx",
    "haproxy",
    "dnsmasq",
];

/// How one artifact is used.
#[derive(Debug)]
pub struct Suite {
    /// The name under which programs load it; `None` for a program.
    pub soname: Option<&'static str>,
    /// The first one is short and ends through `exit`, so that a process can be looked at before and after it.
    pub cases: Vec<Case>,
}

/// The cases for an artifact of a package; `None` where nobody has written any.
pub fn suite(package: &str, artifact: &str) -> Result<Option<Suite>> {
    let stem = artifact.split(".so").next().unwrap_or(artifact);
    let (soname, cases) = match (package, stem) {
        ("expat", "libexpat") => (Some("libexpat.so.1"), expat()?),
        ("jq", "libjq") => (Some("libjq.so.1"), jq(&program("jq")?)?),
        ("jq", "jq") => (None, jq("bin/jq")?),
        ("libxml2", "libxml2") => (Some("libxml2.so.2"), libxml2(&program("xmllint")?)?),
        ("libxml2", "xmllint") => (None, libxml2("bin/xmllint")?),
        ("tiff", "libtiff") => {
            (Some("libtiff.so.6"), tiff(&["tiffinfo", "tiffcp", "tiff2rgba", "tiffcrop", "tiffdump"], false)?)
        }
        ("tiff", tool) => (None, tiff(&[tool], true)?),
        ("redis", "redis-server") => (None, redis_server()?),
        ("redis", tool) => (None, redis_tool(tool)),
        ("libxslt", "libxslt") => (Some("libxslt.so.1"), packages::libxslt()?),
        ("openjpeg2", "libopenjp2") => (Some("libopenjp2.so.7"), packages::openjpeg(None)?),
        ("openjpeg2", tool) => (None, packages::openjpeg(Some(tool))?),
        ("libarchive", "libarchive") => (Some("libarchive.so.13"), packages::libarchive(false)?),
        ("libarchive", "bsdtar") => (None, packages::libarchive(true)?),
        ("libde265", "libde265") => (Some("libde265.so.0"), packages::libde265()?),
        ("c-ares", "libcares") => (Some("libcares.so.2"), packages::cares()?),
        ("curl", "libcurl") => (Some("libcurl.so.4"), packages::curl()?),
        ("libssh2", "libssh2") => (Some("libssh2.so.1"), packages::libssh2()?),
        ("nginx", "nginx") => (None, packages::nginx()),
        ("haproxy", "haproxy") => (None, packages::haproxy()),
        ("dnsmasq", "dnsmasq") => (None, packages::dnsmasq()),
        _ => return Ok(None),
    };
    Ok(Some(Suite { soname, cases }))
}

/// A program of the system, which uses the library of the corpus through `LD_LIBRARY_PATH`.
fn program(name: &str) -> Result<String> {
    match paths::find(name) {
        Some(path) => Ok(path.display().to_string()),
        None => fail!("{name} isn't installed"),
    }
}

fn folder() -> Result<PathBuf> {
    Ok(paths::scratch()?.join("corpus-run"))
}

/// The package's source, unpacked once, with Debian's patches or without.
fn source(package: &str, patched: bool) -> Result<PathBuf> {
    let place = folder()?.join("source").join(format!("{package}{}", if patched { "" } else { "-upstream" }));
    if place.join("configure.ac").exists() || place.join("src").exists() || place.join("debian").exists() {
        return Ok(place);
    }
    fs::create_dir_all(place.parent().unwrap_or(&place))?;
    let downloads = corpus::folder().join("sources").join(package);
    let entries = fs::read_dir(&downloads).map_err(|error| Failure(format!("{}: {error}", downloads.display())))?;
    let dsc =
        entries.filter_map(|entry| Some(entry.ok()?.path())).find(|path| path.extension().is_some_and(|e| e == "dsc"));
    let Some(dsc) = dsc else { fail!("no source package in {}", downloads.display()) };
    let mut command = Command::new("dpkg-source");
    command.arg("--no-copy");
    if !patched {
        command.arg("--skip-patches");
    }
    run_ok(command.arg("-x").arg(dsc).arg(&place), LIMIT)?;
    Ok(place)
}

/// Every file of these folders with one of these endings, sorted.
fn files(folders: &[PathBuf], endings: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut waiting = folders.to_vec();
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| Failure(format!("{}: {error}", folder.display())))? {
            let path = entry?.path();
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|have| endings.iter().any(|ending| have == *ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A generator of damage that gives the same files in every run.
struct Damage(u64);

impl Damage {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % limit.max(1)
    }

    /// Copies of files in which some bytes are others, missing, or there twice.
    fn copies(&mut self, name: &str, originals: &[PathBuf], each: usize, head: usize) -> Result<Vec<PathBuf>> {
        let place = folder()?.join("damaged").join(name);
        fs::create_dir_all(&place)?;
        let mut made = Vec::new();
        for (at, original) in originals.iter().enumerate() {
            let bytes = fs::read(original)?;
            for round in 0..each {
                let mut copy = bytes.clone();
                for _ in 0..=self.below(3) {
                    let from = self.below(copy.len().min(head));
                    let to = (from + 1 + self.below(24)).min(copy.len());
                    match self.below(4) {
                        0 => copy.truncate(from.max(16)),
                        1 => drop(copy.drain(from..to)),
                        2 => {
                            let piece = copy[from..to].to_vec();
                            copy.splice(to..to, piece);
                        }
                        _ => {
                            if let Some(byte) = copy.get_mut(from) {
                                *byte = b"\0\xff<>&;]\"A\x80"[self.below(10)];
                            }
                        }
                    }
                }
                let ending = original.extension().unwrap_or_default().to_string_lossy();
                let path = place.join(format!("{at:03}-{round}.{ending}"));
                fs::write(&path, copy)?;
                made.push(path);
            }
        }
        Ok(made)
    }
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// Documents that use what XML has: entities, namespaces, attribute defaults, conditional sections, encodings.
const DOCUMENTS: [(&str, &str); 9] = [
    (
        "plain.xml",
        "<?xml version='1.0'?>\n<list kind='a'><item n='1'>one</item><item n='2'>two &amp; &#x20AC;</item><!-- c --><?pi x?></list>\n",
    ),
    (
        "entities.xml",
        "<!DOCTYPE r [<!ENTITY a 'text &#38;lt; <b>bold</b>'><!ENTITY b '&a;&a;&a;'><!ENTITY c '&b;&b;'><!ELEMENT r ANY><!ELEMENT b (#PCDATA)><!ATTLIST r id ID #IMPLIED v (x|y) 'x'>]>\n<r id='i1'>&c; and &a;<b>&#65;</b></r>\n",
    ),
    (
        "parameter.xml",
        "<!DOCTYPE r [<!ENTITY % p \"<!ENTITY q 'quoted'>\">%p;<!NOTATION n SYSTEM 'n'><!ENTITY u SYSTEM 'u' NDATA n><!ATTLIST r e ENTITY #IMPLIED>]>\n<r e='u'>&q;</r>\n",
    ),
    (
        "spaces.xml",
        "<a:r xmlns:a='urn:a' xmlns='urn:d' xmlns:b='urn:b'><b:c a:x='1' b:x='2' x='3'/><c xmlns=''><d/></c><a:e xml:space='preserve' xml:lang='de'>  </a:e></a:r>\n",
    ),
    ("loop.xml", "<!DOCTYPE r [<!ENTITY a '&b;'><!ENTITY b '&a;'>]><r x='&a;'>&b;</r>\n"),
    ("latin.xml", "<?xml version='1.0' encoding='ISO-8859-1'?><r><![CDATA[<raw> & ]]]]><![CDATA[>]]>&#228;</r>\n"),
    (
        "valid.xml",
        "<!DOCTYPE l [<!ELEMENT l (i+,j?)><!ELEMENT i (#PCDATA|l)*><!ELEMENT j EMPTY><!ATTLIST i k IDREF #IMPLIED w NMTOKENS 'a b'><!ATTLIST j id ID #REQUIRED>]><l><i k='z'>t<l><i/></l></i><j id='z'/></l>\n",
    ),
    (
        "include.xml",
        "<r xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='plain.xml'/><xi:include href='plain.xml' xpointer='xpointer(//item[2])'/><xi:include href='none'><xi:fallback>f</xi:fallback></xi:include></r>\n",
    ),
    (
        "page.html",
        "<html><head><title>t</title><body><p>one<p>two <b>bold<i>both</b></i>&nbsp;&eacute;<table><tr><td>x</table><script>if (a < b) x();</script><br><a href='?a=1&b=2'>l</a>\n",
    ),
];

fn documents() -> Result<Vec<PathBuf>> {
    let place = folder()?.join("documents");
    fs::create_dir_all(&place)?;
    let deep = format!("{}x{}\n", "<e a='1'>".repeat(300), "</e>".repeat(300));
    let wide = format!(
        "<r {}>{}</r>\n",
        (0..60).map(|n| format!("a{n}='v{n}' ")).collect::<String>(),
        "<c/>text".repeat(3000)
    );
    let made = [("deep.xml", deep.as_str()), ("wide.xml", wide.as_str())];
    let mut paths = Vec::new();
    for (name, content) in DOCUMENTS.into_iter().chain(made) {
        fs::write(place.join(name), content)?;
        paths.push(place.join(name));
    }
    Ok(paths)
}

fn expat() -> Result<Vec<Case>> {
    let xmlwf = program("xmlwf")?;
    let documents = documents()?;
    let damaged = Damage(1).copies("expat", &documents, 12, 4000)?;
    let mut cases = Vec::new();
    for (at, document) in documents.iter().chain(&damaged).enumerate() {
        let name = text(document);
        let modes: &[&str] =
            if at < documents.len() { &["-t", "-n", "-p", "-x", "-s", "-c", "-m"] } else { &["-c", "-n"] };
        for mode in modes {
            cases.push(if *mode == "-c" {
                Case::new(&[&xmlwf, "-g", "16", "-d", "work", &name])
            } else {
                Case::new(&[&xmlwf, mode, &name])
            });
        }
    }
    // A length below zero reaches the parser only from a program that miscounts.
    cases.push(Case::new(&[
        "/usr/bin/python3",
        "-c",
        "import ctypes; e = ctypes.CDLL('libexpat.so.1'); e.XML_ParserCreate.restype = ctypes.c_void_p\n\
         p = ctypes.c_void_p(e.XML_ParserCreate(None)); print(e.XML_ParseBuffer(p, -1, 0), e.XML_GetErrorCode(p))",
    ]));
    for patched in [true, false] {
        cases.push(Case::new(&[&text(&expat_tests(patched)?), "-v"]).slow());
    }
    Ok(cases)
}

/// Stands in for what the tests reach inside the library beside its interface; tests of these parts fail alike with every build.
const EXPAT_INSIDES: &str = "#define _GNU_SOURCE\n#include <dlfcn.h>\n#include <expat.h>\n\
    unsigned g_parseAttempts; XML_Bool g_reparseDeferralEnabledDefault = 1;\n\
    const char *unsignedCharToPrintable(unsigned char c) { (void)c; return \"\"; }\n\
    unsigned long long testingAccountingGetCountBytesDirect(XML_Parser p) { (void)p; return 0; }\n\
    unsigned long long testingAccountingGetCountBytesIndirect(XML_Parser p) { (void)p; return 0; }\n\
    void _INTERNAL_trim_to_complete_utf8_characters(const char *f, const char **l) { (void)f; (void)l; }\n\
    #pragma weak XML_SetReparseDeferralEnabled\n\
    XML_Bool XML_SetReparseDeferralEnabled(XML_Parser p, XML_Bool b) {\n\
      XML_Bool (*real)(XML_Parser, XML_Bool) = dlsym(RTLD_NEXT, \"XML_SetReparseDeferralEnabled\"); return real ? real(p, b) : 0; }\n";

/// Upstream's `runtests`, linked against the shared library.
fn expat_tests(patched: bool) -> Result<PathBuf> {
    let source = source("expat", patched)?.join("expat");
    let place = folder()?.join(if patched { "expat-tests" } else { "expat-tests-upstream" });
    fs::create_dir_all(&place)?;
    fs::write(place.join("insides.c"), EXPAT_INSIDES)?;
    fs::write(
        place.join("expat_config.h"),
        "#define XML_CONTEXT_BYTES 1024\n#define XML_DTD 1\n#define XML_NS 1\n#define XML_GE 1\n#define BYTEORDER 1234\n#define HAVE_EXPAT_CONFIG_H 1\n",
    )?;
    let Some(pair) = corpus::pairs("expat")?.pop() else { fail!("no expat in the corpus") };
    let program = place.join("runtests");
    let mut command = Command::new("cc");
    command.args(["-w", "-g", "-O1", "-DHAVE_EXPAT_CONFIG_H", "-I"]).arg(&place).arg("-I").arg(source.join("lib"));
    command.arg(place.join("insides.c"));
    for name in ["runtests", "chardata", "structdata", "memcheck", "minicheck"] {
        command.arg(source.join("tests").join(name).with_extension("c"));
    }
    run_ok(command.arg("-o").arg(&program).arg(&pair.new).arg("-lm"), LIMIT)?;
    Ok(program)
}

fn libxml2(xmllint: &str) -> Result<Vec<Case>> {
    let tree = source("libxml2", true)?;
    let documents = documents()?;
    let samples = files(&[tree.join("test"), tree.join("doc/examples")], &["xml", "sgml", "rng", "xsd"])?;
    let damaged = Damage(2).copies("libxml2", &[documents.clone(), samples.clone()].concat(), 3, 2000)?;
    let modes: [&[&str]; 16] = [
        &["--noent"],
        &["--valid", "--noout"],
        &["--html"],
        &["--stream", "--debug", "--noout"],
        &["--push"],
        &["--c14n"],
        &["--format", "--noblanks"],
        &["--sax"],
        &["--xinclude"],
        &["--debug"],
        &["--recover", "--noent"],
        &["--walker", "--debug"],
        &["--memory", "--nsclean"],
        &["--xpath", "count(//*) + sum(//@n) + string-length(string(/))"],
        &["--html", "--push", "--xmlout"],
        &["--dtdattr", "--copy", "--repeat"],
    ];
    let mut cases = vec![Case::new(&[xmllint, "--noent", &text(&documents[1])])];
    let mut push = |mode: &[&str], document: &Path| {
        let words: Vec<&str> = [&[xmllint, "--nonet"], mode].concat();
        let mut case = Case::new(&words);
        case.words.push(text(document));
        cases.push(case);
    };
    for document in &documents {
        modes.iter().for_each(|mode| push(mode, document));
    }
    // Damaged documents take turns: each mode sees every kind of damage.
    for (at, document) in samples.iter().chain(&damaged).enumerate() {
        (0..2).for_each(|more| push(modes[(at * 3 + more * 5) % modes.len()], document));
    }
    // Schemas and the instances that upstream named after them.
    for (folder, ending, option) in
        [("schemas", "xsd", "--schema"), ("relaxng", "rng", "--relaxng"), ("schematron", "sct", "--schematron")]
    {
        for schema in files(&[tree.join("test").join(folder)], &[ending])? {
            let stem = text(&schema.with_extension(""));
            let instance = PathBuf::from(format!("{stem}_0.xml"));
            let instance = if instance.exists() { instance } else { documents[0].clone() };
            push(&[option, &text(&schema), "--noout"], &instance);
        }
    }
    push(&["--catalogs"], &documents[0]);
    for script in [
        "xpath //item[2]/@n\ncat //item\nls /\ngrep one\nsetns a=urn:a\nbye\n",
        "dir\ncd list\npwd\ndu\nbase\nvalidate\nwrite work/out\nquit\n",
    ] {
        let place = folder()?.join(format!("shell-{}", script.len()));
        fs::write(&place, script)?;
        cases.push(Case::new(&[xmllint, "--shell", &text(&documents[0])]).reading(&place));
    }
    for script in files(&[tree.join("test/scripts")], &["script"])? {
        cases.push(Case::new(&[xmllint, "--shell", &text(&script.with_extension("xml"))]).reading(&script));
    }
    cases.push(Case::new(&[&text(&libxml2_tests(&tree)?)]).slow());
    Ok(cases)
}

/// Upstream's `testapi`: every exported function with combinations of ordinary and hostile arguments.
fn libxml2_tests(tree: &Path) -> Result<PathBuf> {
    let place = folder()?.join("libxml2-tests");
    fs::create_dir_all(&place)?;
    fs::write(place.join("config.h"), "")?;
    let program = place.join("testapi");
    let Some(pair) = corpus::pairs("libxml2")?.into_iter().find(|pair| pair.artifact.contains(".so")) else {
        fail!("no libxml2 in the corpus")
    };
    let mut command = Command::new("cc");
    command.args(["-w", "-O0", "-I"]).arg(&place).args(["-I", "/usr/include/libxml2"]).arg(tree.join("testapi.c"));
    run_ok(command.arg("-o").arg(&program).arg(&pair.old), LIMIT)?;
    Ok(program)
}

/// Some tests of a file in jq's own form: an abort in one must not hide the others.
const TESTS_IN_A_CASE: usize = 16;

fn jq(jq: &str) -> Result<Vec<Case>> {
    let tree = source("jq", true)?;
    let place = folder()?.join("jq-tests");
    fs::create_dir_all(&place)?;
    let modules = text(&tree.join("tests/modules"));
    let mut cases = vec![Case::new(&[
        jq,
        "-n",
        "[limit(5; range(10))] | map(. * 2) | tojson, (\"a,b\" | split(\",\")), @base64 \"x\\(1)\"",
    ])];
    for name in ["jq.test", "onig.test", "base64.test", "optional.test"] {
        let content = fs::read_to_string(tree.join("tests").join(name))?;
        let blocks: Vec<&str> = content.split("\n\n").collect();
        for (at, some) in blocks.chunks(TESTS_IN_A_CASE).enumerate() {
            let file = place.join(format!("{name}-{at}"));
            fs::write(&file, some.join("\n\n") + "\n\n")?;
            cases.push(Case::new(&[jq, "-L", &modules, "--run-tests", &text(&file)]).slow());
        }
    }
    let samples = files(&[tree.join("tests/torture"), tree.join("tests/modules")], &["json"])?;
    for document in samples.iter().chain(&Damage(3).copies("jq", &samples, 3, 400)?) {
        for mode in [
            &["."][..],
            &["-S", "--tab", "-a", "."],
            &["-c", "--stream", "."],
            &["--seq", "-C", "."],
            &["-R", "."],
            &["-s", "--indent", "7", "."],
        ] {
            cases.push(Case::new(&[&[jq], mode].concat()).reading(document));
        }
    }
    let deep = place.join("deep.json");
    fs::write(&deep, format!("{}{}\n", "[".repeat(12000), "]".repeat(12000)))?;
    cases.push(Case::new(&[jq, "-c", "."]).reading(&deep));
    let odd = place.join("odd.json");
    fs::write(&odd, b"{\"a\":nan,\"b\":1e1000,\"c\":-0,\"d\":\"\\ud83d\\u0000x\"}\x00[1,2\n")?;
    for program in [
        "[paths]",
        "tojson|fromjson",
        "[.[]?|tostring]",
        "ltrimstr(\"x\")",
        "try error catch .",
        "input",
        "@sh",
        "@text",
        "@json",
        "[splits(\"a\";null)]",
        "env|length",
        "input_filename",
        "$__loc__",
        "getpath([\"a\",\"b\"])",
        "[1,2]|implode",
        "@uri",
        "reduce range(9000) as $i (null; [.])|tojson|length",
        "\"%Y\"|strptime(\"%Y\")",
        "1425599621|todate,strftime(\"%A, %B %d, %Y\")",
        "\"x\"*100000000000",
        "[range(100)]|.[2:4]=[1]|length",
        ".[1e300]",
        "setpath([1e9];1)",
        "delpaths([[\"a\"]])",
        "\"abc\"|test(\"(?<x>b)\")",
        "if",
        "{(1):2}",
        "ltrimstr(1),rtrimstr(1)",
        "indices(\"\")",
        "\"abcb\"|indices(\"b\")",
        "splits",
        "@base64d",
        "\"YQ\"|@base64d",
        "limit(3;repeat(1))",
        "tojson",
        "significand,logb,gamma,frexp",
    ] {
        cases.push(Case::new(&[jq, "-c", program]).reading(&odd));
    }
    Ok(cases)
}

fn tiff(tools: &[&str], artifact: bool) -> Result<Vec<Case>> {
    let tree = source("tiff", true)?;
    let samples = files(&[tree.join("test/images")], &["tiff", "tif"])?;
    let mut images = samples.clone();
    // The directory with the tags is at the start of some and at the end of others.
    images.extend(Damage(4).copies("tiff", &samples, 1, 300)?);
    images.extend(Damage(5).copies("tiff-all", &samples, 1, usize::MAX)?);
    let name = |tool: &str| if artifact { Ok(format!("bin/{tool}")) } else { program(tool) };
    let mut cases = Vec::new();
    for tool in tools {
        let path = name(tool)?;
        let modes: &[&[&str]] = match *tool {
            "tiffinfo" => &[&["-D", "-s"], &["-d"]],
            "tiffcp" => &[
                &["-c", "lzw"],
                &["-c", "zip:2", "-t"],
                &["-p", "separate", "-c", "packbits", "-r", "7"],
                &["-c", "g4"],
            ],
            "tiffcrop" => &[
                &["-R", "90"],
                &["-F", "both"],
                &["-E", "bottom", "-U", "px", "-m", "2,3,4,5"],
                &["-Z", "1:4,2:4", "-e", "separate"],
                &["-U", "in", "-z", "1,1,20,20:3,3,9,9"],
                &["-S", "2:2"],
                &["-I", "black", "-i"],
                &["-X", "30", "-Y", "20", "-c", "lzw"],
                &["-U", "px", "-X", "16", "-Y", "16", "-R", "270", "-I", "data"],
                &["-H", "300", "-V", "300", "-J", "1", "-K", "1"],
            ],
            "tiff2rgba" => &[&["-b"], &["-c", "lzw", "-n"]],
            "raw2tiff" => &[
                &["-w", "8"],
                &["-w", "7", "-b", "3", "-c", "lzw"],
                &["-l", "9", "-d", "short"],
                &["-w", "0"],
                &["-H", "-1"],
                &["-w", "99999999", "-b", "9999"],
            ],
            _ => &[&[]],
        };
        let writes = !matches!(*tool, "tiffinfo" | "tiffdump");
        // A tool that was itself fixed gets every mode with every image; for the library, the modes take turns.
        let each = if artifact { modes.len() } else { modes.len().min(2) };
        for (at, image) in images.iter().enumerate() {
            for mode in modes.iter().cycle().skip(at % modes.len()).take(each) {
                let mut case = Case::new(&[&[path.as_str()], *mode].concat());
                case.words.push(text(image));
                if writes {
                    case.words.push("work/out".to_owned());
                }
                cases.push(case);
            }
        }
    }
    Ok(cases)
}

/// Starts a server on a socket, gives it the commands of a file, and, with a bundle, applies it before and reverts it after them. The replies
/// are sorted, because the order in sets and tables differs from start to start.
const SESSION: &str = "rm -f dump.rdb; $RUN bin/redis-server --port 0 --unixsocket work/s --save '' --appendonly no --hz 10 --loglevel warning --enable-debug-command yes >work/log 2>&1 &\n\
    server=$!; n=0\n\
    until redis-cli -s work/s ping >/dev/null 2>&1; do n=$((n+1)); [ $n -gt 200 ] && exit 9; sleep 0.02; done\n\
    if [ -n \"$LIVE\" ]; then $HPATCH apply --pid $server \"$LIVE\" >/dev/null || exit 10; fi\n\
    redis-cli -s work/s 2>&1 | sort\n\
    if [ -n \"$LIVE\" ]; then $HPATCH verify --pid $server >/dev/null || exit 11; $HPATCH revert --pid $server \"$ID\" >/dev/null || exit 12; redis-cli -s work/s ping >/dev/null || exit 13; fi\n\
    redis-cli -s work/s shutdown nosave 2>/dev/null; wait $server\n";

fn redis_server() -> Result<Vec<Case>> {
    let place = folder()?.join("redis");
    fs::create_dir_all(&place)?;
    let mut cases = vec![Case::new(&["bin/redis-server", "--version"])];
    for (name, since, commands) in REDIS_SESSIONS {
        let file = place.join(name);
        fs::write(&file, commands)?;
        let mut case = Case::new(&["/bin/sh", "-c", SESSION]).reading(&file).slow();
        case.script = true;
        case.since = since;
        cases.push(case);
    }
    cases.push(Case::new(&["bin/redis-server", "--nonsense", "yes"]));
    Ok(cases)
}

fn redis_tool(tool: &str) -> Vec<Case> {
    let path = format!("bin/{tool}");
    ["--help", "--version", "--nonsense"].iter().map(|option| Case::new(&[&path, option])).collect()
}

/// Sessions, each with the fix from which on it may run.
const REDIS_SESSIONS: [(&str, &str, &str); 6] = [
    ("types", "", include_str!("suites/redis-types.txt")),
    ("scripts", "", include_str!("suites/redis-scripts.txt")),
    ("rules", "", include_str!("suites/redis-rules.txt")),
    ("hll", "05", include_str!("suites/redis-hll.txt")),
    ("unpack", "07", include_str!("suites/redis-unpack.txt")),
    ("hostile", "17", include_str!("suites/redis-hostile.txt")),
];

/// Whether what the cases need is there.
pub fn ready() -> Result<()> {
    let found = run(Command::new("dpkg-source").arg("--version"), LIMIT)?;
    check!(found.code() == Some(0), "dpkg-source does not work: {}", found.describe());
    Ok(())
}
