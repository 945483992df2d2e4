//! Makes a program with the loader in it and signed bundles for that program, without the offline compiler.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::OnceLock;

use ed25519_dalek::{Signer, SigningKey};
use hpatch_core::elf::Object;
use patchfmt::metadata::{Capabilities, ModuleKind, Scope};
use patchfmt::payload::{Bind, Edit, Func, Guard, Range};
use patchfmt::writer::{self, Metadata, Module, NewSection};
use patchfmt::{Bundle, PublicKey, SectionKind, sshsig};
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

pub fn run(command: &mut Command) -> String {
    let out = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// The library under test: `HPATCH_LOADER`, or built here in the development profile.
pub fn loader() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        if let Some(path) = std::env::var_os("HPATCH_LOADER") {
            return path.into();
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target directory");
        // Alone, so that no other crate's features come in.
        let mut cargo = Command::new(env!("CARGO"));
        run(cargo.current_dir(root).args(["build", "--quiet", "-p", "hpatch-loader", "--target-dir"]).arg(target));
        target.join("debug/libhpatch_loader.so")
    })
}

/// A folder of its own for each test.
pub fn folder(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).expect("folder");
    path
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// The program, with a trust directory next to it.
pub struct Program {
    pub dir: PathBuf,
    pub exe: PathBuf,
    image: Vec<u8>,
    symbols: Vec<(u64, u64, String)>,
    kind: ModuleKind,
}

/// The tables of the test's payload.
pub struct Tables {
    pub binds: Vec<Bind>,
    pub funcs: Vec<Func>,
    pub ranges: Vec<Range>,
    pub guard: Guard,
    pub edit: Edit,
}

pub fn signing_key() -> SigningKey {
    SigningKey::from_bytes(&[7; 32])
}

/// The line of an `*.pub` file.
fn public_line(key: &SigningKey) -> String {
    let wire = PublicKey::Ed25519(key.verifying_key().to_bytes()).to_wire();
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("ssh-ed25519 ");
    for chunk in wire.chunks(3) {
        let n = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        (0..4).for_each(|i| {
            text.push(if i <= chunk.len() { DIGITS[(n >> (18 - 6 * i)) as usize & 63] as char } else { '=' })
        });
    }
    text + " test\n"
}

impl Program {
    pub fn build(name: &str, fixed: bool) -> Program {
        let (how, kind) = if fixed { ("-no-pie -fno-pie", ModuleKind::Fixed) } else { ("-pie -fpie", ModuleKind::Pie) };
        Program::compile(folder(name), "host", "host.cc", how, kind)
    }

    /// `library.so`, next to `program`.
    pub fn library(program: &Program) -> Program {
        Program::compile(
            program.dir.clone(),
            "library.so",
            "library.cc",
            "-shared -fpic -Wl,--no-as-needed -lstdc++ -lgcc_s",
            ModuleKind::Shared,
        )
    }

    fn compile(dir: PathBuf, name: &str, text: &str, how: &str, kind: ModuleKind) -> Program {
        let exe = dir.join(name);
        run(Command::new("g++")
            .args(["-O1", "-w", "-Wl,--build-id", "-o"])
            .arg(&exe)
            .args(how.split(' '))
            .arg(source(text)));
        let image = std::fs::read(&exe).expect("program");
        let listed = run(Command::new("nm").args(["-S", "--defined-only"]).arg(&exe));
        let symbols = listed.lines().filter_map(|l| {
            let w: Vec<_> = l.split_whitespace().collect();
            let hex = |s: &str| u64::from_str_radix(s, 16).ok();
            (w.len() == 4).then(|| Some((hex(w[0])?, hex(w[1])?, w[3].to_owned())))?
        });
        let mut symbols: Vec<_> = symbols.collect();
        // Functions of other modules whose address a fixed image takes live, for it, at its PLT: undefined, with a value.
        let dynamic = run(Command::new("readelf").args(["--dyn-syms", "-W"]).arg(&exe));
        symbols.extend(dynamic.lines().filter_map(|l| {
            let w: Vec<_> = l.split_whitespace().collect();
            let value = u64::from_str_radix(w.get(1)?, 16).ok().filter(|v| *v != 0)?;
            (w.get(6) == Some(&"UND")).then(|| (value, 0, w[7].split('@').next().unwrap_or_default().to_owned()))
        }));
        std::fs::create_dir_all(dir.join("trust")).expect("trust");
        std::fs::create_dir_all(dir.join("store")).expect("store");
        std::fs::write(dir.join("trust/test.pub"), public_line(&signing_key())).expect("key");
        Program { dir, exe, image, symbols, kind }
    }

    pub fn symbol(&self, name: &str) -> (u64, u64) {
        let found = self.symbols.iter().find(|s| s.2 == name);
        found.map(|s| (s.0, s.1)).unwrap_or_else(|| panic!("no symbol {name}"))
    }

