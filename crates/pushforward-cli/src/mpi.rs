//! Messages between ranks through MPI.
//!
//! Sends and receives are non-blocking and asked for in turns, so that a rank that waits leaves its core to others, knows whom it
//! waits for, and does not wait for ever. MPI is only called from the thread that opened it.

use std::time::{Duration, Instant};

use mpi::Threading;
use mpi::datatype::Equivalence as _;
use mpi::environment::Universe;
use mpi::topology::{Communicator as _, SimpleCommunicator};
use mpi::traits::{Destination as _, Source as _};
use pushforward::ranks::{Exchange, RankError, Ranks};

use crate::printer::Printer;

/// How long a message is awaited if [`PATIENCE`] is not set.
const DEFAULT_PATIENCE: u64 = 600;
/// The variable that sets it, in seconds.
const PATIENCE: &str = "PUSHFORWARD_RANK_TIMEOUT";
/// Shortest and longest pause between two looks at what has arrived.
const PAUSES: [Duration; 2] = [Duration::from_micros(20), Duration::from_millis(1)];
/// Pauses are this share of the time waited so far. MPI moves long messages only while it is called.
const PAUSE: u32 = 128;

struct Mpi {
    world: SimpleCommunicator,
    patience: Duration,
    printer: Printer,
    /// Ends MPI when it is dropped, after everything else.
    _universe: Universe,
}

/// Joins the other processes.
pub(crate) fn open(printer: Printer) -> Result<Ranks, RankError> {
    let asked = std::env::var(PATIENCE).ok();
    let seconds = asked.map_or(Ok(DEFAULT_PATIENCE), |text| text.parse());
    // Ranks that work for long give a sign every two seconds.
    let seconds = seconds.ok().filter(|&seconds| seconds >= 10);
    let seconds =
        seconds.ok_or_else(|| RankError::Failed(format!("{PATIENCE} is to be a number of seconds, 10 or more")))?;
    Ranks::over(move || {
        let (universe, _) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or_else(|| RankError::Failed("MPI is in use already".into()))?;
        let patience = Duration::from_secs(seconds);
        Ok(Mpi { world: universe.world(), patience, printer, _universe: universe })
    })
}

impl Exchange for Mpi {
    fn rank(&self) -> usize {
        self.world.rank() as usize
    }

    fn size(&self) -> usize {
        self.world.size() as usize
    }

    fn exchange(&mut self, mut parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, RankError> {
        let own = self.rank();
        if parts.iter().any(|part| i32::try_from(part.len()).is_err()) {
            return Err(RankError::Failed("a message has more than 2 GiB: work on fewer items at once".into()));
        }
        let mut found: Vec<Vec<u8>> = vec![Vec::new(); parts.len()];
        found[own] = std::mem::take(&mut parts[own]);
        let others = || (0..parts.len()).filter(|&rank| rank != own);
        let start = Instant::now();
        // Those whose message has not begun to arrive, with the place for it.
        let mut silent: Vec<_> = found.iter_mut().enumerate().filter(|&(rank, _)| rank != own).collect();
        mpi::request::scope(|scope| {
            let send = |rank: usize| self.world.process_at_rank(rank as i32).immediate_send(scope, &parts[rank][..]);
            let mut sent: Vec<_> = others().map(send).collect();
            let mut arriving: Vec<(usize, mpi::request::Request<'_, [u8], _>)> = Vec::new();
            loop {
                let mut waiting = Vec::new();
                for (rank, place) in silent.drain(..) {
                    let from = self.world.process_at_rank(rank as i32);
                    let Some((message, status)) = from.immediate_matched_probe() else {
                        waiting.push((rank, place));
                        continue;
                    };
                    place.resize(status.count(u8::equivalent_datatype()) as usize, 0);
                    arriving.push((rank, message.immediate_matched_receive_into(scope, &mut place[..])));
                }
                silent = waiting;
                sent = sent.into_iter().filter_map(|request| request.test().err()).collect();
                arriving = arriving
                    .into_iter()
                    .filter_map(|(rank, request)| Some((rank, mpi::request::Request::test(request).err()?)))
                    .collect();
                if silent.is_empty() && sent.is_empty() && arriving.is_empty() {
                    return;
                }
                let waited = start.elapsed();
                if waited > self.patience {
                    let late: Vec<usize> =
                        silent.iter().map(|(rank, _)| *rank).chain(arriving.iter().map(|(rank, _)| *rank)).collect();
                    // All have been heard, and one does not take what is sent to it.
                    self.give_up(if late.is_empty() { others().collect() } else { late });
                }
                std::thread::sleep((waited / PAUSE).clamp(PAUSES[0], PAUSES[1]));
            }
        });
        Ok(found)
    }
}

impl Mpi {
    /// Ends this process, and with it the job: messages that are underway cannot be taken back.
    fn give_up(&self, ranks: Vec<usize>) -> ! {
        let error = RankError::Silent { ranks, seconds: self.patience.as_secs() };
        Printer { rank: self.rank(), ..self.printer }.error(&format!("{error}; {PATIENCE} sets how long"));
        std::process::exit(1)
    }
}
