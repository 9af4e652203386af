//! Prepared sets are what their sources are, and say so where they are not.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use super::*;
use crate::data::{Batches, DataConfig, DataError, Dataset, ExampleKey, Splits};

fn config(text: &str) -> DataConfig {
    toml::from_str(text).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

/// Prepares a set into the folder `out`.
fn prepare(dir: &Path, settings: &str) -> Result<(), DataError> {
    config(settings).prepare(dir, &dir.join("out"), &mut |_, _, _| ControlFlow::Continue(()))
}

/// Names and content of the files of a folder.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())).collect()
}

/// The files of a set that several processes have prepared, in whatever order.
fn by_shares(dir: &Path, settings: &str, of: usize) -> BTreeMap<String, Vec<u8>> {
    let place = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..of).map(|index| place.path().join(format!("{index}.items"))).collect();
    let go_on = &mut |_: &str, _: u64, _: u64| ControlFlow::Continue(());
    for index in (0..of).rev() {
        config(settings).prepare_share(dir, Share { index, of }, &paths[index], go_on).unwrap();
    }
    if of == 2 {
        let sizes: Vec<u64> = paths.iter().map(|path| path.metadata().unwrap().len()).collect();
        assert!(sizes[1] > sizes[0] / 4, "both have a share: {sizes:?} {settings}");
    }
    config(settings).prepare_from(dir, &paths, &place.path().join("set"), go_on).unwrap();
    files(&place.path().join("set"))
}

/// A set prepared, and read at once.
fn both(dir: &Path, settings: &str) -> [Splits; 2] {
    let _ = fs::remove_dir_all(dir.join("out"));
    prepare(dir, settings).unwrap_or_else(|error| panic!("{settings}\n{error}"));
    verify(&dir.join("out")).unwrap();
    assert_eq!(by_shares(dir, settings, 3), files(&dir.join("out")), "{settings}");
    let long = !settings.contains("limit")
        && fs::metadata(dir.join(config(settings).files().swap_remove(0))).is_ok_and(|file| file.len() > 16_000);
    assert!(!long || by_shares(dir, settings, 2) == files(&dir.join("out")), "{settings}");
    let mut prepared = config("set = 'prepared'\npath = 'out'");
    prepared.make_paths_absolute(dir).unwrap();
    assert_eq!(prepared.source(), &config(settings));
    [prepared, config(settings)].map(|config| config.load(dir, 3).unwrap())
}

fn parts(splits: &Splits) -> [&dyn Dataset; 3] {
    [&splits.train, &splits.validation, &splits.test].map(|part| part.as_ref())
}

/// Classes, label and text of an item.
type Item = (Vec<u32>, Option<u32>, Option<String>);

fn item(part: &dyn Dataset, key: ExampleKey) -> Item {
    let mut ids = vec![0; part.schema().sites];
    part.write(key, &mut ids);
    (ids, part.label(key.index), part.smiles(key.index).map(|text| text.into_owned()))
}

/// Checks that two sets are the same, item by item and batch by batch.
#[track_caller]
fn same([prepared, whole]: &[Splits; 2]) {
    assert_eq!((prepared.schema(), &prepared.sha256, &prepared.name), (whole.schema(), &whole.sha256, &whole.name));
    assert_eq!((&prepared.refused, &prepared.label_names), (&whole.refused, &whole.label_names));
    for (a, b) in parts(prepared).into_iter().zip(parts(whole)) {
        assert_eq!((a.len(), a.label_count()), (b.len(), b.label_count()));
        for index in 0..a.len() {
            let key = ExampleKey { seed: 1, epoch: 2, index };
            assert_eq!(item(a, key), item(b, key), "{index}");
            for site in 0..a.schema().sites {
                let bits = |number: Option<f64>| number.map(f64::to_bits);
                assert_eq!(bits(a.number(index, site)), bits(b.number(index, site)), "{index} {site}");
            }
        }
    }
    let batches = |splits: &Splits| Batches::new(splits.train.clone(), 7, 5);
    for index in [0, 1, 100] {
        assert_eq!(batches(prepared).with_labels(index), batches(whole).with_labels(index));
    }
}

