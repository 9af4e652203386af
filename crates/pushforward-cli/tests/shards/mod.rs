//! Samples, steered samples and sets in parts, put together again.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

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

/// Names and content of the files of a folder.
pub(super) fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let file = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
    entries.map(|entry| file(entry.unwrap())).collect()
}

#[test]
fn steered_parts_together_are_what_one_process_draws_writes_and_prints() {
    let place = workplace();
    let folder = place.path();
    let (echo, molecules) = (stored("echo"), stored("molecules"));
    let [echo, molecules] = [&echo, &molecules].map(|model| model.to_str().unwrap());
    let parts = |stem: &str| [2, 3, 1].map(|index| format!("{stem}-{index}-of-3.steer"));
    let sites = ["--reward", "2*site(0, 0..2) + site(1, 3)", "--strength", "2", "--target", "1"];
    let small = ["-n", "37", "--keep", "2", "--particles", "4", "--batch", "16", "--nfe", "2"];
    // Answers by content: two of 24 populations of one particle have a weight, and none of two parts.
    let rare = "while read -r line; do case \"$line\" in *'[7,'*) echo 1;; *) echo -inf;; esac; done";
    let judged = ["--judge", "site(1, 0..4)", "--judge-target", "1", "--method", "best-of"];
    let alone = ["--program", rare, "--draw", "--method", "resample", "--particles", "1", "-n", "24", "--batch", "4"];
    for (model, out, args) in [
        (echo, "a.jsonl", [&sites[..], &small].concat()),
        (echo, "a.safetensors", [&sites[..], &small, &["--ends", "drawn", "--draw"]].concat()),
        (echo, "a.csv", [&sites[..], &small, &judged].concat()),
        (echo, "a.txt", alone.to_vec()),
        (molecules, "a.smi", [&["--reward", "site(0, 1)", "--method", "resample"][..], &small].concat()),
    ] {
        let base = [&["steer", model][..], &args].concat();
        let one = [&base[..], &["--out", out]].concat();
        let said = succeed(folder, &[&one[..], &["--json", "--pictures", "one"]].concat());
        let shown = succeed(folder, &one);
        let written = fs::read(folder.join(out)).unwrap();
        fs::remove_file(folder.join(out)).unwrap();
        for index in [3, 1, 2] {
            succeed(folder, &[&one[..], &["--shard", &format!("{index}/3")]].concat());
        }
        let parts = parts("a");
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let merge = [&["merge", "--out", out][..], &parts].concat();
        assert_eq!(succeed(folder, &[&merge[..], &["--json", "--pictures", "all"]].concat()), said, "{args:?}");
        assert!(fs::read(folder.join(out)).unwrap() == written, "{args:?}");
        assert_eq!(succeed(folder, &merge), shown, "{args:?}");
        assert!(files(&folder.join("one")) == files(&folder.join("all")), "{args:?}");
        assert!(refuse(folder, &merge[..5], 2).contains("part 1 of 3 is missing"));
        fs::remove_file(folder.join(out)).unwrap();
    }

    // Parts of another request, a part twice, no endpoints, and one that was changed.
    let base = [&["steer", echo][..], &sites, &small].concat();
    for (shard, more) in [("1/2", &[][..]), ("2/2", &[]), ("2/3", &[]), ("2/2", &["--seed", "1", "--out", "s.jsonl"])] {
        let more = if more.is_empty() { &["--out", "b.jsonl"] } else { more };
        succeed(folder, &[&base[..], more, &["--shard", shard]].concat());
    }
    let merge = |out: &str, parts: &[&str]| refuse(folder, &[&["merge", "--out", out][..], parts].concat(), 2);
    assert!(merge("x.txt", &["b-1-of-2.steer", "s-2-of-2.steer"]).contains("a setting differs"));
    assert!(merge("x.txt", &["b-1-of-2.steer", "b-2-of-3.steer"]).contains("the number of parts or items differs"));
    assert!(merge("x.txt", &["b-1-of-2.steer", "b-1-of-2.steer"]).contains("the same part"));
    let no_endpoints = merge("x.safetensors", &["b-1-of-2.steer", "b-2-of-2.steer"]);
    assert!(no_endpoints.contains("the parts have no endpoints"), "{no_endpoints}");
    let bytes = fs::read(folder.join("b-1-of-2.steer")).unwrap();
    fs::write(folder.join("b-1-of-2.steer"), &bytes[1..]).unwrap();
    assert!(merge("x.txt", &["b-1-of-2.steer", "b-2-of-2.steer"]).contains("checksum"));
    // What parts cannot share, and what belongs to `merge`.
    let few = [&["steer", echo, "--out", "x.txt", "--shard", "1/2"][..], &sites].concat();
    let one = refuse(folder, &[&few[..], &["-n", "16", "--keep", "16"]].concat(), 2);
    assert!(one.contains("16 samples are of 1") && one.contains("mpirun -n N"), "{one}");
    let group = refuse(folder, &[&few[..], &["-n", "16"]].concat(), 2);
    assert!(group.contains("16 at once are computed together") && group.contains("a smaller --batch"), "{group}");
    assert!(refuse(folder, &[&few[..], &["--json"]].concat(), 2).contains("--json"));
    let dash = refuse(folder, &["steer", echo, "--reward", "site(0, 1)", "--shard", "1/2", "--out", "-"], 2);
    assert!(dash.contains("a part is a file"), "{dash}");
    succeed(folder, &["sample", echo, "-n", "8", "--shard", "1/1", "--out", "c.txt"]);
    assert!(merge("x.txt", &["c-1-of-1.txt", "--json"]).contains("are for parts of steer"));
    assert!(!folder.join("x.txt").exists() && !folder.join("x-1-of-2.steer").exists());
}

