//! Where the brokers of the fleet are: those that are known, and, when none of them answers, those
//! that the local network names.
//!
//! ```text
//! known addresses, in turn ──a whole round failed──► one look by mDNS (2 s, beside the tries)
//!      ▲                                                        │
//!      │                                       each place: TLS, at most 3 s, many at once
//!      │                                                        │ it has the fleet's CA
//!      └── connected: the address is remembered ◄── tried first ┘   the next look: 10 s, 20 s … 10 min later
//! ```
//!
//! An answer is worth no more than a guess: the connection is TLS with the fleet's CA, which
//! whoever only pretends cannot have. So nothing else is asked of an answer than that it names our
//! fleet, and a place whose TLS fails, or hangs, costs no try of the session: liars delay a board
//! by seconds, however many they are. A place is remembered only when the session there stood.

mod greet;

use super::{AgentError, enroll::JoinError, enroll::fingerprint};
use crate::{
    identity::{ServerTrust, client_config, external_client_config},
    mdns::{self, Found},
    mqtt::Endpoint,
    support::Shutdown,
};
use greet::{greet, places};
use rustls::ClientConfig;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{self, Instant};
use tracing::{debug, info, warn};

/// How long a look listens.
const LOOK: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Addresses that one look gives to try.
const MAX_GUESSES: usize = 16;
/// Addresses that are remembered.
const MAX_KNOWN: usize = 8;

/// The brokers of a fleet and how to trust them. Cheap to clone; all clones see the same.
#[derive(Debug, Clone)]
pub(super) struct Servers {
    known: Arc<Mutex<Known>>,
    tls: Option<Arc<ClientConfig>>,
    /// What the fleet is called in the local network; `None`: it is not looked for.
    fleet: Option<Arc<str>>,
}

#[derive(Debug)]
struct Known {
    endpoints: Vec<Endpoint>,
    /// No address was known: these are what the network has named.
    all_guessed: bool,
    /// To be tried before the others, once each.
    guesses: VecDeque<Endpoint>,
    last: Option<Endpoint>,
    looking: bool,
    next_look: Instant,
    pause: Duration,
}

/// Where brokers are, as a token or the disk has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places<'a> {
    pub(super) brokers: &'a [String],
    pub(super) ca_sha256: Option<&'a str>,
    pub(super) external_ca: Option<&'a str>,
    pub(super) fleet_key: &'a str,
}