/// Checks that two sets have the same items and labels, in whatever parts, with about as many to train, and that no item
/// stands in two parts of the prepared one.
#[track_caller]
fn same_items([prepared, whole]: &[Splits; 2]) {
    assert_eq!((prepared.refused.clone(), prepared.schema().classes), (whole.refused.clone(), whole.schema().classes));
    assert_ne!(prepared.sha256, whole.sha256, "other parts are other data");
    let all = |splits: &Splits| {
        let mut counts: BTreeMap<Item, Vec<usize>> = BTreeMap::new();
        for (number, part) in parts(splits).into_iter().enumerate() {
            for index in 0..part.len() {
                counts.entry(item(part, ExampleKey::fixed(0, index))).or_default().push(number);
            }
        }
        counts
    };
    let (a, b) = (all(prepared), all(whole));
    assert!(a.values().all(|parts| parts.iter().all(|part| *part == parts[0])));
    let counts = |all: BTreeMap<Item, Vec<usize>>| all.into_iter().map(|(i, n)| (i, n.len())).collect::<Vec<_>>();
    assert_eq!(counts(a), counts(b));
    let share = prepared.train.len() as f64 / whole.train.len() as f64;
    assert!((0.9..1.1).contains(&share), "{share}");
}

/// Numbers that look random.
fn random(n: u64) -> u64 {
    let n = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)) >> 20
}

#[test]
fn texts_are_the_same_by_characters_and_by_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let words = ["the", "cat", "sat", "on", "a", "mat", "caf\u{e9}"];
    let text: String =
        (0..4000).map(|n| words[random(n) as usize % 7].to_owned() + [" ", "\r\n"][(n % 9 / 8) as usize]).collect();
    fs::write(dir.path().join("a.txt"), format!("\u{feff}{text}")).unwrap();
    let sets = both(dir.path(), "set = 'text'\npath = 'a.txt'\nlength = 33");
    same(&sets);
    assert_eq!(sets[0].notes, sets[1].notes);
    #[cfg(feature = "text")]
    {
        let tokenizer = crate::data::text::vocabulary::tiny_tokenizer();
        fs::write(dir.path().join("t.json"), tokenizer).unwrap();
        let settings = "set = 'text'\npath = 'a.txt'\nlength = 9\ntokenizer = 't.json'";
        let sets = both(dir.path(), settings);
        same(&sets);
        assert_eq!(sets[0].notes, sets[1].notes);
        let _ = fs::remove_dir_all(dir.path().join("out"));
        let message = prepare(dir.path(), &format!("{settings}\nmost_lost = 0.01")).unwrap_err().to_string();
        assert!(message.contains("t.json: the tokenizer loses") && !dir.path().join("out").exists(), "{message}");
    }
    // More symbols than fit into one byte, and than into one shard.
    let many: String = (0..30_000).map(|n| char::from_u32(0x4e00 + random(n) as u32 % 300).unwrap()).collect();
    fs::write(dir.path().join("b.txt"), many).unwrap();
    same(&both(dir.path(), "set = 'text'\npath = 'b.txt'\nlength = 20"));
    let letters: String = (0..5000).map(|n| [' ', 'a', 'q', 'z'][random(n) as usize % 4]).collect();
    fs::write(dir.path().join("text8"), format!("{letters}\n\n")).unwrap();
    same(&both(dir.path(), "set = 'text8'\nlength = 12"));
    fs::write(dir.path().join("text8"), format!("{letters}\n{letters}")).unwrap();
    let _ = fs::remove_dir_all(dir.path().join("out"));
    assert!(prepare(dir.path(), "set = 'text8'").unwrap_err().to_string().contains("found '\\n'"));
}

/// Records of 3 to 14 letters, some twice, some that are refused.
fn fasta(count: u64) -> String {
    let record = |n: u64| {
        let n = if n % 10 == 9 { n - 5 } else { n };
        let letters: String =
            (0..3 + random(n) % 12).map(|i| ['A', 'c', 'G', 'T'][(random(n * 16 + i) % 4) as usize]).collect();
        let strange = if n % 50 == 7 { "X" } else { "" };
        format!(
            ">r{n} kind={} x={}\n{}\n{strange}{}\n",
            ["a", "b", "c"][(n % 3) as usize],
            n % 40,
            &letters[..2],
            &letters[2..]
        )
    };
    (0..count).map(record).collect()
}

