//! Log-densities of images: exact for flows, and by importance sampling of the latent for the other models.
//!
//! ```text
//! log p(x) ~ log 1/K sum_k p(x | z_k) p(z_k) / r(z_k | x),   z_k ~ r(. | x)
//! ```
//!
//! in expectation a lower bound that tightens with K (Burda, Grosse, Salakhutdinov 2016, arXiv:1509.00519). The default
//! proposal, which needs no tuning, is a mixture of Gaussians around the image's code z*, with the local shape of
//! decoder and prior,
//!
//! ```text
//! r = 1/6 sum_c N(z*, c^2 A^-1),   A = J^T V^-1 J + P^T P,   c in {0.5, 1, 2, 5, 20, 100}
//! ```
//!
//! with the Jacobian J and the variances V of the decoder's image and the Jacobian P of the prior flow (the
//! Gauss-Newton matrix of `-log p(x, z)`, by central differences). All draws are weighted by the density of the whole
//! mixture (the balance heuristic of Veach, Guibas 1995), so that the wide components guard against a wrong shape. The
//! proposal is equivariant under a joint scaling of the latent and its prior.
//!
//! # Examples
//! The logarithm of a mean of weights, with and without `-ln K`.
//! ```
//! use pushforward::aef::marginal::log_mean;
//!
//! let log_weights = [1f64.ln(), 3f64.ln()];
//! assert!((log_mean(&log_weights, false).0 - 2f64.ln()).abs() < 1e-12);
//! assert!((log_mean(&log_weights, true).0 - 4f64.ln()).abs() < 1e-12);
//! ```

use burn::tensor::Tensor;
use faer::{Mat, Side};

use super::latent::repeat_images;
use super::model::to_base;
use super::network::{DecoderNet, EncoderNet};
use super::output::Output;
use super::path::BoundNoise;
use super::preprocessing::Prepared;
use super::prior::LatentMap;
use super::rows::repeat_rows;
use super::weights::Weights;
pub use super::weights::log_mean;
use super::{AefModel, LatentModel};
use crate::rng::{Purpose, Stream, stream};
use crate::tensor::{from_host, to_host};
use crate::transport::density::{Density, mean_and_error};

/// Proposal distribution of the latent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Proposal {
    /// The Gaussian mixture of the module page.
    #[default]
    GaussNewton,
    /// The recognition model.
    Recognition {
        /// Scale of the noise; `None` for the model's own. Required for a model without noise.
        noise: Option<f64>,
    },
}

/// How log-densities are estimated; ignored by models with an exact density.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MarginalRequest {
    /// Number of draws per image, K.
    pub draws: usize,
    /// Distribution of the draws.
    pub proposal: Proposal,
    /// Leaves out `-ln K`, as the published estimator of AEF-linear does. For comparison with published numbers only:
    /// it overstates every log-density by `ln K`.
    pub without_ln_k: bool,
    /// Seed of the draws.
    pub seed: u64,
    /// Largest number of decoder rows per pass, which bounds the memory.
    pub rows: usize,
    /// Density of a flow map as the prior. With [`Density::Bound`] the result is the bound of the objective, in the mean
    /// over the draws, for which the density of the prior is not needed.
    pub density: Density,
}

impl Default for MarginalRequest {
    fn default() -> Self {
        Self {
            draws: 128,
            proposal: Proposal::default(),
            without_ln_k: false,
            seed: 0,
            rows: 512,
            density: Density::default(),
        }
    }
}

/// Log-densities in nats, one per image.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogDensities {
    /// Log-density of every dequantised image in `[0, 1]^n`.
    pub values: Vec<f64>,
    /// Standard error of every value, from the spread of its weights; 0 if exact, NaN of a single draw. Of a partition with
    /// a flow map as the prior that of the prior's density.
    pub errors: Vec<f64>,
}

/// Whether the log-densities of the model are exact, without draws and without integration.
pub fn is_exact<E: EncoderNet, D: DecoderNet>(model: &AefModel<E, D>) -> bool {
    matches!(model, AefModel::Partition(_) | AefModel::Flow(_)) && model.prior_map().is_none()
}

/// The name of the estimator that [`log_densities`] uses, for reports: `exact`, `importance-64`, and with a flow map as the
/// prior the name of its density: `ode`, `importance-64-ode`, `bound-64`.
pub fn estimator<E: EncoderNet, D: DecoderNet>(model: &AefModel<E, D>, request: &MarginalRequest) -> String {
    let MarginalRequest { draws, density, .. } = *request;
    match (model.prior_map(), density, model) {
        (None, ..) if is_exact(model) => "exact".into(),
        (None, ..) => format!("importance-{draws}"),
        (Some(_), Density::Bound { .. }, _) => format!("bound-{draws}"),
        (Some(_), _, AefModel::Partition(_)) => density.name().into(),
        (Some(_), ..) => format!("importance-{draws}-{}", density.name()),
    }
}

