//! Arguments of the commands for autoencoders.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use pushforward::data::images::pictures::ResizeFilter;

use super::{DeviceArgs, RunDataArgs, ranges};

/// How images are read and computed.
#[derive(Args, Clone, Debug)]
pub(crate) struct ImageArgs {
    /// Bring pictures of another size to the model's, cut to its proportions: nearest, triangle, catmull-rom, gaussian or
    /// lanczos3.
    #[arg(long, value_name = "FILTER")]
    pub(crate) resize: Option<ResizeFilter>,
    /// Images computed together.
    #[arg(long, default_value_t = 64, value_parser = ranges::count(ranges::TOGETHER))]
    pub(crate) batch: usize,
    /// Use the trained weights instead of their running average.
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) data: RunDataArgs,
}

/// Which images.
#[derive(Args, Clone, Debug)]
pub(crate) struct SourceArgs {
    /// A picture, a folder of pictures, or an IDX file, or a file of items of other kinds as `score` takes it; the model's own
    /// test split if absent.
    #[arg(value_name = "IMAGES")]
    pub(crate) images: Option<PathBuf>,
    /// Most images to take [default: all of a file or folder, 256 of the test split].
    #[arg(short = 'n', long, value_name = "N", value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) items: Option<usize>,
    #[command(flatten)]
    pub(crate) how: ImageArgs,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward encode runs/glyphs-aef photos --out codes.safetensors\n  pushforward encode runs/glyphs-aef -n 10\n\nWith deviations a code is the whole image: `decode` gives it back. A .safetensors file holds z, z0 and deviations; JSON lines hold z and z0, and deviations with --deviations."
)]
pub(crate) struct EncodeArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Output file, .safetensors or .jsonl, or - for JSON lines on stdout.
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) out: PathBuf,
    /// Put deviations into JSON lines too.
    #[arg(long)]
    pub(crate) deviations: bool,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward decode runs/glyphs-aef codes.safetensors --out images/\n  pushforward decode runs/glyphs-aef codes.safetensors --no-deviations --out means.png\n\nThe codes are the tensor `z` ([N, latent], F32), or `z0` where there is no `z`, and `deviations` where there are any."
)]
pub(crate) struct DecodeArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// Codes, as `encode` writes them.
    #[arg(value_name = "CODES.safetensors")]
    pub(crate) codes: PathBuf,
    /// Leave the deviations out: the image at deviation zero.
    #[arg(long)]
    pub(crate) no_deviations: bool,
    /// Output: a grid .png, .safetensors, .jsonl, a folder for one picture each (ends in /), or - for JSON lines on stdout; of items
    /// in classes, with the endings of `sample`.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Images computed together.
    #[arg(long, default_value_t = 64, value_parser = ranges::count(ranges::TOGETHER))]
    pub(crate) batch: usize,
    /// Use the trained weights instead of their running average.
    #[arg(long)]
    pub(crate) raw: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward reconstruct runs/glyphs-aef --out pairs.png\n  pushforward reconstruct runs/glyphs-aef photos --json"
)]
pub(crate) struct ReconstructArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Picture of the first images above their reconstructions (.png), or all of both (.safetensors); of items in classes, each
    /// followed by its reconstruction, with the endings of `sample`.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward denoise runs/fashion-denoise -n 2048 --out denoised.png\n  pushforward denoise runs/fashion-denoise --features runs/fashion-classifier --json\n  pushforward denoise runs/fashion-denoise noisy-photos --noise 0 --out denoised.png\n\nNoise is normal with the given deviation, where black is 0 and white is 1, and the sum is cut off there; the model then reconstructs the noisy image. Train a model for it with data.noise, as the preset fashion-denoise does."
)]
pub(crate) struct DenoiseArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Standard deviation of the noise that is added; 0 for images that have noise already.
    #[arg(long, default_value_t = 0.5, value_parser = ranges::not_negative)]
    pub(crate) noise: f64,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Classifier run; also compares its features of clean and denoised images.
    #[arg(long, value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) features: Option<PathBuf>,
    /// Picture of the first clean, noisy and denoised images (.png), or all of the three (.safetensors).
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward interpolate runs/glyphs-aef 3 17 --out path.png\n  pushforward interpolate runs/glyphs-aef a.png b.png --steps 12 --deviations --out path.png"
)]
pub(crate) struct InterpolateArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// A picture, a file with one item, or the number of an item of the model's own test split.
    #[arg(value_name = "A")]
    pub(crate) from: String,
    /// The other one.
    #[arg(value_name = "B")]
    pub(crate) to: String,
    /// Number of images, the two ends among them.
    #[arg(long, default_value_t = 8, value_parser = ranges::from(2, ranges::STEPS))]
    pub(crate) steps: usize,
    /// Interpolate deviations too, so that the ends are the images themselves.
    #[arg(long)]
    pub(crate) deviations: bool,
    /// Output: a .png, .safetensors, .jsonl, a folder for one picture each (ends in /), or - for JSON lines on stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) images: ImageArgs,
}

/// How log-densities of images are estimated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EstimatorName {
    /// Draws around the code in the shape that the decoder has there.
    GaussNewton,
    /// Draws of the model's own recognition.
    Recognition,
    /// The published estimator of AEF-linear, for comparison only: overstates every log-density by ln K.
    Published,
}
