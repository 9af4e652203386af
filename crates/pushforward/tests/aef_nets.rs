//! Tiny networks for autoencoders whose likelihood is known in closed form, without preprocessing.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, TensorData};
use pushforward::aef::encoder::{Encoder, ScaleConfig};
use pushforward::aef::network::{DecoderNet, EncoderNet};
use pushforward::aef::output::{Decoder, OutputConfig};
use pushforward::aef::preprocessing::{Prepared, Preprocessing};
use pushforward::aef::{ImageShape, LatentModel, PartitionModel};
use pushforward::bijector::Flow;
use pushforward::nn::linear::{Linear, LinearConfig};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, from_host};

use crate::support::{device, precision};

/// `mean = x W + b`, and a scale of `exp(x V + c)` or `softplus(x V + c)`.
#[derive(Module, Debug)]
pub(crate) struct LinearEncoder {
    pub(crate) mean: Linear,
    pub(crate) scale: Linear,
    /// Whether the scale is an exponential.
    #[module(skip)]
    pub(crate) exponential: bool,
}

impl EncoderNet for LinearEncoder {
    fn forward(&self, image: Tensor<4>) -> Tensor<2> {
        let x = image.flatten::<2>(1, 3);
        let mean = self.mean.forward(x.clone().into()).value;
        let raw = self.scale.forward(x.into()).value;
        // The inverse of softplus at the exponential.
        let raw = if self.exponential { raw.exp().exp().sub_scalar(1.0).log() } else { raw };
        Tensor::cat(vec![mean, raw], 1)
    }
}

/// `x = tanh(z A + a) B + b`, or without the hidden layer.
#[derive(Module, Debug)]
pub(crate) struct TanhDecoder {
    pub(crate) hidden: Option<Linear>,
    pub(crate) output: Linear,
    #[module(skip)]
    pub(crate) shape: ImageShape,
}

impl DecoderNet for TanhDecoder {
    fn forward(&self, z: Tensor<2>) -> Tensor<4> {
        let [batch, _] = z.dims();
        let h = match &self.hidden {
            Some(layer) => layer.forward(z.into()).value.tanh(),
            None => z,
        };
        let ImageShape { channels, height, width } = self.shape;
        self.output.forward(h.into()).value.reshape([batch, channels, height, width])
    }
}

/// A row of `n` values as an image.
pub(crate) fn row_shape(n: usize) -> ImageShape {
    ImageShape { channels: 1, height: 1, width: n }
}

/// A linear layer with these weights, `[inputs][outputs]`, and biases.
pub(crate) fn linear(weights: &[Vec<f64>], bias: &[f64]) -> Linear {
    let device = device().autodiff();
    let layer = LinearConfig::new(weights.len(), bias.len()).init(&device, &mut stream(0, Purpose::Init, 0));
    let mut layer = cast_module(layer, precision(&device));
    let param = |values: Vec<f64>, like: &Tensor<1>| from_host(&values, [weights.len(), bias.len()], like);
    let like = layer.bias.as_ref().expect("there is an offset").val();
    layer.weight = Param::from_tensor(Tensor::from_inner(param(weights.concat(), &like)));
    layer.bias = Some(Param::from_tensor(Tensor::from_inner(from_host(bias, [bias.len()], &like))));
    layer
}

/// Transposes the rows of a matrix.
pub(crate) fn columns(rows: &[Vec<f64>]) -> Vec<Vec<f64>> {
    (0..rows[0].len()).map(|j| rows.iter().map(|row| row[j]).collect()).collect()
}

/// An encoder around a network, with nothing added to its scales.
pub(crate) fn encoder<E: EncoderNet>(net: E, n: usize) -> Encoder<E> {
    Encoder::new(net, ScaleConfig::Softplus, 0.0, row_shape(n))
}

/// A decoder of fixed scales, one for every value.
pub(crate) fn decoder<D: DecoderNet>(net: D, scales: &[f64]) -> Decoder<D> {
    let device = device().autodiff();
    let dtype = precision(&device);
    let config = OutputConfig::Independent { floor: 0.0 };
    let mut decoder = Decoder::new(net, &config, 0.0, 0.0, row_shape(scales.len()), &device);
    let raw: Vec<f64> = scales.iter().map(|s| s.exp_m1().ln()).collect();
    let data = TensorData::new(raw, [scales.len()]).convert_dtype(dtype);
    decoder.pre_scale = Some(Param::from_tensor(Tensor::from_data(data, (&device, dtype))));
    decoder
}

/// Preprocessing that does nothing.
pub(crate) fn no_preprocessing() -> Preprocessing {
    Preprocessing::init(0.25, row_shape(1), &device().autodiff())
}

/// Points already in the space of the model.
pub(crate) fn plain(x: Tensor<2>) -> Prepared {
    let [batch, _] = x.dims();
    let ladj = Tensor::zeros([batch], (&x.device(), x.dtype()));
    Prepared { h: x.clone(), x, ladj }
}

/// Models of the closed forms.
pub(crate) type TinyPartition = PartitionModel<LinearEncoder, TanhDecoder>;
/// Models of the closed forms.
pub(crate) type TinyLatent = LatentModel<LinearEncoder, TanhDecoder>;

/// The identity flow.
pub(crate) fn identity() -> Flow {
    Flow::default()
}
