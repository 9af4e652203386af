//! Flow maps of vectors against closed forms: Gaussian data, whose map is affine, a mixture of two points, and networks.

use burn::module::{Module as _, Param};
use burn::tensor::Tensor;
use pushforward::dual::Dual;
use pushforward::nn::linear::{LinearConfig, LinearInit};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, from_host, to_host};
use pushforward::train::TrainConfig;
use pushforward::train::gradients::Gradients;
use pushforward::train::optim::{Optimizer, OptimizerConfig};
use pushforward::transport::change::{comes_back, from_noise, log_determinants, to_noise};
use pushforward::transport::density::{Density, log_densities, returning_share};
use pushforward::transport::map::{Drawing, along_the_path, draw, end_time, jump_to};
use pushforward::transport::objective::{bound_integral, off_diagonal, pairs, stratified};
use pushforward::transport::time::TimePairs;
use pushforward::transport::{MapObjective, Transport, VectorMap, VectorMapConfig, VolumeHead};

use crate::support::{close, device, gradients_by_name, numbers, precision, tolerance};

const LN_2PI: f64 = 1.837_877_066_409_345_3;
const OBJECTIVES: [MapObjective; 4] = [MapObjective::Psd, MapObjective::Csd, MapObjective::Lsd, MapObjective::Esd];

fn rows(values: &[f64], d: usize) -> Tensor<2> {
    let device = device();
    let like = Tensor::<1>::zeros([1], (&device, precision(&device)));
    from_host(values, [values.len() / d, d], &like)
}

/// The exact map of `m ~ N(mean, Q diag(variances) Q^T)` in two dimensions:
/// `X_{s,t}(x) = t mean + Q diag(sigma_t / sigma_s) Q^T (x - s mean)`, `sigma_t^2 = t^2 v + (1-t)^2`.
struct Gaussian {
    mean: [f64; 2],
    variances: [f64; 2],
    angle: f64,
}

const GAUSSIAN: Gaussian = Gaussian { mean: [0.7, -0.4], variances: [2.3, 0.2], angle: 0.6 };

impl Gaussian {
    fn rotation(&self) -> [f64; 4] {
        let (s, c) = self.angle.sin_cos();
        [c, -s, s, c]
    }

    fn log_density(&self, z: [f64; 2], eps: f64) -> f64 {
        let [a, b, c, d] = self.rotation();
        let (x, y) = (z[0] - self.mean[0], z[1] - self.mean[1]);
        let along = [a * x + c * y, b * x + d * y];
        let term = |(y, v): (f64, f64)| -0.5 * (y * y / (v + eps * eps) + (v + eps * eps).ln() + LN_2PI);
        along.into_iter().zip(self.variances).map(term).sum()
    }
}

impl Transport for Gaussian {
    fn endpoint(&self, x: Dual<2>, s: Dual<1>, t: Dual<1>) -> Dual<2> {
        let n = x.dims()[0];
        let like = x.value.clone();
        let row = |values: [f64; 2]| Dual::from(from_host::<2, 2>(&values, [1, 2], &like));
        let column = |time: Dual<1>| time.linear(|v| v.reshape([n, 1]));
        let (s, t) = (column(s), column(t));
        let one_less = |time: Dual<2>| time.scale(-1.0).shift(1.0);
        let sigma = |time: Dual<2>| {
            let rest = one_less(time.clone());
            (time.clone() * time * row(self.variances) + rest.clone() * rest)
                .elementwise(Tensor::sqrt, |v| v.sqrt().recip() * 0.5)
        };
        let inverse = |x: Dual<2>| x.elementwise(Tensor::recip, |x| (x.clone() * x).recip().neg());
        // kappa = (sigma_t/sigma_s - 1)/gamma, without division by the length of the jump.
        let slope = (s.clone() + t.clone()) * row(self.variances.map(|v| v + 1.0));
        let kappa =
            one_less(s.clone()) * slope.shift(-2.0) * inverse(sigma(s.clone()) * (sigma(s.clone()) + sigma(t.clone())));
        let rotation = from_host::<2, 2>(&self.rotation(), [2, 2], &like);
        let rotated = |x: Dual<2>, q: Tensor<2>| x.linear(|v| v.matmul(q.clone()));
        let apart = x.clone() + s.clone() * row(self.mean).scale(-1.0);
        let moved = rotated(rotated(apart, rotation.clone()) * kappa, rotation.swap_dims(0, 1));
        x + moved + one_less(s) * row(self.mean)
    }
}

