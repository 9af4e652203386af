//! Tables: rows of categories, numbers and dates from files such as CSV.
//!
//! Every column that varies is a site of its own, with classes of its own. What kind a column is of, is found by reading
//! it, and a recipe may say otherwise:
//!
//! - A *categorical* column has a class for each value. Rare values may share one.
//! - A column of *numbers* or *dates* has a class for each number if they are few. Else frequent numbers have one, and the
//!   others lie in bins of about as many rows. A number in a bin is drawn by its law there when a row is written.
//! - What is *missing* is a class, so that samples have it as often, or a hole: unknown, not learned from, and never drawn
//!   ([`MissingValues`]).
//! - A column that is *constant* has no site and is written as it was; one that *names* its rows is left out.
//!
//! The dictionary ([`TableLayout`]) is made from the training rows: only values that no training row has are taken from
//! the others, with a count of zero. It holds single values, rare ones and the extremes of numbers included, unless
//! `drop_rare` keeps those of few rows out.
//!
//! # Examples
//! ```
//! use pushforward::data::tables::Where;
//! use pushforward::data::{DataConfig, ExampleKey, Layout};
//! use pushforward::rng::{Purpose, stream};
//! let dir = tempfile::tempdir()?;
//! let row = |i: u32| format!("{},{},{}\n", 20 + i % 50, ["Female", "Male"][i as usize % 2], f64::from(i * i) / 8.0);
//! let rows: String = (0..400).map(row).collect();
//! std::fs::write(dir.path().join("people.csv"), format!("age,sex,income\n{rows}"))?;
//!
//! let config: DataConfig = toml::from_str("set = 'table'\npath = 'people.csv'\nbins = 60")?;
//! let splits = config.load(dir.path(), 0)?;
//! let Layout::Columns(table) = &splits.schema().layout else { unreachable!("a table") };
//! let columns: Vec<&str> = table.columns().iter().map(|column| column.name()).collect();
//! assert_eq!(columns, ["age", "sex", "income"]);
//! let kinds: Vec<&str> = table.sites().map(|column| column.kind().name()).collect();
//! assert_eq!(kinds, ["integer", "categorical", "number"]);
//! assert_eq!(table.class_counts()[..2], [50, 2]);
//! assert_eq!(table.columns()[0].missing_class(), None);
//!
//! // Fields to classes and back.
//! let ids = table.encode_row(&["33", "Male", "21.125"])?;
//! assert_eq!(ids[1], table.encode(table.site("sex")?, "Male")?);
//! assert_eq!(table.sites().zip(&ids).map(|(of, &class)| of.class_name(class)).collect::<Vec<_>>()[..2], ["33", "Male"]);
//! assert!(table.is_missing("?") && !table.is_missing("Male"));
//! let mut stream = stream(0, Purpose::Example, 0);
//! let fields = table.decode_row(&ids, &mut stream);
//! assert_eq!(fields[..2], ["33", "Male"]);
//! assert!((table.number_of(2, &fields[2]).unwrap() - 21.125).abs() < 20.0);
//! assert_eq!((table.heading().unwrap(), table.line(&fields[..2])), ("age,sex,income".into(), "33,Male".into()));
//! assert!(table.encode(1, "Mole").unwrap_err().to_string().contains("did you mean \"Male\"?"));
//!
//! // Classes that a condition allows.
//! let condition = Where::parse("age=30..40, sex=Female, income<21")?;
//! let allowed = table.classes_where(&condition)?;
//! assert_eq!(allowed[0].as_ref().unwrap().iter().sum::<f64>(), 11.0);
//! let fields = table.decode_row_within(&ids, &condition, &mut stream)?;
//! assert!(table.number_of(2, &fields[2]).unwrap() < 21.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod build;
mod column;
mod conditions;
mod config;
pub(in crate::data) mod dates;
mod file;
pub(in crate::data) mod grid;
mod kinds;
mod law;
mod layout;
mod numbers;
mod rows;
mod set;
mod stream;
#[cfg(test)]
mod tests;
mod wanted;
mod zeros;

pub use self::column::{ColumnKind, TableColumn};
pub use self::conditions::Where;
pub use self::config::{MissingValues, RaggedRows, TableConfig, TableSplit};
pub use self::file::TableFile;
pub use self::kinds::ColumnChoice;
pub use self::layout::TableLayout;
#[cfg(feature = "parquet")]
pub use crate::data::parquet::write_parquet;

/// Whether a text file, plain or gzipped, is a table of at least two columns under a delimiter. The answer is no if it
/// cannot be read as text.
///
/// # Examples
/// ```
/// use pushforward::data::tables::is_table_file;
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a.txt");
/// std::fs::write(&path, "age,sex\n39,Male\n50,Female\n")?;
/// assert!(is_table_file(&path));
/// std::fs::write(&path, "To be, or not to be:\nthat is the question.\n")?;
/// assert!(!is_table_file(&path));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn is_table_file(path: &std::path::Path) -> bool {
    crate::data::files::telling(path).is_ok_and(|text| grid::is_table(&text))
}
