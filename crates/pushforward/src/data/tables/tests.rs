//! Tests of tables from files.

use std::fmt::Write as _;
use std::path::Path;

use super::*;
use crate::data::{DataConfig, DataError, ExampleKey, Layout, Splits};
use crate::rng::{Purpose, stream};

mod holes;
mod zeros;

fn load(text: &str, settings: &str) -> Result<Splits, DataError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("t.csv"), text).unwrap();
    let config: DataConfig = toml::from_str(&format!("set = 'table'\npath = 't.csv'\n{settings}")).unwrap();
    config.validate().unwrap();
    let splits = config.load(dir.path(), 0)?;
    assert_eq!(splits.schema().check(), Ok(()));
    Ok(splits)
}

#[track_caller]
fn error(text: &str, settings: &str, parts: &[&str]) {
    let message = load(text, settings).expect_err("an error").to_string();
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in: {message}");
    }
}

fn layout(splits: &Splits) -> &TableLayout {
    let Layout::Columns(layout) = &splits.schema().layout else { panic!("a table") };
    layout
}

fn kinds(splits: &Splits) -> Vec<&'static str> {
    layout(splits).columns().iter().map(|column| column.kind().name()).collect()
}

/// All rows of a table as class indices.
fn ids(splits: &Splits) -> Vec<Vec<u32>> {
    let mut rows = Vec::new();
    for part in [&splits.train, &splits.validation, &splits.test] {
        for index in 0..part.len() {
            let mut row = vec![0; part.schema().sites];
            part.write(ExampleKey::fixed(0, index), &mut row);
            rows.push(row);
        }
    }
    rows
}

/// The rows of a table, written again.
fn decoded(splits: &Splits) -> Vec<Vec<String>> {
    let rows = ids(splits).into_iter().zip(0..);
    rows.map(|(row, index)| layout(splits).decode_row(&row, &mut stream(0, Purpose::Sample, index))).collect()
}

/// A table with a column of each kind.
fn people(rows: usize) -> String {
    let mut text = "id,age,sex,income,day,country,zip\n".to_owned();
    let mut random = stream(3, Purpose::Synthesis, 0);
    for row in 0..rows {
        let age = 20 + random.below(50);
        let sex = ["Female", "Male"][random.below(2)];
        let income = if random.uniform() < 0.3 { 0.0 } else { (random.normal() * 0.8 + 7.0).exp() };
        let day = format!("2024-{:02}-{:02}", 1 + random.below(12), 1 + random.below(28));
        let zip = ["01234", "99999", "12345"][random.below(3)];
        let country = if row % 10 == 0 { "" } else { "CH" };
        writeln!(text, "p{row},{age},{sex},{income:.2},{day},{country},{zip}").unwrap();
    }
    text
}

#[test]
fn kinds_are_found_and_rows_come_back() {
    let text = people(3000);
    let splits = load(&text, "").unwrap();
    assert_eq!(kinds(&splits), ["skip", "integer", "categorical", "number", "date", "categorical", "categorical"]);
    assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [2700, 150, 150]);
    let table = layout(&splits);
    // 50 ages, two sexes, a bin for each percent besides the zeros, bins of days, a country or none, three codes.
    assert_eq!(table.class_counts()[..2], [50, 2]);
    assert_eq!(table.class_counts()[4..], [2, 3]);
    assert!(
        (60..=100).contains(&table.class_counts()[2]) && table.class_counts()[3] == 100,
        "{:?}",
        table.class_counts()
    );
    // What is read comes back: exactly, or from the same bin.
    let mut written = decoded(&splits);
    let mut read: Vec<Vec<String>> = text.lines().skip(1).map(|l| l.split(',').map(str::to_owned).collect()).collect();
    for (row, again) in ids(&splits).iter().zip(&written) {
        assert_eq!(&table.encode_row(again).unwrap(), row, "{again:?}");
    }
    for column in [1, 2, 5, 6] {
        let values = |rows: &[Vec<String>]| {
            let mut values: Vec<String> = rows.iter().map(|row| row[column].clone()).collect();
            values.sort();
            values
        };
        assert_eq!(values(&read), values(&written), "column {column}");
    }
    for column in [3, 4] {
        let site = table.site(table.columns()[column].name()).unwrap();
        let distance = ks(&mut read, &mut written, |row| table.number_of(site, &row[column]).unwrap());
        assert!(distance < 0.01, "column {column}: {distance}");
    }
    assert!(written.iter().all(|row| row[0].is_empty() && row[3].split_once('.').is_some_and(|(_, d)| d.len() == 2)));
    // The dictionary is the same after JSON, and holds no name.
    let json = serde_json::to_string(splits.schema()).unwrap();
    assert_eq!(&serde_json::from_str::<crate::data::Schema>(&json).unwrap(), splits.schema());
    assert!(!json.contains("\"p17\""));
    assert!(splits.notes.iter().any(|note| note.contains("`id` is left out")), "{:?}", splits.notes);
}

