//! Files of sequences of any size, prepared in a stream: a pass for the letters, one for the labels if there are some, and
//! one that writes.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use crate::data::files::{self, Folders, Source, head};
use crate::data::label_texts::LabelTexts;
use crate::data::own_labels::{Labeller, Tally};
use crate::data::part_names::part_of;
use crate::data::prepared::blocks::{Blocks, Cut, sha256_stored};
use crate::data::prepared::index::{About, Form};
use crate::data::prepared::job::Job;
use crate::data::prepared::parting::{Parting, check_parts, content};
use crate::data::prepared::shard::Item;
use crate::data::prepared::share::{Found, Kind, written};
use crate::data::prepared::writer::Writer;
use crate::data::sequences::alphabet::Alphabet;
use crate::data::sequences::build::{Codes, Counts, Refused, check_motif, too_many_letters};
use crate::data::sequences::config::{SequenceConfig, SequenceSplit};
use crate::data::sequences::layout::SequenceLayout;
use crate::data::sequences::read::{Columns, columns_of, form, refuse_columns, spaces};
use crate::data::sequences::records::{Records, SequenceFormat};
use crate::data::tables::grid::{Expected, Form as Fields, Grid, form_of};
use crate::data::{DataError, Layout, Schema};

/// A file and the part that it holds, if it says so.
struct File {
    path: PathBuf,
    format: SequenceFormat,
    part: Option<u8>,
    limit: usize,
}

impl File {
    fn new(config: &SequenceConfig, path: PathBuf, part: Option<u8>) -> Result<Self, DataError> {
        let head = head(&path)?;
        let format = config.format.unwrap_or_else(|| form(&head, config));
        refuse_columns(config, format, &path)?;
        let limit = if part.unwrap_or(0) == 0 { config.limit.unwrap_or(usize::MAX) } else { usize::MAX };
        Ok(Self { path, format, part, limit })
    }

    /// Where the file may be cut.
    fn cut(&self) -> Result<Cut, DataError> {
        Ok(match self.format {
            SequenceFormat::Fasta => Cut::Fasta,
            SequenceFormat::Fastq => Cut::Fastq,
            SequenceFormat::Lines => Cut::Lines,
            SequenceFormat::Table => match form_of(&head(&self.path)?) {
                Fields::Character(delimiter) => Cut::Rows(delimiter),
                Fields::Words | Fields::Lines => Cut::Lines,
            },
        })
    }

    /// Reads the records block by block; returns how many there are, and what was left out.
    fn each(
        &self,
        config: &SequenceConfig,
        take: &mut dyn FnMut(&Records, u64) -> Result<(), DataError>,
    ) -> Result<(usize, Vec<String>), DataError> {
        let mut blocks = Blocks::open(&self.path, self.cut()?)?;
        let keeps = config.label.is_some();
        let (mut first, mut left, mut notes) = (None, self.limit, Vec::new());
        while let Some(block) = blocks.next()? {
            let mut records = Records::new(keeps).after(block.line - 1, self.limit - left);
            match self.format {
                SequenceFormat::Fasta => records.fasta(&block.text, &self.path)?,
                SequenceFormat::Fastq => records.fastq(&block.text, &self.path)?,
                SequenceFormat::Lines => records.lines(&block.text, spaces(config)),
                SequenceFormat::Table => {
                    let source = Source::of(&self.path, block.text.into_bytes());
                    let like = first.as_ref().map(|(form, width, _)| (*form, *width));
                    let later = first.is_some().then_some(block.line);
                    let mut grid = Grid::read(source, Expected { like, later, ..Expected::default() })?;
                    let (_, _, columns): &(Fields, usize, Columns) = match &first {
                        Some(first) => first,
                        None => {
                            let columns = columns_of(&mut grid, config, &mut records)?;
                            first.insert((grid.form, grid.width, columns))
                        }
                    };
                    records.table(&grid, columns.sequence, columns.about, columns.part);
                }
            }
            records.truncate(left);
            left -= records.len();
            take(&records, blocks.read())?;
            merge(&mut notes, std::mem::take(&mut records.notes));
            if left == 0 {
                break;
            }
        }
        notes.splice(0..0, blocks.notes());
        Ok((self.limit - left, notes))
    }
}

