//! Tests of sets of molecules from files.

use std::collections::BTreeSet;

use super::*;
use crate::chem::canonical;
use crate::data::{DataConfig, ExampleKey, Layout};

/// Alkanes, alcohols, amines and fluorides of one to eight carbons, and what QM9 refuses.
fn texts() -> String {
    let chain = |n: usize, end: &str| format!("{}{end}\n", "C".repeat(n));
    let mut text = "SMILES\n".to_owned();
    for n in 1..=8 {
        ["", "O", "N", "F", "=O", "#N"].iter().for_each(|end| text += &chain(n, end));
    }
    text + "CCS\nC[NH3+]\nCCCCCCCCCC\nCC(C)(C)(C)C\n[Na+].[Cl-]\nC[CH2]\n[O-][N+](=O)C\nC#[O]x\n"
}

fn load(config: &str, dir: &Path) -> Result<Splits, DataError> {
    let config = toml::from_str::<DataConfig>(config);
    config.map_err(|e| DataError::Setting { key: "set", problem: e.to_string() })?.load(dir, 0)
}

#[test]
fn labels_are_those_of_the_molecules_themselves() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("qm9")).unwrap();
    std::fs::write(dir.path().join("qm9/qm9_smiles.txt"), texts()).unwrap();
    let splits = load("set = 'qm9'\nlabel = { by = 'weight', edges = [40, 90, 1000] }", dir.path()).unwrap();
    assert_eq!(splits.train.label_count(), Some(4), "a bin without members is a label");
    for part in [&splits.train, &splits.validation, &splits.test] {
        for index in 0..part.len() {
            let smiles = part.smiles(index).unwrap().into_owned();
            let smiles = smiles.as_str();
            let weight = crate::chem::Perceived::of(smiles).unwrap().properties().weight;
            let label = u32::from(weight >= 40.0) + u32::from(weight >= 90.0);
            assert_eq!((part.label(index), part.label_of(smiles)), (Some(label), Some(label)), "{smiles}");
        }
    }
    assert_eq!(load("set = 'qm9'", dir.path()).unwrap().train.label_count(), None);
    assert!(MoleculeConfig::default().is_here("qm9", dir.path()));
    assert!(!MoleculeConfig::default().is_here("zinc250k", dir.path()));
    assert!(load("set = 'qm9'\nlabel = { by = 'colour' }", dir.path()).is_err());
}

#[test]
fn accepted_molecules_come_back_and_refused_ones_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("qm9")).unwrap();
    std::fs::write(dir.path().join("qm9/qm9_smiles.txt"), texts()).unwrap();
    let splits = load("set = 'qm9'", dir.path()).unwrap();
    let parts = [&splits.train, &splits.validation, &splits.test];
    assert_eq!(parts.map(|p| p.len()), [43, 2, 3]);
    let refused: Vec<(&str, u64)> = splits.refused.iter().map(|(r, n)| (r.as_str(), *n)).collect();
    let expected = [
        ("does not sanitise", 1),
        ("element S", 1),
        ("formal charge", 2),
        ("hydrogens that valence does not imply", 1),
        ("more than 9 heavy atoms", 1),
        ("not a SMILES", 1),
        ("not one component", 1),
    ];
    assert_eq!(refused, expected);
    let Layout::Graph(layout) = &splits.schema().layout else { panic!("molecules are graphs") };
    let elements: Vec<&str> = layout.node_classes.iter().map(|c| c.element.as_str()).collect();
    assert_eq!((elements, layout.nodes, splits.schema().sites), (vec!["C", "N", "O", "F"], 9, 45));
    assert_eq!(layout.sizes.iter().sum::<u64>(), 43);
    let mut row = vec![0; 45];
    let mut seen = Vec::new();
    for part in parts {
        for index in 0..part.len() {
            part.write(ExampleKey { seed: 0, epoch: 0, index }, &mut row);
            let smiles = part.smiles(index).unwrap().into_owned();
            let smiles = smiles.as_str();
            assert_eq!(canonical(&layout.molecule(&row)).unwrap(), smiles);
            seen.push(smiles.to_owned());
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 48);
    // What is kept gives the same set, and another seed another split.
    assert!(!dir.path().join("prepared").exists(), "nothing is kept unless a place is given");
    let cache = dir.path().join("cache");
    let kept = || {
        let folders = Folders { data: dir.path(), cache: Some(&cache) };
        MoleculeConfig::default().load_qm9(folders).unwrap()
    };
    let first = kept();
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 1);
    assert!(first.kept.as_ref().is_some_and(|path| path.starts_with(&cache) && path.is_file()));
    let again = kept();
    assert_eq!(first.notes, again.notes);
    assert!((0..43).all(|i| again.train.smiles(i) == splits.train.smiles(i)));
    assert_eq!((again.refused, again.sha256), (splits.refused.clone(), splits.sha256.clone()));
    let other = load("set = 'qm9'\nsplit_seed = 1", dir.path()).unwrap();
    assert!((0..43).any(|i| other.train.smiles(i) != splits.train.smiles(i)));
}

