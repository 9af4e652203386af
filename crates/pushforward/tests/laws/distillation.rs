//! The gradient of self-distillation, which passes through a derivative of the network, against finite differences.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use pushforward::dual::Dual;
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::backbone::Parametrisation;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::losses::{self, EcldPreset, GradientPath};
use pushforward::flow_map::model::{FlowMapModel, FlowMapModelConfig, Skip};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::time::{TimePairs, jump_weight, rate};
use pushforward::nn::dit::{DitConfig, InputMode};
use pushforward::nn::mlp::MlpConfig;
use pushforward::nn::time_embedding::TimeFeatures;
use pushforward::nn::unet::UnetConfig;
use pushforward::nn::{Pass, SiteShape};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{to_host, vector};

use super::dual::randomise;
use crate::support::{device, numbers, precision, tracked};

/// One network of every kind, small and with random weights throughout, in the test precision.
pub(crate) fn networks() -> Vec<(&'static str, NetworkConfig, SiteShape)> {
    let line = SiteShape::line(3, 4);
    let image = SiteShape::image([4, 4], 3);
    // Random frequencies: with geometric ones, the slope in t, which is tested here, would be too small.
    let time = TimeFeatures::Fourier;
    let dit =
        DitConfig { width: 8, blocks: 1, heads: 2, cond: 6, time, time_width: 6, expansion: 2, ..DitConfig::default() };
    let unet = UnetConfig { channels: 4, multipliers: vec![1, 2], groups: 2, time_width: 4, ..UnetConfig::default() };
    vec![
        ("dit", NetworkConfig::Dit(dit.clone()), line.clone()),
        ("dit, rms", NetworkConfig::Dit(DitConfig { input: InputMode::Rms, ..dit.clone() }), line.clone()),
        ("dit, patches", NetworkConfig::Dit(DitConfig { patch: 2, ..dit }), image.clone()),
        ("unet", NetworkConfig::Unet(unet), image),
        ("mlp", NetworkConfig::Mlp(MlpConfig { width: 8, blocks: 1, time_width: 4, ..MlpConfig::default() }), line),
    ]
}

/// The model of a network, every weight random.
pub(crate) fn model(network: &NetworkConfig, sites: SiteShape, skip: Skip, learned_weight: bool) -> FlowMapModel {
    let config = FlowMapModelConfig {
        network: network.clone(),
        skip,
        parametrisation: Parametrisation::Endpoint,
        learned_weight,
        labels: None,
        smoothing: 0.0,
        observed_length: 1.0,
    };
    randomise(config.init(sites, &device().autodiff(), &mut stream(0, Purpose::Init, 0)))
}

/// The module moved by `step` along a fixed direction in the space of its parameters.
pub(crate) fn moved<M: Module>(module: M, step: f64, direction: u64) -> M {
    struct Walk(f64, u64);
    impl ModuleMapper for Walk {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            self.1 += 1;
            let (id, value, mapper) = param.consume();
            let (dims, host) = (value.dims(), to_host(&value));
            let along = numbers(host.len(), self.1);
            let fresh: Vec<f64> = host.iter().zip(along).map(|(v, d)| v + self.0 * d).collect();
            let fresh: Tensor<D> = tracked(&fresh, dims).cast(value.dtype()).detach();
            Param::from_mapped_value(id, fresh.require_grad(), mapper)
        }
    }
    module.map(&mut Walk(step, direction * 1000))
}

/// The component of a gradient along the direction of [`moved`].
fn component<M: Module>(module: &M, grads: &Gradients, direction: u64) -> f64 {
    struct Dot<'a>(&'a Gradients, u64, f64);
    impl ModuleVisitor for Dot<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1 += 1;
            let Some(gradient) = param.val().grad(self.0) else { return };
            let along = numbers(gradient.dims().iter().product(), self.1);
            self.2 += to_host(&gradient).iter().zip(along).map(|(g, d)| g * d).sum::<f64>();
        }
    }
    let mut dot = Dot(grads, direction * 1000, 0.0);
    module.visit(&mut dot);
    dot.2
}

/// A model with weights large enough that its slope in t matters.
fn lively(network: &NetworkConfig, sites: SiteShape) -> FlowMapModel {
    moved(model(network, sites, Skip::None, false), 0.7, 9)
}

/// A self-distillation problem with a frozen teacher.
struct Problem {
    pairs: TimePairs,
    x_s: Tensor<3>,
    z_tt: Tensor<3>,
    /// The student's endpoint with the original parameters, to which the published losses apply a stop-gradient.
    arrival: Tensor<3>,
}