    /// First half of the SHA-256 over bytes at an svma in the file.
    fn preimage(&self, svma: u64, size: u64) -> [u8; 16] {
        let headers = run(Command::new("readelf").args(["-lW"]).arg(&self.exe));
        let offset = headers.lines().find_map(|l| {
            let w: Vec<_> = l.split_whitespace().collect();
            let hex = |i: usize| u64::from_str_radix(w.get(i)?.strip_prefix("0x")?, 16).ok();
            (w.first() == Some(&"LOAD"))
                .then(|| (hex(1), hex(2), hex(4)))
                .and_then(|(o, v, n)| (svma >= v? && svma + size <= v? + n?).then(|| o.unwrap() + svma - v.unwrap()))
        });
        let at = offset.expect("address in a segment") as usize;
        Sha256::digest(&self.image[at..at + size as usize])[..16].try_into().expect("half")
    }

    pub fn build_id(&self) -> Vec<u8> {
        let notes = run(Command::new("readelf").arg("-n").arg(&self.exe));
        let hex = notes.lines().find_map(|l| l.trim().strip_prefix("Build ID: ")).expect("build-id").to_owned();
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
    }

    /// Compiles `fix.cc` and adds the tables: `answer` and `hello` replaced, `relied` guarded, `limit` edited.
    pub fn payload(&self, name: &str) -> Vec<u8> {
        self.payload_with(name, |_| {})
    }

    /// The same, with its tables changed before they are added.
    pub fn payload_with(&self, name: &str, change: impl FnOnce(&mut Tables)) -> Vec<u8> {
        let object = self.dir.join(format!("{name}.o"));
        // A fixed image's code may hold absolute addresses below 2 GiB.
        let how =
            if self.kind == ModuleKind::Fixed { ["-fno-pie", "-mcmodel=small"] } else { ["-fpie", "-mcmodel=small"] };
        run(Command::new("g++").args(["-O1", "-w", "-c", "-o"]).arg(&object).args(how).arg(source("fix.cc")));
        let data = std::fs::read(&object).expect("object");
        let parsed = Object::parse(&data).expect("object");
        let find = |name: &str| {
            let at = parsed.symbols().iter().position(|s| parsed.name(s.name.get()) == name.as_bytes());
            let at = at.unwrap_or_else(|| panic!("no symbol {name}"));
            (at as u32, parsed.symbols()[at].name.get())
        };
        let undefined = parsed.symbols().iter().enumerate().skip(1).filter(|(_, s)| s.shndx.get() == 0);
        let binds: Vec<Bind> = undefined
            .map(|(n, s)| {
                let text = String::from_utf8_lossy(parsed.name(s.name.get())).into_owned();
                match self.symbols.iter().find(|o| o.2 == text) {
                    Some(old) => Bind::old(n as u32, old.0),
                    None => Bind::import(n as u32, s.name.get(), 0, false),
                }
            })
            .collect();
        let mut ranges = Vec::new();
        let mut funcs = Vec::new();
        for name in ["answer", "hello"] {
            let (svma, size) = self.symbol(name);
            let (symbol, text) = find(name);
            funcs.push(Func {
                entry: svma.into(),
                site: svma.into(),
                window: (size as u32).into(),
                symbol: symbol.into(),
                first_range: (ranges.len() as u32).into(),
                range_count: 1.into(),
                first_site: 0.into(),
                site_count: 0.into(),
                name: text.into(),
                flags: 0.into(),
                preimage: self.preimage(svma, size),
            });
            ranges.push(Range::new(svma, size));
        }
        let (svma, size) = self.symbol("relied");
        let guard = Guard {
            svma: svma.into(),
            size: size.into(),
            name: 0.into(),
            reserved: 0.into(),
            preimage: self.preimage(svma, size),
        };
        let (svma, size) = self.symbol("limit");
        let (symbol, text) = find("limit_bytes");
        let edit = Edit {
            svma: svma.into(),
            size: (size as u32).into(),
            symbol: symbol.into(),
            name: text.into(),
            flags: 0.into(),
            preimage: self.preimage(svma, size),
            reserved: 0.into(),
        };
        let mut t = Tables { binds, funcs, ranges, guard, edit };
        change(&mut t);
        let tables: [(&str, &[u8]); 5] = [
            (patchfmt::payload::BIND, t.binds.as_bytes()),
            (patchfmt::payload::FUNC, t.funcs.as_bytes()),
            (patchfmt::payload::RANGE, t.ranges.as_bytes()),
            (patchfmt::payload::GUARD, t.guard.as_bytes()),
            (patchfmt::payload::EDIT, t.edit.as_bytes()),
        ];
        with_sections(&data, &tables)
    }

    /// A signed bundle of `payload`, in a file.
    pub fn bundle(&self, id: &str, scope: Scope, payload: &[u8]) -> PathBuf {
        let name = self.exe.file_name().and_then(|n| n.to_str()).expect("name");
        self.bundle_for(id, scope, payload, name, &self.build_id())
    }

