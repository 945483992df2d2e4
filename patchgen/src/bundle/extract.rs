//! Takes a bundle apart into files that the usual tools understand.

use super::object::Object;
use super::{Failure, armour, file, inspect};
use patchfmt::codes;
use patchfmt::{Bundle, SectionKind};
use std::path::{Path, PathBuf};

/// Writes the parts of a bundle into `directory`, which is made when it isn't there; existing files are never overwritten. Gives
/// their paths: `manifest` (what is signed), `metadata.json`, one `.o` a payload, one `.json` a report, one `.sig` a signature.
///
/// # Errors
/// HP07xx for a malformed bundle, before anything is written; HP0011.
pub fn extract(name: &str, bytes: &[u8], directory: &Path) -> Result<Vec<PathBuf>, Failure> {
    let refused = |e| Failure::format(name, e);
    let bundle = Bundle::parse(bytes).map_err(refused)?;
    let contents = bundle.unverified().map_err(refused)?;
    let report = inspect::inspect(name, bytes)?;
    let json = serde_json::to_vec_pretty(&report).map_err(|e| Failure::new(codes::INTERNAL, name).detail(e))?;
    let mut files = vec![("manifest".to_owned(), bundle.manifest().to_vec()), ("metadata.json".to_owned(), json)];
    for module in contents.metadata().modules.iter() {
        let payload = contents.payload(&module).and_then(|s| s.decode()).map_err(refused)?;
        Object::read(&payload).map_err(|code| Failure::new(code, name))?;
        files.push((format!("{}-{}.o", module.payload, plain(module.name)), payload.into_owned()));
    }
    for section in contents.sections().filter(|s| s.kind == SectionKind::Report) {
        files.push((format!("{}-report.json", section.index), section.decode().map_err(refused)?.into_owned()));
    }
    for (n, (_, blob)) in bundle.signatures().enumerate() {
        files.push((format!("signature-{n}.sig"), armour::encode(armour::SIGNATURE, blob).into_bytes()));
    }
    std::fs::create_dir_all(directory).map_err(|e| Failure::io(codes::WRITE_FAILED, directory.display(), &e))?;
    let mut paths = Vec::new();
    for (name, bytes) in files {
        let path = directory.join(name);
        file::create(&path, &bytes)?;
        paths.push(path);
    }
    Ok(paths)
}

/// A module name as part of a file name.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || "._+-".contains(c) { c } else { '_' }).collect()
}
