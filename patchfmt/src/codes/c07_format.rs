//! 07xx: the bundle's format and its signatures. One code for each way to be malformed.

codes! {
    TRUNCATED = 701 Error "the bundle is cut off" {
        seen: "The file ends before the header, the section table or the manifest does.",
        why: "An incomplete bundle can't be verified.",
        act: "Fetch the file again.",
    }
    BAD_MAGIC = 702 Error "not a bundle" {
        seen: "The file doesn't start with the magic of `.hpatch`.",
        why: "The magic also catches transfers that changed line ends.",
        act: "Check the path; transfer the file in binary mode.",
    }
    BAD_VERSION = 703 Error "the bundle needs a newer reader" {
        seen: "The format version, or the lowest reader version that the bundle asks for, isn't known here.",
        why: "Guessing at unknown fields could lose a restriction.",
        act: "Update patchgen and the loader.",
    }
    BAD_RESERVED = 704 Error "a reserved field isn't zero" {
        seen: "A field that this version defines as zero has a value.",
        why: "A later version may give it a meaning that must not be ignored.",
        act: "Update patchgen and the loader, or fetch the file again.",
    }
    BAD_COUNT = 705 Error "the number of sections is out of range" {
        seen: "The header names no section, or more than 64.",
        why: "Counts are bounded before anything is read by them.",
        act: "Fetch the file again.",
    }
    BAD_LAYOUT = 706 Error "the header's sizes contradict each other" {
        seen: "Metadata or manifest don't lie where the section count says, or reach beyond the file.",
        why: "Every derived field is checked, so that two readers can't read two things.",
        act: "Fetch the file again.",
    }
    BUNDLE_TOO_LARGE = 707 Error "the bundle is too large" {
        seen: "The file is larger than 64 MiB.",
        why: "The size is bounded before anything is read.",
        act: "Check the path.",
    }
    BAD_SECTION_KIND = 708 Error "a section is of an unknown kind" {
        seen: "A section is neither a payload object nor a report.",
        why: "An unknown section might be one that has to be obeyed.",
        act: "Update patchgen and the loader.",
    }
    BAD_CODEC = 709 Error "a section is packed in an unknown way" {
        seen: "The codec is neither 0 (stored) nor 1 (DEFLATE).",
        why: "Its content can't be had.",
        act: "Update patchgen and the loader.",
    }
    BAD_SECTION_PLACE = 710 Error "sections overlap or leave a gap" {
        seen: "A section doesn't begin where the one before it ends, or the last one doesn't end where the payload does.",
        why: "Bytes that belong to no section would be covered by no digest.",
        act: "Fetch the file again.",
    }
    BAD_SECTION_SIZE = 711 Error "a section's size is out of range" {
        seen: "A decoded size of more than 256 MiB, or a stored section whose two sizes differ.",
        why: "Sizes are bounded before memory is taken by them.",
        act: "Fetch the file again.",
    }
    BAD_SIGNATURE_AREA = 712 Error "the signature area is malformed" {
        seen: "Its magic or reserved field is wrong, or a signature reaches beyond the file.",
        why: "Signatures can't be told apart.",
        act: "Fetch the file again, or sign it again.",
    }
    BAD_SIGNATURE_COUNT = 713 Error "the number of signatures is out of range" {
        seen: "A signature area with none, or with more than 16.",
        why: "Each costs time to verify: the number is bounded.",
        act: "Remove signatures that nobody trusts.",
    }
    SIGNATURE_TOO_LONG = 714 Error "a signature is too long" {
        seen: "A signature takes more than 1024 bytes.",
        why: "Lengths are bounded before anything is read by them.",
        act: "Sign with Ed25519 or ECDSA P-256.",
    }
    TRAILING_BYTES = 715 Error "there are bytes behind the end" {
        seen: "The file goes on behind the last signature.",
        why: "They are covered by no digest and no signature.",
        act: "Fetch the file again.",
    }
    NOT_SIGNED = 716 Error "the bundle isn't signed" {
        seen: "There is no signature area.",
        why: "The loader applies nothing without a trusted signature.",
        act: "Sign it with `patchgen sign X.hpatch --key KEY`.",
    }
    DIGEST_MISMATCH = 720 Error "a section's content differs from its digest" {
        seen: "The SHA-256 of the section isn't the one in the signed manifest.",
        why: "The content was changed after it was signed, or was damaged.",
        act: "Fetch the file again.",
    }
    BAD_DEFLATE = 721 Error "a section can't be unpacked" {
        seen: "The DEFLATE stream is damaged, or its length isn't the one in the section table.",
        why: "Half a payload is no payload.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_TYPE = 730 Error "metadata of the wrong type" {
        seen: "A value in the metadata isn't of the type that its key asks for.",
        why: "Metadata are read strictly, so that every reader understands the same.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_NOT_SHORTEST = 731 Error "a number in the metadata isn't in its shortest form" {
        seen: "A CBOR head is longer than its value needs.",
        why: "Two encodings of one value could be read differently.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_ORDER = 732 Error "metadata keys aren't ascending" {
        seen: "A key comes twice, or after a greater one.",
        why: "Of two values for one key, two readers could take different ones.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_UNKNOWN_KEY = 733 Error "an unknown critical key in the metadata" {
        seen: "A key below 1000 that this version doesn't know.",
        why: "It may be a restriction that must not be ignored.",
        act: "Update patchgen and the loader.",
    }
    METADATA_LENGTH = 734 Error "the metadata don't end where they should" {
        seen: "An item reaches beyond the metadata, or bytes are left behind the map.",
        why: "Metadata are read strictly, so that every reader understands the same.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_MISSING = 735 Error "a required key is missing in the metadata" {
        seen: "Id, scope, machine, loader ABI, modules, capabilities or tool are absent.",
        why: "None of them has a safe default.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_TEXT = 736 Error "text in the metadata isn't UTF-8" {
        seen: "A text string has bytes that aren't UTF-8, or control characters.",
        why: "It would be printed to terminals and logs.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_ID = 737 Error "the bundle's id isn't a valid name" {
        seen: "The id is empty, longer than 128 bytes, or has characters other than `A-Z a-z 0-9 . _ + : -`.",
        why: "Ids are used in commands, logs and file names.",
        act: "Choose another with `--id`.",
    }
    METADATA_RANGE = 738 Error "a value in the metadata is out of range" {
        seen: "A number, length or count is beyond what its key allows.",
        why: "An unknown scope, capability or machine must not be taken for a known one.",
        act: "Update patchgen and the loader, or build the bundle again.",
    }
    METADATA_MODULE = 739 Error "a module doesn't fit its payload" {
        seen: "A module names a section that isn't a payload, two modules share one, or a payload has no module.",
        why: "Code would be mapped for a module that doesn't want it.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_INDEFINITE = 740 Error "metadata of indefinite length" {
        seen: "A CBOR item without a stated length.",
        why: "Only definite lengths are allowed, so that there is one encoding of everything.",
        act: "The bundle was written wrongly: build it again.",
    }
    METADATA_EMPTY = 741 Error "an empty value that has to be absent" {
        seen: "An optional key with an empty list, empty text or zero.",
        why: "There is one encoding of everything.",
        act: "The bundle was written wrongly: build it again.",
    }
    SIG_MALFORMED = 750 Error "a signature is malformed" {
        seen: "The blob isn't an SSHSIG of version 1: magic, version or a length is wrong, or bytes are left over.",
        why: "Signatures are read strictly.",
        act: "Make it with `patchgen sign` or `ssh-keygen -Y sign`.",
    }
    SIG_NAMESPACE = 751 Error "a signature was made for another purpose" {
        seen: "The namespace in the signature isn't `hpatch-bundle-v1`.",
        why: "A signature that somebody gave for a commit, a file or a login must not release a patch.",
        act: "Sign with `-n hpatch-bundle-v1`.",
    }
    SIG_RESERVED = 752 Error "the reserved field of a signature isn't empty" {
        seen: "SSHSIG's reserved string has content.",
        why: "A later version may give it a meaning that must not be ignored.",
        act: "Make it with `patchgen sign` or `ssh-keygen -Y sign`.",
    }
    SIG_HASH = 753 Error "a signature uses another hash" {
        seen: "The hash algorithm in the signature isn't `sha512`.",
        why: "One hash, so that there is nothing to downgrade.",
        act: "Sign with `-O hashalg=sha512`, which is ssh-keygen's default.",
    }
    SIG_ALGORITHM = 754 Error "the signature's algorithm isn't its key's" {
        seen: "Key type and signature type inside the signature differ.",
        why: "A signature of one kind must not be checked as another.",
        act: "Make it with `patchgen sign` or `ssh-keygen -Y sign`.",
    }
    SIG_INVALID = 756 Error "a signature by a trusted key doesn't match" {
        seen: "The signature names a trusted key, but doesn't verify over this manifest.",
        why: "The bundle was changed after it was signed, or the signature belongs to another bundle.",
        act: "Fetch the file again; if it stays, treat the source as hostile.",
    }
    SIG_UNTRUSTED = 757 Error "no signature is by a trusted key" {
        seen: "The bundle is signed, but by none of the keys in the trust directory.",
        why: "Anybody can sign; only trusted keys count.",
        act: "Compare the fingerprints that `patchgen inspect` prints with those of your signers.",
    }
    SIG_THRESHOLD = 758 Error "too few trusted signatures" {
        seen: "Fewer different trusted keys have signed than the policy asks for; one key counts once.",
        why: "A single stolen key must not be enough.",
        act: "Have another signer sign the bundle.",
    }
    SIG_DUPLICATE = 761 Error "that key has already signed" {
        seen: "A signature by the same key is attached already.",
        why: "It would count once in any case.",
        act: "Nothing.",
    }
    PAYLOAD_NOT_OBJECT = 770 Error "a payload isn't a relocatable ELF object" {
        seen: "The payload's ELF header isn't ET_REL for the bundle's machine, or a table in it is damaged.",
        why: "The loader links only what it can check.",
        act: "The bundle was written wrongly: build it again.",
    }
    RECORDS_SIZE = 771 Error "a table's size isn't a multiple of its records" {
        seen: "A `.hpatch.` section has a part of a record at its end.",
        why: "Tables are read as arrays of fixed-size records.",
        act: "The bundle was written wrongly: build it again.",
    }
    RECORD_INDEX = 772 Error "a record refers to something that isn't there" {
        seen: "A symbol, name, range or site index is beyond its table.",
        why: "Every index is checked before it's used.",
        act: "The bundle was written wrongly: build it again.",
    }
    RECORD_VALUE = 773 Error "a record has an invalid value" {
        seen: "A kind, flag, size or reserved field of a record isn't one that the format defines.",
        why: "What isn't defined isn't guessed.",
        act: "The bundle was written wrongly: build it again.",
    }
    RECORD_ORDER = 774 Error "records are out of order or overlap" {
        seen: "Records that have to ascend don't, or two of them cover the same bytes.",
        why: "Two writes to one place have no defined result.",
        act: "The bundle was written wrongly: build it again.",
    }
}
