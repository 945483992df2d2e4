//! Pairs items of two lists by keys of falling strength. Knows nothing of functions or data.

use super::{Pair, Why};
use foldhash::fast::FixedState;
use std::collections::HashMap;
use std::hash::Hash;

#[derive(Debug)]
pub(super) struct Pairing<T> {
    pub to_new: Vec<Option<Pair<T>>>,
    pub to_old: Vec<Option<Pair<T>>>,
}

impl<T: Copy + From<usize>> Pairing<T> {
    pub fn new(old: usize, new: usize) -> Pairing<T> {
        Pairing { to_new: vec![None; old], to_old: vec![None; new] }
    }

    pub fn pair(&mut self, old: usize, new: usize, why: Why) {
        let p = Pair { old: old.into(), new: new.into(), why };
        self.to_new[old] = Some(p);
        self.to_old[new] = Some(p);
    }

    /// Items without a pair, grouped by key; each group in the lists' own order.
    pub fn groups<K: Hash + Eq + Ord>(
        &self,
        old_key: impl Fn(usize) -> Option<K>,
        new_key: impl Fn(usize) -> Option<K>,
    ) -> Vec<(K, Vec<usize>, Vec<usize>)> {
        let mut groups: HashMap<K, (Vec<usize>, Vec<usize>), FixedState> = HashMap::default();
        for i in (0..self.to_new.len()).filter(|&i| self.to_new[i].is_none()) {
            if let Some(k) = old_key(i) {
                groups.entry(k).or_default().0.push(i);
            }
        }
        for i in (0..self.to_old.len()).filter(|&i| self.to_old[i].is_none()) {
            if let Some(k) = new_key(i) {
                groups.entry(k).or_default().1.push(i);
            }
        }
        let mut out: Vec<_> = groups
            .into_iter()
            .filter(|(_, (o, n))| !o.is_empty() && !n.is_empty())
            .map(|(k, (o, n))| (k, o, n))
            .collect();
        out.sort();
        out
    }

    /// Pairs what has a key that nothing else has, on either side.
    pub fn unique<K: Hash + Eq + Ord>(
        &mut self,
        why: Why,
        old_key: impl Fn(usize) -> Option<K>,
        new_key: impl Fn(usize) -> Option<K>,
    ) {
        for (_, old, new) in self.groups(old_key, new_key) {
            if let (&[o], &[n]) = (old.as_slice(), new.as_slice()) {
                self.pair(o, n, why);
            }
        }
    }
}
