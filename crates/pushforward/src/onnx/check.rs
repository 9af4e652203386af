//! A file run by another runtime, tract, and compared with the model.

use burn::tensor::{DType, TensorData};
use tract_onnx::prelude::*;

use super::error::OnnxError;
use super::numbers::Numbers;
use super::tape::{ITEMS, Trial};

/// The largest difference of a number, relative to it or to 1, and the share of numbers that may differ more.
const EXACT: (f64, f64) = (1e-4, 0.0);
/// The same where products are of half precision.
const COARSE: (f64, f64) = (0.02, 0.1);

/// What came of running a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Check {
    /// All outputs are the model's.
    Equal {
        /// Items that were computed.
        items: usize,
        /// The largest difference of a number that counts as equal, relative to it or to 1.
        difference: f64,
        /// The share of numbers that are not; zero unless products are of half precision.
        apart: f64,
    },
    /// The other runtime cannot run the file; why not.
    NotRun(String),
}

/// Compares what `tract` computes with what the model did.
pub(super) fn check(bytes: &[u8], numbers: Numbers, trial: &Trial) -> Result<Check, OnnxError> {
    let found = match run(bytes, trial) {
        Ok(found) => found,
        Err(error) => {
            let causes: Vec<String> = error.chain().map(|cause| cause.to_string().replace('\n', " ")).collect();
            return Ok(Check::NotRun(causes.join(": ")));
        }
    };
    let (most, share) = if numbers == Numbers::Mixed { COARSE } else { EXACT };
    let (mut difference, mut largest): (f64, f64) = (0.0, 0.0);
    for ((name, ours), theirs) in trial.outputs.iter().zip(found) {
        let most = if ours.dtype().is_float() { most } else { 0.0 };
        let same_shape = ours.shape().iter().eq(theirs.shape().iter());
        if !same_shape {
            let shapes = format!("{:?} in place of {:?}", theirs.shape(), ours.shape());
            return Err(OnnxError::Differs(format!("\"{name}\" has the shape {shapes}")));
        }
        let numbers = theirs.cast_to::<f64>().and_then(|numbers| Ok(numbers.to_plain_array_view::<f64>()?.to_owned()));
        let numbers = match numbers {
            Ok(numbers) => numbers,
            Err(error) => return Ok(Check::NotRun(error.to_string())),
        };
        let (mut apart, count) = (0, numbers.len().max(1) as f64);
        for (a, &b) in ours.iter::<f64>().zip(&numbers) {
            let far = if a == b { 0.0 } else { (a - b).abs() / a.abs().max(1.0) };
            if far <= most {
                difference = difference.max(far);
                continue;
            }
            apart += 1;
            if f64::from(apart) > share * count {
                return Err(OnnxError::Differs(format!("\"{name}\" has {b} where the model has {a}")));
            }
        }
        largest = largest.max(f64::from(apart) / count);
    }
    Ok(Check::Equal { items: ITEMS, difference, apart: largest })
}

fn run(bytes: &[u8], trial: &Trial) -> TractResult<TVec<TValue>> {
    let mut model = tract_onnx::onnx().model_for_read(&mut &bytes[..])?;
    let mut inputs = TVec::new();
    for (place, (_, data)) in trial.inputs.iter().enumerate() {
        let input = tensor(data)?;
        model.set_input_fact(place, InferenceFact::dt_shape(input.datum_type(), input.shape()))?;
        inputs.push(input.into_tvalue());
    }
    model.into_optimized()?.into_runnable()?.run(inputs)
}

fn tensor(data: &TensorData) -> TractResult<Tensor> {
    let shape: Vec<usize> = data.shape().to_vec();
    match data.dtype() {
        DType::I64 => Tensor::from_shape(&shape, &data.iter::<i64>().collect::<Vec<_>>()),
        _ => Tensor::from_shape(&shape, &data.iter::<f32>().collect::<Vec<_>>()),
    }
}
