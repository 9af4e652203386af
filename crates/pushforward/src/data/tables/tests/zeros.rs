//! Pairs of values that never occur together.

use super::*;

/// The second column is a function of the first, and the fourth is missing where the third is `none`.
fn table(rows: usize) -> String {
    let row = |i: usize| {
        let (degree, work) = (["school", "college", "doctor"][i % 3], ["none", "baker", "clerk"][i / 3 % 3]);
        let place = if work == "none" { "?" } else { ["north", "south"][i / 9 % 2] };
        format!("{degree},{},{work},{place}\n", 8 + 4 * (i % 3))
    };
    "degree,years,work,place\n".to_owned() + &(0..rows).map(row).collect::<String>()
}

#[test]
fn they_are_found_in_the_training_rows() {
    let splits = load(&table(900), "").unwrap();
    let zeros = layout(&splits).structural_zeros();
    // Six pairs of degrees and years, two of `none` with a place, and two of works without one.
    assert_eq!(zeros.len(), 10);
    assert!(ids(&splits).iter().all(|row| zeros.allows(row)));
    let ids = |fields: [&str; 4]| layout(&splits).encode_row(&fields).unwrap();
    assert!(zeros.allows(&ids(["doctor", "16", "none", "?"])));
    assert!(!zeros.allows(&ids(["doctor", "8", "none", "?"])) && !zeros.allows(&ids(["doctor", "16", "clerk", "?"])));
    let note = splits.notes.iter().find(|note| note.contains("never occur together"));
    assert!(note.is_some_and(|note| note.starts_with("10 pairs")), "{:?}", splits.notes);
}

#[test]
fn a_recipe_says_how_many_rows_are_expected_of_them() {
    for (settings, found) in [("structural_zeros = 0", 0), ("structural_zeros = 1000", 0), ("structural_zeros = 2", 10)]
    {
        assert_eq!(layout(&load(&table(900), settings).unwrap()).structural_zeros().len(), found, "{settings}");
    }
    // With few rows, an empty cell may be chance.
    assert!(layout(&load(&table(30), "").unwrap()).structural_zeros().is_empty());
    error(&table(900), "structural_zeros = -1", &["structural_zeros", "from 0 on"]);
}

#[test]
fn class_indices_do_not_depend_on_them() {
    let [with, without] = ["", "structural_zeros = 0"].map(|settings| load(&table(900), settings).unwrap());
    assert_ne!(layout(&with), layout(&without));
    assert!(layout(&with).has_classes_of(layout(&without)));
}
