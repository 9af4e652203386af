//! Constraints from the command line: texts with blanks, patterns of sequences, masks, scaffolds, forbidden and required classes.

use std::path::Path;

use pushforward::chem;
use pushforward::data::graph::{GraphLayout, NodeClass, pair_index};
use pushforward::data::sequences::SequenceLayout;
use pushforward::data::tables::Where;
use pushforward::data::{Layout, Schema, Vocabulary};
use pushforward::flow_map::constraint::{Constraint, ConstraintError};
use pushforward::flow_map::sample::{GraphPart, ObservedRow};
use pushforward::run::site_shape;

use crate::args::ConstraintArgs;
use crate::escapes;
use crate::exit::{Failure, OrFail as _};
use crate::molecule_files::molecular;

/// A blank in a text.
const BLANK: char = '_';

/// The constraint, `None` without options, and for graphs the numbers of nodes that can hold it.
pub(crate) struct Constraints {
    pub(crate) constraint: Option<Constraint>,
    /// The part of a graph that it keeps.
    pub(crate) part: Option<GraphPart>,
    /// How often samples have each number of nodes of a graph or letters of a sequence; empty for the model's own numbers.
    pub(crate) sizes: Vec<u64>,
    /// Number of nodes of a graph, or letters of a sequence, that it must have for the constrained ones to exist.
    pub(crate) nodes: usize,
    /// Of a table, the conditions on its columns.
    pub(crate) wanted: Option<Wanted>,
}

/// Conditions on the columns of a table.
pub(crate) struct Wanted {
    pub(crate) condition: Where,
    /// For each site, the share of every class that fulfils them; `None` for sites without a condition.
    pub(crate) weights: Vec<Option<Vec<f64>>>,
}

impl Wanted {
    fn of(text: &str, schema: &Schema) -> Result<Self, Failure> {
        let Layout::Columns(table) = &schema.layout else { return Err(other_layout("--where", "tables")) };
        let condition = Where::parse(text).or_request()?;
        let weights = table.classes_where(&condition).or_request()?;
        Ok(Self { condition, weights })
    }
}

impl Constraints {
    /// The constraints of a request.
    pub(crate) fn of(args: &ConstraintArgs, schema: &Schema) -> Result<Self, Failure> {
        let free = Constraint::all(site_shape(schema));
        let (mut constraint, mut needed) = (free.clone(), 0);
        if let Some(text) = &args.infill {
            match &schema.layout {
                Layout::Sequence(layout) => (constraint, needed) = pattern(constraint, text, layout)?,
                _ => constraint = infill(constraint, text, schema)?,
            }
        }
        if let Some(path) = &args.mask {
            constraint = mask(constraint, path, schema)?;
        }
        if let Some(classes) = &args.forbid {
            let nodes = if let Layout::Graph(layout) = &schema.layout { layout.nodes } else { schema.sites };
            for class in named(classes, schema)? {
                for site in 0..nodes {
                    constraint = constraint.forbid(site, class).or_request()?;
                }
            }
        }
        for wanted in &args.require {
            let spelled = || Failure::request(format!("--require is SITE:CLASSES, found {wanted:?}"));
            let (site, classes) = wanted.split_once(':').ok_or_else(spelled)?;
            let site: usize = site.trim().parse().map_err(|_| spelled())?;
            constraint = constraint.only(site, &named(classes, schema)?).or_request()?;
            needed = needed.max(room(site, schema));
        }
        let mut part = None;
        if let Some(smiles) = &args.fix {
            let layout = molecular(schema).ok_or_else(|| other_layout("--fix", "molecules"))?;
            let (with, nodes) = scaffold(constraint.clone(), smiles, layout)?;
            part = Some(GraphPart { nodes, otherwise: (constraint != free).then_some(constraint) });
            (constraint, needed) = (with, needed.max(nodes));
        }
        let sizes = sizes(schema, needed)?;
        let wanted = args.wanted.as_ref().map(|text| Wanted::of(text, schema)).transpose()?;
        Ok(Self { constraint: (constraint != free).then_some(constraint), part, sizes, nodes: needed, wanted })
    }

