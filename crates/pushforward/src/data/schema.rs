//! Schema of a data set: the number of variables of an example, their classes and what they depict.

use serde::{Deserialize, Serialize};

use crate::data::graph::GraphLayout;
use crate::data::sequences::SequenceLayout;
use crate::data::tables::TableLayout;
use crate::data::text::vocabulary::Vocabulary;

/// Number of variables, number of classes of each, and what they depict. Part of every checkpoint.
///
/// # Examples
/// ```
/// use pushforward::data::{Layout, Schema};
/// let schema = Schema { sites: 28 * 28, classes: 2, layout: Layout::Image { height: 28, width: 28 } };
/// let read: Schema = serde_json::from_str(&serde_json::to_string(&schema)?)?;
/// assert_eq!(read, schema);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schema {
    /// Number of categorical variables of an example.
    pub sites: usize,
    /// Number of classes of each variable; if they differ, the largest.
    pub classes: usize,
    /// What the variables depict.
    pub layout: Layout,
}

impl Schema {
    /// Whether an example may lack variables: graphs of fewer nodes, short sequences, rows with holes.
    pub(crate) fn may_lack_sites(&self) -> bool {
        match &self.layout {
            Layout::Graph(_) => true,
            Layout::Sequence(layout) => layout.varies(),
            Layout::Columns(layout) => layout.has_holes(),
            Layout::Text { .. } | Layout::Image { .. } | Layout::Table => false,
        }
    }
}

/// What the variables of an example depict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// Symbols of a text, in reading order.
    Text {
        /// The symbol of each class.
        vocabulary: Vocabulary,
    },
    /// Pixels, row by row from the top; class 0 is the darkest.
    Image {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
    /// Columns of a table that say nothing of themselves.
    Table,
    /// Columns of a table, with the meaning of their classes.
    Columns(TableLayout),
    /// Nodes and pairs of nodes of a graph.
    Graph(GraphLayout),
    /// Letters of a sequence that may end before the last site.
    Sequence(SequenceLayout),
}
