//! Selection of a data set in a recipe.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::data::dataset::Splits;
use crate::data::error::DataError;
use crate::data::files::{self, Folders};
use crate::data::images::folder::FolderConfig;
use crate::data::images::raw::RawSplits;
use crate::data::images::{cifar, grey as images, idx};
use crate::data::molecules::{self, MoleculeConfig, SmallMoleculeConfig, SmilesFileConfig};
use crate::data::prepared::open::{open, source_of};
use crate::data::sequences::SequenceConfig;
use crate::data::synthetic::{checker, echo, glyphs, sums};
use crate::data::tables::TableConfig;
use crate::data::text::corpus as text;

/// Which data set, with its settings. In a recipe: `set = "mnist"` and the settings of that set beside it.
///
/// # Examples
/// ```
/// use pushforward::data::DataConfig;
/// let config: DataConfig = toml::from_str("set = 'mnist'\npixels = 'stochastic'")?;
/// assert_eq!((config.name(), config.is_molecules()), ("mnist", false));
/// assert_eq!(config.files()[0].to_string_lossy(), "mnist/train-images-idx3-ubyte.gz");
/// // A misspelt setting is an error that lists the settings.
/// let error = toml::from_str::<DataConfig>("set = 'mnist'\npixel = 'stochastic'").unwrap_err();
/// assert!(error.to_string().contains("`pixels`"));
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "set", rename_all = "kebab-case")]
pub enum DataConfig {
    /// Binary images of drawn digits, 16 x 16.
    Glyphs(glyphs::GlyphConfig),
    /// A word written twice.
    Echo(echo::EchoConfig),
    /// Additions with their sums.
    Sums(sums::SumConfig),
    /// A correlated pair of categorical variables.
    Checker(checker::CheckerConfig),
    /// Handwritten digits (LeCun, Cortes, Burges).
    Mnist(images::ImageConfig),
    /// Articles of clothing (Xiao, Rasul, Vollgraf 2017, arXiv 1708.07747).
    FashionMnist(images::ImageConfig),
    /// Cursive Japanese (Clanuwat et al. 2018, arXiv 1812.01718).
    Kmnist(images::ImageConfig),
    /// Photographs of ten classes, 32 x 32 in colour (Krizhevsky 2009).
    Cifar10(cifar::CifarConfig),
    /// A folder of PNG and JPEG files.
    ImageFolder(FolderConfig),
    /// The first 10^8 characters of a cleaned Wikipedia, or any file of the same form.
    Text8(text::Text8Config),
    /// Any UTF-8 text file, by characters or by a tokenizer.
    Text(text::TextConfig),
    /// Every molecule of a few atoms of C N O F.
    SmallMolecules(SmallMoleculeConfig),
    /// Molecules of up to 9 heavy atoms of C N O F (Ramakrishnan et al. 2014).
    Qm9(MoleculeConfig),
    /// Drug-like molecules of up to 38 heavy atoms (Gomez-Bombarelli et al. 2018, arXiv 1610.02415).
    Zinc250k(MoleculeConfig),
    /// Any file of SMILES, as lines or as a table.
    Molecules(SmilesFileConfig),
    /// Rows of categories, numbers and dates, from a file such as CSV.
    Table(TableConfig),
    /// One sequence a record: DNA, proteins, names.
    Sequences(SequenceConfig),
    /// What another set was prepared as: class indices in files, for sets larger than memory.
    Prepared(PreparedConfig),
    /// Data that the caller of the library hands over; the recipe has their name only.
    External(ExternalConfig),
}

/// A set that was prepared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreparedConfig {
    /// The folder that [`DataConfig::prepare`] wrote.
    pub path: PathBuf,
    /// The settings of what was prepared, which the folder knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<Box<DataConfig>>,
}

/// Data that the caller of the library hands over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExternalConfig {
    /// Their name, for records.
    pub name: String,
}

impl DataConfig {
    /// The settings that say what items are: those of the source of a prepared set, else these.
    pub fn source(&self) -> &Self {
        match self {
            Self::Prepared(PreparedConfig { of: Some(of), .. }) => of,
            other => other,
        }
    }

