//! From the folder of a prepared set to its parts.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::data::prepared::index::{Form, Index, is_prepared};
use crate::data::prepared::set::{LabelOf, Part, Shards};
use crate::data::prepared::shard::{Entry, Shard, damaged};
use crate::data::{DataError, Dataset, Layout, Splits};
use crate::hash::sha256_file;

/// Opens a set; `label_of` makes what labels other molecules from the settings of the source.
///
/// # Errors
/// If the index or a shard is missing or damaged: which, and what is wrong.
pub(in crate::data) fn open(folder: &Path, label_of: impl Fn(&Value) -> Option<LabelOf>) -> Result<Splits, DataError> {
    let Index { about, shards, .. } = Index::read(folder)?;
    let schema = Arc::new(about.schema.clone());
    // Graphs are stored as bytes, whatever their classes.
    let graphs = matches!(about.form, Form::Graphs { .. });
    let classes = if graphs { 256 } else { schema.classes };
    let whole = |entry: &&Entry| entry.items > 0 && (graphs || entry.symbols >= entry.items);
    let mut parts = Vec::new();
    for entries in &shards {
        let mut opened = Vec::new();
        for (number, entry) in entries.iter().enumerate() {
            if !Some(entry).as_ref().is_some_and(whole) {
                return Err(damaged(&folder.join(&entry.file), "the index says that it is empty"));
            }
            opened.push(Shard::open(folder, entry, number, classes)?);
        }
        parts.push(Arc::new(Shards::new(opened)));
    }
    let refuse = |problem: &str| DataError::Rows { path: folder.to_owned(), problem: problem.to_owned() };
    let symbols = parts[0].symbols();
    let ranges = match about.form {
        Form::Windows { bounds: [first, second] } => {
            let parts = [0..first, first..second, second..symbols];
            let sites = schema.sites as u64;
            if !parts.iter().all(|part| part.start <= part.end && part.end - part.start >= sites) {
                return Err(refuse("its parts are shorter than an item; prepare the set again"));
            }
            parts
        }
        _ => [0..0, 0..0, 0..0],
    };
    let stream = matches!(about.form, Form::Windows { .. });
    if !stream && parts.iter().any(|part| part.items() == 0) {
        return Err(refuse("one of its parts has no items; prepare the set again"));
    }
    let fits = match (&about.form, &schema.layout) {
        (Form::Windows { .. }, Layout::Text { .. }) => true,
        (Form::Graphs { classes }, Layout::Graph(graph)) => {
            classes.iter().all(|&class| (class as usize) < graph.node_classes.len())
        }
        (Form::Rows, Layout::Sequence(_) | Layout::Columns(_)) => true,
        _ => false,
    };
    if !fits {
        return Err(refuse("its form is not that of its items; prepare the set again"));
    }
    let (name, sha256) = (about.name.clone(), about.sha256.clone());
    let (refused, notes, label_names) = (about.refused.clone(), about.notes.clone(), about.label_names.clone());
    let label_of = label_of(&about.of);
    let about = Arc::new(about);
    let part = |number: usize| -> Arc<dyn Dataset> {
        Arc::new(Part {
            about: about.clone(),
            schema: schema.clone(),
            shards: parts[if stream { 0 } else { number }].clone(),
            range: ranges[number].clone(),
            drawn: number == 0,
            label_of: label_of.clone(),
        })
    };
    Ok(Splits { refused, notes, label_names, ..Splits::new(&name, [0, 1, 2].map(part), sha256) })
}

/// The settings of what a folder was prepared from; `None` if it holds no prepared set.
///
/// # Errors
/// If its index cannot be read.
pub(in crate::data) fn source_of(folder: &Path) -> Result<Option<Value>, DataError> {
    if !is_prepared(folder) {
        return Ok(None);
    }
    Index::read(folder).map(|index| Some(index.about.of))
}

/// Compares every shard of a prepared set with its hash.
///
/// # Errors
/// If the index or a shard is missing or damaged: which.
pub fn verify(folder: &Path) -> Result<(), DataError> {
    for entry in Index::read(folder)?.shards.iter().flatten() {
        let path = folder.join(&entry.file);
        let found = sha256_file(&path).map_err(|source| DataError::Read { path: path.clone(), source })?;
        if found != entry.sha256 {
            return Err(damaged(&path, &format!("its SHA-256 is {found}, and the index says {}", entry.sha256)));
        }
    }
    Ok(())
}
