//! What a model computes on: a device that records, or one that computes with drawn inputs.

use std::any::Any;
use std::collections::HashMap;

use burn::backend::Capture;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Int, Tensor, TensorData, TensorId};

use crate::kernels::Precision;
use crate::rng::{Purpose, Stream, stream};

/// Weights with fewer elements than this stay float32 in a file of half precision.
pub(super) const FEW: usize = 256;

/// The batch of a trial: none of those that are recorded.
pub(super) const ITEMS: usize = 4;

/// A tensor at the border of a graph.
#[derive(Clone, Debug)]
pub(super) struct Border {
    pub(super) name: String,
    pub(super) id: TensorId,
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
}

/// The numbers of a computation's inputs and outputs, by name.
#[derive(Debug, Default)]
pub(super) struct Trial {
    pub(super) inputs: Vec<(String, TensorData)>,
    pub(super) outputs: Vec<(String, TensorData)>,
}

/// What a closure computes on: the device, the batch, and the border of the graph.
#[derive(Debug)]
pub(super) struct Tape<'a> {
    pub(super) device: &'a Device,
    pub(super) batch: usize,
    pub(super) inputs: Vec<Border>,
    pub(super) outputs: Vec<Border>,
    pub(super) names: HashMap<TensorId, String>,
    /// The outputs, so that no later operation uses them up.
    kept: Vec<Box<dyn Any>>,
    /// What inputs are drawn from, and what came of them, unless the device records.
    trial: Option<(Stream, Trial)>,
    /// Whether weights are rounded as those of a file of half precision.
    rounded: bool,
}

/// What `compute` makes of inputs of a fixed seed, in float32 on the CPU.
pub(super) fn trial(compute: &dyn Fn(&mut Tape<'_>), rounded: bool) -> Trial {
    let (_precision, device) = (Precision::F32.scope(), Device::flex());
    let drawn = Some((stream(0, Purpose::Validation, 0), Trial::default()));
    let mut tape = Tape { trial: drawn, rounded, ..Tape::recording(&device, ITEMS) };
    compute(&mut tape);
    tape.trial.map_or_else(Trial::default, |(_, trial)| trial)
}

impl<'a> Tape<'a> {
    /// A tape of a device that records.
    pub(super) fn recording(device: &'a Device, batch: usize) -> Self {
        let (inputs, outputs, names, kept) = (Vec::new(), Vec::new(), HashMap::new(), Vec::new());
        Self { device, batch, inputs, outputs, names, kept, trial: None, rounded: false }
    }

    /// An input of float32 numbers; `draw` gives those of a trial one by one.
    pub(super) fn input<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        mut draw: impl FnMut(&mut Stream) -> f64,
    ) -> Tensor<D> {
        if let Some((stream, trial)) = &mut self.trial {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| draw(stream) as f32).collect();
            let data = TensorData::new(values, shape);
            trial.inputs.push((name.into(), data.clone()));
            return Tensor::from_data(data, (self.device, DType::F32));
        }
        let input = Tensor::<D>::zeros(shape, (&Device::flex(), DType::F32)).to_device(self.device);
        self.inputs.push(Border { name: name.into(), id: float_id(&input), dtype: DType::F32, shape: shape.to_vec() });
        input
    }

    /// An input of integers, one an item; those of a trial are from `first` to `last`.
    pub(super) fn int_input(&mut self, name: &str, [first, last]: [usize; 2]) -> Tensor<1, Int> {
        let shape = [self.batch];
        if let Some((stream, trial)) = &mut self.trial {
            let values: Vec<i64> = (0..shape[0]).map(|_| (first + stream.below(last + 1 - first)) as i64).collect();
            let data = TensorData::new(values, shape);
            trial.inputs.push((name.into(), data.clone()));
            return Tensor::from_data(data, (self.device, DType::I64));
        }
        let input = Tensor::<1, Int>::zeros(shape, (&Device::flex(), DType::I64)).to_device(self.device);
        self.inputs.push(Border { name: name.into(), id: int_id(&input), dtype: DType::I64, shape: shape.to_vec() });
        input
    }

    /// An output of numbers.
    pub(super) fn output<const D: usize>(&mut self, name: &str, output: &Tensor<D>) {
        if let Some((_, trial)) = &mut self.trial {
            return trial.outputs.push((name.into(), output.to_data()));
        }
        let (dtype, shape) = (output.dtype(), output.dims().to_vec());
        self.outputs.push(Border { name: name.into(), id: float_id(output), dtype, shape });
        self.kept.push(Box::new(output.clone()));
    }

    /// An output of integers.
    pub(super) fn int_output<const D: usize>(&mut self, name: &str, output: &Tensor<D, Int>) {
        if let Some((_, trial)) = &mut self.trial {
            return trial.outputs.push((name.into(), output.to_data()));
        }
        let (dtype, shape) = (output.dtype(), output.dims().to_vec());
        self.outputs.push(Border { name: name.into(), id: int_id(output), dtype, shape });
        self.kept.push(Box::new(output.clone()));
    }

    /// A module on the device; its parameters keep their names.
    pub(super) fn module<M: Module>(&mut self, module: &M) -> M {
        let module = module.clone().to_device(self.device);
        match &self.trial {
            Some(_) if self.rounded => module.map(&mut Rounded),
            Some(_) => module,
            None => {
                module.visit(&mut Names { path: Vec::new(), found: &mut self.names });
                module
            }
        }
    }
}

fn float_id<const D: usize>(x: &Tensor<D>) -> TensorId {
    x.clone().try_into_primitive::<Capture>().expect("a tensor of the recording device").id()
}

fn int_id<const D: usize>(x: &Tensor<D, Int>) -> TensorId {
    x.clone().try_into_primitive::<Capture>().expect("a tensor of the recording device").id()
}

/// Finds the names of parameters.
struct Names<'a> {
    path: Vec<String>,
    found: &'a mut HashMap<TensorId, String>,
}

impl ModuleVisitor for Names<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.insert(float_id(&param.val()), self.path.join("."));
    }

    fn visit_int<const D: usize>(&mut self, param: &Param<Tensor<D, Int>>) {
        self.found.insert(int_id(&param.val()), self.path.join("."));
    }
}

/// Rounds large parameters to half precision.
struct Rounded;

impl ModuleMapper for Rounded {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|weight| match weight.shape().num_elements() {
            0..FEW => weight,
            _ => {
                let half = weight.to_data().convert_dtype(DType::F16).convert_dtype(DType::F32);
                Tensor::from_data(half, (&weight.device(), DType::F32))
            }
        })
    }
}
