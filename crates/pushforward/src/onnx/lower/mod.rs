//! From burn's operations to those of ONNX.

mod base;
mod layers;
mod numeric;

use burn_ir::{BoolOperationIr, FloatOperationIr, IntOperationIr, OperationIr};

use super::builder::Builder;
use super::error::OnnxError;
use super::record::title;

/// Adds an operation to a graph.
///
/// # Errors
/// If there is no translation of it.
pub(super) fn lower(graph: &mut Builder<'_>, operation: &OperationIr) -> Result<(), OnnxError> {
    let done = match operation {
        // The values of constants are known.
        OperationIr::Init(_) | OperationIr::Drop(_) => true,
        OperationIr::BaseFloat(op) | OperationIr::BaseInt(op) | OperationIr::BaseBool(op) => base::lower(graph, op)?,
        OperationIr::NumericFloat(_, op) | OperationIr::NumericInt(_, op) => numeric::lower(graph, op)?,
        OperationIr::Float(_, op) => float(graph, op)?,
        OperationIr::Int(op) => int(graph, op)?,
        OperationIr::Bool(op) => bool(graph, op)?,
        OperationIr::Module(op) => layers::lower(graph, op)?,
        OperationIr::Activation(op) => layers::activation(graph, op)?,
        OperationIr::Custom(_) | OperationIr::Distributed(_) => false,
    };
    if done { Ok(()) } else { Err(OnnxError::Unsupported(format!("the operation {}", title(operation)))) }
}

fn float(graph: &mut Builder<'_>, op: &FloatOperationIr) -> Result<bool, OnnxError> {
    let (name, op) = match op {
        FloatOperationIr::Exp(op) => ("Exp", op),
        FloatOperationIr::Log(op) => ("Log", op),
        FloatOperationIr::Erf(op) => ("Erf", op),
        FloatOperationIr::Sqrt(op) => ("Sqrt", op),
        FloatOperationIr::Cos(op) => ("Cos", op),
        FloatOperationIr::Sin(op) => ("Sin", op),
        FloatOperationIr::Tanh(op) => ("Tanh", op),
        FloatOperationIr::Floor(op) => ("Floor", op),
        FloatOperationIr::Ceil(op) => ("Ceil", op),
        FloatOperationIr::Recip(op) => ("Reciprocal", op),
        FloatOperationIr::IsNan(op) => ("IsNaN", op),
        FloatOperationIr::IsInf(op) => ("IsInf", op),
        FloatOperationIr::Log1p(op) => {
            let x = graph.name(&op.input)?;
            let one = graph.scalar(burn_ir::ScalarIr::Float(1.0), op.input.dtype)?;
            let sum = graph.node("Add", [x, one], []);
            graph.emit("Log", vec![sum], Vec::new(), &op.out)?;
            return Ok(true);
        }
        FloatOperationIr::PowfScalar(op) => {
            let (x, power) = (graph.name(&op.lhs)?, graph.scalar(op.rhs, op.lhs.dtype)?);
            graph.emit("Pow", vec![x, power], Vec::new(), &op.out)?;
            return Ok(true);
        }
        FloatOperationIr::Powf(op) => {
            let inputs = vec![graph.name(&op.lhs)?, graph.name(&op.rhs)?];
            graph.emit("Pow", inputs, Vec::new(), &op.out)?;
            return Ok(true);
        }
        FloatOperationIr::Matmul(op) => {
            let inputs = vec![graph.name(&op.lhs)?, graph.name(&op.rhs)?];
            graph.emit_product("MatMul", inputs, Vec::new(), &op.out)?;
            return Ok(true);
        }
        FloatOperationIr::IntoInt(op) => return base::cast(graph, op),
        _ => return Ok(false),
    };
    let x = graph.name(&op.input)?;
    graph.emit(name, vec![x], Vec::new(), &op.out)?;
    Ok(true)
}

fn int(graph: &mut Builder<'_>, op: &IntOperationIr) -> Result<bool, OnnxError> {
    match op {
        IntOperationIr::IntoFloat(op) => base::cast(graph, op),
        _ => Ok(false),
    }
}

fn bool(graph: &mut Builder<'_>, op: &BoolOperationIr) -> Result<bool, OnnxError> {
    let (name, op) = match op {
        BoolOperationIr::IntoFloat(op) | BoolOperationIr::IntoInt(op) => return base::cast(graph, op),
        BoolOperationIr::Not(op) => {
            let x = graph.name(&op.input)?;
            graph.emit("Not", vec![x], Vec::new(), &op.out)?;
            return Ok(true);
        }
        BoolOperationIr::And(op) => ("And", op),
        BoolOperationIr::Or(op) => ("Or", op),
        BoolOperationIr::Xor(op) => ("Xor", op),
    };
    let inputs = vec![graph.name(&op.lhs)?, graph.name(&op.rhs)?];
    graph.emit(name, inputs, Vec::new(), &op.out)?;
    Ok(true)
}
