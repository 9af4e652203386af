//! Gradients on the host, and the messages that they travel in.

use std::ops::Deref;

use burn::tensor::Tensor;

use crate::kernels::{self, watch::Complete};
use crate::train::gradients::Gradients;

/// The numbers of a gradient.
pub(super) enum Numbers {
    Own(Vec<f32>),
    /// As the backward pass left them.
    Complete(Complete),
}

impl Numbers {
    pub(super) fn of(gradient: &Tensor<1>) -> Self {
        let data = gradient.clone().into_data().convert::<f32>();
        Self::Own(data.try_into_vec().expect("just converted"))
    }

    /// Adds a later gradient to this one.
    pub(super) fn plus(&self, later: &Self) -> Self {
        Self::Own(self.iter().zip(&**later).map(|(sum, value)| sum + value).collect())
    }
}

impl Deref for Numbers {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Own(numbers) => numbers,
            Self::Complete(complete) => complete.numbers(),
        }
    }
}

/// The gradient of a term: of one micro-batch, or the sum of several.
pub(in crate::train) struct Row {
    /// The (first) micro-batch.
    pub(super) index: u64,
    pub(super) name: String,
    /// By parameter.
    pub(super) numbers: Vec<Option<Numbers>>,
}

impl Row {
    pub(in crate::train) fn new(index: u64, name: &str, gradients: &Gradients) -> Self {
        let numbers = gradients.0.iter().map(|gradient| gradient.as_ref().map(Numbers::of)).collect();
        Self { index, name: name.into(), numbers }
    }
}

/// What a message has of a row: pieces of the parameters that have a gradient.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Piece<V> {
    pub(super) index: u64,
    pub(super) name: String,
    /// Position of the parameter, and its numbers in the segment.
    pub(super) parts: Vec<(usize, V)>,
}

/// Numbers of a width in a message: float32, or bfloat16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wire {
    pub(super) half: bool,
}

impl Wire {
    /// Bytes of a number.
    pub(super) fn width(self) -> usize {
        if self.half { 2 } else { 4 }
    }

    /// Writes numbers at the end of a message. Plain loops over chunks, which compilers turn into vector instructions.
    fn write(self, bytes: &mut Vec<u8>, values: &[f32]) {
        let start = bytes.len();
        bytes.resize(start + values.len() * self.width(), 0);
        if self.half {
            let places = bytes[start..].as_chunks_mut().0;
            places.iter_mut().zip(values).for_each(|(place, &value)| *place = bf16(value).to_le_bytes());
        } else {
            let places = bytes[start..].as_chunks_mut().0;
            places.iter_mut().zip(values).for_each(|(place, value)| *place = value.to_le_bytes());
        }
    }

    /// Replaces numbers by those of a message, as many.
    pub(super) fn read(self, bytes: &[u8], values: &mut [f32]) {
        if self.half {
            values.iter_mut().zip(bytes.as_chunks().0).for_each(|(value, &two)| *value = wide(two));
        } else {
            values.iter_mut().zip(bytes.as_chunks().0).for_each(|(value, &four)| *value = f32::from_le_bytes(four));
        }
    }

    /// Adds those of a message to numbers, as many.
    fn add(self, bytes: &[u8], values: &mut [f32]) {
        if self.half {
            values.iter_mut().zip(bytes.as_chunks().0).for_each(|(value, &two)| *value += wide(two));
        } else {
            values.iter_mut().zip(bytes.as_chunks().0).for_each(|(value, &four)| *value += f32::from_le_bytes(four));
        }
    }

