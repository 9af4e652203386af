//! Command-line arguments: clap types and nothing else.

mod condition;
pub(crate) mod export;
mod images;
mod impute;
mod measure;
mod models;
pub(crate) mod ranges;
mod ranks;
mod serve;
mod shell;
mod steer;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use pushforward::data::Folders;
use pushforward::kernels::Precision;

use crate::shards::Shard;

pub(crate) use self::condition::{ConditionArgs, ConstraintArgs};
pub(crate) use self::export::ExportArgs;
pub(crate) use self::images::{
    DecodeArgs, DenoiseArgs, EncodeArgs, EstimatorName, ImageArgs, InterpolateArgs, ReconstructArgs, SourceArgs,
};
pub(crate) use self::impute::ImputeArgs;
pub(crate) use self::measure::{CalibrateArgs, EvalArgs, ScoreArgs};
pub(crate) use self::models::{ModelsAction, ModelsArgs, PackArgs};
pub(crate) use self::ranks::{RankArgs, WireName};
pub(crate) use self::serve::ServeArgs;
pub(crate) use self::shell::{CompletionsArgs, ManArgs};
pub(crate) use self::steer::{AheadName, EndsName, MethodName, SteerArgs};

/// Few-step generation of categorical data with flow maps, and autoencoders within flows: train, sample and evaluate from one
/// program.
#[derive(Debug, Parser)]
#[command(
    name = "pushforward",
    version,
    after_help = "Examples:\n  pushforward train                       train the default preset on a data set the program makes itself\n  pushforward train echo --set train.minutes=3\n  pushforward sample runs/glyphs --nfe 2 -n 64 --out digits.png\n  pushforward eval runs/glyphs --nfe 1,2,4,8 --json"
)]
pub(crate) struct Cli {
    /// Show results and errors only.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// Number of threads that are asked for.
    pub(crate) fn threads(&self) -> Option<usize> {
        match &self.command {
            Command::Train(args) => args.device.threads,
            Command::Sample(args) => args.device.threads,
            Command::Steer(args) => args.device.threads,
            Command::Eval(args) => args.device.threads,
            Command::Calibrate(args) => args.device.threads,
            Command::Score(args) => args.device.threads,
            Command::Impute(args) => args.device.threads,
            Command::Encode(args) => args.source.how.device.threads,
            Command::Decode(args) => args.device.threads,
            Command::Reconstruct(args) => args.source.how.device.threads,
            Command::Denoise(args) => args.source.how.device.threads,
            Command::Interpolate(args) => args.images.device.threads,
            Command::Serve(args) => args.device.threads,
            Command::Data(_)
            | Command::Merge(_)
            | Command::Models(_)
            | Command::Presets(_)
            | Command::Inspect(_)
            | Command::Export(_)
            | Command::Completions(_)
            | Command::Man(_) => None,
        }
    }

    /// Whether results are requested as JSON.
    pub(crate) fn json(&self) -> bool {
        match &self.command {
            Command::Eval(args) => args.json,
            Command::Score(args) => args.json,
            Command::Inspect(args) => args.json,
            Command::Models(args) => args.json,
            Command::Reconstruct(args) => args.json,
            Command::Denoise(args) => args.json,
            Command::Steer(args) => args.json,
            Command::Merge(args) => args.json,
            _ => false,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Train a model from a preset or a recipe.
    Train(TrainArgs),
    /// Draw samples from a trained model.
    Sample(SampleArgs),
    /// Draw samples of a flow map that are rich in a reward, or keep a constraint, without training.
    Steer(Box<SteerArgs>),
    /// Measure a trained model against its data set.
    Eval(EvalArgs),
    /// Log-likelihood of items under a trained model, or a bound of it.
    Score(ScoreArgs),
    /// Fit the likelihood bound of a flow map to held-out items, which makes it tighter.
    Calibrate(CalibrateArgs),
    /// Fill in the missing cells of a table.
    Impute(ImputeArgs),
    /// Turn images into codes.
    Encode(EncodeArgs),
    /// Turn codes into images.
    Decode(DecodeArgs),
    /// Encode and decode images, and measure what is lost.
    Reconstruct(ReconstructArgs),
    /// Add noise to images and take it away again.
    Denoise(DenoiseArgs),
    /// Walk from one image to another.
    Interpolate(InterpolateArgs),
    /// Put the parts of a sample, or of scores, together.
    Merge(MergeArgs),
    /// List, fetch or describe data sets.
    Data(DataArgs),
    /// Serve models over HTTP, with a page to play with.
    Serve(ServeArgs),
    /// List, describe, fetch or pack trained models.
    Models(ModelsArgs),
    /// List the presets, or print one as a recipe to start from.
    Presets(PresetsArgs),
    /// Describe a checkpoint.
    Inspect(InspectArgs),
    /// Write a model as an ONNX file, for other runtimes.
    Export(ExportArgs),
    /// Print the completions of a shell.
    Completions(CompletionsArgs),
    /// Write the manual pages.
    Man(ManArgs),
}

/// Where to compute.
#[derive(Args, Clone, Debug)]
pub(crate) struct DeviceArgs {
    /// Device: auto, cpu, wgpu, cuda or cuda:N.
    #[arg(long, default_value = "auto")]
    pub(crate) device: String,
    /// How exactly matrices are multiplied on a CPU [default: high, or what the recipe says].
    #[arg(long, value_enum)]
    pub(crate) precision: Option<PrecisionName>,
    /// Threads that compute on a CPU [default: $RAYON_NUM_THREADS or all cores].
    #[arg(long, value_name = "N", value_parser = ranges::count(ranges::THREADS))]
    pub(crate) threads: Option<usize>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum PrecisionName {
    /// As float32.
    F32,
    /// As pairs of bfloat16 numbers where the processor has a unit for them, else as float32.
    High,
    /// As bfloat16.
    Bf16,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::High => Self::High,
            PrecisionName::Bf16 => Self::Bf16,
        }
    }
}

/// Where data sets lie.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct DataDirArgs {
    /// Folder of the data sets [default: $PUSHFORWARD_DATA or the user's cache folder].
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Do not keep molecules that were read in the user's cache folder, and do not use those kept there.
    #[arg(long)]
    pub(crate) no_cache: bool,
}

