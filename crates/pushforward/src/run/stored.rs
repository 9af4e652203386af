//! What a checkpoint says of itself, compared with what it holds before any of it is believed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::data::{DataConfig, Schema};
use crate::flow_map::backbone::BackboneConfig;
use crate::flow_map::calibration::Calibration;
use crate::flow_map::grids::Grids;
use crate::flow_map::margins::Margins;
use crate::run::check::{check, site_shape};
use crate::run::memory::parameters;
use crate::run::recipe::{ModelConfig, Recipe, RecipeError};
use crate::run::role::Role;
use crate::setting::SettingError;
use crate::train::checkpoint::{Checkpoint, CheckpointError};

/// Provenance key of the data's [`Schema`], as JSON.
pub const SCHEMA_KEY: &str = "schema";
/// Provenance key of the name of the data.
pub(super) const DATA_KEY: &str = "data";
/// Provenance key of the SHA-256 of the data's files.
pub(super) const HASH_KEY: &str = "data_sha256";
/// Provenance key of the number of class labels.
pub(super) const LABELS_KEY: &str = "labels";
/// Provenance key of the names of class labels that the data say, as JSON.
pub(super) const LABEL_NAMES_KEY: &str = "label_names";
/// Provenance key of how often each label occurs in the training data, as JSON.
pub(super) const LABEL_COUNTS_KEY: &str = "label_counts";
/// Provenance key of a [`Calibration`] of the averaged weights, as JSON.
pub(super) const CALIBRATION_KEY: &str = "calibration";
/// Provenance key of the [`Grids`] of the averaged weights, as JSON.
pub(super) const GRIDS_KEY: &str = "grids";
/// Provenance key of the [`Margins`] of the averaged weights, as JSON.
pub(super) const MARGINS_KEY: &str = "margins";
/// Provenance key of the [`Role`] of the model.
pub const ROLE_KEY: &str = "role";

