//! ChemNet, the feature network of the Frechet ChemNet distance.
//!
//! ```text
//! u = onehot(characters of the canonical SMILES, ".") / 35        at least 350 positions, zeros after the end
//! v = SELU(conv(SELU(conv(u))))                                    kernel 4, stride 2, "same" padding
//! features = last state of lstm_512( lstm_128( v backwards ) backwards )
//! ```
//!
//! The weights are its authors' and are not part of this project: `experiments/chemnet.py convert` writes them as a safetensors file
//! from the file `ChemNet_v0.13_pretrained.pt` of the Python package `fcd`, whose SHA-256 it checks.
//!
//! Reference: Preuer, Renz, Unterthiner, Hochreiter, Klambauer 2018 (arXiv:1803.09518).
//!
//! # Examples
//! ```
//! use std::path::Path;
//! use pushforward::run::evaluate::chemnet::ChemNet;
//!
//! assert_eq!(ChemNet::WIDTH, 512);
//! let error = ChemNet::open(Path::new("absent.safetensors")).unwrap_err();
//! assert!(error.to_string().contains("experiments/chemnet.py convert"));
//! ```

use std::path::Path;

use burn::module::Param;
use burn::tensor::module::conv1d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData, activation};
use safetensors::SafeTensors;

use crate::data::read_bytes;
use crate::dual::Dual;
use crate::hash::sha256;
use crate::kernels::Precision;
use crate::nn::linear::Linear;

/// Symbols of a SMILES string in the order of the network's inputs; any other counts as `X`.
const SYMBOLS: [&str; 35] = [
    "C", "N", "O", "H", "F", "Cl", "P", "B", "Br", "S", "I", "Si", "#", "(", ")", "+", "-", "1", "2", "3", "4", "5",
    "6", "7", "8", "=", "[", "]", "@", "c", "n", "o", "s", "X", ".",
];
const UNKNOWN: usize = 33;
const END: usize = 34;

/// Minimum number of positions of a string; longer strings extend it.
const PLACES: usize = 350;
const CHANNELS: usize = 32;
const HIDDEN: [usize; 2] = [128, 512];
/// Strings computed together.
const BATCH: usize = 128;

/// A file does not contain the network.
#[derive(Debug, thiserror::Error)]
#[error(
    "{file} does not hold ChemNet: {problem}; `experiments/chemnet.py convert {file}` writes it from the Python package `fcd`"
)]
pub struct ChemNetError {
    file: String,
    problem: String,
}

/// The network ChemNet: two convolutions and two LSTM layers.
#[derive(Debug)]
pub struct ChemNet {
    /// `[outputs, inputs, 4]`
    convolutions: [Tensor<3>; 2],
    lstms: [Lstm; 2],
    /// SHA-256 of the file.
    pub sha256: String,
}

/// An LSTM layer: `[input, state]` to the gates input, forget, cell and output.
#[derive(Debug)]
struct Lstm {
    /// `[inputs + hidden, 4 hidden]`
    gates: Linear,
    hidden: usize,
}

impl ChemNet {
    /// Number of features.
    pub const WIDTH: usize = HIDDEN[1];

