//! Log-probabilities of items: the bound, and the marginal by importance sampling.

use burn::tensor::Tensor;

use super::model::CategoricalModel;
use crate::aef::gaussian::{LN_2PI, log_standard};
use crate::aef::marginal::{LogDensities, MarginalRequest, log_mean};
use crate::aef::network::{DecoderNet, EncoderNet};
use crate::aef::prior::LatentMap;
use crate::aef::rows::{normals, repeat_rows};
use crate::aef::weights::Weights;
use crate::bijector::Bijector;
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::to_host;
use crate::transport::density::{Density, mean_and_error};
use crate::transport::time::column;

/// Log-probabilities of items in nats, with standard errors. With [`Density::Bound`] the bound in the mean over the draws;
/// else
///
/// ```text
/// log 1/K sum_k p(x | z_k) p(z_k) / q(z_k | x)      q = 1/4 sum_c N(m, (c s)^2),  c in {1, 1.5, 2.5, 4}
/// ```
///
/// in expectation not above the truth, where the density of a flow map as the prior is that of the request. The wide
/// components guard against a posterior that is wider than the noise; each gets its share of the draws, and all are weighted
/// by the density of the whole mixture. The proposal of the request is not read.
///
/// The draws of item `i` come from the random stream of index `first + i`. The model should be without gradients.
///
/// # Panics
/// If there are no draws or no items.
pub fn log_densities<E: EncoderNet, D: DecoderNet>(
    model: &CategoricalModel<E, D>,
    ids: &[u32],
    first: u64,
    request: &MarginalRequest,
) -> LogDensities {
    estimates(model, ids, first, request, false)
}

/// The same for the decoder of a coupling: `p(x | z)` is then that of the base variable of z, `p(x | f(z))`. Since f is
/// one to one, nothing else changes. The bound takes the density of a flow map as the prior along its path.
///
/// # Panics
/// As [`log_densities`], or if the model has no coupling.
pub fn one_step_log_densities<E: EncoderNet, D: DecoderNet>(
    model: &CategoricalModel<E, D>,
    ids: &[u32],
    first: u64,
    request: &MarginalRequest,
) -> LogDensities {
    estimates(model, ids, first, request, true)
}

fn estimates<E: EncoderNet, D: DecoderNet>(
    model: &CategoricalModel<E, D>,
    ids: &[u32],
    first: u64,
    request: &MarginalRequest,
    one_step: bool,
) -> LogDensities {
    let likelihood = |z: Tensor<2>, ids: &[u32]| match one_step {
        true => model.one_step_log_likelihood(model.to_base(z), ids),
        false => model.log_likelihood(z, ids),
    };
    let sites = model.sites().count;
    let items = ids.len() / sites;
    assert!(request.draws > 0 && items > 0, "an estimate takes at least one draw of one item");
    let mut random: Vec<Stream> =
        (0..items as u64).map(|i| stream(request.seed, Purpose::Likelihood, first + i)).collect();
    let per_pass = (request.rows / items).clamp(1, request.draws);
    let mut bounds = vec![Vec::new(); items];
    let mut weights: Vec<Weights> = (0..items).map(|_| Weights::default()).collect();
    let sampled = matches!(request.density, Density::Bound { .. });
    // One random offset an item: in expectation over it, every number of draws has each component at equal shares.
    let offsets: Vec<f64> = random.iter_mut().map(Stream::uniform).collect();
    for start in (0..request.draws).step_by(per_pass) {
        let k = per_pass.min(request.draws - start);
        let repeated: Vec<u32> = ids.chunks(sites).flat_map(|item| item.repeat(k)).collect();
        if sampled {
            let noise = model.noise_of(&mut random, k);
            let bound = if one_step {
                let (z, entropy) = model.noised(&repeated, noise);
                let prior = log_priors(model, z.clone(), Density::default(), request.seed);
                let nats = to_host(&likelihood(z, &repeated));
                nats.into_iter().zip(prior).map(|(nats, prior)| nats + prior + entropy).collect()
            } else {
                to_host(&model.bound(&repeated, noise, 1.0).0)
            };
            bound.chunks(k).zip(&mut bounds).for_each(|(values, all)| all.extend(values));
            continue;
        }
        let m = repeat_rows(model.code(ids), k);
        let d = m.dims()[1];
        let xi: Tensor<2> = Tensor::cat(random.iter_mut().map(|stream| normals(stream, [k, d], &m)).collect(), 0);
        let component = |item: usize, draw: usize| {
            let share = ((start + draw) as f64 + offsets[item]) / request.draws as f64;
            SCALES[((share * SCALES.len() as f64) as usize).min(SCALES.len() - 1)]
        };
        let scales: Vec<f64> = (0..items * k).map(|row| component(row / k, row % k)).collect();
        let xi = xi * column(&scales, &m);
        let z = m + xi.clone() * model.noise();
        let likelihood = to_host(&likelihood(z.clone(), &repeated));
        let prior = log_priors(model, z, request.density, request.seed);
        for (row, (xi, (likelihood, prior))) in
            to_host(&xi).chunks(d).zip(likelihood.into_iter().zip(prior)).enumerate()
        {
            weights[row / k].push(likelihood + prior - (log_mixture(xi) - d as f64 * model.noise().ln()));
        }
    }
    let (values, errors) = if sampled {
        bounds.iter().map(|draws| mean_and_error(draws)).unzip()
    } else {
        weights.into_iter().map(|weights| weights.log_mean(request.without_ln_k)).unzip()
    };
    LogDensities { values, errors }
}

/// Scales of the proposal's components, in units of the noise.
const SCALES: [f64; 4] = [1.0, 1.5, 2.5, 4.0];

/// `log 1/4 sum_c N(xi; 0, c^2)`.
fn log_mixture(xi: &[f64]) -> f64 {
    let (d, square) = (xi.len() as f64, xi.iter().map(|x| x * x).sum::<f64>());
    log_mean(&SCALES.map(|c| -0.5 * (square / (c * c) + d * LN_2PI) - d * c.ln()), false).0
}

/// `log p(z)` of every row.
fn log_priors<E: EncoderNet, D: DecoderNet>(
    model: &CategoricalModel<E, D>,
    z: Tensor<2>,
    density: Density,
    seed: u64,
) -> Vec<f64> {
    let of_map = |map: &LatentMap, z| map.log_densities(z, density, seed, 0).values;
    match &model.map {
        Some(map) => of_map(map, z),
        None => {
            let (z0, ladj) = model.prior.forward_and_ladj(z);
            to_host(&(log_standard(z0) + ladj))
        }
    }
}
