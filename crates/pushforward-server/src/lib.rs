//! Trained models over HTTP: samples, steering, scores and codes as JSON, pictures, or events, and a page to play with.
//!
//! ```text
//! program -> serve(models, items, settings)
//!   this thread     engine::run: owns the models, computes requests of equal settings in one batch
//!   other threads   http::router: reads and checks requests, formats answers
//! ```
//!
//! A request waits in a bounded queue; where that is full the answer is 503 at once. Noise belongs to the seed and the
//! index of an item, so that an answer does not depend on the requests that shared its batch. What items look like in
//! JSON and as pictures, and how constraints are spelled, is [`Items`], which the program implements: it is what its
//! other commands do.

mod body;
mod engine;
mod http;
mod items;
mod metrics;
mod openapi;
mod page;
mod serve;
mod settings;

pub use self::body::{Constraints, Method, SamplerName};
pub use self::items::{Constrained, Items, ToldRow};
pub use self::serve::{ServeError, Served, serve};
pub use self::settings::{Limits, Settings};
