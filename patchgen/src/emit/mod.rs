//! Bytes: the payload object, read back with a second library, and the bundle around it.

mod bundle;
mod object_file;
mod read_back;

use crate::link::PatchImage;

pub use bundle::{Labels, ModulePatch, bundle};
pub use object_file::write;
pub use read_back::check;

/// Something that must not happen: what was written isn't what was meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct EmitError(pub String);

/// The payload object of one module, checked.
///
/// # Errors
/// When the file can't be written as ELF or reads back differently.
pub fn payload(image: &PatchImage) -> Result<Vec<u8>, EmitError> {
    let bytes = write(image).map_err(|e| EmitError(e.to_string()))?;
    check(image, &bytes)?;
    Ok(bytes)
}