    pub fn bundle_for(&self, id: &str, scope: Scope, payload: &[u8], module: &str, build_id: &[u8]) -> PathBuf {
        let module = Module {
            name: module.into(),
            old_build_id: build_id.into(),
            new_build_id: vec![1; 20],
            payload: 0,
            kind: self.kind,
            functions_replaced: 2,
            functions_new: 0,
            edits: 1,
        };
        let metadata = Metadata {
            id: id.into(),
            scope,
            machine: 62,
            loader_abi: 1,
            modules: vec![module],
            capabilities: Capabilities::TEXT,
            tool: "test".into(),
            cves: Vec::new(),
            note: String::new(),
            accepted: Vec::new(),
            start_reasons: Vec::new(),
            sequence: 0,
            supersedes: Vec::new(),
        };
        let bytes = writer::write(&metadata, &[NewSection { kind: SectionKind::Payload, bytes: payload.into() }])
            .expect("bundle");
        let key = signing_key();
        let block = sshsig::signed_block(Bundle::parse(&bytes).expect("bundle").manifest());
        let blob = sshsig::build(&PublicKey::Ed25519(key.verifying_key().to_bytes()), &key.sign(&block).to_bytes());
        let path = self.dir.join(format!("{id}.hpatch"));
        std::fs::write(&path, writer::add_signature(&bytes, &blob).expect("signature")).expect("bundle file");
        path
    }

    pub fn store(&self, bundle: &Path) {
        let name = bundle.file_name().expect("name");
        std::fs::copy(bundle, self.dir.join("store").join(name)).expect("store");
    }

    pub fn start(&self) -> Session {
        let mut command = Command::new(&self.exe);
        command.env_clear().env("LD_PRELOAD", loader()).env("HPATCH_TRUST", self.dir.join("trust"));
        command.env("HPATCH_STORE", self.dir.join("store"));
        Session::start(&mut command)
    }
}

/// Appends sections to an object: new contents, a new section name table and a new section header table behind the old file.
fn with_sections(object: &[u8], tables: &[(&str, &[u8])]) -> Vec<u8> {
    let u16_at = |o: usize| u16::from_le_bytes([object[o], object[o + 1]]) as usize;
    let u64_at = |o: usize| u64::from_le_bytes(object[o..o + 8].try_into().expect("word")) as usize;
    let (shoff, count, names_index) = (u64_at(40), u16_at(60), u16_at(62));
    let mut headers = object[shoff..shoff + count * 64].to_vec();
    let at = names_index * 64;
    let field = |h: &[u8], o: usize| u64::from_le_bytes(h[o..o + 8].try_into().expect("word")) as usize;
    let mut names = object[field(&headers, at + 24)..][..field(&headers, at + 32)].to_vec();
    let mut out = object.to_vec();
    for (name, bytes) in tables {
        out.resize(out.len().next_multiple_of(8), 0);
        let mut h = [0u8; 64];
        h[..4].copy_from_slice(&(names.len() as u32).to_le_bytes());
        h[4..8].copy_from_slice(&1u32.to_le_bytes());
        h[24..32].copy_from_slice(&(out.len() as u64).to_le_bytes());
        h[32..40].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
        h[48..56].copy_from_slice(&1u64.to_le_bytes());
        headers.extend_from_slice(&h);
        names.extend_from_slice(name.as_bytes());
        names.push(0);
        out.extend_from_slice(bytes);
    }
    headers[at + 24..at + 32].copy_from_slice(&(out.len() as u64).to_le_bytes());
    headers[at + 32..at + 40].copy_from_slice(&(names.len() as u64).to_le_bytes());
    out.extend_from_slice(&names);
    out.resize(out.len().next_multiple_of(8), 0);
    let end = out.len() as u64;
    out[40..48].copy_from_slice(&end.to_le_bytes());
    out[60..62].copy_from_slice(&((count + tables.len()) as u16).to_le_bytes());
    out.extend_from_slice(&headers);
    out
}

/// A running program.
pub struct Session {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Session {
    pub fn start(command: &mut Command) -> Session {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("program");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("pipe"));
        Session { child, input, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("answer");
        assert!(!line.is_empty(), "the program has ended: {:?}", self.child.wait());
        line.trim_end().to_owned()
    }

    pub fn ask(&mut self, command: &str) -> String {
        writeln!(self.input.as_mut().expect("pipe"), "{command}").expect("command");
        self.line()
    }

    /// Lines up to a single full stop.
    pub fn ask_many(&mut self, command: &str) -> Vec<String> {
        let mut all = vec![self.ask(command)];
        while all.last().is_some_and(|l| l != ".") {
            let line = self.line();
            all.push(line);
        }
        all.pop();
        all
    }

    /// Ends the program; what it wrote to standard error.
    pub fn end(mut self) -> String {
        self.input = None;
        let out = self.child.wait_with_output().expect("end");
        assert!(out.status.success(), "{}", out.status);
        String::from_utf8_lossy(&out.stderr).into_owned()
    }
}
