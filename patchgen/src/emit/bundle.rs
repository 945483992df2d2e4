//! The unsigned bundle around the payloads.

use super::EmitError;
use crate::diag::{Finding, Severity};
use crate::image::{Image, ImageKind};
use crate::link::{Definition, Out, PatchImage};
use patchfmt::codes::Code;
use patchfmt::metadata::{Capabilities, ModuleKind, Scope};
use patchfmt::writer::{self, Metadata, Module, NewSection};
use patchfmt::{SectionKind, wire};

/// What the user says about a bundle.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    pub id: Option<String>,
    pub cves: Vec<String>,
    pub note: String,
    pub sequence: u64,
    pub supersedes: Vec<String>,
}

/// One module's part of a bundle.
#[derive(Debug)]
pub struct ModulePatch<'a> {
    pub old: &'a Image,
    pub new: &'a Image,
    pub patch: &'a PatchImage,
    pub payload: Vec<u8>,
}

fn name(image: &Image) -> String {
    let file = || image.path.file_name().map_or_else(|| "unnamed".to_owned(), |n| n.to_string_lossy().into_owned());
    image.soname.clone().unwrap_or_else(file)
}

fn kind(image: &Image) -> ModuleKind {
    match image.kind {
        ImageKind::Exec => ModuleKind::Fixed,
        ImageKind::Pie => ModuleKind::Pie,
        ImageKind::Shared => ModuleKind::Shared,
    }
}

/// New thread-local variables, which loaders from before ABI 2 have no storage for.
fn brings_threads(patch: &PatchImage) -> bool {
    patch.sections.contains_key(&Out::Tdata) || patch.sections.contains_key(&Out::Tbss)
}

/// The lowest loader ABI that knows all of it.
fn loader_abi(patch: &PatchImage) -> u32 {
    match patch {
        _ if patch.switches_stacks || !patch.states.is_empty() => 3,
        _ if brings_threads(patch) => 2,
        _ => 1,
    }
}

fn capabilities(patch: &PatchImage) -> Capabilities {
    let mut all = Capabilities::default();
    let mut have = |condition: bool, capability| {
        if condition {
            all = all.with(capability);
        }
    };
    have(!patch.funcs.is_empty(), Capabilities::TEXT);
    have(patch.edits.iter().any(|e| !e.code), Capabilities::CONSTANTS);
    have(patch.sections.contains_key(&Out::Data) || patch.sections.contains_key(&Out::Bss), Capabilities::NEW_DATA);
    let imports = patch.symbols.iter().any(|s| matches!(s.definition, Definition::Import { .. }));
    have(imports, Capabilities::IMPORTS);
    let threads = patch.symbols.iter().any(|s| matches!(s.definition, Definition::Word(_)));
    have(threads || brings_threads(patch), Capabilities::TLS);
    have(!patch.states.is_empty(), Capabilities::STATE);
    have(patch.switches_stacks, Capabilities::STACKS);
    all
}

/// A name that says which builds, when the user gave none: the same for the same builds.
fn default_id(modules: &[ModulePatch<'_>]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().take(4).map(|b| format!("{b:02x}")).collect::<String>();
    let first = modules.first().map(|m| {
        let clean: String = name(m.old)
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '-' })
            .collect();
        format!("{clean}-{}-{}", hex(&m.old.build_id), hex(&m.new.build_id))
    });
    first.unwrap_or_default().chars().take(wire::MAX_ID).collect()
}

fn labelled(findings: &[Finding], severity: Severity) -> Vec<writer::Finding> {
    let mut list: Vec<writer::Finding> = findings
        .iter()
        .filter(|f| f.severity == severity)
        .map(|f| writer::Finding { code: Code(f.code), symbol: f.symbol.clone() })
        .collect();
    list.sort();
    list.dedup();
    list
}

/// Builds the bundle. `findings` of severity `Review` are those that the user accepted.
///
/// # Errors
/// What doesn't fit the format.
pub fn bundle(
    modules: Vec<ModulePatch<'_>>,
    labels: &Labels,
    scope: Scope,
    findings: &[Finding],
    report: Option<&str>,
) -> Result<Vec<u8>, EmitError> {
    let metadata = Metadata {
        id: labels.id.clone().unwrap_or_else(|| default_id(&modules)),
        scope,
        machine: object::elf::EM_X86_64.0,
        loader_abi: modules.iter().map(|m| loader_abi(m.patch)).max().unwrap_or(1),
        modules: modules
            .iter()
            .enumerate()
            .map(|(index, m)| Module {
                name: name(m.old),
                old_build_id: m.old.build_id.clone(),
                new_build_id: m.new.build_id.clone(),
                payload: u16::try_from(index).unwrap_or(u16::MAX),
                kind: kind(m.old),
                functions_replaced: u32::try_from(m.patch.replaced()).unwrap_or(u32::MAX),
                functions_new: m.patch.new_functions,
                edits: u32::try_from(m.patch.edits.len()).unwrap_or(u32::MAX),
            })
            .collect(),
        cves: labels.cves.clone(),
        note: labels.note.clone(),
        accepted: labelled(findings, Severity::Review),
        start_reasons: labelled(findings, Severity::Start),
        capabilities: modules.iter().fold(Capabilities::default(), |c, m| c.with(capabilities(m.patch))),
        sequence: labels.sequence,
        supersedes: labels.supersedes.clone(),
        tool: concat!("patchgen ", env!("CARGO_PKG_VERSION")).to_owned(),
    };
    let payloads = modules.into_iter().map(|m| NewSection { kind: SectionKind::Payload, bytes: m.payload.into() });
    let report = report.map(|r| NewSection { kind: SectionKind::Report, bytes: r.as_bytes().into() });
    let sections: Vec<_> = payloads.chain(report).collect();
    writer::write(&metadata, &sections).map_err(|e| EmitError(format!("{e:?}")))
}
