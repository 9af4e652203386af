//! Nodes and constants of a graph, made one by one.

use std::collections::{BTreeMap, HashMap, HashSet};

use burn::tensor::{DType, TensorData, TensorId};
use burn_ir::{ScalarIr, TensorIr};

use super::error::OnnxError;
use super::numbers::Numbers;
use super::proto::{Attribute, Axis, Node, Port, PortType, Shape, Size, TensorType, TensorValue, element};
use super::record::{Dim, Recording};
use super::tape::{Border, FEW};

/// A graph in the making.
pub(super) struct Builder<'a> {
    recording: &'a Recording,
    numbers: Numbers,
    nodes: Vec<Node>,
    constants: BTreeMap<String, TensorValue>,
    /// Tensors in half precision, by the names of the same in float32.
    halves: HashMap<String, String>,
    named: HashMap<TensorId, String>,
    fresh: usize,
    batch: Option<String>,
}

impl<'a> Builder<'a> {
    /// A graph without nodes.
    pub(super) fn new(recording: &'a Recording, numbers: Numbers) -> Self {
        let border = recording.inputs.iter().chain(&recording.outputs);
        let named = border.map(|border| (border.id, border.name.clone())).collect();
        let (nodes, constants, halves) = (Vec::new(), BTreeMap::new(), HashMap::new());
        Self { recording, numbers, nodes, constants, halves, named, fresh: 0, batch: None }
    }

    /// The nodes that the outputs need, in order, and the constants.
    pub(super) fn finish(self) -> (Vec<Node>, BTreeMap<String, TensorValue>) {
        let mut wanted: HashSet<String> = self.recording.outputs.iter().map(|output| output.name.clone()).collect();
        let mut needed = Vec::new();
        for node in self.nodes.into_iter().rev() {
            if node.output.iter().any(|name| wanted.contains(name)) {
                wanted.extend(node.input.iter().cloned());
                needed.push(node);
            }
        }
        needed.reverse();
        (needed, self.constants)
    }

