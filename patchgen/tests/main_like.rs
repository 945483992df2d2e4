//! What never leaves the stack: `main`, and what stands for it in languages whose `main` is made by the compiler.

mod support;

use serde_json::Value;
use std::process::Command;
use support::Bench;

const RUST: &str =
    "fn main() { let n = std::env::args().count(); println!(\"{}\", n * if cfg!(fixed) { 3 } else { 5 }); }";

#[test]
fn main_of_rust_is_for_the_start() {
    for level in ["0", "2"] {
        let bench = Bench::new();
        bench.write("m.rs", RUST);
        for (name, more) in [("old", ""), ("new", "--cfg fixed")] {
            let flags = format!("--edition 2021 -g -C opt-level={level} -C link-arg=-Wl,--build-id -A warnings");
            bench.run("rustc", &format!("{flags} {more} m.rs -o {name}"));
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_patchgen"));
        command.args(["build", "--json", "--old", "old", "--new", "new", "-o", "x.hpatch"]);
        let out = command.current_dir(bench.dir.path()).output().expect("patchgen runs");
        let report: Value = serde_json::from_slice(&out.stdout)
            .unwrap_or_else(|e| panic!("-O{level}: {e}: {}", String::from_utf8_lossy(&out.stderr)));
        assert_eq!(report["scope"], "start", "-O{level}: {}", report["findings"]);
        let found = report["findings"].as_array().is_some_and(|all| all.iter().any(|f| f["code"] == "HP0512"));
        assert!(found, "-O{level}: {}", report["findings"]);
    }
}
