//! AdamW over all parameters of a module, with its state by parameter name.
//!
//! ```text
//! m <- beta_1 m + (1 - beta_1) g          v <- beta_2 v + (1 - beta_2) g^2
//! w <- (1 - lr weight_decay) w - lr (m / (1 - beta_1^k)) / (sqrt(v / (1 - beta_2^k)) + eps)
//! ```
//!
//! The update of one tensor is burn's, or in float32 on the CPU the same formula in one pass. The state is kept here,
//! because burn's module optimiser keys it by parameter ids that every process draws anew.
//!
//! Reference: Decoupled Weight Decay Regularization (Loshchilov and Hutter, 2019), arXiv:1711.05101, algorithm 2 (with
//! the decay multiplied by the learning rate, as is usual).
//!
//! # Examples
//! The first step of AdamW moves every weight by the learning rate, whatever the size of its gradient.
//! ```
//! use pushforward::burn::tensor::{Device, Tensor};
//! use pushforward::nn::linear::LinearConfig;
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//! use pushforward::train::TrainConfig;
//! use pushforward::train::gradients::Gradients;
//! use pushforward::train::optim::AdamWOptimizer;
//!
//! let device = Device::flex().autodiff();
//! let layer = LinearConfig::new(2, 1).init(&device, &mut stream(0, Purpose::Init, 0));
//! let before = to_host(&layer.weight.val());
//! let loss = (layer.weight.val() * Tensor::<2>::from_data([[100.0f32], [-0.01]], &device)).sum();
//! let gradients = Gradients::of(&loss, &layer);
//! let mut optimizer = AdamWOptimizer::new(TrainConfig::default().adamw());
//! let layer = optimizer.step(0.1, layer, gradients);
//! let after = to_host(&layer.weight.val());
//! assert!((after[0] - before[0] + 0.1).abs() < 1e-4 && (after[1] - before[1] - 0.1).abs() < 1e-4);
//! // Another process goes on from the moments.
//! let mut restored = AdamWOptimizer::new(TrainConfig::default().adamw());
//! restored.restore(&optimizer.moments(), &layer).expect("moments of this layer");
//! assert_eq!(restored.moments(), optimizer.moments());
//! ```

use std::collections::BTreeMap;

use burn::module::Module;
use burn::optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer as _};
use burn::tensor::{DType, Tensor, TensorData};

use super::gradients::Gradients;
use crate::kernels::{self, AdamWRates};
use crate::params::{self, Flat, ParamsError, StateDict};

/// Settings of [`AdamWOptimizer`].
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

impl AdamWSettings {
    /// The update of the module page in one fused pass.
    fn step(
        &self,
        lr: f64,
        value: Tensor<1>,
        gradient: Tensor<1>,
        state: Option<AdamWState<1>>,
        decays: bool,
    ) -> (Tensor<1>, AdamWState<1>) {
        let (time, moments) = match state {
            Some(AdamWState { momentum: m }) => (m.time + 1, [m.moment_1, m.moment_2]),
            None => (1, [value.zeros_like(), value.zeros_like()]),
        };
        let [beta_1, beta_2] = self.betas;
        let gone = |beta: f64| 1.0 - beta.powf(time as f64);
        let rates = AdamWRates {
            betas: [beta_1 as f32, beta_2 as f32],
            keep: if decays { (1.0 - lr * self.weight_decay) as f32 } else { 1.0 },
            rate: (lr / gone(beta_1)) as f32,
            root: gone(beta_2).powf(-0.5) as f32,
            eps: self.eps as f32,
        };
        let (value, [moment_1, moment_2]) = kernels::adamw(value, gradient, moments, rates);
        (value, AdamWState { momentum: AdaptiveMomentumState { time, moment_1, moment_2, max_moment_2: None } })
    }
}

/// The AdamW optimiser, with its moments.
pub struct AdamWOptimizer {
    settings: AdamWSettings,
    decayed: AdamW,
    undecayed: AdamW,
    states: BTreeMap<String, AdamWState<1>>,
}

/// Moments of an optimiser on the host, by parameter name. Parameters that never had a gradient have no entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// First moments, flattened.
    pub first: StateDict,
    /// Second moments, flattened.
    pub second: StateDict,
    /// Number of updates of each parameter.
    pub steps: BTreeMap<String, u64>,
}

