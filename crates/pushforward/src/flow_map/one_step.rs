//! Settings of the direct training of the one-step map.

use serde::{Deserialize, Serialize};

use crate::setting::{STEPS, SettingError, fraction, not_negative, positive, require, size};

/// Direct training of the one-step map: the pair of times is (0, 1), and the target is the end of several jumps of the
/// teacher from the same noise.
///
/// ```text
/// KL( pi_{u,1}(X_{0,u}) || pi_{0,1} )        u: the start of the teacher's last jump
/// ```
///
/// This is the semigroup identity for any number of jumps; a jump to time 1 ends in its endpoint. Lagrangian targets
/// have no information at (0, 1): at time 1 every point is its own endpoint. With [`TeacherJump::Euler`] and
/// [`TeacherJump::Heun`] the jumps are steps along the teacher's diagonal, `pi_{u,u}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneStep {
    /// Share of the off-diagonal examples.
    pub share: f64,
    /// Number of jumps of the teacher, over steps of random lengths; at least 2.
    #[serde(default = "two")]
    pub jumps: usize,
    /// How the teacher jumps.
    #[serde(default, skip_serializing_if = "TeacherJump::is_map")]
    pub by: TeacherJump,
    /// The times of the jumps are `u^power` for equal steps of u: below 1, steps are longer at first, where little is decided if there are
    /// many classes.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub power: f64,
    /// Whether the law of the endpoints is also brought to that of the data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mmd: Option<Mmd>,
}

/// Matching of the law of samples in one evaluation with that of the data, by maximum mean discrepancy over a batch: `weight M` is added
/// to the loss of the one-step map.
///
/// ```text
/// M = [E k(y, y') - 2 E k(y, x) + E k(x, x')] / E k(x, x')       y: one-step samples; x: data
/// k(x, y) = exp(scale (o - 1))                                   o: share of the sites at which x and y agree
/// ```
///
/// Sites are compared by their places, so that it is for items whose places mean something: not for graphs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mmd {
    /// Its weight.
    pub weight: f64,
    /// Sharpness of the kernel: how much more items count that agree at more sites.
    #[serde(default = "four")]
    pub scale: f64,
}

fn four() -> f64 {
    4.0
}

/// How a teacher jumps, several times one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TeacherJump {
    /// By its own map, so that few jumps are enough, and errors of the map remain.
    #[default]
    Map,
    /// By Euler steps along its diagonal, which does not depend on the map; takes more of them.
    Euler,
    /// By steps along its diagonal with an error of second order: the endpoint goes in a straight line from that at the start to that where an
    /// Euler step arrives. Two evaluations a step, but one if it ends at time 1.
    Heun,
}

impl TeacherJump {
    pub(super) fn is_map(&self) -> bool {
        *self == Self::Map
    }

    pub(super) fn is_euler(&self) -> bool {
        *self == Self::Euler
    }
}

pub(super) fn power_of_times(key: &str, value: f64) -> Result<(), SettingError> {
    require((0.1..=10.0).contains(&value), key, format_args!("must be from 0.1 to 10, found {value}"))
}

impl OneStep {
    /// Checks every setting against its range.
    pub(super) fn validate(&self) -> Result<(), SettingError> {
        fraction("share", self.share)?;
        size("jumps", self.jumps, 2..=STEPS)?;
        power_of_times("power", self.power)?;
        if let Some(Mmd { weight, scale }) = self.mmd {
            not_negative("mmd.weight", weight)?;
            positive("mmd.scale", scale)?;
        }
        Ok(())
    }
}

pub(super) fn one() -> f64 {
    1.0
}

pub(super) fn is_one(value: &f64) -> bool {
    *value == 1.0
}

fn two() -> usize {
    2
}
