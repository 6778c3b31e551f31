//! Starting and stopping a controller.

use super::{
    AlertBoard, EventLog, Pending, alerts, core,
    first::first_token,
    inbox::Inbox,
    live::Live,
    local::local_agent,
    neighbours::{show_life, tell_the_network},
    outbox::Outbox,
    state::{Controller, Input, JoinBase},
};
use crate::{
    agent::{self},
    blobs::{self, Blobs, Door},
    broker::{Broker, BrokerError, Listener},
    config::{ControllerConfig, Listen},
    contract::{CONTROLLER, Kind, MAX_PAYLOAD, Topics},
    fleet::{Change, PresenceSettings},
    gate::FleetGate,
    http,
    identity::{self, FleetIdentity, IdentityError, credential},
    journal::{self, Journal, JournalError, SqliteJournal},
    model::{BlobSource, NodeConfig, Presence},
    mqtt::{self, Endpoint, Login, LoginSource, SessionEvent, SessionSettings},
    support::{Shutdown, clock, service},
    trace,
};
use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tracing::{error, info, warn};

/// Streams of events and log lines at once; fewer than connections, so that requests get through.
pub(super) const MAX_STREAMS: usize = 128;

/// Why a controller cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Its keys.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Its journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Its embedded broker.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// Its HTTP side.
    #[error(transparent)]
    Http(#[from] http::HttpError),
    /// A file.
    #[error(transparent)]
    File(#[from] identity::FileError),
    /// The external broker.
    #[error("the external broker cannot be used: {0}")]
    External(String),
    /// The headers of its spans.
    #[error(transparent)]
    Headers(#[from] trace::HeadersError),
    /// No room for its thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
    /// Its directory of blobs.
    #[error("blobs cannot be kept: {0}")]
    Blobs(std::io::Error),
}

/// Runs a controller until it is asked to stop.
///
/// # Errors
/// [`ControllerError`], when it cannot start or its broker has died.
pub async fn run(config: ControllerConfig, shutdown: Shutdown) -> Result<(), ControllerError> {
    let dir = &config.common.data_dir;
    let now = clock::unix_ms();
    let identity = FleetIdentity::open(dir, "controller", now)?;
    let mut journal = SqliteJournal::open(&dir.join("journal.db"))?;
    let fleet = journal.load()?;
    if let Some(trouble) = journal::trouble_at_the_end(&mut journal) {
        warn!(
            trouble,
            "the audit trail is not whole; see `fleetctl audit verify`"
        );
    }
    let topics = Topics::new(&config.topic_prefix);
    let gate = Arc::new(FleetGate::new(identity.key.public(), topics.clone(), false));
    gate.set_access(fleet.access());

    let blobs = Arc::new(Blobs::open(&dir.join("blobs")).map_err(ControllerError::Blobs)?);
    let door = Arc::new(Door::new(blobs.clone(), gate.clone()));
    let broker = match config.embed_broker {
        true => Some(Arc::new(
            start_broker(&config, &identity, &gate, door.clone()).await?,
        )),
        false => None,
    };
    let join = join_base(&config, &identity, broker.as_deref())?;
    let own_endpoint = own_endpoint(&config, broker.as_deref());
    let (tracer, exporter) = trace::start(
        config.otlp.endpoint.as_ref(),
        config.otlp.headers_file.as_deref(),
        trace::Resource {
            service: "fleetctl-controller",
            host: host_name(),
        },
    )?;
    let (inputs, queue) = flume::bounded(10_000);
    let outbox = Outbox::new(identity.key.clone(), topics.clone(), identity.start);
    let controller = Arc::new(Controller {
        fleet: std::sync::RwLock::new(fleet),
        inputs,
        identity,
        blobs,
        door,
        live: Live::default(),
        events: EventLog::new(now),
        alerts: AlertBoard::open(&config.alerts, dir),
        pending: Pending::default(),
        outbox,
        join,
        command_timeout: Duration::from_millis(config.command_timeout_ms),
        silent_after_ms: config.silent_after_ms,
        configuring: tokio::sync::Mutex::default(),
        auto_approve: config.auto_approve,
        connected: false.into(),
        refused: std::sync::Mutex::default(),
        meter: super::Meter::default(),
        requests: http::Requests::default(),
        tracer,
        broker: std::sync::RwLock::new(broker.clone()),
        started_ms: now,
        data_dir: dir.clone(),
        streams: Arc::new(tokio::sync::Semaphore::new(MAX_STREAMS)),
        sessions: http::Sessions::default(),
        dashboard_dir: config.dashboard_dir.clone(),
        changed: tokio::sync::watch::Sender::new(0),
    });
    // The door is older than the fleet, and does not keep it.
    let keeper = Arc::downgrade(&controller);
    controller.door.ask_for_images(Box::new(move |reference| {
        http::kept_image(&keeper.upgrade()?.fleet(), reference)
    }));
    let session = connect(&config, &controller, own_endpoint)?;
    let core = spawn_core(&config, &controller, Box::new(journal), queue)?;
    let first_start = first_token(&controller, dir).await?;
    let blobs = config.blob_url.clone().map(|url| BlobSource {
        url,
        ca_sha256: Some(identity::sha256_hex(controller.identity.ca.certificate())),
    });
    let node_config = NodeConfig {
        blobs,
        ..config.node_config()
    };
    let _ = controller
        .change(None, Change::Configured { node_config })
        .await;
    let change = Change::FleetConfigured {
        config: config.fleet_config(),
    };
    let _ = controller.change(None, change).await;

    let listening = tokio::spawn(listen(controller.clone(), session, gate, broker.clone()));
    let served = http::serve(&config.api_listen, controller.clone(), shutdown.clone()).await?;
    for address in served.addresses() {
        info!(%address, "api listens");
    }
    let local = config.with_agent.then(|| {
        tokio::spawn(local_agent(
            config.clone(),
            controller.clone(),
            shutdown.clone(),
        ))
    });
    let pruning = tokio::spawn(blobs::prune_daily(controller.clone(), shutdown.clone()));
    let grace = Duration::from_millis(config.start_grace_ms);
    let alerts = tokio::spawn(alerts::watch(controller.clone(), grace, shutdown.clone()));
    announce(&controller, served.urls(), dir, first_start).await;
    let announced = broker.as_deref().filter(|_| config.mdns).map(|broker| {
        let listening = broker.addresses().iter().copied().zip(&config.mqtt_listen);
        tokio::spawn(tell_the_network(
            listening.map(|(address, l)| (address, l.tls)).collect(),
            controller.identity.key.public(),
            shutdown.clone(),
        ))
    });
    service::ready();
    service::status("listening");
    let watched = tokio::spawn(show_life(controller.clone()));

    let died = async {
        match &broker {
            Some(broker) => broker.closed().await,
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        () = shutdown.wait() => Ok(()),
        death = died => Err(ControllerError::from(death)),
    };
    if result.is_err() {
        error!("the embedded broker has died, the controller ends; workloads go on");
        shutdown.trigger();
    }
    info!("controller stops");
    service::stopping();
    watched.abort();
    if let Some(announced) = announced {
        let _ = tokio::time::timeout(Duration::from_secs(1), announced).await;
    }
    served.stopped().await;
    if let Some(local) = local {
        let _ = tokio::time::timeout(Duration::from_secs(5), local).await;
        hear_goodbyes(&controller).await;
    }
    let _ = tokio::time::timeout(Duration::from_secs(5), alerts).await;
    pruning.abort();
    let _ = controller.inputs.send_async(Input::Stop).await;
    let _ = tokio::task::spawn_blocking(move || core.join()).await;
    listening.abort();
    if let Some(exporter) = exporter {
        exporter.stop().await;
    }
    result
}

/// The local agent has said good-bye; half a second for that to arrive, so that the journal does
/// not end with a node that is online.
async fn hear_goodbyes(controller: &Controller) {
    let mut changed = controller.changed.subscribe();
    let waiting = async {
        while controller
            .fleet()
            .nodes()
            .any(|(_, n)| n.presence == Presence::Online)
        {
            if changed.changed().await.is_err() {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(Duration::from_millis(500), waiting).await;
}

/// Where to look, and at the first start the join line, for the person who started it.
async fn announce(controller: &Controller, urls: &[String], dir: &Path, first_start: bool) {
    for url in urls {
        info!(url, "controller is ready");
    }
    info!(token_file = %dir.join("admin.token").display(), "operators sign in with a token");
    if !first_start {
        return;
    }
    let day = clock::unix_ms() + 86_400_000;
    match controller
        .create_join_token(None, "first start".into(), day, None)
        .await
    {
        Ok(token) => {
            use std::io::Write;
            // Nobody reading it is no error.
            let _ = writeln!(
                std::io::stdout(),
                "Join a machine within a day with this line (`fleetctl token create --kind join` \
                 makes another):\n\n  fleetctl agent --join {token}\n"
            );
        }
        Err(error) => warn!(%error, "no join token could be made"),
    }
}

async fn start_broker(
    config: &ControllerConfig,
    identity: &FleetIdentity,
    gate: &Arc<FleetGate>,
    door: Arc<Door>,
) -> Result<Broker, ControllerError> {
    let mut listeners = broker_listeners(&config.mqtt_listen, identity)?;
    // The controller's own way in, whatever else there is.
    listeners.push(Listener::Plain(SocketAddr::from(([127, 0, 0, 1], 0))));
    let limits = crate::broker::Limits {
        max_packet: MAX_PAYLOAD + 4_096,
        ..Default::default()
    };
    let settings = crate::broker::Settings {
        listeners,
        limits,
        stranger: Some(door),
    };
    let broker = Broker::start(settings, gate.clone()).await?;
    for (address, listen) in broker.addresses().iter().zip(&config.mqtt_listen) {
        info!(%address, tls = listen.tls, "broker listens");
    }
    Ok(broker)
}

/// Listeners of a broker of the fleet, TLS ones with a certificate for this machine's names.
///
/// # Errors
/// The certificate cannot be made.
pub(crate) fn broker_listeners(
    listen: &[Listen],
    identity: &FleetIdentity,
) -> Result<Vec<Listener>, IdentityError> {
    let mut tls = None;
    let mut listeners = Vec::new();
    for l in listen {
        if !l.tls {
            listeners.push(Listener::Plain(l.address));
            continue;
        }
        if tls.is_none() {
            tls = Some(identity.server_config(&machine_names(), clock::unix_ms())?);
        }
        listeners.extend(tls.clone().map(|config| Listener::Tls(l.address, config)));
    }
    Ok(listeners)
}

pub(super) fn host_name() -> String {
    let names = rustix::system::uname();
    names.nodename().to_string_lossy().into_owned()
}

/// Names and addresses that this machine is reached by.
pub(crate) fn machine_names() -> Vec<String> {
    let host = host_name();
    let mut names = vec!["127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(agent::addresses());
    if host
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && !host.is_empty()
    {
        names.push(host);
    }
    names
}

/// What every join token carries: the broker's addresses as boards reach them, best first.
fn join_base(
    config: &ControllerConfig,
    identity: &FleetIdentity,
    broker: Option<&Broker>,
) -> Result<JoinBase, ControllerError> {
    let prefix = config.topic_prefix.clone();
    let Some(broker) = broker else {
        let external_ca = match &config.broker_ca {
            Some(path) => Some(identity::read_to_string(path)?),
            None => None,
        };
        let brokers = config.broker.iter().map(Endpoint::url).collect();
        let ours = external_ca
            .is_none()
            .then(|| identity::sha256_hex(identity.ca.certificate()));
        return Ok(JoinBase {
            brokers,
            ca_sha256: ours,
            external_ca,
            prefix,
        });
    };
    let bound: Vec<(SocketAddr, bool)> = broker
        .addresses()
        .iter()
        .zip(&config.mqtt_listen)
        .map(|(address, listen)| (*address, listen.tls))
        .collect();
    let mut brokers = Vec::new();
    let url = |host: &str, port: u16, tls: bool| {
        Endpoint {
            tls,
            host: host.to_owned(),
            port,
            credentials: None,
        }
        .url()
    };
    for advertised in &config.advertise {
        let with_port = advertised
            .parse::<SocketAddr>()
            .map(|a| (a.ip().to_string(), a.port()));
        let split = advertised
            .rsplit_once(':')
            .and_then(|(h, p)| Some((h.to_owned(), p.parse().ok()?)));
        let main = bound.iter().find(|(_, tls)| *tls).or(bound.first());
        let (port, tls) = main.map_or((8883, true), |(a, tls)| (a.port(), *tls));
        let (host, port) = with_port
            .ok()
            .or(split)
            .unwrap_or((advertised.clone(), port));
        brokers.push(url(host.trim_matches(['[', ']']), port, tls));
    }
    for (address, tls) in bound {
        if address.ip().is_unspecified() {
            let v4_only = address.is_ipv4();
            let mut hosts = agent::addresses();
            hosts.retain(|h| h.parse::<IpAddr>().is_ok_and(|ip| !v4_only || ip.is_ipv4()));
            // A fleet on one machine joins over loopback, where nothing else is to be had.
            hosts.push("127.0.0.1".to_owned());
            brokers.extend(hosts.iter().map(|h| url(h, address.port(), tls)));
        } else {
            brokers.push(url(&address.ip().to_string(), address.port(), tls));
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    brokers.retain(|b| seen.insert(b.clone()));
    brokers.truncate(8);
    let ca_sha256 = Some(identity::sha256_hex(identity.ca.certificate()));
    Ok(JoinBase {
        brokers,
        ca_sha256,
        external_ca: None,
        prefix,
    })
}

fn own_endpoint(config: &ControllerConfig, broker: Option<&Broker>) -> Option<Endpoint> {
    match broker {
        Some(broker) => broker.addresses().last().map(|address| Endpoint {
            tls: false,
            host: address.ip().to_string(),
            port: address.port(),
            credentials: None,
        }),
        None => config.broker.clone(),
    }
}

struct ControllerLogin {
    endpoint: Endpoint,
    tls: Option<Arc<rustls::ClientConfig>>,
    controller: Arc<Controller>,
}

impl LoginSource for ControllerLogin {
    fn next(&mut self, _attempt: u32) -> Result<Login, String> {
        let outbox = &self.controller.outbox;
        let password = credential::controller_password(outbox.key(), outbox.next());
        let own = (CONTROLLER.to_owned(), password);
        let hears = Kind::ALL.into_iter().filter(|k| k.from_agent());
        Ok(Login {
            endpoint: self.endpoint.clone(),
            tls: self.tls.clone(),
            client_id: client_id(self.controller.outbox.topics.prefix()),
            credentials: self.endpoint.credentials.clone().unwrap_or(own),
            will: None,
            filters: hears.map(|k| outbox.topics.every(k)).collect(),
        })
    }
}

/// One controller per prefix: two fleets may share an external broker. No node can be called so.
fn client_id(prefix: &str) -> String {
    let safe: String = prefix
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(40)
        .collect();
    format!("controller_{safe}")
}

type Session = tokio::sync::mpsc::Receiver<SessionEvent>;

fn connect(
    config: &ControllerConfig,
    controller: &Arc<Controller>,
    endpoint: Option<Endpoint>,
) -> Result<Session, ControllerError> {
    let endpoint = endpoint.ok_or_else(|| ControllerError::External("no address".into()))?;
    let tls = match (endpoint.tls, &config.broker_ca) {
        (true, Some(path)) => {
            let pem = identity::read_to_string(path)?;
            let made = identity::external_client_config(&pem);
            Some(made.map_err(|e| ControllerError::External(e.to_string()))?)
        }
        // A broker of ours elsewhere: `fleetctl broker` with this fleet's identity.
        (true, None) => {
            let trust = identity::ServerTrust::Pem(controller.identity.ca.pem().to_owned());
            let made = identity::client_config(trust);
            Some(made.map_err(|e| ControllerError::External(e.to_string()))?)
        }
        _ => None,
    };
    let login = ControllerLogin {
        endpoint,
        tls,
        controller: controller.clone(),
    };
    let settings = SessionSettings {
        reconnect_max: Duration::from_secs(5),
        keep_alive: Duration::from_secs(60),
        max_packet: mqtt::MAX_INCOMING,
        outbox: 100_000,
        seed: clock::seed(),
    };
    let (publisher, session) = mqtt::spawn(login, settings);
    controller.outbox.set_publisher(publisher);
    Ok(session)
}

fn spawn_core(
    config: &ControllerConfig,
    controller: &Arc<Controller>,
    journal: Box<dyn Journal>,
    queue: flume::Receiver<Input>,
) -> Result<std::thread::JoinHandle<()>, std::io::Error> {
    let settings = PresenceSettings {
        silent_after_ms: config.silent_after_ms,
        offline_after_ms: config.offline_after_ms,
        start_grace_ms: config.start_grace_ms,
    };
    let controller = controller.clone();
    std::thread::Builder::new()
        .name("core".into())
        .stack_size(1 << 20)
        .spawn(move || core::run(&controller, journal, settings, &queue))
}

/// Messages, until the session ends.
async fn listen(
    controller: Arc<Controller>,
    mut session: Session,
    gate: Arc<FleetGate>,
    broker: Option<Arc<Broker>>,
) {
    let mut inbox = Inbox::new(controller.clone());
    let mut access = controller.changed.subscribe();
    loop {
        tokio::select! {
                    event = session.recv() => match event {
                        Some(SessionEvent::Connected) => {
                            controller.connected.store(true, Ordering::Relaxed);
                            let _ = controller.inputs.send_async(Input::Connected).await;
                        }
                        Some(SessionEvent::Disconnected { reason, .. }) => {
                            controller.connected.store(false, Ordering::Relaxed);
                            warn!(reason, "no connection to the broker");
                        }
                        Some(SessionEvent::Message { topic, payload, retained }) => {
                            inbox.take(&topic, &payload, retained).await;
                        }
        Some(SessionEvent::Ended { reason }) => {
                            error!(reason, "session ended");
                            return;
                        }
                        None => return,
                    },
                    changed = access.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        let document = controller.fleet().access();
                        if gate.set_access(document) && let Some(broker) = &broker {
                            broker.disconnect(|principal| gate.is_cut_off(principal));
                        }
                    }
                }
    }
}
