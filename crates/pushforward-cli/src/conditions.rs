//! What a model is told of its samples, as it is typed.

use pushforward::run::load::{self, Loaded, WeightSet};

use crate::args::ConditionArgs;
use crate::constraints::characters;
use crate::exit::{Failure, OrFail as _};

/// The model with the weaker one that guides it, and the classes of the prefix.
pub(crate) fn told(args: &ConditionArgs, loaded: Loaded) -> Result<(Loaded, Vec<u32>), Failure> {
    let prefix = match &args.prefix {
        Some(text) => {
            let vocabulary = characters(&loaded.schema)
                .ok_or_else(|| Failure::request("--prefix is for models of text by characters"))?;
            vocabulary.encode(text).or_request()?
        }
        None => Vec::new(),
    };
    let Some(path) = &args.weak else { return Ok((loaded, prefix)) };
    if args.guidance == 1.0 {
        return Err(Failure::request("--weak does nothing at --guidance 1: set it above 1"));
    }
    let weak = load::load(path, WeightSet::Ema, &loaded.device).or_request()?;
    Ok((loaded.guided_by(weak).or_request()?, prefix))
}
