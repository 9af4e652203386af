//! The commands of models of continuous images.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use image::{GrayImage, ImageBuffer, Luma, RgbImage};
use serde_json::Value;

use super::serve::{Server, ids};
use super::{refuse, run, succeed, workplace};

/// A run of a second: `glyphs-aef` with small networks.
fn train(folder: &Path, out: &str, more: &[&str]) {
    let mut args = vec!["train", "glyphs-aef", "--no-eval", "--device", "cpu", "--out", out];
    for setting in [
        "train.steps=60",
        "train.batch=32",
        "train.warmup=5",
        "train.validate_every=0",
        "train.checkpoint_every=0",
        "data.examples=500",
        "model.network.width=32",
        "eval.draws=4",
    ] {
        args.extend(["--set", setting]);
    }
    args.extend(more);
    succeed(folder, &args);
}

/// Three pictures that are no glyphs: a ramp, a board and a frame.
fn pictures(folder: &Path) {
    fs::create_dir(folder).expect("a folder");
    let save = |name: &str, pixel: &dyn Fn(u32, u32) -> u8| {
        GrayImage::from_fn(16, 16, |x, y| Luma([pixel(x, y)])).save(folder.join(name)).expect("a picture");
    };
    save("a.png", &|x, y| (x * 16 + y) as u8);
    save("b.png", &|x, y| if (x + y) % 2 == 0 { 255 } else { 0 });
    save("c.png", &|x, y| if x.min(y) == 0 || x.max(y) == 15 { 200 } else { 17 });
}

fn grey(path: &Path) -> GrayImage {
    image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_luma8()
}

