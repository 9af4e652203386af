//! Sequences: trained from a file, sampled into one, with lengths, labels, patterns and rewards, scored and evaluated.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::serve::Server;
use super::{refuse, run, succeed, workplace};

/// Words of DNA of 6 to 9 letters: a motif whose last letter the label decides, then noise.
fn write_sequences(folder: &Path) {
    let mut text = String::new();
    for i in 0u32..600 {
        let noise = i.wrapping_mul(2_654_435_761) >> 8;
        let (kind, last) = if i % 2 == 0 { ("even", 'A') } else { ("odd", 'C') };
        let tail: String =
            (0..2 + noise % 4).map(|j| ['A', 'C', 'G', 'T'][(noise >> (2 * j + 4)) as usize % 4]).collect();
        text += &format!(">s{i} kind={kind}\nTAT\n{last}{tail}\n");
    }
    fs::write(folder.join("words.fasta"), text).unwrap();
}

fn trained(folder: &Path) {
    let settings = [
        "train.steps=400",
        "train.batch=64",
        "train.accumulate=1",
        "train.lr=3e-3",
        "train.validate_every=1000",
        // A perceptron for a few hundred steps: the optimiser and the schedule of the preset are for its own network and minutes.
        "train.optimizer={kind='adamw'}",
        "train.schedule={kind='cosine'}",
        "model.network={kind='mlp',width=48,blocks=2,time_width=16}",
        "model.condition={kind='observed',labels=true}",
        "data.label={by={header='kind=([a-z]+)'}}",
        "eval.samples=200",
        "eval.bound_items=16",
    ];
    let mut args = vec!["train", "words.fasta", "--out", "run"];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let report = succeed(folder, &args);
    for part in ["kmer_kl_3", "length_tv", "motif_in_place", "Markov order 3", "bits_per_letter"] {
        assert!(report.contains(part), "{part}\n{report}");
    }
}

/// The letters of the records of a FASTA file, with their headers.
fn fasta(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap();
    text.split('>')
        .skip(1)
        .map(|record| {
            let (header, letters) = record.split_once('\n').unwrap();
            (header.to_owned(), letters.replace('\n', ""))
        })
        .collect()
}

#[test]
fn sequences_go_all_the_way() {
    let place = workplace();
    let folder = place.path();
    write_sequences(folder);
    let said = succeed(folder, &["data", "info", "words.fasta"]);
    for part in
        ["9 sites of 4 classes", "FASTA: 600 records", "alphabet dna", "lengths 6 to 9", "are copies of another"]
    {
        assert!(said.contains(part), "{part}\n{said}");
    }
    trained(folder);
    for picture in ["nfe1-logo.svg", "nfe4-positions.svg", "nfe4-lengths.svg"] {
        assert!(folder.join("run/samples").join(picture).is_file(), "{picture}");
    }
    assert!(succeed(folder, &["inspect", "run"]).contains("label names: 0 even, 1 odd"));

    // Lengths as in the data; what is written is read again.
    succeed(folder, &["sample", "run", "-n", "200", "--nfe", "4", "--out", "new.fasta"]);
    let drawn = fasta(&folder.join("new.fasta"));
    assert!(drawn.len() == 200 && drawn.iter().all(|(_, letters)| (6..=9).contains(&letters.len())));
    let right = drawn.iter().filter(|(_, letters)| letters.starts_with("TAT")).count();
    assert!(right > 150, "{right} of 200 begin with the motif");
    let again = succeed(folder, &["data", "info", "new.fasta"]);
    assert!(again.contains("FASTA: 200 records") && again.contains("alphabet dna"), "{again}");

    // One length, one label, one pattern.
    succeed(
        folder,
        &["sample", "run", "-n", "40", "--nfe", "4", "--length", "7", "--label", "odd", "--out", "odd.csv"],
    );
    let text = fs::read_to_string(folder.join("odd.csv")).unwrap();
    assert!(text.starts_with("sequence,length,label\n") && text.lines().skip(1).all(|line| line.ends_with(",7,odd")));
    let told = text.lines().skip(1).filter(|line| line.as_bytes()[3] == b'C').count();
    assert!(told > 30, "{told} of 40 have the letter of their label");
    succeed(folder, &["sample", "run", "-n", "40", "--infill", "4:CRNG", "--out", "some.txt"]);
    for line in fs::read_to_string(folder.join("some.txt")).unwrap().lines() {
        let letters = line.as_bytes();
        assert!(letters[3] == b'C' && b"AG".contains(&letters[4]) && letters[6] == b'G', "{line}");
    }
    let objects = succeed(folder, &["sample", "run", "-n", "2", "--prefix", "TATC", "--label", "1", "--out", "-"]);
    let first: serde_json::Value = serde_json::from_str(objects.lines().next().unwrap()).unwrap();
    assert!(first["sequence"].as_str().unwrap().starts_with("TATC") && first["label_name"] == "odd", "{first}");
    succeed(folder, &["steer", "run", "--reward", "3*share(\"G\") + has(\"TAT\")", "-n", "8", "--method", "best-of"]);

    // A bound for sequences of one's own.
    fs::write(folder.join("mine.txt"), "TATAGG\ntatcgga\n").unwrap();
    let scores = succeed(folder, &["score", "run", "mine.txt", "--draws", "16"]);
    assert!(scores.contains("bits/letter") && scores.contains("TATCGGA"), "{scores}");
    fs::write(folder.join("bad.txt"), "TATAGG\nTATXGGA\n").unwrap();
    let server = Server::start(&[], &[folder.join("run").to_str().expect("UTF-8")]);
    let score = |body: serde_json::Value| server.post("/v1/score", "application/json", &body);
    let texts = score(json!({"model": "run", "texts": ["TATAGG", "tatcgga"], "draws": 4})).json();
    let sites = server.get("/v1/models").json()["models"][0]["sites"].as_u64().expect("a number") as usize;
    let classes =
        |text: &str| (0..sites).map(|i| text.chars().nth(i).and_then(|letter| "ACGT".find(letter))).collect::<Vec<_>>();
    let items = [classes("TATAGG"), classes("TATCGGA")];
    assert_eq!(score(json!({"model": "run", "items": items, "draws": 4})).json()["nats"], texts["nats"]);
    assert!(texts["nats"].as_array().is_some_and(|nats| nats.iter().all(|nats| nats.as_f64() > Some(0.0))), "{texts}");
    let mut broken = classes("TATAGG");
    broken.swap(0, sites - 1);
    let refused = score(json!({"model": "run", "items": [broken]}));
    assert!(refused.status == 422 && refused.text().contains("none after the first"), "{}", refused.text());
    assert!(score(json!({"model": "run", "texts": ["TATXGGA"]})).text().contains("the letter 'X'"));
    drop(server);

    for (args, part) in [
        (&["sample", "run", "--length", "10"][..], "at most 9 letters"),
        (&["sample", "run", "--length", "3", "--infill", "TATA"], "no room for the 4 letters"),
        (&["sample", "run", "--infill", "TAT!"], "none of the letters ACGT"),
        (&["sample", "run", "--infill", "8:ACG"], "ends at letter 10"),
        (&["sample", "run", "--label", "purple"], "even, odd"),
        (&["sample", "run", "--out", "x.smi"], "only molecules"),
        (&["score", "run", "bad.txt"], "line 2: the letter 'X'"),
        (&["steer", "run", "--reward", "charge"], "motifs"),
    ] {
        let message = refuse(folder, args, 2);
        assert!(message.contains(part), "{args:?}\n{message}");
    }
}

