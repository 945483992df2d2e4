//! Indirect functions (STT_GNU_IFUNC): their resolver ran when the process started and doesn't run again.

use super::{Context, Findings};
use crate::diag::Severity;
use crate::image::SymbolKind;
use patchfmt::codes;

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    for (_, new, _) in context.set.changed() {
        let function = &a.new.functions[new.index()];
        if function.names.iter().any(|&s| a.new_image.symbol(s).kind == SymbolKind::IFunc) {
            let message = format!("`{}` chooses an implementation when the program starts, and changed", function.name);
            findings.add(Severity::Refuse, codes::IFUNC_RESOLVER, &function.name, message);
        }
    }
}
