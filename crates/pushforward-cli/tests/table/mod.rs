//! Tables: trained from a file, sampled into one, under conditions, filled in, scored and evaluated.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::serve::Server;
use super::{refuse, run, succeed, workplace};

const SHAPES: [&str; 3] = ["round", "square", "flat, wide"];

/// Rows of a size, a shape that the size decides, a weight, and a colour that is sometimes missing.
fn write_table(folder: &Path) {
    let mut text = "size,shape,weight,colour\n".to_owned();
    for i in 0u32..900 {
        let (size, noise) = (i % 9, (i.wrapping_mul(2_654_435_761) >> 16) % 1000);
        let colour = ["red", "blue", ""][(noise % 3) as usize];
        text += &format!("{size},\"{}\",{}.{noise:03},{colour}\n", SHAPES[size as usize / 3], 10 * size);
    }
    fs::write(folder.join("things.csv"), text).unwrap();
}

fn trained(folder: &Path, steps: &str) {
    let steps = format!("train.steps={steps}");
    let settings = [
        "train.minutes=0",
        &steps,
        "train.batch=64",
        "train.validate_every=1000",
        "model.network={kind='mlp',width=48,blocks=2,time_width=16,posterior=true,skip=true}",
        "eval.samples=200",
        "eval.nfe=[1]",
        "eval.bound_items=0",
    ];
    let mut args = vec!["train", "things.csv", "--out", "run", "--no-eval"];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    succeed(folder, &args);
}

fn rows(text: &str) -> Vec<Vec<String>> {
    let line = |line: &str| {
        let quoted: Vec<&str> = line.split('"').collect();
        match quoted[..] {
            [before, inner, after] => [before.trim_end_matches(','), inner]
                .into_iter()
                .map(str::to_owned)
                .chain(after[1..].split(',').map(str::to_owned))
                .collect(),
            _ => line.split(',').map(str::to_owned).collect(),
        }
    };
    text.lines().skip(1).map(line).collect()
}

