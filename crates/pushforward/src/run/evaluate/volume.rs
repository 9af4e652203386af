//! The error of the estimate of densities that a flow map as the prior may have beside it.

use crate::aef::prior::LatentMap;
use crate::metrics::interval;
use crate::metrics::report::Row;

/// Draws at which the estimate is compared.
const DRAWS: usize = 64;

/// Bias and root-mean-square of the estimate less `ode`, in nats of a latent; nothing without an estimate.
pub(super) fn rows(map: Option<&LatentMap>, seed: u64) -> Vec<Row> {
    let Some(errors) = map.and_then(|map| map.volume_errors(DRAWS, seed)) else { return Vec::new() };
    let squares: Vec<f64> = errors.iter().map(|error| error * error).collect();
    let row = |name: &str, value| Row::estimate(name, "nats", value).estimator("volume-less-ode").seed(seed);
    vec![row("volume_bias", interval::mean(&errors)), row("volume_rms_error", interval::mean(&squares).map(f64::sqrt))]
}
