//! Samples of a file in place of those that a model draws: parts of several processes, merged, are evaluated as one sample.

use std::path::Path;

use pushforward::burn::tensor::Device;
use pushforward::data::Schema;
use pushforward::data::graph::ABSENT;
use pushforward::flow_map::sample::{SampleRequest, Samples};
use pushforward::metrics::report::Row;
use pushforward::nn::SiteShape;
use pushforward::run::evaluate::{EvalRequest, Generates};
use pushforward::run::{RequestError, site_shape};
use safetensors::{Dtype, SafeTensors};

use crate::exit::Failure;
use crate::item_files;

/// A model whose samples are those of a file.
pub(crate) struct Given<'a, G> {
    model: &'a G,
    ids: Vec<u32>,
    sites: SiteShape,
    /// Network evaluations that each took.
    nfe: u64,
}

impl<'a, G> Given<'a, G> {
    /// Reads what `sample --out` writes as `.jsonl` or `.safetensors`, or a file of items: rows of a table, sequences, lines of text.
    pub(crate) fn read(path: &Path, model: &'a G, schema: &Schema, request: &EvalRequest) -> Result<Self, Failure> {
        let refuse = |problem: String| Failure::request(format!("{}: {problem}", path.display()));
        let &[nfe] = &request.nfe[..] else {
            return Err(refuse("the samples of a file were drawn with one number of evaluations".into())
                .hint("say which by --nfe"));
        };
        if request.repeats > 1 {
            return Err(refuse("the samples of a file are there once".into()).hint("leave --repeats out"));
        }
        let sites = site_shape(schema);
        let bytes = || std::fs::read(path).map_err(|e| refuse(e.to_string()));
        let ids = match path.extension().and_then(|ending| ending.to_str()) {
            Some("safetensors") => of_tensors(&bytes()?, &sites).map_err(refuse)?,
            Some("jsonl") => of_lines(&bytes()?, &sites).map_err(refuse)?,
            _ => item_files::read(path, schema, usize::MAX)?,
        };
        let right = |&id: &u32| id == ABSENT || (id as usize) < sites.classes;
        if ids.is_empty() || !ids.iter().all(right) {
            return Err(refuse(format!("these are no items of {} sites of {} classes", sites.count, sites.classes)));
        }
        Ok(Self { model, ids, sites, nfe: nfe as u64 })
    }

    /// Number of samples.
    pub(crate) fn count(&self) -> usize {
        self.ids.len() / self.sites.count
    }
}

/// Class indices of a file of tensors; -1 for sites that an item does not have.
fn of_tensors(bytes: &[u8], sites: &SiteShape) -> Result<Vec<u32>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?;
    let tensor = file.tensor("ids").map_err(|e| e.to_string())?;
    if tensor.dtype() != Dtype::I32 || tensor.shape().get(1) != Some(&sites.count) {
        return Err(format!("`ids` are 32-bit integers of shape [items, {}], found {:?}", sites.count, tensor.shape()));
    }
    Ok(tensor.data().as_chunks().0.iter().map(|&four| i32::from_le_bytes(four) as u32).collect())
}

/// Class indices of a file of JSON lines; `null` for sites that an item does not have, and items that are shorter than the longest end
/// early.
fn of_lines(bytes: &[u8], sites: &SiteShape) -> Result<Vec<u32>, String> {
    let text = std::str::from_utf8(bytes).map_err(|e| e.to_string())?;
    let mut ids = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |problem: String| format!("line {}: {problem}", number + 1);
        let object: serde_json::Value = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let item: Vec<Option<u32>> = serde_json::from_value(object["ids"].clone())
            .map_err(|_| wrong("it has no list of class indices under the key \"ids\"".into()))?;
        if item.len() > sites.count {
            return Err(wrong(format!("{} class indices, and items have at most {}", item.len(), sites.count)));
        }
        let missing = sites.count - item.len();
        let item = item.into_iter().map(|id| id.unwrap_or(ABSENT));
        ids.extend(item.chain(std::iter::repeat_n(ABSENT, missing)));
    }
    Ok(ids)
}

impl<G: Generates> Generates for Given<'_, G> {
    fn generate(&self, request: &SampleRequest, _: &mut dyn FnMut(usize) -> bool) -> Result<Samples, RequestError> {
        // A range of them, as one of several processes or a few for a picture.
        let items =
            (request.first as usize).min(self.count())..(request.first as usize + request.count).min(self.count());
        let ids = self.ids[items.start * self.sites.count..items.end * self.sites.count].to_vec();
        Ok(Samples { ids, endpoints: Vec::new(), sites: self.sites.clone(), nfe: vec![self.nfe; items.len()] })
    }

    fn labels_of(&self, request: &SampleRequest) -> Result<Vec<u32>, RequestError> {
        Ok(request.told_labels())
    }

    fn estimates(&self, draws: usize) -> Vec<(&'static str, String)> {
        self.model.estimates(draws)
    }

    fn nats(&self, which: usize, ids: &[u32], first: u64, request: &EvalRequest) -> Result<Vec<f64>, RequestError> {
        self.model.nats(which, ids, first, request)
    }

    fn own_rows(&self, seed: u64) -> Vec<Row> {
        self.model.own_rows(seed)
    }

    fn device(&self) -> &Device {
        self.model.device()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_padded_and_mistakes_have_their_number() {
        let sites = SiteShape::line(3, 4);
        assert_eq!(
            of_lines(b"{\"ids\":[1,null,3]}\n{\"ids\":[0],\"nfe\":1}\n", &sites),
            Ok(vec![1, ABSENT, 3, 0, ABSENT, ABSENT])
        );
        for (text, part) in [
            ("{\"ids\":[1,2,3,0]}", "line 1: 4 class"),
            ("{\"ids\":[1]}\n{}", "line 2: it has no list"),
            ("x", "line 1: "),
        ] {
            let message = of_lines(text.as_bytes(), &sites).unwrap_err();
            assert!(message.contains(part), "{message}");
        }
        assert!(of_tensors(b"nothing", &sites).is_err());
    }
}
