//! Autoencoders whose prior is a flow map. Before training the map is exact for a standard normal `m`, so that
//! `p(u) = N(0, 1 + s^2)` and linear models have closed forms.

use burn::module::Module as _;
use burn::tensor::Tensor;
use pushforward::aef::config::{AefConfig, Variant};
use pushforward::aef::latent::{Expansion, Recognition};
use pushforward::aef::marginal::{MarginalRequest, Proposal, estimator, is_exact, log_densities, marginal};
use pushforward::aef::network::{ImageNetworkConfig, MlpConfig};
use pushforward::aef::prior::LatentMap;
use pushforward::aef::{AefModel, AefObjective, ImageShape, LossKind, PriorConfig};
use pushforward::bijector::{Affine, FlowConfig, FlowStep, Transform};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, from_host, to_host};
use pushforward::train::objective::{Objective as _, TrainStep};
use pushforward::transport::density::Density;
use pushforward::transport::map::Drawing;
use pushforward::transport::objective::bound_integral;
use pushforward::transport::{MapObjectiveConfig, VectorMapConfig};

use crate::aef_nets::{
    LinearEncoder, TanhDecoder, TinyLatent, decoder, encoder, identity, linear, no_preprocessing, plain, row_shape,
};
use crate::support::{close, device, gradients_by_name, precision, tolerance, tracked};

const LN_2PI: f64 = 1.837_877_066_409_345_3;
const SHAPE: ImageShape = ImageShape { channels: 1, height: 2, width: 4 };
const ODE: Density = Density::Ode { tolerance: 1e-8, probes: 0 };

fn untrained(d: usize, noise: f64) -> LatentMap {
    let device = device().autodiff();
    let map = VectorMapConfig { width: 8, blocks: 1, time_width: 4, ..VectorMapConfig::default() };
    let map = cast_module(map.init(d, &device, &mut stream(0, Purpose::Init, 0)), precision(&device));
    LatentMap { map, volume: None, noise, objective: MapObjectiveConfig::default() }
}

/// `x = W z + tau eta` with a latent of one number and three values of x.
struct Linear {
    w: [f64; 3],
    tau: f64,
    s: f64,
}

impl Linear {
    /// The scale of W at which the posterior of z has the variance `s^2`, so that the bound can be tight.
    fn best(tau: f64, s: f64) -> Self {
        let length = tau / (s * (1.0 + s * s).sqrt());
        Self { w: [2.0 / 3.0, -2.0 / 3.0, 1.0 / 3.0].map(|w| w * length), tau, s }
    }

    /// `m(x)` of the posterior.
    fn mean(&self) -> [f64; 3] {
        self.w.map(|w| w * self.s * self.s / (self.tau * self.tau))
    }

    /// The model with the encoder `m(x) = e.x + shift`.
    fn model(&self, e: [f64; 3], shift: f64, scale: f64, posterior: bool) -> TinyLatent {
        let net = LinearEncoder {
            mean: linear(&e.map(|e| vec![e]), &[shift]),
            scale: linear(&vec![vec![0.0]; 3], &[scale.ln()]),
            exponential: true,
        };
        let output = linear(&[self.w.to_vec()], &[0.0; 3]);
        let dec = TanhDecoder { hidden: None, output, shape: row_shape(3) };
        let recognition = match posterior {
            true => Recognition::Posterior(identity()),
            // W h = 0: the code is the encoder's mean.
            false => Recognition::Expansion(Expansion {
                map: linear(&vec![vec![0.0]; 3], &[0.0]),
                core: identity(),
                noise: self.s,
            }),
        };
        let nets = (encoder(net, 3), decoder(dec, &[self.tau; 3]));
        let mut model = TinyLatent::new(no_preprocessing(), nets, recognition, identity(), 1);
        model.map = Some(untrained(1, self.s));
        model
    }

