//! Files of the user, described and trained on.

use std::fs;
use std::path::Path;

use crate::{refuse, run, succeed, workplace};

/// Everything that a command says.
fn says(folder: &Path, args: &[&str]) -> String {
    let out = run(folder, args);
    let all = [out.stdout, out.stderr].concat();
    let all = String::from_utf8(all).expect("UTF-8");
    assert!(out.status.success(), "{args:?}\n{all}");
    all
}

/// A table of sequences, whose letters are SMILES too, with two columns of molecules.
fn table() -> String {
    let rows = (1..=40).map(|n| {
        let chain = "C".repeat(n);
        format!("{},{chain}O,{chain}N,{n}\n", ["NFF", "BSCO", "CCC", "KLM"][n % 4])
    });
    "sequence,first,second,number\n".to_owned() + &rows.collect::<String>()
}

/// A recipe of a network that trains in a second.
fn recipe(folder: &Path, data: &str) {
    let text = format!(
        "name = 'm'\n[data]\n{data}\n[model]\nfamily = 'flow-map'\nnetwork = {{ kind = 'pair-transformer', width = 16, \
         pair_width = 8, blocks = 1, heads = 2, cond = 16 }}\n[train]\nsteps = 2\nbatch = 4\n"
    );
    fs::write(folder.join("m.toml"), text).expect("written");
}

#[test]
fn a_column_is_chosen_and_told_or_asked_for() {
    let dir = workplace();
    fs::write(dir.path().join("t.csv"), table()).expect("written");
    let message = refuse(dir.path(), &["data", "info", "t.csv"], 2);
    for part in ["more than one column", "2 (first line: \"first\") 100 %", "3 (first line: \"second\")", "data.column"]
    {
        assert!(message.contains(part), "{part}\n{message}");
    }
    let says = |args: &[&str]| says(dir.path(), &[args, &["--no-cache"]].concat());
    let chosen = says(&["data", "info", "t.csv", "--set", "data.column=second"]);
    assert!(chosen.contains("column 3 `second` of 4 (separated by commas), as named"), "{chosen}");
    let numbered = says(&["data", "info", "t.csv", "--set", "data.column=3"]);
    assert_eq!(numbered.replace("as numbered", "as named"), chosen);
    assert_eq!(says(&["data", "info", "t.csv", "--column", "second"]), chosen);

    // Training decides in the same way.
    recipe(dir.path(), "set = 'molecules'\npath = 't.csv'");
    let train = ["train", "m.toml", "--out", "run", "--no-eval", "--device", "cpu"];
    let shares = message.split_once("t.csv:").expect("the file is named").1;
    assert!(refuse(dir.path(), &train, 2).contains(shares));
    let trained = says(&[&train[..], &["--set", "data.column=second"]].concat());
    assert!(trained.contains("column 3 `second` of 4 (separated by commas), as named"), "{trained}");
}

#[test]
fn a_quote_that_stays_open_is_an_error_with_its_line() {
    let dir = workplace();
    let rows: String =
        (1..=40).map(|n| format!("{},{}\n", "C".repeat(n), if n == 20 { "\"open" } else { "x" })).collect();
    fs::write(dir.path().join("t.csv"), format!("smiles,name\n{rows}")).expect("written");
    let message = refuse(dir.path(), &["data", "info", "t.csv"], 2);
    assert!(message.contains("t.csv, line 21:") && message.contains("quote"), "{message}");
    recipe(dir.path(), "set = 'molecules'\npath = 't.csv'");
    let message = refuse(dir.path(), &["train", "m.toml", "--out", "run", "--device", "cpu"], 2);
    assert!(message.contains("t.csv, line 21:"), "{message}");
    assert!(!dir.path().join("run").exists());
}

#[test]
fn text_files_are_looked_into() {
    let dir = workplace();
    let molecules: String = (1..=40).map(|n| format!("{}O\n", "C".repeat(n))).collect();
    for name in ["m.txt", "m.tab"] {
        fs::write(dir.path().join(name), &molecules).expect("written");
        let said = says(dir.path(), &["data", "info", name]);
        assert!(said.contains("accepted 40 of 40") && said.contains("the only column"), "{said}");
    }
    let text = says(dir.path(), &["data", "info", "m.txt", "--set", "data.set=text", "--set", "data.length=8"]);
    assert!(text.contains("text, 8 sites of 3 classes"), "{text}");
    fs::write(dir.path().join("t.txt"), "to be or not to be\r\n".repeat(400)).expect("written");
    let text = says(dir.path(), &["data", "info", "t.txt"]);
    assert!(text.contains("64 sites of 8 classes") && text.contains("400 CR LF"), "{text}");
    let message = refuse(dir.path(), &["data", "info", "t.txt", "--set", "data.set=molecules"], 2);
    assert!(message.contains("no column reads as molecules"), "{message}");
}

