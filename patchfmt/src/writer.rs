//! Writing bundles. The same input gives the same bytes, and nothing is returned that the strict reader wouldn't accept.

use crate::bundle::{Bundle, Codec, Contents, SectionKind};
use crate::codes::{self, Code};
use crate::error::FormatError;
use crate::metadata::{self, Capabilities, ModuleKind, Scope, key};
use crate::sshsig::SshSig;
use crate::wire::*;
use alloc::borrow::{Cow, ToOwned};
use alloc::string::String;
use alloc::vec::Vec;
use minicbor::Encoder;
use sha2::{Digest, Sha256};
use zerocopy::IntoBytes;

/// [`metadata::Metadata`], owned. Empty and zero values that the format leaves out are left out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Metadata {
    pub id: String,
    pub scope: Scope,
    pub machine: u16,
    pub loader_abi: u32,
    pub modules: Vec<Module>,
    pub cves: Vec<String>,
    pub note: String,
    pub accepted: Vec<Finding>,
    pub start_reasons: Vec<Finding>,
    pub capabilities: Capabilities,
    pub sequence: u64,
    pub supersedes: Vec<String>,
    pub tool: String,
}

/// [`metadata::Module`], owned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Module {
    pub name: String,
    pub old_build_id: Vec<u8>,
    pub new_build_id: Vec<u8>,
    pub payload: u16,
    pub kind: ModuleKind,
    pub functions_replaced: u32,
    pub functions_new: u32,
    pub edits: u32,
}

/// [`metadata::Finding`], owned.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    pub code: Code,
    pub symbol: String,
}

/// A section to write. It's packed when that makes it smaller.
#[derive(Clone, Debug)]
pub struct NewSection<'a> {
    pub kind: SectionKind,
    pub bytes: Cow<'a, [u8]>,
}

/// Builds an unsigned bundle.
///
/// # Errors
/// [`codes::BOUNDS`] for more than the format can hold, else what [`Bundle::parse`] or [`Bundle::unverified`] say about the result.
pub fn write(metadata: &Metadata, sections: &[NewSection<'_>]) -> Result<Vec<u8>, FormatError> {
    let bounds = |_| FormatError::new(codes::BOUNDS, 0);
    let count = u16::try_from(sections.len()).map_err(bounds)?;
    let packed: Vec<(Codec, Cow<'_, [u8]>)> = sections.iter().map(|s| pack(&s.bytes)).collect();
    let encoded = encode(metadata)?;
    let metadata_offset = size_of::<Header>() + sections.len() * size_of::<SectionEntry>();
    let manifest_size = metadata_offset + encoded.len();
    let mut entries = Vec::with_capacity(sections.len());
    let mut offset = manifest_size;
    for (section, (codec, stored)) in sections.iter().zip(&packed) {
        entries.push(SectionEntry {
            kind: (section.kind as u16).into(),
            codec: (*codec as u16).into(),
            offset: u32::try_from(offset).map_err(bounds)?.into(),
            stored_size: u32::try_from(stored.len()).map_err(bounds)?.into(),
            size: u32::try_from(section.bytes.len()).map_err(bounds)?.into(),
            sha256: Sha256::digest(stored).into(),
        });
        offset += stored.len();
    }
    let header = Header {
        magic: MAGIC,
        version: VERSION.into(),
        min_reader: VERSION.into(),
        manifest_size: u32::try_from(manifest_size).map_err(bounds)?.into(),
        metadata_offset: u32::try_from(metadata_offset).map_err(bounds)?.into(),
        metadata_size: u32::try_from(encoded.len()).map_err(bounds)?.into(),
        section_count: count.into(),
        reserved: 0.into(),
        payload_end: u32::try_from(offset).map_err(bounds)?.into(),
    };
    let mut out = Vec::with_capacity(offset);
    out.extend_from_slice(header.as_bytes());
    out.extend_from_slice(entries.as_bytes());
    out.extend_from_slice(&encoded);
    for (_, stored) in &packed {
        out.extend_from_slice(stored);
    }
    let read = Bundle::parse(&out)?.unverified()?;
    if Metadata::from(read.metadata()) != *metadata || !same_sections(&read, sections)? {
        return Err(FormatError::new(codes::SELF_CHECK, 0));
    }
    Ok(out)
}

/// Metadata as they stand in a bundle.
///
/// # Errors
/// None in practice: writing to a buffer can't fail.
pub fn encode(metadata: &Metadata) -> Result<Vec<u8>, FormatError> {
    let mut out = Vec::new();
    encode_map(metadata, &mut Encoder::new(&mut out)).map_err(|_| FormatError::new(codes::INTERNAL, 0))?;
    Ok(out)
}

/// The bundle with one more signature at the end of its signature area. The manifest and the sections stay byte for byte.
///
/// # Errors
/// What [`SshSig::parse`] says; [`codes::SIG_DUPLICATE`] when that key has signed already; [`codes::KEY_TYPE`] for a kind of key that
/// no loader accepts; [`codes::SIG_INVALID`] when it isn't over this manifest; HP0713, HP0714 when there is no room.
pub fn add_signature(bundle: &[u8], blob: &[u8]) -> Result<Vec<u8>, FormatError> {
    let err = |code| FormatError::new(code, 0);
    let read = Bundle::parse(bundle)?;
    let signature = SshSig::parse(blob).map_err(err)?;
    let key = signature.key().ok_or(err(codes::KEY_TYPE))?;
    signature.verify(&key, &crate::sshsig::signed_block(read.manifest())).map_err(err)?;
    let others: Vec<&[u8]> = read.signatures().map(|(_, b)| b).collect();
    if others.iter().any(|b| SshSig::parse(b).is_ok_and(|s| s.key == signature.key)) {
        return Err(err(codes::SIG_DUPLICATE));
    }
    let count = u16::try_from(others.len() + 1).ok().filter(|n| *n <= MAX_SIGNATURES);
    let count = count.ok_or(err(codes::BAD_SIGNATURE_COUNT))?;
    let mut out = bundle[..read.payload_end()].to_owned();
    let header = SignatureHeader { magic: SIGNATURE_MAGIC, count: count.into(), reserved: 0.into() };
    out.extend_from_slice(header.as_bytes());
    for blob in others.into_iter().chain([blob]) {
        out.extend_from_slice(&(blob.len() as u32).to_le_bytes());
        out.extend_from_slice(blob);
    }
    Bundle::parse(&out)?;
    Ok(out)
}

fn pack(bytes: &[u8]) -> (Codec, Cow<'_, [u8]>) {
    let packed = miniz_oxide::deflate::compress_to_vec(bytes, 10);
    let expands = bytes.len() as u64 <= packed.len() as u64 * MAX_EXPANSION;
    if packed.len() < bytes.len() && expands { (Codec::Deflate, packed.into()) } else { (Codec::Stored, bytes.into()) }
}

fn same_sections(read: &Contents<'_>, sections: &[NewSection<'_>]) -> Result<bool, FormatError> {
    for (n, section) in sections.iter().enumerate() {
        let Some(found) = read.section(n as u16) else { return Ok(false) };
        if found.kind != section.kind || found.decode()? != section.bytes {
            return Ok(false);
        }
    }
    Ok(read.sections().count() == sections.len())
}

impl From<&metadata::Metadata<'_>> for Metadata {
    fn from(m: &metadata::Metadata<'_>) -> Metadata {
        let texts = |l: &metadata::List<'_, &str>| l.iter().map(str::to_owned).collect();
        let findings = |l: &metadata::List<'_, metadata::Finding<'_>>| {
            l.iter().map(|f| Finding { code: f.code, symbol: f.symbol.to_owned() }).collect()
        };
        let module = |m: metadata::Module<'_>| Module {
            name: m.name.to_owned(),
            old_build_id: m.old_build_id.to_owned(),
            new_build_id: m.new_build_id.to_owned(),
            payload: m.payload,
            kind: m.kind,
            functions_replaced: m.functions_replaced,
            functions_new: m.functions_new,
            edits: m.edits,
        };
        Metadata {
            id: m.id.to_owned(),
            scope: m.scope,
            machine: m.machine,
            loader_abi: m.loader_abi,
            modules: m.modules.iter().map(module).collect(),
            cves: texts(&m.cves),
            note: m.note.to_owned(),
            accepted: findings(&m.accepted),
            start_reasons: findings(&m.start_reasons),
            capabilities: m.capabilities,
            sequence: m.sequence,
            supersedes: texts(&m.supersedes),
            tool: m.tool.to_owned(),
        }
    }
}

