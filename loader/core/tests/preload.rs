//! The library as it is: linked, preloaded, applying bundles before `main` and in a running program.

mod common;

use std::process::Command;

use common::{Program, loader, run};
use patchfmt::metadata::Scope;

#[test]
fn stands_alone() {
    let readelf = |what: &str| run(Command::new("readelf").args(["-W", what]).arg(loader()));
    let dynamic = readelf("-d");
    for word in ["NEEDED", "TEXTREL", "RPATH", "RUNPATH"] {
        assert!(!dynamic.contains(word), "{word} in {dynamic}");
    }
    let symbols = readelf("--dyn-syms");
    let named: Vec<_> = symbols.lines().filter(|l| l.split_whitespace().count() == 8 && !l.contains("Name")).collect();
    // What the command finds it by, and what it stands in for (loader/src/unwind.rs, hook.rs).
    let exported = ["hpatch_control", "_dl_find_object", "__gmon_start__"];
    let known = |line: &&str| exported.iter().any(|name| line.ends_with(&format!(" {name}"))) && !line.contains("UND");
    assert!(named.len() == exported.len() && named.iter().all(known), "{symbols}");
    let relocations = readelf("-r");
    let kinds: Vec<_> = relocations.lines().filter(|l| l.contains("R_X86_64_")).collect();
    // Two say where the storage for patches is in each thread (loader/src/threads.rs).
    let threads = ["R_X86_64_DTPMOD64", "R_X86_64_TLSDESC"];
    let others: Vec<_> = kinds.iter().filter(|l| !l.contains("R_X86_64_RELATIVE")).collect();
    assert!(kinds.len() > others.len() && others.len() == threads.len(), "{relocations}");
    assert!(threads.iter().all(|kind| others.iter().any(|l| l.contains(kind))), "{relocations}");
    let segments = readelf("-l");
    let own: Vec<_> = segments.lines().filter(|l| l.trim_start().starts_with("TLS ")).collect();
    assert!(own.len() == 1 && own[0].matches("0x000400").count() == 2 && !segments.contains("INTERP"), "{segments}");
    assert!(segments.lines().all(|l| !l.contains("RWE")), "{segments}");
    // The library as it is shipped; the one that is built here is a debug build.
    if std::env::var_os("HPATCH_LOADER").is_some() {
        let size = std::fs::metadata(loader()).expect("library").len();
        assert!(size < 150_000, "{size} bytes");
    }
}

#[test]
fn harms_no_program() {
    for (program, args) in [("/bin/true", &[][..]), ("/bin/sh", &["-c", "/bin/true; exit 0"]), ("/bin/ls", &["/"])] {
        for store in [None, Some(""), Some("/nonexistent"), Some("/proc")] {
            let mut command = Command::new(program);
            command.args(args).env_clear().env("LD_PRELOAD", loader());
            store.map(|s| command.env("HPATCH_STORE", s));
            run(&mut command);
        }
    }
    // Longer than any path: not taken over.
    run(Command::new("/bin/true").env("LD_PRELOAD", loader()).env("HPATCH_STORE", "x".repeat(100_000)));
}

/// All behaviour before and after, whichever way it was applied. The first call of `answer` is still to come.
fn check_old(s: &mut common::Session) {
    assert_eq!(s.ask("answer 1"), "42");
    assert_eq!(s.ask("hello"), "old");
    assert_eq!(s.ask("limit"), "7");
}

fn check_new(s: &mut common::Session) {
    assert_eq!(s.ask("answer 1"), "1042");
    assert_eq!(s.ask("hello"), "new 1");
    assert_eq!(s.ask("limit"), "99");
    assert_eq!(s.ask("answer 2"), "2043");
}

#[test]
fn applies_the_store_before_main() {
    for (name, fixed) in [("store-pie", false), ("store-fixed", true)] {
        let p = Program::build(name, fixed);
        let payload = p.payload("fix");
        for scope in [Scope::Live, Scope::Start] {
            p.store(&p.bundle("fix", scope, &payload));
            let mut s = p.start();
            check_new(&mut s);
            // Through the replaced frame, with its cleanup.
            assert_eq!(s.ask("answer -5"), "caught -5 depth 33");
            assert_eq!(s.end(), "");
        }
    }
}