/// Data in two points `+-c`: `E[m | x_t = x] = c tanh(t c.x / (1-t)^2)`. Off the diagonal, the map is integrated.
struct TwoModes {
    c: Vec<f64>,
}

impl TwoModes {
    fn log_density(&self, z: &[f64], eps: f64) -> f64 {
        let mode = |sign: f64| {
            let square: f64 = z.iter().zip(&self.c).map(|(z, c)| (z - sign * c).powi(2)).sum();
            -0.5 * square / (eps * eps) - z.len() as f64 * (eps.ln() + 0.5 * LN_2PI) - 2f64.ln()
        };
        let (a, b) = (mode(1.0), mode(-1.0));
        a.max(b) + (-(a - b).abs()).exp().ln_1p()
    }
}

impl Transport for TwoModes {
    fn endpoint(&self, x: Dual<2>, s: Dual<1>, t: Dual<1>) -> Dual<2> {
        let (from, to) = (to_host(&s.value), to_host(&t.value));
        if from != to {
            assert_eq!(from[0], 0.0, "jumps of this test start at noise");
            // The jump of many small steps, and its derivative by central differences.
            let arrive = |noise: Tensor<2>| from_noise(self, noise, to[0], 400) * to[0];
            let endpoint = |noise: Tensor<2>| noise.clone() + (arrive(noise.clone()) - noise) / to[0];
            let tangent = x.tangent.map(|v| {
                let h = 1e-4;
                let at = |k: f64| endpoint(x.value.clone() + v.clone() * (k * h));
                // Of fourth order.
                ((at(1.0) - at(-1.0)) * 8.0 - (at(2.0) - at(-2.0))) / (12.0 * h)
            });
            return Dual { value: endpoint(x.value), tangent };
        }
        let n = x.dims()[0];
        let c = from_host::<2, 2>(&self.c, [1, self.c.len()], &x.value);
        let weights: Vec<f64> = to.iter().map(|t| t / (1.0 - t).powi(2)).collect();
        let weights = from_host::<2, 2>(&weights, [n, 1], &x.value);
        let along = x.linear(|x| (x * c.clone()).sum_dim(1) * weights.clone());
        along.elementwise(Tensor::tanh, |a| (a.clone().tanh() * a.tanh()).neg() + 1.0).linear(|a| a * c.clone())
    }
}

/// A network away from its initial value, whose last layer is zero.
fn network(d: usize, size: f64) -> VectorMap {
    let device = device().autodiff();
    let config = VectorMapConfig { width: 8, blocks: 1, time_width: 4, ..VectorMapConfig::default() };
    let mut random = stream(5, Purpose::Init, 0);
    let mut map = config.init(d, &device, &mut random);
    let layer = LinearConfig::new(8, d).with_init(LinearInit::Normal(size)).init(&device, &mut random);
    let net = map.network.as_mut().expect("a perceptron");
    net.output.weight = layer.weight;
    for block in &mut net.blocks {
        let layer = LinearConfig::new(8, 24).with_init(LinearInit::Normal(0.3)).init(&device, &mut random);
        block.modulation.linear.weight = Param::from_tensor(layer.weight.val().detach());
    }
    cast_module(map, precision(&device))
}

const POINTS: [f64; 8] = [0.3, -0.2, 1.9, 0.8, -2.5, 0.1, 0.9, -3.0];

