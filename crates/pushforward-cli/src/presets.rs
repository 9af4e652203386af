//! The recipes that come with the program.

mod named;

use std::path::Path;

use pushforward::data::{DataConfig, read_text};

pub(crate) use self::named::PRESETS;
use crate::data_file;
use crate::exit::{Failure, OrFail as _};

/// The text of a preset or of a recipe file, with a name for messages.
pub(crate) fn text_of(name: &str) -> Result<(String, String), Failure> {
    if let Some((_, text)) = PRESETS.iter().find(|(preset, _)| *preset == name) {
        return Ok(((*text).to_owned(), format!("preset {name}")));
    }
    read_text(Path::new(name)).map(|text| (text, name.to_owned())).map_err(|error| {
        let names: Vec<&str> = PRESETS.iter().map(|(n, _)| *n).collect();
        Failure::request(format!("there is no preset `{name}`, and no recipe file of that name can be read ({error})"))
            .hint(format!("the presets are {}", names.join(", ")))
    })
}

/// The preset to start from for each set, apart from the ones of the set's own name. A set is matched with the network
/// that was made for its kind: items of another kind would be learned badly, without a word.
const FOR_SETS: [(&str, &str); 15] = [
    ("glyphs", "glyphs"),
    ("echo", "echo"),
    ("sums", "sums"),
    ("checker", "checker"),
    ("mnist", "mnist-binary"),
    ("kmnist", "mnist-binary"),
    ("fashion-mnist", "fashion-quantised"),
    ("text8", "text8"),
    ("text", "shakespeare"),
    ("small-molecules", "small-molecules"),
    ("qm9", "qm9-cpu"),
    ("zinc250k", "zinc-cpu"),
    ("molecules", "small-molecules"),
    ("table", "table"),
    ("sequences", "sequences"),
];

/// What the items of a set are.
fn kind(set: &str) -> Option<&'static str> {
    Some(match set {
        "glyphs" | "mnist" | "fashion-mnist" | "kmnist" | "cifar10" | "image-folder" => "images",
        "text8" | "text" | "echo" | "sums" => "text",
        "checker" | "table" => "rows of a table",
        "sequences" => "sequences",
        "small-molecules" | "qm9" | "zinc250k" | "molecules" => "molecules",
        _ => return None,
    })
}

/// The recipe that a run starts from, with what to say of it: the given one, the preset for a given data file, or the one
/// for the set that an override names.
///
/// # Errors
/// If an override replaces the data of a recipe by items of another kind, and leaves its model.
pub(crate) fn starting_point(
    given: Option<&str>,
    overrides: &mut Vec<String>,
) -> Result<(String, Option<String>), Failure> {
    let recipe = |name: &str| name.ends_with(".toml") || PRESETS.iter().any(|(preset, _)| *preset == name);
    let file = given.filter(|name| !recipe(name)).map(Path::new);
    if let Some((path, found)) = file.and_then(|path| Some((path, data_file::set_of(path)?))) {
        let set = chosen_set(overrides).unwrap_or_else(|| found.set.to_owned());
        let items = match DataConfig::prepared_in(path).or_request()? {
            Some(prepared) if set == "prepared" => prepared.source().name(),
            _ => &set,
        };
        let (preset, more) = if set == "image-folder" {
            data_file::of_pictures(path)?
        } else {
            let preset = FOR_SETS.iter().find(|(known, _)| *known == items).map(|(_, preset)| *preset);
            (preset.ok_or_else(|| no_preset(items))?, Vec::new())
        };
        let (settings, said) = data_file::settings(&found.path, &set, items, preset);
        overrides.splice(0..0, settings.into_iter().chain(more));
        return Ok((preset.to_owned(), Some(said)));
    }
    of_set(given, overrides).map(|name| (name, None))
}

/// The settings of a set's items in the preset to start from, but for where they are.
pub(crate) fn data_of(set: &str) -> Result<toml::Table, Failure> {
    let preset = FOR_SETS.iter().find(|(known, _)| *known == set).map(|(_, preset)| text_of(preset)).transpose()?;
    let recipe: toml::Table = preset.map_or_else(|| Ok(toml::Table::new()), |(text, _)| text.parse()).or_run()?;
    let mut data = recipe.get("data").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    data.remove("path");
    data.insert("set".into(), set.into());
    Ok(data)
}

