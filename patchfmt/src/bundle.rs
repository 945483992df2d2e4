//! Reading a bundle. [`Bundle::parse`] checks bounds only; the content is reached through [`Bundle::verify`], which believes nothing
//! before a trusted signature has been checked, or through [`Bundle::unverified`], which is for tools that only show.

use crate::codes::{self, Code};
use crate::error::FormatError;
use crate::key::PublicKey;
use crate::metadata::{Metadata, Module};
use crate::sshsig::{SshSig, signed_block};
use crate::wire::*;
use core::ops::Deref;
use sha2::{Digest, Sha256};
use zerocopy::FromBytes;

/// A bundle whose fixed structure is sound: all offsets and sizes are inside the file, without gap or overlap.
#[derive(Clone, Copy, Debug)]
pub struct Bundle<'a> {
    bytes: &'a [u8],
    header: &'a Header,
    entries: &'a [SectionEntry],
    signatures: Signatures<'a>,
}

/// What is in a section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SectionKind {
    /// An ELF ET_REL object.
    Payload = 1,
    /// UTF-8 JSON for reviewers.
    Report = 2,
}

/// How a section is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    Stored = 0,
    /// Raw DEFLATE (RFC 1951).
    Deflate = 1,
}

/// One section of a bundle.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    pub index: u16,
    pub kind: SectionKind,
    pub codec: Codec,
    /// File offset of `stored`.
    pub offset: u32,
    /// The bytes in the file.
    pub stored: &'a [u8],
    /// Bytes after decoding.
    pub size: u32,
    /// Of the stored bytes.
    pub sha256: &'a [u8; 32],
}

/// How many different trusted keys must have signed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// 0 counts as 1.
    pub threshold: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Policy { threshold: 1 }
    }
}

impl<'a> Bundle<'a> {
    /// Checks the fixed structure. Nothing is decoded, hashed or believed yet.
    ///
    /// # Errors
    /// HP0701 to HP0715, one for each way to be malformed.
    pub fn parse(bytes: &'a [u8]) -> Result<Bundle<'a>, FormatError> {
        let err = |code, at| Err(FormatError::new(code, at));
        if bytes.len() > MAX_BUNDLE {
            return err(codes::BUNDLE_TOO_LARGE, MAX_BUNDLE);
        }
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            return err(codes::BAD_MAGIC, 0);
        }
        let Ok((header, rest)) = Header::ref_from_prefix(bytes) else {
            return err(codes::TRUNCATED, bytes.len());
        };
        let (version, min_reader) = (header.version.get(), header.min_reader.get());
        if min_reader == 0 || min_reader > VERSION || version < min_reader {
            return err(codes::BAD_VERSION, 8);
        }
        if header.reserved != 0 {
            return err(codes::BAD_RESERVED, 26);
        }
        let count = header.section_count.get();
        if count == 0 || count > MAX_SECTIONS {
            return err(codes::BAD_COUNT, 24);
        }
        let Ok((entries, _)) = <[SectionEntry]>::ref_from_prefix_with_elems(rest, usize::from(count)) else {
            return err(codes::TRUNCATED, bytes.len());
        };
        let [manifest, metadata, metadata_size, payload_end] =
            [header.manifest_size, header.metadata_offset, header.metadata_size, header.payload_end].map(|v| v.get());
        let table_end = (size_of::<Header>() + size_of_val(entries)) as u32;
        if metadata != table_end || metadata.checked_add(metadata_size) != Some(manifest) || manifest > MAX_MANIFEST {
            return err(codes::BAD_LAYOUT, 12);
        }
        if payload_end < manifest {
            return err(codes::BAD_LAYOUT, 28);
        }
        let Some((body, area)) = bytes.split_at_checked(payload_end as usize) else {
            return err(codes::TRUNCATED, bytes.len());
        };
        let mut end = manifest;
        for (n, entry) in entries.iter().enumerate() {
            let at = size_of::<Header>() + n * size_of::<SectionEntry>();
            let section = Section::new(n, entry, body).map_err(|code| FormatError::new(code, at))?;
            if section.offset != end {
                return err(codes::BAD_SECTION_PLACE, at);
            }
            end = section.offset + section.stored.len() as u32;
        }
        if end != payload_end {
            return err(codes::BAD_SECTION_PLACE, 28);
        }
        let signatures = Signatures::parse(area, body.len())?;
        Ok(Bundle { bytes, header, entries, signatures })
    }

