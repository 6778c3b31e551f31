//! `config`.

use super::{Failure, args::ConfigVerb, output};
use crate::{
    config::{
        self, AgentConfig, AgentOverrides, BrokerConfig, BrokerOverrides, ControllerConfig,
        ControllerOverrides, Role, Surroundings,
    },
    manifest::Source,
};
use std::process::ExitCode;

pub(super) fn run(verb: ConfigVerb) -> Result<ExitCode, Failure> {
    let around = Surroundings::of_this_process();
    match verb {
        ConfigVerb::Check { files } => {
            let mut bad = false;
            for path in files {
                match config::check_file(&path, &around) {
                    Ok(role) => {
                        output::print(&format!("{}: fine ({})\n", path.display(), role.as_str()))?
                    }
                    Err(problems) => {
                        bad = true;
                        eprintln!("{problems}");
                    }
                }
            }
            Ok(if bad {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            })
        }
        ConfigVerb::Show { file } => {
            let source = Source::read(&file)?;
            let source = Some(&source);
            let text = match config::check_file(&file, &around)? {
                Role::Controller => {
                    let given = ControllerOverrides::default();
                    ControllerConfig::resolve(source, &given, &around)?.render()
                }
                Role::Agent => {
                    AgentConfig::resolve(source, &AgentOverrides::default(), &around)?.render()
                }
                Role::Broker => {
                    BrokerConfig::resolve(source, &BrokerOverrides::default(), &around)?.render()
                }
            };
            output::print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
