//! Ranks that are threads of one process.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::{Exchange, RankError, Ranks};

struct Channels {
    rank: usize,
    to: Vec<Sender<Vec<u8>>>,
    from: Vec<Receiver<Vec<u8>>>,
    patience: Duration,
}

impl Exchange for Channels {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn exchange(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>, RankError> {
        for (rank, (to, part)) in self.to.iter().zip(parts).enumerate() {
            to.send(part).map_err(|_| RankError::Gone { rank })?;
        }
        let (start, mut found, mut silent) = (Instant::now(), Vec::new(), Vec::new());
        for (rank, from) in self.from.iter().enumerate() {
            match from.recv_timeout(self.patience.saturating_sub(start.elapsed())) {
                Ok(part) => found.push(part),
                Err(RecvTimeoutError::Timeout) => silent.push(rank),
                Err(RecvTimeoutError::Disconnected) => return Err(RankError::Gone { rank }),
            }
        }
        if silent.is_empty() {
            return Ok(found);
        }
        Err(RankError::Silent { ranks: silent, seconds: self.patience.as_secs() })
    }
}

impl Ranks {
    /// Ranks for the threads of one process; a message is awaited for `patience` at most.
    pub fn threads(size: usize, patience: Duration) -> Vec<Self> {
        let mut to: Vec<Vec<Sender<Vec<u8>>>> = (0..size).map(|_| Vec::new()).collect();
        let mut from: Vec<Vec<Receiver<Vec<u8>>>> = (0..size).map(|_| Vec::new()).collect();
        for receiving in &mut from {
            for sending in &mut to {
                let (sender, receiver) = channel();
                sending.push(sender);
                receiving.push(receiver);
            }
        }
        let open = |(rank, (to, from))| {
            Self::over(move || Ok(Channels { rank, to, from, patience })).expect("the system grants a thread")
        };
        to.into_iter().zip(from).enumerate().map(open).collect()
    }
}
