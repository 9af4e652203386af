//! TensorBoard event files: scalars, texts and pictures by step, written without any TensorFlow.
//!
//! A file is a sequence of TFRecords, each one protocol-buffer `Event`:
//!
//! ```text
//! u64 length | u32 masked_crc(length) | bytes | u32 masked_crc(bytes)        little-endian
//! masked_crc(b) = rotate_right(crc32c(b), 15) + 0xa282ead8                   modulo 2^32
//! ```
//!
//! Formats: TensorFlow's `lib/io/record_writer.h`, `lib/hash/crc32c.h` and `event.proto`, `summary.proto`,
//! `tensor.proto`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::files::FilesError;

/// Prefix of every event file's name, which TensorBoard looks for.
const PREFIX: &str = "events.out.tfevents.";

/// An open event file.
#[derive(Debug)]
pub(crate) struct EventWriter {
    path: PathBuf,
    file: BufWriter<File>,
    /// Seconds since 1970 at creation; later events add the time run since then, so that a clock set back does not
    /// send a curve backwards.
    created: f64,
    since: Instant,
}

impl EventWriter {
    /// Opens a new event file in `dir`, named so that it sorts after those already there: TensorBoard reads the files
    /// of a run in order of name, and a resumed run continues its curves.
    ///
    /// # Errors
    /// The folder or the file cannot be made.
    pub(crate) fn create(dir: &Path, wall_time: SystemTime) -> Result<Self, FilesError> {
        fs::create_dir_all(dir).map_err(FilesError::io("create the folder", dir))?;
        let created = wall_time.duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
        let latest = latest_file(dir).map_err(FilesError::io("read", dir))?;
        let (seconds, number) = match latest {
            Some((seconds, number)) if seconds >= created as u64 => (seconds, number + 1),
            _ => (created as u64, 0),
        };
        let path = dir.join(format!("{PREFIX}{seconds:010}.pushforward.{number:04}"));
        let file =
            OpenOptions::new().write(true).create_new(true).open(&path).map_err(FilesError::io("create", &path))?;
        let mut writer = Self { path, file: BufWriter::new(file), created, since: Instant::now() };
        let mut version = Message::default();
        version.double(1, created);
        version.bytes(3, b"brain.Event:2");
        writer.record(&version.0)?;
        writer.flush()?;
        Ok(writer)
    }