/// Adds remarks of a block: those that end in a number are added up.
fn merge(notes: &mut Vec<String>, more: Vec<String>) {
    let split =
        |note: &str| note.rsplit_once(": ").and_then(|(head, n)| Some((head.to_owned(), n.parse::<u64>().ok()?)));
    for note in more {
        let same = split(&note).and_then(|(head, count)| {
            let known = notes.iter_mut().find_map(|known| {
                let (other, before) = split(known)?;
                (other == head).then_some((known, before))
            })?;
            *known.0 = format!("{head}: {}", known.1 + count);
            Some(())
        });
        if same.is_none() && !notes.contains(&note) {
            notes.push(note);
        }
    }
}

/// The files of a set, and what is said of all of them.
struct Files<'a> {
    config: &'a SequenceConfig,
    files: Vec<File>,
    total: u64,
}

impl Files<'_> {
    /// Reads the records of all files, with the part that their file says.
    fn each(
        &self,
        job: &mut Job<'_>,
        stage: &str,
        mut take: impl FnMut(&Records, Option<u8>) -> Result<(), DataError>,
    ) -> Result<(usize, Vec<String>), DataError> {
        let (mut count, mut notes, mut before) = (0, Vec::new(), 0);
        for file in &self.files {
            let mut read = 0;
            let (records, more) = file.each(self.config, &mut |records, at| {
                read = at;
                take(records, file.part)?;
                job.tell(stage, before + at, self.total)
            })?;
            (count, before) = (count + records, before + read);
            merge(&mut notes, more);
        }
        Ok((count, notes))
    }
}

impl Found for Refused {
    fn add(&mut self, later: Self) {
        self.append(later);
    }
}

/// What is decided for a record.
struct Checked {
    part: u8,
    label: Option<String>,
}

/// Decides record by record.
struct Checks<'a> {
    config: &'a SequenceConfig,
    codes: &'a Codes,
    labels: Option<&'a LabelTexts>,
    parting: Parting,
    refused: Refused,
    ids: Vec<u32>,
}

impl Checks<'_> {
    /// The part and the label of a record, whose classes are `ids` then; `None` if it is refused.
    fn check(&mut self, records: &Records, record: usize, of_file: Option<u8>) -> Option<Checked> {
        let named = records.part.get(record).map(|name| part_of(name));
        let given = of_file.map(Some).or(named);
        let label = self.labels.map(|labels| labels.of(&records.about[record]));
        let checked = self.codes.check(self.config, records, record, given, &mut self.refused);
        let refused = match checked {
            Err(reason) => Some(reason),
            Ok(_) if label == Some(None) => Some("no label".to_owned()),
            Ok(_) => None,
        };
        if let Some(reason) = refused {
            self.refused.add(reason, records, record);
            return None;
        }
        self.ids.clear();
        self.codes.write(records.sequence(record), &mut self.ids);
        let part = self.parting.part(given.flatten(), || content(&self.ids), self.config.split_seed);
        Some(Checked { part, label: label.flatten().map(Cow::into_owned) })
    }
}