impl AdamWOptimizer {
    /// An optimiser in its initial state, without moments.
    pub fn new(settings: AdamWSettings) -> Self {
        let config = AdamWConfig::new()
            .with_beta_1(settings.betas[0] as f32)
            .with_beta_2(settings.betas[1] as f32)
            .with_epsilon(settings.eps as f32);
        Self {
            decayed: config.clone().with_weight_decay(settings.weight_decay as f32).build(),
            undecayed: config.with_weight_decay(0.0).build(),
            settings,
            states: BTreeMap::new(),
        }
    }

    /// One update of every parameter that has a gradient.
    ///
    /// # Panics
    /// If the gradients were taken with respect to another module.
    pub fn step<M: Module>(&mut self, lr: f64, model: M, gradients: Gradients) -> M {
        let named: Vec<(String, usize)> = params::flat(&model).into_iter().map(|p| (p.name, p.rank)).collect();
        let mut gradients = gradients.0;
        assert_eq!(gradients.len(), named.len(), "one gradient for every parameter of the model");
        params::map_flat(model, |index, value| {
            let Some(gradient) = gradients[index].take() else { return value };
            let (name, rank) = &named[index];
            let decays = *rank > 1 || self.settings.decay_vectors;
            let state = self.states.remove(name);
            let (value, state) = if kernels::serve(&value) && kernels::serve(&gradient) {
                self.settings.step(lr, value, gradient, state, decays)
            } else {
                let adam = if decays { &self.decayed } else { &self.undecayed };
                let (value, state) = adam.step(lr, value, gradient, state);
                (value, state.expect("AdamW always returns its state"))
            };
            self.states.insert(name.clone(), state);
            value
        })
    }

    /// Copies the moments to the host.
    pub fn moments(&self) -> Moments {
        let mut moments = Moments::default();
        for (name, AdamWState { momentum }) in &self.states {
            moments.first.insert(name.clone(), momentum.moment_1.clone().into_data());
            moments.second.insert(name.clone(), momentum.moment_2.clone().into_data());
            moments.steps.insert(name.clone(), momentum.time as u64);
        }
        moments
    }

    /// Replaces the state by `moments`, on the device of `model`.
    ///
    /// # Errors
    /// If a moment belongs to no parameter of `model`, has another length or dtype, or is not finite, or if a parameter
    /// has only one of the two moments.
    pub fn restore<M: Module>(&mut self, moments: &Moments, model: &M) -> Result<(), ParamsError> {
        let parameters: BTreeMap<String, Flat> = params::flat(model).into_iter().map(|p| (p.name.clone(), p)).collect();
        for set in [&moments.first, &moments.second] {
            if let Some((name, data)) = set.iter().find(|(name, _)| !moments.steps.contains_key(*name)) {
                return Err(ParamsError::Extra { name: name.clone(), found: data.shape().to_vec() });
            }
        }
        let mut states = BTreeMap::new();
        for (name, &time) in &moments.steps {
            let Some(parameter) = parameters.get(name) else {
                return Err(ParamsError::Extra { name: name.clone(), found: Vec::new() });
            };
            let moment_1 = moment(&moments.first, name, &parameter.value)?;
            let moment_2 = moment(&moments.second, name, &parameter.value)?;
            let momentum = AdaptiveMomentumState { time: time as usize, moment_1, moment_2, max_moment_2: None };
            states.insert(name.clone(), AdamWState { momentum });
        }
        self.states = states;
        Ok(())
    }
}

