//! The fixtures themselves: the repository has all of them, and no test passes because its fixture is missing.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use crate::support::Fixtures;

/// Maximum size of the repository's fixtures, in bytes.
const ALLOWED: u64 = 4_000_000;

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// The sources of the golden tests by module.
fn sources() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let named = |path: PathBuf| {
        let module = path.file_stem().and_then(OsStr::to_str).expect("a name").to_owned();
        (module, fs::read_to_string(path).expect("UTF-8"))
    };
    files(&folder).into_iter().map(named).collect()
}

/// The golden tests of this binary.
fn listed(kind: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().expect("the running test is a program");
    let output = Command::new(program).args(["golden::", "--list", "--format", "terse"]).args(kind).output();
    let text = String::from_utf8(output.expect("it lists its tests").stdout).expect("names are UTF-8");
    text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[test]
fn every_golden_test_is_among_those_that_run() {
    assert_eq!(listed(&["--ignored"]), Vec::<String>::new(), "golden tests that are left out");
    let all = listed(&[]);
    let mut written = 0;
    for (module, text) in sources() {
        let tests = text.lines().filter(|line| line.trim() == "#[test]").count();
        let prefix = format!("golden::{module}::");
        let found = all.iter().filter(|name| name.starts_with(&prefix)).count();
        assert_eq!(found, tests, "tests of {module}");
        written += tests;
    }
    assert!(written > 0 && all.len() == written, "{written} golden tests are written, {} are there", all.len());
}

#[test]
fn the_repository_has_every_fixture_and_tests_read_each() {
    let own = Fixtures::own();
    let sources: String = sources().into_iter().filter(|(module, _)| module != "fixtures").map(|(_, t)| t).collect();
    let (mut bytes, mut fixtures) = (0, 0);
    for path in files(own.root()) {
        bytes += path.metadata().expect("a size").len();
        let name = path.strip_prefix(own.root()).expect("below the root").to_string_lossy().replace('\\', "/");
        let Some(name) = name.strip_suffix(".json") else { continue };
        let description = own.json(name).expect("it is there");
        if let Some(file) = description["file"].as_str() {
            assert_eq!(file, format!("{name}.safetensors"), "what {name}.json describes");
            let tensors = own.tensors(name).expect("the repository's fixtures are there or fail");
            assert!(tensors.names().next().is_some(), "{name} holds tensors");
            for tensor in tensors.names() {
                assert!(tensors.values(tensor).iter().all(|v| v.is_finite()), "{name}: {tensor} is finite");
            }
        }
        let stem = name.rsplit('/').next().expect("a part");
        let read = [name, stem].iter().any(|name| sources.contains(&format!("\"{name}\"")));
        assert!(read, "no test reads {name}");
        fixtures += 1;
    }
    assert!(fixtures > 0, "there are fixtures");
    assert!(bytes <= ALLOWED, "the fixtures weigh {bytes} bytes");
}

#[test]
fn a_named_folder_may_lack_a_fixture() {
    let folder = tempfile::tempdir().expect("a folder");
    let named = Fixtures::named(folder.path().to_owned());
    assert!(named.tensors("flow_map/losses").is_none() && named.json("flow_map/losses").is_none());
}

#[test]
#[should_panic(expected = "PUSHFORWARD_GOLDEN names")]
fn a_named_folder_exists() {
    let folder = tempfile::tempdir().expect("a folder");
    Fixtures::named(folder.path().join("misspelt"));
}

#[test]
#[should_panic(expected = "the repository lacks its fixture flow_map/nothing")]
fn the_repositorys_folder_may_not() {
    Fixtures::own().tensors("flow_map/nothing");
}

#[test]
fn fixtures_are_read_plain_and_packed() {
    let folder = tempfile::tempdir().expect("a folder");
    let values = [1.5f64, -2.0, 1e-300];
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let view = TensorView::new(Dtype::F64, vec![3], &bytes).expect("three numbers");
    let file = serialize([("group.x", view)], None).expect("a file");
    fs::write(folder.path().join("plain.safetensors"), &file).expect("written");
    let mut packed = flate2::read::GzEncoder::new(file.as_slice(), flate2::Compression::default());
    let mut target = fs::File::create(folder.path().join("packed.safetensors.gz")).expect("a file");
    std::io::copy(&mut packed, &mut target).expect("written");
    let named = Fixtures::named(folder.path().to_owned());
    for name in ["plain", "packed"] {
        let found = named.tensors(name).expect("it is there");
        assert_eq!(found.groups("x"), ["group"]);
        assert_eq!(found.values("group.x"), values);
    }
}
