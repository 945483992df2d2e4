//! Data that stand beside each other in the new image and keep their distance in the patch, so that an address between them has one
//! meaning whichever of them it belongs to.

use super::Place;
use super::bind::{Binder, follows};
use crate::addr::DataId;
use crate::image::DynReloc;
use crate::lift::{CodeRef, Lifted, Target};
use std::collections::BTreeSet;

/// Longest run that is carried only for the sake of an address, in objects and in bytes each.
const MAX_RUN: usize = 32;
const MAX_OBJECT: u64 = 1 << 16;

/// The objects that data of the image point to.
pub(super) fn pointed_to(lifted: &Lifted) -> BTreeSet<DataId> {
    lifted.data.iter().flat_map(|d| d.refs.iter().chain(&d.ambiguous)).filter_map(|r| r.target.data()).collect()
}

impl Binder<'_> {
    /// Whether the place is one of a carried datum and stands in one carried run with `other`.
    pub(super) fn carried_together(&self, place: &Place, other: DataId) -> bool {
        let Place::Data { data, .. } = *place else { return false };
        self.run(data, other).is_some_and(|run| run.iter().all(|&id| self.is_carried(id)))
    }

    /// The carried data that must come along so that all readings of an address keep their distance.
    pub(super) fn companions(&self, reference: &CodeRef) -> Vec<DataId> {
        let Target::Data { data, .. } = reference.target else { return Vec::new() };
        let runs = reference.alternatives.iter().filter_map(|&(other, _)| self.run(data, other));
        runs.filter(|run| run.iter().all(|&id| self.is_carried(id))).flatten().collect()
    }

    /// Constants that would have to be carried too so that all readings of an address have one meaning. Empty where that can't be done.
    /// `held`: what data point to.
    pub(super) fn stragglers(&self, reference: &CodeRef, held: &BTreeSet<DataId>) -> Vec<DataId> {
        let Target::Data { data, .. } = reference.target else { return Vec::new() };
        let mut all = Vec::new();
        for &(other, _) in reference.alternatives.iter() {
            let Some(run) = self.run(data, other) else { return Vec::new() };
            all.extend(run);
        }
        let left: Vec<DataId> = all.into_iter().filter(|&id| !self.is_carried(id)).collect();
        if left.iter().all(|&id| self.is_movable(id, held)) { left } else { Vec::new() }
    }

    /// The data from one to the other, both included, if they follow each other.
    fn run(&self, a: DataId, b: DataId) -> Option<Vec<DataId>> {
        let new = self.analysis.new;
        let [x, y] = [a, b].map(|id| new.data[id.index()].range.start);
        let run: Vec<DataId> = new.data_at.range(x.min(y)..=x.max(y)).map(|(_, &id)| id).take(MAX_RUN + 1).collect();
        let together = run.len() <= MAX_RUN && run.windows(2).all(|w| follows(new, w[0], w[1]));
        (together && run.contains(&a) && run.contains(&b)).then_some(run)
    }

    fn is_carried(&self, id: DataId) -> bool {
        matches!(self.bind(&Target::Data { data: id, offset: 0 }, None, false), Ok(Place::Data { .. }))
    }

    /// Whether a copy of the datum does for all its readers: a literal, or a constant of this image alone to which only code refers; without
    /// addresses in it.
    fn is_movable(&self, id: DataId, held: &BTreeSet<DataId>) -> bool {
        let image = self.analysis.new_image;
        let datum = &self.analysis.new.data[id.index()];
        !datum.open
            && datum.is_plain_constant()
            && datum.range.size() <= MAX_OBJECT
            && !held.contains(&id)
            && !datum.names.iter().any(|&s| image.symbol(s).exported)
            && !matches!(image.dynamic.get(&datum.range.start), Some(DynReloc::Copy { .. }))
    }
}
