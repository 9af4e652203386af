//! Tangents of whole networks against central differences; values do not change with a tangent.

use burn::module::Module;
use burn::tensor::Tensor;
use pushforward::dual::Dual;
use pushforward::nn::dilated::DilatedConfig;
use pushforward::nn::dit::{DitConfig, InputMode};
use pushforward::nn::dropout::Dropout;
use pushforward::nn::mlp::MlpConfig;
use pushforward::nn::time_embedding::TimeFeatures;
use pushforward::nn::unet::UnetConfig;
use pushforward::nn::{Pass, SiteShape};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, to_host};

use crate::support::{close, device, numbers, precision, tolerance, tracked};

/// A network as a function of point and times.
type Net<'a> = &'a dyn Fn(Dual<3>, Dual<1>, Dual<1>) -> Dual<3>;

/// Gives every weight a random value, because layers that start at zero would hide errors.
pub(crate) fn randomise<M: Module>(module: M) -> M {
    use burn::module::{ModuleMapper, Param};
    struct Noise(u64);
    impl ModuleMapper for Noise {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.0 += 1;
            let (id, value, mapper) = param.consume();
            let dims = value.dims();
            let small: Vec<f64> = numbers(dims.iter().product(), self.0).iter().map(|v| 0.35 * v).collect();
            let fresh: Tensor<D> = tracked(&small, dims);
            Param::from_mapped_value(id, fresh.require_grad(), mapper)
        }
    }
    cast_module(module, precision(&device())).map(&mut Noise(0))
}

/// Checks the tangent along a direction in (x, s, t) against a fourth-order central difference.
pub(super) fn check_tangent(what: &str, sites: SiteShape, net: Net<'_>) {
    let (b, d, k) = (2, sites.count, sites.classes);
    let x: Tensor<3> = tracked(&numbers(b * d * k, 1), [b, d, k]);
    let dx: Tensor<3> = tracked(&numbers(b * d * k, 2), [b, d, k]);
    let (s, t) = (tracked(&[0.2, 0.45], [b]), tracked(&[0.7, 0.85], [b]));
    let (ds, dt) = (tracked(&[0.8, -0.3], [b]), tracked(&[0.5, 1.0], [b]));
    let dual =
        net(Dual::new(x.clone(), dx.clone()), Dual::new(s.clone(), ds.clone()), Dual::new(t.clone(), dt.clone()));
    let at = |h: f64| {
        let v = net(
            (x.clone() + dx.clone() * h).into(),
            (s.clone() + ds.clone() * h).into(),
            (t.clone() + dt.clone() * h).into(),
        );
        to_host(&v.value)
    };
    close(&format!("{what}: value"), &to_host(&dual.value), &at(0.0), tolerance(1e-12));
    let h = 1e-3;
    let (p1, m1, p2, m2) = (at(h), at(-h), at(2.0 * h), at(-2.0 * h));
    let slope: Vec<f64> = (0..p1.len()).map(|i| (8.0 * (p1[i] - m1[i]) - (p2[i] - m2[i])) / (12.0 * h)).collect();
    close(&format!("{what}: tangent"), &to_host(&dual.tangent.expect("a tangent")), &slope, tolerance(1e-6).max(1e-6));
}

#[test]
fn dit_on_text_and_images() {
    let (device, mut s) = (device().autodiff(), stream(0, Purpose::Init, 0));
    for input in [InputMode::Naive, InputMode::Rms] {
        let config =
            DitConfig { width: 16, blocks: 2, heads: 2, cond: 8, time_width: 8, input, ..DitConfig::default() };
        let sites = SiteShape::line(5, 3);
        let net = randomise(config.init(sites.clone(), &device, &mut s));
        check_tangent("dit, line", sites, &|x, s, t| net.forward(x, s, t, None, &mut Pass::eval()));
        let sites = SiteShape::image([4, 6], 2);
        let config = DitConfig { patch: 2, ..config };
        let net = randomise(config.init(sites.clone(), &device, &mut s));
        check_tangent("dit, grid", sites, &|x, s, t| net.forward(x, s, t, None, &mut Pass::eval()));
    }
}

