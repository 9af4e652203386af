//! Order of convergence of the integrators on a smooth flow, against a fine reference on the host.

use burn::tensor::Tensor;
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::OffDiagonal;
use pushforward::flow_map::sample::{Generator, SampleRequest, Sampler, sample};
use pushforward::flow_map::time::TimeGrid;
use pushforward::nn::{Pass, SiteShape};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::from_host;

use super::sampler::config;
use crate::support::device;

const K: usize = 3;
const ITEMS: usize = 6;
const SITES: SiteShape = SiteShape::line(1, K);
const MATRIX: [[f64; K]; K] = [[0.9, -0.5, 0.2], [0.1, 0.6, -0.7], [-0.4, 0.3, 0.5]];
const DRIFT: [f64; K] = [1.5, -1.0, 0.3];

/// The endpoint `softmax(x A + s b)`: smooth, and dependent on the point, unlike a posterior near its decision.
struct Smooth;

impl EndpointNet for Smooth {
    fn logits(&self, x: Dual<3>, s: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        let n = x.dims()[0];
        let a: Tensor<3> = from_host(&MATRIX.concat(), [1, K, K], &x.value);
        let b: Tensor<3> = from_host(&DRIFT, [1, 1, K], &x.value);
        (x.value.matmul(a.expand([n, K, K])) + b * s.value.reshape([n, 1, 1])).into()
    }
}

fn endpoint(x: &[f64; K], s: f64) -> [f64; K] {
    let e: [f64; K] = std::array::from_fn(|k| ((0..K).map(|j| x[j] * MATRIX[j][k]).sum::<f64>() + s * DRIFT[k]).exp());
    e.map(|v| v / e.iter().sum::<f64>())
}

fn noise(item: u64) -> [f64; K] {
    let x = stream(0, Purpose::Sample, item).normals(K);
    std::array::from_fn(|k| f64::from(x[k]))
}

/// The flow from 0 to `t` in `tau = -log(1-t)`, where `dx/dtau = pi - x`, by many Runge-Kutta steps.
fn reference(item: u64, t: f64) -> [f64; K] {
    let steps = 2000;
    let h = -(-t).ln_1p() / f64::from(steps);
    let slope = |x: &[f64; K], tau: f64| {
        let pi = endpoint(x, -(-tau).exp_m1());
        std::array::from_fn::<f64, K, _>(|k| pi[k] - x[k])
    };
    let at = |x: &[f64; K], d: &[f64; K], h: f64| std::array::from_fn::<f64, K, _>(|k| x[k] + h * d[k]);
    let mut x = noise(item);
    for i in 0..steps {
        let tau = h * f64::from(i);
        let k1 = slope(&x, tau);
        let k2 = slope(&at(&x, &k1, h / 2.0), tau + h / 2.0);
        let k3 = slope(&at(&x, &k2, h / 2.0), tau + h / 2.0);
        let k4 = slope(&at(&x, &k3, h), tau + h);
        x = std::array::from_fn(|k| x[k] + h / 6.0 * (k1[k] + 2.0 * k2[k] + 2.0 * k3[k] + k4[k]));
    }
    x
}

/// Largest error of the final endpoints if the flow is exact up to `t`, followed by one step.
fn error(sampler: Sampler, grid: TimeGrid, t: f64) -> f64 {
    let request = SampleRequest { sampler, grid, ..SampleRequest::map(ITEMS, 1, 0) };
    let found = sample(
        &Generator::new(&Smooth, SITES, &device()).with_noise(config(OffDiagonal::default()).noise()),
        &request,
        &mut |_| true,
    )
    .endpoints;
    let wanted = (0..ITEMS as u64).flat_map(|i| endpoint(&reference(i, t), t));
    found.iter().zip(wanted).map(|(f, w)| (f64::from(*f) - w).abs()).fold(0.0, f64::max)
}

/// `steps` equal steps to one half, and one from there to the end, which gives the endpoint at that point.
fn halfway(steps: usize) -> TimeGrid {
    let times = (0..=steps).map(|i| 0.5 * i as f64 / steps as f64).chain([1.0]);
    TimeGrid::new(times.collect()).expect("the times increase")
}

#[test]
fn euler_has_order_one_and_heun_order_two() {
    for (sampler, order) in [(Sampler::Euler, 1.0), (Sampler::Heun, 2.0)] {
        let errors: Vec<f64> = [4, 8, 16].map(|n| error(sampler, halfway(n), 0.5)).to_vec();
        let found: Vec<f64> = errors.windows(2).map(|w| (w[0] / w[1]).log2()).collect();
        assert!(found.iter().all(|o| (o - order).abs() < 0.25), "{sampler:?}: errors {errors:?}, orders {found:?}");
    }
}

#[test]
fn dopri5_keeps_its_tolerance() {
    let errors: Vec<f64> = [1e-2, 1e-3, 1e-4, 1e-5]
        .map(|tolerance| error(Sampler::Dopri5 { tolerance }, TimeGrid::uniform(1), 1.0 - 1e-3) / tolerance)
        .to_vec();
    assert!(errors.iter().all(|e| *e < 3.0), "errors over tolerances: {errors:?}");
    let nfe = |tolerance| {
        let request = SampleRequest { sampler: Sampler::Dopri5 { tolerance }, ..SampleRequest::map(ITEMS, 1, 0) };
        sample(
            &Generator::new(&Smooth, SITES, &device()).with_noise(config(OffDiagonal::default()).noise()),
            &request,
            &mut |_| true,
        )
        .mean_nfe()
    };
    let (loose, tight) = (nfe(1e-2), nfe(1e-6));
    assert!(loose < tight && tight < 400.0, "evaluations: {loose} {tight}");
}

/// Steps of the exact flow map are exact on any grid; here the endpoint is constant.
#[test]
fn a_straight_flow_needs_one_step() {
    struct Straight;
    impl EndpointNet for Straight {
        fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
            let n = x.dims()[0];
            from_host(&DRIFT.repeat(n), [n, 1, K], &x.value).into()
        }
    }
    let e = DRIFT.map(f64::exp);
    for sampler in [Sampler::Map, Sampler::Euler, Sampler::Heun, Sampler::Dopri5 { tolerance: 1e-4 }] {
        for steps in [1, 7] {
            let grid = TimeGrid::uniform(steps);
            let request = SampleRequest { sampler, grid, ..SampleRequest::map(2, 1, 0) };
            let found = sample(
                &Generator::new(&Straight, SITES, &device()).with_noise(config(OffDiagonal::default()).noise()),
                &request,
                &mut |_| true,
            );
            for (i, v) in found.endpoints.iter().enumerate() {
                let wanted = e[i % K] / e.iter().sum::<f64>();
                assert!((f64::from(*v) - wanted).abs() < 1e-5, "{sampler:?}, {steps} steps: {v} {wanted}");
            }
        }
    }
}
