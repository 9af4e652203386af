//! Arguments of training by several processes.

use clap::{Args, ValueEnum};

use super::ranges;

/// How the processes of a run add their gradients.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Several processes (mpirun -n N pushforward train ...)")]
pub(crate) struct RankArgs {
    /// Add gradients in the order of one process, so that the result is that of one process with N times the micro-batches, bit for
    /// bit.
    #[arg(long)]
    pub(crate) reproducible: bool,
    /// What gradients travel as; they are added as float32.
    #[arg(long, value_enum, default_value = "f32")]
    pub(crate) wire: WireName,
    /// Size of the parts in which gradients travel, in MiB of float32 numbers.
    #[arg(long, value_name = "MIB", default_value_t = 4, value_parser = ranges::count(ranges::MEBIBYTES))]
    pub(crate) bucket: usize,
    /// Send gradients after the backward pass, and not while it runs.
    #[arg(long)]
    pub(crate) no_overlap: bool,
    /// Compare the parameters of all processes every so many steps, and before every checkpoint.
    #[arg(long, value_name = "STEPS", default_value_t = 100, value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) check_every: usize,
    /// Train nothing: measure a few steps here, and say what a run by several processes would need and how long a step would take.
    #[arg(long, conflicts_with_all = ["resume", "out"])]
    pub(crate) dry_run: bool,
    /// Seconds of a micro-batch for --dry-run, in place of a measurement: of another machine, or a larger model.
    #[arg(long, value_name = "SECONDS", requires = "dry_run", value_parser = ranges::positive)]
    pub(crate) seconds: Option<f64>,
    /// Processes of the run that --dry-run is about [default: 2 to 1024].
    #[arg(long, value_name = "N", requires = "dry_run", value_parser = ranges::count(ranges::PROCESSES))]
    pub(crate) ranks: Option<usize>,
    /// Their network for --dry-run, in Gbit/s.
    #[arg(long, value_name = "GBIT", default_value_t = 10.0, value_parser = ranges::positive)]
    pub(crate) link: f64,
    /// Its latency for --dry-run, in microseconds.
    #[arg(long, value_name = "MICROSECONDS", default_value_t = 30.0, value_parser = ranges::positive)]
    pub(crate) latency: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WireName {
    /// As float32.
    F32,
    /// As bfloat16: half of the bytes.
    Bf16,
}
