//! Where the numbers of every parameter lie in buckets and segments.

use std::ops::Range;

use super::Reduction;
use super::rows::{Piece, Row, Wire};
use crate::ranks::{RankError, Ranks};

/// The numbers of all parameters one after the other, cut into buckets, and these into a segment for every rank.
pub(in crate::train) struct Layout {
    ranks: usize,
    pub(super) wire: Wire,
    /// Parameters in the order in which they lie.
    order: Vec<usize>,
    /// Where each lies, by parameter.
    pub(super) places: Vec<Range<usize>>,
    buckets: Vec<Range<usize>>,
}

impl Layout {
    /// `order` has every parameter once; `lengths` are their numbers.
    pub(in crate::train) fn new(ranks: &Ranks, settings: Reduction, lengths: &[usize], order: Vec<usize>) -> Self {
        let mut places = vec![0..0; lengths.len()];
        let mut end = 0;
        for &parameter in &order {
            places[parameter] = end..end + lengths[parameter];
            end += lengths[parameter];
        }
        let bucket = settings.bucket.max(1);
        let buckets = (0..end).step_by(bucket).map(|start| start..end.min(start.saturating_add(bucket))).collect();
        Self { ranks: ranks.size(), wire: Wire { half: settings.half }, order, places, buckets }
    }

    /// How many buckets there are.
    pub(super) fn buckets(&self) -> usize {
        self.buckets.len()
    }

    /// The buckets that a parameter lies in.
    pub(super) fn of(&self, parameter: usize) -> Range<usize> {
        let place = &self.places[parameter];
        if place.is_empty() {
            return 0..0;
        }
        let size = self.buckets[0].len();
        place.start / size..(place.end - 1) / size + 1
    }

    /// The segment of a rank in a bucket.
    pub(super) fn segment(&self, bucket: usize, rank: usize) -> Range<usize> {
        let Range { start, end } = self.buckets[bucket];
        let at = |rank: usize| start + ((end - start) as u128 * rank as u128 / self.ranks as u128) as usize;
        at(rank)..at(rank + 1)
    }

    /// The parameters that lie in a segment, and where in their own numbers.
    fn inside(&self, segment: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
        let first = self.order.partition_point(|&parameter| self.places[parameter].end <= segment.start);
        let ordered = self.order[first..].iter().take_while({
            let end = segment.end;
            move |&&parameter| self.places[parameter].start < end
        });
        ordered.filter_map(move |&parameter| Some((parameter, self.cut(parameter, &segment)?)))
    }

    /// Where in the numbers of a parameter a segment is, if it is.
    pub(super) fn cut(&self, parameter: usize, segment: &Range<usize>) -> Option<Range<usize>> {
        let place = self.places.get(parameter)?;
        let (start, end) = (place.start.max(segment.start), place.end.min(segment.end));
        (start < end).then(|| start - place.start..end - place.start)
    }

    /// The message with what rows have in the segment of a rank.
    pub(super) fn encode(&self, bucket: usize, rank: usize, rows: &[Row]) -> Vec<u8> {
        let segment = self.segment(bucket, rank);
        let pieces: Vec<_> = rows.iter().map(|row| self.piece(row, segment.clone())).collect();
        self.wire.encode(&pieces)
    }

    fn piece<'r>(&self, row: &'r Row, segment: Range<usize>) -> Piece<&'r [f32]> {
        let parts = self.inside(segment).filter_map(|(parameter, cut)| {
            let numbers = row.numbers.get(parameter)?.as_ref()?;
            Some((parameter, &numbers[cut]))
        });
        Piece { index: row.index, name: row.name.clone(), parts: parts.collect() }
    }

    /// Reads rows of a segment.
    pub(super) fn decode<'b>(
        &self,
        bytes: &'b [u8],
        segment: &Range<usize>,
    ) -> Result<Vec<Piece<&'b [u8]>>, RankError> {
        let pieces = self.wire.decode(bytes).ok_or_else(damaged)?;
        let fits = |(parameter, bytes): &(usize, &[u8])| {
            self.cut(*parameter, segment).is_some_and(|cut| cut.len() * self.wire.width() == bytes.len())
        };
        if pieces.iter().flat_map(|piece| &piece.parts).all(fits) { Ok(pieces) } else { Err(damaged()) }
    }

    /// The message with the sums of the rows in messages about a segment.
    pub(super) fn combine<'b>(
        &self,
        messages: impl Iterator<Item = &'b Vec<u8>>,
        segment: &Range<usize>,
    ) -> Result<Vec<u8>, RankError> {
        let mut rows = Vec::new();
        for message in messages {
            rows.extend(self.decode(message, segment)?);
        }
        let sums = self.wire.sums(rows);
        Ok(self.wire.encode(&sums))
    }
}

fn damaged() -> RankError {
    RankError::Failed("a message of gradients is not of this model: all ranks run the same program and recipe".into())
}
