//! All classes of all sites of an item in one row; of the columns of a table, only those that there are.
//!
//! Tables have columns of 2 and of 100 classes, which [`SiteShape::columns`] pads to the same number. A layer that reads all
//! sites at once does without the padding.

use burn::tensor::Tensor;

use super::{Arrangement, SiteShape};
use crate::dual::Dual;
use crate::tensor::{from_host, indices};

/// Where the classes of an item stand in a row.
#[derive(Clone, Debug)]
pub(super) struct Packing {
    sites: usize,
    classes: usize,
    /// For columns of a table, the places of their classes among `sites * classes`.
    live: Option<Vec<u32>>,
}

impl Packing {
    pub(super) fn of(sites: &SiteShape) -> Self {
        let live = match &sites.arrangement {
            Arrangement::Columns(classes) => {
                let row =
                    |(site, &has): (usize, &usize)| (0..has).map(move |class| (site * sites.classes + class) as u32);
                Some(classes.iter().enumerate().flat_map(row).collect())
            }
            _ => None,
        };
        Self { sites: sites.count, classes: sites.classes, live }
    }

    /// Length of a row.
    pub(super) fn len(&self) -> usize {
        self.live.as_ref().map_or(self.sites * self.classes, Vec::len)
    }

    /// `[batch, sites, classes]` to `[batch, 1, length]`.
    pub(super) fn pack(&self, x: Dual<3>) -> Dual<3> {
        let all = self.sites * self.classes;
        x.linear(|v| {
            let v = v.clone().reshape([v.dims()[0], 1, all]);
            self.live.as_ref().map_or(v.clone(), |live| v.clone().select(2, indices(live, [live.len()], &v.device())))
        })
    }

    /// `[batch, 1, length]` to `[batch, sites, classes]`, with zeros for classes that there are not.
    pub(super) fn spread(&self, packed: Dual<3>) -> Dual<3> {
        packed.linear(|v| self.spread_onto(v, 0.0))
    }

    fn spread_onto(&self, v: Tensor<3>, filler: f64) -> Tensor<3> {
        let ([b, _, _], all) = (v.dims(), self.sites * self.classes);
        let v = match &self.live {
            None => v,
            Some(live) => {
                let mut table = vec![live.len() as u32; all];
                live.iter().zip(0..).for_each(|(&place, number)| table[place as usize] = number);
                let filler = Tensor::full([b, 1, 1], filler, (&v.device(), v.dtype()));
                let table = indices(&table, [all], &v.device());
                Tensor::cat(vec![v, filler], 2).select(2, table)
            }
        };
        v.reshape([b, self.sites, self.classes])
    }

    /// Logits `[1, sites, classes]` with the classes closed that columns of a table do not have.
    pub(super) fn closed(&self, z: Tensor<3>) -> Tensor<3> {
        let Some(live) = &self.live else { return z };
        let mut open = vec![0.0; self.sites * self.classes];
        live.iter().for_each(|&place| open[place as usize] = 1.0);
        let open: Tensor<3> = from_host(&open, [1, self.sites, self.classes], &z);
        z + (open - 1.0) * 1e9
    }

    /// A number for each site, `[batch, 1, sites]`, as one for each of its classes, `[batch, 1, length]`.
    pub(super) fn each(&self, numbers: Dual<3>) -> Dual<3> {
        let [b, _, sites] = numbers.dims();
        numbers.linear(|v| match &self.live {
            None => v.reshape([b, sites, 1]).repeat_dim(2, self.classes).reshape([b, 1, self.len()]),
            Some(live) => {
                let members = self.members(live, &v).transpose();
                v.reshape([b, sites]).matmul(members).reshape([b, 1, self.len()])
            }
        })
    }

    /// One where a class belongs to a site, `[length, sites]`.
    fn members<const D: usize>(&self, live: &[u32], like: &Tensor<D>) -> Tensor<2> {
        let mut members = vec![0.0; live.len() * self.sites];
        live.iter().enumerate().for_each(|(i, &place)| members[i * self.sites + place as usize / self.classes] = 1.0);
        from_host(&members, [live.len(), self.sites], like)
    }

    /// The softmax of every site, `[batch, 1, length]`.
    pub(super) fn softmax(&self, z: Dual<3>) -> Dual<3> {
        let [b, _, length] = z.dims();
        let Some(live) = &self.live else {
            let z = z.linear(|v| v.reshape([b, self.sites, self.classes]));
            return z.softmax().linear(|v| v.reshape([b, 1, length]));
        };
        let largest = self.spread_onto(z.value.clone().detach(), -1e9).max_dim(2).reshape([b, 1, self.sites]);
        let largest = self.each(largest.into()).value;
        let e = (z + Dual::from(largest.neg())).elementwise(Tensor::exp, Tensor::exp);
        let members = self.members(live, &e.value);
        let sums = e.clone().linear(|v| v.reshape([b, length]).matmul(members.clone()).reshape([b, 1, self.sites]));
        let shares = sums.elementwise(Tensor::recip, |v| (v.clone() * v).recip().neg());
        e * self.each(shares)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;
    use crate::tensor::to_host;

    #[test]
    fn rows_have_no_padding_and_come_back() {
        let packing = Packing::of(&SiteShape::columns(&[2, 3]));
        let x = Tensor::<3>::from_data([[[1.0f32, 2.0, 9.0], [3.0, 4.0, 5.0]]], &Device::flex());
        let packed = packing.pack(x.into());
        assert_eq!((packing.len(), to_host(&packed.value)), (5, vec![1.0, 2.0, 3.0, 4.0, 5.0]));
        assert_eq!(to_host(&packing.spread(packed).value), [1.0, 2.0, 0.0, 3.0, 4.0, 5.0]);
        let numbers = Tensor::<3>::from_data([[[7.0f32, 8.0]]], &Device::flex());
        assert_eq!(to_host(&packing.each(numbers.into()).value), [7.0, 7.0, 8.0, 8.0, 8.0]);
    }

    #[test]
    fn the_softmax_is_that_of_every_site_and_its_tangent() {
        // Far apart and far below zero, where sums over the wrong classes would be 0 or infinite.
        let z = [[[0.5f32, -1.5, 0.0], [-900.0, -901.0, -902.0]], [[300.0, 299.0, 0.0], [1.0, 2.0, -3.0]]];
        let dz = [[[1.0f32, 0.5, 0.0], [-2.0, 1.0, 3.0]], [[0.1, -0.2, 0.0], [4.0, 5.0, 6.0]]];
        let device = Device::flex();
        for sites in [SiteShape::columns(&[2, 3]), SiteShape::line(2, 3)] {
            let packing = Packing::of(&sites);
            let z = Dual::new(Tensor::<3>::from_data(z, &device), Tensor::from_data(dz, &device));
            let found = packing.softmax(packing.pack(z.clone()));
            let closed = Dual::from(packing.closed(Tensor::zeros([1, 2, 3], &device)));
            let wanted = packing.pack((z + closed).softmax());
            let near =
                |a: &Tensor<3>, b: &Tensor<3>| to_host(a).iter().zip(to_host(b)).all(|(a, b)| (a - b).abs() < 1e-5);
            assert!(near(&found.value, &wanted.value), "{sites:?}: {} {}", found.value, wanted.value);
            assert!(near(&found.tangent.unwrap(), &wanted.tangent.unwrap()), "{sites:?}");
        }
    }
}