/// The set that the last override of it names.
fn chosen_set(overrides: &[String]) -> Option<String> {
    let value = |text: &String| {
        let (key, value) = text.split_once('=')?;
        (key.trim() == "data.set").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    };
    overrides.iter().rev().find_map(value)
}

fn no_preset(set: &str) -> Failure {
    Failure::request(format!("no preset is the default for data.set = {set}"))
        .hint("name a preset or a recipe: `pushforward presets` lists the presets")
}

/// The given recipe, or the preset for the set that an override names.
fn of_set(given: Option<&str>, overrides: &mut Vec<String>) -> Result<String, Failure> {
    let Some(set) = chosen_set(overrides) else { return Ok(given.unwrap_or("glyphs").to_owned()) };
    let preset = FOR_SETS.iter().find(|(known, _)| *known == set).map(|(_, preset)| *preset);
    let Some(recipe) = given else {
        let Some(preset) = preset else {
            return Err(no_preset(&set));
        };
        if preset != set {
            // Of the set's own, unless the user gives a name; the last override counts.
            overrides.insert(0, format!("name={set}"));
        }
        return Ok(preset.to_owned());
    };
    let (text, _) = text_of(recipe)?;
    let before = toml::from_str::<toml::Table>(&text).ok();
    let before = before.as_ref().and_then(|table| table.get("data")?.get("set")?.as_str()).and_then(kind);
    let model = overrides.iter().any(|text| text.trim_start().starts_with("model."));
    match (before, kind(&set)) {
        (Some(before), Some(after)) if before != after && !model => {
            let message = format!("the model of {recipe} is made for {before}, and data.set = {set} has {after}");
            let start = preset.unwrap_or("RECIPE.toml");
            Err(Failure::request(message).hint(format!(
                "start from a recipe for {after}: pushforward train {start} --set data.set={set} ...; or say which \
                 network to use: --set model.network.kind=..."
            )))
        }
        _ => Ok(recipe.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pushforward::aef::AefConfig;
    use pushforward::data::DataConfig;
    use pushforward::run::{ModelConfig, Recipe, check, image_schema};

    #[test]
    fn every_preset_is_a_recipe_of_its_own_name() {
        for (name, text) in PRESETS {
            let recipe: Recipe = Recipe::parse(text, name, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(recipe.name, *name);
            assert!(!recipe.description.is_empty(), "{name} has no description");
        }
        assert!(text_of("nowhere.toml").is_err());
    }

    #[test]
    fn a_set_decides_the_preset_and_another_kind_is_refused() {
        let start = |given: Option<&str>, overrides: &[&str]| {
            let mut overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
            starting_point(given, &mut overrides).map(|(name, _)| (name, overrides))
        };
        assert_eq!(start(None, &[]).unwrap().0, "glyphs");
        for (set, preset) in FOR_SETS {
            let (name, overrides) = start(None, &[&format!("data.set={set}")]).unwrap();
            assert_eq!(name, preset);
            let (text, origin) = text_of(&name).unwrap();
            // A set of one's own needs a path.
            let path = ["text", "molecules", "table", "sequences"].contains(&set).then(|| "data.path=x".to_owned());
            let overrides: Vec<String> = overrides.into_iter().chain(path).collect();
            let recipe: Recipe = Recipe::parse(&text, &origin, &overrides).unwrap();
            assert_eq!((recipe.data.name(), kind(set).is_some()), (set, true));
        }
        assert!(start(None, &["data.set=image-folder"]).is_err());
        assert_eq!(start(Some("glyphs"), &["data.set='mnist'"]).unwrap().0, "glyphs");
        assert!(start(Some("glyphs"), &["data.set = molecules"]).is_err());
        assert!(start(Some("text8"), &["data.set=qm9"]).is_err());
        assert!(start(Some("glyphs"), &["data.set=molecules", "model.network.kind=dit"]).is_ok());
        assert!(start(Some("small-molecules"), &["data.set=molecules"]).is_ok());
    }

    #[test]
    fn a_data_file_decides_the_preset() {
        let folder = tempfile::tempdir().unwrap();
        let start = |name: &str, content: &str, overrides: &[&str]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            let mut overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
            let (preset, said) = starting_point(path.to_str(), &mut overrides).unwrap();
            let (text, origin) = text_of(&preset).unwrap();
            let recipe: Recipe = Recipe::parse(&text, &origin, &overrides).unwrap();
            assert_eq!(recipe.data.files()[0], path);
            assert!(said.unwrap().contains(name));
            (preset, recipe.name)
        };
        let pair = |preset: &str, name: &str| (preset.to_owned(), name.to_owned());
        assert_eq!(start("my people.v2.csv", "age,sex\n39,Male\n50,Female\n", &[]), pair("table", "my-people"));
        assert_eq!(start("a.txt", "To be, or not to be:\nthat is the question.\n", &[]), pair("shakespeare", "a"));
        assert_eq!(start("d.fasta", ">a\nACGT\n", &[]), pair("sequences", "d"));
        assert_eq!(start("b.smi", "CCO\nCCN\n", &[]), pair("small-molecules", "b"));
        assert_eq!(start("c.csv", "age,sex\n39,Male\n50,Female\n", &["data.set=text"]), pair("shakespeare", "c"));
        for (i, class) in ["a", "b"].iter().enumerate() {
            let path = folder.path().join("pictures").join(class);
            std::fs::create_dir_all(&path).unwrap();
            image::GrayImage::new(10, 20).save(path.join(format!("{i}.png"))).unwrap();
        }
        let mut overrides = Vec::new();
        let (preset, _) = starting_point(folder.path().join("pictures").to_str(), &mut overrides).unwrap();
        let recipe: Recipe = Recipe::parse(&text_of(&preset).unwrap().0, &preset, &overrides).unwrap();
        let DataConfig::ImageFolder(config) = &recipe.data else { panic!("pictures") };
        assert_eq!((config.size, config.channels, preset.as_str()), ([20, 12], 1, "fashion-quantised"));
        assert!(matches!(&recipe.model, ModelConfig::FlowMap(config) if config.condition.takes_labels()));
        assert!(starting_point(Some("nowhere.csv"), &mut Vec::new()).unwrap().1.is_none());
    }

    #[test]
    fn every_autoencoder_fits_its_images_in_every_variant() {
        let variants = [
            "center",
            "corner",
            "learned-core",
            "haar-core",
            "linear",
            "noise",
            "vae",
            "vae-iaf",
            "iwae",
            "autoencoder",
        ];
        let mut seen = 0;
        for (name, text) in PRESETS {
            let recipe: Recipe = Recipe::parse(text, name, &[]).unwrap_or_else(|e| panic!("{e}"));
            if !matches!(recipe.model, ModelConfig::Aef(_)) {
                continue;
            }
            seen += 1;
            let shape = match &recipe.data {
                DataConfig::Glyphs(_) => [1, 16, 16],
                DataConfig::Mnist(_) | DataConfig::FashionMnist(_) | DataConfig::Kmnist(_) => [1, 28, 28],
                DataConfig::Cifar10(_) => [3, 32, 32],
                DataConfig::ImageFolder(folder) => [folder.channels, folder.size[0], folder.size[1]],
                other => panic!("{name}: {} holds no images", other.name()),
            };
            let mapped = |config: &AefConfig| config.prior.flow_map().is_some();
            let on_flows = ["linear", "vae-iaf", "iwae"];
            let is_map = matches!(&recipe.model, ModelConfig::Aef(config) if mapped(config));
            for variant in variants.into_iter().filter(|variant| !(is_map && on_flows.contains(variant))) {
                let recipe: Result<Recipe, _> = Recipe::parse(text, name, &[format!("model.variant={variant}")]);
                let recipe = recipe.unwrap_or_else(|e| panic!("{name}, {variant}: {e}"));
                check(&recipe.model, &image_schema(shape)).unwrap_or_else(|e| panic!("{name}, {variant}: {e}"));
            }
        }
        assert_eq!(seen, 11);
    }
}
