//! Training objectives: the built-in one, and its parts for objectives of your own.
//!
//! An objective of your own implements [`Objective`](crate::train::objective::Objective) for
//! [`FlowMapModel`](crate::flow_map::model::FlowMapModel): a [`NoisedBatch`] gives points at any time, [`TeacherView`]
//! targets without a gradient, [`along_t`] logits with their derivative in t, and [`losses`](crate::flow_map::losses)
//! the published formulas.
//!
//! # Examples
//! At time 1 the points of a batch are its data.
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::flow_map::losses::{GradientPath, csd};
//! use pushforward::flow_map::model::FlowMapModel;
//! use pushforward::flow_map::objective::{BatchConfig, IdBatch, NoisedBatch, TeacherView, along_t};
//! use pushforward::flow_map::time::TimePairs;
//! use pushforward::nn::{Pass, SiteShape, mlp::MlpConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::tensor::to_host;
//!
//! let (sites, device) = (SiteShape::line(1, 3), Device::flex());
//! let network = MlpConfig::default().init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
//! let ids = IdBatch { ids: vec![2, 0], labels: None };
//! let noise = &mut stream(0, Purpose::Source, 0);
//! let model = FlowMapModel::new(network, sites.clone());
//! let batch = NoisedBatch::new(&model, &ids, &BatchConfig::default(), noise, None);
//! let x1 = to_host(&batch.at(&[1.0, 1.0]));
//! assert!(x1.iter().zip([0.0, 0.0, 1.0, 1.0, 0.0, 0.0]).all(|(x, one_hot)| (x - one_hot).abs() < 1e-6));
//!
//! // A new network has a uniform endpoint at all times, so it already agrees with itself.
//! let pairs = TimePairs { s: vec![0.2, 0.0], t: vec![0.7, 0.5] };
//! let x_s = batch.at(&pairs.s);
//! let teacher = TeacherView { model: &model, batch: &batch };
//! let z_tt = teacher.logits(x_s.clone(), &pairs.t, &pairs.t);
//! let z = along_t(&model, x_s.clone(), &pairs, &batch.conditioning, &mut Pass::eval());
//! assert_eq!(to_host(&csd(z, z_tt, x_s, &pairs, GradientPath::Full)), [0.0, 0.0]);
//! ```

mod batch;
mod loss;
mod mmd;
mod off_diagonal;
mod teacher;
mod trajectory;

pub use self::batch::{BatchConfig, IdBatch, NoisedBatch};
pub use self::loss::FlowMapObjective;
pub use self::teacher::{TeacherView, along_flow, along_t, logits};