/// Largest difference between pixels of two pictures.
fn difference(a: &GrayImage, b: &GrayImage) -> u8 {
    assert_eq!(a.dimensions(), b.dimensions());
    a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().expect("pixels")
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

/// Shapes of the tensors of a file.
fn shapes(path: &Path) -> Vec<(String, Vec<usize>)> {
    let bytes = fs::read(path).expect("a file");
    let file = safetensors::SafeTensors::deserialize(&bytes).expect("tensors");
    let mut shapes: Vec<_> = file.iter().map(|(name, tensor)| (name.to_owned(), tensor.shape().to_vec())).collect();
    shapes.sort();
    shapes
}

fn listing(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn codes_with_deviations_are_whole_images() {
    let dir = workplace();
    pictures(&dir.path().join("in"));
    for (variant, kept) in [("noise", Some(256)), ("center", Some(248)), ("flow", None)] {
        let set = format!("model.variant={variant}");
        // A flow on all pixels needs one pass per pixel to decode: couplings have one.
        let coupling = if variant == "flow" { vec!["--set", "model.prior.kind=real-nvp"] } else { Vec::new() };
        train(dir.path(), variant, &[&["--set", &set][..], &coupling].concat());
        let (codes, out, means) =
            (format!("{variant}.safetensors"), format!("out-{variant}/"), format!("means-{variant}"));
        succeed(dir.path(), &["encode", variant, "in", "--out", &codes]);
        let width = if variant == "flow" { 256 } else { 8 };
        let mut expected = vec![("z".to_owned(), vec![3, width]), ("z0".to_owned(), vec![3, width])];
        expected.extend(kept.map(|m| ("deviations".to_owned(), vec![3, m])));
        expected.sort();
        assert_eq!(shapes(&dir.path().join(&codes)), expected);
        succeed(dir.path(), &["decode", variant, &codes, "--out", &out]);
        succeed(dir.path(), &["decode", variant, &codes, "--no-deviations", "--out", &(means.clone() + "/")]);
        for (index, name) in ["a.png", "b.png", "c.png"].iter().enumerate() {
            let original = grey(&dir.path().join("in").join(name));
            let file = format!("{index:05}-{name}");
            let largest = difference(&original, &grey(&dir.path().join(&out).join(&file)));
            assert_eq!(largest, 0, "{variant}, {name}");
            let mean = difference(&original, &grey(&dir.path().join(&means).join(&file)));
            assert_eq!(mean > 20, kept.is_some(), "{variant}, {name}: {mean}");
        }
        let line = json(succeed(dir.path(), &["encode", variant, "in/b.png", "--deviations"]).trim_end());
        assert_eq!((&line["name"], line["z"].as_array().map(Vec::len)), (&"b.png".into(), Some(width)));
        assert_eq!(line["deviations"].as_array().map(Vec::len), kept);
    }
    let out = run(dir.path(), &["decode", "noise", "center.safetensors"]);
    assert_eq!(out.status.code(), Some(2), "deviations of another number");
    train(dir.path(), "longer", &["--set", "train.steps=61"]);
    let out = run(dir.path(), &["decode", "longer", "noise.safetensors"]);
    assert!(out.status.success() && String::from_utf8_lossy(&out.stderr).contains("another checkpoint"));
}

#[test]
fn images_go_through_the_model_into_pictures_and_tables() {
    let dir = workplace();
    let path = |name: &str| dir.path().join(name);
    let size = |name: &str| grey(&path(name)).dimensions();
    train(dir.path(), "run", &[]);
    pictures(&path("in"));
    // Tiles of 64 pixels with lines of 2 around them.
    let output = succeed(dir.path(), &["reconstruct", "run", "-n", "5", "--out", "pairs.png"]);
    assert!(output.contains("reconstruction_mse") && output.contains('[') && output.contains("pairs.png"), "{output}");
    assert_eq!(size("pairs.png"), (5 * 66 + 2, 2 * 66 + 2));
    succeed(dir.path(), &["reconstruct", "run", "-n", "40", "--out", "pairs.safetensors"]);
    let both = ["originals", "reconstructions"].map(|name| (name.to_owned(), vec![40, 1, 16, 16]));
    assert_eq!(shapes(&path("pairs.safetensors")), both);

    let denoise = ["denoise", "run", "in", "--noise", "0.3", "--out", "rows.png", "--json"];
    let report = json(&succeed(dir.path(), &denoise));
    let value = |metric: &str| {
        let row = report["rows"].as_array().and_then(|rows| rows.iter().find(|row| row["metric"] == metric));
        row.and_then(|row| row["value"].as_f64()).unwrap_or_else(|| panic!("{metric}: {report}"))
    };
    // The variance of the noise is 0.09; what is cut off makes it smaller.
    assert!((0.03..0.09).contains(&value("mse_noisy")) && value("mse_denoised") > 0.0, "{report}");
    assert_eq!(size("rows.png"), (3 * 66 + 2, 3 * 66 + 2));
    let report = json(&succeed(dir.path(), &["denoise", "run", "in", "--noise", "0", "--out", "two.png", "--json"]));
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(1), "without noise nothing is known of the clean image");
    assert_eq!(size("two.png"), (3 * 66 + 2, 2 * 66 + 2));

    succeed(dir.path(), &["interpolate", "run", "0", "in/b.png", "--out", "path.png"]);
    assert_eq!(size("path.png"), (8 * 66 + 2, 66 + 2));
    succeed(dir.path(), &["interpolate", "run", "in/a.png", "in/b.png", "--steps", "3", "--deviations", "--out", "p/"]);
    assert_eq!(difference(&grey(&path("p/00000-step-00.png")), &grey(&path("in/a.png"))), 0);
    assert!(difference(&grey(&path("p/00001-step-01.png")), &grey(&path("in/a.png"))) > 20);

    succeed(dir.path(), &["sample", "run", "-n", "6", "--out", "samples.png"]);
    assert_eq!(size("samples.png"), (3 * 66 + 2, 2 * 66 + 2));
    let whole = succeed(dir.path(), &["sample", "run", "-n", "5", "--out", "-"]);
    let part = succeed(dir.path(), &["sample", "run", "-n", "2", "--first", "3", "--out", "-"]);
    assert_eq!(part.lines().collect::<Vec<_>>(), whole.lines().skip(3).collect::<Vec<_>>());
    assert_ne!(part, succeed(dir.path(), &["sample", "run", "-n", "2", "--first", "3", "--mean", "--out", "-"]));
    succeed(dir.path(), &["sample", "run", "-n", "3", "--temperature", "0", "--mean", "--out", "cold.jsonl"]);
    let cold = fs::read_to_string(path("cold.jsonl")).expect("lines");
    let cold: Vec<Value> = cold.lines().map(|line| json(line)["pixels"].clone()).collect();
    assert!(cold.len() == 3 && cold[0] == cold[2], "at temperature 0 all mean images are one");
    assert!(succeed(dir.path(), &["inspect", "run"]).contains("variant noise, latent of 8"));
}

#[test]
fn scores_rank_images_and_name_their_estimator() {
    let dir = workplace();
    train(dir.path(), "run", &[]);
    let score = |args: &[&str]| json(&succeed(dir.path(), &[&["score", "run", "--json"], args].concat()));
    let nats = |report: &Value| -> Vec<f64> {
        report["items"].as_array().expect("items").iter().map(|item| item["nats"].as_f64().expect("nats")).collect()
    };
    // The test split by name and the same images from files.
    succeed(dir.path(), &["encode", "run", "-n", "6", "--out", "codes.safetensors"]);
    succeed(dir.path(), &["decode", "run", "codes.safetensors", "--out", "glyphs/"]);
    let split = score(&["-n", "6"]);
    assert_eq!(nats(&score(&["glyphs"])), nats(&split));
    assert!(
        split["estimator"] == "importance-4-gauss-newton"
            && split["meaning"].as_str().is_some_and(|m| m.contains("uniformly dequantised"))
    );
    assert!(split["items"][0]["standard_error"].as_f64().is_some_and(|e| e > 0.0), "{split}");
    let mut pixels = [0, 0, 8, 3, 0, 0, 0, 6, 0, 0, 0, 16, 0, 0, 0, 16].to_vec();
    for i in 0..6 {
        let file = listing(&dir.path().join("glyphs")).into_iter().nth(i).expect("six files");
        pixels.extend(grey(&dir.path().join("glyphs").join(file)).into_raw());
    }
    fs::write(dir.path().join("glyphs.idx"), &pixels).expect("a file");
    assert_eq!(nats(&score(&["glyphs.idx"])), nats(&split));

    // A picture of noise among glyphs is the least likely.
    let mut state = 1u32;
    let noise = GrayImage::from_fn(16, 16, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Luma([(state >> 24) as u8])
    });
    noise.save(dir.path().join("glyphs/00003-noise.png")).expect("a picture");
    let ranked = score(&["glyphs", "--sort", "--out", "scores.jsonl"]);
    assert!(nats(&ranked).is_sorted_by(|a, b| a >= b) && ranked["items"][0]["name"] == "00003-noise.png", "{ranked}");
    let lines = fs::read_to_string(dir.path().join("scores.jsonl")).expect("lines");
    assert_eq!(
        (lines.lines().count(), json(lines.lines().next().expect("a line"))["name"].clone()),
        (7, "00003-noise.png".into())
    );
    let table = succeed(dir.path(), &["score", "run", "glyphs", "--sort"]);
    assert!(table.lines().next().is_some_and(|line| line.ends_with("00003-noise.png")), "{table}");
    assert!(table.contains("uniformly dequantised") && table.contains("4 draws (gauss-newton)"), "{table}");

    // The published estimator leaves ln K out.
    let [ours, theirs] = ["recognition", "published"].map(|name| nats(&score(&["-n", "3", "--estimator", name])));
    assert!(ours.iter().zip(&theirs).all(|(a, b)| (a - b - 4f64.ln()).abs() < 1e-9), "{ours:?} {theirs:?}");
}

