//! Layers and activations.

use burn_ir::{ActivationOperationIr, AttentionOpIr, ModuleOperationIr, ScalarIr, UnaryOpIr};

use super::super::builder::Builder;
use super::super::error::OnnxError;
use super::super::proto::Attribute;

/// In the place of the score of what must not be attended to: far below every score, but finite.
const DROPPED: f64 = -1e30;

pub(super) fn lower(graph: &mut Builder<'_>, op: &ModuleOperationIr) -> Result<bool, OnnxError> {
    match op {
        ModuleOperationIr::Linear(op) => {
            let inputs = [graph.name(&op.x)?, graph.name(&op.weight)?];
            match &op.bias {
                None => graph.emit_product("MatMul", inputs.to_vec(), Vec::new(), &op.out)?,
                Some(bias) => {
                    let (bias, product) = (graph.name(bias)?, graph.product("MatMul", inputs.to_vec(), Vec::new()));
                    graph.emit("Add", vec![product, bias], Vec::new(), &op.out)?;
                }
            }
        }
        ModuleOperationIr::Embedding(op) => {
            let inputs = vec![graph.name(&op.weights)?, graph.name(&op.indices)?];
            graph.emit("Gather", inputs, vec![Attribute::int("axis", 0)], &op.out)?;
        }
        ModuleOperationIr::Conv1d(op) => {
            let o = &op.options;
            let inputs = with_bias(graph, &op.x, &op.weight, op.bias.as_ref())?;
            let pads = [o.padding[0].0, o.padding[0].1];
            let attributes = window(o.stride, pads, o.dilation, o.groups);
            graph.emit_product("Conv", inputs, attributes, &op.out)?;
        }
        ModuleOperationIr::Conv2d(op) => {
            let o = &op.options;
            let inputs = with_bias(graph, &op.x, &op.weight, op.bias.as_ref())?;
            let pads = [o.padding[0].0, o.padding[1].0, o.padding[0].1, o.padding[1].1];
            let attributes = window(o.stride, pads, o.dilation, o.groups);
            graph.emit_product("Conv", inputs, attributes, &op.out)?;
        }
        ModuleOperationIr::ConvTranspose2d(op) => {
            let o = &op.options;
            let inputs = with_bias(graph, &op.x, &op.weight, op.bias.as_ref())?;
            let pads = [o.padding, o.padding].concat();
            let mut attributes = window(o.stride, pads, o.dilation, o.groups);
            attributes.push(Attribute::ints("output_padding", o.padding_out));
            graph.emit_product("ConvTranspose", inputs, attributes, &op.out)?;
        }
        ModuleOperationIr::LayerNorm(op) => {
            let mut inputs = vec![graph.name(&op.input)?, graph.name(&op.gamma)?];
            if let Some(beta) = &op.beta {
                inputs.push(graph.name(beta)?);
            }
            let epsilon = Attribute::float("epsilon", op.epsilon.elem());
            graph.emit("LayerNormalization", inputs, vec![Attribute::int("axis", -1), epsilon], &op.out)?;
        }
        ModuleOperationIr::Attention(op) if !op.options.is_causal && op.options.softcap.is_none() => {
            attention(graph, op)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn with_bias(
    graph: &mut Builder<'_>,
    x: &burn_ir::TensorIr,
    weight: &burn_ir::TensorIr,
    bias: Option<&burn_ir::TensorIr>,
) -> Result<Vec<String>, OnnxError> {
    let mut inputs = vec![graph.name(x)?, graph.name(weight)?];
    if let Some(bias) = bias {
        inputs.push(graph.name(bias)?);
    }
    Ok(inputs)
}

fn window(
    strides: impl IntoIterator<Item = usize>,
    pads: impl IntoIterator<Item = usize>,
    dilations: impl IntoIterator<Item = usize>,
    groups: usize,
) -> Vec<Attribute> {
    vec![
        Attribute::ints("strides", strides),
        Attribute::ints("pads", pads),
        Attribute::ints("dilations", dilations),
        Attribute::int("group", groups as i64),
    ]
}

/// `softmax(Q K^T scale + bias) V`.
fn attention(graph: &mut Builder<'_>, op: &AttentionOpIr) -> Result<(), OnnxError> {
    let dtype = op.query.dtype;
    let (q, k, v) = (graph.name(&op.query)?, graph.name(&op.key)?, graph.name(&op.value)?);
    let width = op.query.shape.last().copied().unwrap_or(1) as f64;
    let scale = op.options.scale.unwrap_or(ScalarIr::Float(width.sqrt().recip()));
    let scale = graph.scalar(scale, dtype)?;
    let k = graph.node("Transpose", [k], [Attribute::ints("perm", [0, 1, 3, 2])]);
    let products = graph.product("MatMul", vec![q, k], Vec::new());
    let mut scores = graph.node("Mul", [products, scale], []);
    if let Some(bias) = &op.attn_bias {
        let bias = graph.name(bias)?;
        scores = graph.node("Add", [scores, bias], []);
    }
    if let Some(mask) = &op.mask {
        let (mask, fill) = (graph.name(mask)?, graph.scalar(ScalarIr::Float(DROPPED), dtype)?);
        scores = graph.node("Where", [mask, fill, scores], []);
    }
    let weights = graph.node("Softmax", [scores], [Attribute::int("axis", -1)]);
    graph.emit_product("MatMul", vec![weights, v], Vec::new(), &op.out)
}

pub(super) fn activation(graph: &mut Builder<'_>, op: &ActivationOperationIr) -> Result<bool, OnnxError> {
    let mut simple = |name: &str, op: &UnaryOpIr| {
        let x = graph.name(&op.input)?;
        graph.emit(name, vec![x], Vec::new(), &op.out)
    };
    match op {
        ActivationOperationIr::Relu(op) => simple("Relu", op)?,
        ActivationOperationIr::Sigmoid(op) => simple("Sigmoid", op)?,
        ActivationOperationIr::LogSigmoid(op) => {
            // log sigmoid(x) = -softplus(-x)
            let x = graph.name(&op.input)?;
            let negative = graph.node("Neg", [x], []);
            let softplus = graph.node("Softplus", [negative], []);
            graph.emit("Neg", vec![softplus], Vec::new(), &op.out)?;
        }
        ActivationOperationIr::Softmax(op) => {
            let x = graph.name(&op.input)?;
            graph.emit("Softmax", vec![x], vec![Attribute::int("axis", op.axis as i64)], &op.out)?;
        }
        ActivationOperationIr::LogSoftmax(op) => {
            let x = graph.name(&op.input)?;
            graph.emit("LogSoftmax", vec![x], vec![Attribute::int("axis", op.axis as i64)], &op.out)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}
