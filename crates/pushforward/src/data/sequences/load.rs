//! From the settings of sequences to the set.

use crate::data::files::{self, Folders, Source};
use crate::data::label_texts::LabelTexts;
use crate::data::part_names::part_of;
use crate::data::sequences::build::{Built, build};
use crate::data::sequences::config::{SequenceConfig, SequenceSplit};
use crate::data::sequences::read::read;
use crate::data::sequences::records::{Records, SequenceFormat};
use crate::data::{DataError, Splits};
use crate::hash::sha256;

impl SequenceConfig {
    pub(crate) fn load(&self, folders: Folders<'_>) -> Result<Splits, DataError> {
        let mut sources = vec![Source::read(files::existing("path", &self.path, folders.data)?)?];
        for (_, path) in self.held_out() {
            sources.push(Source::read(files::existing("split.files", path, folders.data)?)?);
        }
        let file = self.label.as_ref().map(|label| label.found_file(folders.data)).transpose()?.flatten();
        let file = file.map(Source::read).transpose()?;
        let sha256 = sha256(sources.iter().chain(&file));
        let path = sources[0].path().to_owned();
        let (mut records, mut parts, mut format) = (Records::new(self.label.is_some()), Vec::new(), None);
        let names = std::iter::once("train").chain(self.held_out().into_iter().map(|(name, _)| name));
        for (source, part) in sources.into_iter().zip(names) {
            if part != "train" {
                records.next_file(source.path());
            }
            let found = read(source, self, &mut records)?;
            format.get_or_insert(found);
            let part = part_of(part).unwrap_or(0);
            if part == 0 {
                records.truncate(self.limit.unwrap_or(usize::MAX));
            }
            parts.resize(records.len(), part);
        }
        let given = matches!(self.split, SequenceSplit::Files(_)).then_some(parts);
        let texts = self.label.as_ref().map(|label| LabelTexts::new(label, file)).transpose()?;
        if let Some(texts) = &texts {
            texts.mismatch(&records.about)?;
        }
        let labels = texts.as_ref().map(|texts| records.about.iter().map(|about| texts.of(about)).collect());
        let Built { splits, notes, refused } = build(self, &records, given, labels, &path, sha256)?;
        let form = format.map_or("", SequenceFormat::name);
        let mut all = vec![format!("{form}: {} records", records.len())];
        all.extend(records.notes.iter().cloned());
        all.extend(notes);
        Ok(Splits { notes: all, refused, ..splits })
    }
}
