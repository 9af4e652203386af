//! Rewards, the targets of steering.

use burn::tensor::Tensor;

/// A score of finished items, in nats: the distribution of the samples is tilted by `exp(reward)`.
pub trait Reward {
    /// One number per item, the higher the better; minus infinity excludes an item.
    ///
    /// `ids` holds whole items, with [`ABSENT`](crate::node_pairs::ABSENT) for sites that an item does not have.
    ///
    /// # Errors
    /// If the items cannot be scored.
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError>;

    /// A differentiable score of points of the simplex that agrees with [`Reward::score`] at one-hot points, exactly or
    /// approximately; `None` if there is no such score.
    ///
    /// # Shapes
    /// - `pi`: `[batch, sites, classes]`
    /// - output: `[batch]`
    fn soft(&self, _pi: Tensor<3>) -> Option<Tensor<1>> {
        None
    }
}

/// Why the reward of items could not be computed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RewardError {
    /// The number of scores differs from the number of items.
    #[error("{asked} items were scored, and the reward answered with {answered} numbers: one number an item is needed")]
    Count {
        /// Number of items.
        asked: usize,
        /// Number of scores.
        answered: usize,
    },
    /// A score is NaN or plus infinity.
    #[error("the reward of item {item} is {value}: it has to be a number or minus infinity")]
    Value {
        /// Index among the items scored together.
        item: usize,
        /// The score.
        value: f64,
    },
    /// Any other failure.
    #[error("{0}")]
    Failed(String),
}

/// Scores of items, checked: one per item, none NaN or plus infinity.
pub(crate) fn checked(reward: &dyn Reward, ids: &[u32], sites: usize) -> Result<Vec<f64>, RewardError> {
    let (values, asked) = (reward.score(ids)?, ids.len() / sites);
    if values.len() != asked {
        return Err(RewardError::Count { asked, answered: values.len() });
    }
    match values.iter().position(|v| v.is_nan() || *v == f64::INFINITY) {
        Some(item) => Err(RewardError::Value { item, value: values[item] }),
        None => Ok(values),
    }
}
