//! Which of two neighbours a computed address means: the end of the one, or the start of the other.

use super::Place;
use super::bind::Binder;
use crate::addr::{DataId, FuncId};
use crate::compare::text::held;
use crate::lift::{Access, CodeRef, DataKind, Function, Lifted, Target};

/// Whether the code refers to the object, other than to its end.
fn uses(lifted: &Lifted, function: &Function, object: DataId) -> bool {
    let size = lifted.data[object.index()].range.size();
    function
        .refs
        .iter()
        .any(|r| matches!(r.target, Target::Data { data, offset } if data == object && offset as u64 != size))
}

/// Whether the code may refer to the object's end, whichever reading is the right one.
pub(super) fn may_use_end(lifted: &Lifted, function: &Function, object: DataId) -> bool {
    let size = lifted.data[object.index()].range.size();
    let end = |data: DataId, offset: i64| data == object && u64::try_from(offset).is_ok_and(|o| o >= size);
    function.refs.iter().any(|r| {
        matches!(r.target, Target::Data { data, offset } if end(data, offset))
            || r.alternatives.iter().any(|&(data, offset)| end(data, offset))
    })
}

impl Binder<'_> {
    /// Whether a reference of a new function that is the start of one object or the end of `before` can only mean the start.
    ///
    /// A function that walks an array up to its end has its start or an element from somewhere, mostly from a reference of its own.
    /// Where there is none, the start is meant if the old version of the function used that object as well, and not the end of the
    /// array; or if the object is new, and nobody refers to it but such functions: somebody has to, or it wouldn't be there. Code that computes
    /// with the address of a text may have the array's start from its caller.
    pub(super) fn start_is_meant(&self, reference: &CodeRef, before: DataId, within: FuncId) -> bool {
        let (old, new) = (self.analysis.old, self.analysis.new);
        let Target::Data { data, offset } = reference.target else { return false };
        let function = &new.functions[within.index()];
        let walked = reference.indexed && new.data[data.index()].kind == DataKind::String;
        if offset != 0 || walked || uses(new, function, before) || self.counts_up(reference, before, within) {
            return false;
        }
        let earlier = self.old_func(within).map(|id| &old.functions[id.index()]);
        match (self.old_data(data), earlier) {
            (Some(object), Some(earlier)) => {
                uses(old, earlier, object)
                    && self.old_data(before).is_none_or(|array| !may_use_end(old, earlier, array))
            }
            (Some(_), None) => false,
            // An array may be walked back from its end: the function has no other address of it, nor had its old version. A constant without a
            // name that is new may be another one's successor, which lay there as well.
            (None, Some(earlier))
                if new.data[data.index()].kind == DataKind::Named
                    && self.old_data(before).is_some_and(|array| self.had_end(earlier, array)) =>
            {
                false
            }
            (None, _) => new
                .functions
                .iter()
                .filter(|f| f.refs.iter().any(|r| matches!(r.target, Target::Data { data: d, .. } if d == data)))
                .all(|f| !uses(new, f, before)),
        }
    }

    /// Whether the old function has the end of an array, be that a symbol of the linker's or the start of something else.
    fn had_end(&self, function: &Function, array: DataId) -> bool {
        let (old, image) = (self.analysis.old, self.analysis.old_image);
        let end = old.data[array.index()].range.end;
        function.refs.iter().any(|r| r.access == Access::Derived && held(image, function, r) == end)
    }

    /// Whether a reference that is the start of a text or the end of `before`, a text too, is the start: the code adds nothing to either address, so
    /// that it doesn't walk there itself, and the old version of the function refers to that text as often. The end of `before`, which somebody
    /// else would have to be given, would be one reference more.
    pub(super) fn is_as_often(&self, reference: &CodeRef, place: &Place, before: DataId, within: FuncId) -> bool {
        let (old, new) = (self.analysis.old, self.analysis.new);
        let (&Target::Data { data, offset: 0 }, &Place::Old(at)) = (&reference.target, place) else { return false };
        let (Some(earlier), Some(&object)) = (self.old_func(within), old.data_at.get(&at)) else { return false };
        if [data, before].iter().any(|id| new.data[id.index()].kind != DataKind::String) {
            return false;
        }
        // How often a function has the start; None where it may do more than hand it on.
        let starts = |f: &Function, text: DataId| {
            let mut all = f.refs.iter().filter(|r| matches!(r.target, Target::Data { data, .. } if data == text));
            let plain = |r: &CodeRef| {
                !r.indexed && r.access == Access::Derived && matches!(r.target, Target::Data { offset: 0, .. })
            };
            all.try_fold(0, |n, r| plain(r).then_some(n + 1))
        };
        let (earlier, function) = (&old.functions[earlier.index()], &new.functions[within.index()]);
        match (starts(earlier, object), starts(function, data), starts(function, before)) {
            (Some(was), Some(is), Some(_)) => was >= is,
            _ => false,
        }
    }
}
