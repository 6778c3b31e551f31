//! Images on this node: fetched from the controller, told, taken away.
//!
//! ```text
//!  command image ─┐                     ┌─ engine fetches the layers that it lacks
//!                 ├─► a registry of the ┤
//!  no registry    │   agent's own       └─ 127.0.0.1 only, one image, one random name
//!  gives it     ──┘        │
//!                          └─ blobs of the controller, checked as they flow ([`NodeBlobs`])
//! ```
//!
//! An order runs beside everything else, at most [`AT_ONCE`] of them, and says every few seconds
//! how far it is: so the controller knows the difference between slow and gone.

mod prune;
mod registry;

use super::{blobs::NodeBlobs, bulk::Bulk, node::Node};
use crate::{
    contract::{CommandResult, Kind},
    model::{
        CommandOutcome, CommandSpec, Digest, ImageFetch, ImageOrder, ImagePrune, NodeImage, Run,
        RuntimeKind,
    },
    runtime::{KeptImages, Lent, Progress, Reference, Runtime},
};
use futures_util::{StreamExt, future::BoxFuture, stream};
use registry::{Flow, Source};
use std::{
    collections::BTreeSet,
    convert::Infallible,
    fmt::Write,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, mpsc},
    time,
};

/// Orders at once.
const AT_ONCE: usize = 4;
/// How often one says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(2);
/// Bytes of images in one result, which must not be larger than a result may.
const MAX_TOLD: usize = 200 * 1024;
/// No percentage is known.
const UNKNOWN: u64 = u64::MAX;

/// Places for orders.
#[derive(Debug)]
pub(super) struct Places(Arc<Semaphore>);