    /// Fixes sites, and leaves out sizes that have no room for them.
    pub(crate) fn keep(&mut self, kept: impl Iterator<Item = (usize, u32)>, schema: &Schema) -> Result<(), Failure> {
        for (site, class) in kept {
            let fixed = |open: Option<Constraint>| {
                open.unwrap_or_else(|| Constraint::all(site_shape(schema))).fix(site, class).or_request().map(Some)
            };
            self.constraint = fixed(self.constraint.take())?;
            if let Some(part) = &mut self.part {
                part.otherwise = fixed(part.otherwise.take())?;
            }
            self.nodes = self.nodes.max(room(site, schema));
        }
        self.sizes = sizes(schema, self.nodes)?;
        Ok(())
    }

    /// Leaves out the lengths of sequences that have no room for what they are told.
    pub(crate) fn make_room(&mut self, observed: &[ObservedRow], schema: &Schema) -> Result<(), Failure> {
        if matches!(schema.layout, Layout::Sequence(_)) {
            let told = |row: &ObservedRow| row.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
            self.nodes = observed.iter().map(told).fold(self.nodes, usize::max);
            self.sizes = sizes(schema, self.nodes)?;
        }
        Ok(())
    }

    /// The constraint, with the classes closed that no row under the conditions has.
    pub(crate) fn closed(&self, schema: &Schema) -> Result<Option<Constraint>, Failure> {
        let Some(wanted) = &self.wanted else { return Ok(self.constraint.clone()) };
        let constraint = self.constraint.clone().unwrap_or_else(|| Constraint::all(site_shape(schema)));
        constraint.weighted(&wanted.weights).map(Some).or_request()
    }

    /// Numbers of nodes or letters of the samples: with --nodes or --length, all items have that size.
    pub(crate) fn sizes_with(
        &self,
        nodes: Option<usize>,
        length: Option<usize>,
        schema: &Schema,
    ) -> Result<Vec<u64>, Failure> {
        let (n, option, [items, parts], longest) = match (nodes, length, &schema.layout) {
            (None, None, _) => return Ok(self.sizes.clone()),
            (Some(n), None, Layout::Graph(graph)) => (n, "--nodes", ["graphs", "nodes"], graph.nodes),
            (None, Some(n), Layout::Sequence(sequence)) => {
                (n, "--length", ["sequences", "letters"], sequence.longest())
            }
            (Some(_), ..) => return Err(Failure::request("--nodes is for models of graphs").hint("leave it out")),
            _ => return Err(Failure::request("--length is for models of sequences").hint("leave it out")),
        };
        if n > longest {
            return Err(Failure::request(format!("the {items} of this model have at most {longest} {parts}")));
        }
        if n < self.nodes {
            let needed = self.nodes;
            return Err(Failure::request(format!(
                "{option} {n} has no room for the {needed} {parts} that are constrained"
            ))
            .hint(format!("give {option} {needed} or more")));
        }
        Ok((0..=n).map(|i| u64::from(i == n)).collect())
    }
}

/// Number of nodes or letters that an item with this site has at least.
fn room(site: usize, schema: &Schema) -> usize {
    match &schema.layout {
        Layout::Graph(layout) => nodes_of(site, layout.nodes),
        Layout::Sequence(_) => site + 1,
        _ => 0,
    }
}

fn other_layout(option: &str, kind: &str) -> Failure {
    Failure::request(format!("{option} is for models of {kind}")).hint("use --require SITE:CLASSES")
}

pub(crate) fn characters(schema: &Schema) -> Option<&Vocabulary> {
    match &schema.layout {
        Layout::Text { vocabulary: vocabulary @ Vocabulary::Characters(_) } => Some(vocabulary),
        _ => None,
    }
}

fn infill(constraint: Constraint, text: &str, schema: &Schema) -> Result<Constraint, Failure> {
    let vocabulary = characters(schema).ok_or_else(|| other_layout("--infill", "text by characters"))?;
    let symbols = escapes::characters(text).map_err(|e| Failure::request(format!("--infill: {e}")))?;
    let length = symbols.len();
    if length > schema.sites {
        return Err(Failure::request(format!("--infill has {length} symbols, and an item has {}", schema.sites)));
    }
    let fixed = symbols.into_iter().enumerate().filter(|(_, symbol)| *symbol != (BLANK, false));
    fixed.into_iter().try_fold(constraint, |constraint, (site, (c, _))| {
        let class = vocabulary.encode(&c.to_string()).or_request()?;
        constraint.fix(site, class[0]).or_request()
    })
}

