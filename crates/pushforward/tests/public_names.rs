//! A public name has an example, or a reason.
//!
//! A name counts as shown if it occurs in an example of the documentation, in the program, or in the examples and
//! benchmarks of the library. Tests do not count: what only they use should be shown to users, or hidden. Types and constants that another public signature spells need no example of their own:
//! errors, results, settings, parts of networks. Modules are pages of documentation.

use std::collections::{BTreeMap, BTreeSet};

use crate::tidy::{code, crate_root, is_test, library, sources};

/// Public names without an example that no public signature spells, and why they are public.
const EXPLAINED: &[(&str, &str)] = &[
    ("BEST", "name of a file in every run folder, beside `LAST`, which has an example"),
    ("INVALID", "finds invalid molecules among rewards; an example would need the feature `chem`"),
    ("VAE_EPSILON", "published constant, beside `AEF_EPSILON`, which has an example"),
];

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// The Rust code in the documentation of a file.
fn examples(text: &str) -> String {
    let mut inside = None;
    let docs = text.lines().filter_map(|line| line.trim().strip_prefix("//")?.strip_prefix(['/', '!']));
    let shown = docs.filter(|line| match (line.trim().strip_prefix("```"), inside) {
        (Some(language), None) => {
            inside = Some(language.is_empty());
            false
        }
        (Some(_), Some(_)) => {
            inside = None;
            false
        }
        (None, inside) => inside == Some(true),
    });
    shown.collect::<Vec<_>>().join("\n")
}

/// Public items of a file other than modules, as name and kind.
type Items = Vec<(String, String)>;

/// Words of public signatures, with the item whose signature it is: arguments, results, fields and variants.
type Spelled = BTreeSet<(String, String)>;

fn read_public(text: &str, items: &mut Items, spelled: &mut Spelled) {
    let text = code(text);
    let (mut lines, mut body) = (text.lines(), None);
    while let Some(line) = lines.next() {
        let indent = line.len() - line.trim_start().len();
        let mut line = line.trim().to_owned();
        body = body.filter(|(_, start)| line != "}" || indent != *start);
        let Some(mut rest) = line.strip_prefix("pub ") else {
            // A variant of an enum or a method of a trait, or an associated type.
            let owner = body.as_ref().map(|(name, _): &(String, usize)| name.clone());
            let types = match (line.strip_prefix("type "), &owner) {
                (Some(line), _) => line.split_once('='),
                (None, Some(_)) if !line.starts_with('#') => line.split_once(['(', ':']),
                (None, _) => None,
            };
            let owner = owner.unwrap_or_default();
            spelled.extend(words(types.unwrap_or_default().1).map(|word| (word.to_owned(), owner.clone())));
            continue;
        };
        if rest.contains("fn ") {
            rest = rest.trim_start_matches("const ");
        }
        let mut start = words(rest).map(str::to_owned);
        let (kind, name) = (start.next().unwrap_or_default(), start.next().unwrap_or_default());
        drop(start);
        match kind.as_str() {
            "use" | "mod" => continue,
            "fn" | "struct" | "enum" | "trait" | "type" | "const" => {
                while !line.contains(['{', ';']) {
                    line.push_str(lines.next().expect("the rest of a signature"));
                }
                if matches!(kind.as_str(), "enum" | "trait") && !line.ends_with('}') {
                    body = Some((name.clone(), indent));
                }
                spelled.extend(words(&line).map(|word| (word.to_owned(), name.clone())));
                items.push((name, kind));
            }
            _ => spelled.extend(words(&line).skip(2).map(|word| (word.to_owned(), String::new()))),
        }
    }
}

/// Public names of a library that neither its examples nor its users contain, unless they are types or constants in the
/// signature of another item: errors, results, settings, parts of networks.
fn unexplained(library: &BTreeMap<String, String>, users: &[String]) -> BTreeSet<String> {
    let (mut items, mut spelled) = (Items::new(), Spelled::new());
    let shown: Vec<String> = library.values().map(|text| examples(text)).chain(users.iter().cloned()).collect();
    let used: BTreeSet<&str> = shown.iter().flat_map(|text| words(text)).collect();
    for (_, text) in library.iter().filter(|(file, _)| !is_test(file)) {
        read_public(text, &mut items, &mut spelled);
    }
    items.retain(|(name, kind)| {
        let reached = kind != "fn" && spelled.iter().any(|(word, owner)| word == name && owner != name);
        !used.contains(name.as_str()) && !reached
    });
    items.into_iter().map(|(name, _)| name).collect()
}

#[test]
fn public_names_have_an_example_or_a_reason() {
    let users = ["examples", "benches", "../pushforward-cli/src", "../pushforward-server/src"]
        .map(|f| crate_root().join("..").join(f));
    let users: Vec<String> = users.iter().flat_map(|f| sources(f).into_values()).map(|text| code(&text)).collect();
    let found = unexplained(&library(), &users);
    let reasons: BTreeSet<String> = EXPLAINED.iter().map(|(name, _)| (*name).to_owned()).collect();
    let stray: Vec<_> = found.difference(&reasons).collect();
    assert!(stray.is_empty(), "hide these names, or show them in an example of the documentation: {stray:?}");
    let stale: Vec<_> = reasons.difference(&found).collect();
    assert!(stale.is_empty(), "these names need no reason in EXPLAINED any more: {stale:?}");
}

#[test]
fn stray_names_are_found() {
    let text = "/// ```\n/// shown(LOUD);\n/// ```\n/// ```text\n/// equation\n/// ```\npub fn shown(x: Part) -> Kind {\n    \
                pub const LOUD: u8 = 1;\n}\npub struct Part {\n    pub field: Field,\n}\npub struct Field;\n\
                pub enum Kind {\n    Variant(Inner),\n}\npub struct Inner;\npub struct Lost;\n\
                pub fn equation(\n    x: u8,\n) -> u8 {}\npub(crate) fn hidden() {}\npub const fn used() {}\n";
    let library = BTreeMap::from([("a.rs".to_owned(), text.to_owned())]);
    let found = unexplained(&library, &["used()".to_owned()]);
    assert_eq!(found, BTreeSet::from(["Lost".to_owned(), "equation".to_owned()]));
}