/// Log-densities of images `[batch, n]` in data space; `None` for the autoencoder, which has no density.
///
/// The draws of image `i` of the batch come from the random stream of index `first + i`. The model should be without
/// gradients (`module.valid()`).
///
/// # Panics
/// As [`marginal`].
///
/// # Examples
/// A flow on pixels has an exact log-density: the standard error is 0.
/// ```
/// use pushforward::aef::ImageShape;
/// use pushforward::aef::config::AefConfig;
/// use pushforward::aef::marginal::{MarginalRequest, is_exact, log_densities};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
///
/// let config: AefConfig = toml::from_str("variant = 'flow'\nprior = { kind = 'none' }")?;
/// let shape = ImageShape { channels: 1, height: 2, width: 2 };
/// let mut model = config.init(shape, &Device::flex(), &mut stream(0, Purpose::Init, 0));
/// model.assume_initialised();
/// let x = Tensor::full([1, 4], 0.5, &Device::flex());
/// let found = log_densities(&model, x, 0, &MarginalRequest::default()).expect("a flow has a density");
/// assert!(is_exact(&model) && found.errors == [0.0]);
/// assert!((found.values[0] - 4.0 * (4f64.ln() - 0.5 * std::f64::consts::TAU.ln())).abs() < 1e-3);
/// # Ok::<(), toml::de::Error>(())
/// ```
pub fn log_densities<E: EncoderNet, D: DecoderNet>(
    model: &AefModel<E, D>,
    x: Tensor<2>,
    first: u64,
    request: &MarginalRequest,
) -> Option<LogDensities> {
    let images = model.prepare(x);
    let exact = |values: Tensor<1>| {
        let values = to_host(&values);
        LogDensities { errors: vec![0.0; values.len()], values }
    };
    match model {
        AefModel::Partition(m) if let Some(map) = &m.map => {
            let (parts, density) = (m.parts(&images), request.prior_density());
            let found = map.log_densities(parts.u, density, request.seed, first);
            let values = to_host(&parts.rest).into_iter().zip(found.values).map(|(rest, prior)| rest + prior).collect();
            Some(LogDensities { values, errors: found.errors })
        }
        AefModel::Partition(m) => Some(exact(m.encode(&images).log_density)),
        AefModel::Flow(m) => Some(exact(m.encode(&images).1)),
        AefModel::Latent(m) => Some(marginal(m, &images, first, request)),
        AefModel::Autoencoder(_) => None,
    }
}

impl MarginalRequest {
    /// The density of the prior, with as many draws as the request where it is sampled.
    fn prior_density(&self) -> Density {
        match self.density {
            Density::Bound { .. } => Density::Bound { draws: self.draws },
            other => other,
        }
    }
}

/// The bound of the objective of a model with a flow map as the prior, in the mean over the draws.
fn bound<E: EncoderNet, D: DecoderNet>(
    model: &LatentModel<E, D>,
    map: &LatentMap,
    images: &Prepared,
    noise: &mut [Stream],
    request: &MarginalRequest,
) -> LogDensities {
    let [batch, _] = images.h.dims();
    let d = model.code(images.h.clone().narrow(0, 0, 1)).dims()[1];
    let per_pass = (request.rows / batch).clamp(1, request.draws);
    let mut draws = vec![Vec::with_capacity(request.draws); batch];
    for start in (0..request.draws).step_by(per_pass) {
        let k = per_pass.min(request.draws - start);
        let noise = BoundNoise::draw(noise, k, map, d, &images.h);
        let (bound, _) = model.path_bound(map, &repeat_images(images, k), noise);
        to_host(&bound.value).chunks(k).zip(&mut draws).for_each(|(values, all)| all.extend(values));
    }
    let (values, errors) = draws.iter().map(|draws| mean_and_error(draws)).unzip();
    LogDensities { values, errors }
}