impl Problem {
    fn new(net: &FlowMapModel) -> Self {
        let SiteShape { count, classes, .. } = net.sites();
        let pairs = TimePairs { s: vec![0.1, 0.5], t: vec![0.7, 0.8] };
        let shape = [2, count, classes];
        let x_s: Tensor<3> = tracked(&numbers(shape.iter().product(), 1), shape);
        let z_tt = tracked(&numbers(shape.iter().product(), 2), shape) * 2.0;
        let (pi, _) = losses::endpoint(student(net, &x_s, &pairs));
        let arrival = losses::jump(x_s.clone(), pi, pairs.column(&x_s, jump_weight)).inner();
        Self { pairs, x_s, z_tt, arrival }
    }

    fn loss(&self, name: &str, net: &FlowMapModel) -> Tensor<1> {
        let (z, z_tt, x, pairs) =
            (student(net, &self.x_s, &self.pairs), self.z_tt.clone(), self.x_s.clone(), &self.pairs);
        let loss = match name {
            "csd" => losses::csd(z, z_tt, x, pairs, GradientPath::Published),
            "csd, full" => losses::csd(z, z_tt, x, pairs, GradientPath::Full),
            "lsd" => losses::lsd(z, z_tt, x, pairs, 0.05),
            "lsd-logit, full" => losses::lsd_logit(z, z_tt, pairs, 1e-3, GradientPath::Full),
            "naive" => losses::naive(z, z_tt, pairs),
            _ => {
                let (endpoint, drift) = losses::ecld(z, z_tt, pairs, &EcldPreset::Paper.weights());
                endpoint + drift
            }
        };
        loss.mean()
    }

    /// The loss as a function of the student only: stopped terms keep their first value.
    fn frozen(&self, name: &str, net: &FlowMapModel) -> f64 {
        let residual = |scale: fn(f64) -> f64| {
            let (pi, dpi) = losses::endpoint(student(net, &self.x_s, &self.pairs));
            let slope = (pi - self.x_s.clone()) * self.pairs.column(&self.x_s, |s, _| rate(s))
                + dpi * self.pairs.column(&self.x_s, jump_weight);
            let target = burn::tensor::activation::softmax(self.z_tt.clone(), 2) - self.arrival.clone();
            let r = slope - target * self.pairs.column(&self.x_s, |_, t| rate(t));
            let r = r * self.pairs.column(&self.x_s, |_, t| scale(t));
            to_host(&((r.clone() * r).sum_dim(2).mean()))[0]
        };
        match name {
            "csd" => residual(|t| 1.0 - t),
            "lsd" => residual(|_| 1.0),
            _ => to_host(&self.loss(name, net))[0],
        }
    }
}

/// Logits with their slope in t.
fn student(net: &FlowMapModel, x: &Tensor<3>, pairs: &TimePairs) -> Dual<3> {
    let (s, t) = (vector(&pairs.s, x), vector(&pairs.t, x));
    let t = Dual::new(t.clone(), t.ones_like());
    net.logits(x.clone().into(), s.into(), t, &Conditioning::default(), &mut Pass::eval())
}

#[test]
fn gradients_through_the_tangent_are_those_of_finite_differences() {
    if precision(&device()) != burn::tensor::DType::F64 {
        return; // float32 has no digits left for this
    }
    for (kind, network, sites) in networks() {
        let net = lively(&network, sites);
        let problem = Problem::new(&net);
        for name in ["csd", "csd, full", "lsd", "lsd-logit, full", "ecld", "naive"] {
            let loss = problem.loss(name, &net);
            let frozen = problem.frozen(name, &net);
            assert!((to_host(&loss)[0] - frozen).abs() < 1e-12 * frozen.max(1.0), "{kind}, {name}: {loss} {frozen}");
            let grads = loss.backward();
            for direction in 1..4 {
                let h = 2e-5;
                let at = |h: f64| problem.frozen(name, &moved(net.clone(), h, direction));
                let slope = (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h);
                let found = component(&net, &grads, direction);
                let error = (found - slope).abs() / slope.abs().max(1e-2);
                assert!(error < 1e-6, "{kind}, {name}, direction {direction}: found {found}, wanted {slope}");
            }
        }
    }
}

/// The test above would pass for a loss without a derivative; this one checks the tangent's part of the gradient.
#[test]
fn the_tangent_contributes_to_the_gradient() {
    for (kind, network, sites) in networks() {
        let net = lively(&network, sites);
        let problem = Problem::new(&net);
        let gradient = |cut: bool| {
            let z = student(&net, &problem.x_s, &problem.pairs);
            let z = if cut { Dual::new(z.value.clone(), z.tangent_or_zeros().detach()) } else { z };
            let (endpoint, drift) = losses::ecld(z, problem.z_tt.clone(), &problem.pairs, &EcldPreset::Paper.weights());
            component(&net, &(endpoint + drift).mean().backward(), 1)
        };
        let (with, without) = (gradient(false), gradient(true));
        assert!((with - without).abs() > 1e-2 * with.abs(), "{kind}: {with} {without}");
    }
}
