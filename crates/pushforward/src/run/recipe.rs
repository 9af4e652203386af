//! Recipes: one TOML file is one run.
//!
//! ```toml
//! name = "echo"
//! seed = 0
//! [data]
//! set = "echo"
//! [model]
//! family = "flow-map"
//! network = { kind = "dit", width = 64, blocks = 3 }
//! [train]
//! steps = 2000
//! ```
//!
//! Every key has a default except the data set and the network; an unknown key is an error that names the nearest valid one.
//! Overrides are written `train.lr=1e-3`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::{Table, Value};

use crate::aef::categorical::CategoricalConfig;
use crate::aef::config::AefConfig;
use crate::classifier::ClassifierConfig;
use crate::data::{DataConfig, DataError, drop_folder};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::config::{FlowMapConfig, Teacher};
use crate::flow_map::network::NetworkConfig;
use crate::metrics::kneser_ney::MAX_ORDER;
use crate::run::overrides::{self, Refused};
use crate::setting::{DEPTH, ITEMS, STEPS, SettingError, require, size};
use crate::train::TrainConfig;

/// Configuration of a run: data, model, training and evaluation.
///
/// # Examples
/// The resolved recipe, every default spelled out, parses to itself.
/// ```
/// use pushforward::run::Recipe;
///
/// let text = "
///     name = 'words'
///     data = { set = 'echo' }
///     model = { family = 'flow-map', network = { kind = 'mlp' } }
/// ";
/// let recipe: Recipe = Recipe::parse(text, "words.toml", &["train.lr=0.5".into()])?;
/// assert_eq!(recipe.train.lr, 0.5);
/// assert_eq!(Recipe::parse(&recipe.to_toml(), "resolved", &[])?, recipe);
///
/// let typo = <Recipe>::parse(text, "words.toml", &["train.stepz=3".into()]).unwrap_err();
/// assert!(typo.to_string().contains("did you mean `steps`?"));
/// # Ok::<(), pushforward::run::RecipeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "C: BackboneConfig")]
pub struct Recipe<C: BackboneConfig = NetworkConfig> {
    /// Name of the run and of its folder.
    pub name: String,
    /// Description in one line.
    #[serde(default)]
    pub description: String,
    /// Seed of everything random in the run.
    #[serde(default, with = "crate::run::seed")]
    pub seed: u64,
    /// The data set.
    pub data: DataConfig,
    /// The model.
    pub model: ModelConfig<C>,
    /// Optimiser, batch size, length of training.
    #[serde(default)]
    pub train: TrainConfig,
    /// Settings of the evaluation.
    #[serde(default)]
    pub eval: EvalConfig,
}

/// Configuration of the model, by family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", rename_all = "kebab-case", bound = "C: BackboneConfig")]
pub enum ModelConfig<C: BackboneConfig = NetworkConfig> {
    /// A categorical flow map.
    FlowMap(FlowMapConfig<C>),
    /// An autoencoder within flows, or one of its baselines.
    Aef(AefConfig),
    /// An autoencoder of categorical data.
    CategoricalAef(CategoricalConfig),
    /// A classifier of images or sequences, the feature network of Fréchet distances.
    Classifier(ClassifierConfig),
}

/// Default settings of an evaluation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalConfig {
    /// Numbers of network evaluations per item.
    pub nfe: Vec<usize>,
    /// Number of samples.
    pub samples: usize,
    /// Number of held-out items for the likelihood bound; 0 for none.
    pub bound_items: usize,
    /// Draws per item of the likelihood bound.
    pub bound_draws: usize,
    /// Feature network of Fréchet distances: checkpoint or run folder of a classifier of the same images, or ChemNet's
    /// weights.
    pub features: Option<PathBuf>,
    /// Order of the n-gram model that scores text.
    pub ngram_order: usize,
    /// Number of held-out images whose log-density is measured; models of continuous images only.
    pub images: usize,
    /// Importance samples per image, for models without an exact log-density.
    pub draws: usize,
}

