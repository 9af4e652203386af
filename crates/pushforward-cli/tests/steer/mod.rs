//! `steer`, run as a user runs it.

use std::fs;
use std::path::Path;

use super::{refuse, run, succeed, tiny, workplace};

/// A tiny model of pairs in the folder `run`.
fn model(folder: &Path) {
    succeed(folder, &tiny("train.steps=60", "run", &["--no-eval"]));
}

fn json(folder: &Path, more: &[&str]) -> serde_json::Value {
    let mut args = vec!["steer", "run", "--device", "cpu", "--json", "-n", "24", "--nfe", "3", "--particles", "6"];
    args.extend(more);
    serde_json::from_str(&succeed(folder, &args)).expect("one JSON object")
}

fn value(report: &serde_json::Value, metric: &str, sampler: &str) -> f64 {
    let rows = report["rows"].as_array().expect("rows");
    let row = rows.iter().find(|r| r["metric"] == metric && r["sampler"] == sampler);
    row.unwrap_or_else(|| panic!("{metric} {sampler}: {rows:?}"))["value"].as_f64().expect("a number")
}

#[test]
fn every_method_raises_the_reward_and_reports_what_it_cost() {
    let place = workplace();
    let folder = place.path();
    model(folder);
    for (method, nfe, more) in [
        ("best-of", 18, &[][..]),
        ("resample", 18, &[]),
        ("gradient", 54, &["--step", "5"]),
        ("smc", 18, &[]),
        ("smc", 18, &["--ends", "drawn", "--ahead", "draws", "--draws", "2", "--draw"]),
        ("smc", 18, &["--ahead", "soft"]),
        ("tilt", 30, &["--draw"]),
        ("tilt", 42, &["--ahead", "soft"]),
    ] {
        let mut args = vec!["--reward", "site(0, 0..3) + 0.5*site(1, 0..3)", "--strength", "5", "--method", method];
        args.extend(more);
        args.extend(["--target", "1.5"]);
        let report = json(folder, &args);
        let (before, after) = (value(&report, "reward_mean", "map"), value(&report, "reward_mean", method));
        assert!(after > before + 0.25, "{args:?}: {before} {after}");
        assert!(value(&report, "satisfied", method) > value(&report, "satisfied", "map"), "{args:?}");
        let items = report["items"].as_array().expect("items");
        assert_eq!((items.len(), items[0]["nfe"].as_u64()), (24, Some(nfe)), "{args:?}");
        assert!(report["populations"][0]["ess"].as_array().is_some_and(|ess| !ess.is_empty()));
        assert_eq!(report["before"].as_array().map(Vec::len), Some(24));
    }
    let pictures = ["steer", "run", "--device", "cpu", "--reward", "site(0, 3)", "--pictures", "p", "--out", "s.csv"];
    let shown = succeed(folder, &pictures);
    assert!(shown.contains("before\n") && shown.contains("after\n") && shown.contains("reward_mean"), "{shown}");
    for name in ["p/before.txt", "p/after.txt", "p/rewards.svg", "p/ess.svg", "s.csv"] {
        assert!(fs::metadata(folder.join(name)).is_ok_and(|m| m.len() > 0), "{name}");
    }
}

