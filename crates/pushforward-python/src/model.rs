//! Models: samples, scores, codes and weights as arrays.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use pushforward::aef::AefModel;
use pushforward::aef::marginal::{MarginalRequest, is_exact};
use pushforward::aef::model::DrawRequest;
use pushforward::burn::tensor::{Device, Tensor};
use pushforward::data::Layout;
use pushforward::data::tables::{ColumnKind, Where};
use pushforward::flow_map::likelihood::BoundRequest;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::sample::LabelChoice;
use pushforward::flow_map::sample::ObservedRow;
use pushforward::flow_map::steer::{Method, SmcSettings, SteerRequest};
use pushforward::ranks::Ranks;
use pushforward::rng::{Purpose, stream};
use pushforward::run::{self, Loaded, TrainedAef, TrainedCategoricalAef, TrainedFlowMap, WeightSet, site_shape};
use pushforward::tensor::to_host;
use pushforward::transport::map::Drawing;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict};

use crate::embedded::EMBEDDED;
use crate::interpreter::beside;
use crate::settings::Settings;
use crate::steer::Function;
use crate::{arrays, failure, items, weights};

/// Items that are scored between two looks at Ctrl-C.
const TOGETHER: usize = 8;

/// Scores items of so many numbers each, a few at a time: values and their standard errors. `score` gets the index of the
/// first item.
fn in_parts<T: Sync>(
    py: Python<'_>,
    items: &[T],
    size: usize,
    score: impl Fn(&[T], u64) -> Result<(Vec<f64>, Vec<f64>), run::RequestError> + Sync,
) -> PyResult<(Bytes, Bytes)> {
    let found = beside(py, |progress| {
        let (mut values, mut errors) = (Vec::new(), Vec::new());
        for (part, first) in items.chunks(TOGETHER * size).zip((0..).step_by(TOGETHER)) {
            let found = score(part, first)?;
            values.extend(found.0);
            errors.extend(found.1);
            if !progress(values.len()) {
                break;
            }
        }
        Ok::<_, run::RequestError>((values, errors))
    })?;
    let (values, errors) = found.map_err(failure::request)?;
    Ok((arrays::doubles(py, &values)?, arrays::doubles(py, &errors)?))
}

/// Loads a run folder, a checkpoint, or a model that comes along by its name.
#[pyfunction]
pub(crate) fn load(py: Python<'_>, model: PathBuf, raw: bool) -> PyResult<Model> {
    let weights = if raw { WeightSet::Raw } else { WeightSet::Ema };
    let name = model.to_str().unwrap_or_default();
    let embedded = EMBEDDED.iter().find(|model| model.name == name).filter(|_| !model.exists());
    let loaded = py.detach(|| match embedded {
        Some(known) => run::load_bytes::<NetworkConfig>(known.bytes, Path::new(known.name), weights, &Device::flex()),
        None => run::load::<NetworkConfig>(&model, weights, &Device::flex()),
    });
    let loaded = loaded.map_err(|error| {
        let known: Vec<&str> = EMBEDDED.iter().map(|model| model.name).collect();
        let more =
            if model.exists() { String::new() } else { format!("; models that come along: {}", known.join(", ")) };
        failure::loading(format!("{error}{more}"))
    })?;
    Ok(Model::of(loaded))
}

/// A trained model.
#[pyclass(frozen, module = "pushforward._native")]
pub(crate) struct Model {
    loaded: Arc<Loaded>,
}

/// An array as bytes; its shape is known to the caller.
type Bytes = Py<PyByteArray>;

impl Model {
    pub(crate) fn of(loaded: Loaded) -> Self {
        Self { loaded: Arc::new(loaded) }
    }

    fn flow_map(&self, purpose: &str) -> PyResult<&TrainedFlowMap> {
        match &self.loaded.model {
            run::Model::FlowMap(model) => Ok(model),
            other => Err(failure::request(format!("{} cannot {purpose}: take a flow map", other.family()))),
        }
    }

    fn aef(&self, purpose: &str) -> PyResult<&TrainedAef> {
        match &self.loaded.model {
            run::Model::Aef(model) => Ok(model),
            other => Err(failure::request(format!("{} cannot {purpose}: take an autoencoder", other.family()))),
        }
    }

