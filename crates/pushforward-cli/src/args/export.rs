//! Arguments of `export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::ranges;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward export glyphs --out jump.onnx               one jump, for a sampling loop of your own\n  pushforward export glyphs --nfe 4 --out sampler.onnx    noise in, classes out\n  pushforward export glyphs --nfe 4 --guidance 2 --temperature 0.8 --out told.onnx\n  pushforward export runs/glyphs-aef --part decoder --out decoder.onnx\n  pushforward export runs/mine --numbers f16 --out small.onnx\n  npm install onnxruntime-web@1.30.0 && pushforward export glyphs --web page --ort node_modules/onnxruntime-web/dist\n\nThe program has this command if it was installed with --features onnx."
)]
pub(crate) struct ExportArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE.onnx", required_unless_present = "web")]
    pub(crate) out: Option<PathBuf>,
    /// Write a folder with a page that samples a flow map in a browser, without a server of ours: any server of files will do.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "nfe", "part"])]
    pub(crate) web: Option<PathBuf>,
    /// The folder `dist` of the npm package onnxruntime-web 1.30.0, for --web; its files are compared with their checksums and copied.
    #[arg(long, value_name = "DIR", requires = "web")]
    pub(crate) ort: Option<PathBuf>,
    /// Write the whole sampler of a flow map, with so many network evaluations, in place of one jump.
    #[arg(long, value_parser = ranges::count(ranges::STEPS))]
    pub(crate) nfe: Option<usize>,
    /// Divides the logits of the sampler.
    #[arg(long, requires = "nfe", value_parser = ranges::temperature)]
    pub(crate) temperature: Option<f64>,
    /// Weight of classifier-free guidance of the sampler, for models that take labels: two passes of the network a jump.
    #[arg(long, requires = "nfe", value_parser = ranges::positive)]
    pub(crate) guidance: Option<f64>,
    /// The part of an autoencoder to write.
    #[arg(long, value_enum)]
    pub(crate) part: Option<PartName>,
    /// Numbers of the file; inputs and outputs are float32.
    #[arg(long, value_enum, default_value_t = ExportNumbers::F32)]
    pub(crate) numbers: ExportNumbers,
    /// Do not run the file by another runtime to compare it with the model.
    #[arg(long)]
    pub(crate) no_check: bool,
    /// Use the trained weights instead of their running average.
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PartName {
    /// Image to latent, base variable and deviations; of data in classes one-hot items to latent and base variable.
    Encoder,
    /// Latent and deviations to image; of data in classes latent to logits and classes.
    Decoder,
    /// Standard normal numbers to latent.
    Prior,
    /// Of data in classes, standard normal numbers to logits and classes in one step.
    Coupling,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportNumbers {
    /// float32.
    F32,
    /// Weights stored as float16, half the size; computations are in float32.
    F16,
    /// Weights as float16, and products of matrices and convolutions in float16, for devices that are fast at it.
    Mixed,
}
