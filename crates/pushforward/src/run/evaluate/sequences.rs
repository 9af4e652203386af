//! Metrics of sequences, beside baselines.
//!
//! k-mers, positions, and the share of G and C are compared with those of held-out sequences. How near a perfect model
//! could come is told by the *training data* in the place of samples. Lengths and motifs, which few held-out sequences tell
//! roughly, are compared with those of the training sequences, and so are *held-out data*. A *Markov chain* knows the
//! letters before, *position weights* know the position of a letter; a model should beat both.

use crate::data::sequences::{Alphabet, SequenceConfig, SequenceLayout};
use crate::data::{Dataset, Splits};
use crate::flow_map::sample::Samples;
use crate::metrics::divergence::total_variation;
use crate::metrics::kneser_ney::KneserNey;
use crate::metrics::ngram_kl::{DELTA, NgramCounts, ngram_kl};
use crate::metrics::report::Row;
use crate::metrics::sequences::{Markov, Motif, Place, nearest_identity, position_weights, positional_kmer_kl};
use crate::metrics::wasserstein::wasserstein;
use crate::metrics::{bits_per_dim, interval};
use crate::rng::{Purpose, stream};
use crate::run::evaluate::metrics::SampleMetrics;
use crate::run::held_out::{REFERENCE_ITEMS, items};

/// Longest k-mers that are compared.
const LONGEST: usize = 6;
/// Most k-mers that are possible of a length that is compared: with more, no held-out set is large enough.
const KMERS: usize = 20_000;
/// Most bins of positions.
const BINS: usize = 30;
/// Held-out sequences times positions of a bin, at least: with fewer, chance decides its composition.
const IN_A_BIN: usize = 1000;
/// Training sequences that are compared with.
const TRAIN: usize = 20_000;
/// Sequences whose nearest training sequence is looked for.
const NEAREST: usize = 500;
/// Steps of comparing sequences of different lengths, and the fewest training sequences that each is compared with.
const EDITS: usize = 20_000_000_000;
const FEWEST: usize = 100;
/// Orders of the Markov chains.
const ORDERS: [usize; 2] = [3, 5];

/// The sequences that samples are compared with.
pub(super) struct SequenceMetrics {
    layout: SequenceLayout,
    train: Vec<Vec<u32>>,
    test: Vec<Vec<u32>>,
    /// Width of the bins of positions.
    width: usize,
    /// The motif with its name and its place in the training sequences.
    motif: Option<(Motif, String, Place)>,
    name: String,
    sha256: String,
    ngram_order: usize,
}

impl SampleMetrics for SequenceMetrics {
    fn rows(&self, samples: &Samples, _: &[u32]) -> Vec<Row> {
        let sequences: Vec<&[u32]> = samples.items().map(|item| &item[..self.layout.length_of(item)]).collect();
        [self.against_test(&sequences), self.against_train(&sequences)].concat()
    }

    fn held_out(&self, n: usize) -> Vec<Row> {
        let of = |rows: Vec<Row>, sampler: &str, n: usize| {
            let named = move |row: Row| Row { sampler: Some(sampler.to_owned()), n: row.n.or(Some(n)), ..row };
            rows.into_iter().map(named).collect::<Vec<Row>>()
        };
        let mut rows = of(self.against_test(&self.train), "training data", self.train.len());
        rows.extend(of(self.against_train(&self.test), "held-out data", self.test.len()));
        let mut baseline = |name: &str, drawn: Vec<Vec<u32>>| {
            let all = [self.against_test(&drawn), self.against_train(&drawn)].concat();
            rows.extend(of(all, name, drawn.len()));
        };
        let classes = self.layout.letters().len();
        for order in ORDERS {
            let chain = Markov::train(&self.train, classes, order);
            let mut random = stream(0, Purpose::Metric, order as u64);
            let mut one = |_| {
                let length = self.train[random.below(self.train.len())].len();
                chain.draw(length, &mut random)
            };
            baseline(&format!("Markov order {order}"), (0..n).map(&mut one).collect());
        }
        baseline("position weights", position_weights(&self.train, classes, n, &mut stream(0, Purpose::Metric, 0)));
        rows.extend(self.kneser_ney());
        rows
    }
}

impl SequenceMetrics {
    pub(super) fn new(config: &SequenceConfig, layout: &SequenceLayout, splits: &Splits, ngram_order: usize) -> Self {
        let part = |set: &dyn Dataset, most: usize| -> Vec<Vec<u32>> {
            let ids = items(set, most);
            ids.chunks(layout.longest()).map(|item| item[..layout.length_of(item)].to_vec()).collect()
        };
        let train = part(splits.train.as_ref(), TRAIN);
        let test = part(splits.test.as_ref(), REFERENCE_ITEMS);
        let width = (layout.longest() / BINS).max(IN_A_BIN.div_ceil(test.len())).clamp(1, layout.longest());
        let classes = layout.letters().len();
        let named = config.motif.as_ref().map(|text| {
            let sets = text.chars().map(|letter| layout.classes_of(letter)).collect();
            (Motif::new(sets), text.clone())
        });
        // Of letters without a known meaning, no motif is looked for.
        let found = || {
            let meant = layout.alphabet != Alphabet::Found;
            let (motif, letters) = Motif::least_even(&train, orders(classes), width).filter(|_| meant)?;
            Some((motif, layout.decode(&letters)))
        };
        let motif = named.or_else(found).map(|(motif, name)| {
            let place = Place::of(&motif, &train, 2 * width);
            (motif, name, place)
        });
        let (name, sha256) = (splits.name.clone(), splits.sha256.clone());
        Self { layout: layout.clone(), train, test, width, motif, name, sha256, ngram_order }
    }

