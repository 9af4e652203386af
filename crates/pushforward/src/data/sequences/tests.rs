//! Sets of sequences from files: every form, what is refused, parts, and labels.

use std::io::Write as _;

use crate::data::sequences::SequenceLayout;
use crate::data::{DataConfig, DataError, Dataset, ExampleKey, Layout, Splits};
use crate::node_pairs::ABSENT;
use crate::rng::{Purpose, stream};

/// The set of a file with settings.
fn load(name: &str, content: &[u8], settings: &str) -> Result<Splits, DataError> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(name), content).unwrap();
    let config: DataConfig = toml::from_str(&format!("set = 'sequences'\npath = '{name}'\n{settings}")).unwrap();
    config.load(dir.path(), 0)
}

fn layout(splits: &Splits) -> &SequenceLayout {
    let Layout::Sequence(layout) = &splits.schema().layout else { panic!("sequences") };
    layout
}

fn part(set: &dyn Dataset) -> Vec<String> {
    let Layout::Sequence(layout) = &set.schema().layout else { panic!("sequences") };
    let mut item = vec![0; set.schema().sites];
    (0..set.len())
        .map(|index| {
            set.write(ExampleKey::fixed(0, index), &mut item);
            layout.decode(&item)
        })
        .collect()
}

/// All sequences of a set, in order.
fn all(splits: &Splits) -> Vec<String> {
    let mut found: Vec<String> =
        [&splits.train, &splits.validation, &splits.test].iter().flat_map(|set| part(set.as_ref())).collect();
    found.sort();
    found
}

/// Different random sequences of so many letters each.
fn random(count: usize, lengths: std::ops::Range<usize>, letters: &str) -> Vec<String> {
    let mut draw = stream(0, Purpose::Synthesis, 0);
    let letters: Vec<char> = letters.chars().collect();
    let mut found: Vec<String> = Vec::new();
    while found.len() < count {
        let n = lengths.start + draw.below(lengths.len());
        let one: String = (0..n).map(|_| letters[draw.below(letters.len())]).collect();
        if !found.contains(&one) {
            found.push(one);
        }
    }
    found.sort();
    found
}

#[test]
fn one_set_in_every_form_is_one_set() {
    let sequences = random(50, 12..20, "ACGT");
    let lines = sequences.join("\r\n") + "\r\n";
    let fasta: String = sequences.iter().map(|s| format!(">x\n{}\n{}\n\n", &s[..7], s[7..].to_lowercase())).collect();
    let fastq: String = sequences.iter().map(|s| format!("@x\n{s}\n+\n{}\n", "@".repeat(s.len()))).collect();
    let table: String = sequences.iter().enumerate().map(|(i, s)| format!("{i},{s},{}\n", i % 3)).collect();
    let table = format!("id,sequence,kind\n{table}");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(fasta.as_bytes()).unwrap();
    for (name, content) in [
        ("a.txt", lines.into_bytes()),
        ("a.fasta", fasta.into_bytes()),
        ("a.fq", fastq.into_bytes()),
        ("a.csv", table.into_bytes()),
        ("a.fa.gz", gzip.finish().unwrap()),
    ] {
        let splits = load(name, &content, "").unwrap();
        assert_eq!(all(&splits), sequences, "{name}");
        assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [45, 2, 3], "{name}");
        let layout = layout(&splits);
        assert_eq!((splits.schema().sites, splits.schema().classes, layout.varies()), (19, 4, true), "{name}");
        assert_eq!(layout.lengths.iter().sum::<u64>(), 45);
        assert!(splits.schema().check().is_ok() && splits.refused.is_empty(), "{name}");
    }
}

