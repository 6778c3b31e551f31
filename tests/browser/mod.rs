//! The dashboard in a real browser: Debian's Chromium, driven by its chromedriver.
//!
//! ```text
//! test ── Page (what a person does and sees) ── Chrome (WebDriver, CDP) ── chromedriver ── chromium
//!                                                                                            │
//!                                controller, agents (e2e::harness) ◄── Feed, where needed ◄──┘
//! ```
//!
//! Each test has a browser of its own. At its end the [`page::Page`] demands what holds on every page: no
//! error on the console, nothing asked of another host, nothing that the content security policy
//! refused. A machine without the browser fails these tests; it does not skip them.

mod access;
mod alerts;
mod changes;
mod chrome;
mod feed;
mod hostile;
mod live;
mod logs;
mod looks;
mod many;
mod page;
mod screenshots;
