//! Training from recipes, with events for Python.

use std::ops::ControlFlow;
use std::path::PathBuf;

use pushforward::burn::tensor::Device;
use pushforward::data::{ContinuousSplits, InMemory, Layout, RawImages, Schema};
use pushforward::run::{self, Data, Event, Recipe, TrainOptions};
use pushforward::train::{EndReason, Progress};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::model::Model;
use crate::{arrays, failure};

/// Items in memory.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Items {
    ids: Vec<u8>,
    sites: usize,
    classes: usize,
    /// Height and width of images.
    shape: Option<(usize, usize)>,
    labels: Option<Vec<u32>>,
    /// What each label stands for, if they are not numbers.
    names: Vec<String>,
    /// Planes of images of 8-bit pixels, for models of continuous data; `ids` has the pixels, a byte each, then.
    channels: Option<usize>,
}

/// Trains the model of a recipe (TOML) and returns it with what happened.
#[pyfunction]
pub(crate) fn train<'py>(
    py: Python<'py>,
    recipe: &str,
    overrides: Vec<String>,
    steps: Option<u64>,
    items: Option<Items>,
    folder: Option<PathBuf>,
    data_dir: PathBuf,
    callback: Option<Py<PyAny>>,
) -> PyResult<(Model, Bound<'py, PyDict>)> {
    let text = edited(recipe, steps, items.is_some())?;
    let mut recipe: Recipe = Recipe::parse(&text, "recipe", &overrides).map_err(failure::request)?;
    recipe.data.make_paths_absolute(&data_dir).map_err(failure::request)?;
    let given = items.map(|items| in_memory(&items, &recipe)).transpose()?;
    let mut raised: Option<PyErr> = None;
    let trained = py.detach(|| {
        let data = match given {
            Some(data) => data,
            None => Data::load(&recipe, &*data_dir).map_err(failure::request)?,
        };
        let options = TrainOptions { folder: folder.clone(), ..TrainOptions::new(Device::flex()) };
        let trained = run::train(&recipe, &data, options, &mut |event| {
            let first = matches!(event, Event::Start { .. });
            if first && let Some(folder) = &folder {
                let written = std::fs::create_dir_all(folder)
                    .and_then(|()| std::fs::write(folder.join("recipe.toml"), recipe.to_toml()));
                if let Err(error) = written {
                    raised = Some(failure::training(format!("{}: {error}", folder.display())));
                    return ControlFlow::Break(());
                }
            }
            match Python::attach(|py| report(py, &event, callback.as_ref())) {
                Ok(true) => ControlFlow::Continue(()),
                Ok(false) => ControlFlow::Break(()),
                Err(error) => {
                    raised = Some(error);
                    ControlFlow::Break(())
                }
            }
        });
        trained.map_err(failure::training)
    });
    if let Some(error) = raised {
        return Err(error);
    }
    let trained = trained?;
    let found = PyDict::new(py);
    found.set_item("steps", trained.steps)?;
    found.set_item("seconds", trained.seconds)?;
    found.set_item("best_validation", trained.best_validation)?;
    found.set_item("finished", trained.reason != EndReason::Stopped)?;
    Ok((Model::of(trained.loaded), found))
}

