//! Scores of synthetic tables against real ones.
//!
//! Every function takes the tables as [`Columns`], encoded by the caller with one dictionary.
//!
//! | function | name in reports | from | best |
//! |---|---|---|---|
//! | [`shape()`] | `shape` | laws of columns | 1 |
//! | [`trend()`] | `trend` | correlations and contingency tables of pairs | 1 |
//! | [`wnmis()`] | `wnmis` | mutual informations of pairs | 1 |
//! | [`c2st_logistic()`] | `c2st_logistic` | a linear model that tells real from synthetic rows | 1 |
//! | `c2st_trees` | `c2st_trees` | boosted trees that tell them apart | 1 |
//! | [`coverage()`] | `alpha_precision`, `beta_recall` | distances of rows | 1; that of other real rows |
//! | `tstr` | `tstr_auc`, `tstr_rmse` | boosted trees trained on synthetic and tested on real rows | those of real rows |
//! | [`dcr_share()`] | `dcr_share` | nearest training row against nearest held-out row | 0.5 |
//! | [`membership_auc()`] | `membership_auc` | an attack by the nearest synthetic row | 0.5 |
//! | [`missing_tv()`] | `missing_tv` | patterns of missing values | 0 |
//!
//! [`independent()`] columns score well in `shape` and `c2st_logistic`; print their scores, and those of real rows against
//! other real rows, beside those of a model. `c2st_trees` and `tstr` need the feature `trees`.
//!
//! # Examples
//! ```
//! use pushforward::metrics::tables::{Column, Columns, independent, shape, trend};
//! use pushforward::rng::{Purpose, stream};
//! let numbers: Vec<f64> = (0..500).map(|i| f64::from(i % 50)).collect();
//! let half = Column::Categories { ids: (0..500).map(|i| u32::from(i % 50 < 25)).collect(), classes: 2, missing: None };
//! let real = Columns::new(vec![("number".to_owned(), Column::Numbers(numbers)), ("half".to_owned(), half)]);
//! let baseline = independent(&real, 500, &mut stream(0, Purpose::Metric, 0));
//! // Right column by column, and wrong in what they have to do with each other.
//! assert!(shape(&real, &baseline).mean > 0.9 && trend(&real, &baseline).mean < 0.7);
//! ```

mod auc;
mod columns;
mod counting;
mod coverage;
mod dependence;
mod detection;
mod features;
mod logistic;
mod marginals;
mod nearest;
mod privacy;
#[cfg(test)]
mod samples;
#[cfg(feature = "trees")]
mod trees;
#[cfg(feature = "trees")]
mod utility;

pub use columns::{Column, Columns, independent};
pub use coverage::{Coverage, coverage};
pub use dependence::wnmis;
pub use detection::c2st_logistic;
#[cfg(feature = "trees")]
pub use detection::c2st_trees;
pub use marginals::{ColumnScores, PairScores, missing_tv, shape, trend};
pub use privacy::{dcr_share, membership_auc};
#[cfg(feature = "trees")]
pub use utility::{Utility, tstr};