#[test]
fn sequences_are_the_same_where_the_parts_are_given() {
    let dir = tempfile::tempdir().unwrap();
    for (name, count) in [("a", 400), ("v", 60), ("t", 70)] {
        fs::write(dir.path().join(format!("{name}.fasta")), fasta(count)).unwrap();
    }
    let files = "set = 'sequences'\npath = 'a.fasta'\nsplit = { files = { validation = 'v.fasta', test = 't.fasta' } }";
    same(&both(dir.path(), files));
    same(&both(
        dir.path(),
        &format!("{files}\nlimit = 101\nlongest = 9\nlabel = {{ by = {{ header = 'kind=(.)' }} }}"),
    ));
    same(&both(dir.path(), &format!("{files}\nlabel = {{ by = {{ header = 'x=([0-9]+)' }}, bins = 3 }}")));
    let [prepared, mut whole] = both(dir.path(), files).map(|splits| splits.notes);
    whole.retain(|note| !note.contains("are copies of another"));
    assert_eq!(prepared, whole);
    // A column that says the part, quoted fields with line breaks, and labels of a second file.
    let rows: String = (0..300u64)
        .map(|n| {
            let part = ["train", "train", "valid", "test", "other"][n as usize % 5];
            let letters: String =
                (0..4 + n % 3).map(|i| ['A', 'C', 'G', 'T'][(random(n * 8 + i) % 4) as usize]).collect();
            format!("n{n},{letters},\"a, \"\"b\"\"\nc\",{part}\n")
        })
        .collect();
    fs::write(dir.path().join("s.csv"), format!("name,seq,remark,part\n{rows}")).unwrap();
    let labels: String = (0..290).map(|n| format!("n{n},k{}\n", n % 4)).collect();
    fs::write(dir.path().join("l.csv"), format!("name,kind\n{labels}")).unwrap();
    same(&both(
        dir.path(),
        "set = 'sequences'\npath = 's.csv'\nsplit = { column = 'part' }\n\
         label = { by = { file = { path = 'l.csv', key = 'name', column = 'kind' } } }",
    ));
}

#[test]
fn drawn_parts_have_all_items_and_equal_ones_together() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.fasta"), fasta(3000)).unwrap();
    same_items(&both(dir.path(), "set = 'sequences'\npath = 'a.fasta'\nlabel = { by = { header = 'kind=(.)' } }"));
    let letters = |n: u64, of: &[u8], count: u64| -> String {
        (0..count).map(|i| char::from(of[random(n * 64 + i) as usize % of.len()])).collect()
    };
    let fastq = |n: u64| {
        let count = 5 + n % 30;
        format!("@r{n}\n{}\n+\n{}\n", letters(n, b"ACGT", count), letters(n, b"@+!", count))
    };
    let fastq: String = (0..900).map(fastq).collect();
    fs::write(dir.path().join("a.fastq"), fastq).unwrap();
    same_items(&both(dir.path(), "set = 'sequences'\npath = 'a.fastq'"));
    let names: String = (0..2000).map(|n| letters(n, b"abcdefghijklmnopqrstuvwxyz", 3 + n % 5) + "\n\n").collect();
    fs::write(dir.path().join("a.txt"), names).unwrap();
    same_items(&both(dir.path(), "set = 'sequences'\npath = 'a.txt'"));
    // What cannot be done in a stream is refused, and nothing is left.
    let _ = fs::remove_dir_all(dir.path().join("out"));
    for (settings, part) in [
        ("split = { clusters = {} }", "clusters"),
        ("train = 100", "drawn item by item"),
        ("limit = 3", "each part needs one"),
        ("alphabet = 'protein'\nlongest = 2", "each part needs one"),
    ] {
        let message = prepare(dir.path(), &format!("set = 'sequences'\npath = 'a.fasta'\n{settings}")).unwrap_err();
        assert!(message.to_string().contains(part), "{settings}: {message}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3, "{settings}");
    }
    assert!(prepare(dir.path(), "set = 'glyphs'").unwrap_err().to_string().contains("`glyphs` is not prepared"));
}

