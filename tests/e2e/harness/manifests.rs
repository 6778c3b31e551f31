//! Manifests that many tests need.

/// A native process that counts lines, one every 50 ms.
pub fn counting(name: &str, version: &str) -> String {
    let script = format!("i=0; while :; do i=$((i+1)); echo {version} line $i; sleep 0.05; done");
    format!(
        "[workload.{name}]\nversion = \"{version}\"\n\
         command = [\"/bin/sh\", \"-c\", \"{script}\"]\nstop_timeout = \"1s\"\n\
         [workload.{name}.restart]\ndelay = \"0s\"\n"
    )
}

/// A native process that does nothing, for long.
pub fn sleeping(name: &str) -> String {
    format!(
        "[workload.{name}]\ncommand = [\"/bin/sleep\", \"86400\"]\nstop_timeout = \"1s\"\n\
         [workload.{name}.restart]\ndelay = \"0s\"\n"
    )
}

/// A container that says hello with its version and stays.
pub fn container(name: &str, engine: &str, version: &str) -> String {
    // A shell that is the first process of a container ignores SIGTERM unless told otherwise.
    let script = format!("trap 'exit 0' TERM; echo hello {version}; while :; do sleep 0.1; done");
    format!(
        "[workload.{name}]\nversion = \"{version}\"\nimage = \"{image}\"\n\
         engine = \"{engine}\"\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n\
         stop_timeout = \"1s\"\n[workload.{name}.restart]\ndelay = \"0s\"\n",
        image = image(engine)
    )
}

/// The line of placement that binds the workload of a manifest above to one node.
pub fn on_node(name: &str, node: &str) -> String {
    format!("[workload.{name}.placement]\nnodes = [\"{node}\"]\n")
}

/// The image that both engines have, by the name that each knows it by.
pub fn image(engine: &str) -> &'static str {
    match engine {
        "podman" => "localhost/fleetctl-test:1",
        _ => "fleetctl-test:1",
    }
}

/// A script of a shell, as a process or in a container of `engine`. `keys` are further lines of
/// the manifest, tables last.
pub fn shell(name: &str, engine: &str, script: &str, keys: &str) -> String {
    let run = match engine {
        "process" => String::new(),
        _ => format!("image = \"{}\"\nengine = \"{engine}\"\n", image(engine)),
    };
    let stop = if keys.contains("stop_timeout") {
        ""
    } else {
        "stop_timeout = \"1s\"\n"
    };
    // A string of Rust is one of TOML, as far as these scripts go.
    format!("[workload.{name}]\n{run}command = [\"/bin/sh\", \"-c\", {script:?}]\n{stop}{keys}")
}