/// Importance-sampled log-densities of a latent model; arguments as in [`log_densities`].
///
/// # Panics
/// If there are no draws or no images, or if the recognition model is the proposal and has no noise.
pub fn marginal<E: EncoderNet, D: DecoderNet>(
    model: &LatentModel<E, D>,
    images: &Prepared,
    first: u64,
    request: &MarginalRequest,
) -> LogDensities {
    assert!(request.draws > 0, "importance sampling needs at least one draw");
    let [batch, _] = images.h.dims();
    let mut noise: Vec<Stream> =
        (0..batch as u64).map(|i| stream(request.seed, Purpose::Likelihood, first + i)).collect();
    if let (Some(map), Density::Bound { .. }) = (&model.map, request.density) {
        return bound(model, map, images, &mut noise, request);
    }
    let proposal = match request.proposal {
        Proposal::GaussNewton => Some(Mixture::around(model, images, request)),
        Proposal::Recognition { .. } => None,
    };
    // Systematic sampling of the components: each gets its share of the draws, whatever their number.
    let offsets: Vec<f64> = noise.iter_mut().map(Stream::uniform).collect();
    let mut weights: Vec<Weights> = (0..batch).map(|_| Weights::default()).collect();
    let per_pass = (request.rows / batch).clamp(1, request.draws);
    for start in (0..request.draws).step_by(per_pass) {
        let k = per_pass.min(request.draws - start);
        let (z, log_proposal) = match (&proposal, request.proposal) {
            (Some(mixture), _) => {
                let component = |image: usize, draw: usize| {
                    let share = ((start + draw) as f64 + offsets[image]) / request.draws as f64;
                    ((share * SCALES.len() as f64) as usize).min(SCALES.len() - 1)
                };
                let (z, log_proposal) = mixture.draw(k, &mut noise, component);
                let d = mixture.latent;
                (from_host(&z, [batch * k, d], &images.h), log_proposal)
            }
            (None, Proposal::Recognition { noise: scale }) => {
                let distribution = model.latent_distribution(images.h.clone());
                let d = model.code(images.h.clone().narrow(0, 0, 1)).dims()[1];
                let scale = scale.unwrap_or_else(|| model.noise());
                assert!(scale > 0.0, "recognition without noise proposes a single point: set a scale of the noise");
                let xi: Vec<f64> = noise.iter_mut().flat_map(|s| s.normals(k * d)).map(f64::from).collect();
                let xi = from_host(&xi, [batch * k, d], &images.h);
                let draw = model.draw(distribution.repeat(k), xi.clone(), scale);
                let log_q = to_host(&model.log_recognition(&draw, xi, scale));
                (draw.z, log_q)
            }
            (None, Proposal::GaussNewton) => unreachable!("the mixture was made above"),
        };
        let output = to_host(&model.decoder.forward(z.clone()).log_density(&repeat_images(images, k)));
        let prior = model.log_priors(z, request.density, request.seed);
        for (row, ((output, prior), log_q)) in output.into_iter().zip(prior).zip(log_proposal).enumerate() {
            weights[row / k].push(output + prior - log_q);
        }
    }
    let (values, errors) = weights.into_iter().map(|w| w.log_mean(request.without_ln_k)).unzip();
    LogDensities { values, errors }
}

/// Scales of the mixture's components.
const SCALES: [f64; 6] = [0.5, 1.0, 2.0, 5.0, 20.0, 100.0];
/// Step of the central differences, in standard deviations of the code over the batch.
const STEP: f64 = 1e-2;

/// Mixtures around the codes of a batch.
struct Mixture {
    latent: usize,
    images: Vec<Centre>,
}

/// The mixture of one image.
struct Centre {
    code: Vec<f64>,
    /// `L` of the Cholesky decomposition `A = L L^T`, row-major.
    factor: Vec<f64>,
    log_det_factor: f64,
}

impl Mixture {
    fn around<E: EncoderNet, D: DecoderNet>(
        model: &LatentModel<E, D>,
        images: &Prepared,
        request: &MarginalRequest,
    ) -> Self {
        let code = model.code(images.h.clone());
        let [batch, d] = code.dims();
        let centre = to_host(&code);
        let steps = steps(&centre, d);
        let (_, variance) = moments(&model.decoder.forward(code.clone()));
        // Columns of both Jacobians, as many coordinates per pass as `request.rows` allows.
        let (mut image_columns, mut prior_columns) = (Vec::with_capacity(d), Vec::with_capacity(d));
        let per_pass = (request.rows / (2 * batch)).clamp(1, d);
        for start in (0..d).step_by(per_pass) {
            let count = per_pass.min(d - start);
            let mut shift = vec![0.0; batch * count * 2 * d];
            for (row, shift) in shift.chunks_exact_mut(d).enumerate() {
                let coordinate = start + row / 2 % count;
                shift[coordinate] = if row % 2 == 0 { steps[coordinate] } else { -steps[coordinate] };
            }
            let z = repeat_rows(code.clone(), 2 * count) + from_host(&shift, [batch * count * 2, d], &code);
            let (mean, _) = moments(&model.decoder.forward(z.clone()));
            let base = to_base(&model.prior, model.map.as_ref(), z);
            for (out, values) in [(&mut image_columns, mean), (&mut prior_columns, base)] {
                let width = values.dims()[1];
                let values = values.reshape([batch, count, 2, width]);
                let side = |i| values.clone().narrow(2, i, 1).reshape([batch, count, width]);
                let steps = from_host(&steps[start..start + count], [1, count, 1], &code);
                out.push((side(0) - side(1)) / (steps * 2.0));
            }
        }
        // [batch, d, n] and [batch, d, d]
        let (image, prior) = (Tensor::cat(image_columns, 1), Tensor::cat(prior_columns, 1));
        let n = variance.dims()[1];
        let scaled = image / variance.sqrt().reshape([batch, 1, n]);
        let a = scaled.clone().matmul(scaled.swap_dims(1, 2)) + prior.clone().matmul(prior.swap_dims(1, 2));
        let a = to_host(&a);
        let images = (0..batch)
            .map(|i| Centre::new(centre[i * d..(i + 1) * d].to_vec(), &a[i * d * d..(i + 1) * d * d], &steps))
            .collect();
        Self { latent: d, images }
    }