    /// The shape of a tensor.
    pub(super) fn dims(&self, x: &TensorIr) -> &'a [Dim] {
        self.recording.dims(x.id)
    }

    /// The name of a tensor; a constant is added to the graph when it is first used.
    pub(super) fn name(&mut self, x: &TensorIr) -> Result<String, OnnxError> {
        if let Some(name) = self.named.get(&x.id) {
            return Ok(name.clone());
        }
        let name = match self.recording.values.get(&x.id) {
            Some(data) => self.value(x.id, data)?,
            None => self.new_name(),
        };
        self.named.insert(x.id, name.clone());
        Ok(name)
    }

    fn new_name(&mut self) -> String {
        self.fresh += 1;
        format!("v{}", self.fresh)
    }

    /// A constant of the recording.
    fn value(&mut self, id: TensorId, data: &TensorData) -> Result<String, OnnxError> {
        let mut shape: Vec<i64> = data.shape().iter().map(|&n| n as i64).collect();
        let mut bytes = data.as_bytes();
        let dims = self.recording.dims(id);
        let grows = dims.iter().any(|dim| matches!(dim, Dim::Batch(_)));
        if grows {
            bytes = &bytes[..bytes.len() / data.shape()[0]];
            shape[0] = 1;
        }
        let count = shape.iter().product::<i64>();
        let (mut data_type, mut raw) = (element_of(data.dtype())?, bytes.to_vec());
        let weight = self.recording.names.get(&id);
        let half =
            self.numbers != Numbers::F32 && weight.is_some() && data_type == element::FLOAT && count as usize >= FEW;
        if half {
            let row = TensorData::from_bytes_vec(raw, [count as usize], DType::F32).convert_dtype(DType::F16);
            (data_type, raw) = (element::FLOAT16, row.as_bytes().to_vec());
        }
        let name = weight.cloned().unwrap_or_else(|| format!("c{}", self.constants.len()));
        self.constants.insert(name.clone(), TensorValue { dims: shape, data_type, name: name.clone(), raw_data: raw });
        let name = if half {
            let single = self.cast(name.clone(), element::FLOAT);
            self.halves.insert(single.clone(), name);
            single
        } else {
            name
        };
        if !grows {
            return Ok(name);
        }
        let shape = self.shape(dims);
        Ok(self.node("Expand", [name, shape], []))
    }

    /// A number of an element type.
    pub(super) fn scalar(&mut self, value: ScalarIr, dtype: DType) -> Result<String, OnnxError> {
        let data_type = element_of(dtype)?;
        let raw_data = match data_type {
            element::FLOAT => value.elem::<f32>().to_le_bytes().to_vec(),
            element::DOUBLE => value.elem::<f64>().to_le_bytes().to_vec(),
            element::INT64 => value.elem::<i64>().to_le_bytes().to_vec(),
            element::INT32 => value.elem::<i32>().to_le_bytes().to_vec(),
            element::BOOL => vec![u8::from(value.elem::<bool>())],
            _ => return Err(OnnxError::Unsupported(format!("a number of type {dtype:?}"))),
        };
        let digits: String = raw_data.iter().rev().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("n{data_type}_{digits}");
        let number = TensorValue { dims: Vec::new(), data_type, name: name.clone(), raw_data };
        self.constants.insert(name.clone(), number);
        Ok(name)
    }

    /// A row of integers.
    pub(super) fn integers(&mut self, values: &[i64]) -> String {
        let text: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = format!("i_{}", text.join("_"));
        let (data_type, raw_data) = (element::INT64, values.iter().flat_map(|v| v.to_le_bytes()).collect());
        let row = TensorValue { dims: vec![values.len() as i64], data_type, name: name.clone(), raw_data };
        self.constants.insert(name.clone(), row);
        name
    }

    /// A node with one output, which gets a new name.
    pub(super) fn node<const N: usize, const A: usize>(
        &mut self,
        op: &str,
        inputs: [String; N],
        attributes: [Attribute; A],
    ) -> String {
        let output = self.new_name();
        self.push(op, inputs.to_vec(), attributes.to_vec(), output.clone());
        output
    }

    /// A product of matrices, or a convolution, of float32 numbers.
    pub(super) fn product(&mut self, op: &str, inputs: Vec<String>, attributes: Vec<Attribute>) -> String {
        let output = self.new_name();
        self.push_product(op, inputs, attributes, output.clone());
        output
    }

    /// As [`Self::product`], whose output is a tensor of the recording.
    pub(super) fn emit_product(
        &mut self,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<Attribute>,
        out: &TensorIr,
    ) -> Result<(), OnnxError> {
        let output = self.name(out)?;
        self.push_product(op, inputs, attributes, output);
        Ok(())
    }

    fn push_product(&mut self, op: &str, inputs: Vec<String>, attributes: Vec<Attribute>, output: String) {
        if self.numbers != Numbers::Mixed {
            return self.push(op, inputs, attributes, output);
        }
        let inputs = inputs.into_iter().map(|input| self.halved(input)).collect();
        let half = self.new_name();
        self.push(op, inputs, attributes, half.clone());
        self.push("Cast", vec![half], vec![Attribute::int("to", i64::from(element::FLOAT))], output);
    }

    /// A tensor in half precision.
    fn halved(&mut self, single: String) -> String {
        if let Some(half) = self.halves.get(&single) {
            return half.clone();
        }
        let half = self.cast(single.clone(), element::FLOAT16);
        self.halves.insert(single, half.clone());
        half
    }

    /// The second output of a node of two.
    pub(super) fn second(&mut self, op: &str, input: Vec<String>, attribute: Vec<Attribute>) -> String {
        let (first, second) = (self.new_name(), self.new_name());
        let name = format!("{op}_{}", self.nodes.len());
        self.nodes.push(Node { input, output: vec![first, second.clone()], name, op_type: op.into(), attribute });
        second
    }

    /// A node whose output is a tensor of the recording.
    pub(super) fn emit(
        &mut self,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<Attribute>,
        out: &TensorIr,
    ) -> Result<(), OnnxError> {
        let output = self.name(out)?;
        self.push(op, inputs, attributes, output);
        Ok(())
    }

    fn push(&mut self, op: &str, input: Vec<String>, attribute: Vec<Attribute>, output: String) {
        let name = format!("{op}_{}", self.nodes.len());
        self.nodes.push(Node { input, output: vec![output], name, op_type: op.into(), attribute });
    }

    /// The same numbers as another element type.
    pub(super) fn cast(&mut self, x: String, to: i32) -> String {
        self.node("Cast", [x], [Attribute::int("to", i64::from(to))])
    }

    /// A shape as a tensor of integers.
    pub(super) fn shape(&mut self, dims: &[Dim]) -> String {
        if !dims.iter().any(|dim| matches!(dim, Dim::Batch(_))) {
            let fixed: Vec<i64> = dims.iter().map(|&dim| fixed(dim)).collect();
            return self.integers(&fixed);
        }
        let mut parts = Vec::new();
        for &dim in dims {
            parts.push(match dim {
                Dim::Fixed(n) => self.integers(&[n as i64]),
                Dim::Batch(1) => self.batch(),
                Dim::Batch(times) => {
                    let (batch, times) = (self.batch(), self.integers(&[times as i64]));
                    self.node("Mul", [batch, times], [])
                }
            });
        }
        let output = self.new_name();
        self.push("Concat", parts, vec![Attribute::int("axis", 0)], output.clone());
        output
    }

    /// The batch size, read from the first input.
    fn batch(&mut self) -> String {
        if let Some(name) = &self.batch {
            return name.clone();
        }
        let (first, zero) = (self.recording.inputs[0].name.clone(), self.integers(&[0]));
        let shape = self.node("Shape", [first], []);
        let batch = self.node("Gather", [shape, zero], [Attribute::int("axis", 0)]);
        self.batch = Some(batch.clone());
        batch
    }

    /// An input or output of the file.
    pub(super) fn port(&self, border: &Border) -> Result<Port, OnnxError> {
        let axis = |dim: &Dim| Axis {
            size: Some(match *dim {
                Dim::Fixed(n) => Size::Value(n as i64),
                Dim::Batch(1) => Size::Name("batch".into()),
                Dim::Batch(times) => Size::Name(format!("{times} batch")),
            }),
        };
        let shape = Shape { dim: self.recording.dims(border.id).iter().map(axis).collect() };
        let tensor = TensorType { elem_type: element_of(self.recording.dtype(border))?, shape: Some(shape) };
        Ok(Port { name: border.name.clone(), kind: Some(PortType { tensor: Some(tensor) }) })
    }
}

/// A size of the file: that of the smaller batch where it grows.
fn fixed(dim: Dim) -> i64 {
    match dim {
        Dim::Fixed(n) | Dim::Batch(n) => n as i64,
    }
}

/// The element type of the file.
pub(super) fn element_of(dtype: DType) -> Result<i32, OnnxError> {
    Ok(match dtype {
        DType::F32 => element::FLOAT,
        DType::F64 => element::DOUBLE,
        DType::F16 => element::FLOAT16,
        DType::I64 => element::INT64,
        DType::I32 => element::INT32,
        DType::U8 => element::UINT8,
        DType::Bool(_) => element::BOOL,
        _ => return Err(OnnxError::Unsupported(format!("numbers of type {dtype:?}"))),
    })
}