#[test]
fn wrong_images_codes_and_options_are_refused_and_leave_nothing() {
    let dir = workplace();
    let path = |name: &str| dir.path().join(name);
    train(dir.path(), "run", &[]);
    train(dir.path(), "plain", &["--set", "model.variant=autoencoder", "--set", "train.steps=2"]);
    train(dir.path(), "exact", &["--set", "model.variant=center", "--set", "train.steps=2"]);
    train(dir.path(), "linear", &["--set", "model.variant=linear", "--set", "train.steps=2"]);
    assert!(super::train(dir.path(), 10, "map", &["--no-eval"]).status.success());
    GrayImage::new(16, 12).save(path("size.png")).expect("a picture");
    ImageBuffer::<Luma<u16>, _>::new(16, 16).save(path("deep.png")).expect("a picture");
    RgbImage::from_fn(16, 16, |x, _| image::Rgb([x as u8, 0, 0])).save(path("colour.png")).expect("a picture");
    GrayImage::new(16, 16).save(path("good.png")).expect("a picture");
    let bytes = fs::read(path("good.png")).expect("a picture");
    fs::write(path("cut.png"), &bytes[..bytes.len() / 2]).expect("a file");
    fs::create_dir(path("empty")).expect("a folder");
    fs::write(path("notes.txt"), "no images").expect("a file");
    fs::write(path("small.idx"), [0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 7, 7]).expect("a file");
    fs::create_dir(path("full")).expect("a folder");
    fs::write(path("full/mine.txt"), "keep").expect("a file");
    succeed(dir.path(), &["encode", "run", "-n", "2", "--out", "codes.safetensors"]);
    let codes = fs::read(path("codes.safetensors")).expect("codes");
    fs::write(path("cut.safetensors"), &codes[..codes.len() - 5]).expect("a file");
    poison(&path("run/checkpoints/last.safetensors"), &path("nan.safetensors"));
    let before = listing(dir.path());

    let long = "codes.safetensors";
    for (args, part) in [
        (vec!["encode", "run", "size.png", "--out", "o.safetensors"], "12 x 16 pixels"),
        (vec!["encode", "run", "deep.png", "--out", "o.jsonl"], "more than 8 bits"),
        (vec!["reconstruct", "run", "colour.png", "--out", "o.png"], "in colour and a grey image is wanted"),
        (vec!["reconstruct", "run", "empty", "--out", "o.png"], "holds no .png"),
        (vec!["denoise", "run", "cut.png", "--out", "o.png"], "cut.png"),
        (vec!["score", "run", "cut.png", "--out", "o.jsonl"], "cut.png"),
        (vec!["score", "run", "nowhere.png"], "nowhere.png"),
        (vec!["score", "run", "notes.txt"], "IDX"),
        (vec!["score", "run", "small.idx"], "shape [1, 2], the model takes 1 x 16 x 16"),
        (vec!["score", "nan.safetensors", "good.png"], "NaN"),
        (vec!["sample", "nan.safetensors", "--out", "o.png"], "nan.safetensors"),
        (vec!["encode", "run", "good.png", "--out", "o.png"], "use .safetensors, .jsonl"),
        (vec!["encode", "run", "-n", "0"], "at least 1"),
        (vec!["encode", "run", "--batch", "0"], "at least 1"),
        (vec!["decode", "run", "cut.safetensors", "--out", "o.png"], "truncated"),
        (vec!["decode", "run", "good.png", "--out", "o.png"], "no safetensors file"),
        (vec!["decode", "exact", long, "--out", "o/"], "`deviations`"),
        (vec!["decode", "run", long, "--out", "full"], "not empty"),
        (vec!["decode", "run", long, "--out", "o.bmp"], "names no format"),
        (vec!["denoise", "run", "good.png", "--noise=-1", "--out", "o.png"], "0 or a positive number"),
        (vec!["denoise", "run", "good.png", "--features", "run", "--out", "o.png"], "no classifier of these items"),
        (vec!["denoise", "run", "good.png", "--features", "run", "--noise", "0"], "there are none"),
        (vec!["interpolate", "run", "1", "99999", "--out", "o.png"], "no image 99999 in a test split of 5000"),
        (vec!["interpolate", "run", "1", "two", "--out", "o.png"], "neither a picture nor the number"),
        (vec!["interpolate", "run", "1", "2", "--steps", "1", "--out", "o.png"], "at least 2"),
        (vec!["interpolate", "plain", "1", "2", "--deviations", "--out", "o.png"], "keeps no deviations"),
        (
            vec!["sample", "run", "--nfe", "2", "--sampler", "heun", "--out", "o.png"],
            "--nfe, --sampler: only for flow maps",
        ),
        (vec!["sample", "run", "--temperature=-1", "--out", "o.png"], "0 or from 1e-30"),
        (vec!["sample", "run", "--out", "o.txt"], "names no format"),
        (vec!["sample", "map", "--mean", "--out", "o.txt"], "--mean: only for autoencoders"),
        (vec!["eval", "run", "--nfe", "2"], "--nfe: only for flow maps"),
        (vec!["eval", "map", "--draws", "2"], "--draws: only for autoencoders"),
        (vec!["score", "map", "--estimator", "published"], "only for autoencoders"),
        (vec!["score", "exact", "--draws", "9"], "only for models without an exact density"),
        (vec!["score", "linear", "--estimator", "recognition"], "give --noise-scale"),
        (vec!["score", "run", "--noise-scale", "0.1"], "recognition and published"),
        (vec!["sample", "plain", "--out", "o.png"], "no prior to draw from"),
        (vec!["score", "plain", "--out", "o.jsonl"], "no density"),
        (vec!["encode", "map", "--out", "o.jsonl"], "a flow map cannot encode images"),
        (vec!["decode", "map", long, "--out", "o.png"], "a flow map cannot decode images"),
        (vec!["reconstruct", "map"], "a flow map cannot reconstruct images"),
        (vec!["denoise", "map"], "a flow map cannot denoise images"),
        (vec!["interpolate", "map", "1", "2"], "a flow map cannot interpolate"),
    ] {
        let message = refuse(dir.path(), &args, 2);
        assert!(message.contains(part), "{args:?}\n{message}");
        assert_eq!(listing(dir.path()), before, "{args:?} left something");
    }
    assert_eq!(listing(&path("full")).len(), 1);
    succeed(dir.path(), &["encode", "run", "size.png", "--resize", "lanczos3", "--out", "resized.jsonl"]);
}