    /// `log p(x)`, of variance `tau^2 + (1 + s^2) |W|^2` along W and `tau^2` across.
    fn log_density(&self, x: [f64; 3]) -> f64 {
        let length = self.w.iter().map(|w| w * w).sum::<f64>().sqrt();
        let along = x.iter().zip(self.w).map(|(x, w)| x * w / length).sum::<f64>();
        let across = x.iter().map(|x| x * x).sum::<f64>() - along * along;
        let (narrow, wide) = (self.tau * self.tau, self.tau * self.tau + (1.0 + self.s * self.s) * length * length);
        -0.5 * (along * along / wide + wide.ln() + across / narrow + 2.0 * narrow.ln() + 3.0 * LN_2PI)
    }

    fn log_output(&self, x: [f64; 3], z: f64) -> f64 {
        let square: f64 = x.iter().zip(self.w).map(|(x, w)| (x - w * z).powi(2)).sum();
        -0.5 * (square / (self.tau * self.tau) + 3.0 * (LN_2PI + 2.0 * self.tau.ln()))
    }

    /// The bound of `-log p(x)` at a code m, by quadrature: all terms are quadratic in the noise, for which +-1 are exact.
    fn bound(&self, x: [f64; 3], m: f64) -> f64 {
        let nodes = 2000;
        let shares: Vec<f64> = (0..2 * nodes).map(|i| ((i / 2) as f64 + 0.5) / nodes as f64).collect();
        let xi: Vec<f64> = (0..2 * nodes).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let map = untrained(1, self.s);
        let nats = bound_integral(
            &map.map,
            tracked(&vec![m; 2 * nodes], [2 * nodes, 1]),
            tracked(&xi, [2 * nodes, 1]),
            &shares,
            self.s,
        );
        let integral = to_host(&nats).iter().sum::<f64>() / (2 * nodes) as f64;
        let output = 0.5 * (self.log_output(x, m + self.s) + self.log_output(x, m - self.s));
        integral - output
    }
}

const XS: [[f64; 3]; 3] = [[0.5, -0.1, 0.3], [-1.2, 0.8, 0.1], [0.0, 0.4, -0.9]];

fn images() -> Tensor<2> {
    tracked(&XS.concat(), [3, 3])
}

#[test]
fn the_bound_of_a_linear_gaussian_autoencoder_is_its_likelihood_at_the_best_code() {
    let best = Linear::best(0.4, 0.3);
    let dot = |e: [f64; 3], x: [f64; 3]| e.iter().zip(x).map(|(e, x)| e * x).sum::<f64>();
    for x in XS {
        let m = dot(best.mean(), x);
        close("tight", &[best.bound(x, m)], &[-best.log_density(x)], tolerance(1e-6));
        for other in [m + 0.1, m - 0.2, 0.5 * m + 0.3] {
            assert!(best.bound(x, other) > -best.log_density(x) + 1e-3, "another code has a larger bound");
        }
    }
    // Other noise than that of the posterior is not tight for any code.
    let wide = Linear { tau: 0.9, ..Linear::best(0.4, 0.3) };
    for x in XS {
        let least = (-20..=20).map(|i| wide.bound(x, 0.1 * f64::from(i))).fold(f64::INFINITY, f64::min);
        assert!(least > -wide.log_density(x) + 1e-3);
    }
}

#[test]
fn sampled_bounds_and_marginals_of_linear_autoencoders_are_the_closed_ones() {
    let best = Linear::best(0.4, 0.3);
    let wanted: Vec<f64> = XS.iter().map(|&x| best.log_density(x)).collect();
    let model = best.model(best.mean(), 0.0, 1.0, false).valid();
    let at = |density, proposal, draws| {
        let request = MarginalRequest { draws, density, proposal, ..MarginalRequest::default() };
        marginal(&model, &plain(images().inner()), 0, &request)
    };
    // With the posterior as the proposal every weight is the likelihood.
    for density in [ODE, Density::Map { jumps: 1 }, Density::Map { jumps: 2 }] {
        let found = at(density, Proposal::Recognition { noise: None }, 5);
        close(&format!("{density:?}"), &found.values, &wanted, tolerance(1e-6));
        let mixture = at(density, Proposal::GaussNewton, 600);
        for ((value, error), wanted) in mixture.values.iter().zip(&mixture.errors).zip(&wanted) {
            assert!((value - wanted).abs() < 5.0 * error && *error < 0.1, "{value} +- {error}, wanted {wanted}");
        }
    }
    let bound = at(Density::Bound { draws: 1 }, Proposal::GaussNewton, 4000);
    for ((value, error), wanted) in bound.values.iter().zip(&bound.errors).zip(&wanted) {
        assert!((value - wanted).abs() < 5.0 * error && *error < 0.2, "{value} +- {error}, wanted {wanted}");
    }
}

