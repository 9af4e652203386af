//! What the program knows of items: how they look, and how constraints on them are spelled.

use pushforward::aef::ImageShape;
use pushforward::data::Schema;
use pushforward::flow_map::constraint::Constraint;
use pushforward::flow_map::sample::{GraphPart, ObservedRow};

use crate::body::Constraints;

/// A constraint as the library takes it.
#[derive(Clone, Debug, Default)]
pub struct Constrained {
    /// Allowed classes of every site; `None` for all.
    pub constraint: Option<Constraint>,
    /// The part of a graph that the constraint keeps.
    pub part: Option<GraphPart>,
    /// For graphs, how often samples have each number of nodes; empty for the model's own numbers.
    pub sizes: Vec<u64>,
    /// Sites that the model is told, `None` for those that are generated; empty for none.
    pub observed: Vec<ObservedRow>,
}

/// A row of a table as a model is told it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToldRow {
    /// The class of every site; `None` where a value is missing, or not known to the model.
    pub classes: ObservedRow,
    /// The values that are given, by the names of their columns.
    pub given: serde_json::Map<String, serde_json::Value>,
    /// The columns of given values that the model does not know.
    pub not_told: Vec<String>,
}

/// How items are written and read. Class indices come item by item.
pub trait Items: Send + Sync + 'static {
    /// One JSON object for every item; rows of tables, whose keys are names of columns, are in a field `row`.
    ///
    /// What is drawn within a class, such as a number of a bin, depends on the seed and on the index of the item, of
    /// which `first` is the first.
    fn objects(&self, ids: &[u32], schema: &Schema, seed: u64, first: u64) -> Vec<serde_json::Value>;

    /// The items as one PNG; `None` where there is nothing to draw.
    fn png(&self, ids: &[u32], schema: &Schema) -> Option<Vec<u8>>;

    /// The items as one SVG; `None` where there is nothing to draw.
    fn svg(&self, ids: &[u32], schema: &Schema) -> Option<String>;

    /// Images in data space as one PNG.
    fn images(&self, pixels: &[f32], shape: ImageShape) -> Vec<u8>;

    /// Class indices of a text, one for each symbol; of a sequence, with absent sites after its last letter.
    ///
    /// # Errors
    /// If items are neither text by characters nor sequences, or a symbol is unknown.
    fn read(&self, text: &str, schema: &Schema) -> Result<Vec<u32>, String>;

    /// A row of a table by the names of its columns.
    ///
    /// # Errors
    /// If items are no rows, or there is no such column.
    fn row(&self, row: &serde_json::Map<String, serde_json::Value>, schema: &Schema) -> Result<ToldRow, String>;

    /// The constraint of a request; `nodes` is the number of nodes that every graph is to have.
    ///
    /// # Errors
    /// If it does not fit the items.
    fn constraint(&self, wanted: &Constraints, nodes: Option<usize>, schema: &Schema) -> Result<Constrained, String>;
}