#[test]
fn items_end_where_their_sequences_end() {
    let splits = load("a.txt", random(40, 3..9, "abcdefgh").join("\n").as_bytes(), "").unwrap();
    let mut item = vec![0; 8];
    for index in 0..splits.train.len() {
        splits.train.write(ExampleKey::fixed(0, index), &mut item);
        let n = item.iter().filter(|&&class| class != ABSENT).count();
        assert!(item[..n].iter().all(|&class| class < 8) && item[n..].iter().all(|&class| class == ABSENT), "{item:?}");
    }
    let fixed = load("a.txt", random(40, 6..7, "abcdefgh").join("\n").as_bytes(), "").unwrap();
    assert!(!layout(&fixed).varies() && fixed.schema().sites == 6);
    assert_eq!(layout(&fixed).length_nats(6), 0.0);
}

#[test]
fn what_is_no_sequence_is_refused_and_told() {
    let mut text: String = random(30, 10..11, "ACGT").iter().map(|s| format!(">ok\n{s}\n")).collect();
    text += ">empty\n\n>two\n>headers\nACGTACGTAC\n>odd\nACXXACGTAC\n>any\nACGNACGTAC\n";
    text += &format!(">long\n{}\n", "ACGT".repeat(250_000));
    let splits = load("a.fasta", text.as_bytes(), "").unwrap();
    assert_eq!(all(&splits).len(), 31);
    let refused: Vec<(&str, u64)> = splits.refused.iter().map(|(why, n)| (why.as_str(), *n)).collect();
    let expected =
        [("letters outside the alphabet dna", 2), ("longer than 1024 letters (data.longest)", 1), ("no sequence", 2)];
    assert_eq!(refused, expected);
    let notes = splits.notes.join("\n");
    for part in [
        "FASTA: 36 records",
        "alphabet dna, found by reading: ACGT",
        "all of 10 letters",
        "first refused: line 61: no sequence",
        "'X' 2 times, first in line 66; 'N' 1 times, first in line 68",
        "data.ambiguity",
    ] {
        assert!(notes.contains(part), "{part}\n{notes}");
    }
    let kept = load("a.fasta", text.as_bytes(), "ambiguity = 'keep'\nlongest = 10").unwrap();
    assert_eq!((layout(&kept).letters().iter().collect::<String>(), all(&kept).len()), ("ACGTN".into(), 32));
    // Of a found alphabet, every letter is one.
    assert_eq!(all(&load("a.fasta", text.as_bytes(), "alphabet = 'found'").unwrap()).len(), 33);
}

#[test]
fn letters_that_stand_for_others_are_kept_or_merged() {
    let mut sequences = random(30, 8..9, "ACGU");
    sequences.extend(["ACGUNNRY".to_owned(), "acgtacgt".to_owned()]);
    let text = sequences.join("\n");
    let of = |ambiguity: &str| {
        load("a.txt", text.as_bytes(), &format!("alphabet = 'rna'\nambiguity = '{ambiguity}'")).unwrap()
    };
    let letters = |splits: &Splits| layout(splits).letters().iter().collect::<String>();
    assert_eq!(
        (letters(&of("refuse")), letters(&of("keep")), letters(&of("merge"))),
        ("ACGU".into(), "ACGUNRY".into(), "ACGUN".into())
    );
    assert!(all(&of("merge")).contains(&"ACGUNNNN".to_owned()));
    // T is U in RNA.
    assert!(all(&of("refuse")).contains(&"ACGUACGU".to_owned()));
    assert!(of("refuse").notes.iter().any(|note| note.contains("capitals, and T as U: 8")));
}