#[test]
fn charges_become_classes_and_settings_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m.smi"), texts()).unwrap();
    let splits = load("set = 'molecules'\npath = 'm.smi'", dir.path()).unwrap();
    let Layout::Graph(layout) = &splits.schema().layout else { panic!("molecules are graphs") };
    let classes: Vec<(&str, i8)> = layout.node_classes.iter().map(|c| (c.element.as_str(), c.charge)).collect();
    assert_eq!(classes, [("C", 0), ("N", 0), ("O", 0), ("F", 0), ("S", 0), ("N", 1), ("O", -1)]);
    assert_eq!(splits.train.len() + splits.validation.len() + splits.test.len(), 52);
    for (setting, part) in [
        ("max_atoms = 0", "1 to 255"),
        ("elements = ['Xx']", "`Xx`"),
        ("elements = ['C', 'C']", "`C`"),
        ("train = 50\nvalidation = 2", "52 accepted molecules do not make three parts: 50 to train"),
        ("column = 'smi'", "`smi` is not a column"),
        ("train = 50\nvalidation = 2", "read: the only column `SMILES`\n"),
        ("train = 50\nvalidation = 2", "accepted 52 of 56; refused 4: "),
        ("train = 50\nvalidation = 2", "first refused: line 53, "),
        ("column = 3", "`3` is not a column"),
    ] {
        let config = format!("set = 'molecules'\npath = 'm.smi'\n{setting}");
        let message = load(&config, dir.path()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
    let message = load("set = 'zinc250k'", dir.path()).unwrap_err().to_string();
    assert!(message.contains("zinc.txt[.gz]") && message.contains("data fetch zinc250k"), "{message}");
}

#[test]
fn all_refused_molecules_are_explained() {
    let dir = tempfile::tempdir().unwrap();
    let salts: String = (1..=30).map(|n| format!("{}.Cl\r", "C".repeat(n))).collect();
    std::fs::write(dir.path().join("m.smi"), format!("# salts\r{salts}")).unwrap();
    let message = load("set = 'molecules'\npath = 'm.smi'", dir.path()).unwrap_err().to_string();
    for part in [
        "m.smi: no text was accepted as a molecule",
        "accepted 0 of 30; refused 30: not one component",
        "read: the only column",
        "first refused: line 2, \"C.Cl\": not one component",
        "31 lone CR",
        "comments before the first row: 1",
    ] {
        assert!(message.contains(part), "{part}\n{message}");
    }
}

/// Five molecules in four spellings each, stereoisomers among them, and 30 others.
fn copies() -> String {
    let mut text = String::new();
    for spellings in [
        ["CCO", "OCC", "C(O)C", "[CH3]CO"],
        ["C[C@H](N)O", "C[C@@H](N)O", "CC(N)O", "OC(N)C"],
        ["F/C=C/F", "F\\C=C/F", "FC=CF", "C(F)=CF"],
        ["Oc1ccccc1", "c1ccccc1O", "C1=CC=CC=C1O", "c1cc(O)ccc1"],
        ["CCN", "NCC", "C(N)C", "CCN"],
    ] {
        spellings.iter().for_each(|smiles| text += &format!("{smiles}\n"));
    }
    text + &(4..34).map(|n| "C".repeat(n) + "\n").collect::<String>()
}

fn in_several_parts(splits: &Splits) -> usize {
    let parts = [&splits.train, &splits.validation, &splits.test];
    let names = parts.map(|part| (0..part.len()).map(|i| part.smiles(i).unwrap()).collect::<BTreeSet<_>>());
    names[1]
        .intersection(&names[0])
        .chain(names[2].intersection(&names[0]))
        .chain(names[2].intersection(&names[1]))
        .count()
}

#[test]
fn copies_and_stereoisomers_stand_in_one_part() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("m.smi"), copies()).unwrap();
    let mut several = 0;
    for seed in 0..10 {
        let config = format!("set = 'molecules'\npath = 'm.smi'\nsplit_seed = {seed}");
        let splits = load(&format!("{config}\nsplit = 'molecules'"), dir.path()).unwrap();
        assert_eq!(in_several_parts(&splits), 0);
        assert!(
            splits.notes.iter().any(|note| note.starts_with("15 of 50 molecules are copies")),
            "{:?}",
            splits.notes
        );
        several += in_several_parts(&load(&config, dir.path()).unwrap());
    }
    assert!(several > 0, "by items, some stand in several parts");
    // A new run divides by molecule, a recipe without the setting as it did.
    let mut config: DataConfig = toml::from_str("set = 'molecules'\npath = 'm.smi'").unwrap();
    config.settle();
    let DataConfig::Molecules(settled) = &config else { unreachable!() };
    assert_eq!(settled.split, Some(MoleculeSplit::Molecules));
}