#[test]
fn a_table_goes_all_the_way() {
    let place = workplace();
    let folder = place.path();
    write_table(folder);
    trained(folder, "700");

    // Rows as the file has them, independent of their neighbours.
    succeed(folder, &["sample", "run", "-n", "300", "--nfe", "4", "--out", "new.csv"]);
    let text = fs::read_to_string(folder.join("new.csv")).unwrap();
    assert!(text.starts_with("size,shape,weight,colour\n"));
    let drawn = rows(&text);
    assert_eq!(drawn.len(), 300);
    let fits = |row: &Vec<String>| SHAPES[row[0].parse::<usize>().unwrap() / 3] == row[1];
    let right = drawn.iter().filter(|row| fits(row)).count();
    assert!(right > 200, "{right} of 300 sizes fit their shapes");
    let later = ["sample", "run", "-n", "20", "--first", "280", "--nfe", "4", "--out", "later.csv"];
    succeed(folder, &later);
    assert_eq!(rows(&fs::read_to_string(folder.join("later.csv")).unwrap()), drawn[280..]);
    // A page and pictures of them.
    let args = ["eval", "run", "--nfe", "1,2", "-n", "100", "--html", "page.html", "--pictures", "drawn"];
    succeed(folder, &args);
    let page = fs::read_to_string(folder.join("page.html")).unwrap();
    for part in
        ["<h2>Samples</h2>", "held-out data", "columns, samples with 2", "training losses by step", "NFE 2", "[train]"]
    {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("http://") || page.matches("http://").count() == page.matches("http://www.w3.org").count());
    let laws = fs::read_to_string(folder.join("drawn/nfe2-columns.svg")).unwrap();
    assert!(laws.contains("flat, wide") && folder.join("drawn/nfe1-pairs.svg").exists());

    // The same rows as Parquet, which is read like any other table.
    succeed(folder, &["sample", "run", "-n", "300", "--nfe", "4", "--out", "new.parquet"]);
    let about = succeed(folder, &["data", "info", "new.parquet"]);
    assert!(about.contains("read from Parquet") && about.contains("size"), "{about}");
    let steps = ["--set", "train.steps=2", "--set", "eval.samples=50", "--no-eval"];
    succeed(folder, &[&["train", "new.parquet", "--out", "again"], &steps[..]].concat());
    let scored = succeed(folder, &["score", "run", "new.parquet", "-n", "5", "--json"]);
    assert!(scored.contains("nats"), "{scored}");
    let objects = succeed(folder, &["sample", "run", "-n", "5", "--nfe", "4", "--out", "-"]);
    let first: serde_json::Value = serde_json::from_str(objects.lines().next().unwrap()).unwrap();
    assert_eq!(first["shape"], drawn[0][1].as_str());
    assert_eq!(first["size"].as_u64(), drawn[0][0].parse().ok());

    // Conditions: one column told, one drawn by rejection.
    let wanted = "shape='flat, wide', weight=75..85, colour!=";
    succeed(folder, &["sample", "run", "-n", "40", "--nfe", "2", "--where", wanted, "--out", "some.csv"]);
    for row in rows(&fs::read_to_string(folder.join("some.csv")).unwrap()) {
        let weight: f64 = row[2].parse().unwrap();
        assert!(row[1] == "flat, wide" && (75.0..=85.0).contains(&weight) && !row[3].is_empty(), "{row:?}");
    }
    fs::write(folder.join("given.csv"), "colour,size\nred,1\nblue,8\n").unwrap();
    succeed(folder, &["sample", "run", "-n", "6", "--where-file", "given.csv", "--out", "given-filled.csv"]);
    for (i, row) in rows(&fs::read_to_string(folder.join("given-filled.csv")).unwrap()).iter().enumerate() {
        assert_eq!((row[0].as_str(), row[3].as_str()), [("1", "red"), ("8", "blue")][i % 2]);
    }

    // Missing cells: filled in, and nothing else changes.
    fs::write(folder.join("holes.csv"), "note,shape,colour,size,weight\n\"a, b\",,red,1, 10.5\nc,round,blue,,\n")
        .unwrap();
    succeed(folder, &["impute", "run", "holes.csv", "--out", "filled.csv", "--likely", "--probabilities", "p.jsonl"]);
    let filled = fs::read_to_string(folder.join("filled.csv")).unwrap();
    assert!(filled.starts_with("note,shape,colour,size,weight\n\"a, b\",round,red,1, 10.5\nc,round,blue,"), "{filled}");
    let cells = fs::read_to_string(folder.join("p.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(cells.lines().next().unwrap()).unwrap();
    assert_eq!((first["line"].as_u64(), first["column"].as_str()), (Some(2), Some("shape")));
    assert!(first["values"][0]["value"] == "round" && first["values"][0]["p"].as_f64() > Some(0.4), "{first}");
    succeed(folder, &["impute", "run", "holes.csv", "--out", "draw.csv", "--draws", "2"]);
    let draws = ["draw-1.csv", "draw-2.csv"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
    assert!(draws[0] != draws[1] && draws.iter().all(|text| !text.contains(",,")), "{draws:?}");

    // The same over HTTP, by the names of columns.
    let server = Server::start(&[], &[folder.join("run").to_str().expect("UTF-8")]);
    let given = json!([
        {"shape": null, "colour": "red", "size": 1, "Weight": 10.5},
        {"shape": "round", "colour": "blue", "size": ""},
        {"shape": "oval", "colour": "red", "size": 8.0}
    ]);
    let items = server.ask("/v1/impute", &json!({"model": "run", "rows": given, "nfe": 4}))["items"].take();
    assert_eq!(items[0]["row"]["weight"], 10.5);
    assert_eq!((&items[2]["row"]["shape"], &items[2]["row"]["size"]), (&json!("oval"), &json!(8.0)));
    assert_eq!((&items[0]["not_told"], &items[2]["not_told"]), (&json!(null), &json!(["shape"])));
    succeed(folder, &["impute", "run", "holes.csv", "--out", "four.csv", "--nfe", "4"]);
    let four = fs::read_to_string(folder.join("four.csv")).unwrap();
    let second: Vec<&str> = four.lines().nth(2).unwrap().split(',').collect();
    assert_eq!(
        four.lines().nth(1).unwrap(),
        format!("\"a, b\",{},red,1, 10.5", items[0]["row"]["shape"].as_str().unwrap())
    );
    let number = |name: &str| items[1]["row"][name].as_f64();
    assert_eq!((second[3].parse().ok(), second[4].parse().ok()), (number("size"), number("weight")), "{four} {items}");
    for (rows, part) in [
        (json!([{"shapes": "round"}]), "shape"),
        (json!([{"shape": ["round"]}]), "no single value"),
        (json!([{"size": 1, "Size": 2}]), "twice"),
        (json!([]), "`items` or `rows`"),
    ] {
        let answer = server.post("/v1/impute", "application/json", &json!({"model": "run", "rows": rows}));
        assert!(answer.status == 422 && answer.text().contains(part), "{rows}: {}", answer.text());
    }
    drop(server);

    // A cell that does not fit its row is found.
    let wrong = "size,shape,weight,colour\n1,round,10.5,red\n8,round,80.5,blue\n4,square,40.5,red\n";
    fs::write(folder.join("wrong.csv"), wrong).unwrap();
    let scores = succeed(folder, &["score", "run", "wrong.csv", "--sort", "--json"]);
    let scores: serde_json::Value = serde_json::from_str(&scores).unwrap();
    let worst = &scores["items"][0];
    assert_eq!(worst["name"], "line 3");
    assert!(worst["bits"]["shape"].as_f64() > worst["bits"]["colour"].as_f64(), "{worst}");

    let report = succeed(folder, &["eval", "run", "-n", "200", "--nfe", "4", "--bound-items", "0"]);
    for name in
        ["shape", "trend", "c2st_trees", "beta_recall", "tstr_auc", "dcr_share", "independent columns", "held-out"]
    {
        assert!(report.contains(name), "{name}: {report}");
    }

    // Rows by any generator are measured like samples: here sizes that do not fit their shapes.
    let mixed: String = (0..900).map(|i| format!("{},\"{}\",{}.5,red\n", i % 9, SHAPES[i % 3], 10 * (i % 9))).collect();
    fs::write(folder.join("mixed.csv"), format!("size,shape,weight,colour\n{mixed}")).unwrap();
    let of = |file: &str, metric: &str| {
        let args = ["eval", "run", "--samples", file, "--nfe", "1", "--bound-items", "0", "--json"];
        let report: serde_json::Value = serde_json::from_str(&succeed(folder, &args)).unwrap();
        let row = report["rows"].as_array().unwrap().iter().find(|row| row["metric"] == metric && row["nfe"] == 1);
        row.unwrap()["value"].as_f64().unwrap()
    };
    let [own, other] = ["things.csv", "mixed.csv"].map(|file| of(file, "c2st_trees"));
    assert!(own > 0.9 && other < 0.1, "{own}, {other}");

    for (args, part) in [
        (&["sample", "run", "--where", "siz=3"][..], "did you mean `size`"),
        (&["sample", "run", "--where", "size=30..40"], "no value"),
        (&["sample", "run", "--where-file", "nowhere.csv"], "nowhere.csv"),
        (&["impute", "run", "things.csv", "--out", "o.csv", "--likely", "--draws", "3"], "--likely"),
        (&["score", "run", "holes.csv"], "is missing"),
        (&["eval", "run", "--samples", "holes.csv", "--nfe", "1"], "is missing"),
    ] {
        let message = refuse(folder, args, 2);
        assert!(message.contains(part), "{args:?}: {message}");
    }
}

#[test]
fn what_is_missing_may_be_a_hole() {
    let place = workplace();
    let folder = place.path();
    write_table(folder);
    let settings = ["--set", "data.missing='hole'", "--set", "train.minutes=0", "--set", "train.steps=300"];
    let small = ["--set", "train.batch=64", "--set", "eval.samples=100", "--set", "eval.bound_items=50"];
    let network = ["--set", "model.network={kind='mlp',width=48,blocks=2,time_width=16,posterior=true,skip=true}"];
    succeed(folder, &[&["train", "things.csv", "--out", "run"], &settings[..], &small, &network].concat());
    succeed(folder, &["sample", "run", "-n", "200", "--nfe", "2", "--out", "new.csv"]);
    let drawn = rows(&fs::read_to_string(folder.join("new.csv")).unwrap());
    assert!(drawn.len() == 200 && drawn.iter().all(|row| ["red", "blue"].contains(&row[3].as_str())));
    // A third of the colours is missing in the data; samples are scored as if it were in them.
    let report = fs::read_to_string(folder.join("run/report.json")).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    let own = |row: &&serde_json::Value| row["metric"] == "missing_tv" && row["reference"]["name"] == "train";
    let missing = report["rows"].as_array().unwrap().iter().find(own).expect("it is reported");
    assert!(missing["value"].as_f64() < Some(0.15), "{missing}");
    // Rows with holes have a bound, and holes are filled.
    let scored = succeed(folder, &["score", "run", "things.csv", "-n", "5", "--json"]);
    assert!(scored.contains("nats"), "{scored}");
    succeed(folder, &["impute", "run", "things.csv", "--out", "filled.csv"]);
    let filled = rows(&fs::read_to_string(folder.join("filled.csv")).unwrap());
    assert!(filled.iter().all(|row| !row[3].is_empty()));
    let prepare = ["data", "prepare", "things.csv", "--out", "parts", "--set", "data.missing='hole'"];
    let message = refuse(folder, &prepare, 2);
    assert!(
        message.contains("`missing`: \"hole\" is for tables in memory") && message.contains("\"class\" or \"drop\""),
        "{message}"
    );
}

#[test]
fn tables_that_cannot_be_trained_on_say_why() {
    let place = workplace();
    let folder = place.path();
    for (name, content, part) in [
        ("ragged.csv", "a,b\n1,2\n3,4\n5,6,7\n", "line 4"),
        ("quote.csv", "a,b\n1,2\n3,\"4\n5,6\n", "quote"),
        ("header.csv", "a,b\n", "no rows"),
        ("infinite.csv", "a,b\n1,2\ninf,4\n5,6\n", "inf"),
    ] {
        fs::write(folder.join(name), content).unwrap();
        let message = refuse(folder, &["train", name, "--set", "data.set=table", "--out", "run"], 2);
        assert!(message.contains(part), "{name}: {message}");
        assert!(!folder.join("run").exists());
    }
    // A model that is not told columns draws under conditions by closing classes and by rejection, and says so.
    write_table(folder);
    let out = run(
        folder,
        &[
            "train",
            "things.csv",
            "--no-eval",
            "--out",
            "plain",
            "--set",
            "train.minutes=0",
            "--set",
            "train.steps=5",
            "--set",
            "model.condition={kind='none'}",
            "--set",
            "eval.nfe=[1]",
        ],
    );
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let out = run(folder, &["sample", "plain", "-n", "4", "--where", "shape=round"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && said.contains("not trained to be told"), "{said}");
    assert!(refuse(folder, &["impute", "plain", "things.csv", "--out", "o.csv"], 2).contains("observed"));
}

#[test]
fn a_run_holds_no_row_of_its_table() {
    let place = workplace();
    let folder = place.path();
    let mut text = "name,shape,town\n".to_owned();
    for i in 0..120 {
        let town = if i == 77 { "Onlyhere" } else { ["Northtown", "Southtown"][i % 2] };
        text += &format!("person-{i:03},{},{town}\n", ["round", "square"][i / 3 % 2]);
    }
    fs::write(folder.join("people.csv"), &text).unwrap();
    let settings = ["train.minutes=0", "train.steps=3", "data.drop_rare=2", "model.network={kind='mlp',width=16}"];
    let mut args = vec!["train", "people.csv", "--out", "run", "--no-eval"];
    settings.iter().for_each(|setting| args.extend(["--set", setting]));
    succeed(folder, &args);
    let mut found = 0;
    for file in ["checkpoints", "."].into_iter().flat_map(|part| fs::read_dir(folder.join("run").join(part)).unwrap()) {
        let path = file.unwrap().path();
        if path.is_dir() {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let has = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        // The dictionary has the values of a column, so that the search can find something.
        found += usize::from(has("Northtown") && has("round"));
        assert!(!has("Onlyhere"), "{}: a value of a single row", path.display());
        for row in text.lines().skip(1) {
            let (name, rest) = row.split_once(',').unwrap();
            assert!(!has(name) && !has(rest), "{}: {row}", path.display());
        }
    }
    assert!(found >= 2, "the dictionary is in the checkpoints");
}
