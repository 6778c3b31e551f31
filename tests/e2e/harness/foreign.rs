//! What is in an engine without fleetctl: somebody's container, an image with a health check.

use super::{engine::Engine, http::Ask, manifests::image};
use serde_json::{Value, json};

/// A running container that fleetctl did not make; removed when dropped.
#[derive(Debug)]
pub struct Foreign {
    pub id: String,
    pub name: String,
    engine: Engine,
}

impl Foreign {
    /// `name` is nobody else's.
    #[track_caller]
    pub fn run(engine: &str, name: &str, labels: &Value) -> Foreign {
        let body = json!({
            "Image": image(engine),
            "Cmd": ["/bin/sh", "-c", "echo begun; exec sleep 86400"],
            "Env": ["COLOUR=green"],
            "Labels": labels,
            "StopTimeout": 0,
            "HostConfig": {"RestartPolicy": {"Name": "always"}},
        });
        let engine = Engine::named(engine);
        let path = format!("/containers/create?name={name}");
        let made = engine.try_send("POST", &path, Some(&body.to_string()));
        let made = made.unwrap_or_else(|e| panic!("{name} cannot be made: {e}"));
        let id = made.json()["Id"].as_str().expect("an id").to_owned();
        let foreign = Foreign {
            id,
            name: name.to_owned(),
            engine,
        };
        let start = format!("/containers/{}/start", foreign.id);
        let started = foreign.engine.try_send("POST", &start, None);
        started.unwrap_or_else(|e| panic!("{name} cannot be started: {e}"));
        foreign
    }

    /// As the engine tells it; `None` when it is gone.
    pub fn inspect(&self) -> Option<Value> {
        let path = format!("/containers/{}/json", self.id);
        let answer = self.engine.try_send("GET", &path, None).ok()?;
        Some(answer.json())
    }

    /// When its engine started it.
    #[track_caller]
    pub fn started(&self) -> String {
        let told = self.inspect().expect("the container is there");
        let at = told["State"]["StartedAt"].as_str();
        at.expect("a time").to_owned()
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let path = format!("/containers/{}?force=true&v=true", self.id);
        // Mostly it is gone already.
        let _ = self.engine.try_send("DELETE", &path, None);
    }
}

/// The test image with a check of its own, well once `/place/well` is there; its name.
#[track_caller]
pub fn image_with_check(engine: &str) -> String {
    let base = image(engine);
    let name = base.replace("fleetctl-test:", "fleetctl-e2e-check:");
    let file = format!(
        "FROM {base}\nHEALTHCHECK --interval=1s --timeout=5s --retries=1 CMD test -e /place/well\n"
    );
    let tar = archive("Dockerfile", &file);
    let ask = Ask {
        method: "POST",
        path: &format!("/build?dockerfile=Dockerfile&rm=true&t={name}"),
        token: None,
        body: Some(&tar),
    };
    let built = ask.unix_archive(&Engine::named(engine).socket);
    let built = built.unwrap_or_else(|e| panic!("{name} cannot be built: {e}"));
    let said = built.text();
    assert!(
        built.status == 200 && !said.contains("errorDetail"),
        "{said}"
    );
    name
}

/// A tar archive of one small file.
fn archive(name: &str, content: &str) -> String {
    let fields = [
        (0, name.to_owned()),
        (100, "0000644\0".to_owned()),
        (108, "0000000\0".to_owned()),
        (116, "0000000\0".to_owned()),
        (124, format!("{:011o}\0", content.len())),
        (136, "00000000000\0".to_owned()),
        (148, " ".repeat(8)),
        (156, "0".to_owned()),
        (257, "ustar\x0000".to_owned()),
    ];
    let mut header = [0_u8; 512];
    for (at, text) in &fields {
        header[*at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend(content.as_bytes());
    // Whole blocks, and two empty ones at the end.
    bytes.resize(bytes.len().next_multiple_of(512) + 1024, 0);
    String::from_utf8(bytes).expect("an archive of text is text")
}
