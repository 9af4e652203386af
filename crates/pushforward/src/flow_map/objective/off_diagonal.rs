//! The off-diagonal objectives: computes the points and logits that the formulas in [`losses`] need.

use burn::module::Module;
use burn::tensor::Tensor;

use crate::dual::{Dual, divergence, softmax};
use crate::flow_map::backbone::Backbone;
use crate::flow_map::config::{OffDiagonal, SplitPoint};
use crate::flow_map::losses::{self, GradientPath};
use crate::flow_map::model::FlowMapModel;
use crate::flow_map::objective::batch::NoisedBatch;
use crate::flow_map::objective::teacher::{TeacherView, along_flow, along_t, logits};
use crate::flow_map::objective::trajectory::{Way, endpoint_of_jumps};
use crate::nn::Pass;
use crate::rng::Stream;
use crate::transport::time::{TimePairs, column, jump_weight};

/// A batch at its pairs of times, with the student and the teacher.
pub(super) struct Distillation<'a, N: Backbone> {
    pub(super) student: &'a FlowMapModel<N>,
    pub(super) teacher: TeacherView<'a, N>,
    pub(super) batch: &'a NoisedBatch,
    pub(super) pairs: &'a TimePairs,
    /// The points at the start times.
    pub(super) x_s: Tensor<3>,
    /// Divisor of the logits of the teacher's diagonal.
    pub(super) temperature: f64,
}

impl<N: Backbone> Distillation<'_, N> {
    /// Per-example loss, `[batch]`, and `||d pi||` per example, `[batch]`, if the objective uses a derivative.
    pub(super) fn loss(
        &self,
        objective: OffDiagonal,
        pass: &mut Pass<'_>,
        randomness: &mut Stream,
    ) -> (Tensor<1>, Option<Tensor<1>>) {
        let Self { pairs, x_s, .. } = self;
        let (per_site, derivative) = match objective {
            OffDiagonal::None => unreachable!("the diagonal alone has no off-diagonal part"),
            OffDiagonal::Csd { gradient } => {
                let z = self.student_along_t(pass);
                let z_tt = self.teacher_at_end(&z.value);
                (losses::csd(z.clone(), z_tt, x_s.clone(), pairs, gradient), Some(z))
            }
            OffDiagonal::Lsd { floor } => {
                let z = self.student_along_t(pass);
                let z_tt = self.teacher_at_end(&z.value);
                (losses::lsd(z.clone(), z_tt, x_s.clone(), pairs, floor), Some(z))
            }
            OffDiagonal::Ecld { weights } => {
                let z = self.student_along_t(pass);
                let z_tt = self.teacher_at_end(&z.value);
                let (endpoint, drift) = losses::ecld(z.clone(), z_tt, pairs, &weights.weights());
                (endpoint + drift, Some(z))
            }
            OffDiagonal::Trajectory { steps, by, power } => {
                let way = Way { jumps: steps, by, power };
                let target = endpoint_of_jumps(&self.teacher, x_s.clone(), pairs, way, randomness);
                (divergence(target, self.student(pass)), None)
            }
            OffDiagonal::Psd { split } => (self.progressive(split, pass, randomness), None),
            OffDiagonal::LsdLogit { floor, gradient } => {
                let z = match gradient {
                    GradientPath::Full => self.student_along_t(pass),
                    // The derivative needs no gradient, so it is computed in a pass without autodiff graph.
                    GradientPath::Published => {
                        let conditioning = &self.batch.conditioning;
                        let still = self.student.valid();
                        let dz = along_t(&still, x_s.clone(), pairs, conditioning, &mut Pass::eval()).tangent;
                        Dual { value: self.student(pass), tangent: dz }
                    }
                };
                let z_tt = self.teacher_at_end(&z.value);
                (losses::lsd_logit(z.clone(), z_tt, pairs, floor, gradient), Some(z))
            }
            OffDiagonal::EsdLogit { floor } => {
                let z_ss = self.teacher.logits(x_s.clone(), &pairs.s, &pairs.s);
                let direction = softmax(z_ss.clone()) - x_s.clone();
                let still = self.student.valid();
                let dz = along_flow(&still, x_s.clone(), direction, pairs, &self.batch.conditioning).tangent;
                let z = Dual { value: self.student(pass), tangent: dz };
                (losses::esd_logit(z.clone(), z_ss, pairs, floor), Some(z))
            }
            OffDiagonal::Naive => {
                let z = self.student_along_t(pass);
                let length = pairs.column(x_s, |s, t| t - s);
                let x_t = x_s.clone() + z.value.clone().detach() * length;
                let z_tt = self.teacher.logits(x_t, &pairs.t, &pairs.t);
                (losses::naive(z, z_tt, pairs), None)
            }
        };
        (self.batch.over_sites(per_site), derivative.and_then(|z| drift_norm(&z, self.batch)))
    }

    /// The semigroup identity at a random time between s and t.
    fn progressive(&self, split: SplitPoint, pass: &mut Pass<'_>, randomness: &mut Stream) -> Tensor<2> {
        let (TimePairs { s, t }, x_s) = (self.pairs, &self.x_s);
        let r = split.draw(s.len(), randomness);
        let u: Vec<f64> = (0..r.len()).map(|i| s[i] + r[i] * (t[i] - s[i])).collect();
        let z_su = self.teacher.logits(x_s.clone(), s, &u);
        let to_u: Vec<f64> = (0..r.len()).map(|i| jump_weight(s[i], u[i])).collect();
        let x_u = losses::jump(x_s.clone(), softmax(z_su.clone()), column(&to_u, x_s));
        let z_ut = self.teacher.logits(x_u, &u, t);
        losses::psd(self.student(pass), z_su, z_ut, self.pairs, &r)
    }

    fn student(&self, pass: &mut Pass<'_>) -> Tensor<3> {
        let TimePairs { s, t } = self.pairs;
        logits(self.student, self.x_s.clone(), s, t, &self.batch.conditioning, pass)
    }

    fn student_along_t(&self, pass: &mut Pass<'_>) -> Dual<3> {
        along_t(self.student, self.x_s.clone(), self.pairs, &self.batch.conditioning, pass)
    }

    /// The teacher's diagonal logits at the end of the student's jump.
    fn teacher_at_end(&self, z: &Tensor<3>) -> Tensor<3> {
        let pi = softmax(z.clone().detach());
        let x_t = losses::jump(self.x_s.clone(), pi, self.pairs.column(&self.x_s, jump_weight));
        self.teacher.logits(x_t, &self.pairs.t, &self.pairs.t) / self.temperature
    }
}

impl SplitPoint {
    /// Draws `n` fractions `r`, in (0, 1).
    fn draw(self, n: usize, randomness: &mut Stream) -> Vec<f64> {
        let mut one = || match self {
            Self::Uniform => randomness.uniform(),
            Self::Midpoint => 0.5,
            Self::Mixed => match randomness.below(3) {
                0 => randomness.uniform(),
                1 => 0.5,
                _ => 10f64.powf(-2.0 * randomness.uniform()),
            },
        };
        (0..n).map(|_| one().clamp(1e-3, 1.0 - 1e-3)).collect()
    }
}

/// `||d pi||`, root of the mean square over sites, per example and without gradient.
fn drift_norm(z: &Dual<3>, batch: &NoisedBatch) -> Option<Tensor<1>> {
    let tangent = z.tangent.clone()?.detach().inner();
    let (_, dpi) = losses::endpoint(Dual::new(z.value.clone().detach().inner(), tangent));
    Some(batch.over_sites((dpi.clone() * dpi).sum_dim(2).squeeze_dim(2)).sqrt())
}
