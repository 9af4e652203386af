//! Errors as exceptions of the package, which are classes of `pushforward.errors`.

use pyo3::prelude::*;
use pyo3::types::PyType;

/// An exception of a class in `pushforward.errors`.
fn named(class: &str, message: String) -> PyErr {
    Python::attach(|py| {
        let class = py.import("pushforward.errors").and_then(|module| module.getattr(class));
        match class.and_then(|class| Ok(class.cast_into::<PyType>()?)) {
            Ok(class) => PyErr::from_type(class, message),
            Err(error) => error,
        }
    })
}

/// What is asked for does not fit the model or the data.
pub(crate) fn request(error: impl std::fmt::Display) -> PyErr {
    named("RequestError", error.to_string())
}

/// A model cannot be loaded.
pub(crate) fn loading(error: impl std::fmt::Display) -> PyErr {
    named("LoadError", error.to_string())
}

/// A training failed.
pub(crate) fn training(error: impl std::fmt::Display) -> PyErr {
    named("TrainingError", error.to_string())
}
