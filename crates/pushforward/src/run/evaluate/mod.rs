//! Evaluation of a generator against its data set: samples at several numbers of network evaluations, and the likelihood
//! bound, as one report.
//!
//! Which metrics apply follows from the data set: the made-up sets have an exact check of every sample, text is scored by
//! an n-gram model of the training split, images by a classifier of the same set, molecules by chemistry. Correctness and perplexity are never
//! reported without an entropy beside them: a generator that has collapsed to one perfect sample scores well on both.

pub mod chemnet;
mod images;
mod molecules;

use crate::classifier;
use crate::data::synthetic::{checker, echo, glyphs, sums};
use crate::data::{DataConfig, Dataset, ExampleKey, Layout, Splits};
use crate::flow_map::likelihood::BoundRequest;
use crate::flow_map::sample::{SampleRequest, Sampler, Samples};
use crate::metrics::balance::Balance;
use crate::metrics::divergence::kl_to_truth;
use crate::metrics::frechet::{Moments, frechet};
use crate::metrics::kneser_ney::{KneserNey, KneserNeyError};
use crate::metrics::ngram_kl::{DELTA, NgramCounts, ngram_kl};
use crate::metrics::report::{Report, Row, over_repeats};
use crate::metrics::{bits_per_dim, entropy, interval};
use crate::run::evaluate::chemnet::ChemNet;
pub use crate::run::evaluate::images::{ImageEvalRequest, evaluate_images};
use crate::run::evaluate::molecules::MoleculeJudge;
use crate::run::load::{Loaded, Model, RequestError, site_shape};

/// What to measure.
#[derive(Clone, Debug)]
pub struct EvalRequest {
    /// Numbers of network evaluations per item; the adaptive sampler takes its own and ignores them.
    pub nfe: Vec<usize>,
    /// The sampler.
    pub sampler: Sampler,
    /// Temperature of the samples.
    pub temperature: f64,
    /// Samples per number of evaluations.
    pub samples: usize,
    /// How often samples are drawn and measured, with seeds one after the other; 0 counts as 1. Numbers on samples are then means, with
    /// Student's interval over repeats.
    pub repeats: usize,
    /// Held-out items for the likelihood bound; 0 for none.
    pub bound_items: usize,
    /// Draws per item of the bound.
    pub bound_draws: usize,
    /// Order of the n-gram model that scores text.
    pub ngram_order: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Items computed together.
    pub batch: usize,
    /// See [`SampleRequest::diagonal_noise`].
    pub diagonal_noise: bool,
    /// See [`SampleRequest::labels`]; how many samples are what they were told to be is then measured.
    pub labels: Vec<u32>,
    /// See [`SampleRequest::prefix`].
    pub prefix: Vec<u32>,
    /// See [`SampleRequest::guidance`].
    pub guidance: f64,
}

/// A network whose features of samples are compared with those of data.
#[derive(Debug)]
pub enum Features {
    /// A classifier of images of the same set.
    Classifier(Box<Loaded>),
    /// Of molecules.
    ChemNet(Box<ChemNet>),
}

impl Features {
    fn classifier(&self) -> Result<&Loaded, EvalError> {
        match self {
            Self::Classifier(net) => Ok(net),
            Self::ChemNet(_) => Err(EvalError::Features("ChemNet".into())),
        }
    }

    fn chemnet(&self) -> Result<&ChemNet, EvalError> {
        match self {
            Self::ChemNet(net) => Ok(net),
            Self::Classifier(net) => Err(EvalError::NotOfMolecules(net.path.display().to_string())),
        }
    }
}

