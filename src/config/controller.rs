//! `[controller]`.

use super::{
    AlertsConfig, Role, Surroundings, alerts,
    common::{Common, CommonOverrides, parse_path, parse_topic_prefix},
    listen::{Listen, parse_advertised, parse_blob_url, parse_broker},
    otlp::{Otlp, OtlpOverrides},
    read_listen, rebalance, role_table,
    settings::Settings,
    telemetry,
};
use crate::{
    fleet::{AutoRebalance, FleetConfig},
    manifest::{
        Flaw, Problems, Source,
        quantity::{duration_text, parse_duration_ms},
        render::{line, quote, quote_list},
        table::Table,
    },
    model::{LogShipping, Metric, MetricConfig, Name, NodeConfig},
    mqtt::Endpoint,
};
use clap::builder::BoolishValueParser;
use std::{collections::BTreeMap, path::PathBuf};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const DAY: u64 = 24 * 60 * MINUTE;

/// What a controller needs to know, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ControllerConfig {
    /// Data directory and log.
    pub common: Common,
    /// `api_listen`: where the HTTP API is; at least one.
    pub api_listen: Vec<Listen>,
    /// `embed_broker`: serve MQTT in this process. Exactly one of this and `broker` is set.
    pub embed_broker: bool,
    /// `mqtt_listen`: where the embedded broker listens; at least one.
    pub mqtt_listen: Vec<Listen>,
    /// `broker`: an MQTT broker somewhere else.
    pub broker: Option<Endpoint>,
    /// `broker_ca`: PEM file with the CA of that broker; `None`: that of the fleet.
    pub broker_ca: Option<PathBuf>,
    /// `blob_url`: where nodes fetch images and binaries; `None`: at the broker, which must be the
    /// embedded one.
    pub blob_url: Option<String>,
    /// `topic_prefix`: before every topic, without slashes around it; may be empty.
    pub topic_prefix: String,
    /// `advertise`: `host` or `host:port` of the broker for the join line; empty: those of this
    /// machine.
    pub advertise: Vec<String>,
    /// `auto_approve`: a node with a valid token is let in without a person.
    pub auto_approve: bool,
    /// `mdns`: the embedded broker is told to the local network, where it listens beyond loopback.
    pub mdns: bool,
    /// `with_agent`: run an agent for this machine too.
    pub with_agent: bool,
    /// `node_name`: name of that agent's node; `None`: the host name.
    pub node_name: Option<Name>,
    /// `heartbeat_interval` of every agent, milliseconds.
    pub heartbeat_interval_ms: u64,
    /// `silent_after`: no heartbeat for so long, milliseconds; more than the interval.
    pub silent_after_ms: u64,
    /// `offline_after`: silent for so long, milliseconds.
    pub offline_after_ms: u64,
    /// `lost_after`: offline for so long, what may move is placed elsewhere, milliseconds; 0: never.
    pub lost_after_ms: u64,
    /// `start_grace`: how long after its start the controller calls nobody silent, milliseconds.
    /// Longer than the agents' `reconnect_max`, or it gives up those that are on their way.
    pub start_grace_ms: u64,
    /// `command_timeout`: how long a command waits for its result, milliseconds.
    pub command_timeout_ms: u64,
    /// `otlp_endpoint`, `otlp_headers_file`: where spans are sent.
    pub otlp: Otlp,
    /// A directory whose files are served in place of the embedded dashboard; only by a flag.
    pub dashboard_dir: Option<PathBuf>,
    /// `[controller.rebalance]`: rebalancing by itself.
    pub rebalance: Option<AutoRebalance>,
    /// `[controller.alerts]`: what is looked for, and who is told.
    pub alerts: AlertsConfig,
    /// `[controller.telemetry.<metric>]`: what nodes measure and publish.
    pub telemetry: BTreeMap<Metric, MetricConfig>,
    /// `[controller.log_shipping]`: whether nodes publish what their instances write.
    pub log_shipping: LogShipping,
}

