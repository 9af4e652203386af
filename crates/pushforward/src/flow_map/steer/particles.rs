//! Particles of a population on several ranks: weights of all, and rows sent where resampling puts them.

use std::ops::Range;

use burn::tensor::Tensor;

use super::candidates::kept;
use super::context::Kept;
use super::request::{Population, SteerError};
use crate::flow_map::sample::Samples;
use crate::ranks::codec::{Reader, Writer};
use crate::ranks::{RankError, Ranks};
use crate::tensor::{from_host, to_host};

/// Values of all particles, population by population, from those of every rank; a rank that cannot go on says why, and then
/// none does.
pub(super) fn of_all(ranks: &Ranks, own: Result<&[f64], SteerError>, particles: usize) -> Result<Vec<f64>, SteerError> {
    if ranks.size() == 1 {
        return own.map(<[f64]>::to_vec);
    }
    let why = own.as_ref().err().map_or_else(String::new, ToString::to_string);
    let all = ranks.gather(Writer::default().text(&why).f64s(own.as_ref().copied().unwrap_or_default()).bytes());
    let (own, mut parts) = (own?, Vec::new());
    for (rank, bytes) in all?.iter().enumerate() {
        let mut reader = Reader::new(bytes);
        let why = reader.text()?;
        if !why.is_empty() {
            return Err(RankError::Stopped { rank, why }.into());
        }
        parts.push(reader.f64s()?);
    }
    let count = own.len() / ranks.share(particles).len();
    let population = |g: usize| {
        parts.iter().enumerate().flat_map(move |(rank, part)| {
            let length = ranks.share_of(rank, particles).len();
            part[g * length..(g + 1) * length].iter().copied()
        })
    };
    Ok((0..count).flat_map(population).collect())
}

/// The rank that has a particle.
fn owner(ranks: &Ranks, particle: usize, particles: usize) -> usize {
    (0..ranks.size())
        .find(|&rank| ranks.share_of(rank, particles).contains(&particle))
        .expect("a particle of a population")
}

/// What moves with a particle of this rank.
pub(super) struct Rows<'a> {
    pub(super) tensors: [Option<&'a mut Tensor<3>>; 3],
    pub(super) numbers: [&'a mut Vec<f64>; 2],
    pub(super) classes: &'a mut Vec<u32>,
    pub(super) origins: &'a mut Vec<u64>,
}

impl Rows<'_> {
    /// Replaces every particle by the one that `order` has in its place; both count over all particles of all populations.
    pub(super) fn fetch(self, ranks: &Ranks, order: &[usize], particles: usize) -> Result<(), RankError> {
        let (populations, own) = (order.len() / particles, ranks.share(particles));
        let here = populations * own.len();
        let place = |particle: usize| particle / particles * own.len() + particle % particles - own.start;
        let sources = |rank: usize| {
            let share = ranks.share_of(rank, particles);
            (0..populations).flat_map(move |g| share.clone().map(move |i| order[g * particles + i]))
        };
        let host: Vec<Option<Vec<f64>>> = self.tensors.iter().map(|x| x.as_deref().map(to_host)).collect();
        let message = |rank: usize| {
            let mine: Vec<usize> = sources(rank).filter(|i| own.contains(&(i % particles))).map(place).collect();
            let mut message = Writer::default();
            for list in host.iter().flatten().chain(self.numbers.iter().map(|list| &**list)) {
                message = message.f64s(&rows(list, &mine, here));
            }
            message.u32s(&rows(self.classes, &mine, here)).u64s(rows(self.origins, &mine, here)).bytes()
        };
        let sent = ranks.start((0..ranks.size()).map(message).collect()).wait()?;
        // The rank that sends each of this rank's particles; every one sends them in order.
        let from: Vec<usize> = sources(ranks.rank()).map(|i| owner(ranks, i % particles, particles)).collect();
        let mut readers: Vec<Reader<'_>> = sent.iter().map(|bytes| Reader::new(bytes)).collect();
        for tensor in self.tensors.into_iter().flatten() {
            let values = merge(readers.iter_mut().map(Reader::f64s).collect::<Result<_, _>>()?, &from);
            *tensor = from_host(&values, tensor.dims(), tensor);
        }
        for numbers in self.numbers {
            *numbers = merge(readers.iter_mut().map(Reader::f64s).collect::<Result<_, _>>()?, &from);
        }
        *self.classes = merge(readers.iter_mut().map(Reader::u32s).collect::<Result<_, _>>()?, &from);
        *self.origins = merge(readers.iter_mut().map(Reader::u64s).collect::<Result<_, _>>()?, &from);
        Ok(())
    }
}

