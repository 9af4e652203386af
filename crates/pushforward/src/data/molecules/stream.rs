//! Files of SMILES of any size, prepared in a stream: a pass for the labels if a column has them, and one that writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::chem::{Atom, Bond, Element, Molecule};
use crate::data::files::{self, Folders, Source, head};
use crate::data::graph::{GraphLayout, NodeClass};
use crate::data::label_texts::LabelTexts;
use crate::data::molecules::column::{self, Columns, Text, Texts};
use crate::data::molecules::files::{Choice, MoleculeConfig, SmilesFileConfig, refusal};
use crate::data::molecules::known::{ANY, Known, QM9, ZINC250K};
use crate::data::molecules::labelling::MoleculeLabelling;
use crate::data::molecules::labels::{self, MoleculeLabel};
use crate::data::molecules::prepared::{Prepared, prepare};
use crate::data::molecules::set::sorted;
use crate::data::molecules::split::MoleculeSplit;
use crate::data::own_labels::{Labeller, Tally};
use crate::data::part_names::part_of;
use crate::data::prepared::LabelOf;
use crate::data::prepared::blocks::{Blocks, Cut, sha256_stored};
use crate::data::prepared::index::{About, Form};
use crate::data::prepared::job::Job;
use crate::data::prepared::parting::{Parting, bytes, check_parts};
use crate::data::prepared::shard::Item;
use crate::data::prepared::share::{Found, Kind, written};
use crate::data::prepared::writer::Writer;
use crate::data::{DataError, Layout, Schema};

/// A file, and the part that it holds if it says so.
struct File {
    path: PathBuf,
    part: Option<&'static str>,
    limit: usize,
}

/// What was read of the files.
#[derive(Default, Serialize, Deserialize)]
struct Said {
    column: String,
    notes: Vec<String>,
    refused: BTreeMap<String, u64>,
    first: Option<String>,
}

impl Said {
    fn hear(&mut self, prepared: &mut Prepared) {
        for (reason, count) in std::mem::take(&mut prepared.about.refused) {
            *self.refused.entry(reason).or_default() += count;
        }
        if self.first.is_none() {
            self.first = prepared.about.first.take();
        }
    }

    fn notes(&self) -> Vec<String> {
        let first = self.first.iter().map(|first| format!("first refused: {first}"));
        std::iter::once(format!("SMILES: {}", self.column)).chain(self.notes.iter().cloned()).chain(first).collect()
    }
}

impl Found for Said {
    fn add(&mut self, later: Self) {
        later.refused.into_iter().for_each(|(reason, count)| *self.refused.entry(reason).or_default() += count);
        self.first = self.first.take().or(later.first);
    }
}

/// The files of a set, with what is asked of them.
struct Files<'a> {
    choice: &'a Choice,
    elements: &'a [Element],
    /// The column of labels or names, with the key that names it, and what reads them.
    label: Option<((&'a str, &'static str), LabelTexts)>,
    files: Vec<File>,
    total: u64,
}