    /// Reads the network from a safetensors file.
    ///
    /// # Errors
    /// If the file cannot be read, or lacks a tensor, or one has another shape.
    pub fn open(path: &Path) -> Result<Self, ChemNetError> {
        let fail = |problem: String| ChemNetError { file: path.display().to_string(), problem };
        let bytes = read_bytes(path).map_err(|e| fail(e.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|e| fail(e.to_string()))?;
        let numbers = |name: &str, shape: &[usize]| -> Result<Vec<f32>, ChemNetError> {
            let view = file.tensor(name).map_err(|_| fail(format!("there is no tensor {name}")))?;
            if view.dtype() != safetensors::Dtype::F32 || view.shape() != shape {
                return Err(fail(format!("{name} is {:?} {:?} and not F32 {shape:?}", view.dtype(), view.shape())));
            }
            Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        };
        let device = Device::flex();
        let convolution = |name: &str, inputs: usize| {
            let shape = [CHANNELS, inputs, 4];
            numbers(name, &shape).map(|x| Tensor::from_data(TensorData::new(x, shape), &device))
        };
        let lstm = |name: &str, inputs: usize, hidden: usize| {
            let part = |part: &str, width: usize| -> Result<Tensor<2>, ChemNetError> {
                let shape = [4 * hidden, width];
                let x = numbers(&format!("{name}.{part}"), &shape)?;
                Ok(Tensor::<2>::from_data(TensorData::new(x, shape), &device).swap_dims(0, 1))
            };
            let bias = numbers(&format!("{name}.bias"), &[4 * hidden])?;
            let weight = Tensor::cat(vec![part("weight_input", inputs)?, part("weight_state", hidden)?], 0);
            let gates = Linear {
                weight: Param::from_tensor(weight),
                bias: Some(Param::from_tensor(Tensor::from_data(TensorData::new(bias, [4 * hidden]), &device))),
            };
            Ok(Lstm { gates, hidden })
        };
        Ok(Self {
            convolutions: [
                convolution("convolution_1.weight", SYMBOLS.len())?,
                convolution("convolution_2.weight", CHANNELS)?,
            ],
            lstms: [lstm("lstm_1", CHANNELS, HIDDEN[0])?, lstm("lstm_2", HIDDEN[0], HIDDEN[1])?],
            sha256: sha256([&bytes]),
        })
    }

    /// Features of molecules given as canonical SMILES, molecule by molecule: [`WIDTH`](Self::WIDTH) numbers each.
    pub fn features(&self, smiles: &[&str]) -> Vec<f64> {
        // Independent of the model's precision, because distances are compared between runs.
        let _precision = Precision::High.scope();
        // An upper bound of the number of symbols, some of which have two characters.
        let places = smiles.iter().map(|s| s.len() + 1).max().unwrap_or(0).max(PLACES);
        smiles.chunks(BATCH).flat_map(|smiles| self.batch(smiles, places)).collect()
    }

    fn batch(&self, smiles: &[&str], places: usize) -> Vec<f64> {
        let (b, width) = (smiles.len(), SYMBOLS.len());
        let mut u = vec![0.0f32; b * width * places];
        for (i, text) in smiles.iter().enumerate() {
            for (place, symbol) in symbols(text).into_iter().chain([END]).enumerate() {
                u[(i * width + symbol) * places + place] = 1.0 / width as f32;
            }
        }
        let mut v = Tensor::<3>::from_data(TensorData::new(u, [b, width, places]), &Device::flex());
        for weight in &self.convolutions {
            let [left, right] = padding(v.dims()[2]);
            let v_padded = v.pad((left, right, 0, 0), 0.0);
            v = selu(conv1d(v_padded, weight.clone(), None, ConvOptions::new([2], [0], [1], 1)));
        }
        let steps = v.dims()[2];
        let mut inputs: Vec<Tensor<2>> = (0..steps).map(|t| v.clone().slice_dim(2, t..t + 1).squeeze_dim(2)).collect();
        for lstm in &self.lstms {
            inputs.reverse();
            inputs = lstm.states(&inputs);
        }
        let last = inputs.pop().expect("a text has places");
        last.into_data().iter::<f64>().collect()
    }
}

impl Lstm {
    /// The hidden state after every input, from an initial state of zeros.
    fn states(&self, inputs: &[Tensor<2>]) -> Vec<Tensor<2>> {
        let [b, _] = inputs[0].dims();
        let hidden = self.hidden;
        let mut state = Tensor::<2>::zeros([b, hidden], &inputs[0].device());
        let mut cell = state.clone();
        let step = |x: &Tensor<2>| {
            let joined = Tensor::cat(vec![x.clone(), state.clone()], 1);
            let gates = self.gates.forward(Dual::from(joined)).value;
            let gate = |i: usize| gates.clone().slice_dim(1, i * hidden..(i + 1) * hidden);
            cell = activation::sigmoid(gate(1)) * cell.clone() + activation::sigmoid(gate(0)) * gate(2).tanh();
            state = activation::sigmoid(gate(3)) * cell.clone().tanh();
            state.clone()
        };
        inputs.iter().map(step).collect()
    }
}

/// Zeros before and after `n` positions, as in the published PyTorch port of the network.
fn padding(n: usize) -> [usize; 2] {
    if n.is_multiple_of(2) { [1, 1] } else { [1, 2] }
}

fn selu(x: Tensor<3>) -> Tensor<3> {
    const SCALE: f64 = 1.050_700_987_355_480_5;
    const ALPHA: f64 = 1.673_263_242_354_377_2;
    let below = (x.clone().clamp_max(0.0).exp() - 1.0) * ALPHA;
    (x.clamp_min(0.0) + below) * SCALE
}

/// Indices of the symbols of a string; of symbols that start alike, the longest match.
fn symbols(text: &str) -> Vec<usize> {
    let (mut rest, mut found) = (text, Vec::new());
    while let Some(first) = rest.chars().next() {
        let starting = |length: usize| SYMBOLS.iter().position(|s| s.len() == length && rest.starts_with(s));
        let symbol = starting(2).or_else(|| starting(1)).unwrap_or(UNKNOWN);
        let length = if symbol == UNKNOWN { first.len_utf8() } else { SYMBOLS[symbol].len() };
        found.push(symbol);
        rest = &rest[length..];
    }
    found
}

#[cfg(test)]
mod tests {
    use safetensors::tensor::{Dtype, TensorView};

    use super::*;
    use crate::rng::{Purpose, stream};