/// The largest difference of two distribution functions.
fn ks<R>(a: &mut [R], b: &mut [R], number: impl Fn(&R) -> f64) -> f64 {
    let sorted = |rows: &[R]| {
        let mut numbers: Vec<f64> = rows.iter().map(&number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers
    };
    let (a, b) = (sorted(a), sorted(b));
    let below = |of: &[f64], x: f64| of.partition_point(|&y| y <= x) as f64 / of.len() as f64;
    a.iter().chain(&b).map(|&x| (below(&a, x) - below(&b, x)).abs()).fold(0.0, f64::max)
}

#[test]
fn damaged_files_are_errors_that_name_the_line() {
    let good: String = (0..100).map(|i| format!("{i},{}\n", ["x", "y"][i % 2])).collect();
    error(&format!("a,b\n{good}1,2,3\n"), "", &["line 102 has 3 fields", "first row has 2", "ragged"]);
    error(&format!("a,b\n{good}1,\"x\n2,y\n"), "", &["t.csv, line 102", "closing quote"]);
    // Quotes that were meant for two fields.
    error(&format!("a,b\n{good}1,\"x\n2,y\n3,z\"\n"), "", &["t.csv, line 102", "look like rows"]);
    assert!(load(&format!("a,b\n{good}1,\"a remark, of\ntwo lines, or so\"\n"), "").is_ok());
    error("", "", &["no rows"]);
    error("\n\n", "", &["no rows"]);
    error("PAR1\u{15}\u{4}", "", &["cannot be read as Parquet"]);
    error("a,b,c\n", "", &["a header and no rows"]);
    error("a,a\n1,2\n3,4\n", "", &["both named `a`"]);
    error(&format!("a,b\n{good}"), "columns = { c = 'skip' }", &["`c` is not a column", "`a`, `b`"]);
    let dropped = load(&format!("a,b\n{good}1,2,3\n7\n"), "ragged = 'drop'").unwrap();
    assert_eq!(dropped.refusals().unwrap(), "accepted 100 of 102; refused 2: rows that have not 2 fields");
    error(&format!("a,2020\n{good}"), "", &["column `1`", "\"a\"", "data.header = true"]);
    error("a,b\n1,2\n", "", &["each part needs one"]);
    error("a,b\n1,2\n1,2\n1,2\n", "", &["no column is left to model", "`a` is left out: it is always \"1\""]);
}

#[test]
fn a_column_that_changes_its_type_is_an_error_or_words() {
    let rows = |word: &str, every: usize| -> String {
        let field = |i: usize| if i > 0 && i.is_multiple_of(every) { word.to_owned() } else { (i % 1000).to_string() };
        (0..10_100).map(|i| format!("{},{}\n", field(i), i % 3)).collect()
    };
    let text = format!("x,y\n{}", rows("many", 10_000));
    error(&text, "", &["column `x`", "\"many\"", "line 10002", "categorical", "missing_values"]);
    error(&text, "columns = { x = 'integer' }", &["line 10002"]);
    // All such columns are told.
    let two = text.replace(",2\n", ",2.5\n").replacen(",2.5\n", ",other\n", 1);
    error(
        &two,
        "",
        &["column `x`", "\"many\"", "column `y`", "\"other\" (the first: line 4)", "{ y = \"categorical\" }"],
    );
    let missing = load(&text, "missing_values = ['many']").unwrap();
    assert_eq!(layout(&missing).columns()[0].kind(), ColumnKind::Integer);
    assert_eq!(layout(&missing).encode(0, "many").unwrap(), layout(&missing).columns()[0].missing_class().unwrap());
    let words = load(&text, "columns = { x = 'categorical' }").unwrap();
    assert_eq!(kinds(&words)[0], "categorical");
    // One in ten is no slip.
    assert_eq!(kinds(&load(&format!("x,y\n{}", rows("many", 10)), "").unwrap())[0], "categorical");
    error(&format!("x,y\n{}", rows("inf", 10_000)), "", &["infinite", "line 10002"]);
    error(&format!("x,y\n{}", rows("-1e999", 10_000)), "", &["infinite", "line 10002"]);
    error(
        &format!("x,y\n{}", rows("0.5", 10_000)),
        "columns = { x = 'integer' }",
        &["whole numbers", "\"0.5\"", "10002"],
    );
    error("a,b\n2020-01-01,1\n2020-01-32,2\n2020-01-03,1\n", "columns = { a = 'date' }", &["2020-01-32", "line 3"]);
}

#[test]
fn tables_of_every_shape() {
    let numbers: String = (0..500).map(|i| format!("{};{}\n", i * i % 37, f64::from(i) / 7.0)).collect();
    let splits = load(&numbers, "").unwrap();
    assert_eq!(kinds(&splits), ["integer", "number"]);
    assert_eq!((layout(&splits).heading(), layout(&splits).line(&["1", "2"])), (None, "1;2".to_owned()));
    let words: String = (0..500).map(|i| format!("{}\t{}\n", ["a", "b", "c"][i % 3], ["u", "v"][i % 2])).collect();
    let splits = load(&format!("first\tsecond\n{words}"), "").unwrap();
    assert_eq!((kinds(&splits), layout(&splits).heading().unwrap()), (vec!["categorical"; 2], "first\tsecond".into()));
    assert_eq!(layout(&load(&words, "").unwrap()).heading(), None);
    // Decimals after a comma.
    let commas: String = (0..500).map(|i| format!("{},{:02};{}\n", i % 90, i * 7 % 100, i % 2)).collect();
    let splits = load(&format!("x;y\n{commas}"), "").unwrap();
    assert_eq!(kinds(&splits), ["number", "integer"]);
    let fields = layout(&splits).decode_row(&[3, 1], &mut stream(0, Purpose::Sample, 0));
    assert!(fields[0].contains(',') && layout(&splits).number_of(0, &fields[0]).unwrap() < 90.0, "{fields:?}");
    // One column, with spaces in its values.
    let one: String = (0..60).map(|i| ["New York\n", "Bern\n", "Rio de Janeiro\n"][i % 3]).collect();
    let splits = load(&one, "").unwrap();
    assert_eq!(layout(&splits).class_counts(), [3]);
    assert_eq!(layout(&splits).encode(0, "New York").unwrap(), 1);
    // 50 rows with nothing twice: few bins.
    let few: String = (0..50).map(|i| format!("{},{}\n", f64::from(i) * 1.5 + 0.25, i % 2)).collect();
    let splits = load(&few, "").unwrap();
    assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [46, 2, 2]);
    assert_eq!(layout(&splits).class_counts(), [4, 2]);
    // A thousand sparse binary columns.
    let names: Vec<String> = (0..1000).map(|c| format!("f{c}")).collect();
    let row = |r: usize| {
        (0..1000).map(|c| if (r * 7 + c).is_multiple_of(97) { "1" } else { "0" }).collect::<Vec<_>>().join(",")
    };
    let sparse: String = (0..300).map(|r| row(r) + "\n").collect();
    let splits = load(&format!("{}\n{sparse}", names.join(",")), "").unwrap();
    assert_eq!((splits.schema().sites, splits.schema().classes), (1000, 2));
}