/// A copy of a checkpoint with one averaged weight that is not a number.
fn poison(from: &Path, to: &Path) {
    let mut bytes = fs::read(from).expect("a checkpoint");
    let length = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).expect("a header");
    let tensors = header.as_object().expect("an object");
    let (_, tensor) =
        tensors.iter().find(|(name, t)| name.starts_with("ema.") && t["dtype"] == "F32").expect("a weight");
    let at = 8 + length + tensor["data_offsets"][0].as_u64().expect("an offset") as usize;
    bytes[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(to, bytes).expect("a file");
}

/// A run of `glyphs-aef` whose prior is a small flow map.
fn train_map(folder: &Path, out: &str, more: &[&str]) {
    let prior = "model.prior={ kind = 'flow-map', network = { width = 16, blocks = 1 } }";
    train(folder, out, &[&["--set", prior, "--set", "model.latent=2", "--set", "eval.nfe=[1,2]"], more].concat());
}

#[test]
fn a_flow_map_as_the_prior_draws_in_few_evaluations_and_has_three_densities() {
    let dir = workplace();
    for variant in ["noise", "vae", "learned-core"] {
        train_map(dir.path(), variant, &["--set", &format!("model.variant={variant}")]);
        succeed(dir.path(), &["sample", variant, "-n", "4", "--nfe", "2", "--out", "map.png"]);
        succeed(dir.path(), &["sample", variant, "-n", "4", "--nfe", "16", "--sampler", "euler", "--out", "path.png"]);
        assert!(succeed(dir.path(), &["inspect", variant]).contains("flow map as the prior"));
        for density in ["bound", "ode", "map"] {
            let args = ["score", variant, "-n", "3", "--draws", "4", "--density", density, "--json"];
            let report = json(&succeed(dir.path(), &args));
            let estimator = report["estimator"].as_str().expect("a name");
            assert!(estimator.contains(density), "{variant}: {estimator}");
            assert!(report["mean"]["nats"].as_f64().is_some_and(f64::is_finite), "{variant}, {density}: {report}");
            if density == "bound" {
                let error = report["items"][0]["standard_error"].as_f64();
                assert!(error.is_some(), "the error of a mean is known, whatever its size: {report}");
            }
            let meaning = report["meaning"].as_str().expect("a text");
            assert_eq!(meaning.contains("come back"), density == "map", "{meaning}");
        }
        let args = ["eval", variant, "--images", "3", "--draws", "4", "--density", "bound", "--json"];
        let rows = json(&succeed(dir.path(), &args))["rows"].as_array().expect("rows").clone();
        let row =
            |name: &str| rows.iter().find(|row| row["metric"] == name).unwrap_or_else(|| panic!("{name}: {rows:?}"));
        assert_eq!(
            (&row("bits_per_dim")["estimator"], row("negative_elbo")["unit"].as_str()),
            (&"bound-4".into(), Some("nats"))
        );
    }
    train(dir.path(), "plain", &[]);
    for (args, part) in [
        (vec!["sample", "plain", "--nfe", "2", "--out", "o.png"], "--nfe: only for flow maps"),
        (vec!["score", "plain", "--density", "ode"], "--density: only for models with a flow map as the prior"),
        (vec!["eval", "plain", "--density", "ode"], "--density: only for flow maps"),
        (
            vec!["sample", "noise", "--sampler", "heun", "--out", "o.png"],
            "latents are drawn with --sampler map or euler",
        ),
        (vec!["score", "noise", "--density", "exact"], "a density is one of bound, ode, map"),
        (
            vec!["train", "glyphs-aef", "--set", "model.variant=iwae", "--set", "model.prior={ kind = 'flow-map' }"],
            "needs noise on the latent",
        ),
    ] {
        let message = refuse(dir.path(), &args, 2);
        assert!(message.contains(part), "{args:?}: {message}");
    }
}

