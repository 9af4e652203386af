//! The native part of the Python package `pushforward`: models and training, with arrays for everything. What is
//! convenient in Python, tables, pictures and defaults, is written in Python.

mod arrays;
#[path = "../../pushforward-cli/src/models/embedded.rs"]
mod embedded;
mod failure;
mod flow;
mod interpreter;
mod items;
mod model;
#[path = "../../pushforward-cli/src/presets/named.rs"]
mod named;
mod settings;
mod steer;
mod train;
mod weights;

use pyo3::prelude::*;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The module `pushforward._native`.
#[pymodule]
mod _native {
    #[pymodule_export]
    use super::flow::Flow;
    #[pymodule_export]
    use super::model::{Model, load};
    #[pymodule_export]
    use super::presets;
    #[pymodule_export]
    use super::train::{setting, train};
    #[pymodule_export]
    use super::version;
}

/// The recipes that come along, name and text.
#[pyfunction]
fn presets() -> Vec<(&'static str, &'static str)> {
    named::PRESETS.to_vec()
}

/// Version of the package.
#[pyfunction]
fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}
