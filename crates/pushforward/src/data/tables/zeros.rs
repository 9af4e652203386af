//! Pairs of values that the training rows of a table never have.

use crate::data::DataError;
use crate::data::packed::Packed;
use crate::structural_zeros::StructuralZeros;

/// The structural zeros of the first `train` rows, with a note on what is found.
///
/// # Errors
/// If `least` is no number of rows.
pub(super) fn find(
    least: f64,
    ids: &Packed,
    classes: &[usize],
    train: usize,
    notes: &mut Vec<String>,
) -> Result<StructuralZeros, DataError> {
    if !(least.is_finite() && least >= 0.0) {
        let problem = format!("must be a number of rows from 0 on, found {least}");
        return Err(DataError::Setting { key: "structural_zeros", problem });
    }
    let sites = classes.len();
    if least > 0.0 && !StructuralZeros::can_be_found(sites, train) {
        notes
            .push(format!("{sites} columns of {train} rows are too many to look for values that never occur together"));
    }
    let zeros = StructuralZeros::find(classes, train, least, &mut |row, out| ids.write(row * sites, out));
    if !zeros.is_empty() {
        notes.push(format!(
            "{} pairs of values never occur together, and samples have none of them; {} more are rare (data.structural_zeros)",
            zeros.len(),
            zeros.rare()
        ));
    }
    Ok(zeros)
}
