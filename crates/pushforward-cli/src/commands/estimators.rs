//! Estimators of the log-densities of images, as `score` takes them.

use pushforward::aef::AefModel;
use pushforward::aef::latent::Recognition;
use pushforward::aef::marginal::{self, MarginalRequest, Proposal, is_exact};
use pushforward::aef::prior::LatentMap;
use pushforward::run::{Loaded, TrainedAef};
use pushforward::transport::density::Density;

use super::refuse;
use crate::args::{EstimatorName, ScoreArgs};
use crate::exit::Failure;

/// The requested estimator, its name, and its description.
pub(super) fn estimator(
    args: &ScoreArgs,
    loaded: &Loaded<TrainedAef>,
    net: &AefModel,
) -> Result<(MarginalRequest, String, String), Failure> {
    let draws = args.draws.unwrap_or(loaded.run.eval.draws);
    let mut request = MarginalRequest { draws, seed: args.seed, ..MarginalRequest::default() };
    let own = [("--estimator", args.estimator.is_some()), ("--noise-scale", args.noise_scale.is_some())];
    if let Some(map) = net.prior_map() {
        request.density = args.density.unwrap_or_default();
        let how = of_the_prior(map, request.density, draws);
        if !matches!((net, request.density), (AefModel::Latent(_), Density::Ode { .. } | Density::Map { .. })) {
            refuse(&own, "importance sampling, which this model and density do without", loaded)?;
            let name = marginal::estimator(net, &request);
            return Ok((request, name, how));
        }
    }
    let theirs = [("--density", args.density.is_some() && net.prior_map().is_none())];
    refuse(&theirs, "models with a flow map as the prior", loaded)?;
    let given = [own[0], own[1], ("--draws", args.draws.is_some())];
    let AefModel::Latent(model) = net else {
        assert!(is_exact(net), "models without a density were refused");
        refuse(&given, "models without an exact density", loaded)?;
        return Ok((request, "exact".into(), "exact".into()));
    };
    let name = args.estimator.unwrap_or(EstimatorName::GaussNewton);
    if name == EstimatorName::GaussNewton && args.noise_scale.is_some() {
        return Err(Failure::request("--noise-scale is for the estimators recognition and published"));
    }
    if name == EstimatorName::Published && !matches!(model.recognition, Recognition::Expansion(_)) {
        return Err(Failure::request("the published estimator without -ln K is that of AEF-linear")
            .hint("use --estimator recognition, which a VAE was published with"));
    }
    if name != EstimatorName::GaussNewton {
        if args.noise_scale.is_none() && model.noise() == 0.0 {
            return Err(Failure::request("a model without noise recognises a single latent: give --noise-scale")
                .hint("published for 28 x 28 images, latent 2 to 32: 2, 0.1, 0.01, 0.005, 0.0005"));
        }
        request.proposal = Proposal::Recognition { noise: args.noise_scale };
        request.without_ln_k = name == EstimatorName::Published;
    }
    let (label, how) = match name {
        EstimatorName::GaussNewton => ("gauss-newton", "in expectation an upper bound"),
        EstimatorName::Recognition => ("recognition", "in expectation an upper bound"),
        EstimatorName::Published => ("published", "too low by ln K, as published"),
    };
    let mut how = format!("importance-sampled with {draws} draws ({label}), {how}");
    let mut estimator = format!("importance-{draws}-{label}");
    if let Some(map) = net.prior_map() {
        how += &format!("; prior: {}", of_the_prior(map, request.density, draws));
        estimator += &format!("-{}", request.density.name());
    }
    Ok((request, estimator, how))
}

/// Draws that tell whether a jump is one to one.
const RETURNING: usize = 256;

/// What a density of a flow map is.
pub(super) fn of_the_prior(map: &LatentMap, density: Density, draws: usize) -> String {
    match density {
        Density::Bound { .. } => format!("an upper bound, in the mean over {draws} draws"),
        Density::Ode { tolerance, .. } => format!("by the differential equation, to {tolerance} nats"),
        Density::Map { jumps } => {
            let share = map.returning_share(jumps, RETURNING, 0);
            match share < 1.0 {
                true => format!("by the jump, an upper bound and not exact: {:.1} % of draws come back", 100.0 * share),
                false => format!("by the jump, exact: all of {RETURNING} draws come back"),
            }
        }
    }
}
