//! Normalising flows on arrays: densities, samples, and training by maximum likelihood.

use std::ops::ControlFlow;

use pushforward::bijector::{self, Bijector as _, FlowConfig};
use pushforward::burn::module::Module as _;
use pushforward::burn::tensor::{DType, Device, Tensor};
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{from_f32, to_host};
use pushforward::train::objective::{LossParts, Objective, TrainStep};
use pushforward::train::{self, TrainConfig, TrainRequest};
use pyo3::prelude::*;
use pyo3::types::PyByteArray;

use crate::interpreter::beside;
use crate::{arrays, failure, weights};

/// Rows of a pass.
const TOGETHER: usize = 1024;

type Bytes = Py<PyByteArray>;

/// A flow of vectors.
#[pyclass(frozen, module = "pushforward._native")]
pub(crate) struct Flow {
    net: bijector::Flow,
    features: usize,
}

/// `-log p` of rows under a standard normal base variable.
struct Likelihood;

impl Objective<bijector::Flow> for Likelihood {
    type Batch = Tensor<2>;

    fn loss(&self, step: &TrainStep<'_, bijector::Flow>, rows: &Tensor<2>) -> LossParts {
        let rows = Tensor::from_inner(rows.clone());
        LossParts::mean("nll", log_density(step.model, rows).neg(), Vec::new())
    }
}

fn log_density(flow: &bijector::Flow, x: Tensor<2>) -> Tensor<1> {
    let [rows, d] = x.dims();
    let (z, ladj) = flow.forward_and_ladj(x);
    let square = (z.clone() * z).sum_dim(1).reshape([rows]);
    ladj - (square + d as f64 * std::f64::consts::TAU.ln()) * 0.5
}

fn numbers<const D: usize>(x: &Tensor<D>) -> Vec<f32> {
    to_host(x).into_iter().map(|value| value as f32).collect()
}

impl Flow {
    fn like() -> Tensor<1> {
        Tensor::zeros([1], (&Device::flex(), DType::F32))
    }

    fn rows(&self, values: &[u8]) -> PyResult<Vec<Tensor<2>>> {
        let (values, d) = (arrays::read_singles(values), self.features);
        if values.is_empty() || !values.len().is_multiple_of(d) {
            return Err(failure::request(format!("rows have {d} numbers, and {} are given", values.len())));
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(failure::request(format!("row {} holds {}", at / d, values[at])));
        }
        Ok(values.chunks(TOGETHER * d).map(|part| from_f32(part, [part.len() / d, d], &Self::like())).collect())
    }

    /// Applies a map to rows: values and log-determinants.
    fn apply(
        &self,
        py: Python<'_>,
        values: &[u8],
        map: impl Fn(&bijector::Flow, Tensor<2>) -> (Tensor<2>, Tensor<1>) + Send + Sync,
    ) -> PyResult<(Bytes, Bytes)> {
        let rows = self.rows(values)?;
        let (mut out, mut ladj) = (Vec::new(), Vec::new());
        beside(py, |progress| {
            for part in rows {
                let (x, volume) = map(&self.net, part);
                out.extend(numbers(&x));
                ladj.extend(to_host(&volume));
                if !progress(ladj.len()) {
                    break;
                }
            }
        })?;
        Ok((arrays::singles(py, &out)?, arrays::doubles(py, &ladj)?))
    }
}

#[pymethods]
impl Flow {
    /// A flow of settings (TOML) on vectors of `features` numbers, with random initial weights.
    #[new]
    fn new(settings: &str, features: usize, seed: u64) -> PyResult<Self> {
        let config: FlowConfig = toml::from_str(settings).map_err(failure::request)?;
        if features == 0 {
            return Err(failure::request("a flow takes vectors of at least 1 number"));
        }
        config.validate_for(features).map_err(failure::request)?;
        let mut net = config.init(features, &Device::flex(), &mut stream(seed, Purpose::Init, 0));
        net.assume_initialised();
        Ok(Self { net, features })
    }

