//! Items of the server: as in files and on the command line.

use pushforward::aef::ImageShape;
use pushforward::data::tables::{TableColumn, TableLayout};
use pushforward::data::{Layout, Schema};
use pushforward_server::{Constrained, Constraints as Wanted, Items, ToldRow};
use serde_json::{Map, Value};

use crate::args::ConstraintArgs;
use crate::conditions::prefix;
use crate::constraints::{Constraints, characters};
use crate::exit::Failure;
use crate::molecule_files::CheckedMolecules;
use crate::output::{image_tiles, objects, tiles};
use crate::picture::Grid;
use crate::table_files::{RowWriter, object};

/// See [`Items`].
pub(crate) struct ServedItems;

impl Items for ServedItems {
    fn objects(&self, ids: &[u32], schema: &Schema, seed: u64, first: u64) -> Vec<Value> {
        if let Layout::Columns(layout) = &schema.layout {
            let writer = RowWriter { layout, condition: None, seed, first, given: None };
            let rows = writer.rows(ids, schema.sites).expect("only a condition refuses rows");
            let row =
                |(item, row): (&[u32], &Vec<String>)| serde_json::json!({"ids": item, "row": object(layout, row)});
            return ids.chunks(schema.sites).zip(&rows).map(row).collect();
        }
        let parsed = |text: &String| serde_json::from_str(text).expect("it was written as JSON");
        objects(ids, schema).iter().map(parsed).collect()
    }

    fn png(&self, ids: &[u32], schema: &Schema) -> Option<Vec<u8>> {
        if let Some(molecules) = CheckedMolecules::new(ids, schema) {
            return molecules.formulas()?.png();
        }
        Some(Grid::new(tiles(ids, schema)?).png())
    }

    fn svg(&self, ids: &[u32], schema: &Schema) -> Option<String> {
        Some(CheckedMolecules::new(ids, schema)?.formulas()?.svg())
    }

    fn images(&self, pixels: &[f32], shape: ImageShape) -> Vec<u8> {
        Grid::new(image_tiles(pixels, shape)).png()
    }

    fn read(&self, text: &str, schema: &Schema) -> Result<Vec<u32>, String> {
        if let Layout::Sequence(layout) = &schema.layout {
            return layout.encode(text).map_err(|error| error.to_string());
        }
        let vocabulary =
            characters(schema).ok_or("texts are for models of text by characters and of sequences: give `items`")?;
        vocabulary.encode(text).map_err(|error| error.to_string())
    }

    fn row(&self, row: &Map<String, Value>, schema: &Schema) -> Result<ToldRow, String> {
        let Layout::Columns(layout) = &schema.layout else {
            return Err("rows are for models of tables: give `items`".into());
        };
        told_row(row, layout)
    }

    fn constraint(&self, wanted: &Wanted, nodes: Option<usize>, schema: &Schema) -> Result<Constrained, String> {
        constraint(wanted, nodes, schema).map_err(|failure| failure.text())
    }
}

fn told_row(row: &Map<String, Value>, layout: &TableLayout) -> Result<ToldRow, String> {
    let columns: Vec<&TableColumn> = layout.sites().collect();
    let mut told = ToldRow { classes: vec![None; columns.len()], ..ToldRow::default() };
    for (name, value) in row {
        // A value as the file would have it; a whole number may come with a fraction of zero.
        let texts = match value {
            Value::Null => continue,
            Value::String(text) => vec![text.clone()],
            Value::Bool(value) => vec![value.to_string()],
            Value::Number(number) => {
                let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15);
                std::iter::once(number.to_string()).chain(whole.map(|number| number.to_string())).collect()
            }
            Value::Array(_) | Value::Object(_) => return Err(format!("{name:?} is no single value")),
        };
        if texts.iter().any(|text| layout.is_missing(text)) {
            continue;
        }
        // Columns that are not modelled are kept, and told to nobody.
        let aside = layout.columns().iter().find(|column| column.classes() == 0 && column.name() == name);
        let column = if let Some(aside) = aside {
            aside.name()
        } else {
            let site = layout.site(name).map_err(|error| error.to_string())?;
            told.classes[site] = texts.iter().find_map(|text| layout.encode(site, text).ok());
            if told.classes[site].is_none() {
                told.not_told.push(columns[site].name().to_owned());
            }
            columns[site].name()
        };
        if told.given.insert(column.to_owned(), value.clone()).is_some() {
            return Err(format!("the column {column:?} is given twice"));
        }
    }
    Ok(told)
}

fn constraint(wanted: &Wanted, nodes: Option<usize>, schema: &Schema) -> Result<Constrained, Failure> {
    let args = ConstraintArgs {
        infill: wanted.infill.clone(),
        fix: wanted.fix.clone(),
        forbid: wanted.forbid.clone(),
        require: wanted.require.clone(),
        ..ConstraintArgs::default()
    };
    let mut constraints = Constraints::of(&args, schema)?;
    let kept = wanted.keep.iter().flatten().enumerate().filter_map(|(site, class)| Some((site, (*class)?)));
    constraints.keep(kept, schema)?;
    let observed: Vec<_> = wanted.prefix.as_ref().map(|text| prefix(text, schema)).transpose()?.into_iter().collect();
    constraints.make_room(&observed, schema)?;
    let sizes = constraints.sizes_with(nodes, None, schema)?;
    Ok(Constrained { constraint: constraints.constraint, part: constraints.part, sizes, observed })
}

#[cfg(test)]
mod tests {
    use pushforward::data::Vocabulary;

    use super::*;

    #[test]
    fn what_is_kept_and_what_is_filled_in_are_one_constraint() {
        let vocabulary = Vocabulary::Characters("ab ".chars().collect());
        let schema = Schema { sites: 4, classes: 3, layout: Layout::Text { vocabulary } };
        let keep = Some(vec![None, None, None, Some(1)]);
        let wanted = Wanted { keep, infill: Some("b_ ".into()), prefix: Some("a".into()), ..Wanted::default() };
        let found = ServedItems.constraint(&wanted, None, &schema).unwrap();
        let mut fixed: Vec<_> = found.constraint.unwrap().fixed().collect();
        fixed.sort_unstable();
        assert_eq!(fixed, [(0, 1), (2, 2), (3, 1)]);
        assert_eq!(found.observed, [vec![Some(0), None, None, None]]);
        assert_eq!(ServedItems.read("ab", &schema).unwrap(), [0, 1]);
        let odd = Wanted { infill: Some("xyz".into()), ..Wanted::default() };
        assert!(ServedItems.constraint(&odd, None, &schema).is_err());
        assert!(ServedItems.constraint(&Wanted::default(), Some(3), &schema).unwrap_err().contains("models of graphs"));
    }
}