#[test]
fn store_refuses_in_one_line_and_the_program_starts() {
    let p = Program::build("store-refused", false);
    let payload = p.payload("fix");
    let elsewhere = p.bundle_for("elsewhere", Scope::Live, &payload, "other-program", &[9; 20]);
    p.store(&elsewhere);
    let mut s = p.start();
    check_old(&mut s);
    assert_eq!(s.end(), "", "a bundle for another program is none of this one's business");
    p.store(&p.bundle_for("build", Scope::Live, &payload, "host", &[9; 20]));
    let broken = p.bundle("broken", Scope::Live, &payload);
    let mut bytes = std::fs::read(&broken).expect("bundle");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(p.dir.join("store/broken.hpatch"), bytes).expect("store");
    let mut s = p.start();
    check_old(&mut s);
    let said = s.end();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("hpatch: broken.hpatch: HP07"), "{said}");
    assert!(lines[1].starts_with("hpatch: build.hpatch: HP1101 host has build-id "), "{said}");
}

#[test]
fn untrusted_or_unsafe_keys_refuse() {
    use std::os::unix::fs::PermissionsExt;
    let p = Program::build("trust", false);
    p.store(&p.bundle("fix", Scope::Live, &p.payload("fix")));
    let key = p.dir.join("trust/test.pub");
    let line = std::fs::read_to_string(&key).expect("key");
    let refused = |want: &str| {
        let mut s = p.start();
        check_old(&mut s);
        let said = s.end();
        assert!(said.starts_with(&format!("hpatch: fix.hpatch: {want}")), "{said}");
    };
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o666)).expect("mode");
    refused("HP1003");
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("mode");
    std::fs::set_permissions(p.dir.join("trust"), PermissionsExt::from_mode(0o777)).expect("mode");
    refused("HP1003");
    std::fs::set_permissions(p.dir.join("trust"), PermissionsExt::from_mode(0o755)).expect("mode");
    std::fs::write(&key, line.replace("ssh-ed25519", "ssh-rsa")).expect("key");
    refused("HP1002");
    // A key that is fine and not the signer's: the base point of the curve.
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFhmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm\n";
    std::fs::write(&key, other).expect("key");
    refused("HP0757");
    std::fs::write(&key, format!("# ours\n{other}{line}")).expect("key");
    let mut s = p.start();
    check_new(&mut s);
    assert_eq!(s.end(), "");
}

#[test]
fn applies_and_reverts_in_a_running_program() {
    for (name, fixed) in [("live-pie", false), ("live-fixed", true)] {
        let p = Program::build(name, fixed);
        let bundle = p.bundle("fix", Scope::Live, &p.payload("fix"));
        let mut s = p.start();
        let before = s.ask("sum");
        for _ in 0..3 {
            check_old(&mut s);
            assert_eq!(s.ask(&format!("prepare {}", bundle.display())), "ok 1");
            check_old(&mut s);
            assert_eq!(s.ask("commit fix"), "ok 1");
            assert_ne!(s.ask("sum"), before);
            check_new(&mut s);
            let maps = s.ask_many("maps");
            assert_eq!(maps.len(), 3, "{maps:?}");
            for (line, access) in maps.iter().zip(["r-xp", "r--p", "rw-p"]) {
                assert!(line.contains(access) && line.contains("hpatch:fix"), "{maps:?}");
            }
            assert!(s.ask(&format!("prepare {}", bundle.display())).starts_with("HP1304 "));
            assert!(s.ask("release fix").starts_with("HP1405 "), "a live record must stay mapped");
            assert!(s.ask("answer -5").starts_with("caught -5 depth "));
            s.ask("revert fix");
            assert_eq!(s.ask("sum"), before, "every byte is as before");
            assert_eq!(s.ask("release fix"), "ok 0");
            assert!(s.ask_many("maps").is_empty());
        }
        assert_eq!(s.end(), "");
    }
}

/// dlmopen: both copies of a library are patched, or none.
#[test]
fn every_copy_of_a_library_is_patched() {
    let p = Program::build("copies", false);
    let library = Program::library(&p);
    let bundle = library.bundle("fix", Scope::Live, &library.payload("fix"));
    let mut s = p.start();
    assert!(s.ask(&format!("prepare {}", bundle.display())).starts_with("HP1101 library.so isn't mapped"));
    for verb in ["library", "copy"] {
        assert_eq!(s.ask(&format!("{verb} {}", library.exe.display())), "done");
    }
    assert_eq!(s.ask("both"), "42 42");
    assert_eq!(s.ask(&format!("prepare {}", bundle.display())), "ok 1");
    assert!(s.ask("tables fix").starts_with("writes 6 funcs 4 "));
    assert_eq!(s.ask("commit fix"), "ok 1");
    assert_eq!(s.ask("both"), "1042 1042");
    assert_eq!(s.ask("answer 1"), "42", "the program has a function of the same name");
    s.ask("revert fix");
    assert_eq!(s.ask("both"), "42 42");
    assert_eq!(s.ask("release fix"), "ok 0");
    assert_eq!(s.end(), "");
}