type Written = Result<(), minicbor::encode::Error<core::convert::Infallible>>;
type Out<'a> = Encoder<&'a mut Vec<u8>>;

fn encode_map(m: &Metadata, e: &mut Out<'_>) -> Written {
    let optional = [
        !m.cves.is_empty(),
        !m.note.is_empty(),
        !m.accepted.is_empty(),
        !m.start_reasons.is_empty(),
        m.sequence != 0,
        !m.supersedes.is_empty(),
    ];
    e.map(7 + optional.iter().filter(|o| **o).count() as u64)?;
    e.u64(key::ID)?.str(&m.id)?;
    e.u64(key::SCOPE)?.u8(m.scope as u8)?;
    e.u64(key::MACHINE)?.u16(m.machine)?;
    e.u64(key::LOADER_ABI)?.u32(m.loader_abi)?;
    e.u64(key::MODULES)?.array(m.modules.len() as u64)?;
    m.modules.iter().try_for_each(|module| encode_module(module, e))?;
    texts(key::CVES, &m.cves, e)?;
    if !m.note.is_empty() {
        e.u64(key::NOTE)?.str(&m.note)?;
    }
    findings(key::ACCEPTED, &m.accepted, e)?;
    findings(key::START_REASONS, &m.start_reasons, e)?;
    e.u64(key::CAPABILITIES)?.u32(m.capabilities.0)?;
    if m.sequence != 0 {
        e.u64(key::SEQUENCE)?.u64(m.sequence)?;
    }
    texts(key::SUPERSEDES, &m.supersedes, e)?;
    e.u64(key::TOOL)?.str(&m.tool)?;
    Ok(())
}

fn encode_module(m: &Module, e: &mut Out<'_>) -> Written {
    e.map(8)?;
    e.u8(0)?.str(&m.name)?;
    e.u8(1)?.bytes(&m.old_build_id)?;
    e.u8(2)?.bytes(&m.new_build_id)?;
    e.u8(3)?.u16(m.payload)?;
    e.u8(4)?.u8(m.kind as u8)?;
    e.u8(5)?.u32(m.functions_replaced)?;
    e.u8(6)?.u32(m.functions_new)?;
    e.u8(7)?.u32(m.edits)?;
    Ok(())
}

fn texts(key: u64, list: &[String], e: &mut Out<'_>) -> Written {
    if !list.is_empty() {
        e.u64(key)?.array(list.len() as u64)?;
    }
    list.iter().try_for_each(|text| e.str(text).map(|_| ()))
}

fn findings(key: u64, list: &[Finding], e: &mut Out<'_>) -> Written {
    if !list.is_empty() {
        e.u64(key)?.array(list.len() as u64)?;
    }
    list.iter().try_for_each(|f| e.array(2)?.u16(f.code.0)?.str(&f.symbol).map(|_| ()))
}