/// What a recipe (TOML) says under a key such as `data.set`: a text as it is, anything else as TOML.
#[pyfunction]
pub(crate) fn setting(recipe: &str, key: &str) -> PyResult<Option<String>> {
    let table: toml::Table = toml::from_str(recipe).map_err(failure::request)?;
    let mut parts = key.split('.');
    let first = parts.next().and_then(|part| table.get(part));
    let found = parts.fold(first, |found, part| found?.get(part));
    Ok(found.map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
}

/// A recipe with a length in steps, and with data that are handed over.
fn edited(recipe: &str, steps: Option<u64>, external: bool) -> PyResult<String> {
    if steps.is_none() && !external {
        return Ok(recipe.to_owned());
    }
    let mut table: toml::Table = toml::from_str(recipe).map_err(failure::request)?;
    if let Some(steps) = steps {
        let train = table.entry("train").or_insert_with(|| toml::Table::new().into());
        if let Some(train) = train.as_table_mut() {
            train.remove("minutes");
            train.insert("steps".into(), toml::Value::Integer(steps.try_into().unwrap_or(i64::MAX)));
        }
    }
    if external {
        let data = toml::Table::from_iter([("set", "external"), ("name", "array")].map(|(k, v)| (k.into(), v.into())));
        table.insert("data".into(), data.into());
    }
    toml::to_string(&table).map_err(failure::request)
}

/// Items of an array as a data set.
fn in_memory(items: &Items, recipe: &Recipe) -> PyResult<Data> {
    if let (Some(channels), Some((height, width))) = (items.channels, items.shape) {
        let labels = items.labels.iter().flatten().map(|&label| u8::try_from(label)).collect::<Result<Vec<u8>, _>>();
        let labels = labels.map_err(|_| failure::request("labels of images are numbers up to 255"))?;
        let labels = items.labels.is_some().then_some(labels);
        let count = items.ids.len() / (channels * height * width);
        if labels.as_ref().is_some_and(|labels| labels.len() != count) {
            return Err(failure::request(format!("{} labels for {count} images", labels.map_or(0, |l| l.len()))));
        }
        let images = RawImages { pixels: items.ids.clone(), labels, count, channels, height, width };
        return Ok(ContinuousSplits::of_images(&images, &recipe.name, recipe.seed).map_err(failure::request)?.into());
    }
    let layout = match items.shape {
        Some((height, width)) => Layout::Image { height, width },
        None => Layout::Table,
    };
    let schema = Schema { sites: items.sites, classes: items.classes, layout };
    let ids = arrays::read_integers(&items.ids)
        .into_iter()
        .map(|id| u32::try_from(id).map_err(|_| failure::request(format!("a class is {id}"))));
    let mut set = InMemory::new(schema, ids.collect::<PyResult<_>>()?).map_err(failure::request)?;
    if let Some(labels) = &items.labels {
        set = set.with_labels(labels.clone()).map_err(failure::request)?;
    }
    let mut splits = set.split(&recipe.name, recipe.seed).map_err(failure::request)?;
    splits.label_names.clone_from(&items.names);
    Ok(splits.into())
}

/// Tells Python of an event; whether to go on. Steps are told when they are logged.
fn report(py: Python<'_>, event: &Event<'_>, callback: Option<&Py<PyAny>>) -> PyResult<bool> {
    py.check_signals()?;
    let Some(callback) = callback else { return Ok(true) };
    let told = PyDict::new(py);
    match event {
        Event::Start { parameters, examples } => {
            told.set_item("event", "start")?;
            told.set_item("parameters", *parameters)?;
            told.set_item("examples", *examples)?;
        }
        Event::Progress(Progress::Step(report)) => {
            let Some(details) = &report.details else { return Ok(true) };
            told.set_item("event", "step")?;
            told.set_item("step", report.step)?;
            told.set_item("loss", report.loss)?;
            told.set_item("lr", report.lr)?;
            told.set_item("grad_norm", report.grad_norm)?;
            told.set_item("seconds", report.seconds)?;
            told.set_item("examples_per_second", report.examples_per_second)?;
            for (name, value) in &details.terms {
                told.set_item(name, *value)?;
            }
        }
        Event::Progress(Progress::Validation { step, values, best }) => {
            told.set_item("event", "validation")?;
            told.set_item("step", *step)?;
            told.set_item("best", *best)?;
            for (name, value) in *values {
                told.set_item(name, *value)?;
            }
        }
        Event::Progress(Progress::Checkpoint { step, path }) => {
            told.set_item("event", "checkpoint")?;
            told.set_item("step", *step)?;
            told.set_item("path", *path)?;
        }
        Event::Preview { .. } => return Ok(true),
    }
    let answer = callback.call1(py, (told,))?;
    // Only False stops: a function without a result goes on.
    Ok(answer.bind(py).is_none() || answer.bind(py).is_truthy()?)
}
