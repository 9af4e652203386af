//! Shapes, selections and comparisons.

use burn::tensor::IndexingUpdateOp;
use burn_ir::{BaseOperationIr, CastOpIr, ScalarIr, ScalarOpIr, SliceOpIr, TensorIr};

use super::super::builder::{Builder, element_of};
use super::super::error::OnnxError;
use super::super::proto::Attribute;
use super::super::record::Dim;

pub(super) fn lower(graph: &mut Builder<'_>, op: &BaseOperationIr) -> Result<bool, OnnxError> {
    match op {
        BaseOperationIr::Reshape(op) => {
            let x = graph.name(&op.input)?;
            let dims = graph.dims(&op.out);
            let growing = dims.iter().filter(|dim| matches!(dim, Dim::Batch(_))).count();
            let shape = if growing == 1 {
                // The only size that is not known follows from the others.
                let sizes = dims.iter().map(|dim| if let Dim::Fixed(n) = dim { *n as i64 } else { -1 });
                graph.integers(&sizes.collect::<Vec<_>>())
            } else {
                graph.shape(dims)
            };
            graph.emit("Reshape", vec![x, shape], Vec::new(), &op.out)?;
        }
        BaseOperationIr::Expand(op) => {
            let (x, dims) = (graph.name(&op.input)?, graph.dims(&op.out));
            let shape = graph.shape(dims);
            graph.emit("Expand", vec![x, shape], Vec::new(), &op.out)?;
        }
        BaseOperationIr::SwapDims(op) => {
            let mut axes: Vec<usize> = (0..op.input.shape.len()).collect();
            axes.swap(op.dim1, op.dim2);
            transpose(graph, &op.input, axes, &op.out)?;
        }
        BaseOperationIr::Permute(op) => transpose(graph, &op.input, op.axes.clone(), &op.out)?,
        BaseOperationIr::Flip(op) => {
            let x = graph.name(&op.input)?;
            let many = |value: i64| vec![value; op.axes.len()];
            let axes: Vec<i64> = op.axes.iter().map(|&axis| axis as i64).collect();
            let rows = [many(-1), many(i64::MIN + 1), axes, many(-1)].map(|row| graph.integers(&row));
            graph.emit("Slice", [vec![x], rows.to_vec()].concat(), Vec::new(), &op.out)?;
        }
        BaseOperationIr::Slice(op) => slice(graph, op)?,
        BaseOperationIr::Select(op) => {
            let inputs = vec![graph.name(&op.tensor)?, graph.name(&op.indices)?];
            graph.emit("Gather", inputs, vec![Attribute::int("axis", op.dim as i64)], &op.out)?;
        }
        BaseOperationIr::Gather(op) => {
            let inputs = vec![graph.name(&op.tensor)?, graph.name(&op.indices)?];
            graph.emit("GatherElements", inputs, vec![Attribute::int("axis", op.dim as i64)], &op.out)?;
        }
        BaseOperationIr::Scatter(op) => {
            let reduction = match op.update {
                IndexingUpdateOp::Assign => "none",
                IndexingUpdateOp::Add => "add",
                _ => return Ok(false),
            };
            let inputs = vec![graph.name(&op.tensor)?, graph.name(&op.indices)?, graph.name(&op.value)?];
            let attributes = vec![Attribute::int("axis", op.dim as i64), Attribute::word("reduction", reduction)];
            graph.emit("ScatterElements", inputs, attributes, &op.out)?;
        }
        BaseOperationIr::MaskWhere(op) => {
            let inputs = vec![graph.name(&op.mask)?, graph.name(&op.value)?, graph.name(&op.tensor)?];
            graph.emit("Where", inputs, Vec::new(), &op.out)?;
        }
        BaseOperationIr::MaskFill(op) => {
            let fill = graph.scalar(op.value, op.tensor.dtype)?;
            let inputs = vec![graph.name(&op.mask)?, fill, graph.name(&op.tensor)?];
            graph.emit("Where", inputs, Vec::new(), &op.out)?;
        }
        BaseOperationIr::Equal(op) => {
            let inputs = vec![graph.name(&op.lhs)?, graph.name(&op.rhs)?];
            graph.emit("Equal", inputs, Vec::new(), &op.out)?;
        }
        BaseOperationIr::EqualElem(op) => compare(graph, "Equal", op)?,
        BaseOperationIr::NotEqualElem(op) => {
            let (x, number) = (graph.name(&op.lhs)?, graph.scalar(op.rhs, op.lhs.dtype)?);
            let equal = graph.node("Equal", [x, number], []);
            graph.emit("Not", vec![equal], Vec::new(), &op.out)?;
        }
        BaseOperationIr::RepeatDim(op) => {
            let mut times = vec![1; op.tensor.shape.len()];
            times[op.dim] = op.times as i64;
            let inputs = vec![graph.name(&op.tensor)?, graph.integers(&times)];
            graph.emit("Tile", inputs, Vec::new(), &op.out)?;
        }
        BaseOperationIr::Cat(op) => {
            let inputs = op.tensors.iter().map(|x| graph.name(x)).collect::<Result<_, _>>()?;
            graph.emit("Concat", inputs, vec![Attribute::int("axis", op.dim as i64)], &op.out)?;
        }
        BaseOperationIr::Cast(op) => return cast(graph, op),
        BaseOperationIr::Ones(op) => full(graph, ScalarIr::Int(1), &op.out)?,
        BaseOperationIr::Zeros(op) | BaseOperationIr::Empty(op) => full(graph, ScalarIr::Int(0), &op.out)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// A tensor of equal numbers.
pub(super) fn full(graph: &mut Builder<'_>, value: ScalarIr, out: &TensorIr) -> Result<(), OnnxError> {
    let (number, dims) = (graph.scalar(value, out.dtype)?, graph.dims(out));
    let shape = graph.shape(dims);
    graph.emit("Expand", vec![number, shape], Vec::new(), out)
}

/// A change of the element type.
pub(super) fn cast(graph: &mut Builder<'_>, op: &CastOpIr) -> Result<bool, OnnxError> {
    let (x, to) = (graph.name(&op.input)?, element_of(op.out.dtype)?);
    graph.emit("Cast", vec![x], vec![Attribute::int("to", i64::from(to))], &op.out)?;
    Ok(true)
}

/// A comparison with a number.
pub(super) fn compare(graph: &mut Builder<'_>, name: &str, op: &ScalarOpIr) -> Result<(), OnnxError> {
    let inputs = vec![graph.name(&op.lhs)?, graph.scalar(op.rhs, op.lhs.dtype)?];
    graph.emit(name, inputs, Vec::new(), &op.out)
}

fn transpose(graph: &mut Builder<'_>, x: &TensorIr, axes: Vec<usize>, out: &TensorIr) -> Result<(), OnnxError> {
    let x = graph.name(x)?;
    graph.emit("Transpose", vec![x], vec![Attribute::ints("perm", axes)], out)
}

fn slice(graph: &mut Builder<'_>, op: &SliceOpIr) -> Result<(), OnnxError> {
    let x = graph.name(&op.tensor)?;
    let (before, after) = (graph.dims(&op.tensor), graph.dims(&op.out));
    let [mut starts, mut ends, mut axes, mut steps] = [const { Vec::new() }; 4];
    for (axis, range) in op.ranges.iter().enumerate() {
        let whole = range.start == 0 && range.step == 1 && before[axis] == after[axis];
        if whole {
            continue;
        }
        if matches!(after[axis], Dim::Batch(_)) {
            return Err(OnnxError::Batch(format!("axis {axis}, which grows with it, is cut")));
        }
        starts.push(range.start as i64);
        ends.push(range.end.map_or(i64::MAX, |end| end as i64));
        axes.push(axis as i64);
        steps.push(range.step as i64);
    }
    if axes.is_empty() {
        return graph.emit("Identity", vec![x], Vec::new(), &op.out);
    }
    let rows = [starts, ends, axes, steps].map(|row| graph.integers(&row));
    graph.emit("Slice", [vec![x], rows.to_vec()].concat(), Vec::new(), &op.out)
}