impl Files<'_> {
    /// Reads the texts of all files, block by block.
    fn texts(
        &self,
        job: &mut Job<'_>,
        stage: &str,
        take: &mut dyn FnMut(Texts) -> Result<(), DataError>,
    ) -> Result<Said, DataError> {
        let (mut said, mut before) = (Said::default(), 0);
        for file in &self.files {
            let delimiter = column::separator(&head(&file.path)?);
            let mut blocks = Blocks::open(&file.path, delimiter.map_or(Cut::Lines, Cut::Rows))?;
            let (mut columns, mut left, mut empty): (Option<Columns>, _, _) = (None, file.limit, 0);
            while let Some(block) = blocks.next()? {
                let mut texts = match &columns {
                    Some(columns) => column::later(&block.text, &file.path, block.line, columns)?,
                    None => {
                        let label = self.label.as_ref().map(|(column, _)| *column);
                        let choice = (self.choice.column.as_deref(), self.choice.part.as_deref(), label);
                        let part = choice.1.filter(|_| file.part.unwrap_or("train") == "train");
                        let (texts, found) = column::first(&block.text, &file.path, choice.0, part, choice.2)?;
                        columns = found;
                        match file.part {
                            None | Some("train") => {
                                said.column.clone_from(&texts.column);
                                said.notes.extend(texts.notes.iter().cloned());
                            }
                            Some(part) => {
                                said.notes.push(format!("{part}: {}, {}", file.path.display(), texts.column));
                            }
                        }
                        texts
                    }
                };
                empty += texts.empty;
                texts.texts.truncate(left);
                left -= texts.texts.len();
                if let Some(part) = file.part {
                    texts.texts.iter_mut().for_each(|text: &mut Text| text.part = Some(part.to_owned()));
                }
                if let Some((_, labels)) = &self.label {
                    texts.resolve_labels(labels);
                }
                take(texts)?;
                job.tell(stage, before + blocks.read(), self.total)?;
                if left == 0 {
                    break;
                }
            }
            before += blocks.read();
            said.notes.splice(0..0, blocks.notes());
            said.notes.extend((empty > 0).then(|| column::left_out(empty)));
        }
        Ok(said)
    }

    /// Reads the molecules of all files, block by block; of the blocks that are `wanted`.
    fn molecules(
        &self,
        job: &mut Job<'_>,
        stage: &str,
        wanted: impl Fn() -> bool,
        mut take: impl FnMut(Prepared) -> Result<(), DataError>,
    ) -> Result<Said, DataError> {
        let mut all = Said::default();
        let said = self.texts(job, stage, &mut |texts| {
            if !wanted() {
                return Ok(());
            }
            let mut prepared = prepare(texts, |molecule| refusal(molecule, self.choice, self.elements));
            all.hear(&mut prepared);
            take(prepared)
        })?;
        Ok(Said { refused: all.refused, first: all.first, ..said })
    }
}

/// What labels molecules.
enum Labels {
    Property(labels::Labeller),
    Own(Labeller, Vec<String>),
}

/// The number of nodes, the atoms, and ends and order of each bond.
fn encode(molecule: &Molecule, ids: &mut Vec<u32>) {
    ids.clear();
    ids.push(molecule.atoms().len() as u32);
    ids.extend(
        molecule.atoms().iter().map(|atom| 256 * u32::from(atom.element.number()) + u32::from(atom.charge as u8)),
    );
    let bond = |b: &Bond| [b.from.min(b.to) as u32, b.from.max(b.to) as u32, u32::from(b.order)];
    ids.extend(molecule.bonds().iter().flat_map(bond));
}

/// Replaces the atoms of an encoded molecule by their places in a list that grows; returns how many there are.
fn placed(ids: &mut [u32], atoms: &mut Vec<Atom>) -> Option<usize> {
    let (size, rest) = ids.split_first_mut()?;
    for id in rest.get_mut(..*size as usize)? {
        let [charge, element, ..] = id.to_le_bytes();
        let atom = Atom { element: Element::from_number(element)?, charge: charge as i8 };
        let place = atoms.iter().position(|known| *known == atom).unwrap_or_else(|| {
            atoms.push(atom);
            atoms.len() - 1
        });
        *id = place as u32;
    }
    Some(*size as usize)
}

/// What stands for the part of a molecule whose source says none.
const NONE: u8 = 3;

impl MoleculeConfig {
    pub(in crate::data) fn prepare_qm9(&self, folders: Folders<'_>, job: Job<'_>) -> Result<(), DataError> {
        self.prepare(&QM9, None, self.file(&QM9, folders)?, folders, job)
    }

    pub(in crate::data) fn prepare_zinc250k(&self, folders: Folders<'_>, job: Job<'_>) -> Result<(), DataError> {
        self.prepare(&ZINC250K, None, self.file(&ZINC250K, folders)?, folders, job)
    }