    fn categorical(&self, purpose: &str) -> PyResult<&TrainedCategoricalAef> {
        match &self.loaded.model {
            run::Model::CategoricalAef(model) => Ok(model),
            other => {
                let kind = "take an autoencoder of data in classes";
                Err(failure::request(format!("{} cannot {purpose}: {kind}", other.family())))
            }
        }
    }

    fn read(&self, ids: &[u8]) -> PyResult<Vec<u32>> {
        items::from_python(&arrays::read_integers(ids)).map_err(failure::request)
    }
}

fn ids(py: Python<'_>, ids: &[u32]) -> PyResult<Bytes> {
    arrays::integers(py, &items::to_python(ids))
}

#[pymethods]
impl Model {
    /// What the model is and what its items are.
    fn about<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (found, run) = (PyDict::new(py), &self.loaded.run);
        let family = match &self.loaded.model {
            run::Model::FlowMap(_) => "flow-map",
            run::Model::Aef(_) => "autoencoder",
            run::Model::CategoricalAef(_) => "categorical-autoencoder",
            run::Model::Classifier(_) => "classifier",
        };
        found.set_item("family", family)?;
        found.set_item("kind", items::kind(&run.schema))?;
        found.set_item("name", &run.name)?;
        found.set_item("description", &run.description)?;
        found.set_item("recipe", &run.recipe)?;
        found.set_item("schema", serde_json::to_string(&run.schema).map_err(failure::loading)?)?;
        found.set_item("sites", run.schema.sites)?;
        found.set_item("classes", run.schema.classes)?;
        found.set_item("step", run.step)?;
        found.set_item("path", &run.path)?;
        let mut labels = Vec::new();
        if let run::Model::FlowMap(model) = &self.loaded.model
            && model.net.label_count().is_some()
        {
            labels = run.label_names();
        }
        found.set_item("labels", labels)?;
        match &run.schema.layout {
            Layout::Image { height, width } => found.set_item("shape", [*height, *width])?,
            Layout::Columns(layout) => {
                let kind = |kind: ColumnKind| format!("{kind:?}").to_lowercase();
                let columns = layout.columns().iter().map(|c| (c.name().to_owned(), kind(c.kind())));
                found.set_item("columns", columns.collect::<Vec<_>>())?;
                found.set_item("places", layout.places())?;
            }
            _ => {}
        }
        if let run::Model::Aef(model) = &self.loaded.model {
            let shape = model.shape;
            found.set_item("shape", [shape.channels, shape.height, shape.width])?;
            found.set_item("latent", latent(model))?;
        }
        if let run::Model::CategoricalAef(model) = &self.loaded.model {
            found.set_item("latent", model.config.latent)?;
        }
        Ok(found)
    }

    /// Samples of a flow map or of an autoencoder of data in classes: class indices `[n, sites]`, final points `[n, sites, classes]` or nothing, the mean
    /// number of network evaluations, and the labels, none if they are hidden.
    fn sample(
        &self,
        py: Python<'_>,
        settings: Settings,
        condition: Option<String>,
    ) -> PyResult<(Bytes, Option<Bytes>, f64, Vec<u32>)> {
        let schema = &self.loaded.run.schema;
        let request = settings.request(&site_shape(schema))?;
        if let run::Model::CategoricalAef(model) = &self.loaded.model {
            if condition.is_some() {
                return Err(failure::request("conditions on columns are for flow maps"));
            }
            let samples = beside(py, |progress| model.sample(&request, progress))?.map_err(failure::request)?;
            return Ok((ids(py, &samples.ids)?, None, samples.mean_nfe(), Vec::new()));
        }
        let model = self.flow_map("draw classes")?;
        if condition.is_some() && matches!(&request.labels, LabelChoice::InTurn(labels) if labels.len() > 1) {
            return Err(failure::request("rows under a condition take one label: draw them once for each"));
        }
        let weights = match condition {
            None => None,
            Some(text) => {
                let Layout::Columns(table) = &schema.layout else {
                    return Err(failure::request("conditions on columns are for models of tables"));
                };
                let condition = Where::parse(&text).map_err(failure::request)?;
                Some(table.classes_where(&condition).map_err(failure::request)?)
            }
        };
        // A condition on columns leaves out some of the items, and with them their labels.
        let request = match &weights {
            Some(_) => request,
            None => model.checked(&request).map_err(failure::request)?,
        };
        let samples = beside(py, |progress| match &weights {
            Some(weights) => model.sample_given(&request, weights, progress).map(|found| found.samples),
            None => model.sample(&request, progress),
        })?;
        let samples = samples.map_err(failure::request)?;
        let points = (!samples.endpoints.is_empty()).then(|| arrays::singles(py, &samples.endpoints));
        Ok((ids(py, &samples.ids)?, points.transpose()?, samples.mean_nfe(), request.told_labels()))
    }

    /// Samples of high reward: class indices and rewards.
    #[expect(clippy::too_many_arguments, reason = "arguments of Python")]
    fn steer(
        &self,
        py: Python<'_>,
        settings: Settings,
        reward: Py<PyAny>,
        strength: f64,
        method: &str,
        particles: usize,
        keep: usize,
    ) -> PyResult<(Bytes, Bytes)> {
        let model = &self.loaded.model;
        if model.steers().is_none() {
            let problem = format!("{} cannot be steered: take a flow map or an autoencoder", model.family());
            return Err(failure::request(problem));
        }
        let sample = settings.request(&site_shape(&self.loaded.run.schema))?;
        let method = match method {
            "best-of" => Method::BestOf,
            "resample" => Method::Resample,
            "smc" => Method::Smc(SmcSettings::default()),
            "gradient" => return Err(failure::request("a function of Python has no gradient: take smc")),
            "tilt" => Method::Tilt { churn: 1.0, pull: 0.0, settings: SmcSettings::default() },
            other => {
                let known = "best-of, resample, smc and tilt";
                return Err(failure::request(format!("there is no method {other:?}: for functions there are {known}")));
            }
        };
        let request = SteerRequest { sample, method, particles, keep, part: None };
        let reward = Function::new(reward, strength);
        let steered = beside(py, |progress| {
            let model = model.steers().expect("it was asked for above");
            model.steered(&request, &reward, &Ranks::alone(), progress)
        })?;
        if let Some(error) = reward.raised() {
            return Err(error);
        }
        let steered = steered.map_err(failure::request)?;
        if let Some(error) = steered.stopped {
            return Err(failure::request(error));
        }
        let rewards: Vec<f64> = steered.rewards.iter().map(|value| value / strength).collect();
        Ok((ids(py, &steered.samples.ids)?, arrays::doubles(py, &rewards)?))
    }

    /// Upper bounds of `-log p` of items in nats, in expectation, and their standard errors: two arrays `[n]`.
    fn bound(&self, py: Python<'_>, ids: Vec<u8>, draws: usize, seed: u64) -> PyResult<(Bytes, Bytes)> {
        let sites = self.loaded.run.schema.sites;
        let ids = self.read(&ids)?;
        if let run::Model::CategoricalAef(model) = &self.loaded.model {
            let request = MarginalRequest { draws, seed, ..MarginalRequest::default() };
            return in_parts(py, &ids, sites, |part, first| {
                let found = model.log_densities(part, first, &request)?;
                Ok((found.values.into_iter().map(|value| -value).collect(), found.errors))
            });
        }
        let model = self.flow_map("bound a likelihood")?;
        let request = BoundRequest { draws, seed, ..BoundRequest::default() };
        in_parts(py, &ids, sites, |part, first| {
            let found = model.bound(part, first, &request)?;
            Ok((found.values, found.errors))
        })
    }

    /// Images of an autoencoder, `[n, pixels]` in `[0, 1]`.
    #[expect(clippy::too_many_arguments, reason = "arguments of Python")]
    fn draw(
        &self,
        py: Python<'_>,
        count: usize,
        seed: u64,
        first: u64,
        temperature: f64,
        mean: bool,
        batch: usize,
        nfe: usize,
        sampler: &str,
    ) -> PyResult<Bytes> {
        let model = self.aef("draw images")?;
        let drawing = match sampler {
            "map" => Drawing::Jumps(nfe),
            "euler" => Drawing::Euler(nfe),
            _ => return Err(failure::request("latents are drawn with the sampler map or euler")),
        };
        let request = DrawRequest { count, first, temperature, deviations: !mean, seed, batch, drawing, choices: 1 };
        let pixels = beside(py, |progress| model.draw(&request, progress))?.map_err(failure::request)?;
        arrays::singles(py, &pixels)
    }

    /// `log p` of images `[n, pixels]` in nats, its standard errors, and whether it is exact.
    fn densities(&self, py: Python<'_>, images: Vec<u8>, draws: usize, seed: u64) -> PyResult<(Bytes, Bytes, bool)> {
        let model = self.aef("give a density of images")?;
        let pixels = arrays::read_singles(&images);
        let request = MarginalRequest { draws, seed, ..MarginalRequest::default() };
        let (values, errors) = in_parts(py, &pixels, model.shape.numel(), |part, first| {
            let found = model.log_densities(part, first, &request)?;
            Ok((found.values, found.errors))
        })?;
        Ok((values, errors, is_exact(&model.net)))
    }

    /// Codes of images `[n, pixels]`: latents, base variables, and deviations where the model has them.
    fn encode(&self, py: Python<'_>, images: Vec<u8>) -> PyResult<(Bytes, Bytes, Option<Bytes>)> {
        let model = self.aef("encode")?;
        let (pixels, n) = (arrays::read_singles(&images), model.shape.numel());
        if pixels.is_empty() || !pixels.len().is_multiple_of(n) {
            return Err(failure::request(format!(
                "images have {} values, and {} are given",
                model.shape,
                pixels.len()
            )));
        }
        let (z, base, deviations) = beside(py, |_| {
            let code = model.net.encode(model.net.images(&pixels, pixels.len() / n));
            let base = model.net.to_base(code.z.clone());
            (numbers(&code.z), numbers(&base), code.deviations.as_ref().map(numbers))
        })?;
        let deviations = deviations.map(|deviations| arrays::singles(py, &deviations)).transpose()?;
        Ok((arrays::singles(py, &z)?, arrays::singles(py, &base)?, deviations))
    }

    /// Images `[n, pixels]` of latents `[n, d]`, or of base variables.
    #[pyo3(signature = (z, deviations, base))]
    fn decode(&self, py: Python<'_>, z: Vec<u8>, deviations: Option<Vec<u8>>, base: bool) -> PyResult<Bytes> {
        let model = self.aef("decode")?;
        let d = latent(model);
        let m = model.net.deviations(model.shape.numel(), d);
        let z = arrays::read_singles(&z);
        let rest = deviations.map(|rest| arrays::read_singles(&rest));
        let count = z.len() / d;
        let fits = rest.as_ref().is_none_or(|rest| m > 0 && rest.len() == count * m);
        if z.is_empty() || z.len() != count * d || !fits {
            let problem = format!("codes are [n, {d}] and deviations [n, {m}], and other sizes are given");
            return Err(failure::request(problem));
        }
        let pixels = beside(py, |_| {
            let z = model.net.images(&z, count);
            let z = if base { model.net.from_base(z) } else { z };
            numbers(&model.net.decode(z, rest.map(|rest| model.net.images(&rest, count))))
        })?;
        arrays::singles(py, &pixels)
    }

    /// Codes of items `[n, sites]`: latents, base variables, and the sizes of items that differ in that.
    fn encode_items(&self, py: Python<'_>, items: Vec<u8>) -> PyResult<(Bytes, Bytes, Vec<usize>)> {
        let (model, items) = (self.categorical("encode")?, self.read(&items)?);
        let (z, base) = beside(py, |_| model.encode(&items))?.map_err(failure::request)?;
        Ok((arrays::singles(py, &z)?, arrays::singles(py, &base)?, model.sizes_of(&items)))
    }

    /// The most probable items `[n, sites]` of latents `[n, d]`, or of base variables.
    fn decode_items(&self, py: Python<'_>, z: Vec<u8>, base: bool, sizes: Vec<usize>) -> PyResult<Bytes> {
        let (model, z) = (self.categorical("decode items")?, arrays::read_singles(&z));
        ids(py, &beside(py, |_| model.decode(&z, base, &sizes))?.map_err(failure::request)?)
    }

    /// Draws of the source, `[n, sites, classes]`: the noise of items `first` to `first + n` of a sample with this seed.
    fn noise(&self, py: Python<'_>, count: usize, seed: u64, first: u64) -> PyResult<Bytes> {
        let (model, schema) = (self.flow_map("draw noise")?, &self.loaded.run.schema);
        let (sites, source) = (site_shape(schema), model.config.noise().source);
        let item = |index| source.draw_items(&sites, 1, &mut stream(seed, Purpose::Sample, index));
        let values: Vec<f32> = py.detach(|| (first..first + count as u64).flat_map(item).collect());
        arrays::singles(py, &values)
    }

    /// Texts of items; SMILES of molecules, nothing for those that are not valid.
    fn texts(&self, ids: Vec<u8>) -> PyResult<Vec<Option<String>>> {
        items::texts(&self.read(&ids)?, &self.loaded.run.schema).map_err(failure::request)
    }

    /// Class indices of texts, `[n, sites]`.
    fn read_texts(&self, py: Python<'_>, texts: Vec<String>) -> PyResult<Bytes> {
        ids(py, &items::read_texts(&texts, &self.loaded.run.schema).map_err(failure::request)?)
    }

    /// Rows of a table as texts, one for each column.
    fn rows(&self, ids: Vec<u8>, seed: u64, first: u64, condition: Option<&str>) -> PyResult<Vec<Vec<Option<String>>>> {
        let condition = condition.map(Where::parse).transpose().map_err(failure::request)?;
        let (ids, schema) = (self.read(&ids)?, &self.loaded.run.schema);
        items::rows(&ids, schema, seed, first, condition.as_ref()).map_err(failure::request)
    }

    /// What a model of a table is told of rows: a class for each column of the model, nothing for missing cells.
    fn read_rows(&self, rows: Vec<Vec<Option<String>>>) -> PyResult<Vec<ObservedRow>> {
        items::read_rows(&rows, &self.loaded.run.schema).map_err(failure::request)
    }

    /// The class of each column that stands for what is missing, if it has one.
    fn missing_classes(&self) -> PyResult<Vec<Option<u32>>> {
        items::missing_classes(&self.loaded.run.schema).map_err(failure::request)
    }

    /// The weights by name.
    fn weights(&self, py: Python<'_>) -> PyResult<Vec<weights::Weight>> {
        match &self.loaded.model {
            run::Model::FlowMap(model) => weights::listed(py, &model.net),
            run::Model::Aef(model) => weights::listed(py, &model.net),
            run::Model::CategoricalAef(model) => weights::listed(py, &model.net),
            run::Model::Classifier(model) => weights::listed(py, &model.net),
        }
    }

    /// The same model with other weights.
    fn with_weights(&self, weights: Vec<(String, Vec<usize>, Vec<u8>)>) -> PyResult<Self> {
        let model = match &self.loaded.model {
            run::Model::FlowMap(model) => {
                let net = weights::replaced(&model.net, &weights)?;
                let (config, schema) = (model.config.clone(), model.schema.clone());
                let mut other = TrainedFlowMap::new(config, net, schema, &model.device);
                other.label_counts.clone_from(&model.label_counts);
                run::Model::FlowMap(other)
            }
            run::Model::Aef(model) => {
                let net = weights::replaced(&model.net, &weights)?;
                let (config, device) = (model.config.clone(), model.device.clone());
                run::Model::Aef(TrainedAef { config, net, shape: model.shape, device })
            }
            run::Model::CategoricalAef(model) => {
                let net = weights::replaced(&model.net, &weights)?;
                let (config, schema, device) = (model.config.clone(), model.schema.clone(), model.device.clone());
                run::Model::CategoricalAef(TrainedCategoricalAef { config, net, schema, device })
            }
            other @ run::Model::Classifier(_) => {
                return Err(failure::request(format!("the weights of {} are read only", other.family())));
            }
        };
        Ok(Self::of(Loaded { model, run: self.loaded.run.clone() }))
    }
}

/// Numbers of a code.
fn latent(model: &TrainedAef) -> usize {
    if matches!(model.net, AefModel::Flow(_)) { model.shape.numel() } else { model.config.latent }
}

fn numbers(x: &Tensor<2>) -> Vec<f32> {
    to_host(x).into_iter().map(|value| value as f32).collect()
}
