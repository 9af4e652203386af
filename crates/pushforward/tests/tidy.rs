//! Rules of the code base that the compiler does not enforce: dependencies between modules, and forbidden constructs.
//!
//! The module graph is read from the sources: an edge from file to file for every `use`, and for every path that begins
//! with `crate`, `super`, `self` or a module declared beside it. A name that a `mod.rs` re-exports with `pub use`
//! counts as the file it comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the library and what each may use besides itself. A module that is not listed is an error, so that a new
/// one is placed on purpose; a module may only use modules listed before it, so that dependencies are acyclic.
const MAY_USE: &[(&str, &[&str])] = &[
    ("rng", &[]),
    ("ranks", &[]),
    ("hash", &[]),
    ("setting", &[]),
    ("tensor", &[]),
    ("params", &[]),
    ("node_pairs", &[]),
    ("structural_zeros", &["node_pairs"]),
    ("device", &[]),
    ("dual", &["tensor"]),
    ("nn", &["tensor", "dual", "node_pairs", "rng", "setting"]),
    ("bijector", &["nn", "dual", "tensor", "rng", "setting"]),
    ("chem", &[]),
    ("data", &["chem", "hash", "node_pairs", "rng", "setting", "structural_zeros"]),
    ("metrics", &["hash", "rng"]),
    ("train", &["params", "rng", "setting", "hash", "ranks"]),
    ("transport", &["nn", "dual", "tensor", "rng", "setting"]),
    (
        "flow_map",
        &[
            "transport",
            "nn",
            "dual",
            "hash",
            "tensor",
            "node_pairs",
            "ranks",
            "rng",
            "setting",
            "structural_zeros",
            "train",
        ],
    ),
    ("aef", &["transport", "bijector", "nn", "dual", "tensor", "rng", "setting", "train"]),
    ("classifier", &["nn", "dual", "tensor", "node_pairs", "rng", "setting", "train", "data"]),
    (
        "run",
        &[
            "aef",
            "chem",
            "classifier",
            "data",
            "dual",
            "flow_map",
            "hash",
            "metrics",
            "nn",
            "node_pairs",
            "params",
            "ranks",
            "rng",
            "setting",
            "structural_zeros",
            "tensor",
            "train",
            "transport",
        ],
    ),
    ("reward", &["run", "data", "chem", "metrics", "nn", "tensor", "flow_map", "classifier"]),
    ("onnx", &["run", "aef", "flow_map", "transport", "nn", "dual", "tensor", "rng"]),
    ("prelude", &["run", "data", "flow_map", "train", "tensor", "rng", "nn", "dual"]),
];

/// Maximum number of lines of a file of the library or the program, tests included.
const MOST_LINES: usize = 500;

/// Sources below a folder by path from it, with their text.
pub(crate) fn sources(root: &Path) -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a source folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(root, &mut found);
    let name = |p: &Path| p.strip_prefix(root).expect("below the root").to_string_lossy().replace('\\', "/");
    found.iter().map(|p| (name(p), fs::read_to_string(p).expect("UTF-8"))).collect()
}

pub(crate) fn crate_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

pub(crate) fn library() -> BTreeMap<String, String> {
    sources(&crate_root())
}

/// The code of a file before its tests, without comments and strings: tests may use whatever they like.
pub(crate) fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().expect("splitting gives at least one part");
    text.lines().map(|line| line.split("//").next().expect("a part")).collect::<Vec<_>>().join("\n")
}

type ModulePath = Vec<String>;