impl<C: BackboneConfig> ModelConfig<C> {
    /// The other run that the training reads: a frozen teacher, or an autoencoder that is kept.
    fn other_run_mut(&mut self) -> Option<&mut String> {
        match self {
            Self::FlowMap(config) => match &mut config.objective.teacher {
                Teacher::Frozen { checkpoint, .. } => Some(checkpoint),
                _ => None,
            },
            Self::Aef(config) => config.from.as_mut(),
            Self::CategoricalAef(config) => config.from.as_mut(),
            Self::Classifier(_) => None,
        }
    }
}

impl Default for EvalConfig {
    fn default() -> Self {
        Self {
            nfe: vec![1, 2, 4],
            samples: 1000,
            bound_items: 256,
            bound_draws: 16,
            features: None,
            ngram_order: crate::metrics::kneser_ney::DEFAULT_ORDER,
            images: 1000,
            draws: 128,
        }
    }
}

impl EvalConfig {
    fn validate(&self) -> Result<(), SettingError> {
        size("nfe", self.nfe.len(), 0..=DEPTH)?;
        self.nfe.iter().try_for_each(|&nfe| size("nfe", nfe, 1..=STEPS))?;
        for (key, items) in [("samples", self.samples), ("bound_items", self.bound_items), ("images", self.images)] {
            size(key, items, 0..=ITEMS)?;
        }
        size("bound_draws", self.bound_draws, 1..=ITEMS)?;
        size("draws", self.draws, 1..=ITEMS)?;
        size("ngram_order", self.ngram_order, 1..=MAX_ORDER)
    }
}

/// Why a recipe is invalid.
#[derive(Debug, thiserror::Error)]
pub enum RecipeError {
    /// Not TOML, an unknown key, or a value of the wrong type.
    #[error("{origin}: {message}")]
    Parse {
        /// The file or preset.
        origin: String,
        /// The problem, its line, and the nearest valid key.
        message: String,
    },
    /// An override is not of the form `key.path=value`, or its path runs through a value.
    #[error("override {text:?}: {problem}; write it as in --set train.lr=1e-3")]
    Override {
        /// The override.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// A value is out of range, or contradicts another.
    #[error("{origin}: {source}")]
    Invalid {
        /// The file or preset.
        origin: String,
        /// The key, what it may be, and what was found.
        source: SettingError,
    },
}

impl<C: BackboneConfig> Recipe<C> {
    /// Parses a recipe and applies overrides such as `train.lr=1e-3`. `origin` names it in messages.
    ///
    /// # Errors
    /// See [`RecipeError`].
    pub fn parse(text: &str, origin: &str, overrides: &[String]) -> Result<Self, RecipeError> {
        let parse_error =
            |e: toml::de::Error| RecipeError::Parse { origin: origin.to_owned(), message: explain(&e.to_string()) };
        let mut table: Table = toml::from_str(text).map_err(parse_error)?;
        let recipe: Self = if overrides.is_empty() {
            // Parsed from the text again if nothing was changed: the message then shows line and column.
            if upgrade(&mut table) { table.try_into() } else { toml::from_str(text) }.map_err(parse_error)?
        } else {
            let read = |mut table: Table| {
                upgrade(&mut table);
                table.try_into()
            };
            let applied = overrides::apply(&table, overrides, &read)
                .map_err(|Refused { text, problem }| RecipeError::Override { text, problem })?;
            applied.map_err(|(e, blamed)| match blamed {
                Some(text) => RecipeError::Override { text, problem: explain(&e.to_string()) },
                None => parse_error(e),
            })?
        };
        recipe.validate().map_err(|source| RecipeError::Invalid { origin: origin.to_owned(), source })?;
        Ok(recipe)
    }

    /// The resolved recipe, every default spelled out.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe holds only tables, arrays, strings and numbers")
    }

    /// Makes the paths of data, classifier and other runs absolute, so that the recipe means the same from any folder.
    ///
    /// # Errors
    /// If the data do not exist; see [`DataConfig::make_paths_absolute`].
    pub fn make_paths_absolute(&mut self, data_dir: &Path) -> Result<(), DataError> {
        self.data.make_paths_absolute(data_dir)?;
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        if let Some(features) = &mut self.eval.features {
            *features = absolute(features);
        }
        if let Some(run) = self.model.other_run_mut() {
            *run = absolute(Path::new(&*run)).display().to_string();
        }
        Ok(())
    }

