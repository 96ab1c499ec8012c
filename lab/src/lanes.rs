//! Who runs which item next: several machines run side by side, each in a lane of its own.
//!
//! In: items, each with the shape of the machine it wants. Out: for a lane, its next item. A lane
//! goes on with the machine it has booted while there are items for it; one that runs out takes a
//! shape nobody works on, then helps where enough is left to be worth a boot. It starts nothing.

use crate::qemu::Machine;
use std::collections::{BTreeMap, VecDeque};

/// A boot takes as long as about this many ordinary items.
const WORTH_A_BOOT: usize = 4;

/// The items that want one shape of machine and that no lane has taken yet.
struct Shape<T> {
    machine: Machine,
    /// Each of its items wrecks its machine, so there is a boot for each.
    wrecks: bool,
    items: VecDeque<T>,
    lanes: usize,
}

/// The items that no lane has taken yet.
pub struct Lanes<T> {
    shapes: Vec<Shape<T>>,
}

/// What a lane does next.
pub struct Next<T> {
    /// Its shape, to be told at the next call.
    pub shape: usize,
    /// The machine.
    pub machine: Machine,
    /// The item.
    pub item: T,
}

impl<T> Lanes<T> {
    /// All items, each with its machine and whether it wrecks it.
    pub fn new(items: impl IntoIterator<Item = (Machine, bool, T)>) -> Lanes<T> {
        let mut shapes: BTreeMap<(Machine, bool), VecDeque<T>> = BTreeMap::new();
        for (machine, wrecks, item) in items {
            shapes.entry((machine, wrecks)).or_default().push_back(item);
        }
        let shape = |((machine, wrecks), items)| Shape { machine, wrecks, items, lanes: 0 };
        Lanes { shapes: shapes.into_iter().map(shape).collect() }
    }

    /// The next item of a lane that has worked on the shape `held` until now.
    pub fn next(&mut self, held: Option<usize>) -> Option<Next<T>> {
        let goes_on = held.filter(|&index| self.left(index) > 0);
        let index = match goes_on {
            Some(index) => index,
            None => {
                if let Some(shape) = held.and_then(|index| self.shapes.get_mut(index)) {
                    shape.lanes -= 1;
                }
                let index = self.best()?;
                self.shapes[index].lanes += 1;
                index
            }
        };
        let shape = &mut self.shapes[index];
        let item = shape.items.pop_front()?;
        Some(Next { shape: index, machine: shape.machine.clone(), item })
    }

    fn left(&self, index: usize) -> usize {
        self.shapes.get(index).map_or(0, |shape| shape.items.len())
    }

    /// The shape that a free lane takes: one that nobody works on, and the largest of those.
    fn best(&self) -> Option<usize> {
        let wanted = |shape: &Shape<T>| match shape.items.len() {
            0 => false,
            left => shape.lanes == 0 || shape.wrecks || left >= WORTH_A_BOOT,
        };
        let order = |shape: &Shape<T>| (shape.lanes == 0, shape.items.len());
        let open = self.shapes.iter().enumerate().filter(|(_, shape)| wanted(shape));
        open.max_by_key(|(_, shape)| order(shape)).map(|(index, _)| index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(xen: &str) -> Machine {
        Machine { xen: xen.into(), ..Machine::default() }
    }

    fn of(shapes: &[(&str, bool, usize)]) -> Lanes<usize> {
        let item = |&(xen, wrecks, count)| (0..count).map(move |n| (machine(xen), wrecks, n));
        Lanes::new(shapes.iter().flat_map(item))
    }

    #[test]
    fn two_lanes_take_every_item_once() {
        let mut lanes = of(&[("a", false, 9), ("b", true, 2), ("c", false, 1)]);
        let mut held = [None, None];
        let mut taken = Vec::new();
        let mut boots = 0;
        while let Some((lane, next)) =
            (0..2).find_map(|lane| Some((lane, lanes.next(held[lane])?))).map(|(lane, next)| {
                boots += usize::from(held[lane] != Some(next.shape));
                (lane, next)
            })
        {
            held[lane] = Some(next.shape);
            taken.push((next.machine.xen, next.item));
            held.reverse();
        }
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 12);
        assert!(boots <= 5, "{boots} boots");
    }

    #[test]
    fn a_lane_keeps_its_machine_and_helps_where_it_pays() {
        let mut lanes = of(&[("a", false, 6), ("b", false, 1)]);
        let first = lanes.next(None).expect("an item");
        assert_eq!(first.machine.xen, "a", "the largest first");
        let second = lanes.next(None).expect("an item");
        assert_eq!(second.machine.xen, "b", "one that nobody works on");
        let helped = lanes.next(Some(second.shape)).expect("an item");
        assert_eq!((helped.machine.xen.as_str(), helped.item), ("a", 1), "five are worth a boot");
        assert_eq!(lanes.next(Some(first.shape)).map(|next| next.item), Some(2));
        assert!(lanes.next(None).is_none(), "three are not");
        assert_eq!(lanes.next(Some(first.shape)).map(|next| next.item), Some(3));
    }

    #[test]
    fn what_wrecks_its_machine_is_always_shared() {
        let mut lanes = of(&[("a", true, 2)]);
        assert!(lanes.next(None).is_some());
        assert!(lanes.next(None).is_some());
        assert!(lanes.next(None).is_none());
    }
}