#[test]
fn folders_of_pictures_are_labels() {
    let place = workplace();
    let folder = place.path();
    for i in 0..24u8 {
        let class = folder.join("pictures").join(["dark", "light"][i as usize % 2]);
        fs::create_dir_all(&class).unwrap();
        let level = if i % 2 == 0 { i } else { 200 + i };
        image::GrayImage::from_pixel(8, 8, image::Luma([level])).save(class.join(format!("{i}.png"))).unwrap();
    }
    let said = succeed(folder, &["data", "info", "pictures"]);
    assert!(said.contains("24 pictures") && said.contains("2 classes, by folder: dark, light"), "{said}");
    let mut args = vec!["train", "pictures", "--out", "run", "--no-eval"];
    let settings = ["train.steps=40", "train.batch=8", "model.network={kind='mlp',width=16,blocks=1,time_width=8}"];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    succeed(folder, &args);
    assert!(succeed(folder, &["inspect", "run"]).contains("label names: 0 dark, 1 light"));
    let lines = succeed(folder, &["sample", "run", "--label", "Light", "-n", "2", "--out", "-"]);
    assert!(lines.lines().all(|line| line.contains("\"label\":1,\"label_name\":\"light\"")), "{lines}");
}

#[test]
fn a_list_of_names_is_a_set_of_sequences_and_a_tiny_run_ends_with_a_report() {
    let place = workplace();
    let folder = place.path();
    let names = ["ada", "bea", "carla", "dora", "emil", "franz", "gina", "hugo", "ina", "jan", "kim", "lea"];
    let text: String = (0..240).map(|i| format!("{}{}\r\n", names[i % 12], ["", "n", "na", "lo"][i / 60])).collect();
    fs::write(folder.join("names.txt"), text).unwrap();
    let mut args = vec!["train", "names.txt", "--out", "run"];
    let settings = [
        "train.steps=3",
        "train.batch=4",
        "model.network={kind='dilated',width=8,blocks=2,kernel=3,dilations=[1,2],cond=8,time_width=8}",
        "eval.samples=20",
        "eval.bound_items=2",
    ];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    let out = run(folder, &args);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{said}");
    assert!(said.contains("names.txt is read as sequences by the preset sequences"), "{said}");
    succeed(folder, &["eval", "run", "-n", "20", "--nfe", "1", "--bound-items", "0", "--pictures", "pictures"]);
    assert!(folder.join("pictures/nfe1-lengths.svg").is_file());
}