impl DataDirArgs {
    pub(crate) fn folder(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(crate::fetch::default_data_dir)
    }

    /// The data folder, and the place for molecules that were read.
    pub(crate) fn folders(&self) -> DataFolders {
        DataFolders { data: self.folder(), cache: crate::fetch::cache_dir().filter(|_| !self.no_cache) }
    }
}

/// See [`Folders`].
pub(crate) struct DataFolders {
    data: PathBuf,
    cache: Option<PathBuf>,
}

impl<'a> From<&'a DataFolders> for Folders<'a> {
    fn from(folders: &'a DataFolders) -> Self {
        Self { data: &folders.data, cache: folders.cache.as_deref() }
    }
}

/// Where the data of a run are.
#[derive(Args, Clone, Debug)]
pub(crate) struct RunDataArgs {
    #[command(flatten)]
    pub(crate) place: DataDirArgs,
    /// Go on if the files of the data have changed since the training.
    #[arg(long)]
    pub(crate) other_data: bool,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward train\n  pushforward train mnist-binary --data-dir data --set train.minutes=30\n  pushforward train my-recipe.toml --out runs/mine\n  pushforward train --resume runs/mine\n  mpirun -n 8 pushforward train qm9\n  pushforward train qm9 --dry-run --ranks 64 --link 25"
)]
pub(crate) struct TrainArgs {
    /// A preset's name, a recipe file, or a file of data: a table, sequences, molecules or text, whose content decides the preset [default: glyphs, or the
    /// preset for the set that --set data.set names].
    #[arg(value_name = "PRESET|RECIPE.toml|FILE", conflicts_with = "resume")]
    pub(crate) recipe: Option<String>,
    /// Override a key of the recipe, such as train.lr=1e-3 (repeatable).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    /// Folder of the run [default: runs/NAME, or runs/NAME-2 and so on].
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with an interrupted run; only the length of the run may be overridden.
    #[arg(long, value_name = "DIR")]
    pub(crate) resume: Option<PathBuf>,
    /// Length of the run in minutes: short for --set train.minutes=M.
    #[arg(long, value_name = "MINUTES", value_parser = ranges::duration)]
    pub(crate) minutes: Option<f64>,
    /// Stop after so many minutes, leaving a run that can be resumed.
    #[arg(long, value_name = "MINUTES", value_parser = ranges::duration)]
    pub(crate) max_minutes: Option<f64>,
    /// Skip the samples and measurements at the end.
    #[arg(long)]
    pub(crate) no_eval: bool,
    #[command(flatten)]
    pub(crate) ranks: RankArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) data: DataDirArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum SamplerName {
    /// Jumps of the flow map.
    Map,
    /// Euler steps along the velocity.
    Euler,
    /// Heun steps along the velocity (odd NFE).
    Heun,
    /// Adaptive Dormand-Prince steps along the velocity.
    Dopri5,
    /// Jumps to the end, or past the next time, with fresh noise in between (--gamma).
    Renoise,
}

