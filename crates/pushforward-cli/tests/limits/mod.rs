//! Extremes of requests, recipes and checkpoints: each is refused with a reason before work begins.

use std::path::Path;

use super::{refuse, succeed, tiny, workplace};

/// A small graph model with the published network in the folder `run`.
fn graphs(folder: &Path) {
    let network = "model.network={ kind = 'graph-transformer', layers = 1, widths = [8, 4, 4], feed_forward = [8, 4, 8], \
                   outer = [8, 4, 4], heads = 2 }";
    let args =
        ["train", "small-molecules", "--no-eval", "--out", "run", "--set", "train.steps=2", "--set", "data.atoms=4"];
    succeed(folder, &[&args[..], &["--set", network]].concat());
}

#[test]
fn numbers_out_of_range_are_refused_before_anything_is_read() {
    let place = workplace();
    for (args, part) in [
        ("sample nowhere -n 0", "at least 1"),
        ("sample nowhere -n 99999999999999", "at most"),
        ("sample nowhere --nfe 99999999999", "at most 100000"),
        ("sample nowhere --batch 0", "at least 1"),
        ("sample nowhere --nodes 0", "at least 1"),
        ("sample nowhere --temperature 1e-39", "0 or from 1e-30"),
        ("sample nowhere --temperature 1e300", "0 or from 1e-30"),
        ("sample nowhere --guidance inf", "positive"),
        ("sample nowhere --grid 0,nan,1", "from 0 to 1"),
        ("sample nowhere --first 18446744073709551615", "at most"),
        ("eval nowhere -n 0", "at least 1"),
        ("eval nowhere --repeats 0", "at least 1"),
        ("eval nowhere --nfe 1,0", "at least 1"),
        ("score nowhere --draws 0", "at least 1"),
        ("score nowhere --noise-scale 1e-50", "positive"),
        ("steer nowhere --reward ink --particles 0", "at least 1"),
        ("steer nowhere --reward ink --timeout 1e300", "positive and at most"),
        ("steer nowhere --reward ink --strength nan", "positive"),
        ("steer nowhere --reward ink --threshold 2", "from 0 to 1"),
        ("interpolate nowhere a b --steps 1", "at least 2"),
        ("denoise nowhere --noise inf", "0 or a positive number"),
        ("train glyphs --max-minutes 1e300", "positive and at most"),
        ("train glyphs --threads 0", "at least 1"),
    ] {
        let message = refuse(place.path(), &args.split(' ').collect::<Vec<_>>(), 2);
        assert!(message.contains(part), "{args}\n{message}");
    }
}

#[test]
fn a_distance_of_fewer_than_two_images_has_no_value_and_a_reason() {
    let place = workplace();
    let folder = place.path();
    let glyphs = ["--no-eval", "--set", "data.examples=64", "--set", "train.steps=2", "--set", "train.batch=16"];
    let classifier = ["train", "glyphs", "--out", "classifier", "--set", "model.family=classifier"];
    succeed(folder, &[&classifier[..], &glyphs].concat());
    let images = ["train", "glyphs-aef", "--out", "images", "--set", "model.network={ kind = 'mlp', width = 8 }"];
    succeed(folder, &[&images[..], &glyphs].concat());
    for (count, told) in [("1", true), ("2", false)] {
        let args = ["eval", "images", "--features", "classifier", "--images", "2", "--draws", "1", "-n", count];
        let table = succeed(folder, &args);
        let reason = "no frechet: a distance needs at least 2 samples and 2 items to compare with, found 1 and";
        assert_eq!((table.contains(reason), table.contains("frechet")), (told, true), "{table}");
    }
}

