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