    /// The bytes that are signed.
    #[must_use]
    pub fn manifest(&self) -> &'a [u8] {
        &self.bytes[..self.header.manifest_size.get() as usize]
    }
    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
    #[must_use]
    pub fn header(&self) -> &'a Header {
        self.header
    }
    /// The binary SSHSIG blobs, not checked.
    #[must_use]
    pub fn signatures(&self) -> Signatures<'a> {
        self.signatures
    }
    /// File offset of the signature area.
    #[must_use]
    pub fn payload_end(&self) -> usize {
        self.header.payload_end.get() as usize
    }

    /// Checks the signatures against trusted keys, then the digests, and only then reads the metadata.
    ///
    /// Signatures by keys that aren't trusted, or of kinds that aren't known, count for nothing; one that is malformed, was made for
    /// another purpose, or claims a trusted key and doesn't match, refuses the bundle. Each key counts once.
    ///
    /// # Errors
    /// HP0716, HP0720 to HP0758.
    pub fn verify(&self, keys: &[PublicKey], policy: Policy) -> Result<VerifiedBundle<'a>, FormatError> {
        if self.signatures.count == 0 {
            return Err(FormatError::new(codes::NOT_SIGNED, self.payload_end()));
        }
        let block = signed_block(self.manifest());
        let mut signers = Signers { keys: [None; MAX_SIGNATURES as usize] };
        for (at, blob) in self.signatures {
            let refused = |code| FormatError::new(code, at);
            let signature = SshSig::parse(blob).map_err(refused)?;
            let Some(key) = signature.key().filter(|k| keys.contains(k)) else { continue };
            signature.verify(&key, &block).map_err(refused)?;
            signers.add(key);
        }
        let found = signers.iter().count();
        if found == 0 {
            return Err(FormatError::new(codes::SIG_UNTRUSTED, self.payload_end()));
        }
        if found < usize::from(policy.threshold) {
            return Err(FormatError::new(codes::SIG_THRESHOLD, self.payload_end()));
        }
        Ok(VerifiedBundle { contents: Contents::read(self)?, signers })
    }

    /// The content without any trust: to show it, to sign it, to take it apart. Digests and metadata are checked all the same.
    ///
    /// # Errors
    /// HP0720, HP0730 to HP0741.
    pub fn unverified(&self) -> Result<Contents<'a>, FormatError> {
        Contents::read(self)
    }
}