    /// The message with some rows.
    pub(super) fn encode<V: Deref<Target = [f32]>>(self, rows: &[Piece<V>]) -> Vec<u8> {
        let numbers: usize =
            rows.iter().flat_map(|row| &row.parts).map(|(_, values)| values.len() * self.width() + 8).sum();
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
                self.write(&mut bytes, values);
            }
        }
        bytes
    }

    /// The rows of a message; `None` if it is none.
    pub(super) fn decode(self, mut bytes: &[u8]) -> Option<Vec<Piece<&[u8]>>> {
        let bytes = &mut bytes;
        let mut rows = Vec::new();
        for _ in 0..count(bytes)? {
            let index = u64::from_le_bytes(take(bytes, 8)?.try_into().ok()?);
            let length = count(bytes)?;
            let name = String::from_utf8(take(bytes, length)?.to_vec()).ok()?;
            let mut parts = Vec::new();
            for _ in 0..count(bytes)? {
                let (i, length) = (count(bytes)?, count(bytes)?);
                parts.push((i, take(bytes, length.checked_mul(self.width())?)?));
            }
            rows.push(Piece { index, name, parts });
        }
        Some(rows)
    }

    /// The sum by term, added in the order of micro-batches.
    pub(super) fn sums(self, mut rows: Vec<Piece<&[u8]>>) -> Vec<Piece<Vec<f32>>> {
        // Stable: the terms of a micro-batch stay in their order.
        rows.sort_by_key(|row| row.index);
        let mut found: Vec<Piece<Vec<f32>>> = Vec::new();
        for Piece { index, name, parts } in rows {
            let known = found.iter().position(|sum| sum.name == name);
            let known = known.unwrap_or_else(|| {
                found.push(Piece { index, name, parts: Vec::with_capacity(parts.len()) });
                found.len() - 1
            });
            for (i, bytes) in parts {
                let sums = &mut found[known].parts;
                if let Some((_, sum)) = sums.iter_mut().find(|(known, _)| *known == i) {
                    self.add(bytes, sum);
                } else {
                    let mut values = vec![0.0; bytes.len() / self.width()];
                    self.read(bytes, &mut values);
                    sums.push((i, values));
                }
            }
        }
        found
    }
}

/// The nearest bfloat16 number, ties to even, as its bits.
fn bf16(value: f32) -> u16 {
    let nearest = kernels::bf16(value).to_bits() >> 16;
    // What is no number stays none, whatever is cut off.
    let none = value.to_bits() >> 16 | 0x40;
    (if value.is_nan() { none } else { nearest }) as u16
}

fn wide(bf16: [u8; 2]) -> f32 {
    f32::from_bits(u32::from(u16::from_le_bytes(bf16)) << 16)
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

    const FULL: Wire = Wire { half: false };
    const HALF: Wire = Wire { half: true };

    fn piece(index: u64, name: &str, parts: &[(usize, &[f32])]) -> Piece<Vec<f32>> {
        Piece { index, name: name.into(), parts: parts.iter().map(|(i, values)| (*i, values.to_vec())).collect() }
    }

    fn sums(rows: &[Piece<Vec<f32>>]) -> Vec<Piece<Vec<f32>>> {
        FULL.sums(FULL.decode(&FULL.encode(rows)).expect("just written"))
    }

    #[test]
    fn messages_are_read_as_written_and_half_precision_rounds() {
        let rows = [piece(7, "ce", &[(0, &[1.0, -0.0, 1e-30]), (3, &[])]), piece(9, "", &[])];
        assert_eq!(sums(&rows), rows);
        let bytes = HALF.encode(&rows);
        let half = HALF.sums(HALF.decode(&bytes).expect("just written"));
        assert_eq!(half[0].parts[0].1[..2], [1.0, -0.0]);
        assert!((half[0].parts[0].1[2] / 1e-30 - 1.0).abs() < 1.0 / 256.0);
        let bytes = FULL.encode(&rows);
        assert!((0..bytes.len()).all(|end| FULL.decode(&bytes[..end]).is_none()));
    }

    #[test]
    fn half_precision_is_that_of_burn_for_every_kind_of_number() {
        // Every exponent and sign, with the digits around the middle between two numbers.
        let low = [0u32, 1, 0x7fff, 0x8000, 0x8001, 0x17fff, 0x18000, 0xffff, 0x7f_ffff];
        for bits in (0..512u32).flat_map(|high| low.map(|low| high << 23 | low)) {
            let value = f32::from_bits(bits);
            assert_eq!(bf16(value), burn::tensor::bf16::from_f32(value).to_bits(), "{bits:x}");
        }
    }

    #[test]
    fn sums_follow_micro_batches_and_not_arrival() {
        // (1e8 + -1e8) + 1 is 1, and (1 + 1e8) + -1e8 is 0 in float32.
        let rows = [piece(2, "a", &[(0, &[1.0])]), piece(0, "a", &[(0, &[1e8])]), piece(1, "a", &[(0, &[-1e8])])];
        assert_eq!(sums(&rows), [piece(0, "a", &[(0, &[1.0])])]);
        // What a row does not have is no zero: the parameter without any gradient stays without.
        let rows = [piece(1, "b", &[(1, &[2.0])]), piece(0, "a", &[(0, &[1.0])]), piece(2, "b", &[(0, &[3.0])])];
        assert_eq!(sums(&rows), [piece(0, "a", &[(0, &[1.0])]), piece(1, "b", &[(1, &[2.0]), (0, &[3.0])])]);
    }
}