fn module_path(file: &str) -> ModulePath {
    let mut parts: ModulePath = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

/// The leaves of a tree of imports, without renames.
fn leaves(tree: &str, prefix: &[String], found: &mut Vec<(ModulePath, String)>) {
    let tree = tree.trim();
    if let Some(open) = tree.find('{') {
        let head: ModulePath =
            tree[..open].split("::").filter(|p| !p.trim().is_empty()).map(|p| p.trim().to_owned()).collect();
        let prefix = [prefix, &head].concat();
        let inner = &tree[open + 1..tree.rfind('}').expect("a closing brace")];
        let (mut depth, mut start) = (0, 0);
        for (i, c) in inner.char_indices().chain([(inner.len(), ',')]) {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    if !inner[start..i].trim().is_empty() {
                        leaves(&inner[start..i], &prefix, found);
                    }
                    start = i + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let (path, alias) = tree.split_once(" as ").map_or((tree, None), |(path, alias)| (path, Some(alias)));
    let path: ModulePath = [prefix, &path.split("::").map(|p| p.trim().to_owned()).collect::<Vec<_>>()].concat();
    let name = alias.map_or_else(|| path.last().expect("a name").clone(), |alias| alias.trim().to_owned());
    found.push((path, name));
}

/// Which file uses which.
struct Graph {
    files: BTreeMap<ModulePath, String>,
    /// Re-exports of each `mod.rs`, by name.
    reexports: BTreeMap<ModulePath, BTreeMap<String, ModulePath>>,
    edges: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    fn read(sources: &BTreeMap<String, String>) -> Self {
        let files: BTreeMap<ModulePath, String> =
            sources.keys().map(|file| (module_path(file), file.clone())).collect();
        let mut graph = Self { files, reexports: BTreeMap::new(), edges: BTreeMap::new() };
        let texts: Vec<(String, String)> = sources.iter().map(|(file, text)| (file.clone(), code(text))).collect();
        for (file, text) in &texts {
            let here = module_path(file);
            for (path, name) in statements(text, true) {
                if let Some(target) = graph.absolute(&path, &here) {
                    graph.reexports.entry(here.clone()).or_default().insert(name, target);
                }
            }
        }
        for (file, text) in &texts {
            let here = module_path(file);
            let used = statements(text, false).into_iter().map(|(path, _)| path).chain(graph.paths(text, &here));
            let targets: BTreeSet<String> = used
                .filter_map(|path| graph.absolute(&path, &here))
                .filter_map(|path| graph.file_of(&path, 0))
                .filter(|target| target != file)
                .collect();
            graph.edges.insert(file.clone(), targets);
        }
        graph
    }

    /// The path from the root of the crate; `None` for other crates.
    fn absolute(&self, path: &[String], here: &[String]) -> Option<ModulePath> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(rest.to_vec()),
            "self" => Some([here, rest].concat()),
            "super" => {
                let mut base = &here[..here.len() - 1];
                let mut rest = rest;
                while rest.first().is_some_and(|p| p == "super") {
                    (base, rest) = (&base[..base.len() - 1], &rest[1..]);
                }
                Some([base, rest].concat())
            }
            _ => {
                let child = [here, &path[..1]].concat();
                self.files.contains_key(&child).then(|| [here, path].concat())
            }
        }
    }

    /// The file in which a path ends.
    fn file_of(&self, path: &[String], depth: usize) -> Option<String> {
        let length = (0..=path.len()).rev().find(|&n| self.files.contains_key(&path[..n]))?;
        let (module, rest) = path.split_at(length);
        let reexported = rest.first().and_then(|name| self.reexports.get(module)?.get(name));
        match reexported.filter(|_| depth < 8) {
            Some(target) => self.file_of(&[target, &rest[1..]].concat(), depth + 1),
            None if module.is_empty() => None,
            None => self.files.get(module).cloned(),
        }
    }

    /// Paths in the code that begin with `crate`, `super`, `self` or a module declared here.
    fn paths(&self, text: &str, here: &[String]) -> Vec<ModulePath> {
        let mut found = Vec::new();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let without_imports: String = text.split_inclusive(';').filter(|s| !is_import(s)).collect::<Vec<_>>().join(" ");
        for (i, _) in without_imports.match_indices("::") {
            let before = &without_imports[..i];
            let start = before.rfind(|c: char| !is_word(c)).map_or(0, |at| at + 1);
            // Only the first segment of a path.
            if before[..start].ends_with("::") || before[..start].ends_with('.') {
                continue;
            }
            let end =
                without_imports[i..].find(|c: char| !(is_word(c) || c == ':')).map_or(without_imports.len(), |n| i + n);
            let path: ModulePath = without_imports[start..end].split("::").map(str::to_owned).collect();
            let first = path[0].as_str();
            let child = [here, &path[..1]].concat();
            if matches!(first, "crate" | "super") || self.files.contains_key(&child) {
                found.push(path);
            }
        }
        found
    }

    /// All files that a file uses, directly or not.
    fn reach<'a>(&'a self, from: &'a String) -> BTreeSet<&'a String> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(file) = open.pop() {
            open.extend(self.edges[file].iter().filter(|next| seen.insert(*next)));
        }
        seen
    }

    /// Groups of files with cyclic dependencies.
    fn cycles(&self) -> Vec<Vec<&String>> {
        let reached: BTreeMap<&String, BTreeSet<&String>> =
            self.edges.keys().map(|file| (file, self.reach(file))).collect();
        let mut cycles: Vec<Vec<&String>> = reached
            .iter()
            .filter(|(file, seen)| seen.contains(*file))
            .map(|(file, seen)| seen.iter().copied().filter(|other| reached[other].contains(*file)).collect())
            .collect();
        cycles.sort();
        cycles.dedup();
        cycles
    }
}

fn is_import(statement: &str) -> bool {
    let words: Vec<&str> = statement.split_whitespace().collect();
    words.iter().take(12).any(|w| *w == "use") && !statement.contains('=')
}

/// The imports of a file: either its re-exports or all others.
fn statements(text: &str, public: bool) -> Vec<(ModulePath, String)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("use ") {
        let line = rest[..at].rsplit('\n').next().expect("a line").trim_start();
        let end = rest[at..].find(';').map_or(rest.len(), |n| at + n);
        if line.is_empty() || line.starts_with("pub") {
            if line.starts_with("pub") == public {
                leaves(&rest[at + 4..end], &[], &mut found);
            }
            rest = &rest[end..];
        } else {
            rest = &rest[at + 4..];
        }
    }
    found
}

