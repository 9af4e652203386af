//! Damaged inputs for every parser of the library: `experiments/fuzz.sh`, or the program itself with `TARGET COUNT [SEED]`.
//!
//! Inputs are mutations of sound ones: bytes changed, removed, repeated and exchanged, and numbers and signs put in that
//! parsers stumble over. A parser may refuse an input, but neither panic nor take longer than [`SLOW`]. The script
//! `experiments/fuzz.sh` runs all targets under a limit of memory. The input that is being read lies in the file that
//! the environment variable `FUZZ_CURRENT` names, so that it is known after an abort.

#![allow(clippy::print_stdout, reason = "a program of its own, which reports what it finds")]

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use pushforward::chem;
use pushforward::chem::substructure::Pattern;
use pushforward::data::graph::{GraphLayout, NodeClass};
use pushforward::data::images::idx::Idx;
use pushforward::data::tables::Where;
use pushforward::data::{DataConfig, Layout, Schema, Vocabulary};
use pushforward::flow_map::network::NetworkConfig;
use pushforward::flow_map::steer::Reward as _;
use pushforward::prelude::*;
use pushforward::reward::{Context, Spec};
use pushforward::rng::{Purpose, Stream, stream};
use pushforward::run::{WeightSet, load};

/// Longest time for an input.
const SLOW: Duration = Duration::from_secs(1);
/// Largest input in bytes, apart from what a mutation adds.
const LARGEST: usize = 1 << 16;
/// What parsers stumble over.
const TOKENS: &[&str] = &[
    "0",
    "-1",
    "1e300",
    "-1e-320",
    "nan",
    "inf",
    "18446744073709551615",
    "9007199254740993",
    "2147483648",
    "1000000000",
    "\"",
    "'",
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "=",
    ",",
    ";",
    "\t",
    "\n",
    "\r",
    "\0",
    "\u{feff}",
    "%",
    "#",
    "\\",
    "..",
    "//",
    "C",
    "c1",
    "[nH]",
    "=O",
    "\u{e9}",
    "\u{1f600}",
    "-",
    "+",
    "*",
    "@@",
];

/// Reads an input; what comes of it does not matter.
type Parse = Box<dyn Fn(&[u8])>;

/// A parser under test, with sound inputs.
struct Target {
    name: &'static str,
    seeds: Vec<Vec<u8>>,
    parse: Parse,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let number = |i: usize| arguments.get(i).and_then(|n| n.parse::<u64>().ok());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let targets = targets(folder.path());
    let wanted = arguments.first().map_or("all", String::as_str);
    let (count, seed) = (number(1).unwrap_or(1000), number(2).unwrap_or(0));
    let mut found = 0;
    for target in targets.iter().filter(|target| wanted == "all" || wanted == target.name) {
        found += run(target, count, seed);
    }
    std::process::exit(i32::from(found > 0));
}

/// Feeds `count` mutated inputs to a parser; returns the number of panics and slow inputs, which are printed.
fn run(target: &Target, count: u64, seed: u64) -> usize {
    let current = std::env::var_os("FUZZ_CURRENT");
    let (mut found, mut slowest) = (0, Duration::ZERO);
    std::panic::set_hook(Box::new(|_| {}));
    for index in 0..count {
        let input = mutated(target, &mut stream(seed, Purpose::Metric, index));
        if let Some(path) = &current {
            std::fs::write(path, &input).expect("the file of the current input can be written");
        }
        let read = || {
            let start = Instant::now();
            let panicked = catch_unwind(AssertUnwindSafe(|| (target.parse)(&input))).is_err();
            (panicked, start.elapsed())
        };
        let (panicked, mut taken) = read();
        if taken > SLOW {
            // Other work on the machine may have been slow.
            taken = taken.min(read().1);
        }
        slowest = slowest.max(taken);
        if panicked || taken > SLOW {
            found += 1;
            let what = if panicked { "panics" } else { "is slow" };
            let shown: String = String::from_utf8_lossy(&input).escape_debug().take(300).collect();
            println!("{}: input {index} of seed {seed} {what} ({taken:?}): {shown}", target.name);
        }
    }
    let _ = std::panic::take_hook();
    println!("{}: {count} inputs, {found} found, slowest {slowest:?}", target.name);
    found
}