#[test]
fn densities_of_affine_maps_are_gaussian() {
    for eps in [0.1, 0.6] {
        let wanted: Vec<f64> = POINTS.chunks(2).map(|z| GAUSSIAN.log_density([z[0], z[1]], eps)).collect();
        for density in
            [Density::Ode { tolerance: 1e-8, probes: 0 }, Density::Map { jumps: 1 }, Density::Map { jumps: 3 }]
        {
            let found = log_densities(&GAUSSIAN, rows(&POINTS, 2), eps, density, 0, 0);
            close(&format!("{density:?}"), &found.values, &wanted, tolerance(1e-6));
            assert!(found.found.iter().all(|&found| found), "{density:?}");
        }
    }
    let like = rows(&[0.0], 1).flatten(0, 1);
    assert_eq!(returning_share(&GAUSSIAN, 2, &like, 0.1, 1, 64, 0), 1.0);
}

#[test]
fn densities_of_two_modes_are_those_of_the_mixture() {
    for (c, eps) in [(vec![1.1], 0.4), (vec![0.8, -0.5], 0.5)] {
        let (d, modes) = (c.len(), TwoModes { c });
        let points: Vec<f64> = numbers(6 * d, 3);
        let wanted: Vec<f64> = points.chunks(d).map(|z| modes.log_density(z, eps)).collect();
        for density in [Density::Ode { tolerance: 1e-8, probes: 0 }, Density::Map { jumps: 1 }] {
            let found = log_densities(&modes, rows(&points, d), eps, density, 0, 0);
            close(&format!("{density:?}, d = {d}"), &found.values, &wanted, tolerance(1e-6));
        }
    }
}

#[test]
fn the_density_of_a_network_has_mass_one() {
    let map = network(2, 0.4).valid();
    let (reach, points) = (7.0, 141);
    let step = 2.0 * reach / (points - 1) as f64;
    let line: Vec<f64> = (0..points).map(|i| -reach + step * i as f64).collect();
    for density in [Density::Ode { tolerance: 1e-4, probes: 0 }, Density::Map { jumps: 1 }] {
        let mut mass = 0.0;
        for &a in &line {
            let grid: Vec<f64> = line.iter().flat_map(|&b| [a, b]).collect();
            let found = log_densities(&map, rows(&grid, 2), 0.5, density, 0, 0);
            assert!(found.found.iter().all(|&found| found));
            mass += found.values.iter().map(|l| l.exp()).sum::<f64>() * step * step;
        }
        assert!((mass - 1.0).abs() < 1e-3, "{density:?}: mass {mass}");
    }
}

#[test]
fn more_steps_change_a_density_by_no_more_than_its_error() {
    let map = network(3, 1.0).valid();
    let z = || rows(&numbers(30, 8), 3);
    let at = |tolerance, probes| log_densities(&map, z(), 0.2, Density::Ode { tolerance, probes }, 0, 0);
    let (rough, fine) = (at(1e-3, 0), at(1e-9, 0));
    for i in 0..10 {
        assert!((rough.values[i] - fine.values[i]).abs() <= rough.errors[i] + tolerance(1e-9), "{i}");
        assert!(rough.errors[i] < 2e-3);
    }
    // Random signs agree with the exact trace to their standard error.
    let probed = at(1e-6, 400);
    let far = (0..10).map(|i| ((probed.values[i] - fine.values[i]) / probed.errors[i]).abs()).fold(0.0, f64::max);
    assert!(far < 4.5 && probed.errors.iter().any(|e| *e > 1e-4), "{far} standard errors");
}

#[test]
fn jumps_and_paths_are_one_map_where_the_map_is_exact() {
    let noise = || rows(&POINTS, 2);
    let end = end_time(0.2);
    let whole = to_host(&draw(&GAUSSIAN, noise(), end, 1));
    close("two jumps", &to_host(&Drawing::Jumps(2).draw(&GAUSSIAN, noise(), end)), &whole, tolerance(1e-10));
    close("path", &to_host(&from_noise(&GAUSSIAN, noise(), end, 200)), &whole, tolerance(1e-8));
    close("back", &to_host(&to_noise(&GAUSSIAN, rows(&whole, 2), end, 200)), &POINTS, tolerance(1e-8));
    let error = |steps| {
        let found = to_host(&along_the_path(&GAUSSIAN, noise(), end, steps));
        found.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
    };
    let (rough, fine) = (error(200), error(400));
    assert!(fine < 0.6 * rough && fine < 0.02, "Euler's method is of first order: {rough} {fine}");
}