#[test]
fn the_bound_of_a_vae_has_the_relative_entropy_of_its_blurred_posterior() {
    let best = Linear::best(0.4, 0.3);
    let (e, shift, sigma, s) = ([0.3, -0.1, 0.2], 0.1, 0.25, 0.3);
    let model = best.model(e, shift, sigma, true).valid();
    let request = MarginalRequest { draws: 6000, density: Density::Bound { draws: 1 }, ..MarginalRequest::default() };
    let found = marginal(&model, &plain(images().inner()), 0, &request);
    let tau2 = sigma * sigma + s * s;
    for (i, x) in XS.into_iter().enumerate() {
        let c = e.iter().zip(x).map(|(e, x)| e * x).sum::<f64>() + shift;
        let prior = 1.0 + s * s;
        let divergence = 0.5 * ((tau2 + c * c) / prior - 1.0 + (prior / tau2).ln());
        let output = 0.5 * (best.log_output(x, c + tau2.sqrt()) + best.log_output(x, c - tau2.sqrt()));
        let (value, error) = (found.values[i], found.errors[i]);
        assert!((value - (output - divergence)).abs() < 5.0 * error && error < 0.2, "{value} +- {error}");
    }
}

fn config(variant: Variant) -> AefConfig {
    let prior = "kind = 'flow-map'\nnetwork = { width = 8, blocks = 1, time_width = 4 }\nobjective = { draws = 3 }";
    AefConfig {
        variant,
        latent: 2,
        network: ImageNetworkConfig::Mlp(MlpConfig { width: 8, layers: 1 }),
        core: FlowConfig::None {},
        prior: toml::from_str::<PriorConfig>(prior).expect("a prior"),
        alpha: 0.05,
        ..AefConfig::default()
    }
}

const VARIANTS: [Variant; 6] =
    [Variant::Noise, Variant::Vae, Variant::Center, Variant::Corner, Variant::LearnedCore, Variant::HaarCore];

fn pixels(count: usize) -> Tensor<2> {
    let mut numbers = stream(1, Purpose::Metric, 0);
    let values: Vec<f64> = (0..count * SHAPE.numel()).map(|_| 0.05 + 0.9 * numbers.uniform()).collect();
    tracked(&values, [count, SHAPE.numel()])
}

fn model(config: &AefConfig) -> AefModel {
    let device = device().autodiff();
    let mut model = cast_module(config.init(SHAPE, &device, &mut stream(3, Purpose::Init, 0)), precision(&device));
    model.initialise(pixels(64), config.latent, &mut stream(3, Purpose::Source, 0));
    model
}

#[test]
fn objectives_of_every_member_reach_every_parameter() {
    for variant in VARIANTS {
        let config = config(variant);
        let model = model(&config);
        let objective = AefObjective { latent: config.latent };
        let found = objective.of(&model, &model.prepare(pixels(6)), &mut stream(0, Purpose::Source, 1));
        assert_eq!(found.kind, LossKind::NegativeElbo);
        let batch = pushforward::aef::ImageBatch {
            pixels: to_host(&pixels(6)).into_iter().map(|v| v as f32).collect(),
            count: 6,
        };
        let step = TrainStep { model: &model, ema: &model, seed: 0, index: 1, step: 0, steps: 1 };
        let terms = || objective.loss(&step, &batch).terms;
        let names: Vec<_> = terms().iter().map(|term| term.values.name).collect();
        assert_eq!(names, ["negative_elbo", "off_diagonal"]);
        let all = terms().into_iter().map(|term| term.loss).reduce(Tensor::add).expect("terms");
        for (name, gradient) in gradients_by_name(&model, &all.backward()) {
            if name.ends_with("order") {
                continue; // of a permutation
            }
            let gradient = gradient.unwrap_or_else(|| panic!("{variant:?}: {name} has a gradient"));
            assert!(gradient.iter().all(|g| g.is_finite()), "{variant:?}: gradient of {name}");
        }
        // The loss off the diagonal is one of the map alone.
        let off_diagonal = terms().pop().expect("two terms").loss;
        for (name, gradient) in gradients_by_name(&model, &off_diagonal.backward()) {
            assert_eq!(gradient.is_some(), name.contains(".map.map."), "{variant:?}: {name}");
        }
    }
}

