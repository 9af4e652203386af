//! The program, run as a user runs it.

mod aef;
mod condition;
mod data;
mod limits;
mod models;
mod prepared;
mod ranks;
mod sequences;
mod serve;
mod shards;
mod shell;
mod steer;
mod table;
mod web;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A fresh folder to work in, removed in the end.
fn workplace() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pushforward"));
    command.args(args).current_dir(folder).env("PUSHFORWARD_DATA", folder.join("data"));
    command.env("XDG_CACHE_HOME", folder.join("cache")).stdin(Stdio::null());
    command
}

fn run(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().expect("the program starts")
}

#[track_caller]
fn succeed(folder: &Path, args: &[&str]) -> String {
    let out = run(folder, args);
    assert!(out.status.success(), "{args:?}\n{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// The message of a request that must be refused with the given exit code.
#[track_caller]
fn refuse(folder: &Path, args: &[&str], code: i32) -> String {
    let out = run(folder, args);
    let message = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(code), "{args:?}\n{message}");
    message
}

/// A run that takes seconds: checker with a tiny perceptron.
const TINY: [&str; 20] = [
    "train",
    "checker",
    "--set",
    "model.network.width=16",
    "--set",
    "model.network.blocks=1",
    "--set",
    "train.batch=32",
    "--set",
    "train.warmup=5",
    "--set",
    "train.checkpoint_every=10",
    "--set",
    "train.validate_every=20",
    "--set",
    "eval.samples=200",
    "--set",
    "eval.bound_items=16",
    "--device",
    "cpu",
];

fn tiny<'a>(steps: &'a str, out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut args = TINY.to_vec();
    args.extend(["--set", steps, "--out", out]);
    args.extend(more);
    args
}

/// `checker` as shipped has a budget in minutes; these tests need steps.
fn recipe(folder: &Path, steps: u64) -> PathBuf {
    let text = succeed(folder, &["presets", "checker"]);
    let kept: Vec<&str> = text.lines().filter(|l| !l.starts_with("minutes")).collect();
    let text = kept.join("\n").replace("[train]", &format!("[train]\nsteps = {steps}"));
    let path = folder.join("checker.toml");
    fs::write(&path, text).expect("a recipe file");
    path
}

fn train(folder: &Path, steps: u64, out: &str, more: &[&str]) -> Output {
    let path = recipe(folder, steps);
    let steps = format!("train.steps={steps}");
    let mut args = tiny(&steps, out, more);
    let path = path.to_str().expect("UTF-8").to_owned();
    args[1] = &path;
    run(folder, &args)
}

fn weights(folder: &Path, run: &str, name: &str) -> Vec<u8> {
    fs::read(folder.join(run).join("checkpoints").join(name)).expect("a checkpoint")
}

