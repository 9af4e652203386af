//! The recipes that come with the program.

use crate::exit::Failure;

/// Name and text of every preset.
pub(crate) const PRESETS: &[(&str, &str)] = &[
    ("glyphs", include_str!("../recipes/glyphs.toml")),
    ("echo", include_str!("../recipes/echo.toml")),
    ("sums", include_str!("../recipes/sums.toml")),
    ("checker", include_str!("../recipes/checker.toml")),
    ("mnist-binary", include_str!("../recipes/mnist-binary.toml")),
    ("mnist-classifier", include_str!("../recipes/mnist-classifier.toml")),
    ("fashion-quantised", include_str!("../recipes/fashion-quantised.toml")),
    ("fashion-classifier", include_str!("../recipes/fashion-classifier.toml")),
    ("text8", include_str!("../recipes/text8.toml")),
    ("shakespeare", include_str!("../recipes/shakespeare.toml")),
    ("text8-paper", include_str!("../recipes/text8-paper.toml")),
    ("lm1b-paper", include_str!("../recipes/lm1b-paper.toml")),
    ("small-molecules", include_str!("../recipes/small-molecules.toml")),
    ("qm9-cpu", include_str!("../recipes/qm9-cpu.toml")),
    ("qm9", include_str!("../recipes/qm9.toml")),
    ("zinc250k", include_str!("../recipes/zinc250k.toml")),
    ("qm9-paper", include_str!("../recipes/qm9-paper.toml")),
    ("zinc-paper", include_str!("../recipes/zinc-paper.toml")),
    ("glyphs-aef", include_str!("../recipes/glyphs-aef.toml")),
    ("mnist-aef", include_str!("../recipes/mnist-aef.toml")),
    ("fashion-aef", include_str!("../recipes/fashion-aef.toml")),
    ("kmnist-aef", include_str!("../recipes/kmnist-aef.toml")),
    ("fashion-aef-paper", include_str!("../recipes/fashion-aef-paper.toml")),
    ("fashion-denoise", include_str!("../recipes/fashion-denoise.toml")),
    ("cifar10-aef", include_str!("../recipes/cifar10-aef.toml")),
    ("celebahq32-aef", include_str!("../recipes/celebahq32-aef.toml")),
    ("celebahq64-aef", include_str!("../recipes/celebahq64-aef.toml")),
    ("imagenet32-aef", include_str!("../recipes/imagenet32-aef.toml")),
];

/// The text of a preset or of a recipe file, with a name for messages.
pub(crate) fn text_of(name: &str) -> Result<(String, String), Failure> {
    if let Some((_, text)) = PRESETS.iter().find(|(preset, _)| *preset == name) {
        return Ok(((*text).to_owned(), format!("preset {name}")));
    }
    std::fs::read_to_string(name).map(|text| (text, name.to_owned())).map_err(|error| {
        let names: Vec<&str> = PRESETS.iter().map(|(n, _)| *n).collect();
        Failure::request(format!("there is no preset `{name}`, and no recipe file of that name can be read ({error})"))
            .hint(format!("the presets are {}", names.join(", ")))
    })
}

/// The preset to start from for each set, apart from the ones of the set's own name. A set is matched with the network
/// that was made for its kind: items of another kind would be learned badly, without a word.
const FOR_SETS: [(&str, &str); 13] = [
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
    ("zinc250k", "zinc250k"),
    ("molecules", "small-molecules"),
];

/// What the items of a set are.
fn kind(set: &str) -> Option<&'static str> {
    Some(match set {
        "glyphs" | "mnist" | "fashion-mnist" | "kmnist" | "cifar10" | "image-folder" => "images",
        "text8" | "text" | "echo" | "sums" => "text",
        "checker" => "rows of a table",
        "small-molecules" | "qm9" | "zinc250k" | "molecules" => "molecules",
        _ => return None,
    })
}

/// The recipe that a run starts from: the given one, or the preset for the set that an override names.
///
/// # Errors
/// If an override replaces the data of a recipe by items of another kind, and leaves its model.
pub(crate) fn starting_point(given: Option<&str>, overrides: &mut Vec<String>) -> Result<String, Failure> {
    let value = |text: &String| {
        let (key, value) = text.split_once('=')?;
        (key.trim() == "data.set").then(|| value.trim().trim_matches(['"', '\'']).to_owned())
    };
    let set = overrides.iter().rev().find_map(value);
    let Some(set) = set else { return Ok(given.unwrap_or("glyphs").to_owned()) };
    let preset = FOR_SETS.iter().find(|(known, _)| *known == set).map(|(_, preset)| *preset);
    let Some(recipe) = given else {
        let Some(preset) = preset else {
            return Err(Failure::request(format!("no preset is the default for data.set = {set}"))
                .hint("name a preset or a recipe: `pushforward presets` lists the presets"));
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
            starting_point(given, &mut overrides).map(|name| (name, overrides))
        };
        assert_eq!(start(None, &[]).unwrap().0, "glyphs");
        for (set, preset) in FOR_SETS {
            let (name, overrides) = start(None, &[&format!("data.set={set}")]).unwrap();
            assert_eq!(name, preset);
            let (text, origin) = text_of(&name).unwrap();
            // A set of one's own needs a path.
            let path = ["text", "molecules"].contains(&set).then(|| "data.path=x".to_owned());
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
            for variant in variants {
                let recipe: Result<Recipe, _> = Recipe::parse(text, name, &[format!("model.variant={variant}")]);
                let recipe = recipe.unwrap_or_else(|e| panic!("{name}, {variant}: {e}"));
                check(&recipe.model, &image_schema(shape)).unwrap_or_else(|e| panic!("{name}, {variant}: {e}"));
            }
        }
        assert_eq!(seen, 10);
    }
}
