//! Training objectives: the built-in one, and its parts for objectives of your own.
//!
//! An objective of your own implements [`Objective`](crate::train::objective::Objective) for
//! [`FlowMapModel`](crate::flow_map::model::FlowMapModel): a [`NoisedBatch`] gives points at any time, [`TeacherView`]
//! targets without a gradient, [`along_t`] logits with their derivative in t, and [`losses`](crate::flow_map::losses)
//! the published formulas.

mod batch;
mod loss;
mod off_diagonal;
mod teacher;

pub use self::batch::{BatchConfig, IdBatch, NoisedBatch};
pub use self::loss::FlowMapObjective;
pub use self::teacher::{TeacherView, along_flow, along_t, logits};