#[test]
fn files_are_read_in_every_wrapping() {
    use std::io::Write as _;
    let rows: String = (0..100).map(|i| format!("{},\"{}, \"\"it\"\"\"\r\n", i % 7, ["one", "two"][i % 2])).collect();
    let text = format!("\u{feff}# a note\r\n\r\nx,y\r\n{rows}\r\n\r\n");
    let dir = tempfile::tempdir().unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).unwrap();
    std::fs::write(dir.path().join("t.csv.gz"), gzip.finish().unwrap()).unwrap();
    let config: DataConfig = toml::from_str("set = 'table'\npath = 't.csv.gz'").unwrap();
    let splits = config.load(dir.path(), 0).unwrap();
    let table = layout(&splits);
    assert_eq!((table.heading().unwrap(), table.class_counts()), ("x,y".to_owned(), vec![7, 2]));
    assert_eq!(table.encode_row(&["6", "two, \"it\""]).unwrap(), [6, 1]);
    assert_eq!(table.line(&["6", "two, \"it\""]), "6,\"two, \"\"it\"\"\"");
    assert!(splits.notes.iter().any(|note| note.contains("comments")), "{:?}", splits.notes);
    assert_eq!(splits.train.len() + splits.validation.len() + splits.test.len(), 100);
}

#[test]
fn a_million_distinct_values_share_classes() {
    let mut text = "key,group\n".to_owned();
    let mut random = stream(0, Purpose::Synthesis, 0);
    for row in 0..1_000_000u32 {
        let key = if row % 10 == 0 { format!("common{}", random.below(20)) } else { format!("k{row}") };
        writeln!(text, "{key},{}", row % 4).unwrap();
    }
    let splits = load(&text, "classes = 50").unwrap();
    let table = layout(&splits);
    assert_eq!((kinds(&splits), table.class_counts()), (vec!["categorical", "integer"], vec![51, 4]));
    let fields = table.decode_row(&[50, 0], &mut stream(0, Purpose::Sample, 0));
    assert!(fields[0].starts_with('k'), "{fields:?}");
    assert!(serde_json::to_string(splits.schema()).unwrap().len() < 100_000);
    assert!(splits.notes.iter().any(|note| note.contains("50 frequent values")), "{:?}", splits.notes);
}

