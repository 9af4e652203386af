//! Identities of the flow map, for random networks and for networks in closed form.

use burn::tensor::{DType, Tensor, activation};
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::backbone::Parametrisation;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig};
use pushforward::flow_map::losses::{self, EcldPreset, GradientPath};
use pushforward::flow_map::map::FlowMap;
use pushforward::flow_map::model::{FlowMapModel, FlowMapModelConfig, Skip};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::{Generator, SampleRequest, sample};
use pushforward::flow_map::time::TimePairs;
use pushforward::nn::dit::DitConfig;
use pushforward::nn::mlp::MlpConfig;
use pushforward::nn::{Pass, SiteShape};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, from_host, indices, to_host};

use super::dual::randomise;
use crate::support::{close, device, numbers, precision, tolerance, tracked};

const SITES: SiteShape = SiteShape::line(4, 3);

fn dit() -> NetworkConfig {
    NetworkConfig::Dit(DitConfig { width: 16, blocks: 2, heads: 2, cond: 8, time_width: 8, ..DitConfig::default() })
}

/// A transformer with random weights throughout.
fn network() -> FlowMapModel {
    network_for(Parametrisation::Endpoint)
}

fn network_for(parametrisation: Parametrisation) -> FlowMapModel {
    let config = FlowMapModelConfig {
        network: dit(),
        skip: Skip::None,
        parametrisation,
        learned_weight: false,
        labels: None,
        smoothing: 0.0,
        observed_length: 1.0,
    };
    randomise(config.init(SITES, &device().autodiff(), &mut stream(0, Purpose::Init, 0)))
}

/// The tolerance of a finite difference, which has few digits in float32.
fn difference(f64_tolerance: f64) -> f64 {
    if precision(&device()) == DType::F64 { f64_tolerance } else { 0.1 }
}

fn points(n: usize, seed: u64) -> Tensor<3> {
    tracked(&numbers(n * SITES.count * SITES.classes, seed), [n, SITES.count, SITES.classes])
}

#[test]
fn a_jump_of_no_length_is_the_identity() {
    let net = network();
    let (map, x) = (FlowMap::new(&net), points(4, 1));
    let t = [0.0, 0.3, 0.999_999, 1.0];
    assert_eq!(to_host(&map.jump(x.clone(), &t, &t)), to_host(&x));
    // A jump to the end arrives at the endpoint.
    let (end, jump) = (map.endpoint(&x, &t[..], &[1.0; 4]), map.jump(x.clone(), &t, &[1.0; 4]));
    let per_item = SITES.count * SITES.classes;
    close("jump to 1", &to_host(&jump)[..3 * per_item], &to_host(&end)[..3 * per_item], tolerance(1e-12));
}

#[test]
fn endpoints_lie_on_the_simplex_and_jumps_stay_there() {
    let net = network();
    let map = FlowMap::new(&net);
    let on_simplex = |what: &str, x: &Tensor<3>| {
        assert!(to_host(x).iter().all(|v| *v >= 0.0), "{what}: {:?}", to_host(x));
        close(what, &to_host(&x.clone().sum_dim(2)), &[1.0; 16], tolerance(1e-12));
    };
    let (s, t) = ([0.0, 0.2, 0.5, 0.98], [1.0, 0.3, 0.9, 0.99]);
    on_simplex("endpoint", &map.endpoint(&(points(4, 2) * 20.0), &s, &t));
    let mut x = activation::softmax(points(4, 3) * 3.0, 2);
    for _ in 0..3 {
        x = map.jump(x, &s, &t);
        on_simplex("jump", &x);
    }
}

#[test]
fn velocity_is_the_slope_of_the_jump_at_its_start() {
    for parametrisation in [Parametrisation::Endpoint, Parametrisation::Velocity] {
        let net = network_for(parametrisation);
        let (map, x) = (FlowMap::new(&net), points(3, 4));
        let s = [0.0, 0.4, 0.9];
        let slope = |h: f64| (map.jump(x.clone(), &s, &s.map(|s| s + h)) - x.clone()) * h.recip();
        // Second order in h.
        let (h, velocity) = (1e-4, to_host(&map.velocity(&x, &s)));
        let found = to_host(&(slope(h) * 2.0 - slope(2.0 * h)));
        close(&format!("{parametrisation:?}"), &found, &velocity, difference(1e-5));
    }
}

