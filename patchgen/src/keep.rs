//! New variables as other bundles for the same module know them. A bundle that takes another one's place has a place of its own for each of the
//! variables that both bring; their values go along, where nobody but functions that give way can have the address of the former place.

use crate::addr::DataId;
use crate::check::Calls;
use crate::dwarf::{DebugInfo, Variable};
use crate::image::{ImageError, SectionKind};
use crate::include::{Analysis, PatchSet};
use crate::migrate;
use crate::types;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// First half of a SHA-256.
pub type Half = [u8; 16];

/// Which variable it is, what its bytes mean, and why its value can't go along, in words.
#[derive(Clone, Debug)]
pub struct Keep {
    pub key: Half,
    pub shape: Half,
    pub stays: Option<String>,
}

fn half(text: &str) -> Half {
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(text)[..16]);
    half
}

/// Variables at fixed places that only the new build has.
pub fn fresh<'v>(analysis: Analysis<'_>, variables: &'v [Variable]) -> impl Iterator<Item = &'v Variable> {
    let is_new = move |v: &&Variable| {
        let id = analysis.new.data_at.get(&v.svma).filter(|_| !v.tls);
        id.is_some_and(|id| analysis.pairs.data_to_old[id.index()].is_none())
    };
    variables.iter().filter(is_new)
}

/// The bytes that a variable has in the file, up to the last that isn't zero.
fn first_value(analysis: Analysis<'_>, id: DataId) -> String {
    let range = analysis.new.data[id.index()].range;
    let bytes = analysis.new_image.bytes(range.start, range.size()).unwrap_or_default();
    let end = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    bytes[..end].iter().map(|b| format!("{b:02x}")).collect()
}

/// The variables that the patch brings. `fresh`: see there.
///
/// # Errors
/// When debug information is damaged.
pub fn keeps(
    analysis: Analysis<'_>,
    set: &PatchSet,
    debug: Option<&DebugInfo<'_>>,
    fresh: &[Variable],
) -> Result<BTreeMap<DataId, Keep>, ImageError> {
    let datum = |id: DataId| &analysis.new.data[id.index()];
    let writable = |id: &DataId| {
        matches!(datum(*id).section, SectionKind::Data | SectionKind::Bss | SectionKind::Tdata | SectionKind::Tbss)
    };
    let is_new = |id: &DataId| analysis.pairs.data_to_old[id.index()].is_none() && datum(*id).range.size() > 0;
    let brought: Vec<DataId> = set.data.iter().copied().filter(|id| writable(id) && is_new(id)).collect();
    if brought.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut described: BTreeMap<DataId, Vec<&Variable>> = BTreeMap::new();
    for variable in fresh {
        if let Some(&id) = analysis.new.data_at.get(&variable.svma) {
            described.entry(id).or_default().push(variable);
        }
    }
    let mut strays = migrate::strays(analysis, set, &brought, debug, &Calls::of(analysis.new_image, analysis.new))?;
    let mut out = BTreeMap::new();
    for &id in &brought {
        let known = described.get(&id).map_or(&[][..], Vec::as_slice);
        let mut keep = match (known, debug) {
            (&[variable], Some(info)) => {
                let unit = if variable.external { "" } else { info.unit_name(variable.unit) };
                let name = variable.linkage_name.as_ref().filter(|_| variable.external).unwrap_or(&variable.name);
                let linkage = variable.external && variable.linkage_name.is_some();
                let scope = if linkage { String::new() } else { variable.scope.join("::") };
                let meanings = types::meanings(info, [(variable.unit, variable.svma)].into_iter())?;
                let meaning = meanings.get(&variable.svma);
                Keep {
                    key: half(&format!("variable\0{unit}\0{scope}\0{name}")),
                    shape: meaning.map_or([0; 16], |m| half(&format!("{m}\0{}", first_value(analysis, id)))),
                    stays: meaning.is_none().then(|| "what its bytes mean isn't known".to_owned()),
                }
            }
            _ => Keep {
                key: half(&format!("symbol\0{}", datum(id).name)),
                shape: [0; 16],
                stays: Some("no unit, or several, say what it is".to_owned()),
            },
        };
        let exported = datum(id).names.iter().any(|&s| analysis.new_image.symbol(s).exported);
        keep.stays = keep.stays.or_else(|| exported.then(|| "other modules may use it".to_owned()));
        keep.stays = keep.stays.or_else(|| strays.remove(&id));
        out.insert(id, keep);
    }
    // Blocks of one function may have a variable of that name each.
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<Half> = out.values().map(|k| k.key).filter(|key| !seen.insert(*key)).collect();
    for keep in out.values_mut().filter(|k| twice.contains(&k.key)) {
        keep.stays = Some("there are several of that name in that scope".to_owned());
    }
    Ok(out)
}
