//! Sequences as files: FASTA and CSV.

use std::fmt::Write as _;

/// Letters of a line of FASTA.
const LINE: usize = 60;

/// Sequences as FASTA, each with its header.
pub(crate) fn fasta(sequences: &[String], header: impl Fn(usize) -> String) -> String {
    let mut out = String::new();
    for (item, sequence) in sequences.iter().enumerate() {
        writeln!(out, ">{}", header(item)).expect("a string takes every line");
        let letters: Vec<char> = sequence.chars().collect();
        letters.chunks(LINE).for_each(|line| {
            out.extend(line);
            out.push('\n');
        });
    }
    out
}

/// Sequences as a table: the sequence, its number of letters, and the label if there are labels.
pub(crate) fn csv(sequences: &[String], label: impl Fn(usize) -> Option<String>) -> String {
    let quoted = |text: &str| match text.contains([',', '"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let heading = if label(0).is_some() { "sequence,length,label\n" } else { "sequence,length\n" };
    let mut out = heading.to_owned();
    for (item, sequence) in sequences.iter().enumerate() {
        let label = label(item).map_or(String::new(), |label| format!(",{}", quoted(&label)));
        writeln!(out, "{},{}{label}", quoted(sequence), sequence.chars().count()).expect("a string takes every line");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_sequences_take_several_lines() {
        let sequences = ["AC".repeat(35), "G".to_owned()];
        let text = fasta(&sequences, |item| format!("s{item}"));
        assert_eq!(text, format!(">s0\n{}\n{}\n>s1\nG\n", "AC".repeat(30), "AC".repeat(5)));
        assert_eq!(csv(&sequences[1..], |_| None), "sequence,length\nG,1\n");
        assert_eq!(
            csv(&["A,B".to_owned()], |_| Some("x \"y\"".into())),
            "sequence,length,label\n\"A,B\",3,\"x \"\"y\"\"\"\n"
        );
    }
}