#[test]
fn everything_is_finite_up_to_the_end_of_time() {
    let net = network();
    let map = FlowMap::new(&net);
    let pairs = TimePairs { s: vec![1.0, 1.0 - 1e-12, 0.0, 0.97], t: vec![1.0, 1.0, 1.0, 1.0 - 1e-9] };
    let x = points(4, 5);
    for tensor in [map.jump(x.clone(), &pairs.s, &pairs.t), map.velocity(&x, &[1.0, 1.0 - 1e-12, 0.0, 1.0 - 1e-9])] {
        assert!(to_host(&tensor).iter().all(|v| v.is_finite()), "{:?}", to_host(&tensor));
    }
    let (z, dz, z_tt) = (points(4, 6).require_grad(), points(4, 7).require_grad(), points(4, 8));
    let student = || Dual::new(z.clone(), dz.clone());
    let (endpoint, drift) = losses::ecld(student(), z_tt.clone(), &pairs, &EcldPreset::PaperTime.weights());
    for (name, loss) in [
        ("csd", losses::csd(student(), z_tt.clone(), x.clone(), &pairs, GradientPath::Published)),
        ("csd full", losses::csd(student(), z_tt.clone(), x.clone(), &pairs, GradientPath::Full)),
        ("lsd", losses::lsd(student(), z_tt.clone(), x.clone(), &pairs, 0.05)),
        ("lsd exact", losses::lsd(student(), z_tt.clone(), x.clone(), &pairs, 0.0)),
        ("ecld", endpoint + drift),
        ("psd", losses::psd(z.clone(), z_tt.clone(), x.clone(), &pairs, &[0.0, 1.0, 0.5, 0.999])),
        ("lsd logit", losses::lsd_logit(student(), z_tt.clone(), &pairs, 0.01, GradientPath::Full)),
        ("esd logit", losses::esd_logit(student(), z_tt.clone(), &pairs, 0.01)),
    ] {
        assert!(to_host(&loss).iter().all(|v| v.is_finite()), "{name}: {:?}", to_host(&loss));
        let grads = loss.mean().backward();
        let gradient = to_host(&z.grad(&grads).expect("the logits carry gradient"));
        assert!(gradient.iter().all(|v| v.is_finite()), "{name}: gradient {gradient:?}");
    }
}

#[test]
fn uniform_logits_cost_the_logarithm_of_the_classes() {
    for classes in [2, 3, 27] {
        let z: Tensor<3> = tracked(&vec![0.4; 2 * classes], [1, 2, classes]);
        let ids = || indices(&[0, classes as u32 - 1], [1, 2], &device());
        for smoothing in [0.0, 0.1] {
            let loss = to_host(&losses::vfm(z.clone(), ids(), smoothing, None));
            close("vfm", &loss, &[(classes as f64).ln(); 2], tolerance(1e-12));
        }
        close("entropy", &to_host(&losses::teacher_entropy(z)), &[(classes as f64).ln(); 2], tolerance(1e-12));
    }
}

/// The network of a data set with one item: its endpoint is always that item.
struct PointMass(Vec<u32>);

impl EndpointNet for PointMass {
    fn logits(&self, x: Dual<3>, _: Dual<1>, _: Dual<1>, _: &Conditioning, _: &mut Pass<'_>) -> Dual<3> {
        let [b, d, k] = x.dims();
        let one: Vec<f64> =
            self.0.iter().flat_map(|&id| (0..k).map(move |c| if c as u32 == id { 200.0 } else { 0.0 })).collect();
        from_host(&one.repeat(b), [b, d, k], &x.value).into()
    }
}

