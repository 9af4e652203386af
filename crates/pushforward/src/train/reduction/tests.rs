//! Overlap changes no bit of a sum, whatever parameters and terms there are.

use std::ops::ControlFlow;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::*;
use crate::kernels::watch::Roots;
use crate::nn::linear::{Linear, LinearConfig};
use crate::params;
use crate::ranks::tests::together;
use crate::rng::{Purpose, stream};
use crate::tensor::to_host;
use crate::train::gradients::Gradients;
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};
use crate::train::{Outcome, TrainConfig, TrainError, TrainRequest, train};

/// A network with every kind of parameter: of kernels, shared by two layers, of burn's own operations, frozen, and without use.
#[derive(Module, Debug)]
struct Net {
    unused: Linear,
    layers: Vec<Linear>,
    shared: Linear,
    scale: Param<Tensor<1>>,
    frozen: Linear,
}

fn net() -> Net {
    let (device, mut random) = (Device::flex().autodiff(), stream(3, Purpose::Init, 0));
    let mut linear = || LinearConfig::new(4, 4).init(&device, &mut random);
    Net {
        unused: linear(),
        layers: vec![linear(), linear()],
        shared: linear(),
        scale: Param::from_data([0.5f32, -0.5, 1.5, 1.0], &device),
        frozen: linear().no_grad(),
    }
}

impl Net {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let apply = |layer: &Linear, x: Tensor<2>| layer.forward(x.into()).value;
        let x = apply(&self.shared, x).tanh();
        let x = self.layers.iter().fold(x, |x, layer| apply(layer, x).tanh());
        apply(&self.frozen, apply(&self.shared, x)) * self.scale.val().unsqueeze()
    }
}

fn input(index: u64) -> Tensor<2> {
    let numbers = stream(5, Purpose::Synthesis, index).normals(12);
    Tensor::from_data(TensorData::new(numbers, [3, 4]), &Device::flex().autodiff())
}

/// Two terms that pull in different directions; with `greedy`, the objective differentiates the model by itself before.
#[derive(Clone, Copy)]
struct Fit {
    greedy: bool,
}

impl Objective<Net> for Fit {
    type Batch = Tensor<2>;

    fn loss(&self, step: &TrainStep<'_, Net>, x: &Tensor<2>) -> LossParts {
        if self.greedy {
            let _ = Gradients::of(&step.model.forward(x.clone()).mean(), step.model);
        }
        let term = |name, aim: f64| {
            let per_example = (step.model.forward(x.clone()) - aim).square().mean_dim(1).squeeze_dim::<1>(1);
            let loss = per_example.clone().mean();
            LossTerm { loss, values: Observed { name, per_example, times: Vec::new() } }
        };
        LossParts { terms: vec![term("up", 1.0), term("down", -1.5)], observed: Vec::new() }
    }
}

fn on_ranks(
    ranks: usize,
    config: &TrainConfig,
    reduction: Reduction,
    fit: Fit,
) -> Vec<Result<Outcome<Net>, TrainError>> {
    together(ranks, |team| {
        let request = TrainRequest { ranks: team, reduction, ..TrainRequest::new(net(), &fit, &input, config.clone()) };
        train(request, &mut |_| ControlFlow::Continue(()))
    })
}

fn bits(model: &Net) -> Vec<u64> {
    params::flat(model).iter().flat_map(|flat| to_host(&flat.value)).map(f64::to_bits).collect()
}

fn config(accumulate: u64, pcgrad: bool) -> TrainConfig {
    TrainConfig { steps: 4, lr: 0.05, warmup: 0, batch: 3, accumulate, pcgrad, ..TrainConfig::default() }
}

#[test]
fn bytes_of_a_step_by_hand() {
    // Two ranks: half of a gradient goes out in rows, and half in sums.
    assert_eq!(Reduction::default().bytes(1000, 2, 1), 4000);
    assert_eq!(Reduction { half: true, ..Reduction::default() }.bytes(1000, 2, 1), 2000);
    assert_eq!(Reduction { reproducible: true, ..Reduction::default() }.bytes(1000, 2, 3), 8000);
    assert_eq!(Reduction::default().bytes(1000, 1, 1), 0);
}

