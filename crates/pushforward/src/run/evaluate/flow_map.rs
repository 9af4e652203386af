//! Evaluation of flow maps and of autoencoders of categorical data: samples at several numbers of network evaluations, and the likelihood bound.

use burn::tensor::Device;

use crate::data::synthetic::checker;
use crate::data::{DataConfig, Layout, Splits};
use crate::flow_map::sample::{SampleRequest, Sampler};
use crate::kernels::Precision;
use crate::metrics::report::{Report, Row, over_repeats};
use crate::metrics::{bits_per_dim, interval};
use crate::run::evaluate::generates::Generates;
use crate::run::evaluate::metrics::SampleMetrics;
use crate::run::evaluate::remarks;
use crate::run::evaluate::request::{EvalError, EvalRequest, Progress};
use crate::run::held_out::items;
use crate::run::model::Loaded;
use crate::run::trained::RequestError;

/// Evaluates a flow map, or an autoencoder of categorical data. `metrics` are those of its data set ([`metrics_for`](super::metrics_for)) or your own.
///
/// # Errors
/// See [`EvalError`].
///
/// # Examples
/// ```
/// use std::{ops::ControlFlow, path::Path};
/// use pushforward::prelude::*;
/// use pushforward::run::evaluate::{EvalRequest, evaluate, metrics_for};
///
/// let text = "
///     name = 'tiny'
///     data = { set = 'echo' }
///     model = { family = 'flow-map', network = { kind = 'mlp', width = 8 } }
/// ";
/// let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=1".into()])?;
/// let splits = recipe.data.load(Path::new("not read: this set is synthetic"), recipe.seed)?;
/// let (data, options) = (splits.clone().into(), TrainOptions::new(Device::flex()));
/// let model = train(&recipe, &data, options, &mut |_| ControlFlow::Continue(()))?.loaded.flow_map("be evaluated")?;
///
/// let metrics = metrics_for(&recipe.data, &splits, None, 5, &mut |_, _, _| true)?;
/// let sample = SampleRequest { endpoints: false, ..SampleRequest::map(8, 1, 0) };
/// let request = EvalRequest { sample, nfe: vec![1, 2], repeats: 1, bound_items: 4, bound_draws: 2 };
/// let report = evaluate(&model, &splits, metrics.as_ref(), &request, &mut |_, _, _| true)?;
/// let rows = |metric: &str| report.rows.iter().filter(|row| row.metric == metric).count();
/// assert_eq!((rows("correct"), rows("bound")), (2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn evaluate<G: Generates, M: SampleMetrics + ?Sized>(
    loaded: &Loaded<G>,
    splits: &Splits,
    metrics: &M,
    request: &EvalRequest,
    progress: &mut Progress<'_>,
) -> Result<Report, EvalError> {
    if request.bound_items > 0 && request.bound_draws == 0 {
        return Err(RequestError("the likelihood bound takes at least 1 draw per item, found 0".into()).into());
    }
    let mut report = Report::new(loaded.run.identity());
    // No samples leave the bound.
    let held_out = if request.sample.count == 0 { Vec::new() } else { metrics.held_out(request.sample.count) };
    for row in held_out {
        report.push(Row { sampler: row.sampler.or_else(|| Some("held-out data".into())), ..row });
    }
    if request.bound_items > 0 {
        for which in 0..loaded.model.estimates(request.bound_draws).len() {
            let (rows, remark) = bound_rows(loaded, which, splits, request, progress)?;
            rows.into_iter().for_each(|row| report.push(row));
            report.remarks.extend(remark);
        }
    }
    if request.bound_items > 0 {
        loaded.model.own_rows(request.sample.seed).into_iter().for_each(|row| report.push(row));
    }
    let (sampler, count) = (request.sample.sampler, request.sample.count);
    let adaptive = matches!(sampler, Sampler::Dopri5 { .. });
    let nfes = if count == 0 {
        Vec::new()
    } else if adaptive {
        vec![1]
    } else {
        request.nfe.clone()
    };
    for nfe in nfes {
        let grid = sampler.grid(nfe)?;
        let stage = format!("{} samples", sampler.name());
        let mut measured = Vec::new();
        for repeat in 0..request.repeats.max(1) {
            let wanted = SampleRequest {
                grid: grid.clone(),
                endpoints: false,
                seed: request.sample.seed.wrapping_add(repeat as u64),
                ..request.sample.clone()
            };
            let samples = loaded.model.generate(&wanted, &mut |done| progress(&stage, done, count))?;
            if samples.nfe.len() < count {
                return Err(EvalError::Interrupted);
            }
            let counted = samples.mean_nfe().round() as u32;
            let finish = |row: Row| {
                let row = Row { n: row.n.or(Some(count)), ..row };
                row.sampled(sampler.name(), counted).seed(request.sample.seed).dtype(dtype(loaded.model.device()))
            };
            if repeat == 0 {
                report.remarks.extend(remarks::on_samples(&samples.ids, samples.sites.count, counted));
            }
            measured.push(metrics.rows(&samples, &loaded.model.labels_of(&wanted)?).into_iter().map(finish).collect());
        }
        over_repeats(measured).into_iter().for_each(|row| report.push(row));
    }
    Ok(report)
}

