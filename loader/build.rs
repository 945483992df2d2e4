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
        "-Wl,--no-eh-frame-hdr",
        "-Wl,--hash-style=gnu",
        "-Wl,--build-id=sha1",
        "-Wl,-soname,libhpatch_loader.so",
    ] {
        println!("cargo::rustc-cdylib-link-arg={arg}");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/link.ld");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-T,{script}");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link.ld");
}
