//! Identities of invertible maps: round trips, log-determinants, triangular Jacobians, densities of mass one.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use pushforward::bijector::{
    ActNorm, Affine, Bijector, Coupling, Elementwise, Flow, FlowConfig, FlowStep, Haar, Leading, LinearStart, Logit,
    LuLinear, MaskedAutoregressive, Orthogonal, Permutation, Scale, TarFlow, TarFlowLayerConfig, Transform,
    multi_scale,
};
use pushforward::params;
use pushforward::rng::{Purpose, Stream, stream};
use pushforward::tensor::{cast_module, to_host};

use super::dual::randomise;
use crate::support::{close, device, numbers, precision, tolerance, tracked};

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
fn masked_parameters_see_only_the_features_before() {
    for d in [1, 2, 3, 6] {
        let network = randomise(autoregressive(AFFINE, d).network);
        let x = tracked(&numbers(ROWS * d, 11), [ROWS, d]);
        for jacobian in jacobians(&x, |x| network.forward(x).flatten(1, 2)) {
            for (output, row) in jacobian.iter().enumerate() {
                let feature = output / 2;
                for (input, slope) in row.iter().enumerate() {
                    assert!(
                        (*slope != 0.0) == (input < feature),
                        "{d} features: parameter {output} of feature {feature} has slope {slope} in feature {input}"
                    );
                }
            }
        }
    }
}

/// Inverts a map that is affine in each group of features given those before it, from two evaluations of `f` per group,
/// independently of the networks.
fn oracle(f: Pass<'_>, z: &Tensor<2>, group: usize) -> Vec<f64> {
    let ([rows, d], wanted) = (z.dims(), to_host(z));
    let mut x = vec![0.0; rows * d];
    let at = |x: &[f64]| to_host(&f(tracked(x, [rows, d])).0);
    for start in (0..d).step_by(group) {
        let columns = || (0..rows).flat_map(|r| (start..start + group).map(move |c| r * d + c));
        let at_zero = at(&x);
        columns().for_each(|i| x[i] = 1.0);
        let at_one = at(&x);
        columns().for_each(|i| x[i] = (wanted[i] - at_zero[i]) / (at_one[i] - at_zero[i]));
    }
    x
}

#[test]
fn the_inverse_of_an_autoregressive_map_is_the_sequential_one() {
    let map = randomise(autoregressive(AFFINE, 6));
    let z = tracked(&numbers(ROWS * 6, 12), [ROWS, 6]);
    let wanted = oracle(&|x| map.forward_and_ladj(x), &z, 1);
    close("masked", &to_host(&map.inverse_and_ladj(z).0), &wanted, tolerance(1e-10));
    let map = randomise(tar_flow(5, 3));
    let z = tracked(&numbers(ROWS * 15, 13), [ROWS, 15]);
    let wanted = oracle(&|x| map.forward_and_ladj(x), &z, 3);
    close("tokens", &to_host(&map.inverse_and_ladj(z.clone()).0), &wanted, tolerance(1e-10));
    // Without autodiff, attention takes another path.
    close("tokens", &to_host(&map.valid().inverse_and_ladj(z.inner()).0), &wanted, tolerance(1e-10));
}

#[test]
fn tokens_depend_on_those_before() {
    let (map, x) = (randomise(tar_flow(4, 2)), tracked(&numbers(ROWS * 8, 14), [ROWS, 8]));
    for jacobian in jacobians(&x, |x| map.forward_and_ladj(x).0) {
        for (i, j) in (0..8).flat_map(|i| (0..8).map(move |j| (i, j))) {
            let expected = j / 2 < i / 2 || i == j;
            assert!((jacobian[i][j] != 0.0) == expected, "output {i} has slope {} in input {j}", jacobian[i][j]);
        }
    }
}