    /// Adds a point to the curve `tag`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn scalar(&mut self, step: u64, tag: &str, value: f32) -> Result<(), FilesError> {
        let mut summary = Message::default();
        summary.bytes(1, tag.as_bytes());
        summary.float(2, value);
        self.summary(step, &summary)
    }

    /// Adds a text, shown as Markdown, to the tab of texts.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn text(&mut self, step: u64, tag: &str, text: &str) -> Result<(), FilesError> {
        const DT_STRING: u64 = 7;
        let mut dim = Message::default();
        dim.varint(1, 1);
        let mut shape = Message::default();
        shape.message(2, &dim);
        let mut tensor = Message::default();
        tensor.varint(1, DT_STRING);
        tensor.message(2, &shape);
        tensor.bytes(8, text.as_bytes());
        let mut plugin = Message::default();
        plugin.bytes(1, b"text");
        let mut metadata = Message::default();
        metadata.message(1, &plugin);

        let mut summary = Message::default();
        summary.bytes(1, tag.as_bytes());
        summary.message(8, &tensor);
        summary.message(9, &metadata);
        self.summary(step, &summary)
    }

    /// Adds a picture, given as PNG with its size in pixels.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn picture(
        &mut self,
        step: u64,
        tag: &str,
        (height, width): (u32, u32),
        png: &[u8],
    ) -> Result<(), FilesError> {
        const RGB: u64 = 3;
        let mut image = Message::default();
        image.varint(1, height.into());
        image.varint(2, width.into());
        image.varint(3, RGB);
        image.bytes(4, png);
        let mut summary = Message::default();
        summary.bytes(1, tag.as_bytes());
        summary.message(4, &image);
        self.summary(step, &summary)
    }

    /// Marks a restart of the run at `step`: TensorBoard then drops points of earlier files from that step on, which an
    /// interrupted run wrote after its last checkpoint.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn restart(&mut self, step: u64) -> Result<(), FilesError> {
        const START: u64 = 1;
        let mut session = Message::default();
        session.varint(1, START);
        let mut event = self.event(step);
        event.message(7, &session);
        self.record(&event.0)?;
        self.flush()
    }

    /// Hands everything written so far to the operating system.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn flush(&mut self) -> Result<(), FilesError> {
        self.file.flush().map_err(FilesError::io("write", &self.path))
    }

    fn summary(&mut self, step: u64, value: &Message) -> Result<(), FilesError> {
        let mut summary = Message::default();
        summary.message(1, value);
        let mut event = self.event(step);
        event.message(5, &summary);
        self.record(&event.0)
    }

    fn event(&self, step: u64) -> Message {
        let mut event = Message::default();
        event.double(1, self.created + self.since.elapsed().as_secs_f64());
        event.varint(2, step);
        event
    }

    fn record(&mut self, bytes: &[u8]) -> Result<(), FilesError> {
        let length = (bytes.len() as u64).to_le_bytes();
        let mut frame = Vec::with_capacity(bytes.len() + 16);
        frame.extend(length);
        frame.extend(masked_crc(&length).to_le_bytes());
        frame.extend(bytes);
        frame.extend(masked_crc(bytes).to_le_bytes());
        self.file.write_all(&frame).map_err(FilesError::io("write", &self.path))
    }
}

/// Checksum of TFRecords: masked, because checksums of data that contain checksums are problematic.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Seconds and number in the name of our event file that sorts last.
fn latest_file(dir: &Path) -> io::Result<Option<(u64, u32)>> {
    let mut latest = None;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let parsed = name.to_str().and_then(|name| {
            let mut parts = name.strip_prefix(PREFIX)?.split('.');
            let seconds = parts.next()?.parse().ok()?;
            // Of a file by another writer, only the time is known.
            Some((seconds, parts.nth(1).and_then(|number| number.parse().ok()).unwrap_or(0)))
        });
        latest = latest.max(parsed);
    }
    Ok(latest)
}