#[test]
fn categorical_data_have_autoencoders_that_draw_score_and_are_measured() {
    let dir = workplace();
    let train = |out: &str, more: &[&str]| {
        let quick = ["train.steps=20", "train.batch=16", "train.warmup=2", "eval.samples=20", "eval.bound_items=4"];
        let small = ["eval.bound_draws=2", "model.latent=3", "model.prior.network.width=16"];
        let mut args = vec!["train", "glyphs-map-aef", "--device", "cpu", "--out", out];
        quick.iter().chain(&small).for_each(|setting| args.extend(["--set", setting]));
        args.extend(more);
        succeed(dir.path(), &args)
    };
    let output = train("digits", &["--set", "data.examples=300"]);
    for part in ["samples with 4 network evaluations", "bound_bits_per_dim", "marginal_bits_per_dim", "valid"] {
        assert!(output.contains(part), "{part}: {output}");
    }
    let mlp = ["--set", "model.network={ kind = 'mlp', width = 16 }"];
    train("words", &[&["--set", "data.set=echo"][..], &mlp].concat());
    let maf = ["--set", "model.prior={ kind = 'maf', layers = 1, hidden = 8 }"];
    let quick = ["train.steps=5", "eval.samples=20", "eval.bound_items=2", "eval.bound_draws=2"];
    let mut args = vec!["train", "glyphs-map-aef", "--device", "cpu", "--out", "pairs", "--set", "data.set=checker"];
    quick.iter().for_each(|setting| args.extend(["--set", setting]));
    succeed(dir.path(), &[&args[..], &mlp, &maf].concat());
    succeed(dir.path(), &["sample", "digits", "-n", "6", "--nfe", "2", "--draw", "--out", "digits.png"]);
    let lines = succeed(dir.path(), &["sample", "words", "-n", "3", "--sampler", "euler", "--nfe", "8", "--out", "-"]);
    assert_eq!(lines.lines().count(), 3);
    for (run, density, estimator) in [
        ("digits", "bound", "elbo-3"),
        ("digits", "map", "importance-3-map"),
        ("words", "ode", "importance-3-ode"),
        ("pairs", "ode", "importance-3"),
    ] {
        let report =
            json(&succeed(dir.path(), &["score", run, "-n", "3", "--draws", "3", "--density", density, "--json"]));
        assert_eq!(report["estimator"], estimator);
        assert!(report["mean"]["nats"].as_f64().is_some_and(|nats| nats > 0.0), "{report}");
    }
    assert!(succeed(dir.path(), &["inspect", "words"]).contains("latent of 3, a flow map as the prior"));
    let rows = json(&succeed(dir.path(), &["eval", "pairs", "-n", "20", "--nfe", "1", "--json"]))["rows"].clone();
    let names: BTreeSet<&str> =
        rows.as_array().expect("rows").iter().filter_map(|row| row["metric"].as_str()).collect();
    assert!(names.contains("marginal_excess") && names.contains("bound_excess"), "{names:?}");
    for (args, part) in [
        (vec!["sample", "digits", "--label", "3"], "only for other models"),
        (
            vec!["sample", "digits", "--sampler", "heun", "--nfe", "3"],
            "latents are drawn by the samplers map and euler",
        ),
        (vec!["steer", "digits", "--reward", "ink", "--forbid", "1"], "only for flow maps"),
        (vec!["steer", "digits", "--reward", "ink", "--method", "tilt"], "steer an autoencoder by smc"),
        (vec!["interpolate", "digits", "0", "100000"], "there is no item 100000"),
    ] {
        let message = refuse(dir.path(), &args, 2);
        assert!(message.contains(part), "{args:?}: {message}");
    }
}