#[test]
fn files_that_hold_no_set_say_so() {
    let error =
        |name: &str, content: &str, settings: &str| load(name, content.as_bytes(), settings).unwrap_err().to_string();
    for (content, settings, part) in [
        ("", "", "0 of 0 records are accepted"),
        (">a\n>b\n>c\n", "", "refused 3: no sequence"),
        (">a\nQQ\n>b\nZZ\n>c\nQQQ\n", "alphabet = 'dna'", "'Q' 5 times, first in line 1"),
        ("ACGT\nACGT\nACGT\n", "", "copies of one or two"),
        ("AC\nAG\nAT\nCC\n", "train = 2\nvalidation = 2", "leave none to test"),
        ("@a\nACGT\n+\n!!\n", "", "4 signs of quality"),
        ("a,b\nACGT,ACGG\nACGA,ACGC\nTTTT,TTTA\n", "", "columns look like sequences"),
        ("a,b\nACGT,1\nACGA,2\nTTTT,3\n", "column = 'c'", "`c` is not a column"),
    ] {
        let message = error("a.txt", content, settings);
        assert!(message.contains(part), "{content:?}: {message}");
    }
    assert!(load("a.fa", b">a\nAC\0\n", "").unwrap_err().to_string().contains("NUL"));
}

#[test]
fn copies_and_clusters_are_in_one_part_and_columns_say_the_part() {
    let origins = random(40, 60..61, "ACGT");
    let mut draw = stream(1, Purpose::Synthesis, 0);
    let mutants: Vec<String> = (0..400)
        .map(|i| {
            let mut letters: Vec<char> = origins[i % 40].chars().collect();
            letters[draw.below(60)] = 'A';
            letters.into_iter().collect()
        })
        .collect();
    let text = mutants.join("\n");
    let origin = |sequence: &str| {
        let near = |one: &String| one.chars().zip(sequence.chars()).filter(|(a, b)| a != b).count() <= 1;
        origins.iter().position(near).unwrap()
    };
    let splits = load("a.txt", text.as_bytes(), "split = { clusters = { k = 6, share = 0.5 } }").unwrap();
    let parts = [&splits.train, &splits.validation, &splits.test].map(|set| part(set.as_ref()));
    let origins_of: Vec<Vec<usize>> = parts.iter().map(|part| part.iter().map(|s| origin(s)).collect()).collect();
    assert!(origins_of[2].iter().all(|o| !origins_of[0].contains(o) && !origins_of[1].contains(o)));
    assert!(splits.notes.iter().any(|note| note.starts_with("40 clusters")), "{:?}", splits.notes);
    let copied = load("a.txt", (text.clone() + "\n" + &text).as_bytes(), "").unwrap();
    let [train, test] = [&copied.train, &copied.test].map(|set| part(set.as_ref()));
    assert!(test.iter().all(|one| !train.contains(one)));

    let rows: String = mutants
        .iter()
        .enumerate()
        .map(|(i, s)| format!("{s},{}\n", ["train", "Train", "dev", "test"][i % 4]))
        .collect();
    let table = format!("sequence,part\n{rows}");
    let splits = load("a.csv", table.as_bytes(), "split = { column = 'part' }").unwrap();
    assert_eq!([splits.train.len(), splits.validation.len(), splits.test.len()], [200, 100, 100]);
    assert_eq!(part(splits.test.as_ref())[0], mutants[3]);
}

#[test]
fn files_of_their_own_are_the_held_out_parts() {
    let dir = tempfile::tempdir().unwrap();
    let sequences = random(60, 5..9, "ACGT");
    for (name, part) in
        [("train.fa", &sequences[..40]), ("valid.fa", &sequences[40..45]), ("test.fa", &sequences[45..])]
    {
        let text: String = part.iter().map(|s| format!(">x\n{s}\n")).collect();
        std::fs::write(dir.path().join(name), text).unwrap();
    }
    let text =
        "set = 'sequences'\npath = 'train.fa'\nsplit = { files = { validation = 'valid.fa', test = 'test.fa' } }";
    let splits = toml::from_str::<DataConfig>(text).unwrap().load(dir.path(), 0).unwrap();
    assert_eq!(
        (part(splits.train.as_ref()), part(splits.test.as_ref())),
        (sequences[..40].to_vec(), sequences[45..].to_vec())
    );
    assert_eq!(splits.validation.len(), 5);
}