    /// `k` draws per image, the draws of an image next to each other, and their log-densities under the whole mixture.
    fn draw(&self, k: usize, noise: &mut [Stream], component: impl Fn(usize, usize) -> usize) -> (Vec<f64>, Vec<f64>) {
        let d = self.latent;
        let mut points = Vec::with_capacity(self.images.len() * k * d);
        let mut densities = Vec::with_capacity(self.images.len() * k);
        for (i, (centre, noise)) in self.images.iter().zip(noise).enumerate() {
            for draw in 0..k {
                let scale = SCALES[component(i, draw)];
                let xi: Vec<f64> = noise.normals(d).into_iter().map(f64::from).collect();
                let square: f64 = xi.iter().map(|x| x * x).sum::<f64>() * scale * scale;
                points.extend(centre.point(&xi, scale));
                densities.push(centre.log_density(square));
            }
        }
        (points, densities)
    }
}

impl Centre {
    fn new(code: Vec<f64>, a: &[f64], steps: &[f64]) -> Self {
        let d = code.len();
        let matrix = |floor: f64| {
            Mat::from_fn(d, d, |i, j| a[i * d + j] + if i == j { floor * (STEP / steps[i]).powi(2) } else { 0.0 })
        };
        // Regularised by the spread of the codes, for coordinates that neither decoder nor prior determines; more
        // strongly if rounding has made the matrix indefinite.
        let factor = [1e-3, 1.0].into_iter().find_map(|floor| matrix(floor).llt(Side::Lower).ok());
        let factor: Vec<f64> = match factor {
            Some(llt) => (0..d * d).map(|e| if e % d <= e / d { llt.L()[(e / d, e % d)] } else { 0.0 }).collect(),
            None => (0..d * d).map(|e| if e % d == e / d { STEP / steps[e / d] } else { 0.0 }).collect(),
        };
        let log_det_factor = (0..d).map(|i| factor[i * d + i].ln()).sum();
        Self { code, factor, log_det_factor }
    }

    /// `z* + c L^-T xi`.
    fn point(&self, xi: &[f64], scale: f64) -> Vec<f64> {
        let d = xi.len();
        let mut z = vec![0.0; d];
        for i in (0..d).rev() {
            let known: f64 = (i + 1..d).map(|j| self.factor[j * d + i] * z[j]).sum();
            z[i] = (xi[i] - known) / self.factor[i * d + i];
        }
        z.iter().zip(&self.code).map(|(z, code)| code + scale * z).collect()
    }

    /// Log-density of the mixture at points with `|L^T (z - z*)|^2 = square`.
    fn log_density(&self, square: f64) -> f64 {
        let d = self.code.len() as f64;
        let log = |c: f64| -0.5 * square / (c * c) - d * c.ln();
        let top = SCALES.into_iter().map(log).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = SCALES.into_iter().map(|c| (log(c) - top).exp()).sum();
        top + (sum / SCALES.len() as f64).ln() + self.log_det_factor - 0.5 * d * super::gaussian::LN_2PI
    }
}

/// Step of every coordinate: a fraction of its standard deviation over the batch, or of its size if it does not vary.
fn steps(codes: &[f64], d: usize) -> Vec<f64> {
    let batch = (codes.len() / d) as f64;
    (0..d)
        .map(|j| {
            let column = || codes.iter().skip(j).step_by(d);
            let mean = column().sum::<f64>() / batch;
            let deviation = (column().map(|z| (z - mean).powi(2)).sum::<f64>() / batch).sqrt();
            STEP * if deviation > 1e-6 { deviation } else { mean.abs().max(1.0) }
        })
        .collect()
}

/// Mean and variance of an output, each `[batch, n]`, in the space of the output distribution.
fn moments(output: &Output) -> (Tensor<2>, Tensor<2>) {
    match output {
        Output::Gaussian { mean, scale } => (mean.clone(), scale.clone() * scale.clone()),
        Output::Logistics(mixture) => mixture.moments(),
    }
}