fn mutated(target: &Target, random: &mut Stream) -> Vec<u8> {
    let mut input = target.seeds[random.below(target.seeds.len())].clone();
    for _ in 0..1 + random.below(4) {
        let at = random.below(input.len() + 1);
        let end = (at + 1 + random.below(8)).min(input.len());
        match random.below(9) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.below(256) as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let part = input[at..end].to_vec();
                let most = if random.below(50) == 0 { 2000 } else { 3 };
                let copies = 1 + random.below(most);
                input.splice(at..at, part.repeat(copies));
            }
            4 => input.truncate(at),
            5 => {
                let other = &target.seeds[random.below(target.seeds.len())];
                input.truncate(at);
                input.extend_from_slice(&other[random.below(other.len() + 1)..]);
            }
            6 => {
                // A number is replaced by another one.
                let digits = |i: &usize| input[*i].is_ascii_digit();
                let numbers: Vec<usize> = (0..input.len()).filter(digits).collect();
                if !numbers.is_empty() {
                    let first = numbers[random.below(numbers.len())];
                    let last = (first..input.len()).find(|i| !digits(i)).unwrap_or(input.len());
                    input.splice(first..last, TOKENS[random.below(10)].bytes());
                }
            }
            _ => drop(input.splice(at..at, TOKENS[random.below(TOKENS.len())].bytes())),
        }
        input.truncate(LARGEST);
    }
    input
}

fn text_of(input: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(input)
}

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

const SMILES: &[&str] =
    &["CC(=O)Oc1ccccc1C(=O)O", "C[N+](=O)[O-]", "c1cc[nH]c1", "F/C=C/F", "[13CH4]", "N#CC1(C=O)CC1.O"];
const RECIPE: &str = "name = 'tiny'\nseed = 3\ndata = { set = 'echo', letters = 3 }\n[model]\nfamily = 'flow-map'\n\
    network = { kind = 'dit', width = 16, blocks = 1, heads = 2 }\nobjective = { share = 0.5, off_diagonal = { kind = \
    'csd' } }\n[train]\nsteps = 2\nbatch = 4\nlr = 1e-3\nema = { decay = 0.99 }\n[eval]\nnfe = [1, 2]\n";
const TABLE: &str = "smiles,name,logp\nCCO,\"ethanol, pure\",-0.3\nc1ccccc1,benzene,2.1\nCC(=O)O,acid,-0.2\n";

fn targets(folder: &Path) -> Vec<Target> {
    let file = |name: &str| folder.join(name);
    let (idx, molecules, text, tokenizer, checkpoint) =
        (file("a.idx"), file("m.csv"), file("t.txt"), file("t.json"), file("c.safetensors"));
    let sound_checkpoint = a_checkpoint(&folder.join("run"));
    let in_folder = folder.to_path_buf();
    let of_tokens = folder.to_path_buf();
    let write = |path: &Path, input: &[u8]| std::fs::write(path, input).expect("the folder can be written to");
    let load_data = |settings: &str, folder: &Path| {
        let config: DataConfig = toml::from_str(settings).expect("sound settings");
        let _ = config.load(folder, 0);
    };
    let (records, of_records) = (folder.join("s.fa"), folder.to_path_buf());
    let (rows, of_rows) = (folder.join("r.csv"), folder.to_path_buf());
    write(&rows, ROWS.as_bytes());
    let config: DataConfig = toml::from_str("set = 'table'\npath = 'r.csv'").expect("sound settings");
    let splits = config.load(folder, 0).expect("a sound table");
    let Layout::Columns(dictionary) = splits.schema().layout.clone() else { panic!("a table has columns") };
    let target = |name, seeds, parse: Parse| Target { name, seeds, parse };
    vec![
        target(
            "recipe",
            seeds(&[RECIPE]),
            Box::new(|input| {
                let _ = Recipe::<NetworkConfig>::parse(&text_of(input), "fuzz", &[]);
            }),
        ),
        target(
            "override",
            seeds(&["train.lr=1e-3", "model.network.width=32", "eval.nfe=[1,2]"]),
            Box::new(|input| {
                let _ = Recipe::<NetworkConfig>::parse(RECIPE, "fuzz", &[text_of(input).into_owned()]);
            }),
        ),
        target(
            "smiles",
            seeds(SMILES),
            Box::new(|input| {
                let text = text_of(input);
                let _ = (chem::read(&text), chem::smiles::canonical_text(&text));
            }),
        ),
        target(
            "smarts",
            seeds(&["C(=O)[OX2H1]", "[!#6;!R]~[$(c1ccccc1)]", "[#7,#8]"]),
            Box::new(|input| {
                let _ = Pattern::of(&text_of(input)).map(|_| ());
            }),
        ),
        target(
            "idx",
            vec![[&[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2][..], &[7; 8]].concat()],
            Box::new(move |input| {
                write(&idx, input);
                let _ = Idx::read(&idx);
            }),
        ),
        target(
            "table",
            seeds(&[TABLE, &TABLE.replace(',', "\t"), "CCO\nCCN x\nCCC\n"]),
            Box::new(move |input| {
                write(&molecules, input);
                load_data("set = 'molecules'\npath = 'm.csv'", &in_folder);
            }),
        ),
        target(
            "rows",
            seeds(&[ROWS, &ROWS.replace(',', ";"), "a b\n1 2\n3 4\n5 6\n7 8\n"]),
            Box::new(move |input| {
                write(&rows, input);
                load_data("set = 'table'\npath = 'r.csv'\nbins = 4", &of_rows);
            }),
        ),
        target(
            "sequences",
            seeds(&[
                ">a x=1\nACGT\nAC\n>b x=2\nACGA\n>c x=1\nTTTA\n>d x=2\nGGGA\n",
                "@a\nACGT\n+\n!!!!\n@b\nACG\n+\n!!!\n@c\nAC\n+\n!!\n",
                "emma\nolivia\nava\nmia\n",
            ]),
            Box::new(move |input| {
                write(&records, input);
                load_data("set = 'sequences'\npath = 's.fa'\nsplit = { clusters = { k = 3 } }", &of_records);
            }),
        ),
        target(
            "where",
            seeds(&["sex=Female, age=30..40", "education in (\"Bachelors, or so\", Masters)", "age!=, day<2020-02-01"]),
            Box::new(move |input| {
                if let Ok(condition) = Where::parse(&text_of(input)) {
                    let _ = dictionary.classes_where(&condition);
                }
            }),
        ),
        target(
            "tokenizer",
            vec![TOKENIZER.as_bytes().to_vec()],
            Box::new(move |input| {
                write(&text, b"the cat sat on the mat\nthe cat sat\n");
                write(&tokenizer, input);
                load_data("set = 'text'\nlength = 4\npath = 't.txt'\ntokenizer = 't.json'", &of_tokens);
            }),
        ),
        target(
            "reward",
            seeds(&[
                "2*qed - 0.5*window(logp, 1..3)",
                "substructure(\"C=O\") + rings",
                "tanimoto(\"CCO\")",
                "contains(\"ab\") + matches(\"a.b\")",
                "word_length * 2",
                "site(0, 0..2)",
            ]),
            Box::new(|input| {
                let text = text_of(input);
                let data = DataConfig::Checker(Default::default());
                for schema in [molecules_schema(), text_schema()] {
                    let ids = vec![0; schema.sites];
                    let context = Context { schema: &schema, data: &data, classifier: None, scorer: None };
                    let _ = Spec::new(&text, context).map(|spec| spec.score(&ids).map(|_| ()));
                }
            }),
        ),
        target(
            "checkpoint",
            vec![sound_checkpoint],
            Box::new(move |input| {
                write(&checkpoint, input);
                let _ = load::<NetworkConfig>(&checkpoint, WeightSet::Ema, &Device::flex());
            }),
        ),
    ]
}

