//! Time of an optimiser step by several ranks, from that of one and the network between them.
//!
//! ```text
//! T = k c + P p (r+1)/2 + max(S - h c, t S) + 4 l + 2 n (N-1) o          S = B / (e v)
//!
//! k  micro-batches of a rank             c  seconds of one
//! P  parameters                          p  seconds to copy and add one
//! r  rows: micro-batches of a rank in the reproducible order, else one
//! S  seconds on the wire                 B  bytes that a rank sends in a step
//! v  bytes a second, of which the share e is reached
//! h  share of a micro-batch in which buckets travel while it is computed
//! t  share of the bytes that leave when it has ended: that of the parameters whose gradients end last, and a bucket at least
//! n  buckets                             l  seconds until a message of no length has arrived
//! N  ranks                               o  seconds that a message costs its sender
//! ```
//!
//! Without overlap, `h = 0` and `t = 1`. The four waits are those of the decision to go on, of the two exchanges of gradients, and of the losses. Of the
//! gradients of a reproducible run, all but those of the last micro-batch travel while the next one is computed. `p`, `e`, `h` and `t` were fitted to
//! measurements between two network namespaces with a core for each rank (docs/log.md); `o` is that of common networks. Threads that
//! a rank has beyond those that compute take the copies from them, which is not counted.
//!
//! # Examples
//! The gradient of 170 million parameters takes most of a step at 1 Gbit/s, and at 100 Gbit/s less than its copies.
//! ```
//! use pushforward::train::{Link, Reduction};
//!
//! let step = |gbit: f64| {
//!     let link = Link { bytes_per_second: gbit * 1e9 / 8.0, latency: 20e-6 };
//!     link.step_seconds(&Reduction::default(), 64, 170_000_000, 1, 1.0)
//! };
//! assert!(step(1.0) > 12.0 && step(100.0) < 2.5);
//! ```

use super::reduction::Reduction;

/// Seconds to copy and add a number of a gradient, as float32 and as bfloat16, with overlap: numbers are sent from where they are.
const COPY: [f64; 2] = [5.4e-9, 3.4e-9];
/// Without, gradients are copied before.
const COPY_APART: [f64; 2] = [8.2e-9, 6.2e-9];
/// Share of the rate of the network that is reached while ranks send and receive at once.
const REACHED: f64 = 0.92;
/// Share of a micro-batch in which buckets travel while it is computed.
const HIDDEN: f64 = 0.45;
/// Least share of the bytes that leave when it has ended.
const TAIL: f64 = 0.25;
/// Seconds that a message costs its sender.
const MESSAGE: f64 = 5e-6;
/// Exchanges of a step that are waited for one after the other.
const WAITS: f64 = 4.0;

/// The network between ranks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// Bytes a second that a rank sends and receives at once.
    pub bytes_per_second: f64,
    /// Seconds until a short message has arrived.
    pub latency: f64,
}

impl Link {
    /// Seconds of an optimiser step of `ranks` ranks with `micro_batches` each, of `seconds` each.
    pub fn step_seconds(
        &self,
        reduction: &Reduction,
        ranks: usize,
        parameters: u64,
        micro_batches: u64,
        seconds: f64,
    ) -> f64 {
        let compute = micro_batches as f64 * seconds;
        if ranks < 2 {
            return compute;
        }
        let buckets = parameters.div_ceil(reduction.bucket as u64).max(1) as f64;
        let rate = REACHED * self.bytes_per_second;
        let wire = |rows: u64| reduction.bytes(parameters.into(), ranks, rows.into()) as f64 / rate;
        // What is sent before the last micro-batch ends has its time, and needs no more of it than there is.
        let early = if reduction.reproducible { wire(micro_batches) - wire(1) } else { 0.0 };
        let late = (early - (compute - seconds)).max(0.0);
        let copy = if reduction.overlap { COPY } else { COPY_APART }[usize::from(reduction.half)];
        let rows = if reduction.reproducible { micro_batches as f64 } else { 1.0 };
        let copies = parameters as f64 * copy * (rows + 1.0) / 2.0;
        let last = if reduction.overlap {
            (wire(1) - HIDDEN * seconds).max(TAIL.max(1.0 / buckets) * wire(1))
        } else {
            wire(1)
        };
        compute + late + copies + last + WAITS * self.latency + 2.0 * buckets * (ranks as f64 - 1.0) * MESSAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_of_fast_and_slow_networks() {
        let link = |bytes_per_second| Link { bytes_per_second, latency: 0.0 };
        let whole = Reduction { bucket: usize::MAX, ..Reduction::default() };
        let step = |link: Link, reduction: &Reduction| link.step_seconds(reduction, 2, 1_000_000, 2, 0.5);
        // A perfect network leaves computation and copies.
        assert!((step(link(1e15), &whole) - 1.0054).abs() < 1e-4);
        // A slow one is all that counts: two ranks send 4 MB each.
        assert!((step(link(8e3), &whole) * REACHED / 500.0 - 1.0).abs() < 3e-3);
        assert_eq!(link(1.0).step_seconds(&whole, 1, 1_000_000, 2, 0.5), 1.0);
        // Half of the bytes take half of the time.
        let half = Reduction { half: true, ..whole };
        assert!((step(link(8e3), &half) * REACHED / 250.0 - 1.0).abs() < 6e-3);
        // Rows of a reproducible run travel behind the computation, here 2 MB in half a second, and leave their copies.
        let reproducible = Reduction { reproducible: true, ..whole };
        assert!((step(link(1e8), &reproducible) - step(link(1e8), &whole) - 0.0027).abs() < 1e-9);
        // A part of the way of buckets is behind the computation, and a part is not: of 80 ms, a quarter; of 800, all but 225.
        let buckets = Reduction { bucket: 1000, ..whole };
        let apart = Reduction { overlap: false, ..buckets };
        let gain = |rate: f64| step(link(rate), &apart) - step(link(rate), &buckets) - 0.0028;
        assert!((gain(5e7 / REACHED) - 0.06).abs() < 1e-9 && (gain(5e6 / REACHED) - 0.225).abs() < 1e-9);
    }
}
