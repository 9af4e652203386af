//! Optimisers over all parameters of a module, with their state by parameter name.
//!
//! Every parameter is stepped by [AdamW](adamw), or, if Muon is chosen, the matrices of hidden layers by [Muon](muon) and
//! all else by AdamW. The state is kept here, because burn's module optimiser keys it by parameter ids that every process
//! draws anew.
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
//! use pushforward::train::optim::{Optimizer, OptimizerConfig};
//!
//! let device = Device::flex().autodiff();
//! let layer = LinearConfig::new(2, 1).init(&device, &mut stream(0, Purpose::Init, 0));
//! let before = to_host(&layer.weight.val());
//! let loss = (layer.weight.val() * Tensor::<2>::from_data([[100.0f32], [-0.01]], &device)).sum();
//! let gradients = Gradients::of(&loss, &layer);
//! let mut optimizer = Optimizer::new(TrainConfig::default().adamw(), OptimizerConfig::AdamW {});
//! let layer = optimizer.step(0.1, layer, gradients);
//! let after = to_host(&layer.weight.val());
//! assert!((after[0] - before[0] + 0.1).abs() < 1e-4 && (after[1] - before[1] - 0.1).abs() < 1e-4);
//! // Another process goes on from the moments.
//! let mut restored = Optimizer::new(TrainConfig::default().adamw(), OptimizerConfig::AdamW {});
//! restored.restore(&optimizer.moments(), &layer).expect("moments of this layer");
//! assert_eq!(restored.moments(), optimizer.moments());
//! ```

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::gradients::Gradients;
use crate::params::{self, Flat, ParamsError, StateDict};

pub mod adamw;
pub mod muon;
mod state;

pub use self::adamw::AdamWSettings;
use self::adamw::AdamWUpdate;
pub use self::muon::MuonSettings;
use self::state::State;

/// Which optimiser steps the matrices of hidden layers; everything else is stepped by AdamW.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum OptimizerConfig {
    /// AdamW.
    AdamW {},
    /// Muon: updates of matrices with singular values near one.
    Muon(MuonSettings),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::AdamW {}
    }
}

/// An optimiser with its state.
pub struct Optimizer {
    adamw: AdamWUpdate,
    matrices: OptimizerConfig,
    states: BTreeMap<String, State>,
}

/// Moments of an optimiser on the host, by parameter name. Parameters that never had a gradient have no entry, and those
/// that Muon steps have no second moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// First moments, flattened.
    pub first: StateDict,
    /// Second moments, flattened.
    pub second: StateDict,
    /// Number of updates of each parameter.
    pub steps: BTreeMap<String, u64>,
}

impl Optimizer {
    /// An optimiser in its initial state, without moments.
    pub fn new(settings: AdamWSettings, matrices: OptimizerConfig) -> Self {
        Self { adamw: AdamWUpdate::new(settings), matrices, states: BTreeMap::new() }
    }

    /// One update of every parameter that has a gradient.
    ///
    /// # Panics
    /// If the gradients were taken with respect to another module.
    pub fn step<M: Module>(&mut self, lr: f64, model: M, gradients: Gradients) -> M {
        let named: Vec<(String, Vec<usize>)> = params::flat(&model).into_iter().map(|p| (p.name, p.shape)).collect();
        let mut gradients = gradients.0;
        assert_eq!(gradients.len(), named.len(), "one gradient for every parameter of the model");
        params::map_flat(model, |index, value| {
            let Some(gradient) = gradients[index].take() else { return value };
            let (name, shape) = &named[index];
            let state = self.states.remove(name);
            let (value, state) = match self.muon(name, shape) {
                Some((muon, sides)) => {
                    let keep = 1.0 - lr * self.adamw.settings.weight_decay;
                    muon.step((lr, keep), value, gradient, state, sides)
                }
                None => self.adamw.step(lr, value, gradient, state, shape.len()),
            };
            self.states.insert(name.clone(), state);
            value
        })
    }

    /// Muon, with the sides of the matrix, for parameters that it steps.
    fn muon(&self, name: &str, shape: &[usize]) -> Option<(MuonSettings, [usize; 2])> {
        match (self.matrices, shape) {
            (OptimizerConfig::Muon(muon), &[rows, columns]) if MuonSettings::applies(name, shape) => {
                Some((muon, [rows, columns]))
            }
            _ => None,
        }
    }

