//! What is put on a board beside the binary, and where.

use super::{Board, Init};
use crate::manifest::render::{quote, quote_key};

/// Name of the service.
pub const UNIT_NAME: &str = "fleetctl-agent";
/// The unit as packaged: for /usr/local/bin.
const SYSTEMD: &str = include_str!("../../packaging/fleetctl-agent.service");
const OPENRC: &str = include_str!("../../packaging/fleetctl.openrc");
/// Directory that the packaged units name.
const PACKAGED_DIR: &str = "/usr/local/bin";

/// The environment itself is read by the packaged unit.
const DEFAULTS: &str =
    "# Written by `fleetctl deploy`.\nFLEETCTL_CONFIG=/etc/fleetctl/agent.toml\n";
const CONF_D: &str = "# Written by `fleetctl deploy`.\n\
    fleetctl_log=/var/log/fleetctl-agent.log\n\
    if [ -r /etc/fleetctl/agent.env ]; then\n\tset -a\n\t. /etc/fleetctl/agent.env\n\tset +a\nfi\n";

/// Texts for one board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// `/etc/fleetctl/agent.toml`.
    pub config: String,
    /// `/etc/fleetctl/agent.env`; nothing where the board has no environment.
    pub env: Option<String>,
    /// The unit; `None` where nothing starts services.
    pub unit: Option<String>,
    /// Settings of the unit: `/etc/default/fleetctl-agent` for systemd, `/etc/conf.d/fleetctl-agent`
    /// for OpenRC.
    pub settings: Option<String>,
}

/// For this board, started by `init`.
pub fn files(board: &Board, init: Init) -> Files {
    let placed = |text: &str| match board.install_dir.as_str() {
        PACKAGED_DIR => text.to_owned(),
        dir => text.replace(&format!("{PACKAGED_DIR}/"), &format!("{dir}/")),
    };
    let (unit, settings) = match init {
        Init::Systemd => (Some(placed(SYSTEMD)), Some(DEFAULTS.to_owned())),
        Init::OpenRc => (Some(placed(OPENRC)), Some(CONF_D.to_owned())),
        Init::Unknown => (None, None),
    };
    let env = (!board.env.is_empty()).then(|| {
        let mut text = "# Written by `fleetctl deploy`; change the inventory instead.\n".to_owned();
        for (key, value) in &board.env {
            text.push_str(&format!("{key}=\"{}\"\n", escaped(value)));
        }
        text
    });
    Files {
        config: config(board),
        env,
        unit,
        settings,
    }
}

fn config(board: &Board) -> String {
    let labels: Vec<String> = board
        .labels
        .iter()
        .map(|(k, v)| format!("{} = {}", quote_key(k), quote(v)))
        .collect();
    let labels = match labels.is_empty() {
        true => "{}".to_owned(),
        false => format!("{{ {} }}", labels.join(", ")),
    };
    format!(
        "# Written by `fleetctl deploy`; change the inventory instead.\n\
         [agent]\nname = {}\nlabels = {labels}\n\
         # Gone once the node has joined.\njoin_file = \"/etc/fleetctl/join.token\"\n",
        quote(board.name.as_str())
    )
}

/// Within double quotes, for systemd and for a shell.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}
