//! Fixtures, devices and comparisons that every test uses.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use flate2::read::GzDecoder;
use safetensors::{Dtype, SafeTensors};

/// The device under test: the CPU, or the one that `PUSHFORWARD_TEST_DEVICE` names.
pub(crate) fn device() -> Device {
    let name = std::env::var("PUSHFORWARD_TEST_DEVICE").unwrap_or_else(|_| "cpu".into());
    pushforward::device::open(&name).unwrap_or_else(|e| panic!("PUSHFORWARD_TEST_DEVICE: {e}"))
}

/// Float64 if the device has it, so that identities hold to rounding; float32 otherwise.
pub(crate) fn precision(device: &Device) -> DType {
    if device.supports_dtype(DType::F64) { DType::F64 } else { DType::F32 }
}

/// A tolerance stated for float64, widened if the device computes in float32.
pub(crate) fn tolerance(f64_tolerance: f64) -> f64 {
    if precision(&device()) == DType::F64 { f64_tolerance } else { f64_tolerance.max(1e-3) }
}

/// A tensor of host numbers with gradient tracking available, in the test precision.
pub(crate) fn tracked<const D: usize>(values: &[f64], shape: [usize; D]) -> Tensor<D> {
    let device = device().autodiff();
    let dtype = precision(&device);
    Tensor::from_data(TensorData::new(values.to_vec(), shape).convert_dtype(dtype), (&device, dtype))
}

/// Deterministic numbers in about [-1, 1], for arbitrary inputs.
pub(crate) fn numbers(n: usize, seed: u64) -> Vec<f64> {
    let mut s = pushforward::rng::stream(seed, pushforward::rng::Purpose::Metric, 77);
    (0..n).map(|_| s.normal() * 0.7).collect()
}

/// A folder of golden fixtures.
pub(crate) struct Fixtures {
    root: PathBuf,
    /// Whether the user named this folder: missing fixtures are then skipped. The repository's own folder must be
    /// complete.
    named: bool,
}

impl Fixtures {
    /// The folder that `PUSHFORWARD_GOLDEN` names, or the repository's own.
    pub(crate) fn chosen() -> Self {
        match std::env::var_os("PUSHFORWARD_GOLDEN") {
            Some(path) if !path.is_empty() => Self::named(path.into()),
            _ => Self::own(),
        }
    }

    /// The repository's own folder.
    pub(crate) fn own() -> Self {
        Self { root: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"), named: false }
    }

    /// Another folder of fixtures of the same form.
    ///
    /// # Panics
    /// If there is no such folder: with a misspelt one, every golden test would be skipped.
    pub(crate) fn named(root: PathBuf) -> Self {
        assert!(root.is_dir(), "PUSHFORWARD_GOLDEN names {}, which is not a folder", root.display());
        Self { root, named: true }
    }

    /// Its path.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The first file of this name and one of these endings, unpacked.
    #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
    fn read(&self, name: &str, endings: &[&str]) -> Option<Vec<u8>> {
        for ending in endings {
            let path = self.root.join(format!("{name}.{ending}"));
            if !path.is_file() {
                continue;
            }
            let bytes = std::fs::read(&path).expect("a fixture that exists can be read");
            if !ending.ends_with(".gz") {
                return Some(bytes);
            }
            let mut unpacked = Vec::new();
            GzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).expect("a packed fixture is gzip");
            return Some(unpacked);
        }
        assert!(self.named, "the repository lacks its fixture {name} ({endings:?}) in {}", self.root.display());
        eprintln!("skipped: no golden fixture {name} ({endings:?}) in {}", self.root.display());
        None
    }

    /// The tensors of a fixture; `None` (with a note) if a named folder lacks them.
    ///
    /// # Panics
    /// If the repository's own folder lacks them.
    pub(crate) fn tensors(&self, name: &str) -> Option<Golden> {
        let bytes = self.read(name, &["safetensors", "safetensors.gz"])?;
        let file = SafeTensors::deserialize(&bytes).expect("a fixture is a safetensors file");
        let tensors = file
            .iter()
            .map(|(name, view)| {
                let data = view.data();
                let values = match view.dtype() {
                    Dtype::F64 => {
                        data.chunks_exact(8).map(|c| f64::from_le_bytes(c.try_into().expect("eight bytes"))).collect()
                    }
                    Dtype::I32 => data
                        .chunks_exact(4)
                        .map(|c| i32::from_le_bytes(c.try_into().expect("four bytes")) as f64)
                        .collect(),
                    Dtype::U8 => data.iter().map(|&b| f64::from(b)).collect(),
                    other => panic!("{name}: fixtures hold f64, i32 and u8, found {other:?}"),
                };
                (name.to_string(), (view.shape().to_vec(), values))
            })
            .collect();
        Some(Golden { tensors })
    }

