//! Rewards of single items, and the parsing of their arguments.

use burn::tensor::Tensor;

use super::error::SpecError;
use super::facts::Facts;
use super::parse::{Argument, constant};
use crate::data::{DataConfig, Schema};
use crate::metrics::kneser_ney::KneserNey;
use crate::run::{Loaded, TrainedClassifier};

/// What a specification may need besides its text.
///
/// # Examples
/// ```
/// use pushforward::data::{DataConfig, Layout, Schema, Vocabulary};
/// use pushforward::flow_map::steer::Reward;
/// use pushforward::metrics::kneser_ney::KneserNey;
/// use pushforward::reward::{Context, Spec};
/// let vocabulary = Vocabulary::characters(vec!['a', 'b'])?;
/// let schema = Schema { sites: 3, classes: 2, layout: Layout::Text { vocabulary } };
/// let scorer = KneserNey::train("corpus", &[0, 1, 0, 1, 0, 1, 0, 1], 2, 2)?;
/// let data = DataConfig::Echo(Default::default());
/// let context = Context { schema: &schema, data: &data, classifier: None, scorer: Some(&scorer) };
/// let found = Spec::new("ngram", context)?.score(&[0, 1, 0])?;
/// assert!((found[0] - scorer.log_prob(&[0, 1, 0]) / 3.0).abs() < 1e-12);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Schema of the items.
    pub schema: &'a Schema,
    /// The data set that the items belong to.
    pub data: &'a DataConfig,
    /// A classifier of the items, for `class(K)`.
    pub classifier: Option<&'a Loaded<TrainedClassifier>>,
    /// An n-gram model of the text, for `ngram`.
    pub scorer: Option<&'a KneserNey>,
}

/// A named reward of single items.
pub(super) trait Leaf {
    /// Rewards of complete items.
    fn score(&self, items: &Items<'_>) -> Vec<f64>;

    /// The reward at points of the simplex, `[batch, sites, classes]` to `[batch]`; `None` if it is not soft.
    fn soft(&self, _pi: &Tensor<3>) -> Option<Tensor<1>> {
        None
    }
}

/// A batch of items and their facts.
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

pub(super) fn argument_error(name: &str, problem: String) -> SpecError {
    SpecError::Argument { name: name.to_owned(), problem }
}

/// Parses the arguments of a reward that takes one whole number.
pub(super) fn whole(name: &str, arguments: &[Argument]) -> Result<u64, SpecError> {
    let value = match arguments {
        [Argument::Value(value)] => constant(value),
        _ => None,
    };
    let whole = value.filter(|v| *v >= 0.0 && v.fract() == 0.0 && *v < 1e15);
    whole.map(|v| v as u64).ok_or_else(|| argument_error(name, format!("write {name}(N) with a whole number N")))
}

/// Parses the arguments of a reward that takes one quoted text.
pub(super) fn quoted<'t>(name: &str, arguments: &'t [Argument]) -> Result<&'t str, SpecError> {
    match arguments {
        [Argument::Text(text)] if !text.is_empty() => Ok(text),
        _ => Err(argument_error(name, format!("write {name}(\"..\") with a text in quotation marks"))),
    }
}

/// Checks that a reward has no arguments.
pub(super) fn bare(name: &str, arguments: &[Argument]) -> Result<(), SpecError> {
    if arguments.is_empty() { Ok(()) } else { Err(argument_error(name, format!("write {name} without brackets"))) }
}