impl Default for Places {
    fn default() -> Places {
        Places(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Images that the controller keeps, for this node's engines.
#[derive(Debug, Clone)]
pub(super) struct Kept(pub(super) NodeBlobs);

impl Source for NodeBlobs {
    fn open(
        &self,
        digest: Digest,
        range: Option<(u64, u64)>,
    ) -> BoxFuture<'static, Result<(u64, Flow), String>> {
        let blobs = self.clone();
        Box::pin(async move {
            let body = NodeBlobs::open(&blobs, digest, range).await;
            let body = body.map_err(|e| e.to_string())?;
            let size = body.size();
            let flow = stream::try_unfold(body, |mut body| async move {
                let bytes = body.next().await.map_err(|e| e.to_string())?;
                Ok(bytes.map(|bytes| (bytes, body)))
            });
            Ok((size, flow.boxed()))
        })
    }
}

impl Kept {
    async fn open(&self, image: &ImageFetch) -> Result<Lent, String> {
        let source: Arc<dyn Source> = Arc::new(self.0.clone());
        let platforms = image.platforms.clone();
        registry::open(source, image.manifest, &image.media_type, platforms)
            .await
            .map_err(|e| format!("no address on this node for the engine to fetch from: {e}"))
    }
}

impl KeptImages for Kept {
    fn lend<'a>(&'a self, reference: &'a str) -> BoxFuture<'a, Result<Option<Lent>, String>> {
        Box::pin(async move {
            match self.0.image(reference).await {
                Ok(Some(image)) => self.open(&image.to_fetch(None)).await.map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        })
    }
}

impl Node {
    /// `image`: runs beside everything else.
    pub(super) fn image(&mut self, id: &str, order: CommandSpec) {
        let Ok(place) = self.recent.images.0.clone().try_acquire_owned() else {
            let text = format!("{AT_ONCE} orders about images run on this node already");
            return self.answer(id, CommandOutcome::failed(text));
        };
        let Some(order) = order.image else {
            let text = "what to do with images is not said";
            return self.answer(id, CommandOutcome::failed(text));
        };
        let wanted = match &*order {
            ImageOrder::Fetch(fetch) => fetch.engine,
            ImageOrder::Prune(prune) => prune.engine,
        };
        let engines = self.image_engines(wanted);
        if engines.is_empty() {
            let which = wanted.map_or("container engine", RuntimeKind::as_str);
            let text = format!("this node has no {which}");
            return self.answer(id, CommandOutcome::failed(text));
        }
        // The same order again, because its arrival was not confirmed, is not begun again.
        let begun = CommandResult {
            id: id.to_owned(),
            outcome: CommandOutcome::going_on("begun"),
        };
        self.recent.keep(&begun);
        let said = Said {
            bulk: self.bulk(),
            id: id.to_owned(),
        };
        let (kept, needed) = (Kept(self.blobs.clone()), self.needed_images());
        tokio::spawn(async move {
            let outcome = match *order {
                ImageOrder::Fetch(fetch) => fetch_all(&kept, &fetch, &engines, &said).await,
                ImageOrder::Prune(prune) => {
                    let text = || "images are being taken away".to_owned();
                    tokio::select! {
                        outcome = prune_all(&prune, &engines, &needed) => outcome,
                        never = said.now_and_then(text) => match never {},
                    }
                }
            };
            said.end(outcome).await;
            drop(place);
        });
    }

    /// `images`.
    pub(super) fn images(&mut self, id: &str) {
        let engines = self.image_engines(None);
        let said = Said {
            bulk: self.bulk(),
            id: id.to_owned(),
        };
        tokio::spawn(async move {
            let (images, trouble) = listed(&engines).await;
            let (images, cut) = bounded(images);
            let mut trouble = trouble;
            if cut > 0 {
                trouble.push(format!("{cut} more images are not shown"));
            }
            let outcome = CommandOutcome {
                ok: trouble.is_empty() || !images.is_empty(),
                message: (!trouble.is_empty()).then(|| trouble.join("; ")),
                images,
                ..CommandOutcome::done()
            };
            said.end(outcome).await;
        });
    }

    /// Engines that have images; all of them, or the one that is wanted.
    fn image_engines(&self, wanted: Option<RuntimeKind>) -> Vec<Arc<dyn Runtime>> {
        let engines = &self.core.engines;
        let kinds = engines.kinds().into_iter();
        let kinds = kinds.filter(|kind| wanted.is_none_or(|wanted| wanted == *kind));
        kinds
            .filter_map(|kind| engines.get(kind))
            .filter(|runtime| runtime.image_store().is_some())
            .collect()
    }

    /// Names of images that assigned workloads say, fully qualified.
    fn needed_images(&self) -> BTreeSet<String> {
        let assigned = self.core.latest.iter().flat_map(|a| &a.instances);
        let workloads = assigned.flat_map(|a| {
            let back = a.guard.iter().map(|guard| &*guard.fallback);
            back.chain([&*a.workload]).chain(a.next.as_deref())
        });
        let images = workloads.filter_map(|workload| match &workload.run {
            Run::Container { image, .. } => Reference::parse(image).ok(),
            _ => None,
        });
        images.map(|image| image.full().to_owned()).collect()
    }
}

/// Where what an order says goes.
struct Said {
    bulk: Bulk,
    id: String,
}

impl Said {
    /// How far it is; left out where there is no room.
    fn so_far(&self, text: String) {
        let result = CommandResult {
            id: self.id.clone(),
            outcome: CommandOutcome::going_on(text),
        };
        let Bulk { sender, publisher } = &self.bulk;
        if publisher.backlog() == 0 {
            sender.post(publisher, Kind::Result, None, &result);
        }
    }

    /// For ever.
    async fn now_and_then(&self, text: impl Fn() -> String) -> Infallible {
        let mut every = time::interval(SAY_EVERY);
        loop {
            every.tick().await;
            self.so_far(text());
        }
    }

    async fn end(self, outcome: CommandOutcome) {
        let Said { bulk, id } = self;
        bulk.post(Kind::Result, None, &CommandResult { id, outcome })
            .await;
    }
}

/// Fetches into one engine after the other; every one is tried.
async fn fetch_all(
    kept: &Kept,
    fetch: &ImageFetch,
    engines: &[Arc<dyn Runtime>],
    said: &Said,
) -> CommandOutcome {
    let lent = match kept.open(fetch).await {
        Ok(lent) => lent,
        Err(why) => return CommandOutcome::failed(why),
    };
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for runtime in engines {
        let Some(store) = runtime.image_store() else {
            continue;
        };
        let kind = runtime.kind();
        let percent = AtomicU64::new(UNKNOWN);
        let (steps, mut told) = mpsc::unbounded_channel();
        let taking = store.take(&lent, &fetch.reference, steps);
        let listening = async {
            while let Some(step) = told.recv().await {
                if let Progress::Pulling(Some(now)) = step {
                    percent.store(u64::from(now), Ordering::Relaxed);
                }
            }
            std::future::pending::<()>().await;
        };
        let text = || progress(kind, percent.load(Ordering::Relaxed), lent.sent());
        let taken = tokio::select! {
            taken = taking => taken,
            () = listening => continue,
            never = said.now_and_then(text) => match never {},
        };
        match taken {
            Ok(()) => done.push(kind.as_str()),
            Err(error) => failed.push(format!("{kind}: {error}")),
        }
    }
    let came = lent.sent();
    let mut message = match done.is_empty() {
        true => String::new(),
        false => format!("in {}, {} came", done.join(" and "), amount(came)),
    };
    if !failed.is_empty() {
        let join = if message.is_empty() { "" } else { "; " };
        let _ = write!(message, "{join}{}", failed.join("; "));
    }
    CommandOutcome {
        ok: failed.is_empty(),
        message: Some(message),
        bytes: Some(came),
        ..CommandOutcome::done()
    }
}

/// In a few words.
fn progress(kind: RuntimeKind, percent: u64, sent: u64) -> String {
    let came = amount(sent);
    match percent {
        UNKNOWN => format!("{kind}: {came} came"),
        percent => format!("{kind}: {percent}%, {came} came"),
    }
}

fn amount(bytes: u64) -> String {
    match bytes {
        0..=9_999 => format!("{bytes} B"),
        _ => format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
    }
}

async fn listed(engines: &[Arc<dyn Runtime>]) -> (Vec<NodeImage>, Vec<String>) {
    let (mut images, mut trouble) = (Vec::new(), Vec::new());
    for store in engines.iter().filter_map(|runtime| runtime.image_store()) {
        match store.images().await {
            Ok(more) => images.extend(more),
            Err(error) => trouble.push(error.to_string()),
        }
    }
    (images, trouble)
}

async fn prune_all(
    order: &ImagePrune,
    engines: &[Arc<dyn Runtime>],
    needed: &BTreeSet<String>,
) -> CommandOutcome {
    let (mut gone, mut bytes, mut trouble) = (0, 0u64, Vec::new());
    for runtime in engines {
        let Some(store) = runtime.image_store() else {
            continue;
        };
        let images = match store.images().await {
            Ok(images) => images,
            Err(error) => {
                trouble.push(error.to_string());
                continue;
            }
        };
        for (names, size) in prune::victims(&images, order, needed) {
            let mut all = true;
            for name in names {
                // Another image is built on it, or it is used since a moment: it stays.
                if let Err(error) = store.forget(&name).await {
                    tracing::debug!(image = name, %error, "image stays");
                    all = false;
                }
            }
            if all && size > 0 {
                gone += 1;
                bytes = bytes.saturating_add(size);
            }
        }
    }
    let mut message = match gone {
        1 => "1 image is gone".to_owned(),
        n => format!("{n} images are gone"),
    };
    if gone > 0 {
        // Layers that others share stay.
        let _ = write!(message, ", up to {} are free", amount(bytes));
    }
    for text in &trouble {
        let _ = write!(message, "; {text}");
    }
    CommandOutcome {
        ok: trouble.is_empty(),
        message: Some(message),
        bytes: Some(bytes),
        ..CommandOutcome::done()
    }
}

/// As many as one result can carry, and how many more there are.
fn bounded(mut images: Vec<NodeImage>) -> (Vec<NodeImage>, usize) {
    let mut bytes = 0;
    let weight = |one: &NodeImage| serde_json::to_vec(one).map_or(MAX_TOLD, |v| v.len() + 1);
    let fit = images.iter().take_while(|one| {
        bytes += weight(one);
        bytes <= MAX_TOLD
    });
    let fit = fit.count();
    let cut = images.len() - fit;
    images.truncate(fit);
    (images, cut)
}
