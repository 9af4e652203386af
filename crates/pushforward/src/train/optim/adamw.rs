//! The update of AdamW of one parameter.
//!
//! ```text
//! m <- beta_1 m + (1 - beta_1) g          v <- beta_2 v + (1 - beta_2) g^2
//! w <- (1 - lr weight_decay) w - lr (m / (1 - beta_1^k)) / (sqrt(v / (1 - beta_2^k)) + eps)
//! ```
//!
//! It is burn's, or in float32 on the CPU the same formula in one pass.
//!
//! Reference: Decoupled Weight Decay Regularization (Loshchilov and Hutter, 2019), arXiv:1711.05101, algorithm 2 (with
//! the decay multiplied by the learning rate, as is usual).

use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::Tensor;

use super::state::State;
use crate::kernels::{self, AdamWRates};

/// Settings of AdamW.
#[derive(Clone, Copy, Debug)]
pub struct AdamWSettings {
    /// Decay rates of the first and second moment, each in `[0, 1)`.
    pub betas: [f64; 2],
    /// Added to the square root of the second moment.
    pub eps: f64,
    /// Fraction of a weight that one step with learning rate 1 removes.
    pub weight_decay: f64,
    /// Whether weight decay also applies to vectors (biases, gains).
    pub decay_vectors: bool,
}

/// AdamW with burn's form of it.
pub(super) struct AdamWUpdate {
    pub(super) settings: AdamWSettings,
    decayed: AdamW,
    undecayed: AdamW,
}

impl AdamWUpdate {
    pub(super) fn new(settings: AdamWSettings) -> Self {
        let config = AdamWConfig::new()
            .with_beta_1(settings.betas[0] as f32)
            .with_beta_2(settings.betas[1] as f32)
            .with_epsilon(settings.eps as f32);
        Self {
            decayed: config.clone().with_weight_decay(settings.weight_decay as f32).build(),
            undecayed: config.with_weight_decay(0.0).build(),
            settings,
        }
    }

    /// One step of a parameter of so many axes.
    pub(super) fn step(
        &self,
        lr: f64,
        value: Tensor<1>,
        gradient: Tensor<1>,
        state: Option<State>,
        rank: usize,
    ) -> (Tensor<1>, State) {
        let decays = rank > 1 || self.settings.decay_vectors;
        let (time, first, second) = match state {
            Some(State { time, first, second: Some(second) }) => (time, first, second),
            _ => (0, value.zeros_like(), value.zeros_like()),
        };
        if kernels::serve(&value) && kernels::serve(&gradient) {
            return self.fused(lr, (value, gradient), [first, second], time + 1, decays);
        }
        let moments = AdaptiveMomentumState { time, moment_1: first, moment_2: second, max_moment_2: None };
        let adam = if decays { &self.decayed } else { &self.undecayed };
        let (value, state) = adam.step(lr, value, gradient, (time > 0).then_some(AdamWState { momentum: moments }));
        let AdamWState { momentum: m } = state.expect("AdamW always returns its state");
        (value, State { time: m.time, first: m.moment_1, second: Some(m.moment_2) })
    }

    /// The update of the module page in one pass.
    fn fused(
        &self,
        lr: f64,
        (value, gradient): (Tensor<1>, Tensor<1>),
        moments: [Tensor<1>; 2],
        time: usize,
        decays: bool,
    ) -> (Tensor<1>, State) {
        let AdamWSettings { betas: [beta_1, beta_2], eps, weight_decay, .. } = self.settings;
        let gone = |beta: f64| 1.0 - beta.powf(time as f64);
        let rates = AdamWRates {
            betas: [beta_1 as f32, beta_2 as f32],
            keep: if decays { (1.0 - lr * weight_decay) as f32 } else { 1.0 },
            rate: (lr / gone(beta_1)) as f32,
            root: gone(beta_2).powf(-0.5) as f32,
            eps: eps as f32,
        };
        let (value, [first, second]) = kernels::adamw(value, gradient, moments, rates);
        (value, State { time, first, second: Some(second) })
    }
}
