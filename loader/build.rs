//! How the preloaded library is linked: alone, with nothing of the C library and nothing left to resolve at load time.

fn main() {
    for arg in [
        "-nostartfiles",
        "-nostdlib",
        // No undefined symbol may be left: nothing but RELATIVE relocations, which `hpatch attach` can apply by hand.
        "-Wl,-z,defs",
        "-Wl,-Bsymbolic",
        "-Wl,-z,now",
        "-Wl,-z,relro",
        "-Wl,-z,noexecstack",
        "-Wl,--hash-style=gnu",
        "-Wl,--build-id=sha1",
        "-Wl,-soname,libhpatch_loader.so",
    ] {
        println!("cargo::rustc-cdylib-link-arg={arg}");
    }
    println!("cargo::rerun-if-changed=build.rs");
}