    /// The settings of the prepared set in a folder; `None` if it holds none.
    ///
    /// # Errors
    /// If its index cannot be read.
    ///
    /// # Examples
    /// ```
    /// use std::path::Path;
    /// use pushforward::data::DataConfig;
    /// assert_eq!(DataConfig::prepared_in(Path::new("nowhere"))?, None);
    /// # Ok::<(), pushforward::data::DataError>(())
    /// ```
    pub fn prepared_in(folder: &Path) -> Result<Option<Self>, DataError> {
        let Some(of) = source_of(folder)? else { return Ok(None) };
        let of: Self = serde_json::from_value(of).map_err(|error| DataError::Rows {
            path: folder.to_owned(),
            problem: format!("the settings of what was prepared are not understood: {error}"),
        })?;
        let (path, of) = (folder.to_owned(), Some(Box::new(of)));
        Ok(Some(Self::Prepared(PreparedConfig { path, of })))
    }

    /// Whether the items are molecules.
    pub fn is_molecules(&self) -> bool {
        matches!(self.source(), Self::SmallMolecules(_) | Self::Qm9(_) | Self::Zinc250k(_) | Self::Molecules(_))
    }

    /// The name of the set as a recipe spells it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Glyphs(_) => "glyphs",
            Self::Echo(_) => "echo",
            Self::Sums(_) => "sums",
            Self::Checker(_) => "checker",
            Self::Mnist(_) => "mnist",
            Self::FashionMnist(_) => "fashion-mnist",
            Self::Kmnist(_) => "kmnist",
            Self::Cifar10(_) => "cifar10",
            Self::ImageFolder(_) => "image-folder",
            Self::Text8(_) => "text8",
            Self::Text(_) => "text",
            Self::SmallMolecules(_) => "small-molecules",
            Self::Qm9(_) => "qm9",
            Self::Zinc250k(_) => "zinc250k",
            Self::Molecules(_) => "molecules",
            Self::Table(_) => "table",
            Self::Sequences(_) => "sequences",
            Self::Prepared(_) => "prepared",
            Self::External(_) => "external",
        }
    }

    /// The files the set is read from, relative to the data folder, as `data fetch` stores them. Empty for synthetic
    /// sets.
    pub fn files(&self) -> Vec<PathBuf> {
        match self {
            Self::Glyphs(_)
            | Self::Echo(_)
            | Self::Sums(_)
            | Self::Checker(_)
            | Self::SmallMolecules(_)
            | Self::External(_) => Vec::new(),
            Self::Mnist(_) | Self::FashionMnist(_) | Self::Kmnist(_) => {
                idx::FILES.iter().map(|file| Path::new(&self.folder()).join(format!("{file}.gz"))).collect()
            }
            Self::Cifar10(_) => cifar::FILES.iter().map(|file| Path::new(&self.folder()).join(file)).collect(),
            Self::ImageFolder(config) => config.files(),
            Self::Text8(config) => vec![config.path.clone().unwrap_or_else(|| "text8/text8".into())],
            Self::Text(config) => std::iter::once(config.path.clone()).chain(config.tokenizer.clone()).collect(),
            Self::Qm9(config) | Self::Zinc250k(config) => config.files(self.name()),
            Self::Molecules(config) => config.files(),
            Self::Table(config) => config.files(),
            Self::Sequences(config) => config.files(),
            Self::Prepared(config) => vec![config.path.clone()],
        }
    }

    /// The paths in the settings, with their keys.
    fn paths_mut(&mut self) -> Vec<(&'static str, &mut PathBuf)> {
        fn optional(path: &mut Option<PathBuf>) -> Vec<(&'static str, &mut PathBuf)> {
            path.iter_mut().map(|path| ("path", path)).collect()
        }
        match self {
            Self::Glyphs(_)
            | Self::Echo(_)
            | Self::Sums(_)
            | Self::Checker(_)
            | Self::SmallMolecules(_)
            | Self::External(_) => Vec::new(),
            Self::Mnist(config) | Self::FashionMnist(config) | Self::Kmnist(config) => optional(&mut config.path),
            Self::Cifar10(config) => optional(&mut config.path),
            Self::ImageFolder(config) => config.paths_mut(),
            Self::Text8(config) => optional(&mut config.path),
            Self::Text(config) => std::iter::once(("path", &mut config.path))
                .chain(config.tokenizer.iter_mut().map(|tokenizer| ("tokenizer", tokenizer)))
                .collect(),
            Self::Qm9(config) | Self::Zinc250k(config) => config.paths_mut(),
            Self::Molecules(config) => config.paths_mut(),
            Self::Table(config) => config.paths_mut(),
            Self::Sequences(config) => config.paths_mut(),
            Self::Prepared(config) => vec![("path", &mut config.path)],
        }
    }

    /// Makes the paths in the settings absolute, so that they mean the same from any folder. A relative path is looked
    /// for as it is and, failing that, in the data folder. Those of a prepared set get the settings of its source.
    ///
    /// # Errors
    /// If a path does not exist in either place, or the index of a prepared set cannot be read.
    pub fn make_paths_absolute(&mut self, data_dir: &Path) -> Result<(), DataError> {
        for (key, path) in self.paths_mut() {
            let found = files::existing(key, path, data_dir)?;
            *path = std::path::absolute(&found).map_err(|source| DataError::Read { path: found, source })?;
        }
        if let Self::Prepared(config) = self {
            // What the items are is said in the recipe of a run, which is read without the set.
            *self = Self::prepared_in(&config.path)?.ok_or_else(|| DataError::Rows {
                path: config.path.clone(),
                problem: "it holds no prepared set, or its index.json is missing".into(),
            })?;
        }
        Ok(())
    }

    /// Leaves the names of the files in the settings, without their folders; returns whether there were any.
    pub(crate) fn drop_folders(&mut self) -> bool {
        let any = self.paths_mut().into_iter().fold(false, |any, (_, path)| files::drop_folder(path) | any);
        match self {
            Self::Prepared(PreparedConfig { of: Some(of), .. }) => of.drop_folders() | any,
            _ => any,
        }
    }

    /// Writes settings whose default has changed into the configuration of a new run. Without them, it means what it
    /// meant before: molecules are divided line by line, and a tokenizer may lose any share of the text.
    ///
    /// # Examples
    /// ```
    /// use pushforward::data::DataConfig;
    /// let mut config: DataConfig = toml::from_str("set = 'molecules'\npath = 'a.smi'")?;
    /// config.settle();
    /// assert!(toml::to_string(&config)?.contains("split = \"molecules\""));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn settle(&mut self) {
        match self {
            Self::Qm9(config) | Self::Zinc250k(config) => config.settle(),
            Self::Molecules(config) => config.settle(),
            Self::Text(config) => config.settle(),
            _ => {}
        }
    }

    /// Whether the files of the set are in the data folder, under any of their names. Their content is not checked.
    pub fn is_here(&self, data_dir: &Path) -> bool {
        match self {
            Self::Qm9(config) | Self::Zinc250k(config) => config.is_here(self.name(), data_dir),
            _ => self.files().iter().all(|file| data_dir.join(file).exists()),
        }
    }

    /// Reads or generates the set. `seed` determines the content of synthetic sets and the draws of held-out stochastic
    /// pixels.
    ///
    /// # Errors
    /// If a file is missing or malformed, a setting does not fit the set, or the set has colour images; the message
    /// says where the problem is and what to do.
    pub fn load<'a>(&self, folders: impl Into<Folders<'a>>, seed: u64) -> Result<Splits, DataError> {
        let folders = folders.into();
        let data_dir = folders.data;
        self.refuse_continuous_settings()?;
        match self {
            Self::Glyphs(config) => config.load(seed),
            Self::Echo(config) => config.load(seed),
            Self::Sums(config) => config.load(seed),
            Self::Checker(config) => config.load(seed),
            Self::Mnist(config) | Self::FashionMnist(config) | Self::Kmnist(config) => {
                images::view(self.raw(data_dir, seed)?, config.pixels, seed)
            }
            Self::ImageFolder(config) if config.channels() == 1 => {
                images::view(self.raw(data_dir, seed)?, config.pixels(), seed)
            }
            Self::Cifar10(_) | Self::ImageFolder(_) => Err(DataError::Setting {
                key: "set",
                problem: format!(
                    "`{}` holds colour images, and pixels become classes in grey images only; train a model of \
                     continuous images on it, or take a grey set (an image-folder with `channels = 1`, mnist, ...)",
                    self.name()
                ),
            }),
            Self::Text8(config) => config.load(data_dir),
            Self::Text(config) => config.load(data_dir),
            Self::SmallMolecules(config) => config.load(seed),
            Self::Qm9(config) => config.load_qm9(folders),
            Self::Zinc250k(config) => config.load_zinc250k(folders),
            Self::Molecules(config) => config.load(folders),
            Self::Table(config) => config.load(folders),
            Self::Sequences(config) => config.load(folders),
            Self::Prepared(config) => open(&files::existing("path", &config.path, data_dir)?, molecules::label_of),
            Self::External(config) => Err(DataError::Setting {
                key: "set",
                problem: format!(
                    "the data {:?} were handed to the library by its caller, and only that caller can hand them over again",
                    config.name
                ),
            }),
        }
    }

    /// The 8-bit images of an image set.
    ///
    /// # Errors
    /// As [`DataConfig::load`]; also if the set has no images.
    pub fn raw(&self, data_dir: &Path, seed: u64) -> Result<RawSplits, DataError> {
        match self {
            Self::Glyphs(config) => config.grey(seed),
            Self::Mnist(config) | Self::FashionMnist(config) | Self::Kmnist(config) => {
                config.read(self.name(), &self.folder(), data_dir)
            }
            Self::Cifar10(config) => config.read(data_dir),
            Self::ImageFolder(config) => config.read(data_dir),
            Self::Echo(_)
            | Self::Sums(_)
            | Self::Checker(_)
            | Self::Text8(_)
            | Self::Text(_)
            | Self::SmallMolecules(_)
            | Self::Qm9(_)
            | Self::Zinc250k(_)
            | Self::Molecules(_)
            | Self::Table(_)
            | Self::Sequences(_)
            | Self::Prepared(_)
            | Self::External(_) => {
                Err(DataError::Setting { key: "set", problem: format!("`{}` holds no images", self.name()) })
            }
        }
    }

    fn folder(&self) -> String {
        self.name().replace('-', "_")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ExampleKey, Schema};

    fn parse(text: &str) -> Result<DataConfig, toml::de::Error> {
        toml::from_str(text)
    }

    #[test]
    fn recipes_name_sets_and_typos_are_errors() {
        for (text, name) in [
            ("set = 'glyphs'", "glyphs"),
            ("set = 'echo'\nletters = 3", "echo"),
            ("set = 'sums'\ndigits = 2", "sums"),
            ("set = 'checker'", "checker"),
            ("set = 'mnist'\npixels = 'stochastic'", "mnist"),
            ("set = 'fashion-mnist'\npixels = { levels = 8 }", "fashion-mnist"),
            ("set = 'kmnist'\nlimit = 10", "kmnist"),
            ("set = 'fashion-mnist'\nsplit_seed = 3\nflip = true\nnoise = 0.5", "fashion-mnist"),
            ("set = 'cifar10'\nflip = true", "cifar10"),
            ("set = 'image-folder'\npath = 'a'\nsize = [64, 48]", "image-folder"),
            (
                "set = 'image-folder'\npath = 'a'\nsize = [8, 8]\nchannels = 1\nresize = 'lanczos3'\ncrop = 'none'\n\
                 split = { list = 'a.txt' }\npixels = { levels = 4 }",
                "image-folder",
            ),
            ("set = 'image-folder'\npath = 'a'\nsize = [8, 8]\nsplit = { random = { seed = 3 } }", "image-folder"),
            ("set = 'text8'\nlength = 64", "text8"),
            ("set = 'text'\npath = 'a.txt'", "text"),
            ("set = 'small-molecules'\natoms = 4", "small-molecules"),
            ("set = 'qm9'\ncharges = 'classes'\nmax_atoms = 8", "qm9"),
            ("set = 'zinc250k'\nelements = ['C', 'Cl']\nlimit = 1000", "zinc250k"),
            ("set = 'molecules'\npath = 'a.smi'\ncolumn = 'smi'", "molecules"),
            (
                "set = 'table'\npath = 'a.csv'\ncolumns = { zip = 'categorical', id = 'skip' }\nmissing = 'drop'",
                "table",
            ),
            ("set = 'table'\npath = 'a.csv'\ntest = 'b.csv'\nsplit = { column = 'part' }\nragged = 'drop'", "table"),
            (
                "set = 'sequences'\npath = 'a.fa'\nalphabet = 'dna'\nambiguity = 'merge'\n\
                 split = { clusters = { k = 5, share = 0.4 } }",
                "sequences",
            ),
            ("set = 'sequences'\npath = 'a.csv'\ncolumn = 'seq'\nsplit = { column = 'part' }", "sequences"),
            ("set = 'prepared'\npath = 'a'\nof = { set = 'text', path = 'a.txt' }", "prepared"),
            ("set = 'external'\nname = 'mine'", "external"),
        ] {
            let config = parse(text).unwrap();
            assert_eq!(config.name(), name);
            let back: DataConfig = parse(&toml::to_string(&config).unwrap()).unwrap();
            assert_eq!(back, config);
        }
        let message = parse("set = 'mnist'\npixel = 'stochastic'").unwrap_err().to_string();
        assert!(message.contains("pixel") && message.contains("pixels"), "{message}");
        assert!(parse("set = 'mnits'").unwrap_err().to_string().contains("fashion-mnist"));
        assert!(parse("set = 'text'").unwrap_err().to_string().contains("path"));
    }

    #[test]
    fn a_missing_set_says_where_it_was_looked_for_and_how_to_get_it() {
        let dir = tempfile::tempdir().unwrap();
        let config = parse("set = 'mnist'").unwrap();
        let message = config.load(dir.path(), 0).unwrap_err().to_string();
        for part in ["train-images-idx3-ubyte.gz", "pushforward data fetch mnist", dir.path().to_str().unwrap()] {
            assert!(message.contains(part), "{message}");
        }
        assert_eq!(config.files()[0], Path::new("mnist/train-images-idx3-ubyte.gz"));
    }

    #[test]
    fn made_up_sets_share_one_contract() {
        for set in ["glyphs", "echo", "sums", "checker"] {
            let config = parse(&format!("set = '{set}'")).unwrap();
            assert!(config.files().is_empty());
            let splits = config.load(Path::new("unused"), 3).unwrap();
            let again = config.load(Path::new("unused"), 3).unwrap();
            assert_eq!(splits.sha256, again.sha256);
            assert_ne!(splits.sha256, config.load(Path::new("unused"), 4).unwrap().sha256);
            let schema = splits.schema();
            for (part, twin) in
                [(&splits.train, &again.train), (&splits.validation, &again.validation), (&splits.test, &again.test)]
            {
                let (mut a, mut b) = (vec![u32::MAX; schema.sites], vec![u32::MAX; schema.sites]);
                for index in [0, part.len() / 2, part.len() - 1] {
                    part.write(ExampleKey { seed: 1, epoch: 0, index }, &mut a);
                    twin.write(ExampleKey { seed: 1, epoch: 0, index }, &mut b);
                    assert_eq!(a, b);
                    assert!(a.iter().all(|&c| (c as usize) < schema.classes), "{set} {a:?}");
                }
            }
            let mut first = vec![0; schema.sites];
            let mut later = vec![0; schema.sites];
            splits.test.write(ExampleKey { seed: 1, epoch: 0, index: 1 }, &mut first);
            splits.test.write(ExampleKey { seed: 2, epoch: 9, index: 1 }, &mut later);
            assert_eq!(first, later, "{set}: held-out examples do not change");
            let schema_json = serde_json::to_string(schema).unwrap();
            assert_eq!(&serde_json::from_str::<Schema>(&schema_json).unwrap(), schema);
        }
    }
}