/// Some of `count` rows.
fn rows<T: Copy>(list: &[T], wanted: &[usize], count: usize) -> Vec<T> {
    let width = list.len() / count;
    wanted.iter().flat_map(|&row| &list[row * width..(row + 1) * width]).copied().collect()
}

/// Rows of several lists in the order in which `from` names the lists.
fn merge<T: Copy>(lists: Vec<Vec<T>>, from: &[usize]) -> Vec<T> {
    let width = lists.iter().map(Vec::len).sum::<usize>() / from.len().max(1);
    let mut next = vec![0; lists.len()];
    let row = |&list: &usize| {
        let start = next[list];
        next[list] += width;
        lists[list][start..start + width].iter().copied()
    };
    from.iter().flat_map(row).collect()
}

/// The kept particles of populations, from all ranks; `rewards` and `samples` are those of this one.
pub(super) fn kept_of_all(
    ranks: &Ranks,
    samples: &Samples,
    rewards: &[f64],
    particles: usize,
    chosen: Vec<(Population, Vec<usize>)>,
) -> Result<Vec<Kept>, RankError> {
    let own = ranks.share(particles);
    let range = |g: usize| g * own.len()..(g + 1) * own.len();
    let here = |(g, (population, chosen)): (usize, &(Population, Vec<usize>))| {
        let mine: Vec<usize> = chosen.iter().filter(|i| own.contains(i)).map(|i| i - own.start).collect();
        kept(samples, &rewards[range(g)], range(g).start, &mine, population.clone())
    };
    let found: Vec<Kept> = chosen.iter().enumerate().map(here).collect();
    if ranks.size() == 1 {
        return Ok(found);
    }
    let (sites, point) = (samples.sites.count, samples.sites.count * samples.sites.classes);
    let ids: Vec<u32> = found.iter().flat_map(|kept| &kept.ids).copied().collect();
    let endpoints: Vec<f32> = found.iter().flat_map(|kept| &kept.endpoints).copied().collect();
    let rewards: Vec<f64> = found.iter().flat_map(|kept| &kept.rewards).copied().collect();
    let all = ranks.gather(Writer::default().u32s(&ids).f32s(&endpoints).f64s(&rewards).bytes())?;
    let from: Vec<usize> =
        chosen.iter().flat_map(|(_, chosen)| chosen.iter().map(|&i| owner(ranks, i, particles))).collect();
    let mut readers: Vec<Reader<'_>> = all.iter().map(|bytes| Reader::new(bytes)).collect();
    let ids = merge(readers.iter_mut().map(Reader::u32s).collect::<Result<_, _>>()?, &from);
    let endpoints = merge(readers.iter_mut().map(Reader::f32s).collect::<Result<_, _>>()?, &from);
    let rewards = merge(readers.iter_mut().map(Reader::f64s).collect::<Result<_, _>>()?, &from);
    let mut start = 0;
    let one = |(population, chosen): (Population, Vec<usize>)| {
        let Range { start: first, end } = start..start + chosen.len();
        start = end;
        Kept {
            ids: ids[first * sites..end * sites].to_vec(),
            endpoints: endpoints[first * point..end * point].to_vec(),
            rewards: rewards[first..end].to_vec(),
            population,
        }
    };
    Ok(chosen.into_iter().map(one).collect())
}
