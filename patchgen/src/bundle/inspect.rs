//! Everything that a bundle says about itself, as a value that is printed as text or JSON. Nothing here says that it's trusted.

use super::Failure;
use super::object::Object;
use patchfmt::codes;
use patchfmt::metadata::{Finding, List, ModuleKind};
use patchfmt::payload::{BIND_IMPORT, BIND_OLD};
use patchfmt::sshsig::{SshSig, signed_block};
use patchfmt::{Bundle, Contents, Fingerprint, SectionKind};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// `hpatch.inspect/1`. Addresses and digests are hexadecimal texts, sizes are bytes.
#[derive(Debug, Serialize)]
pub struct Inspection {
    pub schema: &'static str,
    pub size: usize,
    pub sha256: String,
    pub manifest_size: usize,
    pub manifest_sha256: String,
    pub format_version: u16,
    #[serde(flatten)]
    pub metadata: MetadataReport,
    pub modules: Vec<ModuleReport>,
    pub sections: Vec<SectionReport>,
    pub signatures: Vec<SignatureReport>,
}

/// What the metadata say apart from the modules.
#[derive(Debug, Serialize)]
pub struct MetadataReport {
    pub id: String,
    pub scope: &'static str,
    pub start_reasons: Vec<FindingReport>,
    pub machine: u16,
    pub loader_abi: u32,
    pub capabilities: Vec<&'static str>,
    pub sequence: u64,
    pub supersedes: Vec<String>,
    pub cves: Vec<String>,
    pub note: String,
    pub accepted: Vec<FindingReport>,
    pub tool: String,
}

#[derive(Debug, Serialize)]
pub struct FindingReport {
    pub code: String,
    pub title: &'static str,
    pub symbol: String,
}

#[derive(Debug, Serialize)]
pub struct SectionReport {
    pub index: u16,
    pub kind: &'static str,
    pub codec: &'static str,
    pub offset: u32,
    pub stored_size: usize,
    pub size: u32,
    pub sha256: String,
}

