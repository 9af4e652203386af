//! The rules of the house that the compiler does not enforce: who may depend on whom, and what nobody does.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the library and what each may use besides itself. A module that is not listed is an error, so that a new one is
/// placed on purpose.
const MAY_USE: &[(&str, &[&str])] = &[
    ("rng", &[]),
    ("tensor", &[]),
    ("params", &[]),
    ("node_pairs", &[]),
    ("device", &["kernels"]),
    ("dual", &["tensor", "kernels"]),
    ("nn", &["tensor", "dual", "kernels", "node_pairs", "rng"]),
    ("bijector", &["nn", "dual", "tensor", "rng"]),
    ("chem", &[]),
    ("data", &["chem", "node_pairs", "rng"]),
    ("metrics", &["rng"]),
    ("train", &["params", "kernels", "rng"]),
    ("flow_map", &["nn", "dual", "tensor", "node_pairs", "rng", "train"]),
    ("aef", &["bijector", "nn", "dual", "tensor", "rng", "train"]),
    ("classifier", &["nn", "dual", "tensor", "rng", "train", "data"]),
    (
        "run",
        &[
            "params",
            "node_pairs",
            "data",
            "chem",
            "metrics",
            "nn",
            "dual",
            "kernels",
            "rng",
            "tensor",
            "train",
            "flow_map",
            "aef",
            "classifier",
        ],
    ),
    ("reward", &["run", "data", "chem", "metrics", "nn", "tensor", "flow_map", "classifier"]),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a source folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Source files of the library with their text, by path from the source folder.
fn library() -> BTreeMap<String, String> {
    let mut found = Vec::new();
    sources(&root(), &mut found);
    let name = |p: &Path| p.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/");
    found.iter().map(|p| (name(p), fs::read_to_string(p).expect("UTF-8"))).collect()
}

/// The part of a file before its tests: tests may use whatever they like.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests").next().expect("splitting gives at least one part")
}

#[test]
fn modules_use_only_what_they_may() {
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    for (file, text) in library() {
        if matches!(
            file.as_str(),
            "lib.rs" | "reward/tests.rs" | "train/tests.rs" | "train/toy.rs" | "classifier/tests.rs"
        ) {
            continue;
        }
        let module = file.split(['/', '.']).next().expect("a name");
        let allowed =
            rules.get(module).unwrap_or_else(|| panic!("{file}: module `{module}` has no rule in tests/tidy.rs"));
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().expect("a part");
            for used in code.split("crate::").skip(1) {
                let used: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                // `use crate::{a, b}` would hide names from this scan.
                assert!(!used.is_empty(), "{file}:{}: write one `use crate::name` per module", number + 1);
                let fine = used == module || allowed.contains(&used.as_str());
                assert!(fine, "{file}:{}: `{module}` may not use `{used}`", number + 1);
            }
        }
    }
}

#[test]
fn the_library_neither_prints_nor_looks_around() {
    let banned = ["println!", "print!(", "dbg!", "std::env::", "env::var", "thread_rng", "todo!", "unimplemented!"];
    for (file, text) in library() {
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code = line.split("//").next().expect("a part");
            for word in banned {
                assert!(!code.contains(word), "{file}:{}: {word}", number + 1);
            }
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for (file, text) in library() {
        assert!(text.starts_with("//!"), "{file} has no module documentation");
    }
}

#[test]
fn division_by_the_rest_of_time_happens_in_one_file() {
    for (file, text) in library() {
        if !file.starts_with("flow_map/") || file == "flow_map/time.rs" {
            continue;
        }
        for (number, line) in without_tests(&text).lines().enumerate() {
            let code: String = line.split("//").next().expect("a part").split_whitespace().collect();
            for quotient in ["/(1.0-s)", "/(1.0-t)", "/(1.-s)", "/(1.-t)"] {
                assert!(!code.contains(quotient), "flow_map divides by 1-s in time.rs only: {file}:{}", number + 1);
            }
        }
    }
}

#[test]
fn the_chemistry_library_has_one_door() {
    for (file, text) in library() {
        if !file.starts_with("chem/") {
            assert!(!text.contains("chematic"), "{file}: chemistry goes through `chem`");
        }
    }
}
