//! Identities of every invertible map: round trips, log-determinants, gradients, densities of mass one. Identities of
//! one kind of map are in the files below.

mod conditioned;
mod linear;
mod spline;
mod statistics;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use pushforward::bijector::{
    ActNorm, Affine, Bijector, Coupling, Elementwise, Flow, FlowConfig, FlowStep, Haar, Leading, LinearStart, Logit,
    LuLinear, MaskedAutoregressive, Orthogonal, Permutation, Scale, TarFlow, TarFlowLayerConfig, Transform,
    multi_scale,
};
use pushforward::params;
use pushforward::rng::{Purpose, Stream, stream};
use pushforward::tensor::to_host;

use super::dual::randomise;
use crate::support::{close, device, numbers, tolerance, tracked};

const AFFINE: Elementwise = Elementwise::Affine(Scale::Softplus {});
const BOUNDED: Elementwise = Elementwise::Affine(Scale::Bounded { m: 1.5 });
const SPLINE: Elementwise = Elementwise::Spline { bins: 5, bound: 2.0 };

fn init() -> Stream {
    stream(3, Purpose::Init, 0)
}

fn one(transform: Transform) -> Flow {
    Flow { steps: vec![FlowStep::new(transform)] }
}

fn config(text: &str) -> FlowConfig {
    toml::from_str(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn act_norm(channels: usize) -> Transform {
    Transform::ActNorm(ActNorm::init(channels, &device().autodiff()))
}

fn linear(channels: usize) -> Transform {
    Transform::LuLinear(LuLinear::init(channels, LinearStart::Rotation, &device().autodiff(), &mut init()))
}

fn autoregressive(map: Elementwise, features: usize) -> MaskedAutoregressive {
    MaskedAutoregressive::init(map, features, 10, 2, &device().autodiff(), &mut init())
}

fn coupling(map: Elementwise, features: usize) -> Coupling {
    Coupling::init(map, features, 10, 1, &device().autodiff(), &mut init())
}

fn tar_flow(tokens: usize, channels: usize) -> TarFlow {
    let config = TarFlowLayerConfig { tokens, channels, width: 8, blocks: 2, heads: 2, clip: 1.5 };
    config.init(&device().autodiff(), &mut init())
}

/// The flow with random parameters in the test precision, ready for use.
fn ready(flow: Flow) -> Flow {
    let mut flow = randomise(flow);
    flow.assume_initialised();
    flow
}

/// Every map, in several sizes, with random parameters.
fn all() -> Vec<(String, usize, Flow)> {
    let (device, mut s) = (device().autodiff(), init());
    let orthogonal = |d, k, start| Transform::Orthogonal(Orthogonal::init(d, k, start, &device, &mut init()));
    let mut cases: Vec<(String, usize, Flow)> = Vec::new();
    let mut add = |name: &str, features: usize, flow: Flow| cases.push((name.to_owned(), features, ready(flow)));
    add("affine", 4, one(Transform::Affine(Affine::new(-1.7, 0.3))));
    add("logit", 3, one(Transform::Logit(Logit::new(0.0))));
    add("logit, alpha", 2, one(Transform::Logit(Logit::new(0.05))));
    for (channels, features) in [(1, 1), (1, 5), (3, 12), (4, 4)] {
        add("act-norm", features, one(act_norm(channels)));
    }
    add("reverse", 5, one(Transform::Permutation(Permutation::reverse(5, &device))));
    add("shuffle", 6, one(Transform::Permutation(Permutation::shuffle(6, &device, &mut s))));
    add("squeeze", 16, one(Transform::Permutation(Permutation::squeeze([2, 4, 2], &device))));
    for (channels, features) in [(1, 1), (5, 5), (3, 12)] {
        add("linear", features, one(linear(channels)));
    }
    for (d, k) in [(1, 1), (5, 3), (6, 6)] {
        add("orthogonal", d, one(orthogonal(d, k, LinearStart::Rotation)));
    }
    for shape in [[1, 2, 2], [2, 4, 2]] {
        add("haar", shape.iter().product(), one(Transform::Haar(Haar::new(shape, &device))));
    }
    for (map, d) in [(AFFINE, 1), (AFFINE, 2), (AFFINE, 5), (BOUNDED, 4), (SPLINE, 1), (SPLINE, 3)] {
        add("autoregressive", d, one(Transform::MaskedAutoregressive(autoregressive(map, d))));
        add("coupling", d, one(Transform::Coupling(coupling(map, d))));
    }
    for (tokens, channels) in [(2, 1), (4, 3)] {
        add("tar-flow layer", tokens * channels, one(Transform::TarFlow(tar_flow(tokens, channels))));
    }
    let inner = Flow { steps: vec![FlowStep::new(linear(4)), FlowStep::new(act_norm(2)).inverse()] };
    add("leading", 6, one(Transform::Leading(Leading::new(4, inner))));
    let level = |[c, _, _]: [usize; 3]| Flow { steps: [act_norm(c), linear(c)].map(FlowStep::new).into() };
    add("multi-scale", 32, multi_scale([2, 4, 4], 2, &device, &mut level.clone()));
    for (text, sizes) in [
        ("kind = 'none'", &[3][..]),
        ("kind = 'maf'\nlayers = 2\nhidden = 8", &[1, 3]),
        ("kind = 'iaf'\nlayers = 2\nhidden = 8", &[1, 3]),
        ("kind = 'real-nvp'\nlayers = 2\nhidden = 8", &[1, 5]),
        ("kind = 'real-nvp'\nlayers = 2\nhidden = 8\nmixing = 'shuffle'\nscale = { kind = 'softplus' }", &[4]),
        ("kind = 'spline'\nlayers = 2\nhidden = 8", &[1, 5]),
        ("kind = 'spline'\nlayers = 2\nhidden = 8\nautoregressive = true", &[1, 3]),
        ("kind = 'tar-flow'\nlayers = 2\nwidth = 8\nheads = 2\ntoken = 2", &[4, 6]),
    ] {
        for &d in sizes {
            add(text, d, config(text).init(d, &device, &mut s));
        }
    }
    cases
}

const ROWS: usize = 3;

/// Points in the domain of the map: the real line, or the unit interval for logits.
fn points(name: &str, d: usize, seed: u64) -> Tensor<2> {
    let values = numbers(ROWS * d, seed);
    let inside = |v: &f64| 0.02 + 0.96 / (1.0 + (-2.0 * v).exp());
    let values = if name.starts_with("logit") { values.iter().map(inside).collect() } else { values };
    tracked(&values, [ROWS, d])
}

/// Log of the absolute determinant, by elimination.
fn log_abs_det(mut a: Vec<Vec<f64>>) -> f64 {
    let n = a.len();
    let mut total = 0.0;
    for k in 0..n {
        let pivot = (k..n).max_by(|&i, &j| a[i][k].abs().total_cmp(&a[j][k].abs())).expect("a row");
        a.swap(k, pivot);
        total += a[k][k].abs().ln();
        let (done, rest) = a.split_at_mut(k + 1);
        for row in rest {
            let factor = row[k] / done[k][k];
            row.iter_mut().zip(&done[k]).skip(k).for_each(|(r, d)| *r -= factor * d);
        }
    }
    total
}

/// `d output_i / d input_j` of every row, by one backward pass per output.
fn jacobians(x: &Tensor<2>, f: impl Fn(Tensor<2>) -> Tensor<2>) -> Vec<Vec<Vec<f64>>> {
    let x = x.clone().require_grad();
    let [rows, d] = x.dims();
    let mut all = vec![Vec::new(); rows];
    for i in 0..f(x.clone()).dims()[1] {
        let y = f(x.clone()).narrow(1, i, 1).sum();
        // An output may be independent of all inputs.
        let gradient = if y.is_tracked() { x.grad(&y.backward()) } else { None };
        let slopes = gradient.map_or_else(|| vec![0.0; rows * d], |g| to_host(&g));
        all.iter_mut().zip(slopes.chunks(d)).for_each(|(jacobian, row)| jacobian.push(row.to_vec()));
    }
    all
}

/// Asserts that every parameter has a finite gradient.
struct Finite<'a>(&'a Gradients, &'a str);

impl ModuleVisitor for Finite<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.0).unwrap_or_else(|| panic!("{}: a parameter has no gradient", self.1));
        assert!(to_host(&gradient).iter().all(|g| g.is_finite()), "{}: a gradient is not finite", self.1);
    }
}