    /// The description beside a fixture, or a fixture that is plain JSON; missing ones as in [`Self::tensors`].
    pub(crate) fn json(&self, name: &str) -> Option<serde_json::Value> {
        let text = self.read(name, &["json"])?;
        Some(serde_json::from_slice(&text).expect("a description is JSON"))
    }
}

/// The tensors of a fixture of the chosen folder; `None` if the test is to be skipped.
pub(crate) fn golden(name: &str) -> Option<Golden> {
    Fixtures::chosen().tensors(name)
}

/// The same with the settings in the description beside it (its `config`).
pub(crate) fn golden_and_config(name: &str) -> Option<(Golden, serde_json::Value)> {
    let (tensors, description) = golden(name).zip(golden_json(name))?;
    Some((tensors, description["config"].clone()))
}

/// The description beside a fixture of the chosen folder; `None` if the test is to be skipped.
pub(crate) fn golden_json(name: &str) -> Option<serde_json::Value> {
    Fixtures::chosen().json(name)
}

/// The tensors of one fixture file.
#[derive(Clone)]
pub(crate) struct Golden {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    /// Whether there is a tensor of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// Names that start with a prefix, without it.
    pub(crate) fn under(&self, prefix: &str) -> Vec<String> {
        self.tensors.keys().filter_map(|k| k.strip_prefix(prefix)).map(str::to_owned).collect()
    }

    /// The groups of a fixture: the prefixes of names that end in `.suffix`.
    ///
    /// # Panics
    /// If there are no groups: a test over none would pass.
    pub(crate) fn groups(&self, suffix: &str) -> Vec<String> {
        let end = format!(".{suffix}");
        let found: Vec<String> = self.tensors.keys().filter_map(|k| k.strip_suffix(&end)).map(str::to_owned).collect();
        assert!(!found.is_empty(), "the fixture has no group with {suffix}");
        found
    }

    /// All names.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The values of a tensor, row-major.
    pub(crate) fn values(&self, name: &str) -> Vec<f64> {
        self.tensors.get(name).unwrap_or_else(|| panic!("the fixture has no tensor {name}")).1.clone()
    }

    /// The shape of a tensor.
    pub(crate) fn shape<const D: usize>(&self, name: &str) -> [usize; D] {
        let shape = &self.tensors.get(name).unwrap_or_else(|| panic!("the fixture has no tensor {name}")).0;
        shape.as_slice().try_into().unwrap_or_else(|_| panic!("{name} has shape {shape:?}, expected rank {D}"))
    }

    /// A tensor in the test precision.
    pub(crate) fn tensor<const D: usize>(&self, name: &str) -> Tensor<D> {
        tracked(&self.values(name), self.shape(name))
    }

    /// A tensor whose gradient is wanted.
    pub(crate) fn leaf<const D: usize>(&self, name: &str) -> Tensor<D> {
        self.tensor::<D>(name).require_grad()
    }

    /// Shape and values of a tensor.
    pub(crate) fn floats(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        self.tensors.get(name).unwrap_or_else(|| panic!("the fixture has no tensor {name}")).clone()
    }

    /// The value of a one-element tensor.
    pub(crate) fn scalar(&self, name: &str) -> f64 {
        let values = self.values(name);
        assert_eq!(values.len(), 1, "{name} holds one number");
        values[0]
    }

    /// Integers.
    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        self.values(name).iter().map(|&v| v as u32).collect()
    }
}

/// Asserts that two arrays agree to a tolerance relative to the largest entry of the expected one (and at least 1).
#[track_caller]
pub(crate) fn close(what: &str, found: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(found.len(), wanted.len(), "{what}: number of entries");
    let scale = wanted.iter().fold(0.0f64, |m, v| m.max(v.abs())).max(1e-3);
    for (i, (f, w)) in found.iter().zip(wanted).enumerate() {
        let error = (f - w).abs() / scale;
        // NaN must fail too, hence the negated comparison.
        assert!(error <= tolerance, "{what}[{i}]: found {f}, wanted {w}, relative error {error:e} > {tolerance:e}");
    }
}

/// The gradient of every parameter of a model, by name; `None` for parameters without one.
pub(crate) fn gradients_by_name<M: Module>(model: &M, gradients: &Gradients) -> Vec<(String, Option<Vec<f64>>)> {
    struct Visitor<'a>(&'a Gradients, Vec<Option<Vec<f64>>>);
    impl ModuleVisitor for Visitor<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(param.val().grad(self.0).map(|g| pushforward::tensor::to_host(&g)));
        }
        fn visit_int<const D: usize>(&mut self, _: &Param<Tensor<D, Int>>) {
            self.1.push(None);
        }
    }
    let mut visitor = Visitor(gradients, Vec::new());
    model.visit(&mut visitor);
    // Names and gradients come in visiting order.
    let names = pushforward::params::collect(model).into_iter().map(|(name, _)| name);
    names.zip(visitor.1).collect()
}