/// A protocol-buffer message under construction; the first argument of each method is the field's number.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, field: u64, value: u64) {
        self.raw_varint(field << 3);
        self.raw_varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.raw_varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.raw_varint(field << 3 | 2);
        self.raw_varint(value.len() as u64);
        self.0.extend(value);
    }

    fn message(&mut self, field: u64, value: &Message) {
        self.bytes(field, &value.0);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.raw_varint(field << 3 | 5);
        self.0.extend(value.to_le_bytes());
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;

    /// A field of a parsed message.
    #[derive(Debug, Clone, PartialEq)]
    enum Field {
        Varint(u64),
        Double(f64),
        Float(f32),
        Bytes(Vec<u8>),
    }

    type Parsed = BTreeMap<u64, Field>;

    /// Splits a file into records, checking both checksums of each.
    fn records(path: &Path) -> Vec<Vec<u8>> {
        let file = fs::read(path).unwrap();
        let mut rest = &file[..];
        let mut records = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let crc = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().unwrap());
            assert_eq!(crc(&rest[8..12]), masked_crc(&rest[..8]), "checksum of a length");
            let data = &rest[12..12 + length];
            assert_eq!(crc(&rest[12 + length..16 + length]), masked_crc(data), "checksum of a record");
            records.push(data.to_vec());
            rest = &rest[16 + length..];
        }
        records
    }

    fn varint(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for shift in (0..).step_by(7) {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        value
    }

    fn parse(mut bytes: &[u8]) -> Parsed {
        let mut fields = Parsed::new();
        while !bytes.is_empty() {
            let key = varint(&mut bytes);
            let mut take = |count: usize| {
                let (head, tail) = bytes.split_at(count);
                bytes = tail;
                head.to_vec()
            };
            let field = match key & 7 {
                1 => Field::Double(f64::from_le_bytes(take(8).try_into().unwrap())),
                5 => Field::Float(f32::from_le_bytes(take(4).try_into().unwrap())),
                0 => Field::Varint(varint(&mut bytes)),
                2 => {
                    let length = varint(&mut bytes) as usize;
                    let (head, tail) = bytes.split_at(length);
                    bytes = tail;
                    Field::Bytes(head.to_vec())
                }
                other => panic!("wire type {other}"),
            };
            assert!(fields.insert(key >> 3, field).is_none(), "no field is written twice");
        }
        fields
    }

    /// The message at a path of field numbers.
    fn at(message: &[u8], path: &[u64]) -> Parsed {
        path.iter().fold(parse(message), |message, field| match &message[field] {
            Field::Bytes(bytes) => parse(bytes),
            other => panic!("field {field} is {other:?}"),
        })
    }

    fn start() -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(1_700_000_000_500)
    }

    #[test]
    fn masked_checksum_of_a_known_string() {
        // crc32c("123456789") is e3069283 (RFC 3720's polynomial, the standard check value).
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked_crc(b"123456789"), 0xe306_9283u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }

    #[test]
    fn written_events_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = EventWriter::create(folder.path(), start()).unwrap();
        writer.scalar(0, "loss/total", 2.5).unwrap();
        writer.scalar(300, "loss/total", -1.0).unwrap();
        writer.text(300, "recipe", "**hello**").unwrap();
        writer.picture(301, "samples", (200, 4), b"not really a PNG").unwrap();
        writer.restart(200).unwrap();
        writer.flush().unwrap();

        let records = records(&writer.path);
        assert_eq!(records.len(), 6);
        let version = parse(&records[0]);
        assert_eq!(version[&1], Field::Double(1_700_000_000.5));
        assert_eq!(version[&3], Field::Bytes(b"brain.Event:2".to_vec()));

        let event = parse(&records[2]);
        assert_eq!(event[&2], Field::Varint(300));
        assert!(matches!(event[&1], Field::Double(time) if (1_700_000_000.5..1_700_000_060.0).contains(&time)));
        let value = at(&records[2], &[5, 1]);
        assert_eq!(value, Parsed::from([(1, Field::Bytes(b"loss/total".to_vec())), (2, Field::Float(-1.0))]));

        assert_eq!(at(&records[3], &[5, 1, 8])[&8], Field::Bytes(b"**hello**".to_vec()));
        assert_eq!(at(&records[3], &[5, 1, 8, 2, 2])[&1], Field::Varint(1));
        assert_eq!(at(&records[3], &[5, 1, 9, 1])[&1], Field::Bytes(b"text".to_vec()));

        let image = at(&records[4], &[5, 1, 4]);
        assert_eq!((&image[&1], &image[&2]), (&Field::Varint(200), &Field::Varint(4)));
        assert_eq!(image[&4], Field::Bytes(b"not really a PNG".to_vec()));
        assert_eq!(at(&records[5], &[7])[&1], Field::Varint(1));
    }

    #[test]
    fn each_new_file_sorts_after_the_earlier_ones() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("metrics.jsonl"), b"").unwrap();
        let later = start() + Duration::from_secs(100);
        // The same second twice, a later one, and a clock set back.
        let paths: Vec<PathBuf> = [start(), start(), later, start()]
            .map(|time| EventWriter::create(folder.path(), time).unwrap().path)
            .to_vec();
        assert!(paths.is_sorted_by(|a, b| a < b), "{paths:?}");
        assert!(paths.iter().all(|path| records(path).len() == 1), "no file is written into by another writer");
    }
}
