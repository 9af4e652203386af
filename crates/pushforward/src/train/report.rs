//! Report of an optimiser step, and the location of a non-finite value.
//!
//! The values of a step stay on the device; they are read back on logging steps and if a value is not finite.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::ranks::{RankError, Ranks};
use crate::train::objective::{LossParts, Observed};

/// Number of equal intervals of the time axis for which a run reports the mean of every term.
const TIME_BUCKETS: usize = 5;

/// Report of an optimiser step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepReport {
    /// Number of optimiser steps taken, including this one.
    pub step: u64,
    /// Mean loss over its micro-batches.
    pub loss: f64,
    /// Learning rate.
    pub lr: f64,
    /// Norm of the gradient over all parameters, before clipping.
    pub grad_norm: f64,
    /// Seconds of training so far, summed over all resumed parts of the run.
    pub seconds: f64,
    /// Examples per second since the last logging step, without validation, samples and checkpoints.
    pub examples_per_second: f64,
    /// Quantities that need a readback; logging steps only.
    pub details: Option<Details>,
}

/// Quantities of a logging step, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Details {
    /// Value of every term of the loss, weight included.
    pub terms: Vec<(String, f64)>,
    /// Mean of every term, before weighting, over the examples in one interval of the time axis, such as `ce/t0.2-0.4`.
    pub buckets: Vec<(String, f64)>,
    /// Means of [`LossParts::observed`].
    pub stats: Vec<(String, f64)>,
}

/// Where the first non-finite value appeared.
#[derive(Clone, Debug, PartialEq)]
pub enum NonFinite {
    /// In a term of the loss.
    Term {
        /// Name of the term.
        term: String,
        /// Number of the micro-batch, which determines its examples and noise.
        micro_batch: u64,
        /// Position in the batch of the first example with a non-finite value; `None` if only a mean or sum is not
        /// finite.
        example: Option<usize>,
        /// Interval of the time axis of that example, such as `t0.2-0.4`.
        bucket: Option<String>,
    },
    /// In the gradient, with a finite loss.
    Gradient {
        /// The first parameter with a non-finite gradient; `None` if only the squared norm overflows.
        parameter: Option<String>,
    },
}

impl std::fmt::Display for NonFinite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Term { term, micro_batch, example, bucket } => {
                write!(f, "the loss term `{term}` of micro-batch {micro_batch} is not finite")?;
                if let Some(example) = example {
                    write!(f, ", first at example {example}")?;
                }
                bucket.as_ref().map_or(Ok(()), |bucket| write!(f, " (time bucket {bucket})"))
            }
            Self::Gradient { parameter: Some(name) } => write!(f, "the gradient of `{name}` is not finite"),
            Self::Gradient { parameter: None } => write!(f, "the norm of the gradient overflows"),
        }
    }
}

/// Examples and seconds since the last logging step.
#[derive(Default)]
pub(super) struct Rate {
    examples: u64,
    seconds: f64,
}

impl Rate {
    pub(super) fn add(&mut self, examples: u64, seconds: f64) {
        self.examples += examples;
        self.seconds += seconds;
    }

    pub(super) fn examples_per_second(&self) -> f64 {
        self.examples as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

/// Values of a micro-batch, kept on the device until the step is checked and reported.
pub(super) struct Micro {
    index: u64,
    terms: Vec<(Tensor<1>, Observed)>,
    observed: Vec<Observed>,
}

/// Values of a micro-batch on the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct HostMicro {
    index: u64,
    terms: Vec<(Numbers, Figure)>,
    observed: Vec<Figure>,
}

/// A quantity per example, with the times of the examples.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Figure {
    name: String,
    per_example: Numbers,
    times: Numbers,
}

/// Numbers whose text keeps infinite ones and NaN: it has their bits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Vec<u64>", into = "Vec<u64>")]
struct Numbers(Vec<f64>);

impl From<Vec<u64>> for Numbers {
    fn from(bits: Vec<u64>) -> Self {
        Self(bits.into_iter().map(f64::from_bits).collect())
    }
}

impl From<Numbers> for Vec<u64> {
    fn from(numbers: Numbers) -> Self {
        numbers.0.into_iter().map(f64::to_bits).collect()
    }
}

impl Micro {
    pub(super) fn new(index: u64, parts: LossParts) -> Self {
        let keep = |figure: Observed| {
            let [examples] = figure.per_example.dims();
            let times = figure.times.len();
            assert!(
                times == 0 || times == examples,
                "figure `{}` has {examples} values on axis 0 of `per_example` but {times} times",
                figure.name
            );
            Observed { per_example: figure.per_example.without_autodiff(), ..figure }
        };
        Self {
            index,
            terms: parts.terms.into_iter().map(|term| (term.loss.without_autodiff(), keep(term.values))).collect(),
            observed: parts.observed.into_iter().map(keep).collect(),
        }
    }

