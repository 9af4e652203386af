//! Models by name, small files, cards.

use std::fs;
use std::path::Path;

use super::{refuse, run, succeed, workplace};

fn stored(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pushforward/tests/old_checkpoints");
    folder.join(format!("{name}.safetensors")).to_str().expect("UTF-8").to_owned()
}

#[test]
fn a_small_file_is_a_checkpoint_like_any_other() {
    let dir = workplace();
    let whole = stored("echo");
    let about = ["--machine", "a test's", "--licence", "none at all", "--description", "letters, twice"];
    succeed(dir.path(), &[&["models", "pack", &whole, "--out", "small.safetensors.gz"], &about[..]].concat());
    let small = fs::metadata(dir.path().join("small.safetensors.gz")).expect("written").len();
    assert!(small * 4 < fs::metadata(&whole).expect("it is there").len(), "{small} bytes");
    let sample = |model: &str| succeed(dir.path(), &["sample", model, "-n", "40", "--nfe", "2", "--out", "-"]);
    let (a, b) = (sample(&whole), sample("small.safetensors.gz"));
    let same = a.lines().zip(b.lines()).filter(|(a, b)| a == b).count();
    assert!(same >= 34, "{same} of 40 samples are those of the whole file");
    assert!(succeed(dir.path(), &["inspect", "small.safetensors.gz"]).contains("averaged weights"));
    assert!(
        succeed(dir.path(), &["eval", "small.safetensors.gz", "-n", "50", "--nfe", "1", "--bound-items", "0"])
            .contains("correct")
    );
    let card = succeed(dir.path(), &["models", "show", "small.safetensors.gz"]);
    for part in ["kind**: map", "data**: echo", "none at all", "letters, twice", "on a test's", "```toml", "## Limits"]
    {
        assert!(card.contains(part), "{part}: {card}");
    }
    let message = refuse(dir.path(), &["sample", "small.safetensors.gz", "--raw"], 2);
    assert!(message.contains("averaged weights only"), "{message}");
    let message = refuse(dir.path(), &["models", "pack", &whole, "--out", "small.bin"], 2);
    assert!(message.contains(".safetensors.gz"), "{message}");
    fs::write(dir.path().join("report.json"), "[]").expect("written");
    let args = ["models", "pack", &whole, "--out", "x.safetensors.gz", "--report", "report.json"];
    assert!(refuse(dir.path(), &args, 2).contains("not a report"));
    assert!(!dir.path().join("x.safetensors.gz").exists());
}

#[test]
fn times_of_jumps_are_chosen_once_and_used_from_then_on() {
    let dir = workplace();
    fs::copy(stored("echo"), dir.path().join("echo.safetensors")).expect("a file to change");
    let sample =
        |model: &str, how: &[&str]| succeed(dir.path(), &[&["sample", model, "-n", "60", "--out", "-"], how].concat());
    let equal = sample("echo.safetensors", &["--nfe", "2"]);
    let said = succeed(dir.path(), &["calibrate", "echo.safetensors", "--grids", "2", "--items", "300"]);
    let place = said.strip_prefix("2 evaluations at 0, ").and_then(|rest| rest.split(',').next()).expect("a time");
    assert_ne!(place.trim(), "0.5", "{said}");
    let kept = sample("echo.safetensors", &["--nfe", "2"]);
    assert_eq!(kept, sample("echo.safetensors", &["--grid", &format!("0,{},1", place.trim())]));
    assert_ne!(kept, equal);
    assert_eq!(equal, sample("echo.safetensors", &["--grid", "0,0.5,1"]));
    // Small files keep them too.
    succeed(dir.path(), &["models", "pack", "echo.safetensors", "--out", "small.safetensors.gz"]);
    let small = sample("small.safetensors.gz", &["--nfe", "2"]);
    let same = |a: &str, b: &str| a.lines().zip(b.lines()).filter(|(a, b)| a == b).count();
    assert!(same(&small, &kept) > same(&small, &equal), "{} of 60", same(&small, &kept));
    let said = succeed(dir.path(), &["calibrate", "small.safetensors.gz", "--grids", "3", "--items", "100"]);
    let times = said.strip_prefix("3 evaluations at ").and_then(|rest| rest.split(':').next()).expect("times");
    let small = |how: &[&str]| sample("small.safetensors.gz", how);
    assert_eq!(small(&["--nfe", "3"]), small(&["--grid", &times.replace(' ', "")]));
    let message = refuse(dir.path(), &["calibrate", "glyphs", "--grids", "2"], 2);
    assert!(message.contains("cannot be changed"), "{message}");
    let message = refuse(dir.path(), &["sample", "echo.safetensors", "--gamma", "0.5"], 2);
    assert!(message.contains("--sampler renoise"), "{message}");
    let part = sample("echo.safetensors", &["--nfe", "3", "--sampler", "renoise", "--gamma", "0.5"]);
    assert_ne!(part, sample("echo.safetensors", &["--nfe", "3", "--sampler", "renoise"]));
}