#[test]
fn couplings_and_transformers_start_as_the_identity() {
    let x = tracked(&numbers(ROWS * 6, 15), [ROWS, 6]);
    let spline = Transform::Coupling(coupling(SPLINE, 6));
    let affine = Transform::Coupling(coupling(BOUNDED, 6));
    for transform in [spline, affine, Transform::TarFlow(tar_flow(3, 2))] {
        let flow = cast_module(one(transform), precision(&device()));
        let (z, ladj) = flow.forward_and_ladj(x.clone());
        close("identity", &to_host(&z), &to_host(&x), tolerance(1e-12));
        assert!(to_host(&ladj).iter().all(|l| l.abs() < tolerance(1e-12)), "{ladj}");
    }
    let mut untouched = randomise(coupling(AFFINE, 5)).forward_and_ladj(x.clone().narrow(1, 0, 5)).0;
    untouched = untouched.narrow(1, 0, 2);
    assert_eq!(to_host(&untouched), to_host(&x.narrow(1, 0, 2)), "the first half passes");
}

/// Splines of one number each, all with the same parameters.
fn spline(raw: &[f64], x: &[f64]) -> [(Vec<f64>, Vec<f64>); 2] {
    let (n, map) = (x.len(), Elementwise::Spline { bins: (raw.len() + 1) / 3, bound: 2.0 });
    let parameters = || tracked::<3>(&raw.repeat(n), [n, 1, raw.len()]);
    let host = |(y, l): (Tensor<2>, Tensor<2>)| (to_host(&y), to_host(&l));
    [host(map.forward(tracked(x, [n, 1]), parameters())), host(map.inverse(tracked(x, [n, 1]), parameters()))]
}

#[test]
fn splines_are_increasing_and_the_identity_beyond_their_ends() {
    for (seed, size) in [(1, 1.0), (2, 5.0), (3, 30.0)] {
        let raw: Vec<f64> = numbers(14, seed).iter().map(|v| v * size).collect();
        let outside = [-1e6, -2.5, -2.0 - 1e-9, 2.0 + 1e-9, 7.0];
        for (y, ladj) in spline(&raw, &outside) {
            assert_eq!(y, tracked::<1>(&outside, [5]).to_data().iter::<f64>().collect::<Vec<_>>());
            assert_eq!(ladj, [0.0; 5]);
        }
        let grid: Vec<f64> = (0..=4000).map(|i| -2.0 + i as f64 * 1e-3).collect();
        for (y, ladj) in spline(&raw, &grid) {
            assert!(y.windows(2).all(|w| w[0] <= w[1]), "size {size}");
            assert!(ladj.iter().all(|l| l.is_finite()), "size {size}");
            assert!((y[0] + 2.0).abs() < tolerance(1e-12) && (y[4000] - 2.0).abs() < tolerance(1e-12), "size {size}");
        }
    }
}

#[test]
fn splines_invert_at_their_knots() {
    // Knots of zero parameters lie at multiples of 0.8; those of others where their shares of the interval end.
    let zero = vec![0.0; 14];
    let random: Vec<f64> = numbers(14, 4);
    let total: f64 = random[..5].iter().map(|v| v.exp()).sum();
    let mut knots = vec![-2.0];
    for v in &random[..5] {
        let share = v.exp() / total * (1.0 - 5e-3) + 1e-3;
        knots.push(knots.last().expect("one") + 4.0 * share);
    }
    assert!((knots[5] - 2.0).abs() < 1e-12);
    for (raw, knots) in [(&zero, (0..6).map(|k| -2.0 + 0.8 * k as f64).collect()), (&random, knots)] {
        let around: Vec<f64> = knots.iter().flat_map(|k| [k - 1e-9, k - 1e-16, *k, k + 1e-16, k + 1e-9]).collect();
        let [(y, slopes), _] = spline(raw, &around);
        let [_, (x, back)] = spline(raw, &y);
        close("back at the knots", &x, &around, tolerance(1e-12));
        for ((s, b), x) in slopes.iter().zip(&back).zip(&around) {
            assert!((s + b).abs() < tolerance(1e-7), "slopes at {x}: {s} there, {b} back");
        }
    }
    let [(y, ladj), _] = spline(&zero, &knots_of_zero());
    close("zero parameters", &y, &knots_of_zero(), tolerance(1e-12));
    assert!(ladj.iter().all(|l| l.abs() < tolerance(1e-12)));
}

