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