/// The pattern of a sequence, and the number of letters that it needs. It begins at the first letter, or at the place,
/// counted from 1, that stands before it and a colon.
fn pattern(constraint: Constraint, text: &str, layout: &SequenceLayout) -> Result<(Constraint, usize), Failure> {
    let placed = text.split_once(':').and_then(|(place, rest)| Some((place.trim().parse::<usize>().ok()?, rest)));
    let (first, letters) = match placed {
        Some((0, _)) => return Err(Failure::request("--infill: letters are counted from 1")),
        Some((place, rest)) => (place - 1, rest),
        None => (0, text),
    };
    let needed = first.saturating_add(letters.chars().count());
    if needed > layout.longest() {
        let longest = layout.longest();
        return Err(Failure::request(format!(
            "--infill ends at letter {needed}, and sequences have at most {longest}"
        )));
    }
    let mut constraint = constraint;
    for (site, letter) in (first..).zip(letters.chars()).filter(|(_, letter)| *letter != BLANK) {
        let classes = classes(letter, layout)?;
        constraint = constraint.only(site, &classes).or_request()?;
    }
    Ok((constraint, needed))
}

/// The classes that a letter of a pattern stands for.
fn classes(letter: char, layout: &SequenceLayout) -> Result<Vec<u32>, Failure> {
    let classes = layout.classes_of(letter);
    if classes.is_empty() {
        let known: String = layout.letters().iter().take(100).collect();
        return Err(Failure::request(format!(
            "{letter:?} is none of the letters {known}, and stands for none of them"
        ))
        .hint(format!("{BLANK} stands for any letter")));
    }
    Ok(classes)
}

/// The classes of the letters of a sequence, each of which stands for itself.
pub(crate) fn spelled(text: &str, layout: &SequenceLayout) -> Result<Vec<u32>, Failure> {
    let one = |letter: char| match classes(letter, layout)?[..] {
        [class] => Ok(class),
        _ => Err(Failure::request(format!("{letter:?} stands for several letters")).hint("use --infill")),
    };
    text.chars().map(one).collect()
}

fn mask(constraint: Constraint, path: &Path, schema: &Schema) -> Result<Constraint, Failure> {
    let Layout::Image { height, width } = schema.layout else { return Err(other_layout("--mask", "images")) };
    let picture = image::open(path).map_err(|e| Failure::request(format!("{}: {e}", path.display())))?;
    let has_alpha = picture.color().has_alpha();
    let picture = picture.to_luma_alpha8();
    if (picture.height() as usize, picture.width() as usize) != (height, width) {
        return Err(Failure::request(format!(
            "{} is {} x {} pixels high and wide, the images are {height} x {width}",
            path.display(),
            picture.height(),
            picture.width()
        )));
    }
    let levels = schema.classes as u32;
    let kept = picture.pixels().enumerate().filter(|(_, pixel)| {
        let [grey, alpha] = pixel.0;
        if has_alpha { alpha >= 128 } else { !(64..192).contains(&grey) }
    });
    let fix = |constraint: Constraint, (site, pixel): (usize, &image::LumaA<u8>)| {
        constraint.fix(site, (u32::from(pixel.0[0]) * levels / 256).min(levels - 1))
    };
    kept.into_iter().try_fold(constraint, fix).or_request()
}

/// The atoms of a molecule as the first nodes, with every pair among them.
fn scaffold(constraint: Constraint, smiles: &str, layout: &GraphLayout) -> Result<(Constraint, usize), Failure> {
    let read = chem::read(smiles).map_err(|e| Failure::request(format!("--fix {smiles:?}: {e}")))?.molecule;
    let (atoms, n) = (read.atoms(), read.atoms().len());
    if n > layout.nodes {
        return Err(Failure::request(format!("--fix has {n} atoms, more than the molecules of this model")));
    }
    let class = |atom| {
        let place = layout.node_classes.iter().position(|c| *c == NodeClass::of(atom));
        place.ok_or_else(|| {
            Failure::request(format!(
                "--fix has an atom {:?} that this model does not have",
                NodeClass::of(atom).element
            ))
        })
    };
    let mut constraint = constraint;
    for (i, &atom) in atoms.iter().enumerate() {
        constraint = constraint.fix(i, class(atom)? as u32).or_request()?;
    }
    for (i, j) in (0..n).flat_map(|i| (i + 1..n).map(move |j| (i, j))) {
        let bond = read.bonds().iter().find(|b| (b.from.min(b.to), b.from.max(b.to)) == (i, j));
        let site = layout.nodes + pair_index(i, j, layout.nodes);
        constraint = constraint.fix(site, bond.map_or(0, |b| u32::from(b.order))).or_request()?;
    }
    Ok((constraint, n))
}