/// How samples are drawn.
#[derive(Args, Clone, Debug)]
pub(crate) struct SamplerArgs {
    /// Sampling method of flow maps [default: map]; of those that are a prior map or euler.
    #[arg(long, value_enum)]
    pub(crate) sampler: Option<SamplerName>,
    /// Divides the logits of a flow map, scales the base variable of an autoencoder; below 1 samples get less diverse
    /// [default: 1].
    #[arg(long, value_parser = ranges::temperature)]
    pub(crate) temperature: Option<f64>,
    /// How much of the noise renoise draws anew, from 0 (the map) to 1 (all of it) [default: 1].
    #[arg(long, value_parser = ranges::share)]
    pub(crate) gamma: Option<f64>,
    /// Error bound of dopri5 [default: 1e-3].
    #[arg(long, value_parser = ranges::positive)]
    pub(crate) tolerance: Option<f64>,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Items computed together; does not change what an item is.
    #[arg(long, default_value_t = 256, value_parser = ranges::count(ranges::TOGETHER))]
    pub(crate) batch: usize,
    /// Make molecules of graphs that are none, because an atom has too many bonds or the graph has parts, by the likeliest changes of
    /// atoms and bonds. Say so beside figures of validity: they are of the correction then.
    #[arg(long)]
    pub(crate) correct: bool,
    /// Leave noise on the diagonal of a graph's edges, as the published sampler does: for comparison with it.
    #[arg(long)]
    pub(crate) diagonal_noise: bool,
    /// Use the trained weights instead of their running average.
    #[arg(long)]
    pub(crate) raw: bool,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward merge --out new.smi new-*-of-8.smi              (sample, score)\n  pushforward merge --out rich.smi --json rich-*-of-8.steer  (steer: writes and prints what steer does)\n  pushforward merge --out genomes genomes-*-of-8.items       (data prepare: reads the source once more)"
)]
pub(crate) struct MergeArgs {
    /// Files that `sample`, `score`, `steer` or `data prepare` with --shard I/N has written, all N of them in any order, each with its
    /// .part.json beside it.
    #[arg(value_name = "PART", required = true)]
    pub(crate) parts: Vec<PathBuf>,
    /// The file of all items; of data, the folder of the set.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,
    /// Of parts of steer: print everything as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    /// Of parts of steer: folder for samples before and after, the histogram of rewards and the trace of effective sample sizes.
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) data: DataDirArgs,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Examples:\n  pushforward sample runs/glyphs -n 100 --nfe 1 --out digits.png\n  pushforward sample runs/text8 --nfe 8 --sampler renoise --gamma 0.5 --out -\n  pushforward sample runs/echo --grid 0,0.3,0.7,1\n  pushforward sample runs/glyphs --label 3 --guidance 2     (trained with model.condition.kind = label)\n  pushforward sample runs/qm9 --fix c1ccccc1 --forbid F -n 20 --out phenyls.svg\n  pushforward sample runs/qm9 -n 10000 --correct --out new.smi\n  pushforward sample runs/names --length 6 -n 20 --out names.txt\n  pushforward sample runs/promoters -n 1000 --out promoters.fasta\n  pushforward sample runs/glyphs-aef --mean --temperature 0.85 --out digits.png\n  pushforward sample runs/fashion-map-aef --nfe 4 --out clothes.png\n  pushforward sample runs/qm9 -n 1000000 --shard 2/8 --out new.smi      (writes new-2-of-8.smi)"
)]
pub(crate) struct SampleArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// Number of items.
    #[arg(short = 'n', long, default_value_t = 64, value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) count: usize,
    /// Network evaluations per item of a flow map, also as the prior of an autoencoder [default: 1].
    #[arg(long, conflicts_with = "grid", value_parser = ranges::count(ranges::STEPS))]
    pub(crate) nfe: Option<usize>,
    /// Draw every item from the likeliest of so many draws of the latent's noise, by the estimate beside a flow map as the prior
    /// (model.prior.volume): rare items become rarer.
    #[arg(long, value_name = "K", value_parser = ranges::count(ranges::STEPS))]
    pub(crate) likeliest: Option<usize>,
    /// A file of rows of a table whose cells are given, and whose missing cells and columns are drawn; item i has the cells of
    /// row i, in turn. For models that take any columns.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["wanted", "prefix"])]
    pub(crate) where_file: Option<PathBuf>,
    /// Times of one's own for a flow map, increasing from 0 to 1.
    #[arg(long, value_delimiter = ',', value_name = "T,T,...", value_parser = ranges::share)]
    pub(crate) grid: Option<Vec<f64>>,
    /// Draw a flow map's last classes instead of taking the most probable ones.
    #[arg(long)]
    pub(crate) draw: bool,
    /// Nodes of every graph [default: drawn as often as in the training data].
    #[arg(long, value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) nodes: Option<usize>,
    /// Letters of every sequence [default: drawn as often as in the training data].
    #[arg(long, value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) length: Option<usize>,
    /// Mean images of an autoencoder: leave out the deviations of its output distribution.
    #[arg(long)]
    pub(crate) mean: bool,
    /// Index of the first item: -n 10 --first 20 gives items 20 to 29 of a larger sample.
    #[arg(long, default_value_t = 0, value_parser = ranges::index)]
    pub(crate) first: u64,
    /// Draw one of N parts of the items, for as many processes or machines: the first of 8 is 1/8. The file gets the part in its
    /// name, and `merge` puts all together.
    #[arg(long, value_name = "I/N", requires = "out")]
    pub(crate) shard: Option<Shard>,
    /// Output file; its ending decides the format: .png .txt .jsonl .csv .safetensors, for tables also .parquet, for molecules
    /// .smi .svg, for sequences .fasta, a folder for one picture each (ends in /), or - for stdout.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) condition: ConditionArgs,
    #[command(flatten)]
    pub(crate) constraints: ConstraintArgs,
    #[command(flatten)]
    pub(crate) sampler: SamplerArgs,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward data list\n  pushforward data fetch mnist\n  pushforward data info echo\n  pushforward data info corpus.txt\n  pushforward data info photos"
)]
pub(crate) struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub(crate) action: DataAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DataAction {
    /// List the known data sets and whether they are here.
    #[command(after_help = "Example:\n  pushforward data list")]
    List(DataDirArgs),
    /// Download a data set from its standard source.
    #[command(after_help = "Example:\n  pushforward data fetch mnist")]
    Fetch {
        /// Name of the set.
        name: String,
        #[command(flatten)]
        data: DataDirArgs,
    },
    /// Read a set once, in a stream, and write it as class indices that are read item by item: for sets larger than memory.
    #[command(
        after_help = "Examples:\n  pushforward data prepare corpus.txt --out corpus --set data.length=128\n  pushforward data prepare genomes.fasta.gz --out genomes\n  pushforward train genomes\n  mpirun -n 8 pushforward data prepare molecules.csv --out molecules\n  pushforward data prepare molecules.csv --out molecules --shard 2/8     (writes molecules-2-of-8.items)"
    )]
    Prepare {
        /// A file, the name of a set, or a recipe whose data are prepared.
        #[arg(value_name = "FILE|SET|RECIPE")]
        name: String,
        /// The folder to write; it does not exist yet, or is empty.
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// Override a setting of the data as in a recipe, such as data.length=128 (repeatable).
        #[arg(long = "set", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// Make the items of one of N parts of the source, for as many processes or machines: the first of 8 is 1/8. `merge` makes
        /// the set of all parts.
        #[arg(long, value_name = "I/N")]
        shard: Option<Shard>,
        #[command(flatten)]
        data: DataDirArgs,
    },
    /// Describe a data set by name, or a file of text or molecules, a picture or a folder of pictures by path.
    #[command(
        after_help = "Examples:\n  pushforward data info glyphs\n  pushforward data info table.csv --set data.column=structure\n  pushforward data info lines.txt --set data.set=molecules"
    )]
    Info {
        /// Name of a set, or path of a file of text or molecules, a picture or a folder of pictures.
        #[arg(value_name = "NAME|PATH")]
        name: String,
        /// Override a setting of the data as in a recipe, such as data.column=structure (repeatable).
        #[arg(long = "set", value_name = "KEY=VALUE")]
        overrides: Vec<String>,
        /// The column of SMILES of a table, by heading or number: short for --set data.column.
        #[arg(long)]
        column: Option<String>,
        #[command(flatten)]
        data: DataDirArgs,
    },
}

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward presets\n  pushforward presets echo > mine.toml\n  pushforward train mine.toml"
)]
pub(crate) struct PresetsArgs {
    /// Print this preset's recipe.
    pub(crate) name: Option<String>,
}

#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  pushforward inspect runs/glyphs\n  pushforward inspect model.safetensors --json")]
pub(crate) struct InspectArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn definitions_hold_together_and_every_command_shows_an_example() {
        fn key(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "`{}` shows no example", command.get_name());
            command.get_subcommands().for_each(key);
        }
        let command = Cli::command();
        command.clone().debug_assert();
        key(&command);
    }
}
