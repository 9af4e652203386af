//! Identities of the autoencoders: invertibility, log-determinants, total mass, inputs of the encoder, bounds, and the
//! divergence of the published objective of the expansion.

use burn::module::{Module as _, Param};
use burn::tensor::Tensor;
use pushforward::aef::config::{AEF_EPSILON, AefConfig, Variant};
use pushforward::aef::encoder::ScaleConfig;
use pushforward::aef::marginal::{MarginalRequest, Proposal, is_exact, log_densities};
use pushforward::aef::model::DrawRequest;
use pushforward::aef::network::{ImageNetworkConfig, MlpConfig};
use pushforward::aef::output::OutputConfig;
use pushforward::aef::preprocessing::Prepared;
use pushforward::aef::{AefModel, AefObjective, ImageShape};
use pushforward::bijector::{FlowConfig, MafConfig};
use pushforward::metrics::bits_per_dim::bits_per_dim_dequantised;
use pushforward::rng::{Purpose, stream};
use pushforward::run::TrainedAef;
use pushforward::tensor::{cast_module, from_host, to_host};
use pushforward::transport::map::Drawing;

use crate::aef_nets::plain;
use crate::support::{close, device, gradients_by_name, precision, tolerance, tracked};

const SHAPE: ImageShape = ImageShape { channels: 1, height: 2, width: 4 };

fn config(variant: Variant) -> AefConfig {
    let maf = MafConfig { layers: 2, hidden: 8, blocks: 1, ..MafConfig::default() };
    AefConfig {
        variant,
        latent: 2,
        network: ImageNetworkConfig::Mlp(MlpConfig { width: 8, layers: 1 }),
        output: OutputConfig::Dependent { floor: 0.0 },
        core: FlowConfig::Maf(maf.clone()),
        posterior: FlowConfig::Iaf(maf.clone()),
        prior: FlowConfig::Maf(maf).into(),
        alpha: 0.05,
        draws: 3,
        ..AefConfig::default()
    }
}

const VARIANTS: [Variant; 11] = [
    Variant::Center,
    Variant::Corner,
    Variant::LearnedCore,
    Variant::HaarCore,
    Variant::Linear,
    Variant::Noise,
    Variant::Vae,
    Variant::VaeIaf,
    Variant::Iwae,
    Variant::Autoencoder,
    Variant::Flow,
];

/// Numbers in `(0, 1)` as images, `[count, n]`.
fn pixels(count: usize, n: usize) -> Tensor<2> {
    let mut numbers = stream(1, Purpose::Metric, 0);
    let values: Vec<f64> = (0..count * n).map(|_| 0.05 + 0.9 * numbers.uniform()).collect();
    tracked(&values, [count, n])
}

/// A model in the test precision, initialised by a batch.
fn model(config: &AefConfig, shape: ImageShape) -> AefModel {
    let device = device().autodiff();
    let fresh = config.init(shape, &device, &mut stream(3, Purpose::Init, 0));
    let mut model = cast_module(fresh, precision(&device));
    model.initialise(pixels(64, shape.numel()), config.latent, &mut stream(3, Purpose::Source, 0));
    model
}

#[test]
fn images_come_back_from_latent_and_deviations() {
    for variant in VARIANTS {
        let model = model(&config(variant), SHAPE);
        let x = pixels(5, SHAPE.numel());
        let code = model.encode(x.clone());
        if code.deviations.is_none() && variant != Variant::Flow {
            continue;
        }
        let back = model.decode(code.z.clone(), code.deviations);
        close(&format!("{variant:?}"), &to_host(&back), &to_host(&x), tolerance(1e-11));
        let base = model.to_base(code.z.clone());
        close(&format!("{variant:?} base"), &to_host(&model.from_base(base)), &to_host(&code.z), tolerance(1e-11));
    }
}

/// `log |det|` of a square matrix, row by row, by elimination with row exchanges.
fn log_abs_det(mut a: Vec<Vec<f64>>) -> f64 {
    let n = a.len();
    let mut log = 0.0;
    for i in 0..n {
        let pivot = (i..n).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs())).expect("a row is left");
        a.swap(i, pivot);
        log += a[i][i].abs().ln();
        let (above, below) = a.split_at_mut(i + 1);
        for row in below {
            let factor = row[i] / above[i][i];
            row.iter_mut().zip(&above[i]).for_each(|(x, p)| *x -= factor * p);
        }
    }
    log
}