    /// What held-out sequences tell.
    fn against_test<S: AsRef<[u32]>>(&self, sequences: &[S]) -> Vec<Row> {
        let classes = self.layout.letters().len();
        let mut rows = Vec::new();
        for k in 1..=orders(classes) {
            let [ours, theirs] =
                [NgramCounts::count(sequences, classes, k), NgramCounts::count(&self.test, classes, k)];
            if ours.total() > 0 && theirs.total() > 0 {
                let row = Row::new(&format!("kmer_kl_{k}"), "nats", ngram_kl(&ours, &theirs, DELTA));
                rows.push(row.estimator("add-0.01"));
            }
        }
        for k in [1, 3].into_iter().filter(|&k| k <= orders(classes)) {
            if let Some(value) = positional_kmer_kl(sequences, &self.test, classes, k, self.width) {
                let row = Row::new(&format!("positional_kmer_kl_{k}"), "nats", value);
                rows.push(row.estimator(&format!("add-0.01, bins of {}", self.width)));
            }
        }
        if matches!(self.layout.alphabet, Alphabet::Dna | Alphabet::Rna) {
            let distance = wasserstein(&self.gc(sequences), &self.gc(&self.test));
            rows.push(Row::new("gc_wasserstein", "fraction", distance));
        }
        let reference = format!("{}/test", self.name);
        rows.into_iter().map(|row| row.reference(&reference, &self.sha256)).collect()
    }

    /// What training sequences tell.
    fn against_train<S: AsRef<[u32]> + Sync>(&self, sequences: &[S]) -> Vec<Row> {
        let mut rows = Vec::new();
        if self.layout.varies() {
            let total: u64 = self.layout.lengths.iter().sum();
            let law: Vec<f64> = self.layout.lengths.iter().map(|&count| count as f64 / total as f64).collect();
            let mut found = vec![0.0; law.len()];
            sequences.iter().for_each(|s| found[s.as_ref().len()] += 1.0 / sequences.len() as f64);
            rows.push(Row::new("length_tv", "fraction", total_variation(&found, &law)));
        }
        if let Some((motif, name, place)) = &self.motif {
            let named = |row: Row| row.estimator(name);
            rows.push(named(Row::new("motif_rate", "fraction", motif.share(sequences))));
            let there = format!("{name} at {} to {}", place.start + 1, place.end);
            rows.push(Row::new("motif_in_place", "fraction", place.share(motif, sequences)).estimator(&there));
            rows.extend(
                motif
                    .position_tv(sequences, &self.train, self.width)
                    .map(|value| named(Row::new("motif_position_tv", "fraction", value))),
            );
        }
        let some: Vec<&[u32]> = spread(sequences, NEAREST).map(AsRef::as_ref).collect();
        // Edits of long sequences take as many steps as both have letters, so that fewer are compared.
        let longest = self.layout.longest().max(1);
        let near = if self.layout.varies() { (EDITS / (NEAREST * longest * longest)).max(FEWEST) } else { TRAIN };
        let others: Vec<&Vec<u32>> = spread(&self.train, near).collect();
        let nearest = nearest_identity(&some, &others);
        let n = sequences.len();
        let copies = nearest.iter().filter(|&&share| share >= 1.0).count();
        let mut all: Vec<&[u32]> = sequences.iter().map(AsRef::as_ref).collect();
        all.sort_unstable();
        all.dedup();
        let of = format!("nearest of {} training sequences", others.len());
        rows.push(Row::estimate("nearest_identity", "fraction", interval::mean(&nearest)).estimator(&of));
        let new = interval::fraction(some.len() - copies, some.len());
        rows.push(Row::estimate("novelty", "fraction", new).estimator(&of));
        rows.push(Row::estimate("uniqueness", "fraction", interval::fraction(all.len(), n)));
        let reference = format!("{}/train", self.name);
        rows.into_iter().map(|row| row.reference(&reference, &self.sha256)).collect()
    }