#[derive(Debug, Serialize)]
pub struct SignatureReport {
    pub key_type: String,
    pub fingerprint: String,
    /// It verifies with the key that it names. Whether that key is trusted is another question.
    pub matches: bool,
    /// `HP` code when it doesn't.
    pub code: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct ModuleReport {
    pub name: String,
    pub kind: &'static str,
    pub old_build_id: String,
    pub new_build_id: String,
    /// Index in the section table.
    pub payload: u16,
    pub functions_replaced: u32,
    /// Functions that stay where they are, with operands edited.
    pub functions_edited: usize,
    /// Functions that stay as they are, and must not be active in the stop.
    pub functions_idle: usize,
    pub functions_new: u32,
    pub functions: Vec<FunctionReport>,
    pub imports: Vec<ImportReport>,
    pub old_symbols: Vec<OldSymbolReport>,
    pub edits: Vec<EditReport>,
    pub states: Vec<StateReport>,
    pub variables: Vec<VariableReport>,
    pub guards: Vec<GuardReport>,
    pub object_sections: Vec<ObjectSectionReport>,
    pub relocations: usize,
}

#[derive(Debug, Serialize)]
pub struct FunctionReport {
    pub name: String,
    pub entry: String,
    /// Where the detour is written.
    pub site: String,
    pub window: u32,
    pub old_size: u64,
    pub old_parts: usize,
    pub new_size: u64,
    pub main_like: bool,
    /// Edited in place: no detour, no new body.
    pub edited: bool,
    /// Stays as it is, and must not be active when the bundle is applied or reverted.
    pub idle: bool,
}

#[derive(Debug, Serialize)]
pub struct ImportReport {
    pub name: String,
    pub version: Option<String>,
    pub weak: bool,
}

#[derive(Debug, Serialize)]
pub struct OldSymbolReport {
    pub name: String,
    pub svma: String,
}

#[derive(Debug, Serialize)]
pub struct EditReport {
    pub name: String,
    pub svma: String,
    pub size: u32,
    pub code: bool,
}

#[derive(Debug, Serialize)]
pub struct StateReport {
    pub name: String,
    pub svma: String,
    pub size: u32,
    /// The live bytes move to the payload; else they are overwritten.
    pub moved: bool,
}

/// A variable that the bundle brings.
#[derive(Debug, Serialize)]
pub struct VariableReport {
    pub name: String,
    pub size: u32,
    /// Its value goes to the same variable of a bundle that takes this one's place; else it begins anew there.
    pub goes_along: bool,
}

#[derive(Debug, Serialize)]
pub struct GuardReport {
    pub name: String,
    pub svma: String,
    pub size: u64,
}

#[derive(Debug, Serialize)]
pub struct ObjectSectionReport {
    pub name: String,
    pub size: u64,
    /// As `readelf -S` has them: A, W, X.
    pub flags: String,
}

/// Reads all of a bundle.
///
/// # Errors
/// HP07xx when any part of it is malformed. Signatures that don't match are reported, not refused.
pub fn inspect(name: &str, bytes: &[u8]) -> Result<Inspection, Failure> {
    let refused = |e| Failure::format(name, e);
    let bundle = Bundle::parse(bytes).map_err(refused)?;
    let contents = bundle.unverified().map_err(refused)?;
    let mut modules = Vec::new();
    for module in contents.metadata().modules.iter() {
        let payload = contents.payload(&module).and_then(|s| s.decode()).map_err(refused)?;
        let object = Object::read(&payload)
            .map_err(|code| Failure::new(code, name).detail(format_args!("payload of {}", module.name)))?;
        modules.push(module_report(&module, &object));
    }
    Ok(Inspection {
        schema: "hpatch.inspect/1",
        size: bytes.len(),
        sha256: hex(&Sha256::digest(bytes)),
        manifest_size: bundle.manifest().len(),
        manifest_sha256: hex(&Sha256::digest(bundle.manifest())),
        format_version: bundle.header().version.get(),
        metadata: metadata_report(&contents),
        modules,
        sections: contents.sections().map(|s| section_report(&s)).collect(),
        signatures: signatures(&bundle),
    })
}

fn metadata_report(contents: &Contents<'_>) -> MetadataReport {
    let m = contents.metadata();
    let texts = |list: List<'_, &str>| list.iter().map(str::to_owned).collect();
    MetadataReport {
        id: m.id.to_owned(),
        scope: m.scope.word(),
        start_reasons: findings(m.start_reasons),
        machine: m.machine,
        loader_abi: m.loader_abi,
        capabilities: m.capabilities.words().collect(),
        sequence: m.sequence,
        supersedes: texts(m.supersedes),
        cves: texts(m.cves),
        note: m.note.to_owned(),
        accepted: findings(m.accepted),
        tool: m.tool.to_owned(),
    }
}

fn findings(list: List<'_, Finding<'_>>) -> Vec<FindingReport> {
    let report = |f: Finding<'_>| FindingReport {
        code: f.code.to_string(),
        title: codes::title(f.code),
        symbol: f.symbol.to_owned(),
    };
    list.iter().map(report).collect()
}

fn section_report(s: &patchfmt::Section<'_>) -> SectionReport {
    SectionReport {
        index: s.index,
        kind: match s.kind {
            SectionKind::Payload => "payload",
            SectionKind::Report => "report",
        },
        codec: match s.codec {
            patchfmt::Codec::Stored => "stored",
            patchfmt::Codec::Deflate => "deflate",
        },
        offset: s.offset,
        stored_size: s.stored.len(),
        size: s.size,
        sha256: hex(s.sha256),
    }
}

fn signatures(bundle: &Bundle<'_>) -> Vec<SignatureReport> {
    let block = signed_block(bundle.manifest());
    let report = |(_, blob): (usize, &[u8])| match SshSig::parse(blob) {
        Ok(s) => {
            let verdict = s.key().ok_or(codes::KEY_TYPE).and_then(|k| s.verify(&k, &block));
            SignatureReport {
                key_type: String::from_utf8_lossy(s.kind).escape_debug().to_string(),
                fingerprint: Fingerprint::of_wire(s.key).to_string(),
                matches: verdict.is_ok(),
                code: verdict.err().map(|c| c.to_string()),
            }
        }
        Err(code) => SignatureReport {
            key_type: String::new(),
            fingerprint: String::new(),
            matches: false,
            code: Some(code.to_string()),
        },
    };
    bundle.signatures().map(report).collect()
}

