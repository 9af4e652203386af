//! Runs: where recipe, data and family meet. Recipes are read and checked, models trained, saved, loaded, sampled and measured.
//!
//! ```text
//! Recipe::parse -> Data::load -> train(recipe, data, options, on_event) -> Trained { loaded, .. }
//!                                                      load(checkpoint) -> Loaded<Model> -> flow_map | aef | classifier
//! Loaded<TrainedFlowMap> -> sample | steer | bound | evaluate -> Report
//! Loaded<TrainedAef>     -> draw | log_densities | evaluate_images -> Report
//! ```
//!
//! This room and [`reward`](crate::reward) are the only ones that name several families. A recipe spells the built-in parts; data, networks,
//! losses and metrics of your own are handed to the same functions (the `examples` of the crate show one each).

mod check;
mod data;
pub mod evaluate;
mod held_out;
mod load;
mod model;
mod recipe;
mod resume;
mod train;
mod trained;

pub use self::check::{check, image_schema, image_shape, site_shape};
pub use self::data::Data;
pub use self::held_out::{items, labels_of};
pub use self::load::{LoadError, SCHEMA_KEY, WeightSet, checkpoint_file, load};
pub use self::model::{Loaded, Model, RunInfo, WrongFamily};
pub use self::recipe::{EvalConfig, ModelConfig, Recipe, RecipeError};
pub use self::resume::{ResumeError, resume};
pub use self::train::{Event, Preview, TrainOptions, TrainRunError, Trained, train};
pub use self::trained::{RequestError, SteerFailure, TrainedAef, TrainedClassifier, TrainedFlowMap, preview_request};
