//! Time of one training step under every objective, and of sampling, for a DiT of 6 blocks, width 256 and 8 heads on 128 sites
//! of 27 classes.
//!
//! ```text
//! cargo bench --bench flow_map_step -- [--rounds N] [--only NAME,...] [--json | --describe | --serve]
//! ```
//!
//! A training step is the training loop's: loss of 16 examples, gradient, joint norm, clipping, AdamW; all examples go to
//! the objective named. A sample is the library's, from noise to class indices. `common` says what else it does. In the
//! operations a backward pass costs twice its forward pass, tangent included.

mod common;

use pushforward::burn::tensor::Device;
use pushforward::flow_map::config::{FlowMapConfig, ObjectiveConfig, OffDiagonal, SplitPoint, Teacher, TeacherJump};
use pushforward::flow_map::losses::{EcldPreset, GradientPath};
use pushforward::flow_map::model::FlowMapModel;
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::objective::{FlowMapObjective, IdBatch};
use pushforward::flow_map::sample::{Generator, SampleRequest, sample};
use pushforward::nn::SiteShape;
use pushforward::nn::dit::DitConfig;
use pushforward::params;
use pushforward::rng::{Purpose, stream};

use crate::common::product;

const SITES: SiteShape = SiteShape::line(128, 27);
const BATCH: usize = 16;
const WIDTH: usize = 256;
const BLOCKS: usize = 6;
const COND: usize = 128;
const FEATURES: usize = 256;

/// Operation of a case.
#[derive(Clone, Copy)]
enum Work {
    Train(OffDiagonal),
    Sample { batch: usize, nfe: usize },
}

const CASES: [(&str, Work); 12] = [
    ("train/diagonal", Work::Train(OffDiagonal::None)),
    ("train/csd", Work::Train(OffDiagonal::Csd { gradient: GradientPath::Published })),
    ("train/ecld", Work::Train(OffDiagonal::Ecld { weights: EcldPreset::Paper })),
    ("train/lsd", Work::Train(OffDiagonal::Lsd { floor: 0.05 })),
    ("train/psd", Work::Train(OffDiagonal::Psd { split: SplitPoint::Uniform })),
    ("train/trajectory", Work::Train(OffDiagonal::Trajectory { steps: 8, by: TeacherJump::Euler, power: 1.0 })),
    ("train/lsd-logit", Work::Train(OffDiagonal::LsdLogit { floor: 0.01, gradient: GradientPath::Published })),
    ("train/esd-logit", Work::Train(OffDiagonal::EsdLogit { floor: 0.01 })),
    ("sample/b1-nfe1", Work::Sample { batch: 1, nfe: 1 }),
    ("sample/b1-nfe4", Work::Sample { batch: 1, nfe: 4 }),
    ("sample/b64-nfe1", Work::Sample { batch: 64, nfe: 1 }),
    ("sample/b64-nfe4", Work::Sample { batch: 64, nfe: 4 }),
];

fn main() -> Result<(), String> {
    common::run(&CASES)
}

fn config(off_diagonal: OffDiagonal) -> FlowMapConfig {
    let network =
        DitConfig { width: WIDTH, blocks: BLOCKS, heads: 8, cond: COND, time_width: FEATURES, ..DitConfig::default() };
    // An online teacher instead of the average: the same work without the average's update.
    let objective = ObjectiveConfig {
        off_diagonal,
        share: 1.0,
        start: 0.0,
        teacher: Teacher::Online,
        ..ObjectiveConfig::default()
    };
    FlowMapConfig::new(NetworkConfig::Dit(network), objective)
}

fn model(config: &FlowMapConfig, device: &Device) -> FlowMapModel {
    config.model(None).init(SITES, device, &mut stream(0, Purpose::Init, 0))
}

impl common::Work for Work {
    fn start(self) -> Box<dyn FnMut()> {
        match self {
            Self::Train(off_diagonal) => train(off_diagonal),
            Self::Sample { batch, nfe } => {
                let (config, device) = (config(OffDiagonal::None), Device::flex());
                let model = model(&config, &device);
                let request = SampleRequest { batch, ..SampleRequest::map(batch, nfe, 0) };
                Box::new(move || {
                    let samples = sample(
                        &Generator::new(&model, SITES, &device).with_noise(config.noise()),
                        &request,
                        &mut |_| true,
                    );
                    assert_eq!(samples.ids.len(), batch * SITES.count);
                })
            }
        }
    }

    fn parameters(self) -> usize {
        params::count(&model(&config(OffDiagonal::None), &Device::flex()))
    }

    fn gflop(self) -> f64 {
        let pass = Pass::of(BATCH);
        let flop = match self {
            Self::Train(kind) => match kind {
                OffDiagonal::None => 3.0 * pass.value,
                // A student with tangent and its backward pass; a teacher at the end of the jump.
                OffDiagonal::Csd { .. } | OffDiagonal::Ecld { .. } | OffDiagonal::Lsd { .. } | OffDiagonal::Naive => {
                    3.0 * (pass.value + pass.along_t) + pass.value
                }
                // Two teachers; a student and its backward pass.
                OffDiagonal::Psd { .. } => 2.0 * pass.value + 3.0 * pass.value,
                // Teachers one after the other; a student and its backward pass.
                OffDiagonal::Trajectory { steps, .. } => (steps as f64 + 3.0) * pass.value,
                // The derivative without gradient; a student and its backward pass; a teacher.
                OffDiagonal::LsdLogit { .. } => pass.value + pass.along_t + 3.0 * pass.value + pass.value,
                OffDiagonal::EsdLogit { .. } => pass.value + pass.along_flow + 3.0 * pass.value + pass.value,
            },
            Self::Sample { batch, nfe } => nfe as f64 * Pass::of(batch).value,
        };
        flop * 1e-9
    }
}

fn train(off_diagonal: OffDiagonal) -> Box<dyn FnMut()> {
    let config = config(off_diagonal);
    let model = model(&config, &Device::flex().autodiff());
    let mut data = stream(0, Purpose::Synthesis, 0);
    let ids = (0..BATCH * SITES.count).map(|_| data.below(SITES.classes) as u32).collect();
    common::training(model, FlowMapObjective::new(config, None), IdBatch { ids, labels: None }, 1e-4, 1.0)
}

/// Operations in the matrix products of one pass over a batch.
struct Pass {
    value: f64,
    /// With the derivative in t, which starts at the first modulation.
    along_t: f64,
    /// With the derivative along the flow, in x and s.
    along_flow: f64,
}

impl Pass {
    fn of(batch: usize) -> Self {
        let (rows, blocks) = (batch * SITES.count, BLOCKS as f64);
        let input = product(rows, WIDTH, SITES.classes);
        let time = product(batch, COND, FEATURES) + product(batch, COND, COND); // one of the two
        // qkv, attention output and two feed-forward layers: 3 + 1 + 4 + 4 times the width.
        let block = product(rows, 12 * WIDTH, WIDTH) + product(batch, 6 * WIDTH, COND);
        let trunk = blocks * block + product(batch, 2 * WIDTH, COND) + product(rows, SITES.classes, WIDTH);
        let attention = blocks * 2.0 * product(rows, SITES.count, WIDTH); // its derivative is two such products
        Self {
            value: input + 2.0 * time + trunk + attention,
            along_t: time + trunk + 2.0 * attention,
            along_flow: input + 2.0 * time + trunk + 2.0 * attention,
        }
    }
}
