//! What every shell needs and nothing decides: clocks, stopping, printing an error with its
//! causes; and what makes texts and times fit for people.

pub mod clock;
mod counted;
pub(crate) mod durations;
mod escapes;
pub mod memory;
mod process;
pub mod release;
pub mod service;
mod shutdown;
mod utc;

pub use counted::Counted;
pub use durations::{DurationCounts, Durations};
pub(crate) use escapes::without_escapes;
pub use process::ProcessUsage;
pub use shutdown::Shutdown;
pub use utc::utc;

/// An error with its causes, on one line: printed once, at the edge.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}
