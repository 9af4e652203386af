//! Arguments of conditions, guidance and constraints.

use std::path::PathBuf;

use clap::Args;

use super::ranges;

/// Condition and guidance of samples, for models trained with them.
#[derive(Args, Clone, Debug)]
pub(crate) struct ConditionArgs {
    /// Labels of a model trained with them, by name or number, in turn over the items; `inspect` lists them. If absent, they are
    /// drawn as often as the training data have them, and hidden where something else is told; `none` hides them.
    #[arg(long = "label", value_delimiter = ',', value_name = "LABEL,...")]
    pub(crate) labels: Vec<String>,
    /// Text that every item of a model trained with prefixes begins with.
    #[arg(long, value_name = "TEXT")]
    pub(crate) prefix: Option<String>,
    /// Weight of guidance, 1 for none: above 1, samples keep closer to their label or prefix or, with --weak, away from a weaker
    /// model. It doubles the network evaluations.
    #[arg(long, value_name = "W", default_value_t = 1.0, value_parser = ranges::guidance)]
    pub(crate) guidance: f64,
    /// A weaker model to be guided away from, such as an early checkpoint of the same run.
    #[arg(long, value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) weak: Option<PathBuf>,
}

impl ConditionArgs {
    /// Whether none of the options is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.prefix.is_none() && self.weak.is_none() && self.guidance == 1.0
    }
}

/// Constraints on samples, for any flow map.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ConstraintArgs {
    /// Of sequences, a pattern such as NNNTATAWAW, whose letters may stand for several as usual and `_` for any; it begins at the
    /// first letter, or at a place as in 261:TATAAA. Of other texts, one whose blanks `_` are filled and whose other symbols are kept; it begins the item. `\n`, `\t`, `\_` and `\\` are a line break, a tab,
    /// an underscore and a backslash.
    #[arg(long, value_name = "TEXT")]
    pub(crate) infill: Option<String>,
    /// Picture whose black and white pixels are kept; what is transparent, or grey between 64 and 191, is filled.
    #[arg(long, value_name = "FILE.png")]
    pub(crate) mask: Option<PathBuf>,
    /// Part of a molecule that is kept, atoms and bonds between them; more may be bonded to it. In samples of a model that is told any
    /// parts it is where it belongs, else, and where samples are steered, it is the first atoms.
    #[arg(long, value_name = "SMILES")]
    pub(crate) fix: Option<String>,
    /// Conditions on columns of a table, all of which hold: 'sex=Female, age=30..40, education in (Bachelors, Masters)'.
    #[arg(long = "where", value_name = "CONDITIONS")]
    pub(crate) wanted: Option<String>,
    /// Classes that no site takes: symbols of a text, elements with their charge of a molecule (N,O-1), else numbers (0,3).
    #[arg(long, value_name = "CLASSES")]
    pub(crate) forbid: Option<String>,
    /// The classes that a site may take, such as 0:abc in a text or 3:0,2 elsewhere (repeatable).
    #[arg(long, value_name = "SITE:CLASSES")]
    pub(crate) require: Vec<String>,
}

impl ConstraintArgs {
    /// Whether none of the options is given.
    pub(crate) fn is_empty(&self) -> bool {
        self.infill.is_none()
            && self.mask.is_none()
            && self.fix.is_none()
            && self.wanted.is_none()
            && self.forbid.is_none()
            && self.require.is_empty()
    }
}
