//! Whether data are those that a model was trained on.
//!
//! A checkpoint keeps the schema of its data (what every class index means) and the SHA-256 of their files. Both are
//! compared wherever a model meets data again: class indices of another schema mean something else, and another file
//! has another split, so that items held out before may have been trained on.
//!
//! # Examples
//! ```
//! use std::ops::ControlFlow;
//! use std::path::Path;
//! use pushforward::prelude::*;
//! use pushforward::run::OtherData;
//!
//! let text = "
//!     name = 'tiny'
//!     data = { set = 'echo', letters = 4 }
//!     model = { family = 'flow-map', network = { kind = 'mlp', width = 8 } }
//! ";
//! let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=1".into()])?;
//! let data = Data::load(&recipe, Path::new("not read: this set is synthetic"))?;
//! let options = TrainOptions::new(Device::flex());
//! let trained = train(&recipe, &data, options, &mut |_| ControlFlow::Continue(()))?;
//! assert!(trained.loaded.run.same_data(&data).is_ok());
//!
//! let other: Recipe = Recipe::parse(text, "tiny", &["data.letters=5".into()])?;
//! let other = Data::load(&other, Path::new("not read"))?;
//! assert!(matches!(trained.loaded.run.same_data(&other), Err(OtherData::Schema { .. })));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;

use crate::data::{DataConfig, Layout, Schema};
use crate::flow_map::backbone::BackboneConfig;
use crate::run::data::Data;
use crate::run::model::{Loaded, RunInfo};
use crate::run::stored::{DATA_KEY, HASH_KEY, LABEL_NAMES_KEY, label_names};
use crate::run::trained::{RequestError, TrainedFlowMap};

/// How data differ from those that a model was trained on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtherData {
    /// Items have other sites, classes or symbols.
    #[error(
        "the data {found} are not those that the model was trained on ({known}): {difference}, so that its class \
         indices would mean something else; give it the data of its training"
    )]
    Schema {
        /// Name of the set of the model.
        known: String,
        /// Name of the set found.
        found: String,
        /// What differs.
        difference: String,
    },
    /// The files have changed.
    #[error(
        "the data {name} have changed since the training: their SHA-256 is {found}, the model was trained on {known}. \
         Held-out items of the changed data may have been trained on"
    )]
    Hash {
        /// Name of the set.
        name: String,
        /// Hash of the training.
        known: String,
        /// Hash found.
        found: String,
    },
}

impl RunInfo {
    /// What each label stands for; empty without labels.
    pub fn label_names(&self) -> Vec<String> {
        label_names(&self.data, &self.provenance)
    }

    /// Compares data with those of the training.
    ///
    /// # Errors
    /// [`OtherData::Schema`] if class indices mean something else, [`OtherData::Hash`] if only the files differ.
    pub fn same_data(&self, data: &Data) -> Result<(), OtherData> {
        same_data(&self.schema, &self.provenance, data)
    }
}

/// Compares data with the schema and the provenance of a checkpoint.
pub(super) fn same_data(schema: &Schema, provenance: &BTreeMap<String, String>, data: &Data) -> Result<(), OtherData> {
    let name = data.name().to_owned();
    let found = data.schema();
    if let Some(difference) = difference(schema, &found) {
        let known = provenance.get(DATA_KEY).cloned().unwrap_or_else(|| "other data".to_owned());
        return Err(OtherData::Schema { known, found: name, difference });
    }
    match provenance.get(HASH_KEY) {
        Some(known) if known != data.sha256() => {
            Err(OtherData::Hash { name, known: known.clone(), found: data.sha256().to_owned() })
        }
        _ => Ok(()),
    }
}

