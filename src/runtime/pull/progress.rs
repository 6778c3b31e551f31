//! How far Docker has come with an image, out of what it says about each layer.

use crate::runtime::Progress;
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::sync::mpsc::UnboundedSender;

/// An image has at most 127 layers; more is nonsense and not kept.
const LAYERS_LIMIT: usize = 256;
/// The least time between two messages; the first and the last percent come at once.
const MESSAGE_EVERY: Duration = Duration::from_secs(1);
/// Of the whole work, extracting is about this part, in percent.
const EXTRACTING_PERCENT: u64 = 30;

#[derive(Debug, Default, Clone, Copy)]
struct Layer {
    total: u64,
    loaded: u64,
    extracted: u64,
}

/// Adds up bytes and sends a percentage that never goes back.
#[derive(Debug)]
pub(crate) struct LayerProgress<'a> {
    sender: &'a UnboundedSender<Progress>,
    layers: HashMap<String, Layer>,
    /// The last message.
    sent: Option<(u8, Instant)>,
}

impl<'a> LayerProgress<'a> {
    /// Sends into `sender`; nobody listening is no error.
    pub(crate) fn new(sender: &'a UnboundedSender<Progress>) -> Self {
        LayerProgress {
            sender,
            layers: HashMap::new(),
            sent: None,
        }
    }

    /// One message of the engine: a layer's id, what happens to it, bytes done and in all.
    pub(crate) fn step(&mut self, id: &str, status: &str, done: Option<i64>, total: Option<i64>) {
        self.step_at(Instant::now(), id, status, done, total);
    }

    fn step_at(
        &mut self,
        now: Instant,
        id: &str,
        status: &str,
        done: Option<i64>,
        total: Option<i64>,
    ) {
        if !self.layers.contains_key(id) && self.layers.len() >= LAYERS_LIMIT {
            return;
        }
        let bytes = |count: Option<i64>| count.and_then(|c| u64::try_from(c).ok()).unwrap_or(0);
        match status {
            "Pulling fs layer" | "Waiting" => {
                self.layers.entry(id.to_owned()).or_default();
                return;
            }
            "Downloading" => {
                let layer = self.layers.entry(id.to_owned()).or_default();
                layer.total = bytes(total).max(layer.total);
                layer.loaded = bytes(done);
            }
            "Download complete" => {
                let layer = self.layers.entry(id.to_owned()).or_default();
                layer.loaded = layer.total;
            }
            "Extracting" => {
                let layer = self.layers.entry(id.to_owned()).or_default();
                layer.total = bytes(total).max(layer.total);
                layer.loaded = layer.total;
                layer.extracted = bytes(done);
            }
            "Pull complete" => {
                let layer = self.layers.entry(id.to_owned()).or_default();
                // A tiny layer never told its size; it counts as one byte, which is done.
                layer.total = layer.total.max(1);
                layer.loaded = layer.total;
                layer.extracted = layer.total;
            }
            _ => return,
        }
        self.send(now);
    }

    /// `None` before the size of any layer is known. Layers of unknown size are taken to be as
    /// large as the average of the others, so that the first small layer does not look like all.
    fn percent(&self) -> Option<u8> {
        let known: Vec<&Layer> = self
            .layers
            .values()
            .filter(|layer| layer.total > 0)
            .collect();
        let total: u64 = known
            .iter()
            .map(|layer| layer.total)
            .fold(0, u64::saturating_add);
        let average = total.checked_div(known.len() as u64)?;
        let expected =
            total.saturating_add(average.saturating_mul((self.layers.len() - known.len()) as u64));
        let part = |layer: &&Layer| {
            let loaded = layer
                .loaded
                .min(layer.total)
                .saturating_mul(100 - EXTRACTING_PERCENT);
            let extracted = layer
                .extracted
                .min(layer.total)
                .saturating_mul(EXTRACTING_PERCENT);
            loaded.saturating_add(extracted)
        };
        let done: u64 = known.iter().map(part).fold(0, u64::saturating_add);
        u8::try_from(done.checked_div(expected)?.min(100)).ok()
    }

    fn send(&mut self, now: Instant) {
        let Some(percent) = self.percent() else {
            return;
        };
        if let Some((last, at)) = self.sent {
            let due = now.duration_since(at) >= MESSAGE_EVERY || percent == 100;
            if percent <= last || !due {
                return;
            }
        }
        self.sent = Some((percent, now));
        let _ = self.sender.send(Progress::Pulling(Some(percent)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::mpsc;

    fn drain(receiver: &mut mpsc::UnboundedReceiver<Progress>) -> Vec<Progress> {
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    #[test]
    fn percent_grows_and_messages_are_few() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut progress = LayerProgress::new(&sender);
        let start = Instant::now();
        progress.step_at(start, "a", "Pulling fs layer", None, None);
        progress.step_at(start, "b", "Pulling fs layer", None, None);
        progress.step_at(start, "a", "Downloading", Some(0), Some(1_000));
        assert_eq!(drain(&mut receiver), [Progress::Pulling(Some(0))]);
        for done in 0..=1_000 {
            progress.step_at(start, "a", "Downloading", Some(done), Some(1_000));
        }
        assert!(drain(&mut receiver).is_empty(), "too soon after the first");
        let later = start + MESSAGE_EVERY;
        progress.step_at(later, "a", "Download complete", None, None);
        // Half of what is expected, without the extracting.
        assert_eq!(drain(&mut receiver), [Progress::Pulling(Some(35))]);
        progress.step_at(later, "a", "Pull complete", None, None);
        let later = later + MESSAGE_EVERY;
        progress.step_at(later, "b", "Downloading", Some(2), Some(9_000));
        assert!(drain(&mut receiver).is_empty(), "it never goes back");
        progress.step_at(later, "b", "Pull complete", None, None);
        assert_eq!(drain(&mut receiver), [Progress::Pulling(Some(100))]);
    }

    #[test]
    fn nonsense_is_harmless() {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let mut progress = LayerProgress::new(&sender);
        progress.step("", "Downloading", Some(-5), Some(-1));
        progress.step("x", "Status: all fine", None, None);
        for layer in 0..10_000 {
            progress.step(&layer.to_string(), "Waiting", None, None);
        }
        assert!(progress.layers.len() <= LAYERS_LIMIT);
        progress.step("1", "Downloading", Some(i64::MAX), Some(1));
        assert!(drain(&mut receiver).len() <= 1);
    }
}