#[test]
fn a_column_that_could_say_the_part_is_pointed_out() {
    let dir = tempfile::tempdir().unwrap();
    let rows: String = (1..=30).map(|n| format!("{},{}\n", "C".repeat(n), ["train", "test"][n % 2])).collect();
    std::fs::write(dir.path().join("m.csv"), format!("SMILES,SPLIT\n{rows}")).unwrap();
    let splits = load("set = 'molecules'\npath = 'm.csv'", dir.path()).unwrap();
    assert!(splits.notes.iter().any(|note| note.contains("column = \"SPLIT\"")), "{:?}", splits.notes);
    let splits = load("set = 'molecules'\npath = 'm.csv'\nsplit = { column = 'SPLIT' }", dir.path()).unwrap();
    assert!(!splits.notes.iter().any(|note| note.contains("SPLIT")), "{:?}", splits.notes);
    // Validation molecules come from the training part.
    assert_eq!([&splits.train, &splits.validation, &splits.test].map(|part| part.len()), [14, 1, 15]);
}

#[test]
fn a_column_or_files_say_the_part() {
    let dir = tempfile::tempdir().unwrap();
    let mut table = "SMILES,SPLIT\n".to_owned();
    for n in 1..=20 {
        let part = ["train", "Train", "valid", "test", "test_scaffolds"][n % 5];
        table += &format!("{},{part}\n", "C".repeat(n));
    }
    std::fs::write(dir.path().join("m.csv"), table).unwrap();
    let splits = load("set = 'molecules'\npath = 'm.csv'\nsplit = { column = 'split' }", dir.path()).unwrap();
    assert_eq!([&splits.train, &splits.validation, &splits.test].map(|part| part.len()), [8, 4, 4]);
    assert_eq!(splits.refused, [("part \"test_scaffolds\" is not used".to_owned(), 4)]);
    assert_eq!(splits.test.smiles(0).as_deref(), Some("CCC"));
    let plain = load("set = 'molecules'\npath = 'm.csv'\nlimit = 3\ntrain = 1\nvalidation = 1", dir.path()).unwrap();
    assert!(!plain.notes.iter().any(|note| note.contains("SPLIT")), "not all of its values are parts");
    let message = load("set = 'molecules'\npath = 'm.csv'\nsplit = { column = 'part' }", dir.path());
    assert!(message.unwrap_err().to_string().contains("`part` is not a column"));

    let write = |name: &str, range: std::ops::Range<usize>| {
        let lines: String = range.map(|n| "C".repeat(n) + "O\n").collect();
        std::fs::write(dir.path().join(name), lines).unwrap();
    };
    write("a.smi", 1..30);
    write("b.smi", 30..33);
    write("c.smi", 28..35);
    let files = "set = 'molecules'\npath = 'a.smi'\nsplit = { files = { validation = 'b.smi', test = 'c.smi' } }";
    let splits = load(files, dir.path()).unwrap();
    assert_eq!([&splits.train, &splits.validation, &splits.test].map(|part| part.len()), [29, 3, 7]);
    assert_eq!(splits.test.smiles(0).as_deref(), Some(&*("C".repeat(28) + "O")));
    assert!(
        splits.notes.iter().any(|note| note.contains("5 molecules stand in more than one part")),
        "{:?}",
        splits.notes
    );
    let config: DataConfig = toml::from_str(files).unwrap();
    assert_eq!(config.files().len(), 3);
    let splits = load("set = 'molecules'\npath = 'a.smi'\nsplit = { files = { test = 'c.smi' } }", dir.path()).unwrap();
    assert_eq!([&splits.train, &splits.validation, &splits.test].map(|part| part.len()), [28, 1, 7]);
}