#[cfg(feature = "chem")]
#[test]
fn molecules_are_the_same_where_the_parts_are_given() {
    let dir = tempfile::tempdir().unwrap();
    let smiles = |n: u64| {
        let chain = "C".repeat(1 + n as usize % 17);
        chain + ["", "O", "[N+](=O)[O-]", "c1ccccc1", "N", "C(=O)O", "[Na]", "(", "F"][(random(n) % 9) as usize]
    };
    let rows = |count: u64, part: &dyn Fn(u64) -> &'static str| -> String {
        let row = |n: u64| format!("{n},{},{},\"a\nb\",{}\n", smiles(n), n % 5, part(n));
        "id,smiles,x,remark,part\n".to_owned() + &(0..count).map(row).collect::<String>()
    };
    fs::write(dir.path().join("a.csv"), rows(400, &|n| ["train", "train", "valid", "test", "no"][n as usize % 5]))
        .unwrap();
    let column = "set = 'molecules'\npath = 'a.csv'\nsplit = { column = 'part' }";
    same(&both(dir.path(), column));
    same(&both(dir.path(), &format!("{column}\nlimit = 150\nlabel = {{ by = {{ column = 'x' }} }}")));
    let labels: String = (0..390).map(|n| format!("{n};k{}\n", n % 3)).collect();
    fs::write(dir.path().join("l.csv"), format!("id;kind\n{labels}")).unwrap();
    let file = "label = { by = { file = { path = 'l.csv', key = 'id', column = 'kind' } } }";
    same(&both(dir.path(), &format!("{column}\n{file}")));
    let sets = both(dir.path(), &format!("{column}\nmax_atoms = 9\nlabel = {{ by = 'weight', edges = [50.0, 90.0] }}"));
    same(&sets);
    assert_eq!(sets.each_ref().map(|set| set.train.label_of("CCO")), [Some(0); 2]);
    let [prepared, mut whole] = sets.map(|set| set.notes);
    whole.retain(|note| !note.contains("are copies or"));
    assert_eq!(prepared, whole);
    for (name, seed) in [("a", 0), ("v", 1000), ("t", 2000)] {
        fs::write(
            dir.path().join(format!("{name}.smi")),
            (0..200).map(|n| smiles(n + seed) + "\n").collect::<String>(),
        )
        .unwrap();
    }
    let files = "split = { files = { validation = 'v.smi', test = 't.smi' } }";
    same(&both(dir.path(), &format!("set = 'molecules'\npath = 'a.smi'\n{files}")));
    same_items(&both(
        dir.path(),
        "set = 'molecules'\npath = 'a.csv'\nsplit = 'molecules'\nlabel = { by = { column = 'x' } }",
    ));
    let _ = fs::remove_dir_all(dir.path().join("out"));
    let scaffold = prepare(dir.path(), "set = 'molecules'\npath = 'a.smi'\nlabel = { by = 'scaffold', most = 3 }");
    assert!(scaffold.unwrap_err().to_string().contains("scaffolds"));
}

/// The rows of a part, with labels and numbers, in some order.
fn rows(part: &dyn Dataset) -> Vec<(Item, Vec<Option<u64>>)> {
    let one = |index: usize| {
        let numbers = (0..part.schema().sites).map(|site| part.number(index, site).map(f64::to_bits));
        (item(part, ExampleKey::fixed(0, index)), numbers.collect())
    };
    let mut all: Vec<_> = (0..part.len()).map(one).collect();
    all.sort();
    all
}