    fn prepare(
        &self,
        known: &Known,
        column: Option<&str>,
        path: PathBuf,
        folders: Folders<'_>,
        mut job: Job<'_>,
    ) -> Result<(), DataError> {
        Parting::refuse_counts(self.train, self.validation)?;
        let (choice, elements) = self.choice(known, column)?;
        let by_files = matches!(self.split, Some(MoleculeSplit::Files(_)));
        let limit = self.limit.unwrap_or(usize::MAX);
        let mut files = vec![File { path: path.clone(), part: by_files.then_some("train"), limit }];
        for (part, path) in self.split.iter().flat_map(MoleculeSplit::files) {
            let path = files::existing("split.files", path, folders.data)?;
            files.push(File { path, part: Some(part), limit: usize::MAX });
        }
        let of_labels = choice.label.as_ref().map(|label| label.found_file(folders.data)).transpose()?.flatten();
        let all: Vec<&Path> = files.iter().map(|file| file.path.as_path()).chain(of_labels.as_deref()).collect();
        let (sha256, total) = sha256_stored(&all)?;
        let column = self.label.as_ref().map(MoleculeLabelling::column).transpose()?.flatten();
        let of_labels = of_labels.map(Source::read).transpose()?;
        let texts = choice.label.as_ref().map(|label| LabelTexts::new(label, of_labels)).transpose()?;
        let label = column.zip(texts);
        let mut validates = choice.held_out.contains(&"validation");
        let files = Files { choice: &choice, elements: &elements, label, files, total };
        if choice.part.is_some() {
            files.texts(&mut job, "looking for parts", &mut |texts| {
                let of = |text: &Text| text.part.as_deref().and_then(part_of);
                validates |= texts.texts.iter().any(|text| of(text) == Some(1));
                Ok(())
            })?;
        }
        let given = by_files || choice.part.is_some();
        let parting = if given { Parting::Given { validation: validates, test: true } } else { Parting::Drawn };
        // Every line on its own, if copies are not kept together.
        let alone = matches!(self.split, None | Some(MoleculeSplit::Items));
        let part = |part: Option<u8>, canonical: &str, number: u64| {
            let number = if alone { number } else { 0 };
            parting.part(part, || bytes(canonical.bytes().chain(number.to_le_bytes())), self.split_seed)
        };
        let labels = self.labels(&files, &part, &mut job)?;

        let (mut atoms, mut ids, mut sizes, mut number) = (Vec::new(), Vec::new(), Vec::new(), 0);
        // The classes of atoms, and parts by number, depend on all molecules before.
        let keep = &mut |given: u8, item: Item<'_>, writer: &mut Writer| {
            ids.clear();
            ids.extend(item.ids);
            let refuse = |problem: &str| DataError::Rows { path: path.clone(), problem: problem.into() };
            let size = placed(&mut ids, &mut atoms).ok_or_else(|| refuse("an item is no molecule"))?;
            if atoms.len() > 255 {
                return Err(refuse("more than 255 kinds of atoms"));
            }
            let part = part(Some(given).filter(|&given| given != NONE), item.text.unwrap_or_default(), number);
            sizes.resize(sizes.len().max(size + 1), 0);
            sizes[size] += u64::from(part == 0);
            number += 1;
            writer.push(part, Item { ids: &ids, ..item })
        };
        let kind = Kind { source: &sha256, classes: 256, varies: true };
        let written = written(&mut job, &kind, keep, |job, sink| {
            let (turn, mut ids) = (sink.turn(), Vec::new());
            files.molecules(job, "writing", turn, |prepared| {
                let of_property: Vec<Option<u32>> = match &labels {
                    Some(Labels::Property(labeller)) => {
                        prepared.items.par_iter().map(|item| labeller.label(&item.canonical)).collect()
                    }
                    _ => Vec::new(),
                };
                for (i, item) in prepared.items.iter().enumerate() {
                    encode(&item.molecule, &mut ids);
                    let label = match &labels {
                        Some(Labels::Own(labeller, _)) => labeller.label(item.label.as_deref().unwrap_or_default()),
                        _ => of_property.get(i).copied().flatten(),
                    };
                    let text = Some(item.canonical.as_str());
                    sink.push(item.part.unwrap_or(NONE), Item { ids: &ids, label, text, ..Item::default() })?;
                }
                Ok(())
            })
        })?;
        let Some((writer, said)) = written else { return Ok(()) };
        check_parts(writer.counts()).map_err(|problem| {
            let lines =
                said.notes().into_iter().chain(said.refused.iter().map(|(why, n)| format!("refused {n}: {why}")));
            let lines: String = lines.map(|line| format!("\n  {line}")).collect();
            DataError::Rows { path: path.clone(), problem: format!("{problem}{lines}") }
        })?;
        let classes = sorted(atoms.clone(), &elements);
        let place = |atom| classes.iter().position(|class| class == atom).expect("it is sorted") as u32;
        let form = Form::Graphs { classes: atoms.iter().map(place).collect() };
        let node_classes = classes.iter().map(|&atom| NodeClass::of(atom)).collect();
        let layout = GraphLayout { nodes: sizes.len() - 1, node_classes, edge_classes: 4, sizes };
        let schema = Schema { sites: layout.sites(), classes: layout.classes(), layout: Layout::Graph(layout) };
        let (count, label_names) = match labels {
            None => (None, Vec::new()),
            Some(Labels::Property(labeller)) => (Some(labeller.count()), Vec::new()),
            Some(Labels::Own(_, names)) => (Some(names.len()), names),
        };
        let notes = said.notes().into_iter().chain(parting.note("equal items are drawn together")).collect();
        writer.finish(About {
            of: job.of.clone(),
            name: known.name.to_owned(),
            form,
            schema,
            sha256: parting.sha256(sha256, self.split_seed),
            labels: count,
            label_names,
            refused: said.refused.into_iter().collect(),
            notes,
            numbers: Vec::new(),
        })
    }

    /// What labels the molecules.
    fn labels(
        &self,
        files: &Files<'_>,
        part: &dyn Fn(Option<u8>, &str, u64) -> u8,
        job: &mut Job<'_>,
    ) -> Result<Option<Labels>, DataError> {
        let own = match &self.label {
            None => return Ok(None),
            Some(MoleculeLabelling::Property(MoleculeLabel::Scaffold { .. })) => {
                let problem = "scaffolds are ranked by their frequency, which preparing in a stream does not count; label \
                               by a property, or by a column";
                return Err(DataError::Setting { key: "label", problem: problem.into() });
            }
            Some(MoleculeLabelling::Property(label)) => return Ok(Some(Labels::Property(label.labeller(&[])?))),
            Some(MoleculeLabelling::Own(own)) => own,
        };
        let (mut tally, mut number) = (Tally::sampled(), 0);
        files.molecules(
            job,
            "looking for labels",
            || true,
            |prepared| {
                for item in &prepared.items {
                    let part = part(item.part, &item.canonical, number);
                    tally.add(own, item.label.as_deref().unwrap_or_default(), part == 0)?;
                    number += 1;
                }
                Ok(())
            },
        )?;
        let (labeller, names) = own.of_tally(tally)?;
        Ok(Some(Labels::Own(labeller, names)))
    }
}

impl SmilesFileConfig {
    pub(in crate::data) fn prepare(&self, folders: Folders<'_>, job: Job<'_>) -> Result<(), DataError> {
        let file = files::existing("path", &self.path, folders.data)?;
        self.plain().prepare(&ANY, self.column.as_deref(), file, folders, job)
    }
}

/// What labels any molecule as the settings of a prepared set do; `None` if nothing does.
pub(in crate::data) fn label_of(settings: &Value) -> Option<LabelOf> {
    let label: MoleculeLabelling = serde_json::from_value(settings.get("label")?.clone()).ok()?;
    let labeller = label.property()?.labeller(&[]).ok()?;
    Some(Arc::new(move |smiles| labeller.label(smiles)))
}
