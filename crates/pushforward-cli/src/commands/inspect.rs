//! `pushforward inspect`

use pushforward::aef::config::Variant;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::run::{LoadError, ModelConfig, Recipe, RecipeError, SCHEMA_KEY, Stored, image_shape};
use pushforward::train::checkpoint::Checkpoint;

use crate::args::InspectArgs;
use crate::exit::{Failure, OrFail as _};
use crate::models::ModelFile;
use crate::printer::Printer;

pub(crate) fn run(args: &InspectArgs, printer: Printer) -> Result<(), Failure> {
    let (file, path) = ModelFile::find(&args.model, printer)?.checkpoint().or_request()?;
    let stored = match Stored::<NetworkConfig>::of(&file, &path) {
        // A recipe of another version is shown as it is.
        Ok(stored) => Some(stored),
        Err(LoadError::Recipe { source: RecipeError::Parse { .. }, .. }) => None,
        Err(error) => return Err(Failure::Request(error.into())),
    };
    let shapes: Vec<(&String, Vec<usize>)> =
        file.ema.iter().map(|(name, data)| (name, data.shape().to_vec())).collect();
    let count = |shape: &Vec<usize>| shape.iter().product::<usize>();
    let parameters: usize = shapes.iter().map(|(_, shape)| count(shape)).sum();
    let about = about(&file);
    let labels = stored.filter(|stored| stored.labels.is_some()).map(|stored| numbered(&stored.label_names));
    let value = serde_json::json!({
        "path": path.display().to_string(),
        "about": about,
        "format": file.format,
        "step": file.step,
        "parameters": parameters,
        "provenance": file.provenance,
        "label_names": labels,
        "recipe": file.recipe,
        "tensors": shapes.iter().map(|(name, shape)| serde_json::json!({"name": name, "shape": shape})).collect::<Vec<_>>(),
    });
    printer.report(&value, || {
        let mut text = format!(
            "{}\n{about}\nstep {}, {parameters} parameters, {} weights, format {}\n",
            path.display(),
            file.step,
            if file.raw.is_empty() { "averaged" } else { "averaged and trained" },
            file.format
        );
        if let Some(names) = &labels {
            text += &format!("label names: {}\n", names.join(", "));
        }
        for (key, value) in &file.provenance {
            // The schema is long and meant for programs.
            let short: String = value.chars().take(100).collect();
            text += &format!("{key}: {short}{}\n", if short.len() < value.len() { "..." } else { "" });
        }
        text += "\nrecipe:\n";
        text += &file.recipe;
        text += "\ntensors:\n";
        for (name, shape) in &shapes {
            text += &format!("  {name} {shape:?}\n");
        }
        text.trim_end().to_owned()
    });
    Ok(())
}

/// Names with their numbers, which requests name.
fn numbered(names: &[String]) -> Vec<String> {
    let one = |(number, name): (usize, &String)| match *name == number.to_string() {
        true => name.clone(),
        false => format!("{number} {name}"),
    };
    names.iter().enumerate().map(one).collect()
}

/// The model in one line.
fn about(file: &Checkpoint) -> String {
    let Ok(recipe): Result<Recipe, _> = Recipe::parse(&file.recipe, "recipe", &[]) else {
        return "a model of another version of this program: its recipe is not understood".to_owned();
    };
    let config = match &recipe.model {
        ModelConfig::FlowMap(_) => return "categorical flow map".to_owned(),
        ModelConfig::CategoricalAef(config) => {
            let prior = if config.prior.flow_map().is_some() { "a flow map" } else { "a flow" };
            let coupling = if config.coupling.is_some() { ", a coupling for one evaluation" } else { "" };
            let latent = config.latent;
            return format!("autoencoder of categorical data: latent of {latent}, {prior} as the prior{coupling}");
        }
        ModelConfig::Classifier(_) => return "image classifier".to_owned(),
        ModelConfig::Aef(config) => config,
    };
    let density = match config.variant {
        variant if variant != Variant::Autoencoder && config.prior.flow_map().is_some() => {
            "flow map as the prior, density by bound, ode or map"
        }
        Variant::Center | Variant::Corner | Variant::LearnedCore | Variant::HaarCore | Variant::Flow => "exact density",
        Variant::Linear | Variant::Noise | Variant::Vae | Variant::VaeIaf | Variant::Iwae => {
            "importance-sampled density"
        }
        Variant::Autoencoder => "no density and no samples",
    };
    let variant = serde_json::to_value(config.variant).ok().and_then(|v| v.as_str().map(str::to_owned));
    let schema = file.provenance.get(SCHEMA_KEY).and_then(|text| serde_json::from_str(text).ok());
    let shape = schema.and_then(|schema| image_shape(&schema).ok()).map(|shape| format!(" of {shape} images"));
    let latent = match config.variant {
        Variant::Flow => String::new(),
        _ => format!(", latent of {}", config.latent),
    };
    format!(
        "autoencoder within flows{}: variant {}{latent}, {density}",
        shape.unwrap_or_default(),
        variant.unwrap_or_default()
    )
}