/// Why an evaluation is not possible.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The model.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The n-gram scorer.
    #[error(transparent)]
    Scorer(#[from] KneserNeyError),
    /// The classifier.
    #[error("{0} is no classifier of these images: train one with the preset of the set's classifier")]
    Features(String),
    /// A classifier of images where ChemNet is meant.
    #[error("{0} knows no molecules: the Frechet distance of molecules takes ChemNet's weights")]
    NotOfMolecules(String),
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// Told what is being done and how far it is; returns false to stop.
pub type Progress<'a> = dyn FnMut(&str, usize, usize) -> bool + 'a;

/// What samples are compared with; made once for all numbers of evaluations.
enum Judge<'a> {
    Checker,
    Echo,
    Sums,
    Glyphs,
    Text(Box<TextJudge>),
    Images(Box<ImageJudge<'a>>),
    Molecules(Box<MoleculeJudge<'a>>),
    Nothing,
}

struct TextJudge {
    scorer: KneserNey,
    /// Counts of the held-out text for n = 1 to 6.
    reference: Vec<NgramCounts>,
}

struct ImageJudge<'a> {
    net: &'a classifier::Classifier,
    name: String,
    sha256: String,
    /// Features of held-out images.
    reference: Moments,
    /// Shares of the classes among them.
    shares: Vec<f64>,
}

/// Longest n-grams that are compared.
const NGRAMS: usize = 6;
/// Most held-out items that samples are compared with.
const REFERENCE_ITEMS: usize = 10_000;

/// Measures a generator.
///
/// # Errors
/// See [`EvalError`].
pub fn evaluate(
    loaded: &Loaded,
    splits: &Splits,
    features: Option<&Features>,
    request: &EvalRequest,
    progress: &mut Progress<'_>,
) -> Result<Report, EvalError> {
    let mut report = Report::new(loaded.identity());
    let judge = Judge::new(loaded, splits, features, request, progress)?;
    if let Judge::Text(text) = &judge {
        let held_out = items(splits.test.as_ref(), request.samples);
        let sequences: Vec<&[u32]> = held_out.chunks(splits.schema().sites).collect();
        for row in text.rows(&sequences, splits) {
            report.push(Row { sampler: Some("held-out data".into()), ..row }.n(sequences.len()));
        }
    }
    if let Judge::Molecules(molecules) = &judge {
        for row in molecules.rows(&items(splits.test.as_ref(), request.samples), &[]) {
            report.push(Row { sampler: Some("held-out data".into()), ..row });
        }
    }
    if request.bound_items > 0 {
        for row in bound_rows(loaded, splits, request, progress)? {
            report.push(row);
        }
    }
    let adaptive = matches!(request.sampler, Sampler::Dopri5 { .. });
    let nfes = if adaptive { vec![1] } else { request.nfe.clone() };
    for nfe in nfes {
        let grid = request.sampler.grid(nfe).map_err(RequestError::Incompatible)?;
        let stage = format!("{} samples", request.sampler.name());
        let mut measured = Vec::new();
        for repeat in 0..request.repeats.max(1) {
            let wanted = SampleRequest {
                sampler: request.sampler,
                grid: grid.clone(),
                batch: request.batch,
                temperature: request.temperature,
                diagonal_noise: request.diagonal_noise,
                labels: request.labels.clone(),
                prefix: request.prefix.clone(),
                guidance: request.guidance,
                endpoints: false,
                ..SampleRequest::map(request.samples, 1, request.seed.wrapping_add(repeat as u64))
            };
            let samples = loaded.sample(&wanted, &mut |done| progress(&stage, done, request.samples))?;
            if samples.nfe.len() < request.samples {
                return Err(EvalError::Interrupted);
            }
            let counted = samples.mean_nfe().round() as u32;
            let finish = |row: Row| {
                let row = Row { n: row.n.or(Some(request.samples)), ..row };
                row.sampled(request.sampler.name(), counted).seed(request.seed).dtype("f32")
            };
            measured.push(judge.rows(&samples, splits, &request.labels).into_iter().map(finish).collect());
        }
        over_repeats(measured).into_iter().for_each(|row| report.push(row));
    }
    Ok(report)
}

/// Class indices of `n` held-out items spread evenly over a set (all of them, where it has fewer).
pub fn items(set: &dyn Dataset, n: usize) -> Vec<u32> {
    let n = n.min(set.len());
    let sites = set.schema().sites;
    let mut out = vec![0; n * sites];
    for (i, item) in out.chunks_exact_mut(sites).enumerate() {
        set.write(ExampleKey::fixed(0, i * set.len() / n), item);
    }
    out
}

/// The labels of the items that [`items`] gives.
///
/// # Panics
/// If the set has no labels.
pub fn labels_of(set: &dyn Dataset, n: usize) -> Vec<u32> {
    let n = n.min(set.len());
    (0..n).map(|i| set.label(i * set.len() / n).expect("the set has labels")).collect()
}

fn bound_rows(
    loaded: &Loaded,
    splits: &Splits,
    request: &EvalRequest,
    progress: &mut Progress<'_>,
) -> Result<Vec<Row>, EvalError> {
    let sites = splits.schema().sites;
    let ids = items(splits.test.as_ref(), request.bound_items);
    let bound = BoundRequest { draws: request.bound_draws, seed: request.seed, batch: request.batch };
    let mut nats = Vec::new();
    let total = ids.len() / sites;
    for part in ids.chunks(64 * sites) {
        match loaded.bound(part, nats.len() as u64, &bound) {
            Ok(values) => nats.extend(values),
            // Samples can still be judged where the model has no likelihood bound.
            Err(RequestError::Incompatible(_)) => return Ok(Vec::new()),
            Err(other) => return Err(other.into()),
        }
        if !progress("likelihood bound", nats.len(), total) {
            return Err(EvalError::Interrupted);
        }
    }
    let estimate = interval::mean(&nats);
    let name = format!("importance-r-{}", request.bound_draws);
    let finish = |row: Row| {
        row.estimator(&name).seed(request.seed).dtype("f32").reference(&format!("{}/test", splits.name), &splits.sha256)
    };
    let per_site = match splits.schema().layout {
        Layout::Text { .. } => Row::estimate(
            "bound_bits_per_char",
            "bits/char",
            estimate.map(|v| bits_per_dim::bits_per_character(v, sites)),
        ),
        Layout::Image { .. } | Layout::Table | Layout::Graph(_) => {
            Row::estimate("bound_bits_per_dim", "bits/dim", estimate.map(|v| bits_per_dim::bits_per_dim(v, sites)))
        }
    };
    let mut rows = vec![finish(Row::estimate("bound", "nats", estimate)), finish(per_site)];
    // Where the law is known, the differences tell the excess far more sharply than the mean of the bound does.
    let exact = exact_nats(&loaded.recipe.data, &ids, sites);
    rows.extend(exact.map(|exact| {
        let excess: Vec<f64> = nats.iter().zip(exact).map(|(bound, exact)| bound - exact).collect();
        finish(Row::estimate("bound_excess", "nats", interval::mean(&excess)))
    }));
    Ok(rows)
}

/// `-log p` of every item, where the data set's law is known.
fn exact_nats(data: &DataConfig, ids: &[u32], sites: usize) -> Option<Vec<f64>> {
    let uniform = |nats: f64| vec![nats; ids.len() / sites];
    match data {
        DataConfig::Checker(_) => {
            let table = checker::table();
            let cell = |pair: &[u32]| pair[0] as usize * checker::CLASSES + pair[1] as usize;
            Some(ids.chunks(sites).map(|pair| -table[cell(pair)].ln()).collect())
        }
        DataConfig::Echo(config) => Some(uniform(config.entropy())),
        DataConfig::Sums(config) => Some(uniform(config.entropy())),
        _ => None,
    }
}

impl<'a> Judge<'a> {
    fn new(
        loaded: &Loaded,
        splits: &Splits,
        features: Option<&'a Features>,
        request: &EvalRequest,
        progress: &mut Progress<'_>,
    ) -> Result<Self, EvalError> {
        Ok(match &loaded.recipe.data {
            DataConfig::Checker(_) => Self::Checker,
            DataConfig::Echo(_) => Self::Echo,
            DataConfig::Sums(_) => Self::Sums,
            DataConfig::Glyphs(_) => Self::Glyphs,
            DataConfig::Text8(_) | DataConfig::Text(_) => {
                if !progress("n-gram scorer", 0, 1) {
                    return Err(EvalError::Interrupted);
                }
                Self::Text(Box::new(TextJudge::new(splits, request)?))
            }
            DataConfig::Mnist(_)
            | DataConfig::FashionMnist(_)
            | DataConfig::Kmnist(_)
            | DataConfig::Cifar10(_)
            | DataConfig::ImageFolder(_) => match features {
                None => Self::Nothing,
                Some(features) => Self::Images(Box::new(ImageJudge::new(features.classifier()?, splits)?)),
            },
            data @ (DataConfig::SmallMolecules(_)
            | DataConfig::Qm9(_)
            | DataConfig::Zinc250k(_)
            | DataConfig::Molecules(_)) => {
                if !progress("training molecules", 0, 1) {
                    return Err(EvalError::Interrupted);
                }
                match &splits.schema().layout {
                    Layout::Graph(layout) => {
                        let chemnet = features.map(Features::chemnet).transpose()?;
                        Self::Molecules(Box::new(MoleculeJudge::new(layout, data, splits, chemnet)))
                    }
                    _ => Self::Nothing,
                }
            }
        })
    }

    fn rows(&self, samples: &Samples, splits: &Splits, told: &[u32]) -> Vec<Row> {
        let sequences: Vec<&[u32]> = samples.items().collect();
        match self {
            Self::Checker => checker_rows(&samples.ids),
            Self::Echo => echo_rows(&sequences),
            Self::Sums => sum_rows(&sequences),
            Self::Glyphs => glyph_rows(&sequences, told),
            Self::Text(text) => text.rows(&sequences, splits),
            Self::Images(images) => images.rows(samples, splits, told),
            Self::Molecules(molecules) => molecules.rows(&samples.ids, told),
            Self::Nothing => vec![Row::estimate("entropy_unigram", "nats", entropy::mean_unigram(&sequences))],
        }
    }
}

fn checker_rows(pairs: &[u32]) -> Vec<Row> {
    let mut counts = vec![0u64; checker::CLASSES * checker::CLASSES];
    for pair in pairs.chunks_exact(2) {
        counts[pair[0] as usize * checker::CLASSES + pair[1] as usize] += 1;
    }
    let kl = kl_to_truth(&counts, &checker::table());
    vec![
        Row::new("kl_true_joint", "nats", kl.plug_in).estimator("plug-in"),
        Row::new("kl_true_joint", "nats", kl.corrected()).estimator("bias-corrected"),
        Row::new("entropy_joint", "nats", entropy::joint(&counts).chao_wang_jost).estimator("chao-wang-jost"),
    ]
}

/// Entropy of whole items, corrected for the finite sample; not a number where there are none.
fn joint_entropy(items: &[&[u32]]) -> Row {
    let counts = entropy::joint_counts(items);
    let value = if counts.is_empty() { f64::NAN } else { entropy::joint(&counts).chao_wang_jost };
    Row::new("entropy_joint", "nats", value).estimator("chao-wang-jost").n(items.len())
}

fn echo_rows(sequences: &[&[u32]]) -> Vec<Row> {
    let exact: Vec<&[u32]> = sequences.iter().copied().filter(|s| echo::is_echo(s)).collect();
    let words: Vec<&[u32]> = exact.iter().map(|s| &s[..s.len() / 2]).collect();
    vec![
        Row::estimate("correct", "fraction", interval::fraction(exact.len(), sequences.len())),
        joint_entropy(&words),
        Row::estimate("entropy_unigram", "nats", entropy::mean_unigram(sequences)),
    ]
}

fn sum_rows(sequences: &[&[u32]]) -> Vec<Row> {
    let verdicts: Vec<sums::Verdict> = sequences.iter().map(|s| sums::check(s)).collect();
    let formed = verdicts.iter().filter(|v| **v != sums::Verdict::Malformed).count();
    let pairs = sequences.iter().zip(&verdicts);
    let correct: Vec<&[u32]> = pairs.filter(|(_, v)| **v == sums::Verdict::Correct).map(|(s, _)| *s).collect();
    vec![
        Row::estimate("well_formed", "fraction", interval::fraction(formed, sequences.len())),
        Row::estimate("correct", "fraction", interval::fraction(correct.len(), sequences.len())),
        joint_entropy(&correct),
    ]
}

/// How many samples are of the class that they were told to be; nothing, where they were told nothing.
fn told_rows(found: impl ExactSizeIterator<Item = usize>, told: &[u32]) -> Option<Row> {
    let n = found.len();
    let right = found.zip(told.iter().cycle()).filter(|(found, told)| *found == **told as usize).count();
    (!told.is_empty()).then(|| Row::estimate("label_accuracy", "fraction", interval::fraction(right, n)))
}

fn glyph_rows(sequences: &[&[u32]], told: &[u32]) -> Vec<Row> {
    let classes: Vec<usize> = sequences.iter().map(|s| glyphs::classify(s).class as usize).collect();
    let valid: Vec<usize> =
        sequences.iter().zip(&classes).filter(|(s, _)| glyphs::is_valid(s)).map(|(_, class)| *class).collect();
    let balance = Balance::new(valid.iter().copied(), glyphs::CLASSES);
    let rows = vec![
        Row::estimate("valid", "fraction", interval::fraction(valid.len(), sequences.len())),
        Row::new("class_balance_tv", "fraction", balance.total_variation_to_uniform()).n(valid.len()),
        Row::new("distinct", "fraction", entropy::joint_counts(sequences).len() as f64 / sequences.len().max(1) as f64),
    ];
    rows.into_iter().chain(told_rows(classes.into_iter(), told)).collect()
}

impl TextJudge {
    fn new(splits: &Splits, request: &EvalRequest) -> Result<Self, EvalError> {
        let (sites, classes) = (splits.schema().sites, splits.schema().classes);
        let train = items(splits.train.as_ref(), usize::MAX);
        let scorer = KneserNey::train(&format!("{}/train", splits.name), &train, classes, request.ngram_order)?;
        let held_out = items(splits.test.as_ref(), usize::MAX);
        let sequences: Vec<&[u32]> = held_out.chunks(sites).collect();
        let reference = (1..=NGRAMS).map(|n| NgramCounts::count(&sequences, classes, n)).collect();
        Ok(Self { scorer, reference })
    }

    fn rows(&self, sequences: &[&[u32]], splits: &Splits) -> Vec<Row> {
        let classes = splits.schema().classes;
        let held_out = format!("{}/test", splits.name);
        let mut rows = vec![
            Row::estimate("perplexity", "per token", self.scorer.perplexity(sequences))
                .scorer(&self.scorer.name(), self.scorer.sha256()),
            Row::estimate("entropy_unigram", "nats", entropy::mean_unigram(sequences)),
        ];
        for n in 1..=3 {
            rows.push(Row::new(&format!("distinct_{n}"), "fraction", entropy::distinct(sequences, classes, n)));
        }
        for (n, reference) in (1..).zip(&self.reference) {
            let kl = ngram_kl(&NgramCounts::count(sequences, classes, n), reference, DELTA);
            rows.push(
                Row::new(&format!("ngram_kl_{n}"), "nats", kl)
                    .estimator("add-0.01")
                    .reference(&held_out, &splits.sha256),
            );
        }
        rows
    }
}

impl<'a> ImageJudge<'a> {
    fn new(features: &'a Loaded, splits: &Splits) -> Result<Self, EvalError> {
        let refused = || EvalError::Features(features.path.display().to_string());
        let Model::Classifier { net, .. } = &features.model else { return Err(refused()) };
        if site_shape(&features.schema).grid() != site_shape(splits.schema()).grid() {
            return Err(refused());
        }
        let ids = items(splits.test.as_ref(), REFERENCE_ITEMS);
        let (rows, labels) = describe(net, &ids, splits);
        let reference = Moments::of(&rows, net.width());
        let shares = Balance::new(labels, net.labels()).shares();
        let name = format!("{} step {}", features.recipe.name, features.step);
        Ok(Self { net, name, sha256: features.sha256.clone(), reference, shares })
    }

    fn rows(&self, samples: &Samples, splits: &Splits, told: &[u32]) -> Vec<Row> {
        let (rows, labels) = describe(self.net, &samples.ids, splits);
        let distance = frechet(&Moments::of(&rows, self.net.width()), &self.reference);
        let accuracy = told_rows(labels.iter().copied(), told);
        let balance = Balance::new(labels, self.net.labels());
        let finish =
            |row: Row| row.scorer(&self.name, &self.sha256).reference(&format!("{}/test", splits.name), &splits.sha256);
        let rows = vec![
            Row::new("frechet", "squared feature distance", distance),
            Row::new("class_balance_tv", "fraction", balance.total_variation(&self.shares)),
            Row::new("class_entropy", "nats", balance.entropy()),
        ];
        rows.into_iter().chain(accuracy).map(finish).collect()
    }
}

/// Features and predicted classes of images.
fn describe(net: &classifier::Classifier, ids: &[u32], splits: &Splits) -> (Vec<f64>, Vec<usize>) {
    let sites = site_shape(splits.schema());
    let labels = classifier::predict(net, ids, sites, 256).into_iter().map(|c| c as usize).collect();
    (classifier::features(net, ids, sites, 256), labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_without_a_right_item_has_rows() {
        let wrong: [&[u32]; 2] = [&[1, 2, 3, 4, 5, 6], &[0, 0, 0, 1, 1, 1]];
        for rows in [echo_rows(&wrong), sum_rows(&wrong)] {
            let value = |metric: &str| rows.iter().find(|r| r.metric == metric).map(|r| r.value);
            assert_eq!(value("correct"), Some(0.0));
            assert!(value("entropy_joint").is_some_and(f64::is_nan));
        }
    }
}