#[test]
fn tables_have_the_same_rows_numbers_and_labels() {
    let dir = tempfile::tempdir().unwrap();
    let row = |n: u64| {
        let word = ["a, b", "c", "?", "long \"quoted\"\nword", "d"][(random(n) % 5) as usize].replace('"', "\"\"");
        let part = ["train", "train", "train", "valid", "test", "none"][(n % 6) as usize];
        let (value, code) = (random(n + 7000) % 100_000, random(n + 9000) % 7);
        format!("{}.{},\"{word}\",{code},2021-0{}-11,{part},k{}\n", value / 100, value % 100, 1 + n % 9, n % 4)
    };
    let text = "value,word,code,day,part,kind\n".to_owned() + &(0..1500).map(row).collect::<String>();
    fs::write(dir.path().join("a.csv"), &text).unwrap();
    let column = "set = 'table'\npath = 'a.csv'\nsplit = { column = 'part' }\nlabel = { by = { column = 'kind' } }";
    let labels: String = (0..6).map(|n| format!("{n}\tk{}\n", n % 3)).collect();
    fs::write(dir.path().join("l.tsv"), format!("code\tkind\n{labels}")).unwrap();
    let by_file = "set = 'table'\npath = 'a.csv'\nsplit = { column = 'part' }\n\
                   label = { by = { file = { path = 'l.tsv', key = 'code', column = 'kind' } } }";
    for settings in [column.to_owned(), format!("{column}\nmissing = 'drop'\nlimit = 900"), by_file.to_owned()] {
        let [prepared, whole] = both(dir.path(), &settings);
        assert_eq!((prepared.schema(), &prepared.sha256), (whole.schema(), &whole.sha256));
        assert_eq!((&prepared.label_names, &prepared.refused), (&whole.label_names, &whole.refused));
        assert_eq!(prepared.notes, whole.notes);
        for (a, b) in parts(&prepared).into_iter().zip(parts(&whole)) {
            assert!(rows(a) == rows(b), "{settings}");
        }
        assert!(rows(parts(&prepared)[0]).iter().any(|(_, numbers)| numbers[0].is_some()), "a column in bins");
    }
    // Files of held-out rows, and rows drawn one by one.
    let some: String = text.lines().take(1).map(|head| head.to_owned() + "\n").chain((9000..9200).map(row)).collect();
    fs::write(dir.path().join("h.csv"), some).unwrap();
    let [prepared, whole] = both(dir.path(), "set = 'table'\npath = 'a.csv'\nvalidation = 'h.csv'\ntest = 'h.csv'");
    assert_eq!((&prepared.sha256, prepared.schema()), (&whole.sha256, whole.schema()));
    assert!((0..3).all(|part| rows(parts(&prepared)[part]) == rows(parts(&whole)[part])));
    let [prepared, whole] = both(dir.path(), "set = 'table'\npath = 'a.csv'\nheader = true");
    let all = |splits: &Splits| parts(splits).map(|part| part.len()).iter().sum::<usize>();
    assert_eq!(all(&prepared), all(&whole));
    assert!(prepared.validation.len() > 40 && prepared.test.len() > 40 && prepared.sha256 != whole.sha256);
    let drawn = prepared.notes.iter().any(|note| note.contains("rows are drawn one by one"));
    assert!(drawn, "{:?}", prepared.notes);
}

#[cfg(feature = "parquet")]
#[test]
fn a_table_in_parquet_is_that_in_text() {
    let dir = tempfile::tempdir().unwrap();
    let row = |n: u64| {
        let word = ["a, b", "c", "", "long \"quoted\"\nword", "#d"][(random(n) % 5) as usize];
        let (part, value) = (["train", "train", "valid", "test"][(n % 4) as usize], random(n + 7000) % 100_000);
        [format!("{}.5", value), word.into(), format!("2021-0{}-11", 1 + n % 9), part.into()]
    };
    let rows_of: Vec<[String; 4]> = (0..900).map(row).collect();
    let quoted = |row: &[String; 4]| row.each_ref().map(|cell| format!("\"{}\"", cell.replace('"', "\"\""))).join(",");
    let text: Vec<String> = rows_of.iter().map(quoted).collect();
    fs::write(dir.path().join("a.csv"), format!("value,word,day,part\n{}\n", text.join("\n"))).unwrap();
    let settings = |path: &str| format!("set = 'table'\npath = '{path}'\nsplit = {{ column = 'part' }}");
    let text = config(&settings("a.csv")).load(dir.path(), 3).unwrap();
    // The column of the parts is none of the set, and stands beside its columns.
    let all = config("set = 'table'\npath = 'a.csv'").load(dir.path(), 3).unwrap();
    let crate::data::Layout::Columns(layout) = &all.schema().layout else { panic!("a table") };
    fs::write(dir.path().join("a.parquet"), crate::data::tables::write_parquet(layout, &rows_of).unwrap()).unwrap();
    let [prepared, whole] = both(dir.path(), &settings("a.parquet"));
    assert_eq!((&prepared.sha256, prepared.schema()), (&whole.sha256, whole.schema()));
    for part in 0..3 {
        assert!(rows(parts(&prepared)[part]) == rows(parts(&whole)[part]));
        assert!(rows(parts(&prepared)[part]) == rows(parts(&text)[part]));
    }
    // A file that ends too early is refused.
    let bytes = fs::read(dir.path().join("a.parquet")).unwrap();
    fs::write(dir.path().join("b.parquet"), &bytes[..bytes.len() - 9]).unwrap();
    let _ = fs::remove_dir_all(dir.path().join("out"));
    let refused = prepare(dir.path(), &settings("b.parquet")).unwrap_err().to_string();
    assert!(refused.contains("cannot be read as Parquet"), "{refused}");
}

