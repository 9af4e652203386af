//! Conditions, guidance and constraints of `sample` and `eval`, run as a user runs them.

use std::fs;
use std::path::Path;

use super::{refuse, succeed, tiny, workplace};

const QUICK: [&str; 12] = [
    "--no-eval",
    "--device",
    "cpu",
    "--set",
    "train.steps=12",
    "--set",
    "train.batch=16",
    "--set",
    "train.warmup=2",
    "--set",
    "model.network={kind=\"mlp\",width=16,blocks=1,time_width=8}",
    "--out",
];

fn train(folder: &Path, preset: &str, out: &str, more: &[&str]) {
    let args: Vec<&str> = ["train", preset].into_iter().chain(QUICK).chain([out]).chain(more.iter().copied()).collect();
    succeed(folder, &args);
}

fn items(folder: &Path, more: &[&str]) -> Vec<serde_json::Value> {
    let mut args = vec!["sample", "run", "-n", "6", "--nfe", "2", "--out", "-"];
    args.extend(more);
    succeed(folder, &args).lines().map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

#[test]
fn labels_and_guidance_go_from_the_recipe_to_the_report() {
    let place = workplace();
    let folder = place.path();
    train(folder, "glyphs", "run", &["--set", "model.condition={kind=\"label\"}"]);
    train(folder, "glyphs", "plain", &["--set", "model.condition={kind=\"none\"}"]);
    let plain = items(folder, &["--label", "none"]);
    // After a dozen steps a label moves little; guidance magnifies it.
    let pushed = items(folder, &["--label", "3", "--guidance", "300"]);
    let ids = |items: &[serde_json::Value]| items.iter().map(|i| i["ids"].clone()).collect::<Vec<_>>();
    assert!(ids(&plain) != ids(&pushed), "the label moves samples");
    let guided = items(folder, &["--label", "3", "--guidance", "3"]);
    assert!(guided.iter().all(|i| i["nfe"] == 4), "guidance doubles the cost: {}", guided[0]["nfe"]);
    let auto = items(folder, &["--label", "3", "--guidance", "3", "--weak", "run/checkpoints/last.safetensors"]);
    assert!(auto.iter().all(|i| i["nfe"] == 4));
    let labels = "0,1,2,3,4,5,6,7,8,9";
    let report = succeed(folder, &["eval", "run", "--label", labels, "-n", "50", "--nfe", "1", "--bound-items", "0"]);
    assert!(report.contains("label_accuracy"), "{report}");
    // Without labels that are asked for, they are drawn.
    let report = succeed(folder, &["eval", "run", "-n", "50", "--nfe", "1", "--bound-items", "0"]);
    assert!(report.contains("label_accuracy"), "{report}");
    for (args, what) in [
        (&["run", "--label", "10"][..], "0 to 9"),
        (&["plain", "--label", "1"], "not trained with labels"),
        (&["run", "--label", "none", "--guidance", "2"], "needs a label"),
        (&["run", "--label", "1", "--guidance", "0"], "positive"),
        (&["run", "--label", "1", "--weak", "run"], "--guidance 1"),
        (&["run", "--label", "1", "--guidance", "2", "--weak", "plain"], "same data"),
        (&["run", "--prefix", "a"], "models of text"),
    ] {
        let message = refuse(folder, &[&["sample"], args].concat(), 2);
        assert!(message.contains(what), "{args:?}: {message}");
    }
    succeed(folder, &tiny("train.steps=2", "pairs", &["--no-eval"]));
    let set = ["--set", "model.condition.kind=label"];
    assert!(refuse(folder, &tiny("train.steps=2", "x", &set), 2).contains("needs labels"));
    assert!(!folder.join("x").exists());
}

#[test]
fn prefixes_are_kept_by_models_trained_with_them_and_constraints_by_all() {
    let place = workplace();
    let folder = place.path();
    fs::write(folder.join("corpus.txt"), "the cat sat on the mat and the dog ran off. ".repeat(200)).expect("a file");
    let text = ["--set", "data={set=\"text\",path=\"corpus.txt\",length=12}"];
    train(folder, "text8", "run", &[&text[..], &["--set", "model.condition={kind=\"prefix\"}"]].concat());
    train(folder, "text8", "plain", &text);
    let began = |items: &[serde_json::Value], with: &str| {
        items.iter().all(|i| i["text"].as_str().is_some_and(|t| t.starts_with(with)))
    };
    assert!(began(&items(folder, &["--prefix", "the dog"]), "the dog"));
    assert!(began(&items(folder, &["--prefix", "the dog", "--guidance", "2"]), "the dog"));
    assert!(began(&items(folder, &["--infill", "a_c"]), "a"));
    assert!(!began(&items(folder, &[]), "a"));
    assert!(refuse(folder, &["sample", "plain", "--prefix", "the"], 2).contains("not trained to be told sites"));
    assert!(refuse(folder, &["sample", "run", "--prefix", "the dog ran "], 2).contains("at most 11"));
    assert!(refuse(folder, &["sample", "run", "--prefix", "the dog ran off."], 2).contains("items have 12"));
    assert!(refuse(folder, &["sample", "run", "--prefix", "Q"], 2).contains('Q'));
}

#[test]
fn molecules_take_the_bins_of_a_property_as_labels() {
    let place = workplace();
    let folder = place.path();
    let network = "model.network={kind=\"pair-transformer\",width=16,pair_width=8,blocks=1,heads=2,cond=16}";
    let label = "data.label={by=\"rings\",edges=[1]}";
    let args =
        ["train", "small-molecules", "--no-eval", "--out", "run", "--set", "train.steps=4", "--set", "data.atoms=4"];
    let more = ["--set", network, "--set", label, "--set", "model.condition.kind=label", "--set", "train.batch=8"];
    succeed(folder, &[&args[..], &more[..]].concat());
    let report = succeed(folder, &["eval", "run", "--label", "0,1", "-n", "200", "--nfe", "4", "--bound-items", "0"]);
    assert!(report.contains("label_accuracy"), "{report}");
    assert!(refuse(folder, &["sample", "run", "--label", "2"], 2).contains("0 to 1"));
    let scaffold = succeed(folder, &["sample", "run", "--fix", "CO", "-n", "4", "--forbid", "F", "--out", "-"]);
    assert_eq!(scaffold.lines().count(), 4);
    assert!(scaffold.lines().all(|line| !line.contains('F')), "{scaffold}");
}

#[test]
fn scores_given_some_sites_are_of_the_others() {
    let place = workplace();
    let folder = place.path();
    let score = |args: &[&str]| -> serde_json::Value {
        let text = succeed(folder, &[&["score", "--json", "--draws", "8"], args].concat());
        serde_json::from_str(&text).expect("JSON")
    };
    let nats = |args: &[&str]| score(args)["mean"]["nats"].as_f64().expect("a mean");
    // The lower half of a digit given the upper one, and a row given its columns but one.
    let (whole, half) = (nats(&["glyphs", "-n", "4"]), score(&["glyphs", "-n", "4", "--given", "0..127"]));
    let of_half = half["mean"]["nats"].as_f64().expect("a mean");
    assert!(of_half > 0.0 && (of_half - whole).abs() > 1.0, "{of_half} of {whole}");
    let bits = of_half / std::f64::consts::LN_2 / 128.0;
    assert!((half["mean"]["value"].as_f64().expect("bits") - bits).abs() < 1e-9, "{half}");
    let rows = include_str!("../../models/adult.csv");
    fs::write(folder.join("rows.csv"), rows).expect("a file");
    let (row, rest) = (nats(&["adult", "rows.csv"]), nats(&["adult", "rows.csv", "--given", "sex,relationship"]));
    let [sex, both] = ["sex", "sex, 0..1"].map(|given| nats(&["adult", "rows.csv", "--given", given]));
    assert!(rest < row && sex < row && both < sex, "{rest} {sex} {both} of {row}");
    for (args, what) in [
        (&["score", "echo", "--given", "0"][..], "told any sites"),
        (&["score", "glyphs", "--given", "0..256"], "sites 0 to 255"),
        (&["score", "glyphs", "--given", "0..255"], "nothing is left"),
        (&["score", "adult", "rows.csv", "--given", "sexe"], "relationship"),
    ] {
        assert!(refuse(folder, args, 2).contains(what), "{args:?}");
    }
}
