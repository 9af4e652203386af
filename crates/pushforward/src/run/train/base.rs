//! The finished autoencoder that a second stage is built on.

use std::path::Path;

use burn::tensor::Device;

use crate::data::Schema;
use crate::flow_map::network::NetworkConfig;
use crate::run::load::{WeightSet, load};
use crate::run::model::Model;
use crate::run::train::error::TrainRunError;

/// The averaged weights of a run of data with this schema, on `device`.
pub(super) fn load_base(path: &str, schema: &Schema, device: &Device) -> Result<Model, TrainRunError> {
    let loaded = load::<NetworkConfig>(Path::new(path), WeightSet::Ema, device)?;
    if loaded.run.schema != *schema {
        return Err(TrainRunError::BaseData(loaded.run.path));
    }
    Ok(loaded.model)
}

/// The error of a run with other settings.
pub(super) fn other(path: &str, what: &'static str) -> TrainRunError {
    TrainRunError::BaseModel { path: path.into(), what }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;

    use super::*;
    use crate::params;
    use crate::run::{Data, Recipe, TrainOptions, resume, train};

    const ITEMS: &str = "name = 'x'\ndata = { set = 'echo' }\nmodel = { family = 'categorical-aef', latent = 3, \
                         network = { kind = 'mlp', width = 6, layers = 1 }, prior = { kind = 'maf', layers = 1, hidden = 4 } }\n\
                         train = { steps = 2, batch = 4 }";
    const IMAGES: &str = "name = 'x'\ndata = { set = 'glyphs', examples = 40 }\nmodel = { family = 'aef', variant = 'learned-core', \
                          latent = 3, network = { kind = 'mlp', width = 6, layers = 1 }, core = { kind = 'none' }, \
                          prior = { kind = 'maf', layers = 1, hidden = 4 } }\ntrain = { steps = 2, batch = 4 }";

    fn run(text: &str, overrides: &[String], folder: &Path) -> Result<params::StateDict, TrainRunError> {
        let recipe: Recipe = Recipe::parse(text, "x", overrides).expect("the recipe is right");
        let data = Data::load(&recipe, Path::new("unused")).expect("the set is made");
        let options = TrainOptions { folder: Some(folder.into()), ..TrainOptions::new(Device::flex()) };
        Ok(weights(&train(&recipe, &data, options, &mut |_| ControlFlow::Continue(()))?.loaded.model))
    }

    fn weights(model: &Model) -> params::StateDict {
        match model {
            Model::Aef(model) => params::collect(&model.net),
            Model::CategoricalAef(model) => params::collect(&model.net),
            _ => unreachable!("these are autoencoders"),
        }
        .into_iter()
        .collect()
    }

    #[test]
    fn a_second_stage_trains_what_it_adds_and_nothing_else() {
        let prior = "model.prior={ kind = 'flow-map', network = { width = 6, blocks = 1, time_width = 4 } }";
        let coupling = "model.coupling={ network = { kind = 'mlp', width = 5, layers = 1 } }";
        for (text, added, parts) in [
            (ITEMS, prior, ["prior", "map"]),
            (ITEMS, coupling, ["coupling", "coupling"]),
            (IMAGES, prior, ["Partition.prior", "Partition.map"]),
            (&IMAGES.replace("learned-core", "noise"), prior, ["Latent.prior", "Latent.map"]),
        ] {
            let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
            let base = run(text, &[], folders[0].path()).unwrap();
            let from = format!("model.from={}", folders[0].path().display());
            let second = run(text, &[from.clone(), added.into()], folders[1].path()).unwrap();
            let kept = |weights: &params::StateDict| -> params::StateDict {
                let of_the_rest = |name: &String| !parts.iter().any(|part| name.starts_with(&format!("{part}.")));
                weights.iter().filter(|(name, _)| of_the_rest(name)).map(|(k, v)| (k.clone(), v.clone())).collect()
            };
            assert_eq!(kept(&base), kept(&second), "{added}");
            assert!(second.keys().any(|name| name.starts_with(parts[1])), "{:?}", second.keys());
            // What is added has moved, and a resumed run keeps the rest too.
            let folder = folders[1].path();
            let (recipe, state) = resume(folder, &["train.steps=4".into()]).unwrap();
            let data = Data::load(&recipe, Path::new("unused")).unwrap();
            let options = TrainOptions { resume: Some(state), ..TrainOptions::new(Device::flex()) };
            let on = weights(&train(&recipe, &data, options, &mut |_| ControlFlow::Continue(())).unwrap().loaded.model);
            assert_eq!(kept(&base), kept(&on), "{added}");
            assert_ne!(second, on, "{added}");
            let other = tempfile::tempdir().unwrap();
            let refused = run(text, &[from, added.into(), "model.latent=2".into()], &other.path().join("new"));
            assert!(matches!(refused, Err(TrainRunError::BaseModel { .. })), "{added}: {refused:?}");
        }
    }
}