#[test]
fn constrained_nodes_exist_or_the_request_is_refused() {
    let place = workplace();
    let folder = place.path();
    graphs(folder);
    let sample = ["sample", "run", "-n", "8", "--out", "-"];
    let with = |more: &[&'static str]| [&sample[..], more].concat();
    let message = refuse(folder, &with(&["--fix", "CCC", "--nodes", "2"]), 2);
    assert!(message.contains("--nodes 2 has no room for the 3 nodes"), "{message}");
    let message = refuse(folder, &with(&["--require", "3:C", "--nodes", "3"]), 2);
    assert!(message.contains("no room for the 4 nodes"), "{message}");
    assert!(refuse(folder, &with(&["--nodes", "5"]), 2).contains("at most 4 nodes"));
    for more in [&["--fix", "CCC", "--nodes", "3"][..], &["--fix", "CCC"], &["--require", "2:C"], &["--nodes", "1"]] {
        let lines = succeed(folder, &with(more));
        for line in lines.lines() {
            let item: serde_json::Value = serde_json::from_str(line).expect("JSON");
            assert!(more[0] == "--nodes" || item["ids"][2].is_u64(), "{more:?}: {line}");
        }
    }
}

#[test]
fn tiny_runs_refuse_text_metrics_of_nothing() {
    let place = workplace();
    let folder = place.path();
    succeed(folder, &tiny("train.steps=2", "run", &["--no-eval"]));
    assert!(refuse(folder, &["eval", "run", "-n", "0"], 2).contains("at least 1"));
    succeed(folder, &["eval", "run", "-n", "1", "--nfe", "1", "--bound-items", "1"]);
}

#[test]
fn overrides_and_seeds_are_taken_as_their_keys_want_them() {
    let place = workplace();
    let folder = place.path();
    std::fs::write(folder.join("2024"), "abcab bca ".repeat(60)).expect("a text");
    let text = ["train", "echo", "--no-eval", "--out", "run", "--set", "train.steps=1", "--set", "train.batch=4"];
    let more = ["--set", "data.set=text", "--set", "data.path=2024", "--set", "data.length=8", "--set", "name=2024"];
    let seed = ["--set", "seed=18446744073709551615", "--set", "model.network={ kind = 'mlp', width = 8 }"];
    succeed(folder, &[&text[..], &more, &seed, &["--data-dir", "."]].concat());
    assert!(succeed(folder, &["inspect", "run"]).contains("name = \"2024\""));
    succeed(folder, &["sample", "run", "-n", "1", "--seed", "18446744073709551615"]);
    // A run with such a seed goes on.
    succeed(folder, &["train", "--resume", "run", "--set", "train.steps=2", "--no-eval", "--data-dir", "."]);
    let message = refuse(folder, &["train", "echo", "--set", "train.lr=fast"], 2);
    assert!(message.contains("override \"train.lr=fast\"") && message.contains("expected f64"), "{message}");
    // Line numbers count blank lines.
    std::fs::write(folder.join("items.txt"), "abcab bc\n\n\nabcaZ bc\n").expect("items");
    let message = refuse(folder, &["score", "run", "items.txt"], 2);
    assert!(message.contains("items.txt, line 4"), "{message}");
    let message = refuse(folder, &["sample", "run", "--out", "pictures/"], 2);
    assert!(message.contains("only images and molecules"), "{message}");
}

#[test]
fn samples_tell_their_labels_and_fill_a_folder() {
    let place = workplace();
    let folder = place.path();
    let glyphs =
        ["train", "glyphs", "--no-eval", "--out", "run", "--set", "data.examples=64", "--set", "train.steps=1"];
    let small = ["--set", "model.network={ kind = 'mlp', width = 8 }", "--set", "model.condition.kind=label"];
    succeed(folder, &[&glyphs[..], &small, &["--threads", "2"]].concat());
    let sample = ["sample", "run", "-n", "3", "--first", "1", "--label", "4,7", "--threads", "1", "--out"];
    let lines = succeed(folder, &[&sample[..], &["-"]].concat());
    let labels: Vec<i64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["label"].as_i64().expect("a label"))
        .collect();
    assert_eq!(labels, [7, 4, 7]);
    succeed(folder, &[&sample[..], &["s.csv"]].concat());
    let table = std::fs::read_to_string(folder.join("s.csv")).expect("a table");
    let last: Vec<&str> = table.lines().map(|line| line.rsplit(',').next().expect("a column")).collect();
    assert_eq!(last, ["label", "7", "4", "7"]);
    // Without labels they are drawn, or hidden.
    let labels_of = |more: &[&str]| -> Vec<Option<i64>> {
        let lines = succeed(folder, &[&["sample", "run", "-n", "40", "--out", "-"], more].concat());
        lines
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["label"].as_i64())
            .collect()
    };
    let drawn = labels_of(&[]);
    assert!((0..10).filter(|label| drawn.contains(&Some(*label))).count() > 5, "{drawn:?}");
    assert_eq!(labels_of(&["--label", "none"]), [None; 40]);
    succeed(folder, &[&sample[..], &["pictures/"]].concat());
    let mut names: Vec<String> = std::fs::read_dir(folder.join("pictures"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    assert_eq!(names, ["sample-00001.png", "sample-00002.png", "sample-00003.png"]);
    assert!(refuse(folder, &[&sample[..], &["pictures/"]].concat(), 2).contains("not empty"));
    // A mask alone steers; a table of results fits the terminal.
    std::fs::write(
        folder.join("mask.png"),
        std::fs::read(folder.join("pictures/sample-00001.png")).expect("a picture"),
    )
    .expect("a mask");
    succeed(folder, &["steer", "run", "--mask", "mask.png", "-n", "1", "--particles", "2", "--nfe", "1"]);
    let out = super::command(folder, &["eval", "run", "-n", "2", "--nfe", "1,2,3", "--bound-items", "2"])
        .env("COLUMNS", "60")
        .output()
        .expect("the program starts");
    let report = String::from_utf8(out.stdout).expect("UTF-8");
    assert!(out.status.success() && report.lines().all(|line| line.chars().count() <= 60), "{report}");
}

#[test]
fn prefixes_longer_than_those_of_training_are_refused() {
    let place = workplace();
    let folder = place.path();
    let echo = ["train", "echo", "--no-eval", "--out", "run", "--set", "train.steps=1", "--set", "train.batch=4"];
    let condition = "model.condition={ kind = 'prefix', longest = 2 }";
    let network = "model.network={ kind = 'mlp', width = 8 }";
    succeed(folder, &[&echo[..], &["--set", condition, "--set", network]].concat());
    succeed(folder, &["sample", "run", "-n", "1", "--prefix", "ab"]);
    let message = refuse(folder, &["sample", "run", "-n", "1", "--prefix", "abc"], 2);
    assert!(message.contains("3 sites") && message.contains("at most 2 (model.condition.longest)"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_recipe_beyond_the_memory_is_refused_with_both_numbers() {
    let place = workplace();
    let mut args = tiny("train.steps=1", "run", &[]);
    args.extend(["--set", "model.network.width=60000", "--set", "model.network.blocks=1000"]);
    let message = refuse(place.path(), &args, 2);
    assert!(message.contains("needs at least") && message.contains("are free"), "{message}");
    assert!(!place.path().join("run").exists());
}

#[cfg(target_os = "linux")]
#[test]
fn paths_need_not_be_utf8() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let place = workplace();
    let folder = place.path();
    succeed(folder, &tiny("train.steps=2", "run", &["--no-eval"]));
    let name = OsStr::from_bytes(b"run-\xff");
    std::fs::rename(folder.join("run"), folder.join(name)).expect("renamed");
    for args in [&["inspect", "--json"][..], &["inspect"], &["sample", "-n", "1"], &["eval", "-n", "2", "--json"]] {
        let out = super::command(folder, args).arg(name).output().expect("the program starts");
        assert!(out.status.success(), "{args:?}\n{}", String::from_utf8_lossy(&out.stderr));
    }
}
