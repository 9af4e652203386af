//! Processes that compute together, and the messages between them.
//!
//! The processes of a run are numbered from 0 and called ranks, as in MPI. All of them take the same decisions in the same order, so
//! that one operation is enough: in an exchange every rank sends every rank some bytes. Who computes what follows from
//! addresses (seed, step, index), and no rank has state of its own.
//!
//! [`Ranks`] queues exchanges on a thread of its own: [`Ranks::start`] returns at once, and bytes travel while the caller
//! computes. What moves the bytes is an [`Exchange`]; this library has one between threads, for tests and examples, and the
//! program has one through MPI.
//!
//! # Examples
//! Three ranks add their numbers.
//! ```
//! use std::time::Duration;
//! use pushforward::ranks::Ranks;
//!
//! let ranks = Ranks::threads(3, Duration::from_secs(10));
//! let sums = std::thread::scope(|scope| {
//!     let sum = |ranks: Ranks| -> Result<u8, pushforward::ranks::RankError> {
//!         let own = ranks.rank() as u8 + 1;
//!         let waiting = ranks.start(vec![vec![own]; ranks.size()]);
//!         // ... other work ...
//!         Ok(waiting.wait()?.iter().map(|from| from[0]).sum())
//!     };
//!     let running: Vec<_> = ranks.into_iter().map(|ranks| scope.spawn(move || sum(ranks))).collect();
//!     running.into_iter().map(|rank| rank.join().expect("no rank panics")).collect::<Result<Vec<_>, _>>()
//! })?;
//! assert_eq!(sums, [6, 6, 6]);
//! # Ok::<(), pushforward::ranks::RankError>(())
//! ```

pub mod codec;
mod threads;

use std::ops::Range;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Why ranks cannot go on together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RankError {
    /// Some ranks have sent nothing for too long.
    #[error(
        "nothing has come from {} for {seconds} s: it is stuck, or gone without a trace; the run ends here",
        named(ranks)
    )]
    Silent {
        /// Their numbers.
        ranks: Vec<usize>,
        /// How long the others have waited.
        seconds: u64,
    },
    /// A rank has ended.
    #[error("rank {rank} has ended before the others: its own message says why")]
    Gone {
        /// Its number.
        rank: usize,
    },
    /// A rank has stopped, and said why.
    #[error("rank {rank} has stopped: {why}")]
    Stopped {
        /// Its number.
        rank: usize,
        /// Its reason.
        why: String,
    },
    /// The ranks do not agree on what they do.
    #[error("{} {what}", named(ranks))]
    Differ {
        /// The ranks that differ from the others.
        ranks: Vec<usize>,
        /// In what.
        what: String,
    },
    /// The messages cannot be sent.
    #[error("the ranks cannot exchange messages: {0}")]
    Failed(String),
}

/// Ranks for people.
fn named(ranks: &[usize]) -> String {
    let list: Vec<String> = ranks.iter().map(ToString::to_string).collect();
    if list.len() == 1 { format!("rank {}", list[0]) } else { format!("ranks {}", list.join(", ")) }
}

/// What moves bytes between ranks.
pub trait Exchange {
    /// Number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Number of ranks.
    fn size(&self) -> usize;