fn knots_of_zero() -> Vec<f64> {
    (0..6).map(|k| -2.0 + 0.8 * k as f64).collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

#[test]
fn act_norm_takes_its_statistics_from_the_first_batch() {
    let (rows, d) = (40, 6);
    let x: Tensor<2> = tracked(&numbers(rows * d, 16), [rows, d]);
    let x = x * 3.0 + tracked::<1>(&[5.0, -1.0, 0.0, 2.0, 7.0, 9.0], [6]).reshape([1, d]);
    let x = x.without_autodiff();
    for channels in [1, 2, 6] {
        for inverted in [false, true] {
            let mut flow = one(act_norm(channels));
            flow = cast_module(flow, precision(&device()));
            let z = if inverted { flow.initialise_inverse(x.clone()) } else { flow.initialise(x.clone()) };
            let values = to_host(&z);
            for channel in 0..channels {
                let own: Vec<f64> =
                    (0..rows * d).filter(|i| i % d / (d / channels) == channel).map(|i| values[i]).collect();
                let (mean, deviation) = moments(&own);
                // The floor of the scale changes the deviation.
                assert!(
                    mean.abs() < tolerance(1e-4) && (deviation - 1.0).abs() < tolerance(1e-4),
                    "{mean} {deviation}"
                );
            }
            // Another batch does not change it, and gradients flow.
            let before = params::collect(&flow);
            let other = x.clone() * 2.0 + 1.0;
            if inverted {
                flow.initialise_inverse(other)
            } else {
                flow.initialise(other)
            };
            assert_eq!(params::collect(&flow), before);
            let gradients = flow.log_density(Tensor::from_inner(x.clone())).sum().backward();
            flow.visit(&mut Finite(&gradients, "after initialisation"));
        }
    }
}

#[test]
fn act_norm_survives_a_constant_batch() {
    for inverted in [false, true] {
        let mut flow = one(act_norm(2));
        let x = || Tensor::<2>::ones([1, 4], &device()) * 3.0;
        let z = if inverted { flow.initialise_inverse(x()) } else { flow.initialise(x()) };
        // The floor of 1e-6 gives a scale of 1e6, which amplifies the rounding error of the mean.
        assert!(to_host(&z).iter().all(|v| v.abs() < 1.0), "{z}");
        assert!(to_host(&flow.forward_and_ladj(x()).1)[0].is_finite());
        for (name, values) in params::collect(&flow) {
            assert!(values.iter::<f64>().all(|v| v.is_finite()), "{name}: {values}");
        }
    }
}

#[test]
fn loaded_statistics_stay() {
    let config = config("kind = 'maf'\nlayers = 2\nhidden = 8");
    let make = |seed| config.init(3, &device().autodiff(), &mut stream(seed, Purpose::Init, 0));
    let x = Tensor::<2>::from_data(
        burn::tensor::TensorData::new(numbers(30, 17).iter().map(|&v| v as f32).collect::<Vec<_>>(), [10, 3]),
        &device(),
    );
    let mut trained = make(1);
    let arrived = trained.initialise(x.clone());
    let weights = params::collect(&trained).into_iter().collect();
    let mut loaded = params::load(make(2), &weights).expect("the same architecture");
    loaded.assume_initialised();
    close("loaded", &to_host(&loaded.valid().forward_and_ladj(x.clone()).0), &to_host(&arrived), 1e-5);
    loaded.initialise(x * 4.0 - 1.0);
    assert_eq!(params::collect(&loaded), params::collect(&trained));
}

#[test]
#[should_panic(expected = "ActNorm has no statistics yet: call `initialise`")]
fn act_norm_without_statistics_is_refused() {
    one(act_norm(1)).forward_and_ladj(tracked(&[1.0, 2.0], [1, 2]));
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

#[test]
fn linear_maps_start_where_they_should() {
    let device = device();
    let eye = |n: usize| -> Vec<f64> { (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect() };
    for n in [1, 2, 7] {
        let basis = || Tensor::<2>::eye(n, &device);
        let rotation = LuLinear::init(n, LinearStart::Rotation, &device, &mut init());
        let (w, ladj) = rotation.forward_and_ladj(basis());
        close("W W^T", &to_host(&w.clone().matmul(w.clone().transpose())), &eye(n), 1e-5);
        assert!(to_host(&ladj).iter().all(|l| l.abs() < 1e-5), "{ladj}");
        if n > 1 {
            assert!(to_host(&w).iter().zip(eye(n)).any(|(w, e)| (w - e).abs() > 0.1), "{w}");
        }
        let identity = LuLinear::init(n, LinearStart::Identity, &device, &mut init());
        assert_eq!(to_host(&identity.forward_and_ladj(basis()).0), eye(n));
        let identity = Orthogonal::init(n, 4, LinearStart::Identity, &device, &mut init());
        close("reflections", &to_host(&identity.forward_and_ladj(basis()).0), &eye(n), 1e-5);
    }
}

#[test]
fn reflections_are_applied_in_turn() {
    let (d, k) = (4, 3);
    let map = randomise(Orthogonal::init(d, k, LinearStart::Rotation, &device().autodiff(), &mut init()));
    let (vectors, x) = (to_host(&map.vectors.val()), numbers(d, 19));
    let mut wanted = x.clone();
    for v in vectors.chunks(d).rev() {
        let (along, square) =
            (v.iter().zip(&wanted).map(|(v, x)| v * x).sum::<f64>(), v.iter().map(|v| v * v).sum::<f64>());
        wanted.iter_mut().zip(v).for_each(|(x, v)| *x -= 2.0 * along / square * v);
    }
    close("H_1 H_2 H_3 x", &to_host(&map.forward_and_ladj(tracked(&x, [1, d])).0), &wanted, tolerance(1e-12));
}

#[test]
fn haar_separates_means_from_differences() {
    let (channels, height, width) = (2, 4, 6);
    let haar = Haar::new([channels, height, width], &device());
    let x = numbers(channels * height * width, 20);
    let z = to_host(&haar.forward_and_ladj(tracked(&x, [1, x.len()])).0);
    let quarter = x.len() / 4;
    for c in 0..channels {
        for (i, j) in (0..height / 2).flat_map(|i| (0..width / 2).map(move |j| (i, j))) {
            let p = |down: usize, right: usize| x[(c * height + 2 * i + down) * width + 2 * j + right];
            let (a, b, d, e) = (p(0, 0), p(0, 1), p(1, 0), p(1, 1));
            let at = (c * height / 2 + i) * width / 2 + j;
            let wanted = [a + b + d + e, a - b + d - e, a + b - d - e, a - b - d + e].map(|v| v / 2.0);
            let found = [0, 1, 2, 3].map(|band| z[band * quarter + at]);
            close("bands", &found, &wanted, tolerance(1e-12));
        }
    }
}

#[test]
fn every_scale_maps_what_is_left() {
    let mut shapes = Vec::new();
    let device = device();
    multi_scale([3, 8, 4], 2, &device, &mut |shape| {
        shapes.push(shape);
        Flow::default()
    });
    assert_eq!(shapes, [[12, 4, 2], [24, 2, 1]]);
    // A shift on the second level moves the first half of the features and no other.
    let mut level = 0;
    let flow = multi_scale([1, 4, 4], 2, &device, &mut |_| {
        level += 1;
        let shift = if level == 2 { 1.0 } else { 0.0 };
        one(Transform::Affine(Affine::new(1.0, shift)))
    });
    let z = to_host(&flow.forward_and_ladj(Tensor::zeros([1, 16], &device)).0);
    assert_eq!(z, [[1.0; 8], [0.0; 8]].concat());
}

#[test]
fn a_leading_flow_is_initialised_too() {
    let mut flow = one(Transform::Leading(Leading::new(2, one(act_norm(1)))));
    let x = Tensor::<2>::from_data([[1.0f32, 5.0, 7.0], [3.0, 7.0, 7.0]], &device());
    let z = to_host(&flow.initialise(x));
    let (mean, deviation) = moments(&[z[0], z[1], z[3], z[4]]);
    assert!(mean.abs() < 1e-4 && (deviation - 1.0).abs() < 1e-4, "{mean} {deviation}");
    assert_eq!([z[2], z[5]], [7.0, 7.0]);
}

#[test]
#[should_panic(expected = "axis 1 of the input: a conditioner is for 3 features, found 4")]
fn another_number_of_features_is_refused() {
    autoregressive(AFFINE, 3).forward_and_ladj(tracked(&[0.0; 4], [1, 4]));
}