#[test]
fn losses_vanish_at_the_exact_map_and_only_there() {
    let mut random = stream(2, Purpose::Metric, 0);
    let (m, xi) = (rows(&numbers(40, 1), 2), rows(&numbers(40, 2), 2));
    let times = pairs(20, 0.2, 0.3, &mut random);
    assert_eq!(times.s.iter().zip(&times.t).filter(|(s, t)| (**s, **t) == (0.0, end_time(0.2))).count(), 6);
    assert!(times.s.iter().zip(&times.t).all(|(s, t)| 0.0 <= *s && s <= t && *t <= end_time(0.2)));
    let other = Gaussian { variances: [1.0, 1.0], ..GAUSSIAN };
    for objective in OBJECTIVES {
        let exact = off_diagonal(&GAUSSIAN, &GAUSSIAN, m.clone(), xi.clone(), &times, objective, &mut random);
        assert!(to_host(&exact).iter().all(|loss| loss.abs() < tolerance(1e-16)), "{objective:?}: {exact}");
        let wrong = off_diagonal(&other, &GAUSSIAN, m.clone(), xi.clone(), &times, objective, &mut random);
        assert!(to_host(&wrong).iter().sum::<f64>() > 0.1, "{objective:?} tells maps apart");
    }
}

#[test]
fn losses_reach_every_parameter_of_a_network_and_the_teacher_none() {
    let (map, mut random) = (network(2, 0.5), stream(2, Purpose::Metric, 0));
    let (m, xi) = (rows(&numbers(16, 1), 2), rows(&numbers(16, 2), 2));
    let times = pairs(8, 0.2, 0.25, &mut random);
    for objective in OBJECTIVES {
        let loss = off_diagonal(&map, &map.valid(), m.clone(), xi.clone(), &times, objective, &mut random);
        for (name, gradient) in gradients_by_name(&map, &loss.mean().backward()) {
            let gradient = gradient.unwrap_or_else(|| panic!("{objective:?}: {name} has a gradient"));
            assert!(gradient.iter().all(|g| g.is_finite()), "{objective:?}: gradient of {name}");
        }
    }
}

/// The Eulerian and Lagrangian derivatives of the losses are those of finite differences: a jump from a point a little
/// further along the path arrives at the same place.
#[test]
fn a_jump_from_further_along_arrives_at_the_same_place() {
    let (s, t, h) = (0.3, 0.6, 1e-3);
    let x = rows(&POINTS, 2);
    let along = jump_to(&GAUSSIAN, x.clone().into(), s, s + h).value;
    let arrived = to_host(&jump_to(&GAUSSIAN, along.into(), s + h, t).value);
    close("semigroup", &arrived, &to_host(&jump_to(&GAUSSIAN, x.into(), s, t).value), tolerance(1e-10));
}

