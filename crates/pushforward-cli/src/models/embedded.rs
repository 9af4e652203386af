//! The models that come along, also with the Python package.

/// A small file of a model inside the program and the package.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Embedded {
    /// Name that a model is asked for by.
    pub(crate) name: &'static str,
    /// The file.
    pub(crate) bytes: &'static [u8],
}

/// The models that the program contains; `experiments/train_models.sh` makes the files.
// A constant would be in the program as often as it is used.
pub(crate) static EMBEDDED: &[Embedded] = &[
    Embedded { name: "glyphs", bytes: include_bytes!("../../models/glyphs.safetensors.gz") },
    Embedded { name: "mnist", bytes: include_bytes!("../../models/mnist.safetensors.gz") },
    Embedded { name: "mnist-classifier", bytes: include_bytes!("../../models/mnist-classifier.safetensors.gz") },
    Embedded { name: "small-molecules", bytes: include_bytes!("../../models/small-molecules.safetensors.gz") },
    Embedded { name: "names", bytes: include_bytes!("../../models/names.safetensors.gz") },
    Embedded { name: "echo", bytes: include_bytes!("../../models/echo.safetensors.gz") },
    Embedded { name: "adult", bytes: include_bytes!("../../models/adult.safetensors.gz") },
];