#[test]
fn tables_are_looked_into() {
    let dir = workplace();
    let row = |n: usize| format!("p{n};{};{};{}\n", 20 + n % 60, ["Bern", "Basel", "?"][n % 3], n * n);
    let rows: String = (0..600).map(row).collect();
    for name in ["t.csv", "t.txt"] {
        fs::write(dir.path().join(name), format!("name;age;town;income\n{rows}")).expect("written");
        let said = says(dir.path(), &["data", "info", name, "--no-cache"]);
        for part in [
            "4 columns separated by semicolons; the first row is the header",
            "training 540, validation 30, test 30 items",
            "`name` is left out: almost every row has another text",
            "column  type         classes  missing  values",
            "age     integer           32           20 to 79",
            "town    categorical        3",
            "Basel, Bern",
        ] {
            assert!(said.contains(part), "{part}\n{said}");
        }
    }
    // As `train t.csv` reads it: by the settings of the preset.
    let bins = |n: &str| says(dir.path(), &["data", "info", "t.csv", "--no-cache", "--set", &format!("data.bins={n}")]);
    let said = says(dir.path(), &["data", "info", "t.csv", "--no-cache"]);
    assert!(said == bins("32") && said != bins("8"), "{said}");
    let skipped = says(dir.path(), &["data", "info", "t.csv", "--set", "data.columns={ age = 'skip' }"]);
    assert!(skipped.contains("`age` is left out: as the recipe says"), "{skipped}");
    fs::write(dir.path().join("t.csv"), format!("name;age;town;income\n{rows}x;old;Bern;3\n")).expect("written");
    let message = refuse(dir.path(), &["data", "info", "t.csv"], 2);
    assert!(message.contains("line 602") && message.contains("\"old\""), "{message}");
    let rare = says(dir.path(), &["data", "info", "t.csv", "--set", "data.missing_values=['old', '?']"]);
    assert!(rare.contains("column `age`: 32 bins; 1 missing"), "{rare}");
}

#[test]
fn refusals_are_told_at_the_start_and_kept_with_the_run() {
    let dir = workplace();
    let lines: String = (1..=60).map(|n| format!("{}{}\n", "C".repeat(n / 3 + 1), ["", "O", ".Cl"][n % 3])).collect();
    fs::write(dir.path().join("m.smi"), lines).expect("written");
    recipe(dir.path(), "set = 'molecules'\npath = 'm.smi'");
    let train = ["train", "m.toml", "--out", "run", "--no-eval", "--device", "cpu"];
    let said = says(dir.path(), &train);
    let line = "accepted 40 of 60; refused 20: not one component";
    assert!(said.lines().any(|said| said == line), "{said}");
    assert!(said.contains("first refused: line 2, \"C.Cl\""), "{said}");
    let kept = succeed(dir.path(), &["inspect", "run"]);
    assert!(kept.contains(line), "{kept}");
    succeed(dir.path(), &["eval", "run", "-n", "4", "--bound-items", "0", "--report", "report.json"]);
    let report = fs::read_to_string(dir.path().join("report.json")).expect("a report");
    assert!(report.contains(line), "{report}");
    // A new run says in its recipe how molecules are divided.
    let resolved = fs::read_to_string(dir.path().join("run/recipe.toml")).expect("a recipe");
    assert!(resolved.contains("split = \"molecules\""), "{resolved}");
}

#[test]
fn molecules_are_kept_in_the_cache_folder_and_nowhere_if_asked() {
    let dir = workplace();
    let lines: String = (1..=40).map(|n| format!("{}\n", "C".repeat(n))).collect();
    fs::write(dir.path().join("m.smi"), lines).expect("written");
    let info = ["data", "info", "m.smi", "--data-dir", "."];
    let said = says(dir.path(), &[&info[..], &["--no-cache"]].concat());
    assert!(!said.contains("kept") && !dir.path().join("cache").exists(), "{said}");
    let said = says(dir.path(), &info);
    assert!(said.contains("--no-cache"), "{said}");
    let prepared = dir.path().join("cache/pushforward/prepared");
    assert_eq!(fs::read_dir(prepared).expect("the cache folder").count(), 1);
    assert!(!dir.path().join("prepared").exists(), "the data folder is left alone");
}