#[test]
fn the_exact_density_is_that_of_the_change_of_variables() {
    for variant in VARIANTS {
        let model = model(&config(variant), SHAPE);
        if !is_exact(&model) {
            continue;
        }
        let x = pixels(1, SHAPE.numel());
        let base = |x: Tensor<2>| match &model {
            AefModel::Partition(m) => {
                let e = m.encode(&model.prepare(x));
                Tensor::cat(vec![e.z0, e.deviations], 1)
            }
            AefModel::Flow(m) => m.encode(&model.prepare(x)).0,
            other => panic!("{other:?} is not exact"),
        };
        let (n, h) = (SHAPE.numel(), 1e-6);
        let at = to_host(&x);
        let jacobian: Vec<Vec<f64>> = (0..n)
            .map(|i| {
                let moved = |by: f64| {
                    let mut at = at.clone();
                    at[i] += by;
                    to_host(&base(tracked(&at, [1, n])))
                };
                moved(h).iter().zip(moved(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect()
            })
            .collect();
        let standard: f64 =
            to_host(&base(x.clone())).iter().map(|z| -0.5 * (z * z + pushforward::aef::gaussian::LN_2PI)).sum();
        let found = log_densities(&model, x, 0, &MarginalRequest::default()).expect("there is a density");
        assert_eq!(found.errors, [0.0], "exact");
        close(&format!("{variant:?}"), &found.values, &[standard + log_abs_det(jacobian)], tolerance(1e-6));
    }
}

#[test]
fn a_partition_of_two_values_has_mass_one() {
    let shape = ImageShape { channels: 1, height: 2, width: 1 };
    let config = AefConfig { latent: 1, ..config(Variant::Corner) };
    let model = model(&config, shape);
    let AefModel::Partition(partition) = &model else { panic!("a corner is a partition") };
    // In the space of the model, where the density is smooth; its tails are those of affine couplings, hence the wide
    // range.
    let (reach, points) = (40.0, 601);
    let step = 2.0 * reach / (points - 1) as f64;
    let line: Vec<f64> = (0..points).map(|i| -reach + step * i as f64).collect();
    let mut mass = 0.0;
    for &a in &line {
        let grid: Vec<f64> = line.iter().flat_map(|&b| [a, b]).collect();
        let like = partition.preprocessing.norm.shift.val().inner();
        let density = partition.encode(&plain(from_host(&grid, [points, 2], &like))).log_density;
        mass += to_host(&density).iter().map(|l| l.exp()).sum::<f64>() * step * step;
    }
    assert!((mass - 1.0).abs() < 1e-3, "mass {mass}");
}

#[test]
fn the_encoder_does_not_see_the_core() {
    for variant in [Variant::Center, Variant::Corner, Variant::LearnedCore, Variant::HaarCore] {
        let model = model(&config(variant), SHAPE);
        let AefModel::Partition(m) = &model else { panic!("{variant:?} is a partition") };
        let h = model.prepare(pixels(1, SHAPE.numel())).h;
        let (n, d) = (SHAPE.numel(), 2);
        // Directions of the core: those that the rotation maps to core coordinates only.
        let place = |core: Vec<f64>| {
            use pushforward::bijector::Bijector as _;
            let r = m.rotation.forward_and_ladj(h.clone()).0;
            let moved = m.split().join(m.split().core(r.clone()) + tracked(&core, [1, d]), m.split().shell(r));
            m.rotation.inverse_and_ladj(moved).0
        };
        let volume = |h: Tensor<2>| {
            let ladj = Tensor::zeros([1], (&h.device(), h.dtype()));
            m.encode(&Prepared { x: h.clone(), h, ladj })
        };
        let (before, after) = (volume(place(vec![0.0; d])), volume(place(vec![0.7, -1.3])));
        assert_ne!(to_host(&before.z), to_host(&after.z), "{variant:?}: the latent moves with the core");
        let images = |core: Vec<f64>| {
            use pushforward::bijector::Bijector as _;
            let r = m.rotation.forward_and_ladj(place(core)).0;
            let seen = m.split().embed(m.split().shell(r));
            let (mean, scale) = m.encoder.forward(m.rotation.inverse_and_ladj(seen).0);
            [to_host(&mean), to_host(&scale)].concat()
        };
        close(&format!("{variant:?}"), &images(vec![0.7, -1.3]), &images(vec![0.0; d]), tolerance(1e-10));
        assert_eq!(n - d, m.split().shell(h).dims()[1]);
    }
}

#[test]
fn objectives_are_finite_and_reach_every_parameter() {
    for variant in VARIANTS {
        let config = config(variant);
        let model = model(&config, SHAPE);
        let images = model.prepare(pixels(6, SHAPE.numel()));
        let objective = AefObjective { latent: config.latent };
        let loss = objective.of(&model, &images, &mut stream(0, Purpose::Source, 1));
        assert!(to_host(&loss.values).iter().all(|v| v.is_finite()), "{variant:?}");
        for (name, gradient) in gradients_by_name(&model, &loss.values.mean().backward()) {
            if name.ends_with("order") {
                continue; // of a permutation
            }
            let gradient = gradient.unwrap_or_else(|| panic!("{variant:?}: {name} has a gradient"));
            assert!(gradient.iter().all(|g| g.is_finite()), "{variant:?}: gradient of {name}");
        }
    }
}

#[test]
fn a_bound_of_one_draw_is_the_estimate_of_one_draw_and_more_draws_are_tighter() {
    let config = config(Variant::VaeIaf);
    let model = model(&config, SHAPE);
    let AefModel::Latent(latent) = &model else { panic!("a VAE is a latent model") };
    let x = pixels(64, SHAPE.numel());
    let estimate = |draws: usize| {
        let proposal = Proposal::Recognition { noise: None };
        let request = MarginalRequest { draws, proposal, ..MarginalRequest::default() };
        log_densities(&model, x.clone(), 0, &request).expect("there is a density").values
    };
    // The noise of the estimate: one uniform number for the mixture, unused here, then the draw.
    let xi: Vec<f64> = (0..64)
        .flat_map(|i| {
            let mut noise = stream(0, Purpose::Likelihood, i);
            noise.uniform();
            noise.normals(config.latent)
        })
        .map(f64::from)
        .collect();
    let bound = latent.bound(&model.prepare(x.clone()), tracked(&xi, [64, config.latent])).value;
    close("one draw", &estimate(1), &to_host(&bound), tolerance(1e-10));
    let mean = |draws| estimate(draws).iter().sum::<f64>() / 64.0;
    let (one, eight, many) = (mean(1), mean(8), mean(512));
    assert!(one < eight && eight < many, "{one} {eight} {many}");
    let request = MarginalRequest { draws: 512, ..MarginalRequest::default() };
    let other = log_densities(&model, x.clone(), 0, &request).expect("there is a density");
    let other = other.values.iter().sum::<f64>() / 64.0;
    // The untrained recognition is narrower than the posterior, so its estimate is still biased low.
    assert!(other > many - 0.01 && other - many < 0.1, "two proposals agree: {other} {many}");
}

#[test]
fn the_mixture_proposal_agrees_with_quadrature_for_every_output() {
    for output in [
        OutputConfig::Fixed { scale: 0.7 },
        OutputConfig::Dependent { floor: 0.0 },
        OutputConfig::Logistics { components: 2 },
    ] {
        let config = AefConfig { latent: 1, output: output.clone(), ..config(Variant::Noise) };
        let model = model(&config, SHAPE);
        let AefModel::Latent(latent) = &model else { panic!("noise is a latent model") };
        let x = pixels(4, SHAPE.numel());
        let images = model.prepare(x.clone());
        let code = to_host(&latent.code(images.h.clone()));
        let (reach, points) = (60.0, 6001);
        let step = 2.0 * reach / (points - 1) as f64;
        let wanted: Vec<f64> = (0..4)
            .map(|i| {
                let z: Vec<f64> = (0..points).map(|j| code[i] - reach + step * j as f64).collect();
                let z = from_host(&z, [points, 1], &images.h);
                let one = Prepared {
                    x: images.x.clone().narrow(0, i, 1).expand([points, SHAPE.numel()]),
                    h: images.h.clone().narrow(0, i, 1).expand([points, SHAPE.numel()]),
                    ladj: images.ladj.clone().narrow(0, i, 1).expand([points]),
                };
                let joint = latent.decoder.forward(z.clone()).log_density(&one) + latent.log_prior(z);
                let joint = to_host(&joint);
                let top = joint.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                top + (joint.iter().map(|j| (j - top).exp()).sum::<f64>() * step).ln()
            })
            .collect();
        let request = MarginalRequest { draws: 4000, ..MarginalRequest::default() };
        let found = log_densities(&model, x, 0, &request).expect("there is a density");
        for ((found, error), wanted) in found.values.iter().zip(&found.errors).zip(&wanted) {
            assert!(*error < 0.1, "{output:?}: standard error {error}");
            assert!((found - wanted).abs() < 5.0 * error + 1e-3, "{output:?}: {found} +- {error}, wanted {wanted}");
        }
    }
}

#[test]
fn draws_do_not_depend_on_the_rows_computed_together() {
    let config = config(Variant::Noise);
    let model = model(&config, SHAPE);
    let x = pixels(3, SHAPE.numel());
    let at = |rows| {
        let request = MarginalRequest { draws: 50, rows, ..MarginalRequest::default() };
        log_densities(&model, x.clone(), 7, &request).expect("there is a density").values
    };
    close("rows", &at(6), &at(1000), tolerance(1e-10));
    let request = |first, count| DrawRequest {
        count,
        first,
        temperature: 0.9,
        deviations: true,
        seed: 2,
        batch: 2,
        drawing: Drawing::default(),
        choices: 1,
    };
    let f32_model = {
        let mut fresh = config.init(SHAPE, &device(), &mut stream(3, Purpose::Init, 0));
        let x = pixels(64, SHAPE.numel()).inner().cast(burn::tensor::DType::F32);
        fresh.initialise(x, config.latent, &mut stream(3, Purpose::Source, 0));
        fresh
    };
    let draw = |request| f32_model.sample(SHAPE, config.latent, &request, &device(), &mut |_| true);
    let all = draw(request(0, 5));
    let tail = draw(request(3, 2));
    for (a, b) in all[3 * SHAPE.numel()..].iter().zip(&tail) {
        assert!((a - b).abs() < 1e-5, "{a} {b}");
    }
}

#[test]
fn bounded_scales_bound_the_volume() {
    let bounded = AefConfig { encoder_scale: ScaleConfig::Bounded { limit: 2.0 }, ..config(Variant::Linear) };
    let AefModel::Latent(latent) = model(&bounded, SHAPE) else { panic!("an expansion is a latent model") };
    let (_, scale) = latent.encoder.forward(pixels(3, SHAPE.numel()) * 1e6);
    let most = 2f64.exp() * (1.0 + 1e-12);
    assert!(to_host(&scale).iter().all(|s| (1.0 / most..=most).contains(s)));
}

/// The copy mode of the published objective: a pixel that is reproduced exactly gains `-ln` of its scale, which only a floor ends. The
/// volume mode is checked in `golden::aef_closed_form`.
#[test]
fn a_copied_pixel_gains_without_limit_but_for_the_floor() {
    let value = |floor: f64| {
        let config = AefConfig { output: OutputConfig::Independent { floor }, ..config(Variant::Linear) };
        let AefModel::Latent(mut latent) = model(&config, SHAPE) else { panic!("an expansion is a latent model") };
        let z = latent.code(latent.preprocessing.forward(pixels(1, SHAPE.numel())).h);
        // The mean image of this latent, which the model copies.
        let copied = latent.preprocessing.forward(latent.decode(z.clone(), None));
        let pre_scale = latent.decoder.pre_scale.take().expect("a trained scale").val() - 40.0;
        latent.decoder.pre_scale = Some(Param::from_tensor(pre_scale.detach()));
        to_host(&latent.decoder.forward(z).log_density(&copied))[0]
    };
    let gain = SHAPE.numel() as f64 * ((0.01 + AEF_EPSILON) / AEF_EPSILON).ln();
    close("gain", &[value(0.0) - value(0.01)], &[gain], tolerance(1e-6));
}

#[test]
fn a_uniform_density_has_eight_bits() {
    assert!((bits_per_dim_dequantised(0.0, 784, 256) - 8.0).abs() < 1e-12);
    // The error of a missing ln K.
    let k = 128f64.ln();
    let hidden = bits_per_dim_dequantised(k, 784, 256) - 8.0;
    assert!((hidden - 0.008_928_571_428_571_428).abs() < 1e-12, "{hidden}");
}

#[test]
#[should_panic(expected = "axis 0 of the images: 16 pixels are of at least 1 image, not of 0")]
fn no_images_have_no_pixels() {
    model(&config(Variant::Center), SHAPE).images(&[0.5; 16], 0);
}

/// A request of no images per pass.
fn no_pass() -> DrawRequest {
    DrawRequest {
        count: 1,
        first: 0,
        temperature: 1.0,
        deviations: true,
        seed: 0,
        batch: 0,
        drawing: Drawing::default(),
        choices: 1,
    }
}

#[test]
fn a_request_of_no_images_per_pass_is_an_error() {
    let config = config(Variant::Center);
    let net = model(&config, SHAPE).valid();
    let model = TrainedAef { config, net, shape: SHAPE, device: device() };
    let error = model.draw(&no_pass(), &mut |_| true).expect_err("there is no pass of no images");
    assert!(error.to_string().contains("`batch`, the number of images per pass, is at least 1"), "{error}");
}

#[test]
#[should_panic(expected = "`batch`, the number of images per pass, is at least 1, found 0")]
fn no_images_per_pass_are_refused() {
    model(&config(Variant::Center), SHAPE).sample(SHAPE, 2, &no_pass(), &device(), &mut |_| true);
}
