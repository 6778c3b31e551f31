//! `top`: the fleet on a full screen, live.
//!
//! ```text
//!  terminal ──keys──► model ──cells──► terminal          model: pure, src/cli/top/model.rs
//!                     ▲    │
//!                   News   Need, Action                  news.rs: the border
//!                     │    ▼
//!                     feed ◄──HTTP, SSE──► controller
//! ```
//!
//! The loop here waits for whichever comes first: a key, news, a signal, the clock. Keys never wait
//! for the controller: what it says comes over a bounded channel, from a task that asks one thing at
//! a time. Where standard output is no terminal, it is one look as text ([`once`]).

mod actions;
mod canvas;
mod draw;
mod draw_page;
mod feed;
mod keys;
mod log;
mod model;
mod news;
mod once;
mod rows;
mod table;
mod tally;
mod terminal;
#[cfg(test)]
mod tests;
mod text;
mod theme;

pub(super) use rows::tone_of;
pub(super) use table::Tone;

use super::{
    Failure,
    args::{Format, TopArgs},
    client::Client,
};
use crate::support::clock;
use feed::Feed;
use model::Model;
use news::{News, Wish};
use std::{
    io::IsTerminal,
    process::ExitCode,
    time::{Duration, Instant},
};
use terminal::{Input, Screen};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};

/// News on their way.
const ON_THE_WAY: usize = 64;
/// The screen is drawn no sooner again.
const FRAME: Duration = Duration::from_millis(33);
/// What a shell says of a program that a signal ended: this and the signal's number.
const SIGNALLED: u8 = 128;

pub(super) async fn run(client: &mut Client, args: TopArgs) -> Result<ExitCode, Failure> {
    let terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if args.once || args.output.is_some() || !terminal {
        once::run(client, args.output.unwrap_or(Format::Table)).await?;
        return Ok(ExitCode::SUCCESS);
    }
    // A wrong token or address is said on the usual screen.
    let hello = feed::hello(client).await?;
    let mut model = Model::new(client.url());
    model.receive(clock::unix_ms(), News::Hello(hello));
    let (need, needed) = watch::channel(model.need());
    let (news, mut told) = mpsc::channel(ON_THE_WAY);
    let (act, actions) = mpsc::channel(4);
    let feed = Feed {
        client: client.another(),
        need: needed,
        actions,
        news,
    };
    let feed = tokio::spawn(feed.run());
    let mut screen = Screen::enter()?;
    let mut inputs = terminal::inputs();
    let mut ends = Ends::listen()?;
    let mut second = interval(Duration::from_secs(1));
    second.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let colours = std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut drawn = Instant::now();
    let mut dirty = true;
    let code = loop {
        let due = FRAME.saturating_sub(drawn.elapsed());
        let input = tokio::select! {
            biased;
            code = ends.next() => break code,
            input = inputs.recv() => input.unwrap_or(Input::Gone),
            () = sleep(due), if dirty => {
                let now = clock::unix_ms();
                let mut found = draw::Drawn::default();
                screen.draw(|cells| found = draw::render(&model, now, colours, cells))?;
                model.drawn(found.lines, found.top);
                (drawn, dirty) = (Instant::now(), false);
                continue;
            }
            Some(news) = told.recv() => {
                model.receive(clock::unix_ms(), news);
                dirty = true;
                continue;
            }
            _ = second.tick() => {
                model.tick(clock::unix_ms());
                dirty = true;
                continue;
            }
        };
        dirty = true;
        match input {
            Input::Gone => break SIGNALLED + 1,
            Input::Resized => {}
            Input::Key(key) => match model.press(key) {
                None => {}
                Some(Wish::Quit) => break 0,
                Some(Wish::Suspend) => screen.suspend()?,
                Some(Wish::Repaint) => screen.forget()?,
                Some(Wish::Act(action)) => {
                    let sent = act.try_send(action);
                    let busy = "not done: the controller has not answered the last order yet";
                    if sent.is_err() {
                        model.receive(clock::unix_ms(), News::Done(Err(busy.into())));
                    }
                }
            },
        }
        let wanted = model.need();
        need.send_if_modified(|need| {
            let changed = *need != wanted;
            *need = wanted;
            changed
        });
    };
    drop(screen);
    feed.abort();
    Ok(ExitCode::from(code))
}

/// Signals that end it: the terminal is given back first.
struct Ends {
    hangup: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Ends {
    fn listen() -> Result<Ends, Failure> {
        Ok(Ends {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The exit code that the one which came asks for.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.hangup.recv() => SIGNALLED + 1,
            _ = self.interrupt.recv() => SIGNALLED + 2,
            _ = self.terminate.recv() => SIGNALLED + 15,
        }
    }
}
