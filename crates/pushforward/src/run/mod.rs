//! Runs: recipe, data and model family together. Reads and checks recipes, trains, saves and loads models, draws and
//! evaluates samples.
//!
//! ```text
//! Recipe::parse -> Data::load -> train(recipe, data, options, on_event) -> Trained { loaded, .. }
//!                                                      load(checkpoint) -> Loaded<Model> -> flow_map | aef | categorical_aef | classifier
//! Loaded<TrainedFlowMap> -> sample | steer | bound | evaluate -> Report
//! Loaded<TrainedAef>     -> draw | log_densities | evaluate_images -> Report
//! ```
//!
//! This module and [`reward`](crate::reward) are the only ones that name several families. A recipe names the built-in
//! parts; data, networks, losses and metrics of your own go through the same functions (the `examples` of the crate
//! show one each).
//!
//! # Examples
//! A checkpoint holds everything that its model needs: the loaded model draws the samples of the trained one, number by
//! number.
//! ```
//! use std::{ops::ControlFlow, path::Path};
//! use pushforward::prelude::*;
//! use pushforward::run::{WeightSet, load};
//!
//! let text = "
//!     name = 'tiny'
//!     data = { set = 'echo' }
//!     model = { family = 'flow-map', network = { kind = 'mlp', width = 8 } }
//! ";
//! let recipe: Recipe = Recipe::parse(text, "tiny", &["train.steps=1".into()])?;
//! let data = Data::load(&recipe, Path::new("not read: this set is synthetic"))?;
//! let (folder, device) = (tempfile::tempdir()?, Device::flex());
//! let options = TrainOptions { folder: Some(folder.path().into()), ..TrainOptions::new(device.clone()) };
//! let trained = train(&recipe, &data, options, &mut |_| ControlFlow::Continue(()))?.loaded.flow_map("compare")?;
//!
//! let loaded = load::<NetworkConfig>(folder.path(), WeightSet::Ema, &device)?.flow_map("compare")?;
//! let request = SampleRequest::map(3, 2, 0);
//! let sample = |model: &Loaded<TrainedFlowMap>| model.model.sample(&request, &mut |_| true);
//! assert_eq!(sample(&loaded)?.endpoints, sample(&trained)?.endpoints);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod calibrate;
mod check;
mod data;
pub mod evaluate;
mod grids;
mod held_out;
mod load;
mod margins;
mod memory;
mod model;
mod overrides;
mod pack;
mod preview;
mod recipe;
mod resume;
mod role;
mod same_data;
mod seed;
mod spread;
mod stored;
mod train;
mod trained;

pub use self::calibrate::keep_calibration;
pub use self::check::{check, image_schema, image_shape, site_shape};
pub use self::data::Data;
pub use self::grids::{FittedGrid, keep_grids};
pub use self::held_out::items;
pub use self::load::{WeightSet, checkpoint_file, load, load_bytes};
pub use self::margins::{FittedMargins, keep_margins};
pub use self::memory::{Need, NotEnoughMemory};
pub use self::model::{Loaded, Model, RunInfo, WrongFamily};
pub use self::pack::pack;
pub use self::preview::Preview;
pub use self::recipe::{EvalConfig, ModelConfig, Recipe, RecipeError, with_overrides};
pub use self::resume::{ResumeError, resume};
pub use self::role::Role;
pub use self::same_data::OtherData;
pub use self::spread::{Spread, drawn_together, own_items};
pub use self::stored::{LoadError, ROLE_KEY, SCHEMA_KEY, Stored};
pub use self::train::{Event, TrainOptions, TrainRunError, Trained, train};
pub use self::trained::{
    Conditional, RequestError, SteerFailure, Steers, TrainedAef, TrainedCategoricalAef, TrainedClassifier,
    TrainedFlowMap, preview_request, without_missing,
};