    /// Leaves the names of files and runs without their folders, so that the recipe tells nothing of the machine it was
    /// trained on; returns whether there were any.
    pub(super) fn drop_folders(&mut self) -> bool {
        let mut any = self.data.drop_folders();
        if let Some(features) = &mut self.eval.features {
            any |= drop_folder(features);
        }
        if let Some(run) = self.model.other_run_mut() {
            let mut path = PathBuf::from(&*run);
            any |= drop_folder(&mut path);
            *run = path.display().to_string();
        }
        any
    }

    /// Checks ranges, and settings against each other.
    ///
    /// # Errors
    /// The key, what it may be and what was found.
    pub fn validate(&self) -> Result<(), SettingError> {
        let fits = !self.name.is_empty()
            && self.name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && !self.name.starts_with('.');
        require(fits, "name", format_args!("is made of letters, digits, '-', '_' and '.', found {:?}", self.name))?;
        self.data.validate().map_err(|e| e.within("data"))?;
        self.train.validate()?;
        match &self.model {
            ModelConfig::FlowMap(config) => config.validate().map_err(|e| e.within("model"))?,
            ModelConfig::Aef(config) => config.validate()?,
            ModelConfig::CategoricalAef(config) => config.validate().map_err(|e| e.within("model"))?,
            ModelConfig::Classifier(config) => config.validate().map_err(|e| e.within("model"))?,
        }
        self.eval.validate().map_err(|e| e.within("eval"))
    }
}

/// Renames the keys of recipes from before version 0.1.0; returns whether there were any. Other old names are aliases
/// of their fields; serde has no aliases of tags.
fn upgrade(table: &mut Table) -> bool {
    let times = table.get_mut("model").and_then(|model| model.get_mut("times"));
    let Some(times) = times.and_then(Value::as_table_mut) else { return false };
    let mut renamed = false;
    for key in ["diagonal", "pairs"] {
        let Some(distribution) = times.get_mut(key).and_then(Value::as_table_mut) else { continue };
        if let Some(name) = distribution.remove("law") {
            distribution.insert("distribution".to_owned(), name);
            renamed = true;
        }
    }
    renamed
}

/// Parses settings and applies overrides as those of a recipe, such as `data.column=smiles`.
///
/// # Errors
/// If the text is not TOML, or an override is not of that form.
///
/// # Examples
/// ```
/// use pushforward::run::with_overrides;
/// let table = with_overrides("data = { set = 'text' }", &["data.path=a.txt".into()])?;
/// assert_eq!(table["data"]["path"].as_str(), Some("a.txt"));
/// # Ok::<(), pushforward::run::RecipeError>(())
/// ```
pub fn with_overrides(text: &str, overrides: &[String]) -> Result<Table, RecipeError> {
    let origin = "the settings".to_owned();
    let table: Table =
        toml::from_str(text).map_err(|e| RecipeError::Parse { origin, message: explain(&e.to_string()) })?;
    overrides::put(table, overrides).map_err(|Refused { text, problem }| RecipeError::Override { text, problem })
}