#[test]
fn rare_values_are_dropped_for_privacy() {
    let row = |i: usize| match i {
        0..3 => "secret,1\n".to_owned(),
        _ => format!("{},{}\n", ["a", "b"][i % 2], i % 5),
    };
    let text: String = (0..400).map(row).collect();
    let splits = load(&format!("x,y\n{text}"), "drop_rare = 10").unwrap();
    let json = serde_json::to_string(splits.schema()).unwrap();
    assert!(!json.contains("secret") && json.contains("\"a\""));
    let table = layout(&splits);
    assert_eq!(table.class_counts()[0], 3);
    assert!(splits.notes.iter().any(|note| note.contains("1 values of fewer than 10")), "{:?}", splits.notes);
    assert_eq!(table.decode_row(&[2, 0], &mut stream(0, Purpose::Sample, 0))[0], "");
    // Neither is the richest row told.
    let incomes: String =
        (0..400).map(|i| format!("{},{}\n", if (7..11).contains(&i) { 987_654_321 } else { 13 * i }, i % 2)).collect();
    let told = |settings: &str| {
        serde_json::to_string(load(&incomes, settings).unwrap().schema()).unwrap().contains("987654321")
    };
    assert!(told(""));
    assert!(!told("drop_rare = 5"));
}

#[test]
fn missing_values_are_a_class_or_leave_the_row_out() {
    let text: String =
        (0..200).map(|i| format!("{},{}\n", ["1", "2", "?", "3"][i % 4], ["x", "NA"][i / 4 % 2])).collect();
    let splits = load(&format!("a,b\n{text}"), "").unwrap();
    let table = layout(&splits);
    assert_eq!((kinds(&splits), table.class_counts()), (vec!["integer", "categorical"], vec![4, 2]));
    assert_eq!(table.encode_row(&["?", "NA"]).unwrap(), [3, 1]);
    assert_eq!(table.encode_row(&["", ""]).unwrap(), [3, 1]);
    assert_eq!(table.decode_row(&[3, 1], &mut stream(0, Purpose::Sample, 0)), ["?", "NA"]);
    assert_eq!(table.number_of(0, "?"), None);
    let dropped = load(&format!("a,b\n{text}"), "missing = 'drop'").unwrap();
    assert_eq!(dropped.refused, [("rows in which a value is missing".to_owned(), 125)]);
    assert_eq!(layout(&dropped).columns()[1].kind(), ColumnKind::Constant);
    assert_eq!(layout(&dropped).decode_row(&[0], &mut stream(0, Purpose::Sample, 0)), ["1", "x"]);
}