/// Why a checkpoint cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read, or its tensors do not match the model.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The recipe stored in it is invalid.
    #[error("the recipe inside {path}: {source}")]
    Recipe {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: RecipeError,
    },
    /// The data schema stored in it is missing or invalid.
    #[error("{path} has no valid description of its data ({problem}): it was not written by this program")]
    Schema {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The calibration stored in it is invalid.
    #[error("{path} has no valid calibration ({problem}): it was damaged or not written by this program")]
    Calibration {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The time grids stored in it are invalid.
    #[error("{path} has no valid time grids ({problem}): it was damaged or not written by this program")]
    Grids {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The margins stored in it are invalid.
    #[error("{path} has no valid margins ({problem}): it was damaged or not written by this program")]
    Margins {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The model does not fit the data.
    #[error("{path}: {source}")]
    Setting {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: SettingError,
    },
    /// The model of the recipe is larger than the tensors.
    #[error(
        "{path}: its recipe and its description of the data ask for {asked} parameters, and the tensors hold {held}: \
         the file is damaged or was not written by this program"
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Parameters of the model.
        asked: u128,
        /// Numbers in the tensors.
        held: u128,
    },
    /// The trained weights of a file that has only their average.
    #[error("{path} is a small file, with averaged weights only: use the run's own checkpoint for the trained ones")]
    AveragedOnly {
        /// The file.
        path: PathBuf,
    },
}

/// Recipe and data of a checkpoint.
#[derive(Clone, Debug)]
pub struct Stored<C: BackboneConfig> {
    /// The recipe.
    pub recipe: Recipe<C>,
    /// Sites, classes and layout of the data.
    pub schema: Schema,
    /// Number of class labels.
    pub labels: Option<usize>,
    /// What each of them stands for.
    pub label_names: Vec<String>,
    /// How often each of them occurs in the training data; empty if the file does not say it.
    pub label_counts: Vec<u64>,
    /// Calibration of the averaged weights.
    pub calibration: Option<Calibration>,
    /// Times of the jumps of the averaged weights.
    pub grids: Grids,
    /// Factors of the last decision of the averaged weights.
    pub margins: Margins,
}

impl<C: BackboneConfig> Stored<C> {
    /// Reads what a checkpoint says of itself. Nothing of the size that it names is allocated before the tensors are
    /// known to have that size. `path` names the file in messages.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn of(file: &Checkpoint, path: &Path) -> Result<Self, LoadError> {
        let place = || path.to_path_buf();
        let recipe: Recipe<C> =
            Recipe::parse(&file.recipe, "recipe", &[]).map_err(|source| LoadError::Recipe { path: place(), source })?;
        let schema = file.provenance.get(SCHEMA_KEY).ok_or_else(|| "there is no schema".to_owned());
        let schema: Schema = schema
            .and_then(|text| serde_json::from_str(text).map_err(|e| e.to_string()))
            .and_then(|schema: Schema| schema.check().map(|()| schema))
            .map_err(|problem| LoadError::Schema { path: place(), problem })?;
        check(&recipe.model, &schema).map_err(|source| LoadError::Setting { path: place(), source })?;
        let role = Role::of(&recipe.model).name();
        if let Some(said) = file.provenance.get(ROLE_KEY).filter(|said| *said != role) {
            let problem = format!("it calls its model a {said}, and the recipe inside is of a {role}");
            return Err(LoadError::Schema { path: place(), problem });
        }
        let labels: Option<usize> = file.provenance.get(LABELS_KEY).and_then(|n| n.parse().ok()).filter(|&n| n > 0);
        let needs_labels = match &recipe.model {
            ModelConfig::FlowMap(config) => config.condition.takes_labels(),
            ModelConfig::Classifier(_) => true,
            ModelConfig::Aef(_) | ModelConfig::CategoricalAef(_) => false,
        };
        if needs_labels && labels.is_none() {
            let problem = "the number of labels is missing".into();
            return Err(LoadError::Schema { path: place(), problem });
        }
        let held: u128 = file.ema.values().map(|tensor| tensor.num_elements() as u128).sum();
        match parameters(&recipe.model, &schema, labels) {
            Some(asked) if asked > held => Err(LoadError::Size { path: place(), asked, held }),
            _ => {
                let label_names = label_names(&recipe.data, &file.provenance);
                let calibration = calibration(&file.provenance)
                    .map_err(|problem| LoadError::Calibration { path: place(), problem })?;
                let grids = grids(&file.provenance).map_err(|problem| LoadError::Grids { path: place(), problem })?;
                let margins = margins(&file.provenance, &schema)
                    .map_err(|problem| LoadError::Margins { path: place(), problem })?;
                let label_counts = label_counts(labels, &file.provenance);
                Ok(Self { recipe, schema, labels, label_names, label_counts, calibration, grids, margins })
            }
        }
    }
}

/// What each label of a run stands for: by the data, by the set, or else its number.
pub(super) fn label_names(data: &DataConfig, provenance: &BTreeMap<String, String>) -> Vec<String> {
    let count = provenance.get(LABELS_KEY).and_then(|n| n.parse().ok()).unwrap_or(0);
    let said = provenance.get(LABEL_NAMES_KEY).and_then(|text| serde_json::from_str::<Vec<String>>(text).ok());
    said.filter(|names| names.len() == count).unwrap_or_else(|| data.label_names(count))
}

/// How often each label occurs in the training data, of a file that says it of all of them.
fn label_counts(labels: Option<usize>, provenance: &BTreeMap<String, String>) -> Vec<u64> {
    let said = provenance.get(LABEL_COUNTS_KEY).and_then(|text| serde_json::from_str::<Vec<u64>>(text).ok());
    let sound = |counts: &Vec<u64>| {
        Some(counts.len()) == labels && counts.iter().try_fold(0u64, |sum, &n| sum.checked_add(n)).is_some()
    };
    said.filter(sound).unwrap_or_default()
}

fn grids(provenance: &BTreeMap<String, String>) -> Result<Grids, String> {
    let Some(text) = provenance.get(GRIDS_KEY) else { return Ok(Grids::default()) };
    let grids: Grids = serde_json::from_str(text).map_err(|e| e.to_string())?;
    grids.check().map(|()| grids)
}

fn margins(provenance: &BTreeMap<String, String>, schema: &Schema) -> Result<Margins, String> {
    let Some(text) = provenance.get(MARGINS_KEY) else { return Ok(Margins::default()) };
    let margins: Margins = serde_json::from_str(text).map_err(|e| e.to_string())?;
    let sites = site_shape(schema);
    let classes: Vec<usize> = (0..sites.count).map(|site| sites.classes_of(site)).collect();
    margins.check(&classes).map(|()| margins)
}

fn calibration(provenance: &BTreeMap<String, String>) -> Result<Option<Calibration>, String> {
    let Some(text) = provenance.get(CALIBRATION_KEY) else { return Ok(None) };
    let calibration: Calibration = serde_json::from_str(text).map_err(|e| e.to_string())?;
    calibration.check().map(|()| Some(calibration))
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use burn::tensor::Device;

    use super::*;
    use crate::data::Layout;
    use crate::flow_map::network::NetworkConfig;
    use crate::run::{Data, TrainOptions, WeightSet, load, train};
    use crate::train::checkpoint::{LAST, folder};

    const TEXT: &str = "name = 'x'\ndata = { set = 'glyphs', examples = 32 }\n[model]\nfamily = 'flow-map'\n\
                        network = { kind = 'dit', width = 8, blocks = 1, heads = 1, cond = 4, time_width = 4 }\n\
                        condition = { kind = 'label' }";

    fn checkpoint(run: &Path) -> Checkpoint {
        let recipe: Recipe = Recipe::parse(TEXT, "x", &["train.steps=1".into(), "train.batch=2".into()]).unwrap();
        let data = Data::load(&recipe, Path::new("unused")).unwrap();
        let options = TrainOptions { folder: Some(run.into()), ..TrainOptions::new(Device::flex()) };
        train(&recipe, &data, options, &mut |_| ControlFlow::Continue(())).unwrap();
        Checkpoint::load(&folder(run).join(LAST)).unwrap()
    }

    #[test]
    fn what_a_file_says_is_compared_with_what_it_holds() {
        let run = tempfile::tempdir().unwrap();
        let good = checkpoint(run.path());
        let path = run.path().join("edited.safetensors");
        let refused = |edit: &dyn Fn(&mut Checkpoint)| {
            let mut bad = good.clone();
            edit(&mut bad);
            bad.save(&path).unwrap();
            load::<NetworkConfig>(&path, WeightSet::Ema, &Device::flex()).unwrap_err()
        };
        let schema: Schema = serde_json::from_str(&good.provenance[SCHEMA_KEY]).unwrap();
        let with = |sites: usize, classes: usize, height: usize, width: usize| {
            let schema = Schema { sites, classes, layout: Layout::Image { height, width } };
            refused(&move |file| {
                drop(file.provenance.insert(SCHEMA_KEY.into(), serde_json::to_string(&schema).unwrap()))
            })
        };
        assert_eq!((schema.sites, schema.classes), (256, 2));
        for (sites, classes, height, width) in [
            (256, 2, 16, 3),
            (256, 2, 16, 8),
            (0, 2, 16, 16),
            (1 << 53, 2, 1 << 26, 1 << 27),
            (256, 0, 16, 16),
            (256, 1_000_000_000, 16, 16),
            (256, 2, 1 << 40, 1 << 40),
        ] {
            let error = with(sites, classes, height, width);
            assert!(matches!(error, LoadError::Schema { .. } | LoadError::Setting { .. }), "{error}");
        }
        assert!(matches!(with(256, 1_000_000, 16, 16), LoadError::Size { .. }));
        for (from, to) in
            [("width = 8", "width = 65536"), ("blocks = 1", "blocks = 1000"), ("cond = 4", "cond = 60000")]
        {
            let edit = |file: &mut Checkpoint| file.recipe = file.recipe.replacen(from, to, 1);
            let error = refused(&edit);
            assert!(matches!(error, LoadError::Size { .. }), "{to}: {error}");
        }
        let huge = refused(&|file| file.recipe = file.recipe.replacen("blocks = 1", "blocks = 1000000000000", 1));
        assert!(huge.to_string().contains("model.network.blocks must be at least 0 and at most 1024"), "{huge}");
        for labels in ["1000000000000", "18446744073709551615"] {
            let error = refused(&|file| drop(file.provenance.insert(LABELS_KEY.into(), labels.into())));
            assert!(matches!(error, LoadError::Size { .. }), "{labels}: {error}");
        }
        for labels in ["0", "ten", "-1"] {
            let error = refused(&|file| drop(file.provenance.insert(LABELS_KEY.into(), labels.into())));
            assert!(matches!(error, LoadError::Schema { .. }), "{labels}: {error}");
        }
    }

    #[test]
    fn a_calibration_belongs_to_the_averaged_weights_and_is_checked() {
        let run = tempfile::tempdir().unwrap();
        let good = checkpoint(run.path());
        let path = folder(run.path()).join(LAST);
        let of = |weights| match load::<NetworkConfig>(&path, weights, &Device::flex()).unwrap().model {
            crate::run::Model::FlowMap(model) => model.calibration,
            _ => unreachable!("the recipe is of a flow map"),
        };
        assert_eq!(of(WeightSet::Ema), Stored::<NetworkConfig>::of(&good, &path).unwrap().calibration);
        assert!(of(WeightSet::Ema).is_some() && of(WeightSet::Raw).is_none());
        for bad in ["", "[]", r#"{"levels":[]}"#, r#"{"levels":[{"r":2.0,"a":1,"b":1},{"r":1.0,"a":1,"b":1}]}"#] {
            let mut file = good.clone();
            file.provenance.insert(CALIBRATION_KEY.into(), bad.into());
            let error = Stored::<NetworkConfig>::of(&file, &path).unwrap_err();
            assert!(matches!(error, LoadError::Calibration { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn kept_times_belong_to_the_averaged_weights_and_are_checked() {
        let run = tempfile::tempdir().unwrap();
        let good = checkpoint(run.path());
        let path = folder(run.path()).join(LAST);
        let mut grids = Grids::default();
        grids.keep(crate::flow_map::time::TimeGrid::new(vec![0.0, 0.7, 1.0]).unwrap());
        crate::run::keep_grids(&grids, &path).unwrap();
        let of = |weights| match load::<NetworkConfig>(&path, weights, &Device::flex()).unwrap().model {
            crate::run::Model::FlowMap(model) => model.grids,
            _ => unreachable!("the recipe is of a flow map"),
        };
        assert_eq!((of(WeightSet::Ema), of(WeightSet::Raw)), (grids, Grids::default()));
        for bad in ["", "[]", r#"{"2":[0.0,1.0]}"#] {
            let mut file = good.clone();
            file.provenance.insert(GRIDS_KEY.into(), bad.into());
            let error = Stored::<NetworkConfig>::of(&file, &path).unwrap_err();
            assert!(matches!(error, LoadError::Grids { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn margins_are_checked() {
        let (run, folder_of_data) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let rows: String = (0..80).map(|i| format!("{},{}\n", ["a", "b"][i % 2], i / 3 % 3)).collect();
        std::fs::write(folder_of_data.path().join("t.csv"), format!("letter,number\n{rows}")).unwrap();
        let text = "name = 't'\ndata = { set = 'table', path = 't.csv' }\n[eval]\nnfe = [1, 3]\n\
                    [model]\nfamily = 'flow-map'\nnetwork = { kind = 'mlp', width = 8 }";
        let recipe: Recipe = Recipe::parse(text, "t", &["train.steps=1".into()]).unwrap();
        let data = Data::load(&recipe, folder_of_data.path()).unwrap();
        let options = TrainOptions { folder: Some(run.path().into()), ..TrainOptions::new(Device::flex()) };
        train(&recipe, &data, options, &mut |_| ControlFlow::Continue(())).unwrap();
        let path = folder(run.path()).join(LAST);
        let of = |weights| match load::<NetworkConfig>(&path, weights, &Device::flex()).unwrap().model {
            crate::run::Model::FlowMap(model) => model.margins,
            _ => unreachable!("the recipe is of a flow map"),
        };
        // A training ends with those of the evaluations that it measures.
        let margins = of(WeightSet::Ema);
        assert!(margins.of(1).is_some() && margins.of(2).is_none() && margins.of(3).is_some());
        assert_eq!(of(WeightSet::Raw), Margins::default());
        let good = Checkpoint::load(&path).unwrap();
        for bad in ["", "[]", r#"{"1":[[1.0,1.0]]}"#, r#"{"1":[[1.0,1.0],[1.0,1.0,0.0]]}"#] {
            let mut file = good.clone();
            file.provenance.insert(MARGINS_KEY.into(), bad.into());
            let error = Stored::<NetworkConfig>::of(&file, &path).unwrap_err();
            assert!(matches!(error, LoadError::Margins { .. }), "{bad}: {error}");
        }
    }

    #[test]
    fn a_run_beyond_the_memory_is_refused_before_it_begins() {
        let overrides = ["model.network.width=65536".to_owned(), "model.network.blocks=1000".to_owned()];
        let recipe: Recipe = Recipe::parse(TEXT, "x", &overrides).unwrap();
        let data = Data::load(&recipe, Path::new("unused")).unwrap();
        let options = TrainOptions { memory: Some(1 << 30), ..TrainOptions::new(Device::flex()) };
        let error = train(&recipe, &data, options, &mut |_| ControlFlow::Continue(())).unwrap_err().to_string();
        assert!(error.contains("1.0 GiB are free"), "{error}");
    }
}