fn moment(set: &StateDict, name: &str, parameter: &Tensor<1>) -> Result<Tensor<1>, ParamsError> {
    let (name, expected) = (name.to_owned(), parameter.dims().to_vec());
    let dtype: DType = parameter.dtype();
    match set.get(&name) {
        None => Err(ParamsError::Missing { name, expected }),
        Some(data) if data.shape().as_slice() != expected => {
            Err(ParamsError::Shape { name, expected, found: data.shape().to_vec() })
        }
        Some(data) if data.dtype() != dtype => Err(ParamsError::Dtype { name, expected: dtype, found: data.dtype() }),
        Some(data) => {
            params::check_finite(&name, data)?;
            Ok(Tensor::from_data(TensorData::clone(data), (&parameter.device(), dtype)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::toy;
    use burn::tensor::Device;

    const SETTINGS: AdamWSettings =
        AdamWSettings { betas: [0.8, 0.95], eps: 1e-4, weight_decay: 0.1, decay_vectors: false };

    /// Gradient of element `i` of parameter `p` at step `k`: arbitrary, changing sign and size.
    fn gradient(p: usize, i: usize, k: usize) -> f64 {
        ((p * 7 + i * 3 + k * 5) as f64).sin() * 0.3
    }

    fn run(settings: AdamWSettings) -> (Vec<Vec<f64>>, Vec<Vec<f64>>) {
        let mut model = toy::mlp(0);
        let mut optimizer = AdamWOptimizer::new(settings);
        let (lr, [b1, b2]) = (0.01, settings.betas);
        let host = |model: &toy::Mlp| -> Vec<Vec<f64>> {
            params::collect(model).into_iter().map(|(_, d)| d.iter::<f64>().collect()).collect()
        };
        let mut w = host(&model);
        let mut m: Vec<Vec<f64>> = w.iter().map(|w| vec![0.0; w.len()]).collect();
        let mut v = m.clone();
        let ranks: Vec<usize> = params::flat(&model).iter().map(|p| p.rank).collect();
        for k in 1..=20 {
            let gradients = (0..w.len())
                .map(|p| {
                    let values: Vec<f32> = (0..w[p].len()).map(|i| gradient(p, i, k) as f32).collect();
                    Some(Tensor::from_data(values.as_slice(), &Device::flex()))
                })
                .collect();
            model = optimizer.step(lr, model, Gradients(gradients));
            for p in 0..w.len() {
                let decay = if ranks[p] > 1 || settings.decay_vectors { settings.weight_decay } else { 0.0 };
                for i in 0..w[p].len() {
                    let g = gradient(p, i, k);
                    m[p][i] = b1 * m[p][i] + (1.0 - b1) * g;
                    v[p][i] = b2 * v[p][i] + (1.0 - b2) * g * g;
                    let (mhat, vhat) = (m[p][i] / (1.0 - b1.powi(k as i32)), v[p][i] / (1.0 - b2.powi(k as i32)));
                    w[p][i] = (1.0 - lr * decay) * w[p][i] - lr * mhat / (vhat.sqrt() + settings.eps);
                }
            }
        }
        (host(&model), w)
    }

    #[test]
    fn equals_the_formula_in_f64() {
        for decay_vectors in [false, true] {
            let (got, expected) = run(AdamWSettings { decay_vectors, ..SETTINGS });
            for (got, expected) in got.iter().flatten().zip(expected.iter().flatten()) {
                assert!((got - expected).abs() < 2e-6, "{got} {expected}");
            }
        }
    }

    #[test]
    fn keeps_gradient_settings_and_skips_parameters_without_gradient() {
        let model = toy::mlp(0);
        let before = params::collect(&model);
        let mut gradients = Gradients(params::flat(&model).into_iter().map(|p| Some(p.value.ones_like())).collect());
        gradients.0[1] = None;
        let mut optimizer = AdamWOptimizer::new(SETTINGS);
        let model = optimizer.step(0.1, model, gradients);
        let after = params::collect(&model);
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            assert_eq!(before == after, index == 1);
        }
        assert!(model.layers[0].weight.val().is_require_grad());
        assert!(!optimizer.moments().steps.contains_key("layers.0.bias"));
    }

    #[test]
    fn foreign_moments_are_refused() {
        let model = toy::mlp(0);
        let ones = || Gradients(params::flat(&model).into_iter().map(|p| Some(p.value.ones_like())).collect());
        let mut optimizer = AdamWOptimizer::new(SETTINGS);
        optimizer.step(0.1, model.clone(), ones());
        let good = optimizer.moments();
        let fails = |edit: &dyn Fn(&mut Moments)| {
            let mut bad = good.clone();
            edit(&mut bad);
            AdamWOptimizer::new(SETTINGS).restore(&bad, &model).expect_err("the moments were damaged").to_string()
        };
        assert!(fails(&|m| drop(m.second.remove("layers.0.bias"))).contains("missing"));
        assert!(
            fails(&|m| {
                m.steps.insert("head".into(), 3);
            })
            .contains("`head`")
        );
        assert!(
            fails(&|m| {
                m.steps.remove("layers.0.bias");
            })
            .contains("not part")
        );
        let wrong = TensorData::zeros::<f32, _>([3]);
        assert!(fails(&|m| drop(m.first.insert("layers.0.bias".into(), wrong.clone()))).contains("[8]"));
    }
}