/// One direction of a map.
type Pass<'a> = &'a dyn Fn(Tensor<2>) -> (Tensor<2>, Tensor<1>);

#[test]
fn round_trips_and_log_determinants() {
    for (name, d, flow) in all() {
        let name = format!("{name}, {d} features");
        let (forward, inverse): (Pass<'_>, Pass<'_>) = (&|x| flow.forward_and_ladj(x), &|z| flow.inverse_and_ladj(z));
        let z: Tensor<2> = tracked(&numbers(ROWS * d, 6), [ROWS, d]);
        for (what, start, there, back) in
            [("forward", points(&name, d, 5), forward, inverse), ("inverse", z, inverse, forward)]
        {
            let what = format!("{name}: {what}");
            let (middle, ladj) = there(start.clone());
            let (end, ladj_back) = back(middle);
            assert_eq!(ladj.dims(), [ROWS], "{what}");
            close(&format!("{what} and back"), &to_host(&end), &to_host(&start), tolerance(1e-10));
            let sum = to_host(&(ladj.clone() + ladj_back));
            assert!(
                sum.iter().all(|s| s.abs() < tolerance(1e-10)),
                "{what}: log-determinants there and back add to {sum:?}"
            );
            let exact: Vec<f64> = jacobians(&start, |x| there(x).0).into_iter().map(log_abs_det).collect();
            let found = to_host(&ladj);
            for (f, e) in found.iter().zip(&exact) {
                assert!(
                    (f - e).abs() < tolerance(1e-9),
                    "{what}: log-determinants {found:?}, of the Jacobians {exact:?}"
                );
            }
        }
    }
}

