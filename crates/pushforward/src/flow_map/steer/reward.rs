//! What samples are steered towards.

use burn::tensor::Tensor;

/// A score of finished items, in nats: the law of the samples is tilted by `exp(reward)`.
pub trait Reward {
    /// One number per item, the higher the better; minus infinity where an item is out of the question.
    ///
    /// `ids` holds whole items, [`ABSENT`](crate::node_pairs::ABSENT) where an item has no such site.
    ///
    /// # Errors
    /// If the items cannot be scored.
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError>;

    /// A differentiable score of points of the simplex that agrees with [`Reward::score`] at its corners, or comes
    /// near; none where there is no such thing.
    ///
    /// # Shapes
    /// - `pi`: `[batch, sites, classes]`
    /// - output: `[batch]`
    fn soft(&self, _pi: Tensor<3>) -> Option<Tensor<1>> {
        None
    }
}

/// Why items have no reward.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RewardError {
    /// The answer has another length.
    #[error("{asked} items were scored, and the reward answered with {answered} numbers: one number an item is needed")]
    Count {
        /// Items.
        asked: usize,
        /// Numbers.
        answered: usize,
    },
    /// Not a number, or plus infinity.
    #[error("the reward of item {item} is {value}: it has to be a number or minus infinity")]
    Value {
        /// Place among the items scored together.
        item: usize,
        /// What was answered.
        value: f64,
    },
    /// Whatever else went wrong.
    #[error("{0}")]
    Failed(String),
}

/// Scores of whole items that are numbers, one each.
pub(super) fn checked(reward: &dyn Reward, ids: &[u32], sites: usize) -> Result<Vec<f64>, RewardError> {
    let (values, asked) = (reward.score(ids)?, ids.len() / sites);
    if values.len() != asked {
        return Err(RewardError::Count { asked, answered: values.len() });
    }
    match values.iter().position(|v| v.is_nan() || *v == f64::INFINITY) {
        Some(item) => Err(RewardError::Value { item, value: values[item] }),
        None => Ok(values),
    }
}
