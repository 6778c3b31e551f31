//! Where spans are sent, for the roles that make some: see [`crate::trace`].

use super::{Surroundings, common::parse_path, settings::Settings};
use crate::{
    manifest::{
        Flaw,
        render::{line, quote},
    },
    trace::OtlpEndpoint,
};
use std::path::PathBuf;

/// Where spans go; by default nowhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Otlp {
    /// `otlp_endpoint`: OTLP/HTTP, spans go to `/v1/traces` below it. `None`: none are sent.
    pub endpoint: Option<OtlpEndpoint>,
    /// `otlp_headers_file`: `Name: value` lines for each request; secrets.
    pub headers_file: Option<PathBuf>,
}

// Not a doc comment: it would become the description of the command.
// Flags of the controller and the agent.
#[allow(missing_docs)]
#[derive(Debug, Clone, Default, clap::Args)]
pub struct OtlpOverrides {
    /// Send spans there, by OTLP/HTTP with JSON; also OTEL_EXPORTER_OTLP_ENDPOINT
    #[arg(
        long,
        env = "FLEETCTL_OTLP_ENDPOINT",
        value_name = "URL",
        value_parser = OtlpEndpoint::parse
    )]
    pub otlp_endpoint: Option<OtlpEndpoint>,
    /// File with a header in each line, as `Name: value`, for what is sent there
    #[arg(long, env = "FLEETCTL_OTLP_HEADERS_FILE", value_name = "FILE")]
    pub otlp_headers_file: Option<PathBuf>,
}

impl Otlp {
    pub(super) fn read(
        settings: &mut Settings<'_>,
        given: OtlpOverrides,
        around: &Surroundings,
    ) -> Otlp {
        let endpoint = settings.parsed("otlp_endpoint", given.otlp_endpoint, OtlpEndpoint::parse);
        let headers_file =
            settings.parsed("otlp_headers_file", given.otlp_headers_file, parse_path);
        let otlp = Otlp::fall_back(endpoint, headers_file, around);
        if otlp.headers_file.is_some() && otlp.endpoint.is_none() {
            let flaw = Flaw::new("`otlp_headers_file` means nothing without `otlp_endpoint`");
            settings.refuse("otlp_headers_file", flaw.hint("set `otlp_endpoint` too"));
        }
        otlp
    }

    /// The variable that all programs share is the last that is looked at. One that is not
    /// understood may be meant for others, and keeps no board from running.
    pub(crate) fn fall_back(
        endpoint: Option<OtlpEndpoint>,
        headers_file: Option<PathBuf>,
        around: &Surroundings,
    ) -> Otlp {
        let shared = around.otlp_endpoint.as_deref();
        let shared = shared.and_then(|text| OtlpEndpoint::parse(text).ok());
        Otlp {
            endpoint: endpoint.or(shared),
            headers_file,
        }
    }

    pub(super) fn render(&self, text: &mut String) {
        let endpoint = self.endpoint.as_ref().map_or("", OtlpEndpoint::as_str);
        line(text, "otlp_endpoint", quote(endpoint));
        let file = self.headers_file.as_ref();
        let file = file.map_or(Default::default(), |file| file.to_string_lossy());
        line(text, "otlp_headers_file", quote(&file));
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AgentConfig, AgentOverrides, Surroundings};
    use super::*;
    use crate::manifest::Source;

    fn read(text: &str, shared: Option<&str>) -> Result<Otlp, String> {
        let around = Surroundings {
            root: true,
            host_name: "pi".to_owned(),
            otlp_endpoint: shared.map(str::to_owned),
            ..Surroundings::default()
        };
        let source = Source::new("a.toml", format!("[agent]\n{text}"));
        let config = AgentConfig::resolve(Some(&source), &AgentOverrides::default(), &around);
        let config = config.map_err(|p| p.to_string())?;
        let again = Source::new("b.toml", config.render());
        let again = AgentConfig::resolve(Some(&again), &AgentOverrides::default(), &around);
        assert_eq!(again.unwrap().otlp, config.otlp);
        Ok(config.otlp)
    }

    #[test]
    fn the_shared_variable_is_the_last_that_is_looked_at() {
        let endpoint = |text, shared| {
            let otlp = read(text, shared).unwrap();
            otlp.endpoint.map(|e| e.as_str().to_owned())
        };
        let own = "otlp_endpoint = 'http://a:1'\n";
        let found = |text: &str| Some(text.to_owned());
        assert_eq!(endpoint("", None), None);
        assert_eq!(endpoint(own, None), found("http://a:1"));
        assert_eq!(endpoint(own, Some("http://b:2")), found("http://a:1"));
        assert_eq!(endpoint("", Some("http://b:2")), found("http://b:2"));
        assert_eq!(endpoint("", Some("what others understand")), None);
    }

    #[test]
    fn headers_without_an_endpoint_and_secrets_in_it_are_refused() {
        let headers = "otlp_headers_file = '/etc/h'\n";
        assert!(read(headers, None).unwrap_err().contains("means nothing"));
        assert!(read(headers, Some("http://b:2")).is_ok());
        let said = read("otlp_endpoint = 'http://me:secret@x'\n", None).unwrap_err();
        assert!(said.contains("otlp_headers_file"), "{said}");
    }
}
