//! Parquet files of flat columns: read as the CSV text that has the same cells, at once or in a stream, so that every reader of tables takes them,
//! and written from rows of a table.
//!
//! A null, and a number that is NaN, is an empty field. Dates and times are written by ISO 8601, in UTC, as short as the
//! column allows: days if every time is midnight, else seconds with no, three or six decimals.
//!
//! Reference: the format of Apache Parquet, read and written by the crate of the same name.

use std::fs::File;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::{Type, TypePtr};

use crate::data::tables::dates::iso;
use crate::data::tables::{ColumnKind, TableLayout};

/// First bytes of a Parquet file.
pub(super) const MAGIC: &[u8] = b"PAR1";

/// How much of a time a column of them needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Days,
    Decimals(u32),
}

/// The CSV text of a file, with a heading, of at most `most` bytes.
///
/// # Errors
/// What is wrong with the file: it is larger or damaged, compressed in a way that is not known, or has nested columns.
pub(super) fn to_csv(bytes: Vec<u8>, most: u64) -> Result<String, String> {
    let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(explain)?;
    let sizes = reader.metadata().row_groups().iter().map(|group| u64::try_from(group.total_byte_size()).unwrap_or(0));
    let too_large = || format!("its cells take more than {most} bytes");
    if sizes.fold(0, u64::saturating_add) > most {
        return Err(too_large());
    }
    let columns = Columns::of(&reader)?;
    let mut out = columns.heading();
    for row in reader.get_row_iter(None).map_err(explain)? {
        columns.add(&row.map_err(explain)?, &mut out)?;
        if out.len() as u64 > most {
            return Err(too_large());
        }
    }
    Ok(out)
}

/// The CSV text of a file of any size, read row by row.
pub(super) struct CsvRows {
    columns: Columns,
    rows: RowIter<'static>,
    /// What was made and is not read yet.
    text: String,
    read: usize,
}

impl CsvRows {
    /// Opens a file.
    ///
    /// # Errors
    /// See [`to_csv`].
    pub(super) fn open(file: File) -> Result<Self, String> {
        let reader = SerializedFileReader::new(file).map_err(explain)?;
        let columns = Columns::of(&reader)?;
        let text = columns.heading();
        Ok(Self { columns, rows: RowIter::from_file_into(Box::new(reader)), text, read: 0 })
    }
}

impl Read for CsvRows {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.read == self.text.len() {
            self.text.clear();
            self.read = 0;
            while self.text.len() < out.len() {
                let Some(row) = self.rows.next() else { break };
                let row = row.map_err(|error| io::Error::other(explain(error)))?;
                self.columns.add(&row, &mut self.text).map_err(io::Error::other)?;
            }
        }
        let count = (&self.text.as_bytes()[self.read..]).read(out)?;
        self.read += count;
        Ok(count)
    }
}

/// The columns of a file, and how their cells are written.
struct Columns {
    names: Vec<String>,
    /// Whether numbers count nanoseconds.
    nanos: Vec<bool>,
    /// Of those that hold times.
    precisions: Vec<Option<Precision>>,
}

impl Columns {
    fn of(reader: &dyn FileReader) -> Result<Self, String> {
        let schema = reader.metadata().file_metadata().schema_descr();
        let root = schema.root_schema();
        let nested = |field: &&TypePtr| field.is_group() || field.get_basic_info().repetition() == Repetition::REPEATED;
        if let Some(field) = root.get_fields().iter().find(nested) {
            let name = field.name();
            return Err(format!("the column `{name}` is nested, and a table has one value a cell: flatten it first"));
        }
        let (mut nanos, mut times) = (Vec::new(), Vec::new());
        for (place, column) in schema.columns().iter().enumerate() {
            let unit = match column.logical_type_ref() {
                Some(LogicalType::Timestamp(of)) => Some(of.unit),
                _ => None,
            };
            nanos.push(unit == Some(TimeUnit::NANOS));
            let old =
                matches!(column.converted_type(), ConvertedType::TIMESTAMP_MILLIS | ConvertedType::TIMESTAMP_MICROS);
            if unit.is_some() || old || column.physical_type() == Physical::INT96 {
                times.push(place);
            }
        }
        let found = precisions(reader, root, &times, &nanos)?;
        let mut precisions = vec![None; nanos.len()];
        times.iter().zip(found).for_each(|(&place, precision)| precisions[place] = Some(precision));
        let names = root.get_fields().iter().map(|field| field.name().to_owned()).collect();
        Ok(Self { names, nanos, precisions })
    }