#[test]
fn parts_by_files_and_by_a_column() {
    let rows =
        |n: usize, of: usize| -> String { (0..n).map(|i| format!("{},{}\n", ["x", "y"][i % 2], i % of)).collect() };
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.csv"), format!("u,v\n{}", rows(400, 5))).unwrap();
    std::fs::write(dir.path().join("b.csv"), format!("u,v\n{}", rows(70, 6))).unwrap();
    let config: DataConfig = toml::from_str("set = 'table'\npath = 'a.csv'\ntest = 'b.csv'").unwrap();
    let splits = config.load(dir.path(), 0).unwrap();
    assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [380, 20, 70]);
    // A value that only the test has is known, and has no training row.
    assert_eq!(layout(&splits).class_counts(), [2, 6]);
    // A full stop after each value, as in the test part of Adult, and other values.
    let dotted = rows(70, 5).replace(',', ".,");
    std::fs::write(dir.path().join("b.csv"), format!("u,v\n{dotted}")).unwrap();
    let splits = config.load(dir.path(), 0).unwrap();
    assert_eq!(layout(&splits).class_counts(), [2, 5]);
    assert!(splits.notes.iter().any(|note| note.contains("full stop")), "{:?}", splits.notes);
    std::fs::write(dir.path().join("b.csv"), format!("u,v\n{}", dotted.replace('.', "!"))).unwrap();
    let message = config.load(dir.path(), 0).unwrap_err().to_string();
    assert!(message.contains("b.csv") && message.contains("`u` has none of the values"), "{message}");
    std::fs::write(dir.path().join("b.csv"), format!("u,w\n{}", rows(70, 6))).unwrap();
    assert!(config.load(dir.path(), 0).unwrap_err().to_string().contains("its header is not that of"));
    let part = |i: usize| ["train", "train", "val", "TEST", "other"][i % 5];
    let text: String = (0..100).map(|i| format!("{},{},{}\n", i % 7, part(i), i % 3)).collect();
    let splits = load(&format!("a,part,b\n{text}"), "split = { column = 'part' }").unwrap();
    assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [40, 20, 20]);
    assert_eq!((kinds(&splits)[1], splits.refused[0].1), ("skip", 20));
}