#[test]
fn one_step_equals_a_hundred_on_a_point_mass() {
    let item = vec![2, 0, 1, 1];
    let net = PointMass(item.clone());
    let config = FlowMapConfig::new(dit(), ObjectiveConfig::default());
    let draw = |steps| {
        sample(
            &Generator::new(&net, SITES, &device()).with_noise(config.noise()),
            &SampleRequest::map(5, steps, 0),
            &mut |_| true,
        )
    };
    let (one, hundred) = (draw(1), draw(100));
    assert_eq!(one.ids, item.repeat(5));
    assert_eq!(one.ids, hundred.ids);
    let as_f64 = |v: &[f32]| v.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    close("endpoints", &as_f64(&hundred.endpoints), &as_f64(&one.endpoints), 1e-5);
    // The semigroup property in between, in the test precision.
    let (map, x) = (FlowMap::new(&net), points(1, 9));
    let whole = map.jump(x.clone(), &[0.1], &[0.8]);
    let halves = map.jump(map.jump(x, &[0.1], &[0.35]), &[0.35], &[0.8]);
    close("semigroup", &to_host(&halves), &to_host(&whole), tolerance(1e-12));
}

/// A network whose last layer is zero, with the evidence skip: the exact posterior of independent uniform variables.
fn evidence(network: NetworkConfig, cap: f64) -> FlowMapModel {
    let config = FlowMapModelConfig {
        network,
        skip: Skip::Evidence { cap },
        parametrisation: Parametrisation::Endpoint,
        learned_weight: false,
        labels: None,
        smoothing: 0.0,
        observed_length: 1.0,
    };
    cast_module(config.init(SITES, &device().autodiff(), &mut stream(0, Purpose::Init, 0)), precision(&device()))
}

#[test]
fn evidence_alone_is_the_posterior_of_uniform_variables() {
    let mlp = NetworkConfig::Mlp(MlpConfig { width: 8, blocks: 1, ..MlpConfig::default() });
    for network in [dit(), mlp] {
        let net = evidence(network, 64.0);
        let (map, x, t) = (FlowMap::new(&net), points(3, 10), [0.0, 0.45, 0.85]);
        let pi = to_host(&map.endpoint(&x, &t, &t));
        let density = |x: &[f64], k: usize, t: f64| {
            let square: f64 = x.iter().enumerate().map(|(j, x)| (x - if j == k { t } else { 0.0 }).powi(2)).sum();
            (-square / (2.0 * (1.0 - t).powi(2))).exp()
        };
        let wanted: Vec<f64> = to_host(&x)
            .chunks(SITES.classes)
            .enumerate()
            .flat_map(|(i, x)| {
                let all: Vec<f64> = (0..SITES.classes).map(|k| density(x, k, t[i / SITES.count])).collect();
                let sum: f64 = all.iter().sum();
                all.into_iter().map(move |v| v / sum)
            })
            .collect();
        close("posterior", &pi, &wanted, tolerance(1e-10));
    }
}

#[test]
fn evidence_moves_with_point_and_time() {
    // Past the cap (s > 0.877 for 64), the factor is constant, and logits change with the point only.
    for (cap, s) in [(64.0, [0.0, 0.3, 0.8]), (64.0, [0.9, 0.97, 1.0]), (2.0, [0.1, 0.45, 0.7])] {
        let net = evidence(dit(), cap);
        let (x, direction) = (points(3, 11), points(3, 12));
        let ds = s.map(|s| 1.0 - s);
        let times = |h: f64| tracked(&[0, 1, 2].map(|i| s[i] + h * ds[i]), [3]);
        let t = tracked(&[1.0; 3], [3]);
        let at = |h: f64| {
            let x = x.clone() + direction.clone() * h;
            to_host(
                &net.logits(x.into(), times(h).into(), t.clone().into(), &Conditioning::default(), &mut Pass::eval())
                    .value,
            )
        };
        let (x, s) = (Dual::new(x.clone(), direction.clone()), Dual::new(times(0.0), tracked(&ds, [3])));
        let z = net.logits(x, s, t.clone().into(), &Conditioning::default(), &mut Pass::eval());
        let h = 1e-5;
        let slope: Vec<f64> = at(h).iter().zip(at(-h)).map(|(p, m)| (p - m) / (2.0 * h)).collect();
        assert!(slope.iter().all(|v| v.is_finite()));
        close("slope along the flow", &to_host(&z.tangent.expect("a tangent")), &slope, difference(1e-7));
    }
}