    /// Bits a letter of held-out sequences under an n-gram model of the training sequences, lengths included.
    fn kneser_ney(&self) -> Option<Row> {
        let classes = self.layout.letters().len();
        // One more symbol stands before the first letter and after the last.
        let end = classes as u32;
        let text: Vec<u32> = self.train.iter().flat_map(|s| s.iter().copied().chain([end])).collect();
        let name = format!("{}/train", self.name);
        let model = KneserNey::train(&name, &text, classes + 1, self.ngram_order).ok()?;
        let nats = |sequence: &Vec<u32>| -> f64 {
            let mut line = vec![end];
            line.extend(sequence);
            // Where all sequences are of one length, it is known where they end.
            line.extend(self.layout.varies().then_some(end));
            (1..line.len()).map(|place| -model.probability(&line[..place], line[place]).ln()).sum()
        };
        let nats: Vec<f64> = self.test.iter().map(nats).collect();
        let lengths: Vec<f64> = self.test.iter().map(|s| s.len() as f64).collect();
        let rate = interval::ratio_of_sums(&nats, &lengths).map(bits_per_dim::bits);
        let row = Row::estimate("bits_per_letter", "bits/letter", rate).scorer(&model.name(), model.sha256());
        let row = row.estimator("exact").reference(&format!("{}/test", self.name), &self.sha256);
        Some(Row { sampler: Some(format!("Kneser-Ney {}", self.ngram_order)), ..row })
    }

    /// The share of G and C of every sequence.
    fn gc<S: AsRef<[u32]>>(&self, sequences: &[S]) -> Vec<f64> {
        let strong: Vec<u32> = ['G', 'C'].iter().flat_map(|&letter| self.layout.classes_of(letter)).collect();
        let share = |s: &S| {
            let letters = s.as_ref();
            letters.iter().filter(|class| strong.contains(class)).count() as f64 / letters.len().max(1) as f64
        };
        sequences.iter().map(share).collect()
    }
}

/// The longest k-mers that are compared for so many letters.
fn orders(classes: usize) -> usize {
    (1..=LONGEST).rev().find(|&k| classes.checked_pow(k as u32).is_some_and(|kmers| kmers <= KMERS)).unwrap_or(1)
}

/// At most `most` of a list, evenly spaced.
fn spread<T>(all: &[T], most: usize) -> impl Iterator<Item = &T> {
    let n = most.min(all.len());
    (0..n).map(move |i| &all[i * all.len() / n])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataConfig, Layout};

    /// Promoters of a kind: random letters with a motif at place 20 to 23 of two in three.
    fn metrics() -> (SequenceMetrics, Splits) {
        let folder = tempfile::tempdir().unwrap();
        let mut random = stream(0, Purpose::Synthesis, 0);
        let mut text = String::new();
        for _ in 0..1500 {
            let mut letters: Vec<char> = (0..60).map(|_| ['A', 'C', 'G', 'T'][random.below(4)]).collect();
            if random.uniform() < 0.67 {
                let place = 20 + random.below(4);
                "TATAAA".chars().zip(&mut letters[place..]).for_each(|(c, at)| *at = c);
            }
            text.extend(letters);
            text.push('\n');
        }
        std::fs::write(folder.path().join("s.txt"), text).unwrap();
        let config: DataConfig = toml::from_str("set = 'sequences'\npath = 's.txt'").unwrap();
        let splits = config.load(folder.path(), 0).unwrap();
        let (DataConfig::Sequences(config), Layout::Sequence(layout)) = (&config, &splits.schema().layout) else {
            panic!("sequences")
        };
        (SequenceMetrics::new(config, layout, &splits, 4), splits)
    }

    #[test]
    fn a_motif_in_its_place_tells_data_from_baselines() {
        let (metrics, splits) = metrics();
        let rows = metrics.held_out(600);
        let value = |name: &str, sampler: &str| {
            let found = rows.iter().find(|row| row.metric == name && row.sampler.as_deref() == Some(sampler));
            found.unwrap_or_else(|| panic!("{name} {sampler}")).value
        };
        let motif = rows.iter().find(|row| row.metric == "motif_in_place").unwrap();
        let named = motif.estimator.as_deref().unwrap();
        assert!(named.starts_with("TATAAA at ") || named.starts_with("TATAA at "), "{named}");
        assert!((value("motif_in_place", "held-out data") - 0.67).abs() < 0.15);
        for chain in ["Markov order 3", "Markov order 5"] {
            assert!(value("motif_in_place", chain) < 0.3, "{}", value("motif_in_place", chain));
            assert!(value("positional_kmer_kl_3", chain) > 1.3 * value("positional_kmer_kl_3", "training data"));
            assert!(value("motif_position_tv", chain) > 2.0 * value("motif_position_tv", "held-out data"));
        }
        assert!(value("kmer_kl_6", "position weights") > value("kmer_kl_6", "training data"));
        assert!(value("gc_wasserstein", "training data") < 0.02);
        // Four letters, hardly to be told from what is before them.
        assert!((1.6..2.1).contains(&value("bits_per_letter", "Kneser-Ney 4")));
        // Training sequences in the place of samples are copies.
        let ids = items(splits.train.as_ref(), 100);
        let samples = Samples {
            ids,
            endpoints: Vec::new(),
            sites: crate::run::check::site_shape(splits.schema()),
            nfe: vec![1; 100],
        };
        let own = metrics.rows(&samples, &[]);
        let of = |name: &str| own.iter().find(|row| row.metric == name).unwrap().value;
        assert_eq!((of("nearest_identity"), of("novelty"), of("uniqueness")), (1.0, 0.0, 1.0));
        assert!(value("nearest_identity", "held-out data") < 0.7 && value("novelty", "held-out data") > 0.9);
    }
}