#[test]
fn conditions_allow_classes_and_draws_stay_inside() {
    let splits = load(&people(3000), "").unwrap();
    let table = layout(&splits);
    let weights = |text: &str| table.classes_where(&Where::parse(text).unwrap());
    let sum = |text: &str, site: usize| weights(text).unwrap()[site].as_ref().unwrap().iter().sum::<f64>();
    assert_eq!((sum("age=30..40", 0), sum("age>=65", 0), sum("age!=30", 0)), (11.0, 5.0, 49.0));
    assert_eq!((sum("sex in (Male, \"Female\")", 1), sum("SEX = Male", 1)), (2.0, 1.0));
    assert_eq!((sum("country=", 4), sum("country!=", 4), sum("country!=CH", 4)), (1.0, 1.0, 1.0));
    assert_eq!(sum("age>30, age<=33", 0), 3.0);
    assert!(weights("sex=Male").unwrap()[0].is_none());
    // Numbers in bins and dates.
    let condition = Where::parse("income=1000.5..1500, day=2024-03-05..2024-03-09").unwrap();
    let allowed = table.classes_where(&condition).unwrap();
    let class = |site: usize| allowed[site].as_ref().unwrap().iter().position(|&w| w > 0.0).unwrap() as u32;
    let whole: f64 = allowed[2].as_ref().unwrap().iter().sum();
    assert!(whole > 3.0 && whole < 30.0 && whole.fract() > 0.0, "{whole}");
    for index in 0..500 {
        let mut row = ids(&splits)[0].clone();
        (row[2], row[3]) = (class(2), class(3));
        let fields = table.decode_row_within(&row, &condition, &mut stream(1, Purpose::Sample, index)).unwrap();
        let income: f64 = fields[3].parse().unwrap();
        assert!((1000.5..=1500.0).contains(&income), "{income}");
        assert!(("2024-03-05"..="2024-03-09").contains(&fields[4].as_str()), "{}", fields[4]);
        if index > 20 {
            break;
        }
    }
    for (text, parts) in [
        ("sexx=Male", &["`sexx` is not a column", "did you mean `sex`"][..]),
        ("sex=Mole", &["`sex` has no value \"Mole\"", "did you mean \"Male\"", "\"Female\""]),
        ("age=old", &["`age` has numbers", "\"old\"", "20", "69"]),
        ("age=40..30", &["empty range"]),
        ("age>900", &["no value fulfils"]),
        ("sex<Male", &["categorical"]),
        ("sex=", &["no missing values"]),
        ("id=p1", &["`id` is left out"]),
    ] {
        let message = weights(text).unwrap_err().to_string();
        parts.iter().for_each(|part| assert!(message.contains(part), "{text}: {message}"));
    }
    for text in ["age", "age in (1, 2", "= 3", "age ! 3", "a=\"x", "age in (1) x"] {
        let message = Where::parse(text).unwrap_err().to_string();
        assert!(message.contains("conditions are written as"), "{text}: {message}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(300))]
    #[test]
    fn any_text_gives_a_table_or_an_error(
        edits in proptest::collection::vec((0usize..4000, "[0-9a-z,;\"\n.#|e é?-]{0,3}"), 0..6),
        settings in 0usize..4,
    ) {
        let mut text: Vec<char> = people(80).chars().collect();
        for (place, new) in edits {
            let place = place % text.len();
            text.splice(place..(place + 1).min(text.len()), new.chars());
        }
        let text: String = text.into_iter().collect();
        let settings = ["", "ragged = 'drop'\nbins = 5", "drop_rare = 3\nclasses = 2", "missing = 'drop'\nheader = false\nragged = 'drop'"][settings];
        if let Ok(splits) = load(&text, settings) {
            for (row, again) in ids(&splits).iter().zip(decoded(&splits)) {
                proptest::prop_assert_eq!(layout(&splits).columns().len(), again.len());
                for (site, (class, count)) in row.iter().zip(layout(&splits).class_counts()).enumerate() {
                    proptest::prop_assert!((*class as usize) < count, "site {}", site);
                }
            }
        }
    }

    #[test]
    fn any_condition_is_read_or_an_error(text in "[a-c=!<>()\"' ,.0-9éin]{0,20}") {
        let _ = Where::parse(&text);
    }

    #[test]
    fn lines_are_read_as_they_were_written(fields in proptest::collection::vec("[ab#\",;\n ]{0,6}", 2..5), place in 0usize..2) {
        let delimiter = [',', ';'][place];
        let (columns, missing, zeros) = (Vec::new(), Vec::new(), crate::structural_zeros::StructuralZeros::default());
        let layout = TableLayout { columns, delimiter, header: false, missing, holes: false, zeros };
        let fields: Vec<&str> = fields.iter().map(|field| field.trim()).collect();
        let text = format!("x\n{}\n", layout.line(&fields));
        let mut rows: Vec<Vec<String>> = Vec::new();
        crate::data::fields::split(&text, delimiter as u8, 1, Path::new("t"), |_, starts| {
            let field = |&start| crate::data::fields::field(&text, start, delimiter as u8).into_owned();
            rows.push(starts.iter().map(field).collect());
            Ok(())
        }).unwrap();
        // A row of empty fields is blank.
        proptest::prop_assert!(rows.get(1).map_or(fields.iter().all(|field| field.is_empty()), |row| *row == fields));
    }
}

#[test]
fn descriptions_that_no_table_has_are_refused() {
    let splits = load(&people(600), "bins = 10").unwrap();
    let json = serde_json::to_string(splits.schema()).unwrap();
    for (from, to) in [
        ("\"least\":2", "\"least\":4000000000"),
        ("\"sites\":6", "\"sites\":5"),
        ("\"decimals\":2", "\"decimals\":4000000000"),
        ("{\"quantiles\":[", "{\"quantiles\":[1e308,"),
        ("\"high\":", "\"high\":-"),
    ] {
        assert!(json.contains(from), "{from}");
        let schema: crate::data::Schema = serde_json::from_str(&json.replacen(from, to, 1)).unwrap();
        assert!(schema.check().is_err(), "{from}");
    }
}

#[test]
fn a_column_of_labels_is_no_site() {
    let rows: String =
        (0..200).map(|i| format!("{},{},{}\n", i % 7, ["b", "a", "?"][i % 3], f64::from(i as u32) / 3.0)).collect();
    let text = format!("n,kind,size\n{rows}");
    let splits = load(&text, "label = { by = { column = 'kind' } }").unwrap();
    assert_eq!((splits.label_names.join(""), splits.schema().sites), ("ab".to_owned(), 2));
    // A third of the rows has none.
    let counts = [&splits.train, &splits.validation, &splits.test].map(|part| part.len());
    assert_eq!(
        (counts.iter().sum::<usize>(), splits.refused.clone()),
        (134, vec![("rows without a label".to_owned(), 66)])
    );
    let splits = load(&text, "label = { by = { column = 'size' }, bins = 3 }\nsplit_seed = 2").unwrap();
    for (part, rows) in [&splits.train, &splits.test].into_iter().zip([180, 10]) {
        assert_eq!((part.len(), part.label_count()), (rows, Some(3)));
        assert!((0..rows).all(|row| part.label(row).is_some_and(|label| label < 3)));
    }
    let share = (0..180).filter(|&row| splits.train.label(row) == Some(1)).count();
    assert!((55..65).contains(&share), "{share}");
    error(&text, "label = { by = { column = 'no' } }", &["label.by.column", "`no` is not a column"]);
    error(&text, "label = { by = { header = 'x' } }", &["labels stand in a column", "or in a second file"]);
    error(&text, "label = { by = { column = 'size' } }", &["different numbers", "label.bins"]);
}

#[test]
fn labels_of_rows_stand_in_a_second_file() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (0..300).map(|i| format!("p{i},{},{}\n", i % 7, i % 2)).collect();
    std::fs::write(dir.path().join("t.csv"), format!("id,n,kind\n{rows}")).unwrap();
    // In another order, and not for all.
    let labels: String =
        (0..280).rev().map(|i| format!("p{i}\t{}\n", ["low", "high"][usize::from(i % 7 > 3)])).collect();
    std::fs::write(dir.path().join("l.tsv"), format!("id\tlevel\n{labels}")).unwrap();
    let load = |settings: &str| {
        let config: DataConfig = toml::from_str(&format!("set = 'table'\npath = 't.csv'\n{settings}")).unwrap();
        assert!(!config.files().iter().any(|path| path.ends_with("l.tsv")) || settings.contains("l.tsv"));
        config.load(dir.path(), 0).map_err(|error| error.to_string())
    };
    let by = |file: &str| format!("label = {{ by = {{ file = {{ path = 'l.tsv', {file} }} }} }}");
    let splits = load(&by("key = 'id', column = 'level'")).unwrap();
    assert_eq!((splits.label_names.join(" "), splits.schema().sites), ("high low".to_owned(), 2));
    assert_eq!(splits.refused, [("rows without a label".to_owned(), 20)]);
    for index in 0..splits.train.len() {
        let mut row = vec![0; 2];
        splits.train.write(ExampleKey::fixed(0, index), &mut row);
        assert_eq!(splits.train.label(index), Some(u32::from(row[0] <= 3)), "{row:?}");
    }
    // The names stay if the recipe says what they are; another column may have them.
    let kept =
        load(&format!("columns = {{ id = 'categorical' }}\nclasses = 300\n{}", by("key = 'id', column = 'level'")));
    assert_eq!(kept.unwrap().schema().sites, 3);
    assert_eq!(load(&by("key = '1', column = '2', own = 'id'")).unwrap().label_names.len(), 2);
    let message = load(&by("key = 'id', column = 'level', own = 'kind'")).unwrap_err();
    for part in ["l.tsv", "line 2 is for \"p279\"", "first item is called \"0\"", "own"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let message = load(&by("key = 'id', column = 'colour'")).unwrap_err();
    assert!(message.contains("label.by.file.column") && message.contains("`id`, `level`"), "{message}");
    let message = load(&by("key = 'level', column = 'id', own = 'id'")).unwrap_err();
    assert!(message.contains("line 3: \"high\" has the label \"p278\", and \"p279\" in line 2"), "{message}");
    let message = load("label = { by = { file = { path = 'none.csv', key = 'a', column = 'b' } } }").unwrap_err();
    assert!(message.contains("none.csv") && message.contains("label.by.file.path"), "{message}");
}
