//! Shared libraries inside programs of the distribution.

use super::{make_bundle, workspace};
use crate::bundle::Signer;
use crate::corpus::{self, CorpusPair};
use crate::snapshot::Snapshot;
use crate::story::Story;
use crate::target::{Launch, Target};
use crate::{Failure, Result, check, fail};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

/// Puts a library where the dynamic linker finds it by its soname.
fn install(pair: &CorpusPair, soname: &str, folder: &Path) -> Result<PathBuf> {
    let libraries = folder.join("lib");
    std::fs::create_dir_all(&libraries)?;
    std::fs::copy(&pair.old, libraries.join(soname))?;
    Ok(libraries)
}

fn launch(libraries: &Path, arguments: &[&str]) -> Result<Launch> {
    let mut launch = Launch::trusting(Signer::shared()?.trust());
    launch.environment.push(("LD_LIBRARY_PATH".to_owned(), libraries.to_string_lossy().into_owned()));
    launch.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    Ok(launch)
}

/// Speaks the driver's protocol; a thread keeps parsing with the same library and counts what goes wrong.
const SCRIPT: &str = r#"
import ctypes, sys, threading, xml.parsers.expat as expat
lib = ctypes.CDLL("libexpat.so.1")
lib.XML_ParserCreate.restype = ctypes.c_void_p
for function in (lib.XML_ParseBuffer, lib.XML_GetErrorCode, lib.XML_ParserFree):
    function.argtypes = [ctypes.c_void_p] + ([ctypes.c_int] * 2 if function is lib.XML_ParseBuffer else [])
wrong = rounds = 0
stop = False
def load():
    global wrong, rounds
    text = "<list>" + "<item key='v'>text &amp; more</item>" * 50 + "</list>"
    while not stop:
        seen = []
        parser = expat.ParserCreate()
        parser.StartElementHandler = lambda name, attributes: seen.append(name)
        parser.Parse(text, True)
        wrong += len(seen) != 51
        rounds += 1
thread = threading.Thread(target=load, daemon=True)
thread.start()
for line in sys.stdin:
    line = line.strip()
    if line == "negative":
        parser = lib.XML_ParserCreate(None)
        status = lib.XML_ParseBuffer(parser, -1, 0)
        print(status, lib.XML_GetErrorCode(parser))
        lib.XML_ParserFree(parser)
    if line == "load":
        before = rounds
        while rounds < before + 20:
            pass
        print("wrong", wrong)
    if line == "stop":
        stop = True
        thread.join()
    print(".", flush=True)
"#;

/// Debian's python3 with expat from the corpus: a length below zero is refused as such only with the fix.
pub fn expat_in_python(story: Story) -> Result<()> {
    let pair = corpus::ensure_pair("expat", "CVE-2024-45490", "libexpat.so")?;
    let folder = workspace("python")?;
    let libraries = install(&pair, "libexpat.so.1", &folder)?;
    let script = folder.join("script.py");
    std::fs::write(&script, SCRIPT)?;
    let launch = launch(&libraries, &["-u", &script.to_string_lossy()])?;
    let mut python = Target::start(Path::new("/usr/bin/python3"), &launch)?;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", python.pid()))?;
    check!(maps.contains(&*libraries.to_string_lossy()), "python3 does not use the corpus's library");
    let (bundle, _) = make_bundle(&pair, "expat-CVE-2024-45490", &folder, story)?;
    let expect = |python: &mut Target, answer: &str, when: &str| {
        let got = python.ask("negative")?;
        check!(got == answer, "{when}: XML_ParseBuffer(parser, -1, 0) gives {got}, expected {answer}");
        let load = python.ask("load")?;
        check!(load == "wrong 0", "{when}: the parsing thread says `{load}`");
        Ok::<(), Failure>(())
    };
    // 42 is XML_ERROR_NO_BUFFER, 41 XML_ERROR_INVALID_ARGUMENT.
    expect(&mut python, "0 42", "before")?;
    for _ in 0..3 {
        python.apply(&bundle)?.expect(0)?;
        expect(&mut python, "0 41", "patched")?;
        python.verify()?.expect(0)?;
        python.revert("expat-CVE-2024-45490")?.expect(0)?;
        expect(&mut python, "0 42", "reverted")?;
    }
    python.ask("stop")?;
    python.finish()
}

/// xmllint's shell with libxml2 from the corpus, patched between two questions.
pub fn libxml2_in_xmllint(story: Story) -> Result<()> {
    let pair = corpus::ensure_pair("libxml2", "CVE-2025-9714", "libxml2.so")?;
    let folder = workspace("xmllint")?;
    let libraries = install(&pair, "libxml2.so.2", &folder)?;
    let document = folder.join("sample.xml");
    std::fs::write(&document, "<list><item n='1'/><item n='2'/><item n='3'/></list>\n")?;
    let launch = launch(&libraries, &["--shell", &document.to_string_lossy()])?;
    let xmllint = crate::paths::find("xmllint").ok_or_else(|| Failure("xmllint isn't installed".to_owned()))?;
    let mut command = launch.command(&xmllint)?;
    let mut child = super::Running(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?);
    let mut input = child.0.stdin.take().ok_or_else(|| Failure("no pipe".to_owned()))?;
    let output = child.0.stdout.take().ok_or_else(|| Failure("no pipe".to_owned()))?;
    let (send, answers) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(std::result::Result::ok) {
            if send.send(line).is_err() {
                break;
            }
        }
    });
    let mut sum = |wanted: &str, when: &str| {
        writeln!(input, "xpath sum(//item/@n) + count(//item[position() > 1])")?;
        input.flush()?;
        let answer = answers.recv_timeout(Duration::from_secs(10));
        let answer = answer.map_err(|_| Failure(format!("{when}: xmllint does not answer")))?;
        check!(answer.ends_with(wanted), "{when}: xmllint gives `{answer}`, expected {wanted}");
        Ok::<(), Failure>(())
    };
    sum(": 8", "before")?;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", child.pid()))?;
    check!(maps.contains(&*libraries.to_string_lossy()), "xmllint does not use the corpus's library");
    let (bundle, summary) = make_bundle(&pair, "libxml2-CVE-2025-9714", &folder, story)?;
    check!(summary.changed() > 0, "no function is replaced");
    let before = Snapshot::take(child.pid())?;
    crate::target::apply(child.pid(), &bundle, 10, &Signer::shared()?.trust())?.expect(0)?;
    check!(before.change(&Snapshot::take(child.pid())?).is_some(), "no byte of the process changed");
    sum(": 8", "patched")?;
    crate::target::hpatch("verify", child.pid(), &[])?.expect(0)?;
    crate::target::revert(child.pid(), "libxml2-CVE-2025-9714", 10)?.expect(0)?;
    sum(": 8", "reverted")?;
    match before.change(&Snapshot::take(child.pid())?) {
        Some(difference) => fail!("after the revert: {difference}"),
        None => Ok(()),
    }
}