#[test]
fn every_embedded_model_samples_by_its_name() {
    let dir = workplace();
    let list: serde_json::Value =
        serde_json::from_str(&succeed(dir.path(), &["models", "--json"])).expect("one JSON object");
    let models = list["models"].as_array().expect("a list");
    let here = models.iter().filter(|model| model["here"] == true);
    let bytes: u64 = here.map(|model| model["bytes"].as_u64().expect("a number")).sum();
    assert!(!models.is_empty() && bytes < 12_000_000, "{} models of {bytes} bytes", models.len());
    let text = succeed(dir.path(), &["models"]);
    for model in models.iter().filter(|model| model["here"] == true) {
        let name = model["name"].as_str().expect("a name");
        let samples = model["role"] != "classifier";
        assert!(text.contains(&format!("{name}  ")) && text.contains("NFE 1: valid"), "{text}");
        assert!(text.contains("\n  accuracy 0.9") && text.contains("c2st_trees"), "{text}");
        assert!(model["report"]["rows"].as_array().is_some_and(|rows| !rows.is_empty()), "{name} has no figures");
        assert!(succeed(dir.path(), &["inspect", name]).contains("averaged weights"));
        let card = succeed(dir.path(), &["models", "show", name]);
        assert!(
            card.starts_with(&format!("# {name}\n")) && card.contains(if samples { "NFE 1" } else { "accuracy" }),
            "{card}"
        );
        if samples {
            assert_eq!(succeed(dir.path(), &["sample", name, "-n", "3", "--out", "-"]).lines().count(), 3);
        } else {
            assert!(refuse(dir.path(), &["sample", name], 2).contains("classifier"));
        }
    }
    let message = refuse(dir.path(), &["sample", "nobody"], 2);
    assert!(message.contains("no such run folder, checkpoint or model") && message.contains("glyphs"), "{message}");
    assert!(refuse(dir.path(), &["models", "fetch", "nobody"], 2).contains("no model `nobody`"));
}

#[test]
fn molecules_are_drawn_around_a_part_that_they_keep() {
    let dir = workplace();
    for (part, kept) in [("C=O", "=O"), ("C1CC1", "1")] {
        let args = ["sample", "small-molecules", "--fix", part, "--nfe", "2", "-n", "40", "--out", "m.csv"];
        succeed(dir.path(), &args);
        let table = fs::read_to_string(dir.path().join("m.csv")).expect("a table");
        let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|line| line.split(',').collect()).collect();
        let valid: Vec<&str> = rows.iter().filter(|row| row[1] == "valid").map(|row| row[2]).collect();
        assert!(valid.len() >= 24, "{part}: {} of 40 are valid: {table}", valid.len());
        let has = |smiles: &&&str| smiles.contains(kept) || (part == "C=O" && smiles.contains("O="));
        assert_eq!(valid.iter().filter(has).count(), valid.len(), "{part}: {valid:?}");
        let different: std::collections::HashSet<&&str> = valid.iter().collect();
        assert!(different.len() > 8, "{part}: {valid:?}");
    }
}

#[test]
fn molecules_are_corrected_where_it_is_asked_for() {
    let dir = workplace();
    let draw = |more: &[&str]| {
        let args = [&["sample", "small-molecules", "-n", "300", "--out", "m.csv"], more].concat();
        succeed(dir.path(), &args);
        let table = fs::read_to_string(dir.path().join("m.csv")).expect("a table");
        let _ = fs::remove_file(dir.path().join("m.csv"));
        table.lines().skip(1).map(str::to_owned).collect::<Vec<_>>()
    };
    let valid = |row: &&String| row.split(',').nth(1) == Some("valid");
    let (drawn, corrected) = (draw(&[]), draw(&["--correct"]));
    assert!((240..300).contains(&drawn.iter().filter(valid).count()), "{drawn:?}");
    assert_eq!(corrected.iter().filter(valid).count(), 300);
    assert!(drawn.iter().zip(&corrected).all(|(before, after)| !valid(&before) || before == after));
    let args =
        ["steer", "small-molecules", "--reward", "qed", "-n", "30", "--particles", "2", "--correct", "--out", "s.csv"];
    succeed(dir.path(), &args);
    let steered = fs::read_to_string(dir.path().join("s.csv")).expect("a table");
    assert_eq!(steered.lines().filter(|row| row.contains(",valid,")).count(), 30, "{steered}");
    assert!(refuse(dir.path(), &["sample", "glyphs", "--correct"], 2).contains("models of molecules only"));
}

#[test]
fn a_run_folder_of_the_same_name_comes_first_and_says_so() {
    let dir = workplace();
    fs::create_dir_all(dir.path().join("glyphs/checkpoints")).expect("a folder");
    fs::copy(stored("echo"), dir.path().join("glyphs/checkpoints/last.safetensors")).expect("copied");
    let out = run(dir.path(), &["sample", "glyphs", "-n", "2", "--out", "-"]);
    assert!(out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("not the model `glyphs`"), "it is said");
    let line = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(line.contains("\"text\""), "the run folder is of echo, which is text: {line}");
}
