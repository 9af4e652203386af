//! The labels that samples are drawn for.

use serde::{Deserialize, Serialize};

use crate::flow_map::sample::counts::draw_size;
use crate::rng::{Purpose, stream};

/// Labels of the items of a request, for models with label conditioning.
///
/// A model that is told labels has a law without them, learned from the share of examples whose label was hidden, and usually a
/// better one by its labels, drawn as often as the data have them:
///
/// ```text
/// p(x) = sum_y p(y) p(x | y)
/// ```
///
/// # Examples
/// ```
/// use pushforward::flow_map::sample::LabelChoice;
///
/// let turns = LabelChoice::from(vec![3, 7]);
/// assert_eq!((turns.of(0, 0), turns.of(0, 1), turns.of(0, 2)), (Some(3), Some(7), Some(3)));
/// // Twice as many of label 2 as of label 0, none of label 1; a label belongs to its seed and index.
/// let drawn = LabelChoice::Drawn(vec![100, 0, 200]);
/// let twos = (0..3000).filter(|&index| drawn.of(5, index) == Some(2)).count();
/// assert!((1900..2100).contains(&twos) && (0..3000).all(|index| drawn.of(5, index) != Some(1)));
/// assert_eq!(LabelChoice::Hidden.of(0, 0), None);
/// assert!(drawn.is_told() && !LabelChoice::Hidden.is_told());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LabelChoice {
    /// As often as in the training data, where the model knows that and is told nothing else of the item; else hidden.
    #[default]
    AsTrained,
    /// No label.
    Hidden,
    /// Item i has label `i % n` of these n.
    InTurn(Vec<u32>),
    /// Drawn by these relative frequencies, from the stream `(seed, Label, i)`.
    Drawn(Vec<u64>),
}

impl LabelChoice {
    /// The label of an item; `None` if it is hidden.
    pub fn of(&self, seed: u64, index: u64) -> Option<u32> {
        match self {
            Self::AsTrained | Self::Hidden => None,
            Self::InTurn(labels) => index.checked_rem(labels.len() as u64).map(|place| labels[place as usize]),
            Self::Drawn(counts) => {
                let last = counts.len().checked_sub(1)?;
                Some(draw_size(counts, last, &mut stream(seed, Purpose::Label, index)) as u32)
            }
        }
    }

    /// Whether items have labels.
    pub fn is_told(&self) -> bool {
        match self {
            Self::AsTrained | Self::Hidden => false,
            Self::InTurn(labels) => !labels.is_empty(),
            Self::Drawn(counts) => !counts.is_empty(),
        }
    }
}

/// These labels in turn; without any, [as in training](LabelChoice::AsTrained).
impl From<Vec<u32>> for LabelChoice {
    fn from(labels: Vec<u32>) -> Self {
        if labels.is_empty() { Self::AsTrained } else { Self::InTurn(labels) }
    }
}
