//! Motifs: patterns of letters, where they stand, and how often.

use std::collections::HashMap;

use crate::metrics::divergence::total_variation;

/// A pattern: the classes that each of its positions takes.
///
/// # Examples
/// ```
/// use pushforward::metrics::sequences::Motif;
/// // 0, then 1 or 2.
/// let motif = Motif::new(vec![vec![0], vec![1, 2]]);
/// assert_eq!(motif.places(&[0, 1, 0, 0, 2]).collect::<Vec<_>>(), [0, 3]);
/// assert_eq!(motif.positions(), [vec![0], vec![1, 2]]);
/// assert_eq!((motif.width(), motif.share(&[&[0, 2][..], &[2, 0]])), (2, 0.5));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Motif {
    positions: Vec<Vec<u32>>,
}

/// The run of positions where most occurrences of a motif begin.
///
/// # Examples
/// ```
/// use pushforward::metrics::sequences::{Motif, Place};
/// let motif = Motif::new(vec![vec![1]]);
/// let train = [&[0, 0, 1, 0, 0, 0][..], &[0, 0, 0, 1, 0, 0], &[1, 0, 1, 0, 0, 0]];
/// let place = Place::of(&motif, &train, 2);
/// assert_eq!((place.start, place.end), (2, 4));
/// assert_eq!(place.share(&motif, &[&[1, 0, 0, 0, 0, 0][..], &[0, 0, 1, 0, 0, 0]]), 0.5);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first position.
    pub start: usize,
    /// The position after the last.
    pub end: usize,
}

impl Motif {
    /// A motif of so many positions.
    ///
    /// # Panics
    /// If it has no positions.
    pub fn new(positions: Vec<Vec<u32>>) -> Self {
        assert!(!positions.is_empty(), "a motif has at least one position");
        Self { positions }
    }

    /// The classes that each position takes.
    pub fn positions(&self) -> &[Vec<u32>] {
        &self.positions
    }

    /// Number of its positions.
    pub fn width(&self) -> usize {
        self.positions.len()
    }

    /// Where it begins in a sequence.
    pub fn places<'a>(&'a self, sequence: &'a [u32]) -> impl Iterator<Item = usize> + 'a {
        let stands = |window: &[u32]| window.iter().zip(&self.positions).all(|(class, set)| set.contains(class));
        sequence.windows(self.width()).enumerate().filter(move |(_, window)| stands(window)).map(|(place, _)| place)
    }

    /// Share of the sequences that have it.
    pub fn share<S: AsRef<[u32]>>(&self, sequences: &[S]) -> f64 {
        let having = sequences.iter().filter(|s| self.places(s.as_ref()).next().is_some()).count();
        having as f64 / sequences.len() as f64
    }

    /// Share of all its occurrences that begin in each bin of `width` positions, over `bins` bins; `None` if there are none.
    fn positions_of<S: AsRef<[u32]>>(&self, sequences: &[S], bins: usize, width: usize) -> Option<Vec<f64>> {
        let mut counts = vec![0.0; bins];
        let places = sequences.iter().flat_map(|s| self.places(s.as_ref()).collect::<Vec<_>>());
        places.for_each(|place| counts[(place / width).min(bins - 1)] += 1.0);
        let total: f64 = counts.iter().sum();
        (total > 0.0).then(|| counts.into_iter().map(|count| count / total).collect())
    }

    /// Total variation between the positions of the motif in two sets, in bins of `width`; `None` if one has no occurrence.
    ///
    /// # Examples
    /// ```
    /// use pushforward::metrics::sequences::Motif;
    /// let motif = Motif::new(vec![vec![1]]);
    /// let (a, b) = ([&[1, 0, 0][..], &[0, 0, 1]], [&[1, 0, 0][..]]);
    /// assert_eq!((motif.position_tv(&a, &b, 1), motif.position_tv(&a, &[&[0][..]], 1)), (Some(0.5), None));
    /// ```
    pub fn position_tv<S: AsRef<[u32]>, R: AsRef<[u32]>>(
        &self,
        samples: &[S],
        reference: &[R],
        width: usize,
    ) -> Option<f64> {
        let longest = |n: usize, m: usize| n.max(m);
        let sites = samples.iter().map(|s| s.as_ref().len()).fold(0, longest);
        let sites = reference.iter().map(|s| s.as_ref().len()).fold(sites, longest);
        let bins = sites.div_ceil(width).max(1);
        Some(total_variation(&self.positions_of(samples, bins, width)?, &self.positions_of(reference, bins, width)?))
    }

