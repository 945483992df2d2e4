//! 10xx: the loader verifies and maps.

codes! {
    LOADER_OPEN = 1001 Error "the bundle can't be opened in the target" {
        seen: "The file couldn't be opened, isn't a regular file, or couldn't be read whole.",
        why: "The loader reads it once into private memory and uses nothing else.",
        act: "Check path and permissions as the target's user sees them.",
    }
    LOADER_NO_TRUST = 1002 Error "the target trusts no key" {
        seen: "The loader found no usable public key in its trust directory.",
        why: "No key, no patch: this is never read as `accept all`.",
        act: "Set HPATCH_TRUST when the process is started, or fill the system's trust directory.",
    }
    TRUST_INSECURE = 1003 Error "the trust directory isn't safe" {
        seen: "The directory, a parent or a key file can be written by others.",
        why: "Whoever can add a key there can patch the process.",
        act: "Make it owned by root, or the target's user, and not writable by group or others.",
    }
    LOADER_ABI = 1004 Error "the bundle needs a newer loader" {
        seen: "The lowest loader ABI in the metadata is higher than this loader's.",
        why: "The bundle uses something that this loader doesn't do.",
        act: "Restart the target with the newer loader.",
    }
    WRONG_MACHINE_TARGET = 1005 Error "the bundle is for another machine" {
        seen: "The ELF machine in the metadata isn't the target's.",
        why: "Its code can't run here.",
        act: "Build the bundle from images of this machine.",
    }
    SCOPE_START = 1006 Refuse "the bundle may only be applied at start" {
        seen: "Its scope is `start`, and the process is running; or constructors ran before the loader could look; or it is to be reverted.",
        why: "Objects or state are alive that the new code would misread.",
        act: "Put it in the store and restart, or rewrite the file on disk.",
    }
    POLICY_REFUSES = 1007 Error "the policy forbids this bundle" {
        seen: "A capability, accepted finding, sequence or supersedes rule isn't allowed.",
        why: "The target's policy has the last word.",
        act: "Change the policy or the bundle; `inspect` shows what it asks for.",
    }
    MAP_FAILED = 1008 Error "memory for the patch can't be mapped" {
        seen: "mmap or mprotect failed.",
        why: "Nothing was changed.",
        act: "Check memory limits and security policies (execmem) of the target.",
    }
    PAYLOAD_REFUSED = 1009 Error "the loader can't link this payload" {
        seen: "A section, symbol or table in the payload isn't what the format says.",
        why: "The payload was written wrongly; nothing was changed.",
        act: "Build the bundle again; report it if it stays.",
    }
    OUT_OF_MEMORY = 1010 Error "the loader ran out of memory" {
        seen: "The loader's arena couldn't grow.",
        why: "Nothing was changed.",
        act: "Check memory limits of the target.",
    }
    SUPERSEDED = 1011 Refuse "a newer bundle is live" {
        seen: "A live bundle supersedes this one, or has a higher sequence number for the same module.",
        why: "An old fix put on top of a newer one may bring an old fault back.",
        act: "Revert the newer bundle first if the older one is really wanted.",
    }
}