#[test]
fn store_is_only_for_the_start() {
    let p = Program::build("late", false);
    p.store(&p.bundle("fix", Scope::Live, &p.payload("fix")));
    let mut command = Command::new(&p.exe);
    command.env_clear().env("HPATCH_TRUST", p.dir.join("trust")).env("HPATCH_STORE", p.dir.join("store"));
    let mut s = common::Session::start(&mut command);
    assert_eq!(s.ask(&format!("dlopen {}", loader().display())), "done");
    check_old(&mut s);
    let said = s.end();
    assert!(said.starts_with("hpatch: fix.hpatch: HP1006 "), "{said}");
}

#[test]
fn bundles_stack_and_come_off_in_reverse() {
    let p = Program::build("stack", false);
    let payload = p.payload("fix");
    let [one, two] = ["one", "two"].map(|id| p.bundle(id, Scope::Live, &payload));
    let mut s = p.start();
    let before = s.ask("sum");
    assert_eq!(s.ask(&format!("prepare {}", one.display())), "ok 1");
    assert_eq!(s.ask("commit one"), "ok 1");
    check_new(&mut s);
    let with_one = s.ask("sum");
    let tables_of_one = s.ask("tables one");
    assert_eq!(s.ask(&format!("prepare {}", two.display())), "ok 2");
    assert_eq!(s.ask("commit two"), "ok 2");
    // The code that `one` brought must not be active either when `two` is applied.
    let old = |t: &str| t.split_whitespace().nth(5).and_then(|n| n.parse::<u32>().ok()).expect("number");
    assert!(old(&s.ask("tables two")) > old(&tables_of_one));
    check_new(&mut s);
    s.ask("revert two");
    assert_eq!(s.ask("sum"), with_one);
    assert_eq!(s.ask("answer 2"), "3043");
    assert_eq!(s.ask("release two"), "ok 1");
    s.ask("revert one");
    assert_eq!(s.ask("sum"), before);
    assert_eq!(s.ask("release one"), "ok 0");
    assert_eq!(s.end(), "");
}

#[test]
fn refuses_in_a_running_program() {
    let p = Program::build("refused", false);
    let payload = p.payload("fix");
    let fix = p.bundle("fix", Scope::Live, &payload);
    let start = p.bundle("start", Scope::Start, &payload);
    let elsewhere = p.bundle_for("elsewhere", Scope::Live, &payload, "other-program", &[9; 20]);
    let mut s = p.start();
    assert!(s.ask(&format!("prepare {}", start.display())).starts_with("HP1006 "));
    assert!(s.ask(&format!("prepare {}", elsewhere.display())).starts_with("HP1101 other-program isn't mapped"));
    assert!(s.ask(&format!("prepare {}", p.exe.display())).starts_with("HP0702 "));
    assert!(s.ask("op 9").starts_with("HP1405 "));
    assert!(s.ask("op 3").starts_with("HP1405 "));
    s.ask("break");
    let said = s.ask(&format!("prepare {}", fix.display()));
    assert!(said.starts_with("HP1105 ") && said.contains("int3"), "{said}");
    check_old(&mut s);
    assert!(s.ask_many("maps").is_empty(), "nothing stays mapped after a refusal");
    assert_eq!(s.end(), "");
}

#[test]
fn works_where_written_memory_may_never_be_executed() {
    let p = Program::build("mdwe", false);
    let fix = p.bundle("fix", Scope::Live, &p.payload("fix"));
    let mut s = p.start();
    if s.ask("mdwe") != "0" {
        return; // Kernels before 6.3 don't have PR_SET_MDWE.
    }
    assert_eq!(s.ask(&format!("prepare {}", fix.display())), "ok 1");
    assert_eq!(s.ask("commit fix"), "ok 1");
    check_new(&mut s);
    assert_eq!(s.end(), "");
}

