//! The verbs on a real bundle, against stock OpenSSH and binutils: what one signs the other verifies, what one writes the other reads.

mod common;

use common::{bundle, payload};
use patchfmt::writer::{NewSection, write};
use patchfmt::{Bundle, SectionKind};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use tempfile::TempDir;

const NAMESPACE: &str = "hpatch-bundle-v1";

/// A directory with an unsigned bundle, the keys `ed25519` and `ecdsa`, and a trust directory with both.
struct Bench(TempDir);

impl Bench {
    fn new() -> Bench {
        let bench = Bench(tempfile::tempdir().unwrap());
        fs::write(bench.path("x.hpatch"), bundle()).unwrap();
        fs::create_dir(bench.path("trust")).unwrap();
        for kind in ["ed25519", "ecdsa"] {
            bench.make_key(kind, kind, "");
            fs::copy(bench.path(kind).with_extension("pub"), bench.path("trust").join(kind).with_extension("pub"))
                .unwrap();
        }
        bench
    }
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
    fn make_key(&self, kind: &str, name: &str, passphrase: &str) {
        let bits = if kind == "ecdsa" { "256" } else { "0" };
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-t", kind, "-N", passphrase, "-C", "signer of the test", "-f", name]);
        if bits != "0" {
            command.args(["-b", bits]);
        }
        assert!(command.current_dir(self.0.path()).status().unwrap().success());
    }
    fn run(&self, program: &str, args: &[&str]) -> Output {
        self.run_with(program, args, &[], b"")
    }
    fn run_with(&self, program: &str, args: &[&str], env: &[(&str, &str)], input: &[u8]) -> Output {
        use std::io::Write;
        let mut child = Command::new(program)
            .args(args)
            .current_dir(self.0.path())
            .env_remove("SSH_AUTH_SOCK")
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A child that doesn't read its input may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    }
    /// Runs patchgen; gives its status, standard output and standard error.
    fn patchgen(&self, args: &[&str]) -> (i32, String, String) {
        self.patchgen_with(args, &[])
    }
    fn patchgen_with(&self, args: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
        let out = self.run_with(env!("CARGO_BIN_EXE_patchgen"), args, env, b"");
        let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
        (out.status.code().unwrap(), text(out.stdout), text(out.stderr))
    }
    fn verify(&self) -> (i32, String, String) {
        self.patchgen(&["verify", "x.hpatch", "--trust", "trust"])
    }
    fn ssh_keygen_verifies(&self, key: &str, signature: &Path, message: &[u8]) -> bool {
        let public = fs::read_to_string(self.path(key).with_extension("pub")).unwrap();
        fs::write(self.path("allowed"), format!("release {public}")).unwrap();
        let signature = signature.to_str().unwrap();
        let args = ["-Y", "verify", "-f", "allowed", "-I", "release", "-n", NAMESPACE, "-s", signature];
        self.run_with("ssh-keygen", &args, &[], message).status.success()
    }
}

fn fingerprint(bench: &Bench, key: &str) -> String {
    let out = bench.run("ssh-keygen", &["-lf", &format!("{key}.pub")]);
    String::from_utf8(out.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[test]
fn signatures_of_stock_ssh_keygen_are_attached_and_verify() {
    let bench = Bench::new();
    assert_eq!(bench.verify().0, 5, "an unsigned bundle verified");
    for kind in ["ed25519", "ecdsa"] {
        let manifest = bench.run(env!("CARGO_BIN_EXE_patchgen"), &["manifest", "x.hpatch"]).stdout;
        assert_eq!(manifest, Bundle::parse(&fs::read(bench.path("x.hpatch")).unwrap()).unwrap().manifest());
        let signature = bench.run_with("ssh-keygen", &["-Y", "sign", "-n", NAMESPACE, "-f", kind], &[], &manifest);
        fs::write(bench.path("x.sig"), &signature.stdout).unwrap();
        let (status, out, err) = bench.patchgen(&["attach", "x.hpatch", "x.sig"]);
        assert_eq!(status, 0, "{err}");
        assert!(out.contains(&fingerprint(&bench, kind)), "{out}");
    }
    let (status, out, err) = bench.patchgen(&["verify", "x.hpatch", "--trust", "trust", "--threshold", "2"]);
    assert_eq!(status, 0, "{err}");
    for kind in ["ed25519", "ecdsa"] {
        assert!(out.contains(&fingerprint(&bench, kind)) && out.contains(&format!("{kind}.pub:1")), "{out}");
    }
}

#[test]
fn our_signatures_verify_with_stock_ssh_keygen() {
    let bench = Bench::new();
    for kind in ["ed25519", "ecdsa"] {
        let (status, _, err) = bench.patchgen(&["sign", "x.hpatch", "--key", kind]);
        assert_eq!(status, 0, "{err}");
    }
    assert_eq!(bench.patchgen(&["extract", "x.hpatch", "-o", "out"]).0, 0);
    let manifest = fs::read(bench.path("out/manifest")).unwrap();
    for (n, kind) in ["ed25519", "ecdsa"].into_iter().enumerate() {
        let signature = bench.path(&format!("out/signature-{n}.sig"));
        assert!(bench.ssh_keygen_verifies(kind, &signature, &manifest), "{kind}");
        assert!(!bench.ssh_keygen_verifies(kind, &signature, b"something else"), "{kind}");
    }
    assert_eq!(bench.verify().0, 0);
}

/// An agent of the test's own; ended by its process id.
struct Agent {
    child: std::process::Child,
    socket: String,
}

impl Agent {
    fn start(bench: &Bench) -> Agent {
        let socket = bench.path("agent.sock").to_str().unwrap().to_owned();
        let child = Command::new("ssh-agent").args(["-D", "-a", &socket]).stdout(Stdio::null()).spawn().unwrap();
        let agent = Agent { child, socket };
        for _ in 0..500 {
            if Path::new(&agent.socket).exists() {
                return agent;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("ssh-agent didn't start");
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_public_key_signs_through_ssh_agent() {
    let bench = Bench::new();
    let agent = Agent::start(&bench);
    let env = [("SSH_AUTH_SOCK", agent.socket.as_str())];
    for kind in ["ed25519", "ecdsa"] {
        let public = format!("{kind}.pub");
        let sign = ["sign", "x.hpatch", "--key", &public];
        let (status, _, err) = bench.patchgen_with(&sign, &env);
        assert!(status == 6 && err.contains("error[HP0024]"), "{err}");
        assert!(bench.run_with("ssh-add", &["-q", kind], &env, b"").status.success());
        let (status, _, err) = bench.patchgen_with(&sign, &env);
        assert_eq!(status, 0, "{err}");
        let (status, _, err) = bench.patchgen_with(&sign, &env);
        assert!(status == 5 && err.contains("error[HP0761]"), "{err}");
    }
    let (status, out, err) = bench.patchgen(&["verify", "x.hpatch", "--trust", "trust", "--threshold", "2"]);
    assert_eq!(status, 0, "{out}{err}");
    let (status, _, err) = bench.patchgen(&["sign", "x.hpatch", "--key", "ed25519.pub"]);
    assert!(status == 6 && err.contains("error[HP0023]"), "{err}");
    let (status, _, err) =
        bench.patchgen_with(&["sign", "x.hpatch", "--key", "ed25519.pub"], &[("SSH_AUTH_SOCK", "/nowhere")]);
    assert!(status == 6 && err.contains("error[HP0023]"), "{err}");
}

/// An agent that claims the key and then answers a request to sign with `answer`, whatever it is.
fn false_agent(path: &Path, key: Vec<u8>, answer: Vec<u8>) -> std::thread::JoinHandle<()> {
    use std::io::{Read, Write};
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut held = vec![12, 0, 0, 0, 1];
        patchfmt::ssh::put_string(&mut held, &key);
        patchfmt::ssh::put_string(&mut held, b"comment");
        for answer in [held, answer] {
            let mut size = [0; 4];
            stream.read_exact(&mut size).unwrap();
            let mut request = vec![0; u32::from_be_bytes(size) as usize];
            stream.read_exact(&mut request).unwrap();
            let mut message = Vec::new();
            patchfmt::ssh::put_string(&mut message, &answer);
            stream.write_all(&message).unwrap();
        }
    })
}

#[test]
fn an_agent_is_not_believed() {
    let bench = Bench::new();
    let before = fs::read(bench.path("x.hpatch")).unwrap();
    let key = patchfmt::PublicKey::from_line(&fs::read_to_string(bench.path("ed25519.pub")).unwrap()).unwrap();
    let signed = |kind: &str, value: &[u8]| {
        let mut inner = Vec::new();
        patchfmt::ssh::put_string(&mut inner, kind.as_bytes());
        patchfmt::ssh::put_string(&mut inner, value);
        let mut answer = vec![14];
        patchfmt::ssh::put_string(&mut answer, &inner);
        answer
    };
    let cases = [
        (vec![5], 6, "HP0024"),
        (vec![], 6, "HP0023"),
        (vec![14, 255, 255, 255, 255], 6, "HP0024"),
        (signed("ssh-rsa", &[0; 64]), 6, "HP0024"),
        (signed("ssh-ed25519", &[0; 64]), 5, "HP0756"),
        (signed("ssh-ed25519", &[0; 63]), 5, "HP0750"),
        (signed("ssh-ed25519", &[1; 2000]), 5, "HP0750"),
    ];
    for (n, (answer, status, code)) in cases.into_iter().enumerate() {
        let socket = bench.path(&format!("{n}.sock"));
        let agent = false_agent(&socket, key.to_wire(), answer);
        let env = [("SSH_AUTH_SOCK", socket.to_str().unwrap())];
        let (found, _, err) = bench.patchgen_with(&["sign", "x.hpatch", "--key", "ed25519.pub"], &env);
        assert!(found == status && err.contains(code), "case {n}: {found} {err}");
        agent.join().unwrap();
    }
    assert_eq!(fs::read(bench.path("x.hpatch")).unwrap(), before);
}

#[test]
fn damaged_private_keys_never_sign_as_another() {
    use patchgen::bundle::{armour, private_key::PrivateKey};
    let bench = Bench::new();
    for kind in ["ed25519", "ecdsa"] {
        let text = fs::read_to_string(bench.path(kind)).unwrap();
        let public = PrivateKey::parse(kind, &text).unwrap().public();
        let blob = armour::decode(armour::PRIVATE_KEY, &text).unwrap();
        for at in 0..blob.len() {
            let mut bad = blob.clone();
            bad[at] ^= 1;
            if let Ok(key) = PrivateKey::parse(kind, &armour::encode(armour::PRIVATE_KEY, &bad)) {
                assert_eq!(key.public(), public, "byte {at}");
            }
            assert!(
                PrivateKey::parse(kind, &armour::encode(armour::PRIVATE_KEY, &blob[..at])).is_err()
                    || at > blob.len() - 40
            );
        }
    }
}

#[test]
fn keys_that_cant_sign_are_refused_with_advice_and_nothing_is_written() {
    let bench = Bench::new();
    let before = fs::read(bench.path("x.hpatch")).unwrap();
    bench.make_key("ed25519", "locked", "correct horse");
    bench.make_key("rsa", "rsa", "");
    fs::write(bench.path("nonsense"), "hello").unwrap();
    fs::write(bench.path("sk.pub"), "sk-ssh-ed25519@openssh.com AAAA token\n").unwrap();
    let damaged = fs::read_to_string(bench.path("ed25519")).unwrap().replace("b3BlbnNzaC1", "b3BlbnNzaC2");
    fs::write(bench.path("damaged"), damaged).unwrap();
    for (key, code, advice) in [
        ("locked", "HP0021", "ssh-add locked"),
        ("rsa", "HP0022", "ssh-keygen -t ed25519"),
        ("sk.pub", "HP0022", "ssh-keygen -t ed25519"),
        ("nonsense", "HP0020", "ssh-keygen -p"),
        ("damaged", "HP0020", "ssh-keygen -p"),
        ("absent", "HP0010", "path"),
        ("trust", "HP0012", "regular file"),
    ] {
        let (status, out, err) = bench.patchgen(&["sign", "x.hpatch", "--key", key]);
        assert!(status == 6 && out.is_empty(), "{key}: {status} {out}");
        assert!(err.contains(&format!("error[{code}]")) && err.contains(advice), "{key}: {err}");
    }
    // A signature for something else, or over something else.
    let manifest = Bundle::parse(&before).unwrap().manifest().to_vec();
    for (namespace, message, code) in
        [("git", &manifest[..], "HP0751"), (NAMESPACE, b"something else", "HP0756"), (NAMESPACE, &before, "HP0756")]
    {
        let signature = bench.run_with("ssh-keygen", &["-Y", "sign", "-n", namespace, "-f", "ed25519"], &[], message);
        fs::write(bench.path("x.sig"), &signature.stdout).unwrap();
        let (status, _, err) = bench.patchgen(&["attach", "x.hpatch", "x.sig"]);
        assert!(status == 5 && err.contains(code), "{err}");
    }
    let (status, _, err) = bench.patchgen(&["attach", "x.hpatch", "nonsense"]);
    assert!(status == 6 && err.contains("error[HP0027]"), "{err}");
    assert_eq!(fs::read(bench.path("x.hpatch")).unwrap(), before);
}

#[test]
fn verify_tells_who_and_refuses_everybody_else() {
    let bench = Bench::new();
    assert_eq!(bench.patchgen(&["sign", "x.hpatch", "--key", "ed25519"]).0, 0);
    let code = |args: &[&str]| {
        let (status, out, err) = bench.patchgen(args);
        (status, err.lines().next().unwrap_or(&out).to_owned())
    };
    fs::create_dir_all(bench.path("others")).unwrap();
    let (status, err) = code(&["verify", "x.hpatch", "--trust", "others"]);
    assert!(status == 5 && err.contains("HP0025"), "{err}");
    fs::copy(bench.path("ecdsa.pub"), bench.path("others/a.pub")).unwrap();
    let (status, err) = code(&["verify", "x.hpatch", "--trust", "others"]);
    assert!(status == 5 && err.contains("HP0757"), "{err}");
    let (_, _, err) = bench.patchgen(&["verify", "x.hpatch", "--trust", "others"]);
    assert!(err.contains(&fingerprint(&bench, "ed25519")), "it isn't said who signed: {err}");
    let (status, err) = code(&["verify", "x.hpatch", "--trust", "trust", "--threshold", "2"]);
    assert!(status == 5 && err.contains("HP0758"), "{err}");
    // One key in two files is one key.
    fs::copy(bench.path("ed25519.pub"), bench.path("trust/again.pub")).unwrap();
    let (status, err) = code(&["verify", "x.hpatch", "--trust", "trust", "--threshold", "2"]);
    assert!(status == 5 && err.contains("HP0758"), "{err}");
    fs::write(bench.path("others/b.pub"), "ssh-ed25519 AAAA broken\n").unwrap();
    let (status, err) = code(&["verify", "x.hpatch", "--trust", "others"]);
    assert!(status == 6 && err.contains("HP0026"), "{err}");
    let (status, err) = code(&["verify", "x.hpatch", "--trust", "absent"]);
    assert!(status == 6 && err.contains("HP0010"), "{err}");
    let mut bytes = fs::read(bench.path("x.hpatch")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(bench.path("x.hpatch"), bytes).unwrap();
    let (status, out, err) = bench.patchgen(&["verify", "x.hpatch", "--trust", "trust", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, json["schema"].as_str()), (5, Some("hpatch.verify/1")), "{err}");
    assert!(json["error"]["code"].as_str().unwrap().starts_with("HP07"), "{out}");
}

#[test]
fn inspect_shows_what_is_in_the_bundle() {
    let bench = Bench::new();
    assert_eq!(bench.patchgen(&["sign", "x.hpatch", "--key", "ecdsa"]).0, 0);
    let (status, text, err) = bench.patchgen(&["inspect", "x.hpatch", "--disasm"]);
    assert_eq!(status, 0, "{err}");
    for part in [
        "fix-1",
        "CVE-2024-0001",
        "0x1000       serve (32 -> 13 bytes)",
        "import      puts@GLIBC_2.2.5",
        "edit        0x2000 table (4 bytes of data)",
        "uses        limit",
        "<serve>:",
        "R_X86_64_PLT32 puts-0x4",
        &fingerprint(&bench, "ecdsa"),
    ] {
        assert!(text.contains(part), "{part:?} is missing in:\n{text}");
    }
    let (_, json, _) = bench.patchgen(&["inspect", "x.hpatch", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["schema"], "hpatch.inspect/1");
    assert_eq!(json["scope"], "live");
    assert_eq!(json["modules"][0]["functions"][0]["name"], "serve");
    assert_eq!(json["modules"][0]["old_build_id"], "aa".repeat(20));
    assert_eq!(json["signatures"][0]["matches"], true);
}

#[test]
fn extracted_objects_are_read_by_binutils() {
    let bench = Bench::new();
    let (status, out, err) = bench.patchgen(&["extract", "x.hpatch", "-o", "out"]);
    assert_eq!((status, out.lines().count()), (0, 4), "{err}");
    assert_eq!(fs::read(bench.path("out/0-server.o")).unwrap(), payload());
    let readelf = bench.run("readelf", &["-aW", "out/0-server.o"]);
    assert!(readelf.status.success() && readelf.stderr.is_empty(), "{}", String::from_utf8_lossy(&readelf.stderr));
    let objdump = bench.run("objdump", &["-dr", "out/0-server.o"]);
    let text = String::from_utf8(objdump.stdout).unwrap();
    assert!(text.contains("<serve>:") && text.contains("R_X86_64_PLT32\tputs-0x4"), "{text}");
    // Nothing is overwritten.
    let (status, _, err) = bench.patchgen(&["extract", "x.hpatch", "-o", "out"]);
    assert!(status == 6 && err.contains("HP0011"), "{err}");
}

#[test]
fn a_full_disk_leaves_the_old_bundle() {
    let bench = Bench::new();
    let before = fs::read(bench.path("x.hpatch")).unwrap();
    // A file size limit of 1 block acts as a full disk does, without one.
    let script =
        format!("ulimit -f 1; trap '' XFSZ; exec {} sign x.hpatch --key ed25519", env!("CARGO_BIN_EXE_patchgen"));
    let padding = vec![7; 4096];
    let large = {
        let parsed = Bundle::parse(&before).unwrap();
        let contents = parsed.unverified().unwrap();
        let noise: Vec<u8> =
            (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8 ^ padding[n as usize]).collect();
        let sections = [
            NewSection { kind: SectionKind::Payload, bytes: payload().into() },
            NewSection { kind: SectionKind::Report, bytes: noise.into() },
        ];
        write(&contents.metadata().into(), &sections).unwrap()
    };
    assert!(large.len() > 1024);
    fs::write(bench.path("x.hpatch"), &large).unwrap();
    let out = bench.run("sh", &["-c", &script]);
    assert_eq!(out.status.code(), Some(6), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(String::from_utf8_lossy(&out.stderr).contains("error[HP0011]"));
    assert_eq!(fs::read(bench.path("x.hpatch")).unwrap(), large);
    let left = fs::read_dir(bench.0.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0);
}

#[test]
fn explain_and_usage() {
    let bench = Bench::new();
    let (status, out, _) = bench.patchgen(&["explain", "HP0512"]);
    assert!(status == 0 && out.contains("HP0512 (start)") && out.contains("What to do"), "{out}");
    let (status, out, _) = bench.patchgen(&["explain", "--list"]);
    assert!(status == 0 && out.lines().count() > 100 && out.lines().all(|l| l.starts_with("HP")));
    let (status, _, err) = bench.patchgen(&["explain", "HP9998"]);
    assert!(status == 2 && err.contains("error[HP0002]"), "{err}");
    assert_eq!(bench.patchgen(&["sign", "x.hpatch"]).0, 2);
    assert_eq!(bench.patchgen(&[]).0, 2);
    assert_eq!(bench.patchgen(&["inspect", "absent.hpatch"]).0, 6);
    fs::write(bench.path("text"), "hello, this is not a bundle").unwrap();
    let (status, _, err) = bench.patchgen(&["inspect", "text"]);
    assert!(status == 5 && err.contains("error[HP0702]"), "{err}");
}
