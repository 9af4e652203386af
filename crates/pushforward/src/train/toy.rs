//! A small network and objective for the tests of this folder.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::rng::{Purpose, stream};
use crate::train::objective::{LossParts, LossTerm, Objective, Observed, TrainStep};

#[derive(Module, Debug)]
pub(crate) struct Dense {
    pub(crate) weight: Param<Tensor<2>>,
    pub(crate) bias: Param<Tensor<1>>,
}

#[derive(Module, Debug)]
pub(crate) struct Mlp {
    pub(crate) layers: Vec<Dense>,
}

impl Mlp {
    /// `[batch, 2]` to `[batch, 1]`.
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let [first, second] = self.layers.as_slice() else { panic!("the toy has two layers") };
        let dense = |layer: &Dense, x: Tensor<2>| x.matmul(layer.weight.val()).add(layer.bias.val().unsqueeze());
        dense(second, dense(first, x).tanh())
    }
}

pub(crate) fn mlp(seed: u64) -> Mlp {
    mlp_of(seed, 8)
}

pub(crate) fn mlp_of(seed: u64, hidden: usize) -> Mlp {
    let device = Device::flex().autodiff();
    let mut rng = stream(seed, Purpose::Init, 0);
    let mut dense = |inputs: usize, outputs: usize| Dense {
        weight: Param::from_data(TensorData::new(rng.normals(inputs * outputs), [inputs, outputs]), &device),
        bias: Param::from_data(TensorData::new(rng.normals(outputs), [outputs]), &device),
    };
    Mlp { layers: vec![dense(2, hidden), dense(hidden, 1)] }
}

/// 16 points and their targets, a function of the index alone.
pub(crate) fn batch(index: u64) -> (Tensor<2>, Tensor<2>) {
    let device = Device::flex().autodiff();
    let x = stream(5, Purpose::Synthesis, index).normals(32);
    let y: Vec<f32> = x.chunks(2).map(|x| (x[0] + 0.5 * x[1]).sin()).collect();
    (Tensor::from_data(TensorData::new(x, [16, 2]), &device), Tensor::from_data(TensorData::new(y, [16, 1]), &device))
}

#[derive(Default)]
pub(crate) enum Trouble {
    #[default]
    None,
    Example {
        micro_batch: u64,
        example: usize,
    },
    Gradient {
        micro_batch: u64,
    },
}

/// Squared error of the targets (with a little noise), and of `second` times the targets, each from its own forward
/// pass; with `kept`, `second` times what the average says, which is kept from that part of the run on.
pub(crate) struct Toy {
    pub(crate) noise: f64,
    pub(crate) second: f64,
    pub(crate) kept: Option<f64>,
    pub(crate) trouble: Trouble,
}

impl Default for Toy {
    fn default() -> Self {
        Self { noise: 0.01, second: 1.0, kept: None, trouble: Trouble::None }
    }
}

impl Objective<Mlp> for Toy {
    type Batch = (Tensor<2>, Tensor<2>);

    fn keeps_average(&self, progress: f64) -> bool {
        self.kept.is_some_and(|start| progress >= start)
    }

    fn loss(&self, step: &TrainStep<'_, Mlp>, (x, y): &Self::Batch) -> LossParts {
        let n = x.dims()[0];
        let device = x.device();
        let noise = stream(step.seed, Purpose::Source, step.index).normals(2 * n);
        let noise: Tensor<2> = Tensor::from_data(TensorData::new(noise, [n, 2]), &device);
        let noisy = x.clone().add(noise.mul_scalar(self.noise));
        let mut fit = step.model.forward(noisy.clone()).sub(y.clone()).square().squeeze_dim::<1>(1);
        match self.trouble {
            Trouble::Example { micro_batch, example } if step.index == micro_batch => {
                let values: Vec<f32> = (0..n).map(|i| if i == example { f32::NAN } else { 0.0 }).collect();
                fit = fit.add(Tensor::from_data(values.as_slice(), &device));
            }
            Trouble::Gradient { micro_batch } if step.index == micro_batch => {
                // The square root has an infinite slope at zero, and zero times infinity is NaN.
                let zero = step.model.layers[1].bias.val().mul_scalar(0.0).sqrt();
                fit = fit.add(zero.sum());
            }
            _ => {}
        }
        let aim = if self.kept.is_some() { step.ema.forward(noisy.clone().inner()) } else { y.clone().inner() };
        let aim = Tensor::from_inner(aim.mul_scalar(self.second));
        let second = step.model.forward(noisy).sub(aim).square().squeeze_dim::<1>(1);
        let term = |name, per_example: Tensor<1>, weight: f64, times| LossTerm {
            loss: per_example.clone().mean().mul_scalar(weight),
            values: Observed { name, per_example, times },
        };
        let times = (0..n).map(|i| (i as f64 + 0.5) / n as f64).collect();
        LossParts {
            terms: vec![term("fit", fit, 1.0, times), term("second", second, 0.5, Vec::new())],
            observed: vec![Observed {
                name: "index",
                per_example: Tensor::from_floats([step.index as f32], &device),
                times: Vec::new(),
            }],
        }
    }
}