/// Signed by mistake: no table can make a write land outside the module or outside its code.
#[test]
fn tables_that_point_elsewhere_are_refused() {
    use common::Tables;
    type Change = fn(&Program, &mut Tables);
    let p = Program::build("elsewhere", false);
    let cases: [(&str, Change); 13] = [
        ("HP1106", |_, t| t.edit.svma = 0xffff_0000u64.into()),
        ("HP0773", |_, t| t.edit.svma = u64::MAX.into()),
        ("HP1106", |_, t| t.binds.iter_mut().filter(|b| b.kind == 1).for_each(|b| b.value = 0x7000_0000u64.into())),
        ("HP1106", |_, t| t.guard.svma = 0x7000_0000u64.into()),
        ("HP1106", |_, t| t.guard.size = (1u64 << 40).into()),
        ("HP1106", |_, t| {
            let f = &mut t.funcs[0];
            (f.entry, f.site) = (0x7000_0000u64.into(), 0x7000_0000u64.into());
            t.ranges[0] = patchfmt::payload::Range::new(0x7000_0000, 64);
        }),
        // Data is no place for a detour.
        ("HP1106", |p, t| {
            let at = p.symbol("counter").0;
            let f = &mut t.funcs[0];
            (f.entry, f.site) = (at.into(), at.into());
            t.ranges[0] = patchfmt::payload::Range::new(at, 4);
        }),
        ("HP0773", |_, t| t.funcs[0].site = (t.funcs[0].entry.get() + 1).into()),
        ("HP0773", |_, t| t.funcs[0].window = 4.into()),
        // Two detours at one place.
        ("HP0774", |_, t| {
            t.funcs[1] = patchfmt::payload::Func { symbol: t.funcs[1].symbol, ..t.funcs[0] };
        }),
        // A replacement that isn't code of the payload: the edit's new bytes.
        ("HP0772", |_, t| t.funcs[0].symbol = t.edit.symbol),
        ("HP0772", |_, t| t.edit.symbol = 60_000.into()),
        // A binding too few.
        ("HP1009", |_, t| t.binds.truncate(t.binds.len() - 1)),
    ];
    let mut s = p.start();
    let before = s.ask("sum");
    for (n, (code, change)) in cases.into_iter().enumerate() {
        let payload = p.payload_with("fix", |t| change(&p, t));
        let said = s.ask(&format!("prepare {}", p.bundle("fix", Scope::Live, &payload).display()));
        assert!(said.starts_with(code), "case {n}: {said}, not {code}");
    }
    assert!(s.ask_many("maps").is_empty());
    assert_eq!(s.ask("sum"), before);
    assert_eq!(s.ask(&format!("prepare {}", p.bundle("fix", Scope::Live, &p.payload("fix")).display())), "ok 1");
    assert_eq!(s.end(), "");
}

/// Signed, so that everything behind the signature meets it: whatever is broken, the program lives and is unchanged.
#[test]
fn broken_payloads_are_refused_or_harmless() {
    let p = Program::build("broken", false);
    let payload = p.payload("fix");
    let mut s = p.start();
    let before = s.ask("sum");
    let (mut refused, mut prepared) = (0, 0);
    let mut seed = 1u64;
    for n in 0..400 {
        let mut bytes = payload.clone();
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        // Half of them in the headers and tables at the end, where most fields have a meaning.
        let at = (seed >> 33) as usize % if n % 2 == 0 { bytes.len() } else { 2500.min(bytes.len()) };
        let at = if n % 2 == 0 { at } else { bytes.len() - 1 - at };
        bytes[at] = if n % 3 == 0 { 0xff } else { bytes[at] ^ 1 << (seed >> 20 & 7) };
        let bundle = p.bundle("broken", Scope::Live, &bytes);
        let said = s.ask(&format!("prepare {}", bundle.display()));
        match said.as_str() {
            "ok 1" => {
                prepared += 1;
                assert_eq!(s.ask("release broken"), "ok 0");
            }
            _ => {
                assert!(said.starts_with("HP") && !said.starts_with("HP99"), "byte {at}: {said}");
                refused += 1;
            }
        }
    }
    assert!(refused > 20 && prepared > 20, "{refused} refused, {prepared} prepared");
    assert_eq!(s.ask("sum"), before);
    check_old(&mut s);
    assert!(s.ask_many("maps").is_empty());
    assert_eq!(s.end(), "");
}