#[test]
fn dilated_convolutions() {
    let (device, mut s) = (device().autodiff(), stream(0, Purpose::Init, 0));
    let config = DilatedConfig {
        width: 12,
        blocks: 3,
        kernel: 3,
        dilations: vec![1, 2],
        cond: 8,
        time_width: 8,
        rounds: 2,
        ..DilatedConfig::default()
    };
    let sites = SiteShape::line(5, 3);
    let net = randomise(config.init(sites.clone(), &device, &mut s));
    check_tangent("dilated", sites, &|x, s, t| net.forward(x, s, t, None, &mut Pass::eval()));
}

#[test]
fn mlp_and_unet() {
    let (device, mut s) = (device().autodiff(), stream(0, Purpose::Init, 0));
    let config = MlpConfig { width: 16, blocks: 2, time: TimeFeatures::Fourier, time_width: 8, ..MlpConfig::default() };
    let skip = MlpConfig { posterior: true, skip: true, ..config.clone() };
    let rounds = MlpConfig { rounds: 2, ..skip.clone() };
    let columns = SiteShape::columns(&[3, 4, 2]);
    let centred = MlpConfig { centred: true, ..config.clone() };
    let line = SiteShape::line(3, 4);
    for (config, sites) in
        [(config, line.clone()), (centred.clone(), line.clone()), (skip, columns.clone()), (rounds, columns)]
    {
        let net = randomise(config.init(sites.clone(), &device, &mut s));
        check_tangent("mlp", sites, &|x, s, t| net.forward(x, s, t, None));
    }
    // What is added to all classes of a site does not matter to a centred network.
    let net = randomise(centred.init(line, &device, &mut s));
    let [x, times] =
        [tracked(&[0.3, -1.0, 0.5, 2.0, 0.0, 0.1, 0.2, 0.3, 1.0, 1.0, -1.0, 0.4], [12]), tracked(&[0.4], [1])];
    let x = x.reshape([1, 3, 4]);
    let z = |x: Tensor<3>| to_host(&net.forward(x.into(), times.clone().into(), times.clone().into(), None).value);
    for (a, b) in z(x.clone()).iter().zip(z(x + 3.0)) {
        assert!((a - b).abs() < 1e-9, "{a} {b}");
    }
    let sites = SiteShape::image([8, 4], 3);
    let config = UnetConfig { channels: 4, multipliers: vec![1, 2], groups: 2, time_width: 8, ..UnetConfig::default() };
    let net = randomise(config.init(sites.clone(), &device, &mut s));
    check_tangent("unet", sites, &|x, s, t| net.forward(x, s, t, None, &mut Pass::eval()));
}

#[test]
fn dropout_masks_value_and_tangent_alike() {
    let x = Dual::new(tracked(&[1.0; 200], [200]), tracked(&[3.0; 200], [200]));
    let mut s = stream(5, Purpose::Dropout, 0);
    let y = Dropout::new(0.25).forward(x.clone(), &mut Pass::train(&mut s));
    let (v, t) = (to_host(&y.value), to_host(&y.tangent.expect("a tangent")));
    for (v, t) in v.iter().zip(&t) {
        assert!((t - 3.0 * v).abs() < 1e-5, "value {v}, tangent {t}");
    }
    let dropped = v.iter().filter(|v| **v == 0.0).count();
    assert!((30..70).contains(&dropped), "{dropped} of 200 dropped at probability 0.25");
    let same = Dropout::new(0.25).forward(x.clone(), &mut Pass::eval());
    assert_eq!(to_host(&same.value), to_host(&x.value));
}

#[test]
#[should_panic(expected = "patch must divide the image of 4 x 6 pixels, found 3")]
fn patches_must_divide() {
    let sites = SiteShape::image([4, 6], 2);
    let config = DitConfig { patch: 3, ..DitConfig::default() };
    config.init(sites, &device(), &mut stream(0, Purpose::Init, 0));
}
