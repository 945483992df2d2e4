//! A small bundle around a real payload object.

use patchfmt::SectionKind;
use patchfmt::metadata::{Capabilities, ModuleKind, Scope};
use patchfmt::writer::{Metadata, Module, NewSection, write};
use patchgen::addr::{Svma, SvmaRange};
use patchgen::emit;
use patchgen::keep::Keep;
use patchgen::link::{
    Definition, EditRecord, FuncRecord, KeepRecord, Out, OutSection, OutSymbol, PatchImage, Reloc, RelocKind,
};

/// A patch of one function that calls an import and an old function.
pub fn payload() -> Vec<u8> {
    // push %rbx; call limit; call puts; pop %rbx; ret
    let text = b"\x53\xe8\0\0\0\0\xe8\0\0\0\0\x5b\xc3".to_vec();
    let reloc = |offset, symbol| Reloc { offset, kind: RelocKind::Plt32, symbol, addend: -4 };
    let mut image = PatchImage::default();
    image.sections.insert(
        Out::Text,
        OutSection { size: text.len() as u64, bytes: text, align: 16, relocs: vec![reloc(2, 1), reloc(7, 2)] },
    );
    image.sections.insert(Out::New, OutSection { bytes: vec![9; 4], size: 4, align: 4, relocs: vec![] });
    image.sections.insert(Out::Bss, OutSection { bytes: vec![], size: 12, align: 4, relocs: vec![] });
    let symbol = |name: &str, definition| OutSymbol { name: name.into(), definition };
    image.symbols = vec![
        symbol("serve", Definition::Code { offset: 0, size: 13 }),
        symbol("limit", Definition::Old(Svma(0x1200))),
        symbol(
            "puts",
            Definition::Import { name: "puts".into(), version: Some("GLIBC_2.2.5".into()), weak: false, own: None },
        ),
        symbol("table", Definition::Object { out: Out::New, offset: 0, size: 4 }),
        symbol("hits", Definition::Object { out: Out::Bss, offset: 4, size: 8 }),
    ];
    image.funcs = vec![FuncRecord {
        name: "serve".into(),
        entry: Svma(0x1000),
        site: Svma(0x1000),
        window: 16,
        symbol: Some(0),
        ranges: vec![SvmaRange::new(Svma(0x1000), 0x20)],
        return_sites: vec![Svma(0x1006), Svma(0x100b)],
        idle: false,
        main_like: false,
        preimage: [5; 16],
    }];
    image.edits =
        vec![EditRecord { name: "table".into(), at: Svma(0x2000), size: 4, symbol: 3, preimage: [6; 16], code: false }];
    let keep = |key, offset, stays| KeepRecord {
        name: "hits".into(),
        keep: Keep { key: [key; 16], shape: [8; 16], stays },
        size: 4,
        symbol: 4,
        offset,
    };
    image.keeps = vec![keep(1, 0, None), keep(2, 4, Some(String::new()))];
    image.return_sites = vec![6, 11];
    emit::payload(&image).unwrap()
}

pub fn bundle() -> Vec<u8> {
    let module = Module {
        name: "server".into(),
        old_build_id: vec![0xaa; 20],
        new_build_id: vec![0xbb; 20],
        payload: 0,
        kind: ModuleKind::Pie,
        functions_replaced: 1,
        functions_new: 0,
        edits: 1,
    };
    let metadata = Metadata {
        id: "fix-1".into(),
        scope: Scope::Live,
        machine: 62,
        loader_abi: 1,
        modules: vec![module],
        cves: vec!["CVE-2024-0001".into()],
        note: String::new(),
        accepted: vec![],
        start_reasons: vec![],
        capabilities: Capabilities::TEXT.with(Capabilities::CONSTANTS),
        sequence: 0,
        supersedes: vec![],
        tool: "patchgen test".into(),
    };
    let sections = [
        NewSection { kind: SectionKind::Payload, bytes: payload().into() },
        NewSection { kind: SectionKind::Report, bytes: b"{}"[..].into() },
    ];
    write(&metadata, &sections).unwrap()
}