#[test]
fn the_dictionary_of_a_long_table_is_that_of_a_sample() {
    let dir = tempfile::tempdir().unwrap();
    let row = |n: u64| {
        let rare = if n == 2900 { "once" } else { ["a", "b"][(random(n) % 2) as usize] };
        format!("{rare},{}\n", random(n + 5) % 1000)
    };
    let text = "word,number\n".to_owned() + &(0..3000).map(row).collect::<String>();
    fs::write(dir.path().join("a.csv"), text).unwrap();
    let [prepared, whole] = both(dir.path(), "set = 'table'\npath = 'a.csv'");
    let said = prepared.notes.iter().find(|note| note.contains("of 3000 rows"));
    assert!(said.is_some_and(|said| said.contains("are those of 2")), "{:?}", prepared.notes);
    let all = |splits: &Splits| parts(splits).map(|part| part.len()).iter().sum::<usize>();
    assert_eq!((all(&prepared), prepared.refused.len()), (all(&whole), 0));
    // The value of one row in 3,000 is known all the same, and bins are nearly those of all rows.
    let classes = |splits: &Splits| {
        let mut counts = vec![0; splits.schema().classes];
        let mut ids = [0; 2];
        for part in parts(splits) {
            for index in 0..part.len() {
                part.write(ExampleKey::fixed(0, index), &mut ids);
                counts[ids[0] as usize] += 1;
            }
        }
        counts
    };
    assert_eq!(classes(&prepared)[..3], classes(&whole)[..3]);
    assert_eq!((classes(&prepared)[2], prepared.schema().classes), (1, whole.schema().classes));
}

#[test]
fn damaged_missing_and_shortened_shards_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.fasta"), fasta(2000)).unwrap();
    prepare(dir.path(), "set = 'sequences'\npath = 'a.fasta'").unwrap();
    let again = prepare(dir.path(), "set = 'sequences'\npath = 'a.fasta'").unwrap_err().to_string();
    assert!(again.contains("it exists already"), "{again}");
    let out = dir.path().join("out");
    let load = || config("set = 'prepared'\npath = 'out'").load(dir.path(), 0);
    let shard = out.join("train-00000.safetensors");
    let bytes = fs::read(&shard).unwrap();
    // What is noticed when the set is opened.
    for damaged in [Vec::new(), bytes[..bytes.len() - 1].to_vec(), [vec![255; 8], bytes[8..].to_vec()].concat()] {
        fs::write(&shard, damaged).unwrap();
        let message = load().unwrap_err().to_string();
        assert!(message.contains("train-00000.safetensors") && message.contains("damaged"), "{message}");
    }
    // What is noticed when it is read, or when hashes are compared.
    let length = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut damaged = bytes.clone();
    damaged[length..].fill(200);
    fs::write(&shard, damaged).unwrap();
    assert!(verify(&out).unwrap_err().to_string().contains("SHA-256"));
    let splits = load().unwrap();
    let read = |splits: &Splits| reading(|| item(splits.train.as_ref(), ExampleKey::fixed(0, 3)));
    let message = read(&splits).unwrap_err().to_string();
    assert!(message.contains("train-00000.safetensors") && message.contains("prepare the set again"), "{message}");
    fs::write(&shard, &bytes).unwrap();
    let splits = load().unwrap();
    read(&splits).unwrap();
    // A file that becomes shorter while it is open.
    fs::OpenOptions::new().write(true).open(&shard).unwrap().set_len(length as u64).unwrap();
    let message = read(&splits).unwrap_err().to_string();
    assert!(message.contains("cannot read") && message.contains("train-00000"), "{message}");
    fs::remove_file(&shard).unwrap();
    assert!(load().unwrap_err().to_string().contains("train-00000.safetensors"));
    fs::write(&shard, &bytes).unwrap();
    let index = fs::read_to_string(out.join("index.json")).unwrap();
    for (from, to) in
        [("prepared set 1", "prepared set 9"), ("\"rows\"", "{\"graphs\": {\"classes\": []}}"), ("{", "[")]
    {
        fs::write(out.join("index.json"), index.replacen(from, to, 1)).unwrap();
        assert!(load().is_err(), "{from}");
    }
}

#[test]
fn a_stopped_preparation_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.fasta"), fasta(500)).unwrap();
    for stage in ["looking for letters", "writing"] {
        let stop = &mut |at: &str, done: u64, total: u64| {
            assert!(done <= total);
            if at == stage { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let stopped = config("set = 'sequences'\npath = 'a.fasta'").prepare(dir.path(), &dir.path().join("out"), stop);
        assert!(matches!(stopped, Err(DataError::Stopped)));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