impl<'a> Section<'a> {
    fn new(index: usize, entry: &'a SectionEntry, body: &'a [u8]) -> Result<Section<'a>, Code> {
        let kind = match entry.kind.get() {
            1 => SectionKind::Payload,
            2 => SectionKind::Report,
            _ => return Err(codes::BAD_SECTION_KIND),
        };
        let codec = match entry.codec.get() {
            0 => Codec::Stored,
            1 => Codec::Deflate,
            _ => return Err(codes::BAD_CODEC),
        };
        let (offset, stored, size) = (entry.offset.get(), entry.stored_size.get(), entry.size.get());
        let reachable = match codec {
            Codec::Stored => size == stored,
            Codec::Deflate => u64::from(size) <= u64::from(stored) * MAX_EXPANSION,
        };
        if size == 0 || size > MAX_SECTION || !reachable {
            return Err(codes::BAD_SECTION_SIZE);
        }
        let rest = body.get(offset as usize..).ok_or(codes::BAD_SECTION_PLACE)?;
        let stored = rest.get(..stored as usize).ok_or(codes::BAD_SECTION_PLACE)?;
        Ok(Section { index: index as u16, kind, codec, offset, stored, size, sha256: &entry.sha256 })
    }

    /// Decodes into a buffer of exactly [`Section::size`] bytes. Takes some 11 KB of stack.
    ///
    /// # Errors
    /// [`codes::BAD_DEFLATE`].
    pub fn decode_into(&self, out: &mut [u8]) -> Result<(), FormatError> {
        use miniz_oxide::inflate::{TINFLStatus, core};
        let bad = Err(FormatError::new(codes::BAD_DEFLATE, self.offset as usize));
        if out.len() != self.size as usize {
            return bad;
        }
        match self.codec {
            Codec::Stored => {
                out.copy_from_slice(self.stored);
                Ok(())
            }
            Codec::Deflate => {
                let flags = core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
                let (status, read, written) =
                    core::decompress(&mut core::DecompressorOxide::new(), self.stored, out, 0, flags);
                if status == TINFLStatus::Done && read == self.stored.len() && written == out.len() {
                    Ok(())
                } else {
                    bad
                }
            }
        }
    }

    /// The decoded bytes.
    ///
    /// # Errors
    /// [`codes::BAD_DEFLATE`].
    #[cfg(feature = "alloc")]
    pub fn decode(&self) -> Result<alloc::borrow::Cow<'a, [u8]>, FormatError> {
        if self.codec == Codec::Stored {
            return Ok(self.stored.into());
        }
        let mut out = alloc::vec![0; self.size as usize];
        self.decode_into(&mut out).map(|()| out.into())
    }
}

/// Metadata and sections.
#[derive(Clone, Copy, Debug)]
pub struct Contents<'a> {
    bundle: Bundle<'a>,
    metadata: Metadata<'a>,
}

impl<'a> Contents<'a> {
    fn read(bundle: &Bundle<'a>) -> Result<Contents<'a>, FormatError> {
        let header = bundle.header;
        let start = header.metadata_offset.get() as usize;
        for (n, entry) in bundle.entries.iter().enumerate() {
            let section = Section::new(n, entry, bundle.bytes).map_err(|code| FormatError::new(code, start))?;
            if Sha256::digest(section.stored)[..] != section.sha256[..] {
                return Err(FormatError::new(codes::DIGEST_MISMATCH, section.offset as usize));
            }
        }
        let metadata = Metadata::decode(&bundle.bytes[start..header.manifest_size.get() as usize], start)?;
        let contents = Contents { bundle: *bundle, metadata };
        let mut owned = 0u64;
        for module in metadata.modules.iter() {
            let bit = 1u64.checked_shl(module.payload.into()).unwrap_or(0);
            let fits = contents.section(module.payload).is_some_and(|s| s.kind == SectionKind::Payload);
            if !fits || owned & bit != 0 {
                return Err(FormatError::new(codes::METADATA_MODULE, start));
            }
            owned |= bit;
        }
        let payloads = contents.sections().filter(|s| s.kind == SectionKind::Payload);
        if payloads.count() != owned.count_ones() as usize {
            return Err(FormatError::new(codes::METADATA_MODULE, start));
        }
        Ok(contents)
    }

    #[must_use]
    pub fn bundle(&self) -> &Bundle<'a> {
        &self.bundle
    }
    #[must_use]
    pub fn metadata(&self) -> &Metadata<'a> {
        &self.metadata
    }
    pub fn sections(&self) -> impl Iterator<Item = Section<'a>> + use<'a> {
        let (entries, bytes) = (self.bundle.entries, self.bundle.bytes);
        entries.iter().enumerate().filter_map(move |(n, e)| Section::new(n, e, bytes).ok())
    }
    #[must_use]
    pub fn section(&self, index: u16) -> Option<Section<'a>> {
        let entry = self.bundle.entries.get(usize::from(index))?;
        Section::new(index.into(), entry, self.bundle.bytes).ok()
    }
    /// The payload object of a module of this bundle.
    ///
    /// # Errors
    /// [`codes::METADATA_MODULE`] for a module of another bundle.
    pub fn payload(&self, module: &Module<'_>) -> Result<Section<'a>, FormatError> {
        let at = self.bundle.header.metadata_offset.get() as usize;
        self.section(module.payload).ok_or(FormatError::new(codes::METADATA_MODULE, at))
    }
}