#[test]
fn a_column_says_the_label_and_the_cache_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = ["odd, \"so\"", "even", ""];
    let rows: String =
        (1..=60).map(|n| format!("{},\"{}\",{}\n", "C".repeat(n), kinds[n % 3].replace('"', "\"\""), n)).collect();
    std::fs::write(dir.path().join("m.csv"), format!("SMILES,kind,size\n{rows}")).unwrap();
    let text = "set = 'molecules'\npath = 'm.csv'\nmax_atoms = 60\nlabel = { by = { column = 'kind' } }";
    let config: DataConfig = toml::from_str(text).unwrap();
    let cache = dir.path().join("cache");
    let folders = Folders { data: dir.path(), cache: Some(&cache) };
    for time in ["read", "kept"] {
        let splits = config.load(folders, 0).unwrap();
        assert_eq!(
            (splits.label_names.clone(), splits.train.label_count()),
            (vec!["even".into(), kinds[0].into()], Some(2)),
            "{time}"
        );
        assert_eq!(splits.refused, [("no label".to_owned(), 20)], "{time}");
        for index in 0..splits.train.len() {
            let n = splits.train.smiles(index).unwrap().len();
            assert_eq!(splits.train.label(index), Some([1, 0][n % 3]), "{time}");
        }
        assert_eq!(splits.train.label_of("CCO"), None);
    }
    let bins =
        load(&text.replace("{ column = 'kind' } }", "{ column = 'size' }, edges = [10, 30.5] }"), dir.path()).unwrap();
    assert_eq!(bins.label_names, ["size < 10", "10 <= size < 30.5", "30.5 <= size"]);
    let index = (0..bins.train.len()).find(|&i| bins.train.smiles(i).unwrap().len() == 10).unwrap();
    assert_eq!(bins.train.label(index), Some(1));
    let message = load(&text.replace("kind", "colour"), dir.path()).unwrap_err().to_string();
    assert!(message.contains("`colour` is not a column"), "{message}");
    assert!(load(&text.replace("column", "header"), dir.path()).unwrap_err().to_string().contains("{ column ="));
    assert_eq!(toml::from_str::<DataConfig>(&toml::to_string(&config).unwrap()).unwrap(), config);
}

