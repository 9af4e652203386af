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
//! Buckets are on their way while the next one is copied and while the next micro-batch is computed. Not while its own backward
//! pass runs: burn hands out the gradients of all parameters at its end, and its hook for distributed parameters calls the backend,
//! which on CPUs has nothing there.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData, bf16};

use super::gradients::Gradients;
use crate::params::Flat;
use crate::ranks::{Pending, RankError, Ranks};

/// How ranks add their gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduction {
    /// Whether sums have the order of one process, bit for bit.
    pub reproducible: bool,
    /// Whether gradients travel as bfloat16; they are added as float32.
    pub half: bool,
    /// Numbers of a bucket.
    pub bucket: usize,
    /// Optimiser steps after which the ranks compare their parameters.
    pub check_every: u64,
}

impl Default for Reduction {
    fn default() -> Self {
        Self { reproducible: false, half: false, bucket: 1 << 20, check_every: 100 }
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

/// The gradient of a term: of one micro-batch, or the sum of several.
pub(super) struct Row {
    /// The (first) micro-batch.
    pub(super) index: u64,
    pub(super) name: String,
    pub(super) gradients: Gradients,
}

/// A row on the host, in a segment: pieces of the parameters that have a gradient.
#[derive(Clone, Debug, PartialEq)]
struct Piece {
    index: u64,
    name: String,
    /// Position of the parameter, and its numbers in the segment.
    parts: Vec<(usize, Vec<f32>)>,
}

/// The sum of a step on its way.
pub(super) struct Summation<'a> {
    ranks: &'a Ranks,
    settings: Reduction,
    parameters: &'a [Flat],
    /// Where every parameter lies.
    places: Vec<Range<usize>>,
    buckets: Vec<Range<usize>>,
    /// Exchanges of every bucket.
    underway: Vec<Vec<Pending>>,
}

impl<'a> Summation<'a> {
    pub(super) fn new(ranks: &'a Ranks, settings: Reduction, parameters: &'a [Flat]) -> Self {
        let mut end = 0;
        let place = |parameter: &Flat| {
            let start = end;
            end += parameter.value.dims()[0];
            start..end
        };
        let places: Vec<Range<usize>> = parameters.iter().map(place).collect();
        let bucket = settings.bucket.max(1);
        let buckets: Vec<_> = (0..end).step_by(bucket).map(|start| start..(start + bucket).min(end)).collect();
        let underway = buckets.iter().map(|_| Vec::new()).collect();
        Self { ranks, settings, parameters, places, buckets, underway }
    }

    /// The segment of a rank in a bucket.
    fn segment(&self, bucket: usize, rank: usize) -> Range<usize> {
        let Range { start, end } = self.buckets[bucket];
        let at = |rank: usize| start + (end - start) * rank / self.ranks.size();
        at(rank)..at(rank + 1)
    }

    /// Sends rows off. All ranks call it equally often.
    pub(super) fn add(&mut self, rows: &[Row]) {
        let host: Vec<Vec<Option<Vec<f32>>>> =
            rows.iter().map(|row| row.gradients.0.iter().map(|g| g.as_ref().map(numbers)).collect()).collect();
        for bucket in 0..self.buckets.len() {
            let part = |rank| {
                let segment = self.segment(bucket, rank);
                let piece = |(row, host): (&Row, &Vec<Option<Vec<f32>>>)| {
                    let present = host.iter().enumerate().filter_map(|(i, values)| Some((i, values.as_ref()?)));
                    let parts = present.filter_map(|(i, values)| {
                        let (place, cut) = (self.places[i].start, overlap(&self.places[i], &segment)?);
                        Some((i, values[cut.start - place..cut.end - place].to_vec()))
                    });
                    Piece { index: row.index, name: row.name.clone(), parts: parts.collect() }
                };
                encode(&rows.iter().zip(&host).map(piece).collect::<Vec<_>>(), self.settings.half)
            };
            let parts = (0..self.ranks.size()).map(part).collect();
            self.underway[bucket].push(self.ranks.start(parts));
        }
    }

