//! Arguments of `eval` and `score`.

use std::path::PathBuf;

use clap::Args;
use pushforward::data::images::pictures::ResizeFilter;
use pushforward::transport::density::Density;

use crate::shards::Shard;

use super::{ConditionArgs, DeviceArgs, EstimatorName, RunDataArgs, SamplerArgs, ranges};

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward eval runs/glyphs --nfe 1,2,4,8\n  pushforward eval runs/mnist-binary --features runs/mnist-classifier --json > report.json\n  pushforward eval runs/conditional --label 0,1,2,3,4,5,6,7,8,9 --guidance 2 --features runs/mnist-classifier\n  pushforward eval runs/qm9 -n 10000 --nfe 1 --repeats 5 --features chemnet.safetensors\n  pushforward eval runs/glyphs --html glyphs.html\n  pushforward eval runs/glyphs --samples merged.jsonl --nfe 2\n  pushforward eval runs/adult --samples ctgan.csv --nfe 1"
)]
pub(crate) struct EvalArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// Network evaluations per item [default: the recipe's].
    #[arg(long, value_delimiter = ',', value_name = "N,N,...", value_parser = ranges::count(ranges::STEPS))]
    pub(crate) nfe: Option<Vec<usize>>,
    /// Measure the samples of a file in place of new ones: .jsonl or .safetensors as `sample --out` and `merge` write them, or rows of
    /// a table, sequences or lines of text by any generator; --nfe says how they were drawn (1, if by another one).
    #[arg(long, value_name = "FILE", requires = "nfe", conflicts_with_all = ["count", "repeats"])]
    pub(crate) samples: Option<PathBuf>,
    /// Number of samples per row [default: the recipe's].
    #[arg(short = 'n', long, value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) count: Option<usize>,
    /// Draw and measure samples N times and give means with intervals over repeats [default: 1].
    #[arg(long, value_name = "N", value_parser = ranges::count(ranges::REPEATS))]
    pub(crate) repeats: Option<usize>,
    /// Held-out items for the likelihood bound, 0 for none [default: the recipe's].
    #[arg(long, value_name = "N", value_parser = ranges::from(0, ranges::ITEMS))]
    pub(crate) bound_items: Option<usize>,
    /// Held-out images whose log-density is measured, by models of continuous images [default: the recipe's].
    #[arg(long, value_name = "N", value_parser = ranges::from(0, ranges::ITEMS))]
    pub(crate) images: Option<usize>,
    /// Draws per image where the log-density is estimated [default: the recipe's].
    #[arg(long, value_name = "K", value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) draws: Option<usize>,
    /// Density of a flow map as the prior: bound, ode or map [default: ode].
    #[arg(long)]
    pub(crate) density: Option<Density>,
    /// Classifier run for Fréchet distance and class balance of images or sequences, or ChemNet's weights for the Fréchet ChemNet distance of
    /// molecules: `experiments/chemnet.py convert chemnet.safetensors` writes them from the Python package `fcd`, whose file
    /// ChemNet_v0.13_pretrained.pt has SHA-256 c22e9776..951a [default: the recipe's].
    #[arg(long, value_name = "RUN|CHECKPOINT|NAME|CHEMNET")]
    pub(crate) features: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write the JSON report to a file.
    #[arg(long, value_name = "FILE.json")]
    pub(crate) report: Option<PathBuf>,
    /// Also write a page to look at, one file of HTML: samples, curves of the training, figures, the recipe.
    #[arg(long, value_name = "FILE.html")]
    pub(crate) html: Option<PathBuf>,
    /// Draw pictures of sequences or rows of tables into a folder: a logo, letters by position, lengths; columns, and pairs of
    /// them.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) pictures: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) condition: ConditionArgs,
    #[command(flatten)]
    pub(crate) sampler: SamplerArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) data: RunDataArgs,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  pushforward score runs/text8 lines.txt\n  pushforward score runs/glyphs --items 100 --json\n  pushforward score runs/glyphs-aef photos --sort\n  pushforward score runs/mnist-aef --estimator recognition --draws 1000 --out scores.jsonl\n  pushforward score runs/fashion-map-aef -n 32 --density bound\n  pushforward score runs/text8 lines.txt --shard 2/8 --out scores.jsonl     (writes scores-2-of-8.jsonl)"
)]
pub(crate) struct ScoreArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// A text file with one item a line, rows of a table, an IDX file of images or, for an autoencoder, a picture or a folder of pictures; the
    /// model's own test split if absent.
    #[arg(value_name = "DATA")]
    pub(crate) file: Option<PathBuf>,
    /// Most items to score [default: all of a file or folder, 256 of the test split].
    #[arg(short = 'n', long, value_name = "N", value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) items: Option<usize>,
    /// Draws per item; more draws, smaller error [default: 32 for a flow map, the recipe's for an autoencoder].
    #[arg(long, value_name = "K", value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) draws: Option<usize>,
    /// Sites that the model is told, so that the score is that of the others given these: numbers from 0 and ranges, such as
    /// 0..15,48, or names of columns. For models that are told any sites (model.condition.kind = observed).
    #[arg(long, value_name = "SITES")]
    pub(crate) given: Option<String>,
    /// Density of a flow map as the prior: bound, ode or map [default: ode].
    #[arg(long)]
    pub(crate) density: Option<Density>,
    /// How an autoencoder without an exact density is scored [default: gauss-newton].
    #[arg(long, value_enum)]
    pub(crate) estimator: Option<EstimatorName>,
    /// Scale of the recognition's noise for the estimators recognition and published [default: the model's own].
    #[arg(long, value_name = "S", value_parser = ranges::positive)]
    pub(crate) noise_scale: Option<f64>,
    /// Bring pictures of another size to the model's, cut to its proportions: nearest, triangle, catmull-rom, gaussian or
    /// lanczos3.
    #[arg(long, value_name = "FILTER")]
    pub(crate) resize: Option<ResizeFilter>,
    /// Least likely items first.
    #[arg(long)]
    pub(crate) sort: bool,
    /// Score one of N parts of the items, for as many processes or machines: the first of 8 is 1/8. The file gets the part in its
    /// name, and `merge` puts all together.
    #[arg(long, value_name = "I/N", requires = "out", conflicts_with = "sort")]
    pub(crate) shard: Option<Shard>,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Also write the items to a .jsonl file.
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) out: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) data: RunDataArgs,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward calibrate runs/glyphs\n  pushforward calibrate runs/qm9-cpu --grids 2,4,8\n  pushforward calibrate runs/people --margins 1,4\n\nOf the bound, two numbers for each of 20 noise levels are fitted to items of the validation part and kept in the checkpoint, for `eval` and `score`. `train` ends with this; it is for runs of older versions, or with more or other data. Samples stay as they are.\n\nWith --grids, the times of so many jumps are chosen by which samples end as along the differential equation from the same noise, and kept in the checkpoint: `sample` and `eval` with as many evaluations use them. It needs no data. A run that is resumed loses them; of 2,4,8, it takes about as long as 30,000 samples of eight evaluations. `train` of a table ends with this and the next, for the evaluations of eval.nfe (times for up to eight).\n\nWith --margins, factors of the last decision are fitted, by which samples have each class as often as the training items at every site, and kept in the checkpoint: `sample` and `eval` with as many evaluations use them where nothing is told. The dictionary of a table has the counts; other models need their data. It takes about as long as 16,000 samples. Of molecules, more are invalid and those that are valid, or corrected (--correct), are closer to the data."
)]
pub(crate) struct CalibrateArgs {
    /// Run folder, checkpoint or file of `models pack` of a flow map.
    #[arg(value_name = "RUN|CHECKPOINT")]
    pub(crate) model: PathBuf,
    /// Numbers of evaluations whose times are chosen, in place of the bound.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = ranges::count(64))]
    pub(crate) grids: Vec<usize>,
    /// Numbers of evaluations of which samples have every class as often as the training items at each site, in place of the bound.
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = ranges::count(64), conflicts_with = "grids")]
    pub(crate) margins: Vec<usize>,
    /// Samples by which times are chosen.
    #[arg(long, default_value_t = 256, value_parser = ranges::count(100_000), requires = "grids")]
    pub(crate) items: usize,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) data: RunDataArgs,
}
