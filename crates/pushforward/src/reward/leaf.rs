//! Rewards of single items, and the arguments they take.

use burn::tensor::Tensor;

use super::error::SpecError;
use super::facts::Facts;
use super::parse::{Argument, constant};
use crate::data::{DataConfig, Schema};
use crate::metrics::kneser_ney::KneserNey;
use crate::run::{Loaded, TrainedClassifier};

/// What a specification may need besides its text.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// What the items are.
    pub schema: &'a Schema,
    /// The set that they are of.
    pub data: &'a DataConfig,
    /// A classifier of the images.
    pub classifier: Option<&'a Loaded<TrainedClassifier>>,
    /// An n-gram model of the text.
    pub scorer: Option<&'a KneserNey>,
}

/// A reward by name that scores single items of its kind.
pub(super) trait Leaf {
    /// Values of whole items.
    fn score(&self, items: &Items<'_>) -> Vec<f64>;

    /// The same at points of the simplex, `[batch, sites, classes]` to `[batch]`.
    fn soft(&self, _pi: &Tensor<3>) -> Option<Tensor<1>> {
        None
    }
}

/// Items, and what has been found out about them.
pub(super) struct Items<'a> {
    pub(super) ids: &'a [u32],
    pub(super) sites: usize,
    pub(super) facts: &'a [Option<Facts>],
}

impl<'a> Items<'a> {
    pub(super) fn rows(&self) -> impl Iterator<Item = &'a [u32]> {
        self.ids.chunks(self.sites)
    }
}

pub(super) fn misfit(name: &str, problem: String) -> SpecError {
    SpecError::Argument { name: name.to_owned(), problem }
}

/// The one whole number that a reward takes.
pub(super) fn whole(name: &str, arguments: &[Argument]) -> Result<u64, SpecError> {
    let value = match arguments {
        [Argument::Value(value)] => constant(value),
        _ => None,
    };
    let whole = value.filter(|v| *v >= 0.0 && v.fract() == 0.0 && *v < 1e15);
    whole.map(|v| v as u64).ok_or_else(|| misfit(name, format!("write {name}(N) with a whole number N")))
}

/// The one text that a reward takes.
pub(super) fn quoted<'t>(name: &str, arguments: &'t [Argument]) -> Result<&'t str, SpecError> {
    match arguments {
        [Argument::Text(text)] if !text.is_empty() => Ok(text),
        _ => Err(misfit(name, format!("write {name}(\"..\") with a text in quotation marks"))),
    }
}

/// A reward that takes nothing.
pub(super) fn bare(name: &str, arguments: &[Argument]) -> Result<(), SpecError> {
    if arguments.is_empty() { Ok(()) } else { Err(misfit(name, format!("write {name} without brackets"))) }
}
