//! The recipes that come with the program.

use crate::exit::Failure;

/// Name and text of every preset.
pub(crate) const PRESETS: &[(&str, &str)] = &[
    ("glyphs", include_str!("../../../recipes/glyphs.toml")),
    ("echo", include_str!("../../../recipes/echo.toml")),
    ("sums", include_str!("../../../recipes/sums.toml")),
    ("checker", include_str!("../../../recipes/checker.toml")),
    ("mnist-binary", include_str!("../../../recipes/mnist-binary.toml")),
    ("mnist-classifier", include_str!("../../../recipes/mnist-classifier.toml")),
    ("fashion-quantised", include_str!("../../../recipes/fashion-quantised.toml")),
    ("fashion-classifier", include_str!("../../../recipes/fashion-classifier.toml")),
    ("text8", include_str!("../../../recipes/text8.toml")),
    ("shakespeare", include_str!("../../../recipes/shakespeare.toml")),
    ("text8-paper", include_str!("../../../recipes/text8-paper.toml")),
    ("lm1b-paper", include_str!("../../../recipes/lm1b-paper.toml")),
];

/// The recipe behind a preset's name or a path, with a name for messages.
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
    use pushforward::config::Recipe;

    #[test]
    fn every_preset_is_a_recipe_of_its_own_name() {
        for (name, text) in PRESETS {
            let recipe = Recipe::parse(text, name, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(recipe.name, *name);
            assert!(!recipe.description.is_empty(), "{name} has no description");
        }
        assert!(text_of("nowhere.toml").is_err());
    }
}
