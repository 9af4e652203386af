//! Networks that compute the parameters of scalar maps: dense, or masked so that the parameters of a feature depend on
//! the features before it.
//!
//! ```text
//! h = W_0 x + b_0      h = h + W_2 relu(W_1 relu(h) + b_1) + b_2  per block      out = W h + b
//! ```
//!
//! Masks of the autoregressive network of `d` features: input `i` has the degree `i + 1`, hidden unit `j` the degree
//! `(j mod max(1, d - 1)) + min(1, d - 1)`, and all outputs of feature `i` have the degree `i + 1`. A weight from
//! degree `p` to degree `q` is kept if `q >= p`; towards the outputs, if `q > p`.
//!
//! References: Germain et al. 2015 (arXiv:1502.03509); degrees, blocks and initial weights as in nflows 0.14 (Durkan et
//! al. 2020).

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::map::check_features;
use crate::dual::Dual;
use crate::nn::linear::{Linear, LinearConfig, LinearInit};
use crate::nn::{Fill, parameter};
use crate::rng::Stream;

/// Configuration of a [`Conditioner`].
///
/// # Examples
/// The parameters of a dense network start at zero; those of the first feature of a masked network ignore the input.
/// ```
/// use pushforward::bijector::ConditionerConfig;
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::rng::{Purpose, stream};
/// use pushforward::tensor::to_host;
///
/// let (device, mut weights) = (Device::flex(), stream(0, Purpose::Init, 0));
/// let config = ConditionerConfig { parameters: 2, hidden: 8, blocks: 1 };
/// let x = Tensor::<2>::from_data([[1.0f32, -2.0], [0.0, 5.0]], &device);
/// let dense = config.dense(2, 3, &device, &mut weights).forward(x.clone());
/// assert_eq!(to_host(&dense), [0.0; 12]);
/// let masked = to_host(&config.masked(2, &device, &mut weights).forward(x)); // [batch, features, parameters]
/// assert_eq!(masked[..2], masked[4..6]);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ConditionerConfig {
    /// Number of parameters per feature.
    pub parameters: usize,
    /// Width of the hidden layers.
    pub hidden: usize,
    /// Number of residual blocks.
    pub blocks: usize,
}

impl ConditionerConfig {
    /// A masked network (MADE): the parameters of a feature depend on the features before it. Residual branches start
    /// near zero.
    ///
    /// # Panics
    /// If `features` is 0.
    pub fn masked(&self, features: usize, device: &Device, stream: &mut Stream) -> Conditioner {
        let d = features;
        assert!(d > 0, "a masked network needs at least one feature");
        let inputs: Vec<usize> = (1..=d).collect();
        let hidden: Vec<usize> = (0..self.hidden).map(|j| j % (d - 1).max(1) + (d - 1).min(1)).collect();
        let outputs: Vec<usize> = inputs.iter().flat_map(|&i| std::iter::repeat_n(i, self.parameters)).collect();
        let weak = |from: usize, to: usize| to >= from;
        let strict = |from: usize, to: usize| to > from;
        let output = MaskedLinear::dense(LinearConfig::new(self.hidden, outputs.len()).init(device, stream))
            .masked(&hidden, &outputs, strict, device);
        let mut network = self.dense_before(d, output, device, stream);
        network.input = network.input.masked(&inputs, &hidden, weak, device);
        for block in &mut network.blocks {
            for layer in [&mut block.first, &mut block.second] {
                *layer = layer.clone().masked(&hidden, &hidden, weak, device);
            }
        }
        network
    }

    /// A network from `inputs` features to the parameters of `features` others. The parameters start at zero.
    pub fn dense(&self, inputs: usize, features: usize, device: &Device, stream: &mut Stream) -> Conditioner {
        let output = LinearConfig::new(self.hidden, features * self.parameters).with_init(LinearInit::Zero);
        self.dense_before(inputs, MaskedLinear::dense(output.init(device, stream)), device, stream)
    }

