//! Clusters of similar sequences, without an alignment.
//!
//! ```text
//! share(a, b) = |kmers(a) and kmers(b)| / min(|kmers(a)|, |kmers(b)|)        over different k-mers
//! ```
//!
//! As in CD-HIT, sequences are taken from the longest to the shortest: one joins the first cluster of the largest share
//! with its longest sequence, if that is large enough, and begins a cluster of its own otherwise.
//!
//! Reference: Li and Godzik 2006 (Bioinformatics 22, 1658), without its filters.

use std::collections::HashMap;

use crate::data::sequences::config::Clusters;
use crate::data::sequences::set::Sequences;

/// The cluster of every sequence, from 0.
pub(super) fn clusters(set: &Sequences, settings: Clusters) -> Vec<u32> {
    let mut order: Vec<usize> = (0..set.len()).collect();
    let length = |item: usize| set.starts[item + 1] - set.starts[item];
    // Copies stand next to each other, so that the first of them to found or join a cluster decides for all.
    order.sort_by(|&a, &b| length(b).cmp(&length(a)).then_with(|| set.classes(a).cmp(set.classes(b))));
    let mut cluster = vec![0; set.len()];
    // The clusters whose first sequence has a k-mer, and how many different k-mers those sequences have.
    let mut having: HashMap<u64, Vec<u32>> = HashMap::new();
    let (mut firsts, mut shared): (Vec<usize>, Vec<u32>) = (Vec::new(), Vec::new());
    for item in order {
        let kmers = kmers(set.classes(item), settings.k);
        let mut touched: Vec<u32> = Vec::new();
        for &found in kmers.iter().filter_map(|kmer| having.get(kmer)).flatten() {
            if shared[found as usize] == 0 {
                touched.push(found);
            }
            shared[found as usize] += 1;
        }
        let share =
            |&found: &u32| f64::from(shared[found as usize]) / kmers.len().min(firsts[found as usize]).max(1) as f64;
        touched.sort_unstable();
        let best = touched.iter().copied().max_by(|a, b| share(a).total_cmp(&share(b)).then(b.cmp(a)));
        let joined = best.filter(|found| share(found) >= settings.share);
        touched.iter().for_each(|&found| shared[found as usize] = 0);
        cluster[item] = joined.unwrap_or_else(|| {
            let new = firsts.len() as u32;
            firsts.push(kmers.len());
            shared.push(0);
            kmers.iter().for_each(|&kmer| having.entry(kmer).or_default().push(new));
            new
        });
    }
    cluster
}

/// The different k-mers of a sequence, as hashes; the whole sequence if it is shorter.
fn kmers(classes: impl Iterator<Item = u32>, k: usize) -> Vec<u64> {
    let classes: Vec<u32> = classes.collect();
    // A polynomial in an odd number: a hash whose collisions are as rare as those of random numbers.
    let hash = |window: &[u32]| {
        let mixed = window
            .iter()
            .fold(0u64, |h, &c| h.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(c) + 1).rotate_left(23));
        mixed ^ (window.len() as u64)
    };
    let mut found: Vec<u64> = classes.windows(k.min(classes.len()).max(1)).map(hash).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::packed::Packed;
    use crate::rng::{Purpose, stream};

    #[test]
    fn mutants_join_their_origin_and_strangers_do_not() {
        let mut random = stream(0, Purpose::Synthesis, 0);
        let origins: Vec<Vec<u32>> = (0..4).map(|_| (0..120).map(|_| random.below(4) as u32).collect()).collect();
        let mut all = Vec::new();
        for i in 0..40 {
            let mut mutant = origins[i % 4].clone();
            (0..3).for_each(|_| mutant[random.below(120)] = random.below(4) as u32);
            mutant.truncate(120 - i / 4);
            all.push(mutant);
        }
        let mut starts = vec![0];
        all.iter().for_each(|one| starts.push(starts[starts.len() - 1] + one.len()));
        let mut ids = Packed::new(starts[40], 4);
        all.concat().into_iter().enumerate().for_each(|(place, class)| ids.set(place, class));
        let found = clusters(&Sequences { ids, starts }, Clusters { k: 6, share: 0.5 });
        for (a, b) in (0..40).flat_map(|a| (0..40).map(move |b| (a, b))) {
            assert_eq!(found[a] == found[b], a % 4 == b % 4, "{a} {b}");
        }
        assert_eq!(found.iter().max(), Some(&3));
    }
}
