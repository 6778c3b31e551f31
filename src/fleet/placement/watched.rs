//! A map that knows which of its entries may have changed since somebody asked, so that what is
//! derived from it is brought up to date at the price of the change and not of the fleet.
//!
//! It reads as the ordered map that it is. Whoever takes an entry to change it marks it; nobody
//! has to remember to say so, and nobody can forget.

use crate::model::Name;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map},
    ops::Deref,
};

/// Stored and compared as the map alone.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(in crate::fleet) struct Watched<V> {
    all: BTreeMap<Name, V>,
    #[serde(skip)]
    changed: BTreeSet<Name>,
}

impl<V> Default for Watched<V> {
    fn default() -> Self {
        Watched {
            all: BTreeMap::new(),
            changed: BTreeSet::new(),
        }
    }
}

impl<V: PartialEq> PartialEq for Watched<V> {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl<V> Deref for Watched<V> {
    type Target = BTreeMap<Name, V>;
    fn deref(&self) -> &Self::Target {
        &self.all
    }
}

impl<'a, V> IntoIterator for &'a Watched<V> {
    type Item = (&'a Name, &'a V);
    type IntoIter = btree_map::Iter<'a, Name, V>;
    fn into_iter(self) -> Self::IntoIter {
        self.all.iter()
    }
}

impl<V> Watched<V> {
    pub(in crate::fleet) fn get_mut(&mut self, name: &Name) -> Option<&mut V> {
        let found = self.all.get_mut(name)?;
        if !self.changed.contains(name) {
            self.changed.insert(name.clone());
        }
        Some(found)
    }

    /// For a change of what nobody who [watches](Watched::changed) looks at: it is not noted.
    pub(in crate::fleet) fn get_mut_unnoted(&mut self, name: &Name) -> Option<&mut V> {
        self.all.get_mut(name)
    }

    pub(in crate::fleet) fn insert(&mut self, name: Name, value: V) -> Option<V> {
        self.changed.insert(name.clone());
        self.all.insert(name, value)
    }

    pub(in crate::fleet) fn remove(&mut self, name: &Name) -> Option<V> {
        self.changed.insert(name.clone());
        self.all.remove(name)
    }

    /// Those that may have changed, or are gone, since [`Watched::take_changed`].
    pub(super) fn changed(&self) -> &BTreeSet<Name> {
        &self.changed
    }

    pub(super) fn take_changed(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.changed)
    }
}
