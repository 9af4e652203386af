//! The training, validation and test part of a set whose items may be alike: those of one name are in one part.

use std::collections::HashMap;
use std::hash::Hash;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::rng::{Purpose, stream};

/// Files of the held-out parts, in the form of the training file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitFiles {
    /// Validation items. Default: some of the training file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<PathBuf>,
    /// Test items.
    pub test: PathBuf,
}

impl SplitFiles {
    /// The files with the names of their parts.
    pub(super) fn named(&self) -> Vec<(&'static str, &PathBuf)> {
        self.validation.iter().map(|path| ("validation", path)).chain([("test", &self.test)]).collect()
    }

    pub(super) fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        let validation = self.validation.iter_mut().map(|path| ("split.files.validation", path));
        validation.chain([("split.files.test", &mut self.test)]).collect()
    }
}

/// Indices of the members of each part.
pub(super) type Parts = [Vec<u32>; 3];

/// Parts of every item on its own: so many to train and to validate, the rest to test.
pub(super) fn by_items(count: usize, [train, validation]: [usize; 2], seed: u64) -> Parts {
    let order = shuffled(count, seed);
    let (first, second) = (train, train + validation);
    [order[..first].to_vec(), order[first..second].to_vec(), order[second..].to_vec()]
}

/// Parts of about as many items in which all items of one name are together; the order of the names is that of their
/// first items in the order of [`by_items`]. `None` if there are fewer than three names.
pub(super) fn by_names<K: Copy + Eq + Hash>(names: &[K], [train, validation]: [usize; 2], seed: u64) -> Option<Parts> {
    let mut groups: Vec<Vec<u32>> = Vec::new();
    let mut known: HashMap<K, usize> = HashMap::new();
    for item in shuffled(names.len(), seed) {
        let group = *known.entry(names[item as usize]).or_insert(groups.len());
        if group == groups.len() {
            groups.push(Vec::new());
        }
        groups[group].push(item);
    }
    if groups.len() < 3 {
        return None;
    }
    let mut parts = Parts::default();
    let mut left = groups.len();
    let mut groups = groups.into_iter().peekable();
    for (part, target) in [train, validation, usize::MAX].into_iter().enumerate() {
        let members = &mut parts[part];
        // Every part has a group; another one is taken if that brings the part nearer to its size.
        let fits = |here: usize, next: usize, left: usize| here == 0 || (here + next / 2 < target && left > 2 - part);
        while let Some(group) = groups.next_if(|next| fits(members.len(), next.len(), left)) {
            members.extend(group);
            left -= 1;
        }
    }
    Some(parts)
}

/// The parts that are given for each item; validation items are taken from the training part if there are none.
pub(super) fn given<K: Copy + Eq + Hash>(names: &[K], given: &[u8], validation: Option<usize>, seed: u64) -> Parts {
    let mut parts = Parts::default();
    given.iter().zip(0..).for_each(|(&part, item)| parts[usize::from(part)].push(item));
    if parts[1].is_empty() && parts[0].len() > 1 {
        let train = std::mem::take(&mut parts[0]);
        let names: Vec<K> = train.iter().map(|&item| names[item as usize]).collect();
        let wanted = validation.unwrap_or(train.len() / 20).clamp(1, train.len() - 1);
        // The third part of three is put back to training.
        let split = by_names(&names, [train.len() - wanted, wanted], seed);
        let [rest, held_out, third] =
            split.unwrap_or_else(|| by_items(train.len(), [train.len() - wanted, wanted], seed));
        let items = |places: Vec<u32>| places.into_iter().map(|place| train[place as usize]).collect::<Vec<u32>>();
        parts[0] = items([rest, third].concat());
        parts[1] = items(held_out);
        parts[0].sort_unstable();
    }
    parts
}

/// How many items repeat the name of an earlier one, and how many names stand in more than one part.
pub(super) fn copies<K: Copy + Eq + Hash>(names: &[K], parts: &Parts) -> (usize, usize) {
    let mut seen: HashMap<K, u8> = HashMap::new();
    for (part, bit) in parts.iter().zip([1, 2, 4]) {
        part.iter().for_each(|&item| *seen.entry(names[item as usize]).or_default() |= bit);
    }
    let several = seen.values().filter(|bits| bits.count_ones() > 1).count();
    (parts.iter().map(Vec::len).sum::<usize>() - seen.len(), several)
}

fn shuffled(count: usize, seed: u64) -> Vec<u32> {
    let mut order: Vec<u32> = (0..count as u32).collect();
    stream(seed, Purpose::Split, 0).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_copies_both_splits_are_the_same() {
        let names: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(by_names(&names, [90, 5], 3), Some(by_items(100, [90, 5], 3)));
    }

    #[test]
    fn copies_stay_together_and_parts_keep_about_their_sizes() {
        for copies_of_one in [1, 2, 10, 40] {
            let names: Vec<String> = (0..120).map(|i| (i / copies_of_one).to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            for seed in 0..20 {
                let parts = by_names(&names, [108, 6], seed).unwrap();
                assert_eq!(copies(&names, &parts), (120 - 120usize.div_ceil(copies_of_one), 0));
                assert_eq!(parts.iter().map(Vec::len).sum::<usize>(), 120);
                assert!(parts.iter().all(|part| !part.is_empty()), "{parts:?}");
                if copies_of_one <= 2 {
                    assert!(parts[0].len().abs_diff(108) <= 1 && parts[1].len().abs_diff(6) <= 1, "{parts:?}");
                }
            }
        }
        assert_eq!(by_names(&["a", "a", "b"], [1, 1], 0), None);
    }

    #[test]
    fn given_parts_are_kept_and_validation_is_taken_from_training() {
        let names = ["a", "b", "c", "d", "a", "e"];
        let parts = given(&names, &[0, 1, 2, 0, 2, 0], None, 0);
        assert_eq!(parts, [vec![0, 3, 5], vec![1], vec![2, 4]]);
        assert_eq!(copies(&names, &parts), (1, 1));
        let parts = given(&names, &[0, 0, 2, 0, 0, 0], None, 0);
        assert_eq!((parts[2].clone(), parts[0].len() + parts[1].len()), (vec![2], 5));
        assert!(!parts[1].is_empty() && copies(&names, &parts).1 == 0);
    }
}
