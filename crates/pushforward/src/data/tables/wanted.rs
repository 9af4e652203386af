//! The values of one column that a condition asks for.

use crate::data::tables::law::Interval;

/// Values of a column.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Wanted {
    /// These texts, or all others.
    Texts { texts: Vec<String>, others: bool },
    /// Numbers of these intervals, in increasing order; and what is missing, or not.
    Numbers { intervals: Vec<Interval>, missing: bool },
    /// What is missing, or what is not.
    Missing(bool),
}

const ALL: [Interval; 1] = [[f64::NEG_INFINITY, f64::INFINITY]];

impl Wanted {
    /// What fulfils both, if that can be said.
    pub(super) fn and(self, other: &Self) -> Option<Self> {
        match (self, other) {
            (Self::Numbers { intervals, missing }, Self::Numbers { intervals: more, missing: also }) => {
                let both = |a: &Interval| more.iter().map(|b| [a[0].max(b[0]), a[1].min(b[1])]).collect::<Vec<_>>();
                let intervals = intervals.iter().flat_map(both).filter(|[low, high]| low <= high).collect();
                Some(Self::Numbers { intervals, missing: missing && *also })
            }
            (Self::Numbers { intervals, .. }, Self::Missing(false)) => {
                Some(Self::Numbers { intervals, missing: false })
            }
            (Self::Missing(false), Self::Numbers { intervals, .. }) => {
                Some(Self::Numbers { intervals: intervals.clone(), missing: false })
            }
            (Self::Texts { mut texts, others: true }, Self::Texts { texts: more, others: true }) => {
                texts.extend(more.iter().cloned());
                Some(Self::Texts { texts, others: true })
            }
            _ => None,
        }
    }

    pub(super) fn missing(&self) -> bool {
        match self {
            Self::Texts { others, .. } => *others,
            Self::Numbers { missing, .. } => *missing,
            Self::Missing(missing) => *missing,
        }
    }

    pub(super) fn has_text(&self, text: &str) -> bool {
        match self {
            Self::Texts { texts, others } => texts.iter().any(|known| known == text) != *others,
            Self::Numbers { .. } => false,
            Self::Missing(missing) => !missing,
        }
    }

    pub(super) fn intervals(&self) -> &[Interval] {
        match self {
            Self::Texts { .. } | Self::Missing(true) => &[],
            Self::Numbers { intervals, .. } => intervals,
            Self::Missing(false) => &ALL,
        }
    }

    pub(super) fn has_number(&self, number: f64) -> bool {
        self.intervals().iter().any(|[low, high]| (*low..=*high).contains(&number))
    }
}
