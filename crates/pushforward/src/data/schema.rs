//! What the variables of an example are: their number, their classes and what they depict.

use serde::{Deserialize, Serialize};

use crate::data::graph::GraphLayout;
use crate::data::text::vocabulary::Vocabulary;

/// Number of variables, number of classes of each, and what they depict. Part of every checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Categorical variables in an example.
    pub sites: usize,
    /// Classes of each variable; of the one with the most, where they differ.
    pub classes: usize,
    /// What the variables are.
    pub layout: Layout,
}

/// What the variables of an example depict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Symbols of a text, in reading order.
    Text {
        /// Class index to symbol.
        vocabulary: Vocabulary,
    },
    /// Pixels, row by row from the top; classes run from dark to light.
    Image {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Columns of a table.
    Table,
    /// Nodes and pairs of nodes of a graph.
    Graph(GraphLayout),
}
