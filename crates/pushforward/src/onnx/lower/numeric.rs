//! Arithmetic, comparisons and sums.

use burn_ir::{BinaryOpIr, NumericOperationIr, ReduceDimOpIr, ReduceOpIr, ScalarIr, ScalarOpIr, TensorIr};

use super::super::builder::{Builder, element_of};
use super::super::error::OnnxError;
use super::super::proto::Attribute;
use super::base::{compare, full};

pub(super) fn lower(graph: &mut Builder<'_>, op: &NumericOperationIr) -> Result<bool, OnnxError> {
    match op {
        NumericOperationIr::Add(op) => binary(graph, "Add", op)?,
        NumericOperationIr::Sub(op) => binary(graph, "Sub", op)?,
        NumericOperationIr::Mul(op) => binary(graph, "Mul", op)?,
        NumericOperationIr::Div(op) => binary(graph, "Div", op)?,
        NumericOperationIr::Powi(op) => binary(graph, "Pow", op)?,
        NumericOperationIr::Greater(op) => binary(graph, "Greater", op)?,
        NumericOperationIr::GreaterEqual(op) => binary(graph, "GreaterOrEqual", op)?,
        NumericOperationIr::Lower(op) => binary(graph, "Less", op)?,
        NumericOperationIr::LowerEqual(op) => binary(graph, "LessOrEqual", op)?,
        NumericOperationIr::AddScalar(op) => scalar(graph, "Add", op)?,
        NumericOperationIr::SubScalar(op) => scalar(graph, "Sub", op)?,
        NumericOperationIr::MulScalar(op) => scalar(graph, "Mul", op)?,
        NumericOperationIr::DivScalar(op) => scalar(graph, "Div", op)?,
        NumericOperationIr::PowiScalar(op) => scalar(graph, "Pow", op)?,
        NumericOperationIr::ClampMin(op) => scalar(graph, "Max", op)?,
        NumericOperationIr::ClampMax(op) => scalar(graph, "Min", op)?,
        NumericOperationIr::GreaterElem(op) => compare(graph, "Greater", op)?,
        NumericOperationIr::GreaterEqualElem(op) => compare(graph, "GreaterOrEqual", op)?,
        NumericOperationIr::LowerElem(op) => compare(graph, "Less", op)?,
        NumericOperationIr::LowerEqualElem(op) => compare(graph, "LessOrEqual", op)?,
        NumericOperationIr::Clamp(op) => {
            let (x, dtype) = (graph.name(&op.tensor)?, op.tensor.dtype);
            let (least, most) = (graph.scalar(op.min, dtype)?, graph.scalar(op.max, dtype)?);
            let raised = graph.node("Max", [x, least], []);
            graph.emit("Min", vec![raised, most], Vec::new(), &op.out)?;
        }
        NumericOperationIr::Neg(op) => unary(graph, "Neg", &op.input, &op.out)?,
        NumericOperationIr::Abs(op) => unary(graph, "Abs", &op.input, &op.out)?,
        NumericOperationIr::Sign(op) => unary(graph, "Sign", &op.input, &op.out)?,
        NumericOperationIr::Full(op) => full(graph, op.value, &op.out)?,
        NumericOperationIr::SumDim(op) => sum_dim(graph, op)?,
        NumericOperationIr::MeanDim(op) => reduce_dim(graph, "ReduceMean", op)?,
        NumericOperationIr::MaxDim(op) => reduce_dim(graph, "ReduceMax", op)?,
        NumericOperationIr::MinDim(op) => reduce_dim(graph, "ReduceMin", op)?,
        NumericOperationIr::ProdDim(op) => reduce_dim(graph, "ReduceProd", op)?,
        NumericOperationIr::ArgMax(op) => arg(graph, "ArgMax", op)?,
        NumericOperationIr::ArgMin(op) => arg(graph, "ArgMin", op)?,
        NumericOperationIr::Sum(op) => reduce(graph, "ReduceSum", op)?,
        NumericOperationIr::Mean(op) => reduce(graph, "ReduceMean", op)?,
        NumericOperationIr::CumSum(op) => {
            let axis = graph.scalar(ScalarIr::Int(op.axis as i64), burn::tensor::DType::I64)?;
            let x = graph.name(&op.input)?;
            graph.emit("CumSum", vec![x, axis], Vec::new(), &op.out)?;
        }
        NumericOperationIr::ArgSort(op) => {
            let (x, axis) = (graph.name(&op.input)?, op.dim);
            let length = graph.integers(&[op.input.shape[axis] as i64]);
            let order = [Attribute::int("largest", i64::from(op.descending)), Attribute::int("sorted", 1)];
            let attributes = [vec![Attribute::int("axis", axis as i64)], order.to_vec()].concat();
            let places = graph.second("TopK", vec![x, length], attributes);
            cast_to(graph, places, &op.out)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn unary(graph: &mut Builder<'_>, name: &str, x: &TensorIr, out: &TensorIr) -> Result<(), OnnxError> {
    let x = graph.name(x)?;
    graph.emit(name, vec![x], Vec::new(), out)
}

fn binary(graph: &mut Builder<'_>, name: &str, op: &BinaryOpIr) -> Result<(), OnnxError> {
    let inputs = vec![graph.name(&op.lhs)?, graph.name(&op.rhs)?];
    graph.emit(name, inputs, Vec::new(), &op.out)
}

fn scalar(graph: &mut Builder<'_>, name: &str, op: &ScalarOpIr) -> Result<(), OnnxError> {
    let inputs = vec![graph.name(&op.lhs)?, graph.scalar(op.rhs, op.lhs.dtype)?];
    graph.emit(name, inputs, Vec::new(), &op.out)
}

fn sum_dim(graph: &mut Builder<'_>, op: &ReduceDimOpIr) -> Result<(), OnnxError> {
    let inputs = vec![graph.name(&op.input)?, graph.integers(&[op.axis as i64])];
    graph.emit("ReduceSum", inputs, vec![Attribute::int("keepdims", 1)], &op.out)
}

fn reduce_dim(graph: &mut Builder<'_>, name: &str, op: &ReduceDimOpIr) -> Result<(), OnnxError> {
    let x = graph.name(&op.input)?;
    graph.emit(name, vec![x], vec![Attribute::ints("axes", [op.axis]), Attribute::int("keepdims", 1)], &op.out)
}

/// The place of an extreme: the first one, as everywhere.
fn arg(graph: &mut Builder<'_>, name: &str, op: &ReduceDimOpIr) -> Result<(), OnnxError> {
    let x = graph.name(&op.input)?;
    let attributes = [Attribute::int("axis", op.axis as i64), Attribute::int("keepdims", 1)];
    let place = graph.node(name, [x], attributes);
    cast_to(graph, place, &op.out)
}

fn cast_to(graph: &mut Builder<'_>, x: String, out: &TensorIr) -> Result<(), OnnxError> {
    let to = element_of(out.dtype)?;
    graph.emit("Cast", vec![x], vec![Attribute::int("to", i64::from(to))], out)
}

/// Over all elements, to a row of one.
fn reduce(graph: &mut Builder<'_>, name: &str, op: &ReduceOpIr) -> Result<(), OnnxError> {
    let (x, one) = (graph.name(&op.input)?, graph.integers(&[1]));
    let number = graph.node(name, [x], [Attribute::int("keepdims", 0)]);
    graph.emit("Reshape", vec![number, one], Vec::new(), &op.out)
}