// Not a doc comment: it would become the description of the command.
// Flags of the controller; each stands before its environment variable, that before the file.
#[allow(missing_docs)]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct ControllerOverrides {
    #[command(flatten)]
    pub common: CommonOverrides,
    /// Address of the HTTP API; TLS unless loopback
    #[arg(
        long,
        env = "FLEETCTL_API_LISTEN",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        value_parser = Listen::http
    )]
    pub api_listen: Option<Vec<Listen>>,
    /// Serve MQTT in this process
    #[arg(
        long,
        env = "FLEETCTL_EMBED_BROKER",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub embed_broker: Option<bool>,
    /// Address of the embedded broker; tls:// unless loopback
    #[arg(
        long,
        env = "FLEETCTL_MQTT_LISTEN",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        value_parser = Listen::mqtt
    )]
    pub mqtt_listen: Option<Vec<Listen>>,
    /// MQTT broker to use instead of the embedded one
    #[arg(long, env = "FLEETCTL_BROKER", value_name = "URL", value_parser = parse_broker)]
    pub broker: Option<Endpoint>,
    /// PEM file with the CA of that broker
    #[arg(long, env = "FLEETCTL_BROKER_CA", value_name = "FILE")]
    pub broker_ca: Option<PathBuf>,
    /// Address of this API for nodes that fetch images and binaries, with an external broker
    #[arg(
        long,
        env = "FLEETCTL_BLOB_URL",
        value_name = "URL",
        value_parser = parse_blob_url
    )]
    pub blob_url: Option<String>,
    /// What stands before every topic
    #[arg(
        long,
        env = "FLEETCTL_TOPIC_PREFIX",
        value_name = "PREFIX",
        value_parser = parse_topic_prefix
    )]
    pub topic_prefix: Option<String>,
    /// Address of the broker for the join line
    #[arg(
        long,
        env = "FLEETCTL_ADVERTISE",
        value_name = "HOST[:PORT]",
        value_delimiter = ',',
        value_parser = parse_advertised
    )]
    pub advertise: Option<Vec<String>>,
    /// Let nodes with a valid token in without a person
    #[arg(
        long,
        env = "FLEETCTL_AUTO_APPROVE",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub auto_approve: Option<bool>,
    /// Tell the local network where the embedded broker listens
    #[arg(
        long,
        env = "FLEETCTL_MDNS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub mdns: Option<bool>,
    /// Run an agent for this machine too
    #[arg(
        long,
        env = "FLEETCTL_WITH_AGENT",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub with_agent: Option<bool>,
    /// Name of that agent's node
    #[arg(long, env = "FLEETCTL_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<Name>,
    /// Time between the heartbeats of an agent
    #[arg(
        long,
        env = "FLEETCTL_HEARTBEAT_INTERVAL",
        value_name = "DURATION",
        value_parser = parse_duration_ms
    )]
    pub heartbeat_interval: Option<u64>,
    /// A node is silent after so long without a heartbeat
    #[arg(
        long,
        env = "FLEETCTL_SILENT_AFTER",
        value_name = "DURATION",
        value_parser = parse_duration_ms
    )]
    pub silent_after: Option<u64>,
    /// A silent node is offline after so long
    #[arg(
        long,
        env = "FLEETCTL_OFFLINE_AFTER",
        value_name = "DURATION",
        value_parser = parse_duration_ms
    )]
    pub offline_after: Option<u64>,
    /// What may move is placed elsewhere when its node was offline for so long; 0s: never
    #[arg(
        long,
        env = "FLEETCTL_LOST_AFTER",
        value_name = "DURATION",
        value_parser = parse_duration_ms
    )]
    pub lost_after: Option<u64>,
    /// Nobody is called silent, and nothing goes on by itself, for so long after the start
    #[arg(
        long,
        env = "FLEETCTL_START_GRACE",
        value_name = "DURATION",
        value_parser = parse_duration_ms
    )]
    pub start_grace: Option<u64>,
    /// How long a command waits for its result
    #[arg(
        long,
        env = "FLEETCTL_COMMAND_TIMEOUT",
        value_name = "DURATION",
        value_parser = parse_duration_ms
    )]
    pub command_timeout: Option<u64>,
    #[command(flatten)]
    pub otlp: OtlpOverrides,
    /// Serve the dashboard from this directory, to work on it
    #[arg(
        long,
        env = "FLEETCTL_DASHBOARD_DIR",
        value_name = "DIR",
        hide_short_help = true
    )]
    pub dashboard_dir: Option<PathBuf>,
}