#[test]
fn rows_do_not_meet() {
    for (name, d, flow) in all() {
        let x = points(&name, d, 7);
        for (what, pass) in
            [("forward", &(|x| flow.forward_and_ladj(x)) as Pass<'_>), ("inverse", &|z| flow.inverse_and_ladj(z))]
        {
            let (y, ladj) = pass(x.clone());
            for row in 0..ROWS {
                let (y_row, ladj_row) = pass(x.clone().narrow(0, row, 1));
                let what = format!("{name}, {d} features, {what}, row {row}");
                close(&what, &to_host(&y_row), &to_host(&y.clone().narrow(0, row, 1)), tolerance(1e-12));
                close(&what, &to_host(&ladj_row), &to_host(&ladj.clone().narrow(0, row, 1)), tolerance(1e-12));
            }
        }
    }
}

#[test]
fn gradients_reach_every_parameter_and_are_finite() {
    for (name, d, flow) in all() {
        if params::count(&flow) == 0 {
            continue;
        }
        for (what, pass) in
            [("forward", &(|x| flow.forward_and_ladj(x)) as Pass<'_>), ("inverse", &|z| flow.inverse_and_ladj(z))]
        {
            let (y, ladj) = pass(points(&name, d, 8));
            let gradients = (ladj.sum() + (y.clone() * y).sum()).backward();
            flow.visit(&mut Finite(&gradients, &format!("{name}, {d} features, {what}")));
        }
    }
}

#[test]
fn without_a_graph_the_numbers_are_the_same() {
    for (name, d, flow) in all() {
        let (plain, x) = (flow.valid(), points(&name, d, 9));
        let z = plain.forward_and_ladj(x.clone().without_autodiff()).0;
        assert!(!z.is_autodiff(), "{name}");
        close(&name, &to_host(&z), &to_host(&flow.forward_and_ladj(x).0), tolerance(1e-12));
        let (x, with) = (plain.inverse_and_ladj(z.clone()).0, flow.inverse_and_ladj(Tensor::from_inner(z)).0);
        close(&name, &to_host(&x), &to_host(&with), tolerance(1e-12));
        // On a separate autodiff graph, as training copies its model for every thread.
        let y = plain.train().forward_and_ladj(x.clone()).0;
        close(&name, &to_host(&y), &to_host(&flow.forward_and_ladj(Tensor::from_inner(x)).0), tolerance(1e-12));
    }
}

#[test]
fn the_inverse_flow_is_the_inverse() {
    for (name, d, flow) in all() {
        let z = tracked(&numbers(ROWS * d, 10), [ROWS, d]);
        let (x, ladj) = flow.inverse_and_ladj(z.clone());
        let (same, same_ladj) = flow.inverse().forward_and_ladj(z);
        assert_eq!(to_host(&same), to_host(&x), "{name}");
        assert_eq!(to_host(&same_ladj), to_host(&ladj), "{name}");
    }
}

#[test]
fn random_orders_travel_with_the_parameters() {
    for text in [
        "kind = 'real-nvp'\nlayers = 2\nhidden = 8\nmixing = 'shuffle'",
        "kind = 'spline'\nlayers = 2\nhidden = 8\nmixing = 'linear'",
    ] {
        let make = |seed| {
            let mut flow = config(text).init(9, &device(), &mut stream(seed, Purpose::Init, 0));
            flow.assume_initialised();
            flow
        };
        let (saved, other) = (make(1), make(2));
        let x = || tracked::<2>(&numbers(18, 18), [2, 9]).without_autodiff().cast(burn::tensor::DType::F32);
        let loaded =
            params::load(other, &params::collect(&saved).into_iter().collect()).expect("the same architecture");
        let there = |flow: &Flow| to_host(&flow.forward_and_ladj(x()).0);
        assert_eq!(there(&loaded), there(&saved), "{text}");
        assert_ne!(there(&make(2)), there(&saved), "{text}: the seed does nothing");
    }
}

#[test]
fn the_log_determinant_of_a_logit_against_differences() {
    for (alpha, pixels) in
        [(0.05, &[0.0, 1.0 / 256.0, 0.5, 255.0 / 256.0, 1.0][..]), (1e-6, &[1.0 / 256.0, 0.5, 255.0 / 256.0])]
    {
        let map = Logit::new(alpha);
        let at = |h: f64| {
            let x: Vec<f64> = pixels.iter().map(|p| p + h).collect();
            to_host(&map.forward_and_ladj(tracked(&x, [x.len(), 1])).0)
        };
        let h = 1e-5;
        let slopes: Vec<f64> = at(h).iter().zip(at(-h)).map(|(p, m)| ((p - m) / (2.0 * h)).ln()).collect();
        let found = to_host(&map.forward_and_ladj(tracked(pixels, [pixels.len(), 1])).1);
        close(&format!("alpha = {alpha}"), &found, &slopes, tolerance(1e-5));
    }
}

#[test]
fn densities_have_mass_one() {
    let (half, step) = (480i32, 0.05);
    let side: Vec<f64> = (-half..=half).map(|i| f64::from(i) * step).collect();
    for text in [
        "kind = 'maf'\nlayers = 2\nhidden = 8\nscale = { kind = 'bounded', m = 1.0 }",
        "kind = 'maf'\nlayers = 2\nhidden = 8",
        "kind = 'real-nvp'\nlayers = 3\nhidden = 8",
        "kind = 'spline'\nlayers = 2\nhidden = 8",
        "kind = 'spline'\nlayers = 2\nhidden = 8\nautoregressive = true",
    ] {
        let flow = ready(config(text).init(2, &device().autodiff(), &mut init())).valid();
        let mass: f64 = side
            .iter()
            .map(|&a| {
                let column: Vec<f64> = side.iter().flat_map(|&b| [a, b]).collect();
                let x = tracked::<2>(&column, [side.len(), 2]).without_autodiff();
                to_host(&flow.log_density(x)).iter().map(|l| l.exp()).sum::<f64>()
            })
            .sum::<f64>()
            * step
            * step;
        assert!((mass - 1.0).abs() < 2e-3, "{text}: mass {mass}");
    }
}
