//! 00xx: usage and files.

codes! {
    USAGE = 1 Error "the command line makes no sense" {
        seen: "An option is missing, unknown, or contradicts another.",
        why: "The command stops before it reads or writes anything.",
        act: "See `--help` of the command.",
    }
    NO_SUCH_CODE = 2 Error "no such diagnostic code" {
        seen: "`explain` was asked for a code that this version doesn't know.",
        why: "Codes are never reused: a code that isn't known comes from a newer version or is mistyped.",
        act: "Run `patchgen explain --list` for all codes of this version.",
    }
    READ_FAILED = 10 Error "a file can't be read" {
        seen: "Opening or reading a file failed; the message names the file and the system's reason.",
        why: "Without its content there is nothing to judge.",
        act: "Check the path and the permissions.",
    }
    WRITE_FAILED = 11 Error "a file can't be written" {
        seen: "Writing, syncing or renaming an output file failed.",
        why: "Outputs are written to a temporary file beside the target and renamed at the end, so the old file is unchanged.",
        act: "Check free space and permissions of the directory, then run the command again.",
    }
    NOT_REGULAR = 12 Error "not a regular file" {
        seen: "The path names a directory, a device, a pipe or a socket.",
        why: "The content of such a file can change between check and use.",
        act: "Copy the content to a regular file first.",
    }
    FILE_TOO_LARGE = 13 Error "the file is too large" {
        seen: "The file is larger than the limit for its kind.",
        why: "Limits are checked before anything is read, so that a hostile file can't exhaust memory.",
        act: "Check that the path names the file that you meant.",
    }
    OUTPUT_IS_INPUT = 14 Error "the output would overwrite an input" {
        seen: "Input and output name the same file.",
        why: "The original build is needed again for later patches and to check this one.",
        act: "Choose another output path.",
    }
    KEY_UNREADABLE = 20 Error "the key file isn't an OpenSSH key" {
        seen: "The file is neither an OpenSSH private key (`openssh-key-v1`) nor a one-line public key.",
        why: "Only OpenSSH's own formats are read: no PEM, PKCS#8 or certificate.",
        act: "Convert it with `ssh-keygen -p -f KEY`, or name the `.pub` file and let the agent sign.",
    }
    KEY_ENCRYPTED = 21 Error "the private key is protected by a passphrase" {
        seen: "The key file is encrypted.",
        why: "patchgen never asks for a passphrase: the agent does that better.",
        act: "Run `ssh-add KEY`, then sign with the public key: `patchgen sign X.hpatch --key KEY.pub`.",
    }
    KEY_TYPE = 22 Error "this kind of key can't sign a bundle" {
        seen: "The key is neither `ssh-ed25519` nor `ecdsa-sha2-nistp256`.",
        why: "The loader verifies these two only: RSA, DSA, other curves, certificates and security keys would all be code in the patched process.",
        act: "Make a key with `ssh-keygen -t ed25519` or `ssh-keygen -t ecdsa -b 256`.",
    }
    AGENT_UNREACHABLE = 23 Error "ssh-agent can't be reached" {
        seen: "SSH_AUTH_SOCK isn't set, the socket doesn't answer, or its answer isn't the agent protocol.",
        why: "A public key alone can't sign: its private half is with an agent.",
        act: "Start an agent and add the key with `ssh-add`, or name the private key file.",
    }
    AGENT_REFUSED = 24 Error "ssh-agent didn't sign" {
        seen: "The agent doesn't hold the key, is locked, or the user declined.",
        why: "Nothing was signed and the bundle is unchanged.",
        act: "See `ssh-add -L` for the keys that the agent holds.",
    }
    TRUST_EMPTY = 25 Error "the trust directory holds no usable key" {
        seen: "No file `*.pub` with a supported OpenSSH public key was found.",
        why: "Without a trusted key nothing can be trusted: this is never read as `accept all`.",
        act: "Copy the public keys of your signers into the directory, one key a line.",
    }
    PUBLIC_KEY_MALFORMED = 26 Error "a public key is malformed" {
        seen: "A line isn't `TYPE BASE64 [COMMENT]`, or the type in the base64 part differs from the first word.",
        why: "A trust directory with a broken key is more likely a mistake than a wish.",
        act: "Export the key again with `ssh-keygen -y -f KEY` or `ssh-add -L`.",
    }
    SIGNATURE_FILE = 27 Error "the file isn't an SSH signature" {
        seen: "There is no `-----BEGIN SSH SIGNATURE-----` armour with an intact base64 body.",
        why: "Only the output of `ssh-keygen -Y sign` can be attached.",
        act: "Make it with `ssh-keygen -Y sign -n hpatch-bundle-v1 -f KEY` of what `patchgen manifest X.hpatch` prints.",
    }
}