/// A text of several blocks, so that every process has some of it.
pub(super) fn long_text(folder: &Path) {
    let lines =
        (0..230_000u32).map(|n| format!("line {n} is {:x} or \u{e9}{}\n", n.wrapping_mul(2_654_435_761), n % 77));
    fs::write(folder.join("a.txt"), lines.collect::<String>().repeat(2)).unwrap();
}

#[test]
fn a_set_prepared_in_parts_is_that_of_one_process() {
    let place = workplace();
    let folder = place.path();
    long_text(folder);
    let prepare = ["data", "prepare", "a.txt", "--set", "data.set=text", "--set", "data.length=48", "--out"];
    let said = succeed(folder, &[&prepare[..], &["one"]].concat());
    for shard in ["3/3", "1/3", "2/3"] {
        succeed(folder, &[&prepare[..], &["set", "--shard", shard]].concat());
    }
    let size = |index: usize| fs::metadata(folder.join(format!("set-{index}-of-3.items"))).unwrap().len();
    assert!((1..=3).all(|index| size(index) > 1 << 20), "{:?}", [size(1), size(2), size(3)]);
    let merge = ["merge", "--out", "set", "set-1-of-3.items", "set-2-of-3.items", "set-3-of-3.items"];
    let missing = refuse(folder, &merge[..5], 2);
    assert!(missing.contains("part 3 of 3 is missing"), "{missing}");
    assert!(refuse(folder, &[&merge[..], &["--json"]].concat(), 2).contains("are for parts of steer"));
    succeed(
        folder,
        &[
            "data",
            "prepare",
            "a.txt",
            "--set",
            "data.set=text",
            "--set",
            "data.length=49",
            "--out",
            "o",
            "--shard",
            "3/3",
        ],
    );
    let other = refuse(folder, &[&merge[..5], &["o-3-of-3.items"]].concat(), 2);
    assert!(other.contains("a setting differs"), "{other}");
    assert!(!folder.join("set").exists());
    assert_eq!(succeed(folder, &merge), said);
    assert!(files(&folder.join("one")) == files(&folder.join("set")));
    // A set that is there already, and a source that has changed.
    assert!(refuse(folder, &[&prepare[..], &["set", "--shard", "1/3"]].concat(), 2).contains("it exists already"));
    fs::remove_dir_all(folder.join("set")).unwrap();
    fs::write(folder.join("a.txt"), "another text, ".repeat(100)).unwrap();
    let changed = refuse(folder, &merge, 2);
    assert!(changed.contains("as its files and settings are now"), "{changed}");
    assert!(!folder.join("set").exists());
}
