//! Handles: how a guest names what it made.
//!
//! In: objects. Out: numbers that name one object of one type for as long as it lives. A number carries
//! its type and how often its place was used, so that neither a handle of another type nor one of an
//! object that is gone finds anything.

/// The type of an object, as its handles carry it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Protection domain.
    Pd = 1,
    /// Completion channel.
    Channel = 2,
    /// Completion queue.
    Cq = 3,
    /// Queue pair.
    Qp = 4,
    /// Memory region.
    Mr = 5,
    /// Pages that stay mapped although no region covers them.
    Kept = 6,
}

const INDEX_BITS: u32 = 16;
const USE_BITS: u32 = 12;
const INDEX_MASK: u32 = (1 << INDEX_BITS) - 1;
const USE_MASK: u32 = (1 << USE_BITS) - 1;
/// Objects of one type that a context may have, whatever its quota.
pub const OBJECTS_MAX: usize = 1 << INDEX_BITS;

#[derive(Debug)]
struct Place<T> {
    uses: u32,
    object: Option<T>,
}

/// The objects of one type.
#[derive(Debug)]
pub struct Table<T> {
    kind: Kind,
    places: Vec<Place<T>>,
    free: Vec<usize>,
}

impl<T> Table<T> {
    /// A table without objects.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self { kind, places: Vec::new(), free: Vec::new() }
    }

    /// Takes an object; gives it back when there are too many.
    ///
    /// # Errors
    /// The object.
    pub fn insert(&mut self, object: T) -> Result<u32, T> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.places.len() < OBJECTS_MAX => {
                self.places.push(Place { uses: 0, object: None });
                self.places.len() - 1
            }
            None => return Err(object),
        };
        let place = &mut self.places[index];
        place.object = Some(object);
        Ok(self.handle(index))
    }

    /// The handle that the next object gets; `None` when there is room for none.
    #[must_use]
    pub fn next(&self) -> Option<u32> {
        let index = self.free.last().copied().unwrap_or(self.places.len());
        (index < OBJECTS_MAX).then(|| self.handle(index))
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The object that a handle names.
    #[must_use]
    pub fn get(&self, handle: u32) -> Option<&T> {
        self.places.get(self.index(handle)?)?.object.as_ref()
    }

    /// The object that a handle names.
    pub fn get_mut(&mut self, handle: u32) -> Option<&mut T> {
        let index = self.index(handle)?;
        self.places.get_mut(index)?.object.as_mut()
    }

    /// Takes the object out; its handle names nothing from here on.
    pub fn remove(&mut self, handle: u32) -> Option<T> {
        let index = self.index(handle)?;
        let place = self.places.get_mut(index)?;
        let object = place.object.take()?;
        place.uses = (place.uses + 1) & USE_MASK;
        self.free.push(index);
        Some(object)
    }

    /// All objects.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|place| place.object.as_ref())
    }

    /// All objects.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.places.iter_mut().filter_map(|place| place.object.as_mut())
    }

    fn handle(&self, index: usize) -> u32 {
        let uses = self.places.get(index).map_or(0, |place| place.uses);
        (self.kind as u32) << (INDEX_BITS + USE_BITS) | uses << INDEX_BITS | index as u32
    }

    fn index(&self, handle: u32) -> Option<usize> {
        let index = (handle & INDEX_MASK) as usize;
        let place = self.places.get(index)?;
        let is_this = handle >> (INDEX_BITS + USE_BITS) == self.kind as u32
            && handle >> INDEX_BITS & USE_MASK == place.uses;
        is_this.then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn handles_name_one_type_and_one_life() {
        let mut cqs = Table::new(Kind::Cq);
        let mut qps = Table::new(Kind::Qp);
        let cq = cqs.insert("cq").unwrap();
        let qp = qps.insert("qp").unwrap();
        assert_ne!(cq, 0);
        assert_eq!((cqs.get(cq), cqs.get(qp)), (Some(&"cq"), None));
        assert_eq!((qps.get(qp), qps.get(cq)), (Some(&"qp"), None));
        assert_eq!(cqs.remove(cq), Some("cq"));
        let second = cqs.insert("second").unwrap();
        assert_eq!(cqs.get(cq), None, "the place has another object");
        assert_eq!(cqs.remove(cq), None);
        assert_eq!(cqs.get_mut(second), Some(&mut "second"));
        assert_ne!(cqs.insert("third").unwrap(), second);
    }

    #[test]
    fn fuzz_handles() {
        let rounds = std::env::var("XLR_FUZZ_ITERS").ok().and_then(|text| text.parse().ok());
        let mut table = Table::new(Kind::Mr);
        let mut model: BTreeMap<u32, u64> = BTreeMap::new();
        let mut gone: Vec<u32> = Vec::new();
        let mut state = 11_u64;
        for round in 0..rounds.unwrap_or(50_000_u64) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let pick = (state >> 33) as usize;
            match pick % 5 {
                0 | 1 if model.len() < 40 => {
                    let next = table.next();
                    let handle = table.insert(round).unwrap();
                    assert_eq!(next, Some(handle));
                    assert_eq!(model.insert(handle, round), None, "a handle twice");
                }
                2 if !model.is_empty() => {
                    let handle = *model.keys().nth(pick % model.len()).unwrap();
                    assert_eq!(table.remove(handle), model.remove(&handle));
                    gone.push(handle);
                }
                3 => {
                    let handle = (state >> 17) as u32;
                    assert_eq!(table.get(handle), model.get(&handle));
                }
                _ => {
                    if let Some(handle) = gone.iter().rev().nth(pick % 50) {
                        assert_eq!(table.get(*handle), model.get(handle));
                    }
                }
            }
            assert_eq!((table.iter().count(), table.len()), (model.len(), model.len()));
        }
    }
}
