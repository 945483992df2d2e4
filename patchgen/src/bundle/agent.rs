//! A client of ssh-agent (draft-ietf-sshm-ssh-agent): which keys it holds, and one signature.

use super::Failure;
use patchfmt::codes;
use patchfmt::ssh::{Fields, put_string};
use patchfmt::{PublicKey, sshsig};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
/// OpenSSH's own limit.
const MAX_MESSAGE: usize = 256 * 1024;
/// An agent may ask its user first (`ssh-add -c`).
const PATIENCE: Duration = Duration::from_secs(120);

/// Has the agent sign `manifest` with the private half of `key`; gives the binary SSHSIG.
///
/// # Errors
/// HP0023 or HP0024.
pub fn sign(key: &PublicKey, manifest: &[u8]) -> Result<Vec<u8>, Failure> {
    let path = std::env::var_os("SSH_AUTH_SOCK").filter(|p| !p.is_empty());
    let path = path.ok_or_else(|| Failure::new(codes::AGENT_UNREACHABLE, "SSH_AUTH_SOCK isn't set"))?;
    let name = path.to_string_lossy().into_owned();
    let unreachable = |e: std::io::Error| Failure::io(codes::AGENT_UNREACHABLE, &name, &e);
    let mut stream = UnixStream::connect(&path).map_err(unreachable)?;
    let timeouts = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.set_write_timeout(Some(PATIENCE)));
    timeouts.map_err(unreachable)?;
    let mut ask = |request: &[u8]| exchange(&mut stream, request).map_err(unreachable);

    let blob = key.to_wire();
    let refused = || Failure::new(codes::AGENT_REFUSED, key.fingerprint());
    if !identities(&ask(&[REQUEST_IDENTITIES])?).ok_or_else(refused)?.contains(&blob) {
        return Err(refused().detail("it doesn't hold this key"));
    }
    let mut request = vec![SIGN_REQUEST];
    put_string(&mut request, &blob);
    put_string(&mut request, &sshsig::signed_block(manifest));
    request.extend_from_slice(&[0; 4]);
    let value = signature(key, &ask(&request)?).ok_or_else(refused)?;
    Ok(sshsig::build(key, &value))
}

fn exchange(stream: &mut UnixStream, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut message = Vec::new();
    put_string(&mut message, request);
    stream.write_all(&message)?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = u32::from_be_bytes(size) as usize;
    if size == 0 || size > MAX_MESSAGE {
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "its answer has an impossible length"));
    }
    let mut answer = vec![0; size];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

/// Wire blobs of the keys in an answer.
fn identities(answer: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut f = Fields::new(answer.strip_prefix(&[IDENTITIES_ANSWER])?);
    let count = f.u32()?;
    let mut keys = Vec::new();
    for _ in 0..count {
        keys.push(f.string()?.to_vec());
        let _comment = f.string()?;
    }
    Some(keys)
}

/// The signature proper in an answer.
fn signature(key: &PublicKey, answer: &[u8]) -> Option<Vec<u8>> {
    let mut f = Fields::new(answer.strip_prefix(&[SIGN_RESPONSE])?);
    let mut f = Fields::new(f.string()?);
    let kind = f.string()?;
    let value = f.string()?;
    f.end()?;
    (kind == key.kind().as_bytes()).then(|| value.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_strictly() {
        let mut answer = vec![IDENTITIES_ANSWER, 0, 0, 0, 1];
        put_string(&mut answer, b"blob");
        assert_eq!(identities(&answer), None);
        put_string(&mut answer, b"comment");
        assert_eq!(identities(&answer), Some(vec![b"blob".to_vec()]));
        assert_eq!(identities(&[IDENTITIES_ANSWER, 255, 255, 255, 255]), None);
        assert_eq!(identities(&[5]), None);
        let key = PublicKey::Ed25519([1; 32]);
        assert_eq!(signature(&key, &[5]), None);
        let mut inner = Vec::new();
        put_string(&mut inner, b"ssh-rsa");
        put_string(&mut inner, b"value");
        let mut answer = vec![SIGN_RESPONSE];
        put_string(&mut answer, &inner);
        assert_eq!(signature(&key, &answer), None);
    }
}