    /// Copies the moments to the host.
    pub fn moments(&self) -> Moments {
        let mut moments = Moments::default();
        for (name, state) in &self.states {
            moments.first.insert(name.clone(), state.first.clone().into_data());
            moments.second.extend(state.second.clone().map(|second| (name.clone(), second.into_data())));
            moments.steps.insert(name.clone(), state.time as u64);
        }
        moments
    }

    /// Replaces the state by `moments`, on the device of `model`.
    ///
    /// # Errors
    /// If a moment belongs to no parameter of `model`, has another length or dtype, or is not finite, or if a parameter
    /// has other moments than its optimiser keeps.
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
            let first = moment(&moments.first, name, &parameter.value)?;
            let second = match (self.muon(name, &parameter.shape), moments.second.get(name)) {
                (Some(_), Some(data)) => {
                    return Err(ParamsError::Extra { name: name.clone(), found: data.shape().to_vec() });
                }
                (Some(_), None) => None,
                (None, _) => Some(moment(&moments.second, name, &parameter.value)?),
            };
            let state = State { time: time as usize, first, second };
            states.insert(name.clone(), state);
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
        let mut optimizer = Optimizer::new(settings, OptimizerConfig::AdamW {});
        let (lr, [b1, b2]) = (0.01, settings.betas);
        let host = |model: &toy::Mlp| -> Vec<Vec<f64>> {
            params::collect(model).into_iter().map(|(_, d)| d.iter::<f64>().collect()).collect()
        };
        let mut w = host(&model);
        let mut m: Vec<Vec<f64>> = w.iter().map(|w| vec![0.0; w.len()]).collect();
        let mut v = m.clone();
        let ranks: Vec<usize> = params::flat(&model).iter().map(|p| p.shape.len()).collect();
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
        let mut optimizer = Optimizer::new(SETTINGS, OptimizerConfig::AdamW {});
        let model = optimizer.step(0.1, model, gradients);
        let after = params::collect(&model);
        for (index, (before, after)) in before.iter().zip(&after).enumerate() {
            assert_eq!(before == after, index == 1);
        }
        assert!(model.layers[0].weight.val().is_require_grad());
        assert!(!optimizer.moments().steps.contains_key("layers.0.bias"));
    }

    #[test]
    fn a_hidden_matrix_has_one_moment_with_muon() {
        let model = toy::mlp(0);
        let ones = || Gradients(params::flat(&model).into_iter().map(|p| Some(p.value.ones_like())).collect());
        let new = || Optimizer::new(SETTINGS, OptimizerConfig::Muon(MuonSettings::default()));
        let mut optimizer = new();
        optimizer.step(0.1, model.clone(), ones());
        let moments = optimizer.moments();
        assert!(moments.first.contains_key("layers.0.weight") && !moments.second.contains_key("layers.0.weight"));
        assert!(moments.second.contains_key("layers.1.weight") && moments.second.contains_key("layers.0.bias"));
        let mut restored = new();
        restored.restore(&moments, &model).expect("its own moments");
        assert_eq!(restored.moments(), moments);
        let mut of_adamw = Optimizer::new(SETTINGS, OptimizerConfig::AdamW {});
        assert!(of_adamw.restore(&moments, &model).is_err());
        of_adamw.step(0.1, model.clone(), ones());
        assert!(new().restore(&of_adamw.moments(), &model).is_err());
    }

    #[test]
    fn foreign_moments_are_refused() {
        let model = toy::mlp(0);
        let ones = || Gradients(params::flat(&model).into_iter().map(|p| Some(p.value.ones_like())).collect());
        let mut optimizer = Optimizer::new(SETTINGS, OptimizerConfig::AdamW {});
        optimizer.step(0.1, model.clone(), ones());
        let good = optimizer.moments();
        let fails = |edit: &dyn Fn(&mut Moments)| {
            let mut bad = good.clone();
            edit(&mut bad);
            Optimizer::new(SETTINGS, OptimizerConfig::AdamW {})
                .restore(&bad, &model)
                .expect_err("the moments were damaged")
                .to_string()
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