    /// Dense layers before a given output layer.
    fn dense_before(&self, inputs: usize, output: MaskedLinear, device: &Device, stream: &mut Stream) -> Conditioner {
        let hidden = LinearConfig::new(self.hidden, self.hidden);
        Conditioner {
            input: MaskedLinear::dense(LinearConfig::new(inputs, self.hidden).init(device, stream)),
            blocks: (0..self.blocks)
                .map(|_| ConditionerBlock {
                    first: MaskedLinear::dense(hidden.init(device, stream)),
                    second: MaskedLinear::dense(small(self.hidden, device, stream)),
                })
                .collect(),
            output,
            parameters: self.parameters,
        }
    }
}

/// A square layer with weights and biases uniform in `[-1e-3, 1e-3]`.
fn small(width: usize, device: &Device, stream: &mut Stream) -> Linear {
    let fill = Fill::Uniform(1e-3);
    Linear {
        weight: parameter([width, width], fill, device, stream),
        bias: Some(parameter([width], fill, device, stream)),
    }
}

/// The network, made by [`ConditionerConfig::masked`] or [`ConditionerConfig::dense`].
#[derive(Module, Debug)]
pub struct Conditioner {
    /// `[inputs, hidden]`
    pub input: MaskedLinear,
    /// The residual blocks.
    pub blocks: Vec<ConditionerBlock>,
    /// `[hidden, features * parameters]`, feature by feature.
    pub output: MaskedLinear,
    parameters: usize,
}

/// One residual block.
#[derive(Module, Debug)]
pub struct ConditionerBlock {
    /// `[hidden, hidden]`
    pub first: MaskedLinear,
    /// `[hidden, hidden]`
    pub second: MaskedLinear,
}

impl Conditioner {
    /// The parameters of every feature.
    ///
    /// # Shapes
    /// - `x`: `[batch, inputs]`
    /// - output: `[batch, features, parameters]`
    pub fn forward(&self, x: Tensor<2>) -> Tensor<3> {
        check_features("a conditioner", &x, self.input.linear.weight.dims()[0]);
        let h = self.blocks.iter().fold(self.input.layer().forward(Dual::from(x)), |h, block| {
            let branch = block.first.layer().forward_relu(h.clone().relu());
            h + block.second.layer().forward(branch)
        });
        let out = self.output.layer().forward(h).value;
        let [batch, outputs] = out.dims();
        out.reshape([batch, outputs / self.parameters, self.parameters])
    }
}

/// A linear layer with an optional mask on its weights.
#[derive(Module, Debug)]
pub struct MaskedLinear {
    /// Weights and biases; masked weights have no effect.
    pub linear: Linear,
    /// `[inputs, outputs]`, 1 where a weight is kept; not a parameter.
    mask: Option<Tensor<2>>,
}

impl MaskedLinear {
    fn dense(linear: Linear) -> Self {
        Self { linear, mask: None }
    }

    /// Keeps the weights for which `keep(from, to)` is true, and masks the others.
    fn masked(self, from: &[usize], to: &[usize], keep: impl Fn(usize, usize) -> bool, device: &Device) -> Self {
        let pairs = from.iter().flat_map(|&f| to.iter().map(move |&t| (f, t)));
        let mask: Vec<f32> = pairs.map(|(f, t)| f32::from(keep(f, t))).collect();
        let data = TensorData::new(mask, [from.len(), to.len()]);
        Self { mask: Some(Tensor::from_data(data, device)), ..self }
    }

    /// `x (W * mask) + b`.
    fn layer(&self) -> Linear {
        let weight = self.linear.weight.val();
        let weight = match &self.mask {
            // A constant outside every autodiff graph, so that graphs built in parallel on copies of a module share no
            // node.
            Some(mask) => weight.clone() * mask.clone().without_autodiff().cast(weight.dtype()),
            None => weight,
        };
        Linear { weight: Param::initialized(self.linear.weight.id, weight), bias: self.linear.bias.clone() }
    }
}
