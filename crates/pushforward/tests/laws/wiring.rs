//! Inputs of the losses in the training objective: points, times, directions and teachers, recomputed here from the
//! same random streams, with finite differences instead of tangents.

use burn::module::Module;
use burn::tensor::{DType, Tensor, activation};
use pushforward::dual::{Dual, divergence};
use pushforward::flow_map::backbone::EndpointNet;
use pushforward::flow_map::conditioning::Conditioning;
use pushforward::flow_map::config::{ObjectiveConfig, OffDiagonal, SplitPoint, TeacherJump};
use pushforward::flow_map::interpolant::interpolate;
use pushforward::flow_map::losses::{self, jump};
use pushforward::flow_map::model::FlowMapModel;
use pushforward::flow_map::objective::FlowMapObjective;
use pushforward::flow_map::time::{TimePairs, column, jump_weight};
use pushforward::nn::Pass;
use pushforward::rng::{Purpose, stream};
use pushforward::tensor::{cast_module, indices, one_hot, to_host, vector};
use pushforward::train::objective::{Objective, TrainStep};

use super::distillation::{moved, networks};
use super::objective::{batch, config, from_the_start, mlp, objectives, trained};
use crate::support::{close, device, precision, tracked};

const N: usize = 6;
const SEED: u64 = 5;
const INDEX: u64 = 3;

fn at(net: &FlowMapModel, x: &Tensor<3>, s: &[f64], t: &[f64]) -> Tensor<3> {
    let (s, t) = (vector(s, x), vector(t, x));
    net.logits(x.clone().into(), s.into(), t.into(), &Conditioning::default(), &mut Pass::eval()).value
}

fn shifted(times: &[f64], by: impl Fn(usize) -> f64) -> Vec<f64> {
    times.iter().enumerate().map(|(i, t)| t + by(i)).collect()
}

/// Values of the distillation term for a batch without a diagonal part.
fn expected(off: OffDiagonal, net: &FlowMapModel, ema: &FlowMapModel, x: &Tensor<3>, pairs: &TimePairs) -> Vec<f64> {
    let (s, t, h) = (&pairs.s, &pairs.t, 1e-5);
    let z = at(net, x, s, t);
    let dz = || (at(net, x, s, &shifted(t, |_| h)) - at(net, x, s, &shifted(t, |_| -h))) * (0.5 / h);
    let student = || Dual::new(z.clone(), dz());
    let pi = activation::softmax(z.clone(), 2);
    let z_tt = || at(ema, &jump(x.clone(), pi.clone(), pairs.column(x, jump_weight)), t, t);
    let loss = match off {
        OffDiagonal::Csd { gradient } => losses::csd(student(), z_tt(), x.clone(), pairs, gradient),
        OffDiagonal::Lsd { floor } => losses::lsd(student(), z_tt(), x.clone(), pairs, floor),
        OffDiagonal::Ecld { weights } => {
            let (endpoint, drift) = losses::ecld(student(), z_tt(), pairs, &weights.weights());
            endpoint + drift
        }
        OffDiagonal::LsdLogit { floor, gradient } => losses::lsd_logit(student(), z_tt(), pairs, floor, gradient),
        OffDiagonal::Psd { .. } => {
            let u: Vec<f64> = s.iter().zip(t).map(|(s, t)| 0.5 * (s + t)).collect();
            let z_su = at(ema, x, s, &u);
            let gamma: Vec<f64> = s.iter().zip(&u).map(|(&s, &u)| jump_weight(s, u)).collect();
            let x_u = jump(x.clone(), activation::softmax(z_su.clone(), 2), column(&gamma, x));
            losses::psd(z, z_su, at(ema, &x_u, &u, t), pairs, &[0.5; N])
        }
        // One Euler step of any length ends in the direction of its first endpoint.
        OffDiagonal::Trajectory { .. } => divergence(activation::softmax(at(ema, x, s, s), 2), z),
        OffDiagonal::EsdLogit { floor } => {
            let z_ss = at(ema, x, s, s);
            let direction = activation::softmax(z_ss.clone(), 2) - x.clone();
            let along = |h: f64| at(net, &(x.clone() + direction.clone() * h), &shifted(s, |i| h * (1.0 - s[i])), t);
            losses::esd_logit(Dual::new(z, (along(h) - along(-h)) * (0.5 / h)), z_ss, pairs, floor)
        }
        OffDiagonal::Naive => {
            let z_tt = at(ema, &(x.clone() + z.clone() * pairs.column(x, |s, t| t - s)), t, t);
            losses::naive(student(), z_tt, pairs)
        }
        OffDiagonal::None => unreachable!("the diagonal alone is not distilled"),
    };
    to_host(&loss.mean_dim(1))
}

#[test]
fn losses_get_the_points_times_and_teachers_they_ask_for() {
    if precision(&device()) != DType::F64 {
        return; // the finite differences need it
    }
    for (kind, network, sites) in networks() {
        let model = trained(&network, sites.clone(), false);
        let ema = cast_module(moved(model.clone(), 0.3, 4), DType::F32).valid();
        let (exact, exact_ema) = (cast_module(model.valid(), DType::F64), cast_module(ema.clone(), DType::F64));
        for off in objectives() {
            let off = match off {
                OffDiagonal::Psd { .. } => OffDiagonal::Psd { split: SplitPoint::Midpoint },
                OffDiagonal::Trajectory { .. } => {
                    OffDiagonal::Trajectory { steps: 1, by: TeacherJump::Euler, power: 1.0 }
                }
                off => off,
            };
            let config = config(network.clone(), ObjectiveConfig { share: 1.0, ..from_the_start(off) });
            let batch = batch(sites.clone(), N);
            let step = TrainStep { model: &model, ema: &ema, seed: SEED, index: INDEX, step: 9, steps: 10 };
            let parts = FlowMapObjective::new(config.clone(), None).loss(&step, &batch);
            assert_eq!(parts.terms.len(), 1, "the whole batch is distilled");
            let noise = config.source.draw(N * sites.count, sites.classes, &mut stream(SEED, Purpose::Source, INDEX));
            let noise: Vec<f64> = noise.into_iter().map(f64::from).collect();
            let x0: Tensor<3> = tracked(&noise, [N, sites.count, sites.classes]).inner();
            let x1 = one_hot(indices(&batch.ids, [N, sites.count], &device()), sites.classes, &x0);
            let pairs = config.times.pairs(N, sites.classes, &mut stream(SEED, Purpose::Time, INDEX));
            let wanted = expected(off, &exact, &exact_ema, &interpolate(x0, x1, &pairs.s), &pairs);
            let found = &parts.terms[0].values;
            assert_eq!(found.times, pairs.t);
            close(&format!("{kind}, {off:?}"), &to_host(&found.per_example), &wanted, 2e-3);
        }
    }
}

#[test]
fn validation_is_the_diagonal_without_dropout_and_repeats() {
    let (network, sites) = mlp();
    let model = trained(&network, sites.clone(), false);
    let config = config(network, from_the_start(OffDiagonal::default()));
    let objective = FlowMapObjective::new(config, None);
    let values = |seed, index| objective.validation(&model, &batch(sites.clone(), N), seed, index);
    assert_eq!(to_host(&values(1, 0).per_example), to_host(&values(1, 0).per_example));
    assert_ne!(to_host(&values(1, 0).per_example), to_host(&values(1, 1).per_example));
    assert_ne!(values(1, 0).times, values(2, 0).times);
    assert!(to_host(&values(1, 0).per_example).iter().all(|v| *v > 0.0));
}