    type WeightSet = Vec<(&'static str, Vec<usize>, Vec<f32>)>;

    fn weights() -> WeightSet {
        let mut random = stream(0, Purpose::Init, 0);
        let mut tensor = |name: &'static str, shape: &[usize]| {
            let x = random.normals(shape.iter().product());
            (name, shape.to_vec(), x.into_iter().map(|x| 0.06 * x).collect())
        };
        vec![
            tensor("convolution_1.weight", &[32, 35, 4]),
            tensor("convolution_2.weight", &[32, 32, 4]),
            tensor("lstm_1.weight_input", &[512, 32]),
            tensor("lstm_1.weight_state", &[512, 128]),
            tensor("lstm_1.bias", &[512]),
            tensor("lstm_2.weight_input", &[2048, 128]),
            tensor("lstm_2.weight_state", &[2048, 512]),
            tensor("lstm_2.bias", &[2048]),
        ]
    }

    fn write(weights: &WeightSet, path: &Path) {
        let bytes: Vec<Vec<u8>> =
            weights.iter().map(|(_, _, x)| x.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let views = weights.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            (*name, TensorView::new(Dtype::F32, shape.clone(), bytes).expect("bytes of the shape"))
        });
        std::fs::write(path, safetensors::serialize(views, None).expect("tensors")).expect("a file");
    }

    /// The same features, number by number.
    fn by_hand(weights: &WeightSet, text: &str) -> Vec<f64> {
        let of = |name: &str| &weights.iter().find(|w| w.0 == name).expect("a name").2;
        let mut rows = vec![vec![0.0; 35]; 350];
        symbols(text).into_iter().chain([34]).enumerate().for_each(|(place, symbol)| rows[place][symbol] = 1.0 / 35.0);
        for (name, inputs) in [("convolution_1.weight", 35), ("convolution_2.weight", 32)] {
            let w = of(name);
            let after = if rows.len().is_multiple_of(2) { 1 } else { 2 };
            let places = (rows.len() + 1 + after - 4) / 2 + 1;
            let at = |place: usize, output: usize| {
                let mut sum = 0.0f64;
                for k in 0..4 {
                    let Some(row) = (2 * place + k).checked_sub(1).and_then(|i| rows.get(i)) else { continue };
                    sum += (0..inputs).map(|i| row[i] * f64::from(w[(output * inputs + i) * 4 + k])).sum::<f64>();
                }
                1.0507009873554805 * if sum > 0.0 { sum } else { 1.6732632423543772 * (sum.exp() - 1.0) }
            };
            rows = (0..places).map(|place| (0..32).map(|output| at(place, output)).collect()).collect();
        }
        for (name, hidden) in [("lstm_1", 128), ("lstm_2", 512)] {
            let part = |part: &str| of(&format!("{name}.{part}")).clone();
            let (input, state, bias) = (part("weight_input"), part("weight_state"), part("bias"));
            let (mut h, mut c) = (vec![0.0f64; hidden], vec![0.0f64; hidden]);
            rows.reverse();
            for row in &mut rows {
                let dot = |w: &[f32], x: &[f64]| w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>();
                let gate = |g: usize| {
                    dot(&input[g * row.len()..][..row.len()], row)
                        + dot(&state[g * hidden..][..hidden], &h)
                        + f64::from(bias[g])
                };
                let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
                let gates: Vec<f64> = (0..4 * hidden).map(gate).collect();
                for j in 0..hidden {
                    let [i, f, g, o] = [0, 1, 2, 3].map(|k| gates[k * hidden + j]);
                    c[j] = sigmoid(f) * c[j] + sigmoid(i) * g.tanh();
                    h[j] = sigmoid(o) * c[j].tanh();
                }
                row.clone_from(&h);
            }
        }
        rows.pop().expect("a row")
    }

    #[test]
    fn features_are_those_computed_by_hand() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chemnet.safetensors");
        let weights = weights();
        write(&weights, &path);
        let net = ChemNet::open(&path).unwrap();
        let texts = ["CCO", "c1ccc(Cl)cc1[Si]%10", "C"];
        let found = net.features(&texts);
        for (text, found) in texts.iter().zip(found.chunks(ChemNet::WIDTH)) {
            let wanted = by_hand(&weights, text);
            let off = found.iter().zip(&wanted).fold(0.0, |most: f64, (a, b)| most.max((a - b).abs()));
            assert!(off < 1e-4, "{text}: off by {off}");
        }
    }

    #[test]
    fn symbols_of_two_letters_come_first_and_others_are_unknown() {
        assert_eq!(symbols("CClBr[Se]"), [0, 5, 8, 26, 9, 33, 27]);
    }

    #[test]
    fn a_file_that_is_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.safetensors");
        let absent = ChemNet::open(&path).unwrap_err().to_string();
        assert!(absent.contains("other.safetensors") && absent.contains("chemnet.py"), "{absent}");
        let mut lacking = weights();
        lacking.truncate(3);
        write(&lacking, &path);
        assert!(ChemNet::open(&path).unwrap_err().to_string().contains("no tensor lstm_1."));
        let mut narrow = weights();
        narrow[0].1 = vec![32, 4, 35];
        write(&narrow, &path);
        assert!(ChemNet::open(&path).unwrap_err().to_string().contains("[32, 4, 35]"));
    }
}