#[test]
fn labels_of_molecules_stand_in_a_second_file() {
    let dir = tempfile::tempdir().unwrap();
    let smiles = |n: usize| "C".repeat(n) + "O";
    let table: String = (1..=60).map(|n| format!("CHEM{n},{}\n", smiles(n))).collect();
    std::fs::write(dir.path().join("m.csv"), format!("id,smiles\n{table}")).unwrap();
    std::fs::write(dir.path().join("m.smi"), (1..=60).map(|n| format!("{} CHEM{n}\n", smiles(n))).collect::<String>())
        .unwrap();
    let of_ids: String = (1..=50).rev().map(|n| format!("CHEM{n};{}\n", f64::from(n as u32) / 2.0)).collect();
    std::fs::write(dir.path().join("l.csv"), format!("id;activity\n{of_ids}CHEM51;none\n")).unwrap();
    let of_smiles: String = (1..=60).map(|n| format!("{},k{}\n", smiles(n), n % 2)).collect();
    std::fs::write(dir.path().join("s.csv"), format!("smiles,kind\n{of_smiles}")).unwrap();
    let config = |path: &str, by: &str| {
        format!("set = 'molecules'\npath = '{path}'\nmax_atoms = 70\nlabel = {{ by = {{ file = {{ {by} }} }}")
    };
    let length = |splits: &Splits, index: usize| splits.train.smiles(index).unwrap().len() - 1;
    let cache = dir.path().join("cache");
    let folders = Folders { data: dir.path(), cache: Some(&cache) };
    let text = config("m.csv", "path = 'l.csv', key = 'id', column = 'activity'") + ", edges = [5.0, 20.0] }";
    let config_of_ids: DataConfig = toml::from_str(&text).unwrap();
    assert_eq!(config_of_ids.files().len(), 2);
    for time in ["read", "kept"] {
        let splits = config_of_ids.load(folders, 0).unwrap();
        assert_eq!(splits.label_names, ["activity < 5", "5 <= activity < 20", "20 <= activity"], "{time}");
        assert_eq!(splits.refused, [("no label".to_owned(), 10)], "{time}");
        for index in 0..splits.train.len() {
            let n = length(&splits, index) as f64 / 2.0;
            assert_eq!(splits.train.label(index), Some(u32::from(n >= 5.0) + u32::from(n >= 20.0)), "{time} {n}");
        }
    }
    // Another file of labels is another set, and what was kept is not taken for it.
    let first = config_of_ids.load(folders, 0).unwrap().sha256;
    let changed = format!("id;activity\n{}", of_ids.replace("CHEM7;", "CHEM7;1"));
    std::fs::write(dir.path().join("l.csv"), changed).unwrap();
    let other = config_of_ids.load(folders, 0).unwrap();
    assert_ne!(other.sha256, first);
    let seven = (0..other.train.len()).find(|&index| length(&other, index) == 7);
    assert!(seven.is_none_or(|index| other.train.label(index) == Some(1)));
    // Named by another column, or by the SMILES itself.
    let by_number = config("m.smi", "path = 'l.csv', key = 'id', column = 'activity', own = '2'") + ", bins = 2 }";
    assert_eq!(load(&by_number, dir.path()).unwrap().label_names.len(), 2);
    let by_smiles = config("m.csv", "path = 's.csv', key = 'smiles', column = 'kind'") + " }";
    let splits = load(&by_smiles, dir.path()).unwrap();
    assert!((0..splits.train.len()).all(|i| splits.train.label(i) == Some((length(&splits, i) % 2) as u32)));
    let message = load(&by_number.replace("'2'", "'1'"), dir.path()).unwrap_err().to_string();
    assert!(message.contains("none of its names") && message.contains("\"CO\""), "{message}");
    let message = load(&by_number.replace("own = '2'", "own = 'name'"), dir.path()).unwrap_err().to_string();
    assert!(message.contains("label.by.file.own") && message.contains("`name` is not a column"), "{message}");
}
