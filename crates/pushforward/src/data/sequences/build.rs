//! From records to a data set: the alphabet, which records are accepted, their classes and their parts.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::data::own_labels::Labelled;
use crate::data::packed::Packed;
use crate::data::part_names::part_of;
use crate::data::parts::{self, Parts};
use crate::data::plain_text::unusual;
use crate::data::sequences::alphabet::{Alphabet, Ambiguity};
use crate::data::sequences::clusters::clusters;
use crate::data::sequences::config::{SequenceConfig, SequenceSplit};
use crate::data::sequences::layout::SequenceLayout;
use crate::data::sequences::records::Records;
use crate::data::sequences::set::{Part, Sequences};
use crate::data::{DataError, Dataset, Layout, Schema, Splits};

/// Most different letters.
const MOST_LETTERS: usize = 1 << 16;
/// Letters that a message names.
const NAMED: usize = 12;

/// A set with what to say about it.
pub(super) struct Built {
    pub(super) splits: Splits,
    pub(super) notes: Vec<String>,
    pub(super) refused: Vec<(String, u64)>,
}

/// Why records were refused, and the first one.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Refused {
    pub(super) counts: BTreeMap<String, u64>,
    first: Option<String>,
    /// Letters outside the alphabet, with their number and the place of the first.
    letters: BTreeMap<char, (u64, String)>,
}

/// Makes a set of records. `given` is the part of each record, if files of their own say it.
pub(super) fn build(
    config: &SequenceConfig,
    records: &Records,
    given: Option<Vec<u8>>,
    labels: Option<Vec<Option<Cow<'_, str>>>>,
    path: &Path,
    sha256: String,
) -> Result<Built, DataError> {
    let rows = |problem: String| DataError::Rows { path: path.to_owned(), problem };
    let mut counts = Counts::default();
    counts.add(&records.letters);
    let counts = counts.list();
    let alphabet = config.alphabet.unwrap_or_else(|| Alphabet::of(&counts));
    let codes = Codes::new(alphabet, config.ambiguity, &counts);
    too_many_letters(&codes, path)?;
    let (mut accepted, mut refused, mut sizes) = (Vec::new(), Refused::default(), Vec::new());
    let mut part_given = Vec::new();
    for record in 0..records.len() {
        let part = given.as_ref().map(|given| Some(given[record]));
        let part = part.or_else(|| records.part.get(record).map(|name| part_of(name)));
        let labelled = labels.as_ref().is_none_or(|labels| labels[record].is_some());
        let checked = codes.check(config, records, record, part, &mut refused);
        match checked.and_then(|length| if labelled { Ok(length) } else { Err("no label".to_owned()) }) {
            Ok(length) => {
                accepted.push(record as u32);
                sizes.push(length);
                part_given.push(part.flatten().unwrap_or(0));
            }
            Err(reason) => refused.add(reason, records, record),
        }
    }
    if accepted.len() < 3 {
        let n = accepted.len();
        let problem = format!("{n} of {} records are accepted, and three parts need at least three", records.len());
        return Err(rows(refused.explain(&problem, alphabet)));
    }
    let starts: Vec<usize> = std::iter::once(0)
        .chain(sizes.iter().scan(0, |sum, &n| {
            *sum += n;
            Some(*sum)
        }))
        .collect();
    let mut ids = Packed::new(starts[accepted.len()], codes.letters.len());
    for (&record, &start) in accepted.iter().zip(&starts) {
        let letters = records.sequence(record as usize).chars();
        letters.zip(start..).for_each(|(letter, place)| ids.set(place, codes.class(letter).expect("it was checked")));
    }
    let set = Sequences { ids, starts };
    let (parts, mut notes) = divide(config, &set, &part_given).map_err(rows)?;
    let labels = labels.map(|texts| label(config, &texts, &accepted, &parts)).transpose()?;
    let (labels, label_names) = labels.unzip();
    let (labels, label_names): (_, Vec<String>) = (labels.map(Arc::new), label_names.unwrap_or_default());
    let label_count = label_names.len();
    let longest = sizes.iter().copied().max().unwrap_or(1);
    let (mut lengths, mut of_train) = (vec![0; longest + 1], vec![0; longest + 1]);
    sizes.iter().for_each(|&size| lengths[size] += 1);
    parts[0].iter().for_each(|&item| of_train[sizes[item as usize]] += 1);
    let layout = SequenceLayout::of_lengths(alphabet, codes.letters.clone(), &lengths, of_train);
    notes.splice(0..0, codes.notes(config, &layout, &lengths));
    notes.extend(refused.notes(alphabet));
    check_motif(config, &layout)?;
    let schema = Arc::new(Schema { sites: longest, classes: codes.letters.len(), layout: Layout::Sequence(layout) });
    let set = Arc::new(set);
    let part = |members: Vec<u32>| -> Arc<dyn Dataset> {
        Arc::new(Part { schema: schema.clone(), set: set.clone(), labels: labels.clone(), label_count, members })
    };
    let splits = Splits { label_names, ..Splits::new("sequences", parts.map(part), sha256) };
    Ok(Built { splits, notes, refused: refused.counts.into_iter().collect() })
}