/// Name of the current precision of matrix products on a device, for reports.
pub(super) fn dtype(device: &Device) -> &'static str {
    Precision::current().on(device).name()
}

fn bound_rows<G: Generates>(
    loaded: &Loaded<G>,
    which: usize,
    splits: &Splits,
    request: &EvalRequest,
    progress: &mut Progress<'_>,
) -> Result<(Vec<Row>, Option<String>), EvalError> {
    let sites = splits.schema().sites;
    let ids = items(splits.test.as_ref(), request.bound_items);
    let total = ids.len() / sites;
    let nats =
        loaded.model.all_nats(which, &ids, sites, request, &mut |done| progress("likelihood bound", done, total));
    // A model without a likelihood bound still has metrics of samples.
    let Ok(nats) = nats else { return Ok((Vec::new(), None)) };
    if nats.len() < total {
        return Err(EvalError::Interrupted);
    }
    let estimate = interval::mean(&nats);
    let (metric, name) = loaded.model.estimates(request.bound_draws).swap_remove(which);
    let prefixed = |name: &str| if which == 0 { name.to_owned() } else { format!("{metric}_{name}") };
    let finish = |row: Row| {
        row.estimator(&name)
            .seed(request.sample.seed)
            .dtype(dtype(loaded.model.device()))
            .reference(&format!("{}/test", splits.name), &splits.sha256)
    };
    let mut rows = vec![finish(Row::estimate(metric, "nats", estimate))];
    let per_site = match &splits.schema().layout {
        Layout::Text { vocabulary } => {
            let sizes: Vec<f64> = ids.chunks(sites).map(|item| vocabulary.characters_of(item) as f64).collect();
            let rate = interval::ratio_of_sums(&nats, &sizes);
            Row::estimate(&format!("{metric}_bits_per_char"), "bits/char", rate.map(bits_per_dim::bits))
        }
        Layout::Sequence(sequence) => {
            let lengths: Vec<usize> = ids.chunks(sites).map(|item| sequence.length_of(item)).collect();
            let sizes: Vec<f64> = lengths.iter().map(|&n| n as f64).collect();
            let rate = |nats: &[f64]| interval::ratio_of_sums(nats, &sizes).map(bits_per_dim::bits);
            if sequence.varies() {
                rows.push(finish(Row::estimate(&prefixed("bits_per_letter_given_length"), "bits/letter", rate(&nats))));
            }
            let all: Vec<f64> = nats.iter().zip(&lengths).map(|(v, &n)| v + sequence.length_nats(n)).collect();
            Row::estimate(&prefixed("bits_per_letter"), "bits/letter", rate(&all))
        }
        Layout::Image { .. } | Layout::Table | Layout::Columns(_) | Layout::Graph(_) => Row::estimate(
            &format!("{metric}_bits_per_dim"),
            "bits/dim",
            estimate.map(|v| bits_per_dim::bits_per_dim(v, sites)),
        ),
    };
    rows.push(finish(per_site));
    // If the distribution is known, the paired differences have a far smaller variance than the bounds themselves.
    let exact = exact_nats(&loaded.run.data, &ids, sites);
    rows.extend(exact.map(|exact| {
        let excess: Vec<f64> = nats.iter().zip(exact).map(|(bound, exact)| bound - exact).collect();
        finish(Row::estimate(&format!("{metric}_excess"), "nats", interval::mean(&excess)))
    }));
    Ok((rows, remarks::on_bound(&nats, &ids, splits.schema())))
}

/// `-log p` of every item in nats; `None` if the data distribution is not known.
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
