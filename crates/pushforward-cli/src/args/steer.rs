//! Arguments of `steer`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ConditionArgs, ConstraintArgs, DeviceArgs, RunDataArgs, ranges};
use crate::shards::Shard;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodName {
    /// The best of every population.
    BestOf,
    /// Samples drawn again in proportion to exp(reward).
    Resample,
    /// Steps along the gradient of the reward at the predicted end.
    Gradient,
    /// Sequential Monte Carlo over the re-noising sampler.
    Smc,
    /// Sequential Monte Carlo over the diffusion along the flow.
    Tilt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EndsName {
    /// The endpoint, as the sampler renoise does.
    Mean,
    /// Classes drawn from the endpoint, with --ahead draws the best of several; for small items.
    Drawn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AheadName {
    /// The reward of the most probable classes of the predicted end.
    Mode,
    /// The mean of exp(reward) over items drawn from the predicted end.
    Draws,
    /// The differentiable reward of the predicted end.
    Soft,
}

#[derive(Args, Clone, Debug)]
#[command(
    after_help = "Rewards (docs of pushforward::reward):\n  any data     site(I, K)  site(I, A..B)  window(REWARD, A..B)  and sums, differences, products of rewards and numbers\n  images       ink  class(K)  similar(\"FILE\")  symmetric\n  text         contains(\"..\")  matches(\"..\")  charset(\"..\")  word_length  ngram; for sums: result(N)  correct\n  molecules    qed  logp  tpsa  weight  rings  substructure(\"SMARTS\")  tanimoto(\"SMILES\"); an invalid molecule has -20\n\nA program (--program) reads one JSON object a line, as `sample --out FILE.jsonl` writes them, and answers each with one line that\nholds a number, in order and at once (it has to flush). It is started again when it dies or takes too long.\n\nExamples:\n  pushforward steer runs/glyphs --reward '8*class(3)' --method smc -n 16 --nfe 8 --particles 16\n  pushforward steer runs/mnist-binary --reward '8*class(3)' --classifier runs/a --judge 'class(3)' --judge-classifier runs/b --judge-target=-0.69\n  pushforward steer runs/sums --reward '12*result(13) + 4*correct' --ends drawn --ahead draws --draw\n  pushforward steer runs/text8 --infill 'the __ of' --reward '3*contains(\"king\")'\n  pushforward steer runs/qm9 --reward '2*qed - 0.5*window(logp, 1..3)' --strength 5 --json\n  pushforward steer runs/text8 --program 'python3 score.py' --method best-of --particles 8\n  pushforward steer runs/qm9 --reward 'qed' -n 4096 --shard 2/8 --out rich.smi     (writes rich-2-of-8.steer, for merge)"
)]
pub(crate) struct SteerArgs {
    /// Run folder, checkpoint or name of a model.
    #[arg(value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) model: PathBuf,
    /// What is wanted, such as '2*qed - 0.5*window(logp, 1..3)'; not needed where a constraint is given.
    #[arg(long, value_name = "SPEC", required_unless_present_any = ["program", "infill", "mask", "fix", "forbid", "require"])]
    pub(crate) reward: Option<String>,
    /// A program of your own whose numbers are added to the reward.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) program: Option<String>,
    /// Seconds that the program may take for an answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0, value_parser = ranges::duration)]
    pub(crate) timeout: f64,
    /// Factor of the reward: the distribution of the samples is tilted by exp(strength * reward).
    #[arg(long, default_value_t = 1.0, value_parser = ranges::positive)]
    pub(crate) strength: f64,
    /// How the reward is reached.
    #[arg(long, value_enum, default_value_t = MethodName::Smc)]
    pub(crate) method: MethodName,
    /// Number of samples.
    #[arg(short = 'n', long, default_value_t = 16, value_parser = ranges::count(ranges::ITEMS))]
    pub(crate) count: usize,
    /// Particles of a population.
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = ranges::count(ranges::TOGETHER))]
    pub(crate) particles: usize,
    /// Samples that a population gives: more cost less and resemble each other.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = ranges::count(ranges::TOGETHER))]
    pub(crate) keep: usize,
    /// Steps of every particle; a step costs one network evaluation, two or three with `tilt` and, with `gradient`, one and two more for every round.
    #[arg(long, default_value_t = 4, value_parser = ranges::count(ranges::STEPS))]
    pub(crate) nfe: usize,
    /// Items that --ahead draws, and --draw in the end, draw for every particle.
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = ranges::count(ranges::STEPS))]
    pub(crate) draws: usize,
    /// Estimate of the value of an unfinished item in smc and tilt; soft gives tilt a gradient.
    #[arg(long, value_enum, default_value_t = AheadName::Mode)]
    pub(crate) ahead: AheadName,
    /// Draw the last classes instead of taking the most probable ones.
    #[arg(long)]
    pub(crate) draw: bool,
    /// Make molecules of samples that are none, as in `sample`: rewards are of what they become.
    #[arg(long)]
    pub(crate) correct: bool,
    /// Which predicted endpoints smc renoises.
    #[arg(long, value_enum, default_value_t = EndsName::Mean)]
    pub(crate) ends: EndsName,
    /// Power of time by which the value of an unfinished item counts.
    #[arg(long, value_name = "P", default_value_t = 1.0, value_parser = ranges::not_negative)]
    pub(crate) tempering: f64,
    /// Resample when the effective sample size falls below this share of the particles.
    #[arg(long, value_name = "SHARE", default_value_t = 0.5, value_parser = ranges::share)]
    pub(crate) threshold: f64,
    /// Factor of the gradient in a step of the method gradient.
    #[arg(long, value_name = "A", default_value_t = 1.0, value_parser = ranges::not_negative)]
    pub(crate) step: f64,
    /// Moves along the gradient before every jump of the method gradient; with --nfe 1, a search for good noise.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = ranges::count(ranges::STEPS))]
    pub(crate) rounds: usize,
    /// How fast tilt draws noise anew.
    #[arg(long, value_name = "RATE", default_value_t = 1.0, value_parser = ranges::positive)]
    pub(crate) churn: f64,
    /// Classifier run for class(K).
    #[arg(long, value_name = "RUN|CHECKPOINT|NAME")]
    pub(crate) classifier: Option<PathBuf>,
    /// Second opinion: a reward that is reported of all samples and not followed, in the same language.
    #[arg(long, value_name = "SPEC")]
    pub(crate) judge: Option<String>,
    /// Classifier run for class(K) in the second opinion [default: that of --classifier].
    #[arg(long, value_name = "RUN|CHECKPOINT|NAME", requires = "judge")]
    pub(crate) judge_classifier: Option<PathBuf>,
    /// Report the share of samples of which the second opinion is at least this.
    #[arg(long, value_name = "REWARD", requires = "judge", value_parser = ranges::finite)]
    pub(crate) judge_target: Option<f64>,
    #[command(flatten)]
    pub(crate) constraints: ConstraintArgs,
    #[command(flatten)]
    pub(crate) condition: ConditionArgs,
    /// Report the share of samples whose reward is at least this.
    #[arg(long, value_name = "REWARD", value_parser = ranges::finite)]
    pub(crate) target: Option<f64>,
    /// Divides the logits.
    #[arg(long, default_value_t = 1.0, value_parser = ranges::temperature)]
    pub(crate) temperature: f64,
    /// Seed of the noise.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Particles computed together; does not change what a sample is.
    #[arg(long, default_value_t = 256, value_parser = ranges::count(ranges::TOGETHER))]
    pub(crate) batch: usize,
    /// Use the trained weights instead of their running average.
    #[arg(long)]
    pub(crate) raw: bool,
    /// Draw one of N parts of the populations, for as many processes or machines: the first of 8 is 1/8. `merge` writes, prints and
    /// draws what one process does.
    #[arg(long, value_name = "I/N", requires = "out", conflicts_with_all = ["json", "pictures"])]
    pub(crate) shard: Option<Shard>,
    /// Output file, with the endings of `sample`.
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Folder for samples before and after, the histogram of rewards and the trace of effective sample sizes.
    #[arg(long, value_name = "DIR")]
    pub(crate) pictures: Option<PathBuf>,
    /// Print everything as one JSON object.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) device: DeviceArgs,
    #[command(flatten)]
    pub(crate) data: RunDataArgs,
}
