//! Errors of reduced precision: a transformer's loss and gradient against those with float32 products, for objectives
//! without and with a derivative in time.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Gradients, Tensor};
use pushforward::flow_map::config::OffDiagonal;
use pushforward::flow_map::losses::{EcldPreset, GradientPath};
use pushforward::flow_map::model::FlowMapModel;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::objective::FlowMapObjective;
use pushforward::kernels::Precision;
use pushforward::nn::SiteShape;
use pushforward::nn::dit::DitConfig;
use pushforward::tensor::to_host;
use pushforward::train::objective::{Objective, TrainStep};

use super::objective::{batch, config, from_the_start, trained};

/// The loss of a batch and its gradient with respect to all parameters, one after the other.
fn loss_and_gradient(model: &FlowMapModel, off_diagonal: OffDiagonal, network: &NetworkConfig) -> (f64, Vec<f64>) {
    struct All<'a>(&'a Gradients, Vec<f64>);
    impl ModuleVisitor for All<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let zeros = || vec![0.0; param.val().dims().iter().product()];
            self.1.extend(param.val().grad(self.0).map_or_else(zeros, |g| to_host(&g)));
        }
    }
    let objective = FlowMapObjective::new(config(network.clone(), from_the_start(off_diagonal)), None);
    let ema = model.valid();
    let step = TrainStep { model, ema: &ema, seed: 5, index: 3, step: 3, steps: 10 };
    let parts = objective.loss(&step, &batch(model.sites(), 16));
    let total = parts.terms.into_iter().map(|t| t.loss).reduce(|a, b| a + b).expect("a loss has terms");
    let mut all = All(&total.backward(), Vec::new());
    model.visit(&mut all);
    (to_host(&total)[0], all.1)
}

#[test]
fn less_exact_products_cost_little() {
    let network = DitConfig { width: 64, blocks: 2, heads: 2, cond: 32, time_width: 32, ..DitConfig::default() };
    let network = NetworkConfig::Dit(network);
    let model = trained(&network, SiteShape::line(16, 11), false);
    for (off_diagonal, through_tangent) in [
        (OffDiagonal::None, false),
        (OffDiagonal::Csd { gradient: GradientPath::Full }, true),
        (OffDiagonal::Ecld { weights: EcldPreset::Paper }, true),
    ] {
        let at = |precision: Precision| {
            let _precision = precision.scope();
            loss_and_gradient(&model, off_diagonal, &network)
        };
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let (loss, gradient) = at(Precision::F32);
        let bf16 = if through_tangent { [2e-2, 1e-1] } else { [2e-3, 3e-2] };
        for (precision, [of_loss, of_gradient]) in [(Precision::High, [1e-4, 1e-3]), (Precision::Bf16, bf16)] {
            let (found, other) = at(precision);
            let difference: Vec<f64> = other.iter().zip(&gradient).map(|(a, b)| a - b).collect();
            let [a, b] = [(found / loss - 1.0).abs(), norm(&difference) / norm(&gradient)];
            let what =
                format!("{off_diagonal:?} in {precision:?}: relative errors of loss and gradient {a:.1e} and {b:.1e}");
            assert!(a < of_loss && b < of_gradient, "{what}");
            // The results must differ: otherwise a scope without effect would pass.
            assert!(precision != Precision::Bf16 || b > 1e-5, "{what}: as exact as float32");
        }
    }
}