/// Number of nodes that a graph needs for a site to exist.
fn nodes_of(site: usize, nodes: usize) -> usize {
    let mut pairs = (0..nodes).flat_map(|i| i + 1..nodes);
    match site.checked_sub(nodes) {
        None => site + 1,
        Some(pair) => pairs.nth(pair).map_or(nodes, |j| j + 1),
    }
}

/// How often samples have each number of nodes or letters, of which so many are needed; empty for the model's own numbers.
fn sizes(schema: &Schema, needed: usize) -> Result<Vec<u64>, Failure> {
    match &schema.layout {
        Layout::Graph(layout) if needed > 0 => large_enough(layout, needed),
        Layout::Sequence(layout) if needed > 0 && layout.varies() => {
            let sizes: Vec<u64> =
                layout.lengths.iter().enumerate().map(|(n, &c)| if n < needed { 0 } else { c }).collect();
            if sizes.iter().all(|&count| count == 0) {
                // No training sequence is as long.
                return Ok((0..=layout.longest()).map(|n| u64::from(n >= needed)).collect());
            }
            Ok(sizes)
        }
        _ => Ok(Vec::new()),
    }
}

/// The model's numbers of nodes without those below `needed`: a node that does not exist keeps no constraint.
fn large_enough(layout: &GraphLayout, needed: usize) -> Result<Vec<u64>, Failure> {
    let sizes: Vec<u64> = layout.sizes.iter().enumerate().map(|(n, &c)| if n < needed { 0 } else { c }).collect();
    if sizes.iter().all(|&c| c == 0) {
        let problem = format!("{needed} nodes are constrained, more than the graphs of this model have");
        return Err(Failure::request(problem));
    }
    Ok(sizes)
}

/// Class indices by name.
fn named(text: &str, schema: &Schema) -> Result<Vec<u32>, Failure> {
    if let Some(vocabulary) = characters(schema) {
        return vocabulary.encode(&escapes::unescape(text).map_err(Failure::request)?).or_request();
    }
    if let Layout::Sequence(layout) = &schema.layout {
        let all: Result<Vec<Vec<u32>>, Failure> = text.chars().map(|letter| classes(letter, layout)).collect();
        return Ok(all?.concat());
    }
    let layout = molecular(schema);
    let one = |name: &str| {
        let name = name.trim();
        let spelled = |c: &NodeClass| match c.charge {
            0 => c.element == name,
            charge => format!("{}{charge:+}", c.element) == name,
        };
        let by_name = layout.and_then(|l| l.node_classes.iter().position(spelled)).map(|k| k as u32);
        by_name.or_else(|| name.parse().ok()).ok_or_else(|| {
            let known = layout.map_or_else(
                || format!("the classes are 0 to {}", schema.classes - 1),
                |l| {
                    l.node_classes
                        .iter()
                        .map(|c| if c.charge == 0 { c.element.clone() } else { format!("{}{:+}", c.element, c.charge) })
                        .collect::<Vec<_>>()
                        .join(", ")
                },
            );
            Failure::request(format!("{name:?} is no class: {known}"))
        })
    };
    text.split(',').map(one).collect()
}

impl From<ConstraintError> for Failure {
    fn from(error: ConstraintError) -> Self {
        Self::Request(error.into())
    }
}

#[cfg(test)]
mod tests {
    use pushforward::data::Vocabulary;
    use pushforward::rng::{Purpose, stream};

    use super::*;

    fn text() -> Schema {
        let vocabulary = Vocabulary::Characters("ab ".chars().collect());
        Schema { sites: 4, classes: 3, layout: Layout::Text { vocabulary } }
    }