    /// The k-mer whose positions are least even: of the largest sum of `n_b ln(n_b / e_b)` over bins of `width` positions,
    /// with `n_b` its number in a bin and `e_b` the number of its letters' share of that bin. `None` if there is no k-mer.
    ///
    /// # Examples
    /// ```
    /// use pushforward::metrics::sequences::Motif;
    /// use pushforward::rng::{Purpose, stream};
    /// let mut random = stream(0, Purpose::Metric, 0);
    /// let mut one = || {
    ///     let mut letters: Vec<u32> = (0..40).map(|_| random.below(4) as u32).collect();
    ///     letters[30..34].copy_from_slice(&[3, 0, 3, 0]);
    ///     letters
    /// };
    /// let sequences: Vec<Vec<u32>> = (0..100).map(|_| one()).collect();
    /// let (motif, letters) = Motif::least_even(&sequences, 4, 5).unwrap();
    /// assert_eq!((letters, motif.width()), (vec![3, 0, 3, 0], 4));
    /// ```
    pub fn least_even<S: AsRef<[u32]>>(sequences: &[S], k: usize, width: usize) -> Option<(Self, Vec<u32>)> {
        let longest = sequences.iter().map(|s| s.as_ref().len()).max()?;
        let bins = longest.div_ceil(width).max(1);
        let mut counts: HashMap<&[u32], Vec<u32>> = HashMap::new();
        let mut all = vec![0u64; bins];
        for sequence in sequences.iter().map(AsRef::as_ref) {
            for (place, kmer) in sequence.windows(k).enumerate() {
                counts.entry(kmer).or_insert_with(|| vec![0; bins])[place / width] += 1;
                all[place / width] += 1;
            }
        }
        let total: u64 = all.iter().sum();
        let uneven = |counts: &Vec<u32>| -> f64 {
            let n: u32 = counts.iter().sum();
            let term = |(&count, &all): (&u32, &u64)| {
                let expected = f64::from(n) * all as f64 / total as f64;
                if count == 0 { 0.0 } else { f64::from(count) * (f64::from(count) / expected).ln() }
            };
            counts.iter().zip(&all).map(term).sum()
        };
        let best = counts.iter().map(|(kmer, counts)| (uneven(counts), *kmer));
        let (_, kmer) = best.max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| b.1.cmp(a.1)))?;
        Some((Self::new(kmer.iter().map(|&class| vec![class]).collect()), kmer.to_vec()))
    }
}

impl Place {
    /// The run of `width` positions where most occurrences begin.
    pub fn of<S: AsRef<[u32]>>(motif: &Motif, sequences: &[S], width: usize) -> Self {
        let longest = sequences.iter().map(|s| s.as_ref().len()).max().unwrap_or(0);
        let mut counts = vec![0u64; longest.max(1)];
        for sequence in sequences {
            motif.places(sequence.as_ref()).for_each(|place| counts[place] += 1);
        }
        let width = width.clamp(1, counts.len());
        let sums = counts.windows(width).map(|window| window.iter().sum::<u64>());
        let start =
            sums.enumerate().max_by_key(|&(start, sum)| (sum, std::cmp::Reverse(start))).map_or(0, |(start, _)| start);
        Self { start, end: start + width }
    }

    /// Share of the sequences in which the motif begins there.
    pub fn share<S: AsRef<[u32]>>(self, motif: &Motif, sequences: &[S]) -> f64 {
        let here = |s: &&S| motif.places(s.as_ref()).any(|place| (self.start..self.end).contains(&place));
        sequences.iter().filter(here).count() as f64 / sequences.len() as f64
    }
}