/// The label of each accepted record, and the names of labels.
fn label(
    config: &SequenceConfig,
    texts: &[Option<Cow<'_, str>>],
    accepted: &[u32],
    parts: &Parts,
) -> Result<Labelled, DataError> {
    let settings = config.label.as_ref().expect("records with labels have settings for them");
    let all: Vec<&str> =
        accepted.iter().map(|&record| texts[record as usize].as_deref().expect("others were refused")).collect();
    settings.of_parts(&all, parts)
}

/// Checks that the letters of the motif are those of sequences.
pub(super) fn check_motif(config: &SequenceConfig, layout: &SequenceLayout) -> Result<(), DataError> {
    let strange = config.motif.iter().flat_map(|motif| motif.chars()).find(|&c| layout.classes_of(c).is_empty());
    let Some(letter) = strange else { return Ok(()) };
    let problem = format!("the letter {letter:?} is not one of the sequences, and stands for none of them");
    Err(DataError::Setting { key: "motif", problem })
}

/// Refuses more letters than there can be classes.
pub(super) fn too_many_letters(codes: &Codes, path: &Path) -> Result<(), DataError> {
    if codes.letters.len() <= MOST_LETTERS {
        return Ok(());
    }
    let problem = format!("{} different letters, and at most {MOST_LETTERS} are possible", codes.letters.len());
    Err(DataError::Rows { path: path.to_owned(), problem })
}

/// How often each character occurs.
pub(super) struct Counts {
    ascii: [u64; 128],
    others: BTreeMap<char, u64>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { ascii: [0; 128], others: BTreeMap::new() }
    }
}

impl Counts {
    pub(super) fn add(&mut self, letters: &str) {
        for c in letters.chars() {
            match self.ascii.get_mut(c as usize) {
                Some(count) => *count += 1,
                None => *self.others.entry(c).or_default() += 1,
            }
        }
    }

    /// The characters that occur, with their numbers.
    pub(super) fn list(&self) -> Vec<(char, u64)> {
        let ascii = (0u8..).zip(self.ascii).filter(|(_, count)| *count > 0);
        let others = self.others.iter().map(|(&c, &count)| (c, count));
        ascii.map(|(byte, count)| (char::from(byte), count)).chain(others).collect()
    }
}

/// The classes of letters.
pub(super) struct Codes {
    alphabet: Alphabet,
    pub(super) letters: Vec<char>,
    /// The class of each ASCII character, 0 for none, else one more.
    ascii: [u32; 128],
    others: BTreeMap<char, u32>,
    /// Small letters, and letters that the alphabet writes in another way.
    changed: u64,
}

