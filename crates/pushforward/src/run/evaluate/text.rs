//! Metrics of text: perplexity under an n-gram model of the training split, entropies, and n-gram statistics of
//! held-out text.

use std::sync::Arc;

use crate::data::{Dataset, Splits};
use crate::flow_map::sample::Samples;
use crate::metrics::entropy;
use crate::metrics::kneser_ney::KneserNey;
use crate::metrics::ngram_kl::{DELTA, NgramCounts, ngram_kl};
use crate::metrics::report::Row;
use crate::run::evaluate::metrics::SampleMetrics;
use crate::run::evaluate::request::EvalError;
use crate::run::held_out::items;

/// Length of the longest n-grams compared.
const NGRAMS: usize = 6;

/// Symbols of a part that are read of a set that may be larger than memory.
const STORED: usize = 1 << 23;

/// Scorer and reference statistics of text.
pub(super) struct TextMetrics {
    scorer: KneserNey,
    /// Counts of the held-out text for n = 1 to 6.
    reference: Vec<NgramCounts>,
    name: String,
    sha256: String,
    test: Arc<dyn Dataset>,
}

impl SampleMetrics for TextMetrics {
    fn rows(&self, samples: &Samples, _: &[u32]) -> Vec<Row> {
        self.of(&samples.items().collect::<Vec<_>>())
    }

    fn held_out(&self, n: usize) -> Vec<Row> {
        let held_out = items(self.test.as_ref(), n);
        let sequences: Vec<&[u32]> = held_out.chunks(self.test.schema().sites).collect();
        self.of(&sequences).into_iter().map(|row| row.n(sequences.len())).collect()
    }
}

impl TextMetrics {
    pub(super) fn new(splits: &Splits, ngram_order: usize) -> Result<Self, EvalError> {
        let (sites, classes) = (splits.schema().sites, splits.schema().classes);
        // Of a set that may be larger than memory, as many windows as fit.
        let most = if splits.train.is_stored() { (STORED / sites).max(1) } else { usize::MAX };
        let train = items(splits.train.as_ref(), most);
        let part = match splits.train.len() {
            all if most < all => format!("{}/train, {most} of {all} windows", splits.name),
            _ => format!("{}/train", splits.name),
        };
        let scorer = KneserNey::train(&part, &train, classes, ngram_order)?;
        let held_out = items(splits.test.as_ref(), most);
        let sequences: Vec<&[u32]> = held_out.chunks(sites).collect();
        let reference = (1..=NGRAMS).map(|n| NgramCounts::count(&sequences, classes, n)).collect();
        let (name, sha256) = (splits.name.clone(), splits.sha256.clone());
        Ok(Self { scorer, reference, name, sha256, test: splits.test.clone() })
    }

    fn of(&self, sequences: &[&[u32]]) -> Vec<Row> {
        let classes = self.test.schema().classes;
        let held_out = format!("{}/test", self.name);
        let mut rows = vec![
            Row::estimate("perplexity", "per token", self.scorer.perplexity(sequences))
                .scorer(&self.scorer.name(), self.scorer.sha256()),
            Row::estimate("entropy_unigram", "nats", entropy::mean_unigram(sequences)),
        ];
        for n in 1..=3 {
            rows.push(Row::new(&format!("distinct_{n}"), "fraction", entropy::distinct(sequences, classes, n)));
        }
        for (n, reference) in (1..).zip(&self.reference) {
            let (counts, name) = (NgramCounts::count(sequences, classes, n), format!("ngram_kl_{n}"));
            let row = match counts.total().min(reference.total()) {
                0 => Row::without_value(&name, "nats", format!("items are shorter than {n} symbols")),
                _ => Row::new(&name, "nats", ngram_kl(&counts, reference, DELTA)),
            };
            rows.push(row.estimator("add-0.01").reference(&held_out, &self.sha256));
        }
        rows
    }
}