#[test]
fn the_bound_is_tight_at_the_best_endpoint_and_above_elsewhere() {
    let (eps, nodes, d) = (0.3, 4000, 2);
    // Midpoints in the share; for an affine endpoint the mean over these four noises is that over all.
    let signs = [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]];
    let integral = |map: &Gaussian, m: [f64; 2]| {
        let one = |node: usize| signs.map(|xi| (xi.map(|x| x * (d as f64).sqrt()), (node as f64 + 0.5) / nodes as f64));
        let (xi, shares): (Vec<[f64; 2]>, Vec<f64>) = (0..nodes).flat_map(one).unzip();
        let m: Vec<f64> = xi.iter().flat_map(|_| m).collect();
        let nats = to_host(&bound_integral(map, rows(&m, 2), rows(&xi.concat(), 2), &shares, eps));
        nats.iter().sum::<f64>() / nats.len() as f64
    };
    // E log N(m + eps xi; mean, S + eps^2): the noise adds eps^2 / variance in every direction.
    let truth = |m: [f64; 2]| {
        let blur: f64 = GAUSSIAN.variances.iter().map(|v| eps * eps / (v + eps * eps)).sum();
        -(GAUSSIAN.log_density(m, eps) - 0.5 * blur)
    };
    let entropy = 0.5 * d as f64 * (LN_2PI + 1.0 + 2.0 * eps.ln());
    for m in [[0.7, -0.4], [2.0, 1.0], [-1.5, 0.3]] {
        close("tight", &[integral(&GAUSSIAN, m) + entropy], &[truth(m)], tolerance(1e-6));
        // The sampled estimate.
        let found = log_densities(&GAUSSIAN, rows(&m, 2), eps, Density::Bound { draws: 20_000 }, 3, 0);
        assert!((found.values[0] + truth(m)).abs() < 5.0 * found.errors[0] && found.errors[0] < 0.1, "{found:?}");
    }
    // In the mean over the data, any other endpoint has a larger bound.
    let mut random = stream(1, Purpose::Metric, 0);
    let [a, b, c, e] = GAUSSIAN.rotation();
    let data: Vec<[f64; 2]> = (0..50)
        .map(|_| {
            let y = GAUSSIAN.variances.map(|v| v.sqrt() * random.normal());
            [GAUSSIAN.mean[0] + a * y[0] + b * y[1], GAUSSIAN.mean[1] + c * y[0] + e * y[1]]
        })
        .collect();
    let mean = |map: &Gaussian| data.iter().map(|&m| integral(map, m)).sum::<f64>() / 50.0;
    let best = mean(&GAUSSIAN);
    for other in [
        Gaussian { variances: [1.0, 1.0], ..GAUSSIAN },
        Gaussian { mean: [0.0, 0.0], ..GAUSSIAN },
        Gaussian { angle: 0.0, ..GAUSSIAN },
    ] {
        assert!(mean(&other) > best + 0.05);
    }
}

#[test]
fn shares_are_even_and_times_within_the_path() {
    let shares = stratified(10, 4, &mut stream(0, Purpose::Time, 0));
    for k in 0..4 {
        let mut of_draw: Vec<f64> = shares.iter().skip(k).step_by(4).map(|share| 4.0 * share - k as f64).collect();
        of_draw.sort_by(f64::total_cmp);
        assert!(
            of_draw.iter().enumerate().all(|(i, s)| (i as f64..i as f64 + 1.0).contains(&(10.0 * s))),
            "{of_draw:?}"
        );
    }
    let whole: TimePairs = pairs(8, 0.1, 1.0, &mut stream(0, Purpose::Time, 0));
    assert!(whole.s.iter().all(|&s| s == 0.0));
}

/// A jump that folds the line does not bring its draws back, and its density is below the true one.
#[test]
fn a_transformer_on_tokens_starts_as_the_map_of_normal_data_and_is_trained_everywhere() {
    let device = device().autodiff();
    let config =
        VectorMapConfig { width: 8, heads: 2, blocks: 1, token: 2, time_width: 4, ..VectorMapConfig::default() };
    let map = cast_module(config.init(4, &device, &mut stream(5, Purpose::Init, 0)), precision(&device));
    let (eps, noise) = (0.3, rows(&POINTS, 4));
    let z = draw(&map.valid(), noise.clone(), end_time(eps), 1);
    close("draw", &to_host(&z), &to_host(&(noise * (1.0 + eps * eps).sqrt())), tolerance(1e-10));
    let mut random = stream(2, Purpose::Metric, 0);
    let (m, xi) = (rows(&numbers(16, 1), 4), rows(&numbers(16, 2), 4));
    let loss = bound_integral(&map, m, xi, &stratified(4, 1, &mut random), eps);
    let gradients = gradients_by_name(&map, &loss.mean().backward());
    assert!(gradients.iter().all(|(name, _)| name.starts_with("tokens.")), "{gradients:?}");
    assert!(gradients.into_iter().all(|(_, gradient)| gradient.is_some()));
}