impl SequenceConfig {
    pub(in crate::data) fn prepare(&self, folders: Folders<'_>, mut job: Job<'_>) -> Result<(), DataError> {
        Parting::refuse_counts(self.train, self.validation)?;
        if let SequenceSplit::Clusters(_) = self.split {
            let problem = "clusters are found by comparing all records, which preparing in a stream does not; divide the \
                           set before, and give the parts by files: data.split = { files = { test = \"...\" } }";
            return Err(DataError::Setting { key: "split", problem: problem.into() });
        }
        let path = files::existing("path", &self.path, folders.data)?;
        let by_files = matches!(self.split, SequenceSplit::Files(_));
        let mut files = vec![File::new(self, path.clone(), by_files.then_some(0))?];
        for (name, path) in self.held_out() {
            let path = files::existing("split.files", path, folders.data)?;
            files.push(File::new(self, path, part_of(name))?);
        }
        let of_labels = self.label.as_ref().map(|label| label.found_file(folders.data)).transpose()?.flatten();
        let all: Vec<&Path> = files.iter().map(|file| file.path.as_path()).chain(of_labels.as_deref()).collect();
        let (sha256, total) = sha256_stored(&all)?;
        let of_labels = of_labels.map(Source::read).transpose()?;
        let labels = self.label.as_ref().map(|label| LabelTexts::new(label, of_labels)).transpose()?;
        let format = files[0].format;
        let files = Files { config: self, files, total };

        // The letters, and whether a column has validation records.
        let (mut counts, mut validates) =
            (Counts::default(), by_files && files.files.iter().any(|f| f.part == Some(1)));
        let (count, mut notes) = files.each(&mut job, "looking for letters", |records, _| {
            counts.add(&records.letters);
            validates |= records.part.iter().any(|name| part_of(name) == Some(1));
            Ok(())
        })?;
        let counts = counts.list();
        let alphabet = self.alphabet.unwrap_or_else(|| Alphabet::of(&counts));
        let codes = Codes::new(alphabet, self.ambiguity, &counts);
        too_many_letters(&codes, &path)?;
        let given = matches!(self.split, SequenceSplit::Column(_) | SequenceSplit::Files(_));
        let parting = if given { Parting::Given { validation: validates, test: true } } else { Parting::Drawn };
        let checks = || Checks {
            config: self,
            codes: &codes,
            labels: labels.as_ref(),
            parting,
            refused: Refused::default(),
            ids: Vec::new(),
        };
        let labeller = self.labeller(&files, checks(), &mut job)?;
        let (labeller, label_names) = labeller.unzip();
        let (labeller, label_names): (Option<Labeller>, Vec<String>) = (labeller, label_names.unwrap_or_default());

        let mut checks = checks();
        let (mut lengths, mut of_train) = (Vec::new(), Vec::new());
        let keep = &mut |part: u8, item: Item<'_>, writer: &mut Writer| {
            let length = item.ids.len();
            if length >= lengths.len() {
                lengths.resize(length + 1, 0);
                of_train.resize(length + 1, 0);
            }
            lengths[length] += 1;
            of_train[length] += u64::from(part == 0);
            writer.push(part, item)
        };
        let kind = Kind { source: &sha256, classes: codes.letters.len(), varies: true };
        let written = written(&mut job, &kind, keep, |job, sink| {
            files.each(job, "writing", |records, of_file| {
                if !sink.own() {
                    return Ok(());
                }
                for record in 0..records.len() {
                    let Some(Checked { part, label }) = checks.check(records, record, of_file) else { continue };
                    let label = label.and_then(|text| labeller.as_ref()?.label(&text));
                    sink.push(part, Item { ids: &checks.ids, label, ..Item::default() })?;
                }
                Ok(())
            })?;
            Ok(std::mem::take(&mut checks.refused))
        })?;
        let Some((writer, refused)) = written else { return Ok(()) };
        check_parts(writer.counts())
            .map_err(|problem| DataError::Rows { path, problem: refused.explain(&problem, alphabet) })?;
        let layout = SequenceLayout::of_lengths(alphabet, codes.letters.clone(), &lengths, of_train);
        check_motif(self, &layout)?;
        notes.insert(0, format!("{}: {count} records", format.name()));
        notes.extend(codes.notes(self, &layout, &lengths));
        notes.extend(refused.notes(alphabet));
        notes.extend(parting.note("equal items are drawn together"));
        let schema = Schema { sites: layout.longest(), classes: codes.letters.len(), layout: Layout::Sequence(layout) };
        writer.finish(About {
            of: job.of.clone(),
            name: "sequences".to_owned(),
            form: Form::Rows,
            schema,
            sha256: parting.sha256(sha256, self.split_seed),
            labels: labeller.map(|_| label_names.len()),
            label_names,
            refused: refused.counts.into_iter().collect(),
            notes,
            numbers: Vec::new(),
        })
    }

    /// What labels the records, and the names of the labels.
    fn labeller(
        &self,
        files: &Files<'_>,
        mut checks: Checks<'_>,
        job: &mut Job<'_>,
    ) -> Result<Option<(Labeller, Vec<String>)>, DataError> {
        let Some(label) = &self.label else { return Ok(None) };
        let mut tally = Tally::sampled();
        files.each(job, "looking for labels", |records, of_file| {
            for record in 0..records.len() {
                if let Some(Checked { part, label: Some(text) }) = checks.check(records, record, of_file) {
                    tally.add(label, &text, part == 0)?;
                }
            }
            Ok(())
        })?;
        label.of_tally(tally).map(Some)
    }
}