    #[getter]
    fn features(&self) -> usize {
        self.features
    }

    /// Base variables `[n, d]` of rows, and log-determinants `[n]`.
    fn forward(&self, py: Python<'_>, rows: Vec<u8>) -> PyResult<(Bytes, Bytes)> {
        self.apply(py, &rows, |net, x| net.forward_and_ladj(x))
    }

    /// Rows `[n, d]` of base variables, and log-determinants `[n]`.
    fn inverse(&self, py: Python<'_>, rows: Vec<u8>) -> PyResult<(Bytes, Bytes)> {
        self.apply(py, &rows, |net, z| net.inverse_and_ladj(z))
    }

    /// Log-densities `[n]` of rows.
    fn log_prob(&self, py: Python<'_>, rows: Vec<u8>) -> PyResult<Bytes> {
        Ok(self.apply(py, &rows, |net, x| (x.clone().narrow(1, 0, 1), log_density(net, x)))?.1)
    }

    /// Standard normal numbers `[n, d]` of the base variable: row i from the stream of index i.
    fn noise(&self, py: Python<'_>, count: usize, seed: u64) -> PyResult<Bytes> {
        let row = |i| stream(seed, Purpose::Sample, i).normals(self.features);
        arrays::singles(py, &(0..count as u64).flat_map(row).collect::<Vec<f32>>())
    }

    /// A flow trained on rows from these weights on, and its last losses.
    #[expect(clippy::too_many_arguments, reason = "arguments of Python")]
    fn fit(
        &self,
        py: Python<'_>,
        settings: &str,
        rows: Vec<u8>,
        steps: u64,
        batch: usize,
        lr: f64,
        seed: u64,
        fresh: bool,
    ) -> PyResult<(Self, Vec<f64>)> {
        let parts = self.rows(&rows)?;
        let config: FlowConfig = toml::from_str(settings).map_err(failure::request)?;
        let train = TrainConfig { steps, batch, lr, log_every: 1, warmup: 10.min(steps), ..TrainConfig::default() };
        train.validate().map_err(failure::request)?;
        let features = self.features;
        let mut losses = Vec::new();
        let trained = beside(py, |progress| {
            let data = Tensor::cat(parts, 0);
            let count = data.dims()[0];
            let device = Device::flex().autodiff();
            let mut net = config.init(features, &device, &mut stream(seed, Purpose::Init, 0));
            if fresh {
                net.initialise(Tensor::from_inner(data.clone()));
            } else {
                let weights = pushforward::params::collect(&self.net).into_iter().collect();
                net = pushforward::params::load(net, &weights).map_err(|error| error.to_string())?;
                net.assume_initialised();
            }
            let batch_of = |index: u64| {
                let mut random = stream(seed, Purpose::Source, index);
                let rows: Vec<Tensor<2>> =
                    (0..batch.min(count)).map(|_| data.clone().narrow(0, random.below(count), 1)).collect();
                Tensor::cat(rows, 0)
            };
            let request = TrainRequest { seed, ..TrainRequest::new(net, &Likelihood, &batch_of, train) };
            let outcome = train::train(request, &mut |event| {
                if let train::Event::Progress(train::Progress::Step(report)) = event {
                    losses.push(report.loss);
                    if !progress(losses.len()) {
                        return ControlFlow::Break(());
                    }
                }
                ControlFlow::Continue(())
            });
            outcome.map(|outcome| outcome.ema.valid()).map_err(|error| error.to_string())
        })?;
        Ok((Self { net: trained.map_err(failure::training)?, features }, losses))
    }

    /// The weights by name.
    fn weights(&self, py: Python<'_>) -> PyResult<Vec<weights::Weight>> {
        weights::listed(py, &self.net)
    }

    /// The same flow with other weights.
    fn with_weights(&self, weights: Vec<(String, Vec<usize>, Vec<u8>)>) -> PyResult<Self> {
        let net = weights::replaced(&self.net, &weights)?;
        Ok(Self { net, features: self.features })
    }
}
