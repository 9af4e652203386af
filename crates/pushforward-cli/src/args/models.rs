//! Arguments of `models`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use pushforward::train::checkpoint::Half;

#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  pushforward models\n  pushforward models show glyphs\n  pushforward sample glyphs -n 100 --out digits.png\n  pushforward models pack runs/mine --out mine.safetensors.gz"
)]
pub(crate) struct ModelsArgs {
    /// What to do [default: list].
    #[command(subcommand)]
    pub(crate) action: Option<ModelsAction>,
    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ModelsAction {
    /// List the models that come with the program, and those that can be fetched.
    #[command(after_help = "Example:\n  pushforward models list")]
    List,
    /// Print the card of a model: data, recipe, training, figures, limits.
    #[command(
        after_help = "Examples:\n  pushforward models show glyphs\n  pushforward models show runs/mine > card.md"
    )]
    Show {
        /// Run folder, checkpoint or name of a model.
        #[arg(value_name = "MODEL")]
        model: PathBuf,
    },
    /// Download a model that is too large to come with the program; `models` lists them. In a clone they are files of the folder `models`.
    #[command(after_help = "Example:\n  pushforward models fetch qm9")]
    Fetch {
        /// Name of the model.
        name: String,
    },
    /// Write a small file of a run: averaged weights in half precision, compressed; it loads like any checkpoint.
    #[command(
        after_help = "Examples:\n  pushforward models pack runs/mine --out mine.safetensors.gz\n  pushforward models pack runs/mine --out mine.safetensors.gz --numbers f16 --machine '2 cores of a Xeon'"
    )]
    Pack(PackArgs),
}

#[derive(Args, Debug)]
pub(crate) struct PackArgs {
    /// Run folder or checkpoint.
    #[arg(value_name = "RUN|CHECKPOINT")]
    pub(crate) run: PathBuf,
    /// The file to write.
    #[arg(long, value_name = "FILE.safetensors.gz")]
    pub(crate) out: PathBuf,
    /// Type of the numbers.
    #[arg(long, value_enum, default_value_t = HalfName::Bf16)]
    pub(crate) numbers: HalfName,
    /// A report of `eval` for the card [default: report.json of the run folder].
    #[arg(long, value_name = "FILE.json")]
    pub(crate) report: Option<PathBuf>,
    /// What it was trained on, for the card, such as '2 cores of a Xeon'.
    #[arg(long, value_name = "TEXT")]
    pub(crate) machine: Option<String>,
    /// The licence of the data, for the card. Default: that of a published set.
    #[arg(long, value_name = "TEXT")]
    pub(crate) licence: Option<String>,
    /// What the model is, in a line, for the card. Default: the description in its recipe.
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum HalfName {
    /// bfloat16: 8 binary digits, the smaller file.
    Bf16,
    /// float16: 11 binary digits.
    F16,
}

impl From<HalfName> for Half {
    fn from(name: HalfName) -> Self {
        match name {
            HalfName::Bf16 => Self::Bf16,
            HalfName::F16 => Self::F16,
        }
    }
}
