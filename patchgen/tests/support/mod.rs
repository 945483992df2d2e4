//! Builds small programs with the machine's compilers and linkers.

#![allow(dead_code, reason = "each test file uses a part of it")]

use patchgen::dwarf::{DebugData, DebugInfo};
use patchgen::image::Image;
use std::path::{Path, PathBuf};
use std::process::Command;

/// In front of sources that hold both builds: `PICK(old, new)`.
pub const HEAD: &str = "
#include <stdio.h>
#include <stdlib.h>
#ifdef NEW
#define PICK(old, ...) __VA_ARGS__
#else
#define PICK(old, ...) old
#endif
#define NOINLINE __attribute__((noinline, noclone))
";

/// A directory of its own with source files in it; gone with the value.
pub struct Bench {
    pub dir: tempfile::TempDir,
}

impl Bench {
    pub fn new() -> Bench {
        Bench { dir: tempfile::tempdir().expect("a temporary directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("source written");
        path
    }

    /// Runs a tool in the directory. Everything named here is in the list of tools that the tests need.
    pub fn run(&self, tool: &str, args: &str) {
        let out = Command::new(tool)
            .args(args.split_whitespace())
            .current_dir(self.dir.path())
            .output()
            .unwrap_or_else(|e| panic!("{tool}: {e}"));
        assert!(out.status.success(), "{tool} {args}:\n{}", String::from_utf8_lossy(&out.stderr));
    }

    pub fn load(&self, name: &str) -> Image {
        load(&self.path(name))
    }
}

pub fn load(path: &Path) -> Image {
    Image::load(path, None, &[]).unwrap_or_else(|e| panic!("{e}"))
}

/// Calls `f` with the DWARF of an image.
pub fn with_dwarf<T>(image: &Image, f: impl FnOnce(&DebugInfo<'_>) -> T) -> T {
    let data = DebugData::load(image, &[]).unwrap_or_else(|e| panic!("{e}"));
    let info = DebugInfo::open(image, &data).unwrap_or_else(|e| panic!("{e}"));
    f(&info)
}

/// A small program with one of each: thread-locals, static locals, pointer tables, imports, a COPY of an import.
pub const PROGRAM: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pair { int first; unsigned low : 3, high : 5; struct { char c; long l; } inner; };
enum colour { RED, GREEN = 5, BLUE };
union either { int i; double d; };
typedef struct { struct pair *next; enum colour colour; union either u; int (*call)(const char *, int); } holder_t;

__thread int shared_tls = 3;
static __thread long own_tls;
int counter = 4;
const char *names[] = {"a", "b", 0};
holder_t the_holder;
struct pair pairs[3];

__attribute__((noinline)) static int helper(int x)
{
    static int calls;
    own_tls += x;
    return x + calls++ + shared_tls;
}

__attribute__((noinline)) static int other(int x)
{
    static int calls = 7;
    return x * calls++;
}

int main(int argc, char **argv)
{
    printf("%d %s %ld\n", helper(argc), names[argc & 1], own_tls);
    pairs[argc % 3].first = other(argc);
    the_holder.next = pairs;
    return (int)strlen(argv[0]) + (stdout != 0) + (getenv("X") != 0);
}
"#;