/// What makes class indices of two schemas mean something else.
fn difference(known: &Schema, found: &Schema) -> Option<String> {
    if (known.sites, known.classes) != (found.sites, found.classes) {
        let [a, b] = [known, found].map(|s| format!("{} sites of {} classes", s.sites, s.classes));
        return Some(format!("{a} in the training, {b} now"));
    }
    let same = match (&known.layout, &found.layout) {
        // Numbers of training items by size say nothing about the classes.
        (Layout::Sequence(a), Layout::Sequence(b)) => {
            (a.alphabet, a.letters(), a.varies()) == (b.alphabet, b.letters(), b.varies())
        }
        (Layout::Graph(a), Layout::Graph(b)) => {
            (a.nodes, &a.node_classes, a.edge_classes) == (b.nodes, &b.node_classes, b.edge_classes)
        }
        (Layout::Columns(a), Layout::Columns(b)) => a.has_classes_of(b),
        (a, b) => a == b,
    };
    let what = match &known.layout {
        Layout::Text { .. } => "the symbols of the text",
        Layout::Image { .. } => "the shape of the images",
        Layout::Table => "the kind of the data",
        Layout::Columns(_) => "the columns of the table",
        Layout::Sequence(_) => "the letters of the sequences",
        Layout::Graph(_) => "the kinds of nodes and edges",
    };
    (!same).then(|| format!("{what} differ"))
}

/// What the labels of a set mean, as text: the setting `label`, or the set itself.
fn label_meaning(data: &DataConfig, provenance: &BTreeMap<String, String>) -> String {
    let data = data.source();
    let settings = serde_json::to_value(data).unwrap_or_default();
    match settings.get("label").filter(|label| !label.is_null()) {
        // Scaffolds are ranked by their frequency in the training part.
        Some(label) if label["by"] == "scaffold" => format!("{label} {:?}", provenance.get(HASH_KEY)),
        // Classes are numbered by what the file holds.
        Some(label) if label["by"].is_object() => format!("{label} {:?}", provenance.get(LABEL_NAMES_KEY)),
        Some(label) => label.to_string(),
        None => data.name().to_owned(),
    }
}

/// Whether the labels of two runs mean the same.
pub(super) fn same_labels(
    (data, provenance): (&DataConfig, &BTreeMap<String, String>),
    (other, theirs): (&DataConfig, &BTreeMap<String, String>),
) -> bool {
    label_meaning(data, provenance) == label_meaning(other, theirs)
}

impl<C: BackboneConfig> Loaded<TrainedFlowMap<C>> {
    /// The same model with a weaker one for guidance; see [`TrainedFlowMap::guided_by`].
    ///
    /// # Errors
    /// As there, or if the labels of the two models mean something else.
    pub fn guided_by(self, weak: Self) -> Result<Self, RequestError> {
        let labels = self.model.net.label_count().or(weak.model.net.label_count());
        let same = same_labels((&self.run.data, &self.run.provenance), (&weak.run.data, &weak.run.provenance));
        if labels.is_some() && !same {
            let problem = format!(
                "{} was trained with labels that mean something else: use a weaker model with the same data.label",
                weak.run.path.display()
            );
            return Err(RequestError(problem));
        }
        Ok(Self { model: self.model.guided_by(weak.model)?, run: self.run })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_by_another_property_mean_something_else() {
        let data = |text: &str| toml::from_str::<DataConfig>(text).expect(text);
        let none = BTreeMap::new();
        let same = |a: &str, b: &str| same_labels((&data(a), &none), (&data(b), &none));
        let rings = "set = 'small-molecules'\nlabel = { by = 'rings', edges = [1.0] }";
        assert!(same(rings, rings));
        assert!(!same(rings, "set = 'small-molecules'\nlabel = { by = 'logp', edges = [1.0] }"));
        assert!(!same(rings, "set = 'small-molecules'\nlabel = { by = 'rings', edges = [1.0, 2.0] }"));
        assert!(!same("set = 'mnist'", "set = 'fashion-mnist'") && same("set = 'mnist'", "set = 'mnist'"));
        let scaffold = data("set = 'small-molecules'\nlabel = { by = 'scaffold', most = 3 }");
        let hash = |text: &str| BTreeMap::from([(HASH_KEY.to_owned(), text.to_owned())]);
        assert!(!same_labels((&scaffold, &hash("a")), (&scaffold, &hash("b"))), "ranks of other training parts");
    }
}