/// Trains a small autoencoder of glyphs in classes.
fn small_digits(folder: &Path, out: &str, more: &[&str]) {
    let quick = ["train.steps=20", "train.batch=16", "train.warmup=2", "data.examples=300", "model.latent=3"];
    let mut args = vec!["train", "glyphs-map-aef", "--device", "cpu", "--no-eval", "--out", out];
    quick.iter().for_each(|setting| args.extend(["--set", setting]));
    args.extend(more);
    succeed(folder, &args);
}

#[test]
fn a_coupling_and_a_second_stage_are_trained_on_a_finished_run() {
    let dir = workplace();
    let maf = ["--set", "model.prior={ kind = 'maf', layers = 1, hidden = 8 }"];
    small_digits(dir.path(), "first", &maf);
    let coupling = ["--set", "model.coupling={}", "--set", "model.from=first", "--set", "eval.bound_items=2"];
    small_digits(dir.path(), "second", &[&maf[..], &coupling].concat());
    let draw = |run: &str, nfe: &str, out: &str| {
        succeed(dir.path(), &["sample", run, "-n", "5", "--nfe", nfe, "--out", out]);
        fs::read(dir.path().join(out)).expect("it was written")
    };
    // Two evaluations go through the prior and the decoder, which are those of the first run.
    assert_eq!(draw("first", "2", "a.csv"), draw("second", "2", "b.csv"));
    assert_ne!(draw("first", "1", "c.csv"), draw("second", "1", "d.csv"));
    let rows = json(&succeed(dir.path(), &["eval", "second", "-n", "10", "--nfe", "1", "--json"]))["rows"].clone();
    let names: BTreeSet<&str> =
        rows.as_array().expect("rows").iter().filter_map(|row| row["metric"].as_str()).collect();
    assert!(names.contains("one_step_marginal_bits_per_dim"), "{names:?}");
    let args = ["train", "glyphs-map-aef", "--device", "cpu", "--set", "model.from=first", "--set", "data.set=echo"];
    let mlp = ["--set", "model.network={ kind = 'mlp' }", "--out", "third"];
    let message = refuse(dir.path(), &[&args[..], &mlp].concat(), 2);
    assert!(message.contains("trained on other data"), "{message}");
    assert!(!dir.path().join("third").exists());
}