/// Adds the nearest valid name to a message about an unknown one.
fn explain(message: &str) -> String {
    let message = message.trim_end();
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.contains("unknown field") || message.contains("unknown variant");
    // The quoted words may start with the line of the file that is shown; the unknown name follows its introduction.
    let found = ["unknown field `", "unknown variant `"].iter().find_map(|intro| {
        let rest = &message[message.find(intro)? + intro.len()..];
        rest.split('`').next()
    });
    let Some(found) = found.filter(|_| unknown) else { return message.to_owned() };
    quoted.by_ref().find(|word| *word == found);
    let nearest = quoted
        .map(|candidate| (strsim::damerau_levenshtein(found, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= 1 + found.len() / 3);
    match nearest {
        Some((_, candidate)) => format!("{message}\ndid you mean `{candidate}`?"),
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "name = 'x'\n[data]\nset = 'echo'\n[model]\nfamily = 'flow-map'\nnetwork = { kind = 'mlp' }\n";

    fn parse(overrides: &[&str]) -> Result<Recipe, RecipeError> {
        Recipe::parse(TEXT, "here", &overrides.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn resolved_recipes_read_back() {
        let recipe =
            parse(&["train.lr=0.5", "model.objective.off_diagonal.kind=csd", "eval.nfe=[1,3]"]).expect("valid");
        assert_eq!((recipe.train.lr, &recipe.eval.nfe), (0.5, &vec![1, 3]));
        assert_eq!(Recipe::parse(&recipe.to_toml(), "again", &[]).expect("its own text"), recipe);
    }

    #[test]
    fn a_changed_tag_drops_the_keys_that_belonged_to_the_old_one() {
        let recipe = parse(&["model.network.kind=dit", "model.network.heads=2", "model.network.kind=unet"]);
        assert!(recipe.is_ok(), "{recipe:?}");
    }

    #[test]
    fn typos_name_the_nearest_key() {
        for (overrides, hint) in [
            ("train.stepz=3", "did you mean `steps`?"),
            ("model.objective.lamda=1", "did you mean `lambda`?"),
            ("model.objective.off_diagonal.kind=ecdl", "did you mean `ecld`?"),
            ("data.leters=3", "did you mean `letters`?"),
        ] {
            let message = parse(&[overrides]).expect_err(overrides).to_string();
            assert!(message.contains(hint), "{message}");
        }
        let text = TEXT.replace("kind = 'mlp'", "kind = 'mlp', widht = 3");
        let message = Recipe::<NetworkConfig>::parse(&text, "file.toml", &[]).expect_err("a typo").to_string();
        assert!(message.contains("file.toml") && message.contains("did you mean `width`?"), "{message}");
    }

    #[test]
    fn overrides_are_read_as_their_keys_want_them() {
        for name in ["2024", "true", "1e-3", "1979-05-27"] {
            let recipe = parse(&[&format!("name={name}"), "train.lr=0.25"]).expect(name);
            assert_eq!((recipe.name.as_str(), recipe.train.lr), (name, 0.25));
        }
        let files =
            parse(&["data.set=text", "data.path=2024", "data.tokenizer=3.5", "eval.features=7"]).expect("paths");
        assert_eq!(files.data.files(), [PathBuf::from("2024"), PathBuf::from("3.5")]);
        assert_eq!(files.eval.features, Some(PathBuf::from("7")));
        for seed in [u64::MAX, (1 << 63) + 1, (1 << 63) - 1, 0] {
            let recipe = parse(&[&format!("seed={seed}")]).expect("a seed");
            assert_eq!(
                (recipe.seed, <Recipe>::parse(&recipe.to_toml(), "again", &[]).expect("its own text").seed),
                (seed, seed)
            );
        }
        for (overrides, blamed, part) in [
            (&["train.lr=0.5", "train.steps=many"][..], "train.steps=many", "expected u64"),
            (&["train.lr=fast"], "train.lr=fast", "expected f64"),
            (&["seed=18446744073709551616"], "seed=18446744073709551616", "seed"),
            (&["name=[1,2]"], "name=[1,2]", "expected a string"),
        ] {
            let error = parse(overrides).expect_err(part);
            let RecipeError::Override { text, problem } = &error else { panic!("{error}") };
            assert!(text == blamed && problem.contains(part), "{error}");
        }
    }

    #[test]
    fn wrong_requests_say_what_to_write() {
        for (overrides, part) in [
            ("train.lr", "there is no '='"),
            ("train.lr.x=1", "`lr` is a value"),
            ("train.lr=-1", "train.lr = -1 is out of range"),
            ("model.objective.share=1.5", "model.objective.share lies in [0, 1), found 1.5"),
            ("name=a/b", "name is made of letters"),
        ] {
            let message = parse(&["train.lr=0.1", overrides]).expect_err(overrides).to_string();
            assert!(message.contains(part), "{message}");
        }
    }
}
