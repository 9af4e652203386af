//! The exchanges of a step.

use std::sync::Arc;

use burn::tensor::{Tensor, TensorData};

use super::layout::Layout;
use super::rows::Row;
use crate::params::Flat;
use crate::ranks::{Pending, RankError, Ranks};
use crate::train::gradients::Gradients;

/// The sum of a step on its way.
pub(in crate::train) struct Summation {
    ranks: Arc<Ranks>,
    layout: Arc<Layout>,
    /// Rounds to come; in each, every bucket is sent once.
    rounds: usize,
    /// What is underway of every bucket: its exchanges, and with the last round its sums.
    underway: Vec<Vec<Pending>>,
    /// The next bucket of this round.
    next: usize,
}

impl Summation {
    /// All ranks send rows in as many rounds.
    pub(in crate::train) fn new(ranks: Arc<Ranks>, layout: Arc<Layout>, rounds: usize) -> Self {
        let underway = (0..layout.buckets()).map(|_| Vec::new()).collect();
        Self { ranks, layout, rounds, underway, next: 0 }
    }

    pub(super) fn layout(&self) -> &Arc<Layout> {
        &self.layout
    }

    /// Rounds to come.
    pub(in crate::train) fn rounds(&self) -> usize {
        self.rounds
    }

    /// Sends rows off, a round.
    pub(in crate::train) fn add(&mut self, rows: &[Row]) {
        self.send(rows, self.layout.buckets());
        self.end_round();
    }

    /// Sends what rows have in the buckets up to one, without it, that were not sent in this round.
    pub(super) fn send(&mut self, rows: &[Row], end: usize) {
        for bucket in self.next..end {
            let parts = (0..self.ranks.size()).map(|rank| self.layout.encode(bucket, rank, rows)).collect();
            if self.rounds > 1 {
                self.underway[bucket].push(self.ranks.start(parts));
                continue;
            }
            let earlier = std::mem::take(&mut self.underway[bucket]);
            let (layout, segment) = (self.layout.clone(), self.layout.segment(bucket, self.ranks.rank()));
            let sums = self.ranks.reduce(parts, move |last| {
                let mut found = Vec::new();
                for pending in earlier {
                    found.extend(pending.wait()?);
                }
                layout.combine(found.iter().chain(&last), &segment)
            });
            self.underway[bucket].push(sums);
        }
        self.next = end;
    }

    pub(super) fn end_round(&mut self) {
        self.rounds -= 1;
        self.next = 0;
    }

    /// The sums of all ranks by term, in the order in which terms appear.
    pub(in crate::train) fn finish(self, parameters: &[Flat]) -> Result<Vec<(String, Gradients)>, RankError> {
        assert_eq!(self.rounds, 0, "all rounds have been sent");
        let mut found: Vec<(String, Vec<Option<Vec<f32>>>)> = Vec::new();
        for (bucket, pending) in self.underway.into_iter().enumerate() {
            let sums = pending.into_iter().next().expect("the last round has the sums");
            for (rank, message) in sums.wait()?.into_iter().enumerate() {
                let segment = self.layout.segment(bucket, rank);
                for piece in self.layout.decode(&message, &segment)? {
                    let known = found.iter().position(|(name, _)| *name == piece.name);
                    let known = known.unwrap_or_else(|| {
                        found.push((piece.name.clone(), vec![None; parameters.len()]));
                        found.len() - 1
                    });
                    for (parameter, bytes) in piece.parts {
                        let cut = self.layout.cut(parameter, &segment).expect("it was decoded");
                        let whole = &mut found[known].1[parameter];
                        let whole = whole.get_or_insert_with(|| vec![0.0; self.layout.places[parameter].len()]);
                        self.layout.wire.read(bytes, &mut whole[cut]);
                    }
                }
            }
        }
        let tensor = |(flat, values): (&Flat, Option<Vec<f32>>)| {
            let like = &flat.value;
            let data = TensorData::new(values?, [like.dims()[0]]).convert_dtype(like.dtype());
            Some(Tensor::from_data(data, (&like.device().without_autodiff(), like.dtype())))
        };
        let whole =
            |(name, values): (String, Vec<_>)| (name, Gradients(parameters.iter().zip(values).map(tensor).collect()));
        Ok(found.into_iter().map(whole).collect())
    }
}