#[test]
fn items_in_classes_are_encoded_decoded_steered_and_served() {
    let dir = workplace();
    small_digits(dir.path(), "digits", &[]);
    let words = ["--set", "data={ set = 'echo' }", "--set", "model.network={ kind = 'mlp', width = 16 }"];
    small_digits(dir.path(), "words", &words);
    for run in ["digits", "words"] {
        succeed(dir.path(), &["encode", run, "-n", "4", "--out", "codes.safetensors"]);
        let again = succeed(dir.path(), &["decode", run, "codes.safetensors", "--out", "-"]);
        assert_eq!(again.lines().count(), 4, "{run}: {again}");
        let lines = succeed(dir.path(), &["encode", run, "-n", "2"]);
        assert_eq!(json(lines.lines().next().expect("a line"))["z"].as_array().map(Vec::len), Some(3), "{run}");
        let report = json(&succeed(dir.path(), &["reconstruct", run, "-n", "20", "--json", "--out", "both.csv"]));
        let rows = report["rows"].as_array().expect("rows");
        let value = |name: &str| {
            let row = rows.iter().find(|row| row["metric"] == name).unwrap_or_else(|| panic!("{name}: {report}"));
            row["value"].as_f64().expect("a number")
        };
        assert!((0.0..1.0).contains(&value("wrong_sites")) && value("reconstruction_nats") > 0.0, "{report}");
        let path = succeed(dir.path(), &["interpolate", run, "0", "7", "--steps", "5", "--out", "-"]);
        assert_eq!(path.lines().count(), 5, "{run}");
        assert_eq!(succeed(dir.path(), &["score", run, "-n", "3", "--draws", "2", "--sort"]).lines().count(), 4);
    }
    let reward = ["--reward", "ink", "--strength", "100", "-n", "4", "--nfe", "3", "--particles", "16", "--json"];
    for method in ["smc", "best-of", "gradient"] {
        let found = json(&succeed(dir.path(), &[&["steer", "digits", "--method", method][..], &reward].concat()));
        let mean = |side: &str| {
            let items = found[side].as_array().expect("items");
            items.iter().filter_map(|item| item["reward"].as_f64()).sum::<f64>() / items.len() as f64
        };
        assert!(mean("items") > mean("before"), "{method}: {} and {}", mean("items"), mean("before"));
    }
    fs::copy(dir.path().join("digits/checkpoints/last.safetensors"), dir.path().join("digits.safetensors"))
        .expect("copied");
    let path = dir.path().join("digits");
    let server = Server::start(&[path.to_str().expect("UTF-8")], &[]);
    let sampled = server.ask("/v1/sample", &serde_json::json!({"model": "digits", "count": 3, "nfe": 2}));
    assert_eq!(sampled["items"][0]["nfe"], 2);
    let items = ids(&sampled["items"]);
    succeed(dir.path(), &["sample", "digits", "-n", "3", "--nfe", "2", "--out", "three.jsonl"]);
    let ours = fs::read_to_string(dir.path().join("three.jsonl")).expect("it was written");
    let ours: Vec<serde_json::Value> = ours.lines().map(json).collect();
    assert_eq!(items, ids(&ours.into()));
    let scores = server.ask("/v1/score", &serde_json::json!({"model": "digits", "items": items, "draws": 2}));
    assert!(scores["nats"].as_array().expect("nats").iter().all(|nats| nats.as_f64().is_some_and(|n| n > 0.0)));
    let codes = server.ask("/v1/encode", &serde_json::json!({"model": "digits", "items": items}));
    let decoded = server.ask("/v1/decode", &serde_json::json!({"model": "digits", "codes": codes["codes"]}));
    let again = server.ask("/v1/reconstruct", &serde_json::json!({"model": "digits", "items": items}));
    assert_eq!(ids(&decoded["items"]), ids(&again["items"]));
    let png = server.post("/v1/reconstruct", "image/png", &serde_json::json!({"model": "digits", "items": items}));
    assert_eq!((png.status, png.kind.as_str()), (200, "image/png"));
    let steered = server.ask("/v1/steer", &serde_json::json!({"model": "digits", "reward": "4*ink", "count": 2}));
    assert_eq!(steered["items"].as_array().map(Vec::len), Some(2));
    let wrong = server.post("/v1/encode", "application/json", &serde_json::json!({"model": "digits", "images": [[0]]}));
    assert_eq!(wrong.status, 422, "{}", wrong.text());
}