impl Codes {
    pub(super) fn new(alphabet: Alphabet, ambiguity: Ambiguity, counts: &[(char, u64)]) -> Self {
        let mut letters: Vec<char> = alphabet.letters().chars().collect();
        let mut codes: Vec<char> = counts.iter().map(|(c, _)| alphabet.normal(*c)).collect();
        codes.sort_unstable();
        codes.dedup();
        let ambiguous: Vec<char> = codes.iter().copied().filter(|&c| alphabet.meaning(c).is_some()).collect();
        match (alphabet, ambiguity) {
            (Alphabet::Found, _) => letters = codes,
            (_, Ambiguity::Keep) => letters.extend(ambiguous),
            (_, Ambiguity::Merge) if !ambiguous.is_empty() => letters.push(alphabet.any()),
            _ => {}
        }
        let class = |c: char| {
            let normal = alphabet.normal(c);
            let merged = ambiguity == Ambiguity::Merge && alphabet.meaning(normal).is_some();
            let letter = if merged { alphabet.any() } else { normal };
            letters.iter().position(|&known| known == letter).map(|class| class as u32)
        };
        let mut ascii = [0; 128];
        let mut others = BTreeMap::new();
        for (c, class) in counts.iter().filter_map(|(c, _)| Some((*c, class(*c)?))) {
            match ascii.get_mut(c as usize) {
                Some(entry) => *entry = class + 1,
                None => drop(others.insert(c, class)),
            }
        }
        let changed = counts.iter().filter(|(c, _)| alphabet.normal(*c) != *c).map(|(_, count)| count).sum();
        Self { alphabet, letters, ascii, others, changed }
    }

    fn class(&self, letter: char) -> Option<u32> {
        match self.ascii.get(letter as usize) {
            Some(0) => None,
            Some(entry) => Some(entry - 1),
            None => self.others.get(&letter).copied(),
        }
    }

    /// Adds the classes of the letters of a record that was checked.
    pub(super) fn write(&self, sequence: &str, ids: &mut Vec<u32>) {
        ids.extend(sequence.chars().map(|letter| self.class(letter).expect("it was checked")));
    }

    /// The number of letters of a record, or why it is refused.
    pub(super) fn check(
        &self,
        config: &SequenceConfig,
        records: &Records,
        record: usize,
        part: Option<Option<u8>>,
        refused: &mut Refused,
    ) -> Result<usize, String> {
        let sequence = records.sequence(record);
        if part == Some(None) {
            return Err("the column of the split names no part".to_owned());
        }
        let (mut length, mut unknown) = (0, false);
        for letter in sequence.chars() {
            length += 1;
            if self.class(letter).is_none() {
                unknown = true;
                let known = refused.letters.entry(letter).or_insert_with(|| (0, records.place(record)));
                known.0 += 1;
            }
        }
        match length {
            0 => Err("no sequence".to_owned()),
            _ if unknown => Err(format!("letters outside the alphabet {}", self.alphabet.name())),
            n if n < config.shortest => Err(format!("shorter than {} letters (data.shortest)", config.shortest)),
            n if n > config.longest => Err(format!("longer than {} letters (data.longest)", config.longest)),
            n => Ok(n),
        }
    }

    /// What to say about letters, and about so many sequences of each length.
    pub(super) fn notes(&self, config: &SequenceConfig, layout: &SequenceLayout, lengths: &[u64]) -> Vec<String> {
        let how = if config.alphabet.is_some() { "" } else { ", found by reading" };
        let letters: String = self.letters.iter().take(100).collect();
        let mut notes = vec![format!("alphabet {}{how}: {letters}", self.alphabet.name())];
        let shortest = lengths.iter().position(|&count| count > 0).unwrap_or(0);
        notes.push(match layout.varies() {
            true => {
                let half = lengths.iter().sum::<u64>() / 2;
                let mut below = 0;
                let median = lengths.iter().position(|count| {
                    below += count;
                    below > half
                });
                let median = median.unwrap_or(0);
                format!("lengths {shortest} to {}, half of them up to {median}", layout.longest())
            }
            false => format!("all of {} letters", layout.longest()),
        });
        if self.changed > 0 {
            let what = if self.alphabet == Alphabet::Dna { "capitals, and U as T" } else { "capitals" };
            let what = if self.alphabet == Alphabet::Rna { "capitals, and T as U" } else { what };
            notes.push(format!("letters read as {what}: {}", self.changed));
        }
        if self.alphabet == Alphabet::Found {
            notes.extend(unusual(&self.letters));
        }
        notes
    }
}

impl Refused {
    /// Counts a record.
    pub(super) fn add(&mut self, reason: String, records: &Records, record: usize) {
        self.first.get_or_insert_with(|| format!("{}: {reason}", records.place(record)));
        *self.counts.entry(reason).or_default() += 1;
    }

    /// Adds those of later records.
    pub(super) fn append(&mut self, later: Self) {
        self.first = self.first.take().or(later.first);
        later.counts.into_iter().for_each(|(reason, count)| *self.counts.entry(reason).or_default() += count);
        for (letter, (count, place)) in later.letters {
            self.letters.entry(letter).or_insert((0, place)).0 += count;
        }
    }