fn module_report(module: &patchfmt::metadata::Module<'_>, object: &Object<'_>) -> ModuleReport {
    let shown = |s: &str| s.escape_debug().to_string();
    let symbol_name = |index: u32| object.symbol(index).map_or_else(String::new, |s| shown(s.name));
    let functions = object.funcs.iter().map(|f| {
        let parts = f.ranges(object.ranges).unwrap_or_default();
        let old_size = parts.iter().fold(0, |sum: u64, r| r.size.get().saturating_add(sum));
        FunctionReport {
            name: shown(object.name(f.name.get())),
            entry: address(f.entry.get()),
            site: address(f.site.get()),
            window: f.window.get(),
            old_size,
            old_parts: parts.len(),
            new_size: if f.replaced() { object.symbol(f.symbol.get()).map_or(0, |s| s.size) } else { old_size },
            main_like: f.main_like(),
            edited: f.edited(),
            idle: f.idle(),
        }
    });
    let imports = object.binds.iter().filter(|b| b.kind == BIND_IMPORT).map(|b| ImportReport {
        name: shown(object.name(b.name.get())),
        version: Some(shown(object.name(b.version.get()))).filter(|v| !v.is_empty()),
        weak: b.weak(),
    });
    let mut old_binds: Vec<_> = object.binds.iter().filter(|b| b.kind == BIND_OLD).collect();
    old_binds.sort_by_key(|b| b.value.get());
    let old_symbols =
        old_binds.iter().map(|b| OldSymbolReport { name: symbol_name(b.symbol.get()), svma: address(b.value.get()) });
    let edits = object.edits.iter().map(|e| EditReport {
        name: shown(object.name(e.name.get())),
        svma: address(e.svma.get()),
        size: e.size.get(),
        code: e.code(),
    });
    let states = object.states.iter().map(|s| StateReport {
        name: shown(object.name(s.name.get())),
        svma: address(s.svma.get()),
        size: s.size.get(),
        moved: s.moved(),
    });
    let variables = object.keeps.iter().map(|k| VariableReport {
        name: shown(object.name(k.name.get())),
        size: k.size.get(),
        goes_along: k.goes_along(),
    });
    let guards = object.guards.iter().map(|g| GuardReport {
        name: shown(object.name(g.name.get())),
        svma: address(g.svma.get()),
        size: g.size.get(),
    });
    let object_sections = object.sections.iter().filter(|s| s.size > 0).map(|s| {
        let flags = [(s.alloc, 'A'), (s.write, 'W'), (s.exec, 'X')];
        ObjectSectionReport {
            name: shown(s.name),
            size: s.size,
            flags: flags.into_iter().filter(|(on, _)| *on).map(|(_, c)| c).collect(),
        }
    });
    ModuleReport {
        name: module.name.to_owned(),
        kind: ModuleKind::word(module.kind),
        old_build_id: hex(module.old_build_id),
        new_build_id: hex(module.new_build_id),
        payload: module.payload,
        functions_replaced: module.functions_replaced,
        functions_edited: object.funcs.iter().filter(|f| f.edited()).count(),
        functions_idle: object.funcs.iter().filter(|f| f.idle()).count(),
        functions_new: module.functions_new,
        functions: functions.collect(),
        imports: imports.collect(),
        old_symbols: old_symbols.collect(),
        edits: edits.collect(),
        states: states.collect(),
        variables: variables.collect(),
        guards: guards.collect(),
        object_sections: object_sections.collect(),
        relocations: object.relocs.len(),
    }
}

fn address(svma: u64) -> String {
    format!("{svma:#x}")
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
        // Writing to a `String` can't fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}
