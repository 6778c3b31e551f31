//! `controller`, `agent`, `broker`.

use super::{
    Failure,
    args::{AgentArgs, BrokerArgs, ControllerArgs},
};
use crate::{
    agent::{self, AgentEnd},
    broker::{Broker, Limits, Settings},
    config::{
        self, AgentConfig, BrokerConfig, Common, ControllerConfig, LogFormat, Role, Surroundings,
    },
    contract::Topics,
    controller,
    gate::FleetGate,
    identity::FleetIdentity,
    support::{
        Shutdown, clock, memory,
        service::{self, Watchdog},
    },
    upgrade::{self, Begun},
};
use std::{path::Path, process::ExitCode, sync::Arc, time::Duration};
use tokio::time;
use tracing::{error, info};
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt, util::SubscriberInitExt};

/// So long a start takes, with what follows of it.
const START: Duration = Duration::from_secs(10);
/// Between two times that memory is given back.
const SETTLE_EVERY: Duration = Duration::from_secs(30);

/// Logs go to stderr.
fn start_log(common: &Common) {
    // The router prints each of our frames' constant topic at its error level: nothing of it helps.
    let quiet = "rumqttd=off,rumqttc=error";
    let filter: Targets = format!("{quiet},{}", common.log)
        .parse()
        .unwrap_or_default();
    let registry = tracing_subscriber::registry().with(filter);
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    match common.log_format {
        LogFormat::Text => {
            let layer = fmt::layer()
                .with_writer(std::io::stderr)
                .with_ansi(terminal)
                .with_target(false);
            registry.with(layer).init();
        }
        LogFormat::Json => {
            registry
                .with(fmt::layer().json().with_writer(std::io::stderr))
                .init();
        }
    }
}

/// A data directory that cannot be made is said at once, not by whichever file comes first.
fn make_data_dir(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|e| {
            Failure::new(format!(
                "cannot make the data directory {}: {e}; choose another with --data-dir",
                path.display()
            ))
        })
}

fn runtime(workers: usize) -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = match workers {
        0 => tokio::runtime::Builder::new_current_thread(),
        n => {
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            builder.worker_threads(n);
            builder
        }
    };
    Ok(builder
        .enable_all()
        .max_blocking_threads(8)
        .thread_stack_size(1 << 20)
        .build()?)
}

pub(super) fn controller(args: &ControllerArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::of_this_process();
    let source = config::file_of(Role::Controller, args.config.as_deref())?;
    let config = ControllerConfig::resolve(source.as_ref(), &args.overrides, &around)?;
    make_data_dir(&config.common.data_dir)?;
    start_log(&config.common);
    runtime(2)?.block_on(async {
        let shutdown = Shutdown::on_signals();
        tokio::spawn(settle());
        controller::run(config, shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn agent(args: &AgentArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::of_this_process();
    let source = config::file_of(Role::Agent, args.config.as_deref())?;
    let config = AgentConfig::resolve(source.as_ref(), &args.overrides, &around)?;
    make_data_dir(&config.common.data_dir)?;
    start_log(&config.common);
    // A fleet is what upgrades come from.
    let own = match config.standalone {
        Some(_) => None,
        None => match upgrade::begin(&config.common.data_dir) {
            Begun::Run(standing) => Some(standing),
            Begun::Ended(code) => return Ok(code),
        },
    };
    let standing = own.clone();
    let end = runtime(0)?.block_on(async {
        let shutdown = Shutdown::on_signals();
        tokio::spawn(settle());
        agent::run(config, own, shutdown).await
    })?;
    match end {
        AgentEnd::Stopped => Ok(ExitCode::SUCCESS),
        AgentEnd::HandOver => Ok(ExitCode::from(upgrade::HANDED_OVER)),
        // The same process, so that a service manager sees no end.
        AgentEnd::Restart => {
            let failed = upgrade::start_anew(standing.as_ref());
            Err(Failure::new(format!("cannot start anew: {failed}")))
        }
    }
}

pub(super) fn broker(args: &BrokerArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::of_this_process();
    let source = config::file_of(Role::Broker, args.config.as_deref())?;
    let config = BrokerConfig::resolve(source.as_ref(), &args.overrides, &around)?;
    make_data_dir(&config.common.data_dir)?;
    start_log(&config.common);
    runtime(2)?.block_on(serve_broker(config))
}

/// Once the start is over, its memory is given back, and later that of what is seldom done.
async fn settle() {
    time::sleep(START).await;
    memory::release_start_stack();
    loop {
        memory::release_code();
        time::sleep(SETTLE_EVERY).await;
    }
}

async fn serve_broker(config: BrokerConfig) -> Result<ExitCode, Failure> {
    let shutdown = Shutdown::on_signals();
    tokio::spawn(settle());
    let identity = FleetIdentity::open(&config.common.data_dir, "broker", clock::unix_ms())?;
    let topics = Topics::new(&config.topic_prefix);
    let fleet = identity.key.public();
    let gate = Arc::new(FleetGate::new(
        fleet,
        topics.clone(),
        config.allow_anonymous,
    ));
    let limits = Limits {
        max_connections: config.max_connections as usize,
        max_packet: usize::try_from(config.max_packet).unwrap_or(usize::MAX),
        ..Limits::default()
    };
    let listeners = controller::broker_listeners(&config.mqtt_listen, &identity)?;
    let settings = Settings {
        listeners,
        limits,
        stranger: None,
    };
    let broker = Broker::start(settings, gate.clone()).await?;
    for address in broker.addresses() {
        info!(%address, "broker listens");
    }
    let broker = Arc::new(broker);
    if let Some(address) = config.metrics_listen {
        let bound = crate::http::serve_broker(address, broker.clone(), shutdown.clone()).await;
        let address = bound.map_err(Failure::new)?;
        info!(%address, "metrics are served");
    }
    if config.mdns {
        let listening = broker.addresses().iter().copied().zip(&config.mqtt_listen);
        tokio::spawn(controller::tell_the_network(
            listening.map(|(address, l)| (address, l.tls)).collect(),
            fleet,
            shutdown.clone(),
        ));
    }
    let access = topics.access();
    let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
    let mut known = Vec::new();
    let mut watchdog = Watchdog::of_this_process();
    service::ready();
    service::status("listening");
    loop {
        tokio::select! {
            () = watchdog.due() => {}
            () = shutdown.wait() => {
                service::stopping();
                // What serves the metrics ends by itself, and then this is the only one.
                if let Some(broker) = Arc::into_inner(broker) {
                    broker.shutdown().await;
                }
                return Ok(ExitCode::SUCCESS);
            }
            death = broker.closed() => {
                error!(%death, "broker has died");
                return Err(death.into());
            }
            // Whom to cut off comes from the controller, as a retained message in this broker.
            _ = look.tick() => {
                let document = broker.retained(&access).pop().map(|(_, body)| body).unwrap_or_default();
                if document[..] != known[..] {
                    known = document.to_vec();
                    if gate.take_access(&document) {
                        broker.disconnect(|principal| gate.is_cut_off(principal));
                    }
                }
            }
        }
    }
}
