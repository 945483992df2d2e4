//! `hpatch attach`.

use std::path::Path;

use super::Report;
use crate::error::{Error, Exit, Result, code};
use crate::target::Target;
use crate::target::control::Control;

pub fn run(pid: i32, _trust: Option<&Path>, _allow_seccomp: bool) -> Result<Report> {
    let target = Target::open(pid)?;
    if Control::find(&target)?.is_some() {
        return Err(Error::new(
            code::ATTACH_FAILED,
            Exit::NothingChanged,
            format!("process {pid} carries a loader already"),
        ));
    }
    Err(Error::new(code::ATTACH_FAILED, Exit::Refused, "attaching isn't supported yet"))
}