/// Proof that enough trusted keys have signed the content: only [`Bundle::verify`] makes it.
#[derive(Clone, Copy, Debug)]
pub struct VerifiedBundle<'a> {
    contents: Contents<'a>,
    signers: Signers,
}

impl<'a> VerifiedBundle<'a> {
    /// The trusted keys that signed, each once.
    pub fn signers(&self) -> impl Iterator<Item = PublicKey> + use<'_> {
        self.signers.iter()
    }
    #[must_use]
    pub fn contents(&self) -> &Contents<'a> {
        &self.contents
    }
}

impl<'a> Deref for VerifiedBundle<'a> {
    type Target = Contents<'a>;
    fn deref(&self) -> &Contents<'a> {
        &self.contents
    }
}

#[derive(Clone, Copy, Debug)]
struct Signers {
    keys: [Option<PublicKey>; MAX_SIGNATURES as usize],
}

impl Signers {
    fn iter(&self) -> impl Iterator<Item = PublicKey> + use<'_> {
        self.keys.iter().flatten().copied()
    }
    fn add(&mut self, key: PublicKey) {
        if self.iter().all(|k| k != key)
            && let Some(free) = self.keys.iter_mut().find(|k| k.is_none())
        {
            *free = Some(key);
        }
    }
}

/// The signature blobs with their file offsets.
#[derive(Clone, Copy, Debug)]
pub struct Signatures<'a> {
    rest: &'a [u8],
    /// File offset of `rest`.
    at: usize,
    count: u16,
}

impl<'a> Signatures<'a> {
    fn parse(area: &'a [u8], at: usize) -> Result<Signatures<'a>, FormatError> {
        if area.is_empty() {
            return Ok(Signatures { rest: area, at, count: 0 });
        }
        let Ok((header, rest)) = SignatureHeader::ref_from_prefix(area) else {
            return Err(FormatError::new(codes::BAD_SIGNATURE_AREA, at));
        };
        if header.magic != SIGNATURE_MAGIC || header.reserved != 0 {
            return Err(FormatError::new(codes::BAD_SIGNATURE_AREA, at));
        }
        let count = header.count.get();
        if count == 0 || count > MAX_SIGNATURES {
            return Err(FormatError::new(codes::BAD_SIGNATURE_COUNT, at + 4));
        }
        let all = Signatures { rest, at: at + size_of::<SignatureHeader>(), count };
        let mut left = all;
        for _ in 0..count {
            left.advance()?;
        }
        if left.rest.is_empty() { Ok(all) } else { Err(FormatError::new(codes::TRAILING_BYTES, left.at)) }
    }

    fn advance(&mut self) -> Result<(usize, &'a [u8]), FormatError> {
        let err = |code| FormatError::new(code, self.at);
        let (size, rest) = self.rest.split_first_chunk().ok_or(err(codes::BAD_SIGNATURE_AREA))?;
        let size = u32::from_le_bytes(*size);
        if size > MAX_SIGNATURE {
            return Err(err(codes::SIGNATURE_TOO_LONG));
        }
        let (blob, rest) = rest.split_at_checked(size as usize).ok_or(err(codes::BAD_SIGNATURE_AREA))?;
        let at = self.at + 4;
        *self = Signatures { rest, at: at + blob.len(), count: self.count.saturating_sub(1) };
        Ok((at, blob))
    }
}

impl<'a> Iterator for Signatures<'a> {
    /// File offset and bytes of the blob.
    type Item = (usize, &'a [u8]);
    fn next(&mut self) -> Option<Self::Item> {
        if self.count == 0 { None } else { self.advance().ok() }
    }
}
