//! Lists of numbers, and text, as the bytes of a message, bit for bit.
//!
//! # Examples
//! ```
//! use pushforward::ranks::codec::{Reader, Writer};
//!
//! let bytes = Writer::default().f64s(&[0.5, f64::NEG_INFINITY]).u32s(&[3]).text("why").u64s([7, 8]).bytes();
//! let mut reader = Reader::new(&bytes);
//! assert_eq!(reader.f64s()?, [0.5, f64::NEG_INFINITY]);
//! assert_eq!(reader.u32s()?, [3]);
//! assert_eq!(reader.text()?, "why");
//! assert_eq!(reader.u64s()?, [7, 8]);
//! assert!(reader.is_at_end() && reader.u64s().is_err());
//! # Ok::<(), pushforward::ranks::RankError>(())
//! ```

use super::RankError;

/// Makes a message.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    fn list<const N: usize>(mut self, values: impl ExactSizeIterator<Item = [u8; N]>) -> Self {
        self.0.extend((values.len() as u64).to_le_bytes());
        values.for_each(|value| self.0.extend(value));
        self
    }

    /// Adds float64 numbers.
    pub fn f64s(self, values: &[f64]) -> Self {
        self.list(values.iter().map(|value| value.to_le_bytes()))
    }

    /// Adds float32 numbers.
    pub fn f32s(self, values: &[f32]) -> Self {
        self.list(values.iter().map(|value| value.to_le_bytes()))
    }

    /// Adds class indices.
    pub fn u32s(self, values: &[u32]) -> Self {
        self.list(values.iter().map(|value| value.to_le_bytes()))
    }

    /// Adds whole numbers.
    pub fn u64s<I: IntoIterator<Item = u64, IntoIter: ExactSizeIterator>>(self, values: I) -> Self {
        self.list(values.into_iter().map(u64::to_le_bytes))
    }

    /// Adds a text.
    pub fn text(self, text: &str) -> Self {
        self.list(text.bytes().map(|byte| [byte]))
    }

    /// The message.
    pub fn bytes(self) -> Vec<u8> {
        self.0
    }
}

/// Reads a message, in the order in which it was made.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins at the first list.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether nothing follows.
    pub fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    fn list<const N: usize>(&mut self) -> Result<&'a [[u8; N]], RankError> {
        let damaged = || RankError::Failed("a message ends too early: all ranks run the same program".into());
        let (length, rest) = self.0.split_first_chunk().ok_or_else(damaged)?;
        let length = (u64::from_le_bytes(*length) as usize).checked_mul(N).ok_or_else(damaged)?;
        let (list, rest) = rest.split_at_checked(length).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(list.as_chunks().0)
    }

    /// The next list, of float64 numbers.
    ///
    /// # Errors
    /// If the message ends before.
    pub fn f64s(&mut self) -> Result<Vec<f64>, RankError> {
        Ok(self.list()?.iter().map(|&bytes| f64::from_le_bytes(bytes)).collect())
    }

    /// The next list, of float32 numbers.
    ///
    /// # Errors
    /// If the message ends before.
    pub fn f32s(&mut self) -> Result<Vec<f32>, RankError> {
        Ok(self.list()?.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect())
    }

    /// The next list, of class indices.
    ///
    /// # Errors
    /// If the message ends before.
    pub fn u32s(&mut self) -> Result<Vec<u32>, RankError> {
        Ok(self.list()?.iter().map(|&bytes| u32::from_le_bytes(bytes)).collect())
    }

    /// The next list, of whole numbers.
    ///
    /// # Errors
    /// If the message ends before.
    pub fn u64s(&mut self) -> Result<Vec<u64>, RankError> {
        Ok(self.list()?.iter().map(|&bytes| u64::from_le_bytes(bytes)).collect())
    }

    /// The next text.
    ///
    /// # Errors
    /// If the message ends before.
    pub fn text(&mut self) -> Result<String, RankError> {
        Ok(String::from_utf8_lossy(self.list::<1>()?.as_flattened()).into_owned())
    }
}