    fn heading(&self) -> String {
        let mut out = String::new();
        let last = self.names.len();
        self.names.iter().enumerate().for_each(|(place, name)| add(&mut out, place, name, place + 1 == last));
        out
    }

    fn add(&self, row: &Row, out: &mut String) -> Result<(), String> {
        for (place, (name, field)) in row.get_column_iter().enumerate() {
            let text = text(field, self.nanos[place], self.precisions[place]);
            let text = text.map_err(|problem| format!("column `{name}`: {problem}"))?;
            add(out, place, &text, place + 1 == self.names.len());
        }
        Ok(())
    }
}

/// The least precision that each column of times needs.
fn precisions(reader: &dyn FileReader, root: &Type, times: &[usize], nanos: &[bool]) -> Result<Vec<Precision>, String> {
    let mut found = vec![Precision::Days; times.len()];
    if times.is_empty() {
        return Ok(found);
    }
    let some = times.iter().map(|&at| root.get_fields()[at].clone()).collect();
    let projection = Type::group_type_builder(root.name()).with_fields(some).build().map_err(explain)?;
    for row in reader.get_row_iter(Some(projection)).map_err(explain)? {
        let row = row.map_err(explain)?;
        for ((_, field), (precision, &at)) in row.get_column_iter().zip(found.iter_mut().zip(times)) {
            let Some(micros) = micros(field, nanos[at]) else { continue };
            let needed = match micros {
                _ if micros.rem_euclid(86_400_000_000) == 0 => Precision::Days,
                _ if micros.rem_euclid(1_000_000) == 0 => Precision::Decimals(0),
                _ if micros.rem_euclid(1000) == 0 => Precision::Decimals(3),
                _ => Precision::Decimals(6),
            };
            *precision = (*precision).max(needed);
        }
    }
    Ok(found)
}

/// Microseconds since 1970.
fn micros(field: &Field, nanos: bool) -> Option<i64> {
    match field {
        Field::Long(value) if nanos => Some(value.div_euclid(1000)),
        Field::TimestampMillis(value) => value.checked_mul(1000),
        Field::TimestampMicros(value) => Some(*value),
        _ => None,
    }
}

/// A cell.
fn text(field: &Field, nanos: bool, precision: Option<Precision>) -> Result<String, String> {
    if let Some(micros) = micros(field, nanos) {
        return Ok(match precision {
            None | Some(Precision::Days) => iso(micros, None),
            Some(Precision::Decimals(decimals)) => iso(micros, Some(decimals)),
        });
    }
    let number = |value: f64, text: String| if value.is_nan() { String::new() } else { text };
    Ok(match field {
        Field::Null => String::new(),
        Field::Bool(value) => value.to_string(),
        Field::Byte(value) => value.to_string(),
        Field::Short(value) => value.to_string(),
        Field::Int(value) => value.to_string(),
        Field::Long(value) => value.to_string(),
        Field::UByte(value) => value.to_string(),
        Field::UShort(value) => value.to_string(),
        Field::UInt(value) => value.to_string(),
        Field::ULong(value) => value.to_string(),
        Field::Float16(value) => number(value.to_f64(), value.to_string()),
        Field::Float(value) => number(f64::from(*value), value.to_string()),
        Field::Double(value) => number(*value, value.to_string()),
        Field::Decimal(_) | Field::TimeMillis(_) | Field::TimeMicros(_) => field.to_string(),
        Field::Str(text) => text.clone(),
        Field::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes.data());
            text.map_err(|_| "it holds bytes that are no UTF-8 text".to_owned())?.to_owned()
        }
        Field::Date(days) => iso(i64::from(*days) * 86_400_000_000, None),
        _ => return Err("it is nested or of a type that is not known".into()),
    })
}

