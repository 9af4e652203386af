//! Learned scale and shift per channel, initialised so that the first batch has mean 0 and standard deviation 1
//! afterwards.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use super::map::Bijector;
use crate::tensor::{from_host, to_host};

/// Added to every scale.
const EPS: f64 = 1e-5;

/// `z = (x - shift) / (exp(log_scale) + 1e-5)` with one scale and shift per channel.
///
/// ```text
/// ladj = -(features / channels) sum_c log(exp(log_scale_c) + 1e-5)
/// ```
///
/// Features are channels times positions, with the channel as the slower index. With a single channel, all features
/// share one scale, as in the flows of Silvestri, Roos, Ambrogioni 2023 (arXiv:2205.09546); with as many channels as
/// features, every feature has its own.
///
/// [`Bijector::initialise_from`] sets scale and shift from a batch. Before that, or [`Bijector::assume_initialised`],
/// every use panics; whether a layer is initialised is not stored with its parameters.
///
/// Reference: Kingma, Dhariwal 2018 (arXiv:1807.03039), section 3.1.
///
/// # Examples
/// ```
/// use pushforward::bijector::{ActNorm, Bijector};
/// use pushforward::burn::tensor::{Device, Tensor};
/// use pushforward::tensor::to_host;
///
/// let x = Tensor::<2>::from_data([[1.0f32], [3.0], [5.0]], &Device::flex()); // mean 3, standard deviation 2
/// let mut norm = ActNorm::init(1, &Device::flex());
/// norm.initialise_from(&x, false);
/// let (z, ladj) = norm.forward_and_ladj(x);
/// assert!((to_host(&z)[0] + 1.0).abs() < 1e-4);
/// assert!((to_host(&ladj)[0] + 2f64.ln()).abs() < 1e-4);
/// ```
#[derive(Module, Debug)]
pub struct ActNorm {
    /// `[channels]`
    pub log_scale: Param<Tensor<1>>,
    /// `[channels]`
    pub shift: Param<Tensor<1>>,
    initialised: bool,
}

impl ActNorm {
    /// An ActNorm layer of the given number of channels, to be initialised with data.
    ///
    /// # Panics
    /// If `channels` is 0.
    pub fn init(channels: usize, device: &Device) -> Self {
        assert!(channels > 0, "ActNorm needs at least one channel");
        let zeros = || Param::from_data(TensorData::zeros::<f32, _>([channels]), device);
        Self { log_scale: zeros(), shift: zeros(), initialised: false }
    }

    fn channels(&self) -> usize {
        self.shift.dims()[0]
    }

    /// Batch size and number of positions.
    fn split(&self, x: &Tensor<2>) -> [usize; 2] {
        let ([batch, features], channels) = (x.dims(), self.channels());
        assert!(
            features.is_multiple_of(channels),
            "axis 1 of the input: ActNorm of {channels} channels needs a multiple of {channels} features, found {features}"
        );
        [batch, features / channels]
    }

    /// Scale and shift, `[1, channels, 1]`, and the log-determinant of a multiplication by the scale, `[batch]`.
    fn parts(&self, x: &Tensor<2>) -> (Tensor<3>, Tensor<3>, Tensor<1>) {
        assert!(
            self.initialised,
            "ActNorm has no statistics yet: call `initialise` with a batch of training data, or `assume_initialised` after loading parameters"
        );
        let ([batch, positions], channels) = (self.split(x), self.channels());
        let scale = self.log_scale.val().exp() + EPS;
        let ladj = scale.clone().log().sum() * positions as f64;
        let shape = [1, channels, 1];
        (scale.reshape(shape), self.shift.val().reshape(shape), ladj.expand([batch]))
    }

    fn apply(&self, x: Tensor<2>, f: impl FnOnce(Tensor<3>) -> Tensor<3>) -> Tensor<2> {
        let (dims, [batch, positions]) = (x.dims(), self.split(&x));
        f(x.reshape([batch, self.channels(), positions])).reshape(dims)
    }
}

impl Bijector for ActNorm {
    /// Sets scale and shift so that `forward`, or `inverse` if `inverted`, maps `x` to mean 0 and standard deviation 1
    /// (with `n - 1`) in every channel. Does nothing if the layer is initialised already.
    ///
    /// Standard deviations below `1e-6` count as `1e-6`.
    ///
    /// # Shapes
    /// - `x`: `[batch, features]`
    fn initialise_from(&mut self, x: &Tensor<2>, inverted: bool) {
        if self.initialised {
            return;
        }
        let channels = self.channels();
        let [_, positions] = self.split(x);
        let values = to_host(x);
        let mut statistics = vec![(0usize, 0.0, 0.0); channels];
        let channel_of = |index: usize| index / positions % channels;
        for (index, value) in values.iter().enumerate() {
            let (count, mean, _) = &mut statistics[channel_of(index)];
            *count += 1;
            *mean += (value - *mean) / *count as f64;
        }
        for (index, value) in values.iter().enumerate() {
            let (_, mean, squares) = &mut statistics[channel_of(index)];
            *squares += (value - *mean).powi(2);
        }
        let (log_scale, shift): (Vec<f64>, Vec<f64>) = statistics
            .iter()
            .map(|&(count, mean, squares)| {
                let deviation = (squares / count.saturating_sub(1).max(1) as f64).sqrt().max(1e-6);
                if inverted { (-deviation.ln(), -mean / deviation) } else { (deviation.ln(), mean) }
            })
            .unzip();
        set(&mut self.log_scale, &log_scale);
        set(&mut self.shift, &shift);
        self.initialised = true;
    }

    /// Marks the layer as initialised, after its parameters were loaded.
    fn assume_initialised(&mut self) {
        self.initialised = true;
    }

    fn forward_and_ladj(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let (scale, shift, ladj) = self.parts(&x);
        (self.apply(x, |x| (x - shift) / scale), ladj.neg())
    }

    fn inverse_and_ladj(&self, z: Tensor<2>) -> (Tensor<2>, Tensor<1>) {
        let (scale, shift, ladj) = self.parts(&z);
        (self.apply(z, |z| z * scale + shift), ladj)
    }
}

/// Replaces the values of a parameter; device and gradient setting stay as they are.
fn set(param: &mut Param<Tensor<1>>, values: &[f64]) {
    *param = param.clone().map(|old| {
        let requires = old.is_require_grad();
        (old.zeros_like() + from_host(values, [values.len()], &old)).detach().set_require_grad(requires)
    });
}
