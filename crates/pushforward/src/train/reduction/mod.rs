//! Sums of gradients over ranks.
//!
//! ```text
//! rows        a gradient of every micro-batch and term (reproducible), or the sum of those of a rank
//! bucket      a range of all parameters, laid out one after the other; it is cut into a segment for every rank
//! exchange 1  every rank sends each rank its rows of that rank's segment, which adds them in the order of micro-batches
//! exchange 2  every rank sends all ranks the sums of its segment
//! ```
//!
//! The order of a sum does not depend on the network, and all ranks get the same bits. A rank sends `2 (N-1)/N` times the bytes of
//! a gradient, the least there is for an all-reduce, as one message for every other rank and bucket. In bfloat16 half of that
//! travels; sums are float32. In the reproducible order, the sums are those of one process bit for bit, and a rank with `k`
//! micro-batches sends `k` rows.
//!
//! A bucket leaves as soon as the gradients of all its parameters are complete, while the backward pass still computes others
//! (`live.rs`; [`watch`](crate::kernels::watch) says when). Parameters are laid out in the order in which they were complete in the
//! first step, as the first rank tells the others, and all ranks send buckets in that order: a parameter that is late, or has no
//! gradient, delays its bucket and those after it, and changes no number. What adds the rows of a bucket and sends the sums is the
//! thread of the exchanges. References: PyTorch Distributed (Li et al., 2020), arXiv:2006.15704, for buckets in the order of a
//! first pass.
//!
//! Without such a pass, gradients leave when all of them are there: where several micro-batches are computed at once, on GPUs,
//! and for parameters whose last step back is one of burn's own.

mod layout;
mod live;
mod rows;
mod summation;
#[cfg(test)]
mod tests;

pub(super) use self::layout::Layout;
pub(super) use self::live::{Growing, backward};
pub(super) use self::rows::Row;
pub(super) use self::summation::Summation;

/// How ranks add their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// Whether sums have the order of one process, bit for bit.
    pub reproducible: bool,
    /// Whether gradients travel as bfloat16; they are added as float32.
    pub half: bool,
    /// Numbers of a bucket.
    pub bucket: usize,
    /// Whether buckets leave while the backward pass runs.
    pub overlap: bool,
    /// Optimiser steps after which the ranks compare their parameters.
    pub check_every: u64,
}

impl Default for Reduction {
    fn default() -> Self {
        Self { reproducible: false, half: false, bucket: 1 << 20, overlap: true, check_every: 100 }
    }
}

impl Reduction {
    /// Bytes that each of so many ranks sends in a step, for a model of so many parameters and `rows` gradients a rank.
    pub fn bytes(&self, parameters: u128, ranks: usize, rows: u128) -> u128 {
        let ranks = ranks.max(1) as u128;
        let number = if self.half { 2 } else { 4 };
        let rows = if self.reproducible { rows } else { 1 };
        number * parameters * (ranks - 1) * (rows + 1) / ranks
    }
}
