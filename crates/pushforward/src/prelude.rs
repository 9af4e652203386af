//! The names that most programs need.
//!
//! ```
//! use pushforward::prelude::*;
//! let sites = SiteShape::line(8, 26);
//! assert_eq!(sites.count * sites.classes, 208);
//! ```

pub use burn::module::{Module, Param};
pub use burn::tensor::{Device, Tensor};

pub use crate::data::{Batches, DataConfig, Dataset, EpochSampler, ExampleKey, InMemory, Layout, Schema, Splits};
pub use crate::dual::Dual;
pub use crate::flow_map::backbone::{Backbone, BackboneConfig, EndpointNet, Inputs};
pub use crate::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal};
pub use crate::flow_map::model::FlowMapModel;
pub use crate::flow_map::network::{Network, NetworkConfig};
pub use crate::flow_map::objective::{FlowMapObjective, IdBatch, NoisedBatch};
pub use crate::flow_map::sample::{Generator, SampleRequest, Sampler, Samples, sample};
pub use crate::flow_map::steer::{Method, Reward, RewardError, SteerRequest};
pub use crate::nn::linear::{Linear, LinearConfig};
pub use crate::nn::{Pass, SiteShape};
pub use crate::rng::{Purpose, Stream, stream};
pub use crate::run::{
    Data, Event, Loaded, Model, Recipe, Steers, TrainOptions, Trained, TrainedAef, TrainedFlowMap, WeightSet, load,
    train,
};
pub use crate::setting::SettingError;
pub use crate::train::objective::{LossParts, Objective, TrainStep};
pub use crate::train::{Progress, TrainConfig, TrainRequest};
