//! Times of the jumps of a trained flow map, chosen once for each number of jumps.
//!
//! The map learns its jumps unequally well, so that equal steps are seldom the best: on QM9, two jumps over `0, 0.7, 1` are
//! as often valid as four equal ones. [`search`] finds the times for which a cost is least; [`TrainedFlowMap::fit_grids`]
//! takes as cost how many sites end in another class than along the differential equation from the same noise.
//!
//! [`TrainedFlowMap::fit_grids`]: crate::run::TrainedFlowMap::fit_grids
//!
//! # Examples
//! ```
//! use pushforward::flow_map::grids::{Grids, search};
//!
//! // A cost with its minimum at 0.73.
//! let (grid, [equal, least]) = search(2, &mut |grid| (grid.times()[1] - 0.73f64).powi(2));
//! assert_eq!(grid.times(), [0.0, 0.73, 1.0]);
//! assert!((equal - 0.23f64.powi(2)).abs() < 1e-12 && least < 1e-12);
//! let mut grids = Grids::default();
//! grids.keep(grid.clone());
//! assert_eq!((grids.of(2), grids.of(4)), (Some(grid), None));
//! ```

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::flow_map::time::TimeGrid;

/// Lengths of the moves of [`search`], in hundredths.
const MOVES: [i64; 4] = [16, 8, 3, 1];
/// Most jumps that times are kept for.
const MOST: usize = 64;

/// Time grids by their number of steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Grids(BTreeMap<usize, Vec<f64>>);

impl Grids {
    /// The grid of so many steps.
    pub fn of(&self, steps: usize) -> Option<TimeGrid> {
        self.0.get(&steps).and_then(|times| TimeGrid::new(times.clone()).ok())
    }

    /// Keeps a grid in place of the one with as many steps.
    pub fn keep(&mut self, grid: TimeGrid) {
        self.0.insert(grid.steps(), grid.times().to_vec());
    }

    /// The grids, from the fewest steps on.
    pub fn all(&self) -> impl Iterator<Item = TimeGrid> + '_ {
        self.0.keys().filter_map(|&steps| self.of(steps))
    }

    /// Checks grids that were read from a file.
    ///
    /// # Errors
    /// Names the first grid that is none, or stands under another number of steps.
    pub fn check(&self) -> Result<(), String> {
        for (&steps, times) in &self.0 {
            let grid = TimeGrid::new(times.clone()).map_err(|e| e.to_string())?;
            if grid.steps() != steps || steps > MOST {
                return Err(format!("{steps} steps are given {} times", times.len()));
            }
        }
        Ok(())
    }
}

/// Times of so many steps, in hundredths, at which no single move makes the cost less, from equal steps on; with the costs of
/// equal steps and of these. With more than 64 steps, equal ones.
pub fn search(steps: usize, cost: &mut dyn FnMut(&TimeGrid) -> f64) -> (TimeGrid, [f64; 2]) {
    let equal = TimeGrid::uniform(steps);
    let before = cost(&equal);
    if steps > MOST {
        return (equal, [before; 2]);
    }
    let grid = |places: &[i64]| {
        TimeGrid::new(places.iter().map(|&place| place as f64 / 100.0).collect()).expect("places rise from 0 to 100")
    };
    let mut places: Vec<i64> = equal.times().iter().map(|time| (time * 100.0).round() as i64).collect();
    let mut least = before;
    for length in MOVES {
        loop {
            let mut improved = false;
            for step in 1..steps {
                for direction in [1, -1] {
                    loop {
                        let mut moved = places.clone();
                        moved[step] += direction * length;
                        if moved[step] <= moved[step - 1] || moved[step] >= moved[step + 1] {
                            break;
                        }
                        let found = cost(&grid(&moved));
                        if found.partial_cmp(&least) != Some(std::cmp::Ordering::Less) {
                            break;
                        }
                        (places, least, improved) = (moved, found, true);
                    }
                }
            }
            if !improved {
                break;
            }
        }
    }
    (if least < before { grid(&places) } else { equal }, [before, least])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_separable_cost_is_minimised_over_all_times() {
        let wanted = [0.31, 0.55, 0.92];
        let mut asked = 0;
        let mut cost = |grid: &TimeGrid| {
            asked += 1;
            grid.times()[1..4].iter().zip(wanted).map(|(time, wanted)| (time - wanted).abs()).sum::<f64>()
        };
        let (grid, [before, after]) = search(4, &mut cost);
        assert_eq!(grid.times(), [0.0, 0.31, 0.55, 0.92, 1.0]);
        assert!(before > 0.2 && after < 1e-9);
        assert!(asked < 100, "{asked} costs were asked for");
    }

    #[test]
    fn equal_steps_stay_where_nothing_is_better() {
        for steps in [1, 2, 3, 7, 80] {
            let (grid, costs) = search(steps, &mut |_| 1.0);
            assert_eq!((grid, costs), (TimeGrid::uniform(steps), [1.0; 2]));
        }
        // A cost that is not a number is never less.
        let (grid, _) = search(3, &mut |grid| if *grid == TimeGrid::uniform(3) { 1.0 } else { f64::NAN });
        assert_eq!(grid, TimeGrid::uniform(3));
    }

    #[test]
    fn damaged_grids_are_refused() {
        let read = |text: &str| serde_json::from_str::<Grids>(text).expect("numbers").check();
        assert!(read(r#"{"2":[0,0.7,1]}"#).is_ok() && read("{}").is_ok());
        for bad in [r#"{"3":[0,0.7,1]}"#, r#"{"2":[0,0.7,0.9]}"#, r#"{"2":[0,1.5,1]}"#, r#"{"0":[]}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
