//! The processes of one request, started by `mpirun` or `srun`: each is a rank.
//!
//! The first rank prints and writes. A rank that fails ends without taking leave of the others, which the launcher sees; it then
//! ends the whole job and names the rank.

use std::sync::{Arc, Mutex, PoisonError};

use pushforward::ranks::codec::{Reader, Writer};
use pushforward::ranks::{RankError, Ranks};

use crate::args::{Command, DataAction};
use crate::exit::{Failure, OrFail as _};
use crate::printer::Printer;

/// The ranks that this process is one of; `None` for a process on its own.
static TEAM: Mutex<Option<Arc<Ranks>>> = Mutex::new(None);

/// Variables that launchers set for every process, with the number of processes or the place of one.
const LAUNCHED: [&str; 5] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "PMI_RANK", "SLURM_STEP_NUM_TASKS"];
/// Those with the number of processes.
const SIZES: [&str; 3] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Joins the other processes of a launcher, if there is one; returns a printer that is silent but on the first rank.
///
/// # Errors
/// If the processes cannot work together on the command.
pub(crate) fn join(command: &Command, printer: Printer) -> Result<Printer, Failure> {
    if !LAUNCHED.iter().any(|name| std::env::var_os(name).is_some()) {
        return Ok(printer);
    }
    let parts = match command {
        Command::Sample(args) => args.shard.is_some(),
        Command::Score(args) => args.shard.is_some(),
        Command::Steer(args) => args.shard.is_some(),
        Command::Data(args) => matches!(args.action, DataAction::Prepare { shard: Some(_), .. }),
        _ => false,
    };
    if parts {
        // Each process has its own part, and needs no other.
        return Ok(printer);
    }
    let several = SIZES.iter().find_map(|name| std::env::var(name).ok()).is_some_and(|size| size != "1");
    let shared = match command {
        Command::Train(_) | Command::Sample(_) | Command::Eval(_) | Command::Score(_) | Command::Steer(_) => true,
        Command::Data(args) => matches!(args.action, DataAction::Prepare { .. }),
        _ => false,
    };
    if !shared && several {
        return Err(Failure::request("this command is for one process, and a launcher has started several")
            .hint("train, sample, eval, score, steer and data prepare are for several"));
    }
    if !shared {
        return Ok(printer);
    }
    let Some(ranks) = open(printer, several)? else { return Ok(printer) };
    let rank = ranks.rank();
    let printer = Printer { rank, quiet: printer.quiet || rank > 0, ..printer };
    printer.note(&format!("{} processes work together", ranks.size()));
    *TEAM.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(ranks));
    Ok(printer)
}

#[cfg(feature = "mpi")]
fn open(printer: Printer, several: bool) -> Result<Option<Ranks>, Failure> {
    let ranks = crate::mpi::open(printer).or_run()?;
    if several && ranks.size() == 1 {
        return Err(Failure::request("a launcher has started several processes, and MPI sees only this one")
            .hint("start them by the mpirun of the MPI that the program was built with, or by srun --mpi=pmix"));
    }
    Ok(Some(ranks))
}

#[cfg(not(feature = "mpi"))]
fn open(_: Printer, several: bool) -> Result<Option<Ranks>, Failure> {
    if !several {
        return Ok(None);
    }
    Err(Failure::request("a launcher has started several processes, and this program was built without MPI").hint(
        "cargo install --path crates/pushforward-cli --features mpi; or draw parts by --shard I/N, which needs no MPI",
    ))
}

/// The ranks of this request; one alone where there is no launcher.
pub(crate) fn team() -> Arc<Ranks> {
    let team = TEAM.lock().unwrap_or_else(PoisonError::into_inner);
    team.clone().unwrap_or_else(|| Arc::new(Ranks::alone()))
}

/// Whether other processes work on this request.
pub(crate) fn several() -> bool {
    team().size() > 1
}

/// Ends the work together, when this rank has done its part.
///
/// # Errors
/// If another rank has not.
pub(crate) fn leave() -> Result<(), Failure> {
    let team = TEAM.lock().unwrap_or_else(PoisonError::into_inner).take();
    team.map_or(Ok(()), |team| team.from_first(Vec::new).map(drop).map_err(|e| Failure::Run(e.into())))
}

/// Does something on the first rank alone, while the others wait.
///
/// # Errors
/// That of the work, on the first rank.
pub(crate) fn on_first(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    let mut done = Ok(());
    let waited = team().from_first(|| {
        done = work();
        Vec::new()
    });
    done?;
    waited.map(drop).map_err(|e| Failure::Run(e.into()))
}

/// Puts numbers of items that each rank has computed for a range of them together, in order.
///
/// # Errors
/// If the ranks cannot go on together.
pub(crate) fn join_numbers(own: &mut Vec<f64>) -> Result<(), Failure> {
    let all = team().gather(Writer::default().f64s(own).bytes()).or_run()?;
    let parts: Result<Vec<Vec<f64>>, _> = all.iter().map(|bytes| Reader::new(bytes).f64s()).collect();
    *own = parts.or_run()?.concat();
    Ok(())
}

/// Pixels that each rank draws for a range of images, put together in order.
///
/// # Errors
/// That of `draw`, or if the ranks cannot go on together.
pub(crate) fn join_pixels(draw: impl FnOnce() -> Result<Vec<f32>, Failure>) -> Result<Vec<f32>, Failure> {
    let mut drawn = Ok(());
    let all = team().each(|| match draw() {
        Ok(pixels) => Writer::default().f32s(&pixels).bytes(),
        Err(failure) => {
            drawn = Err(failure);
            Vec::new()
        }
    });
    drawn?;
    let all = all.or_run()?;
    if let Some(rank) = all.iter().position(Vec::is_empty) {
        return Err(Failure::Run(RankError::Gone { rank }.into()));
    }
    let parts: Result<Vec<Vec<f32>>, _> = all.iter().map(|bytes| Reader::new(bytes).f32s()).collect();
    Ok(parts.or_run()?.concat())
}
