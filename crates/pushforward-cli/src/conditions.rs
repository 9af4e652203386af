//! Conditions and guidance from the command line.

use pushforward::run::{self, Loaded, TrainedFlowMap, WeightSet};

use crate::args::ConditionArgs;
use crate::constraints::characters;
use crate::escapes::unescape;
use crate::exit::{Failure, OrFail as _};

/// The model, with its guiding weaker model if one is given, and the class indices of the prefix.
pub(crate) fn conditioned(
    args: &ConditionArgs,
    loaded: Loaded<TrainedFlowMap>,
) -> Result<(Loaded<TrainedFlowMap>, Vec<u32>), Failure> {
    let prefix = match &args.prefix {
        Some(text) => {
            let vocabulary = characters(&loaded.run.schema)
                .ok_or_else(|| Failure::request("--prefix is for models of text by characters"))?;
            vocabulary.encode(&unescape(text).map_err(Failure::request)?).or_request()?
        }
        None => Vec::new(),
    };
    let Some(path) = &args.weak else { return Ok((loaded, prefix)) };
    if args.guidance == 1.0 {
        return Err(Failure::request("--weak does nothing at --guidance 1: set it above 1"));
    }
    let weak = run::load(path, WeightSet::Ema, &loaded.model.device).or_request()?;
    let weak = weak.flow_map("guide another model").or_request()?;
    Ok((loaded.guided_by(weak).or_request()?, prefix))
}