const ROWS: &str = "age,sex,day,note\n39,Male,2020-01-02,\"a, b\"\n50,Female,2020-01-03,\n?,Female,2020-03-04,x\n38.5,Male,,y\n\
                    28,Female,2021-12-31,\"say \"\"no\"\"\"\n";

const TOKENIZER: &str = r#"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{"id": 1, "content":
 "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}], "normalizer":
 null, "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null, "model": {"type":
 "WordLevel", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "[SEP]": 1, "the": 2, "cat": 3, "sat": 4, "on": 5, "mat": 6}}}"#;

fn molecules_schema() -> Schema {
    let node_classes = ["C", "O"].map(|e| NodeClass { element: e.into(), charge: 0 }).to_vec();
    let layout = GraphLayout { nodes: 2, node_classes, edge_classes: 4, sizes: vec![0, 1, 1] };
    Schema { sites: 3, classes: 4, layout: Layout::Graph(layout) }
}

fn text_schema() -> Schema {
    Schema { sites: 6, classes: 27, layout: Layout::Text { vocabulary: Vocabulary::text8() } }
}

/// The bytes of a sound checkpoint.
fn a_checkpoint(folder: &Path) -> Vec<u8> {
    let small = "network = { kind = 'mlp', width = 4, blocks = 1, time_width = 4 }";
    let text = RECIPE.replace("network = { kind = 'dit', width = 16, blocks = 1, heads = 2 }", small);
    let recipe: Recipe = Recipe::parse(&text, "fuzz", &[]).expect("a sound recipe");
    let data = Data::load(&recipe, Path::new("not read: this set is synthetic")).expect("a synthetic set");
    let options = TrainOptions { folder: Some(folder.to_path_buf()), ..TrainOptions::new(Device::flex()) };
    train(&recipe, &data, options, &mut |_| ControlFlow::Continue(())).expect("two steps");
    std::fs::read(pushforward::run::checkpoint_file(folder)).expect("the run has a checkpoint")
}