impl ControllerConfig {
    /// From a file, where there is one, and what was given in front of it.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn resolve(
        file: Option<&Source>,
        given: &ControllerOverrides,
        around: &Surroundings,
    ) -> Result<ControllerConfig, Problems> {
        role_table(file, Role::Controller, |table| {
            Self::read(table, given, around, true)
        })
    }

    /// What a file says by itself, where a flag may still add the broker: to be shown, not to be run.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn of_file(file: &Source, around: &Surroundings) -> Result<ControllerConfig, Problems> {
        role_table(Some(file), Role::Controller, |table| {
            Self::read(table, &ControllerOverrides::default(), around, false)
        })
    }

    /// `complete`: what only a flag may add must be there too.
    pub(super) fn read(
        table: Table<'_>,
        given: &ControllerOverrides,
        around: &Surroundings,
        complete: bool,
    ) -> ControllerConfig {
        let mut settings = Settings::new(table);
        let s = &mut settings;
        let given = given.clone();
        let config = ControllerConfig {
            common: Common::read(s, &given.common, around, Role::Controller.as_str()),
            api_listen: read_listen(
                s,
                "api_listen",
                given.api_listen,
                Listen::http,
                &["127.0.0.1:7070"],
            ),
            embed_broker: s.bool("embed_broker", given.embed_broker, false),
            mqtt_listen: read_listen(
                s,
                "mqtt_listen",
                given.mqtt_listen,
                Listen::mqtt,
                &super::DEFAULT_MQTT_LISTEN,
            ),
            broker: s.parsed("broker", given.broker, parse_broker),
            broker_ca: s.parsed("broker_ca", given.broker_ca, parse_path),
            blob_url: s.parsed("blob_url", given.blob_url, parse_blob_url),
            topic_prefix: s
                .parsed_or_empty("topic_prefix", given.topic_prefix, parse_topic_prefix)
                .unwrap_or_else(|| super::DEFAULT_TOPIC_PREFIX.to_owned()),
            advertise: s
                .list("advertise", given.advertise, parse_advertised)
                .unwrap_or_default(),
            auto_approve: s.bool("auto_approve", given.auto_approve, true),
            mdns: s.bool("mdns", given.mdns, true),
            with_agent: s.bool("with_agent", given.with_agent, false),
            node_name: s.parsed("node_name", given.node_name, super::parse_name),
            heartbeat_interval_ms: s.duration_ms(
                "heartbeat_interval",
                given.heartbeat_interval,
                12 * SECOND,
                SECOND..=10 * MINUTE,
            ),
            silent_after_ms: s.duration_ms(
                "silent_after",
                given.silent_after,
                14_500,
                SECOND..=DAY,
            ),
            offline_after_ms: s.duration_ms(
                "offline_after",
                given.offline_after,
                2 * MINUTE,
                SECOND..=7 * DAY,
            ),
            lost_after_ms: s.duration_ms(
                "lost_after",
                given.lost_after,
                FleetConfig::default().lost_after_ms,
                0..=7 * DAY,
            ),
            start_grace_ms: s.duration_ms("start_grace", given.start_grace, 30 * SECOND, 0..=DAY),
            command_timeout_ms: s.duration_ms(
                "command_timeout",
                given.command_timeout,
                10 * SECOND,
                SECOND..=60 * MINUTE,
            ),
            otlp: Otlp::read(s, given.otlp, around),
            dashboard_dir: given.dashboard_dir,
            rebalance: rebalance::read(s.table("rebalance")),
            alerts: alerts::read(s.table("alerts")),
            telemetry: telemetry::read_metrics(s.table("telemetry")),
            log_shipping: telemetry::read_shipping(s.table("log_shipping")),
        };
        config.check(s, complete);
        settings.finish();
        config
    }

    /// The rules that settings have among each other.
    fn check(&self, settings: &Settings<'_>, complete: bool) {
        if self.silent_after_ms <= self.heartbeat_interval_ms {
            let silent = settings.is_set("silent_after");
            let key = if silent {
                "silent_after"
            } else {
                "heartbeat_interval"
            };
            let flaw = Flaw::new(format!(
                "`silent_after` ({}) must be longer than `heartbeat_interval` ({})",
                duration_text(self.silent_after_ms),
                duration_text(self.heartbeat_interval_ms)
            ));
            settings.refuse(key, flaw.hint("set both, or every node is called silent"));
        }
        if self.embed_broker && self.broker.is_some() {
            let flaw = Flaw::new("`embed_broker` and `broker` exclude each other")
                .hint("choose the embedded broker or an external one");
            settings.refuse("broker", flaw);
        }
        if complete && !self.embed_broker && self.broker.is_none() {
            let flaw = Flaw::new("the controller has no broker")
                .hint("give `--embed-broker`, or `--broker mqtts://host:8883` for an external one");
            settings.refuse("broker", flaw);
        }
        if self.broker_ca.is_some() && self.broker.as_ref().is_some_and(|broker| !broker.tls) {
            let flaw = Flaw::new("`broker_ca` has no effect with `mqtt://`")
                .hint("write `mqtts://` for the broker");
            settings.refuse("broker_ca", flaw);
        }
    }

    /// The configuration in effect, as a file that gives the same one.
    pub fn render(&self) -> String {
        let mut text = "[controller]\n".to_owned();
        let t = &mut text;
        let listen = |list: &[Listen], text: fn(&Listen) -> String| {
            quote_list(&list.iter().map(text).collect::<Vec<_>>())
        };
        let duration = |ms: u64| quote(&duration_text(ms));
        self.common.render(t);
        line(t, "api_listen", listen(&self.api_listen, Listen::http_text));
        line(t, "embed_broker", self.embed_broker.to_string());
        line(
            t,
            "mqtt_listen",
            listen(&self.mqtt_listen, Listen::mqtt_text),
        );
        let broker = self.broker.as_ref().map(Endpoint::url).unwrap_or_default();
        line(t, "broker", quote(&broker));
        let broker_ca = self
            .broker_ca
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned());
        line(t, "broker_ca", quote(&broker_ca.unwrap_or_default()));
        line(
            t,
            "blob_url",
            quote(self.blob_url.as_deref().unwrap_or_default()),
        );
        line(t, "topic_prefix", quote(&self.topic_prefix));
        line(t, "advertise", quote_list(&self.advertise));
        line(t, "auto_approve", self.auto_approve.to_string());
        line(t, "mdns", self.mdns.to_string());
        line(t, "with_agent", self.with_agent.to_string());
        line(
            t,
            "node_name",
            quote(self.node_name.as_ref().map_or("", Name::as_str)),
        );
        line(
            t,
            "heartbeat_interval",
            duration(self.heartbeat_interval_ms),
        );
        line(t, "silent_after", duration(self.silent_after_ms));
        line(t, "offline_after", duration(self.offline_after_ms));
        line(t, "lost_after", duration(self.lost_after_ms));
        line(t, "start_grace", duration(self.start_grace_ms));
        line(t, "command_timeout", duration(self.command_timeout_ms));
        self.otlp.render(t);
        rebalance::render(self.rebalance.as_ref(), t);
        telemetry::render(&self.telemetry, &self.log_shipping, t);
        alerts::render(&self.alerts, t);
        text
    }

    /// How the fleet as a whole is run.
    pub fn fleet_config(&self) -> FleetConfig {
        FleetConfig {
            lost_after_ms: self.lost_after_ms,
            rebalance: self.rebalance.clone(),
        }
    }

    /// What it means for agents: the configuration of nodes that have none of their own.
    pub fn node_config(&self) -> NodeConfig {
        NodeConfig {
            heartbeat_interval_ms: self.heartbeat_interval_ms,
            telemetry: self.telemetry.clone(),
            logs: self.log_shipping,
            // Said by the controller, which knows its CA.
            blobs: None,
        }
    }
}
