//! `patchgen inspect`

use super::{Outcome, print, print_json};
use crate::bundle::inspect::{FindingReport, Inspection, ModuleReport, inspect};
use crate::bundle::object::Object;
use crate::bundle::{Failure, disasm, file};
use patchfmt::{Bundle, ExitCode};
use std::fmt::Write;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bundle
    bundle: PathBuf,
    /// Show the payload's code with its relocations
    #[arg(long)]
    disasm: bool,
    /// Print as JSON (without disassembly)
    #[arg(long)]
    pub json: bool,
}

pub fn run(args: &Args) -> Outcome {
    let name = args.bundle.to_string_lossy();
    let bytes = file::read_bundle(&args.bundle)?;
    let found = inspect(&name, &bytes)?;
    if args.json {
        print_json(&found)?;
        return Ok(ExitCode::Done);
    }
    let mut out = String::new();
    // Writing to a `String` can't fail.
    let _ = describe(&name, &found, &mut out);
    if args.disasm {
        out.push_str(&disassembly(&name, &bytes)?);
    }
    print(out.as_bytes())?;
    Ok(ExitCode::Done)
}

fn disassembly(name: &str, bytes: &[u8]) -> Result<String, Failure> {
    let refused = |e| Failure::format(name, e);
    let contents = Bundle::parse(bytes).and_then(|b| b.unverified()).map_err(refused)?;
    let mut out = String::new();
    for module in contents.metadata().modules.iter() {
        let payload = contents.payload(&module).and_then(|s| s.decode()).map_err(refused)?;
        let object = Object::read(&payload).map_err(|code| Failure::new(code, name))?;
        out.push_str(&format!("\ncode for {}, ", module.name));
        out.push_str(&disasm::text(&object));
    }
    Ok(out)
}

fn describe(name: &str, i: &Inspection, out: &mut String) -> std::fmt::Result {
    let m = &i.metadata;
    writeln!(out, "{name}: {} bytes, format version {}", i.size, i.format_version)?;
    writeln!(out, "id            {}", m.id)?;
    writeln!(out, "scope         {}", m.scope)?;
    findings("because of", &m.start_reasons, out)?;
    writeln!(
        out,
        "changes       {}",
        if m.capabilities.is_empty() { "nothing".into() } else { m.capabilities.join(", ") }
    )?;
    for (label, values) in [("CVE", &m.cves), ("supersedes", &m.supersedes)] {
        if !values.is_empty() {
            writeln!(out, "{label:13} {}", values.join(", "))?;
        }
    }
    if m.sequence != 0 {
        writeln!(out, "sequence      {}", m.sequence)?;
    }
    for (n, line) in m.note.lines().enumerate() {
        writeln!(out, "{:13} {line}", if n == 0 { "note" } else { "" })?;
    }
    findings("accepted", &m.accepted, out)?;
    writeln!(out, "made by       {}", m.tool)?;
    writeln!(out, "loader ABI    {} or later, ELF machine {}", m.loader_abi, m.machine)?;
    writeln!(out, "manifest      {} bytes, sha256 {}", i.manifest_size, i.manifest_sha256)?;
    for s in &i.sections {
        writeln!(
            out,
            "section {:<5} {}, {} bytes, {} {} at {}",
            s.index, s.kind, s.size, s.codec, s.stored_size, s.offset
        )?;
    }
    for module in &i.modules {
        describe_module(module, out)?;
    }
    if i.signatures.is_empty() {
        writeln!(out, "\nnot signed")?;
    } else {
        writeln!(out, "\nsignatures (whether a key is trusted is for `verify` and the loader)")?;
    }
    for s in &i.signatures {
        let verdict = s.code.as_ref().map_or_else(|| "matches".to_owned(), |c| format!("{c}: doesn't match"));
        writeln!(out, "  {} {}  {verdict}", s.key_type, s.fingerprint)?;
    }
    Ok(())
}

fn findings(label: &str, list: &[FindingReport], out: &mut String) -> std::fmt::Result {
    list.iter().try_for_each(|f| writeln!(out, "{label:13} {} {}: {}", f.code, f.symbol, f.title))
}

fn describe_module(m: &ModuleReport, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\nmodule {} ({}), payload in section {}", m.name, m.kind, m.payload)?;
    writeln!(out, "  build-id    {} -> {}", m.old_build_id, m.new_build_id)?;
    let edited =
        if m.functions_edited > 0 { format!(", {} edited in place", m.functions_edited) } else { String::new() };
    let idle =
        if m.functions_idle > 0 { format!(", {} only idle in the stop", m.functions_idle) } else { String::new() };
    writeln!(out, "  functions   {} replaced, {} new{edited}{idle}", m.functions_replaced, m.functions_new)?;
    for f in &m.functions {
        let parts = if f.old_parts > 1 { format!(" in {} parts", f.old_parts) } else { String::new() };
        let main_like = if f.main_like { ", may never leave the stack" } else { "" };
        let sizes = match (f.edited, f.idle) {
            (true, _) => format!("{} bytes, edited in place", f.old_size),
            (_, true) => format!("{} bytes, stays, idle in the stop", f.old_size),
            _ => format!("{} -> {} bytes", f.old_size, f.new_size),
        };
        writeln!(out, "    {:<12} {} ({sizes}{parts}{main_like})", f.entry, f.name)?;
    }
    for e in &m.edits {
        writeln!(
            out,
            "  edit        {} {} ({} bytes of {})",
            e.svma,
            e.name,
            e.size,
            if e.code { "code" } else { "data" }
        )?;
    }
    for s in &m.states {
        let how = if s.moved { "moves with its value" } else { "loses its value" };
        writeln!(out, "  state       {} {} ({} bytes, {how})", s.svma, s.name, s.size)?;
    }
    for v in &m.variables {
        let how = if v.goes_along { "goes along" } else { "begins anew" };
        writeln!(out, "  variable    {} ({} bytes, {how} when the bundle is superseded)", v.name, v.size)?;
    }
    for i in &m.imports {
        let version = i.version.as_ref().map(|v| format!("@{v}")).unwrap_or_default();
        writeln!(out, "  import      {}{version}{}", i.name, if i.weak { " (weak)" } else { "" })?;
    }
    uses(m, out)?;
    for g in &m.guards {
        writeln!(out, "  relies on   {} {} ({} bytes)", g.svma, g.name, g.size)?;
    }
    for s in m.object_sections.iter().filter(|s| s.flags.contains('A')) {
        writeln!(out, "  carries     {} {} bytes {}", s.name, s.size, s.flags)?;
    }
    writeln!(out, "  relocations {}", m.relocations)
}

/// What the new code uses of the old image: names in order of address, the anonymous counted.
fn uses(m: &ModuleReport, out: &mut String) -> std::fmt::Result {
    const WIDTH: usize = 100;
    let (unnamed, named): (Vec<_>, Vec<_>) = m.old_symbols.iter().partition(|s| s.name.starts_with("old."));
    let mut line = String::new();
    for name in named.iter().map(|s| s.name.as_str()) {
        if !line.is_empty() && line.len() + name.len() > WIDTH {
            writeln!(out, "  uses        {line}")?;
            line.clear();
        }
        line.push_str(if line.is_empty() { "" } else { " " });
        line.push_str(name);
    }
    if !line.is_empty() {
        writeln!(out, "  uses        {line}")?;
    }
    if unnamed.is_empty() { Ok(()) } else { writeln!(out, "  uses        {} unnamed constants", unnamed.len()) }
}
