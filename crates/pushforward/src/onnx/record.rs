//! Recordings of what a model computes, as burn's operations.
//!
//! A model is run on burn's recording device, which keeps operations instead of computing them, and where `nn` takes
//! its composed forms in place of fused kernels. It is recorded with two batch sizes: sizes that differ are multiples
//! of the batch, and everything else must be the same.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{DType, Device, TensorData, TensorId};
use burn_ir::{IrVisitorMut, OperationIr, TensorIr};

use super::error::OnnxError;
use super::tape::{Border, Tape};

/// The two batch sizes.
const BATCHES: [usize; 2] = [3, 5];

/// A size of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dim {
    /// The same for every batch.
    Fixed(usize),
    /// So many times the batch.
    Batch(usize),
}

impl Dim {
    fn of(sizes: [usize; 2]) -> Result<Self, OnnxError> {
        let [a, b] = sizes;
        let times = a / BATCHES[0];
        match a == b {
            true => Ok(Self::Fixed(a)),
            false if [a, b] == BATCHES.map(|batch| batch * times) => Ok(Self::Batch(times)),
            false => Err(OnnxError::Batch(format!("a size is {a} and {b} for batches of {BATCHES:?}"))),
        }
    }
}

/// A recorded computation for any batch.
#[derive(Debug)]
pub(super) struct Recording {
    /// In the order of computation, with the sizes of the smaller batch.
    pub(super) operations: Vec<OperationIr>,
    /// The constants; those that grow with the batch have one row per item, all equal.
    pub(super) values: BTreeMap<TensorId, TensorData>,
    pub(super) inputs: Vec<Border>,
    pub(super) outputs: Vec<Border>,
    /// Names of parameters.
    pub(super) names: HashMap<TensorId, String>,
    dims: HashMap<TensorId, Vec<Dim>>,
}

impl Recording {
    /// The shape of a tensor.
    pub(super) fn dims(&self, id: TensorId) -> &[Dim] {
        &self.dims[&id]
    }

    /// Element type of an input or output.
    pub(super) fn dtype(&self, border: &Border) -> DType {
        border.dtype
    }
}