#[test]
fn a_run_leaves_what_every_other_command_needs() {
    let dir = workplace();
    let out = train(dir.path(), 40, "run", &[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let output = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(output.contains("kl_true_joint") && output.contains("NFE 1"), "{output}");
    for file in
        ["recipe.toml", "metrics.jsonl", "report.json", "samples/final-nfe1.txt", "checkpoints/last.safetensors"]
    {
        assert!(dir.path().join("run").join(file).is_file(), "{file} is missing");
    }
    let lines = succeed(dir.path(), &["sample", "run", "-n", "5", "--nfe", "3", "--out", "-"]);
    let items: Vec<serde_json::Value> = lines.lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert!(items.len() == 5 && items.iter().all(|i| i["nfe"] == 3), "{lines}");
    // Items keep their identity: the last two of five are items 3 and 4.
    let part = succeed(dir.path(), &["sample", "run", "-n", "2", "--first", "3", "--nfe", "3", "--out", "-"]);
    assert_eq!(part.lines().collect::<Vec<_>>(), lines.lines().skip(3).collect::<Vec<_>>());
    for name in ["a.csv", "a.txt", "a.jsonl", "a.safetensors"] {
        succeed(dir.path(), &["sample", "run", "-n", "2", "--out", name]);
        assert!(dir.path().join(name).is_file());
    }
    for sampler in ["euler", "heun", "dopri5", "renoise"] {
        succeed(dir.path(), &["sample", "run", "-n", "2", "--nfe", "3", "--sampler", sampler]);
    }
    let report = succeed(dir.path(), &["eval", "run", "--nfe", "2", "-n", "100", "--bound-items", "8", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&report).expect("one JSON object");
    assert!(report["rows"].as_array().is_some_and(|rows| rows.iter().any(|r| r["metric"] == "bound")));
    assert!(succeed(dir.path(), &["score", "run", "--items", "4", "--draws", "2"]).contains("nats"));
    assert!(succeed(dir.path(), &["inspect", "run"]).contains("step 40"));
    assert!(refuse(dir.path(), &["sample", "run", "--out", "x.png"], 2).contains("only images and molecules"));
    assert!(!dir.path().join("x.png").exists());
    assert!(refuse(dir.path(), &["sample", "run", "--nfe", "2", "--sampler", "heun"], 2).contains("odd"));
    assert!(refuse(dir.path(), &["sample", "run", "--grid", "0,0.5"], 2).contains("strictly from 0 to 1"));
}

#[test]
fn molecules_are_described_with_what_was_refused() {
    let dir = workplace();
    let chains: String = (1..=30).map(|n| format!("{}O chain {n}\n", "C".repeat(n))).collect();
    std::fs::write(dir.path().join("chains.smi"), chains + "CC(C)(C)(C)C\n[Na+].[Cl-]\nC[N+](=O)[O-]\n")
        .expect("written");
    let output = succeed(dir.path(), &["data", "info", "chains.smi", "--data-dir", "."]);
    for part in [
        "molecules: graph of up to 31 nodes",
        "accepted 31 of 33",
        "1  does not sanitise",
        "1  not one component",
        "atoms C O N+1 O-1",
    ] {
        assert!(output.contains(part), "{part}\n{output}");
    }
    assert!(output.lines().last().is_some_and(|line| line.starts_with("CC")), "{output}");
    assert_eq!(succeed(dir.path(), &["data", "info", "chains.smi", "--data-dir", "."]), output);
    let small = succeed(dir.path(), &["data", "info", "small-molecules"]);
    assert!(small.contains("accepted 5452"), "{small}");
    assert!(refuse(dir.path(), &["data", "info", "qm9", "--data-dir", "."], 2).contains("data fetch qm9"));
}

#[test]
fn an_interrupted_and_resumed_run_equals_an_uninterrupted_one() {
    let dir = workplace();
    assert!(train(dir.path(), 300, "whole", &["--no-eval"]).status.success());
    // The schedule follows the length of the run, so the first part has the whole length and is stopped by time.
    let stopped = train(dir.path(), 300, "parts", &["--no-eval", "--max-minutes", "0.003"]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    let output = String::from_utf8_lossy(&stopped.stderr).into_owned();
    assert!(output.contains("--resume"), "{output}");
    succeed(dir.path(), &["train", "--resume", "parts", "--no-eval", "--device", "cpu"]);
    for name in ["last.safetensors", "best.safetensors"] {
        assert!(weights(dir.path(), "whole", name) == weights(dir.path(), "parts", name), "{name} differs");
    }
    let message = refuse(dir.path(), &["train", "--resume", "parts", "--set", "train.lr=1"], 2);
    assert!(message.contains("keeps its recipe"), "{message}");
}

#[test]
fn a_killed_run_can_be_resumed() {
    let dir = workplace();
    let path = recipe(dir.path(), 100_000);
    let mut args = tiny("train.steps=100000", "run", &["--no-eval"]);
    let path = path.to_str().expect("UTF-8").to_owned();
    args[1] = &path;
    let mut child =
        command(dir.path(), &args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the program starts");
    let checkpoint = dir.path().join("run/checkpoints/resume.safetensors");
    let start = Instant::now();
    while !checkpoint.exists() {
        assert!(start.elapsed() < Duration::from_secs(60), "no checkpoint was written");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(137));
    child.kill().expect("it still runs");
    child.wait().expect("it has ended");
    let inspected = succeed(dir.path(), &["inspect", "run", "--json"]);
    let before: serde_json::Value = serde_json::from_str(&inspected).expect("JSON");
    succeed(dir.path(), &["train", "--resume", "run", "--no-eval", "--max-minutes", "0.01", "--device", "cpu"]);
    let after: serde_json::Value =
        serde_json::from_str(&succeed(dir.path(), &["inspect", "run", "--json"])).expect("JSON");
    assert!(after["step"].as_u64() > before["step"].as_u64(), "{} {}", before["step"], after["step"]);
}

#[test]
fn wrong_requests_are_refused_with_what_to_do_and_leave_nothing() {
    let dir = workplace();
    for (args, part) in [
        (vec!["train", "glyph"], "the presets are glyphs"),
        (vec!["train", "checker", "--set", "train.stepz=1"], "did you mean `steps`?"),
        (vec!["train", "mnist-binary"], "pushforward data fetch mnist"),
        (vec!["train", "checker", "--device", "tpu"], "the choices are auto"),
        (vec!["train", "checker", "--set", "model.network.kind=unet"], "unet needs images"),
        (
            vec!["train", "glyphs", "--set", "model.network.kind=dit", "--set", "model.network.patch=3"],
            "must divide the image",
        ),
        (vec!["sample", "nowhere"], "nowhere"),
        (vec!["data", "fetch", "mnits"], "the sets are"),
        (vec!["data", "info", "nothing"], "no data set, file or folder"),
        (vec!["data", "info", "cifar10"], "pushforward data fetch cifar10"),
        (vec!["data", "info", "."], "holds no .png"),
        (vec!["train", "glyphs", "--set", "data.noise=0.1"], "only models of continuous images"),
        (vec!["train", "--resume", "nowhere"], "nowhere"),
    ] {
        let message = refuse(dir.path(), &args, 2);
        assert!(message.contains(part), "{args:?}\n{message}");
    }
    assert!(!dir.path().join("runs").exists(), "a refused request leaves no run folder");
    if !cfg!(feature = "cuda") {
        assert!(refuse(dir.path(), &["train", "checker", "--device", "cuda"], 2).contains("--features cuda"));
    }
}

#[test]
fn broken_checkpoints_are_told_apart() {
    let dir = workplace();
    assert!(train(dir.path(), 10, "run", &["--no-eval"]).status.success());
    let good = weights(dir.path(), "run", "last.safetensors");
    let path = dir.path().join("broken.safetensors");
    let output = |bytes: &[u8]| {
        fs::write(&path, bytes).expect("a file");
        refuse(dir.path(), &["sample", "broken.safetensors"], 2)
    };
    let mut oversized = good.clone();
    oversized[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let messages = [
        output(&good[..good.len() / 2]),
        output(&[]),
        output(&oversized),
        output(b"not a checkpoint at all, but long enough"),
    ];
    for (i, message) in messages.iter().enumerate() {
        assert!(message.contains("broken.safetensors"), "{message}");
        assert!(!messages[..i].contains(message), "two kinds of damage read the same: {message}");
    }
}

#[test]
fn presets_and_data_are_listed() {
    let dir = workplace();
    let presets = succeed(dir.path(), &["presets"]);
    assert!(presets.lines().count() >= 10 && presets.contains("lm1b-paper"), "{presets}");
    let sets = succeed(dir.path(), &["data", "list"]);
    for set in ["glyphs", "text8", "cifar10", "image-folder"] {
        assert!(sets.lines().any(|line| line.starts_with(set)), "{sets}");
    }
    assert!(succeed(dir.path(), &["data", "info", "echo"]).contains("8 sites of 8 classes"));
    fs::write(dir.path().join("mine.txt"), "to be or not to be\n".repeat(400)).expect("a file");
    assert!(succeed(dir.path(), &["data", "info", "mine.txt"]).contains("64 sites of"));
    fs::create_dir(dir.path().join("photos")).expect("a folder");
    for (name, width) in [("a.png", 3), ("b.png", 3), ("c.png", 4)] {
        image::RgbImage::new(width, 2).save(dir.path().join("photos").join(name)).expect("a picture");
    }
    let photos = succeed(dir.path(), &["data", "info", "photos"]);
    assert!(photos.contains("3 pictures") && photos.contains("2  2 x 3, colour, 8 bits"), "{photos}");
    assert!(succeed(dir.path(), &["data", "info", "photos/c.png"]).contains("1 picture\n"));
}