    /// Sends `parts[j]` to rank `j`, and returns what every rank has sent to this one, in the order of ranks. All ranks call it
    /// equally often.
    ///
    /// # Errors
    /// If a rank is gone, or sends nothing for too long.
    fn exchange(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, RankError>;
}

type Answer = Result<Vec<Vec<u8>>, RankError>;
type Combine = Box<dyn FnOnce(Vec<Vec<u8>>) -> Result<Vec<u8>, RankError> + Send>;

/// What is to be exchanged, and who waits for it.
struct Job {
    parts: Vec<Vec<u8>>,
    combine: Option<Combine>,
    answer: Sender<Answer>,
}

impl Job {
    fn run(self, size: usize, exchange: &mut dyn FnMut(Vec<Vec<u8>>) -> Answer) {
        let Self { parts, combine, answer } = self;
        let found = exchange(parts).and_then(|found| match combine {
            Some(combine) => exchange(vec![combine(found)?; size]),
            None => Ok(found),
        });
        // Nobody waits for an answer any more where the run has failed.
        let _ = answer.send(found);
    }
}

/// One of the ranks, and its queue of exchanges.
#[derive(Debug)]
pub struct Ranks {
    rank: usize,
    size: usize,
    /// `None` for a single rank.
    queue: Option<(Sender<Job>, JoinHandle<()>)>,
}

/// An exchange on its way.
#[derive(Debug)]
pub struct Pending(Receiver<Answer>);

impl Pending {
    /// What every rank has sent to this one, in the order of ranks.
    ///
    /// # Errors
    /// See [`Exchange::exchange`].
    pub fn wait(self) -> Result<Vec<Vec<u8>>, RankError> {
        self.0.recv().unwrap_or_else(|_| Err(RankError::Failed("their thread has ended".into())))
    }
}

/// How often a rank says that it still works.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// The end of a message with what a rank has found.
const DONE: u8 = 1;

impl Ranks {
    /// A process on its own.
    pub fn alone() -> Self {
        Self { rank: 0, size: 1, queue: None }
    }

    /// A rank whose exchanges are made by what `open` returns. Both run on a thread of their own, and nowhere else.
    ///
    /// # Errors
    /// That of `open`.
    pub fn over<E: Exchange>(open: impl FnOnce() -> Result<E, RankError> + Send + 'static) -> Result<Self, RankError> {
        let (opened, told) = channel();
        let (queue, jobs) = channel::<Job>();
        let work = move || {
            let mut exchange = match open() {
                Ok(exchange) => exchange,
                Err(error) => return drop(opened.send(Err(error))),
            };
            let size = exchange.size();
            let _ = opened.send(Ok((exchange.rank(), size)));
            for job in jobs {
                job.run(size, &mut |parts| exchange.exchange(parts));
            }
        };
        let failed = |error: String| RankError::Failed(error);
        let thread = std::thread::Builder::new().name("ranks".into()).spawn(work).map_err(|e| failed(e.to_string()))?;
        let (rank, size) = told.recv().map_err(|e| failed(e.to_string()))??;
        Ok(Self { rank, size, queue: Some((queue, thread)) })
    }

    /// Number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Number of ranks.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Whether this is the rank that writes and prints.
    pub fn is_first(&self) -> bool {
        self.rank == 0
    }

    /// This rank's range of `count` things; the ranges of all ranks follow one another.
    pub fn share(&self, count: usize) -> Range<usize> {
        self.share_of(self.rank, count)
    }

    /// The range of another rank.
    pub(crate) fn share_of(&self, rank: usize, count: usize) -> Range<usize> {
        let at = |rank: usize| (count as u128 * rank as u128 / self.size as u128) as usize;
        at(rank)..at(rank + 1)
    }

    /// Starts an exchange: `parts[j]` goes to rank `j`. Exchanges happen in the order in which they are started, which is the same
    /// on all ranks.
    ///
    /// # Panics
    /// Unless there is a part for every rank.
    pub fn start(&self, parts: Vec<Vec<u8>>) -> Pending {
        self.begin(parts, None)
    }

    /// Starts two exchanges, one after the other: what `combine` makes of the messages that come by the first goes to all ranks by
    /// the second. It runs on the thread of the exchanges, where what was started before has already come.
    ///
    /// # Panics
    /// Unless there are as many parts as ranks.
    pub fn reduce(
        &self,
        parts: Vec<Vec<u8>>,
        combine: impl FnOnce(Vec<Vec<u8>>) -> Result<Vec<u8>, RankError> + Send + 'static,
    ) -> Pending {
        self.begin(parts, Some(Box::new(combine)))
    }