#[test]
fn a_set_decides_its_network() {
    let dir = workplace();
    let lines: String = (1..=40).map(|n| format!("{}O\n", "C".repeat(n / 4 + 1))).collect();
    fs::write(dir.path().join("m.smi"), lines).expect("written");
    let own = ["--set", "data.set=molecules", "--set", "data.path=m.smi", "--set", "train.steps=1"];
    let small = ["--no-eval", "--device", "cpu", "--set", "train.batch=4"];
    succeed(dir.path(), &[&["train"], &own[..], &small].concat());
    let resolved = fs::read_to_string(dir.path().join("runs/molecules/recipe.toml")).expect("a recipe");
    assert!(resolved.contains("kind = \"pair-transformer\""), "{resolved}");
    let message = refuse(dir.path(), &[&["train", "glyphs"], &own[..], &small].concat(), 2);
    assert!(message.contains("made for images") && message.contains("pushforward train small-molecules"), "{message}");
}

#[cfg(unix)]
#[test]
fn files_without_an_end_and_damaged_tokenizers_are_errors() {
    let dir = workplace();
    for args in [
        vec!["data", "info", "/dev/zero"],
        vec!["data", "info", "/dev/zero", "--set", "data.set=molecules"],
        vec!["train", "--set", "data.set=text", "--set", "data.path=/dev/zero", "--out", "run"],
        vec!["train", "/dev/zero"],
    ] {
        let message = refuse(dir.path(), &args, 2);
        assert!(message.contains("/dev/zero") && message.contains("more than"), "{message}");
    }
    fs::write(dir.path().join("t.txt"), "to be or not to be\n".repeat(100)).expect("written");
    let model = r#""model": {"type": "WordLevel", "unk_token": "to", "vocab": {"to": 0, "be": 1, "or": 2, "not": 3}}"#;
    let tokenizer = |normalizer: &str| {
        let head = r#"{"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "WhitespaceSplit"}"#;
        let text = format!(r#"{head}, "normalizer": {normalizer}, "decoder": null, "post_processor": null, {model}}}"#);
        fs::write(dir.path().join("t.json"), text).expect("written");
    };
    let info = ["data", "info", "t.txt", "--set", "data.tokenizer=t.json", "--set", "data.length=8"];
    tokenizer("null");
    assert!(says(dir.path(), &[&info[..], &["--set", "data.most_lost=0.5"]].concat()).contains("loses 400 of 1300"));
    assert!(refuse(dir.path(), &info, 2).contains("5.00 % may be lost"));
    // A panic of the library is an error, and nothing else is said.
    tokenizer(r#"{"type": "Precompiled", "precompiled_charsmap": "AAAA"}"#);
    let message = refuse(dir.path(), &info, 2);
    assert!(message.starts_with("error: tokenizer: ") && message.contains("t.json"), "{message}");
    assert!(!message.contains("panicked"), "{message}");
}

#[test]
fn items_to_score_are_read_by_the_rule_of_all_texts() {
    let dir = workplace();
    fs::write(dir.path().join("t.txt"), "abcdefg\n".repeat(100)).expect("written");
    let text = "name = 't'\ndata = { set = 'text', path = 't.txt', length = 7 }\n[model]\nfamily = 'flow-map'\n\
                network = { kind = 'mlp', width = 8 }\n[train]\nsteps = 2\nbatch = 4\n";
    fs::write(dir.path().join("r.toml"), format!("\u{feff}{}", text.replace('\n', "\r\n"))).expect("written");
    succeed(dir.path(), &["train", "r.toml", "--out", "run", "--no-eval", "--device", "cpu"]);
    let score = |content: &str| {
        fs::write(dir.path().join("items.txt"), content).expect("written");
        succeed(dir.path(), &["score", "run", "items.txt", "--draws", "2"])
    };
    let plain = score("abcdefg\ngfedcba\n");
    for other in ["\u{feff}abcdefg\ngfedcba\n", "abcdefg\r\ngfedcba\r\n", "abcdefg\rgfedcba\r"] {
        assert_eq!(score(other), plain, "{other:?}");
    }
    fs::write(dir.path().join("items.txt"), "abcdefg\nab\0defg\n").expect("written");
    assert!(refuse(dir.path(), &["score", "run", "items.txt"], 2).contains("line 2"));
    fs::write(dir.path().join("none.idx"), [0, 0, 8, 3, 0, 0, 0, 0, 0, 0, 0, 28, 0, 0, 0, 28]).expect("written");
    assert!(run(dir.path(), &["data", "info", "none.idx"]).status.code() == Some(2));
}
