//! Sampling: from noise to class indices, by the flow map or by integrating its velocity.
//!
//! ```text
//! map      x <- x + gamma(s,t) (pi_{s,t}(x) - x)                       NFE: 1 per step
//! euler    x <- x + gamma(s,t) (pi_{s,s}(x) - x)                       1 per step
//! heun     mean of the slopes at both ends; the last step is Euler's   2 per step, less 1
//! dopri5   adaptive, in tau = -log(1-t): dx/dtau = pi_{t,t}(x) - x     6 per trial step and item, plus 2
//! renoise  x <- (t/u) X_{s,u}(x) + gamma (1-t) x_0'                     1 per step, fresh noise x_0'
//!          (1-u)/u = sqrt(1 - gamma^2) (1-t)/t;  gamma = 1: u = 1, all noise is fresh;  gamma = 0: u = t, the map
//! ```
//!
//! Reference of gamma: Consistency Trajectory Models (Kim et al. 2024), arXiv:2310.02279, gamma-sampling.
//!
//! The number of nodes of a graph, or of letters of a record, is drawn first, from the stream `(seed, Size, i)`, and
//! so is the label of an item from `(seed, Label, i)`, where labels are drawn.
//!
//! The noise of item i comes from the stream `(seed, Sample, i)`, and fresh noise and draws of classes from
//! `(seed, Renoise, i)`, so an item does not depend on the batch that it is computed in.
//!
//! # Examples
//! ```
//! use pushforward::burn::tensor::Device;
//! use pushforward::flow_map::model::FlowMapModel;
//! use pushforward::flow_map::sample::{Generator, LastStep, ObservedRow, SampleRequest, Sampler, sample};
//! use pushforward::nn::{SiteShape, mlp::MlpConfig};
//! use pushforward::rng::{Purpose, stream};
//! use pushforward::structural_zeros::StructuralZeros;
//! use std::sync::Arc;
//!
//! let (sites, device) = (SiteShape::line(4, 3), Device::flex());
//! let network = MlpConfig::default().init(sites.clone(), &device, &mut stream(0, Purpose::Init, 0));
//! let model = FlowMapModel::new(network, sites.clone());
//! let generator = Generator::new(&model, sites.clone(), &device);
//! let request = SampleRequest { last: LastStep::Draw, ..SampleRequest::map(5, 2, 0) };
//! let all = sample(&generator, &request, &mut |_| true);
//! assert_eq!(all.nfe, [2; 5]);
//! // The last two items, alone: the same as among five.
//! let last = sample(&generator, &SampleRequest { first: 3, count: 2, ..request.clone() }, &mut |_| true);
//! assert_eq!(last.ids, all.ids[3 * 4..]);
//! // The same noise, and fresh noise at time 0.5.
//! let fresh = sample(&generator, &SampleRequest { sampler: Sampler::RENOISE, ..request.clone() }, &mut |_| true);
//! assert_eq!(fresh.nfe, all.nfe);
//! // Items whose first two sites are never equal, as in these 90 rows.
//! let row = |i: u32| [i % 3, (i + 1 + i / 3 % 2) % 3, i / 3 % 3, i / 9 % 3];
//! let zeros = StructuralZeros::find(&[3; 4], 90, 5.0, &mut |at, out| out.copy_from_slice(&row(at as u32)));
//! let unequal = sample(&generator.with_rules(Arc::new(zeros)), &request, &mut |_| true);
//! assert!(unequal.items().all(|item| item[0] != item[1]));
//! ```

pub(in crate::flow_map) mod batch;
mod counts;
mod dopri5;
mod draw;
pub mod guidance;
mod labels;
pub mod large_vocabulary;
pub(in crate::flow_map) mod request;
mod rules;

pub(crate) use self::batch::draw_class;
pub(crate) use self::counts::draw_size;
pub use self::draw::{sample, sample_together};
pub use self::labels::LabelChoice;
pub use self::request::{
    GUIDANCE, Generator, GraphPart, LastStep, ObservedRow, SampleRequest, Sampler, Samples, TEMPERATURE,
};
pub(crate) use self::request::{PLACE_NOISES, PLACES};
pub use self::rules::Rules;