#[test]
fn gradients_leave_in_the_order_of_the_pass() {
    let names: Vec<String> = params::flat(&net()).into_iter().map(|flat| flat.name).collect();
    let found = together(2, |ranks| {
        let model = net();
        let flat = params::flat(&model);
        let lengths: Vec<usize> = flat.iter().map(|flat| flat.value.dims()[0]).collect();
        let layout = Layout::new(
            &ranks,
            Reduction { bucket: 7, ..Reduction::default() },
            &lengths,
            (0..lengths.len()).collect(),
        );
        let summation = Summation::new(ranks, layout.into(), 1);
        let loss = model.forward(input(0)).square().mean();
        let growing = Growing { rows: Vec::new(), name: String::new(), index: 0 };
        let (summation, order) = backward(summation, growing, &loss, &model, Roots::Fresh).expect("nothing changes");
        let sums = summation.finish(&flat).expect("both ranks are there");
        let own = Gradients::of(&model.forward(input(0)).square().mean(), &model);
        for ((sum, own), name) in sums[0].1.0.iter().zip(&own.0).zip(&names) {
            let (sum, own) = (sum.as_ref().map(to_host), own.as_ref().map(to_host));
            assert_eq!(sum.is_none(), name.starts_with("unused") || name.starts_with("frozen"), "{name}");
            assert_eq!(sum, own.map(|own| own.iter().map(|v| 2.0 * v).collect()), "{name}");
        }
        order.into_iter().map(|i| names[i].clone()).collect::<Vec<_>>()
    });
    // The layer of two places is complete when its first place is; `scale` is of burn's own product, and comes at the end.
    let layers: Vec<&str> = found[0].iter().filter_map(|name| name.strip_suffix(".weight")).collect();
    assert_eq!(layers, ["layers.1", "layers.0", "shared"]);
    assert_eq!(found[0], found[1]);
}

#[test]
fn overlap_changes_no_bit() {
    for (accumulate, pcgrad) in [(2, false), (3, true), (5, false), (4, true)] {
        let config = config(accumulate, pcgrad);
        let [one] = &on_ranks(1, &config, Reduction::default(), Fit { greedy: false })[..] else { panic!("one rank") };
        let one = bits(&one.as_ref().expect("a sound run").model);
        for (ranks, reproducible, half) in
            [(2, true, false), (2, false, false), (2, false, true), (3, true, true), (3, true, false)]
        {
            if ranks as u64 > accumulate {
                continue;
            }
            // Buckets of a few numbers end within parameters; one bucket has all.
            let found = [(true, 7), (true, 1 << 20), (false, 7)].map(|(overlap, bucket)| {
                let reduction = Reduction { reproducible, half, bucket, overlap, check_every: 1 };
                let found = on_ranks(ranks, &config, reduction, Fit { greedy: false });
                found.into_iter().map(|found| bits(&found.expect("a sound run").model)).collect::<Vec<_>>()
            });
            let case = format!("{accumulate} {pcgrad} {ranks} {reproducible} {half}");
            for other in found.iter().flatten() {
                assert_eq!(*other, found[2][0], "{case}");
            }
            assert!(!reproducible || half || found[0][0] == one, "{case}");
        }
    }
}

#[test]
fn a_gradient_that_changes_after_it_was_sent_ends_the_run() {
    let found = on_ranks(2, &config(2, false), Reduction::default(), Fit { greedy: true });
    let errors: Vec<String> = found.into_iter().map(|found| found.expect_err("it changes").to_string()).collect();
    assert!(errors.iter().any(|error| error.contains("do not overlap")), "{errors:?}");
    let apart = Reduction { overlap: false, ..Reduction::default() };
    let found = on_ranks(2, &config(2, false), apart, Fit { greedy: true });
    assert!(found.iter().all(Result::is_ok));
}
