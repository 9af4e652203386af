//! Choice of metrics by data set.

use crate::data::{DataConfig, Layout, Schema, Splits};
use crate::flow_map::sample::Samples;
use crate::metrics::entropy;
use crate::metrics::kneser_ney::KneserNey;
use crate::metrics::report::Row;
use crate::run::evaluate::classified::{self, ClassifiedMetrics};
use crate::run::evaluate::metrics::SampleMetrics;
#[cfg(feature = "chem")]
use crate::run::evaluate::molecules::MoleculeMetrics;
use crate::run::evaluate::request::{EvalError, Features, Progress};
use crate::run::evaluate::sequences::SequenceMetrics;
use crate::run::evaluate::synthetic::SyntheticMetrics;
use crate::run::evaluate::tables::TableMetrics;
use crate::run::evaluate::text::TextMetrics;

/// Unigram entropy only, for data without other metrics.
struct EntropyMetrics;

impl SampleMetrics for EntropyMetrics {
    fn rows(&self, samples: &Samples, _: &[u32]) -> Vec<Row> {
        let sequences: Vec<&[u32]> = samples.items().collect();
        vec![Row::estimate("entropy_unigram", "nats", entropy::mean_unigram(&sequences))]
    }
}

/// Metrics of sequences, with those of a classifier.
struct SequencesAndClasses<'a>(SequenceMetrics, ClassifiedMetrics<'a>);

impl SampleMetrics for SequencesAndClasses<'_> {
    fn rows(&self, samples: &Samples, labels: &[u32]) -> Vec<Row> {
        [self.0.rows(samples, labels), self.1.rows(samples, labels)].concat()
    }

    fn held_out(&self, n: usize) -> Vec<Row> {
        self.0.held_out(n)
    }
}

/// Checks before a training that [`metrics_for`] will be possible after it.
///
/// # Errors
/// If `features` is a network of other data, or n-grams of order `ngram_order` over the vocabulary are not possible.
///
/// # Examples
/// ```
/// use pushforward::data::{DataConfig, Layout, Schema, Vocabulary};
/// use pushforward::run::evaluate::check_metrics;
///
/// let config: DataConfig = toml::from_str("set = 'text'\npath = 'a.txt'")?;
/// let symbols: Vec<char> = (0..3001).map(|i| char::from_u32(0x4e00 + i).expect("a character")).collect();
/// let layout = Layout::Text { vocabulary: Vocabulary::characters(symbols)? };
/// let schema = Schema { sites: 16, classes: 3001, layout };
/// assert!(check_metrics(&config, &schema, None, 5).is_ok());
/// assert!(check_metrics(&config, &schema, None, 6).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn check_metrics(
    data: &DataConfig,
    schema: &Schema,
    features: Option<&Features>,
    ngram_order: usize,
) -> Result<(), EvalError> {
    let synthetic =
        matches!(data, DataConfig::Checker(_) | DataConfig::Echo(_) | DataConfig::Sums(_) | DataConfig::Glyphs(_));
    match (&schema.layout, features) {
        _ if synthetic => Ok(()),
        (Layout::Text { .. }, _) => Ok(KneserNey::fits(schema.classes, ngram_order)?),
        (Layout::Image { .. } | Layout::Sequence(_), Some(features)) => {
            classified::check(features.classifier()?, schema)
        }
        _ => Ok(()),
    }
}

/// The metrics of a data set: exact checks for synthetic sets, an n-gram model of order `ngram_order` of the training
/// split for text, a classifier for images and sequences, chemical validity and properties for molecules. `progress` is called before
/// slow preparations. The page of [this module](crate::run::evaluate) has an example.
///
/// # Errors
/// If `features` is a network of other data, the n-gram model cannot be trained, or `progress` returns false.
pub fn metrics_for<'a>(
    data: &DataConfig,
    splits: &Splits,
    features: Option<&'a Features>,
    ngram_order: usize,
    progress: &mut Progress<'_>,
) -> Result<Box<dyn SampleMetrics + 'a>, EvalError> {
    let data = data.source();
    let mut begin = |stage: &str| if progress(stage, 0, 1) { Ok(()) } else { Err(EvalError::Interrupted) };
    Ok(match data {
        DataConfig::Checker(_) => Box::new(SyntheticMetrics::Checker),
        DataConfig::Echo(_) => Box::new(SyntheticMetrics::Echo),
        DataConfig::Sums(_) => Box::new(SyntheticMetrics::Sums),
        DataConfig::Glyphs(_) => Box::new(SyntheticMetrics::Glyphs),
        _ => match (&splits.schema().layout, features) {
            (Layout::Text { .. }, _) => {
                begin("n-gram scorer")?;
                Box::new(TextMetrics::new(splits, ngram_order)?)
            }
            (Layout::Image { .. }, Some(features)) => Box::new(ClassifiedMetrics::new(features.classifier()?, splits)?),
            #[cfg(feature = "chem")]
            (Layout::Graph(layout), features) if data.is_molecules() => {
                begin("training molecules")?;
                let chemnet = features.map(Features::chemnet).transpose()?;
                Box::new(MoleculeMetrics::new(layout, data, splits, chemnet))
            }
            (Layout::Columns(layout), _) if let DataConfig::Table(config) = data => {
                begin("scores of held-out rows")?;
                Box::new(TableMetrics::new(config, layout, splits))
            }
            (Layout::Sequence(layout), features) if let DataConfig::Sequences(config) = data => {
                begin("scores of held-out sequences")?;
                let own = SequenceMetrics::new(config, layout, splits, ngram_order);
                match features {
                    None => Box::new(own),
                    Some(features) => {
                        Box::new(SequencesAndClasses(own, ClassifiedMetrics::new(features.classifier()?, splits)?))
                    }
                }
            }
            (Layout::Image { .. } | Layout::Graph(_) | Layout::Table | Layout::Columns(_) | Layout::Sequence(_), _) => {
                Box::new(EntropyMetrics)
            }
        },
    })
}