/// Records a computation.
///
/// # Errors
/// If it depends on the batch in another way than by sizes, or reads results while it runs.
pub(super) fn record(compute: &dyn Fn(&mut Tape<'_>)) -> Result<Recording, OnnxError> {
    let once = |batch: usize| {
        let device = Device::capture();
        let mut tape = Tape::recording(&device, batch);
        let graph = device.capture_scope(|scope| {
            compute(&mut tape);
            let ids = |border: &[Border]| border.iter().map(|b| b.id).collect::<Vec<_>>();
            scope.complete(ids(&tape.inputs), ids(&tape.outputs))
        });
        let graph = graph.map_err(|error| OnnxError::Recording(error.to_string()))?;
        Ok::<_, OnnxError>((graph, tape.inputs, tape.outputs, tape.names))
    };
    let (small, inputs, mut outputs, names) = once(BATCHES[0])?;
    let (large, large_inputs, large_outputs, _) = once(BATCHES[1])?;
    let mut pairs = Pairs::default();
    let borders = inputs.iter().chain(&outputs).zip(large_inputs.iter().chain(&large_outputs));
    for (a, b) in borders {
        pairs.join(a.id, &a.shape, b.id, &b.shape)?;
    }
    if small.graph.operations.len() != large.graph.operations.len() {
        return Err(OnnxError::Batch("the number of operations depends on it".into()));
    }
    for (a, b) in small.graph.operations.iter().zip(&large.graph.operations) {
        pairs.join_operations(a, b)?;
    }
    // A tensor that the graph returns as it got it, or twice, is known by another number there.
    for (border, id) in outputs.iter_mut().zip(&small.graph.outputs) {
        border.id = *id;
    }
    let values = small.values.into_iter().filter(|(id, _)| pairs.dims.contains_key(id));
    let values = values
        .map(|(id, a)| Ok((id, pairs.constant(&a, &large.values[&pairs.other[&id]], id)?)))
        .collect::<Result<_, OnnxError>>()?;
    Ok(Recording { operations: small.graph.operations, values, inputs, outputs, names, dims: pairs.dims })
}

/// The name of an operation.
pub(super) fn title(operation: &OperationIr) -> String {
    let text = format!("{operation:?}");
    let end = text.find(" {").unwrap_or(text.len());
    let word = text[..end].rsplit('(').nth(1).unwrap_or(&text[..end]);
    word.rsplit(", ").next().unwrap_or(word).to_owned()
}

/// Tensors of the two recordings that correspond to each other.
#[derive(Default)]
struct Pairs {
    dims: HashMap<TensorId, Vec<Dim>>,
    other: HashMap<TensorId, TensorId>,
}

impl Pairs {
    fn join(&mut self, a: TensorId, shape_a: &[usize], b: TensorId, shape_b: &[usize]) -> Result<(), OnnxError> {
        let same = self.other.insert(a, b).is_none_or(|before| before == b);
        if !same || shape_a.len() != shape_b.len() {
            return Err(OnnxError::Batch("the operations depend on it".into()));
        }
        let dims = shape_a.iter().zip(shape_b).map(|(&a, &b)| Dim::of([a, b])).collect::<Result<_, _>>()?;
        self.dims.insert(a, dims);
        Ok(())
    }

    fn join_operations(&mut self, a: &OperationIr, b: &OperationIr) -> Result<(), OnnxError> {
        let (nodes_a, nodes_b) = (a.nodes(), b.nodes());
        if nodes_a.len() != nodes_b.len() {
            return Err(OnnxError::Batch("the operations depend on it".into()));
        }
        for (a, b) in nodes_a.into_iter().zip(nodes_b) {
            self.join(a.id, &a.shape, b.id, &b.shape)?;
        }
        // With the tensors and the ends of slices of the first, the second must be the first.
        let mut replaced = b.clone();
        let mut ends = Tensors::default();
        a.clone().visit_mut(&mut ends);
        ends.taken = Some(0..0);
        replaced.visit_mut(&mut ends);
        if replaced != *a {
            return Err(OnnxError::Batch(format!("an operation depends on it: {}", title(a))));
        }
        Ok(())
    }

    /// A constant; one that grows with the batch must have equal rows.
    fn constant(&self, a: &TensorData, b: &TensorData, id: TensorId) -> Result<TensorData, OnnxError> {
        let dims = &self.dims[&id];
        let grows = dims.iter().any(|dim| matches!(dim, Dim::Batch(_)));
        if !grows && a == b {
            return Ok(a.clone());
        }
        let row = a.as_bytes().len() / BATCHES[0].max(1);
        let rows = |data: &TensorData| data.as_bytes().chunks(row.max(1)).map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (rows_a, rows_b) = (rows(a), rows(b));
        let equal = rows_a.iter().chain(&rows_b).all(|other| *other == rows_a[0]);
        if !matches!(dims.first(), Some(Dim::Batch(1))) || !equal {
            return Err(OnnxError::Batch("the values of a constant depend on it".into()));
        }
        Ok(a.clone())
    }
}

/// Reads tensors and ranges of an operation, then writes them to another one.
#[derive(Default)]
struct Tensors {
    tensors: Vec<TensorIr>,
    ranges: Vec<burn::tensor::Slice>,
    /// Positions when writing.
    taken: Option<std::ops::Range<usize>>,
}

impl IrVisitorMut for Tensors {
    fn visit_tensor_mut(&mut self, tensor: &mut TensorIr) {
        match &mut self.taken {
            None => self.tensors.push(tensor.clone()),
            Some(next) => {
                if let Some(first) = self.tensors.get(next.start) {
                    tensor.clone_from(first);
                }
                next.start += 1;
            }
        }
    }

    fn visit_range_mut(&mut self, range: &mut burn::tensor::Slice) {
        match &mut self.taken {
            None => self.ranges.push(*range),
            Some(next) => {
                if let Some(first) = self.ranges.get(next.end) {
                    // Starts that depend on the batch stay, and are seen.
                    range.end = first.end;
                }
                next.end += 1;
            }
        }
    }
}