    /// The sums of all ranks by term, in the order in which terms appear.
    pub(super) fn finish(mut self) -> Result<Vec<(String, Gradients)>, RankError> {
        let mut shared = Vec::new();
        for bucket in 0..self.buckets.len() {
            let mut rows = Vec::new();
            for pending in std::mem::take(&mut self.underway[bucket]) {
                for part in pending.wait()? {
                    rows.extend(self.decode(&part, &self.segment(bucket, self.ranks.rank()))?);
                }
            }
            let bytes = encode(&sums(rows), self.settings.half);
            shared.push(self.ranks.start(vec![bytes; self.ranks.size()]));
        }
        let mut found: Vec<(String, Vec<Option<Vec<f32>>>)> = Vec::new();
        for (bucket, pending) in shared.into_iter().enumerate() {
            for (rank, part) in pending.wait()?.into_iter().enumerate() {
                let segment = self.segment(bucket, rank);
                for piece in self.decode(&part, &segment)? {
                    let known = found.iter().position(|(name, _)| *name == piece.name);
                    let known = known.unwrap_or_else(|| {
                        found.push((piece.name.clone(), vec![None; self.places.len()]));
                        found.len() - 1
                    });
                    for (i, values) in piece.parts {
                        let Some(cut) = overlap(&self.places[i], &segment) else { return Err(damaged()) };
                        let place = &self.places[i];
                        let whole = found[known].1[i].get_or_insert_with(|| vec![0.0; place.len()]);
                        whole[cut.start - place.start..cut.end - place.start].copy_from_slice(&values);
                    }
                }
            }
        }
        let tensor = |(flat, values): (&Flat, Option<Vec<f32>>)| {
            let like = &flat.value;
            let data = TensorData::new(values?, [like.dims()[0]]).convert_dtype(like.dtype());
            Some(Tensor::from_data(data, (&like.device().without_autodiff(), like.dtype())))
        };
        let whole = |(name, values): (String, Vec<_>)| {
            (name, Gradients(self.parameters.iter().zip(values).map(tensor).collect()))
        };
        Ok(found.into_iter().map(whole).collect())
    }

    /// Reads rows of a segment.
    fn decode(&self, bytes: &[u8], segment: &Range<usize>) -> Result<Vec<Piece>, RankError> {
        let pieces = decode(bytes, self.settings.half).ok_or_else(damaged)?;
        let fits = |(i, values): &(usize, Vec<f32>)| {
            self.places
                .get(*i)
                .is_some_and(|place| overlap(place, segment).is_some_and(|cut| values.len() == cut.len()))
        };
        if pieces.iter().all(|piece| piece.parts.iter().all(fits)) { Ok(pieces) } else { Err(damaged()) }
    }
}

fn damaged() -> RankError {
    RankError::Failed("a message of gradients is not of this model: all ranks run the same program and recipe".into())
}

/// What two ranges have in common, if anything.
fn overlap(a: &Range<usize>, b: &Range<usize>) -> Option<Range<usize>> {
    let both = a.start.max(b.start)..a.end.min(b.end);
    (!both.is_empty()).then_some(both)
}

/// The numbers of a gradient as float32.
fn numbers(gradient: &Tensor<1>) -> Vec<f32> {
    let data = gradient.clone().into_data().convert::<f32>();
    data.try_into_vec().expect("just converted")
}

/// The sum by term, added in the order of micro-batches.
fn sums(mut rows: Vec<Piece>) -> Vec<Piece> {
    // Stable: the terms of a micro-batch stay in their order.
    rows.sort_by_key(|row| row.index);
    let mut found: Vec<Piece> = Vec::new();
    for row in rows {
        let Some(sum) = found.iter_mut().find(|sum| sum.name == row.name) else {
            found.push(row);
            continue;
        };
        for (i, values) in row.parts {
            match sum.parts.iter_mut().find(|(known, _)| *known == i) {
                Some((_, total)) => total.iter_mut().zip(values).for_each(|(total, value)| *total += value),
                None => sum.parts.push((i, values)),
            }
        }
    }
    found
}

fn encode(rows: &[Piece], half: bool) -> Vec<u8> {
    let width = if half { 2 } else { 4 };
    let numbers: usize = rows.iter().flat_map(|row| &row.parts).map(|(_, values)| values.len() * width + 8).sum();
    let mut bytes = Vec::with_capacity(numbers + 64 * (rows.len() + 1));
    let count = |bytes: &mut Vec<u8>, n: usize| bytes.extend((n as u32).to_le_bytes());
    count(&mut bytes, rows.len());
    for Piece { index, name, parts } in rows {
        bytes.extend(index.to_le_bytes());
        count(&mut bytes, name.len());
        bytes.extend(name.as_bytes());
        count(&mut bytes, parts.len());
        for (i, values) in parts {
            count(&mut bytes, *i);
            count(&mut bytes, values.len());
            if half {
                values.iter().for_each(|&value| bytes.extend(bf16::from_f32(value).to_le_bytes()));
            } else {
                values.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
            }
        }
    }
    bytes
}

/// The rows of a message; `None` if it is none.
fn decode(mut bytes: &[u8], half: bool) -> Option<Vec<Piece>> {
    let bytes = &mut bytes;
    let mut rows = Vec::new();
    for _ in 0..count(bytes)? {
        let index = u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?);
        let length = count(bytes)?;
        let name = String::from_utf8(take(bytes, length)?.to_vec()).ok()?;
        let mut parts = Vec::new();
        for _ in 0..count(bytes)? {
            let (i, length) = (count(bytes)?, count(bytes)?);
            let data = take(bytes, length.checked_mul(if half { 2 } else { 4 })?)?;
            let values = if half {
                data.as_chunks().0.iter().map(|&two| bf16::from_le_bytes(two).to_f32()).collect()
            } else {
                data.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect()
            };
            parts.push((i, values));
        }
        rows.push(Piece { index, name, parts });
    }
    Some(rows)
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (taken, rest) = bytes.split_at_checked(length)?;
    *bytes = rest;
    Some(taken)
}