/// Adds a field, quoted where it has to be.
fn add(out: &mut String, place: usize, text: &str, last: bool) {
    if place > 0 {
        out.push(',');
    }
    // A line without anything would be no row.
    let alone = place == 0 && last && text.is_empty();
    if alone || text.contains([',', '"', '\n', '\r', '\t', ';', '|', '#']) || text.trim() != text {
        out.push('"');
        out.push_str(&text.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(text);
    }
    if last {
        out.push('\n');
    }
}

fn explain(error: ParquetError) -> String {
    let problem = error.to_string();
    match problem.split_once("Disabled feature at compile time: ") {
        Some((_, codec)) => format!("it is compressed by {codec}: write it with snappy, zstd, gzip, lz4 or none"),
        None => format!("it cannot be read as Parquet: {problem}"),
    }
}

/// What a column of rows is written as.
enum Written {
    Bools(Vec<bool>),
    Days(Vec<i32>),
    Ints(Vec<i64>),
    Micros(Vec<i64>),
    Doubles(Vec<f64>),
    Texts(Vec<ByteArray>),
}

/// Rows of a table, one field for each of its columns, as a Parquet file: whole numbers, numbers, truth values, dates and
/// times have their types, all else is text, and what is missing is null.
///
/// # Panics
/// If a row has not one field for each column.
///
/// # Examples
/// ```
/// use pushforward::data::tables::{TableFile, write_parquet};
/// use pushforward::data::{DataConfig, Layout};
/// let dir = tempfile::tempdir()?;
/// let rows: String = (0..200).map(|i| format!("{},{}\n", i % 9, ["a", "b", ""][i % 3])).collect();
/// std::fs::write(dir.path().join("t.csv"), format!("n,word\n{rows}"))?;
/// let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'")?;
/// let Layout::Columns(table) = config.load(dir.path(), 0)?.schema().layout.clone() else { unreachable!("a table") };
///
/// let path = dir.path().join("t.parquet");
/// std::fs::write(&path, write_parquet(&table, &[["7", "b"], ["2", ""]])?)?;
/// let read = TableFile::read(&path, &table)?;
/// assert_eq!((read.rows(), read.field(0, 0).unwrap(), read.field(1, 1).unwrap()), (2, "7".into(), "".into()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// If the rows cannot be encoded.
pub fn write_parquet<R: AsRef<[S]>, S: AsRef<str>>(layout: &TableLayout, rows: &[R]) -> Result<Vec<u8>, ParquetError> {
    let (mut fields, mut columns) = (Vec::new(), Vec::new());
    for (place, column) in layout.columns().iter().enumerate() {
        let cells: Vec<&str> = rows.iter().map(|row| row.as_ref()[place].as_ref()).collect();
        let missing: Vec<bool> = cells.iter().map(|cell| layout.is_missing(cell)).collect();
        let there: Vec<&str> = cells.iter().zip(&missing).filter(|(_, missing)| !**missing).map(|(c, _)| *c).collect();
        let number = |cell: &&str| column.number_of(cell).or_else(|| cell.parse().ok());
        let written = typed(column.kind(), &there, number);
        let (physical, logical) = match written {
            Written::Bools(_) => (Physical::BOOLEAN, None),
            Written::Days(_) => (Physical::INT32, Some(LogicalType::Date)),
            Written::Ints(_) => (Physical::INT64, None),
            Written::Micros(_) => (Physical::INT64, Some(LogicalType::timestamp(false, TimeUnit::MICROS))),
            Written::Doubles(_) => (Physical::DOUBLE, None),
            Written::Texts(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        };
        let builder = Type::primitive_type_builder(column.name(), physical).with_repetition(Repetition::OPTIONAL);
        fields.push(Arc::new(builder.with_logical_type(logical).build()?));
        columns.push((written, missing));
    }
    let schema = Arc::new(Type::group_type_builder("schema").with_fields(fields).build()?);
    let properties = Arc::new(WriterProperties::builder().set_compression(Compression::SNAPPY).build());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties)?;
    let mut group = writer.next_row_group()?;
    for (written, missing) in columns {
        let Some(mut column) = group.next_column()? else { break };
        let levels: Vec<i16> = missing.iter().map(|missing| i16::from(!missing)).collect();
        let levels = Some(&levels[..]);
        match (column.untyped(), &written) {
            (ColumnWriter::BoolColumnWriter(to), Written::Bools(of)) => to.write_batch(of, levels, None)?,
            (ColumnWriter::Int32ColumnWriter(to), Written::Days(of)) => to.write_batch(of, levels, None)?,
            (ColumnWriter::Int64ColumnWriter(to), Written::Ints(of) | Written::Micros(of)) => {
                to.write_batch(of, levels, None)?
            }
            (ColumnWriter::DoubleColumnWriter(to), Written::Doubles(of)) => to.write_batch(of, levels, None)?,
            (ColumnWriter::ByteArrayColumnWriter(to), Written::Texts(of)) => to.write_batch(of, levels, None)?,
            _ => unreachable!("the writer is that of the type above"),
        };
        column.close()?;
    }
    group.close()?;
    writer.into_inner()
}

/// The type of the cells of a column that are there; text where one of them is not of the type of its kind.
fn typed(kind: ColumnKind, cells: &[&str], number: impl Fn(&&str) -> Option<f64>) -> Written {
    let ints = || cells.iter().map(|cell| cell.parse().ok()).collect::<Option<Vec<i64>>>().map(Written::Ints);
    let doubles = || cells.iter().map(&number).collect::<Option<Vec<f64>>>().map(Written::Doubles);
    let bools = || {
        let bool = |cell: &&str| cell.to_ascii_lowercase().parse().ok();
        cells.iter().map(bool).collect::<Option<Vec<bool>>>().map(Written::Bools)
    };
    let dates = || {
        let numbers = cells.iter().map(&number).collect::<Option<Vec<f64>>>()?;
        let timed = cells.iter().any(|cell| cell.contains(':'));
        Some(if timed {
            Written::Micros(numbers.iter().map(|seconds| (seconds * 1e6).round() as i64).collect())
        } else {
            Written::Days(numbers.iter().map(|&days| days as i32).collect())
        })
    };
    let found = match kind {
        _ if cells.is_empty() => None,
        ColumnKind::Integer => ints(),
        ColumnKind::Number => doubles(),
        ColumnKind::Date => dates(),
        ColumnKind::Constant => ints().or_else(doubles).or_else(bools),
        ColumnKind::Categorical => bools(),
        ColumnKind::Skipped => None,
    };
    found.unwrap_or_else(|| Written::Texts(cells.iter().map(|&cell| ByteArray::from(cell)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DataConfig, Layout};
    use crate::rng::{Purpose, stream};

    /// A file of one column of 64-bit numbers.
    fn numbers(logical: Option<LogicalType>, repetition: Repetition, values: &[i64]) -> Vec<u8> {
        let column = Type::primitive_type_builder("when", Physical::INT64).with_repetition(repetition);
        let column = Arc::new(column.with_logical_type(logical).build().unwrap());
        let schema = Arc::new(Type::group_type_builder("schema").with_fields(vec![column]).build().unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Default::default()).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let ColumnWriter::Int64ColumnWriter(to) = column.untyped() else { panic!("64 bits") };
        let levels = vec![1; values.len()];
        let repeated = repetition == Repetition::REPEATED;
        to.write_batch(values, Some(&levels), repeated.then_some(&[0; 3][..values.len()])).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    #[test]
    fn times_are_as_short_as_their_column_allows() {
        let second = 1_000_000_000;
        let nanos = |values: &[i64]| {
            let logical = LogicalType::timestamp(false, TimeUnit::NANOS);
            to_csv(numbers(Some(logical), Repetition::OPTIONAL, values), 1000).unwrap()
        };
        assert_eq!(nanos(&[0, 86_400 * second, -86_400 * second]), "when\n1970-01-01\n1970-01-02\n1969-12-31\n");
        assert_eq!(nanos(&[0, 90 * second]), "when\n1970-01-01 00:00:00\n1970-01-01 00:01:30\n");
        assert_eq!(nanos(&[second / 4]), "when\n1970-01-01 00:00:00.250\n");
        assert_eq!(to_csv(numbers(None, Repetition::OPTIONAL, &[7, -2]), 1000).unwrap(), "when\n7\n-2\n");
        let mut line = String::new();
        ["", "a"].iter().for_each(|text| add(&mut line, 0, text, true));
        assert_eq!(line, "\"\"\na\n");
        let nested = to_csv(numbers(None, Repetition::REPEATED, &[7, 8]), 1000).unwrap_err();
        assert!(to_csv(numbers(None, Repetition::OPTIONAL, &[7, -2]), 8).unwrap_err().contains("more than 8 bytes"));
        assert!(nested.contains("`when` is nested"), "{nested}");
    }

    #[test]
    fn rows_come_back_with_their_types() {
        let folder = tempfile::tempdir().unwrap();
        let row = |i: usize| {
            let word = ["a, b", "\"c\"", "", "d\ne"][i % 4];
            let word = if word.is_empty() { String::new() } else { format!("\"{}\"", word.replace('"', "\"\"")) };
            let (date, time) = (format!("2024-0{}-11", 1 + i % 9), format!("{:02}:00:{:02}", i % 24, i % 60));
            format!("{},{word},{}.5,{},{date},{date} {time},7\n", i as i64 - 99, i % 13, ["True", "False"][i % 2])
        };
        let head = "n,word,value,flag,day,time,same\n".to_owned();
        std::fs::write(folder.path().join("t.csv"), head + &(0..300).map(row).collect::<String>()).unwrap();
        let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv'").unwrap();
        let splits = config.load(folder.path(), 0).unwrap();
        let Layout::Columns(layout) = &splits.schema().layout else { panic!("a table") };
        let rows: Vec<Vec<String>> = (0..50)
            .map(|i| {
                let ids: Vec<u32> = layout.class_counts().iter().map(|&n| (i * 7 % n) as u32).collect();
                layout.decode_row(&ids, &mut stream(0, Purpose::Decode, i as u64))
            })
            .collect();
        let bytes = write_parquet(layout, &rows).unwrap();
        let reader = SerializedFileReader::new(Bytes::from(bytes.clone())).unwrap();
        let schema = reader.metadata().file_metadata().schema_descr_ptr();
        let types: Vec<Physical> = schema.columns().iter().map(|column| column.physical_type()).collect();
        use Physical::{BOOLEAN, BYTE_ARRAY, DOUBLE, INT32, INT64};
        assert_eq!(types, [INT64, BYTE_ARRAY, DOUBLE, BOOLEAN, INT32, INT64, INT64]);
        std::fs::write(folder.path().join("t.parquet"), &bytes).unwrap();
        let file = crate::data::tables::TableFile::read(&folder.path().join("t.parquet"), layout).unwrap();
        let places = layout.places();
        for (row, fields) in rows.iter().enumerate() {
            for (site, &place) in places.iter().enumerate() {
                let found = file.field(row, site).unwrap();
                let same = found == fields[place].as_str() || found.eq_ignore_ascii_case(&fields[place]);
                assert!(
                    same || layout.number_of(site, &found) == layout.number_of(site, &fields[place]),
                    "{row} {site}"
                );
            }
        }
        // Damaged files are errors, wherever they are cut or changed.
        let mut random = stream(0, Purpose::Synthesis, 0);
        for _ in 0..300 {
            let mut damaged = bytes.clone();
            damaged.truncate(4 + random.below(bytes.len() - 4));
            assert!(to_csv(damaged, 1 << 20).is_err());
            let mut damaged = bytes.clone();
            (0..3).for_each(|_| damaged[random.below(bytes.len())] = random.below(256) as u8);
            let _ = to_csv(damaged, 1 << 20);
        }
    }
}