    fn graph() -> Schema {
        let node_classes = ["C", "O"].map(|e| NodeClass { element: e.into(), charge: 0 }).to_vec();
        let layout = GraphLayout { nodes: 3, node_classes, edge_classes: 4, sizes: vec![0, 5, 3, 2] };
        Schema { sites: 6, classes: 4, layout: Layout::Graph(layout) }
    }

    fn free(schema: &Schema) -> Constraint {
        Constraint::all(site_shape(schema))
    }

    #[test]
    fn blanks_are_free_and_the_rest_is_fixed() {
        let found = infill(free(&text()), "b_ ", &text()).unwrap();
        assert_eq!(found.fixed().collect::<Vec<_>>(), [(0, 1), (2, 2)]);
        assert!(infill(free(&text()), "bbbbb", &text()).is_err() && infill(free(&text()), "x", &text()).is_err());
        assert_eq!(named("ab", &text()).unwrap(), [0, 1]);
    }

    #[test]
    fn scaffolds_fix_atoms_and_the_pairs_between_them() {
        let schema = graph();
        let layout = molecular(&schema).unwrap();
        let (constraint, needed) = scaffold(free(&schema), "C=O", layout).unwrap();
        assert_eq!((needed, large_enough(layout, needed).unwrap()), (2, vec![0, 0, 3, 2]));
        // Pairs (0,1) (0,2) (1,2) follow the three nodes.
        assert_eq!([0, 2, 3, 4, 5].map(|site| nodes_of(site, 3)), [1, 3, 2, 3, 3]);
        let args = |require: &str| ConstraintArgs {
            infill: None,
            mask: None,
            fix: None,
            forbid: Some("O".into()),
            require: vec![require.into()],
            wanted: None,
        };
        let found = Constraints::of(&args("4:0,1"), &schema).unwrap();
        assert_eq!((found.nodes, found.sizes), (3, vec![0, 0, 0, 2]));
        let mut fixed: Vec<_> = constraint.fixed().collect();
        fixed.sort_unstable();
        assert_eq!((fixed.len(), fixed[2]), (3, (3, 2)), "{fixed:?}");
        assert!(scaffold(free(&schema), "CCCC", layout).is_err() && scaffold(free(&schema), "CN", layout).is_err());
        assert_eq!(named("O, C", &schema).unwrap(), [1, 0]);
        assert!(named("N", &schema).is_err());
    }

    #[test]
    fn masks_keep_black_and_white() {
        let schema = Schema { sites: 4, classes: 2, layout: Layout::Image { height: 2, width: 2 } };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mask.png");
        image::GrayImage::from_raw(2, 2, vec![0, 128, 255, 100]).unwrap().save(&path).unwrap();
        let found = mask(free(&schema), &path, &schema).unwrap();
        assert_eq!(found.fixed().collect::<Vec<_>>(), [(0, 0), (2, 1)]);
        assert!(mask(free(&text()), &path, &text()).is_err());
    }

    #[test]
    fn any_text_gives_a_constraint_or_an_error() {
        const PARTS: [&str; 18] = [
            "a",
            "b",
            " ",
            "_",
            "\\",
            "\\n",
            "C",
            "O",
            "=O",
            "c1",
            "(",
            ")",
            "+1",
            ",",
            ":",
            "99999999999999999999",
            "-1",
            "\u{1f600}",
        ];
        for index in 0..3000 {
            let mut random = stream(0, Purpose::Metric, index);
            let mut text = || (0..random.below(6)).map(|_| PARTS[random.below(PARTS.len())]).collect::<String>();
            for schema in [self::text(), graph()] {
                let args = ConstraintArgs {
                    infill: Some(text()),
                    forbid: Some(text()),
                    require: vec![format!("{}:{}", text(), text())],
                    ..ConstraintArgs::default()
                };
                let _ = Constraints::of(&args, &schema);
                let _ = Constraints::of(&ConstraintArgs { fix: Some(text()), ..ConstraintArgs::default() }, &schema);
                let _ = Constraints::of(&ConstraintArgs { forbid: Some(text()), ..ConstraintArgs::default() }, &schema);
            }
        }
    }
}