fn count(bytes: &mut &[u8]) -> Option<usize> {
    Some(u32::from_le_bytes(take(bytes, 4)?.try_into().ok()?) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(index: u64, name: &str, parts: &[(usize, &[f32])]) -> Piece {
        Piece { index, name: name.into(), parts: parts.iter().map(|(i, values)| (*i, values.to_vec())).collect() }
    }

    #[test]
    fn messages_are_read_as_written_and_half_precision_rounds() {
        let rows = [piece(7, "ce", &[(0, &[1.0, -0.0, 1e-30]), (3, &[])]), piece(9, "", &[])];
        assert_eq!(decode(&encode(&rows, false), false), Some(rows.to_vec()));
        let half = decode(&encode(&rows, true), true).unwrap();
        assert_eq!(half[0].parts[0].1[0], 1.0);
        assert!((half[0].parts[0].1[2] / 1e-30 - 1.0).abs() < 1.0 / 256.0);
        let bytes = encode(&rows, false);
        assert!((0..bytes.len()).all(|end| decode(&bytes[..end], false).is_none()));
    }

    #[test]
    fn sums_follow_micro_batches_and_not_arrival() {
        // (1e8 + -1e8) + 1 is 1, and (1 + 1e8) + -1e8 is 0 in float32.
        let rows = [piece(2, "a", &[(0, &[1.0])]), piece(0, "a", &[(0, &[1e8])]), piece(1, "a", &[(0, &[-1e8])])];
        assert_eq!(sums(rows.to_vec()), [piece(0, "a", &[(0, &[1.0])])]);
        // What a row does not have is no zero: the parameter without any gradient stays without.
        let rows = [piece(1, "b", &[(1, &[2.0])]), piece(0, "a", &[(0, &[1.0])]), piece(2, "b", &[(0, &[3.0])])];
        assert_eq!(sums(rows.to_vec()), [piece(0, "a", &[(0, &[1.0])]), piece(1, "b", &[(1, &[2.0]), (0, &[3.0])])]);
    }

    #[test]
    fn bytes_of_a_step_by_hand() {
        // Two ranks: half of a gradient goes out in rows, and half in sums.
        assert_eq!(Reduction::default().bytes(1000, 2, 1), 4000);
        assert_eq!(Reduction { half: true, ..Reduction::default() }.bytes(1000, 2, 1), 2000);
        assert_eq!(Reduction { reproducible: true, ..Reduction::default() }.bytes(1000, 2, 3), 8000);
        assert_eq!(Reduction::default().bytes(1000, 1, 1), 0);
    }
}
