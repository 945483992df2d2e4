//! Exceptions in static programs: their unwinder asks the dynamic linker's functions, linked in, for the tables of a frame, and nothing can answer
//! for a payload in their place. The first exception through carried code would end the process. The same goes for a dynamic image with an unwinder
//! of its own (`-static-libgcc`), unless that asks the dynamic linker.

use super::{Context, Findings};
use crate::addr::FuncId;
use crate::diag::Severity;
use crate::image::Image;
use crate::lift::{Function, Lifted, Slot, Target};
use patchfmt::codes;

/// Where each language's exceptions come together (Itanium C++ ABI, Level I, 1.3).
const RAISE: &str = "_Unwind_RaiseException";

/// libgcc's search for a frame's tables. Sanitizers define functions of the other names, through which they call the real ones.
const SEARCH: &str = "_Unwind_Find_FDE";

/// What the loader answers in the dynamic linker's place, and where it tells libgcc of tables.
const ASKED: &str = "_dl_find_object";
const TOLD: &str = "__register_frame_info";

pub fn rule(context: Context<'_>, findings: &mut Findings) {
    let a = context.analysis;
    let place = if a.old_image.is_static() {
        (throws(a.old_image, a.old) || throws(a.new_image, a.new)).then_some("a static program")
    } else {
        unwinds_alone(a.old_image).then_some("an image with an old unwinder of its own")
    };
    let Some(place) = place else { return };
    for id in context.set.functions.keys() {
        let function = &a.new.functions[id.index()];
        // Without a call there is no frame that an exception could come through.
        if function.insns.iter().any(|i| i.is_call()) {
            let message =
                format!("`{}` makes calls in {place}, and an exception couldn't pass through it", function.name);
            findings.add(Severity::Refuse, codes::STATIC_EXCEPTIONS, &function.name, message);
        }
    }
}

/// Whether an unwinder is linked into a dynamic image that nobody can tell of new tables.
fn unwinds_alone(image: &Image) -> bool {
    let defines = |name: &str| image.symbols.iter().any(|s| s.name == name && s.section.is_some());
    let exports = |name: &str| image.symbols.iter().any(|s| s.name == name && s.exported);
    defines(SEARCH) && !exports(TOLD) && !image.imports.iter().any(|i| i.name == ASKED)
}

/// Whether code of the image raises exceptions, or nothing says whether it does.
fn throws(image: &Image, lifted: &Lifted) -> bool {
    let leads_there = |f: FuncId| lifted.functions[f.index()].names.iter().any(|&s| image.symbol(s).name == RAISE);
    let raises = |t: &Target| match t {
        Target::Func { func, .. } => leads_there(*func),
        Target::Slot(Slot::Address(t)) => matches!(**t, Target::Func { func, .. } if leads_there(func)),
        _ => false,
    };
    // The unwinder's own functions call each other in every program that has them.
    let own = |f: &Function| f.names.iter().any(|&s| image.symbol(s).name.starts_with("_Unwind_"));
    let nameless = lifted.functions.iter().all(|f| f.names.is_empty());
    nameless || lifted.functions.iter().any(|f| !own(f) && f.refs.iter().any(|r| raises(&r.target)))
}
