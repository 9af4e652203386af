//! Samples in parts, put together again.

use std::fs;

use super::serve::stored;
use super::{refuse, succeed, workplace};

#[test]
fn parts_together_are_what_one_process_writes() {
    let place = workplace();
    let folder = place.path();
    let echo = stored("echo");
    let model = echo.to_str().unwrap();
    let molecules = stored("molecules");
    let base = ["sample", model, "-n", "100", "--nfe", "2", "--batch", "8", "--first", "5"];
    for file in ["m.smi", "m.csv", "a.txt", "a.csv", "a.jsonl", "a.safetensors"] {
        let mut base = base;
        if file.starts_with('m') {
            base[1] = molecules.to_str().unwrap();
        }
        let (stem, ending) = file.split_once('.').unwrap();
        succeed(folder, &[&base[..], &["--out", file]].concat());
        let mut parts: Vec<String> = Vec::new();
        for index in [3, 1, 2] {
            succeed(
                folder,
                &[&base[..], &["--shard", &format!("{index}/3"), "--out", &format!("b.{ending}")]].concat(),
            );
            parts.push(format!("b-{index}-of-3.{ending}"));
        }
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let out = format!("whole.{ending}");
        succeed(folder, &[&["merge", "--out", &out], &parts[..]].concat());
        let [one, all] = [format!("{stem}.{ending}"), out.clone()].map(|name| fs::read(folder.join(name)).unwrap());
        assert!(one == all, "{file}");

        let message = refuse(folder, &[&["merge", "--out", "x.txt"], &parts[1..]].concat(), 2);
        assert!(message.contains("part 3 of 3 is missing"), "{message}");
    }
    // A part of another sample, a file that was changed, one without a description, and formats that have no parts.
    succeed(folder, &["sample", model, "-n", "100", "--batch", "8", "--nfe", "1", "--shard", "3/3", "--out", "c.txt"]);
    let mixed = ["merge", "--out", "x.txt", "b-1-of-3.txt", "b-2-of-3.txt", "c-3-of-3.txt"];
    assert!(refuse(folder, &mixed, 2).contains("a setting differs"));
    fs::write(folder.join("b-2-of-3.txt"), "other\n").unwrap();
    let changed = ["merge", "--out", "x.txt", "b-1-of-3.txt", "b-2-of-3.txt", "b-3-of-3.txt"];
    assert!(refuse(folder, &changed, 2).contains("checksum"));
    assert!(refuse(folder, &["merge", "--out", "x.txt", "a.txt"], 2).contains("sample --shard I/N"));
    let image = ["sample", model, "--shard", "1/2", "--out", "x.parquet"];
    assert!(refuse(folder, &image, 2).contains("cannot be put together"));
    let many = ["sample", model, "-n", "2", "--shard", "1/2", "--out", "x.txt"];
    assert!(refuse(folder, &many, 2).contains("no items"));
    assert!(!folder.join("x.txt").exists());

    // Scores in parts.
    let score = ["score", model, "a.txt", "--draws", "2", "--out"];
    succeed(folder, &[&score[..], &["s.jsonl"]].concat());
    for part in ["1/2", "2/2"] {
        succeed(folder, &[&score[..], &["t.jsonl", "--shard", part]].concat());
    }
    succeed(folder, &["merge", "--out", "t.jsonl", "t-1-of-2.jsonl", "t-2-of-2.jsonl"]);
    assert!(fs::read(folder.join("s.jsonl")).unwrap() == fs::read(folder.join("t.jsonl")).unwrap());
    assert!(refuse(folder, &["merge", "--out", "u.jsonl", "t-1-of-2.jsonl", "b-2-of-3.jsonl"], 2).contains("differs"));

    // Samples of a file are evaluated as those that are drawn.
    let eval = ["eval", model, "--nfe", "2", "--bound-items", "0", "--json"];
    for file in ["d.jsonl", "d.safetensors"] {
        succeed(folder, &["sample", model, "-n", "100", "--nfe", "2", "--out", file]);
        let given = succeed(folder, &[&eval[..], &["--samples", file]].concat());
        assert_eq!(given, succeed(folder, &[&eval[..], &["-n", "100"]].concat()));
    }
    let lengths = refuse(folder, &[&eval[..], &["--samples", "s.jsonl"]].concat(), 2);
    assert!(lengths.contains("line 1: it has no list of class indices"), "{lengths}");
}
