//! Rewards written in Python.

use std::sync::Mutex;

use pushforward::flow_map::steer::{Reward, RewardError};
use pyo3::prelude::*;

use crate::arrays;
use crate::items::to_python;

/// A function from the bytes of items to a list of one number an item.
pub(crate) struct Function {
    function: Py<PyAny>,
    strength: f64,
    raised: Mutex<Option<PyErr>>,
}

impl Function {
    pub(crate) fn new(function: Py<PyAny>, strength: f64) -> Self {
        Self { function, strength, raised: Mutex::new(None) }
    }

    /// The exception that the function raised, if it did.
    pub(crate) fn raised(&self) -> Option<PyErr> {
        self.raised.lock().ok()?.take()
    }

    fn call(&self, py: Python<'_>, ids: &[u32]) -> PyResult<Vec<f64>> {
        self.function.call1(py, (arrays::integers(py, &to_python(ids))?,))?.extract(py)
    }
}

impl Reward for Function {
    fn score(&self, ids: &[u32]) -> Result<Vec<f64>, RewardError> {
        Python::attach(|py| match self.call(py, ids) {
            Ok(values) => Ok(values.into_iter().map(|value| value * self.strength).collect()),
            Err(error) => {
                let message = error.to_string();
                if let Ok(mut raised) = self.raised.lock() {
                    *raised = Some(error);
                }
                Err(RewardError::Failed(message))
            }
        })
    }
}
