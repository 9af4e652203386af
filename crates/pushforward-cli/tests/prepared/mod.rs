//! Sets that are prepared once and read item by item.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;

use super::{refuse, run, succeed, workplace};

/// Numbers that look random.
fn random(n: u64) -> u64 {
    let n = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)) >> 20
}

/// Records of 5 to 12 letters, of two kinds.
fn fasta(first: u64, count: u64) -> String {
    let record = |n: u64| {
        let letters: String =
            (0..5 + random(n) % 8).map(|i| ['A', 'C', 'G', 'T'][(random(n * 16 + i) % 4) as usize]).collect();
        format!(">r{n} kind={}\n{letters}\n", ["even", "odd"][(n % 2) as usize])
    };
    (first..first + count).map(record).collect()
}

/// The trained tensors of a run.
fn tensors(folder: &Path, run: &str) -> BTreeMap<String, Vec<u8>> {
    let bytes = fs::read(folder.join(run).join("checkpoints/last.safetensors")).expect("a checkpoint");
    let file = SafeTensors::deserialize(&bytes).expect("tensors");
    file.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect()
}

const SMALL: [&str; 14] = [
    "--set",
    "train.batch=32",
    "--set",
    "train.accumulate=1",
    "--set",
    "model.network={kind='mlp',width=16,blocks=1,time_width=8}",
    "--set",
    "model.condition={kind='label'}",
    "--set",
    "eval.samples=64",
    "--set",
    "eval.bound_items=8",
    "--set",
    "train.steps=30",
];

#[test]
fn a_prepared_set_trains_as_its_source_bit_for_bit() {
    let place = workplace();
    let folder = place.path();
    for (name, first, count) in [("a", 0, 500), ("v", 1000, 60), ("t", 2000, 60)] {
        fs::write(folder.join(format!("{name}.fasta")), fasta(first, count)).unwrap();
    }
    let data = ["--set", "data.split={files={validation='v.fasta',test='t.fasta'}}"];
    let label = ["--set", "data.label={by={header='kind=([a-z]+)'}}"];
    let said = succeed(folder, &[&["data", "prepare", "a.fasta", "--out", "set"], &data[..], &label].concat());
    for part in ["prepared from sequences", "training 500, validation 60, test 60 items"] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert_eq!(succeed(folder, &["data", "info", "set"]), said);
    let more = ["--no-eval", "--out"];
    succeed(folder, &[&["train", "a.fasta"], &data[..], &label, &SMALL, &more, &["whole"]].concat());
    succeed(folder, &[&["train", "set"], &SMALL[..], &more, &["read"]].concat());
    assert_eq!(tensors(folder, "whole"), tensors(folder, "read"));
    // Labels have their names, data are those of the training, and files are written as before.
    assert!(succeed(folder, &["inspect", "read"]).contains("label names: 0 even, 1 odd"));
    succeed(folder, &["sample", "read", "-n", "9", "--label", "odd", "--out", "s.fasta"]);
    assert!(succeed(folder, &["score", "read", "s.fasta", "--draws", "2"]).contains("nats"));
    let report = succeed(folder, &["eval", "read", "-n", "64", "--nfe", "1"]);
    for part in ["kmer_kl_3", "length_tv", "Markov order 3"] {
        assert!(report.contains(part), "{part}\n{report}");
    }
    // A run goes on with the set, and not with another one.
    succeed(folder, &["train", "--resume", "read", "--set", "train.steps=32", "--no-eval"]);
    fs::remove_dir_all(folder.join("set")).unwrap();
    succeed(folder, &[&["data", "prepare", "a.fasta", "--out", "set"], &label[..]].concat());
    let message = refuse(folder, &["train", "--resume", "read", "--set", "train.steps=34", "--no-eval"], 2);
    assert!(message.contains("have changed since the training"), "{message}");
}