/// Files of tests.
pub(crate) fn is_test(file: &str) -> bool {
    file.ends_with("tests.rs") || file.ends_with("toy.rs") || file.ends_with("testing.rs")
}

#[test]
fn no_arrow_between_modules_runs_up() {
    for (place, (module, allowed)) in MAY_USE.iter().enumerate() {
        for used in *allowed {
            let before = MAY_USE[..place].iter().any(|(name, _)| name == used);
            assert!(before, "`{module}` may use `{used}`, which is listed after it");
        }
    }
    let rules: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let graph = Graph::read(&library());
    for (file, targets) in graph.edges.iter().filter(|(file, _)| *file != "lib.rs" && !is_test(file)) {
        let module = |file: &str| file.split(['/', '.']).next().expect("a name").to_owned();
        let (from, rule) = (module(file), rules.get(module(file).as_str()));
        let allowed = rule.unwrap_or_else(|| panic!("{file}: module `{from}` has no rule in tests/tidy.rs"));
        for target in targets {
            let to = module(target);
            assert!(to == from || allowed.contains(&to.as_str()), "{file} uses {target}: `{from}` may not use `{to}`");
        }
    }
}

#[test]
fn no_files_use_each_other_in_a_cycle() {
    for root in [crate_root(), crate_root().join("../../pushforward-kernels/src")] {
        let graph = Graph::read(&sources(&root));
        assert!(graph.edges.values().map(BTreeSet::len).sum::<usize>() > 50, "the graph was read");
        let cycles = graph.cycles();
        assert!(cycles.is_empty(), "{cycles:#?}");
    }
}

#[test]
fn cycles_are_found() {
    let sources = [
        ("lib.rs", "mod a;\nmod b;"),
        ("a/mod.rs", "mod one;\nmod two;\npub use self::two::Two;\nfn f() { one::g() }"),
        ("a/one.rs", "use crate::b;\nuse super::Two;"),
        ("a/two.rs", "fn h() -> crate::b::B {}"),
        (
            "b.rs",
            "use crate::a::{\n    Two,\n};\n// use crate::a::one;\n#[cfg(test)]\nmod tests {\n    use crate::a::one;\n}",
        ),
    ];
    let graph = Graph::read(&sources.map(|(file, text)| (file.to_owned(), text.to_owned())).into());
    let cycles = graph.cycles();
    assert_eq!(cycles, [["a/two.rs", "b.rs"]]);
    assert!(graph.edges["a/mod.rs"].contains("a/one.rs") && !graph.edges["a/mod.rs"].contains("a/two.rs"));
}

#[test]
fn families_share_no_file() {
    let graph = Graph::read(&library());
    for (file, targets) in &graph.edges {
        let both = ["flow_map/", "aef/"].map(|family| targets.iter().any(|target| target.starts_with(family)));
        let meeting = ["run/", "reward/", "onnx/"].iter().any(|module| file.starts_with(module));
        assert!(meeting || both != [true; 2], "{file} uses both families");
    }
}

#[test]
fn files_are_of_a_size_to_read() {
    for root in ["src", "../pushforward-server/src", "../pushforward-cli/src"] {
        for (file, text) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root)) {
            let lines = text.lines().count();
            assert!(lines <= MOST_LINES, "{root}/{file} has {lines} lines, more than {MOST_LINES}");
        }
    }
}

#[test]
fn the_library_neither_prints_nor_looks_around() {
    let banned = ["println!", "print!(", "dbg!", "std::env::", "env::var", "thread_rng", "todo!", "unimplemented!"];
    for (file, text) in library() {
        for (number, line) in code(&text).lines().enumerate() {
            for word in banned {
                assert!(!line.contains(word), "{file}:{}: {word}", number + 1);
            }
        }
    }
}

#[test]
fn unsafe_code_is_in_the_crate_of_the_kernels() {
    for root in ["src", "../pushforward-server/src", "../pushforward-cli/src"] {
        for (file, text) in sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join(root)) {
            let allowed = file == "process.rs";
            assert!(allowed || !code(&text).contains("unsafe "), "{root}/{file} has unsafe code");
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
        if !["flow_map/", "transport/"].iter().any(|folder| file.starts_with(folder)) || file == "transport/time.rs" {
            continue;
        }
        for (number, line) in code(&text).lines().enumerate() {
            let line: String = line.split_whitespace().collect();
            for quotient in ["/(1.0-s)", "/(1.0-t)", "/(1.-s)", "/(1.-t)"] {
                assert!(
                    !line.contains(quotient),
                    "flow maps divide by 1-s in transport/time.rs only: {file}:{}",
                    number + 1
                );
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
