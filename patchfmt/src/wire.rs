//! The fixed part of a bundle: header and section table. All little-endian; see `docs/format.md`.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// First bytes of a bundle. The non-ASCII first byte and the line end show a transfer that changed text.
pub const MAGIC: [u8; 8] = *b"\x89HPATCH\n";
/// Format version that this crate writes and reads.
pub const VERSION: u16 = 1;
/// First bytes of the signature area.
pub const SIGNATURE_MAGIC: [u8; 4] = *b"HPSG";
/// SSHSIG namespace of a bundle's signatures.
pub const NAMESPACE: &str = "hpatch-bundle-v1";

/// Limits, in bytes unless named otherwise.
pub const MAX_BUNDLE: usize = 64 << 20;
/// Header, section table and metadata.
pub const MAX_MANIFEST: u32 = 4 << 20;
pub const MAX_SECTIONS: u16 = 64;
pub const MAX_SECTION: u32 = 256 << 20;
/// DEFLATE makes at most 258 bytes from 2 bits: no stream expands further, so no size beyond it's believed.
pub const MAX_EXPANSION: u64 = 1032;
pub const MAX_SIGNATURES: u16 = 16;
pub const MAX_SIGNATURE: u32 = 1024;
pub const MAX_MODULES: usize = 16;
pub const MAX_ID: usize = 128;

/// The first 32 bytes.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct Header {
    pub magic: [u8; 8],
    pub version: U16,
    pub min_reader: U16,
    pub manifest_size: U32,
    pub metadata_offset: U32,
    pub metadata_size: U32,
    pub section_count: U16,
    pub reserved: U16,
    pub payload_end: U32,
}

/// One entry of the section table.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct SectionEntry {
    pub kind: U16,
    pub codec: U16,
    pub offset: U32,
    pub stored_size: U32,
    pub size: U32,
    pub sha256: [u8; 32],
}

/// In front of the signatures.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy, Debug)]
#[repr(C)]
pub struct SignatureHeader {
    pub magic: [u8; 4],
    pub count: U16,
    pub reserved: U16,
}

const _: () = assert!(size_of::<Header>() == 32);
const _: () = assert!(size_of::<SectionEntry>() == 48);
const _: () = assert!(size_of::<SignatureHeader>() == 8);
