//! What reading code back must do with any program, not only those made here.

use super::Case;
use crate::self_diff;

pub(super) const CASES: &[Case] =
    &[Case { name: "installed programs equal themselves", hazards: "C1,C20,C21", run: self_diff::check_sample }];