#[test]
fn constraints_hold_and_contradictions_are_refused() {
    let place = workplace();
    let folder = place.path();
    model(folder);
    let wanted = ["--reward", "site(1, 0..7)", "--require", "0:2,5", "--forbid", "5,9", "--method", "smc"];
    let report = json(folder, &wanted);
    for item in report["items"].as_array().expect("items") {
        let ids: Vec<u64> = item["ids"].as_array().expect("ids").iter().filter_map(serde_json::Value::as_u64).collect();
        assert!(ids[0] == 2 && ids[1] != 5 && ids[1] != 9, "{ids:?}");
    }
    let refused = |more: &[&str]| {
        let mut args = vec!["steer", "run", "--device", "cpu", "--reward", "site(0, 1)"];
        args.extend(more);
        refuse(folder, &args, 2)
    };
    assert!(refused(&["--require", "0:3", "--forbid", "3"]).contains("no class is left for site 0"));
    assert!(refused(&["--require", "7:3"]).contains("sites 0 to 1"));
    assert!(refused(&["--infill", "a_"]).contains("--infill"));
    assert!(refused(&["--keep", "17"]).contains("cannot give 17 samples"));
    let unknown = refuse(folder, &["steer", "run", "--reward", "qed"], 2);
    assert!(unknown.contains("no reward \"qed\" for tables") && unknown.contains("site(I, A..B)"), "{unknown}");
    let typo = refuse(folder, &["steer", "run", "--reward", "2*"], 2);
    assert!(typo.contains("character 3"), "{typo}");
    assert!(refuse(folder, &["steer", "run"], 2).contains("--reward"));
}

#[cfg(unix)]
#[test]
fn a_program_of_the_users_own_is_asked_and_its_failures_are_reported() {
    let place = workplace();
    let folder = place.path();
    model(folder);
    // Higher is the number of the characters of its line: any program that reads and answers will do.
    let report = json(folder, &["--program", "while read -r line; do echo ${#line}; done", "--method", "best-of"]);
    assert!(value(&report, "reward_mean", "best-of") > value(&report, "reward_mean", "map"));
    assert_eq!(report["unanswered"], 0);
    let some = "while read -r line; do case \"$line\" in *'[3,'*) echo what;; *) echo 1;; esac; done";
    let out = run(folder, &["steer", "run", "--program", some, "--method", "best-of", "-n", "4", "--json"]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    // Populations of one particle, every other one of which has the reward minus infinity.
    let half = "i=0; while read -r line; do i=$((i+1)); if [ $((i % 2)) = 0 ]; then echo 1; else echo -inf; fi; done";
    let args = ["steer", "run", "--program", half, "--method", "resample", "--particles", "1", "-n", "4", "--json"];
    let out = run(folder, &args);
    let warning = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && warning.contains("2 of 4 populations gave no samples"), "{warning}");
    assert!(warning.contains("minus infinity; take more --particles"), "{warning}");
    let dead = refuse(folder, &["steer", "run", "--program", "echo no model >&2; exit 3", "--timeout", "5"], 1);
    assert!(dead.contains("has given no answer") && dead.contains("no model"), "{dead}");
    // Ends for good in the middle: what was finished is written, and the exit code says that it is not all.
    let fuse = "if [ -e burnt ]; then exit 9; fi; i=0; while read -r line; do i=$((i+1)); \
                if [ $i -gt 120 ]; then touch burnt; exit 9; fi; echo 1; done";
    let args =
        ["steer", "run", "--program", fuse, "--method", "best-of", "-n", "40", "--batch", "16", "--out", "part.csv"];
    let message = refuse(folder, &args, 1);
    assert!(message.contains("samples were finished and are kept"), "{message}");
    let rows = fs::read_to_string(folder.join("part.csv")).expect("the finished samples").lines().count();
    assert!((2..41).contains(&rows), "{rows}");
}

#[test]
fn a_second_opinion_is_reported_and_not_followed() {
    let place = workplace();
    let folder = place.path();
    model(folder);
    let asked = ["--reward", "site(0, 0..3)", "--strength", "5"];
    let plain = json(folder, &asked);
    let judged = json(folder, &[&asked[..], &["--judge", "site(1, 0..3)", "--judge-target", "1"]].concat());
    assert_eq!(plain["items"], judged["items"]);
    for sampler in ["map", "smc"] {
        let share = value(&judged, "judge_satisfied", sampler);
        assert!((0.0..=1.0).contains(&share) && (value(&judged, "judge_mean", sampler) - share).abs() < 1e-9);
    }
}
