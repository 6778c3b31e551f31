//! `config`.

use super::{Failure, args::ConfigVerb, output};
use crate::{
    config::{
        self, AgentConfig, AgentOverrides, BrokerConfig, BrokerOverrides, ControllerConfig, Role,
        Surroundings,
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
                let examined = Source::read(&path).and_then(|s| config::examine(&s, &around));
                match examined {
                    Ok((role, absent)) => {
                        for sentence in absent {
                            eprintln!("warning: {sentence}");
                        }
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
            let read = Source::read(&file)?;
            let source = Some(&read);
            let text = match config::check_file(&file, &around)? {
                // Its broker may be given by a flag.
                Role::Controller => ControllerConfig::of_file(&read, &around)?.render(),
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
