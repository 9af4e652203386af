//! Exponential moving average of the weights.
//!
//! ```text
//! e_n = d_n e_{n-1} + (1 - d_n) w_n        d_n = decay, or min(decay, (1 + n) / (10 + n)) with warm-up, n = 1, 2, ...
//! ```
//!
//! The warm-up lets a short run forget its initial weights. The average is a module without gradients, outside any
//! autodiff graph.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::nn::linear::LinearConfig;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//! use pushforward::train::ema::{Ema, EmaConfig};
//!
//! let layer = |seed| LinearConfig::new(1, 1).init(&Device::flex().autodiff(), &mut stream(seed, Purpose::Init, 0));
//! let (start, weights) = (layer(0), layer(1));
//! let mut ema = Ema::new(EmaConfig { decay: 0.5, warmup: false }, &start, 0);
//! ema.update(&weights);
//! let mean = (start.weight.val().inner() + weights.weight.val().inner()) * 0.5;
//! assert!((to_host(&ema.model().weight.val())[0] - to_host(&mean)[0]).abs() < 1e-6);
//! assert_eq!(ema.updates(), 1); // saved with the average, because the warm-up depends on it
//! ```

use burn::module::Module;
use serde::{Deserialize, Serialize};

use crate::kernels;
use crate::params;

/// Settings of [`Ema`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Weight of the previous average, in `[0, 1)`.
    pub decay: f64,
    /// Whether early updates use a smaller decay.
    pub warmup: bool,
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { decay: 0.999, warmup: true }
    }
}

/// A running average of the weights of a module.
#[derive(Clone, Debug)]
pub struct Ema<M> {
    config: EmaConfig,
    updates: u64,
    model: M,
}

impl<M: Module> Ema<M> {
    /// Starts at `model` after `updates` updates (0 for a new run).
    pub fn new(config: EmaConfig, model: &M, updates: u64) -> Self {
        Self { config, updates, model: model.valid() }
    }

    /// The averaged module, without gradients.
    pub fn model(&self) -> &M {
        &self.model
    }

    /// Number of updates so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Moves the average towards the weights of `model`. Integer and boolean parameters stay as they were at the start.
    pub fn update(&mut self, model: &M) {
        self.updates += 1;
        let decay = self.decay();
        let weights = params::flat(model);
        self.model = params::map_flat(self.model.clone(), |index, average| {
            let value = weights[index].value.clone();
            if kernels::serve(&average) && kernels::serve(&value) {
                return kernels::average(average, value, decay);
            }
            average.mul_scalar(decay).add(value.mul_scalar(1.0 - decay))
        });
    }

    fn decay(&self) -> f64 {
        let n = self.updates as f64;
        if self.config.warmup { self.config.decay.min((1.0 + n) / (10.0 + n)) } else { self.config.decay }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::toy;

    /// The module with every float parameter filled with `value`.
    fn filled(value: f64) -> toy::Mlp {
        params::map_flat(toy::mlp(0), |_, w| w.zeros_like().add_scalar(value))
    }

    fn first(model: &toy::Mlp) -> f64 {
        params::collect(model)[0].1.iter::<f64>().next().expect("the first parameter has elements")
    }

    #[test]
    fn constant_decay_has_a_closed_form() {
        // e_n - w = d^n (e_0 - w) for constant weights w.
        let mut ema = Ema::new(EmaConfig { decay: 0.9, warmup: false }, &filled(5.0), 0);
        for n in 1..=20 {
            ema.update(&filled(2.0));
            let expected = 2.0 + 0.9f64.powi(n) * 3.0;
            assert!((first(ema.model()) - expected).abs() < 1e-5, "{n}");
        }
    }

    #[test]
    fn warm_up_decay_has_a_closed_form() {
        // prod_{n=1}^{N} (1 + n) / (10 + n) = (N + 1)! 10! / (N + 10)!
        let mut ema = Ema::new(EmaConfig { decay: 0.999, warmup: true }, &filled(1.0), 0);
        let mut expected = 1.0;
        for n in 1..=15 {
            ema.update(&filled(0.0));
            expected *= f64::from(1 + n) / f64::from(10 + n);
            assert!((first(ema.model()) - expected).abs() < 1e-6 * expected + 1e-9, "{n}");
        }
        let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
        assert!((expected - factorial(16) * factorial(10) / factorial(25)).abs() < 1e-12);
    }

    #[test]
    fn is_untracked_and_cast_off_from_the_model() {
        let model = toy::mlp(3);
        let mut ema = Ema::new(EmaConfig::default(), &model, 0);
        ema.update(&model);
        let value = ema.model().layers[0].weight.val();
        assert!(!value.is_autodiff() && !value.is_require_grad());
        assert!(model.layers[0].weight.val().is_require_grad());
    }
}
