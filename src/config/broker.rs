//! `[broker]`.

use super::{
    Role, Surroundings,
    common::{Common, CommonOverrides, parse_topic_prefix},
    listen::{Listen, parse_metrics_listen},
    read_listen, role_table,
    settings::Settings,
};
use crate::manifest::{
    Flaw, Problems, Source,
    quantity::{bytes_text, parse_bytes},
    render::{line, quote, quote_list},
    table::Table,
};
use clap::builder::BoolishValueParser;
use std::net::SocketAddr;

/// Largest MQTT packet where nothing is written: 1 MiB.
const DEFAULT_MAX_PACKET: u64 = 1 << 20;
/// Smaller than this no assignment fits; larger is no MQTT packet.
const MAX_PACKET: std::ops::RangeInclusive<u64> = (16 << 10)..=(256 << 20);

/// What a broker that runs by itself needs to know, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Data directory and log.
    pub common: Common,
    /// `mqtt_listen`: at least one.
    pub mqtt_listen: Vec<Listen>,
    /// `allow_anonymous`: clients without credentials may do everything. For tests and
    /// development only.
    pub allow_anonymous: bool,
    /// `max_connections` at the same time.
    pub max_connections: u32,
    /// `max_packet`: largest packet, bytes.
    pub max_packet: u64,
    /// `topic_prefix`: before every topic of the fleet; may be empty.
    pub topic_prefix: String,
    /// `metrics_listen`: loopback address of `/metrics`; none: not served.
    pub metrics_listen: Option<SocketAddr>,
    /// `mdns`: told to the local network, where it listens beyond loopback.
    pub mdns: bool,
}

// Not a doc comment: it would become the description of the command.
// Flags of the broker; each stands before its environment variable, that before the file.
#[allow(missing_docs)]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BrokerOverrides {
    #[command(flatten)]
    pub common: CommonOverrides,
    /// Address to listen on; tls:// unless loopback
    #[arg(
        long,
        env = "FLEETCTL_MQTT_LISTEN",
        value_name = "ADDRESS:PORT",
        value_delimiter = ',',
        value_parser = Listen::mqtt
    )]
    pub mqtt_listen: Option<Vec<Listen>>,
    /// Let clients without credentials do everything; for tests and development
    #[arg(
        long,
        env = "FLEETCTL_ALLOW_ANONYMOUS",
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        value_parser = BoolishValueParser::new()
    )]
    pub allow_anonymous: Option<bool>,
    /// Connections at the same time
    #[arg(long, env = "FLEETCTL_MAX_CONNECTIONS", value_name = "COUNT")]
    pub max_connections: Option<u32>,
    /// Largest packet, as in 1MiB
    #[arg(long, env = "FLEETCTL_MAX_PACKET", value_name = "SIZE", value_parser = parse_bytes)]
    pub max_packet: Option<u64>,
    /// What stands before every topic
    #[arg(
        long,
        env = "FLEETCTL_TOPIC_PREFIX",
        value_name = "PREFIX",
        value_parser = parse_topic_prefix
    )]
    pub topic_prefix: Option<String>,
    /// Loopback address to serve /metrics on, plain HTTP
    #[arg(
        long,
        env = "FLEETCTL_METRICS_LISTEN",
        value_name = "ADDRESS:PORT",
        value_parser = parse_metrics_listen
    )]
    pub metrics_listen: Option<SocketAddr>,
    /// Tell the local network where the broker listens
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
}

impl BrokerConfig {
    /// From a file, where there is one, and what was given in front of it.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn resolve(
        file: Option<&Source>,
        given: &BrokerOverrides,
        around: &Surroundings,
    ) -> Result<BrokerConfig, Problems> {
        role_table(file, Role::Broker, |table| Self::read(table, given, around))
    }

    pub(super) fn read(
        table: Table<'_>,
        given: &BrokerOverrides,
        around: &Surroundings,
    ) -> BrokerConfig {
        let mut settings = Settings::new(table);
        let s = &mut settings;
        let given = given.clone();
        let common = Common::read(s, &given.common, around, Role::Broker.as_str());
        let mqtt_listen = read_listen(
            s,
            "mqtt_listen",
            given.mqtt_listen,
            Listen::mqtt,
            &super::DEFAULT_MQTT_LISTEN,
        );
        let allow_anonymous = s.bool("allow_anonymous", given.allow_anonymous, false);
        let max_connections = s.count(
            "max_connections",
            given.max_connections,
            20_000,
            1..=1_000_000,
        );
        let max_packet = s
            .bytes("max_packet", given.max_packet)
            .unwrap_or(DEFAULT_MAX_PACKET);
        if !MAX_PACKET.contains(&max_packet) {
            let (low, high) = (
                bytes_text(*MAX_PACKET.start()),
                bytes_text(*MAX_PACKET.end()),
            );
            let flaw = Flaw::new(format!("`max_packet` must be from {low} to {high}"));
            s.refuse("max_packet", flaw);
        }
        let topic_prefix = s
            .parsed_or_empty("topic_prefix", given.topic_prefix, parse_topic_prefix)
            .unwrap_or_else(|| super::DEFAULT_TOPIC_PREFIX.to_owned());
        let metrics_listen = s.parsed("metrics_listen", given.metrics_listen, parse_metrics_listen);
        let mdns = s.bool("mdns", given.mdns, true);
        settings.finish();
        BrokerConfig {
            common,
            mqtt_listen,
            allow_anonymous,
            max_connections,
            max_packet,
            topic_prefix,
            metrics_listen,
            mdns,
        }
    }

    /// The configuration in effect, as a file that gives the same one.
    pub fn render(&self) -> String {
        let mut text = "[broker]\n".to_owned();
        let t = &mut text;
        self.common.render(t);
        let listen: Vec<String> = self.mqtt_listen.iter().map(Listen::mqtt_text).collect();
        line(t, "mqtt_listen", quote_list(&listen));
        line(t, "allow_anonymous", self.allow_anonymous.to_string());
        line(t, "max_connections", self.max_connections.to_string());
        line(t, "max_packet", quote(&bytes_text(self.max_packet)));
        line(t, "topic_prefix", quote(&self.topic_prefix));
        let metrics = self.metrics_listen.map(|a| a.to_string());
        line(t, "metrics_listen", quote(&metrics.unwrap_or_default()));
        line(t, "mdns", self.mdns.to_string());
        text
    }
}