    /// What to say about refused records besides their number.
    pub(super) fn notes(&self, alphabet: Alphabet) -> Vec<String> {
        let mut notes: Vec<String> = self.first.iter().map(|first| format!("first refused: {first}")).collect();
        if self.letters.is_empty() {
            return notes;
        }
        let mut letters: Vec<(&char, &(u64, String))> = self.letters.iter().collect();
        letters.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
        let one =
            |(letter, (count, place)): &(&char, &(u64, String))| format!("{letter:?} {count} times, first in {place}");
        let shown: Vec<String> = letters.iter().take(NAMED).map(one).collect();
        let more = match letters.len().saturating_sub(NAMED) {
            0 => String::new(),
            more => format!("; and {more} others"),
        };
        let codes = letters.iter().any(|(letter, _)| alphabet.meaning(alphabet.normal(**letter)).is_some());
        let hint = if codes {
            "; data.ambiguity = \"keep\" or \"merge\" accepts letters that stand for several others"
        } else {
            "; data.alphabet = \"found\" takes all letters as they are"
        };
        notes.push(format!("letters outside the alphabet: {}{more}{hint}", shown.join("; ")));
        notes
    }

    pub(super) fn explain(&self, problem: &str, alphabet: Alphabet) -> String {
        let counts: String = self.counts.iter().map(|(why, count)| format!("\n  refused {count}: {why}")).collect();
        let notes: String = self.notes(alphabet).iter().map(|note| format!("\n  {note}")).collect();
        format!("{problem}{counts}{notes}")
    }
}

/// The accepted records of each part, with remarks.
fn divide(config: &SequenceConfig, set: &Sequences, given: &[u8]) -> Result<(Parts, Vec<String>), String> {
    let count = set.len();
    // Equal sequences have one number, however their letters are spelled.
    let mut known: HashMap<Vec<u32>, u32> = HashMap::new();
    let mut number = |item| {
        let next = known.len() as u32;
        *known.entry(set.classes(item).collect()).or_insert(next)
    };
    let names: Vec<u32> = (0..count).map(&mut number).collect();
    let sizes = || {
        let [train, validation] =
            [config.train.unwrap_or(count * 9 / 10), config.validation.unwrap_or((count / 20).max(1))];
        let train = train.min(count - 2);
        if train == 0 || validation == 0 || train.saturating_add(validation) >= count {
            let found = format!("{train} to train and {validation} to validate");
            return Err(format!("{count} accepted records do not make three parts: {found} leave none to test"));
        }
        Ok([train, validation])
    };
    let (parts, mut notes) = match config.split {
        SequenceSplit::Records => {
            let parts = parts::by_names(&names, sizes()?, config.split_seed);
            (parts.ok_or("all accepted records are copies of one or two, which cannot be three parts")?, Vec::new())
        }
        SequenceSplit::Clusters(settings) => {
            let found = clusters(set, settings);
            let number = found.iter().max().map_or(0, |last| *last as usize + 1);
            let parts = parts::by_names(&found, sizes()?, config.split_seed);
            let problem =
                || format!("{number} clusters of similar records cannot be three parts; raise split.clusters.share");
            let said =
                format!("{number} clusters of records that share {} of their {}-mers", settings.share, settings.k);
            (parts.ok_or_else(problem)?, vec![said])
        }
        SequenceSplit::Column(_) | SequenceSplit::Files(_) => {
            let parts = parts::given(&names, given, config.validation, config.split_seed);
            if parts.iter().any(Vec::is_empty) {
                let [train, validation, test] = [&parts[0], &parts[1], &parts[2]].map(Vec::len);
                return Err(format!(
                    "the split gives {train} records to train, {validation} to validate and {test} to test; each part \
                     needs one (parts are called train, validation or valid, and test)"
                ));
            }
            (parts, Vec::new())
        }
    };
    let (copies, several) = parts::copies(&names, &parts);
    let remark = match several {
        0 => "all in the part of the first".to_owned(),
        _ => format!("{several} sequences stand in more than one part"),
    };
    notes.extend((copies > 0).then(|| format!("{copies} of {count} records are copies of another: {remark}")));
    Ok((parts, notes))
}
