//! The controller's disk: entries as the bytes that a real journal keeps, and a snapshot now and
//! then. What is here has outlived every crash.

use fleetctl::fleet::{Entry, Fleet};

/// The durable order of entries.
#[derive(Debug, Default)]
pub struct Journal {
    entries: Vec<Vec<u8>>,
    /// The fleet after so many entries.
    snapshot: Option<(usize, Vec<u8>)>,
    /// How often the controller has started.
    pub starts: u64,
}

impl Journal {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn append(&mut self, entry: &Entry) {
        self.entries.push(bytes(entry));
    }

    /// The entry at a position, as it was written.
    pub fn at(&self, position: usize) -> Option<&[u8]> {
        self.entries.get(position).map(Vec::as_slice)
    }

    pub fn entries_since_snapshot(&self) -> usize {
        self.entries.len() - self.snapshot.as_ref().map_or(0, |(n, _)| *n)
    }

    pub fn keep_snapshot(&mut self, fleet: &Fleet) {
        self.snapshot = Some((self.entries.len(), bytes(fleet)));
    }

    /// The fleet, as a start of the controller finds it.
    pub fn load(&self) -> Result<Fleet, String> {
        let (mut fleet, from) = match &self.snapshot {
            Some((n, text)) => (read::<Fleet>(text)?, *n),
            None => (Fleet::new(), 0),
        };
        self.replay(&mut fleet, from)?;
        Ok(fleet)
    }

    /// The same from the first entry on, as if no snapshot had ever been taken.
    pub fn load_from_the_beginning(&self) -> Result<Fleet, String> {
        let mut fleet = Fleet::new();
        self.replay(&mut fleet, 0)?;
        Ok(fleet)
    }

    fn replay(&self, fleet: &mut Fleet, from: usize) -> Result<(), String> {
        for (n, text) in self.entries.iter().enumerate().skip(from) {
            let entry: Entry = read(text)?;
            if let Err(refusal) = fleet.apply(&entry) {
                return Err(format!(
                    "entry {n} is refused when it is replayed: {refusal}"
                ));
            }
        }
        Ok(())
    }
}

pub fn bytes(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap()
}

fn read<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, String> {
    serde_json::from_slice(text).map_err(|e| format!("what was stored cannot be read: {e}"))
}