#[test]
fn images_come_back_and_base_variables_too() {
    for variant in VARIANTS {
        let model = model(&config(variant)).valid();
        let x = pixels(5).inner();
        let code = model.encode(x.clone());
        let back = model.decode(code.z.clone(), code.deviations);
        close(&format!("{variant:?}"), &to_host(&back), &to_host(&x), tolerance(1e-11));
        let base = model.to_base(code.z.clone());
        close(
            &format!("{variant:?} base"),
            &to_host(&model.from_base(base.clone())),
            &to_host(&code.z),
            tolerance(1e-5),
        );
        // Before training one jump is the whole path.
        let drawn = model.draw_latents(base, Drawing::Jumps(1));
        close(&format!("{variant:?} jump"), &to_host(&drawn), &to_host(&code.z), tolerance(1e-4));
    }
}

#[test]
fn a_partition_has_the_density_of_the_prior_by_name() {
    for variant in [Variant::Center, Variant::LearnedCore] {
        let config = config(variant);
        let mapped = model(&config).valid();
        let x = pixels(4).inner();
        let at = |density| {
            let request = MarginalRequest { density, draws: 4000, ..MarginalRequest::default() };
            (log_densities(&mapped, x.clone(), 0, &request).expect("a density"), estimator(&mapped, &request))
        };
        // The same model with the prior N(0, 1 + s^2) as a flow.
        let AefModel::Partition(mut plain) = mapped.clone() else { panic!("{variant:?} is a partition") };
        plain.map = None;
        plain
            .prior
            .steps
            .push(FlowStep::new(Transform::Affine(Affine::new(1.0 / (1.0 + config.noise.powi(2)).sqrt(), 0.0))));
        let wanted = to_host(&plain.encode(&mapped.prepare(x.clone())).log_density);
        for (density, name) in [(ODE, "ode"), (Density::Map { jumps: 1 }, "map")] {
            let (found, estimator) = at(density);
            close(name, &found.values, &wanted, tolerance(1e-6));
            assert!(estimator == name && !is_exact(&mapped));
        }
        let (bound, estimator) = at(Density::Bound { draws: 1 });
        assert_eq!(estimator, "bound-4000");
        // E log N(m + s xi) is below log N(m), by s^2 / (1 + s^2) over two a dimension.
        let below = config.noise.powi(2) / (1.0 + config.noise.powi(2));
        for ((value, error), wanted) in bound.values.iter().zip(&bound.errors).zip(&wanted) {
            assert!((value - (wanted - below)).abs() < 5.0 * error, "{value} +- {error}, wanted {wanted} - {below}");
        }
    }
}

#[test]
fn estimates_do_not_depend_on_the_rows_computed_together() {
    let model = model(&config(Variant::Noise)).valid();
    let x = pixels(3).inner();
    let at = |rows| {
        let request = MarginalRequest { draws: 12, rows, density: ODE, ..MarginalRequest::default() };
        log_densities(&model, x.clone(), 7, &request).expect("a density").values
    };
    close("rows", &at(6), &at(1000), tolerance(1e-6));
    let one = from_host::<2, 2>(&to_host(&x)[8..16], [1, 8], &x);
    let request = MarginalRequest { draws: 12, density: Density::Bound { draws: 1 }, ..MarginalRequest::default() };
    let alone = log_densities(&model, one, 8, &request).expect("a density").values;
    let all = log_densities(&model, x, 7, &request).expect("a density").values;
    close("batch", &alone, &all[1..2], tolerance(1e-9));
}
