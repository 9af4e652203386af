//! Cells that are missing without a class for it.

use super::*;
use crate::node_pairs::ABSENT;

#[test]
fn holes_are_no_class() {
    let text: String =
        (0..200).map(|i| format!("{},{},{}\n", ["1", "2", "?", "3"][i % 4], ["x", "NA"][i / 4 % 2], i % 5)).collect();
    let splits = load(&format!("a,b,c\n{text}"), "missing = 'hole'").unwrap();
    let table = layout(&splits);
    // Without what is missing, `b` is always x.
    assert_eq!((kinds(&splits), table.class_counts()), (vec!["integer", "constant", "integer"], vec![3, 5]));
    assert_eq!((table.columns()[0].missing_class(), table.columns()[2].missing_rows()), (None, 0));
    let rows = ids(&splits);
    let holes = rows.iter().filter(|row| row[0] == ABSENT).count();
    assert_eq!((holes, rows.iter().all(|row| row[1] < 5)), (50, true));
    assert!(table.columns()[0].missing_rows() > 30);
    let row = table.encode_row(&["", "x", "?"]).unwrap();
    assert_eq!(row, [ABSENT; 2]);
    // As the file writes it.
    assert_eq!(table.decode_row(&row, &mut stream(0, Purpose::Sample, 0)), ["?", "x", ""]);
    assert!(Where::parse("a=").and_then(|wanted| table.classes_where(&wanted)).is_err());
}