    fn begin(&self, parts: Vec<Vec<u8>>, combine: Option<Combine>) -> Pending {
        assert_eq!(parts.len(), self.size, "an exchange has a part for every rank");
        let (answer, receiver) = channel();
        let job = Job { parts, combine, answer };
        match &self.queue {
            Some((queue, _)) => drop(queue.send(job)),
            None => job.run(1, &mut Ok),
        }
        Pending(receiver)
    }

    /// The bytes of every rank, in the order of ranks.
    ///
    /// # Errors
    /// See [`Exchange::exchange`].
    pub fn gather(&self, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, RankError> {
        self.start(vec![bytes; self.size]).wait()
    }

    /// What `work` returns on every rank, in the order of ranks. It may take longer on some than messages are awaited: meanwhile
    /// ranks tell each other that they are alive.
    ///
    /// # Errors
    /// See [`Exchange::exchange`].
    pub fn each(&self, work: impl FnOnce() -> Vec<u8>) -> Result<Vec<Vec<u8>>, RankError> {
        if self.size == 1 {
            return Ok(vec![work()]);
        }
        let (done, finished) = channel::<Vec<u8>>();
        std::thread::scope(|scope| {
            let rounds = scope.spawn(move || {
                let (mut found, mut sent) = (vec![None; self.size], false);
                while found.iter().any(Option::is_none) {
                    let message = match finished.recv_timeout(if sent { Duration::ZERO } else { SIGN_OF_LIFE }) {
                        Ok(mut bytes) => {
                            sent = true;
                            bytes.push(DONE);
                            bytes
                        }
                        Err(RecvTimeoutError::Disconnected) if !sent => {
                            return Err(RankError::Failed("the work has failed".into()));
                        }
                        Err(_) => Vec::new(),
                    };
                    for (found, mut part) in found.iter_mut().zip(self.gather(message)?) {
                        if part.pop() == Some(DONE) {
                            *found = Some(part);
                        }
                    }
                }
                Ok(found.into_iter().flatten().collect())
            });
            // The receiver is gone where a rank is.
            let _ = done.send(work());
            drop(done);
            rounds.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// What `work` returns on the first rank, on all of them; the others wait meanwhile, for as long as the first one lives.
    ///
    /// # Errors
    /// See [`Exchange::exchange`].
    pub fn from_first(&self, work: impl FnOnce() -> Vec<u8>) -> Result<Vec<u8>, RankError> {
        let first = self.is_first();
        Ok(self.each(|| if first { work() } else { Vec::new() })?.swap_remove(0))
    }

    /// Compares something of all ranks, which is to be the same.
    ///
    /// # Errors
    /// [`RankError::Differ`] on all ranks, with those that differ from the majority, or from the first rank if there is none.
    pub fn agree(&self, bytes: &[u8], what: &str) -> Result<(), RankError> {
        let all = self.gather(bytes.to_vec())?;
        let votes = |one: &Vec<u8>| all.iter().filter(|other| *other == one).count();
        // The last of equal maxima is taken: from the end, this is the first rank's.
        let right = all.iter().rev().max_by_key(|one| votes(one)).expect("there is a rank");
        let ranks: Vec<usize> = (0..self.size).filter(|&rank| all[rank] != *right).collect();
        if ranks.is_empty() { Ok(()) } else { Err(RankError::Differ { ranks, what: what.into() }) }
    }
}

impl Drop for Ranks {
    fn drop(&mut self) {
        if let Some((queue, thread)) = self.queue.take() {
            drop(queue);
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;

    /// What every rank finds, each on its own thread.
    pub(crate) fn together<T: Send>(size: usize, work: impl Fn(Arc<Ranks>) -> T + Sync) -> Vec<T> {
        let work = &work;
        std::thread::scope(|scope| {
            let ranks = Ranks::threads(size, Duration::from_secs(20));
            let running: Vec<_> = ranks.into_iter().map(|ranks| scope.spawn(move || work(Arc::new(ranks)))).collect();
            running.into_iter().map(|rank| rank.join().unwrap()).collect()
        })
    }

    #[test]
    fn shares_cover_everything_in_order() {
        for (size, count) in [(1, 5), (3, 10), (4, 2), (7, 100)] {
            let shares = together(size, |ranks| ranks.share(count));
            let mut next = 0;
            for share in shares {
                assert_eq!(share.start, next);
                next = share.end;
            }
            assert_eq!(next, count);
        }
    }

    #[test]
    fn parts_arrive_where_they_are_sent_in_the_order_of_exchanges() {
        let found = together(3, |ranks| {
            let part = |round: u8| (0..3).map(|to| vec![round, ranks.rank() as u8, to]).collect();
            let pending: Vec<Pending> = (0..4).map(|round| ranks.start(part(round))).collect();
            pending.into_iter().map(|pending| pending.wait().unwrap()).collect::<Vec<_>>()
        });
        for (rank, rounds) in found.into_iter().enumerate() {
            for (round, parts) in rounds.into_iter().enumerate() {
                let expected: Vec<Vec<u8>> = (0..3).map(|from| vec![round as u8, from, rank as u8]).collect();
                assert_eq!(parts, expected);
            }
        }
    }

    #[test]
    fn what_comes_is_combined_and_goes_to_all() {
        let sum = |found: Vec<Vec<u8>>| Ok(vec![found.iter().map(|from| from[0]).sum()]);
        for size in [1, 3] {
            let found = together(size, |ranks| {
                // Rank r gets 10 s + r from rank s.
                let parts = (0..size).map(|to| vec![(10 * ranks.rank() + to) as u8]).collect();
                let (combined, later) = (ranks.reduce(parts, sum), ranks.start(vec![vec![7]; size]));
                (combined.wait().unwrap(), later.wait().unwrap())
            });
            let tens: usize = (0..size).map(|rank| 10 * rank).sum();
            let expected: Vec<Vec<u8>> = (0..size).map(|rank| vec![(tens + size * rank) as u8]).collect();
            assert_eq!(found, vec![(expected, vec![vec![7]; size]); size]);
        }
        let failed = together(2, |ranks| {
            let error = || RankError::Failed("no".into());
            ranks.reduce(vec![vec![]; 2], move |_| Err(error())).wait()
        });
        assert_eq!(failed, vec![Err(RankError::Failed("no".into())); 2]);
    }

    #[test]
    fn the_first_rank_may_work_alone_for_longer_than_others_wait() {
        let ranks = Ranks::threads(2, Duration::from_secs(6));
        let found = std::thread::scope(|scope| {
            let work = || {
                std::thread::sleep(Duration::from_secs(7));
                vec![7, 0]
            };
            let running: Vec<_> = ranks.into_iter().map(|ranks| scope.spawn(move || ranks.from_first(work))).collect();
            running.into_iter().map(|rank| rank.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(found, [Ok(vec![7, 0]), Ok(vec![7, 0])]);
    }

    #[test]
    fn disagreement_names_the_minority() {
        let found = together(3, |ranks| ranks.agree(&[u8::from(ranks.rank() == 1)], "has other weights"));
        let error = RankError::Differ { ranks: vec![1], what: "has other weights".into() };
        assert_eq!(error.to_string(), "rank 1 has other weights");
        assert_eq!(found, vec![Err(error); 3]);
        assert_eq!(together(2, |ranks| ranks.agree(&[ranks.rank() as u8], "")).len(), 2);
        let RankError::Differ { ranks, .. } =
            together(2, |ranks| ranks.agree(&[ranks.rank() as u8], "")).remove(0).unwrap_err()
        else {
            panic!("they differ")
        };
        assert_eq!(ranks, [1]);
    }

    #[test]
    fn a_rank_that_is_gone_or_silent_is_named() {
        let mut ranks = Ranks::threads(2, Duration::from_millis(200));
        let (second, first) = (ranks.pop().unwrap(), ranks.pop().unwrap());
        assert_eq!(first.gather(vec![1]), Err(RankError::Silent { ranks: vec![1], seconds: 0 }));
        drop(second);
        assert_eq!(first.gather(vec![1]), Err(RankError::Gone { rank: 1 }));
    }
}