impl Servers {
    /// `mdns`: they may be looked for.
    pub(super) fn new(places: &Places<'_>, mdns: bool) -> Result<Servers, AgentError> {
        let unusable = |why: &str| AgentError::from(JoinError::Unusable(why.to_owned()));
        let endpoints: Result<Vec<Endpoint>, _> =
            places.brokers.iter().map(|b| b.parse()).collect();
        let endpoints = endpoints.map_err(|e| unusable(&e.to_string()))?;
        let tls = match (places.ca_sha256.map(fingerprint), places.external_ca) {
            (Some(None), _) => return Err(unusable("its CA fingerprint is damaged")),
            (Some(Some(print)), _) => Some(client_config(ServerTrust::Fingerprint(print))),
            (None, Some(pem)) => Some(external_client_config(pem)),
            (None, None) => None,
        };
        let tls = tls
            .transpose()
            .map_err(|e| AgentError::Tls(e.to_string()))?;
        if tls.is_none() && endpoints.iter().any(|e| e.tls) {
            return Err(unusable("it names a TLS broker but no CA"));
        }
        // Without the fleet's own CA there would be nothing to know a liar by; and a broker that is
        // not ours announces nothing.
        let ours = places.ca_sha256.is_some();
        let fleet = (mdns && ours).then(|| mdns::fleet_print(places.fleet_key).into());
        match (endpoints.is_empty(), ours, &fleet) {
            (false, ..) | (true, _, Some(_)) => {}
            (true, true, None) => {
                return Err(unusable(
                    "it names no broker, and `mdns` is off, so none is looked for",
                ));
            }
            (true, false, None) => return Err(unusable("it names no broker")),
        }
        let known = Known {
            endpoints,
            all_guessed: false,
            guesses: VecDeque::new(),
            last: None,
            looking: false,
            next_look: Instant::now(),
            pause: FIRST_PAUSE,
        };
        Ok(Servers {
            known: Arc::new(Mutex::new(known)),
            tls,
            fleet,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every address, with how it is trusted.
    pub(super) fn all(&self) -> Vec<(Endpoint, Option<Arc<ClientConfig>>)> {
        let known = self.lock();
        let tls = |e: &Endpoint| self.tls.clone().filter(|_| e.tls);
        known
            .endpoints
            .iter()
            .map(|e| (e.clone(), tls(e)))
            .collect()
    }

    /// The address to try now.
    ///
    /// # Errors
    /// None is known: [`Servers::any`] was not waited for.
    pub(super) fn choose(
        &self,
        attempt: u32,
    ) -> Result<(Endpoint, Option<Arc<ClientConfig>>), String> {
        let mut known = self.lock();
        let round = known.endpoints.len() as u64;
        let chosen = match known.guesses.pop_front() {
            Some(guess) => guess,
            None if known.endpoints.is_empty() => return Err("no broker is known".to_owned()),
            None => known.endpoints[attempt as usize % known.endpoints.len()].clone(),
        };
        if u64::from(attempt) >= round {
            self.look(&mut known);
        }
        known.last = Some(chosen.clone());
        Ok((chosen, self.tls.clone()))
    }

    /// Begins a look, unless one is under way or the last was a moment ago.
    fn look(&self, known: &mut Known) {
        if self.fleet.is_none() || known.looking {
            return;
        }
        if Instant::now() < known.next_look {
            return;
        }
        known.looking = true;
        let servers = self.clone();
        tokio::spawn(async move {
            let found = servers.browse().await;
            let mut known = servers.lock();
            known.looking = false;
            known.next_look = Instant::now() + known.pause;
            known.pause = (known.pause * 2).min(LONGEST_PAUSE);
            known.guess(found);
        });
    }

    /// Waits until there is an address to try; `false`: asked to stop meanwhile.
    pub(super) async fn any(&self, shutdown: &Shutdown) -> bool {
        let mut pause = Duration::from_secs(1);
        loop {
            let any = {
                let known = self.lock();
                !known.endpoints.is_empty() || !known.guesses.is_empty()
            };
            if any || self.fleet.is_none() {
                return true;
            }
            info!("looking for the controller in the local network");
            let found = tokio::select! {
                () = shutdown.wait() => return false,
                found = self.browse() => found,
            };
            if found.is_empty() {
                tokio::select! {
                    () = shutdown.wait() => return false,
                    () = time::sleep(pause) => {}
                }
                pause = (pause * 2).min(Duration::from_secs(30));
                continue;
            }
            let mut known = self.lock();
            // There is nothing else to go round.
            known.endpoints = found.clone();
            known.all_guessed = true;
            known.guess(found);
        }
    }

    /// The session with the address that was chosen last stands. The addresses to remember, where
    /// they are others than before; what answered comes first.
    pub(super) fn connected(&self) -> Option<Vec<String>> {
        let mut known = self.lock();
        known.pause = FIRST_PAUSE;
        known.guesses.clear();
        let last = known.last.clone()?;
        if known.endpoints.contains(&last) {
            return None;
        }
        info!(
            address = last.url(),
            "controller found in the local network"
        );
        known.endpoints.insert(0, last);
        known.endpoints.truncate(MAX_KNOWN);
        Some(known.endpoints.iter().map(Endpoint::url).collect())
    }

    /// The addresses to remember after joining: what answered first.
    pub(super) fn joined(&self) -> Vec<String> {
        if let Some(urls) = self.connected() {
            return urls;
        }
        let known = self.lock();
        let right = known.endpoints.iter();
        // Of those that the network named only the one that was right.
        let right = right.filter(|e| !known.all_guessed || known.last.as_ref() == Some(*e));
        right.map(Endpoint::url).take(MAX_KNOWN).collect()
    }
}

impl Known {
    fn guess(&mut self, found: Vec<Endpoint>) {
        let new = found.into_iter().filter(|e| !self.guesses.contains(e));
        let new: Vec<Endpoint> = new.collect();
        self.guesses.extend(new);
        self.guesses.truncate(MAX_GUESSES);
    }
}

impl Servers {
    /// One look; the places that showed the fleet's certificate.
    async fn browse(&self) -> Vec<Endpoint> {
        let (Some(fleet), Some(tls)) = (&self.fleet, &self.tls) else {
            return Vec::new();
        };
        let found = mdns::search(LOOK, |f| is_ours(f, fleet)).await;
        let found = found.unwrap_or_else(|error| {
            debug!(%error, "cannot look by mdns");
            Vec::new()
        });
        let places = places(&found);
        let tried = places.len();
        let right = greet(places, tls).await;
        debug!(tried, right = right.len(), "looked by mdns");
        if tried > 0 && right.is_empty() {
            warn!(
                tried,
                "something in the local network says it is this fleet's controller, and is not, or \
                 cannot be reached; looking on"
            );
        }
        right
    }
}

/// Whoever names another fleet, or would speak without TLS, takes nobody's room.
fn is_ours(found: &Found, fleet: &str) -> bool {
    found.fleet == fleet && found.tls
}

#[cfg(test)]
mod tests {
    use super::{greet::tests::found, *};

    const CA: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn servers(brokers: &[&str], ca: Option<&str>, mdns: bool) -> Result<Servers, AgentError> {
        let brokers: Vec<String> = brokers.iter().map(|b| (*b).to_owned()).collect();
        let places = Places {
            brokers: &brokers,
            ca_sha256: ca,
            external_ca: None,
            fleet_key: "key",
        };
        Servers::new(&places, mdns)
    }

    #[test]
    fn a_token_without_an_address_needs_the_fleets_ca_and_the_local_network() {
        assert!(servers(&[], Some(CA), true).is_ok());
        let off = servers(&[], Some(CA), false).unwrap_err().to_string();
        assert!(off.contains("`mdns` is off"), "{off}");
        let external = servers(&[], None, true).unwrap_err().to_string();
        assert!(external.contains("names no broker"), "{external}");
    }

    #[test]
    fn answers_of_other_fleets_and_without_tls_are_left_out() {
        assert!(is_ours(&found(1, None), "us"));
        assert!(!is_ours(&found(1, None), "them"));
        let plain = Found {
            tls: false,
            ..found(1, None)
        };
        assert!(!is_ours(&plain, "us"));
    }

    #[tokio::test]
    async fn known_addresses_go_in_turn_and_guesses_before_them_once() {
        let servers = servers(&["mqtts://a:1", "mqtts://b:2"], Some(CA), true).unwrap();
        let host = |attempt| servers.choose(attempt).unwrap().0.host;
        assert_eq!((host(0), host(1)), ("a".into(), "b".into()));
        let guess = places(&[found(1, None)]);
        servers.lock().guess(guess.clone());
        servers.lock().guess(guess);
        assert_eq!((host(0), host(1)), ("10.0.0.1".into(), "b".into()));
    }

    #[tokio::test]
    async fn only_an_address_whose_session_stood_is_remembered() {
        let servers = servers(&["mqtts://a:1"], Some(CA), true).unwrap();
        servers.choose(0).unwrap();
        assert_eq!(servers.connected(), None, "it was known");
        let guesses = [found(1, None), found(2, None)];
        servers.lock().guess(places(&guesses));
        servers.choose(0).unwrap();
        servers.choose(0).unwrap();
        let known = servers.connected().expect("a new one");
        assert_eq!(known, ["mqtts://10.0.0.2:8883", "mqtts://a:1"]);
        assert_eq!(servers.connected(), None, "it is known now");
    }

    #[tokio::test]
    async fn a_look_begins_after_a_whole_round_and_not_again_at_once() {
        let servers = servers(&["mqtts://a:1", "mqtts://b:2"], Some(CA), true).unwrap();
        for attempt in 0..2 {
            servers.choose(attempt).unwrap();
            assert!(!servers.lock().looking, "{attempt}");
        }
        servers.choose(2).unwrap();
        assert!(servers.lock().looking);
        let mut known = servers.lock();
        known.looking = false;
        known.next_look = Instant::now() + FIRST_PAUSE;
        servers.look(&mut known);
        assert!(!known.looking, "it was a moment ago");
    }
}