/// Trained on an exact map, the head has its density; before, that of standard normal data.
#[test]
fn the_head_of_volumes_learns_the_density_of_the_exact_map() {
    let (eps, device) = (0.4, device().autodiff());
    let config = VectorMapConfig { width: 16, blocks: 1, time_width: 4, ..VectorMapConfig::default() };
    let mut random = stream(3, Purpose::Metric, 0);
    let mut head = cast_module(VolumeHead::init(&config, 2, &device, &mut random), precision(&device));
    let noise = rows(&numbers(128, 7), 2);
    let z = to_host(&draw(&GAUSSIAN, noise.clone(), end_time(eps), 1));
    let exact: Vec<f64> = z.chunks(2).map(|z| GAUSSIAN.log_density([z[0], z[1]], eps)).collect();
    let error = |head: &VolumeHead| {
        let found = head.valid().log_densities(noise.clone(), eps);
        let squares = found.iter().zip(&exact).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        (squares / exact.len() as f64).sqrt()
    };
    let before = error(&head);
    let mut optimizer = Optimizer::new(TrainConfig::default().adamw(), OptimizerConfig::AdamW {});
    for step in 0..400 {
        let m: Vec<f64> = (0..64)
            .flat_map(|_| {
                let [a, b, c, d] = GAUSSIAN.rotation();
                let [x, y] = GAUSSIAN.variances.map(|v| v.sqrt() * random.normal());
                [GAUSSIAN.mean[0] + a * x + b * y, GAUSSIAN.mean[1] + c * x + d * y]
            })
            .collect();
        let xi: Vec<f64> = (0..128).map(|_| random.normal()).collect();
        let loss = head.loss(&GAUSSIAN, (rows(&m, 2), rows(&xi, 2)), eps, 0.25, &mut random).mean();
        let gradients = Gradients::of(&loss, &head);
        let rate = if step < 300 { 1e-2 } else { 2e-3 };
        head = optimizer.step(rate, head, gradients);
    }
    let after = error(&head);
    assert!(before > 0.15 && after < 0.4 * before, "{before} before, {after} after");
}

#[test]
fn a_fold_is_found() {
    struct Fold;
    impl Transport for Fold {
        fn endpoint(&self, x: Dual<2>, s: Dual<1>, t: Dual<1>) -> Dual<2> {
            if to_host(&s.value) == to_host(&t.value) {
                return x; // of a map that stays where it is
            }
            // X = x^2: both signs of x arrive at the same point.
            let gamma = to_host(&t.value)[0];
            let square = x.clone() * x.clone();
            x.clone() + (square + x.scale(-1.0)).scale(1.0 / gamma)
        }
    }
    let like = rows(&[0.0], 1).flatten(0, 1);
    let share = returning_share(&Fold, 1, &like, 0.5, 1, 200, 0);
    assert!((0.3..0.7).contains(&share), "{share}");
    let z = rows(&[1.2], 1);
    let found = log_densities(&Fold, z, 0.5, Density::Map { jumps: 1 }, 0, 0);
    // p(z) = 2 N(sqrt(t z)) dx/dz, t z = x^2.
    let (t, x) = (end_time(0.5), (end_time(0.5) * 1.2).sqrt());
    let one = -0.5 * (x * x + LN_2PI) + (t / (2.0 * x)).ln();
    close("one of two", &found.values, &[one], tolerance(1e-6));
    let nowhere = log_densities(&Fold, rows(&[-1.0], 1), 0.5, Density::Map { jumps: 1 }, 0, 0);
    assert_eq!((nowhere.found[0], nowhere.values[0]), (false, f64::NEG_INFINITY));
    let noise = rows(&[1.0, 1.5], 1);
    assert_eq!(comes_back(&Fold, &noise, t, 1), [true, true]);
    let volumes: Vec<f64> = [1.0f64, 1.5].map(|e| (2.0 * e / t).ln()).to_vec();
    close("volume", &log_determinants(&Fold, &noise, t, 1), &volumes, tolerance(1e-10));
}
