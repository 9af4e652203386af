//! Names of the training, validation and test part in a column of a table.

/// The part that a name stands for, in any case: 0 training, 1 validation, 2 test.
pub(crate) fn part_of(name: &str) -> Option<u8> {
    match name.trim().to_lowercase().as_str() {
        "train" | "training" => Some(0),
        "valid" | "validation" | "val" | "dev" => Some(1),
        "test" => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_several_names_in_any_case() {
        assert_eq!(["Train", " valid", "TEST", "other"].map(part_of), [Some(0), Some(1), Some(2), None]);
    }
}
