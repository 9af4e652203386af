//! Evaluation of a flow map: samples at several numbers of network evaluations, and the likelihood bound.

use burn::tensor::Device;

use crate::data::synthetic::checker;
use crate::data::{DataConfig, Layout, Splits};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::likelihood::BoundRequest;
use crate::flow_map::sample::{SampleRequest, Sampler};
use crate::kernels::Precision;
use crate::metrics::report::{Report, Row, over_repeats};
use crate::metrics::{bits_per_dim, interval};
use crate::run::evaluate::metrics::SampleMetrics;
use crate::run::evaluate::request::{EvalError, EvalRequest, Progress};
use crate::run::held_out::items;
use crate::run::model::Loaded;
use crate::run::trained::RequestError;
use crate::run::trained::TrainedFlowMap;

/// Measures a flow map. `metrics` are those of its data set ([`metrics_for`](super::metrics_for)) or your own.
///
/// # Errors
/// See [`EvalError`].
pub fn evaluate<C: BackboneConfig, M: SampleMetrics + ?Sized>(
    loaded: &Loaded<TrainedFlowMap<C>>,
    splits: &Splits,
    metrics: &M,
    request: &EvalRequest,
    progress: &mut Progress<'_>,
) -> Result<Report, EvalError> {
    let mut report = Report::new(loaded.run.identity());
    for row in metrics.held_out(request.sample.count) {
        report.push(Row { sampler: Some("held-out data".into()), ..row });
    }
    if request.bound_items > 0 {
        for row in bound_rows(loaded, splits, request, progress)? {
            report.push(row);
        }
    }
    let (sampler, count) = (request.sample.sampler, request.sample.count);
    let adaptive = matches!(sampler, Sampler::Dopri5 { .. });
    let nfes = if adaptive { vec![1] } else { request.nfe.clone() };
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
            let samples = loaded.model.sample(&wanted, &mut |done| progress(&stage, done, count))?;
            if samples.nfe.len() < count {
                return Err(EvalError::Interrupted);
            }
            let counted = samples.mean_nfe().round() as u32;
            let finish = |row: Row| {
                let row = Row { n: row.n.or(Some(count)), ..row };
                row.sampled(sampler.name(), counted).seed(request.sample.seed).dtype(dtype(&loaded.model.device))
            };
            measured.push(metrics.rows(&samples, &request.sample.labels).into_iter().map(finish).collect());
        }
        over_repeats(measured).into_iter().for_each(|row| report.push(row));
    }
    Ok(report)
}

/// How exactly products are made on a device, for reports.
pub(super) fn dtype(device: &Device) -> &'static str {
    Precision::current().on(device).name()
}

fn bound_rows<C: BackboneConfig>(
    loaded: &Loaded<TrainedFlowMap<C>>,
    splits: &Splits,
    request: &EvalRequest,
    progress: &mut Progress<'_>,
) -> Result<Vec<Row>, EvalError> {
    let sites = splits.schema().sites;
    let ids = items(splits.test.as_ref(), request.bound_items);
    let bound = BoundRequest { draws: request.bound_draws, seed: request.sample.seed, batch: request.sample.batch };
    let mut nats = Vec::new();
    let total = ids.len() / sites;
    for part in ids.chunks(64 * sites) {
        match loaded.model.bound(part, nats.len() as u64, &bound) {
            Ok(values) => nats.extend(values),
            // Samples can still be judged where the model has no likelihood bound.
            Err(RequestError(_)) => return Ok(Vec::new()),
        }
        if !progress("likelihood bound", nats.len(), total) {
            return Err(EvalError::Interrupted);
        }
    }
    let estimate = interval::mean(&nats);
    let name = format!("importance-r-{}", request.bound_draws);
    let finish = |row: Row| {
        row.estimator(&name)
            .seed(request.sample.seed)
            .dtype(dtype(&loaded.model.device))
            .reference(&format!("{}/test", splits.name), &splits.sha256)
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
    let exact = exact_nats(&loaded.run.data, &ids, sites);
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
