//! Items as people write them: texts, SMILES, rows of tables.

use pushforward::chem::check;
use pushforward::data::tables::Where;
use pushforward::data::{Layout, Schema};
use pushforward::flow_map::sample::ObservedRow;
use pushforward::node_pairs::ABSENT;
use pushforward::rng::{Purpose, stream};

/// What items are: `text`, `image`, `table`, `columns`, `molecules`, `graph` or `sequences`.
pub(crate) fn kind(schema: &Schema) -> &'static str {
    match &schema.layout {
        Layout::Text { .. } => "text",
        Layout::Image { .. } => "image",
        Layout::Table => "table",
        Layout::Columns(_) => "columns",
        Layout::Graph(layout) if layout.is_molecular() => "molecules",
        Layout::Graph(_) => "graph",
        Layout::Sequence(_) => "sequences",
    }
}

/// Class indices as Python has them: -1 for sites that an item does not have.
pub(crate) fn to_python(ids: &[u32]) -> Vec<i64> {
    ids.iter().map(|&id| if id == ABSENT { -1 } else { i64::from(id) }).collect()
}

/// The reverse of [`to_python`].
pub(crate) fn from_python(ids: &[i64]) -> Result<Vec<u32>, String> {
    let one = |&id: &i64| match id {
        -1 => Ok(ABSENT),
        _ => u32::try_from(id).map_err(|_| format!("a class is a number from 0 on, or -1, found {id}")),
    };
    ids.iter().map(one).collect()
}

/// Texts of items; molecules as canonical SMILES, `None` for those that are not valid.
pub(crate) fn texts(ids: &[u32], schema: &Schema) -> Result<Vec<Option<String>>, String> {
    let items = ids.chunks(schema.sites);
    match &schema.layout {
        Layout::Text { vocabulary } => Ok(items.map(|item| Some(vocabulary.decode(item))).collect()),
        Layout::Sequence(layout) => Ok(items.map(|item| Some(layout.decode(item))).collect()),
        Layout::Graph(layout) if layout.is_molecular() => {
            Ok(items.map(|item| check(&layout.molecule(item)).strict().map(str::to_owned)).collect())
        }
        _ => Err("items of this model have no text".into()),
    }
}

/// Class indices of texts, one item each.
pub(crate) fn read_texts(texts: &[String], schema: &Schema) -> Result<Vec<u32>, String> {
    let mut ids = Vec::with_capacity(texts.len() * schema.sites);
    for text in texts {
        let item = match &schema.layout {
            Layout::Text { vocabulary } => vocabulary.encode(text).map_err(|error| error.to_string())?,
            Layout::Sequence(layout) => layout.encode(text).map_err(|error| error.to_string())?,
            _ => return Err("items of this model are not read from text".into()),
        };
        if item.len() != schema.sites {
            return Err(format!("an item has {} symbols, and {text:?} has {}", schema.sites, item.len()));
        }
        ids.extend(item);
    }
    Ok(ids)
}

/// Rows of a table, a text for each column of the file, `None` for missing cells; numbers in bins are drawn from the stream
/// of the row, within a condition if there is one.
pub(crate) fn rows(
    ids: &[u32],
    schema: &Schema,
    seed: u64,
    first: u64,
    condition: Option<&Where>,
) -> Result<Vec<Vec<Option<String>>>, String> {
    let Layout::Columns(layout) = &schema.layout else {
        return Err("items of this model are no rows of a table".into());
    };
    let row = |(item, index): (&[u32], u64)| {
        let stream = &mut stream(seed, Purpose::Decode, index);
        let fields = match condition {
            Some(condition) => layout.decode_row_within(item, condition, stream).map_err(|error| error.to_string())?,
            None => layout.decode_row(item, stream),
        };
        Ok(fields.into_iter().map(|field| (!layout.is_missing(&field)).then_some(field)).collect())
    };
    ids.chunks(schema.sites).zip(first..).map(row).collect()
}

/// Rows of a table as what a model is told: texts of all columns of the file, nothing for missing cells.
pub(crate) fn read_rows(rows: &[Vec<Option<String>>], schema: &Schema) -> Result<Vec<ObservedRow>, String> {
    let Layout::Columns(layout) = &schema.layout else { return Err("this model is not of a table".into()) };
    let places = layout.places();
    let cell = |row: &Vec<Option<String>>, site: usize, place: usize| match row.get(place) {
        None => Err(format!("a row has {} columns, and the table has {}", row.len(), layout.columns().len())),
        Some(Some(text)) if !layout.is_missing(text) => {
            layout.encode(site, text).map(Some).map_err(|error| error.to_string())
        }
        Some(_) => Ok(None),
    };
    let row = |row: &Vec<Option<String>>| {
        places.iter().enumerate().map(|(site, &place)| cell(row, site, place)).collect::<Result<_, _>>()
    };
    rows.iter().map(row).collect()
}

/// The class of each column that stands for what is missing, if it has one.
pub(crate) fn missing_classes(schema: &Schema) -> Result<Vec<Option<u32>>, String> {
    let Layout::Columns(layout) = &schema.layout else { return Err("this model is not of a table".into()) };
    Ok(layout.sites().map(|column| column.missing_class()).collect())
}