    fn to_host(&self) -> HostMicro {
        let figure = |figure: &Observed| Figure {
            name: figure.name.to_owned(),
            per_example: Numbers(host(&figure.per_example)),
            times: Numbers(figure.times.clone()),
        };
        let term = |(loss, values): &(Tensor<1>, Observed)| (Numbers(host(loss)), figure(values));
        let terms = self.terms.iter().map(term).collect();
        HostMicro { index: self.index, terms, observed: self.observed.iter().map(figure).collect() }
    }
}

/// The micro-batches of all ranks, in the order of their indices.
pub(super) fn on_host(micros: &[Micro], ranks: &Ranks) -> Result<Vec<HostMicro>, RankError> {
    let own: Vec<HostMicro> = micros.iter().map(Micro::to_host).collect();
    if ranks.size() == 1 {
        return Ok(own);
    }
    let failed = |error: serde_json::Error| RankError::Failed(error.to_string());
    let all = ranks.gather(serde_json::to_vec(&own).map_err(failed)?)?;
    let read: Result<Vec<Vec<HostMicro>>, _> = all.iter().map(|bytes| serde_json::from_slice(bytes)).collect();
    Ok(read.map_err(failed)?.into_iter().flatten().collect())
}

pub(super) fn host(tensor: &Tensor<1>) -> Vec<f64> {
    tensor.clone().into_data().iter::<f64>().collect()
}

fn bucket(time: f64) -> usize {
    ((time * TIME_BUCKETS as f64) as usize).min(TIME_BUCKETS - 1)
}

fn bucket_name(bucket: usize) -> String {
    let edge = |k: usize| k as f64 / TIME_BUCKETS as f64;
    format!("t{:.1}-{:.1}", edge(bucket), edge(bucket + 1))
}

/// The first term, in the order of micro-batches and terms, whose loss is not finite, and its first non-finite example.
pub(super) fn first_non_finite(micros: &[HostMicro]) -> NonFinite {
    let terms = micros.iter().flat_map(|micro| micro.terms.iter().map(move |term| (micro.index, term)));
    let mut sum_overflows = None;
    for (micro_batch, (loss, values)) in terms {
        if loss.0.iter().all(|value| value.is_finite()) {
            // The sum may overflow although every term is finite: the first term is then reported.
            sum_overflows.get_or_insert((micro_batch, &values.name));
            continue;
        }
        let example = values.per_example.0.iter().position(|value| !value.is_finite());
        let time = example.and_then(|example| values.times.0.get(example));
        let bucket = time.map(|&time| bucket_name(bucket(time)));
        return NonFinite::Term { term: values.name.clone(), micro_batch, example, bucket };
    }
    let (micro_batch, term) = sum_overflows.expect("an objective returns at least one term");
    NonFinite::Term { term: term.clone(), micro_batch, example: None, bucket: None }
}

/// Means over the micro-batches of a step.
pub(super) fn details(micros: &[HostMicro]) -> Details {
    let mut terms = Means::default();
    let mut buckets = Means::default();
    let mut stats = Means::default();
    for micro in micros {
        for (loss, values) in &micro.terms {
            terms.add(&values.name, loss.0.iter().sum());
            buckets.add_by_time(values);
        }
        for figure in &micro.observed {
            for &value in &figure.per_example.0 {
                stats.add(&figure.name, value);
            }
            buckets.add_by_time(figure);
        }
    }
    Details { terms: terms.finish(), buckets: buckets.finish(), stats: stats.finish() }
}

/// Means by name, in order of appearance.
#[derive(Default)]
struct Means(Vec<(String, f64, u64)>);

impl Means {
    /// Adds a quantity per example, each value under the name of its time interval.
    fn add_by_time(&mut self, figure: &Figure) {
        // Sorted by time, so that names appear in the order of the axis.
        let mut sorted: Vec<(usize, f64)> =
            figure.times.0.iter().map(|&time| bucket(time)).zip(figure.per_example.0.iter().copied()).collect();
        sorted.sort_by_key(|(bucket, _)| *bucket);
        for (bucket, value) in sorted {
            self.add(&format!("{}/{}", figure.name, bucket_name(bucket)), value);
        }
    }

    fn add(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(known, ..)| known == name) {
            Some((_, sum, count)) => {
                *sum += value;
                *count += 1;
            }
            None => self.0.push((name.to_owned(), value, 1)),
        }
    }

    fn finish(self) -> Vec<(String, f64)> {
        self.0.into_iter().map(|(name, sum, count)| (name, sum / count as f64)).collect()
    }
}