#[test]
fn texts_and_molecules_go_all_the_way() {
    let place = workplace();
    let folder = place.path();
    fs::write(folder.join("a.txt"), "it was the best of times, it was the worst of times, ".repeat(90)).unwrap();
    fs::write(
        folder.join("recipe.toml"),
        "name = 'x'\ndata = { set = 'text', path = 'a.txt', length = 12 }\n\
         model = { family = 'flow-map', network = { kind = 'mlp', width = 8 } }\n",
    )
    .unwrap();
    succeed(folder, &["data", "prepare", "recipe.toml", "--out", "text"]);
    let small =
        ["--set", "train.steps=2", "--set", "train.batch=4", "--set", "eval.samples=16", "--set", "eval.nfe=[1]"];
    let small = [&small[..], &["--set", "eval.bound_items=4"]].concat();
    let mlp = ["--set", "model.network={kind='mlp',width=8,blocks=1,time_width=8}"];
    let report = succeed(folder, &[&["train", "text", "--out", "t"], &small[..], &mlp].concat());
    assert!(report.contains("ngram_kl_1") && report.contains("perplexity"), "{report}");
    let smiles = |n: u64| -> String {
        (0..4 + n % 3).map(|i| ["C", "N", "O", "C(C)", "CC"][(random(n * 8 + i) % 5) as usize]).collect::<String>()
            + "\n"
    };
    fs::write(folder.join("a.smi"), (0..600).map(smiles).collect::<String>() + "[Na+].[Cl-]\n").unwrap();
    let out = run(folder, &["data", "prepare", "a.smi", "--out", "molecules"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.contains("prepared from molecules") && said.contains("refused        1  not one component"), "{said}");
    let network =
        "model.network={kind='graph-transformer',layers=1,widths=[8,4,4],feed_forward=[8,4,8],outer=[8,4,4],heads=2}";
    let report = succeed(folder, &[&["train", "molecules", "--out", "m", "--set", network], &small[..]].concat());
    assert!(report.contains("novelty") && report.contains("wasserstein_logp"), "{report}");
    let row =
        |n: u64| format!("{},{},{}.5\n", random(n) % 90, ["a", "b"][(random(n + 3) % 2) as usize], random(n + 9) % 700);
    fs::write(folder.join("a.csv"), "age,word,value\n".to_owned() + &(0..800).map(row).collect::<String>()).unwrap();
    assert!(succeed(folder, &["data", "prepare", "a.csv", "--out", "rows"]).contains("prepared from table"));
    let report = succeed(folder, &[&["train", "rows", "--out", "r"], &small[..], &mlp].concat());
    assert!(report.contains("shape") && report.contains("dcr_share"), "{report}");
    succeed(folder, &["sample", "r", "-n", "3", "--where", "word=a", "--out", "rows.csv"]);
    assert_eq!(
        fs::read_to_string(folder.join("rows.csv")).unwrap().lines().filter(|line| line.contains(",a,")).count(),
        3
    );
    // A folder that is there already, and what cannot be prepared.
    let message = refuse(folder, &["data", "prepare", "a.smi", "--out", "molecules"], 2);
    assert!(message.contains("it exists already"), "{message}");
    assert!(refuse(folder, &["data", "prepare", "glyphs", "--out", "g"], 2).contains("`glyphs` is not prepared"));
    assert!(refuse(folder, &["data", "prepare", "nowhere", "--out", "g"], 2).contains("`nowhere`"));
    assert!(!folder.join("g").exists());
    // A damaged shard is named before the training.
    let shard = folder.join("molecules/train-00000.safetensors");
    let bytes = fs::read(&shard).unwrap();
    fs::write(&shard, &bytes[..bytes.len() / 2]).unwrap();
    let message = refuse(folder, &["train", "molecules", "--out", "n", "--no-eval"], 2);
    assert!(message.contains("train-00000.safetensors") && message.contains("damaged"), "{message}");
    assert!(!folder.join("n").exists());
}