#[test]
fn labels_come_from_headers_columns_and_second_files() {
    let sequences = random(60, 5..9, "ACGT");
    let kind = |i: usize| ["tata", "inr", "gc"][i % 3];
    let fasta: String = sequences.iter().enumerate().map(|(i, s)| format!(">r{i} class={}\n{s}\n", kind(i))).collect();
    let fasta = fasta + ">odd one\nACGTA\n";
    let row = |(i, s): (usize, &String)| format!("r{i},{s},{},{}\n", kind(i), i % 10);
    let table = format!("id,sequence,kind,score\n{}", sequences.iter().enumerate().map(row).collect::<String>());
    let check = |splits: &Splits, what: &str| {
        assert_eq!((splits.label_names.join(" "), splits.train.label_count()), ("gc inr tata".to_owned(), Some(3)));
        for index in 0..splits.train.len() {
            let mut item = vec![0; 8];
            splits.train.write(ExampleKey::fixed(0, index), &mut item);
            let place = sequences.iter().position(|s| *s == layout(splits).decode(&item)).unwrap();
            assert_eq!(splits.label_names[splits.train.label(index).unwrap() as usize], kind(place), "{what}");
        }
    };
    let by_header = load("a.fa", fasta.as_bytes(), "label = { by = { header = 'class=([a-z]+)' } }").unwrap();
    check(&by_header, "header");
    assert_eq!(by_header.refused, [("no label".to_owned(), 1)]);
    check(&load("a.csv", table.as_bytes(), "label = { by = { column = 'kind' } }").unwrap(), "column");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.fa"), &fasta).unwrap();
    std::fs::write(dir.path().join("l.csv"), &table).unwrap();
    let text = "set = 'sequences'\npath = 'a.fa'\n\
                label = { by = { file = { path = 'l.csv', key = 'id', column = 'kind' } } }";
    check(&toml::from_str::<DataConfig>(text).unwrap().load(dir.path(), 0).unwrap(), "file");
    // A line is its own name.
    std::fs::write(dir.path().join("a.txt"), sequences.join("\n")).unwrap();
    let of_lines = text.replace("a.fa", "a.txt").replace("'id'", "'sequence'");
    let by_line = |text: &str| toml::from_str::<DataConfig>(text).unwrap().load(dir.path(), 0);
    check(&by_line(&of_lines).unwrap(), "line");
    let message = by_line(&of_lines.replace("'sequence'", "'id'")).unwrap_err().to_string();
    assert!(message.contains("none of its names is one of an item: line 2 is for \"r0\""), "{message}");
    let bins = load("a.csv", table.as_bytes(), "label = { by = { column = 'score' }, bins = 2 }").unwrap();
    assert_eq!(bins.label_names.len(), 2);
    for (name, settings, part) in [
        ("a.txt", "label = { by = { header = 'x' } }", "without headers"),
        ("a.txt", "label = { by = { column = 'x' } }", "without headers or columns"),
        ("a.fa", "label = { by = { column = 'x' } }", "without columns"),
        ("a.fa", "label = { by = { header = '(' } }", "label.by.header"),
        ("a.csv", "label = { by = { column = 'nothing' } }", "`nothing` is not a column"),
    ] {
        let content = match name {
            "a.txt" => sequences.join("\n"),
            "a.fa" => fasta.clone(),
            _ => table.clone(),
        };
        let message = load(name, content.as_bytes(), settings).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn any_text_is_a_set_or_an_error() {
    const PARTS: [&str; 22] = [
        ">",
        ">a\n",
        "@b\n",
        "+\n",
        "+",
        "\n",
        "\r\n",
        "\r",
        ";c\n",
        "ACGT",
        "acgun",
        "NNNN",
        "MKV*",
        "*",
        " ",
        "\t",
        ",",
        "\"",
        "!!!!",
        "\u{e9}",
        "\u{feff}",
        "x,y\n1,ACGT\n",
    ];
    const SETTINGS: [&str; 7] = [
        "",
        "format = 'fasta'",
        "format = 'fastq'",
        "format = 'table'",
        "alphabet = 'protein'\nambiguity = 'merge'\nmotif = 'X'",
        "split = { clusters = { k = 3, share = 0.5 } }\nlimit = 5",
        "label = { by = { header = '.' } }",
    ];
    let mut sets = 0;
    for index in 0..4000 {
        let mut random = stream(7, Purpose::Metric, index);
        let text: String = (0..random.below(60)).map(|_| PARTS[random.below(PARTS.len())]).collect();
        let Ok(splits) = load("a", text.as_bytes(), SETTINGS[index as usize % SETTINGS.len()]) else { continue };
        sets += 1;
        assert_eq!(splits.schema().check(), Ok(()), "{text:?}");
        assert!(all(&splits).iter().all(|sequence| !sequence.is_empty()), "{text:?}");
        let json = serde_json::to_string(splits.schema()).unwrap();
        assert_eq!(&serde_json::from_str::<crate::data::Schema>(&json).unwrap(), splits.schema());
    }
    assert!(sets > 300, "{sets}");
}

/// Files of every form with a few bytes changed, left out, doubled or cut off, plain and gzipped: a set, or an error that
/// says something.
#[test]
fn damaged_files_are_a_set_or_an_error() {
    let sequences = random(24, 8..30, "ACGT");
    let mut forms: Vec<(&str, Vec<u8>)> = vec![
        ("a.fa", sequences.iter().map(|s| format!(">r x=1\n{}\n{}\n", &s[..5], &s[5..])).collect::<String>().into()),
        (
            "a.fq",
            sequences.iter().map(|s| format!("@r\n{s}\n+r\n{}\n", "I".repeat(s.len()))).collect::<String>().into(),
        ),
        ("a.csv", sequences.iter().map(|s| format!("\"r, {s}\",{s},1.5\r\n")).collect::<String>().into()),
        ("a.txt", sequences.join("\n").into()),
    ];
    for i in 0..3 {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&forms[i].1).unwrap();
        forms.push((["a.fa.gz", "a.fq.gz", "a.csv.gz"][i], gzip.finish().unwrap()));
    }
    let odd = b">@+;,\"\n\r\0\t *-acgtNX\xff\xc3\x1f";
    let (mut sets, mut errors) = (0, 0);
    for index in 0..3000 {
        let mut random = stream(11, Purpose::Metric, index);
        let (name, good) = &forms[index as usize % forms.len()];
        let mut bytes = good.clone();
        for _ in 0..1 + random.below(4) {
            let at = random.below(bytes.len().max(1)).min(bytes.len().saturating_sub(1));
            let end = (at + random.below(40)).min(bytes.len());
            match random.below(6) {
                _ if bytes.is_empty() => {}
                0 => bytes[at] ^= 1 << random.below(8),
                1 => bytes[at] = odd[random.below(odd.len())],
                2 => bytes.insert(at, odd[random.below(odd.len())]),
                3 => drop(bytes.drain(at..end)),
                4 => {
                    let again = bytes[at..end].to_vec();
                    let place = random.below(bytes.len());
                    bytes.splice(place..place, again);
                }
                _ => bytes.truncate(at),
            }
        }
        match load(name, &bytes, ["", "label = { by = { header = 'x=(.)' } }"][usize::from(index % 21 == 0)]) {
            Ok(splits) => {
                sets += 1;
                assert_eq!(splits.schema().check(), Ok(()), "{name} {index}");
                assert!(all(&splits).iter().all(|sequence| !sequence.is_empty()), "{name} {index}");
            }
            Err(error) => {
                errors += 1;
                let said = error.to_string();
                assert!(said.len() > 30 && said.contains("a."), "{name} {index}: {said}");
            }
        }
    }
    assert!(sets > 500 && errors > 500, "{sets} sets, {errors} errors");
}
